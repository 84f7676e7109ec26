//! Logins against small servers of the tests' own.

use std::net::Ipv4Addr;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use rustls::{ServerConfig, pki_types::PrivateKeyDer};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpListener,
    task::JoinHandle,
};
use tokio_rustls::TlsAcceptor;

use super::*;

const LIMIT: Duration = Duration::from_secs(20);

fn logins(targets: &[&str]) -> Logins {
    let targets = targets.iter().map(|target| target.parse().expect("a login target")).collect();
    Logins::new(targets, Vec::new(), LIMIT, 1)
}

fn connection(host: &str, port: u16) -> Connection {
    let host = Some(host.to_owned());
    Connection { host, port: Some(9000), http_port: Some(port), tls: Some(ConnectionTls::Disabled) }
}

async fn login(logins: &Logins, connection: &Connection) -> LoginSeen {
    logins.login(connection, &Username::new("reporting"), &SecretText::new("Hunter2-hunter2")).await
}

fn why(seen: LoginSeen) -> String {
    match seen {
        LoginSeen::Unreachable(why) => why,
        other => panic!("{other:?}"),
    }
}

/// Answers one request, and tells what it was.
async fn server(answer: &'static str) -> (u16, JoinHandle<String>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let served = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.expect("a connection");
        serve(stream, answer).await
    });
    (port, served)
}

async fn serve(mut stream: impl AsyncRead + AsyncWrite + Unpin, answer: &str) -> String {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        let mut bytes = [0; 1024];
        let read = stream.read(&mut bytes).await.expect("a request");
        request.extend_from_slice(&bytes[..read]);
    }
    stream.write_all(answer.as_bytes()).await.expect("an answer");
    String::from_utf8(request).expect("text")
}

/// Lets logins in over TLS, as `localhost`, for as long as it is asked. Also tells the root that vouches for it.
async fn tls_server() -> (u16, Certificate) {
    let mut root = CertificateParams::new([]).expect("a name");
    root.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    root.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    let root_key = KeyPair::generate().expect("a key");
    let root_certificate = root.self_signed(&root_key).expect("a certificate").pem();
    let key = KeyPair::generate().expect("a key");
    let certificate = CertificateParams::new(["localhost".to_owned()]).expect("a name");
    let certificate = certificate.signed_by(&key, &Issuer::new(root, root_key)).expect("a certificate");
    let private_key = PrivateKeyDer::try_from(key.serialize_der()).expect("a key");
    let config = ServerConfig::builder().with_no_client_auth().with_single_cert(vec![certificate.into()], private_key);
    let acceptor = TlsAcceptor::from(std::sync::Arc::new(config.expect("a certificate with its key")));
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.expect("a connection");
            // A client that does not trust the certificate ends the handshake.
            if let Ok(mut stream) = acceptor.accept(stream).await {
                serve(&mut stream, "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n1\n").await;
            }
        }
    });
    (port, Certificate::from_pem(root_certificate.as_bytes()).expect("a certificate"))
}

#[tokio::test]
async fn credentials_go_in_headers_and_never_in_the_url() {
    let (port, served) = server("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n1\n").await;
    let seen = login(&logins(&["http://127.0.0.1"]), &connection("127.0.0.1", port)).await;
    assert_eq!(seen, LoginSeen::Accepted);
    let request = served.await.expect("a request").to_lowercase();
    let (first, headers) = request.split_once("\r\n").expect("lines");
    assert_eq!(first, "get /?query=select+1 http/1.1");
    assert!(headers.contains("x-clickhouse-user: reporting\r\n"), "{headers}");
    assert!(headers.contains("x-clickhouse-key: hunter2-hunter2\r\n"), "{headers}");
}

#[tokio::test]
async fn name_that_is_allowed_is_looked_up_and_its_address_connected_to() {
    let (port, served) = server("HTTP/1.1 401 Unauthorized\r\ncontent-length: 0\r\n\r\n").await;
    let logins = logins(&["http://localhost"]);
    assert_eq!(login(&logins, &connection("localhost", port)).await, LoginSeen::Refused);
    assert!(served.await.expect("a request").to_lowercase().contains(&format!("host: localhost:{port}")));
}

#[tokio::test]
async fn target_that_is_not_allowed_gets_no_connection() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let other_port = format!("http://127.0.0.1:{}", if port == 1 { 2 } else { port - 1 });
    // Spellings that a parser of URLs reads as 127.0.0.1, and a name that is looked up to it.
    let hosts = ["127.0.0.1", "127.1", "0x7f000001", "2130706433", "[::ffff:127.0.0.1]", "localhost"];
    for targets in [&["http://10.0.0.0/8"][..], &["http://0.0.0.0/0"], &["127.0.0.1"], &[&other_port], &[]] {
        for host in hosts {
            let why = why(login(&logins(targets), &connection(host, port)).await);
            assert!(why.contains("--allowed-login-targets"), "{targets:?} {host}: {why}");
        }
    }
    let nobody_came = tokio::time::timeout(Duration::ZERO, listener.accept()).await;
    assert!(nobody_came.is_err());
}

#[tokio::test]
async fn redirect_is_not_followed_and_an_endless_answer_not_read() {
    let logins = logins(&["http://127.0.0.1"]);
    let (elsewhere, _served) = server("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n1\n").await;
    let moved = format!("HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:{elsewhere}/\r\ncontent-length: 0\r\n\r\n");
    let (port, _served) = server(moved.leak()).await;
    assert!(why(login(&logins, &connection("127.0.0.1", port)).await).contains("302"));
    let endless = format!("HTTP/1.1 200 OK\r\ncontent-length: 99999\r\n\r\n{}", "1".repeat(99_999));
    let (port, _served) = server(endless.leak()).await;
    assert!(why(login(&logins, &connection("127.0.0.1", port)).await).contains("not ClickHouse"));
}

#[tokio::test]
async fn host_that_was_not_reached_is_let_be_for_a_while() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    drop(listener);
    let logins = logins(&["http://127.0.0.1"]);
    let first = why(login(&logins, &connection("127.0.0.1", port)).await);
    assert!(first.contains("cannot be reached"), "{first}");
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await.expect("the same port");
    assert_eq!(why(login(&logins, &connection("127.0.0.1", port)).await), first);
    assert!(tokio::time::timeout(Duration::ZERO, listener.accept()).await.is_err(), "nobody came");
}

#[tokio::test]
async fn more_logins_than_may_be_made_at_once_are_put_off() {
    let silent = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
    let port = silent.local_addr().expect("an address").port();
    let logins = logins(&["http://127.0.0.1"]);
    let connection = connection("127.0.0.1", port);
    let first = login(&logins, &connection);
    tokio::pin!(first);
    let connected = tokio::select! {
        seen = &mut first => panic!("nobody answers: {seen:?}"),
        connected = silent.accept() => connected,
    };
    assert_eq!(login(&logins, &connection).await, LoginSeen::Busy);
    drop(connected);
    assert!(why(first.await).contains("broke"));
}

#[test]
fn tls_decides_the_scheme_and_an_ipv6_address_its_brackets() {
    for host in ["fd00::1", "[fd00::1]"] {
        let route = route(&Connection { tls: Some(ConnectionTls::Required), ..connection(host, 8443) });
        let route = route.unwrap_or_else(|why| panic!("{why}"));
        assert_eq!(route.url.as_str(), "https://[fd00::1]:8443/?query=SELECT+1");
        assert!(!route.plain);
    }
    assert!(route(&connection("db.example/..@evil", 8123)).is_err_and(|why| why.contains("host")));
}

#[tokio::test]
async fn certificate_must_be_vouched_for_and_bear_the_hosts_name() {
    let (port, root) = tls_server().await;
    let over_tls = |host: &str| Connection { tls: Some(ConnectionTls::Required), ..connection(host, port) };
    let targets = || ["localhost", "127.0.0.1"].map(|target| target.parse().expect("a login target")).into();
    let trusting = Logins::new(targets(), vec![root], LIMIT, 1);
    assert_eq!(login(&trusting, &over_tls("localhost")).await, LoginSeen::Accepted);
    for (logins, host) in [(&Logins::new(targets(), Vec::new(), LIMIT, 1), "localhost"), (&trusting, "127.0.0.1")] {
        let why = why(login(logins, &over_tls(host)).await);
        assert!(why.contains("TLS"), "{host}: {why}");
    }
}

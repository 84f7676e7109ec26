//! Servers that speak TLS and HTTP/2, sound ones and others, with an authority of the test's own.

use std::{
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
};

use clickhouse_user_operator::provider::fleet::Target;
use h2::Reason;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, date_time_ymd};
use reqwest::Certificate;
use rustls::{
    ServerConfig,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, PrivateKeyDer},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional},
    net::{TcpListener, TcpStream},
};
use tokio_rustls::TlsAcceptor;
use url::Url;

/// An authority that signs certificates.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

/// What is wrong with a server's certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flaw {
    /// Nothing.
    None,
    /// It ended years ago.
    Expired,
    /// It begins in years.
    NotYetValid,
    /// It is for another host.
    OtherName,
    /// It signed itself.
    SelfSigned,
}

impl Authority {
    pub fn new() -> Self {
        let mut params = CertificateParams::new([]).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        let pem = params.self_signed(&key).expect("a certificate").pem();
        Self { issuer: Issuer::new(params, key), pem }
    }

    /// The authority as `--provider-ca-file` gives it.
    pub fn root(&self) -> Certificate {
        Certificate::from_pem(self.pem.as_bytes()).expect("a certificate")
    }

    /// What a server at `localhost` is set up with that offers these protocols.
    pub fn serving(&self, flaw: Flaw, protocols: &[&str]) -> Arc<ServerConfig> {
        let name = if flaw == Flaw::OtherName { "elsewhere.example" } else { "localhost" };
        let mut params = CertificateParams::new([name.to_owned()]).expect("a name");
        let (begins, ends) = match flaw {
            Flaw::Expired => (2019, 2020),
            Flaw::NotYetValid => (2090, 2091),
            _ => (2020, 2090),
        };
        (params.not_before, params.not_after) = (date_time_ymd(begins, 1, 1), date_time_ymd(ends, 1, 1));
        let key = KeyPair::generate().expect("a key");
        let certificate = match flaw {
            Flaw::SelfSigned => params.self_signed(&key),
            _ => params.signed_by(&key, &self.issuer),
        };
        let certificate: CertificateDer<'static> = certificate.expect("a certificate").der().clone();
        let key = PrivateKeyDer::Pkcs8(key.serialize_der().into());
        let mut config = ServerConfig::builder_with_provider(aws_lc_rs::default_provider().into())
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key)
            .expect("key and certificate fit");
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
        Arc::new(config)
    }
}

/// What a server has seen.
#[derive(Clone, Default)]
pub struct Seen(Arc<Mutex<Vec<String>>>);

impl Seen {
    fn note(&self, what: impl Into<String>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(what.into());
    }

    pub fn all(&self) -> Vec<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Serves every connection of a free port of loopback; ends with the test.
async fn serve<F: Future<Output = ()> + Send + 'static>(
    connection: impl Fn(TcpStream) -> F + Send + 'static,
) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("its address");
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(connection(stream));
        }
    });
    address
}

/// Takes TLS off and hands everything on; notes the protocol that each connection agreed on.
pub async fn terminator(config: Arc<ServerConfig>, behind: &Url) -> (SocketAddr, Seen) {
    let (seen, behind) = (Seen::default(), format!("127.0.0.1:{}", behind.port().expect("a port")));
    let noted = seen.clone();
    let address = serve(move |stream| {
        let (config, noted, behind) = (config.clone(), noted.clone(), behind.clone());
        async move {
            let Ok(mut secured) = TlsAcceptor::from(config).accept(stream).await else { return };
            let protocol = secured.get_ref().1.alpn_protocol().unwrap_or_default();
            noted.note(String::from_utf8_lossy(protocol));
            let mut behind = TcpStream::connect(behind).await.expect("the cloud listens");
            // Either side may end it.
            let _ = copy_bidirectional(&mut secured, &mut behind).await;
        }
    })
    .await;
    (address, seen)
}

/// How a server treats a greeting that it does not like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Greeting {
    /// It speaks no version that we do, and says so.
    Alert,
    /// It answers with TLS 1.0.
    Old,
    /// It says nothing.
    Silence,
    /// It speaks no TLS at all.
    Plain,
    /// It hangs up.
    Goodbye,
}

/// A server that never comes to a handshake's end; notes what it was sent, a line for each TLS record.
pub async fn stranger(greeting: Greeting) -> (SocketAddr, Seen) {
    let seen = Seen::default();
    let noted = seen.clone();
    let address = serve(move |mut stream| {
        let noted = noted.clone();
        async move {
            // Version 1.0, no session, TLS_RSA_WITH_AES_128_CBC_SHA, no compression.
            let old = [&[22, 3, 1, 0, 42, 2, 0, 0, 38, 3, 1][..], &[7; 32], &[0, 0, 47, 0]].concat();
            let answer: &[u8] = match greeting {
                // Fatal: protocol_version.
                Greeting::Alert => &[21, 3, 1, 0, 2, 2, 70],
                Greeting::Old => &old,
                Greeting::Plain => b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n",
                Greeting::Silence | Greeting::Goodbye => &[],
            };
            if record(&mut stream, &noted).await.is_err() || greeting == Greeting::Goodbye {
                return;
            }
            if stream.write_all(answer).await.is_ok() {
                while record(&mut stream, &noted).await.is_ok() {}
            }
        }
    })
    .await;
    (address, seen)
}

/// Reads one TLS record and notes its kind: 20 to 22 belong to a handshake, 23 carries what is sent through it.
async fn record(stream: &mut TcpStream, noted: &Seen) -> io::Result<()> {
    let mut head = [0; 5];
    stream.read_exact(&mut head).await?;
    noted.note(head[0].to_string());
    let mut body = vec![0; usize::from(u16::from_be_bytes([head[3], head[4]]))];
    stream.read_exact(&mut body).await.map(drop)
}

/// How a server of HTTP/2 fails a request that it has read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failing {
    /// The stream is reset before an answer.
    Reset(Reason),
    /// The stream is reset within an answer.
    ResetWithin(Reason),
    /// The connection is given up.
    GoAway(Reason),
    /// The connection is cut.
    Cut,
}

/// A server of HTTP/2 that answers no request; notes the method of each.
pub async fn failing(config: Arc<ServerConfig>, how: Failing) -> (SocketAddr, Seen) {
    let seen = Seen::default();
    let noted = seen.clone();
    let address = serve(move |stream| {
        let (config, noted) = (config.clone(), noted.clone());
        async move {
            let secured = TlsAcceptor::from(config).accept(stream).await.expect("a handshake");
            let mut connection = h2::server::handshake(secured).await.expect("HTTP/2");
            // Polled on after each, so that what was said gets out.
            while let Some(Ok((mut request, mut answer))) = connection.accept().await {
                noted.note(request.method().as_str());
                match how {
                    Failing::Reset(reason) => answer.send_reset(reason),
                    Failing::ResetWithin(reason) => {
                        let head = http::Response::builder().status(200).body(()).expect("a head");
                        let mut body = answer.send_response(head, false).expect("an open stream");
                        body.send_data(r#"{"ret_code":0,"#.into(), false).expect("an open stream");
                        // After the data, not in its place.
                        tokio::spawn(async move {
                            while request.body_mut().data().await.is_some() {}
                            body.send_reset(reason);
                        });
                    }
                    Failing::GoAway(reason) => connection.abrupt_shutdown(reason),
                    Failing::Cut => return,
                }
            }
        }
    })
    .await;
    (address, seen)
}

/// The same instance at other addresses, by https: of the account calls, and of the logins.
pub fn at(target: Target, account_calls: SocketAddr, logins: SocketAddr) -> Target {
    // By name, for which certificates are made.
    let moved = |url: &Url, to: SocketAddr| {
        let url = format!("https://localhost:{}{}", to.port(), url.path());
        Url::parse(&url).expect("a URL")
    };
    match target {
        Target::QingCloud { endpoint, zone, cluster_id, role, method } => {
            Target::QingCloud { endpoint: moved(&endpoint, account_calls), zone, cluster_id, role, method }
        }
        Target::HuaweiCloud { endpoint, iam_endpoint, region, project_id, instance_id, taurus_instance_id } => {
            Target::HuaweiCloud {
                endpoint: moved(&endpoint, account_calls),
                iam_endpoint: moved(&iam_endpoint, logins),
                region,
                project_id,
                instance_id,
                taurus_instance_id,
            }
        }
    }
}

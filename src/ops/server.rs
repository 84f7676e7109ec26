//! The HTTP servers of `/livez`, `/readyz` and `/metrics`.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use axum::{
    Router,
    extract::State,
    http::{StatusCode, header::CONTENT_TYPE},
    response::IntoResponse,
    routing::get,
};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::{
    health::{Health, Verdict},
    metrics::Metrics,
};
use crate::cli::BindAddress;

/// How long open answers may take once the server is asked to end; every one of them is made in memory.
const GRACE: Duration = Duration::from_secs(1);

/// An address that cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("{flag} {address}: cannot listen there: {source}")]
pub struct ListenError {
    flag: &'static str,
    address: BindAddress,
    source: io::Error,
}

/// Starts to listen. `flag` is where the address comes from, for the error.
pub async fn listen(flag: &'static str, address: BindAddress) -> Result<TcpListener, ListenError> {
    let bind = async |host: IpAddr| TcpListener::bind(SocketAddr::new(host, address.port)).await;
    let bound = match address.host {
        Some(host) => bind(host).await,
        None => match bind(Ipv6Addr::UNSPECIFIED.into()).await {
            // A machine without IPv6; where it has both, the IPv6 socket serves IPv4 too.
            Err(error) if error.kind() != io::ErrorKind::AddrInUse => bind(Ipv4Addr::UNSPECIFIED.into()).await,
            bound => bound,
        },
    };
    let listener = bound.map_err(|source| ListenError { flag, address, source })?;
    if let Ok(address) = listener.local_addr() {
        tracing::info!(%address, "{} listens", flag.trim_start_matches('-'));
    }
    Ok(listener)
}

/// `/livez` and `/readyz`: 200 `ok`, or 503 with one line for each thing that is wrong.
pub fn health_routes(health: Health) -> Router {
    let answer = |verdict: Verdict| match verdict {
        Ok(()) => (StatusCode::OK, "ok\n".to_owned()),
        Err(faults) => (StatusCode::SERVICE_UNAVAILABLE, faults.join("\n") + "\n"),
    };
    Router::new()
        .route("/livez", get(async move |State(health): State<Health>| answer(health.live())))
        .route("/readyz", get(async move |State(health): State<Health>| answer(health.ready())))
        .with_state(health)
}

/// `/metrics` in the OpenMetrics text format.
pub fn metrics_routes(metrics: Arc<Metrics>) -> Router {
    let page = async |State(metrics): State<Arc<Metrics>>| match metrics.render() {
        Ok(page) => {
            ([(CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")], page).into_response()
        }
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    };
    Router::new().route("/metrics", get(page)).with_state(metrics)
}

/// Serves until `stop`, and then for a moment more so that open answers end.
pub async fn serve(listener: TcpListener, routes: Router, stop: CancellationToken) -> io::Result<()> {
    let deadline = async {
        stop.cancelled().await;
        tokio::time::sleep(GRACE).await;
    };
    tokio::select! {
        ended = axum::serve(listener, routes).with_graceful_shutdown(stop.clone().cancelled_owned()) => ended,
        () = deadline => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpStream,
        task::JoinHandle,
    };

    use super::{super::health::Readiness, *};

    const ANY: BindAddress = BindAddress { host: Some(IpAddr::V4(Ipv4Addr::LOCALHOST)), port: 0 };

    struct Running {
        address: SocketAddr,
        stop: CancellationToken,
        server: JoinHandle<io::Result<()>>,
    }

    async fn start(routes: Router) -> Running {
        let listener = listen("--flag", ANY).await.expect("a free port");
        let (address, stop) = (listener.local_addr().expect("an address"), CancellationToken::new());
        let server = tokio::spawn(serve(listener, routes, stop.clone()));
        Running { address, stop, server }
    }

    async fn get(address: SocketAddr, path: &str) -> String {
        let mut connection = TcpStream::connect(address).await.expect("connected");
        let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
        connection.write_all(request.as_bytes()).await.expect("sent");
        let mut answer = String::new();
        connection.read_to_string(&mut answer).await.expect("an answer");
        answer
    }

    #[tokio::test]
    async fn probes_answer_by_status_and_name_what_is_not_ready() {
        let health = Health::new(Duration::from_secs(200));
        let running = start(health_routes(health.clone())).await;
        assert!(get(running.address, "/livez").await.starts_with("HTTP/1.1 200 "));
        let starting = get(running.address, "/readyz").await;
        assert!(starting.starts_with("HTTP/1.1 503 ") && starting.ends_with("API server yet\n"), "{starting}");
        health.set_ready(Readiness::StandingBy);
        assert!(get(running.address, "/readyz").await.starts_with("HTTP/1.1 200 "));
        assert!(get(running.address, "/metrics").await.starts_with("HTTP/1.1 404 "));
    }

    #[tokio::test]
    async fn metrics_page_says_it_is_open_metrics() {
        let running = start(metrics_routes(Arc::new(Metrics::new()))).await;
        let page = get(running.address, "/metrics").await;
        assert!(page.contains("content-type: application/openmetrics-text; version=1.0.0; charset=utf-8"), "{page}");
        assert!(page.ends_with("# EOF\n"), "{page}");
    }

    #[tokio::test]
    async fn server_ends_when_asked_even_if_a_client_keeps_its_connection() {
        let running = start(metrics_routes(Arc::new(Metrics::new()))).await;
        let mut idle = TcpStream::connect(running.address).await.expect("connected");
        idle.write_all(b"GET /metrics HTTP/1.1\r\n").await.expect("sent half a request");
        // Connections are taken in order, so this answer shows that the other one is open.
        get(running.address, "/metrics").await;
        running.stop.cancel();
        running.server.await.expect("no panic").expect("a clean end");
    }

    #[tokio::test]
    async fn taken_address_is_an_error_that_names_the_flag() {
        let taken = listen("--flag", ANY).await.expect("a free port");
        let port = taken.local_addr().expect("an address").port();
        let error = listen("--health-bind-address", BindAddress { port, ..ANY }).await.expect_err("taken").to_string();
        assert!(error.starts_with(&format!("--health-bind-address 127.0.0.1:{port}: cannot listen there")), "{error}");
    }

    #[tokio::test]
    async fn address_without_a_host_is_reachable_over_ipv4() {
        let listener = listen("--flag", BindAddress { host: None, port: 0 }).await.expect("a free port");
        let port = listener.local_addr().expect("an address").port();
        TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.expect("connected");
    }
}

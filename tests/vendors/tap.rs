//! A server between a client and a cloud: it passes everything on unchanged and keeps it.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex},
};

use axum::{
    Router,
    body::{Body, Bytes, to_bytes},
    extract::{Request, State},
    http::{HeaderMap, Method, Uri, header},
    response::Response,
};
use tokio::net::TcpListener;
use tokio_util::task::AbortOnDropHandle;
use url::Url;

/// Largest body passed on.
const LIMIT: usize = 1024 * 1024;

/// One request, and what was answered.
#[derive(Clone)]
pub struct Exchange {
    pub method: Method,
    pub target: Uri,
    pub headers: HeaderMap,
    pub body: Bytes,
    pub status: u16,
    pub answer: Bytes,
}

/// Stops listening when it is dropped.
pub struct Tap {
    address: SocketAddr,
    exchanges: Arc<Mutex<Vec<Exchange>>>,
    _serving: AbortOnDropHandle<()>,
}

#[derive(Clone)]
struct Upstream {
    origin: Url,
    client: reqwest::Client,
    exchanges: Arc<Mutex<Vec<Exchange>>>,
}

impl Tap {
    /// Listens in front of the server at `origin`, whose path does not matter.
    pub async fn start(origin: Url) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let client = reqwest::Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .tls_certs_only([])
            .build()
            .unwrap();
        let exchanges = Arc::default();
        let upstream = Upstream { origin, client, exchanges: Arc::clone(&exchanges) };
        let router = Router::new().fallback(pass_on).with_state(upstream);
        let serving = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { address, exchanges, _serving: AbortOnDropHandle::new(serving) }
    }

    /// Where clients find it.
    pub fn url(&self, path: &str) -> Url {
        format!("http://{}{path}", self.address).parse().unwrap()
    }

    /// Everything that went through since the last time.
    pub fn take(&self) -> Vec<Exchange> {
        std::mem::take(&mut self.exchanges.lock().unwrap())
    }

    /// How many requests went through since the last [`Tap::take`].
    pub fn count(&self) -> usize {
        self.exchanges.lock().unwrap().len()
    }
}

async fn pass_on(State(upstream): State<Upstream>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let body = to_bytes(body, LIMIT).await.unwrap();
    let url = upstream.origin.join(&parts.uri.to_string()).unwrap();
    let mut forwarded = upstream.client.request(parts.method.clone(), url).body(body.clone());
    // `Host` stays as it came, because it is signed.
    for (name, value) in &parts.headers {
        if *name != header::CONTENT_LENGTH && *name != header::CONNECTION {
            forwarded = forwarded.header(name, value);
        }
    }
    let answered = forwarded.send().await.unwrap();
    let (status, headers) = (answered.status(), answered.headers().clone());
    let answer = answered.bytes().await.unwrap();
    upstream.exchanges.lock().unwrap().push(Exchange {
        method: parts.method,
        target: parts.uri,
        headers: parts.headers,
        body,
        status: status.as_u16(),
        answer: answer.clone(),
    });
    let mut response = Response::new(Body::from(answer));
    *response.status_mut() = status;
    for (name, value) in headers {
        if let Some(name) = name
            && ![header::CONTENT_LENGTH, header::CONNECTION, header::TRANSFER_ENCODING].contains(&name)
        {
            response.headers_mut().append(name, value);
        }
    }
    response
}

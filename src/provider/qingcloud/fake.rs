//! A server of one closure, for the tests of this folder: it keeps what it was sent and answers what it is told.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use axum::{
    Router,
    body::{Body, to_bytes},
    extract::Request,
    http::{
        StatusCode,
        header::{CONTENT_TYPE, DATE},
    },
    response::Response,
};
use jiff::Timestamp;
use reqwest::Url;
use tokio::{io::AsyncReadExt, net::TcpListener, task::JoinHandle, time::Instant};

use super::{
    client::{Client, Credentials},
    sign::{self, Parameters},
};
use crate::{
    domain::secret::SecretText,
    provider::{
        budget::{Budget, Rate},
        contract::ProviderKind,
        http::{Http, Observer, Transport},
    },
};

pub(super) const ACCESS_KEY_ID: &str = "QYACCESSKEYIDEXAMPLE";
pub(super) const SECRET_ACCESS_KEY: &str = "SECRETACCESSKEY";

/// A request as it arrived.
#[derive(Clone)]
pub(super) struct Seen {
    pub method: String,
    pub path: String,
    /// The raw query.
    pub query: String,
    /// The raw body.
    pub body: String,
    /// Query of a GET or form of a POST, decoded.
    pub parameters: BTreeMap<String, String>,
}

impl Seen {
    /// Whether the signature is that of what arrived.
    pub fn signature_holds(&self) -> bool {
        let parameters = self
            .parameters
            .iter()
            .filter(|(name, _)| *name != "signature")
            .fold(Parameters::default(), |parameters, (name, value)| parameters.with(name.clone(), value.clone()));
        let sent = if self.method == "POST" { &self.body } else { &self.query };
        *sign::signed(&self.method, &self.path, &parameters, &SecretText::new(SECRET_ACCESS_KEY)) == *sent
    }
}

/// An answer.
pub(super) struct Reply {
    status: StatusCode,
    content_type: &'static str,
    date: Option<Timestamp>,
    body: String,
}

impl Reply {
    pub fn json(body: &str) -> Self {
        Self { status: StatusCode::OK, content_type: "application/json", date: None, body: body.to_owned() }
    }

    pub fn html(body: &str) -> Self {
        Self { content_type: "text/html", ..Self::json(body) }
    }

    pub fn with_status(self, status: StatusCode) -> Self {
        Self { status, ..self }
    }

    pub fn dated(self, date: Timestamp) -> Self {
        Self { date: Some(date), ..self }
    }

    fn into_response(self) -> Response {
        let mut response = Response::builder().status(self.status).header(CONTENT_TYPE, self.content_type);
        if let Some(date) = self.date {
            response = response.header(DATE, date.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string());
        }
        response.body(Body::from(self.body)).expect("a legal response")
    }
}

/// A running server; it ends with its value.
pub(super) struct Server {
    pub address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
    task: JoinHandle<()>,
}

impl Server {
    pub async fn start(answer: impl Fn(&Seen) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("its address");
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (answer, record) = (Arc::new(answer), seen.clone());
        let handler = move |request: Request| {
            let (answer, record) = (answer.clone(), record.clone());
            async move {
                let request = read(request).await;
                let reply = answer(&request);
                record.lock().unwrap_or_else(PoisonError::into_inner).push(request);
                reply.into_response()
            }
        };
        let serving = axum::serve(listener, Router::new().fallback(handler));
        let task = tokio::spawn(async move { serving.await.expect("the server runs") });
        Self { address, seen, task }
    }

    pub fn client(&self) -> Client {
        client(format!("http://{}/iaas/", self.address).parse().expect("a URL"))
    }

    pub fn requests(&self) -> Vec<Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn read(request: Request) -> Seen {
    let (head, body) = request.into_parts();
    let body = to_bytes(body, usize::MAX).await.expect("a body");
    let body = String::from_utf8(body.to_vec()).expect("text");
    let query = head.uri.query().unwrap_or_default().to_owned();
    let pairs = if head.method == "POST" { &body } else { &query };
    let parameters = url::form_urlencoded::parse(pairs.as_bytes()).into_owned().collect();
    Seen { method: head.method.to_string(), path: head.uri.path().to_owned(), query, body, parameters }
}

/// A client with the test key for an endpoint.
pub(super) fn client(endpoint: Url) -> Client {
    let budget = Arc::new(Budget::new(Rate { per_second: 1.0, burst: 20 }, Instant::now()));
    let observer: Observer = Arc::new(|_| {});
    let transport =
        Transport { call_timeout: Duration::from_secs(10), extra_roots: Vec::new(), observer: observer.clone() };
    let client = transport.client().expect("a client");
    let http = Http::new(ProviderKind::QingCloud, budget, client, observer);
    let credentials = Credentials {
        access_key_id: SecretText::new(ACCESS_KEY_ID),
        secret_access_key: SecretText::new(SECRET_ACCESS_KEY),
    };
    Client::new(Arc::new(http), endpoint, credentials)
}

/// An endpoint where nobody listens.
pub(super) async fn closed_endpoint() -> Url {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("its address");
    format!("http://{address}/iaas/").parse().expect("a URL")
}

/// An endpoint that reads a request and hangs up without an answer.
pub(super) async fn endpoint_that_hangs_up() -> Url {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("its address");
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut bytes = [0; 4096];
            let _request = stream.read(&mut bytes).await;
        }
    });
    format!("http://{address}/iaas/").parse().expect("a URL")
}

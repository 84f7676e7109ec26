//! A proxy between the operator and everything it calls, which numbers the calls and can stop one of them: before it is
//! sent, before its answer is seen, or right after.

use std::{
    collections::BTreeMap,
    fs,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use axum::{
    Router,
    body::{Body, Bytes, to_bytes},
    extract::{Request, State},
    http::{HeaderMap, Method, Uri, header},
    response::Response,
};
use base64::{Engine, engine::general_purpose::STANDARD};
use futures::stream;
use serde_json::Value;
use tempfile::TempDir;
use tokio::{
    net::TcpListener,
    sync::{Notify, watch},
};
use tokio_util::task::AbortOnDropHandle;
use url::Url;

use crate::trouble::Troubles;

/// Largest request passed on.
const LIMIT: usize = 1024 * 1024;

/// How long a process on this machine may take to read an answer that was written to its socket.
const READS_ANSWER: Duration = Duration::from_millis(100);

/// When a call is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cut {
    /// It is not sent.
    Before,
    /// It has its effect, and nobody sees its answer before [`Proxy::release`].
    Effect,
    /// Its answer is seen, and nothing is called any more.
    Answer,
}

impl Cut {
    pub const ALL: [Self; 3] = [Self::Before, Self::Effect, Self::Answer];
}

/// One call of a run: what it asks for, and the how manieth of those.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Call {
    pub what: String,
    pub number: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// The point has not been reached.
    Open,
    /// The call has been answered; the next one does not get through.
    Answered,
    /// The operator may die.
    Reached,
}

struct Points {
    namespace: String,
    state: Mutex<Counted>,
    stage: watch::Sender<Stage>,
    released: Notify,
    /// The API server does not answer; how many writes to users it has missed.
    outage: watch::Sender<Option<usize>>,
    troubles: Troubles,
}

#[derive(Default)]
struct Counted {
    armed: bool,
    point: Option<(Call, Cut)>,
    calls: Vec<Call>,
}

/// Stops listening when it is dropped.
pub struct Proxy {
    points: Arc<Points>,
    _api_server: Listener,
    cloud: Listener,
    folder: TempDir,
}

struct Listener {
    address: SocketAddr,
    _serving: AbortOnDropHandle<()>,
}

#[derive(Clone)]
struct Upstream {
    origin: Url,
    is_api_server: bool,
    client: reqwest::Client,
    points: Arc<Points>,
}

impl Proxy {
    /// A proxy for the operator of one namespace, who would use this kubeconfig and this cloud.
    pub async fn start(kubeconfig: &Path, cloud: &Url, namespace: &str) -> Self {
        let mut config: Value = serde_json::from_slice(&fs::read(kubeconfig).expect("a kubeconfig")).expect("JSON");
        let cluster = &mut config["clusters"][0]["cluster"];
        let origin: Url = cluster["server"].as_str().and_then(|it| it.parse().ok()).expect("the API server's address");
        let authority = cluster["certificate-authority-data"].as_str().expect("its authority");
        let authority = reqwest::Certificate::from_pem(&STANDARD.decode(authority).expect("base64")).expect("PEM");
        let points = Arc::new(Points {
            namespace: namespace.to_owned(),
            state: Mutex::default(),
            stage: watch::Sender::new(Stage::Open),
            released: Notify::new(),
            outage: watch::Sender::new(None),
            troubles: Troubles::default(),
        });
        let client = |certificates: Vec<reqwest::Certificate>| {
            let builder = reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none());
            builder.tls_certs_only(certificates).build().expect("a client")
        };
        let api_server =
            Upstream { origin, is_api_server: true, client: client(vec![authority]), points: points.clone() };
        let api_server = Listener::start(api_server).await;
        let cloud = Upstream {
            origin: cloud.clone(),
            is_api_server: false,
            client: client(Vec::new()),
            points: points.clone(),
        };
        let cloud = Listener::start(cloud).await;

        *cluster = serde_json::json!({ "server": format!("http://{}", api_server.address) });
        let folder = tempfile::tempdir().expect("a temporary folder");
        fs::write(folder.path().join("kubeconfig"), config.to_string()).expect("a kubeconfig");
        Self { points, _api_server: api_server, cloud, folder }
    }

    /// For the operator.
    pub fn kubeconfig(&self) -> PathBuf {
        self.folder.path().join("kubeconfig")
    }

    /// Where the operator finds the cloud.
    pub fn cloud_origin(&self) -> String {
        format!("http://{}", self.cloud.address)
    }

    /// Begins to count, and to wait for the call to be cut.
    pub fn arm(&self, point: Option<(Call, Cut)>) {
        *self.points.state() = Counted { armed: true, point, calls: Vec::new() };
    }

    /// Every call since the proxy was armed.
    pub fn calls(&self) -> Vec<Call> {
        self.points.state().calls.clone()
    }

    /// Returns once the operator has come to the point where it is to die.
    pub async fn reached(&self) {
        let mut stage = self.points.stage.subscribe();
        // The sender lives in `self`, so neither wait can fail.
        let stopped = *stage.wait_for(|stage| *stage != Stage::Open).await.expect("the sender lives");
        if stopped == Stage::Answered {
            // The next call proves that the answer was read; the last one of a run has none after it.
            let next = stage.wait_for(|stage| *stage == Stage::Reached);
            let _ = tokio::time::timeout(READS_ANSWER, next).await;
        }
    }

    /// What goes wrong with requests to the API server.
    pub fn troubles(&self) -> &Troubles {
        &self.points.troubles
    }

    /// From now on the API server answers nothing, and its watches break off.
    pub fn api_server_goes(&self) {
        self.points.outage.send_replace(Some(0));
    }

    /// Returns once it has missed a write to a user.
    pub async fn api_server_missed_a_write(&self) {
        let mut outage = self.points.outage.subscribe();
        outage.wait_for(|missed| missed.is_some_and(|it| it > 0)).await.expect("the sender lives");
    }

    /// It answers again.
    pub fn api_server_comes_back(&self) {
        self.points.outage.send_replace(None);
    }

    /// Lets the answer that is held back through.
    pub fn release(&self) {
        self.points.released.notify_one();
    }

    /// Lets everything else through, for the next process.
    pub fn open(&self) {
        *self.points.state() = Counted::default();
        self.points.stage.send_replace(Stage::Open);
    }
}

impl Listener {
    async fn start(upstream: Upstream) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let router = Router::new().fallback(pass_on).with_state(upstream);
        let serving = tokio::spawn(async move { axum::serve(listener, router).await.expect("it serves") });
        Self { address, _serving: AbortOnDropHandle::new(serving) }
    }
}

impl Points {
    fn state(&self) -> MutexGuard<'_, Counted> {
        self.state.lock().expect("no panic")
    }

    /// Counts a call; where it is the one to be cut, says how.
    fn meet(&self, what: String) -> Option<Cut> {
        let mut state = self.state();
        if !state.armed {
            return None;
        }
        let number = state.calls.iter().filter(|call| call.what == what).count() + 1;
        let call = Call { what, number };
        let cut = state.point.as_ref().filter(|(wanted, _)| *wanted == call).map(|(_, cut)| *cut);
        state.calls.push(call);
        cut
    }

    fn say(&self, stage: Stage) {
        self.stage.send_replace(stage);
    }
}

/// What a call is named in every run; none for what is no call of a pass: lists, watches, Leases, Events, the key.
fn name_of(points: &Points, method: &Method, uri: &Uri, body: &[u8]) -> Option<String> {
    let path = uri.path();
    if path.starts_with("/iaas") {
        let text = if body.is_empty() { uri.query().unwrap_or_default().as_bytes() } else { body };
        let parameters: BTreeMap<_, _> = url::form_urlencoded::parse(text).into_owned().collect();
        return parameters.get("service").or(parameters.get("action")).cloned();
    }
    let namespaced = |prefix: &str| path.strip_prefix(&format!("{prefix}/namespaces/{}/", points.namespace));
    if let Some(object) = namespaced("/apis/chuser.dev/v1alpha1") {
        return (method != Method::GET).then(|| format!("{method} {object}"));
    }
    if let Some(object) = namespaced("/api/v1") {
        return object.starts_with("secrets/").then(|| format!("{method} {object}"));
    }
    path.starts_with("/v3/").then(|| format!("{method} {path}"))
}

async fn pass_on(State(upstream): State<Upstream>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let body = to_bytes(body, LIMIT).await.expect("a small request");
    if upstream.is_api_server && upstream.points.outage.borrow().is_some() {
        if parts.method != Method::GET && parts.uri.path().contains("/clickhouseusers/") {
            upstream.points.outage.send_modify(|missed| *missed = missed.map(|it| it + 1));
        }
        return response(reqwest::StatusCode::SERVICE_UNAVAILABLE, HeaderMap::new(), Body::empty());
    }
    if upstream.is_api_server
        && let Some(trouble) = upstream.points.troubles.meet(&parts.method, &parts.uri, &body)
    {
        if trouble.has_effect() {
            // To the end, even if the operator gives up meanwhile.
            let upstream = upstream.clone();
            let sent = async move { send(&upstream, parts.method, &parts.uri, &parts.headers, body).await };
            tokio::spawn(sent).await.expect("no panic");
        }
        return trouble.answer().await;
    }
    let Some(what) = name_of(&upstream.points, &parts.method, &parts.uri, &body) else {
        return stream_through(&upstream, parts.method, &parts.uri, &parts.headers, body).await;
    };
    let points = &upstream.points;
    if *points.stage.borrow() != Stage::Open {
        points.say(Stage::Reached);
        return std::future::pending().await;
    }
    let cut = points.meet(what);
    if cut == Some(Cut::Before) {
        points.say(Stage::Reached);
        return std::future::pending().await;
    }
    // A task of its own: what was sent has its effect even if the operator dies over another call.
    let forwarded = upstream.clone();
    let answered = tokio::spawn(async move {
        let answer = send(&forwarded, parts.method, &parts.uri, &parts.headers, body).await;
        let (status, headers) = (answer.status(), answer.headers().clone());
        response(status, headers, Body::from(answer.bytes().await.expect("an answer")))
    });
    let answer = answered.await.expect("no panic");
    match cut {
        Some(Cut::Effect) => {
            points.say(Stage::Reached);
            points.released.notified().await;
            answer
        }
        Some(Cut::Answer) => {
            points.say(Stage::Answered);
            answer
        }
        _ => answer,
    }
}

/// Passes on what may never end, piece by piece.
async fn stream_through(upstream: &Upstream, method: Method, uri: &Uri, headers: &HeaderMap, body: Bytes) -> Response {
    let answer = send(upstream, method, uri, headers, body).await;
    let (status, headers) = (answer.status(), answer.headers().clone());
    if upstream.is_api_server && status.is_success() && uri.query().is_some_and(|query| query.contains("watch=true")) {
        let mut outage = upstream.points.outage.subscribe();
        let gone = async move { drop(outage.wait_for(Option::is_some).await) };
        return response(status, headers, upstream.points.troubles.stream(uri, answer, gone));
    }
    let pieces = stream::unfold(answer, |mut answer| async move {
        let piece = answer.chunk().await.transpose()?;
        Some((piece, answer))
    });
    response(status, headers, Body::from_stream(pieces))
}

async fn send(upstream: &Upstream, method: Method, uri: &Uri, headers: &HeaderMap, body: Bytes) -> reqwest::Response {
    let url = upstream.origin.join(&uri.to_string()).expect("a path and a query");
    let mut forwarded = upstream.client.request(method, url).body(body);
    // `Host` stays as it came where it is signed; the API server takes any.
    for (name, value) in headers {
        if *name != header::CONTENT_LENGTH && *name != header::CONNECTION {
            forwarded = forwarded.header(name, value);
        }
    }
    forwarded.send().await.expect("an answer")
}

fn response(status: reqwest::StatusCode, headers: HeaderMap, body: Body) -> Response {
    let mut response = Response::new(body);
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

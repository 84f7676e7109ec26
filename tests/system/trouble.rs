//! What goes wrong on purpose between the operator and the API server: requests that are refused or answered wrongly,
//! late or never, and watches that hang, break or repeat themselves.

use std::{
    convert::Infallible,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use axum::{
    body::{Body, Bytes},
    http::{Method, StatusCode, Uri, header},
    response::Response,
};
use futures::stream;
use serde_json::{Value, json};
use tokio::sync::{mpsc, watch};

use crate::world::PATIENCE;

/// How often a held watch shows that nothing happens.
const BOOKMARKS_EVERY: Duration = Duration::from_millis(100);

/// A request of the operator to the API server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Asked {
    /// Finalizer and journal of the user of this name.
    Intent(String),
    /// Its status.
    Status(String),
    /// The finalizer goes.
    Release(String),
    /// A list whose path ends like this.
    List(String),
    /// A watch whose path ends like this.
    Watch(String),
}

/// Makes one of a name or the end of a path.
pub type Asking = fn(String) -> Asked;

impl Asked {
    fn of(method: &Method, uri: &Uri, body: &[u8]) -> Option<Self> {
        let path = uri.path();
        if method == Method::GET {
            let watches = uri.query().is_some_and(|query| query.contains("watch=true"));
            let path = path.to_owned();
            return Some(if watches { Self::Watch(path) } else { Self::List(path) });
        }
        let (_, user) = path.split_once("/clickhouseusers/")?;
        if let Some(user) = user.strip_suffix("/status") {
            return Some(Self::Status(user.to_owned()));
        }
        let body: Value = serde_json::from_slice(body).ok()?;
        let journal = &body["metadata"]["annotations"]["chuser.dev/operation"];
        Some(if journal.is_string() { Self::Intent(user.to_owned()) } else { Self::Release(user.to_owned()) })
    }

    fn covers(&self, asked: &Self) -> bool {
        match (self, asked) {
            (Self::List(end), Self::List(path)) | (Self::Watch(end), Self::Watch(path)) => path.ends_with(end),
            _ => self == asked,
        }
    }

    /// The user that is written.
    pub fn user(&self) -> Option<&str> {
        match self {
            Self::Intent(user) | Self::Status(user) | Self::Release(user) => Some(user),
            Self::List(_) | Self::Watch(_) => None,
        }
    }
}

/// What becomes of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// It is refused, with `Retry-After` where there is one.
    Refused(u16, Option<u32>),
    /// It is carried out, and this is the answer.
    EffectThen(u16),
    /// It is carried out and never answered.
    EffectThenSilence,
    /// It is neither carried out nor answered.
    Silence,
}

impl Trouble {
    /// Whether the API server still gets the request.
    pub fn has_effect(self) -> bool {
        matches!(self, Self::EffectThen(_) | Self::EffectThenSilence)
    }

    /// The answer in place of the API server's own.
    pub async fn answer(self) -> Response {
        let (code, retry_after) = match self {
            Self::Refused(code, retry_after) => (code, retry_after),
            Self::EffectThen(code) => (code, None),
            Self::EffectThenSilence | Self::Silence => std::future::pending().await,
        };
        let mut answer = Response::new(Body::from(status(code).to_string()));
        *answer.status_mut() = StatusCode::from_u16(code).expect("a status");
        answer.headers_mut().insert(header::CONTENT_TYPE, "application/json".parse().expect("a value"));
        if let Some(seconds) = retry_after {
            answer.headers_mut().insert(header::RETRY_AFTER, seconds.into());
        }
        answer
    }
}

/// The object that says what went wrong.
fn status(code: u16) -> Value {
    let message = "refused by the test";
    json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": message, "code": code})
}

/// How the watches that are open end.
#[derive(Clone, Debug)]
pub enum End {
    /// In order.
    Clean,
    /// With an event of type ERROR.
    Error(u16),
    /// In the middle of an event.
    HalfALine,
    /// Not at all, and nothing comes any more.
    Never,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    Well,
    /// Every event comes twice.
    Twice,
    /// Nothing comes.
    Held,
    /// Nothing comes but bookmarks that say so.
    Bookmarks,
}

#[derive(Clone, Debug)]
struct Watches {
    flow: Flow,
    /// Counts the ends; those that are open have begun before.
    ends: usize,
    end: End,
}

/// What is to go wrong, and what was asked.
pub struct Troubles {
    planned: Mutex<Vec<(Asked, usize, Trouble)>>,
    asked: watch::Sender<Vec<Asked>>,
    watches: watch::Sender<Watches>,
}

impl Default for Troubles {
    fn default() -> Self {
        let watches = watch::Sender::new(Watches { flow: Flow::Well, ends: 0, end: End::Clean });
        Self { planned: Mutex::default(), asked: watch::Sender::default(), watches }
    }
}

impl Troubles {
    /// This becomes of so many of these requests.
    pub fn plan(&self, asked: Asked, times: usize, trouble: Trouble) {
        self.planned().push((asked, times, trouble));
    }

    /// Nothing more goes wrong with requests.
    pub fn over(&self) {
        self.planned().clear();
    }

    /// Whether all that was planned has gone wrong.
    pub fn all_met(&self) -> bool {
        self.planned().iter().all(|(_, left, _)| *left == 0)
    }

    /// What was asked so far.
    pub fn asked(&self) -> Vec<Asked> {
        self.asked.borrow().clone()
    }

    /// Waits until this was asked so many times since the beginning.
    pub async fn was_asked(&self, what: &Asked, times: usize) {
        let mut asked = self.asked.subscribe();
        let enough = asked.wait_for(|asked| asked.iter().filter(|it| what.covers(it)).count() >= times);
        let met = tokio::time::timeout(PATIENCE, enough).await;
        met.unwrap_or_else(|_| panic!("{what:?} was not asked {times} times")).expect("the sender lives");
    }

    /// How the watches flow from now on.
    pub fn watches_flow(&self, flow: Flow) {
        self.watches.send_modify(|watches| watches.flow = flow);
    }

    /// Ends every watch that is open; those that follow are well.
    pub fn watches_end(&self, end: End) {
        self.watches.send_modify(|watches| {
            *watches = Watches { flow: Flow::Well, ends: watches.ends + 1, end };
        });
    }

    /// What becomes of a request; none where it is answered as it should be.
    pub fn meet(&self, method: &Method, uri: &Uri, body: &[u8]) -> Option<Trouble> {
        let asked = Asked::of(method, uri, body)?;
        let mut planned = self.planned();
        let rule = planned.iter_mut().find(|(what, left, _)| *left > 0 && what.covers(&asked));
        let trouble = rule.map(|(_, left, trouble)| {
            *left -= 1;
            *trouble
        });
        self.asked.send_modify(|all| all.push(asked));
        trouble
    }

    /// The body of a watch, event by event, until the API server ends it, `gone` is over or the test wants it ended.
    pub fn stream(
        &self,
        uri: &Uri,
        answer: reqwest::Response,
        gone: impl Future<Output = ()> + Send + 'static,
    ) -> Body {
        let (sender, receiver) = mpsc::channel(1);
        let (watches, events) = (self.watches.subscribe(), Events::new(uri, answer));
        tokio::spawn(async move {
            tokio::select! {
                () = events.pass(watches, &sender) => {}
                () = sender.closed() => {}
                () = gone => {}
            }
        });
        Body::from_stream(stream::unfold(receiver, async |mut receiver| {
            let line: Bytes = receiver.recv().await?;
            Some((Ok::<_, Infallible>(line), receiver))
        }))
    }

    fn planned(&self) -> MutexGuard<'_, Vec<(Asked, usize, Trouble)>> {
        self.planned.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The events of one watch.
struct Events {
    answer: reqwest::Response,
    buffer: Vec<u8>,
    /// The version that the operator has come to.
    version: String,
    of_users: bool,
}

impl Events {
    fn new(uri: &Uri, answer: reqwest::Response) -> Self {
        let query = url::form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes());
        let version = query.into_owned().find(|(key, _)| key == "resourceVersion").map(|(_, version)| version);
        let of_users = uri.path().ends_with("/clickhouseusers");
        Self { answer, buffer: Vec::new(), version: version.unwrap_or_default(), of_users }
    }

    async fn pass(mut self, mut watches: watch::Receiver<Watches>, sender: &mpsc::Sender<Bytes>) {
        let begun = watches.borrow().ends;
        loop {
            let now = watches.borrow_and_update().clone();
            if now.ends > begun {
                return self.end(&now.end, sender).await;
            }
            let changed = watches.changed();
            match now.flow {
                Flow::Held => drop(changed.await),
                Flow::Bookmarks => tokio::select! {
                    () = tokio::time::sleep(BOOKMARKS_EVERY) => say(sender, self.bookmark()).await,
                    _ = changed => {}
                },
                Flow::Well | Flow::Twice => tokio::select! {
                    line = self.next() => {
                        let Some(line) = line else { return };
                        for _ in 0..if now.flow == Flow::Twice { 2 } else { 1 } {
                            say(sender, line.clone()).await;
                        }
                    }
                    _ = changed => {}
                },
            }
        }
    }

    async fn end(mut self, end: &End, sender: &mpsc::Sender<Bytes>) {
        match end {
            End::Clean => {}
            End::Error(code) => {
                say(sender, format!("{}\n", json!({"type": "ERROR", "object": status(*code)})).into()).await;
            }
            End::HalfALine => {
                let line = self.next().await.unwrap_or_default();
                say(sender, line.slice(..line.len() / 2)).await;
            }
            End::Never => sender.closed().await,
        }
    }

    /// The next event with its line break.
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            if let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n') {
                let line: Bytes = self.buffer.drain(..=end).collect();
                let event: Value = serde_json::from_slice(&line).unwrap_or_default();
                if let Some(version) = event["object"]["metadata"]["resourceVersion"].as_str() {
                    version.clone_into(&mut self.version);
                }
                return Some(line);
            }
            let more = self.answer.chunk().await.ok().flatten()?;
            self.buffer.extend_from_slice(&more);
        }
    }

    fn bookmark(&self) -> Bytes {
        let (version, kind) = if self.of_users {
            ("chuser.dev/v1alpha1", "ClickHouseUser")
        } else {
            ("meta.k8s.io/v1", "PartialObjectMetadata")
        };
        let metadata = json!({ "resourceVersion": self.version, "creationTimestamp": null });
        let object = json!({ "apiVersion": version, "kind": kind, "metadata": metadata });
        format!("{}\n", json!({ "type": "BOOKMARK", "object": object })).into()
    }
}

/// Nobody listens any more where the operator has closed the connection.
async fn say(sender: &mpsc::Sender<Bytes>, words: Bytes) {
    let _ = sender.send(words).await;
}

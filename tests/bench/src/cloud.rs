//! A cloud that costs nothing but the latency it is told to have: no signature is checked, no rule is kept. What the
//! operator says is proven elsewhere; here both sides talk with it, and it must not be what is measured.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use axum::{
    Json, Router,
    extract::{Path, Query, State},
    routing::{get, put},
};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::{net::TcpListener, sync::oneshot, time::sleep};

/// A cloud in this process, gone with it.
#[derive(Clone)]
pub struct Cloud {
    shared: Arc<Shared>,
    /// Scheme, host and port.
    pub origin: String,
}

struct Shared {
    latency: Duration,
    accounts: Mutex<HashMap<String, BTreeSet<String>>>,
    expected: Mutex<HashMap<String, oneshot::Sender<Instant>>>,
    changes: AtomicUsize,
}

impl Cloud {
    /// Serves on a free port of loopback; every change of an account takes `latency`.
    pub async fn start(latency: Duration) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let origin = format!("http://{}", listener.local_addr().expect("a bound port"));
        let shared = Arc::new(Shared {
            latency,
            accounts: Mutex::default(),
            expected: Mutex::default(),
            changes: AtomicUsize::new(0),
        });
        let users = "/v3/{project}/instances/{instance}/clickhouse/users";
        let router = Router::new()
            .route(users, get(list).post(create))
            .route(&format!("{users}/password"), put(set_password))
            .with_state(shared.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { shared, origin }
    }

    /// The path below which an instance's accounts are.
    pub fn users_of(&self, project: &str, instance: &str) -> String {
        format!("{}/v3/{project}/instances/{instance}/clickhouse/users", self.origin)
    }

    /// Puts an account there without a call.
    pub fn seed(&self, instance: &str, account: &str) {
        lock(&self.shared.accounts).entry(instance.to_owned()).or_default().insert(account.to_owned());
    }

    /// Tells when the next change of this account arrives.
    pub fn expect(&self, account: &str) -> oneshot::Receiver<Instant> {
        let (sender, receiver) = oneshot::channel();
        lock(&self.shared.expected).insert(account.to_owned(), sender);
        receiver
    }

    /// How many changes of accounts were asked for.
    pub fn changes(&self) -> usize {
        self.shared.changes.load(Ordering::Relaxed)
    }
}

#[derive(Deserialize)]
struct Page {
    limit: usize,
    offset: usize,
}

#[derive(Deserialize)]
struct Change {
    user_name: String,
}

async fn list(
    State(shared): State<Arc<Shared>>,
    Path((_, instance)): Path<(String, String)>,
    Query(page): Query<Page>,
) -> Json<Value> {
    let accounts = lock(&shared.accounts);
    let listed = accounts.get(&instance);
    let rows: Vec<_> = listed
        .into_iter()
        .flatten()
        .skip(page.offset)
        .take(page.limit)
        .map(|name| json!({ "user_name": name, "databases": ["*"], "dml": 1, "ddl": 0 }))
        .collect();
    Json(json!({ "user_details": rows, "total_count": listed.map_or(0, BTreeSet::len) }))
}

async fn create(
    State(shared): State<Arc<Shared>>,
    Path((_, instance)): Path<(String, String)>,
    Json(change): Json<Change>,
) -> Json<Value> {
    shared.arrived(&change.user_name).await;
    lock(&shared.accounts).entry(instance).or_default().insert(change.user_name);
    Json(json!({ "result": "SUCCESS" }))
}

async fn set_password(State(shared): State<Arc<Shared>>, Json(change): Json<Change>) -> Json<Value> {
    shared.arrived(&change.user_name).await;
    Json(json!({ "result": "SUCCESS" }))
}

impl Shared {
    async fn arrived(&self, account: &str) {
        let at = Instant::now();
        self.changes.fetch_add(1, Ordering::Relaxed);
        if let Some(waiting) = lock(&self.expected).remove(account) {
            // Nobody waits any more where the sample was given up.
            let _ = waiting.send(at);
        }
        sleep(self.latency).await;
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

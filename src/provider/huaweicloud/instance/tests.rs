//! The account calls over a real connection to a small server that records what it gets.

mod calls;
mod listing;
mod login;
mod outcomes;

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use axum::{
    Router,
    body::{Body, to_bytes},
    extract::Request as Incoming,
    http::Response,
};
use reqwest::Url;
use serde_json::{Value, json};
use tokio::{net::TcpListener, time::Instant};

use super::*;
use crate::provider::{
    budget::{Budget, Rate},
    contract::{Permission, ProviderKind},
    http::{Http, Observer, Transport},
    huaweicloud::client::{Credentials, Endpoint},
};

const PROJECT: &str = "23a50154cf494ec9ad6883979a12db0a";
const INSTANCE: &str = "df3ae779e2ad4993a03ccd7a81240125in16";
const TAURUS: &str = "fb632d1d531a4107804f0f082581810fin07";
const SECRET_KEY: &str = "SKtest/Huawei+0123456789abcdefABCDEFGHIJ";
const IAM_PASSWORD: &str = "IAMPassword";

/// A request as the server got it.
#[derive(Clone)]
struct Received {
    method: String,
    path: String,
    query: HashMap<String, String>,
    /// As on the wire.
    raw_query: Option<String>,
    headers: reqwest::header::HeaderMap,
    body: Vec<u8>,
}

impl Received {
    fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).expect("a JSON body")
    }

    fn is_login(&self) -> bool {
        self.path == "/v3/auth/tokens"
    }
}

/// What the server answers: status, headers, body.
struct Reply(u16, Vec<(&'static str, String)>, String);

fn reply(status: u16, body: &Value) -> Reply {
    Reply(status, Vec::new(), body.to_string())
}

fn success() -> Reply {
    reply(200, &json!({"result": "SUCCESS"}))
}

/// The answer to a login.
fn token(text: &str) -> Reply {
    let body =
        json!({"token": {"expires_at": "2026-11-23T08:00:00.000000Z", "issued_at": "2026-11-22T08:00:00.000000Z"}});
    Reply(201, vec![("x-subject-token", text.to_owned())], body.to_string())
}

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<Received>>>);

impl Log {
    fn all(&self) -> Vec<Received> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn logins(&self) -> usize {
        self.all().iter().filter(|received| received.is_login()).count()
    }

    fn calls(&self) -> usize {
        self.all().len() - self.logins()
    }
}

/// Serves on a free port until the test ends.
async fn serve(answer: impl Fn(&Received) -> Reply + Send + Sync + 'static) -> (Url, Log) {
    let log = Log::default();
    let (answer, seen) = (Arc::new(answer), log.clone());
    let router = Router::new().fallback(move |incoming: Incoming| {
        let (answer, seen) = (answer.clone(), seen.clone());
        async move {
            let (head, body) = incoming.into_parts();
            let raw_query = head.uri.query().map(str::to_owned);
            let query = url::form_urlencoded::parse(raw_query.as_deref().unwrap_or_default().as_bytes());
            let received = Received {
                method: head.method.to_string(),
                path: head.uri.path().to_owned(),
                query: query.into_owned().collect(),
                raw_query,
                headers: head.headers,
                body: to_bytes(body, 1 << 20).await.expect("a body").to_vec(),
            };
            let Reply(status, headers, body) = answer(&received);
            seen.0.lock().unwrap_or_else(PoisonError::into_inner).push(received);
            let response = Response::builder().status(status);
            let response = headers.into_iter().fold(response, |response, (name, value)| response.header(name, value));
            response.body(Body::from(body)).expect("an answer")
        }
    });
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let origin = format!("http://{}", listener.local_addr().expect("an address"));
    tokio::spawn(async move { axum::serve(listener, router).await });
    (Url::parse(&origin).expect("a URL"), log)
}

fn client(origin: &Url, credentials: Credentials) -> Arc<Client> {
    let observer: Observer = Arc::new(|_| {});
    let transport =
        Transport { call_timeout: Duration::from_secs(10), extra_roots: Vec::new(), observer: observer.clone() };
    let budget = Arc::new(Budget::new(Rate { per_second: 1000.0, burst: 1000 }, Instant::now()));
    let client = transport.client().expect("a client");
    let http = Arc::new(Http::new(ProviderKind::HuaweiCloud, budget, client, observer));
    let endpoint = || Endpoint { http: http.clone(), origin: origin.clone() };
    Arc::new(Client::new(endpoint(), endpoint(), credentials, "cn-north-4"))
}

fn access_key() -> Credentials {
    Credentials::AccessKey {
        access_key_id: SecretText::new("AKTESTHUAWEI00000001"),
        secret_access_key: SecretText::new(SECRET_KEY),
        security_token: None,
    }
}

fn password() -> Credentials {
    Credentials::Password {
        domain_name: SecretText::new("IAMDomain"),
        user_name: SecretText::new("IAMUser"),
        password: SecretText::new(IAM_PASSWORD),
    }
}

fn instance(origin: &Url, credentials: Credentials) -> Instance {
    Instance::new(client(origin, credentials), PROJECT, INSTANCE, None)
}

fn attempt() -> AttemptId {
    AttemptId::new("0123456789abcdef0123456789abcdef")
}

fn access(databases: &[&str], permission: Permission) -> Access {
    let databases = databases.iter().map(|&name| name.to_owned()).collect();
    Access { allowed_hosts: None, databases: Some(databases), permission: Some(permission) }
}

async fn create(instance: &Instance, username: &str, password: &str) -> Mutation {
    let (username, password) = (Username::new(username), SecretText::new(password));
    let access = access(&["*"], Permission::ReadOnly);
    instance.create(&attempt(), NewAccount { username: &username, password: &password, access: &access }).await
}

async fn delete(instance: &Instance, username: &str) -> Mutation {
    instance.delete(&attempt(), &Username::new(username)).await
}

fn page(names: &[String], total: usize) -> Reply {
    let users: Vec<Value> =
        names.iter().map(|name| json!({"user_name": name, "databases": ["*"], "dml": 1, "ddl": 0})).collect();
    reply(200, &json!({"user_details": users, "total_count": total}))
}

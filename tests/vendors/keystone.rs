//! Keystone on loopback, its users and its word on tokens.

use std::{fs, time::Duration};

use reqwest::{Client, Method, Response, StatusCode};
use serde_json::{Value, json};
use supervised::{Program, Supervised};
use tokio::{
    sync::OnceCell,
    time::{sleep, timeout},
};
use url::Url;

use crate::python;

/// Life of a brief token: long enough for a few calls, short enough to wait for its end.
pub const BRIEF: Duration = Duration::from_secs(12);

/// Life of a lasting token: longer than any test.
const LASTING: Duration = Duration::from_secs(24 * 3600);

/// It takes some twenty seconds on an idle machine.
const PATIENCE: Duration = Duration::from_secs(180);

/// Longest wait for something that Keystone does by itself.
const SOON: Duration = Duration::from_secs(60);

/// A running Keystone.
pub struct Keystone {
    pub url: Url,
    client: Client,
    _server: Supervised,
}

/// A user of the domain `Default` and the project it may use.
pub struct User {
    pub name: String,
    pub password: &'static str,
    pub project: String,
    id: String,
}

impl Keystone {
    /// The one whose tokens last. All tests share it; the first starts it, and it ends with this process.
    pub async fn lasting() -> &'static Self {
        static SHARED: OnceCell<Keystone> = OnceCell::const_new();
        SHARED.get_or_init(|| Self::start(LASTING)).await
    }

    /// The one whose tokens are [`BRIEF`], shared likewise.
    pub async fn brief() -> &'static Self {
        static SHARED: OnceCell<Keystone> = OnceCell::const_new();
        SHARED.get_or_init(|| Self::start(BRIEF)).await
    }

    async fn start(life: Duration) -> Self {
        let interpreter = python::interpreter("keystone").await;
        let folder = tempfile::tempdir().unwrap().keep();
        let life = life.as_secs().to_string();
        let mut server = Supervised::start(Program {
            name: "Keystone",
            path: interpreter,
            arguments: vec![python::script("keystone_server.py").into(), folder.clone().into(), life.into()],
            working_folder: folder.clone(),
            log: folder.join("output.log"),
            remove: Some(folder.clone()),
        })
        .unwrap();
        let port = folder.join("port");
        server.ready(PATIENCE, async || port.exists()).await.unwrap();
        let url = format!("http://127.0.0.1:{}/", fs::read_to_string(port).unwrap()).parse().unwrap();
        let client = Client::builder().no_proxy().tls_certs_only([]).build().unwrap();
        Self { url, client, _server: server }
    }

    /// Makes a user of this name that may use the project.
    pub async fn user(&self, name: &str) -> User {
        let (token, login) = self.administrator().await;
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let (project, role) = (text(&login["project"]["id"]), text(&login["roles"][0]["id"]));
        let password = "IAMPassword1";
        let body = json!({ "user": { "name": name, "password": password, "domain_id": "default" } });
        let made = self.administer(Method::POST, "/v3/users", &token, Some(&body)).await;
        let id = text(&json_of(made).await["user"]["id"]);
        self.administer(Method::PUT, &format!("/v3/projects/{project}/users/{id}/roles/{role}"), &token, None).await;
        User { name: name.to_owned(), password, project, id }
    }

    /// Changes a user's password, which ends its tokens. Keystone counts in seconds and takes tokens of the very second
    /// of the change for old ones, so this returns when a new one is good.
    pub async fn set_password(&self, user: &User, password: &str) {
        let (token, _) = self.administrator().await;
        let body = json!({ "user": { "password": password } });
        self.administer(Method::PATCH, &format!("/v3/users/{}", user.id), &token, Some(&body)).await;
        let good = async {
            while self.project_of(&self.log_in(&user.name, password).await.0).await.is_none() {
                sleep(Duration::from_millis(100)).await;
            }
        };
        timeout(SOON, good).await.unwrap();
    }

    /// Returns once a token is good no more.
    pub async fn until_expired(&self, token: &str) {
        let expired = async {
            while self.project_of(token).await.is_some() {
                sleep(Duration::from_millis(100)).await;
            }
        };
        timeout(SOON, expired).await.unwrap();
    }

    /// Ends a token.
    pub async fn revoke(&self, token: &str) {
        let answer = self.about(Method::DELETE, token).await;
        assert_eq!(answer.status(), StatusCode::NO_CONTENT);
    }

    /// The project of a token, as long as the token is good.
    pub async fn project_of(&self, token: &str) -> Option<String> {
        let answer = self.about(Method::GET, token).await;
        if answer.status() != StatusCode::OK {
            return None;
        }
        Some(json_of(answer).await["token"]["project"]["id"].as_str().unwrap().to_owned())
    }

    /// Asks about a token with this very token, as every user may.
    async fn about(&self, method: Method, token: &str) -> Response {
        let url = self.url.join("/v3/auth/tokens").unwrap();
        let request = self.client.request(method, url).header("x-auth-token", token);
        request.header("x-subject-token", token).send().await.unwrap()
    }

    async fn administrator(&self) -> (String, Value) {
        self.log_in("admin", "AdminPass1").await
    }

    /// A new token, and what Keystone says of it.
    async fn log_in(&self, name: &str, password: &str) -> (String, Value) {
        let domain = json!({ "name": "Default" });
        let user = json!({ "name": name, "password": password, "domain": domain });
        let body = json!({ "auth": {
            "identity": { "methods": ["password"], "password": { "user": user } },
            "scope": { "project": { "name": "cn-north-4", "domain": domain } },
        } });
        let answer = self.administer(Method::POST, "/v3/auth/tokens", "", Some(&body)).await;
        let token = answer.headers()["x-subject-token"].to_str().unwrap().to_owned();
        (token, json_of(answer).await["token"].take())
    }

    async fn administer(&self, method: Method, path: &str, token: &str, body: Option<&Value>) -> Response {
        let mut request = self.client.request(method, self.url.join(path).unwrap());
        if !token.is_empty() {
            request = request.header("x-auth-token", token);
        }
        if let Some(body) = body {
            request = request.header("content-type", "application/json").body(body.to_string());
        }
        let answer = request.send().await.unwrap();
        assert!(answer.status().is_success(), "{path}: {}", answer.status());
        answer
    }
}

async fn json_of(answer: Response) -> Value {
    serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap()
}

//! The bare writer: the requests that a user costs, and nothing that decides them. It is the limit that this machine,
//! this API server and this cloud set to any operator.

use std::{collections::HashMap, pin::pin, sync::Arc};

use clickhouse_user_operator::domain::operator_key::OperatorKey;
use futures::{StreamExt, stream};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;
use kube::{
    Api, Client,
    api::{ListParams, WatchEvent, WatchParams},
};
use serde_json::json;
use tokio::task::JoinHandle;

use crate::{
    cloud::Cloud,
    cluster::{Object, apply_status, patch, read_secret},
    manifests::{PASSWORD, PROJECT, Stored, instance_id},
};

/// Sends the requests of a create for every user, as many at once as the operator has passes.
pub async fn create(client: &Client, cloud: &Cloud, key: &OperatorKey, users: &[Stored], concurrency: usize) {
    let http = http_client();
    // What a request says is made before the clock starts, as far as it is known then.
    let now = Timestamp::now();
    let prepared: Vec<_> =
        users.iter().map(|stored| (stored, stored.intent(key, now), stored.settled(key, now).to_string())).collect();
    let created = stream::iter(prepared).map(async |(stored, intent, status)| {
        read_secret(client, &stored.user, &stored.secret_version).await;
        let patched: Object = patch(client, &stored.user, &intent).await;
        call(&http, cloud, stored).await;
        apply_status(client, stored, &patched.metadata.resource_version, &status).await;
    });
    created.buffer_unordered(concurrency).collect::<Vec<()>>().await;
}

/// The bare chain from a Secret to the cloud: event, GET, PATCH, request. Ends when it is dropped.
pub struct Chain(JoinHandle<()>);

impl Chain {
    /// Follows every Secret; an event of one of these users' sends its chain off.
    pub async fn start(client: Client, cloud: Cloud, key: OperatorKey, users: Vec<Stored>) -> Self {
        let secrets: Api<Secret> = Api::all(client.clone());
        let now = secrets.list_metadata(&ListParams::default().limit(1)).await.expect("a list");
        let mut version = now.metadata.resource_version.unwrap_or_default();
        let users: Arc<HashMap<_, _>> = Arc::new(users.into_iter().map(|it| (it.user.secret_name(), it)).collect());
        let http = http_client();
        Self(tokio::spawn(async move {
            loop {
                let params = WatchParams::default().timeout(290);
                let mut events = pin!(secrets.watch_metadata(&params, &version).await.expect("a watch"));
                while let Some(Ok(event)) = events.next().await {
                    let (WatchEvent::Added(secret) | WatchEvent::Modified(secret)) = event else { continue };
                    version = secret.metadata.resource_version.unwrap_or_default();
                    let Some(stored) = secret.metadata.name.and_then(|name| users.get(&name)) else { continue };
                    tokio::spawn(run(
                        client.clone(),
                        cloud.clone(),
                        key.clone(),
                        http.clone(),
                        stored.clone(),
                        version.clone(),
                    ));
                }
            }
        }))
    }
}

async fn run(client: Client, cloud: Cloud, key: OperatorKey, http: reqwest::Client, stored: Stored, version: String) {
    read_secret(&client, &stored.user, &version).await;
    let mut intent = stored.intent(&key, Timestamp::now());
    // The object was written since it was stored; a chain of an operator has its version from a watch.
    if let Some(metadata) = intent["metadata"].as_object_mut() {
        metadata.remove("resourceVersion");
    }
    let _: Object = patch(&client, &stored.user, &intent).await;
    call(&http, &cloud, &stored).await;
}

impl Drop for Chain {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn call(http: &reqwest::Client, cloud: &Cloud, stored: &Stored) {
    let url = cloud.users_of(PROJECT, &instance_id(stored.user.team()));
    let body = json!({ "user_name": stored.user.name(), "password": PASSWORD, "databases": ["*"], "dml": 1 });
    let request = http.post(url).header("content-type", "application/json").body(body.to_string());
    let answer = request.send().await.expect("the cloud answers");
    assert!(answer.status().is_success(), "the cloud says {}", answer.status());
    answer.bytes().await.expect("a whole answer");
}

fn http_client() -> reqwest::Client {
    reqwest::Client::builder().no_proxy().build().expect("a client")
}

//! The API server of one measurement, fresh, with the operator's definitions and rights, and what is put there.

use std::path::{Path, PathBuf};

use clickhouse_user_operator::{
    api::IN_USE_FINALIZER,
    domain::operator_key::{KEY_BYTES, OperatorKey},
};
use control_plane::{AuditEvent, AuditMark, ControlPlane};
use futures::{StreamExt, stream};
use jiff::Timestamp;
use kube::Client;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Value, json};
use zeroize::Zeroizing;

use crate::{
    cloud::Cloud,
    manifests::{self, Stored, TEAMS, User},
};

/// The namespace that `deploy/install.yaml` installs into.
pub const OPERATOR_NAMESPACE: &str = "clickhouse-user-operator";

/// Requests at once while objects are prepared: beyond this the API server only answers later.
const PREPARING: usize = 16;

/// A control plane for one measurement.
pub struct Cluster {
    plane: ControlPlane,
    /// The administrator.
    pub client: Client,
    /// Logs in as the chart's ServiceAccount.
    pub operator_kubeconfig: PathBuf,
    /// The operator's key, made beforehand so that settled users can be written.
    pub key: OperatorKey,
}

/// Enough of any object.
#[derive(Deserialize)]
pub struct Object {
    pub metadata: Metadata,
}

/// Enough of any object's metadata.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Metadata {
    pub uid: String,
    pub resource_version: String,
}

impl Cluster {
    /// A fresh control plane with the operator installed and all teams' instances at this cloud.
    pub async fn start(cloud: &Cloud) -> Self {
        let plane = ControlPlane::start().await.unwrap_or_else(|error| panic!("{error}"));
        let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/install.yaml");
        let manifest = manifest.to_str().expect("a path of text");
        for arguments in [
            &["apply", "--server-side", "-f", manifest][..],
            &["wait", "--for=condition=Established", "crd", "--all", "--timeout=60s"][..],
        ] {
            let output = plane.kubectl(arguments).await.expect("kubectl runs");
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        }
        let account = plane.service_account_kubeconfig(OPERATOR_NAMESPACE, "clickhouse-user-operator").await;
        let operator_kubeconfig = account.expect("a token");
        let client = plane.client();
        let bytes = [7; KEY_BYTES];
        let cluster = Self { plane, client, operator_kubeconfig, key: OperatorKey::new(Zeroizing::new(bytes)) };
        cluster.furnish(cloud, &bytes).await;
        cluster
    }

    async fn furnish(&self, cloud: &Cloud, key: &[u8]) {
        let text = std::str::from_utf8(key).expect("small bytes are text");
        let key = manifests::secret(OPERATOR_NAMESPACE, "clickhouse-user-operator-key", &[("key", text)]);
        self.create(&key).await;
        for team in 0..TEAMS {
            let namespace = manifests::namespace(team);
            self.create(&json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": namespace } })).await;
            let keys = [("accessKeyID", "KEY"), ("secretAccessKey", "SECRET")];
            self.create(&manifests::secret(&namespace, "cloud-api", &keys)).await;
            self.create(&manifests::instance(team, &cloud.origin)).await;
        }
    }

    /// Creates users by this manifest, each with its Secret first.
    pub async fn create_users(
        &self,
        users: impl IntoIterator<Item = User>,
        manifest: fn(User) -> Value,
    ) -> Vec<Stored> {
        let created = stream::iter(users).map(async |user| {
            let secret = self.create(&user.secret()).await.metadata;
            let object = self.create(&manifest(user)).await.metadata;
            Stored {
                user,
                uid: object.uid,
                resource_version: object.resource_version,
                secret_uid: secret.uid,
                secret_version: secret.resource_version,
            }
        });
        created.buffer_unordered(PREPARING).collect().await
    }

    /// Writes instances as the operator leaves them behind where they have users.
    pub async fn hold_instances(&self) {
        let body = json!({ "metadata": { "finalizers": [IN_USE_FINALIZER] } }).to_string();
        for team in 0..TEAMS {
            let namespace = manifests::namespace(team);
            let path = format!("/apis/chuser.dev/v1alpha1/namespaces/{namespace}/clickhouseinstances/warehouse");
            let _: Object = ask(&self.client, "PATCH", &path, "application/merge-patch+json", body.clone()).await;
        }
    }

    /// Writes users as the operator leaves them behind, with their accounts in the cloud.
    pub async fn settle_users(&self, cloud: &Cloud, users: Vec<Stored>) {
        let settled = stream::iter(users).map(async |stored| {
            let now = Timestamp::now();
            let patched: Object = patch(&self.client, &stored.user, &stored.intent(&self.key, now)).await;
            let status = stored.settled(&self.key, now).to_string();
            apply_status(&self.client, &stored, &patched.metadata.resource_version, &status).await;
            cloud.seed(&manifests::instance_id(stored.user.team()), &stored.user.name());
        });
        settled.buffer_unordered(PREPARING).collect::<Vec<()>>().await;
    }

    /// Creates any object.
    pub async fn create(&self, object: &Value) -> Object {
        let namespace = object["metadata"]["namespace"].as_str().unwrap_or_default();
        let path = match object["kind"].as_str() {
            Some("Namespace") => "/api/v1/namespaces".to_owned(),
            Some("Secret") => format!("/api/v1/namespaces/{namespace}/secrets"),
            Some("ClickHouseInstance") => {
                format!("/apis/chuser.dev/v1alpha1/namespaces/{namespace}/clickhouseinstances")
            }
            _ => users_path(namespace),
        };
        ask(&self.client, "POST", &path, "application/json", object.to_string()).await
    }

    /// The place in the audit log behind everything that was answered before.
    pub async fn mark(&self) -> AuditMark {
        self.plane.audit_mark().await.expect("the audit log can be read")
    }

    /// What the operator's ServiceAccount asked for since a mark.
    pub async fn operator_requests(&self, since: AuditMark) -> Vec<AuditEvent> {
        let events = self.plane.audit_since(since).await.expect("the audit log can be read");
        events.into_iter().filter(|event| event.user.ends_with(":clickhouse-user-operator")).collect()
    }

    /// A client that logs in as the operator does.
    pub async fn operator_client(&self) -> Client {
        control_plane::client(&self.operator_kubeconfig).await.expect("a client")
    }
}

fn users_path(namespace: &str) -> String {
    format!("/apis/chuser.dev/v1alpha1/namespaces/{namespace}/clickhouseusers")
}

/// Reads a user's Secret, at least at this version.
pub async fn read_secret(client: &Client, user: &User, version: &str) -> Object {
    let (namespace, name) = (user.namespace(), user.secret_name());
    let path = format!("/api/v1/namespaces/{namespace}/secrets/{name}?&resourceVersion={version}");
    ask(client, "GET", &path, "application/json", String::new()).await
}

/// Merges a patch into a user.
pub async fn patch<T: DeserializeOwned>(client: &Client, user: &User, body: &Value) -> T {
    let path = format!("{}/{}?&fieldManager=clickhouse-user-operator", users_path(&user.namespace()), user.name());
    ask(client, "PATCH", &path, "application/merge-patch+json", body.to_string()).await
}

/// Applies a status, with the words the operator uses.
pub async fn apply_status(client: &Client, stored: &Stored, version: &str, status: &str) {
    let (name, uid) = (stored.user.name(), &stored.uid);
    let query = "force=true&fieldManager=clickhouse-user-operator";
    let path = format!("{}/{name}/status?&{query}", users_path(&stored.user.namespace()));
    let body = format!(
        r#"{{"apiVersion":"chuser.dev/v1alpha1","kind":"ClickHouseUser","metadata":{{"name":"{name}","uid":"{uid}","resourceVersion":"{version}"}},"status":{status}}}"#
    );
    let _: Object = ask(client, "PATCH", &path, "application/apply-patch+yaml", body).await;
}

/// Writes another password into a user's Secret.
pub async fn change_password(client: &Client, user: User, password: &str) -> Object {
    let body = json!({ "stringData": { "password": password } });
    let path = format!("/api/v1/namespaces/{}/secrets/{}", user.namespace(), user.secret_name());
    ask(client, "PATCH", &path, "application/merge-patch+json", body.to_string()).await
}

async fn ask<T: DeserializeOwned>(client: &Client, method: &str, path: &str, content: &str, body: String) -> T {
    let request = http::Request::builder().method(method).uri(path).header("content-type", content);
    let request = request.body(body.into_bytes()).expect("a well-formed request");
    client.request(request).await.unwrap_or_else(|error| panic!("{method} {path}: {error}"))
}

//! The API server as a test uses it: applies manifests, waits for what status says.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
};

use clickhouse_user_operator::api::{
    ClusterClickHouseInstance,
    conditions::{self, READY},
    instance::ClickHouseInstance,
    user::ClickHouseUser,
};
use control_plane::{AuditEvent, AuditMark, ControlPlane};
use k8s_openapi::api::core::v1::Secret;
use kube::{
    Api, Client,
    api::{ApiResource, DeleteParams, DynamicObject, Patch, PatchParams, PostParams},
    runtime::wait::await_condition,
};
use tokio::sync::Mutex;

use crate::{checks::holds_no_secret, world::PATIENCE};

/// The namespace that `deploy/install.yaml` installs into.
pub const OPERATOR_NAMESPACE: &str = "clickhouse-user-operator";

/// One test's namespace.
#[derive(Clone)]
pub struct Kubernetes {
    pub plane: &'static ControlPlane,
    pub client: Client,
    pub namespace: String,
    /// Logs in as the chart's ServiceAccount.
    pub operator_kubeconfig: PathBuf,
}

impl Kubernetes {
    /// Installs the operator's definitions and rights once a control plane, and makes a namespace.
    pub async fn prepare(plane: &'static ControlPlane) -> Self {
        static INSTALLED: Mutex<Option<HashMap<String, PathBuf>>> = Mutex::const_new(None);
        let mut installed = INSTALLED.lock().await;
        let installed = installed.get_or_insert_default();
        if !installed.contains_key(plane.url()) {
            installed.insert(plane.url().to_owned(), install(plane).await);
        }
        let operator_kubeconfig = installed[plane.url()].clone();
        let namespace = plane.namespace("test").await.expect("a namespace");
        Self { plane, client: plane.client(), namespace, operator_kubeconfig }
    }

    /// Another namespace of the same control plane.
    pub async fn another(&self) -> Self {
        let namespace = self.plane.namespace("other").await.expect("a namespace");
        Self { namespace, ..self.clone() }
    }

    /// The operator's own namespace.
    pub fn operators(&self) -> Self {
        Self { namespace: OPERATOR_NAMESPACE.to_owned(), ..self.clone() }
    }

    /// Applies manifests into the test's namespace.
    pub async fn apply(&self, manifests: &str) {
        let arguments = ["--namespace", &self.namespace, "apply", "-f", "-"];
        let output = self.plane.kubectl_with_input(&arguments, manifests).await.expect("kubectl runs");
        assert!(output.status.success(), "{}\n{manifests}", String::from_utf8_lossy(&output.stderr));
    }

    /// Creates what manifests say, in less time than kubectl needs.
    pub async fn create(&self, manifests: &str) {
        for manifest in manifests.split("\n---\n").filter(|manifest| !manifest.trim().is_empty()) {
            let object: DynamicObject = serde_saphyr::from_str(manifest).expect("a manifest");
            let kind = object.types.as_ref().map_or("", |types| types.kind.as_str());
            let resource = match kind {
                "Secret" => ApiResource::erase::<Secret>(&()),
                "ClickHouseInstance" => ApiResource::erase::<ClickHouseInstance>(&()),
                "ClickHouseUser" => ApiResource::erase::<ClickHouseUser>(&()),
                other => panic!("{other}: no kind that tests create"),
            };
            let api: Api<DynamicObject> = Api::namespaced_with(self.client.clone(), &self.namespace, &resource);
            api.create(&PostParams::default(), &object).await.expect("it can be created");
        }
    }

    /// Runs kubectl in the test's namespace and returns what it printed.
    pub async fn kubectl(&self, arguments: &[&str]) -> String {
        let arguments: Vec<_> = ["--namespace", &self.namespace].into_iter().chain(arguments.iter().copied()).collect();
        let output = self.plane.kubectl(&arguments).await.expect("kubectl runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Waits until the user's `Ready` has this reason, and returns the user.
    pub async fn user_shows(&self, name: &str, reason: &str) -> ClickHouseUser {
        self.user_until(name, reason, |user| {
            let status = user.status.as_ref();
            status.is_some_and(|it| conditions::find(&it.conditions, READY).is_some_and(|it| it.reason == reason))
        })
        .await
    }

    /// Waits until the user is as `condition` wants it; `what` says so in a failure.
    pub async fn user_until(
        &self,
        name: &str,
        what: &str,
        condition: impl Fn(&ClickHouseUser) -> bool,
    ) -> ClickHouseUser {
        let api = self.users();
        let waiting = await_condition(api.clone(), name, |user: Option<&ClickHouseUser>| user.is_some_and(&condition));
        match tokio::time::timeout(PATIENCE, waiting).await {
            Ok(Ok(Some(user))) => {
                holds_no_secret("the user", &serde_json::to_string(&user).expect("JSON"));
                user
            }
            other => {
                let now = self.kubectl(&["get", "clickhouseuser", name, "-o", "yaml"]).await;
                panic!("user {name} did not come to {what} ({other:?}):\n{now}")
            }
        }
    }

    /// Merges a JSON patch into a user.
    pub async fn patch_user(&self, name: &str, patch: &str) {
        let patch: serde_json::Value = serde_json::from_str(patch).expect("JSON");
        let patched = self.users().patch(name, &PatchParams::default(), &Patch::Merge(&patch)).await;
        patched.expect("the user can be patched");
    }

    /// Gives the password Secret of a user a new value, and returns its new version.
    pub async fn change_password(&self, user: &str, password: &str) -> String {
        let api: Api<Secret> = Api::namespaced(self.client.clone(), &self.namespace);
        let patch = serde_json::json!({ "stringData": { "password": password } });
        let name = format!("{user}-password");
        let changed =
            api.patch(&name, &PatchParams::default(), &Patch::Merge(&patch)).await.expect("it can be changed");
        changed.metadata.resource_version.expect("a version")
    }

    /// The place in the audit log behind everything that was answered before.
    pub async fn mark(&self) -> AuditMark {
        self.plane.audit_mark().await.expect("the audit log can be read")
    }

    /// Waits until the user object is gone.
    pub async fn user_gone(&self, name: &str) {
        let gone = await_condition(self.users(), name, |user: Option<&ClickHouseUser>| user.is_none());
        let Err(late) = tokio::time::timeout(PATIENCE, gone).await else { return };
        panic!("user {name} is still there ({late}):\n{}", self.kubectl(&["get", "chu", name, "-o", "yaml"]).await);
    }

    /// Asks for a user's deletion, without waiting for it.
    pub async fn delete_user(&self, name: &str) {
        self.users().delete(name, &DeleteParams::default()).await.expect("the user can be deleted");
    }

    /// The users of the test's namespace.
    pub fn users(&self) -> Api<ClickHouseUser> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// Waits until the instance's `Ready` has this reason.
    pub async fn instance_shows(&self, name: &str, reason: &str) -> ClickHouseInstance {
        self.instance_until(name, reason, |instance| {
            let status = instance.status.as_ref();
            status.is_some_and(|it| conditions::find(&it.conditions, READY).is_some_and(|it| it.reason == reason))
        })
        .await
    }

    /// Waits until the instance is as `condition` wants it; `what` says so in a failure.
    pub async fn instance_until(
        &self,
        name: &str,
        what: &str,
        condition: impl Fn(&ClickHouseInstance) -> bool,
    ) -> ClickHouseInstance {
        let condition = |instance: Option<&ClickHouseInstance>| instance.is_some_and(&condition);
        match tokio::time::timeout(PATIENCE, await_condition(self.instances(), name, condition)).await {
            Ok(Ok(Some(instance))) => instance,
            other => {
                let now = self.kubectl(&["get", "clickhouseinstance", name, "-o", "yaml"]).await;
                panic!("instance {name} did not come to {what} ({other:?}):\n{now}")
            }
        }
    }

    /// Waits until the shared instance is as `condition` wants it; `what` says so in a failure.
    pub async fn shared_until(
        &self,
        name: &str,
        what: &str,
        condition: impl Fn(&ClusterClickHouseInstance) -> bool,
    ) -> ClusterClickHouseInstance {
        let condition = |instance: Option<&ClusterClickHouseInstance>| instance.is_some_and(&condition);
        match tokio::time::timeout(PATIENCE, await_condition(self.shared_instances(), name, condition)).await {
            Ok(Ok(Some(instance))) => instance,
            other => {
                let now = self.kubectl(&["get", "clusterclickhouseinstance", name, "-o", "yaml"]).await;
                panic!("shared instance {name} did not come to {what} ({other:?}):\n{now}")
            }
        }
    }

    /// Waits until the `Ready` of the shared instance has this reason.
    pub async fn shared_shows(&self, name: &str, reason: &str) -> ClusterClickHouseInstance {
        self.shared_until(name, reason, |instance| {
            let status = instance.status.as_ref();
            status.is_some_and(|it| conditions::find(&it.conditions, READY).is_some_and(|it| it.reason == reason))
        })
        .await
    }

    /// The shared instances of the cluster.
    pub fn shared_instances(&self) -> Api<ClusterClickHouseInstance> {
        Api::all(self.client.clone())
    }

    /// The instances of the test's namespace.
    pub fn instances(&self) -> Api<ClickHouseInstance> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// What the operator asked of the API server about this namespace since a mark, watches apart.
    pub async fn operator_requests(&self, since: AuditMark) -> Vec<AuditEvent> {
        let events = self.plane.audit_since(since).await.expect("the audit log can be read");
        events
            .into_iter()
            .filter(|event| event.user.ends_with(":clickhouse-user-operator") && event.namespace == self.namespace)
            .collect()
    }
}

/// The companion of `Ready` that is True.
pub fn stalled_or_reconciling(user: &ClickHouseUser) -> Option<&'static str> {
    let conditions = user.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default();
    let shown: Vec<_> = ["Stalled", "Reconciling"]
        .into_iter()
        .filter(|companion| conditions::find(conditions, companion).is_some_and(|it| it.status == "True"))
        .collect();
    assert!(shown.len() < 2, "both Stalled and Reconciling: {conditions:?}");
    shown.first().copied()
}

/// The verbs that change something.
pub fn writes(event: &AuditEvent) -> bool {
    matches!(event.verb.as_str(), "create" | "update" | "patch" | "delete" | "deletecollection")
}

/// Applies what `deploy/install.yaml` holds: definitions and rights.
pub async fn install_definitions(plane: &ControlPlane) {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/install.yaml");
    let manifest = manifest.to_str().expect("a path of text");
    let output = plane.kubectl(&["apply", "--server-side", "-f", manifest]).await.expect("kubectl runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let established = ["wait", "--for=condition=Established", "crd", "--all", "--timeout=60s"];
    let output = plane.kubectl(&established).await.expect("kubectl runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// Returns the kubeconfig of the operator's ServiceAccount.
async fn install(plane: &ControlPlane) -> PathBuf {
    install_definitions(plane).await;
    let kubeconfig = plane.service_account_kubeconfig(OPERATOR_NAMESPACE, "clickhouse-user-operator").await;
    kubeconfig.expect("a token")
}

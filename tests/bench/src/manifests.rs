//! The objects that are measured: teams with an instance each, users with a password Secret each.

use std::collections::BTreeSet;

use clickhouse_user_operator::{
    api::{
        ACCOUNT_FINALIZER, OPERATION_ANNOTATION,
        conditions::{self, ReadySummary, Reason},
        user::{AppliedAccess, AppliedPassword, ClickHouseUserStatus, Operation, OperationKind, OperationState},
    },
    domain::{
        journal::{self, Intent, SecretVersion},
        names::{AttemptId, InstanceKey, Uid, Username},
        operator_key::OperatorKey,
        secret::SecretText,
    },
    provider::contract::{Access, Permission, ProviderKind},
};
use jiff::{Timestamp, Unit};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde_json::{Value, json};

/// Teams, each with one instance: changes of one instance go one after the other, so fewer would measure the queue.
pub const TEAMS: usize = 64;

/// The project all instances are in.
pub const PROJECT: &str = "23a50154cf494ec9ad6883979a12db0a";

/// The password of every account before it is changed.
pub const PASSWORD: &str = "Correct-horse@1#%";

const REGION: &str = "cn-north-4";

/// Namespace of a team.
pub fn namespace(team: usize) -> String {
    format!("team-{team:02}")
}

/// The team's instance in the cloud.
pub fn instance_id(team: usize) -> String {
    format!("{team:032x}in16")
}

/// A user: the number says everything about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct User(pub usize);

/// What the API server made of a user and its Secret.
#[derive(Clone, Debug)]
pub struct Stored {
    pub user: User,
    pub uid: String,
    pub resource_version: String,
    pub secret_uid: String,
    pub secret_version: String,
}

impl User {
    pub fn team(self) -> usize {
        self.0 % TEAMS
    }

    pub fn namespace(self) -> String {
        namespace(self.team())
    }

    /// Name of the object and of the account.
    pub fn name(self) -> String {
        format!("user{:06}", self.0)
    }

    pub fn secret_name(self) -> String {
        format!("{}-password", self.name())
    }

    /// As `kubectl apply` sends it, with what it notes in an annotation.
    pub fn manifest(self) -> Value {
        let mut manifest = json!({
            "apiVersion": "chuser.dev/v1alpha1",
            "kind": "ClickHouseUser",
            "metadata": {
                "name": self.name(),
                "namespace": self.namespace(),
                "labels": { "app.kubernetes.io/name": self.name() },
            },
            "spec": {
                "instanceRef": { "name": "warehouse" },
                "passwordSecretRef": { "name": self.secret_name() },
                "databases": ["*"],
            },
        });
        let applied = manifest.to_string();
        manifest["metadata"]["annotations"] = json!({ "kubectl.kubernetes.io/last-applied-configuration": applied });
        manifest
    }

    /// A user that the operator leaves alone, for the bare chain to write to.
    pub fn suspended(self) -> Value {
        let mut manifest = self.manifest();
        manifest["spec"]["suspend"] = json!(true);
        manifest
    }

    pub fn secret(self) -> Value {
        secret(&self.namespace(), &self.secret_name(), &[("password", PASSWORD)])
    }

    fn instance_key(self) -> InstanceKey {
        InstanceKey::new(format!("huaweicloud/{REGION}/{PROJECT}/{}", instance_id(self.team())))
    }
}

impl Stored {
    fn access() -> Access {
        Access {
            allowed_hosts: None,
            databases: Some(BTreeSet::from(["*".to_owned()])),
            permission: Some(Permission::ReadOnly),
        }
    }

    fn secret(&self) -> SecretVersion {
        SecretVersion {
            name: self.user.secret_name(),
            uid: Uid::new(&self.secret_uid),
            resource_version: self.secret_version.clone(),
            revision: None,
        }
    }

    /// The PATCH that announces a change: finalizer and journal entry, as the operator writes them.
    pub fn intent(&self, key: &OperatorKey, now: Timestamp) -> Value {
        let username = Username::new(self.user.name());
        let intent = Intent {
            uid: Uid::new(&self.uid),
            instance_key: self.user.instance_key(),
            fingerprint: Some(key.fingerprint(&self.user.instance_key(), &username, &SecretText::new(PASSWORD))),
            username,
            kind: OperationKind::Create,
            phase: None,
            attempt: attempt(self.user),
            attempts: 1,
            written_at: seconds(now),
            absent_at: Some(seconds(now)),
            adopting: false,
            removal_failed: false,
            access: Self::access(),
            secret: Some(self.secret()),
            key_id: key.id().clone(),
        };
        json!({ "metadata": {
            "uid": self.uid,
            "resourceVersion": self.resource_version,
            "finalizers": [ACCOUNT_FINALIZER],
            "annotations": { OPERATION_ANNOTATION: journal::seal(&intent, key) },
        } })
    }

    /// The status of a user whose account is as the manifest says.
    pub fn settled(&self, key: &OperatorKey, now: Timestamp) -> Value {
        let username = Username::new(self.user.name());
        let fingerprint = key.fingerprint(&self.user.instance_key(), &username, &SecretText::new(PASSWORD));
        let secret = self.secret();
        let ready =
            ReadySummary { reason: Reason::AccountReady, message: "The account is as the manifest says.".to_owned() };
        let now = seconds(now);
        let status = ClickHouseUserStatus {
            observed_generation: Some(1),
            uid: Some(Uid::new(&self.uid)),
            provider: Some(ProviderKind::HuaweiCloud),
            instance_key: Some(self.user.instance_key()),
            username: Some(username),
            operation: Some(Operation {
                id: attempt(self.user),
                kind: OperationKind::Create,
                phase: None,
                state: OperationState::Succeeded,
                started_at: Time(now),
                finished_at: Some(Time(now)),
                attempts: 1,
            }),
            applied: Some(AppliedAccess::from(Self::access())),
            password: Some(AppliedPassword {
                secret_name: Some(secret.name),
                secret_uid: Some(secret.uid),
                secret_resource_version: Some(secret.resource_version),
                revision: None,
                key_id: key.id().clone(),
                fingerprint,
                applied_at: Some(Time(now)),
                verified_at: None,
            }),
            conditions: conditions::conditions(&[], &ready, 1, now),
            ..ClickHouseUserStatus::default()
        };
        serde_json::to_value(status).expect("a status becomes JSON")
    }
}

fn attempt(user: User) -> AttemptId {
    AttemptId::new(format!("{:032x}", user.0))
}

fn seconds(time: Timestamp) -> Timestamp {
    time.round(Unit::Second).expect("a time of today")
}

/// A Secret with these values.
pub fn secret(namespace: &str, name: &str, values: &[(&str, &str)]) -> Value {
    let values: serde_json::Map<_, _> = values.iter().map(|(key, value)| ((*key).to_owned(), json!(value))).collect();
    json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": { "name": name, "namespace": namespace },
        "stringData": values,
    })
}

/// The instance object of a team, whose cloud is at this origin.
pub fn instance(team: usize, origin: &str) -> Value {
    json!({
        "apiVersion": "chuser.dev/v1alpha1",
        "kind": "ClickHouseInstance",
        "metadata": { "name": "warehouse", "namespace": namespace(team) },
        "spec": { "huaweicloud": {
            "region": REGION,
            "projectID": PROJECT,
            "instanceID": instance_id(team),
            "endpoint": origin,
            "iamEndpoint": origin,
            "credentialsSecretRef": { "name": "cloud-api" },
        } },
    })
}

//! `ClickHouseUser`: which account should exist, with which password and rights.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::{CustomResource, KubeSchema, ResourceExt};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{ACCOUNT_FINALIZER, rules, schema};
pub use crate::provider::contract::Permission;
use crate::{
    domain::names::{AttemptId, Fingerprint, InstanceKey, JobId, KeyId, Uid, Username},
    provider::contract::{Access, ProviderKind},
};

/// The account that should exist, with which password and rights.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "chuser.dev",
    version = "v1alpha1",
    kind = "ClickHouseUser",
    plural = "clickhouseusers",
    shortname = "chu",
    category = "clickhouse",
    namespaced,
    status = "ClickHouseUserStatus",
    derive = "PartialEq",
    doc = "A ClickHouse account on a cloud database. The operator creates the account, keeps it in step with this \
           manifest, and removes it with it.",
    label("servicebinding.io/provisioned-service", "true"),
    selectable = ".spec.instanceRef.name",
    selectable = ".spec.passwordSecretRef.name",
    printcolumn(name = "Ready", type_ = "string", json_path = r#".status.conditions[?(@.type=="Ready")].status"#),
    printcolumn(name = "Reason", type_ = "string", json_path = r#".status.conditions[?(@.type=="Ready")].reason"#),
    printcolumn(name = "Username", type_ = "string", json_path = ".status.username"),
    printcolumn(name = "Instance", type_ = "string", json_path = ".spec.instanceRef.name"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Provider", type_ = "string", json_path = ".status.provider", priority = 1),
    printcolumn(name = "Job", type_ = "string", json_path = ".status.jobID", priority = 1),
    printcolumn(
        name = "Message",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Ready")].message"#,
        priority = 1
    ),
    validation = rules::username_is_immutable(),
    validation = rules::username_is_valid(),
    validation = rules::instance_is_immutable(),
    validation = rules::secrets_differ()
)]
#[serde(rename_all = "camelCase")]
pub struct ClickHouseUserSpec {
    /// The instance that the account belongs to. Cannot be changed.
    pub instance_ref: InstanceRef,

    /// Name of the account: 2 to 32 letters, digits or underscores (the cloud may allow less). Default: metadata.name.
    /// Cannot be changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    pub username: Option<String>,

    /// The Secret that holds the password, in the namespace of this object.
    pub password_secret_ref: PasswordSecretRef,

    /// Addresses and networks that may connect, such as 10.0.0.0/8 or ::/0. QingCloud only, and required there.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 100), inner(length(min = 1, max = 64)), extend("x-kubernetes-list-type" = "set"))]
    pub allowed_hosts: Option<Vec<String>>,

    /// Databases that the account may use; "*" alone means all. Huawei Cloud only, and required there.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 100), inner(length(min = 1, max = 128)), extend("x-kubernetes-list-type" = "set"))]
    pub databases: Option<Vec<String>>,

    /// What the account may do: ReadOnly, or ReadAndConfigure (read, and change settings of its session). Huawei Cloud
    /// only. Default: ReadOnly.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<schema::PermissionName>")]
    pub permission: Option<Permission>,

    /// What to do about a change that the cloud has no call for: InPlace refuses it, Recreate deletes the account and
    /// adds it again, which ends its sessions and leaves a moment without the account. Default: InPlace.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub update_policy: Option<UpdatePolicy>,

    /// What to do about an account of this name that is there already: Never leaves it alone and stalls, Adopt takes it
    /// over. On QingCloud, Adopt together with updatePolicy Recreate may delete the account to add it again.
    /// Default: Never.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub adoption_policy: Option<AdoptionPolicy>,

    /// What becomes of the account when this object is deleted: Delete removes it, Retain leaves it. Default: Delete.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deletion_policy: Option<DeletionPolicy>,

    /// A Secret to write for applications, with host, ports, username, password and URIs in the shape of the Service
    /// Binding specification. Left out: none is written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connection_secret: Option<ConnectionSecretSpec>,

    /// While true, no call is made for this account and its Secret is not read. Deleting the object still deletes the
    /// account. Default: false.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub suspend: Option<bool>,

    /// When the account is to be deleted whatever deletionPolicy says, as in 2027-01-01T00:00:00Z; the object stays.
    /// Left out: never.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<schema::Moment>")]
    pub expires_at: Option<Time>,
}

/// Which instance an account belongs to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct InstanceRef {
    /// ClickHouseInstance in the namespace of this object, or ClusterClickHouseInstance. Default: ClickHouseInstance.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<InstanceKind>,

    /// metadata.name of the instance object.
    #[schemars(
        length(min = 1, max = 253),
        regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$")
    )]
    pub name: String,
}

/// The kinds of instance objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[schemars(description = "")]
pub enum InstanceKind {
    /// Namespaced: of the team that owns the namespace.
    ClickHouseInstance,
    /// Cluster-scoped: shared by the platform team.
    ClusterClickHouseInstance,
}

/// Where the password is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PasswordSecretRef {
    /// metadata.name of the Secret, in the namespace of this object.
    #[schemars(
        length(min = 1, max = 253),
        regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$")
    )]
    pub name: String,

    /// Key in the Secret whose value is the password. Default: password.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = "^[-._a-zA-Z0-9]+$"))]
    pub key: Option<String>,

    /// Any text; a change of it sends the password again even where the Secret did not change. Default: empty.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 128))]
    pub revision: Option<String>,
}

/// What to do where a cloud has no call for a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(description = "")]
pub enum UpdatePolicy {
    /// Refuse what cannot be changed in place.
    InPlace,
    /// Delete the account and add it again.
    Recreate,
}

/// What to do about an account that is there already.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(description = "")]
pub enum AdoptionPolicy {
    /// Leave it alone and stall.
    Never,
    /// Take it over.
    Adopt,
}

/// What becomes of the account when its object is deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(description = "")]
pub enum DeletionPolicy {
    /// Remove it.
    Delete,
    /// Leave it.
    Retain,
}

/// The connection Secret to write.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ConnectionSecretSpec {
    /// metadata.name of the Secret to write, in the namespace of this object. It must not exist yet.
    #[schemars(
        length(min = 1, max = 253),
        regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$")
    )]
    pub name: String,

    /// Labels to put on the Secret. Default: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<schema::Labels>")]
    pub labels: Option<BTreeMap<String, String>>,

    /// Annotations to put on the Secret. Default: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<schema::Annotations>")]
    pub annotations: Option<BTreeMap<String, String>>,
}

/// What the operator knows of the account.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClickHouseUserStatus {
    /// The metadata.generation that this status was made from; -1 before the first look.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,

    /// The metadata.uid that this status was written for; a copy on another object means nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>", length(max = 64))]
    pub uid: Option<Uid>,

    /// The cloud that the account is on: QingCloud or HuaweiCloud.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<schema::ProviderName>")]
    pub provider: Option<ProviderKind>,

    /// The instance that the account is on: qingcloud/ZONE/CLUSTER or huaweicloud/REGION/PROJECT/INSTANCE.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>", length(max = 256))]
    pub instance_key: Option<InstanceKey>,

    /// The account's name as it was used; deletion needs nothing else of the spec.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>", length(max = 32))]
    pub username: Option<Username>,

    /// The cloud's job of the last operation. QingCloud only.
    #[serde(rename = "jobID", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>", length(max = 128))]
    pub job_id: Option<JobId>,

    /// The last operation on the account.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub operation: Option<Operation>,

    /// The error that stands in the way. Absent while there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<StatusError>,

    /// The access in force. Present exactly while the account is this object's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub applied: Option<AppliedAccess>,

    /// The password in force, without anything that could reveal it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password: Option<AppliedPassword>,

    /// The connection Secret, once it is written (Service Binding).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub binding: Option<Binding>,

    /// The last value of the annotation chuser.dev/reconcile-requested-at that was acted on.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub last_handled_reconcile_at: Option<String>,

    /// The state by aspect: Ready always; Reconciling, Stalled and Suspended only while True; LoginVerified where the
    /// instance has a loginCheck.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(with = "schema::Conditions")]
    pub conditions: Vec<Condition>,
}

/// One operation on the account, from its first attempt to its end.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Operation {
    /// Identifier of the last attempt; QingCloud's job records carry it as req_id.
    #[schemars(with = "String", length(max = 64))]
    pub id: AttemptId,

    /// What is being done: Create, SetPassword, SetAccess, Recreate or Delete.
    pub kind: OperationKind,

    /// How far a Recreate has come: Removing, Removed (the account does not exist now) or Adding.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub phase: Option<OperationPhase>,

    /// Where it stands: Pending, Running, Succeeded, Failed, or Unknown (a call was sent, its outcome is being read).
    pub state: OperationState,

    /// When the operation began.
    #[schemars(with = "schema::Moment")]
    pub started_at: Time,

    /// When the operation ended. Absent while it has not.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<schema::Moment>")]
    pub finished_at: Option<Time>,

    /// How many attempts were made, each under an identifier of its own; repetitions under the same are not counted.
    #[schemars(range(min = 0))]
    pub attempts: i32,
}

/// The kinds of operations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[schemars(description = "")]
pub enum OperationKind {
    /// Add the account.
    Create,
    /// Change its password.
    SetPassword,
    /// Change its databases or permission.
    SetAccess,
    /// Delete it and add it again.
    Recreate,
    /// Delete it.
    Delete,
}

/// How far a re-creation has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[schemars(description = "")]
pub enum OperationPhase {
    /// The delete is not known to be over.
    Removing,
    /// The account does not exist now.
    Removed,
    /// The add was sent.
    Adding,
}

/// Where an operation stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[schemars(description = "")]
pub enum OperationState {
    /// Decided, not sent.
    Pending,
    /// Sent, and accepted as a job.
    Running,
    /// Ended well.
    Succeeded,
    /// Ended badly.
    Failed,
    /// Sent; whether it was applied is being read.
    Unknown,
}

/// An error for people and for programs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StatusError {
    /// The cloud's own code, as text. Absent where the error is not the cloud's.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub code: Option<String>,

    /// What went wrong, for people.
    #[schemars(length(max = 1024))]
    pub message: String,

    /// Whether trying again without a change may help.
    pub retryable: bool,
}

/// Access in force, in canonical form. A field that the cloud does not have is absent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AppliedAccess {
    /// Addresses and networks that may connect.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 100), inner(length(max = 64)), extend("x-kubernetes-list-type" = "set"))]
    pub allowed_hosts: Option<BTreeSet<String>>,

    /// Databases that the account may use; "*" means all.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 100), inner(length(max = 128)), extend("x-kubernetes-list-type" = "set"))]
    pub databases: Option<BTreeSet<String>>,

    /// What the account may do: ReadOnly or ReadAndConfigure.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<schema::PermissionName>")]
    pub permission: Option<Permission>,
}

impl From<Access> for AppliedAccess {
    fn from(Access { allowed_hosts, databases, permission }: Access) -> Self {
        Self { allowed_hosts, databases, permission }
    }
}

impl From<AppliedAccess> for Access {
    fn from(AppliedAccess { allowed_hosts, databases, permission }: AppliedAccess) -> Self {
        Self { allowed_hosts, databases, permission }
    }
}

/// The password in force: where it came from and a keyed fingerprint of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AppliedPassword {
    /// metadata.name of the Secret that it was read from.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub secret_name: Option<String>,

    /// metadata.uid of that Secret.
    #[serde(rename = "secretUID", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>", length(max = 64))]
    pub secret_uid: Option<Uid>,

    /// metadata.resourceVersion of that Secret when it was read last.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub secret_resource_version: Option<String>,

    /// spec.passwordSecretRef.revision that the password was sent for.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 128))]
    pub revision: Option<String>,

    /// Says under which operator key the fingerprint was made.
    #[serde(rename = "keyID")]
    #[schemars(with = "String", length(max = 64))]
    pub key_id: KeyId,

    /// Keyed digest of instance, username and password; tells whether the password changed, not what it is.
    #[schemars(with = "String", length(max = 128))]
    pub fingerprint: Fingerprint,

    /// When the cloud confirmed the password.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<schema::Moment>")]
    pub applied_at: Option<Time>,

    /// When a login with the password first succeeded, since it was set or last refused. Needs a loginCheck on the
    /// instance.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<schema::Moment>")]
    pub verified_at: Option<Time>,
}

/// Names the connection Secret, as the Service Binding specification asks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Binding {
    /// metadata.name of the Secret, in the namespace of this object.
    #[schemars(length(max = 253))]
    pub name: String,
}

impl ClickHouseUser {
    /// It carries the finalizer `chuser.dev/account`: its account may exist.
    pub fn is_held(&self) -> bool {
        self.finalizers().iter().any(|finalizer| finalizer == ACCOUNT_FINALIZER)
    }

    /// The account's name: `spec.username`, else `metadata.name`.
    pub fn username(&self) -> Username {
        Username::new(self.spec.username.clone().unwrap_or_else(|| self.name_any()))
    }
}

impl ClickHouseUserSpec {
    /// The policy in force for changes that the cloud has no call for.
    pub fn update_policy(&self) -> UpdatePolicy {
        self.update_policy.unwrap_or(UpdatePolicy::InPlace)
    }

    /// The policy in force for accounts that are there already.
    pub fn adoption_policy(&self) -> AdoptionPolicy {
        self.adoption_policy.unwrap_or(AdoptionPolicy::Never)
    }

    /// The policy in force for deletion.
    pub fn deletion_policy(&self) -> DeletionPolicy {
        self.deletion_policy.unwrap_or(DeletionPolicy::Delete)
    }

    /// Whether calls for this account are held back.
    pub fn suspended(&self) -> bool {
        self.suspend.unwrap_or(false)
    }
}

impl InstanceRef {
    /// The kind in force.
    pub fn kind(&self) -> InstanceKind {
        self.kind.unwrap_or(InstanceKind::ClickHouseInstance)
    }
}

impl InstanceKind {
    /// The kind as manifests write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ClickHouseInstance => "ClickHouseInstance",
            Self::ClusterClickHouseInstance => "ClusterClickHouseInstance",
        }
    }
}

impl PasswordSecretRef {
    /// The key in force.
    pub fn key(&self) -> &str {
        self.key.as_deref().unwrap_or("password")
    }

    /// The revision in force.
    pub fn revision(&self) -> &str {
        self.revision.as_deref().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn user(spec: Value) -> ClickHouseUser {
        ClickHouseUser::new("reporting", serde_json::from_value(spec).expect("a spec"))
    }

    #[test]
    fn what_a_manifest_leaves_out_has_the_documented_value() {
        let user = user(
            json!({ "instanceRef": { "name": "warehouse" }, "passwordSecretRef": { "name": "reporting-password" } }),
        );
        assert_eq!(user.username(), Username::new("reporting"));
        assert_eq!(user.spec.instance_ref.kind().as_str(), "ClickHouseInstance");
        assert_eq!(user.spec.password_secret_ref.key(), "password");
        assert_eq!(user.spec.password_secret_ref.revision(), "");
        assert_eq!(user.spec.update_policy(), UpdatePolicy::InPlace);
        assert_eq!(user.spec.adoption_policy(), AdoptionPolicy::Never);
        assert_eq!(user.spec.deletion_policy(), DeletionPolicy::Delete);
        assert!(!user.spec.suspended());
    }

    #[test]
    fn what_a_manifest_says_is_in_force() {
        let user = user(json!({
            "instanceRef": { "kind": "ClusterClickHouseInstance", "name": "warehouse" },
            "passwordSecretRef": { "name": "reporting-password", "key": "secret", "revision": "2" },
            "username": "other",
            "updatePolicy": "Recreate",
            "adoptionPolicy": "Adopt",
            "deletionPolicy": "Retain",
            "suspend": true,
        }));
        assert_eq!(user.username(), Username::new("other"));
        assert_eq!(user.spec.instance_ref.kind().as_str(), "ClusterClickHouseInstance");
        assert_eq!(user.spec.password_secret_ref.key(), "secret");
        assert_eq!(user.spec.password_secret_ref.revision(), "2");
        assert_eq!(user.spec.update_policy(), UpdatePolicy::Recreate);
        assert_eq!(user.spec.adoption_policy(), AdoptionPolicy::Adopt);
        assert_eq!(user.spec.deletion_policy(), DeletionPolicy::Retain);
        assert!(user.spec.suspended());
    }

    #[test]
    fn a_status_without_conditions_can_be_read() {
        let status: ClickHouseUserStatus =
            serde_json::from_value(json!({ "observedGeneration": -1 })).expect("a status");
        assert!(status.conditions.is_empty());
        assert_eq!(serde_json::to_value(status).expect("JSON"), json!({ "observedGeneration": -1 }));
    }
}

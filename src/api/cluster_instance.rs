//! `ClusterClickHouseInstance`: an instance shared by the platform team, with the namespaces that may use it and the
//! ceilings they are held to.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    instance::{ClickHouseInstanceSpec, ClickHouseInstanceStatus},
    rules, schema,
    user::{AdoptionPolicy, Permission},
};

/// The instance, who may use it, and how far.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "chuser.dev",
    version = "v1alpha1",
    kind = "ClusterClickHouseInstance",
    plural = "clusterclickhouseinstances",
    shortname = "cchinst",
    category = "clickhouse",
    status = "ClickHouseInstanceStatus",
    derive = "PartialEq",
    doc = "A ClickHouse instance on a cloud that a platform team shares: its credentials stay in the operator's \
           namespace, and it says which namespaces may use it and how far.",
    printcolumn(name = "Ready", type_ = "string", json_path = r#".status.conditions[?(@.type=="Ready")].status"#),
    printcolumn(name = "Reason", type_ = "string", json_path = r#".status.conditions[?(@.type=="Ready")].reason"#),
    printcolumn(name = "Provider", type_ = "string", json_path = ".status.provider"),
    printcolumn(name = "Users", type_ = "integer", json_path = ".status.users"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Key", type_ = "string", json_path = ".status.instanceKey", priority = 1),
    printcolumn(
        name = "Message",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Ready")].message"#,
        priority = 1
    ),
    validation = rules::one_provider(),
    validation = rules::provider_is_immutable()
)]
#[serde(rename_all = "camelCase")]
pub struct ClusterClickHouseInstanceSpec {
    /// What every instance says.
    #[serde(flatten)]
    pub instance: ClickHouseInstanceSpec,

    /// The namespaces whose users may use the instance: those named and those selected. Left out: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allowed_namespaces: Option<AllowedNamespaces>,

    /// How far users may go. A ceiling that is left out is no limit, but adoption left out means Never.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ceilings: Option<Ceilings>,
}

/// Which namespaces may use a shared instance: those in either field.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AllowedNamespaces {
    /// Names of namespaces. Default: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(max = 1024),
        inner(length(min = 1, max = 63), regex(pattern = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")),
        extend("x-kubernetes-list-type" = "set")
    )]
    pub names: Option<Vec<String>>,

    /// Labels of namespaces; the empty selector {} selects all. Left out: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<schema::Selector>")]
    pub selector: Option<LabelSelector>,
}

/// How far users of a shared instance may go.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Ceilings {
    /// Regular expression that the whole name of every account must match. Left out: any name.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256))]
    pub username_pattern: Option<String>,

    /// The most that an account may do: ReadOnly or ReadAndConfigure. Huawei Cloud only. Left out: anything.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<schema::PermissionName>")]
    pub permission: Option<Permission>,

    /// Databases that accounts may use; a user that asks for "*" exceeds any list. Huawei Cloud only. Left out: any.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 100), inner(length(min = 1, max = 128)), extend("x-kubernetes-list-type" = "set"))]
    pub databases: Option<Vec<String>>,

    /// Networks inside one of which every host of an account must lie. QingCloud only. Left out: any.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 100), inner(length(min = 1, max = 64)), extend("x-kubernetes-list-type" = "set"))]
    pub allowed_hosts: Option<Vec<String>>,

    /// Whether users may take over accounts that are there already: Never or Adopt. Default: Never.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub adoption: Option<AdoptionPolicy>,

    /// How many users of one namespace are served, the oldest first; deleting ones count until they are gone.
    /// Left out: any number.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 100_000))]
    pub users_per_namespace: Option<i32>,
}

impl Ceilings {
    /// Whether users may take over accounts.
    pub fn adoption(&self) -> AdoptionPolicy {
        self.adoption.unwrap_or(AdoptionPolicy::Never)
    }
}

//! `ClickHouseInstance`: which instance, of which cloud, with which credentials. The parts that
//! `ClusterClickHouseInstance` has too are here.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{rules, schema};
use crate::{
    domain::names::{InstanceKey, KeyId},
    provider::contract::ProviderKind,
};

/// The instance: exactly one provider block, and how to reach ClickHouse in it.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[kube(
    group = "chuser.dev",
    version = "v1alpha1",
    kind = "ClickHouseInstance",
    plural = "clickhouseinstances",
    shortname = "chinst",
    category = "clickhouse",
    namespaced,
    status = "ClickHouseInstanceStatus",
    derive = "PartialEq",
    doc = "A ClickHouse instance on a cloud, with the credentials to manage its accounts, for the users of its \
           namespace.",
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
pub struct ClickHouseInstanceSpec {
    /// The instance is a QingCloud MySQL Plus cluster with an analysis node. Exactly one provider block.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub qingcloud: Option<QingCloudInstance>,

    /// The instance is a Huawei Cloud TaurusDB HTAP ClickHouse instance. Exactly one provider block.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub huaweicloud: Option<HuaweiCloudInstance>,

    /// Where clients connect to. What is set here overrides what the cloud reports.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connection: Option<Connection>,

    /// Log in as each user over HTTP after every change and from time to time, to see whether its password works.
    /// Left out: no logins.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub login_check: Option<LoginCheck>,
}

/// An instance on QingCloud.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct QingCloudInstance {
    /// Zone of the cluster in lower case, such as sh1a. Cannot be changed.
    #[schemars(length(min = 1, max = 32), regex(pattern = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    #[x_kube(validation = rules::immutable("spec.qingcloud.zone"))]
    pub zone: String,

    /// Identifier of the cluster, such as cl-ouhutv70. Cannot be changed.
    #[serde(rename = "clusterID")]
    #[schemars(length(max = 35), regex(pattern = "^cl-[a-z0-9]{4,32}$"))]
    #[x_kube(validation = rules::immutable("spec.qingcloud.clusterID"))]
    pub cluster_id: String,

    /// The Secret with the API key, in keys accessKeyID and secretAccessKey. It is in the namespace of this object
    /// (ClusterClickHouseInstance: in the operator's).
    pub credentials_secret_ref: SecretRef,

    /// Address of the API where it is not the public one; the operator must have been started with its origin in
    /// --allowed-endpoints. Default: the public one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253), regex(pattern = "^[Hh][Tt][Tt][Pp][Ss]?://[^/?#@ ]+(/[^?# ]*)?$"))]
    pub endpoint: Option<String>,

    /// Role of the node that runs ClickHouse. Default: analysis.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64), regex(pattern = "^[A-Za-z0-9_-]+$"))]
    pub role: Option<String>,

    /// How calls that change accounts are sent: POST keeps passwords out of URLs and of the logs of proxies; GET is the
    /// form that the vendor documents. Default: POST.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub method: Option<QingCloudMethod>,
}

/// How calls that change accounts are sent to QingCloud.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(description = "")]
pub enum QingCloudMethod {
    /// Parameters in a form body.
    #[serde(rename = "POST")]
    Post,
    /// Parameters in the URL.
    #[serde(rename = "GET")]
    Get,
}

/// An instance on Huawei Cloud.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HuaweiCloudInstance {
    /// Region, such as cn-north-4. Cannot be changed.
    #[schemars(length(min = 1, max = 63), regex(pattern = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    #[x_kube(validation = rules::immutable("spec.huaweicloud.region"))]
    pub region: String,

    /// Identifier of the project: 32 lower-case letters or digits. Cannot be changed.
    #[serde(rename = "projectID")]
    #[schemars(length(max = 32), regex(pattern = "^[0-9a-z]{32}$"))]
    #[x_kube(validation = rules::immutable("spec.huaweicloud.projectID"))]
    pub project_id: String,

    /// Identifier of the ClickHouse instance, which ends in in16 as a rule. Cannot be changed.
    #[serde(rename = "instanceID")]
    #[schemars(length(max = 36), regex(pattern = "^[0-9a-z]{32}(in[0-9]{2})?$"))]
    #[x_kube(validation = rules::immutable("spec.huaweicloud.instanceID"))]
    pub instance_id: String,

    /// The Secret with either accessKeyID and secretAccessKey (and securityToken for temporary ones), or domainName,
    /// userName and password. It is in the namespace of this object (ClusterClickHouseInstance: in the operator's).
    pub credentials_secret_ref: SecretRef,

    /// Identifier of the TaurusDB instance that the ClickHouse instance belongs to. It serves only to look the
    /// connection address up. Left out: set connection where an address is needed.
    #[serde(rename = "taurusInstanceID", skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 36), regex(pattern = "^[0-9a-z]{32}(in[0-9]{2})?$"))]
    pub taurus_instance_id: Option<String>,

    /// Origin of the API where it is not the region's public one; the operator must have been started with it in
    /// --allowed-endpoints. Default: the public one of the region.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253), regex(pattern = "^[Hh][Tt][Tt][Pp][Ss]?://[^/?#@ ]+/?$"))]
    pub endpoint: Option<String>,

    /// Origin of the identity service where it is not the region's public one; the operator must have been started with
    /// it in --allowed-endpoints. It is used with userName and password only. Default: the public one of the region.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253), regex(pattern = "^[Hh][Tt][Tt][Pp][Ss]?://[^/?#@ ]+/?$"))]
    pub iam_endpoint: Option<String>,
}

/// Names a Secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SecretRef {
    /// metadata.name of the Secret.
    #[schemars(
        length(min = 1, max = 253),
        regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$")
    )]
    pub name: String,
}

/// Where clients connect to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Connection {
    /// Host name or IP address.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[A-Za-z0-9.:_\[\]-]+$"))]
    pub host: Option<String>,

    /// Port of the native protocol. Default: what the cloud reports, else 9000, or 9440 with TLS.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65535))]
    pub port: Option<u16>,

    /// Port of the HTTP interface. Default: what the cloud reports, else 8123, or 8443 with TLS.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65535))]
    pub http_port: Option<u16>,

    /// Whether the ports speak TLS: Disabled or Required. Default: what the cloud reports, else Disabled.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<ConnectionTls>,
}

/// Whether ClickHouse's ports speak TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(description = "")]
pub enum ConnectionTls {
    /// Plain text.
    Disabled,
    /// TLS only.
    Required,
}

/// When to log in as a user.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LoginCheck {
    /// Time between two logins of a user that did not change, written like 90s, 10m or 1h30m. Default: 10m.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32), regex(pattern = "^([0-9]+(ms|s|m|h))+$"))]
    pub interval: Option<String>,
}

/// What the operator knows of an instance.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClickHouseInstanceStatus {
    /// The metadata.generation that this status was made from; -1 before the first look.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,

    /// The cloud that the instance is on: QingCloud or HuaweiCloud.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<schema::ProviderName>")]
    pub provider: Option<ProviderKind>,

    /// What the instance is, whoever names it: qingcloud/ZONE/CLUSTER or huaweicloud/REGION/PROJECT/INSTANCE.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>", length(max = 256))]
    pub instance_key: Option<InstanceKey>,

    /// The API endpoint in use. Deletions keep to it when it is no longer allowed for anything else.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub endpoint: Option<String>,

    /// The credential that has read the instance.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub credential: Option<CredentialReading>,

    /// How many users are served; written at most once in 30 seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub users: Option<i64>,

    /// Where clients connect to, from the cloud's report and spec.connection.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connection: Option<Connection>,

    /// The state by aspect: Ready always; Reconciling and Stalled only while True.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(with = "schema::Conditions")]
    pub conditions: Vec<Condition>,
}

/// Which credential has read the instance, and when.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CredentialReading {
    /// Keyed digest of the credential; tells whether it changed, not what it is.
    #[schemars(length(max = 128))]
    pub digest: String,

    /// Says under which operator key the digest was made.
    #[serde(rename = "keyID")]
    #[schemars(with = "String", length(max = 64))]
    pub key_id: KeyId,

    /// When it first read the instance.
    #[schemars(with = "schema::Moment")]
    pub read_at: Time,
}

/// The provider block of an instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProviderBlock<'a> {
    /// `spec.qingcloud`
    QingCloud(&'a QingCloudInstance),
    /// `spec.huaweicloud`
    HuaweiCloud(&'a HuaweiCloudInstance),
}

impl ClickHouseInstanceSpec {
    /// The provider block; `None` unless there is exactly one, which the API server sees to.
    pub fn provider(&self) -> Option<ProviderBlock<'_>> {
        match (&self.qingcloud, &self.huaweicloud) {
            (Some(block), None) => Some(ProviderBlock::QingCloud(block)),
            (None, Some(block)) => Some(ProviderBlock::HuaweiCloud(block)),
            _ => None,
        }
    }
}

impl<'a> ProviderBlock<'a> {
    /// The cloud.
    pub fn kind(self) -> ProviderKind {
        match self {
            Self::QingCloud(_) => ProviderKind::QingCloud,
            Self::HuaweiCloud(_) => ProviderKind::HuaweiCloud,
        }
    }

    /// What the instance is, whoever names it.
    pub fn instance_key(self) -> InstanceKey {
        InstanceKey::new(match self {
            Self::QingCloud(block) => format!("qingcloud/{}/{}", block.zone, block.cluster_id),
            Self::HuaweiCloud(block) => {
                format!("huaweicloud/{}/{}/{}", block.region, block.project_id, block.instance_id)
            }
        })
    }

    /// The Secret with the credentials.
    pub fn credentials_secret_ref(self) -> &'a SecretRef {
        match self {
            Self::QingCloud(block) => &block.credentials_secret_ref,
            Self::HuaweiCloud(block) => &block.credentials_secret_ref,
        }
    }
}

impl Connection {
    /// The host without the brackets that IPv6 addresses may be written in.
    pub fn bare_host(&self) -> Option<&str> {
        let host = self.host.as_deref()?;
        Some(host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host))
    }
}

impl LoginCheck {
    /// The interval in force, as written.
    pub fn interval(&self) -> &str {
        self.interval.as_deref().unwrap_or("10m")
    }
}

impl QingCloudInstance {
    /// The role in force.
    pub fn role(&self) -> &str {
        self.role.as_deref().unwrap_or("analysis")
    }

    /// The method in force.
    pub fn method(&self) -> QingCloudMethod {
        self.method.unwrap_or(QingCloudMethod::Post)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::api::ClusterClickHouseInstanceSpec;

    fn qingcloud() -> Value {
        json!({ "zone": "sh1a", "clusterID": "cl-ouhutv70", "credentialsSecretRef": { "name": "qingcloud-api" } })
    }

    fn huaweicloud() -> Value {
        json!({
            "region": "cn-north-4",
            "projectID": "23a50154cf494ec9ad6883979a12db0a",
            "instanceID": "df3ae779e2ad4993a03ccd7a81240125in16",
            "credentialsSecretRef": { "name": "huawei-api" },
        })
    }

    fn spec(spec: Value) -> ClickHouseInstanceSpec {
        serde_json::from_value(spec).expect("a spec")
    }

    #[test]
    fn the_provider_block_says_what_the_instance_is() {
        let spec = spec(json!({ "qingcloud": qingcloud() }));
        let block = spec.provider().expect("a block");
        assert_eq!(block.kind(), ProviderKind::QingCloud);
        assert_eq!(block.instance_key(), InstanceKey::new("qingcloud/sh1a/cl-ouhutv70"));
        assert_eq!(block.credentials_secret_ref().name, "qingcloud-api");
    }

    #[test]
    fn a_shared_instance_has_the_same_block() {
        let spec: ClusterClickHouseInstanceSpec =
            serde_json::from_value(json!({ "huaweicloud": huaweicloud(), "ceilings": {} })).expect("a spec");
        let block = spec.instance.provider().expect("a block");
        assert_eq!(block.kind(), ProviderKind::HuaweiCloud);
        assert_eq!(block.credentials_secret_ref().name, "huawei-api");
        let key = "huaweicloud/cn-north-4/23a50154cf494ec9ad6883979a12db0a/df3ae779e2ad4993a03ccd7a81240125in16";
        assert_eq!(block.instance_key(), InstanceKey::new(key));
    }

    #[test]
    fn no_block_and_two_blocks_are_no_provider() {
        assert_eq!(spec(json!({})).provider(), None);
        assert_eq!(spec(json!({ "qingcloud": qingcloud(), "huaweicloud": huaweicloud() })).provider(), None);
    }

    #[test]
    fn what_a_manifest_leaves_out_has_the_documented_value() {
        let block: QingCloudInstance = serde_json::from_value(qingcloud()).expect("a block");
        assert_eq!((block.role(), block.method()), ("analysis", QingCloudMethod::Post));
        assert_eq!(LoginCheck { interval: None }.interval(), "10m");
    }
}

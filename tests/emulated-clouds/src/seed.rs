//! What exists in the emulated clouds before the first request; also the file that the binary reads.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{
    switches::Switches,
    world::{Limits, Timing},
};

/// An access key of QingCloud.
#[derive(Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct QingcloudKey {
    /// `access_key_id`.
    pub id: String,
    /// The secret that signs.
    pub secret: String,
    /// The cloud account it belongs to; it sees this account's clusters and jobs only.
    #[serde(default = "default_owner")]
    pub owner: String,
    /// Zones it may use; empty for all that have a cluster.
    #[serde(default)]
    pub zones: Vec<String>,
}

impl QingcloudKey {
    /// A key of the default cloud account, for all zones.
    pub fn new(id: impl Into<String>, secret: impl Into<String>) -> Self {
        Self { id: id.into(), secret: secret.into(), owner: default_owner(), zones: Vec::new() }
    }
}

fn default_owner() -> String {
    "usr-emulated".to_owned()
}

/// A MySQL Plus cluster of QingCloud.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Cluster {
    /// Its zone, such as `sh1a`.
    pub zone: String,
    /// Its id, such as `cl-ouhutv70`.
    pub id: String,
    /// The cloud account it belongs to.
    #[serde(default = "default_owner")]
    pub owner: String,
    /// `active`, `pending`, `stopped`, `suspended`, `deleted` or `ceased`.
    #[serde(default = "active")]
    pub status: String,
    /// What is done to it by others: `updating`, `creating`, …; empty when idle.
    #[serde(default)]
    pub transition_status: String,
    /// Private addresses of its analysis nodes; none where it has no analysis instance.
    #[serde(default)]
    pub analysis_nodes: Vec<String>,
}

fn active() -> String {
    "active".to_owned()
}

impl Cluster {
    /// An active cluster of the default cloud account with one analysis node.
    pub fn new(zone: impl Into<String>, id: impl Into<String>) -> Self {
        Self {
            zone: zone.into(),
            id: id.into(),
            owner: default_owner(),
            status: active(),
            transition_status: String::new(),
            analysis_nodes: vec!["192.168.0.10".to_owned()],
        }
    }
}

/// A project of Huawei Cloud: what a region's resources of one domain belong to.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HuaweiProject {
    /// Its id.
    pub id: String,
    /// Its name, normally the region's.
    pub name: String,
    /// Name of the domain (the cloud account) it belongs to.
    pub domain: String,
}

/// An access key of Huawei Cloud.
#[derive(Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HuaweiKeys {
    /// Access key (AK).
    pub access_key: String,
    /// The secret that signs (SK).
    pub secret_key: String,
    /// The token that temporary keys come with.
    #[serde(default)]
    pub security_token: Option<String>,
    /// When temporary keys end.
    #[serde(default)]
    pub expires_at: Option<Timestamp>,
    /// Name of the domain it belongs to.
    pub domain: String,
}

/// A user of Huawei Cloud's IAM.
#[derive(Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HuaweiUser {
    /// Name of the domain.
    pub domain: String,
    /// Name of the user.
    pub name: String,
    /// Password of the user.
    pub password: String,
}

/// What state an instance of Huawei Cloud is in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum InstanceState {
    /// Takes changes.
    #[default]
    Normal,
    /// Another operation runs: DBS.200019.
    Busy,
    /// Faulty: DBS.200086.
    Abnormal,
    /// In arrears: DBS.280449.
    Frozen,
    /// Gone: DBS.200002.
    Deleted,
}

/// A ClickHouse instance of Huawei Cloud.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Instance {
    /// The project it belongs to.
    pub project: String,
    /// Its own id, ending in `in16`.
    pub id: String,
    /// Id of the TaurusDB instance it is a replica of, ending in `in07`.
    pub taurus_id: String,
    /// Its state.
    #[serde(default)]
    pub state: InstanceState,
    /// Databases it has.
    #[serde(default)]
    pub databases: Vec<String>,
    /// Address of its node.
    #[serde(default = "node_address")]
    pub address: String,
    /// Whether it speaks TLS.
    #[serde(default)]
    pub tls: bool,
    /// Port of the HTTP interface.
    #[serde(default = "http_port")]
    pub http_port: u16,
    /// Port of the native protocol.
    #[serde(default = "native_port")]
    pub native_port: u16,
}

fn node_address() -> String {
    "192.168.0.55".to_owned()
}

fn http_port() -> u16 {
    8123
}

fn native_port() -> u16 {
    9000
}

impl Instance {
    /// A sound instance with the databases `db1` and `db2`.
    pub fn new(project: impl Into<String>, id: impl Into<String>, taurus_id: impl Into<String>) -> Self {
        Self {
            project: project.into(),
            id: id.into(),
            taurus_id: taurus_id.into(),
            state: InstanceState::Normal,
            databases: vec!["db1".to_owned(), "db2".to_owned()],
            address: node_address(),
            tls: false,
            http_port: http_port(),
            native_port: native_port(),
        }
    }
}

/// Everything at once, as JSON; every field may be left out.
#[derive(Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Seed {
    /// QingCloud: access keys.
    pub qingcloud_keys: Vec<QingcloudKey>,
    /// QingCloud: clusters.
    pub clusters: Vec<Cluster>,
    /// Huawei Cloud: projects.
    pub huawei_projects: Vec<HuaweiProject>,
    /// Huawei Cloud: access keys.
    pub huawei_keys: Vec<HuaweiKeys>,
    /// Huawei Cloud: IAM users.
    pub huawei_users: Vec<HuaweiUser>,
    /// Huawei Cloud: ClickHouse instances.
    pub instances: Vec<Instance>,
    /// How open questions are answered.
    pub switches: Switches,
    /// How long things take.
    pub timing: Timing,
    /// How many calls are allowed.
    pub limits: Limits,
    /// Huawei Cloud: other codes for the service's refusals.
    pub huawei_codes: BTreeMap<crate::huawei::Rejection, (u16, String)>,
}

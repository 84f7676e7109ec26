//! The audit log of the API server: who asked for what, and what was answered.

use std::io::SeekFrom;
use std::path::Path;

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;
use tokio::fs::File;
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _};

use crate::Error;

/// One event a request. That of a watch is written when it begins, for it may never end. Writes to the operator's own
/// kinds keep the object they made, which says what was known when; bodies of anything else stay out, for they hold
/// Secrets and tokens.
pub(crate) const POLICY: &str = r#"{
  "apiVersion": "audit.k8s.io/v1",
  "kind": "Policy",
  "rules": [
    {"level": "Metadata", "verbs": ["watch"], "omitStages": ["RequestReceived", "ResponseComplete"]},
    {
      "level": "RequestResponse",
      "verbs": ["create", "update", "patch", "delete", "deletecollection"],
      "resources": [{"group": "chuser.dev"}],
      "omitManagedFields": true,
      "omitStages": ["RequestReceived"]
    },
    {"level": "Metadata", "omitStages": ["RequestReceived"]}
  ]
}"#;

/// A request that the API server has answered.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(from = "Record")]
pub struct AuditEvent {
    /// `get`, `list`, `watch`, `create`, `update`, `patch`, `delete`, `deletecollection`.
    pub verb: String,
    /// The user name; of a ServiceAccount `system:serviceaccount:NAMESPACE:NAME`.
    pub user: String,
    /// The API group, empty for the core group and for what is no resource.
    pub group: String,
    /// The plural of the resource; empty where the path is none of a resource.
    pub resource: String,
    /// `status`, `token`, ...; mostly empty.
    pub subresource: String,
    /// Empty for what has no namespace, and for lists and watches over all of them.
    pub namespace: String,
    /// Empty for lists, watches, and a create with a generated name.
    pub name: String,
    /// The HTTP status of the answer.
    pub code: u16,
    /// Path and query.
    pub request_uri: String,
    /// `ResponseComplete`; `ResponseStarted` for watches and for requests of nobody known (401).
    pub stage: String,
    /// When the API server took the request in.
    pub received_at: Timestamp,
    /// When it had answered (a watch: when it began).
    pub answered_at: Timestamp,
    /// What was answered to a write to a kind of the operator: the object as it is then, a list, or a `Status`.
    pub response: Option<Value>,
}

/// A place in the audit log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct AuditMark(pub(crate) u64);

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Record {
    verb: String,
    #[serde(default)]
    user: User,
    #[serde(default)]
    object_ref: ObjectRef,
    #[serde(default)]
    response_status: ResponseStatus,
    #[serde(rename = "requestURI")]
    request_uri: String,
    stage: String,
    request_received_timestamp: Timestamp,
    stage_timestamp: Timestamp,
    #[serde(default)]
    response_object: Option<Value>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct User {
    username: String,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct ObjectRef {
    api_group: String,
    resource: String,
    subresource: String,
    namespace: String,
    name: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ResponseStatus {
    code: u16,
}

impl From<Record> for AuditEvent {
    fn from(record: Record) -> Self {
        let object = record.object_ref;
        Self {
            verb: record.verb,
            user: record.user.username,
            group: object.api_group,
            resource: object.resource,
            subresource: object.subresource,
            namespace: object.namespace,
            name: object.name,
            code: record.response_status.code,
            request_uri: record.request_uri,
            stage: record.stage,
            received_at: record.request_received_timestamp,
            answered_at: record.stage_timestamp,
            response: record.response_object,
        }
    }
}

/// The events that are complete in the log after a mark, each with the mark behind it.
pub(crate) async fn read(log: &Path, from: AuditMark) -> Result<Vec<(AuditEvent, AuditMark)>, Error> {
    let mut file = File::open(log).await?;
    file.seek(SeekFrom::Start(from.0)).await?;
    let mut text = Vec::new();
    file.read_to_end(&mut text).await?;

    let mut position = from.0;
    let lines = text.split_inclusive(|byte| *byte == b'\n').filter(|line| line.ends_with(b"\n"));
    lines
        .map(|line| {
            position += line.len() as u64;
            Ok((serde_json::from_slice(line)?, AuditMark(position)))
        })
        .collect()
}

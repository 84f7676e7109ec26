//! Reading and writing connection Secrets. Their values come from and go to memory that is wiped.

use std::collections::BTreeMap;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use kube::{
    api::{DeleteParams, GetParams, Patch, PatchParams, PostParams, Preconditions},
    core::Request,
};
use serde::{Deserialize, Serialize, Serializer};
use serde_json::{Value as Json, json};
use zeroize::Zeroizing;

use super::{FIELD_MANAGER, Kube, KubeError, secrets::Value};
use crate::{
    api::{GROUP, VERSION},
    domain::{
        connection_secret::{ConnectionSecret, FoundSecret, SECRET_TYPE},
        names::Uid,
        secret::SecretText,
    },
    ops::labels::{KubeKind, KubeVerb},
};

/// The user that a connection Secret belongs to.
#[derive(Clone, Copy)]
pub struct Owner<'a> {
    /// Its namespace, and the Secret's.
    pub namespace: &'a str,
    /// `metadata.name`
    pub name: &'a str,
    /// `metadata.uid`
    pub uid: &'a Uid,
}

impl Kube {
    /// Reads a Secret as the API server has it now.
    pub async fn find_secret(&self, namespace: &str, name: &str) -> Result<FoundSecret, KubeError> {
        let request = requests(namespace).get(name, &GetParams::default()).map_err(|error| unbuilt(&error))?;
        let found: RawSecret = self.call(KubeVerb::Get, KubeKind::Secret, self.client.request(request)).await?;
        Ok(found.into())
    }

    /// Creates a connection Secret; a conflict where one of its name is there. Tells uid and resourceVersion.
    pub async fn create_connection_secret(
        &self,
        owner: Owner<'_>,
        wanted: &ConnectionSecret,
        password: &SecretText,
    ) -> Result<(Uid, String), KubeError> {
        let metadata = json!({
            "name": wanted.name,
            "labels": wanted.labels,
            "annotations": wanted.annotations,
            "ownerReferences": [owner_reference(owner)],
        });
        let body = Body { kind: Some(SECRET_TYPE), ..Body::new(metadata, wanted, password) };
        let params = PostParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PostParams::default() };
        let body = serde_json::to_vec(&body).map_err(|error| KubeError::Unreachable(error.to_string()))?;
        let request = requests(owner.namespace).create(&params, body).map_err(|error| unbuilt(&error))?;
        let written: RawVersion = self.call(KubeVerb::Create, KubeKind::Secret, self.client.request(request)).await?;
        Ok(written.into())
    }

    /// Makes a Secret that was found into the connection Secret; a conflict where it has changed since. Values that
    /// are not asked for go, and where it has to be `exact`, labels and annotations too. Tells uid and resourceVersion.
    pub async fn restore_connection_secret(
        &self,
        owner: Owner<'_>,
        found: &FoundSecret,
        wanted: &ConnectionSecret,
        exact: bool,
        password: &SecretText,
    ) -> Result<(Uid, String), KubeError> {
        let metadata = json!({
            "uid": found.uid,
            "resourceVersion": found.resource_version,
            "labels": entries(&found.labels, &wanted.labels, exact),
            "annotations": entries(&found.annotations, &wanted.annotations, exact),
        });
        let mut body = Body::new(metadata, wanted, password);
        for key in found.data.keys() {
            body.data.entry(key).or_insert(None);
        }
        let params = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
        let request = requests(owner.namespace)
            .patch(&wanted.name, &params, &Patch::Merge(&body))
            .map_err(|error| unbuilt(&error))?;
        let written: RawVersion = self.call(KubeVerb::Patch, KubeKind::Secret, self.client.request(request)).await?;
        Ok(written.into())
    }

    /// Removes a connection Secret, if it is its owner's. One that is gone, or somebody else's, is no error.
    pub async fn remove_connection_secret(&self, owner: Owner<'_>, name: &str) -> Result<(), KubeError> {
        let found = match self.find_secret(owner.namespace, name).await {
            Err(KubeError::NotFound) => return Ok(()),
            found => found?,
        };
        if !found.owners.contains(owner.uid) {
            return Ok(());
        }
        let params = DeleteParams::default().preconditions(Preconditions {
            uid: Some(found.uid.as_str().to_owned()),
            resource_version: Some(found.resource_version.clone()),
        });
        let request = requests(owner.namespace).delete(name, &params).map_err(|error| unbuilt(&error))?;
        // The answer is the Secret or a status; neither tells anything.
        let deleted = self.call(KubeVerb::Delete, KubeKind::Secret, self.client.request::<Ignored>(request)).await;
        match deleted {
            Err(KubeError::NotFound) => Ok(()),
            deleted => deleted.map(drop),
        }
    }
}

fn requests(namespace: &str) -> Request {
    Request::new(format!("/api/v1/namespaces/{namespace}/secrets"))
}

fn unbuilt(error: &kube::core::request::Error) -> KubeError {
    KubeError::Unreachable(error.to_string())
}

/// Without `blockOwnerDeletion`, which would need a right on the owner's finalizers.
fn owner_reference(owner: Owner<'_>) -> Json {
    json!({
        "apiVersion": format!("{GROUP}/{VERSION}"),
        "kind": "ClickHouseUser",
        "name": owner.name,
        "uid": owner.uid,
        "controller": true,
    })
}

/// The wanted entries, and null for each that has to go.
fn entries<'a>(
    found: &'a BTreeMap<String, String>,
    wanted: &'a BTreeMap<String, String>,
    exact: bool,
) -> BTreeMap<&'a str, Option<&'a str>> {
    let gone = found.keys().filter(|_| exact).map(|key| (key.as_str(), None));
    gone.chain(wanted.iter().map(|(key, value)| (key.as_str(), Some(value.as_str())))).collect()
}

#[derive(Serialize)]
struct Body<'a> {
    metadata: Json,
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    kind: Option<&'static str>,
    data: BTreeMap<&'a str, Option<Encoded>>,
}

impl Body<'_> {
    fn new(metadata: Json, wanted: &ConnectionSecret, password: &SecretText) -> Self {
        let data = wanted.data(password).into_iter();
        let encoded = |value: SecretText| Some(Encoded(Zeroizing::new(STANDARD.encode(value.expose()))));
        Self { metadata, kind: None, data: data.map(|(key, value)| (key, encoded(value))).collect() }
    }
}

/// A value in base64, wiped when dropped.
struct Encoded(Zeroizing<String>);

impl Serialize for Encoded {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

#[derive(Deserialize)]
struct RawSecret {
    metadata: RawMetadata,
    #[serde(rename = "type", default)]
    kind: String,
    #[serde(default)]
    data: BTreeMap<String, Value>,
}

#[derive(Deserialize)]
struct RawVersion {
    metadata: RawMetadata,
}

#[derive(Deserialize)]
struct Ignored {}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawMetadata {
    uid: Uid,
    resource_version: String,
    #[serde(default)]
    labels: BTreeMap<String, String>,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
    #[serde(default)]
    owner_references: Vec<RawOwner>,
}

#[derive(Deserialize)]
struct RawOwner {
    uid: Uid,
}

impl From<RawVersion> for (Uid, String) {
    fn from(RawVersion { metadata }: RawVersion) -> Self {
        (metadata.uid, metadata.resource_version)
    }
}

impl From<RawSecret> for FoundSecret {
    fn from(RawSecret { metadata, kind, data }: RawSecret) -> Self {
        Self {
            uid: metadata.uid,
            resource_version: metadata.resource_version,
            kind,
            owners: metadata.owner_references.into_iter().map(|owner| owner.uid).collect(),
            labels: metadata.labels,
            annotations: metadata.annotations,
            data: data.into_iter().map(|(key, value)| (key, value.0)).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_that_are_not_asked_for_are_taken_off_where_it_has_to_be_exact() {
        let map = |entries: &[(&str, &str)]| {
            entries.iter().map(|&(key, value)| (key.to_owned(), value.to_owned())).collect::<BTreeMap<_, _>>()
        };
        let (found, wanted) = (map(&[("former", "1"), ("team", "a")]), map(&[("team", "b"), ("tier", "c")]));
        let expected = [("former", None), ("team", Some("b")), ("tier", Some("c"))];
        assert_eq!(entries(&found, &wanted, true), BTreeMap::from(expected));
        let kept = [("team", Some("b")), ("tier", Some("c"))];
        assert_eq!(entries(&found, &wanted, false), BTreeMap::from(kept));
    }

    #[test]
    fn secret_without_labels_owners_or_data_is_read() {
        let text = r#"{"metadata":{"uid":"u","resourceVersion":"1"},"type":"Opaque"}"#;
        let found = FoundSecret::from(serde_json::from_str::<RawSecret>(text).expect("a Secret"));
        assert!(found.owners.is_empty() && found.labels.is_empty() && found.data.is_empty());
        assert_eq!((found.kind.as_str(), found.resource_version.as_str()), ("Opaque", "1"));
    }
}

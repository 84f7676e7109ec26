//! The operator's key Secret: created once, then only read.

use std::collections::BTreeMap;

use futures::{StreamExt, future};
use k8s_openapi::{ByteString, api::core::v1::Secret};
use kube::{
    Api,
    api::{ObjectMeta, PartialObjectMeta, PostParams},
    runtime::{
        WatchStreamExt,
        watcher::{self, Event, watcher},
    },
};
use rand::Rng;
use zeroize::Zeroizing;

use super::{FIELD_MANAGER, Kube, KubeError, secrets::SecretValues};
use crate::{
    domain::operator_key::{KEY_BYTES, OperatorKey},
    ops::labels::{KubeKind, KubeVerb},
};

/// Name of the Secret in the operator's namespace.
pub const SECRET_NAME: &str = "clickhouse-user-operator-key";

/// Key in its data.
const DATA_KEY: &str = "key";

impl Kube {
    /// Reads the operator's key, or makes it where this is the first start in this namespace.
    pub async fn operator_key(&self, namespace: &str) -> Result<OperatorKey, KubeError> {
        match self.read_secret(namespace, SECRET_NAME, None).await {
            Err(KubeError::NotFound) => match self.create_operator_key(namespace).await {
                // Another process was faster: its key is the key.
                Err(KubeError::Conflict) => read_key(namespace, &self.read_secret(namespace, SECRET_NAME, None).await?),
                created => created,
            },
            found => read_key(namespace, &found?),
        }
    }

    /// Follows the key's Secret and writes it back from memory whenever somebody deletes it: without it the next start
    /// would make another, under which no fingerprint and no journal counts. Ends never.
    pub async fn keep_operator_key(&self, namespace: &str, key: &OperatorKey) {
        let api: Api<PartialObjectMeta<Secret>> = Api::namespaced(self.client.clone(), namespace);
        let config = watcher::Config::default().fields(&format!("metadata.name={SECRET_NAME}"));
        let deleted = watcher(api, config).default_backoff().filter_map(|event| match event {
            Ok(Event::Delete(_)) => future::ready(Some(())),
            _ => future::ready(None),
        });
        deleted
            .for_each(async |()| {
                tracing::warn!("Secret {namespace}/{SECRET_NAME} was deleted; it is written back");
                match self.write_operator_key(namespace, &key.to_bytes()).await {
                    Ok(()) | Err(KubeError::Conflict) => {}
                    Err(error) => tracing::error!("Secret {namespace}/{SECRET_NAME} cannot be written back: {error}"),
                }
            })
            .await;
    }

    async fn create_operator_key(&self, namespace: &str) -> Result<OperatorKey, KubeError> {
        let mut bytes = Zeroizing::new([0; KEY_BYTES]);
        rand::rng().fill_bytes(bytes.as_mut_slice());
        self.write_operator_key(namespace, &bytes).await?;
        Ok(OperatorKey::new(bytes))
    }

    async fn write_operator_key(&self, namespace: &str, bytes: &[u8; KEY_BYTES]) -> Result<(), KubeError> {
        let secret = Secret {
            metadata: ObjectMeta {
                name: Some(SECRET_NAME.to_owned()),
                labels: Some(BTreeMap::from([("app.kubernetes.io/managed-by".to_owned(), FIELD_MANAGER.to_owned())])),
                ..ObjectMeta::default()
            },
            data: Some(BTreeMap::from([(DATA_KEY.to_owned(), ByteString(bytes.to_vec()))])),
            type_: Some("Opaque".to_owned()),
            ..Secret::default()
        };
        let params = PostParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PostParams::default() };
        let api: Api<Secret> = Api::namespaced(self.client.clone(), namespace);
        self.call(KubeVerb::Create, KubeKind::Secret, api.create(&params, &secret)).await.map(drop)
    }
}

fn read_key(namespace: &str, secret: &SecretValues) -> Result<OperatorKey, KubeError> {
    let bytes = secret.get(DATA_KEY).and_then(|value| <[u8; KEY_BYTES]>::try_from(value).ok());
    bytes.map(|bytes| OperatorKey::new(Zeroizing::new(bytes))).ok_or_else(|| {
        KubeError::Unreachable(format!(
            "Secret {namespace}/{SECRET_NAME} has no key `{DATA_KEY}` of {KEY_BYTES} bytes; restore it from a backup, \
             or delete it to have a new one made"
        ))
    })
}

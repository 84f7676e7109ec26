//! Every version of every Secret of a test's namespace, as a watch saw it: what the operator may have read.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use futures::StreamExt;
use invariants::SecretVersion;
use k8s_openapi::api::core::v1::Secret;
use kube::{
    Api, Client,
    api::ListParams,
    runtime::watcher::{self, Event, watcher},
};
use tokio_util::task::AbortOnDropHandle;

use crate::world::PATIENCE;

type Versions = BTreeMap<SecretVersion, BTreeMap<String, String>>;

/// Follows the Secrets until it is dropped. No Debug: it holds what they hold.
pub struct Secrets {
    api: Api<Secret>,
    versions: Arc<Mutex<Versions>>,
    _following: AbortOnDropHandle<()>,
}

impl Secrets {
    /// Follows the Secrets of a namespace in which there are none yet.
    pub fn follow(client: Client, namespace: &str) -> Self {
        let api: Api<Secret> = Api::namespaced(client, namespace);
        let versions = Arc::<Mutex<Versions>>::default();
        let (watched, seen) = (api.clone(), versions.clone());
        let following = tokio::spawn(async move {
            let mut events = watcher(watched, watcher::Config::default()).boxed();
            while let Some(event) = events.next().await {
                if let Ok(Event::Apply(secret) | Event::InitApply(secret)) = event {
                    let values = secret.data.clone().unwrap_or_default();
                    let values = values.into_iter().filter_map(|(key, it)| Some((key, String::from_utf8(it.0).ok()?)));
                    seen.lock().expect("no panic").insert(version(&secret), values.collect());
                }
            }
        });
        Self { api, versions, _following: AbortOnDropHandle::new(following) }
    }

    /// Every version so far, with `digest` in place of the values.
    pub async fn digests(&self, digest: impl Fn(&str) -> String) -> Versions {
        let now: Vec<_> = self.api.list(&ListParams::default()).await.expect("Secrets").iter().map(version).collect();
        let caught_up = async {
            while !now.iter().all(|version| self.versions.lock().expect("no panic").contains_key(version)) {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(PATIENCE, caught_up).await.expect("the watch sees what the list shows");
        let versions = self.versions.lock().expect("no panic").clone();
        let hide = |values: BTreeMap<String, String>| values.into_iter().map(|(key, it)| (key, digest(&it))).collect();
        versions.into_iter().map(|(version, values)| (version, hide(values))).collect()
    }
}

fn version(secret: &Secret) -> SecretVersion {
    SecretVersion {
        uid: secret.metadata.uid.clone().unwrap_or_default(),
        resource_version: secret.metadata.resource_version.clone().unwrap_or_default(),
    }
}

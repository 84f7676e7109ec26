//! Which Secrets there are and at which version, from metadata alone: values never enter memory before they are used.

use std::{
    collections::HashMap,
    mem,
    sync::{Mutex, MutexGuard, PoisonError},
};

use kube::{Resource, runtime::watcher::Event};

use tokio_util::sync::CancellationToken;

use super::index::{Name, name_of};
use crate::domain::{names::Uid, seen::SecretSeen};

/// Uid and resourceVersion of every Secret the watch shows. A slim record instead of a store of objects: metadata of
/// Secrets is mostly labels and managed fields that nobody here needs.
#[derive(Default)]
pub struct SecretVersions {
    state: Mutex<State>,
    filled: CancellationToken,
}

#[derive(Default)]
struct State {
    known: HashMap<Name, (Uid, String)>,
    /// Filled while the watch lists anew.
    listing: HashMap<Name, (Uid, String)>,
}

impl SecretVersions {
    /// Takes a watch event in. Tells which Secrets are new, changed or gone.
    pub fn apply<K: Resource>(&self, event: &Event<K>) -> Vec<Name> {
        let mut state = self.state();
        match event {
            Event::Init => {
                state.listing.clear();
                Vec::new()
            }
            Event::InitApply(secret) => {
                if let Some((name, version)) = version_of(secret) {
                    state.listing.insert(name, version);
                }
                Vec::new()
            }
            Event::InitDone => {
                let before = mem::take(&mut state.known);
                state.known = mem::take(&mut state.listing);
                self.filled.cancel();
                let gone = before.keys().filter(|name| !state.known.contains_key(*name));
                let changed = state.known.iter().filter(|(name, version)| before.get(*name) != Some(*version));
                gone.chain(changed.map(|(name, _)| name)).cloned().collect()
            }
            Event::Apply(secret) => match version_of(secret) {
                Some((name, version)) => {
                    state.known.insert(name.clone(), version);
                    vec![name]
                }
                None => Vec::new(),
            },
            Event::Delete(secret) => {
                let name = name_of(secret);
                name.into_iter().inspect(|name| _ = state.known.remove(name)).collect()
            }
        }
    }

    /// Waits until the first list is complete.
    pub async fn filled(&self) {
        self.filled.cancelled().await;
    }

    /// What the watch shows of a Secret.
    pub fn get(&self, name: &Name) -> SecretSeen {
        match self.state().known.get(name) {
            Some((uid, version)) => SecretSeen::Present { uid: uid.clone(), resource_version: version.clone() },
            None => SecretSeen::Missing,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn version_of<K: Resource>(secret: &K) -> Option<(Name, (Uid, String))> {
    let metadata = secret.meta();
    Some((name_of(secret)?, (Uid::new(metadata.uid.clone()?), metadata.resource_version.clone()?)))
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::Secret;
    use kube::api::ObjectMeta;

    use super::*;

    fn secret(name: &str, version: &str) -> Secret {
        let metadata = ObjectMeta {
            namespace: Some("ns".to_owned()),
            name: Some(name.to_owned()),
            uid: Some(format!("uid of {name}")),
            resource_version: Some(version.to_owned()),
            ..ObjectMeta::default()
        };
        Secret { metadata, ..Secret::default() }
    }

    fn name(name: &str) -> Name {
        ("ns".to_owned(), name.to_owned())
    }

    #[test]
    fn new_list_tells_what_came_changed_and_went_while_nobody_watched() {
        let versions = SecretVersions::default();
        for event in [Event::Init, Event::InitApply(secret("same", "1")), Event::InitApply(secret("gone", "2"))] {
            versions.apply(&event);
        }
        versions.apply(&Event::InitApply(secret("changed", "3")));
        assert_eq!(versions.apply(&Event::<Secret>::InitDone).len(), 3);
        for event in [Event::Init, Event::InitApply(secret("same", "1")), Event::InitApply(secret("changed", "9"))] {
            versions.apply(&event);
        }
        let mut told = versions.apply(&Event::<Secret>::InitDone);
        told.sort();
        assert_eq!(told, [name("changed"), name("gone")]);
        assert_eq!(versions.get(&name("gone")), SecretSeen::Missing);
    }

    #[test]
    fn list_under_way_does_not_hide_what_is_known() {
        let versions = SecretVersions::default();
        versions.apply(&Event::Apply(secret("a", "1")));
        versions.apply(&Event::<Secret>::Init);
        assert_ne!(versions.get(&name("a")), SecretSeen::Missing);
        assert_eq!(versions.apply(&Event::Delete(secret("a", "2"))), [name("a")]);
        assert_eq!(versions.get(&name("a")), SecretSeen::Missing);
    }
}

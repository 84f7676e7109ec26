//! Which Secrets there are and at which version, from metadata alone: values never enter memory before they are used.

use std::{
    collections::HashMap,
    mem,
    sync::{Mutex, MutexGuard, PoisonError},
};

use kube::{Resource, runtime::watcher::Event};

use tokio_util::sync::CancellationToken;

use super::names::{Name, name_of};
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
    known: HashMap<Box<str>, Entry>,
    /// Counts the lists; an entry that a complete list did not bring is gone.
    list: u32,
    /// What the list under way has shown to be new or changed.
    changed: Vec<Name>,
}

struct Entry {
    /// Uid and resourceVersion, with a blank between: one text, because there are many.
    version: Box<str>,
    list: u32,
}

impl SecretVersions {
    /// Takes a watch event in. Tells which Secrets are new, changed or gone.
    pub fn apply<K: Resource>(&self, event: &Event<K>) -> Vec<Name> {
        let mut state = self.state();
        match event {
            Event::Init => {
                state.list = state.list.wrapping_add(1);
                Vec::new()
            }
            Event::InitApply(secret) => {
                // Nobody has seen anything yet who could see a change in the first list.
                if let Some(name) = state.shown(secret).filter(|_| self.filled.is_cancelled()) {
                    state.changed.push(name);
                }
                Vec::new()
            }
            Event::InitDone => {
                self.filled.cancel();
                let list = state.list;
                let mut told = mem::take(&mut state.changed);
                told.extend(state.known.extract_if(|_, entry| entry.list != list).map(|(key, _)| name_in(&key)));
                told
            }
            Event::Apply(secret) => state.shown(secret).into_iter().collect(),
            Event::Delete(secret) => {
                name_of(secret).into_iter().inspect(|name| _ = state.known.remove(&key(name))).collect()
            }
        }
    }

    /// Waits until the first list is complete.
    pub async fn filled(&self) {
        self.filled.cancelled().await;
    }

    /// What the watch shows of a Secret.
    pub fn get(&self, name: &Name) -> SecretSeen {
        let state = self.state();
        let version = state.known.get(&key(name)).and_then(|entry| entry.version.split_once(' '));
        version.map_or(SecretSeen::Missing, |(uid, resource_version)| SecretSeen::Present {
            uid: Uid::new(uid),
            resource_version: resource_version.to_owned(),
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Takes a Secret in; its name where the version is new.
    fn shown<K: Resource>(&mut self, secret: &K) -> Option<Name> {
        let (name, metadata) = (name_of(secret)?, secret.meta());
        let version = format!("{} {}", metadata.uid.as_deref()?, metadata.resource_version.as_deref()?);
        let entry = Entry { version: version.into(), list: self.list };
        let changed = self.known.get(&key(&name)).is_none_or(|before| before.version != entry.version);
        self.known.insert(key(&name), entry);
        changed.then_some(name)
    }
}

fn key((namespace, name): &Name) -> Box<str> {
    format!("{namespace}/{name}").into()
}

fn name_in(key: &str) -> Name {
    let (namespace, name) = key.split_once('/').unwrap_or(("", key));
    (namespace.to_owned(), name.to_owned())
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
        assert!(versions.apply(&Event::<Secret>::InitDone).is_empty(), "nobody has seen anything else before");
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

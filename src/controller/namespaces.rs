//! Labels of namespaces, which `allowedNamespaces` selects by, from a watch of metadata.

use std::{
    collections::{HashMap, HashSet},
    mem,
    sync::{Mutex, MutexGuard, PoisonError},
};

use kube::{Resource, runtime::watcher::Event};
use tokio_util::sync::CancellationToken;

use crate::domain::policy::Labels;

/// The labels of every namespace. A slim record instead of a store of objects.
#[derive(Default)]
pub struct Namespaces {
    state: Mutex<State>,
    filled: CancellationToken,
}

#[derive(Default)]
struct State {
    known: HashMap<String, Labels>,
    /// Filled while the watch lists anew.
    listing: HashMap<String, Labels>,
}

impl Namespaces {
    /// Takes a watch event in. Tells which namespaces came, went or changed their labels.
    pub fn apply<K: Resource>(&self, event: &Event<K>) -> Vec<String> {
        let mut state = self.state();
        match event {
            Event::Init => state.listing.clear(),
            Event::InitApply(namespace) => {
                let (name, labels) = labels_of(namespace);
                state.listing.insert(name, labels);
            }
            Event::InitDone => {
                let before = mem::take(&mut state.known);
                state.known = mem::take(&mut state.listing);
                self.filled.cancel();
                let names: HashSet<_> = before.keys().chain(state.known.keys()).collect();
                let changed = names.into_iter().filter(|name| before.get(*name) != state.known.get(*name));
                return changed.cloned().collect();
            }
            Event::Apply(namespace) => {
                let (name, labels) = labels_of(namespace);
                if state.known.get(&name) != Some(&labels) {
                    state.known.insert(name.clone(), labels);
                    return vec![name];
                }
            }
            Event::Delete(namespace) => {
                let (name, _) = labels_of(namespace);
                if state.known.remove(&name).is_some() {
                    return vec![name];
                }
            }
        }
        Vec::new()
    }

    /// Waits until the first list is complete.
    pub async fn filled(&self) {
        self.filled.cancelled().await;
    }

    /// Whether the first list is complete.
    pub fn are_filled(&self) -> bool {
        self.filled.is_cancelled()
    }

    /// The labels of a namespace; `None` for one that is not there.
    pub fn labels(&self, namespace: &str) -> Option<Labels> {
        self.state().known.get(namespace).cloned()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn labels_of<K: Resource>(namespace: &K) -> (String, Labels) {
    let metadata = namespace.meta();
    (metadata.name.clone().unwrap_or_default(), metadata.labels.clone().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::Namespace;
    use kube::api::ObjectMeta;

    use super::*;

    fn namespace(name: &str, tier: &str) -> Namespace {
        let labels = Some(Labels::from([("tier".to_owned(), tier.to_owned())]));
        Namespace {
            metadata: ObjectMeta { name: Some(name.to_owned()), labels, ..ObjectMeta::default() },
            ..Namespace::default()
        }
    }

    #[test]
    fn only_a_change_of_labels_is_told() {
        let namespaces = Namespaces::default();
        assert_eq!(namespaces.apply(&Event::Apply(namespace("a", "gold"))), ["a"]);
        assert!(namespaces.apply(&Event::Apply(namespace("a", "gold"))).is_empty());
        assert_eq!(namespaces.apply(&Event::Apply(namespace("a", "silver"))), ["a"]);
        assert_eq!(namespaces.apply(&Event::Delete(namespace("a", "silver"))), ["a"]);
        assert_eq!(namespaces.labels("a"), None);
    }

    #[test]
    fn new_list_tells_what_came_changed_and_went_while_nobody_watched() {
        let namespaces = Namespaces::default();
        for namespace in [namespace("same", "gold"), namespace("gone", "gold"), namespace("changed", "gold")] {
            namespaces.apply(&Event::Apply(namespace));
        }
        namespaces.apply(&Event::<Namespace>::Init);
        for namespace in [namespace("same", "gold"), namespace("new", "gold"), namespace("changed", "silver")] {
            assert!(namespaces.apply(&Event::InitApply(namespace)).is_empty());
        }
        assert!(namespaces.labels("gone").is_some(), "a list under way does not hide what is known");
        let mut told = namespaces.apply(&Event::<Namespace>::InitDone);
        told.sort();
        assert_eq!(told, ["changed", "gone", "new"]);
    }
}

//! Objects as this process last wrote them, until the watch has caught up. A pass on an older version could order a
//! job twice.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use kube::Resource;

/// The newest known version of each object that this process has written.
pub struct Latest<K> {
    written: Mutex<HashMap<String, Arc<K>>>,
}

impl<K> Default for Latest<K> {
    fn default() -> Self {
        Self { written: Mutex::default() }
    }
}

impl<K: Resource> Latest<K> {
    /// The newer of what the watch shows and what was written. Versions of one kind compare as numbers (guaranteed
    /// from Kubernetes 1.35, true in practice before).
    pub fn newest(&self, watched: Arc<K>) -> Arc<K> {
        let Some(uid) = watched.meta().uid.clone() else { return watched };
        let mut written = self.written();
        match written.get(&uid) {
            Some(ours) if version(&**ours) > version(&*watched) => ours.clone(),
            Some(_) => {
                written.remove(&uid);
                watched
            }
            None => watched,
        }
    }

    /// Remembers what a write returned.
    pub fn wrote(&self, object: Arc<K>) {
        if let Some(uid) = object.meta().uid.clone() {
            self.written().insert(uid, object);
        }
    }

    /// Forgets an object that is gone.
    pub fn forget(&self, uid: &str) {
        self.written().remove(uid);
    }

    fn written(&self) -> MutexGuard<'_, HashMap<String, Arc<K>>> {
        self.written.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn version<K: Resource>(object: &K) -> u64 {
    object.meta().resource_version.as_deref().and_then(|version| version.parse().ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::ConfigMap;
    use kube::api::ObjectMeta;

    use super::*;

    fn object(version: &str) -> Arc<ConfigMap> {
        let metadata = ObjectMeta {
            uid: Some("u".to_owned()),
            resource_version: Some(version.to_owned()),
            ..ObjectMeta::default()
        };
        Arc::new(ConfigMap { metadata, ..ConfigMap::default() })
    }

    #[test]
    fn own_write_hides_an_older_view_until_the_watch_has_caught_up() {
        let latest = Latest::default();
        latest.wrote(object("10"));
        assert_eq!(version(&*latest.newest(object("9"))), 10);
        assert_eq!(version(&*latest.newest(object("11"))), 11);
        assert_eq!(version(&*latest.newest(object("9"))), 9, "forgotten once the watch was newer");
    }
}

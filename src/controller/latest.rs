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
        Self::newer(&mut self.written(), watched)
    }

    /// The same of what `look` finds, with no [`Self::caught_up`] between the look and the comparison.
    pub fn newest_of(&self, look: impl FnOnce() -> Option<K>) -> Option<Arc<K>> {
        let mut written = self.written();
        let watched = look()?;
        Some(Self::newer(&mut written, Arc::new(watched)))
    }

    fn newer(written: &mut HashMap<String, Arc<K>>, watched: Arc<K>) -> Arc<K> {
        let Some(uid) = watched.meta().uid.clone() else { return watched };
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

    /// Everybody can see this version now: our own is not needed any more where it is not newer.
    pub fn caught_up(&self, watched: &K) {
        let Some(uid) = watched.meta().uid.as_deref() else { return };
        let mut written = self.written();
        if written.get(uid).is_some_and(|ours| version(&**ours) <= version(watched)) {
            written.remove(uid);
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

    #[test]
    fn own_write_is_kept_no_longer_than_until_the_watch_shows_it() {
        let latest = Latest::default();
        latest.wrote(object("10"));
        latest.caught_up(&object("9"));
        assert_eq!(version(&*latest.newest(object("9"))), 10);
        latest.caught_up(&object("10"));
        assert!(latest.written().is_empty());
    }
}

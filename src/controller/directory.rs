//! What is known of every instance object: the connection to its cloud and how it was last seen. Written by instance
//! passes, read by user passes.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::index::Name;
use crate::{
    api::{conditions::Reason, instance},
    domain::names::{InstanceKey, Uid},
    provider::{connection::Connection, contract::ProviderKind},
};

/// One instance object.
#[derive(Clone)]
pub struct Entry {
    /// `metadata.uid`
    pub uid: Uid,
    /// `metadata.generation`
    pub generation: i64,
    /// Which cloud instance it means.
    pub key: InstanceKey,
    /// On which cloud.
    pub provider: ProviderKind,
    /// Reason and message of its `Ready` condition.
    pub state: (Reason, String),
    /// Where clients connect.
    pub address: Option<instance::Connection>,
    /// The connection; kept when the credentials go away, so that deletions can still be made.
    pub connection: Option<Arc<Connection>>,
    /// Version of the credentials Secret the connection was made from.
    pub credentials_version: Option<(Uid, String)>,
}

/// All instance objects, by namespace and name.
#[derive(Default)]
pub struct Directory {
    entries: Mutex<HashMap<Name, Entry>>,
}

impl Directory {
    /// What is known of an instance object.
    pub fn get(&self, name: &Name) -> Option<Entry> {
        self.entries().get(name).cloned()
    }

    /// Replaces what is known. True where users should know: another manifest, reason, message, key, address or
    /// connection.
    pub fn set(&self, name: Name, entry: Entry) -> bool {
        let mut entries = self.entries();
        let changed = entries.get(&name).is_none_or(|before| {
            before.generation != entry.generation
                || before.state != entry.state
                || before.address != entry.address
                || before.key != entry.key
                || before.uid != entry.uid
                || before.connection.is_some() != entry.connection.is_some()
        });
        entries.insert(name, entry);
        changed
    }

    /// Forgets an instance object that is gone.
    pub fn remove(&self, name: &Name) {
        self.entries().remove(name);
    }

    fn entries(&self) -> MutexGuard<'_, HashMap<Name, Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

//! What is known of every instance object: the connection to its cloud, how it was last seen, and its ceilings. Written
//! by instance passes, read by user passes.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use jiff::Timestamp;

use super::names::InstanceName;
use crate::{
    api::{AnyInstance, conditions::Reason, instance},
    domain::{
        names::{InstanceKey, Uid},
        policy::{Invalid, Policy},
    },
    provider::{connection::Connection, contract::ProviderKind},
};

/// One instance object.
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
    /// The endpoint that the manifest names may not be called, so the connection goes where it went while it was allowed,
    /// and is for deletions alone.
    pub withdrawn: bool,
    /// Version of the credentials Secret the connection was made from.
    pub credentials_version: Option<(Uid, String)>,
    /// Since when the cloud says, to a credential that has read the instance before, that it does not exist.
    pub not_found_since: Option<Timestamp>,
    /// It has said so twice, with some time between.
    pub gone: bool,
    /// The list that users were last compared with: when it was asked.
    pub compared: Option<Timestamp>,
}

/// The ceilings of a shared instance, or why they mean nothing.
pub type Compiled = Result<Arc<Policy>, Invalid>;

/// All instance objects of both kinds.
#[derive(Default)]
pub struct Directory {
    entries: Mutex<HashMap<InstanceName, Arc<Entry>>>,
    /// By uid, with the generation they were compiled from.
    policies: Mutex<HashMap<Uid, (i64, Compiled)>>,
}

impl Directory {
    /// What is known of an instance object.
    pub fn get(&self, name: &InstanceName) -> Option<Arc<Entry>> {
        self.entries().get(name).cloned()
    }

    /// The way to the cloud instance behind this object.
    pub fn connection(&self, name: &InstanceName) -> Option<Arc<Connection>> {
        self.entries().get(name)?.connection.clone()
    }

    /// Replaces what is known. True where users should know: another manifest, reason, message, key, address or
    /// connection.
    pub fn set(&self, name: InstanceName, entry: Entry) -> bool {
        let mut entries = self.entries();
        let changed = entries.get(&name).is_none_or(|before| {
            before.generation != entry.generation
                || before.state != entry.state
                || before.address != entry.address
                || before.key != entry.key
                || before.uid != entry.uid
                || before.gone != entry.gone
                || before.connection.is_some() != entry.connection.is_some()
        });
        entries.insert(name, Arc::new(entry));
        changed
    }

    /// Forgets an instance object that is gone.
    pub fn remove(&self, name: &InstanceName) {
        if let Some(entry) = self.entries().remove(name) {
            self.policies().remove(&entry.uid);
        }
    }

    /// The ceilings of an instance object as it is now; `None` for one that is not shared. Compiled once a generation.
    pub fn policy(&self, object: &AnyInstance) -> Option<Compiled> {
        let (spec, metadata) = (object.sharing()?, object.metadata());
        let provider = spec.instance.provider()?.kind();
        let uid = Uid::new(metadata.uid.clone()?);
        let generation = metadata.generation.unwrap_or_default();
        let mut policies = self.policies();
        if let Some((_, compiled)) = policies.get(&uid).filter(|(of, _)| *of == generation) {
            return Some(compiled.clone());
        }
        let compiled = Policy::of(spec, provider).map(Arc::new);
        policies.insert(uid, (generation, compiled.clone()));
        Some(compiled)
    }

    fn entries(&self) -> MutexGuard<'_, HashMap<InstanceName, Arc<Entry>>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn policies(&self) -> MutexGuard<'_, HashMap<Uid, (i64, Compiled)>> {
        self.policies.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

//! Who depends on what: from a Secret or an instance to the users it concerns, and what the metrics count of each user.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::{Mutex, MutexGuard, PoisonError},
};

use kube::{Resource, ResourceExt};

use crate::{
    api::{
        ACCOUNT_FINALIZER, conditions,
        instance::ClickHouseInstance,
        user::{ClickHouseUser, InstanceKind, OperationState},
    },
    ops::{labels::Ready, metrics::UserGroup},
    provider::contract::ProviderKind,
};

/// Namespace and name of an object.
pub type Name = (String, String);

/// Users and instances by what they refer to.
#[derive(Default)]
pub struct Index {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    users: HashMap<Name, Entry>,
    by_secret: HashMap<Name, HashSet<Name>>,
    by_instance: HashMap<Name, HashSet<Name>>,
    instances_by_secret: HashMap<Name, HashSet<Name>>,
    credentials: HashMap<Name, Name>,
}

struct Entry {
    /// The password's, and the connection Secrets asked for and written.
    secrets: Vec<Name>,
    instance: Option<Name>,
    claims: bool,
    job: bool,
    group: UserGroup,
}

impl Index {
    /// Notes a user as the watch shows it. Tells the instance on which it began or ceased to hold a claim.
    pub fn user(&self, user: &ClickHouseUser) -> Option<Name> {
        let name = name_of(user)?;
        let namespace = name.0.clone();
        let instance_ref = &user.spec.instance_ref;
        let entry = Entry {
            secrets: secrets_of(user).map(|secret| (namespace.clone(), secret.clone())).collect(),
            instance: (instance_ref.kind() == InstanceKind::ClickHouseInstance)
                .then(|| (namespace, instance_ref.name.clone())),
            claims: user.finalizers().iter().any(|finalizer| finalizer == ACCOUNT_FINALIZER),
            job: running_job(user),
            group: group_of(user),
        };
        let mut state = self.state();
        let claimed = state.forget(&name).is_some_and(|before| before.claims);
        let changed = (claimed != entry.claims).then(|| entry.instance.clone()).flatten();
        for secret in &entry.secrets {
            state.by_secret.entry(secret.clone()).or_default().insert(name.clone());
        }
        if let Some(instance) = &entry.instance {
            state.by_instance.entry(instance.clone()).or_default().insert(name.clone());
        }
        state.users.insert(name, entry);
        changed
    }

    /// Forgets a user that is gone. Tells which instance it named.
    pub fn user_gone(&self, user: &ClickHouseUser) -> Option<Name> {
        let name = name_of(user)?;
        self.state().forget(&name).and_then(|entry| entry.instance)
    }

    /// Notes which Secret holds an instance's credentials.
    pub fn instance(&self, instance: &ClickHouseInstance) {
        let Some(name) = name_of(instance) else { return };
        let secret =
            instance.spec.provider().map(|block| (name.0.clone(), block.credentials_secret_ref().name.clone()));
        let mut state = self.state();
        if let Some(before) = state.credentials.remove(&name) {
            remove(&mut state.instances_by_secret, &before, &name);
        }
        if let Some(secret) = secret {
            state.instances_by_secret.entry(secret.clone()).or_default().insert(name.clone());
            state.credentials.insert(name, secret);
        }
    }

    /// The users whose password comes from this Secret, or whose connection Secret it is.
    pub fn users_of_secret(&self, secret: &Name) -> Vec<Name> {
        self.state().by_secret.get(secret).into_iter().flatten().cloned().collect()
    }

    /// The instances whose credentials are in this Secret.
    pub fn instances_of_secret(&self, secret: &Name) -> Vec<Name> {
        self.state().instances_by_secret.get(secret).into_iter().flatten().cloned().collect()
    }

    /// The users that name this instance.
    pub fn users_of_instance(&self, instance: &Name) -> Vec<Name> {
        self.state().by_instance.get(instance).into_iter().flatten().cloned().collect()
    }

    /// How many users of this instance hold a claim: their account may exist.
    pub fn claims(&self, instance: &Name) -> usize {
        let state = self.state();
        let users = state.by_instance.get(instance).into_iter().flatten();
        users.filter(|name| state.users.get(*name).is_some_and(|entry| entry.claims)).count()
    }

    /// Adds the users by what the metrics tell of them.
    pub fn count_groups(&self, groups: &mut BTreeMap<UserGroup, usize>) {
        for entry in self.state().users.values() {
            *groups.entry(entry.group).or_default() += 1;
        }
    }

    /// How many jobs are followed at a cloud.
    pub fn running_jobs(&self, provider: ProviderKind) -> usize {
        self.state().users.values().filter(|entry| entry.job && entry.group.provider == Some(provider)).count()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn forget(&mut self, name: &Name) -> Option<Entry> {
        let entry = self.users.remove(name)?;
        for secret in &entry.secrets {
            remove(&mut self.by_secret, secret, name);
        }
        if let Some(instance) = &entry.instance {
            remove(&mut self.by_instance, instance, name);
        }
        Some(entry)
    }
}

fn remove(map: &mut HashMap<Name, HashSet<Name>>, key: &Name, name: &Name) {
    if let Some(names) = map.get_mut(key) {
        names.remove(name);
        if names.is_empty() {
            map.remove(key);
        }
    }
}

/// Namespace and name; `None` for an object without, which the API server never sends.
pub fn name_of<K: Resource>(object: &K) -> Option<Name> {
    Some((object.meta().namespace.clone()?, object.meta().name.clone()?))
}

fn secrets_of(user: &ClickHouseUser) -> impl Iterator<Item = &String> {
    let wanted = user.spec.connection_secret.as_ref().map(|secret| &secret.name);
    let written = user.status.as_ref().and_then(|status| status.binding.as_ref()).map(|binding| &binding.name);
    [Some(&user.spec.password_secret_ref.name), wanted, written.filter(|written| Some(*written) != wanted)]
        .into_iter()
        .flatten()
}

fn running_job(user: &ClickHouseUser) -> bool {
    let status = user.status.as_ref();
    let operation = status.and_then(|status| status.operation.as_ref());
    operation.is_some_and(|operation| operation.state == OperationState::Running)
}

fn group_of(user: &ClickHouseUser) -> UserGroup {
    let status = user.status.as_ref();
    let ready = status.and_then(|status| conditions::find(&status.conditions, conditions::READY));
    let (ready, reason) = match ready {
        Some(condition) => {
            let ready = match condition.status.as_str() {
                "True" => Ready::True,
                "False" => Ready::False,
                _ => Ready::Unknown,
            };
            // Only words of the table become labels, whatever somebody wrote into status.
            let known = conditions::Reason::ALL.iter().map(|reason| reason.as_str());
            (ready, known.into_iter().find(|reason| *reason == condition.reason).unwrap_or("Other"))
        }
        None => (Ready::Unknown, "New"),
    };
    UserGroup { provider: status.and_then(|status| status.provider), ready, reason }
}

//! Who depends on what, over all scopes: from a Secret, an instance or an account to the users it concerns, and what the
//! metrics count of each user.

use std::{
    borrow::Borrow,
    collections::{BTreeMap, HashMap, HashSet},
    hash::{DefaultHasher, Hash, Hasher},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use arcstr::ArcStr;
use smallvec::SmallVec;

use super::names::{InstanceName, Key, Name, key, name_in, name_of, namespace_in, text};
use crate::{
    api::{
        AnyInstance, conditions,
        user::{ClickHouseUser, OperationState},
    },
    domain::{
        claims::{Account, Seniority},
        names::InstanceKey,
    },
    ops::{labels::Ready, metrics::UserGroup},
    provider::contract::ProviderKind,
};

/// Users and instances by what they refer to.
#[derive(Default)]
pub struct Index {
    state: Mutex<State>,
}

/// Stands for the name of a Secret. Where two had the same, users would be woken once too often, and that is all.
type SecretHash = u64;

/// Nearly always one, which then needs no memory of its own.
type Keys = SmallVec<[Key; 1]>;

#[derive(Default)]
struct State {
    users: HashMap<Key, Entry>,
    by_secret: HashMap<SecretHash, Keys>,
    by_instance: HashMap<Arc<InstanceName>, Users>,
    /// Users by the account they hold on record.
    by_claim: HashMap<Arc<InstanceKey>, Accounts>,
    instances: HashMap<Arc<InstanceName>, Instance>,
    instances_by_secret: HashMap<Name, HashSet<Arc<InstanceName>>>,
    instances_by_key: HashMap<InstanceKey, HashSet<Arc<InstanceName>>>,
    /// What the metrics tell of users. They are alike in few ways, so this stays short.
    tallies: Vec<Tally>,
}

/// Users by the name of their account. There are more than one only in a conflict.
type Accounts = HashMap<ArcStr, Keys>;

struct Entry {
    /// The password's, and the connection Secrets asked for and written.
    secrets: SmallVec<[SecretHash; 2]>,
    instance: Arc<InstanceName>,
    username: ArcStr,
    /// Its age, where its instance is shared: such users may be counted.
    seniority: Option<Box<Seniority>>,
    claim: Option<(Arc<InstanceKey>, ArcStr)>,
    /// The finalizer is on it.
    held: bool,
    /// Its place in the tallies.
    tally: u16,
}

/// How many users are alike to the metrics.
struct Tally {
    group: UserGroup,
    /// A job runs for them.
    job: bool,
    users: usize,
}

/// The users of one instance object.
#[derive(Default)]
struct Users {
    /// By the account they name.
    by_username: Accounts,
    /// How many carry the finalizer.
    held: usize,
    /// Of a shared instance: by namespace, the oldest first.
    by_namespace: HashMap<String, BTreeMap<Seniority, Key>>,
}

struct Instance {
    secret: Option<Name>,
    key: Option<InstanceKey>,
}

/// What a note of a user changed.
pub struct Noted {
    /// Its name, as all that is kept by users shares it.
    pub key: Key,
    /// The instance that it names.
    pub instance: InstanceName,
    /// It was not known before.
    pub is_new: bool,
    /// It began or ceased to carry the finalizer.
    pub held_changed: bool,
}

impl Index {
    /// Notes a user as the watch shows it, with the account it holds on record.
    pub fn user(&self, user: &ClickHouseUser, claim: Option<Account>) -> Option<Noted> {
        let (namespace, name) = name_of(user)?;
        let meant = InstanceName::meant_by(user);
        let name = key(&namespace, &name);
        let mut state = self.state();
        let known = state.users.get_key_value(&name).map(|(key, _)| key.clone());
        let name = known.unwrap_or(name);
        let before = state.forget(&name).map(|before| before.held);
        let instance = state.by_instance.get_key_value(&meant).map_or_else(|| Arc::new(meant), |(key, _)| key.clone());
        let username: ArcStr = user.username().as_str().into();
        let entry = Entry {
            secrets: secrets_of(user).map(|secret| hash_of(&namespace, secret)).collect(),
            seniority: instance.namespace.is_none().then(|| Box::new(Seniority::of(user))),
            claim: claim.map(|account| state.interned(account, &username)),
            held: user.is_held(),
            tally: state.tally(group_of(user), running_job(user)),
            instance,
            username,
        };
        let noted = Noted {
            key: name.clone(),
            instance: (*entry.instance).clone(),
            is_new: before.is_none(),
            held_changed: before.unwrap_or_default() != entry.held,
        };
        state.remember(name, entry);
        Some(noted)
    }

    /// Forgets a user that is gone. Tells which instance it named.
    pub fn user_gone(&self, name: &Name) -> Option<InstanceName> {
        self.state().forget(&text(name)).map(|entry| (*entry.instance).clone())
    }

    /// Notes which Secret holds an instance's credentials, and which cloud instance is meant. `operator_namespace` is
    /// where the credentials of shared ones are.
    pub fn instance(&self, name: &InstanceName, instance: &AnyInstance, operator_namespace: &str) {
        let block = instance.spec().provider();
        let namespace = name.namespace.as_deref().unwrap_or(operator_namespace);
        let secret = block.map(|block| (namespace.to_owned(), block.credentials_secret_ref().name.clone()));
        let key = block.map(crate::api::ProviderBlock::instance_key);
        let mut state = self.state();
        state.forget_instance(name);
        let name = Arc::new(name.clone());
        if let Some(secret) = &secret {
            state.instances_by_secret.entry(secret.clone()).or_default().insert(name.clone());
        }
        if let Some(key) = &key {
            state.instances_by_key.entry(key.clone()).or_default().insert(name.clone());
        }
        state.instances.insert(name, Instance { secret, key });
    }

    /// Forgets an instance that is gone.
    pub fn instance_gone(&self, name: &InstanceName) {
        self.state().forget_instance(name);
    }

    /// The instance objects of a scope: the shared ones, or those of a namespace or of all namespaces.
    pub fn instances_in(&self, is_inside: impl Fn(&InstanceName) -> bool) -> Vec<InstanceName> {
        self.state().instances.keys().filter(|name| is_inside(name)).map(|name| (**name).clone()).collect()
    }

    /// The users whose password comes from this Secret, or whose connection Secret it is.
    pub fn users_of_secret(&self, secret: &Name) -> Vec<Name> {
        let hash = hash_of(&secret.0, &secret.1);
        self.state().by_secret.get(&hash).into_iter().flatten().map(|name| name_in(name)).collect()
    }

    /// The instances whose credentials are in this Secret.
    pub fn instances_of_secret(&self, secret: &Name) -> Vec<InstanceName> {
        self.state().instances_by_secret.get(secret).into_iter().flatten().map(|name| (**name).clone()).collect()
    }

    /// The users that name this instance.
    pub fn users_of_instance(&self, instance: &InstanceName) -> Vec<Name> {
        let state = self.state();
        let users = state.by_instance.get(instance).into_iter().flat_map(|users| users.by_username.values().flatten());
        users.map(|name| name_in(name)).collect()
    }

    /// How many users of this instance carry the finalizer: their account may exist.
    pub fn claims(&self, instance: &InstanceName) -> usize {
        self.state().by_instance.get(instance).map_or(0, |users| users.held)
    }

    /// The other users that name or hold the account that this one names.
    pub fn rivals(&self, name: &Name) -> Vec<Name> {
        let (name, state) = (text(name), self.state());
        let Some(entry) = state.users.get(&*name) else { return Vec::new() };
        let mut found = HashSet::new();
        let key = state.instances.get(&entry.instance).and_then(|instance| instance.key.as_ref());
        if let Some(key) = key {
            found.extend(state.asking(key, &entry.username));
        }
        // It may hold an account on an instance that its reference does not mean any more.
        if let Some((held, username)) = entry.claim.as_ref().filter(|(held, _)| Some(&**held) != key) {
            found.extend(state.asking(held, username));
        }
        found.into_iter().filter(|other| **other != *name).map(|other| name_in(other)).collect()
    }

    /// Whether a user is among the oldest `most` of its namespace on its shared instance.
    pub fn is_among_oldest(&self, name: &Name, most: usize) -> bool {
        let state = self.state();
        let Some(entry) = state.users.get(&*text(name)) else { return false };
        let Some(group) = state.group(&entry.instance, &name.0) else { return true };
        let Some(seniority) = &entry.seniority else { return true };
        // Whoever is below the number of all needs no counting.
        group.len() <= most || group.keys().take(most).any(|other| *other == **seniority)
    }

    /// The users on both sides of the limit of `most`: whom a user that came or went may have moved.
    pub fn at_limit(&self, instance: &InstanceName, namespace: &str, most: usize) -> Vec<Name> {
        let state = self.state();
        let group = state.group(instance, namespace).into_iter().flat_map(BTreeMap::values);
        group.skip(most.saturating_sub(1)).take(2).map(|name| name_in(name)).collect()
    }

    /// The users of a namespace on shared instances.
    pub fn sharing_users(&self, namespace: &str) -> Vec<Name> {
        let state = self.state();
        let groups = state.by_instance.values().filter_map(|users| users.by_namespace.get(namespace));
        groups.flat_map(BTreeMap::values).map(|name| name_in(name)).collect()
    }

    /// Adds the users by what the metrics tell of them.
    pub fn count_groups(&self, groups: &mut BTreeMap<UserGroup, usize>) {
        for tally in self.state().tallies.iter().filter(|tally| tally.users > 0) {
            *groups.entry(tally.group).or_default() += tally.users;
        }
    }

    /// How many jobs are followed at a cloud.
    pub fn running_jobs(&self, provider: ProviderKind) -> usize {
        let state = self.state();
        let running = state.tallies.iter().filter(|tally| tally.job && tally.group.provider == Some(provider));
        running.map(|tally| tally.users).sum()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn remember(&mut self, name: Key, entry: Entry) {
        for secret in &entry.secrets {
            add(&mut self.by_secret, *secret, &name);
        }
        let users = self.by_instance.entry(entry.instance.clone()).or_default();
        add(&mut users.by_username, entry.username.clone(), &name);
        users.held += usize::from(entry.held);
        if let Some(seniority) = &entry.seniority {
            let group = users.by_namespace.entry(namespace_in(&name).to_owned()).or_default();
            group.insert((**seniority).clone(), name.clone());
        }
        if let Some((key, username)) = &entry.claim {
            add(self.by_claim.entry(key.clone()).or_default(), username.clone(), &name);
        }
        if let Some(tally) = self.tallies.get_mut(usize::from(entry.tally)) {
            tally.users += 1;
        }
        self.users.insert(name, entry);
    }

    /// The place of such users in the tallies.
    fn tally(&mut self, group: UserGroup, job: bool) -> u16 {
        let known = self.tallies.iter().position(|tally| tally.group == group && tally.job == job);
        let place = known.unwrap_or_else(|| {
            self.tallies.push(Tally { group, job, users: 0 });
            self.tallies.len() - 1
        });
        // Clouds, statuses and reasons make some hundreds at most.
        u16::try_from(place).unwrap_or_default()
    }

    fn forget(&mut self, name: &str) -> Option<Entry> {
        let entry = self.users.remove(name)?;
        if let Some(tally) = self.tallies.get_mut(usize::from(entry.tally)) {
            tally.users -= 1;
        }
        for secret in &entry.secrets {
            remove(&mut self.by_secret, secret, name);
        }
        if let Some(users) = self.by_instance.get_mut(&entry.instance) {
            remove(&mut users.by_username, entry.username.as_str(), name);
            users.held -= usize::from(entry.held);
            if let Some((seniority, group)) =
                entry.seniority.as_ref().zip(users.by_namespace.get_mut(namespace_in(name)))
            {
                group.remove(seniority);
                if group.is_empty() {
                    users.by_namespace.remove(namespace_in(name));
                }
            }
            if users.by_username.is_empty() {
                self.by_instance.remove(&entry.instance);
            }
        }
        if let Some((key, username)) = &entry.claim
            && let Some(accounts) = self.by_claim.get_mut(key)
        {
            remove(accounts, username.as_str(), name);
            if accounts.is_empty() {
                self.by_claim.remove(key);
            }
        }
        Some(entry)
    }

    fn forget_instance(&mut self, name: &InstanceName) {
        let Some(before) = self.instances.remove(name) else { return };
        if let Some(secret) = before.secret {
            remove_from_set(&mut self.instances_by_secret, &secret, name);
        }
        if let Some(key) = before.key {
            remove_from_set(&mut self.instances_by_key, &key, name);
        }
    }

    /// One copy of the names of an account for all who hold accounts of its instance.
    fn interned(&self, account: Account, username: &ArcStr) -> (Arc<InstanceKey>, ArcStr) {
        let key = self.by_claim.get_key_value(&account.instance).map(|(key, _)| key.clone());
        let same = account.username.as_str() == username.as_str();
        let name = if same { username.clone() } else { account.username.as_str().into() };
        (key.unwrap_or_else(|| Arc::new(account.instance)), name)
    }

    /// Who names or holds an account, through whatever instance object.
    fn asking<'a>(&'a self, key: &InstanceKey, username: &str) -> impl Iterator<Item = &'a Key> {
        let objects = self.instances_by_key.get(key).into_iter().flatten();
        let lists: Vec<_> = objects
            .filter_map(|object| self.by_instance.get(object)?.by_username.get(username))
            .chain(self.by_claim.get(key).and_then(|accounts| accounts.get(username)))
            .collect();
        lists.into_iter().flatten()
    }

    fn group(&self, instance: &InstanceName, namespace: &str) -> Option<&BTreeMap<Seniority, Key>> {
        self.by_instance.get(instance)?.by_namespace.get(namespace)
    }
}

fn hash_of(namespace: &str, secret: &str) -> SecretHash {
    let mut hasher = DefaultHasher::new();
    (namespace, secret).hash(&mut hasher);
    hasher.finish()
}

fn add<K: Eq + Hash>(map: &mut HashMap<K, Keys>, at: K, name: &Key) {
    let names = map.entry(at).or_default();
    if !names.contains(name) {
        names.push(name.clone());
    }
}

fn remove<K, Q>(map: &mut HashMap<K, Keys>, at: &Q, name: &str)
where
    K: Eq + Hash + Borrow<Q>,
    Q: Eq + Hash + ?Sized,
{
    if let Some(names) = map.get_mut(at) {
        names.retain(|other| *other != *name);
        if names.is_empty() {
            map.remove(at);
        }
    }
}

fn remove_from_set<K, V>(map: &mut HashMap<K, HashSet<Arc<V>>>, key: &K, name: &V)
where
    K: Eq + Hash,
    V: Eq + Hash,
{
    if let Some(names) = map.get_mut(key) {
        names.remove(name);
        if names.is_empty() {
            map.remove(key);
        }
    }
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

#[cfg(test)]
mod tests;

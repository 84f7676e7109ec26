//! The users of a scope as the watch shows them. Nearly all of many users are settled and looked at by nobody, so they
//! lie here packed.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::names::{Key, Name, text};
use crate::api::{
    packed::{self, PackedUser, Packer},
    user::ClickHouseUser,
};

/// Users by name.
pub struct Users {
    state: Mutex<State>,
    packer: Arc<Mutex<Packer>>,
}

#[derive(Default)]
struct State {
    known: HashMap<Key, Entry>,
    /// Counts the lists; an entry that a complete list did not bring is gone.
    list: u32,
}

struct Entry {
    user: PackedUser,
    /// What [`Users::put`] compares.
    state: u64,
    list: u32,
}

impl Users {
    /// No users yet. The packer is the process's, because what it works in is large and what it learns is true of all.
    pub fn new(packer: Arc<Mutex<Packer>>) -> Self {
        Self { state: Mutex::default(), packer }
    }

    /// Takes a user in. True where `state`, which stands for what may call for a pass, is not what it was.
    pub fn put(&self, name: Key, user: &ClickHouseUser, state: u64) -> bool {
        let json = packed::to_json(user);
        let packed = self.packer().pack(user, &json);
        let mut users = self.state();
        let list = users.list;
        users.known.insert(name, Entry { user: packed, state, list }).is_none_or(|before| before.state != state)
    }

    /// Takes a user out.
    pub fn remove(&self, name: &Name) {
        self.state().known.remove(&*text(name));
    }

    /// A list begins: every user will be put again.
    pub fn list_begins(&self) {
        let mut users = self.state();
        users.list = users.list.wrapping_add(1);
    }

    /// The list is complete: takes out those it did not bring, and tells which they are.
    pub fn list_ends(&self) -> Vec<ClickHouseUser> {
        let mut users = self.state();
        let State { known, list } = &mut *users;
        let gone: Vec<_> = known.extract_if(|_, entry| entry.list != *list).map(|(_, entry)| entry.user).collect();
        drop(users);
        gone.iter().map(|user| self.unpacked(user)).collect()
    }

    /// A user as the watch shows it.
    pub fn get(&self, name: &Name) -> Option<ClickHouseUser> {
        let packed = self.state().known.get(&*text(name))?.user.clone();
        Some(self.unpacked(&packed))
    }

    fn unpacked(&self, user: &PackedUser) -> ClickHouseUser {
        let json = self.packer().unpack(user);
        packed::from_json(&json)
    }

    fn packer(&self) -> MutexGuard<'_, Packer> {
        self.packer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{super::names::key, *};

    fn user(uid: &str) -> ClickHouseUser {
        let spec = json!({ "instanceRef": { "name": "warehouse" }, "passwordSecretRef": { "name": "password" } });
        let mut user = ClickHouseUser::new("reporting", serde_json::from_value(spec).expect("a spec"));
        user.metadata.uid = Some(uid.to_owned());
        user
    }

    fn named(name: &str) -> Name {
        ("analytics".to_owned(), name.to_owned())
    }

    #[test]
    fn change_is_told_by_the_state_alone() {
        let users = Users::new(Arc::default());
        let put = |state| users.put(key("analytics", "reporting"), &user("1"), state);
        assert!(put(1));
        assert!(!put(1));
        assert!(put(2));
        users.remove(&named("reporting"));
        assert!(put(2));
    }

    #[test]
    fn list_takes_out_what_it_does_not_bring_and_hides_nothing_meanwhile() {
        let users = Users::new(Arc::default());
        let put = |name| users.put(key("analytics", name), &user(name), 1);
        for name in ["stays", "goes"] {
            put(name);
        }
        users.list_begins();
        assert!(users.get(&named("goes")).is_some());
        assert!(!put("stays"));
        put("comes");
        assert_eq!(users.list_ends(), [user("goes")]);
        assert!(users.get(&named("goes")).is_none() && users.get(&named("stays")).is_some());
        assert!(users.get(&named("comes")).is_some());
    }
}

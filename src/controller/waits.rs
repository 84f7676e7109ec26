//! Since when each user waits for nothing but ourselves: gate, queue, budget or an instance's first look. Short waits are
//! not worth a write; long ones are told.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use jiff::Timestamp;

use crate::domain::names::Uid;

/// The users that wait. Kept in memory only: after a restart a wait counts anew.
#[derive(Default)]
pub struct Waits {
    since: Mutex<HashMap<Uid, Timestamp>>,
}

impl Waits {
    /// Since when this user waits.
    pub fn since(&self, uid: &Uid) -> Option<Timestamp> {
        self.users().get(uid).copied()
    }

    /// A pass of this user ended in a wait. Tells since when it waits.
    pub fn waits(&self, uid: &Uid, now: Timestamp) -> Timestamp {
        *self.users().entry(uid.clone()).or_insert(now)
    }

    /// A pass ended otherwise, or the user is gone.
    pub fn over(&self, uid: &Uid) {
        self.users().remove(uid);
    }

    fn users(&self) -> MutexGuard<'_, HashMap<Uid, Timestamp>> {
        self.since.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn wait_counts_from_its_first_pass_until_it_is_over() {
        let (waits, uid, now) = (Waits::default(), Uid::new("u"), Timestamp::UNIX_EPOCH);
        assert_eq!(waits.since(&uid), None);
        assert_eq!(waits.waits(&uid, now), now);
        assert_eq!(waits.waits(&uid, now + Duration::from_secs(9)), now);
        assert_eq!(waits.since(&uid), Some(now));
        waits.over(&uid);
        assert_eq!(waits.since(&uid), None);
    }
}

//! How often each user is tried: failures in a row, and no retry before its time unless something changed.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use jiff::Timestamp;

use crate::domain::names::Uid;

/// What a retry waits for besides time: a different basis starts it at once.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Basis {
    /// `metadata.generation`, which also counts the deletion.
    pub generation: i64,
    /// Version of the password Secret.
    pub secret: Option<(Uid, String)>,
    /// Reason of the instance, with its generation.
    pub instance: Option<(String, i64)>,
    /// `chuser.dev/reconcile-requested-at`
    pub requested: Option<String>,
}

#[derive(Default)]
struct Entry {
    basis: Basis,
    failures: u32,
    not_before: Option<Timestamp>,
}

/// The pace of every user. Kept in memory only: a restart tries everybody once.
#[derive(Default)]
pub struct Pace {
    entries: Mutex<HashMap<Uid, Entry>>,
}

impl Pace {
    /// Whether a pass may run now: how many have failed in a row, or when to come back.
    pub fn admit(&self, uid: &Uid, basis: &Basis, now: Timestamp) -> Result<u32, Timestamp> {
        let mut entries = self.entries();
        let Some(entry) = entries.get_mut(uid) else { return Ok(0) };
        if entry.basis != *basis {
            *entry = Entry { basis: basis.clone(), ..Entry::default() };
        }
        match entry.not_before {
            Some(at) if now < at => Err(at),
            _ => Ok(entry.failures),
        }
    }

    /// A pass failed; the next may run at `at`.
    pub fn failed(&self, uid: &Uid, basis: Basis, at: Timestamp) {
        let mut entries = self.entries();
        let entry = entries.entry(uid.clone()).or_default();
        let failures = entry.failures.saturating_add(1);
        *entry = Entry { basis, failures, not_before: Some(at) };
    }

    /// A pass ended without failure, or the user is gone.
    pub fn forget(&self, uid: &Uid) {
        self.entries().remove(uid);
    }

    fn entries(&self) -> MutexGuard<'_, HashMap<Uid, Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn retry_waits_for_its_time_and_counts_failures_in_a_row() {
        let (pace, uid, now) = (Pace::default(), Uid::new("u"), Timestamp::UNIX_EPOCH);
        let later = now + Duration::from_secs(10);
        assert_eq!(pace.admit(&uid, &Basis::default(), now), Ok(0));
        pace.failed(&uid, Basis::default(), later);
        pace.failed(&uid, Basis::default(), later);
        assert_eq!(pace.admit(&uid, &Basis::default(), now), Err(later));
        assert_eq!(pace.admit(&uid, &Basis::default(), later), Ok(2));
        pace.forget(&uid);
        assert_eq!(pace.admit(&uid, &Basis::default(), now), Ok(0));
    }

    #[test]
    fn change_starts_a_retry_at_once() {
        let (pace, uid, now) = (Pace::default(), Uid::new("u"), Timestamp::UNIX_EPOCH);
        pace.failed(&uid, Basis::default(), now + Duration::from_secs(600));
        assert_eq!(pace.admit(&uid, &Basis { generation: 2, ..Basis::default() }, now), Ok(0));
    }
}

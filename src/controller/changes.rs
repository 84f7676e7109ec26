//! How soon each user may be changed again. A Secret that some generator rewrites all the time must not spend the call
//! budget that its user shares with others.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use jiff::Timestamp;

use crate::domain::names::Uid;

/// Pause after a change that follows a quiet time: bursts end within it, and their last value is what is set next.
const SHORTEST: Duration = Duration::from_secs(1);

/// Longest pause, however often a user is changed.
const LONGEST: Duration = Duration::from_secs(300);

struct Change {
    at: Timestamp,
    pause: Duration,
}

/// The last change of each user. Kept in memory only: a restart forgets the pauses, not the changes.
#[derive(Default)]
pub struct Changes {
    last: Mutex<HashMap<Uid, Change>>,
}

impl Changes {
    /// When the next change may be made, if that is not now.
    pub fn next(&self, uid: &Uid, now: Timestamp) -> Option<Timestamp> {
        self.last().get(uid).map(|change| change.at + change.pause).filter(|at| now < *at)
    }

    /// A change was made. The pause doubles where the one before is not long over.
    pub fn made(&self, uid: &Uid, now: Timestamp) {
        let mut last = self.last();
        let pause =
            last.get(uid).filter(|change| now < change.at + change.pause * 4).map_or(SHORTEST, |it| it.pause * 2);
        last.retain(|_, change| now < change.at + change.pause * 4);
        last.insert(uid.clone(), Change { at: now, pause: pause.min(LONGEST) });
    }

    fn last(&self) -> MutexGuard<'_, HashMap<Uid, Change>> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pause_doubles_while_changes_follow_each_other_and_is_short_again_after_a_quiet_time() {
        let (changes, uid) = (Changes::default(), Uid::new("u"));
        let mut now = Timestamp::UNIX_EPOCH;
        assert_eq!(changes.next(&uid, now), None);
        let mut pauses = Vec::new();
        for _ in 0..11 {
            changes.made(&uid, now);
            let next = changes.next(&uid, now).expect("a pause");
            pauses.push(next.duration_since(now).as_secs());
            now = next;
        }
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]);
        now += LONGEST * 4;
        changes.made(&uid, now);
        assert_eq!(changes.next(&uid, now), Some(now + SHORTEST));
        assert_eq!(changes.next(&uid, now + SHORTEST), None);
    }

    #[test]
    fn users_that_are_changed_no_more_cost_no_memory() {
        let changes = Changes::default();
        changes.made(&Uid::new("old"), Timestamp::UNIX_EPOCH);
        changes.made(&Uid::new("new"), Timestamp::UNIX_EPOCH + LONGEST);
        assert_eq!(changes.last().len(), 1);
    }
}

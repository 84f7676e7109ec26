//! Which call of each user was refused for certain, by this process's own hearing. Only such a call may be made again
//! unchanged: after a restart nobody knows whether it was, so this is kept in memory on purpose.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use crate::domain::names::{AttemptId, Uid};

/// The last call of each user, where it was refused for certain.
#[derive(Default)]
pub struct Refusals {
    heard: Mutex<HashMap<Uid, AttemptId>>,
}

impl Refusals {
    /// The attempt that was refused and not made again since.
    pub fn of(&self, uid: &Uid) -> Option<AttemptId> {
        self.heard().get(uid).cloned()
    }

    /// The call was refused.
    pub fn heard_of(&self, uid: &Uid, attempt: &AttemptId) {
        self.heard().insert(uid.clone(), attempt.clone());
    }

    /// A call is about to be made, or the user is gone.
    pub fn forget(&self, uid: &Uid) {
        self.heard().remove(uid);
    }

    fn heard(&self) -> MutexGuard<'_, HashMap<Uid, AttemptId>> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

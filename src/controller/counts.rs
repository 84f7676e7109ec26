//! How often the count of users in an instance's status is written.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use crate::domain::names::Uid;

/// When each count was last written.
#[derive(Default)]
pub struct Counts {
    written: Mutex<HashMap<Uid, Instant>>,
}

impl Counts {
    /// The count to write: the present one, unless another was written less than `every` ago.
    pub fn due(&self, uid: &Uid, shown: Option<i64>, present: i64, every: Duration) -> Option<i64> {
        if shown == Some(present) {
            return shown;
        }
        let (mut written, now) = (self.written.lock().unwrap_or_else(PoisonError::into_inner), Instant::now());
        if written.get(uid).is_some_and(|at| now < *at + every) {
            return shown;
        }
        written.insert(uid.clone(), now);
        Some(present)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn new_count_waits_for_its_time_and_then_shows() {
        let (counts, uid, every) = (Counts::default(), Uid::new("u"), Duration::from_secs(30));
        assert_eq!(counts.due(&uid, None, 1, every), Some(1));
        assert_eq!(counts.due(&uid, Some(1), 2, every), Some(1));
        tokio::time::advance(every).await;
        assert_eq!(counts.due(&uid, Some(1), 3, every), Some(3));
    }
}

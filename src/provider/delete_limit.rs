//! Slows mass deletion: only so many accounts of one instance go within a window, so that a mistaken `kubectl delete`
//! or a pruned folder can be noticed before everything is gone.

use std::{
    collections::VecDeque,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

/// How many accounts of an instance may be deleted within a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeleteRate {
    /// Most deletions; at least one.
    pub deletions: usize,
    /// Length of the window.
    pub window: Duration,
}

/// The deletions of one instance within the window. Kept in memory: a restart begins a new window.
pub struct DeleteLimit {
    rate: Option<DeleteRate>,
    recent: Mutex<VecDeque<Instant>>,
}

impl DeleteLimit {
    /// No deletions yet; `None` sets no limit.
    pub fn new(rate: Option<DeleteRate>) -> Self {
        Self { rate, recent: Mutex::default() }
    }

    /// Whether a deletion may be made now; otherwise when to ask again.
    pub fn admit(&self, now: Instant) -> Result<(), Instant> {
        let Some(DeleteRate { deletions, window }) = self.rate else { return Ok(()) };
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        while recent.front().is_some_and(|at| *at + window <= now) {
            recent.pop_front();
        }
        match recent.front() {
            Some(first) if recent.len() >= deletions => Err(*first + window),
            _ => Ok(()),
        }
    }

    /// A deletion is made.
    pub fn count(&self, now: Instant) {
        if self.rate.is_some() {
            self.recent.lock().unwrap_or_else(PoisonError::into_inner).push_back(now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn full_window_names_the_time_when_its_first_deletion_leaves_it() {
        let (start, window) = (Instant::now(), Duration::from_secs(600));
        let limit = DeleteLimit::new(Some(DeleteRate { deletions: 2, window }));
        limit.count(start);
        assert_eq!(limit.admit(start), Ok(()));
        limit.count(start + Duration::from_secs(60));
        assert_eq!(limit.admit(start + Duration::from_secs(61)), Err(start + window));
        assert_eq!(limit.admit(start + window), Ok(()));
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_rate_nothing_is_held_back() {
        let (now, limit) = (Instant::now(), DeleteLimit::new(None));
        for _ in 0..1000 {
            limit.count(now);
        }
        assert_eq!(limit.admit(now), Ok(()));
    }
}

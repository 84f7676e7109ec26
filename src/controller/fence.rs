//! Keeps a process from changing anything once another replica may lead: one that was stopped between its intent and
//! its call wakes up with the call in its hands.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

/// Whether this process may change something in a cloud, by its own monotonic clock.
pub struct Fence {
    /// A Lease counts this long from the moment its renewal was sent; `None` without leader election.
    ///
    /// It is `--lease-renew-deadline`, at which a leader gives up anyway, and not `--lease-duration`, at which another may
    /// begin: what lies between them is for the call's own way and for clocks that do not go equally fast.
    lasts: Option<Duration>,
    lease: Mutex<Lease>,
}

#[derive(Clone, Copy)]
enum Lease {
    NotHeld,
    /// The last renewal that succeeded was sent then.
    Renewed(Instant),
    /// Nothing is changed any more, whatever is written to the Lease.
    GivenUp,
}

impl Fence {
    /// Without leader election nobody else is expected.
    pub fn open() -> Self {
        Self { lasts: None, lease: Mutex::new(Lease::NotHeld) }
    }

    /// Closed until the Lease is held.
    pub fn around_a_lease(renew_deadline: Duration) -> Self {
        Self { lasts: Some(renew_deadline), lease: Mutex::new(Lease::NotHeld) }
    }

    /// The Lease was taken or renewed by a request sent then.
    pub fn renewed(&self, sent_at: Instant) {
        let mut lease = self.lease();
        if !matches!(*lease, Lease::GivenUp) {
            *lease = Lease::Renewed(sent_at);
        }
    }

    /// The Lease is handed over.
    pub fn give_up(&self) {
        *self.lease() = Lease::GivenUp;
    }

    /// Whether nobody else can lead yet.
    pub fn is_open(&self) -> bool {
        let Some(lasts) = self.lasts else { return true };
        matches!(*self.lease(), Lease::Renewed(sent_at) if sent_at.elapsed() < lasts)
    }

    fn lease(&self) -> MutexGuard<'_, Lease> {
        self.lease.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEADLINE: Duration = Duration::from_secs(10);

    #[tokio::test(start_paused = true)]
    async fn fence_is_open_from_a_renewal_to_its_deadline() {
        let fence = Fence::around_a_lease(DEADLINE);
        assert!(!fence.is_open(), "the Lease was never held");
        let sent_at = Instant::now();
        // The answer takes its time; the Lease counts from the request.
        tokio::time::advance(Duration::from_secs(4)).await;
        fence.renewed(sent_at);
        assert!(fence.is_open());
        tokio::time::advance(Duration::from_secs(6)).await;
        assert!(!fence.is_open(), "another may lead soon");
        fence.renewed(Instant::now());
        assert!(fence.is_open(), "nobody took it");
    }

    #[tokio::test(start_paused = true)]
    async fn write_that_hands_the_lease_over_opens_nothing() {
        let fence = Fence::around_a_lease(DEADLINE);
        fence.renewed(Instant::now());
        fence.give_up();
        fence.renewed(Instant::now());
        assert!(!fence.is_open());
    }

    #[test]
    fn fence_is_open_where_no_lease_is_asked_for() {
        assert!(Fence::open().is_open());
    }
}

//! Stops calling a cloud that is down: closed, open for a growing pause, then one read as a probe.

use crate::seeded::{Bug, seeded};
use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

/// Failures in a row that open the breaker. One or two are everyday noise; at five, every user's own retries would
/// only add load.
const FAILURES_TO_OPEN: u32 = 5;

/// How long a probe may be out before another is allowed.
const PROBE_PATIENCE: Duration = Duration::from_secs(60);

/// The breaker of one credential at one endpoint.
pub struct Breaker {
    shortest: Duration,
    longest: Duration,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    failures: u32,
    open_until: Option<Instant>,
    probe_since: Option<Instant>,
}

impl Breaker {
    /// A closed breaker whose pauses grow from `shortest` to `longest`.
    pub fn new(shortest: Duration, longest: Duration) -> Self {
        Self { shortest, longest, state: Mutex::default() }
    }

    /// Whether a read may start; while half open it is the one probe.
    pub fn admit_read(&self, now: Instant) -> Result<(), Instant> {
        let mut state = self.state();
        let Some(until) = state.open_until else { return Ok(()) };
        if now < until {
            return Err(until);
        }
        match state.probe_since {
            // Most probes are answered at once, and nobody wakes those who came meanwhile.
            Some(since) if now < since + PROBE_PATIENCE => Err((now + self.shortest).min(since + PROBE_PATIENCE)),
            _ => {
                state.probe_since = Some(now);
                Ok(())
            }
        }
    }

    /// Whether a change may start: only while closed, because a probe must not have an effect.
    pub fn admit_change(&self, now: Instant) -> Result<(), Instant> {
        match self.state().open_until {
            None => Ok(()),
            Some(until) if now >= until && seeded(Bug::ChangeProbesBreaker) => Ok(()),
            Some(until) => Err(until.max(now + self.shortest)),
        }
    }

    /// The cloud answered, whatever it said. Tells whether this closed an open breaker.
    pub fn answered(&self) -> bool {
        let mut state = self.state();
        let was_open = state.open_until.is_some();
        *state = State::default();
        was_open
    }

    /// The cloud did not answer, or answered that it is down.
    pub fn failed(&self, now: Instant) {
        let mut state = self.state();
        state.failures = state.failures.saturating_add(1);
        state.probe_since = None;
        if state.failures >= FAILURES_TO_OPEN {
            let doublings = (state.failures - FAILURES_TO_OPEN).min(20);
            let pause = self.shortest.saturating_mul(1 << doublings).min(self.longest);
            state.open_until = Some(now + pause);
        }
    }

    /// Whether calls are held back.
    pub fn is_open(&self) -> bool {
        self.state().open_until.is_some()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn opened(now: Instant) -> Breaker {
        let breaker = Breaker::new(Duration::from_secs(1), Duration::from_secs(600));
        for _ in 0..FAILURES_TO_OPEN {
            breaker.failed(now);
        }
        breaker
    }

    #[tokio::test(start_paused = true)]
    async fn fewer_failures_than_the_limit_leave_it_closed() {
        let now = Instant::now();
        let breaker = Breaker::new(Duration::from_secs(1), Duration::from_secs(600));
        for _ in 1..FAILURES_TO_OPEN {
            breaker.failed(now);
        }
        assert_eq!(breaker.admit_read(now), Ok(()));
        assert!(!breaker.is_open());
    }

    #[tokio::test(start_paused = true)]
    async fn half_open_lets_one_read_through_and_no_change() {
        let now = Instant::now();
        let breaker = opened(now);
        assert_eq!(breaker.admit_read(now), Err(now + Duration::from_secs(1)));
        let later = now + Duration::from_secs(1);
        assert!(breaker.admit_change(later).is_err());
        assert_eq!(breaker.admit_read(later), Ok(()));
        assert!(breaker.admit_read(later).is_err(), "a second probe at once");
    }

    #[tokio::test(start_paused = true)]
    async fn answered_probe_closes_and_failed_probe_doubles_the_pause() {
        let now = Instant::now();
        let breaker = opened(now);
        let probe = now + Duration::from_secs(1);
        breaker.failed(probe);
        assert_eq!(breaker.admit_read(probe), Err(probe + Duration::from_secs(2)));
        assert!(breaker.answered());
        assert_eq!(breaker.admit_change(probe), Ok(()));
        assert!(!breaker.answered());
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_comes_while_a_probe_is_out_waits_for_the_shortest_pause_alone() {
        let now = Instant::now();
        let (breaker, second) = (opened(now), Duration::from_secs(1));
        let probe = now + second;
        assert_eq!(breaker.admit_read(probe), Ok(()));
        assert_eq!(breaker.admit_read(probe + second), Err(probe + second * 2));
        let patience = probe + PROBE_PATIENCE;
        assert_eq!(breaker.admit_read(patience - second / 2), Err(patience));
        assert_eq!(breaker.admit_read(patience), Ok(()), "a probe that is lost is followed by another");
    }

    #[tokio::test(start_paused = true)]
    async fn pause_never_exceeds_the_longest() {
        let now = Instant::now();
        let breaker = opened(now);
        for _ in 0..100 {
            breaker.failed(now);
        }
        assert_eq!(breaker.admit_read(now), Err(now + Duration::from_secs(600)));
    }
}

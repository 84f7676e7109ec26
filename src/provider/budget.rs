//! The call budget of one credential: a token bucket that answers "not before" and never sleeps.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

/// How many calls a credential may make: `calls` per `per`, and at most `burst` at once after a quiet time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rate {
    /// Tokens that come back each second.
    pub per_second: f64,
    /// Most tokens held.
    pub burst: u32,
}

/// A token bucket that also honours pauses the cloud asked for.
///
/// One operation may need several requests (pages, a login). It is admitted while at least one token is there; each
/// request then takes one, into debt if need be, and the debt holds back the next operation.
pub struct Budget {
    rate: Rate,
    state: Mutex<State>,
}

struct State {
    tokens: f64,
    filled_at: Instant,
    closed_until: Option<Instant>,
}

impl Budget {
    /// A full bucket.
    pub fn new(rate: Rate, now: Instant) -> Self {
        let state = State { tokens: f64::from(rate.burst), filled_at: now, closed_until: None };
        Self { rate, state: Mutex::new(state) }
    }

    /// Whether an operation may start now; otherwise when to ask again.
    pub fn admit(&self, now: Instant) -> Result<(), Instant> {
        let mut state = self.filled(now);
        if let Some(until) = state.closed_until {
            if now < until {
                return Err(until);
            }
            state.closed_until = None;
        }
        if state.tokens >= 1.0 {
            return Ok(());
        }
        Err(now + Duration::from_secs_f64((1.0 - state.tokens) / self.rate.per_second))
    }

    /// Takes one token for a request that is about to be sent.
    pub fn debit(&self, now: Instant) {
        self.filled(now).tokens -= 1.0;
    }

    /// Lets nothing start before `until`; a later pause already set stays.
    pub fn close_until(&self, until: Instant) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.closed_until = Some(state.closed_until.map_or(until, |set| set.max(until)));
    }

    /// Tokens left, for the metric.
    pub fn tokens(&self, now: Instant) -> f64 {
        self.filled(now).tokens
    }

    fn filled(&self, now: Instant) -> std::sync::MutexGuard<'_, State> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let elapsed = now.saturating_duration_since(state.filled_at).as_secs_f64();
        state.tokens = (state.tokens + elapsed * self.rate.per_second).min(f64::from(self.rate.burst));
        state.filled_at = now.max(state.filled_at);
        state
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: Rate = Rate { per_second: 0.5, burst: 2 };

    #[tokio::test(start_paused = true)]
    async fn spent_budget_names_the_time_of_the_next_token() {
        let start = Instant::now();
        let budget = Budget::new(RATE, start);
        budget.debit(start);
        assert_eq!(budget.admit(start), Ok(()));
        budget.debit(start);
        assert_eq!(budget.admit(start), Err(start + Duration::from_secs(2)));
        assert_eq!(budget.admit(start + Duration::from_secs(2)), Ok(()));
    }

    #[tokio::test(start_paused = true)]
    async fn debt_of_a_long_operation_holds_back_the_next() {
        let start = Instant::now();
        let budget = Budget::new(RATE, start);
        for _ in 0..5 {
            budget.debit(start);
        }
        assert_eq!(budget.admit(start), Err(start + Duration::from_secs(8)));
    }

    #[tokio::test(start_paused = true)]
    async fn quiet_time_fills_no_more_than_the_burst() {
        let start = Instant::now();
        let budget = Budget::new(RATE, start);
        assert!((budget.tokens(start + Duration::from_secs(3600)) - 2.0).abs() < f64::EPSILON);
    }

    #[tokio::test(start_paused = true)]
    async fn pause_closes_a_full_bucket_and_a_shorter_one_does_not_open_it() {
        let start = Instant::now();
        let budget = Budget::new(RATE, start);
        budget.close_until(start + Duration::from_secs(60));
        budget.close_until(start + Duration::from_secs(5));
        assert_eq!(budget.admit(start + Duration::from_secs(59)), Err(start + Duration::from_secs(60)));
        assert_eq!(budget.admit(start + Duration::from_secs(60)), Ok(()));
    }
}

//! How long to wait: growing pauses after failures, and the curve of job polls. Pure: randomness comes in as a number.

use std::time::Duration;

/// Pause before try `failures + 1`: full jitter over an exponential from `min` to `max`, never below `floor`, and
/// never above `max` whatever the floor says. `jitter` lies in `0.0..1.0`.
pub fn retry_delay(failures: u32, jitter: f64, min: Duration, max: Duration, floor: Option<Duration>) -> Duration {
    let ceiling = min.saturating_mul(1_u32.checked_shl(failures.min(31)).unwrap_or(u32::MAX)).min(max);
    // Full jitter between `min` and the ceiling: a pause of zero would make the first retry no retry but a repeat.
    let spread = ceiling.saturating_sub(min).mul_f64(jitter.clamp(0.0, 1.0));
    (min + spread).max(floor.unwrap_or_default()).min(max.max(min))
}

/// A slow retry: between `max` and a tenth more, so that many users stalled by one cause do not come back together.
pub fn slow_delay(jitter: f64, max: Duration) -> Duration {
    max + (max / 10).mul_f64(jitter.clamp(0.0, 1.0))
}

/// Pause before the next look at a job that has run for `age`: 3, 3, 5, 8, 10 and then 15 seconds, scaled so that the
/// first is `first` (a MySQL account took 6 seconds in the one published trace; most jobs end within the first looks).
pub fn job_poll_delay(age: Duration, first: Duration) -> Duration {
    const CURVE: [(u32, u32); 5] = [(3, 3), (6, 5), (11, 8), (19, 10), (29, 15)];
    let unit = first / 3;
    CURVE.iter().rev().find(|(from, _)| age >= unit * *from).map_or(first, |(_, delay)| unit * *delay)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MIN: Duration = Duration::from_secs(1);
    const MAX: Duration = Duration::from_secs(600);

    proptest! {
        #[test]
        fn retry_delay_stays_between_its_bounds(failures in 0_u32..1000, jitter in 0.0..1.0, floor in 0_u64..100_000) {
            let delay = retry_delay(failures, jitter, MIN, MAX, Some(Duration::from_secs(floor)));
            prop_assert!(delay >= MIN && delay <= MAX);
            prop_assert!(delay >= Duration::from_secs(floor).min(MAX));
        }

        #[test]
        fn ceiling_doubles_with_each_failure_until_the_maximum(failures in 0_u32..9) {
            let worst = |failures| retry_delay(failures, 1.0, MIN, MAX, None);
            prop_assert_eq!(worst(failures + 1), worst(failures) * 2);
        }
    }

    #[test]
    fn many_failures_do_not_overflow() {
        assert_eq!(retry_delay(u32::MAX, 1.0, MIN, MAX, None), MAX);
    }

    #[test]
    fn slow_retries_of_many_are_spread_behind_the_longest_pause() {
        let delays = [0.0, 0.5, 1.0].map(|jitter| slow_delay(jitter, MAX).as_secs());
        assert_eq!(delays, [600, 630, 660]);
    }

    #[test]
    fn job_polls_follow_the_curve() {
        let mut age = Duration::from_secs(3);
        let mut delays = Vec::new();
        for _ in 0..6 {
            let delay = job_poll_delay(age, Duration::from_secs(3));
            delays.push(delay.as_secs());
            age += delay;
        }
        assert_eq!(delays, [3, 5, 8, 10, 15, 15]);
    }

    #[test]
    fn job_polls_scale_with_the_first_interval() {
        assert_eq!(job_poll_delay(Duration::ZERO, Duration::from_millis(30)), Duration::from_millis(30));
        assert_eq!(job_poll_delay(Duration::from_secs(9), Duration::from_millis(30)), Duration::from_millis(150));
    }
}

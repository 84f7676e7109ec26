//! Measures the operator beside a bare writer that makes the same requests, in one run on one machine.
//!
//! Seconds of a machine say little and wander from minute to minute; ratios of neighbours in one interleaved run do not.
//! `hack/bench` builds and starts it; `docs/performance.md` says how to read what it writes.

#![expect(clippy::cast_precision_loss, reason = "counts and times of a run are far below 2^52")]

mod bare;
mod changes;
mod cloud;
mod cluster;
mod manifests;
mod operator;
mod race;
mod ready;
mod report;
mod settled;

use std::{env, path::PathBuf, time::Duration};

/// What is measured, and with how much.
pub struct Sizes {
    /// Users that are settled already while restarts, memory and rotations are measured.
    pub users: usize,
    /// Users made Ready in one repetition of the race against the bare writer.
    pub created: usize,
    /// Repetitions of the race.
    pub repetitions: usize,
    /// Users created while changes of settled ones are measured.
    pub storm: usize,
    /// How long the cloud takes for a change.
    pub latency: Duration,
    /// The operator's release binary.
    pub operator: PathBuf,
}

impl Sizes {
    fn from_environment() -> Self {
        let number = |name: &str, default: usize| match env::var(name) {
            Ok(text) if !text.is_empty() => {
                text.parse().unwrap_or_else(|_| panic!("{name} must be a number, not {text}"))
            }
            _ => default,
        };
        Self {
            users: number("USERS", 10_000),
            created: number("CREATED", 10_000),
            repetitions: number("REPETITIONS", 3),
            storm: number("STORM", 10_000),
            latency: Duration::from_millis(number("LATENCY_MS", 100) as u64),
            operator: env::var_os("OPERATOR").expect("OPERATOR names the binary; start this with hack/bench").into(),
        }
    }
}

#[tokio::main]
async fn main() {
    let sizes = Sizes::from_environment();
    let mut report = report::Report::new(&sizes);
    if sizes.repetitions > 0 {
        race::run(&sizes, &mut report).await;
    }
    if sizes.users > 0 {
        settled::run(&sizes, &mut report).await;
    }
    report.finish();
}

//! What "alive" and "ready" mean.
//!
//! Ready: the stores are filled, or this replica stands by as a follower. Alive: the controller ticks and every watch
//! moves. A restart cures what retries cannot (a wedged task, a stream that is open but silent); it cures no outage, so
//! a watch that fails and tries again is given ten minutes.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use super::labels::KubeKind;

/// The controller looks at its queues every few seconds, whether anything is due or not.
const TICK_LIMIT: Duration = Duration::from_secs(60);

/// An API server that restarts or is upgraded is back well before this.
const FAILING_LIMIT: Duration = Duration::from_secs(600);

/// How far this replica has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Readiness {
    /// Not connected yet.
    Starting,
    /// Another replica holds the Lease; this one could take over at any time, so it is ready.
    StandingBy,
    /// The stores are being filled; passes start after that.
    Filling,
    /// Users are served.
    Serving,
    /// Asked to stop; running passes may finish.
    Draining,
}

/// Well, or one sentence for each thing that is wrong.
pub type Verdict = Result<(), Vec<String>>;

/// The state behind `/livez` and `/readyz`; clones share it.
#[derive(Clone)]
pub struct Health {
    watch_limit: Duration,
    state: Arc<Mutex<State>>,
}

struct State {
    readiness: Readiness,
    ticked_at: Option<Instant>,
    watches: BTreeMap<KubeKind, Watch>,
}

#[derive(Clone, Copy)]
struct Watch {
    filled: bool,
    /// Last progress or, where none came yet, the start of the watch.
    moved_at: Instant,
    /// First failure since the last progress.
    failing_since: Option<Instant>,
}

impl Health {
    /// A replica that is starting. `watch_timeout` is `--watch-timeout`: a watch that is silent for twice as long is
    /// taken for wedged, because the server ends each watch request after that time at the latest.
    pub fn new(watch_timeout: Duration) -> Self {
        let state = State { readiness: Readiness::Starting, ticked_at: None, watches: BTreeMap::new() };
        Self { watch_limit: 2 * watch_timeout, state: Arc::new(Mutex::new(state)) }
    }

    /// Says how far this replica has come.
    pub fn set_ready(&self, readiness: Readiness) {
        self.state().readiness = readiness;
    }

    /// The controller is at work. After the first call it has to be called at least once a minute.
    pub fn ticked(&self) {
        self.state().ticked_at = Some(Instant::now());
    }

    /// Begins to look after the watch of one kind; a second call for the same kind begins anew.
    pub fn watch(&self, kind: KubeKind) -> WatchHealth {
        let watch = Watch { filled: false, moved_at: Instant::now(), failing_since: None };
        self.state().watches.insert(kind, watch);
        WatchHealth { kind, health: self.clone() }
    }

    /// Whether this replica may be counted on.
    pub fn ready(&self) -> Verdict {
        let state = self.state();
        let unfilled = || state.watches.iter().filter(|(_, watch)| !watch.filled);
        match state.readiness {
            Readiness::StandingBy | Readiness::Serving => Ok(()),
            Readiness::Starting => Err(vec!["starting: not connected to the API server yet".to_owned()]),
            Readiness::Draining => Err(vec!["draining: running passes may finish".to_owned()]),
            Readiness::Filling if unfilled().next().is_some() => Err(unfilled()
                .map(|(kind, _)| format!("filling: the first list of {} is not complete", kind.as_str()))
                .collect()),
            Readiness::Filling => Err(vec!["filling: no pass has started yet".to_owned()]),
        }
    }

    /// Whether the process is worth keeping; each fault is one that a restart may cure.
    pub fn live(&self) -> Verdict {
        let now = Instant::now();
        let state = self.state();
        let mut faults = Vec::new();
        if let Some(silence) = state.ticked_at.map(|at| now.duration_since(at)).filter(|silence| *silence >= TICK_LIMIT)
        {
            faults.push(format!("the controller has not ticked for {} s", silence.as_secs()));
        }
        for (kind, watch) in &state.watches {
            let kind = kind.as_str();
            match watch.failing_since.map(|since| now.duration_since(since)) {
                Some(failing) if failing >= FAILING_LIMIT => {
                    faults.push(format!("the watch of {kind} has been failing for {} s", failing.as_secs()));
                }
                Some(_) => {}
                None => {
                    let silence = now.duration_since(watch.moved_at);
                    if silence >= self.watch_limit {
                        faults.push(format!("the watch of {kind} has made no progress for {} s", silence.as_secs()));
                    }
                }
            }
        }
        if faults.is_empty() { Ok(()) } else { Err(faults) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the task that drives a watch reports of it.
pub struct WatchHealth {
    kind: KubeKind,
    health: Health,
}

impl WatchHealth {
    /// An event, a bookmark or a clean reconnect.
    pub fn progress(&self) {
        self.change(|watch| {
            watch.moved_at = Instant::now();
            watch.failing_since = None;
        });
    }

    /// The first list is complete, so the store shows the cluster. Counts as progress.
    pub fn filled(&self) {
        self.change(|watch| watch.filled = true);
        self.progress();
    }

    /// The watch broke or could not begin, and is tried again.
    pub fn failing(&self) {
        self.change(|watch| {
            watch.failing_since.get_or_insert_with(Instant::now);
        });
    }

    fn change(&self, change: impl FnOnce(&mut Watch)) {
        if let Some(watch) = self.health.state().watches.get_mut(&self.kind) {
            change(watch);
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    const WATCH_TIMEOUT: Duration = Duration::from_secs(200);

    fn faults(verdict: Verdict) -> String {
        verdict.expect_err("something is wrong").join("\n")
    }

    #[tokio::test(start_paused = true)]
    async fn ready_as_follower_or_once_every_store_is_filled() {
        let health = Health::new(WATCH_TIMEOUT);
        assert!(faults(health.ready()).contains("starting"));
        health.set_ready(Readiness::StandingBy);
        assert_eq!(health.ready(), Ok(()));

        let (users, secrets) = (health.watch(KubeKind::ClickHouseUser), health.watch(KubeKind::Secret));
        health.set_ready(Readiness::Filling);
        users.filled();
        assert_eq!(faults(health.ready()), "filling: the first list of Secret is not complete");
        secrets.filled();
        health.set_ready(Readiness::Serving);
        assert_eq!(health.ready(), Ok(()));
        health.set_ready(Readiness::Draining);
        assert!(faults(health.ready()).contains("draining"));
    }

    #[tokio::test(start_paused = true)]
    async fn silent_watch_is_dead_after_twice_its_timeout() {
        let health = Health::new(WATCH_TIMEOUT);
        let (users, _secrets) = (health.watch(KubeKind::ClickHouseUser), health.watch(KubeKind::Secret));
        advance(Duration::from_secs(399)).await;
        assert_eq!(health.live(), Ok(()));
        users.progress();
        advance(Duration::from_secs(1)).await;
        assert_eq!(faults(health.live()), "the watch of Secret has made no progress for 400 s");
    }

    #[tokio::test(start_paused = true)]
    async fn failing_watch_is_given_ten_minutes_and_one_progress_forgives_all() {
        let health = Health::new(WATCH_TIMEOUT);
        let users = health.watch(KubeKind::ClickHouseUser);
        for _ in 0..59 {
            users.failing();
            advance(Duration::from_secs(10)).await;
        }
        assert_eq!(health.live(), Ok(()));
        advance(Duration::from_secs(10)).await;
        users.failing();
        assert_eq!(faults(health.live()), "the watch of ClickHouseUser has been failing for 600 s");
        users.progress();
        assert_eq!(health.live(), Ok(()));
        users.failing();
        advance(Duration::from_secs(599)).await;
        assert_eq!(health.live(), Ok(()));
    }

    #[tokio::test(start_paused = true)]
    async fn controller_that_ticked_once_has_to_go_on() {
        let health = Health::new(WATCH_TIMEOUT);
        advance(Duration::from_secs(3600)).await;
        assert_eq!(health.live(), Ok(()), "a follower has no controller to tick");
        health.ticked();
        advance(Duration::from_secs(59)).await;
        assert_eq!(health.live(), Ok(()));
        advance(Duration::from_secs(1)).await;
        assert_eq!(faults(health.live()), "the controller has not ticked for 60 s");
        health.ticked();
        assert_eq!(health.live(), Ok(()));
    }
}

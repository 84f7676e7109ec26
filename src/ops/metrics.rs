//! Every metric of the operator, in one struct, with one method for each thing that happens.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    hash::Hash,
    sync::{Mutex, PoisonError, atomic::AtomicU64},
    time::Duration,
};

use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode},
    metrics::{
        counter::Counter,
        family::{Family, MetricConstructor},
        gauge::Gauge,
        histogram::Histogram,
    },
    registry::{Metric, Registry},
};

use super::labels::{KubeKind, KubeOutcome, KubeVerb, Lane, OperationKind, PassOutcome, Ready};
use crate::provider::{contract::ProviderKind, http::Exchange};

/// A pass without calls takes under a millisecond, one with a read or write of the API server some ten, one with a
/// provider call up to `--call-timeout` (30 s).
const PASS_BUCKETS: [f64; 7] = [0.001, 0.01, 0.1, 0.5, 2.0, 10.0, 60.0];

/// Nothing waits on a quiet day; behind a busy instance or a spent budget it can be minutes.
const QUEUE_BUCKETS: [f64; 6] = [0.01, 0.1, 1.0, 10.0, 60.0, 600.0];

/// From a near region's fast answer to `--call-timeout`.
const REQUEST_BUCKETS: [f64; 8] = [0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 30.0];

/// A synchronous cloud confirms in a second, a job in minutes; `--job-timeout` is a quarter of an hour.
const OPERATION_BUCKETS: [f64; 8] = [1.0, 3.0, 10.0, 30.0, 60.0, 180.0, 900.0, 3600.0];

/// Stands for the provider of a user whose instance is not known.
const NO_PROVIDER: &str = "Unknown";

type Histograms<L> = Family<L, Histogram, fn() -> Histogram>;

/// A group of users that is counted as one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UserGroup {
    /// The cloud of their instances; `None` where the instance is not known.
    pub provider: Option<ProviderKind>,
    /// Status of their condition `Ready`.
    pub ready: Ready,
    /// Reason of that condition, from the table of reasons.
    pub reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct UserLabels {
    provider: &'static str,
    ready: &'static str,
    reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabels {
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct LaneLabels {
    lane: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ProviderLabels {
    provider: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ExchangeLabels {
    provider: &'static str,
    operation: &'static str,
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OperationLabels {
    provider: &'static str,
    kind: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct KubeLabels {
    verb: &'static str,
    kind: &'static str,
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct KindLabels {
    kind: &'static str,
}

/// The metrics of one process. Every name is on the page from the start, at zero where nothing happened, so that an
/// alert never waits for a first failure to learn that the series exists.
pub struct Metrics {
    registry: Registry,
    users: Family<UserLabels, Gauge>,
    user_groups: Mutex<BTreeSet<UserGroup>>,
    passes: Family<OutcomeLabels, Counter>,
    pass_seconds: Histogram,
    queue_depth: Family<LaneLabels, Gauge>,
    queue_seconds: Histograms<LaneLabels>,
    provider_requests: Family<ExchangeLabels, Counter>,
    provider_request_seconds: Histogram,
    provider_budget_tokens: Family<ProviderLabels, Gauge<f64, AtomicU64>>,
    breaker_open: Family<ProviderLabels, Gauge>,
    jobs_in_flight: Family<ProviderLabels, Gauge>,
    operation_seconds: Histograms<OperationLabels>,
    orphans: Family<ProviderLabels, Counter>,
    kube_requests: Family<KubeLabels, Counter>,
    watch_restarts: Family<KindLabels, Counter>,
    leader: Gauge,
}

impl Metrics {
    /// All metrics, at zero.
    pub fn new() -> Self {
        let mut registry = Registry::default();
        // The library adds `_total` to the names of counters.
        let metrics = Self {
            users: add(&mut registry, "users", "Users by provider, status and reason of Ready", Family::default()),
            passes: add(&mut registry, "passes", "Passes by how they ended", Family::default()),
            pass_seconds: add(&mut registry, "pass_seconds", "Time of one pass", Histogram::new(PASS_BUCKETS)),
            queue_depth: add(&mut registry, "queue_depth", "Users waiting for a pass", Family::default()),
            queue_seconds: add(
                &mut registry,
                "queue_seconds",
                "Time a user waited for a pass",
                Family::new_with_constructor(|| Histogram::new(QUEUE_BUCKETS)),
            ),
            provider_requests: add(
                &mut registry,
                "provider_requests",
                "Requests to a provider by what came of them",
                Family::default(),
            ),
            provider_request_seconds: add(
                &mut registry,
                "provider_request_seconds",
                "Time of one request to a provider, to the last byte",
                Histogram::new(REQUEST_BUCKETS),
            ),
            provider_budget_tokens: add(
                &mut registry,
                "provider_budget_tokens",
                "Requests that the credential with the least budget may still make at once; negative is debt",
                Family::default(),
            ),
            breaker_open: add(
                &mut registry,
                "breaker_open",
                "Credentials whose provider is not called for now because it keeps failing",
                Family::default(),
            ),
            jobs_in_flight: add(&mut registry, "jobs_in_flight", "Provider jobs being followed", Family::default()),
            operation_seconds: add(
                &mut registry,
                "operation_seconds",
                "Time from a change being desired to its being confirmed",
                Family::new_with_constructor(|| Histogram::new(OPERATION_BUCKETS)),
            ),
            orphans: add(
                &mut registry,
                "orphans",
                "Accounts left behind in a provider when their user was released",
                Family::default(),
            ),
            kube_requests: add(
                &mut registry,
                "kube_requests",
                "Requests to the API server by what came of them",
                Family::default(),
            ),
            watch_restarts: add(
                &mut registry,
                "watch_restarts",
                "Watches that broke and were begun again",
                Family::default(),
            ),
            leader: add(&mut registry, "leader", "1 where this replica does the work", Gauge::default()),
            user_groups: Mutex::default(),
            registry,
        };
        metrics.create_series();
        metrics
    }

    /// Makes the series that an alert could ask for. Outcomes that are all errors of one kind appear with the first.
    fn create_series(&self) {
        self.users([]);
        for provider in ProviderKind::ALL {
            let labels = ProviderLabels { provider: provider.as_str() };
            create(&self.provider_budget_tokens, &labels);
            create(&self.breaker_open, &labels);
            create(&self.jobs_in_flight, &labels);
            create(&self.orphans, &labels);
            for kind in OperationKind::ALL {
                create(&self.operation_seconds, &OperationLabels { provider: provider.as_str(), kind: kind.as_str() });
            }
            // A label without a value is no label: these rows speak of no operation until there is one.
            for outcome in ["ok", "unknown"] {
                let labels = ExchangeLabels { provider: provider.as_str(), operation: "", outcome };
                create(&self.provider_requests, &labels);
            }
        }
        for outcome in PassOutcome::ALL {
            create(&self.passes, &OutcomeLabels { outcome: outcome.as_str() });
        }
        for lane in Lane::ALL {
            create(&self.queue_depth, &LaneLabels { lane: lane.as_str() });
            create(&self.queue_seconds, &LaneLabels { lane: lane.as_str() });
        }
        for kind in KubeKind::ALL {
            for verb in KubeVerb::ALL {
                create(&self.kube_requests, &kube_labels(*verb, *kind, KubeOutcome::Ok));
            }
        }
        for kind in KubeKind::WATCHED {
            create(&self.watch_restarts, &KindLabels { kind: kind.as_str() });
        }
    }

    /// Replaces the counts of users; groups that are not named have no users now.
    pub fn users(&self, counts: impl IntoIterator<Item = (UserGroup, usize)>) {
        let settled = |provider| UserGroup { provider: Some(provider), ready: Ready::True, reason: "AccountReady" };
        let mut counts: BTreeMap<_, _> = counts.into_iter().collect();
        let mut known = self.user_groups.lock().unwrap_or_else(PoisonError::into_inner);
        known.extend(ProviderKind::ALL.map(settled));
        known.extend(counts.keys());
        for group in known.iter() {
            let labels = UserLabels {
                provider: group.provider.map_or(NO_PROVIDER, ProviderKind::as_str),
                ready: group.ready.as_str(),
                reason: group.reason,
            };
            self.users.get_or_create(&labels).set(whole(counts.remove(group).unwrap_or_default()));
        }
    }

    /// A pass ended.
    pub fn pass_finished(&self, outcome: PassOutcome, elapsed: Duration) {
        self.passes.get_or_create(&OutcomeLabels { outcome: outcome.as_str() }).inc();
        self.pass_seconds.observe(elapsed.as_secs_f64());
    }

    /// So many users wait for a pass in this lane.
    pub fn queue_depth(&self, lane: Lane, users: usize) {
        self.queue_depth.get_or_create(&LaneLabels { lane: lane.as_str() }).set(whole(users));
    }

    /// A user left the queue for its pass after waiting so long.
    pub fn queue_left(&self, lane: Lane, waited: Duration) {
        self.queue_seconds.get_or_create(&LaneLabels { lane: lane.as_str() }).observe(waited.as_secs_f64());
    }

    /// A request to a provider ended.
    pub fn provider_exchange(&self, exchange: &Exchange) {
        let Exchange { provider, operation, outcome, elapsed } = *exchange;
        self.provider_requests.get_or_create(&ExchangeLabels { provider: provider.as_str(), operation, outcome }).inc();
        self.provider_request_seconds.observe(elapsed.as_secs_f64());
    }

    /// The least budget that any credential of this provider has left.
    pub fn provider_budget_tokens(&self, provider: ProviderKind, tokens: f64) {
        self.provider_budget_tokens.get_or_create(&ProviderLabels { provider: provider.as_str() }).set(tokens);
    }

    /// The breaker of so many credentials of this provider is open.
    pub fn breakers_open(&self, provider: ProviderKind, credentials: usize) {
        self.breaker_open.get_or_create(&ProviderLabels { provider: provider.as_str() }).set(whole(credentials));
    }

    /// So many jobs of this provider are followed.
    pub fn jobs_in_flight(&self, provider: ProviderKind, jobs: usize) {
        self.jobs_in_flight.get_or_create(&ProviderLabels { provider: provider.as_str() }).set(whole(jobs));
    }

    /// A change of an account was confirmed, so long after it was desired.
    pub fn operation_confirmed(&self, provider: ProviderKind, kind: OperationKind, elapsed: Duration) {
        self.operation_seconds
            .get_or_create(&OperationLabels { provider: provider.as_str(), kind: kind.as_str() })
            .observe(elapsed.as_secs_f64());
    }

    /// A user was released while its account may still exist.
    pub fn orphan_left(&self, provider: ProviderKind) {
        self.orphans.get_or_create(&ProviderLabels { provider: provider.as_str() }).inc();
    }

    /// A request to the API server ended.
    pub fn kube_request(&self, verb: KubeVerb, kind: KubeKind, outcome: KubeOutcome) {
        self.kube_requests.get_or_create(&kube_labels(verb, kind, outcome)).inc();
    }

    /// A watch broke and is begun again.
    pub fn watch_restarted(&self, kind: KubeKind) {
        self.watch_restarts.get_or_create(&KindLabels { kind: kind.as_str() }).inc();
    }

    /// Whether this replica does the work.
    pub fn leader(&self, leads: bool) {
        self.leader.set(leads.into());
    }

    /// The page in the OpenMetrics text format.
    pub fn render(&self) -> Result<String, fmt::Error> {
        let mut page = String::new();
        encode(&mut page, &self.registry)?;
        Ok(page)
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

fn add<M: Metric + Clone>(registry: &mut Registry, name: &str, help: &str, metric: M) -> M {
    registry.register(format!("chuser_{name}"), help, metric.clone());
    metric
}

/// Makes a series, so that it is on the page before anything happened.
fn create<L: Clone + Hash + Eq, M, C: MetricConstructor<M>>(family: &Family<L, M, C>, labels: &L) {
    drop(family.get_or_create(labels));
}

fn kube_labels(verb: KubeVerb, kind: KubeKind, outcome: KubeOutcome) -> KubeLabels {
    KubeLabels { verb: verb.as_str(), kind: kind.as_str(), outcome: outcome.as_str() }
}

fn whole(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;

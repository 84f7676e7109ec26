//! Watches, triggers, the gate, the pass and its effects. Names no cloud.
//!
//! [`run`] wires one scope after another from the same parts: [`streams`] fill [`users`] and [`index`] and wake those
//! that may need a pass, [`passes`] sends them through [`gate`], [`pass`] runs one at its [`pace`], [`act`] performs its
//! steps. [`instances`] go a shorter way through [`instance_pass`], which leaves what it finds in [`directory`]; those of
//! the whole cluster are served by [`shared`].

pub mod act;
pub mod announcer;
pub mod around;
pub mod boundary;
pub mod changes;
pub mod context;
pub mod counts;
pub mod directory;
pub mod drift;
pub mod fence;
pub mod gate;
pub mod index;
pub mod instance_pass;
pub mod instance_seen;
pub mod instances;
pub mod latest;
pub mod leader;
pub mod names;
pub mod namespaces;
pub mod pace;
pub mod pass;
pub mod passes;
pub mod refusals;
pub mod rivals;
pub mod scope;
pub mod secret_versions;
pub mod shared;
pub mod sharing;
pub mod streams;
pub mod turn;
pub mod users;
pub mod waits;

use std::{
    sync::{Arc, Mutex, atomic::AtomicUsize},
    time::Duration,
};

use futures::future::{self, join_all};
use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use self::{
    announcer::Announcer,
    context::{Context, Shared},
    counts::Counts,
    directory::Directory,
    fence::Fence,
    gate::Gate,
    index::Index,
    instances::{Inlet, Instances},
    namespaces::Namespaces,
    pace::Pace,
};
use crate::{
    api::ClusterClickHouseInstance,
    cli::Config,
    domain::plan::Settings,
    kubeio::{Kube, KubeError},
    login::Logins,
    ops::{
        health::{Health, Readiness},
        metrics::Metrics,
    },
    provider::{
        contract::ProviderKind,
        fleet::{Fleet, FleetSettings},
        http::Transport,
    },
};

/// How often gauges are brought up to date and the liveness probe is fed.
const TICK: Duration = Duration::from_secs(5);

/// Pause between tries to reach the API server at the start.
const CONNECT_PAUSE: Duration = Duration::from_secs(1);

/// Longest that passes wait for namespaces that cannot be listed; an API server answers a list in seconds.
const FILLING_PATIENCE: Duration = Duration::from_secs(30);
/// One part in so many of the passes may wait for a login: servers that do not answer hold nobody else up.
const LOGIN_SHARE: usize = 4;

/// Why the operator ends without having been asked to.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The configuration names no usable API server.
    #[error("no API server: {0}")]
    NoCluster(KubeError),
    /// Another replica took the Lease over; this process must not go on.
    #[error("the Lease was lost to another replica")]
    LeaseLost,
}

/// Serves until `stop`, then lets running passes finish for at most `--drain-timeout`.
pub async fn run(
    config: Config,
    metrics: Arc<Metrics>,
    health: Health,
    stop: CancellationToken,
) -> Result<(), RunError> {
    let kube = Kube::connect(metrics.clone(), config.watch_timeout).await.map_err(RunError::NoCluster)?;
    let fence =
        Arc::new(if config.leader_elect { Fence::around_a_lease(config.lease_renew_deadline) } else { Fence::open() });
    let serving = serve(config.clone(), kube.clone(), metrics.clone(), health.clone(), fence.clone(), stop.clone());
    if !config.leader_elect {
        metrics.leader(true);
        serving.await;
        return Ok(());
    }
    health.set_ready(Readiness::StandingBy);
    leader::lead(&config, &kube, &metrics, &fence, &stop, Box::pin(serving)).await
}

async fn serve(
    config: Config,
    kube: Kube,
    metrics: Arc<Metrics>,
    health: Health,
    fence: Arc<Fence>,
    stop: CancellationToken,
) {
    metrics.leader(true);
    health.set_ready(Readiness::Filling);
    let (shared, inlet) = config.cluster_instances.then(|| shared(&config)).unzip();
    let Some(context) = prepare(config, kube, metrics, fence, shared, &stop).await else { return };
    let ticking = tokio::spawn(tick(context.clone(), health.clone()));
    let keeping = tokio::spawn({
        let context = context.clone();
        async move { context.kube.keep_operator_key(&context.config.operator_namespace, &context.key).await }
    });
    let patience = tokio::spawn(wait_for_the_rest(context.clone()));
    let shared = async {
        if let Some(inlet) = inlet {
            Box::pin(shared::serve(context.clone(), inlet, &health, &stop)).await;
        }
    };
    let namespaces = &context.config.watch_namespaces;
    let scopes = async {
        if namespaces.is_empty() {
            Box::pin(scope::serve(context.clone(), None, &health, &stop)).await;
        } else {
            let serve = |namespace| scope::serve(context.clone(), Some(namespace), &health, &stop);
            join_all(namespaces.iter().map(serve)).await;
        }
    };
    future::join(shared, scopes).await;
    keeping.abort();
    ticking.abort();
    patience.abort();
}

/// Instances of the whole cluster, and the way into their store.
fn shared(config: &Config) -> (Shared, Inlet<ClusterClickHouseInstance>) {
    let (instances, inlet) = Instances::new();
    let own = &config.operator_namespace;
    let watched = config.watch_namespaces.is_empty() || config.watch_namespaces.contains(own);
    let secrets = (!watched).then(Arc::default);
    (Shared { instances, namespaces: Namespaces::default(), secrets }, inlet)
}

/// Lets passes start although something cannot be listed. Whoever may take the operator's rights off one namespace must
/// not stop it in all others; what is claimed there is not known then, and a cloud refuses a second account of a name.
async fn wait_for_the_rest(context: Arc<Context>) {
    tokio::time::sleep(FILLING_PATIENCE).await;
    if !context.filled.is_cancelled() {
        tracing::warn!("not everything could be listed yet; serving what is there");
        context.filled.cancel();
    }
}

/// Everything a pass needs. No pass runs before the operator's key is there, so this waits for the API server.
async fn prepare(
    config: Config,
    kube: Kube,
    metrics: Arc<Metrics>,
    fence: Arc<Fence>,
    shared: Option<Shared>,
    stop: &CancellationToken,
) -> Option<Arc<Context>> {
    let key = loop {
        match kube.operator_key(&config.operator_namespace).await {
            Ok(key) => break key,
            Err(error) => tracing::warn!("the operator's key cannot be read or made: {error}"),
        }
        tokio::select! {
            () = tokio::time::sleep(CONNECT_PAUSE) => {}
            () = stop.cancelled() => return None,
        }
    };
    let observed = metrics.clone();
    let transport = Transport {
        call_timeout: config.call_timeout,
        extra_roots: config.provider_ca_file.0.clone(),
        observer: Arc::new(move |exchange| observed.provider_exchange(&exchange)),
    };
    let fleet = Fleet::new(FleetSettings {
        transport,
        rates: config.rates(),
        max_deletes: config.max_deletes.rate(),
        job_poll_interval: config.job_poll_interval,
        job_timeout: config.job_timeout,
        retry_min: config.retry_min,
        retry_max: config.retry_max,
    });
    let settings = Settings {
        job_poll_interval: config.job_poll_interval,
        job_timeout: config.job_timeout,
        retry_min: config.retry_min,
        retry_max: config.retry_max,
        orphan_after: config.orphan_after,
        connection_secrets: config.connection_secrets,
    };
    let logins = Logins::new(
        config.allowed_login_targets.clone(),
        config.provider_ca_file.0.clone(),
        config.call_timeout,
        (usize::from(config.concurrency) / LOGIN_SHARE).max(1),
    );
    let announcer = Announcer::start(&kube, config.operator_namespace.clone());
    let gate = Gate::new(usize::from(config.concurrency), metrics.clone());
    // A list of some pages, a change, and the API server's own calls beside them.
    let pass_deadline = config.call_timeout * 3 + Duration::from_secs(60);
    let started_at = Timestamp::now();
    let parts = config.watch_namespaces.len().max(1) + usize::from(shared.is_some());
    Some(Arc::new(Context {
        config,
        settings,
        kube,
        key,
        fence,
        fleet,
        logins,
        gate,
        announcer,
        metrics,
        started_at,
        pass_deadline,
        index: Index::default(),
        packer: Arc::default(),
        directory: Directory::default(),
        instance_pace: Pace::default(),
        counts: Counts::default(),
        claiming: Mutex::default(),
        shared,
        scopes: Mutex::default(),
        filling: AtomicUsize::new(parts),
        filled: CancellationToken::new(),
    }))
}

/// Feeds the liveness probe and the gauges that no event keeps up to date.
async fn tick(context: Arc<Context>, health: Health) {
    loop {
        health.ticked();
        context.count();
        for provider in ProviderKind::ALL {
            let credentials: Vec<_> =
                context.fleet.credentials().into_iter().filter(|it| it.provider == provider).collect();
            context.metrics.breakers_open(provider, credentials.iter().filter(|it| it.breaker.is_open()).count());
            let now = tokio::time::Instant::now();
            let least = credentials.iter().map(|it| it.budget.tokens(now)).fold(f64::INFINITY, f64::min);
            context.metrics.provider_budget_tokens(provider, if least.is_finite() { least } else { 0.0 });
        }
        tokio::time::sleep(TICK).await;
    }
}

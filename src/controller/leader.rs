//! Serves only while this replica holds the Lease.
//!
//! The Lease keeps two replicas from working at once among replicas that respect it. It is no fence: a call already
//! sent completes. That nothing happens twice is the journal's work.

use std::{future::Future, sync::Arc, time::Duration};

use k8s_controller::LeaderElection;
use tokio_util::sync::CancellationToken;

use super::RunError;
use crate::{cli::Config, kubeio::Kube, ops::metrics::Metrics};

/// Name of the Lease in the operator's namespace.
const LEASE: &str = "clickhouse-user-operator";

/// Waits for the Lease, then serves. Ends with an error where the Lease is lost: the process must not go on.
pub async fn lead(
    config: &Config,
    kube: &Kube,
    metrics: &Arc<Metrics>,
    stop: &CancellationToken,
    serving: impl Future<Output = ()>,
) -> Result<(), RunError> {
    let election = LeaderElection::new(kube.client.clone(), &config.operator_namespace, LEASE, &identity())
        .with_lease_duration(config.lease_duration)
        .with_renew_deadline(config.lease_renew_deadline)
        .with_retry_period(config.lease_retry_period());
    // A follower that is asked to stop has nothing to drain.
    let leading = std::sync::atomic::AtomicBool::new(false);
    let serving = async {
        leading.store(true, std::sync::atomic::Ordering::Relaxed);
        serving.await;
    };
    let asked_to_stop = async {
        loop {
            stop.cancelled().await;
            if !leading.load(std::sync::atomic::Ordering::Relaxed) {
                return;
            }
            // The leader ends by its own drain, bounded by --drain-timeout.
            tokio::time::sleep(config.drain_timeout + Duration::from_secs(1)).await;
        }
    };
    let ended = tokio::select! {
        ended = election.with_lease(serving) => ended,
        () = asked_to_stop => Some(()),
    };
    metrics.leader(false);
    ended.ok_or(RunError::LeaseLost)
}

/// Unique among replicas: the pod's name where there is one, and chance, because two processes that share an identity
/// would both lead.
fn identity() -> String {
    let host = std::env::var("HOSTNAME").unwrap_or_else(|_| "local".to_owned());
    format!("{host}-{:08x}", rand::random::<u32>())
}

//! Serves only while this replica holds the Lease.
//!
//! The Lease keeps two replicas from working at once among replicas that respect it. A process that was stopped learns
//! late that it is not the leader any more: [`Fence`] holds its calls back. What was sent before completes; that nothing
//! happens twice is the journal's work.

use std::{future::Future, sync::Arc, time::Duration};

use http::{Method, Request};
use k8s_controller::LeaderElection;
use kube::{Client, client::Body};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{RunError, fence::Fence};
use crate::{cli::Config, kubeio::Kube, ops::metrics::Metrics};

/// Name of the Lease in the operator's namespace.
const LEASE: &str = "clickhouse-user-operator";

/// Waits for the Lease, then serves. Ends with an error where the Lease is lost: the process must not go on.
pub async fn lead(
    config: &Config,
    kube: &Kube,
    metrics: &Arc<Metrics>,
    fence: &Arc<Fence>,
    stop: &CancellationToken,
    serving: impl Future<Output = ()>,
) -> Result<(), RunError> {
    let client = noting_renewals(kube.client.clone(), fence.clone());
    let election = LeaderElection::new(client, &config.operator_namespace, LEASE, &identity())
        .with_lease_duration(config.lease_duration)
        .with_renew_deadline(config.lease_renew_deadline)
        .with_retry_period(config.lease_retry_period());
    // A follower that is asked to stop has nothing to drain.
    let leading = std::sync::atomic::AtomicBool::new(false);
    let serving = async {
        leading.store(true, std::sync::atomic::Ordering::Relaxed);
        serving.await;
        fence.give_up();
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
    fence.give_up();
    metrics.leader(false);
    ended.ok_or(RunError::LeaseLost)
}

/// A client for the Lease and nothing else, which tells the fence of each write that succeeded. The library that writes
/// it does not say.
fn noting_renewals(client: Client, fence: Arc<Fence>) -> Client {
    let namespace = client.default_namespace().to_owned();
    let noting = tower::service_fn(move |request: Request<Body>| {
        let (client, fence) = (client.clone(), fence.clone());
        async move {
            let (writes, sent_at) = (request.method() != Method::GET, Instant::now());
            let answer = client.send(request).await?;
            if writes && answer.status().is_success() {
                fence.renewed(sent_at);
            }
            Ok::<_, kube::Error>(answer)
        }
    });
    Client::new(noting, namespace)
}

/// Unique among replicas: the pod's name where there is one, and chance, because two processes that share an identity
/// would both lead.
fn identity() -> String {
    let host = std::env::var("HOSTNAME").unwrap_or_else(|_| "local".to_owned());
    format!("{host}-{:08x}", rand::random::<u32>())
}

#[cfg(test)]
mod tests {
    use http::{Response, StatusCode};
    use k8s_openapi::api::coordination::v1::Lease;
    use kube::{Api, api::PostParams};

    use super::*;

    /// Whether the fence is open after a request to an API server that answers with this status.
    async fn opened(status: StatusCode, write: bool) -> bool {
        let answering = tower::service_fn(move |_: Request<Body>| async move {
            let lease = serde_json::to_vec(&Lease::default()).expect("JSON");
            let answer = Response::builder().status(status).body(Body::from(lease));
            Ok::<_, kube::Error>(answer.expect("an answer"))
        });
        let fence = Arc::new(Fence::around_a_lease(Duration::from_secs(10)));
        let client = noting_renewals(Client::new(answering, "default"), fence.clone());
        let leases: Api<Lease> = Api::default_namespaced(client);
        let asked = if write {
            leases.replace(LEASE, &PostParams::default(), &Lease::default()).await
        } else {
            leases.get(LEASE).await
        };
        assert_eq!(asked.is_ok(), status.is_success());
        fence.is_open()
    }

    #[tokio::test]
    async fn only_a_write_that_succeeded_renews() {
        assert!(opened(StatusCode::OK, true).await);
        assert!(!opened(StatusCode::OK, false).await, "a look at the Lease is none");
        assert!(!opened(StatusCode::CONFLICT, true).await, "somebody else wrote");
        assert!(!opened(StatusCode::INTERNAL_SERVER_ERROR, true).await);
    }
}

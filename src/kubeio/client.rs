//! The client all calls go through: no hidden retries, a deadline for each call, a count of each call.

use std::{future::Future, sync::Arc, time::Duration};

use kube::{Client, Config};
use tokio::sync::Semaphore;

use crate::ops::{
    labels::{KubeKind, KubeOutcome, KubeVerb},
    metrics::Metrics,
};

/// Longest a call to the API server may take. The client itself has no read timeout, so a half-open connection would
/// otherwise hold a pass until its own deadline.
const CALL_TIMEOUT: Duration = Duration::from_secs(10);

/// Calls at once. Beyond this an API server answers later, not more (measured: flat from 8; a PATCH takes three times as
/// long at 32, ten times at 128), and whoever is in a hurry waits behind all of them there, where nobody is fair.
const CALLS: usize = 16;

/// Calls at once on top of those, for whoever does not wait behind the others.
const URGENT_CALLS: usize = 8;

/// Why a call to the API server failed, in the ways that callers tell apart.
#[derive(Debug, thiserror::Error)]
pub enum KubeError {
    /// The object is gone, or never was.
    #[error("not found")]
    NotFound,
    /// Somebody else wrote first, or the object is another one of the same name: read it again.
    #[error("conflict with another writer")]
    Conflict,
    /// Any other answer.
    #[error("{message}")]
    Answer {
        /// HTTP status.
        code: u16,
        /// The API server's own words.
        message: String,
    },
    /// No complete answer.
    #[error("{0}")]
    Unreachable(String),
}

/// The API server, as the operator uses it.
#[derive(Clone)]
pub struct Kube {
    /// The plain client, for watches and libraries that bring their own deadlines.
    pub client: Client,
    metrics: Arc<Metrics>,
    /// First come, first served; those who may come at all are few, and chosen fairly.
    calls: Arc<Semaphore>,
    urgent_calls: Arc<Semaphore>,
}

impl Kube {
    /// Connects as the environment says: `KUBECONFIG`, or the pod's ServiceAccount.
    pub async fn connect(metrics: Arc<Metrics>) -> Result<Self, KubeError> {
        let mut config = Config::infer().await.map_err(|error| KubeError::Unreachable(error.to_string()))?;
        // Our own requeue is the retry; the client's would repeat POST and PATCH up to 15 times inside one call.
        config.default_retry = false;
        let client = Client::try_from(config).map_err(|error| KubeError::Unreachable(error.to_string()))?;
        let [calls, urgent_calls] = [CALLS, URGENT_CALLS].map(|most| Arc::new(Semaphore::new(most)));
        Ok(Self { client, metrics, calls, urgent_calls })
    }

    /// For calls that do not wait behind all others.
    #[must_use]
    pub fn urgent(&self) -> Self {
        Self { calls: self.urgent_calls.clone(), ..self.clone() }
    }

    /// Makes one call under the deadline and counts it.
    pub(super) async fn call<T>(
        &self,
        verb: KubeVerb,
        kind: KubeKind,
        call: impl Future<Output = Result<T, kube::Error>>,
    ) -> Result<T, KubeError> {
        // Never closed; and a call without a permit would still be right.
        let permit = self.calls.acquire().await;
        let result = match tokio::time::timeout(CALL_TIMEOUT, call).await {
            Ok(result) => result.map_err(KubeError::from),
            Err(_) => Err(KubeError::Unreachable(format!("no answer within {} s", CALL_TIMEOUT.as_secs()))),
        };
        drop(permit);
        let outcome = match &result {
            Ok(_) => KubeOutcome::Ok,
            Err(KubeError::NotFound) => KubeOutcome::NotFound,
            Err(KubeError::Conflict) => KubeOutcome::Conflict,
            Err(KubeError::Answer { code: 401 | 403, .. }) => KubeOutcome::Denied,
            Err(KubeError::Answer { code: 429, .. }) => KubeOutcome::Throttled,
            Err(KubeError::Answer { code: 500.., .. }) => KubeOutcome::ServerError,
            Err(KubeError::Answer { .. }) => KubeOutcome::Rejected,
            Err(KubeError::Unreachable(_)) => KubeOutcome::Unreachable,
        };
        self.metrics.kube_request(verb, kind, outcome);
        result
    }
}

impl From<kube::Error> for KubeError {
    fn from(error: kube::Error) -> Self {
        match error {
            kube::Error::Api(status) if status.is_not_found() => Self::NotFound,
            kube::Error::Api(status) if status.is_conflict() => Self::Conflict,
            kube::Error::Api(status) => Self::Answer { code: status.code, message: status.message.clone() },
            error => Self::Unreachable(error.to_string()),
        }
    }
}

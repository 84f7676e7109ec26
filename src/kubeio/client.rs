//! The client all calls go through: no hidden retries, a deadline for each call, a count of each call.

use std::{future::Future, sync::Arc, time::Duration};

use kube::{Client, Config};
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::ops::{
    labels::{KubeKind, KubeOutcome, KubeVerb},
    metrics::Metrics,
};

/// Longest a call to the API server may take; without it a half-open connection would hold a pass until its own deadline.
const CALL_TIMEOUT: Duration = Duration::from_secs(10);

/// How much longer than a watch lasts a connection may be silent. More than the 5 s after which kube-runtime gives a
/// silent watch up, and than [`CALL_TIMEOUT`], so that it ends only what has no other end: a list or a watch whose request
/// is never answered.
const SILENCE_BEYOND_A_WATCH: Duration = Duration::from_secs(15);

/// Calls at once. Beyond this an API server answers later, not more (measured: flat from 8; a PATCH takes three times as
/// long at 32, ten times at 128), and whoever is in a hurry waits behind all of them there, where nobody is fair.
const CALLS: usize = 16;

/// Calls at once on top of those, for whoever does not wait behind the others.
const URGENT_CALLS: usize = 8;

/// How many of [`CALLS`] may be for those who keep nobody waiting. All others at an instance wait for whoever has the turn
/// there, and would wait for its calls to get past many that only write down what is done.
const UNHURRIED_CALLS: usize = CALLS / 2;

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
    haste: Haste,
    /// First come, first served; those who may come at all are few, and chosen fairly.
    room: Arc<Room>,
}

/// Whom a call keeps waiting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Haste {
    /// Somebody whose login fails until it is made.
    Urgent,
    /// All who wait for their turn at an instance.
    Turn,
    /// Nobody else.
    None,
}

/// Room for so many calls at once.
struct Room {
    calls: Semaphore,
    urgent: Semaphore,
    unhurried: Semaphore,
}

impl Kube {
    /// Connects as the environment says: `KUBECONFIG`, or the pod's ServiceAccount. No watch lasts longer than
    /// `watch_timeout`.
    pub async fn connect(metrics: Arc<Metrics>, watch_timeout: Duration) -> Result<Self, KubeError> {
        let config = Config::infer().await.map_err(|error| KubeError::Unreachable(error.to_string()))?;
        let client = Client::try_from(bounded(config, watch_timeout + SILENCE_BEYOND_A_WATCH))
            .map_err(|error| KubeError::Unreachable(error.to_string()))?;
        Ok(Self { client, metrics, haste: Haste::None, room: Arc::default() })
    }

    /// For calls that wait behind no calls of less haste.
    #[must_use]
    pub fn with(&self, haste: Haste) -> Self {
        Self { haste, ..self.clone() }
    }

    /// Makes one call under the deadline and counts it.
    pub(super) async fn call<T>(
        &self,
        verb: KubeVerb,
        kind: KubeKind,
        call: impl Future<Output = Result<T, kube::Error>>,
    ) -> Result<T, KubeError> {
        let permits = self.room.enter(self.haste).await;
        let result = match tokio::time::timeout(CALL_TIMEOUT, call).await {
            Ok(result) => result.map_err(KubeError::from),
            Err(_) => Err(KubeError::Unreachable(format!("no answer within {} s", CALL_TIMEOUT.as_secs()))),
        };
        drop(permits);
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

impl Default for Room {
    fn default() -> Self {
        let [calls, urgent, unhurried] = [CALLS, URGENT_CALLS, UNHURRIED_CALLS].map(Semaphore::new);
        Self { calls, urgent, unhurried }
    }
}

impl Room {
    /// Waits for room. Never closed; and a call without a permit would still be right.
    async fn enter(&self, haste: Haste) -> [Option<SemaphorePermit<'_>>; 2] {
        match haste {
            Haste::Urgent => [self.urgent.acquire().await.ok(), None],
            Haste::Turn => [self.calls.acquire().await.ok(), None],
            Haste::None => [self.unhurried.acquire().await.ok(), self.calls.acquire().await.ok()],
        }
    }
}

/// No hidden retries, and no connection that is silent for ever.
fn bounded(mut config: Config, silence: Duration) -> Config {
    // Our own requeue is the retry; the client's would repeat POST and PATCH up to 15 times inside one call.
    config.default_retry = false;
    config.read_timeout = Some(silence);
    // Else the time that a connection waited for its next request would count too.
    config.reset_reader_on_write = true;
    config
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

#[cfg(test)]
mod tests {
    use futures::FutureExt;
    use k8s_openapi::api::core::v1::Secret;
    use kube::{Api, api::ListParams};
    use tokio::net::TcpListener;

    use super::*;

    #[test]
    fn call_that_keeps_others_waiting_waits_behind_none_that_does_not() {
        let room = Room::default();
        let enter = |haste| room.enter(haste).now_or_never();
        let unhurried: Vec<_> = (0..UNHURRIED_CALLS).map(|_| enter(Haste::None).expect("room")).collect();
        assert!(enter(Haste::None).is_none());
        let holders: Vec<_> = (UNHURRIED_CALLS..CALLS).map(|_| enter(Haste::Turn).expect("room")).collect();
        assert!(enter(Haste::Turn).is_none());
        assert!(enter(Haste::Urgent).is_some());
        drop(unhurried);
        assert!(enter(Haste::Turn).is_some());
        drop(holders);
    }

    #[tokio::test]
    async fn list_that_is_never_answered_ends() {
        let silent = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = format!("http://{}", silent.local_addr().expect("an address"));
        let config = Config::new(address.parse().expect("an address"));
        let client = Client::try_from(bounded(config, Duration::from_millis(200))).expect("a client");
        let api: Api<Secret> = Api::all(client);
        let parameters = ListParams::default();
        let listed = tokio::time::timeout(Duration::from_secs(30), api.list(&parameters)).await;
        assert!(listed.expect("it ends").is_err());
    }
}

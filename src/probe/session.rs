//! What all questions of one probe have in common: the pace of calls, and the wish to stop.

use std::{sync::Arc, time::Duration};

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::provider::connection::Credential;

/// One probe of one instance.
pub struct Session {
    /// The credential, whose budget every call waits for.
    pub credential: Arc<Credential>,
    /// `--job-poll-interval`
    pub job_poll_interval: Duration,
    /// `--job-timeout`
    pub job_timeout: Duration,
    /// Cancelled by SIGINT and SIGTERM.
    pub stop: CancellationToken,
    /// Whether test accounts may be made.
    pub create_test_account: bool,
}

impl Session {
    /// Waits until the budget admits a call.
    pub async fn admitted(&self) {
        while let Err(at) = self.credential.budget.admit(Instant::now()) {
            tokio::time::sleep_until(at).await;
        }
    }

    /// Whether no further question may be asked.
    pub fn stopped(&self) -> bool {
        self.stop.is_cancelled()
    }
}

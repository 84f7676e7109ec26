//! `probe`: asks a real cloud account what the vendors' documentation leaves open.
//!
//! Reads only, unless it is told that it may make test accounts; those are removed whatever happens.

mod account;
mod huaweicloud;
mod qingcloud;
mod session;
mod source;
mod table;

use std::{collections::HashSet, path::PathBuf, time::Duration};

use reqwest::Certificate;
use serde::Serialize;
use tokio_util::sync::CancellationToken;
use zeroize::Zeroizing;

pub use source::{VARIABLES, Wanted};
pub use table::{Row, Table};

use crate::{
    domain::{
        operator_key::OperatorKey,
        origin::Origin,
        target::{Unusable, target},
    },
    provider::{
        budget::Rate,
        contract::{Cloud, CloudError, ProviderKind},
        fleet::{ConnectError, Fleet, FleetSettings, Rates, Reached},
        http::Transport,
    },
};
use account::TestAccounts;
use session::Session;

/// What to probe, and how. Each is a flag.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The instance.
    pub instance: Wanted,
    /// Folder with the credentials, one file a key.
    pub credentials: Option<PathBuf>,
    /// Whether test accounts may be made.
    pub create_test_account: bool,
    /// Origins that an override may name.
    pub allowed_endpoints: HashSet<Origin>,
    /// Roots trusted beside the system's.
    pub extra_roots: Vec<Certificate>,
    /// Time limit of one call.
    pub call_timeout: Duration,
    /// Interval at which jobs are asked for.
    pub job_poll_interval: Duration,
    /// How long a job may take.
    pub job_timeout: Duration,
    /// Call budget of a QingCloud credential.
    pub qingcloud_rate: Rate,
    /// Call budget of a Huawei Cloud credential.
    pub huaweicloud_rate: Rate,
}

/// The answers.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Which cloud.
    pub provider: ProviderKind,
    /// Which instance, as in `status.instanceKey`.
    pub instance: String,
    /// The questions.
    #[serde(flatten)]
    pub table: Table,
    /// Not all questions were asked: the probe was stopped.
    pub stopped: bool,
    /// Test accounts that could not be removed.
    pub left_behind: Vec<String>,
}

/// Why nothing could be asked.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    /// There is no usable instance object.
    #[error("instance: {0}")]
    Instance(String),
    /// There are no usable credentials.
    #[error("credentials: {0}")]
    Credentials(String),
    /// The cloud does not let the instance be read.
    #[error("the instance cannot be read: {0}")]
    Cloud(CloudError),
}

/// Asks all questions. `stop` ends it after the running call; test accounts are removed before it returns.
pub async fn run(settings: Settings, stop: CancellationToken) -> Result<Report, ProbeError> {
    let (spec, credentials) = source::read(&settings).await?;
    let block =
        spec.provider().ok_or_else(|| ProbeError::Instance("it needs exactly one provider block".to_owned()))?;
    let target = target(block, &settings.allowed_endpoints).map_err(|unusable| match unusable {
        Unusable::InvalidSpec(message) | Unusable::NotAllowed(message) => ProbeError::Instance(message),
    })?;
    let fleet = Fleet::new(fleet_settings(&settings));
    // Digests of this process compare with nobody else's.
    let key = OperatorKey::new(Zeroizing::new(rand::random()));
    let (credential, reached) =
        fleet.reach(&target, &|name| credentials.get(name).cloned(), &key).map_err(|error| match error {
            ConnectError::Credentials(what) => ProbeError::Credentials(what),
            ConnectError::Tls(error) => ProbeError::Cloud(error),
        })?;
    let session = Session {
        credential,
        job_poll_interval: settings.job_poll_interval,
        job_timeout: settings.job_timeout,
        stop,
        create_test_account: settings.create_test_account,
    };
    let cloud: &dyn Cloud = match &reached {
        Reached::QingCloud(cluster) => cluster,
        Reached::HuaweiCloud(instance) => instance,
    };
    session.admitted().await;
    cloud.read_instance().await.map_err(ProbeError::Cloud)?;

    let mut table = Table::default();
    let mut accounts = TestAccounts::new(&session, cloud);
    match &reached {
        Reached::QingCloud(cluster) => {
            qingcloud::read(&session, cluster, &mut table).await;
            if !session.stopped() {
                qingcloud::change(&session, cluster, &mut accounts, &mut table).await;
            }
        }
        Reached::HuaweiCloud(instance) => {
            huaweicloud::read(&session, instance, &mut table).await;
            if !session.stopped() {
                huaweicloud::change(&session, instance, &mut accounts, &mut table).await;
            }
        }
    }
    let left_behind = accounts.remove_all().await.iter().map(ToString::to_string).collect();
    Ok(Report {
        provider: block.kind(),
        instance: block.instance_key().to_string(),
        table,
        stopped: session.stopped(),
        left_behind,
    })
}

fn fleet_settings(settings: &Settings) -> FleetSettings {
    FleetSettings {
        transport: Transport {
            call_timeout: settings.call_timeout,
            extra_roots: settings.extra_roots.clone(),
            observer: std::sync::Arc::new(|_| {}),
        },
        rates: Rates { qingcloud: settings.qingcloud_rate, huaweicloud: settings.huaweicloud_rate },
        // A probe deletes only what it made.
        max_deletes: None,
        job_poll_interval: settings.job_poll_interval,
        job_timeout: settings.job_timeout,
        retry_min: Duration::from_secs(1),
        retry_max: Duration::from_secs(60),
    }
}

impl Report {
    /// For people.
    pub fn to_text(&self) -> String {
        format!("{} {}\n\n{}", self.provider, self.instance, self.table.to_text())
    }
}

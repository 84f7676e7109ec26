//! The state all ports share, and the one lock that orders whatever happens to it.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tokio::sync::watch;

use crate::{
    clock::Clock,
    database::{Database, DatabaseAccount},
    faults::{Faults, JobFate},
    hold::HoldPoint,
    huawei, iam,
    ledger::{Effect, Event, Ledger, Operation},
    qingcloud,
    switches::Switches,
};

/// How long things take on the clouds' clock.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Timing {
    /// Life of a QingCloud job, a twelfth of it `pending`. Seen once at the real cloud: 6 s. Default 200 ms.
    #[serde(with = "milliseconds")]
    pub job_duration: Duration,
    /// How long a new QingCloud job is missing from `DescribeJobs`. Default 0.
    #[serde(with = "milliseconds")]
    pub job_visible_after: Duration,
    /// How long Huawei Cloud's list shows the state before a change. Default 0.
    #[serde(with = "milliseconds")]
    pub list_lag: Duration,
    /// How long a write takes at Huawei Cloud; its effect comes at the end. Default 0.
    #[serde(with = "milliseconds")]
    pub write_duration: Duration,
    /// Life of a token. Default 24 hours.
    #[serde(with = "milliseconds")]
    pub token_life: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            job_duration: Duration::from_millis(200),
            job_visible_after: Duration::ZERO,
            list_lag: Duration::ZERO,
            write_duration: Duration::ZERO,
            token_life: Duration::from_secs(24 * 60 * 60),
        }
    }
}

/// Durations are whole milliseconds in JSON.
mod milliseconds {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        u64::deserialize(deserializer).map(Duration::from_millis)
    }
}

/// How many calls one credential may make.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Limits {
    /// Calls an access key in a sliding hour at QingCloud; beyond it 2500. Default 2000, as documented.
    pub qingcloud_calls_per_hour: usize,
    /// Calls a credential in a sliding minute at Huawei Cloud; beyond it APIGW.0308. Not published: no limit by default.
    pub huawei_calls_per_minute: Option<usize>,
}

impl Default for Limits {
    fn default() -> Self {
        Self { qingcloud_calls_per_hour: 2000, huawei_calls_per_minute: None }
    }
}

/// Counts the calls of one credential in a sliding window.
#[derive(Default)]
pub(crate) struct CallWindow(VecDeque<Timestamp>);

impl CallWindow {
    /// Counts this call; false where it is one too many (it is then not counted).
    pub(crate) fn admit(&mut self, now: Timestamp, window: Duration, limit: usize) -> bool {
        while self.0.front().is_some_and(|first| *first + window <= now) {
            self.0.pop_front();
        }
        let admitted = self.0.len() < limit;
        if admitted {
            self.0.push_back(now);
        }
        admitted
    }
}

/// Everything the lock guards.
pub(crate) struct World {
    pub(crate) ledger: Ledger,
    pub(crate) switches: Switches,
    pub(crate) timing: Timing,
    pub(crate) limits: Limits,
    pub(crate) faults: Faults,
    pub(crate) holds: Vec<HoldPoint>,
    pub(crate) job_fates: VecDeque<(Operation, JobFate)>,
    pub(crate) qingcloud: qingcloud::State,
    pub(crate) huawei: huawei::State,
    pub(crate) iam: iam::State,
}

/// One emulation, shared by its ports and its handle.
pub(crate) struct Shared {
    world: Mutex<World>,
    pub(crate) clock: Clock,
    pub(crate) database: Option<Arc<dyn Database>>,
    /// One change of accounts at a time: check, database and state belong together.
    pub(crate) effects: tokio::sync::Mutex<()>,
    /// Counts up with every entry of the ledger.
    pub(crate) changed: watch::Sender<u64>,
    /// Counts up when faults are cleared: whatever hangs goes on.
    pub(crate) released: watch::Sender<u64>,
    pub(crate) stopped: watch::Sender<bool>,
    salt: [u8; 16],
}

impl Shared {
    pub(crate) fn new(
        clock: Clock,
        database: Option<Arc<dyn Database>>,
        switches: Switches,
        timing: Timing,
        limits: Limits,
        salt: [u8; 16],
    ) -> Self {
        Self {
            world: Mutex::new(World {
                ledger: Ledger::default(),
                switches,
                timing,
                limits,
                faults: Faults::default(),
                holds: Vec::new(),
                job_fates: VecDeque::new(),
                qingcloud: qingcloud::State::default(),
                huawei: huawei::State::default(),
                iam: iam::State::default(),
            }),
            clock,
            database,
            effects: tokio::sync::Mutex::new(()),
            changed: watch::Sender::new(0),
            released: watch::Sender::new(0),
            stopped: watch::Sender::new(false),
            salt,
        }
    }

    /// The state. A test that panicked while holding it must not hide the others' results.
    pub(crate) fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds an entry to the ledger.
    pub(crate) fn record(&self, world: &mut World, event: Event) -> u64 {
        let sequence = world.ledger.append(self.clock.now(), event);
        self.changed.send_modify(|count| *count = sequence + 1);
        sequence
    }

    pub(crate) fn record_effect(&self, world: &mut World, effect: Effect) {
        self.record(world, Event::Effect(effect));
    }

    /// What stands for a password wherever it may be seen.
    pub(crate) fn digest(&self, password: &str) -> String {
        hex::encode(Sha256::new().chain_update(self.salt).chain_update(password).finalize())
    }

    pub(crate) async fn put_in_database(&self, account: DatabaseAccount) -> Result<(), String> {
        match &self.database {
            Some(database) => database.put(account).await,
            None => Ok(()),
        }
    }

    pub(crate) async fn remove_from_database(&self, name: &str) -> Result<(), String> {
        match &self.database {
            Some(database) => database.remove(name).await,
            None => Ok(()),
        }
    }

    /// Returns once the emulation is dropped.
    pub(crate) async fn until_stopped(&self) {
        let mut stopped = self.stopped.subscribe();
        // An error says that the sender is gone, which is the same.
        let _ = stopped.wait_for(|stopped| *stopped).await;
    }
}

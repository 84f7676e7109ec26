//! One emulation with one cloud in it, and the calls that proofs make.

use std::{
    cell::OnceCell,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use clickhouse_user_operator::{
    domain::{
        names::{AttemptId, InstanceKey, JobId, Username},
        operator_key::{KEY_BYTES, OperatorKey},
        secret::SecretText,
    },
    provider::{
        budget::Rate,
        connection::{Connection, Reading},
        contract::{
            Accepted, Access, Account, CallError, CallKind, CloudError, Delay, ErrorClass, JobSeen, JobState, LostCall,
            Mutation, NewAccount,
        },
        fleet::{Fleet, FleetSettings, Rates, Target},
        http::Transport,
    },
};
use emulated_clouds::{
    AccountAccess, AccountView, EmulatedClouds, Event, Ledger, Limits, Operation, Options, Seed, Switches, Timing,
};
use jiff::Timestamp;
use zeroize::Zeroizing;

use crate::{
    leaks,
    subjects::{Place, Subject, Who},
};

/// A password that both clouds take.
pub const PASSWORD: &str = "Canary^Pass*word+1@";

/// Another one.
pub const OTHER_PASSWORD: &str = "Canary^Other*one+2@";

/// Nothing here takes longer, however busy the machine is.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Life of a job: short, so that following one to its end is quick.
const JOB_DURATION: Duration = Duration::from_millis(12);

/// How a changing call ended, its job included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// In force.
    Done,
    /// Accepted, and its job failed.
    JobFailed,
    /// Refused for certain.
    Refused(ErrorClass),
    /// Nobody knows.
    Unknown,
}

/// One emulation with one cloud in it.
pub struct World {
    pub subject: &'static dyn Subject,
    pub clouds: EmulatedClouds,
    pub fleet: Fleet,
    /// Leads to connections that know nothing of the calls made through the other.
    readers: Fleet,
    call_timeout: Duration,
    /// Keeps the HTTP client, which is slow to make; connections come and go.
    kept: OnceCell<Arc<Connection>>,
    /// The same for the readers.
    reader_kept: OnceCell<Arc<Connection>>,
    attempts: AtomicU32,
}

/// Settings under which nothing of ours delays a call: the raw calls are what is looked at.
pub fn unhindered() -> FleetSettings {
    let rate = Rate { per_second: 1e6, burst: 1_000_000 };
    let moment = Duration::from_millis(1);
    FleetSettings {
        transport: Transport { call_timeout: PATIENCE, extra_roots: Vec::new(), observer: Arc::new(|_| {}) },
        rates: Rates { qingcloud: rate, huaweicloud: rate },
        max_deletes: None,
        job_poll_interval: moment,
        job_timeout: PATIENCE,
        retry_min: moment,
        retry_max: moment,
    }
}

impl World {
    pub async fn start(subject: &'static dyn Subject, switches: Switches, settings: FleetSettings) -> Self {
        let clouds = EmulatedClouds::start(Options::default()).await.expect("free ports");
        let timing = Timing { job_duration: JOB_DURATION, ..Timing::default() };
        let limits = Limits { qingcloud_calls_per_hour: 1_000_000, huawei_calls_per_minute: None };
        clouds.seed(Seed { switches, timing, limits, ..subject.seed() });
        let call_timeout = settings.transport.call_timeout;
        let (fleet, readers) = (Fleet::new(settings), Fleet::new(unhindered()));
        let (kept, reader_kept, attempts) = (OnceCell::new(), OnceCell::new(), AtomicU32::default());
        Self { subject, clouds, fleet, readers, call_timeout, kept, reader_kept, attempts }
    }

    /// The connection that all users of this credential and instance share.
    pub fn connect(&self, place: Place, who: Who) -> Arc<Connection> {
        self.kept.get_or_init(|| self.connect_by(&self.fleet, Place::Ours(9), Who::Us));
        self.connect_by(&self.fleet, place, who)
    }

    /// The same through another fleet.
    pub fn connect_by(&self, fleet: &Fleet, place: Place, who: Who) -> Arc<Connection> {
        self.connect_to(fleet, &self.subject.target(&self.clouds, place), place, who)
    }

    /// The same by another target.
    pub fn connect_to(&self, fleet: &Fleet, target: &Target, place: Place, who: Who) -> Arc<Connection> {
        let values = self.subject.credential(who);
        let value = |key: &str| values.iter().find(|(name, _)| *name == key).map(|(_, value)| SecretText::new(value));
        let key = InstanceKey::new(self.subject.instance(place));
        let operator_key = OperatorKey::new(Zeroizing::new([7; KEY_BYTES]));
        fleet.connect(target, &key, &value, &operator_key).expect("a connection")
    }

    /// The longest time of a call.
    pub fn call_timeout(&self) -> Duration {
        self.call_timeout
    }

    /// Whether calls carry a token that a login gives.
    pub fn logs_in(&self) -> bool {
        self.subject.credential(Who::Us).iter().any(|(name, _)| *name == "password")
    }

    /// An attempt that no call has had.
    pub fn attempt(&self) -> AttemptId {
        AttemptId::new(format!("{:032x}", self.attempts.fetch_add(1, Ordering::Relaxed)))
    }

    /// The accounts of our first instance, as they are.
    pub fn account(&self, username: &str) -> Option<AccountView> {
        self.clouds.accounts(&self.subject.instance(Place::Ours(0))).remove(username)
    }

    /// What an account is to look like.
    pub fn view(&self, password: &str, access: &AccountAccess) -> AccountView {
        AccountView { password_digest: self.clouds.password_digest(password), access: access.clone() }
    }

    /// Puts an account there by the console.
    pub async fn given(&self, username: &str) -> AccountView {
        let (_, access) = self.subject.access(false);
        let instance = self.subject.instance(Place::Ours(0));
        self.clouds.put_account(&instance, username, PASSWORD, access).await.expect("an account");
        self.account(username).expect("it is there")
    }

    /// Makes a changing call of this kind: with the first access and password where it creates, else with the others.
    pub async fn change(&self, connection: &Connection, kind: CallKind, username: &str) -> (AttemptId, Mutation) {
        let attempt = self.attempt();
        let name = Username::new(username);
        let outcome = match kind {
            CallKind::Create => create(connection, &attempt, username, PASSWORD, &self.subject.access(false).0).await,
            CallKind::SetPassword => connection.set_password(&attempt, &name, &SecretText::new(OTHER_PASSWORD)).await,
            CallKind::SetAccess => connection.set_access(&attempt, &name, &self.subject.access(true).0).await,
            CallKind::Delete => connection.delete(&attempt, &name, true).await,
        };
        leaks::assert_clean(&format!("{outcome:?}"));
        if let Err(CallError::NotApplied(error) | CallError::Unknown(error)) = &outcome {
            leaks::assert_clean(&error.to_string());
        }
        (attempt, outcome)
    }

    /// How a changing call ended, its job followed to its end.
    pub async fn end(&self, connection: &Connection, outcome: Mutation) -> End {
        match outcome {
            Ok(Accepted::Done) => End::Done,
            Ok(Accepted::Job(job)) => match self.follow(connection, &job).await {
                JobState::Succeeded => End::Done,
                JobState::Failed(_) => End::JobFailed,
                JobState::Running => panic!("job {job} has ended and is shown as running"),
            },
            Err(CallError::NotApplied(error)) => End::Refused(error.class),
            Err(CallError::Unknown(_)) => End::Unknown,
        }
    }

    /// Returns once every job that was accepted has ended, whether or not its answer arrived.
    pub async fn jobs_have_ended(&self) {
        let accepted = |ledger: &Ledger| {
            let of = |operation| ledger.answers(operation).filter(|answer| answer.code.as_deref() == Some("0")).count();
            of(Operation::AddCkUser) + of(Operation::DelCkUser)
        };
        self.clouds.wait_until(|ledger| accepted(ledger) == jobs_ended(ledger), PATIENCE).await.expect("jobs end");
    }

    async fn follow(&self, connection: &Connection, id: &JobId) -> JobState {
        let ended = |event: &Event| matches!(event, Event::JobEnded { job, .. } if job == id.as_str());
        self.clouds
            .wait_until(|ledger| ledger.entries().iter().any(|entry| ended(&entry.event)), PATIENCE)
            .await
            .expect("the job ends");
        loop {
            match connection.job(id).await {
                Ok(JobSeen::Found(job)) if job.state == JobState::Running => {
                    // The last look was a moment too early; it is shared for half of the poll interval.
                    tokio::task::yield_now().await;
                }
                Ok(JobSeen::Found(job)) => return job.state,
                other => panic!("job {id}: {other:?}"),
            }
        }
    }

    /// Whether a call whose answer was lost took effect, by the read that the contract offers for it; `None` for a
    /// password, which no cloud shows.
    pub async fn effect_shown(
        &self,
        kind: CallKind,
        attempt: &AttemptId,
        username: &str,
        since: Timestamp,
    ) -> Result<Option<bool>, Delay> {
        let connection = self.reader();
        let username = Username::new(username);
        if self.subject.capabilities().list {
            let account = connection.account(&username, since).await?.account;
            return Ok(match kind {
                CallKind::Create => Some(account.is_some()),
                CallKind::Delete => Some(account.is_none()),
                CallKind::SetAccess => Some(account.is_some_and(|it| *it.access == self.subject.access(true).0)),
                CallKind::SetPassword => None,
            });
        }
        let lost = LostCall { attempt: attempt.clone(), kind, username, since };
        match connection.find_job(&lost).await? {
            JobSeen::NotFound => Ok(Some(false)),
            JobSeen::Found(job) => Ok(Some(self.follow(&connection, &job.id).await == JobState::Succeeded)),
        }
    }

    /// The accounts a fresh reading shows, where the cloud can list them.
    pub async fn listed(&self) -> Result<Option<Vec<Account>>, CloudError> {
        read(&self.reader()).await.map(|reading| reading.instance.accounts.clone())
    }

    /// A connection that has read nothing and knows nothing of our own calls.
    pub fn reader(&self) -> Arc<Connection> {
        self.reader_kept.get_or_init(|| self.connect_by(&self.readers, Place::Ours(9), Who::Us));
        self.connect_by(&self.readers, Place::Ours(0), Who::Us)
    }
}

/// How many jobs have ended.
pub fn jobs_ended(ledger: &Ledger) -> usize {
    ledger.entries().iter().filter(|entry| matches!(entry.event, Event::JobEnded { .. })).count()
}

/// Creates an account.
pub async fn create(
    connection: &Connection,
    attempt: &AttemptId,
    username: &str,
    password: &str,
    access: &Access,
) -> Mutation {
    let (username, password) = (Username::new(username), SecretText::new(password));
    let outcome = connection.create(attempt, NewAccount { username: &username, password: &password, access }).await;
    leaks::assert_clean(&format!("{outcome:?}"));
    outcome
}

/// Reads the instance, whatever was read before.
pub async fn read(connection: &Connection) -> Result<Arc<Reading>, CloudError> {
    let asked_from = Timestamp::now();
    patiently(async || connection.reading(asked_from).await).await
}

/// Asks again at each time that is named, until the cloud was asked.
pub async fn patiently<T>(ask: impl AsyncFn() -> Result<T, Delay>) -> Result<T, CloudError> {
    loop {
        match ask().await {
            Ok(answer) => return Ok(answer),
            Err(Delay::Failed(error)) => {
                leaks::assert_clean(&format!("{error} {error:?}"));
                return Err(error);
            }
            Err(Delay::NotBefore(at)) => until(at).await,
        }
    }
}

/// Returns at the time that was named.
pub async fn until(at: Timestamp) {
    let left = at.duration_since(Timestamp::now());
    assert!(left < jiff::SignedDuration::try_from(PATIENCE).expect("a few seconds"), "held back for {left}");
    tokio::time::sleep(left.try_into().unwrap_or_default()).await;
}

//! One cloud instance seen through one credential, with everything its users share: call budget, breaker, account
//! list, job looks and the instance's queue.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use jiff::Timestamp;
use tokio::time::Instant;

use super::{
    breaker::Breaker,
    budget::Budget,
    contract::{
        Accepted, Access, Account, AccountSeen, CallError, CallKind, Cloud, CloudError, Delay, ErrorClass,
        InstanceReading, JobSeen, JobState, LostCall, Mutation, NewAccount, ProviderKind, Turn,
    },
    delete_limit::DeleteLimit,
    jobs::JobBoard,
    queue::{Queue, Waiter},
};
use crate::domain::{
    names::{AttemptId, InstanceKey, JobId, Username},
    secret::SecretText,
};
use crate::seeded::{Bug, seeded};

/// A list is not asked for again before it is this old, however many users want a newer one.
const LIST_SHARED_FOR: Duration = Duration::from_secs(5);

/// What our own confirmed calls changed up to this long before a list was asked is laid over it (assumed upper bound
/// of the cloud's lag; nothing is published).
const LIST_LAG: Duration = Duration::from_secs(15);

/// An instance that the cloud calls busy is looked at again after as long as it has been busy, within these bounds: the
/// account jobs seen take seconds, a migration or a backup may take an hour, and looks spend the credential's quota.
const BUSY_LOOKS: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(60));

/// What all instances used through one credential at one endpoint share.
pub struct Credential {
    /// At which cloud.
    pub provider: ProviderKind,
    /// Keyed digest of the credential and its endpoint.
    pub digest: String,
    /// Its call budget.
    pub budget: Arc<Budget>,
    /// Its breaker.
    pub breaker: Breaker,
    /// Looks at jobs, by the scope in which one call can ask for many.
    boards: tokio::sync::Mutex<HashMap<String, Arc<JobBoard>>>,
    /// No pause that a cloud asks for is longer.
    longest_pause: Duration,
}

impl Credential {
    /// State for a credential that nobody has used yet.
    pub fn new(
        provider: ProviderKind,
        digest: String,
        budget: Arc<Budget>,
        breaker: Breaker,
        longest_pause: Duration,
    ) -> Self {
        Self { provider, digest, budget, breaker, boards: tokio::sync::Mutex::default(), longest_pause }
    }
}

/// One cloud instance seen through one credential.
pub struct Connection {
    /// Which cloud.
    pub provider: ProviderKind,
    /// Which instance.
    pub key: InstanceKey,
    /// The credential it is seen through.
    pub credential: Arc<Credential>,
    /// The instance's queue, shared with every other way to the same instance.
    pub queue: Arc<Queue>,
    /// Slows mass deletion on the instance, shared likewise.
    deletes: Arc<DeleteLimit>,
    cloud: Box<dyn Cloud>,
    /// The last reading; whoever holds the lock fetches, the others wait for what it gets.
    reading: tokio::sync::Mutex<Option<Arc<Reading>>>,
    /// What our own confirmed calls changed, and when.
    changes: Mutex<HashMap<Username, (Timestamp, Option<Account>)>>,
    /// Since when the cloud has called the instance busy, and until when that is believed.
    busy: Mutex<Option<(Timestamp, Timestamp)>>,
    job_poll_interval: Duration,
    /// How far a list may lag behind our own calls.
    list_lag: Duration,
}

/// What a read of the instance showed, and for which moment it speaks.
pub struct Reading {
    /// When its first page was asked.
    pub asked_at: Timestamp,
    /// What it showed.
    pub instance: InstanceReading,
}

impl Connection {
    /// A connection that has read nothing yet.
    pub fn new(
        provider: ProviderKind,
        key: InstanceKey,
        credential: Arc<Credential>,
        (queue, deletes): (Arc<Queue>, Arc<DeleteLimit>),
        cloud: Box<dyn Cloud>,
        job_poll_interval: Duration,
    ) -> Self {
        Self {
            provider,
            key,
            credential,
            queue,
            deletes,
            cloud,
            reading: tokio::sync::Mutex::default(),
            changes: Mutex::default(),
            busy: Mutex::default(),
            job_poll_interval,
            list_lag: LIST_LAG,
        }
    }

    /// With lists that are believed sooner: nothing is in doubt longer than a job may take.
    #[must_use]
    pub fn with_list_lag_at_most(mut self, longest: Duration) -> Self {
        self.list_lag = self.list_lag.min(longest);
        self
    }

    /// Reads the instance, or hands out a reading asked at or after `asked_from`.
    pub async fn reading(&self, asked_from: Timestamp) -> Result<Arc<Reading>, Delay> {
        let mut last = self.reading.lock().await;
        let now = Timestamp::now();
        if let Some(reading) = last.as_ref() {
            if reading.asked_at >= asked_from {
                return Ok(reading.clone());
            }
            let shared_until = reading.asked_at + LIST_SHARED_FOR;
            if now < shared_until {
                return Err(Delay::NotBefore(shared_until));
            }
        }
        self.admit_read()?;
        let mut instance = self.noted(self.cloud.read_instance().await)?;
        if let Some(accounts) = &mut instance.accounts {
            // So that each of many users finds its own without reading them all.
            accounts.sort_by(|one, other| one.username.cmp(&other.username));
            share_access(accounts);
        }
        self.note_busy(instance.busy, now);
        let reading = Arc::new(Reading { asked_at: now, instance });
        *last = Some(reading.clone());
        drop(last);
        self.changes().retain(|_, (at, _)| *at + self.list_lag > now);
        Ok(reading)
    }

    /// Looks one account up in a list asked at or after `asked_from`.
    pub async fn account(&self, username: &Username, asked_from: Timestamp) -> Result<AccountSeen, Delay> {
        let reading = self.reading(asked_from).await?;
        Ok(self.seen_in(&reading, username))
    }

    /// Looks one account up in the last list, whatever its age and without a call. `None`: there is none, or one is just
    /// being read, or the cloud has none.
    pub fn listed(&self, username: &Username) -> Option<AccountSeen> {
        let last = self.reading.try_lock().ok()?;
        let reading = last.as_ref().filter(|reading| reading.instance.accounts.is_some())?;
        Some(self.seen_in(reading, username))
    }

    /// When the last list was asked; `None` as with [`Connection::listed`].
    pub fn listed_at(&self) -> Option<Timestamp> {
        let last = self.reading.try_lock().ok()?;
        last.as_ref().filter(|reading| reading.instance.accounts.is_some()).map(|reading| reading.asked_at)
    }

    fn seen_in(&self, reading: &Reading, username: &Username) -> AccountSeen {
        let overlaid = match self.changes().get(username) {
            Some((at, account)) if *at + self.list_lag >= reading.asked_at => Some(account.clone()),
            _ => None,
        };
        let listed = || {
            let accounts = reading.instance.accounts.as_ref()?;
            let place = accounts.binary_search_by(|it| it.username.cmp(username)).ok()?;
            accounts.get(place).cloned()
        };
        AccountSeen { asked_at: reading.asked_at, account: overlaid.unwrap_or_else(listed) }
    }

    /// Looks at a job, together with every other open job of the credential.
    pub async fn job(&self, id: &JobId) -> Result<JobSeen, Delay> {
        let board = self.board().await;
        let looked = board
            .look(
                id,
                self.job_poll_interval,
                || self.admit_read(),
                |ids| async move { self.noted(self.cloud.jobs(&ids).await) },
            )
            .await?;
        if looked.as_ref().is_some_and(|job| job.state != JobState::Running) {
            // A look at the instance in the meantime showed it busy with this.
            *self.busy() = None;
        }
        Ok(looked.map_or(JobSeen::NotFound, JobSeen::Found))
    }

    /// Looks for the job of a call whose answer was lost.
    pub async fn find_job(&self, lost: &LostCall) -> Result<JobSeen, Delay> {
        self.admit_read()?;
        let found = self.noted(self.cloud.find_job(lost).await)?;
        Ok(found.map_or(JobSeen::NotFound, JobSeen::Found))
    }

    /// Whether a change of this kind may be made now. An instance known to be busy is sent none until a look shows it idle.
    pub async fn take_turn(&self, kind: CallKind, waiter: &Waiter) -> Turn {
        // Whoever cannot read the instance has no place in its queue.
        if self.reading.lock().await.is_none() {
            match self.reading(Timestamp::now()).await {
                Ok(_) => {}
                Err(Delay::NotBefore(at)) => return Turn::NotBefore(at),
                Err(Delay::Failed(_)) => return Turn::NotBefore(Timestamp::now() + LIST_SHARED_FOR),
            }
        }
        if self.credential.breaker.is_open() {
            // A change must not be the probe, and where nobody has anything to read none would ever start again. The
            // breaker lets this through once it is half open; what comes of it, the breaker knows.
            let _ = self.reading(Timestamp::now()).await;
        }
        let now = Instant::now();
        let admitted = self.credential.breaker.admit_change(now).and_then(|()| self.credential.budget.admit(now));
        let limited = if kind == CallKind::Delete { self.deletes.admit(now) } else { Ok(()) };
        if let Err(at) = limited {
            return Turn::DeletionLimited(on_the_wall(at));
        }
        if admitted.is_ok()
            && let Some(until) = self.busy_until().await
        {
            return Turn::Busy(until);
        }
        match admitted {
            Err(at) => Turn::NotBefore(on_the_wall(at)),
            Ok(()) if self.queue.take(waiter, now) => Turn::Ours,
            Ok(()) => Turn::Waiting,
        }
    }

    /// Until when the instance is taken for busy; where that time is over, a look decides.
    async fn busy_until(&self) -> Option<Timestamp> {
        let (_, until) = (*self.busy())?;
        let now = Timestamp::now();
        if now < until {
            return Some(until);
        }
        match self.reading(now).await {
            Ok(_) => self.busy().map(|(_, until)| until),
            Err(Delay::NotBefore(at)) => Some(at),
            // Nothing was learnt. Who asked hears of the failure where it reads for itself.
            Err(Delay::Failed(_)) => Some(now + BUSY_LOOKS.0),
        }
    }

    /// Remembers what the cloud said at this time.
    fn note_busy(&self, busy: bool, at: Timestamp) {
        let mut known = self.busy();
        *known = busy.then(|| {
            let since = known.map_or(at, |(since, _)| since);
            let been_busy = at.duration_since(since).unsigned_abs();
            (since, at + been_busy.clamp(BUSY_LOOKS.0, BUSY_LOOKS.1))
        });
    }

    /// Creates an account.
    pub async fn create(&self, attempt: &AttemptId, account: NewAccount<'_>) -> Mutation {
        let made =
            Account { username: account.username.clone(), access: Arc::new(account.access.clone()), built_in: false };
        let outcome = self.cloud.create(attempt, account).await;
        self.changed(&made.username.clone(), Some(made), outcome).await
    }

    /// Removes an account; `counted` against `--max-deletes`.
    pub async fn delete(&self, attempt: &AttemptId, username: &Username, counted: bool) -> Mutation {
        let outcome = self.cloud.delete(attempt, username).await;
        if counted && !matches!(outcome, Err(CallError::NotApplied(_))) {
            self.deletes.count(Instant::now());
        }
        self.changed(username, None, outcome).await
    }

    /// Changes a password in place.
    pub async fn set_password(&self, attempt: &AttemptId, username: &Username, password: &SecretText) -> Mutation {
        self.noted_call(self.cloud.set_password(attempt, username, password).await)
    }

    /// Replaces databases and permission.
    pub async fn set_access(&self, attempt: &AttemptId, username: &Username, access: &Access) -> Mutation {
        let made = Account { username: username.clone(), access: Arc::new(access.clone()), built_in: false };
        let outcome = self.cloud.set_access(attempt, username, access).await;
        self.changed(username, Some(made), outcome).await
    }

    /// Remembers a change of ours that a list may not show yet, or the job that makes it.
    async fn changed(&self, username: &Username, now: Option<Account>, outcome: Mutation) -> Mutation {
        match &outcome {
            Ok(Accepted::Done) if seeded(Bug::OwnChangesForgotten) => {}
            Ok(Accepted::Done) => _ = self.changes().insert(username.clone(), (Timestamp::now(), now)),
            Ok(Accepted::Job(job)) => self.board().await.add(job).await,
            Err(_) => {}
        }
        self.noted_call(outcome)
    }

    async fn board(&self) -> Arc<JobBoard> {
        let mut boards = self.credential.boards.lock().await;
        boards.entry(self.cloud.job_scope().to_owned()).or_default().clone()
    }

    fn admit_read(&self) -> Result<(), Delay> {
        let now = Instant::now();
        let admitted = self.credential.budget.admit(now).and_then(|()| self.credential.breaker.admit_read(now));
        admitted.map_err(|at| Delay::NotBefore(on_the_wall(at)))
    }

    /// Tells breaker and budget what came of a read.
    fn noted<T>(&self, result: Result<T, CloudError>) -> Result<T, Delay> {
        match &result {
            Ok(_) => _ = self.credential.breaker.answered(),
            Err(error) => self.note_failure(error),
        }
        result.map_err(Delay::Failed)
    }

    fn noted_call(&self, outcome: Mutation) -> Mutation {
        match &outcome {
            Ok(_) => _ = self.credential.breaker.answered(),
            Err(CallError::NotApplied(error) | CallError::Unknown(error)) => {
                if error.class == ErrorClass::InstanceBusy {
                    self.note_busy(true, Timestamp::now());
                }
                self.note_failure(error);
            }
        }
        outcome
    }

    fn note_failure(&self, error: &CloudError) {
        let now = Instant::now();
        if error.class == ErrorClass::Unavailable {
            self.credential.breaker.failed(now);
        } else {
            self.credential.breaker.answered();
        }
        // Only what concerns the credential as a whole closes its budget; a busy instance does not.
        if let (ErrorClass::Throttled | ErrorClass::AccessDenied, Some(pause)) = (error.class, error.pause) {
            self.credential.budget.close_until(now + pause.min(self.credential.longest_pause));
        }
    }

    fn busy(&self) -> MutexGuard<'_, Option<(Timestamp, Timestamp)>> {
        self.busy.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn changes(&self) -> MutexGuard<'_, HashMap<Username, (Timestamp, Option<Account>)>> {
        self.changes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Keeps one copy of what many accounts have alike: a hundred thousand of them may.
fn share_access(accounts: &mut Vec<Account>) {
    let mut known: BTreeSet<Arc<Access>> = BTreeSet::new();
    for account in accounts.iter_mut() {
        match known.get(&account.access) {
            Some(access) => account.access = access.clone(),
            None => _ = known.insert(account.access.clone()),
        }
    }
    accounts.shrink_to_fit();
}

/// A monotonic time as wall-clock time, for those who plan in it.
fn on_the_wall(at: Instant) -> Timestamp {
    Timestamp::now() + at.saturating_duration_since(Instant::now())
}

#[cfg(test)]
mod tests;

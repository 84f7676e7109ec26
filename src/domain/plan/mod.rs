//! The whole policy of the operator: from what is desired and what was seen to the one next step.
//!
//! [`plan`] does no I/O and reads no clock. A pass calls it, performs the step it names, adds what was seen and calls
//! it again, until it settles. The files beside this one are the situations a user can be in: [`create`] (not ours
//! yet), [`adopt`] (somebody's, to become ours), [`settled`] (ours), [`recreate`] (ours, deleted to be added again),
//! [`delete`] (on its way out; [`delete_job`] where that fails). [`password`] and [`change`] are parts of [`settled`]; [`call`] is what all changing calls
//! have in common, [`attempt`] reads what became of one.

mod adopt;
mod attempt;
mod call;
mod change;
mod create;
mod delete;
mod delete_job;
mod password;
mod ready;
mod recreate;
mod settled;
#[cfg(test)]
mod tests;

pub(crate) use attempt::whole_seconds;

use std::time::Duration;

use jiff::Timestamp;

use super::{
    backoff,
    connection_secret::ConnectionSecret,
    desired::Desired,
    journal::{Intent, SecretVersion},
    names::{AttemptId, Fingerprint, JobId, KeyId},
    seen::{InstanceFacts, InstanceSeen, Seen},
};
use crate::seeded::{Bug, seeded};
use crate::{
    api::{
        conditions::{Companion, LoginOutcome, Reason},
        user::{Operation, OperationKind, OperationPhase, OperationState},
    },
    provider::contract::{Access, CallKind, CloudError, Delay, ErrorClass, LostCall, Refusal},
};

/// The settings that policy depends on; each is a flag of `run`.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `--job-poll-interval`
    pub job_poll_interval: Duration,
    /// `--job-timeout`
    pub job_timeout: Duration,
    /// `--retry-min`
    pub retry_min: Duration,
    /// `--retry-max`
    pub retry_max: Duration,
    /// `--orphan-after`
    pub orphan_after: Duration,
    /// `--connection-secrets`
    pub connection_secrets: bool,
}

/// What a plan may not fetch for itself: time, chance and history, handed in.
#[derive(Clone, Debug)]
pub struct Moment<'a> {
    /// The present time.
    pub now: Timestamp,
    /// When this process began to serve.
    pub started_at: Timestamp,
    /// A fresh attempt id, used if an intent is written in this pass.
    pub attempt: AttemptId,
    /// A random number in `0.0..1.0` that spreads retries.
    pub jitter: f64,
    /// How many passes in a row have failed for this user.
    pub failures: u32,
    /// The attempt whose last call was refused for certain, if this process heard that itself and has not made the call
    /// again since.
    pub refused: Option<AttemptId>,
    /// Since when passes of this user have ended in a wait of our own making.
    pub waiting_since: Option<Timestamp>,
    /// The next change of this user may not be made before: a Secret that flaps must not spend a shared quota.
    pub changeable_from: Option<Timestamp>,
    /// The operator key in use.
    pub key_id: KeyId,
    /// Flags.
    pub settings: &'a Settings,
}

/// The one next thing to do.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// Read the password Secret.
    ReadPassword,
    /// Look the account up in a list asked at or after this time.
    ReadAccount(Timestamp),
    /// Look at a job.
    ReadJob(JobId),
    /// Look for the job of a call whose answer was lost.
    FindJob(LostCall),
    /// Log in to ClickHouse as the account, with the password read in this pass.
    Login,
    /// Read the connection Secret and hold it against the one that should be there.
    ReadConnectionSecret {
        /// The one that should be there.
        wanted: Box<ConnectionSecret>,
        /// As in [`ConnectionSecret::compare`].
        exact: bool,
    },
    /// Create the connection Secret, or write over what was read, with the password read in this pass.
    WriteConnectionSecret {
        /// What it is to say.
        wanted: Box<ConnectionSecret>,
        /// Labels and annotations that are not asked for go.
        exact: bool,
    },
    /// Remove the Secret of this name, if it is this object's.
    RemoveConnectionSecret(String),
    /// Queue for the instance, and see whether the call budget allows a call.
    TakeTurn(CallKind),
    /// Put the finalizer `chuser.dev/in-use` on the instance object.
    HoldInstance,
    /// Write the intent, and the finalizer with it.
    WriteIntent(Box<Intent>),
    /// Put back the finalizer of an account that is ours.
    RestoreFinalizer,
    /// Make the call that the intent announces.
    Call(CallKind),
    /// Take the finalizer and the annotation off.
    Release(Release),
    /// Nothing more to do now.
    Settle(Box<Verdict>),
    /// The object is gone or holds nothing of ours; nothing to write.
    Gone,
}

impl Step {
    /// The step's name, for logs; its contents stay out of them.
    pub fn name(&self) -> &'static str {
        match self {
            Self::ReadPassword => "ReadPassword",
            Self::ReadAccount(_) => "ReadAccount",
            Self::ReadJob(_) => "ReadJob",
            Self::FindJob(_) => "FindJob",
            Self::Login => "Login",
            Self::ReadConnectionSecret { .. } => "ReadConnectionSecret",
            Self::WriteConnectionSecret { .. } => "WriteConnectionSecret",
            Self::RemoveConnectionSecret(_) => "RemoveConnectionSecret",
            Self::TakeTurn(_) => "TakeTurn",
            Self::HoldInstance => "HoldInstance",
            Self::WriteIntent(_) => "WriteIntent",
            Self::RestoreFinalizer => "RestoreFinalizer",
            Self::Call(CallKind::Create) => "Create",
            Self::Call(CallKind::SetPassword) => "SetPassword",
            Self::Call(CallKind::SetAccess) => "SetAccess",
            Self::Call(CallKind::Delete) => "Delete",
            Self::Release(_) => "Release",
            Self::Settle(_) => "Settle",
            Self::Gone => "Gone",
        }
    }
}

/// Why a user may go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Release {
    /// No account of ours exists.
    NothingLeft,
    /// `deletionPolicy: Retain`: the account stays in the cloud.
    Retained,
    /// An account may be left behind that nobody looks after; why.
    Orphaned(String),
}

/// How a pass ended, in everything that status, Events and the next pass need.
#[derive(Clone, Debug, PartialEq)]
pub struct Verdict {
    /// Reason of `Ready`.
    pub reason: Reason,
    /// One sentence for people.
    pub message: String,
    /// The failure behind it.
    pub error: Option<CloudError>,
    /// The operation, where this pass moved it.
    pub operation: Option<Operation>,
    /// The job of that operation.
    pub job_id: Option<JobId>,
    /// What this pass learnt about the account.
    pub account: AccountChange,
    /// What a login showed.
    pub login: LoginChange,
    /// What became of the connection Secret.
    pub binding: BindingChange,
    /// When to look again.
    pub recheck: Recheck,
    /// A wait of our own making, not worth a write before [`QUIET_FOR`].
    pub quiet: bool,
    /// What `chuser.dev/reconcile-requested-at` asked for was done.
    pub handled: bool,
}

/// What a pass learnt about the account.
#[derive(Clone, Debug, PartialEq)]
pub enum AccountChange {
    /// Nothing new.
    Keep,
    /// The account is ours and has this access, and this password where one was set.
    Confirmed(Access, Option<(SecretVersion, Fingerprint)>),
    /// The account is ours and has this access; which password it has nobody knows.
    PasswordUnknown(Access),
    /// The password in force is the one at this version of the Secret.
    SamePassword(SecretVersion, Fingerprint),
    /// The account is gone, or is not ours any more.
    Gone,
}

/// What a pass learnt about the login.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LoginChange {
    /// Nothing new.
    Keep,
    /// A login was tried: its outcome, and that in words.
    Seen(LoginOutcome, String),
}

/// What became of the connection Secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BindingChange {
    /// Nothing new.
    Keep,
    /// The one of this name is in place, and no other of ours.
    Written(String),
    /// There is none any more.
    Removed,
}

/// When to look again. A change of the object, its Secret or its instance always comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recheck {
    /// Only a change can help.
    OnChange,
    /// At a known time; not a failure.
    At(Timestamp),
    /// After this failure's growing pause, and no sooner than the cloud asked for.
    Retry {
        /// The next try.
        at: Timestamp,
    },
}

/// Waiting for our own queue or budget shows in status only after this time: short waits would double the writes.
pub const QUIET_FOR: Duration = Duration::from_secs(120);

/// A list must be begun this long after a create before it can show the account missing (assumed upper bound of the
/// cloud's lag; nothing is published).
const LIST_LAG: Duration = Duration::from_secs(15);

/// A list that is at most this old may show a name free before a create.
const LIST_FRESH: Duration = Duration::from_secs(60);

/// A list that is at most this old may show a name taken: many users that are tried together share one.
const LIST_SHARED: Duration = Duration::from_secs(5);

/// A job may be invisible this long after it was accepted.
const JOB_GRACE: Duration = Duration::from_secs(60);

/// Job records may expire; an older attempt that cannot be found proves nothing.
const JOB_RECORDS_KEPT: Duration = Duration::from_secs(3600);

/// The next step for one user.
pub fn plan(desired: &Desired, seen: &Seen, moment: &Moment<'_>) -> Step {
    let situation = Situation { desired, seen, moment };
    if let Some(step) = situation.announced_by_a_newer_version() {
        return step;
    }
    if desired.deleted_at.is_some() {
        return delete::next(&situation);
    }
    if desired.suspend && !seeded(Bug::SuspendIgnored) {
        return settle(Reason::Suspended, "Suspended by spec.suspend; nothing is checked or changed.");
    }
    if desired.connection_secret.is_some() && !moment.settings.connection_secrets {
        let message = "spec.connectionSecret needs an operator that was started with --connection-secrets=true; remove \
                       it from the manifest, or ask the operator's owner.";
        return settle(Reason::FieldNotSupported, message);
    }
    match &seen.instance {
        InstanceSeen::Present(InstanceFacts { not_allowed: Some(message), .. }) => {
            return settle(Reason::NotAllowed, message);
        }
        InstanceSeen::NotServed => return situation.not_served(),
        _ => {}
    }
    if desired.expires_at.is_some_and(|at| at <= moment.now) {
        return delete::expired(&situation);
    }
    let step = if situation.owned() { settled::next(&situation) } else { create::next(&situation) };
    situation.until_expiry(step)
}

/// One user at one moment: the three inputs of [`plan`], with the words its parts share.
struct Situation<'a> {
    desired: &'a Desired,
    seen: &'a Seen,
    moment: &'a Moment<'a>,
}

impl<'a> Situation<'a> {
    fn now(&self) -> Timestamp {
        self.moment.now
    }

    fn settings(&self) -> &Settings {
        self.moment.settings
    }

    /// The instance, or the step that says why there is none to work with.
    fn instance(&self) -> Result<&'a InstanceFacts, Step> {
        let name = &self.desired.instance_name;
        match &self.seen.instance {
            InstanceSeen::Present(facts) => Ok(facts),
            InstanceSeen::NotServed => Err(self.not_served()),
            InstanceSeen::Missing => {
                let kind = self.desired.instance_kind.as_str();
                Err(settle(Reason::WaitingForInstance, format!("Waiting for {kind} {name} to be created.")))
            }
        }
    }

    /// Ends the pass of a user of a shared instance where none are served.
    fn not_served(&self) -> Step {
        let name = &self.desired.instance_name;
        settle(
            Reason::NotAllowed,
            format!(
                "ClusterClickHouseInstance {name} is not served: the operator runs with --cluster-instances=false; \
                 reference a ClickHouseInstance, or ask whoever runs the operator."
            ),
        )
    }

    /// Ends the pass with a failed call or read, and says when to try again.
    fn fail(&self, error: &CloudError) -> Verdict {
        let reason = reason_of(error.class);
        let mut verdict = Verdict::new(reason, error.to_string());
        verdict.error = Some(error.clone());
        verdict.recheck = Recheck::Retry { at: self.retry_at(is_stalled(reason), error.pause) };
        verdict
    }

    /// The time of the next try after a failure.
    fn retry_at(&self, slow: bool, pause: Option<Duration>) -> Timestamp {
        let Settings { retry_min, retry_max, .. } = *self.settings();
        let delay = if slow {
            backoff::slow_delay(self.moment.jitter, retry_max)
        } else {
            backoff::retry_delay(self.moment.failures, self.moment.jitter, retry_min, retry_max, pause)
        };
        self.now() + delay
    }

    /// Ends the pass because a read could not be had; `reason` is what people see while only our own pacing is in
    /// the way.
    fn delayed(&self, delay: &Delay, reason: Reason, message: &str) -> Verdict {
        match delay {
            Delay::Failed(error) => self.fail(error),
            Delay::NotBefore(at) => Verdict::new(reason, message).at(*at).quietly(),
        }
    }

    /// The account is this object's: status says so, or the journal of a call that is only made for accounts of ours. A
    /// creation that was begun after the account was seen gone has to prove it anew.
    fn owned(&self) -> bool {
        let applied = self.seen.record.applied.is_some();
        let Some(intent) = &self.seen.intent else { return applied };
        let on_record = self.seen.record.operation.as_ref().filter(|it| it.id == intent.attempt).map(|it| it.state);
        let succeeded = on_record == Some(OperationState::Succeeded);
        match intent.kind {
            OperationKind::Create => applied && succeeded,
            // Announced only for an account of ours, whether or not status ever said so.
            OperationKind::Delete => applied || !succeeded,
            OperationKind::Recreate if intent.adopting => applied && succeeded,
            OperationKind::SetPassword if intent.adopting => applied || succeeded,
            // Where such a call is over and nothing is applied, the account was seen gone since.
            OperationKind::SetPassword | OperationKind::SetAccess => {
                applied || !(succeeded || on_record == Some(OperationState::Failed))
            }
            OperationKind::Recreate => applied || !succeeded || self.removal_ended(intent).is_some(),
        }
    }

    /// A call that a newer version announced may be under way, for a purpose that is not known here: nothing may be made
    /// beside it, and the object may not go. One that status says has succeeded is history, as if its entry were lost.
    fn announced_by_a_newer_version(&self) -> Option<Step> {
        let attempt = self.seen.newer_attempt.as_ref()?;
        let over = |it: &Operation| {
            it.id == *attempt && it.state == OperationState::Succeeded && it.phase != Some(OperationPhase::Removed)
        };
        if self.seen.record.operation.as_ref().is_some_and(over)
            || self.desired.deleted_at.is_some() && !self.seen.finalizer
        {
            return None;
        }
        let message = "A newer version of the operator has begun something that this version cannot read; run that \
                       version again.";
        Some(settle(Reason::OutcomeStaysUnknown, message))
    }

    /// `expiresAt` is a change that nobody announces: the pass before it has to come back for it.
    fn until_expiry(&self, step: Step) -> Step {
        match (step, self.desired.expires_at) {
            (Step::Settle(mut verdict), Some(expiry)) => {
                verdict.recheck = match verdict.recheck {
                    Recheck::OnChange => Recheck::At(expiry),
                    Recheck::At(at) => Recheck::At(at.min(expiry)),
                    Recheck::Retry { at } => Recheck::Retry { at: at.min(expiry) },
                };
                Step::Settle(verdict)
            }
            (step, _) => step,
        }
    }
}

impl Verdict {
    fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self {
            reason,
            message: message.into(),
            error: None,
            operation: None,
            job_id: None,
            account: AccountChange::Keep,
            login: LoginChange::Keep,
            binding: BindingChange::Keep,
            recheck: Recheck::OnChange,
            quiet: false,
            handled: true,
        }
    }

    fn at(mut self, at: Timestamp) -> Self {
        self.recheck = Recheck::At(at);
        self
    }

    fn retry(mut self, at: Timestamp) -> Self {
        self.recheck = Recheck::Retry { at };
        self
    }

    fn quietly(mut self) -> Self {
        self.quiet = true;
        self
    }

    fn unhandled(mut self) -> Self {
        self.handled = false;
        self
    }

    fn with_operation(mut self, operation: Operation, job_id: Option<JobId>) -> Self {
        self.operation = Some(operation);
        self.job_id = job_id;
        self
    }

    fn step(self) -> Step {
        Step::Settle(Box::new(self))
    }
}

/// Ends the pass; only a change can help.
fn settle(reason: Reason, message: impl Into<String>) -> Step {
    Verdict::new(reason, message).step()
}

/// A human has to act.
fn is_stalled(reason: Reason) -> bool {
    reason.companion() == Some(Companion::Stalled)
}

/// Which reason people see for a failure.
pub(crate) fn reason_of(class: ErrorClass) -> Reason {
    match class {
        ErrorClass::InvalidSpec => Reason::InvalidSpec,
        ErrorClass::InvalidPassword => Reason::InvalidPassword,
        ErrorClass::AccountExists => Reason::AccountExists,
        ErrorClass::InstanceBusy => Reason::InstanceBusy,
        ErrorClass::Unavailable => Reason::ProviderUnavailable,
        ErrorClass::Throttled => Reason::Throttled,
        ErrorClass::AccessDenied => Reason::AccessDenied,
        ErrorClass::InstanceNotFound => Reason::InstanceNotFound,
        ErrorClass::InstanceUnavailable => Reason::InstanceUnavailable,
        ErrorClass::AccountNotFound | ErrorClass::Rejected => Reason::ProviderRejected,
    }
}

/// Ends the pass because a value is refused before any call.
fn refused(refusal: &Refusal) -> Step {
    match refusal {
        Refusal::InvalidSpec(message) => settle(Reason::InvalidSpec, message),
        Refusal::FieldNotSupported(message) => settle(Reason::FieldNotSupported, message),
        Refusal::InvalidPassword(message) => settle(Reason::InvalidPassword, message),
    }
}

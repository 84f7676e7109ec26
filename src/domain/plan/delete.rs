//! A user on its way out: take away what is ours, leave what is not, and never hang for ever.

use super::{
    AccountChange, JOB_GRACE, LIST_LAG, Release, Situation, Step, Verdict,
    attempt::{Attempt, Resolution, call_kind},
    call::Draft,
    recreate::Removal,
};
use crate::seeded::{Bug, seeded};
use crate::{
    api::{
        conditions::Reason,
        user::{OperationKind, OperationPhase, OperationState},
    },
    domain::{
        journal::Intent,
        names::JobId,
        seen::{CallSeen, InstanceFacts, InstanceSeen},
    },
    provider::contract::{Accepted, Access, CallError, CallKind, ErrorClass, JobSeen, JobState},
};

/// What is left in the cloud of an account that is not to be deleted.
fn retained(there: bool) -> Release {
    if there { Release::Retained } else { Release::NothingLeft }
}

pub(super) fn next(situation: &Situation<'_>) -> Step {
    if situation.seen.released || !situation.seen.finalizer {
        return Step::Gone;
    }
    situation.leaving()
}

/// `expiresAt` has passed: the account goes as it does with its object, but the object stays.
pub(super) fn expired(situation: &Situation<'_>) -> Step {
    if let Some(step) = situation.put_back_in_flight() {
        return step;
    }
    let create = situation.attempt(OperationKind::Create);
    let may_exist = situation.owned()
        || !certainly_without_account(&create)
        || situation.seen.intent.as_ref().is_some_and(|it| it.adopting && it.phase.is_some());
    match (may_exist, situation.seen.finalizer) {
        (true, true) => situation.leaving(),
        (true, false) => Step::RestoreFinalizer,
        (false, true) => Step::Release(Release::NothingLeft),
        (false, false) => situation.unbound(situation.expired_verdict()),
    }
}

/// Nothing of this creation is or will be in the cloud.
fn certainly_without_account(create: &Attempt<'_>) -> bool {
    matches!(create, Attempt::None | Attempt::NotApplied(_) | Attempt::Refused | Attempt::JobFailed(..))
}

impl<'a> Situation<'a> {
    /// What is there, and whether it is ours to take away.
    fn leaving(&self) -> Step {
        if let InstanceSeen::Present(InstanceFacts { gone: true, .. }) = &self.seen.instance {
            return self.left(Release::NothingLeft);
        }
        if let Some(step) = self.put_back_in_flight() {
            return step;
        }
        let owned = self.owned();
        if self.desired.retain && !seeded(Bug::RetainIgnored) && self.desired.deleted_at.is_some() {
            return self.retain(owned);
        }
        if let Some(step) = self.change_may_follow() {
            return step;
        }
        match &self.seen.intent {
            Some(intent) if intent.kind == OperationKind::Delete => match self.attempt(OperationKind::Delete) {
                Attempt::None if owned => self.announce_delete(None),
                Attempt::None => self.left(Release::NothingLeft),
                delete => self.deleting(delete),
            },
            Some(intent) if intent.kind == OperationKind::Recreate => self.recreation_left(intent, owned),
            _ if owned => self.announce_delete(None),
            // Nothing that an adoption has not finished is ours.
            Some(intent) if intent.adopting => self.left(Release::NothingLeft),
            _ => self.undecided(self.attempt(OperationKind::Create)),
        }
    }

    /// A change whose answer was lost would hit whoever gets the name next.
    fn change_may_follow(&self) -> Option<Step> {
        let changes = |it: &&Intent| matches!(it.kind, OperationKind::SetPassword | OperationKind::SetAccess);
        match self.attempt(self.seen.intent.as_ref().filter(changes)?.kind) {
            Attempt::Unknown(intent) => self.late_effect(intent),
            _ => None,
        }
    }

    /// There is nothing more to take away: the object goes, or where it only expired, stays and says so.
    pub(super) fn left(&self, release: Release) -> Step {
        if self.desired.deleted_at.is_some() {
            return Step::Release(release);
        }
        let mut verdict = self.expired_verdict();
        if let Some(intent) = &self.seen.intent {
            let state =
                if intent.kind == OperationKind::Delete { OperationState::Succeeded } else { OperationState::Failed };
            let operation = self.operation(intent, state, Some(self.now()));
            verdict = verdict.with_operation(operation, self.recorded_job(intent));
        }
        // On record first: the next pass takes the finalizer off.
        verdict.at(self.now()).step()
    }

    fn expired_verdict(&self) -> Verdict {
        let at = self.desired.expires_at.unwrap_or(self.now());
        let mut verdict = Verdict::new(Reason::Expired, format!("Expired at {at:.0}; the account is deleted."));
        verdict.account = AccountChange::Gone;
        verdict
    }

    /// `expiresAt` was moved while the account was being deleted: what became of that is found out first.
    pub(super) fn deletion_withdrawn(&self, facts: &'a InstanceFacts) -> Option<Step> {
        let intent = self.seen.intent.as_ref()?;
        let ended = |gone: bool, job: Option<JobId>| {
            let (reason, state) = if gone {
                (Reason::Creating, OperationState::Succeeded)
            } else {
                (Reason::AccountReady, OperationState::Failed)
            };
            let mut verdict = Verdict::new(reason, "The deletion was withdrawn.")
                .with_operation(self.operation(intent, state, Some(self.now())), job)
                .at(self.now());
            verdict.account = if gone { AccountChange::Gone } else { AccountChange::Keep };
            verdict.step()
        };
        match self.attempt(OperationKind::Delete) {
            Attempt::None
            | Attempt::Refused
            | Attempt::NotApplied(_)
            | Attempt::JobFailed(..)
            | Attempt::Announced(_) => None,
            Attempt::Running(..) | Attempt::Unknown(_) if !facts.connected => Some(self.not_connected(facts)),
            Attempt::Running(intent, job) => Some(match self.follow(intent, &job, Reason::Deleting) {
                Err(step) => step,
                Ok(state) => ended(*state == JobState::Succeeded, Some(job)),
            }),
            Attempt::Unknown(intent) => Some(match self.resolve(intent, facts) {
                Resolution::Pending(step) => step,
                Resolution::Absent => ended(true, None),
                Resolution::Present(_) | Resolution::NoJob => ended(false, None),
                Resolution::Job(job, JobState::Running) => self.job_running(intent, job, Reason::Deleting),
                Resolution::Job(job, state) => ended(*state == JobState::Succeeded, Some(job)),
            }),
        }
    }

    /// Leaves the account in the cloud. A running job is awaited first, so that what is left behind is known.
    fn retain(&self, owned: bool) -> Step {
        let Some(intent) = self.seen.intent.as_ref() else { return Step::Release(retained(owned)) };
        if self.removal_ended(intent) == Some(Removal::Done) {
            return Step::Release(Release::NothingLeft);
        }
        let deletes = call_kind(intent) == CallKind::Delete;
        if let Attempt::Running(intent, job) = self.attempt(intent.kind)
            && self.now() < self.sent_at(intent) + self.settings().job_timeout
            && self.connected().is_ok()
        {
            return match self.follow(intent, &job, Reason::Deleting) {
                Err(step) => step,
                Ok(JobState::Succeeded) => Step::Release(retained(!deletes)),
                Ok(_) => Step::Release(retained(
                    deletes || intent.removal_failed || owned && intent.kind != OperationKind::Recreate,
                )),
            };
        }
        let create = self.attempt(OperationKind::Create);
        Step::Release(retained(owned || !certainly_without_account(&create)))
    }

    /// The object goes in the middle of a re-creation: what was deleted is not deleted twice.
    fn recreation_left(&self, intent: &'a Intent, owned: bool) -> Step {
        let attempt = self.attempt(OperationKind::Recreate);
        if intent.phase == Some(OperationPhase::Adding) {
            return match attempt {
                Attempt::None if owned => self.announce_delete(None),
                Attempt::None => self.left(Release::NothingLeft),
                attempt => self.undecided(attempt),
            };
        }
        if intent.adopting {
            return self.left(Release::NothingLeft);
        }
        match self.removal_ended(intent) {
            Some(Removal::Done) => return self.left(Release::NothingLeft),
            Some(Removal::Failed) => return self.announce_delete(None),
            None => {}
        }
        let (intent, job) = match attempt {
            Attempt::Running(intent, job) => (intent, Some(job)),
            Attempt::Unknown(intent) | Attempt::Announced(intent) => (intent, None),
            _ => return self.announce_delete(None),
        };
        let facts = match self.connected_for(intent) {
            Ok(facts) => facts,
            Err(step) => return step,
        };
        if let Some(job) = job {
            return match self.follow(intent, &job, Reason::Deleting) {
                Err(step) => step,
                Ok(JobState::Failed(_)) => self.announce_delete(None),
                Ok(_) => self.left(Release::NothingLeft),
            };
        }
        match self.resolve(intent, facts) {
            Resolution::Pending(step) => step,
            Resolution::Absent | Resolution::Job(_, JobState::Succeeded) => self.left(Release::NothingLeft),
            Resolution::Job(job, JobState::Running) => self.job_running(intent, job, Reason::Deleting),
            Resolution::Present(_) | Resolution::NoJob | Resolution::Job(..) => self.announce_delete(None),
        }
    }

    /// The creation came to nothing. In a re-creation the account from before is there if its deletion failed.
    fn nothing_made(&self) -> Step {
        match &self.seen.intent {
            Some(intent) if intent.removal_failed && !intent.adopting => self.announce_delete(None),
            _ => self.left(Release::NothingLeft),
        }
    }

    /// The object goes while its create is in doubt or at work: find out first whether there is anything to delete.
    fn undecided(&self, create: Attempt<'a>) -> Step {
        if seeded(Bug::OrphanedByCrash) {
            return self.nothing_made();
        }
        let (intent, job) = match create {
            Attempt::None | Attempt::NotApplied(_) | Attempt::Refused | Attempt::JobFailed(..) => {
                return self.nothing_made();
            }
            Attempt::Running(intent, job) => (intent, Some(job)),
            Attempt::Announced(intent) | Attempt::Unknown(intent) => (intent, None),
        };
        let facts = match self.connected_for(intent) {
            Ok(facts) => facts,
            Err(step) => return step,
        };
        if let Some(job) = job {
            return match self.follow(intent, &job, Reason::Deleting) {
                Err(step) => step,
                Ok(JobState::Failed(_)) => self.nothing_made(),
                Ok(_) => self.announce_delete(None),
            };
        }
        // Twice the grace, because this answer releases the object for good; and whatever the age, because a record that
        // has expired will not come back.
        if self.seen.job == Some(Ok(JobSeen::NotFound)) && self.now() >= self.sent_at(intent) + self.grace() * 2 {
            return self.left(Release::Orphaned(
                "the cloud shows no job for its create call, whose answer was lost".to_owned(),
            ));
        }
        match self.resolve(intent, facts) {
            Resolution::Pending(step) => step,
            Resolution::Present(account) if account.built_in => self.nothing_made(),
            Resolution::Present(_) | Resolution::Job(_, JobState::Succeeded) => self.announce_delete(None),
            Resolution::Absent | Resolution::Job(_, JobState::Failed(_)) => self.nothing_made(),
            Resolution::Job(job, JobState::Running) => self.job_running(intent, job, Reason::Deleting),
            Resolution::NoJob => self.in_doubt(intent, None, self.sent_at(intent) + self.grace() * 2).step(),
        }
    }

    /// A delete was announced before: what became of it?
    fn deleting(&self, delete: Attempt<'a>) -> Step {
        if let Some(call) = &self.seen.call {
            return match delete {
                Attempt::Announced(intent) | Attempt::NotApplied(intent) => self.after_delete(intent, call),
                // Unreachable by the steps below; reading again is always safe.
                _ => Verdict::new(Reason::Deleting, "Deleting the account.").retry(self.retry_at(false, None)).step(),
            };
        }
        let (intent, job) = match delete {
            Attempt::None | Attempt::Refused => return self.announce_delete(None),
            Attempt::Announced(_) => return Step::Call(CallKind::Delete),
            Attempt::NotApplied(intent) => return self.announce_delete(Some(intent)),
            Attempt::JobFailed(intent, job, failed) => {
                let since = failed.finished_at.as_ref().map_or(self.now(), |time| time.0);
                if self.now() >= since + self.delete_pause() {
                    return self.announce_delete(None);
                }
                return self.delete_failed(intent, &job, None);
            }
            Attempt::Running(intent, job) => (intent, Some(job)),
            Attempt::Unknown(intent) => (intent, None),
        };
        let facts = match self.connected_for(intent) {
            Ok(facts) => facts,
            Err(step) => return step,
        };
        if let Some(job) = job {
            return match self.follow(intent, &job, Reason::Deleting) {
                Err(step) => step,
                Ok(state) => self.delete_ended(intent, &job, state),
            };
        }
        match self.resolve(intent, facts) {
            Resolution::Pending(step) => step,
            Resolution::Absent => self.left(Release::NothingLeft),
            Resolution::Present(_) | Resolution::NoJob => self.announce_delete(None),
            Resolution::Job(job, state) => self.delete_ended(intent, &job, state),
        }
    }

    /// Takes a turn, announces the delete and makes it. `reuse`: an attempt that certainly had no effect.
    fn announce_delete(&self, reuse: Option<&Intent>) -> Step {
        let facts = match self.connected() {
            Ok(facts) => facts,
            Err(step) => return step,
        };
        if let Some(key) = self.seen.record.instance_key.as_ref().filter(|key| **key != facts.key) {
            return self.unreachable_instance(&format!("the instance object now means {} instead of {key}", facts.key));
        }
        if let Err(step) = self.turn(facts, CallKind::Delete, Reason::Deleting) {
            return step;
        }
        self.announce(facts, Draft::new(OperationKind::Delete, Access::default(), None), reuse)
    }

    fn after_delete(&self, intent: &'a Intent, call: &CallSeen) -> Step {
        match &call.outcome {
            Ok(Accepted::Done) => self.left(Release::NothingLeft),
            Ok(Accepted::Job(job)) => self.job_running(intent, job.clone(), Reason::Deleting),
            Err(CallError::NotApplied(error)) if error.class == ErrorClass::AccountNotFound => {
                self.left(Release::NothingLeft)
            }
            Err(CallError::NotApplied(error)) if error.class == ErrorClass::InstanceNotFound => {
                self.unreachable_instance(&format!("the cloud says the instance does not exist ({error})"))
            }
            Err(CallError::NotApplied(error)) => match self.listed_after(intent, error) {
                Err(step) => step,
                // A process that just started has no changes of its own to lay over a list that lags.
                Ok(Some(false)) if self.now() < self.moment.started_at + LIST_LAG => {
                    self.in_doubt(intent, None, self.moment.started_at + LIST_LAG).step()
                }
                Ok(Some(false)) => self.left(Release::NothingLeft),
                Ok(_) => self.refused_call(intent, error),
            },
            Err(CallError::Unknown(error)) => self.lost(intent, error),
        }
    }

    /// The instance, with a credential in hand; otherwise wait for one, at most until the orphan deadline.
    fn connected(&self) -> Result<&'a InstanceFacts, Step> {
        match &self.seen.instance {
            InstanceSeen::Present(facts) if facts.connected => Ok(facts),
            InstanceSeen::Present(facts) => {
                let why = facts.state.as_ref().map_or("it has not been looked at yet", |(_, message)| message.as_str());
                let name = &self.desired.instance_name;
                Err(self.unreachable_instance(&format!("instance {name} cannot be used: {why}")))
            }
            InstanceSeen::Missing | InstanceSeen::NotServed => {
                Err(self.unreachable_instance(&format!("instance {} does not exist", self.desired.instance_name)))
            }
        }
    }

    /// The same, where the instance object still means the instance of this attempt.
    fn connected_for(&self, intent: &Intent) -> Result<&'a InstanceFacts, Step> {
        let facts = self.connected()?;
        if facts.key == intent.instance_key {
            return Ok(facts);
        }
        let before = &intent.instance_key;
        Err(self.unreachable_instance(&format!(
            "the account was made on {before}, which the instance object means no more"
        )))
    }

    /// The account cannot be removed now. The object is held until `--orphan-after`, then released with a record.
    fn unreachable_instance(&self, why: &str) -> Step {
        let why = why.trim_end_matches('.');
        let settings = self.settings();
        // A freshly started process has seen no Secret yet: it gives them a minute to appear.
        let patience = self.moment.started_at + JOB_GRACE.min(settings.orphan_after);
        let Some(deleted_at) = self.desired.deleted_at else {
            // An object that stays is never released: it waits for the instance to come back.
            let message = format!("The account has expired and cannot be removed yet: {why}.");
            return Verdict::new(Reason::Deleting, message).retry(self.retry_at(false, None)).step();
        };
        let deadline = (deleted_at + settings.orphan_after).max(patience);
        if self.now() >= deadline {
            return Step::Release(Release::Orphaned(why.to_owned()));
        }
        let message = format!(
            "The account cannot be removed yet: {why}. At {deadline:.0} the object is released and the account is \
             recorded as left behind.",
        );
        let next = deadline.min(self.retry_at(false, None));
        Verdict::new(Reason::Deleting, message).retry(next).step()
    }

    /// How long a job may be invisible after it was accepted.
    fn grace(&self) -> std::time::Duration {
        JOB_GRACE.min(self.settings().job_timeout)
    }
}

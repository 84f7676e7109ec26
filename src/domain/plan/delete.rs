//! A user on its way out: take away what is ours, leave what is not, and never hang for ever.

use super::{
    JOB_GRACE, LIST_LAG, Release, Situation, Step, Verdict,
    attempt::{Attempt, Resolution},
};
use crate::{
    api::{
        conditions::Reason,
        user::{OperationKind, OperationState},
    },
    domain::{
        journal::Intent,
        names::JobId,
        seen::{CallSeen, InstanceFacts, InstanceSeen},
    },
    provider::contract::{Accepted, CallError, CallKind, ErrorClass, JobSeen, JobState},
};

/// Failed delete jobs before people are told that they have to act.
const DELETE_TRIES: u32 = 3;

pub(super) fn next(situation: &Situation<'_>) -> Step {
    if situation.seen.released || !situation.seen.finalizer {
        return Step::Gone;
    }
    let create = situation.attempt(OperationKind::Create);
    let owned = situation.seen.record.applied.is_some();
    if situation.desired.retain {
        return situation.retain(&create, owned);
    }
    match (situation.attempt(OperationKind::Delete), create) {
        (Attempt::None, _) if owned => situation.announce(None),
        (Attempt::None, create) => situation.undecided(create),
        (delete, _) => situation.deleting(delete),
    }
}

impl<'a> Situation<'a> {
    /// Leaves the account in the cloud. A running create is awaited first, so that what is left behind is known.
    fn retain(&self, create: &Attempt<'a>, owned: bool) -> Step {
        if let (Attempt::Running(intent, job), false) = (create, owned)
            && self.now() < self.sent_at(intent) + self.settings().job_timeout
            && self.connected().is_ok()
        {
            return match self.follow(intent, job, Reason::Deleting) {
                Err(step) => step,
                Ok(JobState::Failed(_)) => Step::Release(Release::NothingLeft),
                Ok(_) => Step::Release(Release::Retained),
            };
        }
        let may_exist = owned
            || !matches!(create, Attempt::None | Attempt::NotApplied(_) | Attempt::Refused | Attempt::JobFailed(..));
        Step::Release(if may_exist { Release::Retained } else { Release::NothingLeft })
    }

    /// The object goes while its create is in doubt or at work: find out first whether there is anything to delete.
    fn undecided(&self, create: Attempt<'a>) -> Step {
        let (intent, job) = match create {
            Attempt::None | Attempt::NotApplied(_) | Attempt::Refused | Attempt::JobFailed(..) => {
                return Step::Release(Release::NothingLeft);
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
                Ok(JobState::Failed(_)) => Step::Release(Release::NothingLeft),
                Ok(_) => self.announce(None),
            };
        }
        // Twice the grace, because this answer releases the object for good; and whatever the age, because a record that
        // has expired will not come back.
        if self.seen.job == Some(Ok(JobSeen::NotFound)) && self.now() >= self.sent_at(intent) + self.grace() * 2 {
            return Step::Release(Release::Orphaned(
                "the cloud shows no job for its create call, whose answer was lost".to_owned(),
            ));
        }
        match self.resolve(intent, facts) {
            Resolution::Pending(step) => step,
            Resolution::Present(account) if account.built_in => Step::Release(Release::NothingLeft),
            Resolution::Present(_) | Resolution::Job(_, JobState::Succeeded) => self.announce(None),
            Resolution::Absent | Resolution::Job(_, JobState::Failed(_)) => Step::Release(Release::NothingLeft),
            Resolution::Job(job, JobState::Running) => self.job_running(intent, job),
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
            Attempt::None | Attempt::Refused => return self.announce(None),
            Attempt::Announced(_) => return Step::Call(CallKind::Delete),
            Attempt::NotApplied(intent) => return self.announce(Some(intent)),
            Attempt::JobFailed(intent, job, failed) => {
                let since = failed.finished_at.as_ref().map_or(self.now(), |time| time.0);
                if self.now() >= since + self.delete_pause() {
                    return self.announce(None);
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
            Resolution::Absent => Step::Release(Release::NothingLeft),
            Resolution::Present(_) | Resolution::NoJob => self.announce(None),
            Resolution::Job(job, state) => self.delete_ended(intent, &job, state),
        }
    }

    /// Takes a turn, announces the delete and makes it. `reuse`: an attempt that certainly had no effect.
    fn announce(&self, reuse: Option<&Intent>) -> Step {
        let facts = match self.connected() {
            Ok(facts) => facts,
            Err(step) => return step,
        };
        if let Some(key) = self.seen.record.instance_key.as_ref().filter(|key| **key != facts.key) {
            return self.unreachable_instance(&format!("the instance object now means {} instead of {key}", facts.key));
        }
        if let Err(step) = self.turn(CallKind::Delete, Reason::Deleting) {
            return step;
        }
        if reuse.is_some() {
            return Step::Call(CallKind::Delete);
        }
        Step::WriteIntent(Box::new(Intent {
            uid: self.desired.uid.clone(),
            instance_key: facts.key.clone(),
            username: self.desired.username.clone(),
            kind: OperationKind::Delete,
            phase: None,
            attempt: self.moment.attempt.clone(),
            attempts: self.attempts(OperationKind::Delete) + 1,
            written_at: self.now(),
            absent_at: None,
            access: crate::provider::contract::Access::default(),
            fingerprint: None,
            secret: None,
            key_id: self.moment.key_id.clone(),
        }))
    }

    fn after_delete(&self, intent: &'a Intent, call: &CallSeen) -> Step {
        match &call.outcome {
            Ok(Accepted::Done) => Step::Release(Release::NothingLeft),
            Ok(Accepted::Job(job)) => self.job_running(intent, job.clone()),
            Err(CallError::NotApplied(error)) if error.class == ErrorClass::AccountNotFound => {
                Step::Release(Release::NothingLeft)
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
                Ok(Some(false)) => Step::Release(Release::NothingLeft),
                Ok(_) => self.refused_call(intent, error),
            },
            Err(CallError::Unknown(error)) => self.lost(intent, error),
        }
    }

    fn job_running(&self, intent: &Intent, job: JobId) -> Step {
        Verdict::new(Reason::Deleting, format!("Job {job} is running."))
            .with_operation(self.operation(intent, OperationState::Running, None), Some(job))
            .at(self.now() + self.settings().job_poll_interval)
            .step()
    }

    fn delete_ended(&self, intent: &Intent, job: &JobId, state: &JobState) -> Step {
        match state {
            JobState::Succeeded => Step::Release(Release::NothingLeft),
            JobState::Running => self.job_running(intent, job.clone()),
            JobState::Failed(why) => self.delete_failed(intent, job, why.as_deref()),
        }
    }

    fn delete_failed(&self, intent: &Intent, job: &JobId, why: Option<&str>) -> Step {
        let cause = why.filter(|why| !why.is_empty()).map_or_else(String::new, |why| format!(" with code {why}"));
        let (reason, message) = if intent.attempts < DELETE_TRIES {
            (Reason::Deleting, format!("Delete job {job} failed{cause}; it is tried again."))
        } else {
            let message = format!(
                "Delete job {job} failed{cause}, as {} before it. Remove account {} in the cloud console and set \
                 spec.deletionPolicy: Retain to release this object.",
                intent.attempts - 1,
                intent.username
            );
            (Reason::JobFailed, message)
        };
        let failed = self.failed(intent);
        let since = failed.finished_at.as_ref().map_or(self.now(), |time| time.0);
        Verdict::new(reason, message)
            .with_operation(failed, Some(job.clone()))
            .retry(since + self.delete_pause())
            .step()
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
        let deadline = (self.desired.since() + settings.orphan_after).max(patience);
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

    /// Pause between tries of a failed delete job: three tries then span three times `--retry-max`, half an hour by
    /// default, in which most maintenance ends.
    fn delete_pause(&self) -> std::time::Duration {
        self.settings().retry_max * 3 / 2
    }

    /// How long a job may be invisible after it was accepted.
    fn grace(&self) -> std::time::Duration {
        JOB_GRACE.min(self.settings().job_timeout)
    }
}

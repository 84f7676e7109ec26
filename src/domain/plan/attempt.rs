//! What became of a changing call: from the journal and status alone, or, where they do not say, by reading the cloud.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::{JOB_GRACE, JOB_RECORDS_KEPT, LIST_LAG, Situation, Step, Verdict, call::running_message};
use crate::seeded::{Bug, seeded};
use crate::{
    api::{
        conditions::Reason,
        user::{Operation, OperationKind, OperationPhase, OperationState},
    },
    domain::{backoff, journal::Intent, names::JobId, seen::InstanceFacts},
    provider::contract::{Account, CallKind, Delay, JobSeen, JobState, LostCall},
};

/// What is on record of an announced call.
pub(super) enum Attempt<'a> {
    /// No call of this kind was announced, or it succeeded and is history.
    None,
    /// Announced in this very pass and not made yet.
    Announced(&'a Intent),
    /// Certainly without effect, by the word of this process: it may be made again under its id.
    NotApplied(&'a Intent),
    /// Refused for certain and never made again: only a new attempt may follow.
    Refused,
    /// Accepted as a job that has not ended, as far as is known.
    Running(&'a Intent, JobId),
    /// Accepted as a job that failed.
    JobFailed(&'a Intent, JobId, &'a Operation),
    /// It may or may not have had its effect: nothing but a read can tell.
    Unknown(&'a Intent),
}

/// What a read says of a call whose outcome is not on record.
pub(super) enum Resolution<'a> {
    /// Not known yet: the step to take.
    Pending(Step),
    /// The account is in the list.
    Present(&'a Account),
    /// The account is certainly not there.
    Absent,
    /// The call was accepted as this job.
    Job(JobId, &'a JobState),
    /// The cloud has no job of this call.
    NoJob,
}

impl<'a> Situation<'a> {
    /// The attempt on record for calls of this kind.
    pub(super) fn attempt(&self, kind: OperationKind) -> Attempt<'a> {
        let Some(intent) = self.seen.intent.as_ref().filter(|intent| intent.kind == kind) else {
            return Attempt::None;
        };
        if intent.attempt == self.moment.attempt {
            return Attempt::Announced(intent);
        }
        let Some(operation) = self.seen.record.operation.as_ref().filter(|it| it.id == intent.attempt) else {
            return if seeded(Bug::RepeatedOnTimeout) { Attempt::NotApplied(intent) } else { Attempt::Unknown(intent) };
        };
        let job = self.seen.record.job_id.clone();
        match (operation.state, job) {
            (OperationState::Running, Some(job)) => Attempt::Running(intent, job),
            (OperationState::Failed, Some(job)) => Attempt::JobFailed(intent, job, operation),
            (OperationState::Failed, None) => Attempt::Refused,
            // What came of it is in the rest of status.
            (OperationState::Succeeded, _) => Attempt::None,
            // A repetition leaves no trace before its answer is written down. If this process does not know that there
            // was none, an earlier one may have died over it.
            (OperationState::Pending, None) if self.moment.refused.as_ref() == Some(&intent.attempt) => {
                Attempt::NotApplied(intent)
            }
            _ => Attempt::Unknown(intent),
        }
    }

    /// The latest time at which the call may have been sent. The first time that is when the intent was written; for a
    /// repetition status tells once its answer, or the lack of one, is on record.
    pub(super) fn sent_at(&self, intent: &Intent) -> Timestamp {
        match self.seen.record.operation.as_ref().filter(|it| it.id == intent.attempt) {
            None => intent.written_at,
            Some(operation) if operation.state == OperationState::Pending => self.now(),
            Some(operation) => intent.written_at.max(operation.started_at.0),
        }
    }

    /// `status.operation` for an attempt.
    pub(super) fn operation(
        &self,
        intent: &Intent,
        state: OperationState,
        finished_at: Option<Timestamp>,
    ) -> Operation {
        let mut operation = operation(intent, state, finished_at);
        let sent_at = self.sent_at(intent);
        // While a call is refused again and again, status must not change with every try.
        if state != OperationState::Pending && sent_at > intent.written_at {
            // Rounded up, because nothing may be concluded from what was seen before.
            operation.started_at = Time(whole_seconds(sent_at + ALMOST_A_SECOND));
        }
        operation
    }

    /// Finds out what became of a call whose answer was lost.
    pub(super) fn resolve(&self, intent: &'a Intent, facts: &InstanceFacts) -> Resolution<'a> {
        if facts.provider.rules().capabilities().list {
            self.resolve_by_list(intent)
        } else {
            self.resolve_by_job(intent)
        }
    }

    /// A list is believed at once only where it shows the account that was to be created; before any other call it was
    /// there anyway, perhaps with this very access a moment ago. For all else the cloud's lag has to pass.
    fn resolve_by_list(&self, intent: &Intent) -> Resolution<'a> {
        let settled_at = self.sent_at(intent) + LIST_LAG.min(self.settings().job_timeout);
        let asked_from = if self.now() < settled_at { self.sent_at(intent) } else { settled_at };
        // Only the process that saw the name free knows what it removed itself just before.
        let heard = self.moment.started_at <= intent.written_at;
        match &self.seen.account {
            None => Resolution::Pending(Step::ReadAccount(asked_from)),
            Some(Err(delay)) => {
                Resolution::Pending(self.in_doubt(intent, Some(delay), self.retry_at(false, None)).step())
            }
            Some(Ok(seen)) => match &seen.account {
                Some(account) if intent.kind == OperationKind::Create && heard => Resolution::Present(account),
                _ if seen.asked_at < settled_at && !seeded(Bug::YoungListBelieved) => {
                    Resolution::Pending(self.in_doubt(intent, None, settled_at).step())
                }
                Some(account) => Resolution::Present(account),
                None => Resolution::Absent,
            },
        }
    }

    /// The cloud repeats the attempt id in its job records.
    fn resolve_by_job(&self, intent: &'a Intent) -> Resolution<'a> {
        let visible_at = self.sent_at(intent) + JOB_GRACE.min(self.settings().job_timeout);
        match &self.seen.job {
            None => Resolution::Pending(Step::FindJob(LostCall {
                attempt: intent.attempt.clone(),
                kind: call_kind(intent),
                username: intent.username.clone(),
                since: intent.written_at,
            })),
            Some(Err(delay)) => {
                Resolution::Pending(self.in_doubt(intent, Some(delay), self.retry_at(false, None)).step())
            }
            Some(Ok(JobSeen::Found(job))) => Resolution::Job(job.id.clone(), &job.state),
            Some(Ok(JobSeen::NotFound)) if self.now() < visible_at && !seeded(Bug::YoungJobNeverWas) => {
                let next = visible_at.min(self.retry_at(false, None));
                Resolution::Pending(self.in_doubt(intent, None, next).step())
            }
            Some(Ok(JobSeen::NotFound))
                if self.now() > self.sent_at(intent) + JOB_RECORDS_KEPT && !seeded(Bug::OldJobNeverWas) =>
            {
                Resolution::Pending(self.in_doubt(intent, None, self.retry_at(true, None)).step())
            }
            Some(Ok(JobSeen::NotFound)) => Resolution::NoJob,
        }
    }

    /// The outcome is not known: look again at `next`; after twice the job timeout a human should know.
    pub(super) fn in_doubt(&self, intent: &Intent, delay: Option<&Delay>, next: Timestamp) -> Verdict {
        let what = match call_kind(intent) {
            CallKind::Create => "create",
            CallKind::SetPassword => "password",
            CallKind::SetAccess => "access",
            CallKind::Delete => "delete",
        };
        let mut verdict = Verdict::new(
            Reason::OutcomeUnknown,
            format!("The answer to the {what} call was lost; finding out from the cloud whether it took effect."),
        );
        if self.now() > self.sent_at(intent) + self.settings().job_timeout * 2 {
            verdict.reason = Reason::OutcomeStaysUnknown;
            verdict.message = format!(
                "The answer to the {what} call was lost and the cloud does not show whether it took effect. Check \
                 account {} in the cloud console and remove it there, then delete and re-create this object; or set \
                 spec.adoptionPolicy: Adopt with spec.updatePolicy: Recreate to have whatever bears the name deleted \
                 and added again.",
                intent.username
            );
        }
        let mut next = next;
        match delay {
            Some(Delay::Failed(error)) => verdict.error = Some(error.clone()),
            Some(Delay::NotBefore(at)) => next = next.max(*at),
            None => {}
        }
        verdict
            .with_operation(self.operation(intent, OperationState::Unknown, None), self.recorded_job(intent))
            .retry(next)
    }

    /// Follows an accepted job. `Ok`: it has ended; `Err`: the step to take meanwhile, shown as `reason`.
    ///
    /// Its age runs from the latest time at which the call may have been sent that is on record. A process that was stopped
    /// between intent and call may make a job look older than it is. That ends nothing: it is still looked at, only more
    /// seldom, and the cloud's own time of it is on another clock.
    pub(super) fn follow(&self, intent: &'a Intent, job: &JobId, reason: Reason) -> Result<&'a JobState, Step> {
        let age = Duration::try_from(self.now().duration_since(self.sent_at(intent))).unwrap_or_default();
        let first = self.settings().job_poll_interval;
        let next = self.now() + backoff::job_poll_delay(age, first);
        let running = |message: String| {
            Verdict::new(reason, message)
                .with_operation(self.operation(intent, OperationState::Running, None), Some(job.clone()))
        };
        let message = running_message(intent, job);
        if age < first {
            return Err(running(message).at(self.sent_at(intent) + first).step());
        }
        match &self.seen.job {
            None => Err(Step::ReadJob(job.clone())),
            Some(Err(Delay::NotBefore(at))) => Err(running(message).at(*at).step()),
            Some(Err(Delay::Failed(error))) => {
                let verdict = self.fail(error);
                Err(verdict
                    .with_operation(self.operation(intent, OperationState::Running, None), Some(job.clone()))
                    .step())
            }
            Some(Ok(JobSeen::Found(found))) if found.state != JobState::Running => Ok(&found.state),
            // Not visible yet, or still at work: wait, in doubt after the deadline.
            Some(Ok(seen)) => {
                let visible = matches!(seen, JobSeen::Found(_)) || age < JOB_GRACE;
                if visible && age < self.settings().job_timeout {
                    return Err(running(message).at(next).step());
                }
                let mut verdict = Verdict::new(
                    Reason::OutcomeUnknown,
                    format!("Job {job} has not ended in time or is not shown any more; still looking at it."),
                );
                if age > self.settings().job_timeout * 2 {
                    verdict.reason = Reason::OutcomeStaysUnknown;
                }
                let state = self.operation(intent, OperationState::Running, None);
                Err(verdict.with_operation(state, Some(job.clone())).at(next.max(self.now() + JOB_GRACE)).step())
            }
        }
    }

    /// The failed operation of this attempt. One that is on record keeps its time, so that the retry comes when it was
    /// promised.
    pub(super) fn failed(&self, intent: &Intent) -> Operation {
        let on_record =
            |it: &&Operation| it.id == intent.attempt && it.state == OperationState::Failed && it.finished_at.is_some();
        let recorded = self.seen.record.operation.as_ref().filter(on_record);
        recorded.cloned().unwrap_or_else(|| self.operation(intent, OperationState::Failed, Some(self.now())))
    }

    /// The job on record for this attempt.
    pub(super) fn recorded_job(&self, intent: &Intent) -> Option<JobId> {
        let record = &self.seen.record;
        let same = record.operation.as_ref().is_some_and(|operation| operation.id == intent.attempt);
        record.job_id.clone().filter(|_| same)
    }
}

/// Takes a time to the whole second after it.
const ALMOST_A_SECOND: Duration = Duration::from_nanos(999_999_999);

/// `status.operation` for an attempt that was sent when it was announced.
pub(super) fn operation(intent: &Intent, state: OperationState, finished_at: Option<Timestamp>) -> Operation {
    Operation {
        id: intent.attempt.clone(),
        kind: intent.kind,
        phase: intent.phase,
        state,
        started_at: Time(whole_seconds(intent.written_at)),
        finished_at: finished_at.map(whole_seconds).map(Time),
        attempts: i32::try_from(intent.attempts).unwrap_or(i32::MAX),
    }
}

/// The API server keeps whole seconds; a finer time would differ from itself after a round trip.
pub(crate) fn whole_seconds(time: Timestamp) -> Timestamp {
    Timestamp::from_second(time.as_second()).unwrap_or(time)
}

/// The call that an intent announces.
pub(super) fn call_kind(intent: &Intent) -> CallKind {
    match intent.kind {
        OperationKind::Recreate if intent.phase == Some(OperationPhase::Removing) => CallKind::Delete,
        OperationKind::Create | OperationKind::Recreate => CallKind::Create,
        OperationKind::SetPassword => CallKind::SetPassword,
        OperationKind::SetAccess => CallKind::SetAccess,
        OperationKind::Delete => CallKind::Delete,
    }
}

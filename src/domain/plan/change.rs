//! Password and access of an account of ours, changed in place: announced, followed, confirmed.

use super::{
    AccountChange, LIST_LAG, Situation, Step, Verdict,
    attempt::{Attempt, Resolution, call_kind},
    call::Draft,
    settled::ACCOUNT_READY,
};
use crate::{
    api::{
        conditions::Reason,
        user::{OperationKind, OperationState},
    },
    domain::{
        journal::Intent,
        names::JobId,
        seen::{CallSeen, InstanceFacts, InstanceSeen, SecretSeen},
    },
    provider::contract::{Accepted, Access, CallError, CallKind, ErrorClass, JobState},
};

impl<'a> Situation<'a> {
    pub(super) fn change_under_way(&self, intent: &Intent, facts: &'a InstanceFacts) -> Option<Step> {
        let reason = reason_of_change(intent.kind);
        match self.attempt(intent.kind) {
            Attempt::None | Attempt::Refused => None,
            Attempt::Announced(intent) => Some(match &self.seen.call {
                None => Step::Call(call_kind(intent)),
                Some(call) => self.after_change(intent, call, facts),
            }),
            Attempt::NotApplied(intent) => self.seen.call.as_ref().map(|call| self.after_change(intent, call, facts)),
            Attempt::Running(..) if !facts.connected => Some(self.not_connected(facts)),
            Attempt::Running(intent, job) => Some(match self.follow(intent, &job, reason) {
                Err(step) => step,
                Ok(state) => self.change_ended(intent, job, state),
            }),
            Attempt::JobFailed(intent, job, failed) => {
                let since = failed.finished_at.as_ref().map_or(self.now(), |time| time.0);
                let wait = self.now() < since + self.settings().retry_max && !self.wish_changed_since(intent);
                wait.then(|| self.change_failed(intent, &job, None))
            }
            // No list shows a password: it is sent again.
            Attempt::Unknown(intent) if intent.kind == OperationKind::SetPassword && !jobs(facts) => {
                self.late_effect(intent)
            }
            Attempt::Unknown(_) if !facts.connected => Some(self.not_connected(facts)),
            Attempt::Unknown(intent) => match self.resolve(intent, facts) {
                Resolution::Pending(step) => Some(step),
                Resolution::Present(account) if *account.access == intent.access => {
                    Some(self.change_confirmed(intent, None))
                }
                Resolution::Job(job, state) => Some(self.change_ended(intent, job, state)),
                Resolution::Absent => Some(self.missing(facts)),
                Resolution::Present(_) | Resolution::NoJob => None,
            },
        }
    }

    fn after_change(&self, intent: &Intent, call: &CallSeen, facts: &InstanceFacts) -> Step {
        match &call.outcome {
            Ok(Accepted::Done) => self.change_confirmed(intent, None),
            Ok(Accepted::Job(job)) => self.job_running(intent, job.clone(), reason_of_change(intent.kind)),
            Err(CallError::NotApplied(error)) if error.class == ErrorClass::AccountNotFound => self.missing(facts),
            Err(CallError::NotApplied(error)) => match self.listed_after(intent, error) {
                Err(step) => step,
                Ok(Some(false)) => self.missing(facts),
                Ok(_) => self.refused_call(intent, error),
            },
            Err(CallError::Unknown(error)) => self.lost(intent, error),
        }
    }

    fn change_ended(&self, intent: &Intent, job: JobId, state: &JobState) -> Step {
        match state {
            JobState::Succeeded => self.change_confirmed(intent, Some(job)),
            JobState::Running => self.job_running(intent, job, reason_of_change(intent.kind)),
            JobState::Failed(why) => self.change_failed(intent, &job, why.as_deref()),
        }
    }

    fn change_confirmed(&self, intent: &Intent, job: Option<JobId>) -> Step {
        let mut verdict = Verdict::new(Reason::AccountReady, ACCOUNT_READY)
            .with_operation(self.operation(intent, OperationState::Succeeded, Some(self.now())), job);
        let password = intent.secret.clone().zip(intent.fingerprint.clone());
        // A change of access leaves the password as it is on record, unless nothing is on record yet.
        let password =
            password.filter(|_| intent.kind == OperationKind::SetPassword || self.seen.record.password.is_none());
        verdict.account = AccountChange::Confirmed(intent.access.clone(), password);
        let due = self.still_due(intent, &intent.access);
        self.ready_or_due(verdict, due)
    }

    /// A call whose answer was lost may still take effect, and would undo what is done after it: time to let it pass.
    pub(super) fn late_effect(&self, intent: &Intent) -> Option<Step> {
        let over = self.sent_at(intent) + LIST_LAG.min(self.settings().job_timeout);
        (self.now() < over).then(|| self.in_doubt(intent, None, over).step())
    }

    /// Ends the pass of an account that was just confirmed, or where more is due leads to the next.
    pub(super) fn ready_or_due(&self, mut verdict: Verdict, due: Option<Reason>) -> Step {
        let Some(reason) = due else { return self.ready(verdict) };
        verdict.reason = reason;
        "A change is in force, and the next one is due.".clone_into(&mut verdict.message);
        verdict.at(self.now()).step()
    }

    /// What is due after a change: access and password may have been changed together, and a job leaves time for new
    /// wishes.
    pub(super) fn still_due(&self, intent: &Intent, in_force: &Access) -> Option<Reason> {
        let InstanceSeen::Present(facts) = &self.seen.instance else { return None };
        if facts.provider.rules().access(&self.desired.access).is_ok_and(|wanted| wanted != *in_force) {
            return Some(Reason::UpdatingAccess);
        }
        let noted = self.seen.record.password.as_ref().filter(|_| intent.kind == OperationKind::SetAccess);
        let known = match noted {
            Some(noted) if noted.key_id != self.moment.key_id => None,
            Some(noted) => Some(&noted.secret),
            None => intent.secret.as_ref(),
        };
        let source = &self.desired.password;
        let same_password = known.is_some_and(|known| {
            let same_version = match &self.seen.secret {
                SecretSeen::Present { uid, resource_version } => {
                    known.uid == *uid && known.resource_version == *resource_version
                }
                SecretSeen::Missing => true,
            };
            same_version && known.name == source.secret && known.revision == source.revision
        });
        (!same_password).then_some(Reason::UpdatingPassword)
    }

    fn change_failed(&self, intent: &Intent, job: &JobId, why: Option<&str>) -> Step {
        let exits = "what was in force before still is.";
        self.job_failed(intent, job, why, exits, self.settings().retry_max).step()
    }

    pub(super) fn change(&self, facts: &InstanceFacts, call: CallKind, draft: Draft) -> Step {
        if let Err(step) = self.reachable(facts) {
            return step;
        }
        let reason = reason_of_change(draft.kind);
        if let Err(step) = self.paced(reason).and_then(|()| self.turn(facts, call, reason)) {
            return step;
        }
        let reuse = self.reusable(draft.kind);
        self.announce(facts, draft, reuse)
    }
}

fn reason_of_change(kind: OperationKind) -> Reason {
    match kind {
        OperationKind::SetPassword => Reason::UpdatingPassword,
        _ => Reason::UpdatingAccess,
    }
}

fn jobs(facts: &InstanceFacts) -> bool {
    facts.provider.rules().capabilities().jobs
}

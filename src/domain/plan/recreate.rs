//! An account of ours that the cloud cannot change in place: deleted, then added as the manifest says.
//!
//! The intent's phase tells which of the two calls it announces. Between them the account does not exist, so whatever
//! happens the addition follows.

use std::time::Duration;

use jiff::Timestamp;

use super::{
    AccountChange, LIST_FRESH, Situation, Step, Verdict,
    attempt::{Attempt, Resolution},
    call::Draft,
    refused,
};
use crate::seeded::{Bug, seeded};
use crate::{
    api::{
        conditions::Reason,
        user::{Operation, OperationKind, OperationPhase, OperationState},
    },
    domain::{
        journal::Intent,
        names::JobId,
        seen::{CallSeen, InstanceFacts},
    },
    provider::contract::{Accepted, CallError, CallKind, ErrorClass, JobState},
};

/// An account is re-created at most once in this time: each time its clients are cut off, and a Secret that flaps must
/// not do that all day.
const RECREATE_EVERY: Duration = Duration::from_secs(600);

/// Begins with the deletion, once everything that the addition needs is in hand: what cannot be built again is not
/// destroyed. `adopting`: the account is not ours, and people have allowed to replace it.
pub(super) fn begin(situation: &Situation<'_>, facts: &InstanceFacts, adopting: bool) -> Step {
    let rules = facts.provider.rules();
    let access = match rules.access(&situation.desired.access) {
        Ok(access) => access,
        Err(refusal) => return refused(&refusal),
    };
    if let Some(at) = situation.recreated_at().map(|at| at + RECREATE_EVERY).filter(|at| situation.now() < *at) {
        let message = format!(
            "The account was re-created a short while ago, and this is done at most once in 10 minutes; the next time is \
             {at:.0}. Until then the access in status.applied and the password before the change are in force."
        );
        return Verdict::new(Reason::Recreating, message).at(at).step();
    }
    let password = match situation.password() {
        Ok(password) => Some(password),
        Err(Step::Settle(_)) if seeded(Bug::RecreatedWithoutPassword) => None,
        Err(step) => return step,
    };
    if let Err(step) = situation.reachable(facts) {
        return step;
    }
    // The instance's own condition may be as old as the drift interval.
    match &situation.seen.account {
        None => return Step::ReadAccount(situation.now() - LIST_FRESH),
        Some(Err(delay)) => {
            return situation.delayed(delay, Reason::Recreating, "Waiting to look at the instance.").step();
        }
        Some(Ok(_)) => {}
    }
    // A turn for creations: mass deletion is slowed, and this is none.
    let turn = || situation.turn(facts, CallKind::Create, Reason::Recreating);
    if let Err(step) = situation.paced(Reason::Recreating).and_then(|()| turn()) {
        return step;
    }
    let draft = Draft {
        phase: Some(OperationPhase::Removing),
        adopting,
        ..Draft::new(OperationKind::Recreate, access, password)
    };
    situation.announce(facts, draft, situation.reusable(OperationKind::Recreate))
}

/// A re-creation that has begun. `None`: nothing was destroyed, so whether it is still wished can be asked anew.
pub(super) fn next<'a>(situation: &Situation<'a>, intent: &'a Intent, facts: &'a InstanceFacts) -> Option<Step> {
    if seeded(Bug::RecreationForgotten) && !situation.desired.recreate {
        return None;
    }
    if intent.phase == Some(OperationPhase::Adding) {
        return situation.adding(facts);
    }
    if let Some(removed) = situation.removal_ended(intent) {
        return Some(situation.add(intent, removed, situation.recorded_job(intent), facts));
    }
    match situation.attempt(OperationKind::Recreate) {
        Attempt::None | Attempt::Refused => None,
        Attempt::Announced(intent) => Some(
            situation
                .seen
                .call
                .as_ref()
                .map_or(Step::Call(CallKind::Delete), |call| situation.after_removal(intent, call)),
        ),
        Attempt::NotApplied(intent) => situation.seen.call.as_ref().map(|call| situation.after_removal(intent, call)),
        Attempt::JobFailed(intent, job, _) => Some(situation.add(intent, Removal::Failed, Some(job), facts)),
        Attempt::Running(..) | Attempt::Unknown(_) if !facts.connected => Some(situation.not_connected(facts)),
        Attempt::Running(intent, job) => Some(match situation.follow(intent, &job, Reason::Recreating) {
            Err(step) => step,
            Ok(JobState::Failed(_)) => situation.add(intent, Removal::Failed, Some(job), facts),
            Ok(_) => situation.add(intent, Removal::Done, Some(job), facts),
        }),
        Attempt::Unknown(intent) => match situation.resolve(intent, facts) {
            Resolution::Pending(step) => Some(step),
            Resolution::Job(job, JobState::Running) => Some(situation.job_running(intent, job, Reason::Recreating)),
            Resolution::Job(job, JobState::Failed(_)) => Some(situation.add(intent, Removal::Failed, Some(job), facts)),
            Resolution::Job(job, JobState::Succeeded) => Some(situation.add(intent, Removal::Done, Some(job), facts)),
            Resolution::Absent => Some(situation.add(intent, Removal::Done, None, facts)),
            Resolution::NoJob | Resolution::Present(_) => None,
        },
    }
}

/// What became of the deletion.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Removal {
    /// The account is gone.
    Done,
    /// It may still be there; the addition tells.
    Failed,
}

impl<'a> Situation<'a> {
    /// The deletion has ended, and status says how, because the addition could not follow at once.
    pub(super) fn removal_ended(&self, intent: &Intent) -> Option<Removal> {
        let operation = self.seen.record.operation.as_ref().filter(|it| it.id == intent.attempt)?;
        let removed =
            intent.phase == Some(OperationPhase::Removing) && operation.phase == Some(OperationPhase::Removed);
        match operation.state {
            OperationState::Succeeded if removed => Some(Removal::Done),
            OperationState::Failed if removed => Some(Removal::Failed),
            _ => None,
        }
    }

    /// When the account was last re-created.
    fn recreated_at(&self) -> Option<Timestamp> {
        let adding = Some(OperationPhase::Adding);
        let intent = self.seen.intent.as_ref().filter(|it| it.kind == OperationKind::Recreate && it.phase == adding);
        let recorded = self.seen.record.operation.as_ref();
        let recorded = recorded.filter(|it| it.kind == OperationKind::Recreate && it.phase == adding);
        intent.map(|it| it.written_at).into_iter().chain(recorded.map(|it| it.started_at.0)).max()
    }

    fn after_removal(&self, intent: &Intent, call: &CallSeen) -> Step {
        match &call.outcome {
            Ok(Accepted::Job(job)) => self.job_running(intent, job.clone(), Reason::Recreating),
            Ok(Accepted::Done) => self.removed(intent),
            Err(CallError::NotApplied(error)) if error.class == ErrorClass::AccountNotFound => self.removed(intent),
            Err(CallError::NotApplied(error)) => self.refused_call(intent, error),
            Err(CallError::Unknown(error)) => self.lost(intent, error),
        }
    }

    /// The deletion was answered in this pass; the addition is the next pass's change.
    fn removed(&self, intent: &Intent) -> Step {
        let verdict = Verdict::new(Reason::Recreating, "Adding the account again.").at(self.now());
        self.between(verdict, intent, Removal::Done, None).step()
    }

    /// The account does not exist, or may not: adds it, whatever `updatePolicy` says now.
    fn add(&self, intent: &Intent, removal: Removal, job: Option<JobId>, facts: &InstanceFacts) -> Step {
        match self.addition(intent, removal == Removal::Failed, None, facts) {
            Step::Settle(verdict) => self.between(*verdict, intent, removal, job).step(),
            step => step,
        }
    }

    fn addition(&self, before: &Intent, removal_failed: bool, reuse: Option<&Intent>, facts: &InstanceFacts) -> Step {
        let access = match facts.provider.rules().access(&self.desired.access) {
            Ok(access) => access,
            Err(refusal) => return refused(&refusal),
        };
        let password = match self.password() {
            Ok(password) => password,
            Err(step) => return step,
        };
        if let Err(step) = self.reachable(facts) {
            return step;
        }
        if let Err(step) = self.turn(facts, CallKind::Create, Reason::Recreating) {
            return step;
        }
        let draft = Draft {
            phase: Some(OperationPhase::Adding),
            adopting: before.adopting,
            removal_failed,
            ..Draft::new(OperationKind::Recreate, access, Some(password))
        };
        self.announce(facts, draft, reuse)
    }

    /// A verdict in the time between the two calls: it says that the account does not exist now.
    fn between(&self, mut verdict: Verdict, intent: &Intent, removal: Removal, job: Option<JobId>) -> Verdict {
        let recorded = self.removal_ended(intent).and(self.seen.record.operation.clone());
        let operation = recorded.unwrap_or_else(|| {
            let state = match removal {
                Removal::Done => OperationState::Succeeded,
                Removal::Failed => OperationState::Failed,
            };
            let operation = self.operation(intent, state, Some(self.now()));
            Operation { phase: Some(OperationPhase::Removed), ..operation }
        });
        if removal == Removal::Done {
            verdict.message =
                format!("The account does not exist now, between deletion and addition. {}", verdict.message);
            verdict.account = AccountChange::Gone;
        }
        verdict.quiet = false;
        verdict.with_operation(operation, job)
    }

    fn adding(&self, facts: &'a InstanceFacts) -> Option<Step> {
        let step = match self.attempt(OperationKind::Recreate) {
            Attempt::None => return None,
            Attempt::Announced(intent) => match &self.seen.call {
                None => Step::Call(CallKind::Create),
                Some(call) => self.after_addition(intent, call),
            },
            Attempt::NotApplied(intent) => match &self.seen.call {
                None => self.addition(intent, intent.removal_failed, Some(intent), facts),
                Some(call) => self.after_addition(intent, call),
            },
            Attempt::Refused => return self.add_again(facts),
            Attempt::Running(..) | Attempt::Unknown(_) if !facts.connected => self.not_connected(facts),
            Attempt::Running(intent, job) => match self.follow(intent, &job, Reason::Recreating) {
                Err(step) => self.or_exit(step, intent, facts),
                Ok(state) => self.addition_ended(intent, job, state),
            },
            Attempt::JobFailed(intent, ..) if self.left_as_it_was(intent) => return None,
            Attempt::JobFailed(intent, job, failed) => {
                let retry_at = failed.finished_at.as_ref().map_or(self.now(), |time| time.0) + self.addition_pause();
                if self.now() >= retry_at || self.wish_changed_since(intent) {
                    return self.add_again(facts);
                }
                self.addition_failed(intent, &job, None)
            }
            Attempt::Unknown(intent) => match self.resolve(intent, facts) {
                Resolution::Pending(step) => self.or_exit(step, intent, facts),
                Resolution::Job(job, state) => self.addition_ended(intent, job, state),
                Resolution::Present(account) => self.confirmed(intent, None, (*account.access).clone()),
                Resolution::NoJob | Resolution::Absent => return self.add_again(facts),
            },
        };
        Some(step)
    }

    /// Where the old account may still be there, adding alone never ends: the whole begins anew. An adoption deletes once
    /// and no more. `None`: nothing is to be done again.
    fn add_again(&self, facts: &InstanceFacts) -> Option<Step> {
        let before = self.seen.intent.as_ref()?;
        if self.left_as_it_was(before) {
            return None;
        }
        if before.removal_failed && !before.adopting {
            return Some(begin(self, facts, false));
        }
        Some(self.addition(before, before.removal_failed, None, facts))
    }

    /// Both calls of the re-creation failed, and it is not wished any more.
    fn left_as_it_was(&self, intent: &Intent) -> bool {
        intent.removal_failed && !intent.adopting && !self.desired.recreate
    }

    fn after_addition(&self, intent: &Intent, call: &CallSeen) -> Step {
        match &call.outcome {
            Ok(Accepted::Job(job)) => self.job_running(intent, job.clone(), Reason::Recreating),
            Ok(Accepted::Done) => self.confirmed(intent, None, intent.access.clone()),
            Err(CallError::NotApplied(error)) => self.refused_call(intent, error),
            Err(CallError::Unknown(error)) => self.lost(intent, error),
        }
    }

    fn addition_ended(&self, intent: &Intent, job: JobId, state: &JobState) -> Step {
        match state {
            JobState::Succeeded => self.confirmed(intent, Some(job), intent.access.clone()),
            JobState::Running => self.job_running(intent, job, Reason::Recreating),
            JobState::Failed(why) => self.addition_failed(intent, &job, why.as_deref()),
        }
    }

    fn addition_failed(&self, intent: &Intent, job: &JobId, why: Option<&str>) -> Step {
        let exits = if intent.removal_failed {
            format!("the deletion before it failed too, so account {} is likely as it was before.", intent.username)
        } else {
            format!("account {} was deleted to be added again and does not exist now.", intent.username)
        };
        self.job_failed(intent, job, why, &exits, self.addition_pause()).step()
    }

    fn addition_pause(&self) -> Duration {
        self.settings().retry_max.max(RECREATE_EVERY)
    }
}

//! What every changing call needs before it is made, and what may come of it at once.

use super::{
    Situation, Step, Verdict,
    attempt::{Attempt, call_kind},
    is_stalled, refused, settle,
};
use crate::seeded::{Bug, seeded};
use crate::{
    api::{
        conditions::Reason,
        user::{OperationKind, OperationPhase, OperationState},
    },
    domain::{
        journal::{Intent, SecretVersion},
        names::{Fingerprint, JobId},
        seen::{InstanceFacts, InstanceSeen, PasswordSeen, SecretSeen},
    },
    provider::contract::{Access, CallKind, CloudError, Delay, ErrorClass, Turn},
};

/// What an intent says of its own call; the rest is the same for every call.
pub(super) struct Draft {
    pub kind: OperationKind,
    pub phase: Option<OperationPhase>,
    pub adopting: bool,
    pub removal_failed: bool,
    pub absent_at: Option<jiff::Timestamp>,
    pub access: Access,
    pub password: Option<(SecretVersion, Fingerprint)>,
}

impl Draft {
    pub(super) fn new(kind: OperationKind, access: Access, password: Option<(SecretVersion, Fingerprint)>) -> Self {
        Self { kind, phase: None, adopting: false, removal_failed: false, absent_at: None, access, password }
    }
}

impl<'a> Situation<'a> {
    /// Makes the call, its intent durable before. `reuse`: an attempt that certainly had no effect; where it announces
    /// the same, it is made again under its id.
    pub(super) fn announce(&self, facts: &InstanceFacts, draft: Draft, reuse: Option<&Intent>) -> Step {
        let (secret, fingerprint) = draft.password.unzip();
        let same = |it: &&Intent| {
            (it.kind, it.phase, it.adopting) == (draft.kind, draft.phase, draft.adopting)
                && it.access == draft.access
                && it.fingerprint == fingerprint
        };
        if let Some(intent) = reuse.filter(same) {
            return Step::Call(call_kind(intent));
        }
        if seeded(Bug::CallBeforeIntent) && self.seen.call.is_none() {
            return Step::Call(if draft.kind == OperationKind::Delete { CallKind::Delete } else { CallKind::Create });
        }
        Step::WriteIntent(Box::new(Intent {
            uid: self.desired.uid.clone(),
            instance_key: facts.key.clone(),
            username: self.desired.username.clone(),
            kind: draft.kind,
            phase: draft.phase,
            attempt: self.moment.attempt.clone(),
            attempts: self.attempts(draft.kind) + 1,
            written_at: self.now(),
            absent_at: draft.absent_at,
            adopting: draft.adopting,
            removal_failed: draft.removal_failed,
            access: draft.access,
            fingerprint,
            secret,
            key_id: self.moment.key_id.clone(),
        }))
    }

    /// How many attempts the operation at hand has had.
    fn attempts(&self, kind: OperationKind) -> u32 {
        let Some(intent) = self.seen.intent.as_ref().filter(|intent| intent.kind == kind) else { return 0 };
        let operation = self.seen.record.operation.as_ref().filter(|it| it.id == intent.attempt);
        let ended = operation.is_some_and(|it| {
            it.state == OperationState::Succeeded && it.phase.is_none_or(|phase| phase == OperationPhase::Adding)
        });
        if ended { 0 } else { intent.attempts }
    }

    /// The password to send, or the step that gets it or says why there is none.
    pub(super) fn password(&self) -> Result<(SecretVersion, Fingerprint), Step> {
        let source = &self.desired.password;
        match &self.seen.password {
            None if self.seen.secret == SecretSeen::Missing => {
                Err(settle(Reason::WaitingForSecret, format!("Waiting for Secret {} to be created.", source.secret)))
            }
            None => Err(Step::ReadPassword),
            Some(PasswordSeen::Missing(what)) => Err(settle(Reason::WaitingForSecret, format!("Waiting for {what}."))),
            Some(PasswordSeen::Unreadable(why)) => {
                Err(Verdict::new(Reason::WaitingForSecret, why).retry(self.retry_at(false, None)).step())
            }
            Some(PasswordSeen::Refused(_, _, refusal)) => Err(refused(refusal)),
            Some(PasswordSeen::Usable(secret, fingerprint)) => Ok((secret.clone(), fingerprint.clone())),
        }
    }

    /// The instance can be changed now, as far as its own condition says.
    pub(super) fn reachable(&self, facts: &InstanceFacts) -> Result<(), Step> {
        match &facts.state {
            Some((Reason::Reachable, _)) if facts.connected => Ok(()),
            _ => Err(self.not_connected(facts)),
        }
    }

    /// The user's reason while its instance is in trouble.
    pub(super) fn not_connected(&self, facts: &InstanceFacts) -> Step {
        let name = &self.desired.instance_name;
        match &facts.state {
            None | Some((Reason::Reachable, _)) => {
                let message = format!("Waiting for the first look at instance {name}.");
                Verdict::new(Reason::WaitingForInstance, message).quietly().step()
            }
            Some((reason, message)) if shown_by_users(*reason) => {
                settle(*reason, format!("Instance {name}: {message}"))
            }
            Some((_, message)) => settle(Reason::WaitingForInstance, format!("Waiting for instance {name}: {message}")),
        }
    }

    /// The last change of this user is long enough ago for another.
    pub(super) fn paced(&self, reason: Reason) -> Result<(), Step> {
        let Some(at) = self.moment.changeable_from.filter(|at| self.now() < *at) else { return Ok(()) };
        let message = format!("The last change was made a moment ago; the next one is made at {at:.0}.");
        Err(Verdict::new(reason, message).at(at).quietly().step())
    }

    /// It is our turn to change something on the instance, and the instance object stays while we are at it.
    pub(super) fn turn(&self, facts: &InstanceFacts, kind: CallKind, reason: Reason) -> Result<(), Step> {
        match &self.seen.turn {
            None => Err(Step::TakeTurn(kind)),
            Some(Turn::Ours) if !facts.held && kind != CallKind::Delete => Err(Step::HoldInstance),
            Some(Turn::Ours) => Ok(()),
            Some(Turn::Waiting) => {
                Err(Verdict::new(reason, "Waiting for another operation on the instance to end.").quietly().step())
            }
            Some(Turn::Busy(at)) => {
                let message = "Waiting for another operation on the instance to end.";
                Err(Verdict::new(Reason::InstanceBusy, message).at(*at).quietly().step())
            }
            Some(Turn::DeletionLimited(at)) => {
                let message =
                    format!("Many accounts of the instance were deleted lately (--max-deletes); goes on at {at:.0}.");
                Err(Verdict::new(Reason::DeletionLimited, message).at(*at).step())
            }
            Some(Turn::NotBefore(at)) => {
                Err(Verdict::new(reason, "Waiting for the call budget of the credential.").at(*at).quietly().step())
            }
        }
    }

    /// The manifest or the Secret changed since the intent was written: a stalled try may be made at once.
    pub(super) fn wish_changed_since(&self, intent: &Intent) -> bool {
        let secret_changed = match (&self.seen.secret, &intent.secret) {
            (SecretSeen::Present { uid, resource_version }, Some(sent)) => {
                sent.uid != *uid || sent.resource_version != *resource_version
            }
            _ => false,
        };
        secret_changed || self.desired.generation != self.seen.record.observed_generation
    }

    /// A cloud may say "exists" or "does not exist" with a code that means anything. Where it can be listed, the list
    /// decides: whether the account is there after the refused call; `None` where that cannot be told now.
    pub(super) fn listed_after(&self, intent: &Intent, refusal: &CloudError) -> Result<Option<bool>, Step> {
        let InstanceSeen::Present(facts) = &self.seen.instance else { return Ok(None) };
        let vague = matches!(refusal.class, ErrorClass::InvalidSpec | ErrorClass::Rejected);
        if !vague || !facts.provider.rules().capabilities().list {
            return Ok(None);
        }
        match &self.seen.account {
            Some(Ok(seen)) if seen.asked_at >= self.sent_at(intent) => Ok(Some(seen.account.is_some())),
            // A list was read a moment before the call. Once another may be had, the call is refused again and the list
            // says why; taken for a plain refusal, it would stall a user that has nothing to mend.
            Some(Err(Delay::NotBefore(at))) => {
                let reason = if intent.kind == OperationKind::Delete { Reason::Deleting } else { Reason::Creating };
                let mut verdict =
                    Verdict::new(reason, "The call was refused; waiting to list the accounts to see why.");
                verdict.error = Some(refusal.clone());
                let pending = self.operation(intent, OperationState::Pending, None);
                Err(verdict.with_operation(pending, None).at(*at).step())
            }
            Some(Err(Delay::Failed(_))) => Ok(None),
            _ => Err(Step::ReadAccount(self.sent_at(intent))),
        }
    }

    /// The call was accepted as a job, or that job is still at work.
    pub(super) fn job_running(&self, intent: &Intent, job: JobId, reason: Reason) -> Step {
        // The same words as of a job that is followed: the next pass then has nothing new to write.
        Verdict::new(reason, running_message(intent, &job))
            .with_operation(self.operation(intent, OperationState::Running, None), Some(job))
            .at(self.now() + self.settings().job_poll_interval)
            .step()
    }

    /// The cloud refused for certain: the same attempt may be made again, or where people must act, a new one.
    ///
    /// What is repeated under its id leaves no trace before its answer is on record, so after a restart its outcome has to
    /// be read: an account that somebody else made meanwhile would look like ours, and a search for its job would cost
    /// calls of a small quota. Within seconds that is worth the writes saved; where people take days it is not.
    pub(super) fn refused_call(&self, intent: &Intent, error: &CloudError) -> Step {
        let verdict = self.fail(error);
        // While status owns nothing, a change that has not ended is the proof that the account is ours.
        let proves = !intent.adopting
            && matches!(intent.kind, OperationKind::SetPassword | OperationKind::SetAccess)
            && self.seen.record.applied.is_none();
        let (state, finished_at) = if is_stalled(verdict.reason) && !proves {
            (OperationState::Failed, Some(self.now()))
        } else {
            (OperationState::Pending, None)
        };
        verdict.with_operation(self.operation(intent, state, finished_at), None).step()
    }

    /// Nobody knows whether the call took effect: look soon.
    pub(super) fn lost(&self, intent: &Intent, error: &CloudError) -> Step {
        let next = self.retry_at(false, error.pause);
        let mut verdict = self.in_doubt(intent, None, next);
        verdict.error = Some(error.clone());
        verdict.step()
    }

    /// A job failed, and the cloud tells no cause. `exits`: what people can do; `next`: when it is tried again.
    pub(super) fn job_failed(
        &self,
        intent: &Intent,
        job: &JobId,
        why: Option<&str>,
        exits: &str,
        pause: std::time::Duration,
    ) -> Verdict {
        let cause = why.filter(|why| !why.is_empty()).map_or_else(String::new, |why| format!(" with code {why}"));
        let message = format!(
            "Job {job} failed{cause}. The cloud gives no cause; {exits} It is tried again slowly, and at once when the \
             manifest or the Secret changes."
        );
        let failed = self.failed(intent);
        let since = failed.finished_at.as_ref().map_or(self.now(), |time| time.0);
        let mut verdict = Verdict::new(Reason::JobFailed, message);
        let mut error = CloudError::new(ErrorClass::Rejected, format!("job {job} failed"));
        if let Some(why) = why.filter(|why| !why.is_empty()) {
            error = error.with_code(why);
        }
        verdict.error = Some(error);
        verdict.with_operation(failed, Some(job.clone())).retry(since + pause)
    }

    /// An attempt of this kind that certainly had no effect and may be made again under its id.
    pub(super) fn reusable(&self, kind: OperationKind) -> Option<&'a Intent> {
        match self.attempt(kind) {
            Attempt::NotApplied(intent) => Some(intent),
            _ => None,
        }
    }
}

/// What people read while a job is at work.
pub(super) fn running_message(intent: &Intent, job: &JobId) -> String {
    match (intent.kind, intent.phase) {
        (OperationKind::Recreate, Some(OperationPhase::Removing)) => {
            format!("Job {job} is deleting the account, which is added again after it.")
        }
        (OperationKind::Recreate, _) => format!("Job {job} is adding the account again; until then it does not exist."),
        _ => format!("Job {job} is running."),
    }
}

/// Instance reasons that a user with work pending shows as its own.
fn shown_by_users(reason: Reason) -> bool {
    matches!(
        reason,
        Reason::ProviderUnavailable
            | Reason::Throttled
            | Reason::AccessDenied
            | Reason::InstanceNotFound
            | Reason::InstanceUnavailable
            | Reason::NotAllowed
    )
}

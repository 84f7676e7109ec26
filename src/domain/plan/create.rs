//! An account that is not ours yet: check everything that can be checked, announce the create, make it, follow it.

use super::{
    AccountChange, LIST_FRESH, LIST_SHARED, Situation, Step, Verdict,
    attempt::{Attempt, Resolution},
    is_stalled, refused, settle,
};
use crate::{
    api::{
        conditions::Reason,
        user::{OperationKind, OperationState},
    },
    domain::{
        journal::{Intent, SecretVersion},
        names::{Fingerprint, JobId},
        seen::{CallSeen, InstanceFacts, InstanceSeen, PasswordSeen, SecretSeen},
    },
    provider::contract::{Accepted, Access, CallError, CallKind, CloudError, ErrorClass, JobState, Turn},
};

pub(super) fn next(situation: &Situation<'_>) -> Step {
    let facts = match situation.instance() {
        Ok(facts) => facts,
        Err(step) => return step,
    };
    let attempt = situation.attempt(OperationKind::Create);
    if let Some(intent) = situation.seen.intent.as_ref().filter(|intent| intent.instance_key != facts.key) {
        return match attempt {
            Attempt::NotApplied(_) | Attempt::Refused => situation.checked(None, facts),
            _ => settle(Reason::InstanceChanged, instance_changed(situation, intent.instance_key.as_str())),
        };
    }
    match attempt {
        Attempt::None | Attempt::Refused => situation.checked(None, facts),
        Attempt::Announced(intent) => match &situation.seen.call {
            None => Step::Call(CallKind::Create),
            Some(call) => situation.after_create(intent, call),
        },
        Attempt::NotApplied(intent) => match &situation.seen.call {
            None => situation.checked(Some(intent), facts),
            Some(call) => situation.after_create(intent, call),
        },
        Attempt::JobFailed(intent, job, failed) => {
            let retry_at =
                failed.finished_at.as_ref().map_or(situation.now(), |time| time.0) + situation.settings().retry_max;
            if situation.now() >= retry_at || situation.wish_changed_since(intent) {
                return situation.checked(None, facts);
            }
            job_failed(situation, intent, &job, None)
        }
        Attempt::Running(intent, job) => {
            if !facts.connected {
                return situation.not_connected(facts);
            }
            match situation.follow(intent, &job, Reason::JobRunning) {
                Err(step) => step,
                Ok(state) => situation.create_ended(intent, &job, state),
            }
        }
        Attempt::Unknown(intent) => {
            if !facts.connected {
                return situation.not_connected(facts);
            }
            match situation.resolve(intent, facts) {
                Resolution::Pending(step) => step,
                Resolution::Present(account) if account.built_in => account_exists(situation).step(),
                Resolution::Present(account) => situation.confirmed(intent, None, account.access.clone()),
                Resolution::Absent | Resolution::NoJob => situation.checked(None, facts),
                Resolution::Job(job, JobState::Running) => situation.job_accepted(intent, job),
                Resolution::Job(job, state) => situation.create_ended(intent, &job, state),
            }
        }
    }
}

impl<'a> Situation<'a> {
    /// All that can be known without a changing call; then the intent, then the call.
    fn checked(&self, reuse: Option<&Intent>, facts: &InstanceFacts) -> Step {
        if let Some(rival) = self.seen.rival.as_ref().filter(|_| !self.seen.finalizer) {
            return settle(Reason::AccountConflict, rival);
        }
        let rules = facts.provider.rules();
        let access =
            match rules.username(self.desired.username.as_str()).and_then(|()| rules.access(&self.desired.access)) {
                Ok(access) => access,
                Err(refusal) => return refused(&refusal),
            };
        let (secret, fingerprint) = match self.password() {
            Ok(password) => password,
            Err(step) => return step,
        };
        if let Err(step) = self.instance_ready(facts) {
            return step;
        }
        let absent_at = if rules.capabilities().list {
            match self.name_is_free() {
                Ok(asked_at) => Some(asked_at),
                Err(step) => return step,
            }
        } else {
            None
        };
        if let Err(step) = self.turn(CallKind::Create, Reason::Creating) {
            return step;
        }
        if !facts.held {
            return Step::HoldInstance;
        }
        if reuse.is_some_and(|it| it.access == access && it.fingerprint.as_ref() == Some(&fingerprint)) {
            return Step::Call(CallKind::Create);
        }
        Step::WriteIntent(Box::new(Intent {
            uid: self.desired.uid.clone(),
            instance_key: facts.key.clone(),
            username: self.desired.username.clone(),
            kind: OperationKind::Create,
            phase: None,
            attempt: self.moment.attempt.clone(),
            attempts: self.attempts(OperationKind::Create) + 1,
            written_at: self.now(),
            absent_at,
            access,
            fingerprint: Some(fingerprint),
            secret: Some(secret),
            key_id: self.moment.key_id.clone(),
        }))
    }

    /// The password to send, or the step that gets it or says why there is none.
    fn password(&self) -> Result<(SecretVersion, Fingerprint), Step> {
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

    /// The instance takes new accounts now, as far as its own condition says.
    fn instance_ready(&self, facts: &InstanceFacts) -> Result<(), Step> {
        if facts.terminating {
            let message = format!(
                "{} {} is being deleted and takes no new users.",
                "ClickHouseInstance", self.desired.instance_name
            );
            return Err(settle(Reason::WaitingForInstance, message));
        }
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

    /// The name is free, in a list fresh enough to say so; since when.
    fn name_is_free(&self) -> Result<jiff::Timestamp, Step> {
        match &self.seen.account {
            None => Err(Step::ReadAccount(self.now() - LIST_FRESH)),
            Some(Err(delay)) => {
                Err(self.delayed(delay, Reason::Creating, "Waiting to list the instance's accounts.").step())
            }
            Some(Ok(seen)) if seen.account.is_none() => Ok(seen.asked_at),
            // An older list may show an account that has gone since, and the next look is a long way off.
            Some(Ok(seen)) if seen.asked_at < self.desired.created_at.max(self.now() - LIST_SHARED) => {
                Err(Step::ReadAccount(self.now()))
            }
            Some(Ok(_)) => Err(account_exists(self).step()),
        }
    }

    /// It is our turn to change something on the instance.
    pub(super) fn turn(&self, kind: CallKind, reason: Reason) -> Result<(), Step> {
        match &self.seen.turn {
            None => Err(Step::TakeTurn(kind)),
            Some(Turn::Ours) => Ok(()),
            Some(Turn::Waiting) => {
                Err(Verdict::new(reason, "Waiting for another operation on the instance to end.").quietly().step())
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

    /// How many attempts this operation has had.
    pub(super) fn attempts(&self, kind: OperationKind) -> u32 {
        self.seen.intent.as_ref().filter(|intent| intent.kind == kind).map_or(0, |intent| intent.attempts)
    }

    /// The manifest or the Secret changed since the intent was written: a stalled try may be made at once.
    fn wish_changed_since(&self, intent: &Intent) -> bool {
        let secret_changed = match (&self.seen.secret, &intent.secret) {
            (SecretSeen::Present { uid, resource_version }, Some(sent)) => {
                sent.uid != *uid || sent.resource_version != *resource_version
            }
            _ => false,
        };
        secret_changed || self.desired.generation != self.seen.record.observed_generation
    }

    fn after_create(&self, intent: &'a Intent, call: &CallSeen) -> Step {
        match &call.outcome {
            Ok(Accepted::Done) => self.confirmed(intent, None, intent.access.clone()),
            Ok(Accepted::Job(job)) => self.job_accepted(intent, job.clone()),
            Err(CallError::NotApplied(error)) => match self.listed_after(intent, error) {
                Err(step) => step,
                // On record, or the next pass would take the account for the work of this call.
                Ok(Some(true)) => account_exists(self)
                    .with_operation(self.operation(intent, OperationState::Failed, Some(self.now())), None)
                    .step(),
                Ok(_) => self.refused_call(intent, error),
            },
            Err(CallError::Unknown(error)) => self.lost(intent, error),
        }
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
            Some(Err(_)) => Ok(None),
            _ => Err(Step::ReadAccount(self.sent_at(intent))),
        }
    }

    fn job_accepted(&self, intent: &Intent, job: JobId) -> Step {
        // The same words as of a job that is followed: the next pass then has nothing new to write.
        let message = format!("Job {job} is running.");
        Verdict::new(Reason::JobRunning, message)
            .with_operation(self.operation(intent, OperationState::Running, None), Some(job))
            .at(self.now() + self.settings().job_poll_interval)
            .step()
    }

    fn create_ended(&self, intent: &Intent, job: &JobId, state: &JobState) -> Step {
        match state {
            JobState::Succeeded => self.confirmed(intent, Some(job.clone()), intent.access.clone()),
            JobState::Running => self.job_accepted(intent, job.clone()),
            JobState::Failed(why) => job_failed(self, intent, job, why.as_deref()),
        }
    }

    /// The account is there, and it is ours.
    fn confirmed(&self, intent: &Intent, job: Option<JobId>, access: Access) -> Step {
        let mut verdict = Verdict::new(Reason::AccountReady, "The account is as the manifest says.")
            .with_operation(self.operation(intent, OperationState::Succeeded, Some(self.now())), job);
        let password = intent.secret.clone().zip(intent.fingerprint.clone());
        verdict.account = AccountChange::Confirmed(access, password);
        self.ready(verdict)
    }

    /// The cloud refused for certain: the same attempt may be made again, or where people must act, a new one.
    pub(super) fn refused_call(&self, intent: &Intent, error: &CloudError) -> Step {
        let verdict = self.fail(error);
        let (state, finished_at) = if is_stalled(verdict.reason) {
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
}

fn job_failed(situation: &Situation<'_>, intent: &Intent, job: &JobId, why: Option<&str>) -> Step {
    let cause = why.map_or_else(String::new, |why| format!(" with code {why}"));
    let message = format!(
        "Job {job} failed{cause}. The cloud gives no cause; an account named {} may exist already. It is tried again \
         slowly, and at once when the manifest or the Secret changes.",
        intent.username
    );
    let failed = situation.failed(intent);
    let since = failed.finished_at.as_ref().map_or(situation.now(), |time| time.0);
    let mut verdict = Verdict::new(Reason::JobFailed, message);
    let mut error = CloudError::new(ErrorClass::Rejected, format!("job {job} failed"));
    if let Some(why) = why.filter(|why| !why.is_empty()) {
        error = error.with_code(why);
    }
    verdict.error = Some(error);
    verdict.with_operation(failed, Some(job.clone())).retry(since + situation.settings().retry_max).step()
}

fn account_exists(situation: &Situation<'_>) -> Verdict {
    let message = format!(
        "An account named {} exists already and is not this object's; remove it in the cloud, or choose another \
         spec.username in a new object.",
        situation.desired.username
    );
    Verdict::new(Reason::AccountExists, message).retry(situation.retry_at(true, None))
}

pub(super) fn instance_changed(situation: &Situation<'_>, before: &str) -> String {
    format!(
        "Instance {} now means another cloud instance than {before}, where the account was made; restore it, or delete \
         and re-create this object.",
        situation.desired.instance_name
    )
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

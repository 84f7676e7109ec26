//! An account that is not ours yet: check everything that can be checked, announce the create, make it, follow it.

use super::{
    AccountChange, LIST_FRESH, LIST_SHARED, Situation, Step, Verdict, adopt,
    attempt::{Attempt, Resolution},
    call::Draft,
    recreate, refused, settle,
    settled::ACCOUNT_READY,
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
        seen::{CallSeen, InstanceFacts, LoginSeen},
    },
    provider::contract::{Accepted, Access, CallError, CallKind, CloudError, ErrorClass, JobState},
};

pub(super) fn next(situation: &Situation<'_>) -> Step {
    let facts = match situation.instance() {
        Ok(facts) => facts,
        Err(step) => return step,
    };
    if let Some(step) = situation.put_back_in_flight() {
        return step;
    }
    if facts.gone {
        return instance_gone(facts);
    }
    let attempt = situation.attempt(OperationKind::Create);
    if let Some(intent) = situation.seen.intent.as_ref().filter(|intent| intent.instance_key != facts.key) {
        return match attempt {
            Attempt::None if intent.kind == OperationKind::Create => situation.checked(None, facts),
            Attempt::NotApplied(_) | Attempt::Refused => situation.checked(None, facts),
            _ => settle(Reason::InstanceChanged, instance_changed(situation, intent.instance_key.as_str())),
        };
    }
    if let Some(step) = situation.seen.intent.as_ref().and_then(|intent| adopt::open(situation, intent, facts)) {
        return step;
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
            if situation.may_replace() {
                return recreate::begin(situation, facts, true);
            }
            let retry_at =
                failed.finished_at.as_ref().map_or(situation.now(), |time| time.0) + situation.settings().retry_max;
            if situation.now() >= retry_at || situation.wish_changed_since(intent) {
                return situation.checked(None, facts);
            }
            create_failed(situation, intent, &job, None)
        }
        Attempt::Running(intent, job) => {
            if !facts.connected {
                return situation.not_connected(facts);
            }
            match situation.follow(intent, &job, Reason::JobRunning) {
                Err(step) => situation.or_exit(step, intent, facts),
                Ok(state) => situation.create_ended(intent, &job, state),
            }
        }
        Attempt::Unknown(intent) => {
            if !facts.connected {
                return situation.not_connected(facts);
            }
            match situation.resolve(intent, facts) {
                Resolution::Pending(step) => situation.or_exit(step, intent, facts),
                Resolution::Present(account) if account.built_in => account_exists(situation).step(),
                Resolution::Present(account) => situation.confirmed(intent, None, (*account.access).clone()),
                Resolution::Absent | Resolution::NoJob => situation.checked(None, facts),
                Resolution::Job(job, JobState::Running) => situation.job_running(intent, job, Reason::JobRunning),
                Resolution::Job(job, state) => situation.create_ended(intent, &job, state),
            }
        }
    }
}

impl<'a> Situation<'a> {
    /// All that can be known without a changing call; then the intent, then the call.
    pub(super) fn checked(&self, reuse: Option<&Intent>, facts: &InstanceFacts) -> Step {
        if let Some(rival) = &self.seen.rival {
            return settle(Reason::AccountConflict, rival);
        }
        let rules = facts.provider.rules();
        let access =
            match rules.username(self.desired.username.as_str()).and_then(|()| rules.access(&self.desired.access)) {
                Ok(access) => access,
                Err(refusal) => return refused(&refusal),
            };
        let password = match self.password() {
            Ok(password) => Some(password),
            // Read when it is our turn: whoever waits for theirs would read it again in every pass.
            Err(Step::ReadPassword) => None,
            Err(step) => return step,
        };
        if facts.terminating {
            let name = &self.desired.instance_name;
            let message = format!("Instance {name} is being deleted and takes no new users.");
            return settle(Reason::WaitingForInstance, message);
        }
        if let Err(step) = self.reachable(facts) {
            return step;
        }
        let Some(password) = password else {
            let waits = self.turn(facts, CallKind::Create, Reason::Creating).err();
            return waits.filter(|step| *step != Step::HoldInstance).unwrap_or(Step::ReadPassword);
        };
        let absent_at = if rules.capabilities().list {
            match self.name_is_free() {
                Ok(Name::Free(asked_at)) => Some(asked_at),
                Ok(Name::Taken(account)) => return adopt::listed(self, facts, account, password),
                Err(step) => return step,
            }
        } else {
            if let Some(step) = adopt::by_login(self, facts, &access, &password) {
                return step;
            }
            None
        };
        if let Err(step) = self.turn(facts, CallKind::Create, Reason::Creating) {
            return step;
        }
        let draft = Draft { absent_at, ..Draft::new(OperationKind::Create, access, Some(password)) };
        self.announce(facts, draft, reuse)
    }

    /// Whose the name is, in a list fresh enough to say so.
    fn name_is_free(&self) -> Result<Name<'a>, Step> {
        // After the cloud said that the name is taken, no older list may say that it is free.
        let said = self.seen.record.operation.as_ref().filter(|it| it.state == OperationState::Failed);
        let said_at = said.and_then(|it| it.finished_at.as_ref()).map(|time| time.0);
        let asked_from = said_at.map_or(self.now() - LIST_FRESH, |at| at.max(self.now() - LIST_FRESH));
        match &self.seen.account {
            None => Err(Step::ReadAccount(asked_from)),
            Some(Err(_)) if seeded(Bug::ErrorIsAbsence) => Ok(Name::Free(self.now())),
            Some(Err(delay)) => {
                Err(self.delayed(delay, Reason::Creating, "Waiting to list the instance's accounts.").step())
            }
            Some(Ok(seen)) => match &seen.account {
                None => Ok(Name::Free(seen.asked_at)),
                // An older list may show an account that has gone since, and the next look is a long way off.
                Some(_) if seen.asked_at < self.desired.created_at.max(self.now() - LIST_SHARED) => {
                    Err(Step::ReadAccount(self.now()))
                }
                Some(account) => Ok(Name::Taken(account)),
            },
        }
    }

    fn after_create(&self, intent: &'a Intent, call: &CallSeen) -> Step {
        match &call.outcome {
            Ok(Accepted::Done) => self.confirmed(intent, None, intent.access.clone()),
            Ok(Accepted::Job(_)) if seeded(Bug::ReadyBeforeJobEnds) => {
                self.confirmed(intent, None, intent.access.clone())
            }
            Ok(Accepted::Job(job)) => self.job_running(intent, job.clone(), Reason::JobRunning),
            Err(CallError::NotApplied(error)) => match self.listed_after(intent, error) {
                Err(step) => step,
                // On record, or the next pass would take the account for the work of this call.
                Ok(Some(true)) => self.taken(intent, error),
                Ok(None) if error.class == ErrorClass::AccountExists => self.taken(intent, error),
                Ok(_) => self.refused_call(intent, error),
            },
            Err(CallError::Unknown(error)) => self.lost(intent, error),
        }
    }

    /// The create was refused because the name is taken, so the account is not the work of this call.
    fn taken(&self, intent: &Intent, error: &CloudError) -> Step {
        let mut verdict = account_exists(self);
        if self.desired.adopt {
            verdict = Verdict::new(Reason::Creating, "An account of that name exists; adopting it.").at(self.now());
            verdict.account = AccountChange::Gone;
        }
        verdict.error = Some(error.clone());
        verdict.with_operation(self.operation(intent, OperationState::Failed, Some(self.now())), None).step()
    }

    fn create_ended(&self, intent: &'a Intent, job: &JobId, state: &JobState) -> Step {
        match state {
            JobState::Succeeded => self.confirmed(intent, Some(job.clone()), intent.access.clone()),
            JobState::Running => self.job_running(intent, job.clone(), Reason::JobRunning),
            JobState::Failed(_) if seeded(Bug::FailedJobIsSuccess) => {
                self.confirmed(intent, Some(job.clone()), intent.access.clone())
            }
            JobState::Failed(why) => create_failed(self, intent, job, why.as_deref()),
        }
    }

    /// The account is there, and it is ours.
    pub(super) fn confirmed(&self, intent: &Intent, job: Option<JobId>, access: Access) -> Step {
        let mut verdict = Verdict::new(Reason::AccountReady, ACCOUNT_READY)
            .with_operation(self.operation(intent, OperationState::Succeeded, Some(self.now())), job);
        let due = self.still_due(intent, &access);
        verdict.account = match intent.secret.clone().zip(intent.fingerprint.clone()) {
            Some(password) => AccountChange::Confirmed(access, Some(password)),
            None => AccountChange::PasswordUnknown(access),
        };
        self.ready_or_due(verdict, due)
    }

    /// People have allowed to delete whatever bears the name.
    pub(super) fn may_replace(&self) -> bool {
        self.desired.adopt && self.desired.recreate
    }

    /// An account whose creation stays in doubt has two ways out: a login that proves it, and the leave to replace.
    pub(super) fn or_exit(&self, step: Step, intent: &Intent, facts: &'a InstanceFacts) -> Step {
        let stays = matches!(&step, Step::Settle(verdict) if verdict.reason == Reason::OutcomeStaysUnknown);
        if !stays || facts.provider.rules().capabilities().list {
            return step;
        }
        if facts.login_check.is_some() && intent.key_id == self.moment.key_id {
            match (&self.seen.password, &self.seen.login) {
                (None, _) => return Step::ReadPassword,
                (Some(_), None) => match self.password() {
                    Ok((_, fingerprint)) if Some(&fingerprint) == intent.fingerprint.as_ref() => return Step::Login,
                    _ => {}
                },
                (Some(_), Some(LoginSeen::Accepted)) => {
                    return self.confirmed(intent, self.recorded_job(intent), intent.access.clone());
                }
                _ => {}
            }
        }
        if self.may_replace() { recreate::begin(self, facts, !self.owned()) } else { step }
    }

    /// An operation that status says has not ended, while its intent is gone from the object: put back, so that nothing
    /// begins beside it and the next crash finds it.
    pub(super) fn put_back_in_flight(&self) -> Option<Step> {
        if let Some(intent) = self.seen.intent.as_ref().filter(|_| !self.seen.finalizer) {
            // Without the finalizer the object could go before anybody knows whether there is an account.
            let open = matches!(self.attempt(intent.kind), Attempt::Running(..) | Attempt::Unknown(_));
            return open.then(|| Step::WriteIntent(Box::new(intent.clone())));
        }
        let operation = self.seen.record.operation.as_ref().filter(|_| self.seen.intent.is_none())?;
        let open = match (operation.state, operation.phase) {
            (OperationState::Running, _) => self.seen.record.job_id.is_some(),
            (OperationState::Unknown, _)
            | (_, Some(OperationPhase::Removed))
            | (OperationState::Failed, Some(OperationPhase::Adding)) => true,
            _ => false,
        };
        self.restored().filter(|_| open).map(|it| Step::WriteIntent(Box::new(it)))
    }
}

/// Whose a name is.
pub(super) enum Name<'a> {
    /// Nobody's, in a list asked then.
    Free(jiff::Timestamp),
    /// This account's.
    Taken(&'a crate::provider::contract::Account),
}

fn create_failed(situation: &Situation<'_>, intent: &Intent, job: &JobId, why: Option<&str>) -> Step {
    let exits = format!(
        "an account named {} may exist already. To have it deleted and added again set spec.adoptionPolicy: Adopt and \
         spec.updatePolicy: Recreate.",
        intent.username
    );
    let mut verdict = situation.job_failed(intent, job, why, &exits, situation.settings().retry_max);
    if situation.may_replace() {
        // The next pass goes that way; it must find the failure on record.
        verdict = verdict.at(situation.now());
    }
    verdict.step()
}

pub(super) fn account_exists(situation: &Situation<'_>) -> Verdict {
    let message = format!(
        "An account named {} exists already and is not this object's; remove it in the cloud, choose another \
         spec.username in a new object, or set spec.adoptionPolicy: Adopt.",
        situation.desired.username
    );
    let mut verdict = Verdict::new(Reason::AccountExists, message).retry(situation.retry_at(true, None));
    verdict.account = AccountChange::Gone;
    verdict
}

/// No read will tell any more what became of a call, and nothing can be made.
pub(super) fn instance_gone(facts: &InstanceFacts) -> Step {
    let message = format!("The cloud says that instance {} does not exist any more.", facts.key);
    settle(Reason::InstanceNotFound, message)
}

pub(super) fn instance_changed(situation: &Situation<'_>, before: &str) -> String {
    format!(
        "Instance {} now means another cloud instance than {before}, where the account was made; restore it, or delete \
         and re-create this object.",
        situation.desired.instance_name
    )
}

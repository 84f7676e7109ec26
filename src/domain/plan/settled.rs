//! An account that is ours: follow what is under way, then compare it with the manifest and mend the first difference.

use std::time::Duration;

use jiff::Timestamp;

use super::{
    AccountChange, LIST_FRESH, LIST_LAG, Situation, Step, Verdict,
    attempt::{Attempt, Resolution},
    call::Draft,
    create::instance_changed,
    recreate, refused, settle,
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
        seen::{CallSeen, InstanceFacts, InstanceSeen, LoginSeen, PasswordSeen, RecordedPassword, SecretSeen},
    },
    provider::contract::{Accepted, Access, CallError, CallKind, Delay, ErrorClass, JobState},
};

pub(super) fn next(situation: &Situation<'_>) -> Step {
    if let Some(step) = situation.put_back() {
        return step;
    }
    let InstanceSeen::Present(facts) = &situation.seen.instance else { return situation.without_instance() };
    let made_on = situation.seen.record.instance_key.as_ref().filter(|_| situation.seen.record.applied.is_some());
    let made_on = made_on.or(situation.seen.intent.as_ref().map(|intent| &intent.instance_key));
    if let Some(before) = made_on.filter(|key| **key != facts.key && !seeded(Bug::OtherInstanceUsed)) {
        return settle(Reason::InstanceChanged, instance_changed(situation, before.as_str()));
    }
    if facts.gone {
        let message = format!("The cloud says that instance {} does not exist any more.", facts.key);
        return settle(Reason::InstanceNotFound, message);
    }
    if let Some(step) = situation.under_way(facts) {
        return step;
    }
    match facts.provider.rules().access(&situation.desired.access) {
        Ok(wanted) => situation.compared(facts, &wanted),
        Err(refusal) => refused(&refusal),
    }
}

/// Whether the password in force is the Secret's.
enum Password {
    /// It is; what there is to note of it.
    InForce(AccountChange),
    /// It is not: this one is to be set.
    Due(SecretVersion, Fingerprint),
}

impl<'a> Situation<'a> {
    /// Finalizer and journal of an account that is ours are put back where somebody took them off.
    fn put_back(&self) -> Option<Step> {
        if self.seen.finalizer && self.seen.intent.is_some() {
            return None;
        }
        match self.seen.intent.clone().or_else(|| self.restored()) {
            Some(intent) => Some(Step::WriteIntent(Box::new(intent))),
            None => (!self.seen.finalizer).then_some(Step::RestoreFinalizer),
        }
    }

    /// The intent of the operation on record, for an object that has lost it. Status tells what is in force, so what a
    /// call that has not succeeded was sent with is lost with its intent.
    pub(super) fn restored(&self) -> Option<Intent> {
        let record = &self.seen.record;
        let operation = record.operation.as_ref()?;
        let succeeded =
            operation.state == OperationState::Succeeded && operation.phase != Some(OperationPhase::Removed);
        let password = record.password.as_ref().filter(|it| succeeded && it.key_id == self.moment.key_id);
        // These begin only with an account that is ours, on record, or to become so.
        let replaces = matches!(operation.kind, OperationKind::Recreate | OperationKind::SetPassword);
        Some(Intent {
            uid: self.desired.uid.clone(),
            instance_key: record.instance_key.clone()?,
            username: self.desired.username.clone(),
            kind: operation.kind,
            phase: operation.phase,
            attempt: operation.id.clone(),
            attempts: u32::try_from(operation.attempts).unwrap_or(1),
            written_at: if succeeded { operation.started_at.0 } else { operation.started_at.0 + A_SECOND },
            absent_at: None,
            adopting: replaces && record.applied.is_none(),
            // Whether it failed is lost too; deleting what is gone does no harm.
            removal_failed: operation.phase == Some(OperationPhase::Adding) && record.applied.is_some(),
            access: record.applied.clone().filter(|_| succeeded).unwrap_or_default(),
            fingerprint: password.map(|it| it.fingerprint.clone()),
            secret: password.map(|it| it.secret.clone()),
            key_id: self.moment.key_id.clone(),
        })
    }

    /// A settled user does not depend on its instance object. One with something to do waits for it.
    fn without_instance(&self) -> Step {
        let record = &self.seen.record;
        let same_secret = match (&self.seen.secret, &record.password) {
            (SecretSeen::Present { uid, resource_version }, Some(password)) => {
                password.secret.uid == *uid && password.secret.resource_version == *resource_version
            }
            _ => true,
        };
        let at_rest = record.operation.as_ref().is_some_and(|it| it.state == OperationState::Succeeded);
        if record.ready_generation == Some(self.desired.generation) && same_secret && at_rest {
            return self.ready(Verdict::new(Reason::AccountReady, ACCOUNT_READY));
        }
        self.instance().err().unwrap_or(Step::Gone)
    }

    /// The operation that is under way. `None`: there is none, or it is to be decided anew.
    fn under_way(&self, facts: &'a InstanceFacts) -> Option<Step> {
        let intent = self.seen.intent.as_ref()?;
        match intent.kind {
            OperationKind::Create => None,
            OperationKind::Recreate => recreate::next(self, intent, facts),
            OperationKind::Delete => self.deletion_withdrawn(facts),
            OperationKind::SetPassword | OperationKind::SetAccess => self.change_under_way(intent, facts),
        }
    }

    fn change_under_way(&self, intent: &Intent, facts: &'a InstanceFacts) -> Option<Step> {
        let reason = reason_of_change(intent.kind);
        match self.attempt(intent.kind) {
            Attempt::None | Attempt::Refused => None,
            Attempt::Announced(intent) => Some(match &self.seen.call {
                None => Step::Call(super::attempt::call_kind(intent)),
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
                Resolution::Present(account) if account.access == intent.access => {
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

    /// The account was seen to be gone: it is made again.
    fn missing(&self, facts: &InstanceFacts) -> Step {
        let over = self.seen.intent.as_ref().filter(|it| it.kind != OperationKind::Create);
        let over = over.map(|it| self.operation(it, OperationState::Failed, Some(self.now())));
        let step = if self.seen.call.is_some() {
            // One change a pass.
            Verdict::new(Reason::Creating, "The account has gone from the cloud; creating it again.")
                .at(self.now())
                .step()
        } else {
            self.checked(None, facts)
        };
        match step {
            Step::Settle(mut verdict) if !matches!(verdict.account, AccountChange::Confirmed(..)) => {
                verdict.account = AccountChange::Gone;
                verdict.operation = verdict.operation.or(over);
                Step::Settle(verdict)
            }
            step => step,
        }
    }

    fn compared(&self, facts: &'a InstanceFacts, wanted: &Access) -> Step {
        let mut verdict = Verdict::new(Reason::AccountReady, ACCOUNT_READY);
        let in_force = match self.access_in_force(facts) {
            Ok(Looked::Access(access)) => access,
            Ok(Looked::Missing) => return self.missing(facts),
            Ok(Looked::NotBefore(at)) => {
                verdict = verdict.at(at).unhandled();
                self.noted_access()
            }
            Ok(Looked::Failed) => {
                verdict = verdict.retry(self.retry_at(false, None)).unhandled();
                self.noted_access()
            }
            Err(step) => return step,
        };
        if in_force != *wanted {
            return self.change_access(facts, &in_force, wanted);
        }
        match self.password_in_force(facts) {
            Err(step) => step,
            Ok(Password::Due(secret, fingerprint)) => self.change_password(facts, wanted, secret, fingerprint),
            Ok(Password::InForce(noted)) => {
                verdict.account = noted;
                if self.seen.record.applied.as_ref() != Some(wanted) {
                    let known = self.known_password().filter(|_| self.seen.record.password.is_none());
                    verdict.account =
                        AccountChange::Confirmed(wanted.clone(), known.map(|it| (it.secret, it.fingerprint)));
                }
                self.ready(verdict)
            }
        }
    }

    /// The access on record: in status, or where status was wiped in the journal.
    fn noted_access(&self) -> Access {
        let record = &self.seen.record;
        record.applied.clone().or_else(|| self.seen.intent.as_ref().map(|it| it.access.clone())).unwrap_or_default()
    }

    /// The access that the account has: as the list shows it, where there is one that can be believed.
    fn access_in_force(&self, facts: &InstanceFacts) -> Result<Looked, Step> {
        if !facts.provider.rules().capabilities().list || !facts.connected {
            return Ok(Looked::Access(self.noted_access()));
        }
        let forced = self.desired.requested.is_some() && self.desired.requested != self.seen.record.last_handled;
        // Before that, a list may not show what our own last call did.
        let settled_at = self.changed_at().map(|at| at + LIST_LAG.min(self.settings().job_timeout));
        // With status wiped, the journal of a change that may not have been made says nothing of the access in force.
        let untold = self.seen.record.applied.is_none()
            && self.seen.intent.as_ref().is_some_and(|it| it.kind == OperationKind::SetAccess)
            && !matches!(self.attempt(OperationKind::SetAccess), Attempt::None);
        let listed = match &self.seen.account {
            Some(Ok(seen)) => Some(seen),
            Some(Err(delay)) if untold => {
                let message = "Waiting to list the instance's accounts.";
                return Err(self.delayed(delay, Reason::UpdatingAccess, message).step());
            }
            Some(Err(Delay::NotBefore(at))) => return Ok(Looked::NotBefore(*at)),
            Some(Err(Delay::Failed(_))) => return Ok(Looked::Failed),
            None if forced => return Err(Step::ReadAccount(self.now())),
            None if self.seen.record.applied.is_none() => {
                let fresh = self.now() - LIST_FRESH;
                let asked_from = settled_at.filter(|at| *at <= self.now()).map_or(fresh, |at| at.max(fresh));
                return Err(Step::ReadAccount(asked_from));
            }
            None => self.seen.listed.as_ref(),
        };
        let unbelieved = listed.is_none_or(|seen| settled_at.is_some_and(|at| seen.asked_at < at));
        if let (true, true, Some(at)) = (unbelieved, untold, settled_at) {
            let message = "Waiting for a list that is newer than the last change.";
            return Err(Verdict::new(Reason::UpdatingAccess, message).at(at.max(self.now())).step());
        }
        let Some(seen) = listed else { return Ok(Looked::Access(self.noted_access())) };
        let access = seen.account.as_ref().map(|it| &it.access);
        Ok(match (settled_at.filter(|at| seen.asked_at < *at), access) {
            (None, Some(access)) => Looked::Access(access.clone()),
            (None, None) => Looked::Missing,
            // Too young to answer a look that was asked for, which comes back.
            (Some(at), _) if forced => Looked::NotBefore(at),
            (Some(_), _) => Looked::Access(self.noted_access()),
        })
    }

    /// When our own last call was made, as far as is on record.
    fn changed_at(&self) -> Option<Timestamp> {
        let recorded = self.seen.record.operation.as_ref();
        let recorded = recorded.map(|it| it.finished_at.as_ref().unwrap_or(&it.started_at).0);
        let announced = self.seen.intent.as_ref().map(|it| it.written_at);
        recorded.into_iter().chain(announced).max()
    }

    fn change_access(&self, facts: &InstanceFacts, in_force: &Access, wanted: &Access) -> Step {
        let in_place =
            facts.provider.rules().capabilities().set_access && in_force.allowed_hosts == wanted.allowed_hosts;
        if !in_place {
            return self.recreate(facts, "the access (spec.allowedHosts, spec.databases, spec.permission)");
        }
        // A fingerprint of another key would pass for one of this.
        let known = self.known_password().filter(|it| it.key_id == self.moment.key_id);
        let known = known.map(|it| (it.secret, it.fingerprint));
        let draft = Draft::new(OperationKind::SetAccess, wanted.clone(), known);
        self.change(facts, CallKind::SetAccess, draft)
    }

    fn change_password(
        &self,
        facts: &InstanceFacts,
        access: &Access,
        secret: SecretVersion,
        fingerprint: Fingerprint,
    ) -> Step {
        if !facts.provider.rules().capabilities().set_password {
            return self.recreate(facts, "the password");
        }
        let draft = Draft::new(OperationKind::SetPassword, access.clone(), Some((secret, fingerprint)));
        self.change(facts, CallKind::SetPassword, draft)
    }

    fn change(&self, facts: &InstanceFacts, call: CallKind, draft: Draft) -> Step {
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

    /// The cloud has no call for this change.
    fn recreate(&self, facts: &InstanceFacts, what: &str) -> Step {
        if self.desired.recreate {
            return recreate::begin(self, facts, false);
        }
        let message = format!(
            "{} has no call to change {what} of an account. Take the change back, or set spec.updatePolicy: Recreate to \
             have the account deleted and added again. Until then everything stays in force as it was; status.applied \
             shows the access.",
            facts.provider
        );
        settle(Reason::ChangeNotSupported, message)
    }

    /// The password in force, as far as the record or the journal tells.
    fn known_password(&self) -> Option<RecordedPassword> {
        let recorded = self.seen.record.password.clone();
        recorded.or_else(|| {
            let intent = self.seen.intent.as_ref()?;
            // A SetPassword tells only once it has succeeded: an adoption, whose status follows with the access.
            let tells = match intent.kind {
                OperationKind::SetAccess => true,
                OperationKind::SetPassword => matches!(self.attempt(OperationKind::SetPassword), Attempt::None),
                _ => false,
            };
            Some(RecordedPassword {
                secret: intent.secret.clone().filter(|_| tells)?,
                fingerprint: intent.fingerprint.clone()?,
                key_id: intent.key_id.clone(),
                applied_at: None,
                verified: false,
            })
        })
    }

    /// Whether the Secret still holds the password in force. Its value is read only where something about it is new.
    fn password_in_force(&self, facts: &InstanceFacts) -> Result<Password, Step> {
        let keep = Ok(Password::InForce(AccountChange::Keep));
        let in_doubt = matches!(self.attempt(OperationKind::SetPassword), Attempt::Unknown(_));
        let known = self.known_password();
        let Some(known) = known.filter(|_| !in_doubt) else { return self.password_unknown(facts, in_doubt) };
        if known.secret.revision != self.desired.password.revision {
            return self.password().map(|(secret, fingerprint)| Password::Due(secret, fingerprint));
        }
        let SecretSeen::Present { uid, resource_version } = &self.seen.secret else { return keep };
        let same_version = known.secret.name == self.desired.password.secret
            && known.secret.uid == *uid
            && known.secret.resource_version == *resource_version;
        // Status does not say under which key of the Secret the password was; a changed manifest may name another.
        let same_manifest = self.seen.record.ready_generation == Some(self.desired.generation);
        let same_key = known.key_id == self.moment.key_id;
        let repair = self.login_shows_another(facts, &known);
        if same_version && same_manifest && same_key && !repair {
            return keep;
        }
        match &self.seen.password {
            None => Err(Step::ReadPassword),
            // Without its Secret the account goes on working with the password in force.
            Some(PasswordSeen::Missing(_)) => keep,
            Some(PasswordSeen::Unreadable(_)) => {
                let verdict = Verdict::new(Reason::AccountReady, ACCOUNT_READY);
                Err(self.ready(verdict.retry(self.retry_at(false, None))))
            }
            Some(PasswordSeen::Usable(secret, fingerprint)) if seeded(Bug::RotationMissed) => {
                Ok(Password::InForce(AccountChange::SamePassword(secret.clone(), fingerprint.clone())))
            }
            Some(PasswordSeen::Usable(secret, fingerprint))
                if seeded(Bug::VersionIsPassword) || !same_key && seeded(Bug::NewKeyIsChange) =>
            {
                Ok(Password::Due(secret.clone(), fingerprint.clone()))
            }
            Some(PasswordSeen::Usable(secret, fingerprint)) if !same_key => {
                if same_version && same_manifest {
                    return Ok(Password::InForce(AccountChange::SamePassword(secret.clone(), fingerprint.clone())));
                }
                self.password_unknown(facts, false)
            }
            Some(PasswordSeen::Usable(secret, fingerprint)) if repair || *fingerprint != known.fingerprint => {
                Ok(Password::Due(secret.clone(), fingerprint.clone()))
            }
            Some(PasswordSeen::Usable(secret, fingerprint)) => {
                Ok(Password::InForce(AccountChange::SamePassword(secret.clone(), fingerprint.clone())))
            }
            Some(PasswordSeen::Refused(secret, fingerprint, _)) if same_key && *fingerprint == known.fingerprint => {
                Ok(Password::InForce(AccountChange::SamePassword(secret.clone(), fingerprint.clone())))
            }
            Some(PasswordSeen::Refused(_, _, refusal)) => Err(refused(refusal)),
        }
    }

    /// Nobody can say which password is in force: our answer was lost, or the operator's key was. Setting it again does
    /// no harm; deleting the account for it would, so where there is no such call only a login can tell.
    fn password_unknown(&self, facts: &InstanceFacts, in_doubt: bool) -> Result<Password, Step> {
        let (secret, fingerprint) = match self.password() {
            Ok(password) => password,
            // Nothing to send and nothing known to be wrong.
            Err(Step::Settle(verdict)) if !in_doubt && verdict.reason == Reason::WaitingForSecret => {
                return Ok(Password::InForce(AccountChange::Keep));
            }
            Err(step) => return Err(step),
        };
        if facts.provider.rules().capabilities().set_password {
            return Ok(Password::Due(secret, fingerprint));
        }
        match &self.seen.login {
            None if facts.login_check.is_some() => Err(Step::Login),
            Some(LoginSeen::Accepted) => Ok(Password::InForce(AccountChange::SamePassword(secret, fingerprint))),
            Some(LoginSeen::Busy) => Err(self.waiting_to_log_in(Reason::UpdatingPassword)),
            _ => {
                let message = format!(
                    "The operator cannot tell whether the password in Secret {} is the one in force: its own key was \
                     lost, or the journal. Set spec.loginCheck on the instance to let it try, or set a new \
                     spec.passwordSecretRef.revision with spec.updatePolicy: Recreate to set the password.",
                    secret.name
                );
                let verdict = Verdict::new(Reason::OutcomeStaysUnknown, message);
                Err(verdict.retry(self.retry_at(true, None)).step())
            }
        }
    }

    /// A login was refused after the password was last set: somebody changed it behind our back. It is set once more;
    /// if that does not help, setting it again would not either.
    fn login_shows_another(&self, facts: &InstanceFacts, known: &RecordedPassword) -> bool {
        let can_set = facts.provider.rules().capabilities().set_password;
        let refused_since = self.seen.record.login_refused_since.filter(|_| facts.login_check.is_some() && can_set);
        refused_since.is_some_and(|since| known.applied_at.is_none_or(|at| at <= since))
    }
}

/// What a look at the account showed.
enum Looked {
    /// Its access.
    Access(Access),
    /// It is not there.
    Missing,
    /// It may be looked at from then on.
    NotBefore(Timestamp),
    /// The cloud did not say.
    Failed,
}

/// Status keeps whole seconds, and nothing may be concluded from what was seen before a call was made.
const A_SECOND: Duration = Duration::from_secs(1);

/// The message of a user that is settled.
const ACCOUNT_READY: &str = "The account is as the manifest says.";

fn reason_of_change(kind: OperationKind) -> Reason {
    match kind {
        OperationKind::SetPassword => Reason::UpdatingPassword,
        _ => Reason::UpdatingAccess,
    }
}

fn jobs(facts: &InstanceFacts) -> bool {
    facts.provider.rules().capabilities().jobs
}

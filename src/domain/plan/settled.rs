//! An account that is ours: follow what is under way, then compare it with the manifest and mend the first difference.

use std::time::Duration;

use jiff::Timestamp;

use super::{
    AccountChange, LIST_FRESH, LIST_LAG, Situation, Step, Verdict,
    attempt::Attempt,
    call::Draft,
    create::{instance_changed, instance_gone},
    password::Password,
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
        names::Fingerprint,
        seen::{InstanceFacts, InstanceSeen, SecretSeen},
    },
    provider::contract::{Access, CallKind, Delay},
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
        return instance_gone(facts);
    }
    if let Some(step) = situation.under_way(facts) {
        return step;
    }
    match facts.provider.rules().access(&situation.desired.access) {
        Ok(wanted) => situation.compared(facts, &wanted),
        Err(refusal) => refused(&refusal),
    }
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

    /// The account was seen to be gone: it is made again.
    pub(super) fn missing(&self, facts: &InstanceFacts) -> Step {
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
        let access = seen.account.as_ref().map(|it| &*it.access);
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
pub(super) const ACCOUNT_READY: &str = "The account is as the manifest says.";

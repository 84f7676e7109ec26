//! An account of that name is there and is somebody's: with `adoptionPolicy: Adopt` it becomes ours, by its password.

use super::{AccountChange, Situation, Step, Verdict, attempt::Attempt, call::Draft, create::account_exists, recreate};
use crate::seeded::{Bug, seeded};
use crate::{
    api::{
        conditions::Reason,
        user::{OperationKind, OperationState},
    },
    domain::{
        journal::{Intent, SecretVersion},
        names::Fingerprint,
        seen::{CallSeen, InstanceFacts, LoginSeen},
    },
    provider::contract::{Accepted, Access, Account, CallError, CallKind, ErrorClass},
};

/// The account is in the list. Its password is set once; with that it is ours.
pub(super) fn listed(
    situation: &Situation<'_>,
    facts: &InstanceFacts,
    account: &Account,
    password: (SecretVersion, Fingerprint),
) -> Step {
    if !(situation.desired.adopt || seeded(Bug::AdoptedByName))
        || account.built_in
        || !facts.provider.rules().capabilities().set_password
    {
        return account_exists(situation).step();
    }
    if let Err(step) = situation.turn(facts, CallKind::SetPassword, Reason::UpdatingPassword) {
        return step;
    }
    let draft =
        Draft { adopting: true, ..Draft::new(OperationKind::SetPassword, (*account.access).clone(), Some(password)) };
    situation.announce(facts, draft, situation.reusable(OperationKind::SetPassword))
}

/// An adoption that has begun. `None`: its call had no effect, or may not have had any; it starts over.
pub(super) fn open<'a>(situation: &Situation<'a>, intent: &'a Intent, facts: &'a InstanceFacts) -> Option<Step> {
    if !intent.adopting {
        return None;
    }
    if intent.kind == OperationKind::Recreate {
        return recreate::next(situation, intent, facts);
    }
    let (announced, call) = match situation.attempt(OperationKind::SetPassword) {
        Attempt::Announced(intent) => (intent, &situation.seen.call),
        Attempt::NotApplied(intent) if situation.seen.call.is_some() => (intent, &situation.seen.call),
        Attempt::Unknown(intent) => return situation.late_effect(intent),
        _ => return None,
    };
    Some(call.as_ref().map_or(Step::Call(CallKind::SetPassword), |call| after(situation, announced, call)))
}

fn after(situation: &Situation<'_>, intent: &Intent, call: &CallSeen) -> Step {
    match &call.outcome {
        // Whether its access is as the manifest says is seen in the next pass: one change a pass.
        Ok(Accepted::Done) => Verdict::new(Reason::UpdatingAccess, "The account was adopted; its access is compared.")
            .with_operation(situation.operation(intent, OperationState::Succeeded, Some(situation.now())), None)
            .at(situation.now())
            .step(),
        Ok(Accepted::Job(job)) => situation.job_running(intent, job.clone(), Reason::UpdatingPassword),
        Err(CallError::NotApplied(error)) if error.class == ErrorClass::AccountNotFound => {
            // Not at once: a list that lags would show it for seconds more, and each time the call would be made again.
            Verdict::new(Reason::Creating, "The account to adopt has gone; creating it.")
                .with_operation(situation.operation(intent, OperationState::Failed, Some(situation.now())), None)
                .retry(situation.retry_at(false, None))
                .step()
        }
        Err(CallError::NotApplied(error)) => situation.refused_call(intent, error),
        Err(CallError::Unknown(error)) => situation.lost(intent, error),
    }
}

/// Where accounts cannot be listed, a login with the password of the Secret shows an account that needs no call.
/// `None`: no login is to be tried, or it was not let in.
pub(super) fn by_login(
    situation: &Situation<'_>,
    facts: &InstanceFacts,
    access: &Access,
    password: &(SecretVersion, Fingerprint),
) -> Option<Step> {
    if !situation.desired.adopt || facts.login_check.is_none() {
        return None;
    }
    match &situation.seen.login {
        None => Some(Step::Login),
        // The finalizer first: from the moment status owns the account, its deletion has to pass here.
        Some(LoginSeen::Accepted) if !facts.held => Some(Step::HoldInstance),
        Some(LoginSeen::Accepted) if !situation.seen.finalizer => Some(Step::RestoreFinalizer),
        Some(LoginSeen::Accepted) => {
            let mut verdict =
                Verdict::new(Reason::AccountReady, "The account was adopted: its password is the Secret's.");
            verdict.account = AccountChange::Confirmed(access.clone(), Some(password.clone()));
            Some(situation.ready(verdict))
        }
        Some(LoginSeen::Busy) => Some(situation.waiting_to_log_in(Reason::Creating)),
        Some(LoginSeen::Refused | LoginSeen::Unreachable(_)) => None,
    }
}

//! Situations of an account that was there before the object.

use std::time::Duration;

use super::{super::*, fixture::*};
use crate::{
    api::user::{OperationKind, OperationPhase, OperationState},
    domain::seen::LoginSeen,
    provider::contract::{
        Accepted, Account, AccountSeen, CallKind,
        ProviderKind::{HuaweiCloud, QingCloud},
        Turn,
    },
};

/// The list shows an account, and the manifest allows to adopt it.
fn found() -> Case {
    Case::on(HuaweiCloud).checked().listed(100, Some(account(access(HuaweiCloud)))).with(|it| it.desired.adopt = true)
}

/// An adoption was announced at this second.
fn adopting(seconds: i64) -> Case {
    found().announced(OperationKind::SetPassword, seconds).with(|it| {
        let intent = it.seen.intent.as_mut().expect("an intent");
        (intent.adopting, intent.access) = (true, access(HuaweiCloud));
        (intent.secret, intent.fingerprint) = (Some(version("1")), Some(Fingerprint::new("f")));
    })
}

#[test]
fn adoption_begins_with_the_password_under_an_intent_that_proves_nothing_yet() {
    let Step::WriteIntent(intent) = found().step() else { panic!("{:?}", found().step()) };
    assert_eq!((intent.kind, intent.adopting), (OperationKind::SetPassword, true));
    assert_eq!(found().with(|it| it.desired.adopt = false).verdict().reason, Reason::AccountExists);
}

#[test]
fn built_in_account_is_never_adopted() {
    let built_in = Account { built_in: true, ..account(access(HuaweiCloud)) };
    assert_eq!(found().listed(100, Some(built_in)).verdict().reason, Reason::AccountExists);
}

#[test]
fn adoption_whose_answer_was_lost_lets_it_pass_before_it_sends_another_password() {
    let case = adopting(95);
    let waiting = case.verdict();
    assert_eq!((waiting.reason, waiting.recheck), (Reason::OutcomeUnknown, Recheck::Retry { at: at(110) }));
    assert!(matches!(adopting(80).step(), Step::WriteIntent(_)));
}

#[test]
fn adoption_that_is_not_proven_is_released_without_a_call() {
    assert_eq!(adopting(50).deleted(90).step(), Step::Release(Release::NothingLeft));
    let proven = adopting(50).recorded(OperationState::Succeeded, None, Some(51)).deleted(90);
    assert_eq!(proven.with(|it| it.seen.turn = None).step(), Step::TakeTurn(CallKind::Delete));
}

#[test]
fn taking_the_leave_back_after_the_adoption_changes_nothing() {
    let adopted = adopting(50).recorded(OperationState::Succeeded, None, Some(51)).with(|it| it.desired.adopt = false);
    let verdict = adopted.verdict();
    assert_eq!(verdict.reason, Reason::AccountReady);
    let password = Some((version("1"), Fingerprint::new("f")));
    assert_eq!(verdict.account, AccountChange::Confirmed(access(HuaweiCloud), password));
}

#[test]
fn success_of_the_password_is_on_record_before_the_access_is_compared() {
    let case = adopting(100).with(|it| it.seen.intent.as_mut().expect("an intent").attempt = AttemptId::new(FRESH));
    let verdict = case.called(CallKind::SetPassword, Ok(Accepted::Done)).verdict();
    assert_eq!((verdict.reason, verdict.account), (Reason::UpdatingAccess, AccountChange::Keep));
    assert_eq!(verdict.operation.map(|it| it.state), Some(OperationState::Succeeded));
}

/// A cloud that cannot be read, after an addition that failed because the name may be taken.
fn taken() -> Case {
    let case = Case::on(QingCloud).announced(OperationKind::Create, 0).checked();
    case.recorded(OperationState::Failed, Some("j-1"), Some(50)).with(|it| {
        it.desired.adopt = true;
        it.seen.account = Some(Ok(AccountSeen { asked_at: at(90), account: None }));
        it.seen.turn = Some(Turn::Ours);
    })
}

#[test]
fn leave_to_replace_is_the_exit_of_a_failed_job_and_adoption_alone_is_not() {
    assert_eq!(taken().verdict().reason, Reason::JobFailed);
    let replace = taken().with(|it| it.desired.recreate = true);
    let Step::WriteIntent(intent) = replace.step() else { panic!("{:?}", replace.step()) };
    assert_eq!((intent.phase, intent.adopting), (Some(OperationPhase::Removing), true));
}

#[test]
fn adoption_without_a_list_is_by_login_alone_and_costs_no_call() {
    let case = |login| {
        Case::on(QingCloud).checked().with(|it| {
            it.desired.adopt = true;
            it.facts().login_check = Some(Duration::from_secs(600));
            it.seen.login = login;
        })
    };
    assert_eq!(case(None).step(), Step::Login);
    assert_eq!(case(Some(LoginSeen::Accepted)).step(), Step::RestoreFinalizer);
    let held = case(Some(LoginSeen::Accepted)).with(|it| it.seen.finalizer = true).verdict();
    assert!(matches!(held.account, AccountChange::Confirmed(..)), "{held:?}");
    assert!(matches!(case(Some(LoginSeen::Refused)).step(), Step::WriteIntent(_)), "an addition is tried");
}

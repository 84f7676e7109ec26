//! Situations of an account that was there before the object.

use std::time::Duration;

use super::{super::*, fixture::*};
use crate::{
    api::user::{OperationKind, OperationPhase, OperationState},
    domain::seen::LoginSeen,
    provider::contract::{
        Accepted, Access, Account, AccountSeen, CallKind, JobSeen,
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

/// The cloud says of the account to adopt that there is none.
#[test]
fn adoption_of_an_account_that_has_gone_is_not_tried_again_at_once() {
    let case = adopting(100).with(|it| it.seen.intent.as_mut().expect("an intent").attempt = AttemptId::new(FRESH));
    let verdict = case.called(CallKind::SetPassword, not_applied(ErrorClass::AccountNotFound)).verdict();
    assert_eq!(verdict.reason, Reason::Creating);
    assert!(matches!(verdict.recheck, Recheck::Retry { .. }), "{:?}", verdict.recheck);
}

/// A cloud that cannot be read has forgotten the job of a creation whose answer was lost long ago.
fn stays_unknown() -> Case {
    let case = Case::on(QingCloud).announced(OperationKind::Create, 0).checked().at(4000);
    case.recorded(OperationState::Unknown, None, None).with(|it| {
        it.desired.adopt = true;
        it.seen.job = Some(Ok(JobSeen::NotFound));
        it.seen.account = Some(Ok(AccountSeen { asked_at: at(3990), account: None }));
    })
}

#[test]
fn leave_to_replace_is_the_exit_of_an_outcome_that_stays_unknown_and_adoption_alone_is_not() {
    assert_eq!(stays_unknown().verdict().reason, Reason::OutcomeStaysUnknown);
    let recreate_alone = stays_unknown().with(|it| (it.desired.adopt, it.desired.recreate) = (false, true));
    assert_eq!(recreate_alone.verdict().reason, Reason::OutcomeStaysUnknown);
    let replace = stays_unknown().with(|it| it.desired.recreate = true);
    let Step::WriteIntent(intent) = replace.step() else { panic!("{:?}", replace.step()) };
    assert_eq!((intent.kind, intent.phase), (OperationKind::Recreate, Some(OperationPhase::Removing)));
    assert!(intent.adopting, "nothing proves that the account is ours");
}

#[test]
fn leave_to_replace_is_not_used_before_the_outcome_is_given_up() {
    let young = stays_unknown().at(1000).with(|it| {
        it.desired.recreate = true;
        it.seen.job = Some(Err(Delay::NotBefore(at(1003))));
    });
    assert_eq!(young.verdict().reason, Reason::OutcomeUnknown);
}

#[test]
fn adoption_that_died_between_its_intent_and_its_call_is_looked_at_before_it_is_tried_again() {
    // The next process finds the intent and nothing in status: the call may have been made.
    let found = adopting(98).with(|it| it.started_at = at(99));
    assert_eq!(found.verdict().reason, Reason::OutcomeUnknown);
    let later = adopting(80).with(|it| it.started_at = at(99));
    let Step::WriteIntent(intent) = later.step() else { panic!("{:?}", later.step()) };
    assert_eq!((intent.kind, intent.adopting), (OperationKind::SetPassword, true));
    assert_eq!(intent.attempt, AttemptId::new(FRESH), "under an id of its own");
}

#[test]
fn adoption_that_was_refused_is_tried_again_under_its_id_by_the_process_that_heard_it() {
    let heard = adopting(90).refused();
    assert_eq!(heard.step(), Step::Call(CallKind::SetPassword));
    let successor = adopting(90).recorded(OperationState::Pending, None, None);
    assert_eq!(successor.verdict().reason, Reason::OutcomeUnknown);
}

#[test]
fn adoption_whose_leave_was_taken_back_on_the_way_claims_nothing() {
    let taken_back = adopting(50).with(|it| it.desired.adopt = false).verdict();
    assert_eq!((taken_back.reason, taken_back.account), (Reason::AccountExists, AccountChange::Gone));
}

#[test]
fn adoption_that_succeeded_and_was_interrupted_before_its_access_goes_on_with_the_access() {
    let other = Access { databases: Some(["elsewhere".to_owned()].into()), ..access(HuaweiCloud) };
    let adopted = adopting(50).recorded(OperationState::Succeeded, None, Some(51));
    let adopted = adopted.listed(99, Some(account(other))).with(|it| it.started_at = at(90));
    let Step::WriteIntent(intent) = adopted.step() else { panic!("{:?}", adopted.step()) };
    assert_eq!((intent.kind, intent.adopting), (OperationKind::SetAccess, false));
}

//! Situations of an account whose time is over.

use super::{super::*, fixture::*};
use crate::{
    api::user::{OperationKind, OperationState},
    provider::contract::{
        Accepted, CallKind, JobState,
        ProviderKind::{self, HuaweiCloud, QingCloud},
    },
};

fn expired(case: Case) -> Case {
    case.with(|it| it.desired.expires_at = Some(at(100)))
}

#[test]
fn account_of_ours_is_deleted_whatever_the_deletion_policy_says() {
    for kind in ProviderKind::ALL {
        let case = expired(Case::on(kind).owned()).with(|it| it.desired.retain = true);
        assert_eq!(case.step(), Step::TakeTurn(CallKind::Delete));
    }
}

#[test]
fn status_says_expired_before_the_finalizer_goes() {
    let case = expired(Case::on(HuaweiCloud).owned())
        .with(|it| it.seen.intent = Some(it.intent(OperationKind::Delete, FRESH, 100)));
    let done = case.called(CallKind::Delete, Ok(Accepted::Done)).verdict();
    assert_eq!((done.reason, done.account.clone()), (Reason::Expired, AccountChange::Gone));
    let on_record = || {
        let case = Case::on(HuaweiCloud).announced(OperationKind::Delete, 90);
        expired(case.recorded(OperationState::Succeeded, None, Some(100)))
    };
    assert_eq!(on_record().step(), Step::Release(Release::NothingLeft));
    assert_eq!(on_record().with(|it| it.seen.finalizer = false).verdict().reason, Reason::Expired);
}

#[test]
fn refused_deletion_of_an_account_that_status_never_owned_holds_the_finalizer() {
    let case = expired(Case::on(QingCloud).announced(OperationKind::Delete, 50));
    assert_eq!(case.recorded(OperationState::Failed, None, Some(51)).step(), Step::TakeTurn(CallKind::Delete));
}

#[test]
fn account_that_is_not_ours_is_left_alone() {
    assert_eq!(expired(Case::on(HuaweiCloud)).verdict().reason, Reason::Expired);
}

#[test]
fn suspended_user_is_not_deleted_though_its_time_is_over() {
    let case = expired(Case::on(HuaweiCloud).owned()).with(|it| it.desired.suspend = true);
    assert_eq!(case.verdict().reason, Reason::Suspended);
}

#[test]
fn settled_user_comes_back_for_its_expiry() {
    let case = Case::on(HuaweiCloud).owned().with(|it| it.desired.expires_at = Some(at(500)));
    assert_eq!(case.verdict().recheck, Recheck::At(at(500)));
}

#[test]
fn deletion_that_was_withdrawn_is_followed_to_its_end_before_anything_else() {
    for case in [Case::on(QingCloud).owned(), Case::on(QingCloud)] {
        let case = case.announced(OperationKind::Delete, 50).recorded(OperationState::Running, Some("j-1"), None);
        assert_eq!(case.step(), Step::ReadJob(JobId::new("j-1")));
        let gone = case.saw_job("j-1", JobState::Succeeded).verdict();
        assert_eq!((gone.reason, gone.account), (Reason::Creating, AccountChange::Gone));
    }
}

#[test]
fn create_at_work_without_its_intent_is_found_before_the_expired_user_is_let_go() {
    let case = Case::on(QingCloud).announced(OperationKind::Create, 50);
    let case = expired(case.recorded(OperationState::Running, Some("j-1"), None).with(|it| it.seen.intent = None));
    assert!(matches!(case.step(), Step::WriteIntent(_)), "{:?}", case.step());
}

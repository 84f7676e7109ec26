//! Situations of a user on its way out.

use super::{super::*, fixture::*};
use crate::{
    api::user::{OperationKind, OperationState},
    domain::names::InstanceKey,
    provider::contract::{
        Accepted, CallKind, ErrorClass, JobSeen, JobState,
        ProviderKind::{self, HuaweiCloud, QingCloud},
        Turn,
    },
};

fn owned(kind: ProviderKind) -> Case {
    Case::on(kind).owned().deleted(90)
}

/// An owned account whose delete was announced at second 90.
fn deleting(kind: ProviderKind) -> Case {
    owned(kind).announced(OperationKind::Delete, 90)
}

fn running(case: &Case) -> Verdict {
    verdict(Reason::Deleting).with_operation(case.operation(OperationState::Running, None), Some(JobId::new("j-2")))
}

#[test]
fn deletion_takes_a_turn_announces_and_calls() {
    for kind in ProviderKind::ALL {
        let mut case = owned(kind);
        assert_eq!(case.step(), Step::TakeTurn(CallKind::Delete));
        case.seen.turn = Some(Turn::Ours);
        let intent = case.intent(OperationKind::Delete, FRESH, 100);
        assert_eq!(case.step(), Step::WriteIntent(Box::new(intent.clone())));
        case.seen.intent = Some(intent);
        assert_eq!(case.step(), Step::Call(CallKind::Delete));
    }
}

#[test]
fn deletion_needs_neither_secret_nor_a_legal_manifest_nor_permission_to_go_on() {
    let case = owned(QingCloud).with(|it| {
        it.seen.secret = crate::domain::seen::SecretSeen::Missing;
        it.desired.access.allowed_hosts = None;
        it.desired.suspend = true;
    });
    assert_eq!(case.step(), Step::TakeTurn(CallKind::Delete));
}

#[test]
fn deleted_account_releases_the_object() {
    let called = |outcome| {
        let case = owned(HuaweiCloud).with(|it| it.seen.intent = Some(it.intent(OperationKind::Delete, FRESH, 100)));
        case.called(CallKind::Delete, outcome).step()
    };
    assert_eq!(called(Ok(Accepted::Done)), Step::Release(Release::NothingLeft));
    assert_eq!(called(not_applied(ErrorClass::AccountNotFound)), Step::Release(Release::NothingLeft));
    assert_eq!(owned(HuaweiCloud).with(|it| it.seen.released = true).step(), Step::Gone);
}

#[test]
fn vague_refusal_of_a_delete_is_explained_by_the_list() {
    let refused = |listed| {
        let case = owned(HuaweiCloud).with(|it| it.seen.intent = Some(it.intent(OperationKind::Delete, FRESH, 100)));
        case.called(CallKind::Delete, not_applied(ErrorClass::Rejected)).listed(100, listed)
    };
    assert_eq!(refused(None).step(), Step::Release(Release::NothingLeft));
    let there = refused(Some(account(access(HuaweiCloud))));
    let expected = failed(Reason::ProviderRejected, ErrorClass::Rejected, "refused")
        .with_operation(there.operation(OperationState::Failed, Some(100)), None);
    assert_eq!(there.verdict(), expected.retry(at(700)));
    let just_started = refused(None).with(|it| it.started_at = at(95));
    let expected =
        verdict(Reason::OutcomeUnknown).with_operation(just_started.operation(OperationState::Unknown, None), None);
    assert_eq!(just_started.verdict(), expected.retry(at(110)), "the account may be too young for the list");
}

#[test]
fn object_without_our_finalizer_is_nobody_we_know() {
    for kind in ProviderKind::ALL {
        assert_eq!(owned(kind).with(|it| it.seen.finalizer = false).step(), Step::Gone);
    }
}

#[test]
fn never_owned_object_is_released_without_a_call() {
    let nothing = |case: Case| assert_eq!(case.deleted(90).step(), Step::Release(Release::NothingLeft));
    nothing(Case::on(QingCloud).with(|it| it.seen.finalizer = true));
    let attempted = || Case::on(QingCloud).announced(OperationKind::Create, 0);
    nothing(attempted().recorded(OperationState::Failed, None, Some(1)));
    nothing(attempted().recorded(OperationState::Failed, Some("j-1"), Some(1)));
    nothing(attempted().recorded(OperationState::Failed, Some("j-1"), Some(1)).with(|it| {
        it.seen.instance = InstanceSeen::Missing;
    }));
}

#[test]
fn retained_account_is_left_without_a_call() {
    let retain = |case: Case| case.deleted(90).with(|it| it.desired.retain = true).step();
    assert_eq!(retain(Case::on(QingCloud).owned()), Step::Release(Release::Retained));
    let no_instance = Case::on(QingCloud).owned().with(|it| it.seen.instance = InstanceSeen::Missing);
    assert_eq!(retain(no_instance), Step::Release(Release::Retained));
    let lost = Case::on(QingCloud).announced(OperationKind::Create, 80);
    assert_eq!(retain(lost), Step::Release(Release::Retained), "it may be there");
    let never = Case::on(QingCloud).with(|it| it.seen.finalizer = true);
    assert_eq!(retain(never), Step::Release(Release::NothingLeft));
}

#[test]
fn retain_awaits_a_running_create_so_that_what_stays_is_known() {
    let case = Case::on(QingCloud).announced(OperationKind::Create, 50).deleted(90);
    let case = case.recorded(OperationState::Running, Some("j-1"), None).with(|it| it.desired.retain = true);
    assert_eq!(case.step(), Step::ReadJob(JobId::new("j-1")));
    let case = case.saw_job("j-1", JobState::Failed(None));
    assert_eq!(case.step(), Step::Release(Release::NothingLeft));
    assert_eq!(case.saw_job("j-1", JobState::Succeeded).step(), Step::Release(Release::Retained));
}

#[test]
fn create_in_doubt_is_resolved_before_anything_is_deleted() {
    let listed = || Case::on(HuaweiCloud).announced(OperationKind::Create, 50).deleted(90);
    assert_eq!(listed().step(), Step::ReadAccount(at(65)));
    assert_eq!(listed().listed(65, None).step(), Step::Release(Release::NothingLeft));
    assert_eq!(listed().listed(65, Some(account(access(HuaweiCloud)))).step(), Step::TakeTurn(CallKind::Delete));

    let job = || Case::on(QingCloud).announced(OperationKind::Create, 50).deleted(90);
    assert!(matches!(job().step(), Step::FindJob(_)));
    assert_eq!(job().saw_job("j-1", JobState::Failed(None)).step(), Step::Release(Release::NothingLeft));
    assert_eq!(job().saw_job("j-1", JobState::Succeeded).step(), Step::TakeTurn(CallKind::Delete));
}

#[test]
fn create_whose_job_is_nowhere_is_released_with_a_record_after_twice_the_grace() {
    let case = |now| {
        let case = Case::on(QingCloud).announced(OperationKind::Create, 0).deleted(10).at(now);
        case.with(|it| it.seen.job = Some(Ok(JobSeen::NotFound)))
    };
    let waiting = case(119);
    let expected = verdict(Reason::OutcomeUnknown)
        .with_operation(waiting.operation(OperationState::Unknown, None), None)
        .retry(at(120));
    assert_eq!(waiting.verdict(), expected);
    assert!(matches!(case(120).step(), Step::Release(Release::Orphaned(_))));
}

#[test]
fn running_create_is_followed_and_then_deleted() {
    let case = || {
        let case = Case::on(QingCloud).announced(OperationKind::Create, 50).deleted(90);
        case.recorded(OperationState::Running, Some("j-1"), None)
    };
    assert_eq!(case().step(), Step::ReadJob(JobId::new("j-1")));
    assert_eq!(case().saw_job("j-1", JobState::Succeeded).step(), Step::TakeTurn(CallKind::Delete));
    assert_eq!(case().saw_job("j-1", JobState::Failed(None)).step(), Step::Release(Release::NothingLeft));
}

#[test]
fn delete_job_is_followed_to_its_end() {
    let case = owned(QingCloud).with(|it| it.seen.intent = Some(it.intent(OperationKind::Delete, FRESH, 100)));
    let accepted = case.called(CallKind::Delete, Ok(Accepted::Job(JobId::new("j-2"))));
    assert_eq!(accepted.verdict(), running(&accepted).at(at(103)));
    let followed = || deleting(QingCloud).recorded(OperationState::Running, Some("j-2"), None);
    assert_eq!(followed().step(), Step::ReadJob(JobId::new("j-2")));
    assert_eq!(followed().saw_job("j-2", JobState::Succeeded).step(), Step::Release(Release::NothingLeft));
    let failed = followed().saw_job("j-2", JobState::Failed(None));
    let expected = verdict(Reason::Deleting)
        .with_operation(failed.operation(OperationState::Failed, Some(100)), Some(JobId::new("j-2")));
    assert_eq!(failed.verdict(), expected.retry(at(1000)));
}

#[test]
fn failed_delete_job_is_tried_three_times_before_people_must_act_and_still_after() {
    let failed = |attempts, now| {
        deleting(QingCloud)
            .with(|it| it.seen.intent.as_mut().expect("an intent").attempts = attempts)
            .recorded(OperationState::Failed, Some("j-2"), Some(95))
            .at(now)
    };
    for (attempts, reason) in [(1, Reason::Deleting), (2, Reason::Deleting), (3, Reason::JobFailed)] {
        let case = failed(attempts, 100);
        let expected =
            verdict(reason).with_operation(case.operation(OperationState::Failed, Some(95)), Some(JobId::new("j-2")));
        assert_eq!(case.verdict(), expected.retry(at(995)));
        let due = failed(attempts, 995).with(|it| it.seen.turn = Some(Turn::Ours));
        let again = Intent { attempts: attempts + 1, ..due.intent(OperationKind::Delete, FRESH, 995) };
        assert_eq!(due.step(), Step::WriteIntent(Box::new(again)));
    }
    assert!(failed(3, 100).message().contains("deletionPolicy: Retain"));
}

#[test]
fn lost_delete_is_made_again_only_where_a_read_shows_the_account() {
    let present = Some(account(access(HuaweiCloud)));
    let case = || deleting(HuaweiCloud).at(200);
    assert_eq!(case().step(), Step::ReadAccount(at(105)));
    assert_eq!(case().listed(150, None).step(), Step::Release(Release::NothingLeft));
    let again = case().listed(150, present.clone()).with(|it| it.seen.turn = Some(Turn::Ours));
    match again.step() {
        Step::WriteIntent(intent) => assert_eq!((intent.attempt.as_str(), intent.attempts), (FRESH, 2)),
        other => panic!("{other:?}"),
    }
    for listed in [None, present] {
        let early = deleting(HuaweiCloud).listed(95, listed);
        let expected = verdict(Reason::OutcomeUnknown)
            .with_operation(early.operation(OperationState::Unknown, None), None)
            .retry(at(105));
        assert_eq!(early.verdict(), expected, "a list may lag behind");
    }
}

#[test]
fn refused_delete_repeats_its_attempt_without_a_write() {
    let case = deleting(HuaweiCloud).refused();
    assert_eq!(case.with(|it| it.seen.turn = Some(Turn::Ours)).step(), Step::Call(CallKind::Delete));
}

#[test]
fn account_that_cannot_be_reached_is_held_until_the_orphan_deadline() {
    let unreachable: [fn(&mut Case); 4] = [
        |it| it.seen.instance = InstanceSeen::Missing,
        |it| it.seen.instance = InstanceSeen::NotServed,
        |it| it.facts().connected = false,
        |it| it.facts().key = InstanceKey::new("cloud/place/other"),
    ];
    for change in unreachable {
        let held = owned(HuaweiCloud).with(change);
        assert_eq!(held.verdict(), verdict(Reason::Deleting).retry(at(101)));
        let last = owned(HuaweiCloud).with(change).at(3689);
        assert_eq!(last.verdict(), verdict(Reason::Deleting).retry(at(3690)));
        let over = owned(HuaweiCloud).with(change).at(3690);
        assert!(matches!(over.step(), Step::Release(Release::Orphaned(_))));
    }
}

#[test]
fn process_that_just_started_gives_credentials_a_minute_to_appear() {
    let case = |now| {
        owned(HuaweiCloud).at(now).with(|it| {
            it.started_at = at(5000);
            it.facts().connected = false;
        })
    };
    assert_eq!(case(5000).verdict(), verdict(Reason::Deleting).retry(at(5001)));
    assert!(matches!(case(5060).step(), Step::Release(Release::Orphaned(_))));
}

#[test]
fn mass_deletion_waits_for_its_window_and_says_so() {
    let case = Case::on(HuaweiCloud).owned().deleted(90).with(|it| it.seen.turn = Some(Turn::DeletionLimited(at(700))));
    let verdict = case.verdict();
    assert_eq!((verdict.reason, verdict.recheck), (Reason::DeletionLimited, Recheck::At(at(700))));
    assert!(!verdict.quiet && case.message().contains("--max-deletes"), "{}", case.message());
}

#[test]
fn lost_create_whose_job_record_has_expired_does_not_hold_a_deleted_object_for_ever() {
    let case = Case::on(QingCloud).announced(OperationKind::Create, 0).deleted(90).at(7200);
    let searched = case.with(|it| it.seen.job = Some(Ok(JobSeen::NotFound)));
    assert!(matches!(searched.step(), Step::Release(Release::Orphaned(_))), "{:?}", searched.step());
}

#[test]
fn retained_account_whose_deletion_is_in_doubt_is_recorded_though_status_was_wiped() {
    let case = Case::on(QingCloud).announced(OperationKind::Delete, 50).deleted(40).with(|it| it.desired.retain = true);
    assert_eq!(case.step(), Step::Release(Release::Retained));
}

#[test]
fn deletion_lets_a_lost_change_pass_which_would_hit_whoever_gets_the_name_next() {
    let case = |written| Case::on(HuaweiCloud).owned().announced(OperationKind::SetPassword, written).deleted(98);
    let waiting = case(95).verdict();
    assert_eq!((waiting.reason, waiting.recheck), (Reason::OutcomeUnknown, Recheck::Retry { at: at(110) }));
    assert_eq!(case(85).step(), Step::TakeTurn(CallKind::Delete));
}

/// The cloud refuses with a code that may mean anything, and the list was read a moment before.
#[test]
fn vague_refusal_of_a_delete_waits_for_the_next_list_and_stalls_nobody() {
    let case = Case::on(HuaweiCloud).owned().announced(OperationKind::Delete, 100).deleted(90).with(|it| {
        it.seen.intent.as_mut().expect("an intent").attempt = AttemptId::new(FRESH);
        it.seen.account = Some(Err(Delay::NotBefore(at(105))));
    });
    let verdict = case.called(CallKind::Delete, not_applied(ErrorClass::InvalidSpec)).verdict();
    assert_eq!((verdict.reason, verdict.recheck), (Reason::Deleting, Recheck::At(at(105))));
    assert_eq!(verdict.operation.map(|it| it.state), Some(OperationState::Pending));
}

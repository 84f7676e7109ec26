//! Situations of an account that is deleted to be added again.

use super::{super::*, fixture::*};
use crate::{
    api::user::{OperationKind, OperationPhase, OperationState},
    domain::seen::{PasswordSeen, SecretSeen},
    provider::contract::{AccountSeen, CallKind, ErrorClass, JobState, ProviderKind::QingCloud, Turn, WantedAccess},
};

/// An account of ours whose re-creation was announced at second 50, in this phase.
fn recreating(phase: OperationPhase) -> Case {
    Case::on(QingCloud).owned().announced(OperationKind::Recreate, 50).with(|it| {
        it.desired.recreate = true;
        it.seen.secret = secret("2");
        let intent = it.seen.intent.as_mut().expect("an intent");
        intent.phase = Some(phase);
        (intent.access, intent.secret, intent.fingerprint) =
            (access(QingCloud), Some(version("2")), Some(Fingerprint::new("g")));
    })
}

/// Its job is at work.
fn at_work(phase: OperationPhase) -> Case {
    recreating(phase).recorded(OperationState::Running, Some("j-1"), None)
}

/// Everything that the addition needs is at hand.
fn free(case: Case) -> Case {
    case.with(|it| {
        it.seen.turn = Some(Turn::Ours);
        it.seen.password = Some(usable("2", "g"));
        it.seen.account = Some(Ok(AccountSeen { asked_at: at(90), account: None }));
    })
}

fn announced_phase(case: &Case) -> Option<OperationPhase> {
    match case.step() {
        Step::WriteIntent(intent) => intent.phase,
        other => panic!("{other:?}"),
    }
}

#[test]
fn addition_follows_a_deletion_that_failed_and_remembers_it() {
    for (state, failed) in [(JobState::Succeeded, false), (JobState::Failed(None), true)] {
        let case = free(at_work(OperationPhase::Removing).saw_job("j-1", state));
        let Step::WriteIntent(intent) = case.step() else { panic!("{:?}", case.step()) };
        assert_eq!((intent.phase, intent.removal_failed), (Some(OperationPhase::Adding), failed));
    }
}

#[test]
fn addition_follows_whatever_update_policy_says_by_then() {
    let case = free(at_work(OperationPhase::Removing).saw_job("j-1", JobState::Succeeded));
    assert_eq!(announced_phase(&case.with(|it| it.desired.recreate = false)), Some(OperationPhase::Adding));
}

#[test]
fn secret_that_became_invalid_between_the_calls_is_said_together_with_the_missing_account() {
    let refusal = Refusal::InvalidPassword("too short".to_owned());
    let case = at_work(OperationPhase::Removing).saw_job("j-1", JobState::Succeeded).with(|it| {
        it.seen.password = Some(PasswordSeen::Refused(version("2"), Fingerprint::new("g"), refusal));
    });
    let verdict = case.verdict();
    assert_eq!((verdict.reason, verdict.account), (Reason::InvalidPassword, AccountChange::Gone));
    assert_eq!(verdict.operation.and_then(|it| it.phase), Some(OperationPhase::Removed));
    assert!(case.message().starts_with("The account does not exist now"), "{}", case.message());
}

#[test]
fn nothing_is_deleted_before_the_secret_is_read_and_valid() {
    let missing = Case::on(QingCloud).owned().with(|it| {
        it.desired.recreate = true;
        it.desired.access.allowed_hosts = Some(vec!["192.168.0.0/16".to_owned()]);
        it.seen.secret = SecretSeen::Missing;
    });
    assert_eq!(missing.verdict().reason, Reason::WaitingForSecret);
}

#[test]
fn account_is_recreated_at_most_once_in_ten_minutes() {
    let done = |now| {
        let case = recreating(OperationPhase::Adding).recorded(OperationState::Succeeded, Some("j-1"), Some(60));
        free(case.at(now)).with(|it| it.seen.password = Some(usable("2", "other")))
    };
    let waiting = done(649).verdict();
    assert_eq!((waiting.reason, waiting.recheck), (Reason::Recreating, Recheck::At(at(650))));
    assert_eq!(announced_phase(&done(650)), Some(OperationPhase::Removing));
}

#[test]
fn object_deleted_between_the_calls_deletes_nothing_a_second_time() {
    let case = || at_work(OperationPhase::Removing).deleted(90);
    assert_eq!(case().saw_job("j-1", JobState::Succeeded).step(), Step::Release(Release::NothingLeft));
    let failed = case().saw_job("j-1", JobState::Failed(None));
    assert_eq!(failed.step(), Step::TakeTurn(CallKind::Delete), "it is still there");
}

#[test]
fn addition_at_work_is_followed_and_what_it_made_deleted_with_the_object() {
    let case = || at_work(OperationPhase::Adding).deleted(90);
    assert_eq!(case().step(), Step::ReadJob(JobId::new("j-1")));
    assert_eq!(case().saw_job("j-1", JobState::Succeeded).step(), Step::TakeTurn(CallKind::Delete));
    assert_eq!(case().saw_job("j-1", JobState::Failed(None)).step(), Step::Release(Release::NothingLeft));
}

#[test]
fn both_calls_failed_and_the_leave_was_taken_back_so_nothing_is_deleted_again() {
    let failed = |recreate| {
        let case = recreating(OperationPhase::Adding).recorded(OperationState::Failed, Some("j-1"), Some(60));
        free(case.at(1000)).with(|it| {
            it.seen.intent.as_mut().expect("an intent").removal_failed = true;
            it.desired.recreate = recreate;
        })
    };
    assert_eq!(announced_phase(&failed(true)), Some(OperationPhase::Removing));
    assert_eq!(failed(false).verdict().reason, Reason::ChangeNotSupported);
}

#[test]
fn recreation_at_work_whose_intent_was_stripped_claims_neither_password_nor_access_of_before() {
    let stripped = at_work(OperationPhase::Adding).with(|it| it.seen.intent = None);
    let Step::WriteIntent(intent) = stripped.step() else { panic!("{:?}", stripped.step()) };
    assert_eq!((&intent.fingerprint, intent.access), (&None, Access::default()));
}

#[test]
fn object_deleted_without_its_intent_follows_the_job_on_record_before_it_deletes() {
    let stripped = at_work(OperationPhase::Removing).deleted(90).with(|it| it.seen.intent = None);
    let Step::WriteIntent(intent) = stripped.step() else { panic!("{:?}", stripped.step()) };
    assert_eq!((intent.kind, intent.phase), (OperationKind::Recreate, Some(OperationPhase::Removing)));
}

#[test]
fn refused_deletion_leaves_everything_in_force() {
    let case = recreating(OperationPhase::Removing)
        .with(|it| it.seen.intent.as_mut().expect("an intent").attempt = AttemptId::new(FRESH));
    let verdict = case.called(CallKind::Delete, not_applied(ErrorClass::AccessDenied)).verdict();
    assert_eq!((verdict.reason, verdict.account), (Reason::AccessDenied, AccountChange::Keep));
}

/// Ours, with another access wished, and everything in hand to begin.
fn due() -> Case {
    Case::on(QingCloud).owned().checked().listed(90, None).at(1000).with(|it| {
        it.desired.recreate = true;
        it.desired.access =
            WantedAccess { allowed_hosts: Some(vec!["10.1.0.0/16".to_owned()]), ..WantedAccess::default() };
        it.seen.turn = Some(Turn::Ours);
    })
}

#[test]
fn nothing_is_deleted_before_the_password_to_add_it_with_is_in_hand() {
    let Step::WriteIntent(intent) = due().step() else { panic!("{:?}", due().step()) };
    assert_eq!((intent.kind, intent.phase), (OperationKind::Recreate, Some(OperationPhase::Removing)));
    assert!(intent.fingerprint.is_some() && intent.secret.is_some());

    let missing = PasswordSeen::Missing("key password in Secret password".to_owned());
    let refused = Refusal::InvalidPassword("too short".to_owned());
    let refused = PasswordSeen::Refused(version("2"), Fingerprint::new("g"), refused);
    for (password, reason) in [(missing, Reason::WaitingForSecret), (refused, Reason::InvalidPassword)] {
        let without = due().with(|it| it.seen.password = Some(password.clone()));
        assert_eq!(without.verdict().reason, reason);
    }
}

#[test]
fn what_was_deleted_to_be_added_again_is_added_whatever_the_policy_says_by_then() {
    let removed = due().announced(OperationKind::Recreate, 900).with(|it| {
        it.seen.intent.as_mut().expect("an intent").phase = Some(OperationPhase::Removing);
    });
    let removed = removed.recorded(OperationState::Succeeded, Some("j-1"), Some(950)).with(|it| {
        it.seen.record.operation.as_mut().expect("an operation").phase = Some(OperationPhase::Removed);
        it.seen.record.applied = None;
        it.seen.record.password = None;
        it.desired.recreate = false;
    });
    let Step::WriteIntent(intent) = removed.step() else { panic!("{:?}", removed.step()) };
    assert_eq!((intent.kind, intent.phase), (OperationKind::Recreate, Some(OperationPhase::Adding)));
}

/// `Retain` is set on an object that is deleted in the middle of its re-creation.
fn retained(case: Case) -> Case {
    case.deleted(90).with(|it| it.desired.retain = true)
}

#[test]
fn retain_while_removing_waits_for_the_job_and_keeps_what_it_left() {
    let case = || retained(at_work(OperationPhase::Removing));
    assert_eq!(case().step(), Step::ReadJob(JobId::new("j-1")));
    assert_eq!(case().saw_job("j-1", JobState::Succeeded).step(), Step::Release(Release::NothingLeft));
    assert_eq!(case().saw_job("j-1", JobState::Failed(None)).step(), Step::Release(Release::Retained));
}

#[test]
fn retain_after_the_removal_adds_nothing_and_says_that_nothing_is_left() {
    let removed = |state| {
        let case = recreating(OperationPhase::Removing).recorded(state, Some("j-1"), Some(60));
        retained(case).with(|it| {
            it.seen.record.operation.as_mut().expect("an operation").phase = Some(OperationPhase::Removed);
            if state == OperationState::Succeeded {
                (it.seen.record.applied, it.seen.record.password) = (None, None);
            }
        })
    };
    assert_eq!(removed(OperationState::Succeeded).step(), Step::Release(Release::NothingLeft));
    assert_eq!(removed(OperationState::Failed).step(), Step::Release(Release::Retained), "it may still be there");
}

#[test]
fn retain_while_adding_waits_for_the_job_and_keeps_what_it_made() {
    let case = |removal_failed| {
        retained(at_work(OperationPhase::Adding)).with(|it| {
            (it.seen.record.applied, it.seen.record.password) = (None, None);
            it.seen.intent.as_mut().expect("an intent").removal_failed = removal_failed;
        })
    };
    assert_eq!(case(false).step(), Step::ReadJob(JobId::new("j-1")));
    assert_eq!(case(false).saw_job("j-1", JobState::Succeeded).step(), Step::Release(Release::Retained));
    assert_eq!(case(false).saw_job("j-1", JobState::Failed(None)).step(), Step::Release(Release::NothingLeft));
    assert_eq!(case(true).saw_job("j-1", JobState::Failed(None)).step(), Step::Release(Release::Retained));
}

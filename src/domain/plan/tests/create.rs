//! Situations of an account that is not ours yet.

use std::time::Duration;

use super::{super::*, fixture::*};
use crate::{
    api::user::{OperationKind, OperationState},
    domain::{
        names::{InstanceKey, Username},
        seen::{PasswordSeen, SecretSeen},
    },
    provider::contract::{
        Accepted, Account, CallKind, Delay, ErrorClass, JobSeen, JobState, LostCall,
        ProviderKind::{self, HuaweiCloud, QingCloud},
        Turn,
    },
};

fn not_ours() -> Verdict {
    Verdict { account: AccountChange::Gone, ..verdict(Reason::AccountExists) }
}

fn in_doubt(case: &Case) -> Verdict {
    verdict(Reason::OutcomeUnknown).with_operation(case.operation(OperationState::Unknown, None), None)
}

#[test]
fn new_account_takes_the_checks_in_order_before_anything_is_written() {
    for kind in ProviderKind::ALL {
        let mut case = Case::on(kind).with(|it| it.facts().held = false);
        assert_eq!(case.step(), Step::TakeTurn(CallKind::Create));
        case.seen.turn = Some(Turn::Waiting);
        assert_eq!(case.verdict().reason, Reason::Creating, "nothing is read by one that has to wait");
        case.seen.turn = Some(Turn::Ours);
        assert_eq!(case.step(), Step::ReadPassword);
        case.seen.password = Some(usable("1", "f"));
        let can_list = kind == HuaweiCloud;
        if can_list {
            assert_eq!(case.step(), Step::ReadAccount(at(40)), "a list of the last minute will do");
            case = case.listed(50, None);
        }
        assert_eq!(case.step(), Step::HoldInstance);
        case.facts().held = true;
        let intent = Intent { absent_at: can_list.then(|| at(50)), ..case.intent(OperationKind::Create, FRESH, 100) };
        assert_eq!(case.step(), Step::WriteIntent(Box::new(intent.clone())));
        case.seen.intent = Some(intent);
        assert_eq!(case.step(), Step::Call(CallKind::Create));
    }
}

#[test]
fn done_makes_the_account_ours_with_the_access_and_password_that_were_announced() {
    let case = Case::on(HuaweiCloud).with(|it| it.seen.intent = Some(it.intent(OperationKind::Create, FRESH, 100)));
    let case = case.called(CallKind::Create, Ok(Accepted::Done));
    let mut expected =
        verdict(Reason::AccountReady).with_operation(case.operation(OperationState::Succeeded, Some(100)), None);
    expected.account = AccountChange::Confirmed(access(HuaweiCloud), Some((version("1"), Fingerprint::new("f"))));
    assert_eq!(case.verdict(), expected);
}

#[test]
fn accepted_job_is_recorded_and_looked_at_after_the_poll_interval() {
    let case = Case::on(QingCloud).with(|it| it.seen.intent = Some(it.intent(OperationKind::Create, FRESH, 100)));
    let case = case.called(CallKind::Create, Ok(Accepted::Job(JobId::new("j-1"))));
    let expected = verdict(Reason::JobRunning)
        .with_operation(case.operation(OperationState::Running, None), Some(JobId::new("j-1")))
        .at(at(103));
    assert_eq!(case.verdict(), expected);
}

#[test]
fn what_is_missing_is_waited_for_without_a_timer() {
    let waiting = [
        (Reason::WaitingForInstance, Case::on(QingCloud).with(|it| it.seen.instance = InstanceSeen::Missing)),
        (Reason::NotAllowed, Case::on(QingCloud).with(|it| it.seen.instance = InstanceSeen::NotServed)),
        (Reason::WaitingForSecret, Case::on(QingCloud).with(|it| it.seen.secret = SecretSeen::Missing)),
        (
            Reason::WaitingForSecret,
            Case::on(QingCloud).with(|it| it.seen.password = Some(PasswordSeen::Missing("key password".to_owned()))),
        ),
        (Reason::WaitingForInstance, Case::on(QingCloud).checked().with(|it| it.facts().terminating = true)),
    ];
    for (reason, case) in waiting {
        assert_eq!(case.verdict(), verdict(reason));
    }
}

#[test]
fn refused_manifest_or_password_costs_no_call() {
    let too_short = Refusal::InvalidPassword("too short".to_owned());
    let refused = [
        (Reason::InvalidSpec, Case::on(QingCloud).with(|it| it.desired.username = Username::new("default"))),
        (Reason::InvalidSpec, Case::on(QingCloud).with(|it| it.desired.access.allowed_hosts = None)),
        (
            Reason::FieldNotSupported,
            Case::on(QingCloud).with(|it| it.desired.access.databases = Some(vec!["a".to_owned()])),
        ),
        (
            Reason::InvalidPassword,
            Case::on(QingCloud).with(|it| {
                it.seen.password = Some(PasswordSeen::Refused(version("1"), Fingerprint::new("f"), too_short));
            }),
        ),
    ];
    for (reason, case) in refused {
        assert_eq!(case.verdict(), verdict(reason));
    }
}

#[test]
fn unreadable_secret_is_read_again_after_a_growing_pause() {
    let case = Case::on(QingCloud).with(|it| it.seen.password = Some(PasswordSeen::Unreadable("refused".to_owned())));
    assert_eq!(case.verdict(), verdict(Reason::WaitingForSecret).retry(at(101)));
}

#[test]
fn suspended_user_is_not_looked_at_whatever_else_is_true() {
    for case in [
        Case::on(QingCloud),
        Case::on(HuaweiCloud).owned(),
        Case::on(QingCloud).with(|it| it.seen.instance = InstanceSeen::Missing),
    ] {
        assert_eq!(case.with(|it| it.desired.suspend = true).verdict(), verdict(Reason::Suspended));
    }
}

#[test]
fn user_shows_the_trouble_of_its_instance() {
    let shown = [
        (Reason::ProviderUnavailable, Reason::ProviderUnavailable),
        (Reason::Throttled, Reason::Throttled),
        (Reason::AccessDenied, Reason::AccessDenied),
        (Reason::InstanceNotFound, Reason::InstanceNotFound),
        (Reason::InstanceUnavailable, Reason::InstanceUnavailable),
        (Reason::NotAllowed, Reason::NotAllowed),
        (Reason::InvalidSpec, Reason::WaitingForInstance),
        (Reason::WaitingForSecret, Reason::WaitingForInstance),
    ];
    for (instance, user) in shown {
        let case = Case::on(QingCloud).checked().with(|it| it.facts().state = Some((instance, "why".to_owned())));
        assert_eq!(case.verdict(), verdict(user), "{instance:?}");
        assert!(case.message().contains("why"));
    }
    let unseen = Case::on(QingCloud).checked().with(|it| it.facts().state = None);
    assert_eq!(unseen.verdict(), verdict(Reason::WaitingForInstance).quietly());
}

#[test]
fn waiting_for_a_turn_is_quiet_and_a_budget_names_its_time() {
    let case = |turn| Case::on(QingCloud).checked().with(|it| it.seen.turn = Some(turn));
    assert_eq!(case(Turn::Waiting).verdict(), verdict(Reason::Creating).quietly());
    assert_eq!(case(Turn::NotBefore(at(130))).verdict(), verdict(Reason::Creating).at(at(130)).quietly());
    assert_eq!(case(Turn::Busy(at(130))).verdict(), verdict(Reason::InstanceBusy).at(at(130)).quietly());
    let pacing = Case::on(HuaweiCloud).checked().with(|it| it.seen.account = Some(Err(Delay::NotBefore(at(104)))));
    assert_eq!(pacing.verdict(), verdict(Reason::Creating).at(at(104)).quietly());
}

#[test]
fn taken_name_is_said_only_from_a_list_that_is_new_and_asked_after_the_object_came() {
    let case = |asked| Case::on(HuaweiCloud).checked().listed(asked, Some(account(access(HuaweiCloud))));
    assert_eq!(case(94).step(), Step::ReadAccount(at(100)), "the account may be gone since");
    assert_eq!(case(95).verdict(), not_ours().retry(at(700)));
    let young = |asked| case(asked).with(|it| it.desired.created_at = at(98));
    assert_eq!(young(97).step(), Step::ReadAccount(at(100)));
    assert_eq!(young(98).verdict(), not_ours().retry(at(700)));
}

#[test]
fn failed_list_holds_the_create_back_with_its_own_reason() {
    let error = CloudError::new(ErrorClass::Throttled, "slow down").with_pause(Duration::from_secs(60));
    let case = Case::on(HuaweiCloud).checked().with(|it| it.seen.account = Some(Err(Delay::Failed(error.clone()))));
    let expected = Verdict { error: Some(error), ..verdict(Reason::Throttled) };
    assert_eq!(case.verdict(), expected.retry(at(160)));
}

#[test]
fn lost_answer_leads_to_a_look_and_never_to_a_second_call_in_the_pass() {
    for kind in ProviderKind::ALL {
        let case =
            Case::on(kind).checked().with(|it| it.seen.intent = Some(it.intent(OperationKind::Create, FRESH, 100)));
        let case = case.called(CallKind::Create, lost());
        let expected =
            Verdict { error: Some(CloudError::new(ErrorClass::Unavailable, "no answer")), ..in_doubt(&case) };
        assert_eq!(case.verdict(), expected.retry(at(101)));
    }
}

#[test]
fn lost_create_is_ours_when_the_list_shows_it_with_the_access_that_the_list_shows() {
    let listed = Access { databases: Some(["other".to_owned()].into()), ..access(HuaweiCloud) };
    let case = Case::on(HuaweiCloud).announced(OperationKind::Create, 95);
    assert_eq!(case.step(), Step::ReadAccount(at(95)), "a list asked before the call proves nothing");
    let case = case.listed(96, Some(account(listed.clone())));
    let mut expected = verdict(Reason::UpdatingAccess)
        .with_operation(case.operation(OperationState::Succeeded, Some(100)), None)
        .at(at(100));
    expected.account = AccountChange::Confirmed(listed, Some((version("1"), Fingerprint::new("f"))));
    assert_eq!(case.verdict(), expected, "and the access is mended next");
}

#[test]
fn process_that_did_not_make_the_call_believes_no_list_that_may_show_an_account_it_removed_before() {
    let case = Case::on(HuaweiCloud).announced(OperationKind::Create, 95).with(|it| it.started_at = at(97));
    let seen = case.listed(99, Some(account(access(HuaweiCloud))));
    assert_eq!(seen.verdict(), in_doubt(&seen).retry(at(110)));
    assert_eq!(seen.at(111).listed(110, Some(account(access(HuaweiCloud)))).verdict().reason, Reason::AccountReady);
}

#[test]
fn secret_that_changed_while_the_create_was_at_work_is_followed_by_another_pass() {
    let case = Case::on(QingCloud).announced(OperationKind::Create, 50);
    let case = case.recorded(OperationState::Running, Some("j-1"), None).saw_job("j-1", JobState::Succeeded);
    let done = case.with(|it| it.seen.secret = secret("2")).verdict();
    assert_eq!((done.reason, done.recheck), (Reason::UpdatingPassword, Recheck::At(at(100))));
}

#[test]
fn create_at_work_whose_intent_was_stripped_is_put_back_and_its_password_called_unknown() {
    let stripped = Case::on(QingCloud).announced(OperationKind::Create, 50);
    let stripped = stripped.recorded(OperationState::Running, Some("j-1"), None).with(|it| it.seen.intent = None);
    let Step::WriteIntent(intent) = stripped.step() else { panic!("{:?}", stripped.step()) };
    assert_eq!((intent.attempt.as_str(), &intent.fingerprint, &intent.secret), (OLD, &None, &None));
    let done = stripped.with(|it| it.seen.intent = Some(*intent)).saw_job("j-1", JobState::Succeeded).verdict();
    assert_eq!(done.account, AccountChange::PasswordUnknown(Access::default()));
    assert_eq!(done.recheck, Recheck::At(at(100)));
}

#[test]
fn built_in_account_in_the_list_never_becomes_ours() {
    let built_in = Account { built_in: true, ..account(access(HuaweiCloud)) };
    let case = Case::on(HuaweiCloud).announced(OperationKind::Create, 95).listed(96, Some(built_in));
    assert_eq!(case.verdict(), not_ours().retry(at(700)));
}

#[test]
fn absence_counts_only_from_a_list_begun_fifteen_seconds_after_the_attempt() {
    let case = Case::on(HuaweiCloud).announced(OperationKind::Create, 90).listed(99, None);
    assert_eq!(case.verdict(), in_doubt(&case).retry(at(105)));
    let later = Case::on(HuaweiCloud).announced(OperationKind::Create, 80);
    assert_eq!(later.step(), Step::ReadAccount(at(95)));
    let absent = later.checked().listed(95, None);
    let again = Intent { attempts: 2, absent_at: Some(at(95)), ..absent.intent(OperationKind::Create, FRESH, 100) };
    assert_eq!(absent.step(), Step::WriteIntent(Box::new(again)));
}

#[test]
fn job_of_a_lost_create_is_searched_by_its_attempt_and_followed() {
    let case = Case::on(QingCloud).announced(OperationKind::Create, 90);
    let lost = LostCall {
        attempt: AttemptId::new(OLD),
        kind: CallKind::Create,
        username: Username::new("reporting"),
        since: at(90),
    };
    assert_eq!(case.step(), Step::FindJob(lost));
    let running = Case::on(QingCloud).announced(OperationKind::Create, 90).saw_job("j-1", JobState::Running);
    let expected = verdict(Reason::JobRunning)
        .with_operation(running.operation(OperationState::Running, None), Some(JobId::new("j-1")))
        .at(at(103));
    assert_eq!(running.verdict(), expected);
    let done = case.saw_job("j-1", JobState::Succeeded);
    let mut expected = verdict(Reason::AccountReady)
        .with_operation(done.operation(OperationState::Succeeded, Some(100)), Some(JobId::new("j-1")));
    expected.account = AccountChange::Confirmed(access(QingCloud), Some((version("1"), Fingerprint::new("f"))));
    assert_eq!(done.verdict(), expected);
}

#[test]
fn missing_job_allows_another_attempt_only_between_a_minute_and_an_hour() {
    let case = |written: i64, now: i64| {
        let case = Case::on(QingCloud).announced(OperationKind::Create, written).checked().at(now);
        case.with(|it| it.seen.job = Some(Ok(JobSeen::NotFound)))
    };
    let early = case(0, 59);
    assert_eq!(early.verdict(), in_doubt(&early).retry(at(60)));
    let grown = case(0, 60);
    let again = Intent { attempts: 2, ..grown.intent(OperationKind::Create, FRESH, 60) };
    assert_eq!(grown.step(), Step::WriteIntent(Box::new(again)));
    let expired = case(0, 3601);
    let expected = Verdict { reason: Reason::OutcomeStaysUnknown, ..in_doubt(&expired) };
    assert_eq!(expired.verdict(), expected.retry(at(3601 + 600)));
}

#[test]
fn doubt_becomes_a_case_for_people_after_twice_the_job_timeout() {
    let failed = || Some(Err(Delay::Failed(CloudError::new(ErrorClass::Unavailable, "down"))));
    for (now, reason) in [(1800, Reason::OutcomeUnknown), (1801, Reason::OutcomeStaysUnknown)] {
        let case = Case::on(QingCloud).announced(OperationKind::Create, 0).at(now).with(|it| it.seen.job = failed());
        let expected =
            Verdict { reason, error: Some(CloudError::new(ErrorClass::Unavailable, "down")), ..in_doubt(&case) };
        assert_eq!(case.verdict(), expected.retry(at(now + 1)));
    }
}

#[test]
fn running_job_is_polled_along_the_curve_and_doubted_after_its_timeout() {
    let running = |now| {
        let case = Case::on(QingCloud).announced(OperationKind::Create, 0);
        case.recorded(OperationState::Running, Some("j-1"), None).at(now)
    };
    let told = |case: &Case, reason| {
        verdict(reason).with_operation(case.operation(OperationState::Running, None), Some(JobId::new("j-1")))
    };
    let young = running(2);
    assert_eq!(young.verdict(), told(&young, Reason::JobRunning).at(at(3)));
    assert_eq!(running(3).step(), Step::ReadJob(JobId::new("j-1")));
    for (now, next) in [(3, 6), (6, 11), (11, 19), (19, 29), (29, 44), (899, 914)] {
        let case = running(now).saw_job("j-1", JobState::Running);
        assert_eq!(case.verdict(), told(&case, Reason::JobRunning).at(at(next)));
    }
    let hidden = running(59).with(|it| it.seen.job = Some(Ok(JobSeen::NotFound)));
    assert_eq!(hidden.verdict(), told(&hidden, Reason::JobRunning).at(at(74)));
    let vanished = running(60).with(|it| it.seen.job = Some(Ok(JobSeen::NotFound)));
    assert_eq!(vanished.verdict(), told(&vanished, Reason::OutcomeUnknown).at(at(120)));
    let long = running(1801).saw_job("j-1", JobState::Running);
    assert_eq!(long.verdict(), told(&long, Reason::OutcomeStaysUnknown).at(at(1861)));
}

#[test]
fn failed_look_at_a_job_keeps_the_job() {
    let case = Case::on(QingCloud).announced(OperationKind::Create, 0);
    let case = case.recorded(OperationState::Running, Some("j-1"), None);
    let case = case.with(|it| {
        it.seen.job = Some(Err(Delay::Failed(CloudError::new(ErrorClass::Unavailable, "down"))));
    });
    let expected = failed(Reason::ProviderUnavailable, ErrorClass::Unavailable, "down")
        .with_operation(case.operation(OperationState::Running, None), Some(JobId::new("j-1")));
    assert_eq!(case.verdict(), expected.retry(at(101)));
}

#[test]
fn failed_job_is_tried_again_after_the_longest_pause() {
    let case = |now| {
        let case = Case::on(QingCloud).announced(OperationKind::Create, 0);
        case.recorded(OperationState::Failed, Some("j-1"), Some(50)).checked().at(now)
    };
    let waiting = case(100);
    let expected = failed(Reason::JobFailed, ErrorClass::Rejected, "job j-1 failed")
        .with_operation(waiting.operation(OperationState::Failed, Some(50)), Some(JobId::new("j-1")));
    assert_eq!(waiting.verdict(), expected.retry(at(650)));
    let due = case(650);
    let again = Intent { attempts: 2, ..due.intent(OperationKind::Create, FRESH, 650) };
    assert_eq!(due.step(), Step::WriteIntent(Box::new(again)));
}

#[test]
fn failed_job_is_tried_again_at_once_when_secret_or_manifest_changed() {
    let failed = || {
        let case = Case::on(QingCloud).announced(OperationKind::Create, 0);
        case.recorded(OperationState::Failed, Some("j-1"), Some(50)).checked()
    };
    let new_secret = failed().with(|it| {
        it.seen.secret = secret("2");
        it.seen.password = Some(usable("2", "g"));
    });
    let again = Intent {
        attempts: 2,
        secret: Some(version("2")),
        fingerprint: Some(Fingerprint::new("g")),
        ..new_secret.intent(OperationKind::Create, FRESH, 100)
    };
    assert_eq!(new_secret.step(), Step::WriteIntent(Box::new(again)));
    let new_manifest = failed().with(|it| it.desired.generation = 2);
    assert!(matches!(new_manifest.step(), Step::WriteIntent(_)));
}

#[test]
fn job_that_just_failed_is_recorded_with_its_time_and_code() {
    let case = Case::on(QingCloud).announced(OperationKind::Create, 0);
    let case = case.recorded(OperationState::Running, Some("j-1"), None);
    let case = case.saw_job("j-1", JobState::Failed(Some("2110".to_owned())));
    let mut expected = failed(Reason::JobFailed, ErrorClass::Rejected, "job j-1 failed")
        .with_operation(case.operation(OperationState::Failed, Some(100)), Some(JobId::new("j-1")));
    expected.error = expected.error.map(|error| error.with_code("2110"));
    assert_eq!(case.verdict(), expected.retry(at(700)));
}

#[test]
fn certain_refusal_is_recorded_as_pending_or_where_people_must_act_as_failed() {
    let table = [
        (ErrorClass::InstanceBusy, Reason::InstanceBusy, OperationState::Pending, 101),
        (ErrorClass::Unavailable, Reason::ProviderUnavailable, OperationState::Pending, 101),
        (ErrorClass::Throttled, Reason::Throttled, OperationState::Pending, 101),
        (ErrorClass::AccessDenied, Reason::AccessDenied, OperationState::Failed, 700),
        (ErrorClass::AccountExists, Reason::AccountExists, OperationState::Failed, 700),
        (ErrorClass::Rejected, Reason::ProviderRejected, OperationState::Failed, 700),
        (ErrorClass::InvalidPassword, Reason::InvalidPassword, OperationState::Failed, 700),
        (ErrorClass::InstanceUnavailable, Reason::InstanceUnavailable, OperationState::Failed, 700),
    ];
    for (class, reason, state, next) in table {
        let case = Case::on(QingCloud).with(|it| it.seen.intent = Some(it.intent(OperationKind::Create, FRESH, 100)));
        let case = case.called(CallKind::Create, not_applied(class));
        let finished = (state == OperationState::Failed).then_some(100);
        let mut expected = failed(reason, class, "refused").with_operation(case.operation(state, finished), None);
        if reason == Reason::AccountExists {
            expected.account = AccountChange::Gone;
        }
        assert_eq!(case.verdict(), expected.retry(at(next)), "{class:?}");
    }
}

#[test]
fn vague_refusal_is_explained_by_the_list_and_never_makes_the_account_ours() {
    let refused = || {
        let case = Case::on(HuaweiCloud).with(|it| it.seen.intent = Some(it.intent(OperationKind::Create, FRESH, 100)));
        case.called(CallKind::Create, not_applied(ErrorClass::Rejected))
    };
    assert_eq!(refused().listed(90, None).step(), Step::ReadAccount(at(100)));
    let there = refused().listed(100, Some(account(access(HuaweiCloud))));
    let failed_for = |case: &Case| case.operation(OperationState::Failed, Some(100));
    let mut expected = failed(Reason::AccountExists, ErrorClass::Rejected, "refused");
    expected.account = AccountChange::Gone;
    let expected = expected.with_operation(failed_for(&there), None);
    assert_eq!(there.verdict(), expected.retry(at(700)));
    let absent = refused().listed(100, None);
    let expected = failed(Reason::ProviderRejected, ErrorClass::Rejected, "refused");
    assert_eq!(absent.verdict(), expected.with_operation(failed_for(&absent), None).retry(at(700)));
}

#[test]
fn certain_refusal_repeats_the_same_attempt_without_a_write() {
    for kind in ProviderKind::ALL {
        let case = Case::on(kind).announced(OperationKind::Create, 0);
        assert_eq!(case.refused().checked().step(), Step::Call(CallKind::Create));
    }
}

#[test]
fn refusal_that_this_process_did_not_hear_may_have_been_followed_by_a_lost_call() {
    let listed = Case::on(HuaweiCloud).announced(OperationKind::Create, 0);
    assert_eq!(listed.recorded(OperationState::Pending, None, None).step(), Step::ReadAccount(at(100)));
    let job = Case::on(QingCloud).announced(OperationKind::Create, 0);
    assert!(matches!(job.recorded(OperationState::Pending, None, None).step(), Step::FindJob(_)));
}

#[test]
fn lost_repetition_is_looked_for_from_the_time_it_was_sent() {
    let case = Case::on(HuaweiCloud).announced(OperationKind::Create, 0).refused().checked();
    let case = case.called(CallKind::Create, lost());
    let Verdict { operation: Some(unknown), .. } = case.verdict() else { panic!("an operation is in doubt") };
    let mut later = Case::on(HuaweiCloud).announced(OperationKind::Create, 0).at(110);
    later.seen.record.operation = Some(unknown);
    assert_eq!(later.step(), Step::ReadAccount(at(100)));
    assert_eq!(later.at(116).step(), Step::ReadAccount(at(115)));
}

#[test]
fn refusal_that_people_had_to_mend_is_followed_by_a_new_attempt() {
    let case = Case::on(QingCloud).announced(OperationKind::Create, 0);
    let case = case.recorded(OperationState::Failed, None, Some(1)).checked();
    let again = Intent { attempts: 2, ..case.intent(OperationKind::Create, FRESH, 100) };
    assert_eq!(case.step(), Step::WriteIntent(Box::new(again)));
}

#[test]
fn account_that_somebody_made_after_a_refusal_that_people_had_to_mend_is_not_ours() {
    let refused =
        Case::on(HuaweiCloud).announced(OperationKind::Create, 0).recorded(OperationState::Failed, None, Some(1));
    let there = refused.checked().listed(100, Some(account(access(HuaweiCloud))));
    assert_eq!(there.verdict().reason, Reason::AccountExists);
}

#[test]
fn times_of_a_repeated_call_run_from_the_call_and_not_from_its_intent() {
    // Refused for two hours, and accepted at last: the job is new.
    let refused = || Case::on(QingCloud).announced(OperationKind::Create, 0).at(7200);
    let accepted = refused().refused().checked();
    let accepted = accepted.called(CallKind::Create, Ok(Accepted::Job(JobId::new("j-1")))).verdict();
    let operation = accepted.operation.expect("an operation");
    assert_eq!(operation.started_at.0, at(7200));

    let running = refused().recorded(OperationState::Running, Some("j-1"), None);
    let running = running.with(|it| it.seen.record.operation = Some(operation.clone()));
    assert_eq!(
        running.with(|it| it.now = at(7203)).saw_job("j-1", JobState::Running).verdict().reason,
        Reason::JobRunning
    );

    // Its answer was lost: that no job is seen yet proves nothing.
    let unknown = Operation { state: OperationState::Unknown, ..operation };
    let unknown = refused().with(|it| it.seen.record.operation = Some(unknown));
    let unknown = unknown.with(|it| it.seen.job = Some(Ok(JobSeen::NotFound)));
    assert_eq!(unknown.verdict().reason, Reason::OutcomeUnknown);
}

#[test]
fn refused_attempt_is_announced_anew_where_access_or_password_changed() {
    let refused = || {
        let case = Case::on(QingCloud).announced(OperationKind::Create, 0);
        case.refused().checked()
    };
    let hosts = refused().with(|it| it.desired.access.allowed_hosts = Some(vec!["10.1.0.0/16".to_owned()]));
    let password = refused().with(|it| it.seen.password = Some(usable("2", "g")));
    for case in [hosts, password] {
        match case.step() {
            Step::WriteIntent(intent) => assert_eq!((intent.attempt.as_str(), intent.attempts), (FRESH, 2)),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn reference_that_means_another_instance_holds_what_may_be_on_the_first() {
    let moved = |case: Case| case.with(|it| it.facts().key = InstanceKey::new("cloud/place/other"));
    let lost = moved(Case::on(QingCloud).announced(OperationKind::Create, 90));
    assert_eq!(lost.verdict(), verdict(Reason::InstanceChanged));
    let refused = Case::on(QingCloud).announced(OperationKind::Create, 90);
    let refused = moved(refused.recorded(OperationState::Failed, None, Some(91)).checked());
    match refused.step() {
        Step::WriteIntent(intent) => assert_eq!(intent.instance_key, InstanceKey::new("cloud/place/other")),
        other => panic!("nothing is on the first instance: {other:?}"),
    }
}

#[test]
fn lost_call_waits_for_a_credential_and_makes_no_call_meanwhile() {
    let cut_off = |it: &mut Case| {
        it.facts().connected = false;
        it.facts().state = Some((Reason::AccessDenied, "denied".to_owned()));
    };
    let lost = Case::on(QingCloud).announced(OperationKind::Create, 90).with(cut_off);
    let running = Case::on(QingCloud).announced(OperationKind::Create, 90);
    let running = running.recorded(OperationState::Running, Some("j-1"), None).with(cut_off);
    for case in [lost, running] {
        assert_eq!(case.verdict(), verdict(Reason::AccessDenied));
    }
}

#[test]
fn creation_in_doubt_on_an_instance_that_is_confirmed_gone_says_so() {
    let case = Case::on(HuaweiCloud).announced(OperationKind::Create, 0).with(|it| it.facts().gone = true);
    assert_eq!(case.verdict().reason, Reason::InstanceNotFound);
}

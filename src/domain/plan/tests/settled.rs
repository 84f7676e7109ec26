//! Situations of an account that is ours.

use std::time::Duration;

use super::{super::*, fixture::*};
use crate::{
    api::user::{OperationKind, OperationPhase},
    domain::{
        names::InstanceKey,
        seen::{LoginSeen, PasswordSeen, Record, SecretSeen},
    },
    provider::contract::{
        Accepted, AccountSeen, CallKind, Delay, ErrorClass,
        ProviderKind::{self, HuaweiCloud, QingCloud},
        Turn,
    },
};

#[test]
fn settled_user_is_ready_without_a_step() {
    for kind in ProviderKind::ALL {
        assert_eq!(Case::on(kind).owned().verdict(), verdict(Reason::AccountReady));
    }
}

#[test]
fn settled_user_depends_on_neither_instance_nor_secret() {
    let gone = Case::on(HuaweiCloud).owned().with(|it| {
        it.seen.instance = InstanceSeen::Missing;
        it.seen.secret = SecretSeen::Missing;
    });
    assert_eq!(gone.verdict(), verdict(Reason::AccountReady));
    let in_trouble = Case::on(HuaweiCloud).owned().with(|it| {
        it.facts().connected = false;
        it.facts().state = Some((Reason::AccessDenied, "denied".to_owned()));
    });
    assert_eq!(in_trouble.verdict(), verdict(Reason::AccountReady));
}

#[test]
fn finalizer_and_journal_of_an_account_that_is_ours_are_put_back_without_a_call() {
    for kind in ProviderKind::ALL {
        let whole = Case::on(kind).owned();
        let journal = Step::WriteIntent(Box::new(whole.seen.intent.clone().expect("a journal")));
        assert_eq!(Case::on(kind).owned().with(|it| it.seen.finalizer = false).step(), journal);
        assert_eq!(Case::on(kind).owned().with(|it| it.seen.intent = None).step(), journal, "made of status");
        let adopted = Case::on(kind).owned().with(|it| {
            (it.seen.finalizer, it.seen.intent, it.seen.record.operation) = (false, None, None);
        });
        assert_eq!(adopted.step(), Step::RestoreFinalizer, "nothing was ever announced");
    }
}

#[test]
fn reference_that_means_another_instance_is_refused() {
    let case = Case::on(HuaweiCloud).owned().with(|it| it.facts().key = InstanceKey::new("cloud/place/other"));
    assert_eq!(case.verdict(), verdict(Reason::InstanceChanged));
    assert!(case.message().contains("cloud/place/instance"));
}

/// The access asked for is another than the one in force.
fn other_access(case: Case) -> Case {
    case.with(|it| match it.kind {
        ProviderKind::QingCloud => it.desired.access.allowed_hosts = Some(vec!["192.168.0.0/16".to_owned()]),
        ProviderKind::HuaweiCloud => it.desired.access.databases = Some(vec!["other".to_owned()]),
    })
}

/// The Secret has a new version with this password.
fn secret_changed(case: Case, fingerprint: &str) -> Case {
    case.with(|it| {
        it.seen.secret = secret("2");
        it.seen.password = Some(usable("2", fingerprint));
    })
}

/// Whatever a change waits for is there.
fn free(case: Case) -> Case {
    case.with(|it| {
        it.seen.turn = Some(Turn::Ours);
        it.seen.password.get_or_insert(usable("1", "f"));
        it.seen.account.get_or_insert(Ok(AccountSeen { asked_at: at(90), account: Some(account(access(it.kind))) }));
    })
}

#[test]
fn changed_access_is_set_under_an_intent_of_its_own_that_keeps_the_password() {
    let case = other_access(Case::on(HuaweiCloud).owned());
    assert_eq!(case.step(), Step::TakeTurn(CallKind::SetAccess));
    let case = case.with(|it| it.seen.turn = Some(Turn::Ours));
    let wanted = HuaweiCloud.rules().access(&case.desired.access).expect("a legal wish");
    let mut intent = case.intent(OperationKind::SetAccess, FRESH, 100);
    (intent.access, intent.fingerprint, intent.secret) =
        (wanted.clone(), Some(Fingerprint::new("f")), Some(version("1")));
    assert_eq!(case.step(), Step::WriteIntent(Box::new(intent.clone())));
    let case = case.with(|it| it.seen.intent = Some(intent));
    assert_eq!(case.step(), Step::Call(CallKind::SetAccess));
    let done = case.called(CallKind::SetAccess, Ok(Accepted::Done)).verdict();
    assert_eq!((done.reason, done.account), (Reason::AccountReady, AccountChange::Confirmed(wanted, None)));
}

#[test]
fn another_spelling_of_the_same_access_is_no_change() {
    let case = Case::on(HuaweiCloud).owned().with(|it| it.desired.access.permission = None);
    assert_eq!(case.verdict(), verdict(Reason::AccountReady));
}

#[test]
fn what_a_cloud_cannot_change_in_place_waits_for_the_leave_to_recreate_and_then_begins_with_the_deletion() {
    let cases = [other_access(Case::on(QingCloud).owned()), secret_changed(Case::on(QingCloud).owned(), "g")];
    for case in cases {
        assert_eq!(case.verdict(), verdict(Reason::ChangeNotSupported));
        assert!(case.message().contains("spec.updatePolicy: Recreate"), "{}", case.message());
        let allowed = free(case.with(|it| it.desired.recreate = true));
        match allowed.step() {
            Step::WriteIntent(intent) => {
                assert_eq!((intent.kind, intent.phase), (OperationKind::Recreate, Some(OperationPhase::Removing)));
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn account_that_is_gone_from_the_list_is_made_again_and_one_that_was_changed_is_set_back() {
    let listed = |seconds, account| {
        let listed = Some(AccountSeen { asked_at: at(seconds), account });
        Case::on(HuaweiCloud).owned().with(|it| it.seen.listed = listed)
    };
    assert_eq!(listed(10, None).verdict(), verdict(Reason::AccountReady), "a list may lag behind our own create");
    assert_eq!(listed(50, None).step(), Step::TakeTurn(CallKind::Create), "on the way to a create");
    let mut widened = access(HuaweiCloud);
    widened.databases = Some(["*".to_owned()].into());
    assert_eq!(listed(50, Some(account(widened))).step(), Step::TakeTurn(CallKind::SetAccess));
    assert_eq!(listed(50, Some(account(access(HuaweiCloud)))).verdict(), verdict(Reason::AccountReady));
}

#[test]
fn missing_account_that_waits_is_not_called_ours_any_more() {
    let case = Case::on(HuaweiCloud).owned().with(|it| {
        it.seen.listed = Some(AccountSeen { asked_at: at(50), account: None });
        it.seen.secret = SecretSeen::Missing;
    });
    let expected = Verdict { account: AccountChange::Gone, ..verdict(Reason::WaitingForSecret) };
    assert_eq!(Verdict { operation: None, ..case.verdict() }, expected);
}

#[test]
fn forced_look_reads_a_list_of_now_and_is_handled_when_it_has_come() {
    let asked = || Case::on(HuaweiCloud).owned().with(|it| it.desired.requested = Some("now".to_owned()));
    assert_eq!(asked().step(), Step::ReadAccount(at(100)));
    assert_eq!(asked().listed(100, Some(account(access(HuaweiCloud)))).verdict(), verdict(Reason::AccountReady));
    let held_back = asked().with(|it| it.seen.account = Some(Err(Delay::NotBefore(at(103)))));
    assert_eq!(held_back.verdict(), verdict(Reason::AccountReady).at(at(103)).unhandled());
    let handled = asked().with(|it| it.seen.record.last_handled = Some("now".to_owned()));
    assert_eq!(handled.verdict(), verdict(Reason::AccountReady));
}

#[test]
fn settled_user_keeps_ready_while_a_forced_look_fails() {
    let down = CloudError::new(ErrorClass::Unavailable, "down");
    let case = Case::on(HuaweiCloud).owned().with(|it| {
        it.desired.requested = Some("now".to_owned());
        it.seen.account = Some(Err(Delay::Failed(down)));
    });
    assert_eq!(case.verdict(), verdict(Reason::AccountReady).retry(at(101)).unhandled());
}

#[test]
fn instance_that_is_confirmed_gone_is_said_by_settled_users_too() {
    let case = Case::on(HuaweiCloud).owned().with(|it| it.facts().gone = true);
    assert_eq!(case.verdict(), verdict(Reason::InstanceNotFound));
}

#[test]
fn new_version_of_the_secret_is_read_once_and_noted_where_the_password_is_the_same() {
    let case = Case::on(HuaweiCloud).owned().with(|it| {
        it.seen.secret = secret("2");
        it.seen.turn = Some(Turn::Ours);
    });
    assert_eq!(case.step(), Step::ReadPassword);
    let same = case.with(|it| it.seen.password = Some(usable("2", "f")));
    let expected = Verdict {
        account: AccountChange::SamePassword(version("2"), Fingerprint::new("f")),
        ..verdict(Reason::AccountReady)
    };
    assert_eq!(same.verdict(), expected);
}

#[test]
fn new_version_of_the_secret_is_not_read_before_it_is_the_users_turn_at_the_instance() {
    let turn = |turn| {
        Case::on(HuaweiCloud).owned().with(|it| {
            it.seen.secret = secret("2");
            it.seen.turn = turn;
        })
    };
    assert_eq!(turn(None).step(), Step::TakeTurn(CallKind::SetPassword));
    assert_eq!(turn(Some(Turn::Waiting)).verdict(), verdict(Reason::UpdatingPassword).quietly());
    // A cloud in trouble may give no turn for long: whether anything is to be done there is known by then.
    assert_eq!(turn(Some(Turn::NotBefore(at(500)))).step(), Step::ReadPassword);
    let elsewhere = Case::on(QingCloud).owned().with(|it| it.seen.secret = secret("2"));
    assert_eq!(elsewhere.step(), Step::ReadPassword, "a re-creation reads for itself");
}

#[test]
fn changed_password_is_set_once_under_its_intent() {
    let case = secret_changed(Case::on(HuaweiCloud).owned(), "g").with(|it| it.seen.turn = Some(Turn::Ours));
    let mut intent = case.intent(OperationKind::SetPassword, FRESH, 100);
    intent.access = access(HuaweiCloud);
    (intent.fingerprint, intent.secret) = (Some(Fingerprint::new("g")), Some(version("2")));
    assert_eq!(case.step(), Step::WriteIntent(Box::new(intent.clone())));
    let case = case.with(|it| it.seen.intent = Some(intent));
    assert_eq!(case.step(), Step::Call(CallKind::SetPassword));
    let done = case.called(CallKind::SetPassword, Ok(Accepted::Done)).verdict();
    let password = Some((version("2"), Fingerprint::new("g")));
    assert_eq!(done.account, AccountChange::Confirmed(access(HuaweiCloud), password));
    assert_eq!((done.reason, done.recheck), (Reason::AccountReady, Recheck::OnChange));
}

#[test]
fn password_that_the_cloud_would_refuse_leaves_the_old_one_in_force_and_says_so() {
    let refusal = Refusal::InvalidPassword("too short".to_owned());
    let case = Case::on(HuaweiCloud).owned().with(|it| {
        it.seen.secret = secret("2");
        it.seen.password = Some(PasswordSeen::Refused(version("2"), Fingerprint::new("g"), refusal));
    });
    assert_eq!(case.verdict(), verdict(Reason::InvalidPassword));
}

#[test]
fn settled_user_whose_secret_lost_the_key_or_cannot_be_read_keeps_its_password() {
    let case = |password| {
        Case::on(HuaweiCloud).owned().with(|it| {
            it.seen.secret = secret("2");
            it.seen.password = Some(password);
        })
    };
    assert_eq!(case(PasswordSeen::Missing("key".to_owned())).verdict(), verdict(Reason::AccountReady));
    assert_eq!(
        case(PasswordSeen::Unreadable("why".to_owned())).verdict(),
        verdict(Reason::AccountReady).retry(at(101))
    );
}

/// The fingerprint on record was made under an operator key that is lost.
fn key_lost(case: Case) -> Case {
    case.with(|it| it.seen.record.password.as_mut().expect("a record").key_id = KeyId::new("lost key"))
}

#[test]
fn lost_operator_key_costs_a_fingerprint_where_the_secret_is_the_same() {
    for kind in ProviderKind::ALL {
        let case = key_lost(Case::on(kind).owned()).with(|it| it.seen.password = Some(usable("1", "anew")));
        let noted = AccountChange::SamePassword(version("1"), Fingerprint::new("anew"));
        assert_eq!(case.verdict(), Verdict { account: noted, ..verdict(Reason::AccountReady) });
    }
}

#[test]
fn lost_operator_key_and_another_secret_cost_one_password_call_or_a_login_and_never_the_account() {
    let case = |kind| secret_changed(key_lost(Case::on(kind).owned()), "g");
    assert_eq!(case(HuaweiCloud).step(), Step::TakeTurn(CallKind::SetPassword));
    let qingcloud = || case(QingCloud).with(|it| it.desired.recreate = true);
    assert_eq!(qingcloud().verdict().reason, Reason::OutcomeStaysUnknown);
    let checked = || qingcloud().with(|it| it.facts().login_check = Some(Duration::from_secs(600)));
    assert_eq!(checked().step(), Step::Login);
    let let_in = checked().with(|it| it.seen.login = Some(LoginSeen::Accepted));
    let noted = AccountChange::SamePassword(version("2"), Fingerprint::new("g"));
    assert_eq!((let_in.verdict().reason, let_in.verdict().account), (Reason::AccountReady, noted));
    let refused = checked().with(|it| it.seen.login = Some(LoginSeen::Refused));
    assert_eq!(refused.verdict().reason, Reason::OutcomeStaysUnknown);
}

#[test]
fn new_revision_sends_the_password_again_whatever_key_it_was_noted_under() {
    for case in [Case::on(HuaweiCloud).owned(), key_lost(Case::on(HuaweiCloud).owned())] {
        let case = case.with(|it| it.desired.password.revision = Some("2".to_owned()));
        assert_eq!(case.step(), Step::ReadPassword);
        assert_eq!(
            case.with(|it| it.seen.password = Some(usable("1", "f"))).step(),
            Step::TakeTurn(CallKind::SetPassword)
        );
    }
}

#[test]
fn password_whose_answer_was_lost_is_sent_again_even_if_the_secret_went_back() {
    let case = Case::on(HuaweiCloud).owned().announced(OperationKind::SetPassword, 50);
    assert_eq!(case.step(), Step::ReadPassword);
    let case = free(case);
    match case.step() {
        Step::WriteIntent(intent) => {
            assert_eq!((intent.kind, intent.attempts), (OperationKind::SetPassword, 2));
            assert_eq!(intent.fingerprint, Some(Fingerprint::new("f")), "what the Secret holds now");
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn access_whose_answer_was_lost_is_read_from_the_list() {
    let case = || {
        other_access(Case::on(HuaweiCloud).owned()).announced(OperationKind::SetAccess, 50).with(|it| {
            let wanted = it.kind.rules().access(&it.desired.access).expect("a legal wish");
            it.seen.intent.as_mut().expect("an intent").access = wanted;
        })
    };
    assert_eq!(case().step(), Step::ReadAccount(at(65)));
    let wanted = case().seen.intent.expect("an intent").access;
    let applied = case().listed(70, Some(account(wanted.clone()))).verdict();
    assert_eq!((applied.reason, applied.account), (Reason::AccountReady, AccountChange::Confirmed(wanted, None)));
    let not_applied = case().listed(70, Some(account(access(HuaweiCloud))));
    assert_eq!(not_applied.step(), Step::TakeTurn(CallKind::SetAccess), "under a new attempt");
    assert_eq!(case().at(55).listed(52, Some(account(access(HuaweiCloud)))).verdict().reason, Reason::OutcomeUnknown);
}

#[test]
fn refused_login_sets_the_password_once_for_each_time_it_begins() {
    let case = |since| {
        Case::on(HuaweiCloud).owned().with(|it| {
            it.facts().login_check = Some(Duration::from_secs(600));
            it.seen.record.login_refused_since = Some(at(since));
        })
    };
    assert_eq!(case(50).step(), Step::ReadPassword);
    assert_eq!(
        case(50).with(|it| it.seen.password = Some(usable("1", "f"))).step(),
        Step::TakeTurn(CallKind::SetPassword)
    );
    assert_eq!(case(0).verdict().reason, Reason::AccountReady, "it was set after that, and it did not help");
    let cannot_set = Case::on(QingCloud).owned().with(|it| {
        it.facts().login_check = Some(Duration::from_secs(600));
        it.seen.record.login_refused_since = Some(at(50));
    });
    assert_eq!(cannot_set.verdict().reason, Reason::AccountReady);
}

#[test]
fn status_that_was_wiped_is_made_anew_of_the_journal_and_the_list() {
    let case = Case::on(HuaweiCloud).owned().with(|it| {
        it.seen.intent = Some(Intent {
            access: access(HuaweiCloud),
            fingerprint: Some(Fingerprint::new("f")),
            secret: Some(version("1")),
            ..it.intent(OperationKind::SetAccess, OLD, 20)
        });
        it.seen.record = Record { observed_generation: -1, ..Record::default() };
    });
    assert_eq!(case.step(), Step::ReadAccount(at(35)));
    let found = case.listed(90, Some(account(access(HuaweiCloud)))).verdict();
    let password = Some((version("1"), Fingerprint::new("f")));
    assert_eq!(found.account, AccountChange::Confirmed(access(HuaweiCloud), password));
}

#[test]
fn changes_that_follow_each_other_are_paced() {
    let case = free(secret_changed(Case::on(HuaweiCloud).owned(), "g"));
    let paced = case.with(|it| it.changeable_from = Some(at(104)));
    assert_eq!(paced.verdict(), verdict(Reason::UpdatingPassword).at(at(104)).quietly());
}

#[test]
fn changed_manifest_is_held_against_the_password_once_more() {
    // Another key of the same Secret shows in no version.
    let edited = || Case::on(HuaweiCloud).owned().with(|it| it.desired.generation += 1);
    assert_eq!(edited().step(), Step::ReadPassword);
    assert_eq!(edited().with(|it| it.seen.password = Some(usable("1", "f"))).verdict().reason, Reason::AccountReady);
    let other = edited().with(|it| it.seen.password = Some(usable("1", "other")));
    assert_eq!(other.step(), Step::TakeTurn(CallKind::SetPassword));
}

#[test]
fn user_with_something_to_do_waits_for_its_instance_object() {
    let without = |case: Case| case.with(|it| it.seen.instance = InstanceSeen::Missing).verdict().reason;
    assert_eq!(without(Case::on(HuaweiCloud).owned()), Reason::AccountReady);
    assert_eq!(
        without(Case::on(HuaweiCloud).owned().with(|it| it.desired.generation += 1)),
        Reason::WaitingForInstance
    );
    assert_eq!(without(secret_changed(Case::on(HuaweiCloud).owned(), "g")), Reason::WaitingForInstance);
}

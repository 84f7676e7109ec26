//! What is done around an account that is in order: the connection Secret, and the login check.

use std::collections::BTreeSet;

use super::{super::*, fixture::*};
use crate::{
    api::{
        instance::{Connection, ConnectionTls},
        user::ConnectionSecretSpec,
    },
    domain::{
        names::Uid,
        seen::{ConnectionSecretFound, LoginSeen, PasswordSeen, SecretSeen},
    },
    provider::contract::{Accepted, ProviderKind::HuaweiCloud},
};

const INTERVAL: Duration = Duration::from_secs(600);

fn connection() -> Connection {
    let host = Some("db.example".to_owned());
    Connection { host, port: Some(9000), http_port: Some(8123), tls: Some(ConnectionTls::Disabled) }
}

fn asked(name: &str) -> ConnectionSecretSpec {
    ConnectionSecretSpec { name: name.to_owned(), labels: None, annotations: None }
}

/// The Secret that the plan of these tests wants.
fn wanted(name: &str, fingerprint: &str) -> ConnectionSecret {
    let fingerprint = Fingerprint::new(fingerprint);
    ConnectionSecret::new(&asked(name), HuaweiCloud, &desired(HuaweiCloud).username, &connection(), fingerprint)
        .expect("a host")
}

/// A settled user that asks for a connection Secret; none is there.
fn bound() -> Case {
    Case::on(HuaweiCloud).owned().with(|it| {
        it.desired.connection_secret = Some(asked("output"));
        it.facts().connection = Some(connection());
    })
}

/// The connection Secret was found like this.
fn found(found: ConnectionSecretFound) -> Case {
    bound().with(|it| it.seen.connection_secret.found = Some(found))
}

fn read(name: &str, exact: bool) -> Step {
    Step::ReadConnectionSecret { wanted: Box::new(wanted(name, "f")), exact }
}

fn write(exact: bool) -> Step {
    Step::WriteConnectionSecret { wanted: Box::new(wanted("output", "f")), exact }
}

fn written(name: &str) -> Verdict {
    Verdict { binding: BindingChange::Written(name.to_owned()), ..verdict(Reason::AccountReady) }
}

/// A settled user whose instance has a login check; the account was changed at second 1.
fn checked() -> Case {
    Case::on(HuaweiCloud).owned().at(100).with(|it| {
        it.facts().login_check = Some(INTERVAL);
        it.facts().connection = Some(connection());
        it.seen.record.changed_at = Some(at(1));
    })
}

/// A login was tried in this pass.
fn tried(login: LoginSeen) -> Case {
    checked().with(|it| {
        it.seen.password = Some(usable("1", "f"));
        it.seen.login = Some(login);
    })
}

fn logged_in(outcome: LoginOutcome, case: &Case) -> Verdict {
    let verdict = case.verdict();
    let LoginChange::Seen(seen, message) = &verdict.login else { panic!("{verdict:?}") };
    assert_eq!(*seen, outcome);
    assert!(!message.is_empty());
    verdict
}

#[test]
fn connection_secret_is_read_before_anything_is_done_to_it() {
    assert_eq!(bound().step(), read("output", false));
    let edited = bound().with(|it| {
        it.desired.generation += 1;
        it.seen.password = Some(usable("1", "f"));
    });
    assert_eq!(edited.step(), read("output", true), "labels of the former manifest go");
}

#[test]
fn connection_secret_that_is_missing_or_changed_is_written_with_the_password_in_force() {
    for state in [ConnectionSecretFound::Missing, ConnectionSecretFound::Different] {
        let case = found(state);
        assert_eq!(case.step(), Step::ReadPassword);
        let case = case.with(|it| it.seen.password = Some(usable("1", "f")));
        assert_eq!(case.step(), write(false));
    }
    assert_eq!(found(ConnectionSecretFound::Same).verdict(), written("output"));
}

#[test]
fn connection_secret_follows_a_change_only_once_it_is_confirmed() {
    let case = Case::on(HuaweiCloud).checked().with(|it| {
        it.desired.connection_secret = Some(asked("output"));
        it.facts().connection = Some(connection());
        let intent = it.intent(crate::api::user::OperationKind::Create, FRESH, 100);
        it.seen.intent = Some(intent);
        it.seen.finalizer = true;
    });
    assert_eq!(case.step(), Step::Call(CallKind::Create), "nothing is written before the call");
    let case = case.called(CallKind::Create, Ok(Accepted::Done));
    assert_eq!(case.step(), read("output", true));
    let case = case.with(|it| it.seen.connection_secret.found = Some(ConnectionSecretFound::Missing));
    assert_eq!(case.step(), write(true));
    let failed = ConnectionSecretFound::Failed("why".to_owned());
    let case = case.with(|it| it.seen.connection_secret.found = Some(failed));
    let verdict = case.verdict();
    assert_eq!(verdict.reason, Reason::WaitingForConnection);
    assert!(matches!(verdict.account, AccountChange::Confirmed(..)), "the account is recorded whatever comes of it");
}

#[test]
fn connection_secret_known_to_be_right_at_its_version_costs_nothing() {
    let known = |version: &str, wanted: ConnectionSecret| {
        bound().with(|it| {
            it.seen.record.binding = Some("output".to_owned());
            it.seen.connection_secret.shown = secret("7");
            it.seen.connection_secret.known = Some((secret(version), wanted));
        })
    };
    assert_eq!(known("7", wanted("output", "f")).verdict(), verdict(Reason::AccountReady));
    assert_eq!(known("6", wanted("output", "f")).step(), read("output", false), "somebody wrote since");
    assert_eq!(known("7", wanted("output", "old")).step(), read("output", false), "the password changed since");
    let gone = known("7", wanted("output", "f")).with(|it| it.seen.connection_secret.shown = SecretSeen::Missing);
    assert_eq!(gone.step(), read("output", false));
}

#[test]
fn ready_waits_for_a_connection_secret_that_cannot_be_written() {
    let no_host = bound().with(|it| it.facts().connection = None);
    assert_eq!(no_host.verdict(), verdict(Reason::WaitingForConnection));
    assert!(no_host.message().contains("spec.connection.host"), "{}", no_host.message());
    let foreign = found(ConnectionSecretFound::Foreign).verdict();
    assert_eq!(foreign, verdict(Reason::ConnectionSecretConflict).retry(at(100) + SETTINGS.retry_max));
    let failed = found(ConnectionSecretFound::Failed("forbidden".to_owned()));
    assert_eq!(failed.verdict(), verdict(Reason::WaitingForConnection).retry(at(101)));
    assert_eq!(failed.message(), "forbidden");
    let passwords = [None, Some(usable("2", "other")), Some(PasswordSeen::Missing("key".to_owned()))];
    for password in passwords {
        let case = found(ConnectionSecretFound::Missing).with(|it| {
            it.seen.secret = if password.is_some() { secret("1") } else { SecretSeen::Missing };
            it.seen.password = password;
        });
        assert_eq!(case.verdict(), verdict(Reason::WaitingForSecret));
    }
}

#[test]
fn connection_secret_of_a_former_name_goes_once_the_new_one_is_there() {
    let renamed = |state| found(state).with(|it| it.seen.record.binding = Some("former".to_owned()));
    assert_eq!(renamed(ConnectionSecretFound::Missing).step(), Step::ReadPassword, "the new one comes first");
    let case = renamed(ConnectionSecretFound::Same);
    assert_eq!(case.step(), Step::RemoveConnectionSecret("former".to_owned()));
    let removed = |outcome| {
        renamed(ConnectionSecretFound::Same).with(|it| it.seen.connection_secret.removed = Some(outcome)).verdict()
    };
    assert_eq!(removed(Ok(())), written("output"));
    assert_eq!(removed(Err("why".to_owned())), verdict(Reason::AccountReady).retry(at(101)), "it stays on record");
}

#[test]
fn connection_secret_that_is_no_longer_asked_for_goes() {
    let unset = Case::on(HuaweiCloud).owned().with(|it| it.seen.record.binding = Some("former".to_owned()));
    assert_eq!(unset.step(), Step::RemoveConnectionSecret("former".to_owned()));
    let removed = unset.with(|it| it.seen.connection_secret.removed = Some(Ok(())));
    assert_eq!(removed.verdict(), Verdict { binding: BindingChange::Removed, ..verdict(Reason::AccountReady) });
}

#[test]
fn connection_secret_outlives_its_instance_object() {
    let gone = bound().with(|it| {
        it.seen.instance = InstanceSeen::Missing;
        it.seen.record.binding = Some("output".to_owned());
    });
    assert_eq!(gone.verdict(), verdict(Reason::AccountReady));
    let never_written = gone.with(|it| it.seen.record.binding = None);
    assert_eq!(never_written.verdict(), verdict(Reason::WaitingForConnection));
}

#[test]
fn without_the_flag_the_field_is_refused_by_name() {
    let settings = Settings { connection_secrets: false, ..SETTINGS };
    let case = bound();
    let moment = Moment { settings: &settings, ..case.moment() };
    let Step::Settle(verdict) = plan(&case.desired, &case.seen, &moment) else { panic!("the pass ends") };
    assert_eq!(verdict.reason, Reason::FieldNotSupported);
    assert!(verdict.message.contains("--connection-secrets"), "{}", verdict.message);
}

#[test]
fn fingerprint_under_a_lost_key_is_made_anew_from_the_same_version_of_the_secret() {
    let case = bound().with(|it| it.seen.record.password.as_mut().expect("a record").key_id = KeyId::new("lost key"));
    assert_eq!(case.step(), Step::ReadPassword);
    let case = case.with(|it| it.seen.password = Some(usable("1", "f")));
    assert_eq!(case.step(), read("output", false));
}

#[test]
fn login_is_checked_in_a_pass_of_its_own_after_each_change() {
    let created = Case::on(HuaweiCloud)
        .checked()
        .with(|it| {
            it.facts().login_check = Some(INTERVAL);
            it.facts().connection = Some(connection());
            let intent = it.intent(crate::api::user::OperationKind::Create, FRESH, 100);
            it.seen.intent = Some(intent);
            it.seen.finalizer = true;
        })
        .called(CallKind::Create, Ok(Accepted::Done));
    let verdict = created.verdict();
    assert_eq!((verdict.recheck, verdict.login), (Recheck::At(at(100)), LoginChange::Keep));
    assert_eq!(checked().step(), Step::ReadPassword);
    assert_eq!(checked().with(|it| it.seen.password = Some(usable("1", "f"))).step(), Step::Login);
}

#[test]
fn login_says_what_it_showed_and_leaves_ready_alone() {
    let unreachable = LoginSeen::Unreachable("Down.".to_owned());
    let table = [
        (LoginSeen::Accepted, LoginOutcome::Succeeded),
        (LoginSeen::Refused, LoginOutcome::Refused),
        (unreachable, LoginOutcome::Unreachable),
    ];
    for (login, outcome) in table {
        let verdict = logged_in(outcome, &tried(login));
        assert_eq!(verdict.reason, Reason::AccountReady);
        assert_eq!(verdict.account, AccountChange::Keep);
        // Huawei Cloud can set the password again, and does so at once.
        let next = if outcome == LoginOutcome::Refused { at(101) } else { at(640) };
        assert_eq!(verdict.recheck, Recheck::At(next));
    }
}

#[test]
fn next_login_is_due_an_interval_after_the_last() {
    let last = |verified: Option<i64>, tried: Option<i64>, now| {
        checked().at(now).with(|it| {
            it.seen.record.verified_at = verified.map(at);
            it.seen.login_tried = tried.map(at);
        })
    };
    for case in [last(Some(100), None, 639), last(Some(50), Some(100), 639), last(None, Some(100), 639)] {
        assert_eq!(case.verdict(), verdict(Reason::AccountReady).at(at(640)));
        assert_eq!(case.at(640).step(), Step::ReadPassword);
    }
    let changed_since = last(Some(100), Some(100), 300).with(|it| it.seen.record.changed_at = Some(at(200)));
    assert_eq!(changed_since.step(), Step::ReadPassword);
}

#[test]
fn logins_that_came_due_while_no_operator_ran_are_spread_over_an_interval_after_the_start() {
    let start = 10_000;
    let due = |uid: &str| {
        let case = checked().at(start).with(|it| {
            it.started_at = at(start);
            it.desired.uid = Uid::new(uid);
            it.seen.record.verified_at = Some(at(100));
        });
        let Recheck::At(due) = case.verdict().recheck else { panic!("a time") };
        assert_eq!(case.at(due.as_second() - at(0).as_second() + 1).step(), Step::ReadPassword);
        due
    };
    let all: BTreeSet<_> = (0..100).map(|number| due(&format!("uid-{number}"))).collect();
    assert!(all.len() > 90, "{} different times", all.len());
    let end = at(start) + INTERVAL;
    assert!(all.iter().all(|due| (at(start)..=end).contains(due)));
    let (first, last) = (*all.first().expect("some"), *all.last().expect("some"));
    assert!(last.duration_since(first).unsigned_abs() > INTERVAL.mul_f64(0.8));
}

#[test]
fn refusal_right_after_a_change_is_not_believed_yet() {
    let early = tried(LoginSeen::Refused).at(10);
    assert_eq!(early.verdict(), verdict(Reason::AccountReady).at(at(16)));
    let later = checked().at(15).with(|it| it.seen.login_tried = Some(at(10)));
    assert_eq!(later.verdict(), verdict(Reason::AccountReady).at(at(16)));
    assert_eq!(later.at(16).step(), Step::ReadPassword);
    logged_in(LoginOutcome::Refused, &tried(LoginSeen::Refused).at(16));
    let worked_before = tried(LoginSeen::Refused).at(10).with(|it| it.seen.record.verified_at = Some(at(2)));
    assert_eq!(worked_before.verdict().login, LoginChange::Keep, "not due yet");
}

#[test]
fn login_with_another_password_than_the_one_in_force_is_not_tried() {
    let checked = |password, secret| {
        checked().with(|it| {
            it.seen.password = password;
            it.seen.secret = secret;
        })
    };
    for case in [checked(Some(usable("1", "other")), secret("1")), checked(None, SecretSeen::Missing)] {
        let verdict = case.verdict();
        assert_eq!((verdict.login, verdict.recheck), (LoginChange::Keep, Recheck::At(at(640))));
    }
}

#[test]
fn login_without_a_host_is_unreachable_and_a_busy_one_is_tried_soon() {
    let no_host = checked().with(|it| it.facts().connection = None);
    logged_in(LoginOutcome::Unreachable, &no_host);
    let busy = tried(LoginSeen::Busy).verdict();
    assert_eq!((busy.login, busy.recheck), (LoginChange::Keep, Recheck::At(at(100))));
}

#[test]
fn suspended_user_is_neither_logged_in_nor_written_for() {
    let case = checked().with(|it| {
        it.desired.suspend = true;
        it.desired.connection_secret = Some(asked("output"));
    });
    assert_eq!(case.verdict(), verdict(Reason::Suspended));
}

#[test]
fn connection_secret_goes_with_an_account_that_expired() {
    let expired = Case::on(HuaweiCloud).with(|it| {
        it.desired.connection_secret = Some(asked("output"));
        it.desired.expires_at = Some(at(50));
        it.seen.record.binding = Some("output".to_owned());
    });
    assert_eq!(expired.step(), Step::RemoveConnectionSecret("output".to_owned()));
    let removed = expired.with(|it| it.seen.connection_secret.removed = Some(Ok(())));
    assert_eq!((removed.verdict().reason, removed.verdict().binding), (Reason::Expired, BindingChange::Removed));
}

#[test]
fn refusal_that_is_news_is_followed_at_once_where_the_password_can_be_set_again() {
    let refused = tried(LoginSeen::Refused);
    assert_eq!(refused.verdict().recheck, Recheck::At(at(101)));
    let known = refused.with(|it| it.seen.record.login_refused_since = Some(at(90)));
    let known = known.with(|it| it.seen.record.password.as_mut().expect("a record").applied_at = Some(at(95)));
    assert_eq!(known.verdict().recheck, Recheck::At(at(640)), "setting it again did not help");
}

#[test]
fn connection_secret_that_somebody_keeps_changing_is_restored_now_and_then() {
    let case = found(ConnectionSecretFound::Different).with(|it| {
        it.seen.record.binding = Some("output".to_owned());
        it.seen.password = Some(usable("1", "f"));
        it.seen.connection_secret.known = Some((secret("7"), wanted("output", "f")));
        it.seen.connection_secret.written_at = Some(at(98));
    });
    assert_eq!(case.verdict(), verdict(Reason::AccountReady).at(at(101)));
    let later = case.at(101);
    assert_eq!(later.step(), write(false));
    let rotated =
        later.at(100).with(|it| it.seen.connection_secret.known = Some((secret("7"), wanted("output", "old"))));
    assert_eq!(rotated.step(), write(false), "a change of our own does not wait");
}

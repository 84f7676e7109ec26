//! Delete jobs that fail, and what shows that the account has gone all the same.

use std::time::Duration;

use super::{super::*, fixture::*};
use crate::{
    api::{
        instance::Connection,
        user::{OperationKind, OperationState},
    },
    domain::seen::{LoginSeen, PasswordSeen, SecretSeen},
    provider::contract::{ProviderKind::QingCloud, Refusal, Turn},
};

/// The delete job of a proven account failed at second 95, for the third time where nothing else is said; a login with
/// the password in force has succeeded before.
fn held() -> Case {
    Case::on(QingCloud)
        .owned()
        .deleted(90)
        .announced(OperationKind::Delete, 90)
        .with(|it| {
            it.seen.intent.as_mut().expect("an intent").attempts = 3;
            it.seen.record.verified_at = Some(at(50));
            it.facts().login_check = Some(Duration::from_secs(600));
            it.facts().connection = Some(Connection::default());
        })
        .recorded(OperationState::Failed, Some("j-2"), Some(95))
}

fn read() -> Case {
    held().with(|it| it.seen.password = Some(usable("1", "f")))
}

fn logged_in(login: LoginSeen) -> Case {
    read().with(|it| it.seen.login = Some(login))
}

#[track_caller]
fn stays_held(case: &Case, why: &str) {
    let verdict = case.verdict();
    assert_eq!((verdict.reason, verdict.recheck), (Reason::JobFailed, Recheck::Retry { at: at(995) }), "{why}");
}

#[test]
fn login_refused_with_the_password_that_was_let_in_before_releases_a_failed_deletion() {
    assert_eq!(held().step(), Step::ReadPassword);
    assert_eq!(read().step(), Step::Login);
    assert_eq!(logged_in(LoginSeen::Refused).step(), Step::Release(Release::NothingLeft));
}

#[test]
fn failed_deletion_is_held_while_the_account_lets_in_or_cannot_be_asked() {
    stays_held(&logged_in(LoginSeen::Accepted), "it is there");
    stays_held(&logged_in(LoginSeen::Unreachable("down".to_owned())), "nobody knows");
    let busy = logged_in(LoginSeen::Busy).verdict();
    assert_eq!((busy.reason, busy.recheck), (Reason::JobFailed, Recheck::Retry { at: at(100) }), "asked again soon");
}

#[test]
fn failed_deletion_is_held_without_a_login_that_would_prove_anything() {
    stays_held(&held().with(|it| it.seen.record.verified_at = None), "never let in, so a refusal is no news");
    stays_held(&held().with(|it| it.seen.secret = SecretSeen::Missing), "no password to try");
    stays_held(&held().with(|it| it.seen.record.password = None), "which password is in force nobody knows");
    stays_held(&held().with(|it| it.facts().login_check = None), "nobody asked for logins");
    stays_held(&held().with(|it| it.facts().connection = None), "no host");
    stays_held(&held().with(|it| it.seen.login_tried = Some(at(96))), "asked already since the job failed");
    stays_held(&held().with(|it| it.seen.password = Some(usable("2", "g"))), "the Secret holds another password");
    let refusal = Refusal::InvalidPassword("too short".to_owned());
    let not_usable = PasswordSeen::Refused(version("1"), Fingerprint::new("f"), refusal);
    stays_held(&held().with(|it| it.seen.password = Some(not_usable.clone())), "no password of this cloud");
    stays_held(&held().with(|it| it.seen.password = Some(PasswordSeen::Missing("key".to_owned()))), "no password");
}

#[test]
fn login_is_not_tried_before_the_third_deletion_has_failed() {
    let second = held().with(|it| it.seen.intent.as_mut().expect("an intent").attempts = 2);
    assert_eq!(second.verdict().reason, Reason::Deleting);
}

#[test]
fn login_tried_before_the_job_failed_is_no_answer() {
    assert_eq!(read().with(|it| it.seen.login_tried = Some(at(94))).step(), Step::Login);
}

#[test]
fn held_deletion_is_tried_again_whatever_a_login_said() {
    let due = logged_in(LoginSeen::Accepted).at(995).with(|it| it.seen.turn = Some(Turn::Ours));
    assert!(matches!(due.step(), Step::WriteIntent(_)), "{:?}", due.step());
}

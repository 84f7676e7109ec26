//! Situations of an account that is ours.

use super::{super::*, fixture::*};
use crate::{
    domain::{
        names::InstanceKey,
        seen::{PasswordSeen, SecretSeen},
    },
    provider::contract::ProviderKind::{self, HuaweiCloud},
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
fn finalizer_of_an_account_that_is_ours_is_put_back() {
    assert_eq!(Case::on(HuaweiCloud).owned().with(|it| it.seen.finalizer = false).step(), Step::RestoreFinalizer);
}

#[test]
fn annotation_is_not_needed_once_status_owns_the_account() {
    assert_eq!(Case::on(HuaweiCloud).owned().with(|it| it.seen.intent = None).verdict(), verdict(Reason::AccountReady));
}

#[test]
fn reference_that_means_another_instance_is_refused() {
    let case = Case::on(HuaweiCloud).owned().with(|it| it.facts().key = InstanceKey::new("cloud/place/other"));
    assert_eq!(case.verdict(), verdict(Reason::InstanceChanged));
    assert!(case.message().contains("cloud/place/instance"));
}

#[test]
fn changed_access_is_refused_and_another_spelling_of_the_same_is_not() {
    let case = |databases: &[&str]| {
        let databases = databases.iter().map(|&it| it.to_owned()).collect();
        Case::on(HuaweiCloud).owned().with(|it| it.desired.access.databases = Some(databases))
    };
    assert_eq!(case(&["other"]).verdict(), verdict(Reason::ChangeNotSupported));
    assert_eq!(
        case(&["reports"]).with(|it| it.desired.access.permission = None).verdict(),
        verdict(Reason::AccountReady)
    );
}

#[test]
fn new_version_of_the_secret_is_read_once_and_noted_where_the_password_is_the_same() {
    let case = Case::on(HuaweiCloud).owned().with(|it| it.seen.secret = secret("2"));
    assert_eq!(case.step(), Step::ReadPassword);
    let same = case.with(|it| it.seen.password = Some(usable("2", "f")));
    let expected = Verdict { account: AccountChange::SameSecret(version("2")), ..verdict(Reason::AccountReady) };
    assert_eq!(same.verdict(), expected);
}

#[test]
fn changed_password_is_refused() {
    let case = |password| {
        Case::on(HuaweiCloud).owned().with(|it| {
            it.seen.secret = secret("2");
            it.seen.password = Some(password);
        })
    };
    let refusal = Refusal::InvalidPassword("too short".to_owned());
    let refused = PasswordSeen::Refused(version("2"), Fingerprint::new("g"), refusal);
    for password in [usable("2", "g"), refused] {
        assert_eq!(case(password).verdict(), verdict(Reason::ChangeNotSupported));
    }
    assert_eq!(case(PasswordSeen::Missing("key".to_owned())).verdict(), verdict(Reason::AccountReady));
    assert_eq!(
        case(PasswordSeen::Unreadable("why".to_owned())).verdict(),
        verdict(Reason::AccountReady).retry(at(101))
    );
}

#[test]
fn fingerprint_of_another_operator_key_is_no_change() {
    let case = Case::on(HuaweiCloud).owned().with(|it| {
        it.seen.secret = secret("2");
        it.seen.password = Some(usable("2", "g"));
        it.seen.record.password.as_mut().expect("a record").key_id = KeyId::new("lost key");
    });
    assert_eq!(case.verdict(), verdict(Reason::AccountReady));
}

#[test]
fn new_revision_is_a_change_of_the_password() {
    let case = Case::on(HuaweiCloud).owned().with(|it| it.desired.password.revision = Some("2".to_owned()));
    assert_eq!(case.verdict(), verdict(Reason::ChangeNotSupported));
}

#[test]
fn changed_manifest_is_held_against_the_password_once_more() {
    // Another key of the same Secret shows in no version.
    let edited = || Case::on(HuaweiCloud).owned().with(|it| it.desired.generation += 1);
    assert_eq!(edited().step(), Step::ReadPassword);
    let reason = |fingerprint| edited().with(|it| it.seen.password = Some(usable("1", fingerprint))).verdict().reason;
    assert_eq!(reason("f"), Reason::AccountReady);
    assert_eq!(reason("other"), Reason::ChangeNotSupported);
}

//! Situations of an account that is deleted to be added again.

use super::{super::*, fixture::*};
use crate::{
    api::user::{OperationKind, OperationPhase, OperationState},
    domain::seen::PasswordSeen,
    provider::contract::{ProviderKind::QingCloud, Turn, WantedAccess},
};

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

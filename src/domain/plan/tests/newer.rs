//! Users with a journal entry that this version cannot read.

use super::{super::*, fixture::*};
use crate::{
    api::user::{OperationKind, OperationState},
    provider::contract::ProviderKind,
};

/// The entry is one of a newer version.
fn unread(case: Case) -> Case {
    case.with(|it| it.seen.newer_attempt = it.seen.intent.take().map(|intent| intent.attempt))
}

fn reason(case: &Case) -> Reason {
    match case.step() {
        Step::Settle(verdict) => verdict.reason,
        step => panic!("{step:?}"),
    }
}

#[test]
fn nothing_is_called_or_let_go_beside_a_call_that_a_newer_version_announced() {
    for kind in ProviderKind::ALL {
        for announced in [OperationKind::Create, OperationKind::Recreate, OperationKind::Delete] {
            let fresh = || Case::on(kind).announced(announced, 90);
            let owned = || Case::on(kind).owned().announced(announced, 90);
            for case in [fresh(), owned(), fresh().deleted(95), owned().deleted(95)] {
                assert_eq!(reason(&unread(case)), Reason::OutcomeStaysUnknown);
            }
        }
    }
}

#[test]
fn entry_of_a_newer_version_for_a_call_that_succeeded_is_history() {
    for kind in ProviderKind::ALL {
        let case = Case::on(kind).owned();
        let operation = case.seen.record.operation.clone().expect("an operation on record");
        assert_eq!(operation.state, OperationState::Succeeded);
        let case = case.with(|it| {
            it.seen.intent = None;
            it.seen.newer_attempt = Some(operation.id.clone());
        });
        assert!(matches!(case.step(), Step::WriteIntent(_)), "put back in words of this version");
        assert_eq!(case.deleted(90).step(), Step::TakeTurn(CallKind::Delete));
    }
}

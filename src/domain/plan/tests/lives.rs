//! Whole lives of one user, whatever goes wrong on the way.

use std::time::Duration;

use proptest::prelude::*;

use super::{super::*, world::*};
use crate::provider::contract::ProviderKind;

/// Passes in which a life without further trouble must have come to its end.
const ENOUGH: usize = 60;

fn troubles() -> impl Strategy<Value = Vec<Trouble>> {
    let class = prop::sample::select(vec![
        ErrorClass::InstanceBusy,
        ErrorClass::Unavailable,
        ErrorClass::Throttled,
        ErrorClass::AccessDenied,
        ErrorClass::Rejected,
    ]);
    let trouble = prop_oneof![
        2 => Just(Trouble::Nothing),
        4 => (0_usize..9).prop_map(Trouble::Crash),
        2 => Just(Trouble::StatusLost),
        3 => class.prop_map(Trouble::Refused),
        3 => prop::option::of(0_u8..7).prop_map(Trouble::AnswerLost),
        1 => Just(Trouble::JobFails),
        1 => Just(Trouble::ReadsFail),
        1 => Just(Trouble::NoTurn),
    ];
    prop::collection::vec(trouble, 0..8)
}

prop_compose! {
    /// Somebody else's account, if there is one, came at one of these seconds.
    fn world(foreign: Vec<Option<i64>>)(
        kind in prop::sample::select(ProviderKind::ALL.to_vec()),
        vague in any::<bool>(),
        list_lag in 0_u8..9,
        job_takes in 1_u8..40,
        foreign_since in prop::sample::select(foreign),
    ) -> World {
        World::new(kind, vague, list_lag, job_takes, foreign_since)
    }
}

fn live(world: &mut World, troubles: impl IntoIterator<Item = Trouble>, ended: fn(&World) -> bool) {
    for trouble in troubles {
        if !ended(world) {
            world.pass(trouble);
        }
    }
    for _ in 0..ENOUGH {
        if ended(world) {
            return;
        }
        world.pass(Trouble::Nothing);
    }
    panic!("no end in sight: {:?}", world.verdict);
}

/// Only troubles in which nothing that was said is lost.
fn heard(troubles: Vec<Trouble>) -> Vec<Trouble> {
    let heard = |it: &Trouble| !matches!(it, Trouble::Crash(_) | Trouble::StatusLost | Trouble::AnswerLost(_));
    troubles.into_iter().filter(heard).collect()
}

impl std::fmt::Debug for World {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.describe())
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn every_life_comes_to_one_account_and_then_to_rest(mut world in world(vec![None]), troubles in troubles()) {
        live(&mut world, troubles, World::is_ready);
        prop_assert_eq!((world.account(), world.creates), (Some(Owner::Ours), 1));
        let (calls, writes) = (world.calls, world.writes);
        prop_assert_eq!(world.pass(Trouble::Nothing), ["Settle"]);
        prop_assert!(world.is_ready());
        prop_assert_eq!((world.calls, world.writes), (calls, writes));
    }

    #[test]
    fn every_deletion_ends_with_the_account_gone_or_recorded(
        mut world in world(vec![None]),
        before in troubles(),
        after in troubles(),
    ) {
        for trouble in before {
            world.pass(trouble);
        }
        world.delete_object(false);
        live(&mut world, after, |world| world.gone);
        world.wait(world.now + Duration::from_secs(120));
        let recorded = matches!(world.released, Some(Release::Orphaned(_)));
        prop_assert!(world.account().is_none() || recorded, "{:?} was left behind in silence", world.account());
        prop_assert!(world.creates <= 1);
    }

    #[test]
    fn retained_account_is_never_deleted_and_always_recorded(
        mut world in world(vec![None]),
        before in troubles(),
        after in troubles(),
    ) {
        for trouble in before {
            world.pass(trouble);
        }
        let (creates, calls) = (world.creates, world.calls);
        world.delete_object(true);
        live(&mut world, after, |world| world.gone);
        prop_assert!(world.creates == creates || world.creates == 1);
        prop_assert_eq!(world.calls, calls);
        world.wait(world.now + Duration::from_secs(120));
        prop_assert_eq!(world.account().is_some(), world.creates == 1);
        prop_assert!(world.account().is_none() || world.released == Some(Release::Retained));
    }

    #[test]
    fn account_of_somebody_else_is_neither_claimed_nor_deleted(
        mut world in world(vec![Some(-1000)]),
        before in troubles(),
        after in troubles(),
    ) {
        for trouble in before {
            world.pass(trouble);
        }
        world.delete_object(false);
        live(&mut world, after, |world| world.gone);
        prop_assert_eq!(world.account(), Some(Owner::SomebodyElse));
        prop_assert_eq!(world.creates, 0);
    }

    /// A list that lags may show the name free. The refused create then says whose the account is, if it is heard.
    #[test]
    fn account_that_came_just_before_is_neither_claimed_nor_deleted_while_answers_are_heard(
        mut world in world(vec![Some(93), Some(96), Some(99)]),
        before in troubles().prop_map(heard),
        after in troubles().prop_map(heard),
    ) {
        for trouble in before {
            world.pass(trouble);
        }
        world.delete_object(false);
        live(&mut world, after, |world| world.gone);
        prop_assert_eq!(world.account(), Some(Owner::SomebodyElse));
        prop_assert_eq!(world.creates, 0);
    }
}

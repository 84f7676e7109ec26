//! Answers get lost in every way; the account is there once, or gone, in the end.

use std::collections::BTreeSet;

use emulated_clouds::{EffectKind, EmulatedClouds, Fault, FaultAnswer, Moment, Operation, Target, Which};

use crate::{
    manifests::{PASSWORD, password, user},
    world::{World, on_both_clouds},
};

/// Each way an answer is lost, for the next request of its own.
fn lose_answers(clouds: &EmulatedClouds, operation: Operation) -> Vec<&'static str> {
    let ways = [
        (Moment::AfterEffect, FaultAnswer::Reset),
        (Moment::BeforeEffect, FaultAnswer::Reset),
        (Moment::AfterEffect, FaultAnswer::Hang),
        (Moment::BeforeEffect, FaultAnswer::Hang),
        (Moment::AfterEffect, FaultAnswer::Half),
        (Moment::AfterEffect, FaultAnswer::Html(200)),
        (Moment::BeforeEffect, FaultAnswer::Html(502)),
        (Moment::AfterEffect, FaultAnswer::Empty),
    ];
    let mut names = Vec::new();
    for (moment, answer) in ways {
        names.push(answer.name());
        clouds.inject(Fault { target: Target::Operation(operation), which: Which::Next(1), moment, answer });
    }
    names
}

/// Which faults have shaped an answer, or swallowed it.
async fn every_way_was_met(world: &World, operation: Operation, ways: &[&'static str]) {
    // What hangs is answered, and noted, once it is let go.
    world.clouds.clear_faults();
    let wanted: BTreeSet<_> = ways.iter().copied().collect();
    world
        .ledger_shows("every fault", |ledger| {
            let met: Vec<_> = ledger.answers(operation).filter_map(|answer| answer.fault).collect();
            met.len() == ways.len() && met.into_iter().collect::<BTreeSet<_>>() == wanted
        })
        .await;
}

#[tokio::test]
async fn lost_answers_leave_exactly_one_account_and_then_none() {
    on_both_clouds(async |cloud| {
        let world = World::of(cloud).flag("--job-timeout", "2s").flag("--call-timeout", "1s").start().await;
        world.apply_instance().await;
        world.kubernetes.instance_shows("warehouse", "Reachable").await;
        let ways = lose_answers(&world.clouds, cloud.create());
        let names: Vec<_> = (0..ways.len()).map(|number| format!("user{number}")).collect();
        let manifests = names.iter().map(|name| password(name, PASSWORD) + &user(cloud, name, ""));
        world.kubernetes.apply(&manifests.collect::<String>()).await;
        for name in &names {
            world.kubernetes.user_shows(name, "AccountReady").await;
            assert_eq!(world.effects(name), [EffectKind::Created], "{name}");
        }
        every_way_was_met(&world, cloud.create(), &ways).await;
        let digest = world.clouds.password_digest(PASSWORD);
        let accounts = world.clouds.accounts(cloud.instance_id());
        assert!(accounts.len() == names.len() && accounts.values().all(|account| account.password_digest == digest));

        let ways = lose_answers(&world.clouds, cloud.delete());
        for name in &names {
            world.kubernetes.delete_user(name).await;
        }
        for name in &names {
            world.kubernetes.user_gone(name).await;
            assert_eq!(world.effects(name), [EffectKind::Created, EffectKind::Deleted], "{name}");
        }
        every_way_was_met(&world, cloud.delete(), &ways).await;
        world.finish().await;
    })
    .await;
}

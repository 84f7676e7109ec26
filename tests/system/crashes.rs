//! The operator dies in the middle of a call; the one that follows finds out what happened, and never calls twice.

use std::time::Duration;

use emulated_clouds::{EffectKind, Fault, FaultAnswer, Moment, Operation, Target, Timing, Which};

use crate::{
    manifests::{Cloud, ready},
    world::{Plan, World, on_both_clouds},
};

fn finding_out_soon(plan: Plan) -> Plan {
    plan.flag("--job-timeout", "2s")
}

/// The next request is swallowed: it has no effect, and no answer.
fn swallow_the_next(world: &World, operation: Operation) {
    world.clouds.inject(Fault {
        target: Target::Operation(operation),
        which: Which::Next(1),
        moment: Moment::BeforeEffect,
        answer: FaultAnswer::Hang,
    });
}

#[tokio::test]
async fn killed_after_the_effect_and_before_the_answer_it_calls_no_second_time() {
    on_both_clouds(async |cloud| {
        let mut world = finding_out_soon(World::of(cloud)).start().await;
        world.apply_instance().await;
        let hold = world.clouds.hold_after_effect(cloud.create());
        world.apply_user_with_password("reporting").await;
        hold.reached().await;
        world.restart_operator();
        hold.release();
        world.kubernetes.user_shows("reporting", "AccountReady").await;
        assert_eq!(world.effects("reporting"), [EffectKind::Created]);
        assert_eq!(world.clouds.requests(cloud.create()), 1);

        let hold = world.clouds.hold_after_effect(cloud.delete());
        world.kubernetes.delete_user("reporting").await;
        hold.reached().await;
        world.restart_operator();
        hold.release();
        world.kubernetes.user_gone("reporting").await;
        assert_eq!(world.effects("reporting"), [EffectKind::Created, EffectKind::Deleted]);
        assert_eq!(world.clouds.requests(cloud.delete()), 1);
        world.finish().await;
    })
    .await;
}

#[tokio::test]
async fn killed_before_the_effect_it_calls_again() {
    on_both_clouds(async |cloud| {
        let mut world = finding_out_soon(World::of(cloud)).start().await;
        world.apply_instance().await;
        swallow_the_next(&world, cloud.create());
        world.apply_user_with_password("reporting").await;
        world.ledger_shows("the create", |ledger| ledger.count(cloud.create()) == 1).await;
        world.restart_operator();
        world.kubernetes.user_shows("reporting", "AccountReady").await;
        assert_eq!(world.effects("reporting"), [EffectKind::Created]);
        assert_eq!(world.clouds.requests(cloud.create()), 2);

        swallow_the_next(&world, cloud.delete());
        world.kubernetes.delete_user("reporting").await;
        world.ledger_shows("the delete", |ledger| ledger.count(cloud.delete()) == 1).await;
        world.restart_operator();
        world.kubernetes.user_gone("reporting").await;
        assert_eq!(world.effects("reporting"), [EffectKind::Created, EffectKind::Deleted]);
        assert_eq!(world.clouds.requests(cloud.delete()), 2);
        world.finish().await;
    })
    .await;
}

#[tokio::test]
async fn killed_while_a_job_runs_it_follows_the_same_job() {
    let cloud = Cloud::QingCloud;
    let mut world = World::of(cloud).start().await;
    world.clouds.set_timing(Timing { job_duration: Duration::from_secs(2), ..Timing::default() });
    world.apply_instance().await;
    world.apply_user_with_password("reporting").await;
    let user = world.kubernetes.user_shows("reporting", "JobRunning").await;
    let job = user.status.and_then(|status| status.job_id).expect("a job ID");
    world.restart_operator();
    let user = world.kubernetes.user_shows("reporting", "AccountReady").await;
    assert_eq!(user.status.and_then(|status| status.job_id), Some(job));
    assert_eq!(world.clouds.requests(cloud.create()), 1);

    world.kubernetes.delete_user("reporting").await;
    world.kubernetes.user_shows("reporting", "Deleting").await;
    world.restart_operator();
    world.kubernetes.user_gone("reporting").await;
    assert_eq!(world.effects("reporting"), [EffectKind::Created, EffectKind::Deleted]);
    assert_eq!(world.clouds.requests(cloud.delete()), 1);
    world.finish().await;
}

#[tokio::test]
async fn api_server_that_goes_between_intent_and_status_and_comes_back_makes_nothing_happen_twice() {
    on_both_clouds(async |cloud| {
        let mut world = finding_out_soon(World::of(cloud)).behind_a_proxy().start().await;
        world.operator.start();
        world.apply_instance().await;
        world.kubernetes.instance_shows("warehouse", "Reachable").await;
        let proxy = world.proxy.as_ref().expect("a proxy");

        let hold = world.clouds.hold_after_effect(cloud.create());
        world.apply_user_with_password("reporting").await;
        hold.reached().await;
        proxy.api_server_goes();
        hold.release();
        proxy.api_server_missed_a_write().await;
        proxy.api_server_comes_back();
        world.kubernetes.user_shows("reporting", "AccountReady").await;
        assert_eq!(world.clouds.requests(cloud.create()), 1);

        let hold = world.clouds.hold_after_effect(cloud.delete());
        world.kubernetes.delete_user("reporting").await;
        hold.reached().await;
        proxy.api_server_goes();
        hold.release();
        proxy.api_server_missed_a_write().await;
        proxy.api_server_comes_back();
        world.kubernetes.user_gone("reporting").await;
        assert_eq!(world.clouds.requests(cloud.delete()), 1);
        assert_eq!(world.effects("reporting"), [EffectKind::Created, EffectKind::Deleted]);
        world.finish().await;
    })
    .await;
}

#[tokio::test]
async fn asked_to_stop_in_the_middle_of_a_call_it_writes_down_the_answer_before_it_ends() {
    on_both_clouds(async |cloud| {
        let mut world = World::of(cloud).start().await;
        world.clouds.set_timing(Timing { job_duration: Duration::from_secs(2), ..Timing::default() });
        world.apply_instance().await;
        let hold = world.clouds.hold_after_effect(cloud.create());
        world.apply_user_with_password("reporting").await;
        hold.reached().await;
        world.operator.signal("TERM");
        world.operator.is_draining().await;
        hold.release();
        let ended = world.operator.ended().await;
        assert!(ended.success(), "{ended}");
        // Nobody runs that could find it out now.
        let reason = if cloud == Cloud::QingCloud { "JobRunning" } else { "AccountReady" };
        let user = world.kubernetes.users().get("reporting").await.expect("the user");
        assert_eq!(ready(&user).0, reason);
        world.operator.start();
        world.kubernetes.user_shows("reporting", "AccountReady").await;
        assert_eq!(world.clouds.requests(cloud.create()), 1);
        world.finish().await;
    })
    .await;
}

//! Two replicas: one leads, the other takes over where it dies or is stopped, and what they do is done once.

use emulated_clouds::EffectKind;
use tokio::sync::Mutex;

use crate::{
    manifests::Cloud,
    operator::Operator,
    proxy::{Call, Cut},
    world::{Plan, World, on_both_clouds},
};

/// All operators of a control plane ask for one Lease.
static LEASE: Mutex<()> = Mutex::const_new(());

/// A leader that is found dead in seconds, whose lost calls are found out in as many.
fn with_leaders(cloud: Cloud) -> Plan {
    let plan = World::of(cloud).flag("--leader-elect", "true").flag("--job-timeout", "2s");
    plan.flag("--lease-duration", "3s").flag("--lease-renew-deadline", "2s")
}

/// A second replica that waits for the Lease.
async fn follower(world: &World) -> Operator {
    let mut follower = world.operator.replica(world.kubernetes.operator_kubeconfig.clone());
    follower.start();
    follower.is_ready().await;
    follower.metrics_show(|page| page.contains("chuser_leader 0")).await;
    follower
}

/// Ends a test in which the first leader has gone.
async fn finish(mut world: World, follower: Operator) {
    // What a process keeps in memory begins anew with another one.
    world.operator.starts.extend(&follower.starts);
    world.finish().await;
    drop(follower);
}

#[tokio::test]
async fn follower_serves_when_the_leader_dies_and_nothing_is_done_twice() {
    on_both_clouds(async |cloud| {
        let _one = LEASE.lock().await;
        let mut world = with_leaders(cloud).start().await;
        world.ready_user("before").await;
        let mut follower = follower(&world).await;
        let hold = world.clouds.hold_after_effect(cloud.create());
        world.apply_user_with_password("reporting").await;
        hold.reached().await;
        world.operator.kill();
        hold.release();
        world.kubernetes.user_shows("reporting", "AccountReady").await;
        world.apply_user_with_password("after").await;
        world.kubernetes.user_shows("after", "AccountReady").await;
        for name in ["before", "reporting", "after"] {
            assert_eq!(world.effects(name), [EffectKind::Created], "{name}");
        }
        assert_eq!(world.clouds.requests(cloud.create()), 3);
        // Who is asked to stop hands the Lease over, and the next does not wait for it to run out.
        follower.metrics_show(|page| page.contains("chuser_leader 1")).await;
        assert!(follower.terminate().await.success());
        finish(world, follower).await;
    })
    .await;
}

#[tokio::test]
async fn leader_that_was_stopped_between_its_intent_and_its_call_leaves_the_call_to_the_next() {
    on_both_clouds(async |cloud| {
        let _one = LEASE.lock().await;
        let mut world = with_leaders(cloud).behind_a_proxy().start().await;
        world.operator.start();
        world.apply_instance().await;
        world.kubernetes.instance_shows("warehouse", "Reachable").await;
        let follower = follower(&world).await;
        let proxy = world.proxy.as_ref().expect("a proxy");
        let intent = Call { what: "PATCH clickhouseusers/reporting".to_owned(), number: 1 };
        proxy.arm(Some((intent, Cut::Effect)));
        world.apply_user_with_password("reporting").await;
        proxy.reached().await;
        world.operator.signal("STOP");
        proxy.open();
        world.kubernetes.user_shows("reporting", "AccountReady").await;
        assert_eq!(world.clouds.requests(cloud.create()), 1);

        proxy.release();
        world.operator.signal("CONT");
        let ended = world.operator.ended().await;
        assert!(!ended.success(), "it has lost the Lease");
        assert_eq!(world.effects("reporting"), [EffectKind::Created]);
        assert_eq!(world.clouds.requests(cloud.create()), 1);
        finish(world, follower).await;
    })
    .await;
}

//! A restart with nothing changed changes nothing, and users that are settled do not care about the cloud's health.

use emulated_clouds::{Fault, FaultAnswer, Moment, Target, Which};

use crate::{
    kubernetes::writes,
    manifests::{PASSWORD, password, ready, user},
    world::{World, on_both_clouds},
};

const USERS: [&str; 3] = ["first", "second", "third"];

#[tokio::test]
async fn restart_with_nothing_changed_writes_nothing_and_calls_nothing() {
    on_both_clouds(async |cloud| {
        let mut world = World::of(cloud).start().await;
        world.apply_instance().await;
        let manifests = USERS.map(|name| password(name, PASSWORD) + &user(cloud, name, ""));
        world.kubernetes.apply(&manifests.concat()).await;
        for name in USERS {
            world.kubernetes.user_shows(name, "AccountReady").await;
        }
        // The count of users on the instance lags by half a minute, but a new process writes it at once.
        world.restart_operator();
        world
            .kubernetes
            .instance_until("warehouse", "3 users", |it| {
                it.status.as_ref().is_some_and(|status| status.users == Some(3))
            })
            .await;
        world.operator.terminate().await;
        let (mark, changes) = (world.kubernetes.mark().await, world.changing_requests());
        let looks = world.clouds.requests(cloud.read());
        world.operator.start();
        // Both controllers have been through everything: each user had its pass, and the instance was looked at.
        world.operator.metrics_show(|page| sum(page, "chuser_passes_total") >= 3).await;
        world.ledger_shows("a look", |ledger| ledger.count(cloud.read()) > looks).await;
        world.operator.terminate().await;

        let requests = world.kubernetes.operator_requests(mark).await;
        let written: Vec<_> = requests.iter().filter(|request| writes(request)).collect();
        assert!(written.is_empty(), "{written:?}");
        assert!(requests.iter().all(|it| it.resource != "secrets" || !it.name.ends_with("-password")), "{requests:?}");
        assert_eq!(world.changing_requests(), changes);
        world.finish().await;
    })
    .await;
}

/// The sum of a counter over its labels.
fn sum(page: &str, name: &str) -> u64 {
    let lines = page.lines().filter(|line| line.starts_with(name));
    lines.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum()
}

#[tokio::test]
async fn settled_user_stays_ready_through_an_outage_and_a_restart_in_it() {
    on_both_clouds(async |cloud| {
        let mut world = World::of(cloud).flag("--drift-interval", "2s").start().await;
        world.ready_user("reporting").await;
        world.clouds.inject(Fault {
            target: Target::Service(cloud.service()),
            which: Which::All,
            moment: Moment::BeforeEffect,
            answer: FaultAnswer::Reset,
        });
        world.kubernetes.instance_shows("warehouse", "ProviderUnavailable").await;
        world.restart_operator();
        world.operator.metrics_show(|page| sum(page, "chuser_passes_total") >= 1).await;
        // Somebody who has work pending sees the outage; who has none does not.
        world.apply_user_with_password("late").await;
        world.kubernetes.user_shows("late", "ProviderUnavailable").await;
        let settled = world.kubernetes.users().get("reporting").await.expect("the user");
        assert_eq!(ready(&settled).0, "AccountReady");

        world.clouds.clear_faults();
        world.kubernetes.instance_shows("warehouse", "Reachable").await;
        world.kubernetes.user_shows("late", "AccountReady").await;
        world.finish().await;
    })
    .await;
}

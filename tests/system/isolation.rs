//! The trouble of one credential is no trouble of another at the same cloud: same calls, and nobody waits for it.

use std::collections::BTreeMap;

use emulated_clouds::{
    Cluster, Fault, FaultAnswer, HuaweiKeys, Instance, Moment, Operation, QingcloudKey, Target, Which,
};

use crate::{
    manifests::{
        self, CLUSTER, Cloud, HUAWEI_SECRET, INSTANCE, OTHER_PASSWORD, PASSWORD, PROJECT, QINGCLOUD_SECRET, TAURUS,
        ZONE, password, user,
    },
    world::{World, on_both_clouds},
};

const OTHER_CLUSTER: &str = "cl-otherone";
const OTHER_INSTANCE: &str = "0123456789abcdef0123456789abcdefin16";
const OTHER_KEY: &str = "OTHERKEY";

/// The key of instance `warehouse`.
fn key(cloud: Cloud) -> &'static str {
    match cloud {
        Cloud::QingCloud => "QINGCLOUDKEY",
        Cloud::HuaweiCloud => "HUAWEIKEY",
    }
}

/// A second instance, `lake`, with a credential of its own.
async fn furnish(world: &World) {
    match world.cloud {
        Cloud::QingCloud => {
            world.clouds.add_qingcloud_key(QingcloudKey::new(OTHER_KEY, QINGCLOUD_SECRET));
            world.clouds.add_cluster(Cluster::new(ZONE, OTHER_CLUSTER));
        }
        Cloud::HuaweiCloud => {
            world.clouds.add_huawei_keys(HuaweiKeys {
                access_key: OTHER_KEY.into(),
                secret_key: HUAWEI_SECRET.into(),
                security_token: None,
                expires_at: None,
                domain: "ACCOUNT".into(),
            });
            world.clouds.add_instance(Instance::new(PROJECT, OTHER_INSTANCE, TAURUS));
        }
    }
    world.kubernetes.apply(&of_the_lake(&(manifests::credentials(world.cloud) + &world.instance()))).await;
    world.kubernetes.instance_shows("lake", "Reachable").await;
}

fn of_the_lake(manifest: &str) -> String {
    let renamed = manifest.replace("warehouse", "lake").replace("cloud-api", "lake-api");
    let other_instance = renamed.replace(CLUSTER, OTHER_CLUSTER).replace(INSTANCE, OTHER_INSTANCE);
    other_instance.replace("QINGCLOUDKEY", OTHER_KEY).replace("HUAWEIKEY", OTHER_KEY)
}

/// A user of the lake comes, changes its password and goes, while `sick` users wait at the warehouse. How often what was
/// asked for with the lake's credential; looks at jobs come by the clock and are left out.
async fn life_beside(cloud: Cloud, fault: Option<FaultAnswer>) -> BTreeMap<Operation, usize> {
    let world = World::of(cloud).flag("--job-timeout", "2s").start().await;
    world.apply_instance().await;
    world.kubernetes.instance_shows("warehouse", "Reachable").await;
    furnish(&world).await;
    if let Some(answer) = fault.clone() {
        let (target, which) = (Target::Key(key(cloud)), Which::All);
        world.clouds.inject(Fault { target, which, moment: Moment::BeforeEffect, answer });
    }
    let sick: Vec<_> = (0..6).map(|number| format!("sick{number}")).collect();
    let manifests = sick.iter().map(|name| password(name, PASSWORD) + &user(cloud, name, ""));
    world.kubernetes.apply(&manifests.collect::<String>()).await;
    if fault.is_some() {
        // The fault is met before the first of the others comes.
        let asked = |request: &emulated_clouds::Request| request.operation.changes_accounts();
        world.ledger_shows("a call in trouble", |ledger| ledger.requests().any(|(_, it)| asked(it))).await;
    }

    let well = password("well", PASSWORD) + &of_the_lake(&user(cloud, "well", "updatePolicy: Recreate"));
    world.kubernetes.apply(&well).await;
    world.kubernetes.user_shows("well", "AccountReady").await;
    let version = world.kubernetes.change_password("well", OTHER_PASSWORD).await;
    world
        .kubernetes
        .user_until("well", "have its new password", |user| {
            let password = user.status.as_ref().and_then(|it| it.password.as_ref());
            manifests::ready(user).0 == "AccountReady"
                && password.is_some_and(|it| it.secret_resource_version.as_ref() == Some(&version))
        })
        .await;
    world.delete_user("well").await;

    let mut asked = BTreeMap::new();
    for (_, request) in world.clouds.ledger().requests().filter(|(_, it)| it.key.as_deref() == Some(OTHER_KEY)) {
        if request.operation != Operation::DescribeJobs {
            *asked.entry(request.operation).or_default() += 1;
        }
    }
    if fault.is_some() {
        assert!(sick.iter().all(|name| world.effects(name).is_empty()), "the trouble was over too early");
    }
    // A call that hangs would be answered as if it had been carried out.
    if fault != Some(FaultAnswer::Hang) {
        world.clouds.clear_faults();
        for name in &sick {
            world.kubernetes.user_shows(name, "AccountReady").await;
        }
    }
    world.finish().await;
    asked
}

#[tokio::test]
async fn credential_in_trouble_costs_users_of_another_neither_calls_nor_their_turn() {
    on_both_clouds(async |cloud| {
        let (alone, refused, hanging) = tokio::join!(
            Box::pin(life_beside(cloud, None)),
            Box::pin(life_beside(cloud, Some(FaultAnswer::Html(503)))),
            Box::pin(life_beside(cloud, Some(FaultAnswer::Hang))),
        );
        assert_eq!(refused, alone);
        assert_eq!(hanging, alone);
    })
    .await;
}

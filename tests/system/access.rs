//! Another access in the manifest reaches the account; a cloud that cannot change it in place needs leave.

use clickhouse_user_operator::api::user::ClickHouseUser;
use emulated_clouds::EffectKind;

use crate::{
    kubernetes::{stalled_or_reconciling, writes},
    manifests::{Cloud, PASSWORD, ready},
    world::{World, on_both_clouds},
};

const WIDER_HOSTS: &str = r#"{"spec": {"allowedHosts": ["127.0.0.0/8", "10.0.0.0/8"]}}"#;
const OTHER_DATABASES: &str = r#"{"spec": {"databases": ["db1"], "permission": "ReadAndConfigure"}}"#;

fn change(cloud: Cloud) -> &'static str {
    match cloud {
        Cloud::QingCloud => WIDER_HOSTS,
        Cloud::HuaweiCloud => OTHER_DATABASES,
    }
}

/// Status says that the changed access is in force.
fn shows_change(user: &ClickHouseUser) -> bool {
    let applied = user.status.as_ref().and_then(|status| status.applied.as_ref());
    let changed = applied.is_some_and(|it| {
        it.allowed_hosts.as_ref().is_some_and(|hosts| hosts.len() == 2)
            || it.databases.as_ref().is_some_and(|databases| databases.contains("db1"))
    });
    changed && ready(user).0 == "AccountReady"
}

#[tokio::test]
async fn access_changed_in_the_manifest_changes_at_the_cloud_and_the_password_stays() {
    on_both_clouds(async |cloud| {
        let mut world = World::of(cloud).with_database().start().await;
        world.apply_instance().await;
        world.apply_password("reporting", PASSWORD).await;
        world.apply_user("reporting", if cloud == Cloud::QingCloud { "updatePolicy: Recreate" } else { "" }).await;
        world.kubernetes.user_shows("reporting", "AccountReady").await;
        // Found also when it was made while the operator was down.
        world.operator.terminate().await;
        world.kubernetes.patch_user("reporting", change(cloud)).await;
        world.operator.start();
        world.kubernetes.user_until("reporting", "the other access", shows_change).await;
        world.login("reporting", PASSWORD).await.expect("the password is as it was");
        let expected = match cloud {
            Cloud::QingCloud => vec![EffectKind::Created, EffectKind::Deleted, EffectKind::Created],
            Cloud::HuaweiCloud => vec![EffectKind::Created, EffectKind::AccessSet],
        };
        assert_eq!(world.effects("reporting"), expected);
        world.finish().await;
    })
    .await;
}

#[tokio::test]
async fn change_in_place_costs_two_writes_and_no_secret() {
    let world = World::of(Cloud::HuaweiCloud).start().await;
    world.ready_user("reporting").await;
    let mark = world.kubernetes.mark().await;
    world.kubernetes.patch_user("reporting", OTHER_DATABASES).await;
    world.kubernetes.user_until("reporting", "the other access", shows_change).await;
    let requests = world.kubernetes.operator_requests(mark).await;
    let written: Vec<_> = requests
        .iter()
        .filter(|it| writes(it) && it.resource != "events" && it.name.starts_with("reporting"))
        .collect();
    assert_eq!(written.len(), 2, "{written:?}");
    world.finish().await;
}

#[tokio::test]
async fn cloud_without_a_call_for_it_keeps_the_access_until_it_may_recreate() {
    let world = World::of(Cloud::QingCloud).start().await;
    world.ready_user("reporting").await;
    let accounts = world.clouds.accounts(world.cloud.instance_id());
    world.kubernetes.patch_user("reporting", WIDER_HOSTS).await;
    let refused = world.kubernetes.user_shows("reporting", "ChangeNotSupported").await;
    assert_eq!(stalled_or_reconciling(&refused), Some("Stalled"));
    assert!(ready(&refused).1.contains("spec.updatePolicy: Recreate"), "{:?}", ready(&refused));
    assert_eq!(world.clouds.accounts(world.cloud.instance_id()), accounts);

    world.kubernetes.patch_user("reporting", r#"{"spec": {"allowedHosts": ["127.0.0.0/8"]}}"#).await;
    world.kubernetes.user_shows("reporting", "AccountReady").await;
    assert_eq!(world.changing_requests(), 1, "undone, it cost nothing");
    world.kubernetes.patch_user("reporting", WIDER_HOSTS).await;
    world.kubernetes.patch_user("reporting", r#"{"spec": {"updatePolicy": "Recreate"}}"#).await;
    world.kubernetes.user_until("reporting", "the other access", shows_change).await;
    world.finish().await;
}

#[tokio::test]
async fn recreation_that_cannot_be_finished_is_not_begun() {
    let world = World::of(Cloud::QingCloud).start().await;
    world.ready_user("reporting").await;
    world.kubernetes.kubectl(&["delete", "secret", "reporting-password"]).await;
    let both = r#"{"spec": {"updatePolicy": "Recreate", "allowedHosts": ["127.0.0.0/8", "10.0.0.0/8"]}}"#;
    world.kubernetes.patch_user("reporting", both).await;
    world.kubernetes.user_shows("reporting", "WaitingForSecret").await;
    assert_eq!(world.effects("reporting"), [EffectKind::Created], "nothing is destroyed that cannot be built again");
    world.apply_password("reporting", PASSWORD).await;
    world.kubernetes.user_until("reporting", "the other access", shows_change).await;
    world.finish().await;
}

//! A new password in the Secret reaches the account once; what only looks like one does not.

use std::time::Duration;

use clickhouse_user_operator::api::user::ClickHouseUser;
use emulated_clouds::{EffectKind, Timing};
use k8s_openapi::api::core::v1::Secret;
use kube::{
    Api,
    api::{Patch, PatchParams},
};
use serde_json::json;

use crate::{
    kubernetes::{stalled_or_reconciling, writes},
    manifests::{BAD_PASSWORD, Cloud, OTHER_PASSWORD, PASSWORD, password, ready, user},
    world::{World, on_both_clouds},
};

/// What allows this cloud to change a password.
fn leave(cloud: Cloud) -> &'static str {
    match cloud {
        Cloud::QingCloud => "updatePolicy: Recreate",
        Cloud::HuaweiCloud => "",
    }
}

/// What one change of the password does to the account.
fn rotation(cloud: Cloud) -> &'static [EffectKind] {
    match cloud {
        Cloud::QingCloud => &[EffectKind::Deleted, EffectKind::Created],
        Cloud::HuaweiCloud => &[EffectKind::PasswordSet],
    }
}

fn created_and(effects: &[EffectKind]) -> Vec<EffectKind> {
    [&[EffectKind::Created], effects].concat()
}

async fn ready_user(world: &World) {
    world.apply_instance().await;
    world.apply_password("reporting", PASSWORD).await;
    world.apply_user("reporting", leave(world.cloud)).await;
    world.kubernetes.user_shows("reporting", "AccountReady").await;
}

/// Waits until the account has this password and status says so.
async fn has_password(world: &World, value: &str) -> ClickHouseUser {
    let digest = world.clouds.password_digest(value);
    world
        .ledger_shows("the new password", |ledger| {
            let last = ledger.effects_of("reporting").last();
            last.is_some_and(|effect| effect.password_digest.as_ref() == Some(&digest))
        })
        .await;
    let version = secret_version(world).await;
    world.kubernetes.user_until("reporting", "the new version", |user| noted(user) == Some(version.as_str())).await
}

async fn secret_version(world: &World) -> String {
    let path = "jsonpath={.metadata.resourceVersion}";
    world.kubernetes.kubectl(&["get", "secret", "reporting-password", "-o", path]).await
}

/// The version of the Secret that status says is in force, once the user is Ready.
fn noted(user: &ClickHouseUser) -> Option<&str> {
    let password = user.status.as_ref()?.password.as_ref()?;
    password.secret_resource_version.as_deref().filter(|_| ready(user).0 == "AccountReady")
}

#[tokio::test]
async fn new_password_logs_in_and_the_old_one_does_not() {
    on_both_clouds(async |cloud| {
        let world =
            World::of(cloud).with_database().flag("--retry-min", "10m").flag("--retry-max", "10m").start().await;
        ready_user(&world).await;
        world.login("reporting", PASSWORD).await.expect("the first password is in force");
        world.apply_password("reporting", OTHER_PASSWORD).await;
        has_password(&world, OTHER_PASSWORD).await;
        world.login("reporting", OTHER_PASSWORD).await.expect("the new password is in force");
        world.login("reporting", PASSWORD).await.expect_err("the old password is not");
        assert_eq!(world.effects("reporting"), created_and(rotation(cloud)));
        world.finish().await;
    })
    .await;
}

#[tokio::test]
async fn rotation_costs_the_api_server_what_was_promised() {
    on_both_clouds(async |cloud| {
        let world = World::of(cloud).start().await;
        ready_user(&world).await;
        let mark = world.kubernetes.mark().await;
        world.apply_password("reporting", OTHER_PASSWORD).await;
        has_password(&world, OTHER_PASSWORD).await;
        let requests = world.kubernetes.operator_requests(mark).await;
        let about = requests.iter().filter(|it| it.resource != "events" && it.name.starts_with("reporting"));
        let (written, read): (Vec<_>, Vec<_>) = about.partition(|it| writes(it));
        let (reads, changes) = if cloud == Cloud::QingCloud { (2, 5) } else { (1, 2) };
        assert_eq!((read.len(), written.len()), (reads, changes), "{read:?} {written:?}");
        world.finish().await;
    })
    .await;
}

#[tokio::test]
async fn what_leaves_the_value_as_it_is_changes_nothing_at_the_cloud() {
    on_both_clouds(async |cloud| {
        let mut world = World::of(cloud).start().await;
        ready_user(&world).await;
        world.kubernetes.kubectl(&["label", "secret", "reporting-password", "team=data"]).await;
        has_password(&world, PASSWORD).await;
        world.kubernetes.kubectl(&["delete", "secret", "reporting-password"]).await;
        world.apply_password("reporting", PASSWORD).await;
        has_password(&world, PASSWORD).await;
        world.restart_operator();
        world.kubernetes.kubectl(&["annotate", "secret", "reporting-password", "refreshed=yes"]).await;
        has_password(&world, PASSWORD).await;
        assert_eq!(world.changing_requests(), 1, "the create alone");
        world.finish().await;
    })
    .await;
}

#[tokio::test]
async fn password_changed_while_the_operator_was_down_is_found_at_its_start() {
    on_both_clouds(async |cloud| {
        let mut world = World::of(cloud).start().await;
        ready_user(&world).await;
        world.operator.terminate().await;
        world.apply_password("reporting", OTHER_PASSWORD).await;
        world.operator.start();
        has_password(&world, OTHER_PASSWORD).await;
        assert_eq!(world.effects("reporting"), created_and(rotation(cloud)));
        world.finish().await;
    })
    .await;
}

#[tokio::test]
async fn burst_of_new_values_ends_with_the_last_and_costs_few_changes() {
    let world = World::of(Cloud::HuaweiCloud).start().await;
    ready_user(&world).await;
    let secrets: Api<Secret> = Api::namespaced(world.kubernetes.client.clone(), &world.kubernetes.namespace);
    let values = (0..30).map(|number| format!("Some-other-horse@{number}#")).chain([OTHER_PASSWORD.to_owned()]);
    for value in values {
        let patch = Patch::Merge(json!({"stringData": {"password": value}}));
        secrets.patch("reporting-password", &PatchParams::default(), &patch).await.expect("the Secret is written");
    }
    has_password(&world, OTHER_PASSWORD).await;
    let changes = world.effects("reporting").len() - 1;
    assert!(changes <= 6, "{changes} changes; the pause between them doubles from a second");
    world.finish().await;
}

#[tokio::test]
async fn new_value_during_a_running_job_follows_it() {
    let cloud = Cloud::QingCloud;
    let world = World::of(cloud).start().await;
    world.clouds.set_timing(Timing { job_duration: Duration::from_secs(2), ..Timing::default() });
    world.apply_instance().await;
    world.apply_password("reporting", PASSWORD).await;
    world.apply_user("reporting", leave(cloud)).await;
    world.kubernetes.user_shows("reporting", "JobRunning").await;
    world.apply_password("reporting", OTHER_PASSWORD).await;
    has_password(&world, OTHER_PASSWORD).await;
    assert_eq!(world.effects("reporting"), created_and(rotation(cloud)));
    world.finish().await;
}

#[tokio::test]
async fn new_revision_sends_the_same_password_again() {
    on_both_clouds(async |cloud| {
        let world = World::of(cloud).start().await;
        ready_user(&world).await;
        let revised = r#"{"spec": {"passwordSecretRef": {"name": "reporting-password", "revision": "2"}}}"#;
        world.kubernetes.patch_user("reporting", revised).await;
        let noted = |user: &ClickHouseUser| {
            let password = user.status.as_ref().and_then(|status| status.password.as_ref());
            password.is_some_and(|it| it.revision.as_deref() == Some("2")) && ready(user).0 == "AccountReady"
        };
        world.kubernetes.user_until("reporting", "revision 2", noted).await;
        assert_eq!(world.effects("reporting"), created_and(rotation(cloud)));
        world.finish().await;
    })
    .await;
}

#[tokio::test]
async fn password_that_breaks_the_rules_leaves_the_old_one_in_force_and_says_so() {
    on_both_clouds(async |cloud| {
        let world = World::of(cloud).with_database().start().await;
        ready_user(&world).await;
        for bad in [BAD_PASSWORD.to_owned(), format!("{OTHER_PASSWORD}\n")] {
            world.apply_password("reporting", &bad).await;
            let shown = world.kubernetes.user_shows("reporting", "InvalidPassword").await;
            assert_eq!(stalled_or_reconciling(&shown), Some("Stalled"));
            assert!(shown.status.as_ref().is_some_and(|status| status.applied.is_some()), "it is still ours");
            world.login("reporting", PASSWORD).await.expect("the old password is in force");
            world.apply_password("reporting", PASSWORD).await;
            world.kubernetes.user_shows("reporting", "AccountReady").await;
        }
        assert_eq!(world.changing_requests(), 1, "the create alone");
        world.finish().await;
    })
    .await;
}

#[tokio::test]
async fn cloud_without_a_call_for_it_waits_for_the_leave_to_recreate() {
    let world = World::of(Cloud::QingCloud).start().await;
    world.ready_user("reporting").await;
    world.apply_password("reporting", OTHER_PASSWORD).await;
    let refused = world.kubernetes.user_shows("reporting", "ChangeNotSupported").await;
    assert_eq!(stalled_or_reconciling(&refused), Some("Stalled"));
    assert!(ready(&refused).1.contains("the password"), "{:?}", ready(&refused));
    assert_eq!(world.changing_requests(), 1, "the create alone");
    world.kubernetes.patch_user("reporting", r#"{"spec": {"updatePolicy": "Recreate"}}"#).await;
    has_password(&world, OTHER_PASSWORD).await;
    world.finish().await;
}

#[tokio::test]
async fn account_is_recreated_at_most_once_in_ten_minutes() {
    let world = World::of(Cloud::QingCloud).start().await;
    ready_user(&world).await;
    world.apply_password("reporting", OTHER_PASSWORD).await;
    has_password(&world, OTHER_PASSWORD).await;
    let changes = world.changing_requests();
    world.apply_password("reporting", PASSWORD).await;
    let waits = world.kubernetes.user_shows("reporting", "Recreating").await;
    assert!(ready(&waits).1.contains("at most once in 10 minutes"), "{:?}", ready(&waits));
    world.apply_password("reporting", OTHER_PASSWORD).await;
    world.kubernetes.user_shows("reporting", "AccountReady").await;
    assert_eq!(world.changing_requests(), changes, "taken back in time");
    world.finish().await;
}

#[tokio::test]
async fn one_rotation_does_not_touch_another_user() {
    let world = World::of(Cloud::HuaweiCloud).start().await;
    ready_user(&world).await;
    let other = password("other", PASSWORD) + &user(world.cloud, "other", "");
    world.kubernetes.apply(&other).await;
    world.kubernetes.user_shows("other", "AccountReady").await;
    world.apply_password("reporting", OTHER_PASSWORD).await;
    has_password(&world, OTHER_PASSWORD).await;
    assert_eq!(world.effects("other"), [EffectKind::Created]);
    world.finish().await;
}

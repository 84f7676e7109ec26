//! What was changed and changed back while a creation was at work: the end is that of a fresh apply, with the changes that
//! are owed and no others.

use clickhouse_user_operator::api::user::ClickHouseUser;
use emulated_clouds::{EffectKind, JobFate, Operation};

use crate::{
    manifests::{Cloud, OTHER_PASSWORD, PASSWORD, ready},
    world::{World, on_both_clouds},
};

/// Another access than the one that users are applied with.
fn other_access(cloud: Cloud) -> &'static str {
    match cloud {
        Cloud::QingCloud => r#"{"spec": {"allowedHosts": ["127.0.0.0/16"]}}"#,
        Cloud::HuaweiCloud => r#"{"spec": {"databases": ["db1"]}}"#,
    }
}

fn access(cloud: Cloud) -> &'static str {
    match cloud {
        Cloud::QingCloud => r#"{"spec": {"allowedHosts": ["127.0.0.0/8"]}}"#,
        Cloud::HuaweiCloud => r#"{"spec": {"databases": ["*"]}}"#,
    }
}

/// Runs `meanwhile` after the creation was asked for and before it has ended; returns the user with this version of its
/// Secret and this generation in force.
async fn created_while(world: &World, meanwhile: impl AsyncFn()) -> ClickHouseUser {
    let cloud = world.cloud;
    world.apply_instance().await;
    let hold = world.clouds.hold_before_effect(cloud.create());
    world.clouds.set_job_fate(cloud.create(), JobFate::Stuck);
    world.apply_password("reporting", PASSWORD).await;
    world.apply_user("reporting", "updatePolicy: Recreate").await;
    hold.reached().await;
    if cloud == Cloud::QingCloud {
        // There the creation is at work after its call, as a job.
        hold.release();
        world.kubernetes.user_shows("reporting", "JobRunning").await;
    }
    meanwhile().await;
    hold.release();
    world.clouds.clear_faults();
    let path = "jsonpath={.metadata.resourceVersion}";
    let version = world.kubernetes.kubectl(&["get", "secret", "reporting-password", "-o", path]).await;
    let settled = |user: &ClickHouseUser| {
        let status = user.status.as_ref();
        let noted = status.and_then(|it| it.password.as_ref()?.secret_resource_version.as_ref());
        ready(user).0 == "AccountReady"
            && noted == Some(&version)
            && status.and_then(|it| it.observed_generation) == user.metadata.generation
    };
    world.kubernetes.user_until("reporting", "be as its manifest and its Secret say", settled).await
}

#[tokio::test]
async fn secret_that_went_there_and_back_during_the_creation_owes_nothing() {
    on_both_clouds(async |cloud| {
        let world = World::of(cloud).start().await;
        created_while(&world, async || {
            world.kubernetes.change_password("reporting", OTHER_PASSWORD).await;
            world.kubernetes.change_password("reporting", PASSWORD).await;
        })
        .await;
        assert_eq!(world.effects("reporting"), [EffectKind::Created]);
        assert_eq!(world.changing_requests(), 1);
        world.finish().await;
    })
    .await;
}

#[tokio::test]
async fn manifest_that_went_there_and_back_during_the_creation_owes_nothing() {
    on_both_clouds(async |cloud| {
        let world = World::of(cloud).start().await;
        let user = created_while(&world, async || {
            world.kubernetes.patch_user("reporting", other_access(cloud)).await;
            world.kubernetes.patch_user("reporting", access(cloud)).await;
        })
        .await;
        assert_eq!(user.metadata.generation, Some(3));
        assert_eq!(world.effects("reporting"), [EffectKind::Created]);
        assert_eq!(world.changing_requests(), 1);
        world.finish().await;
    })
    .await;
}

/// QingCloud has no call that sets a password, and an account is re-created once in ten minutes.
#[tokio::test]
async fn secret_that_went_there_and_back_after_the_new_value_was_sent_owes_the_old_one() {
    let world = World::of(Cloud::HuaweiCloud).start().await;
    created_while(&world, async || {}).await;
    let hold = world.clouds.hold_before_effect(Operation::SetPassword);
    world.kubernetes.change_password("reporting", OTHER_PASSWORD).await;
    hold.reached().await;
    let version = world.kubernetes.change_password("reporting", PASSWORD).await;
    hold.release();
    let settled = |user: &ClickHouseUser| {
        let noted = user.status.as_ref().and_then(|it| it.password.as_ref()?.secret_resource_version.as_ref());
        ready(user).0 == "AccountReady" && noted == Some(&version)
    };
    world.kubernetes.user_until("reporting", "have the old password again", settled).await;
    let ledger = world.clouds.ledger();
    let sent: Vec<_> = ledger.effects_of("reporting").filter_map(|effect| effect.password_digest.clone()).collect();
    assert_eq!(sent, [PASSWORD, OTHER_PASSWORD, PASSWORD].map(|value| world.clouds.password_digest(value)));
    world.finish().await;
}

//! A manifest goes in, an account that can log in comes out, and goes with the manifest.

use clickhouse_user_operator::api::user::OperationState;
use emulated_clouds::EffectKind;

use crate::{
    manifests::{Cloud, OTHER_PASSWORD, PASSWORD, password, user_object},
    world::{World, on_both_clouds},
};

#[tokio::test]
async fn account_is_created_logs_in_and_goes_with_its_object() {
    on_both_clouds(async |cloud| {
        let world = World::of(cloud).with_database().start().await;
        world.ready_user("reporting").await;
        world.login("reporting", PASSWORD).await.expect("the new account logs in");
        let refused = world.login("reporting", OTHER_PASSWORD).await.expect_err("a wrong password");
        assert_eq!(refused.code, Some(193));

        let user = world.kubernetes.user_shows("reporting", "AccountReady").await;
        let status = user.status.expect("a status");
        assert_eq!(status.observed_generation, user.metadata.generation);
        let operation = status.operation.expect("an operation");
        assert_eq!(operation.state, OperationState::Succeeded);
        assert_eq!(status.job_id.is_some(), cloud == Cloud::QingCloud, "a job ID where the cloud has jobs");

        world.delete_user("reporting").await;
        let refused = world.login("reporting", PASSWORD).await.expect_err("a deleted account");
        assert_eq!(refused.code, Some(192));
        assert_eq!(world.effects("reporting"), [EffectKind::Created, EffectKind::Deleted]);
        world.finish().await;
    })
    .await;
}

#[tokio::test]
async fn new_account_reads_and_cannot_write() {
    on_both_clouds(async |cloud| {
        let world = World::of(cloud).with_database().start().await;
        world.ready_user("reporting").await;
        let refused = world.query("reporting", PASSWORD, "CREATE TABLE default.t (n Int8) ENGINE = Memory").await;
        assert_eq!(refused.expect_err("a read-only account").code, Some(164));
        world.finish().await;
    })
    .await;
}

#[tokio::test]
async fn account_logs_in_from_its_allowed_hosts_only() {
    let world = World::of(Cloud::QingCloud).with_database().start().await;
    world.apply_instance().await;
    world.kubernetes.apply(&password("reporting", PASSWORD)).await;
    world.kubernetes.apply(&user_object("reporting", "allowedHosts: ['10.0.0.0/8']")).await;
    world.kubernetes.user_shows("reporting", "AccountReady").await;
    let refused = world.login("reporting", PASSWORD).await.expect_err("loopback is not allowed");
    assert_eq!(refused.code, Some(195));
    world.finish().await;
}

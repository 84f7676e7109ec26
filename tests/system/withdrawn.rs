//! An `endpoint` override that is not allowed any more: deletions go on where the accounts were made, and nothing else
//! does.

use std::{io::ErrorKind, net::TcpListener};

use emulated_clouds::EffectKind;

use crate::{
    manifests::{self, Cloud},
    world::{World, on_both_clouds},
};

/// Nobody listens there, and nobody allows it.
const ELSEWHERE: &str = "http://127.0.0.1:9";

/// The field of the instance object that names the endpoint.
fn block(cloud: Cloud) -> &'static str {
    match cloud {
        Cloud::QingCloud => "qingcloud",
        Cloud::HuaweiCloud => "huaweicloud",
    }
}

/// The account of a user who asks for it now is not made; that of a deleted one goes.
async fn deletes_and_does_nothing_else(world: World) {
    world.kubernetes.instance_shows("warehouse", "NotAllowed").await;
    world.apply_user_with_password("late").await;
    world.kubernetes.user_shows("late", "NotAllowed").await;
    world.delete_user("reporting").await;
    assert_eq!(world.effects("reporting"), [EffectKind::Created, EffectKind::Deleted]);
    assert_eq!(world.effects("late"), []);
    world.finish().await;
}

#[tokio::test]
async fn deleted_after_a_restart_without_the_allowed_endpoint_the_account_goes_by_the_noted_one() {
    on_both_clouds(async |cloud| {
        let mut world = World::of(cloud).start().await;
        world.ready_user("reporting").await;
        world.operator.set("--allowed-endpoints", "");
        world.restart_operator();
        deletes_and_does_nothing_else(world).await;
    })
    .await;
}

#[tokio::test]
async fn deleted_after_a_restart_with_another_endpoint_in_the_manifest_the_account_goes_by_the_noted_one() {
    on_both_clouds(async |cloud| {
        let mut world = World::of(cloud).start().await;
        world.ready_user("reporting").await;
        world.operator.kill();
        let patch = format!(r#"{{"spec": {{"{}": {{"endpoint": "{ELSEWHERE}"}}}}}}"#, block(cloud));
        world.kubernetes.kubectl(&["patch", "chinst", "warehouse", "--type=merge", "-p", &patch]).await;
        world.operator.start();
        deletes_and_does_nothing_else(world).await;
    })
    .await;
}

#[tokio::test]
async fn endpoint_that_somebody_forged_in_status_is_never_called() {
    on_both_clouds(async |cloud| {
        let mut world = World::of(cloud).flag("--orphan-after", "3s").start().await;
        world.ready_user("reporting").await;
        world.operator.kill();
        let trap = TcpListener::bind("127.0.0.1:0").expect("a free port");
        trap.set_nonblocking(true).expect("a listener that does not wait");
        let forged = manifests::endpoint(cloud, &world.clouds).as_str().replace(
            &manifests::endpoint(cloud, &world.clouds).origin().ascii_serialization(),
            &format!("http://{}", trap.local_addr().expect("an address")),
        );
        let patch = format!(r#"{{"status": {{"endpoint": "{forged}"}}}}"#);
        let arguments = ["patch", "chinst", "warehouse", "--subresource=status", "--type=merge", "-p", &patch];
        world.kubernetes.kubectl(&arguments).await;
        world.expect_orphan("reporting");
        world.operator.set("--allowed-endpoints", "");
        world.operator.start();
        world.delete_user("reporting").await;
        let called = trap.accept().map(|_| ()).map_err(|error| error.kind());
        assert_eq!(called, Err(ErrorKind::WouldBlock), "credentials went to a forged endpoint");
        assert_eq!(world.clouds.requests(cloud.delete()), 0);
        world.finish().await;
    })
    .await;
}

#[tokio::test]
async fn deletion_goes_on_after_a_restart_in_which_the_login_check_is_not_allowed_any_more() {
    on_both_clouds(async |cloud| {
        let mut world = World::of(cloud).flag("--allowed-login-targets", "http://127.0.0.1").start().await;
        world.ready_user("reporting").await;
        world.operator.kill();
        let patch = r#"{"spec": {"loginCheck": {"interval": "1h"}}}"#;
        world.kubernetes.kubectl(&["patch", "chinst", "warehouse", "--type=merge", "-p", patch]).await;
        world.operator.set("--allowed-login-targets", "");
        world.operator.start();
        deletes_and_does_nothing_else(world).await;
    })
    .await;
}

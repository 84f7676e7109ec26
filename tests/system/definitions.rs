//! The definitions of the operator's kinds are deleted and installed again while it runs. What Kubernetes deletes with
//! them goes as if somebody had deleted it object by object; what merely vanishes destroys nothing; and no restart is
//! needed.

use control_plane::ControlPlane;
use emulated_clouds::EffectKind;

use crate::{
    kubernetes::install_definitions,
    manifests::{Cloud, PASSWORD, ready},
    world::World,
};

const USERS: &str = "clickhouseusers.chuser.dev";
const INSTANCES: &str = "clickhouseinstances.chuser.dev";

/// Definitions are of the whole control plane, and with them every other test's objects.
async fn own_plane() -> &'static ControlPlane {
    Box::leak(Box::new(ControlPlane::start().await.expect("a control plane")))
}

async fn delete(world: &World, definition: &str) {
    world.kubernetes.kubectl(&["delete", "crd", definition, "--wait=false"]).await;
}

async fn gone(world: &World, definition: &str) {
    let (plane, named) = (world.kubernetes.plane, format!("crd/{definition}"));
    let waited = plane.kubectl(&["wait", "--for=delete", &named, "--timeout=60s"]).await.expect("kubectl runs");
    if !waited.status.success() {
        let conditions = world.kubernetes.kubectl(&["get", &named, "-o", "jsonpath={.status.conditions}"]).await;
        let left = world.kubernetes.kubectl(&["get", definition, "--all-namespaces"]).await;
        panic!("{definition} is still there: {conditions}\n{left}");
    }
}

#[tokio::test]
async fn users_deleted_with_their_definition_go_as_they_ask_to_and_new_ones_are_served_without_a_restart() {
    let plane = own_plane().await;
    for cloud in [Cloud::QingCloud, Cloud::HuaweiCloud] {
        let world = World::of(cloud).start_on(plane).await;
        world.ready_user("deleted").await;
        world.apply_password("kept", PASSWORD).await;
        world.apply_user("kept", "deletionPolicy: Retain").await;
        world.kubernetes.user_shows("kept", "AccountReady").await;

        delete(&world, USERS).await;
        gone(&world, USERS).await;
        assert_eq!(world.effects("deleted"), [EffectKind::Created, EffectKind::Deleted]);
        assert_eq!(world.effects("kept"), [EffectKind::Created]);
        assert_eq!(world.changing_requests(), 3);

        install_definitions(plane).await;
        world.apply_user_with_password("new").await;
        world.kubernetes.user_shows("new", "AccountReady").await;
        // The account of another object, which somebody kept on purpose.
        world.apply_user("kept", "").await;
        let reason = if cloud == Cloud::QingCloud { "JobFailed" } else { "AccountExists" };
        world.kubernetes.user_shows("kept", reason).await;
        world.delete_user("kept").await;
        assert_eq!(world.effects("kept"), [EffectKind::Created]);
        world.delete_user("new").await;
        world.finish().await;
    }
}

#[tokio::test]
async fn instances_deleted_with_their_definition_stay_until_their_last_user_is_gone() {
    let plane = own_plane().await;
    for cloud in [Cloud::QingCloud, Cloud::HuaweiCloud] {
        let world = World::of(cloud).start_on(plane).await;
        world.ready_user("settled").await;
        let changes = world.changing_requests();
        delete(&world, INSTANCES).await;
        world
            .kubernetes
            .instance_until("warehouse", "its deletion", |instance| instance.metadata.deletion_timestamp.is_some())
            .await;
        world.apply_user_with_password("late").await;
        world.kubernetes.user_shows("late", "WaitingForInstance").await;
        let settled = world.kubernetes.users().get("settled").await.expect("the user");
        assert_eq!(ready(&settled).0, "AccountReady");
        assert_eq!(world.changing_requests(), changes);

        world.delete_user("settled").await;
        world.delete_user("late").await;
        assert_eq!(world.effects("settled"), [EffectKind::Created, EffectKind::Deleted]);
        gone(&world, INSTANCES).await;
        // Whoever comes while there are no instances at all waits for one.
        world.apply_user_with_password("early").await;
        world.kubernetes.user_shows("early", "WaitingForInstance").await;
        install_definitions(plane).await;
        world.apply_instance().await;
        world.kubernetes.user_shows("early", "AccountReady").await;
        world.delete_user("early").await;
        // Else it would be in the way of the next definition, whose operator does not serve this namespace.
        world.kubernetes.kubectl(&["delete", "chinst", "warehouse", "--timeout=60s"]).await;
        world.finish().await;
    }
}

#[tokio::test]
async fn users_that_vanish_with_their_definition_lose_no_account() {
    let plane = own_plane().await;
    for cloud in [Cloud::QingCloud, Cloud::HuaweiCloud] {
        let mut world = World::of(cloud).start_on(plane).await;
        world.ready_user("reporting").await;
        world.expect_orphan("reporting");
        // It sees nothing of the deletion but that the objects are gone.
        world.operator.signal("STOP");
        delete(&world, USERS).await;
        world.kubernetes.patch_user("reporting", r#"{"metadata": {"finalizers": null}}"#).await;
        gone(&world, USERS).await;
        world.operator.signal("CONT");
        install_definitions(plane).await;
        world.apply_user_with_password("new").await;
        world.kubernetes.user_shows("new", "AccountReady").await;
        world.apply_user_with_password("reporting").await;
        let reason = if cloud == Cloud::QingCloud { "JobFailed" } else { "AccountExists" };
        world.kubernetes.user_shows("reporting", reason).await;
        assert_eq!(world.effects("reporting"), [EffectKind::Created], "the account is where it was");
        world.delete_user("reporting").await;
        world.delete_user("new").await;
        world.finish().await;
    }
}

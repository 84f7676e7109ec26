//! `suspend` stops everything but the deletion.

use clickhouse_user_operator::api::{
    conditions::{Companion, find},
    user::ClickHouseUser,
};
use emulated_clouds::EffectKind;

use crate::{
    manifests::{BAD_PASSWORD, PASSWORD, ready},
    world::{World, on_both_clouds},
};

const SUSPEND: &str = r#"{"spec": {"suspend": true}}"#;
const GO_ON: &str = r#"{"spec": {"suspend": false}}"#;

fn suspended(user: &ClickHouseUser) -> bool {
    let conditions = user.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default();
    find(conditions, Companion::Suspended.as_str()).is_some_and(|it| it.status == "True")
}

#[tokio::test]
async fn suspended_before_its_creation_a_user_waits_untouched() {
    on_both_clouds(async |cloud| {
        let world = World::of(cloud).start().await;
        world.apply_instance().await;
        world.kubernetes.instance_shows("warehouse", "Reachable").await;
        let mark = world.kubernetes.mark().await;
        world.apply_password("reporting", PASSWORD).await;
        world.apply_user("reporting", "suspend: true").await;
        let user = world.kubernetes.user_shows("reporting", "Suspended").await;
        assert!(suspended(&user));
        assert_eq!(user.status.as_ref().and_then(|status| status.observed_generation), Some(-1));
        assert!(user.metadata.finalizers.is_none());
        assert_eq!(world.changing_requests(), 0);
        let requests = world.kubernetes.operator_requests(mark).await;
        assert!(requests.iter().all(|it| it.name != "reporting-password"), "the Secret was read: {requests:?}");

        world.kubernetes.patch_user("reporting", GO_ON).await;
        let user = world.kubernetes.user_shows("reporting", "AccountReady").await;
        assert!(!suspended(&user));
        world.finish().await;
    })
    .await;
}

#[tokio::test]
async fn suspended_while_ready_a_user_stays_as_it_is_and_can_be_deleted() {
    on_both_clouds(async |cloud| {
        let world = World::of(cloud).start().await;
        world.ready_user("reporting").await;
        world.kubernetes.patch_user("reporting", SUSPEND).await;
        let user = world.kubernetes.user_until("reporting", "Suspended", suspended).await;
        assert_eq!(ready(&user).0, "AccountReady");
        assert_ne!(user.status.and_then(|status| status.observed_generation), user.metadata.generation);

        world.apply_password("reporting", BAD_PASSWORD).await;
        world.kubernetes.patch_user("reporting", GO_ON).await;
        world.kubernetes.user_shows("reporting", "InvalidPassword").await;
        world.apply_password("reporting", PASSWORD).await;
        world.kubernetes.user_shows("reporting", "AccountReady").await;

        world.kubernetes.patch_user("reporting", SUSPEND).await;
        world.kubernetes.user_until("reporting", "Suspended", suspended).await;
        world.delete_user("reporting").await;
        assert_eq!(world.effects("reporting"), [EffectKind::Created, EffectKind::Deleted]);
        assert_eq!(world.changing_requests(), 2);
        world.finish().await;
    })
    .await;
}

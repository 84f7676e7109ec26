//! When `expiresAt` has passed the account goes; the object stays and says so.

use emulated_clouds::EffectKind;

use crate::{
    kubernetes::stalled_or_reconciling,
    manifests::PASSWORD,
    world::{World, on_both_clouds},
};

/// A patch that sets the time.
fn expires_at(at: jiff::Timestamp) -> String {
    format!(r#"{{"spec": {{"expiresAt": "{at:.0}"}}}}"#)
}

#[tokio::test]
async fn expired_account_is_deleted_whatever_the_deletion_policy_and_comes_back_with_a_later_time() {
    on_both_clouds(async |cloud| {
        let world = World::of(cloud).with_database().start().await;
        world.apply_instance().await;
        world.apply_password("reporting", PASSWORD).await;
        world.apply_user("reporting", "deletionPolicy: Retain").await;
        world.kubernetes.user_shows("reporting", "AccountReady").await;
        let soon = jiff::Timestamp::now() + std::time::Duration::from_secs(3);
        world.kubernetes.patch_user("reporting", &expires_at(soon)).await;
        let expired = world.kubernetes.user_shows("reporting", "Expired").await;
        assert!(jiff::Timestamp::now() >= soon - std::time::Duration::from_secs(1), "not before its time");
        assert_eq!(stalled_or_reconciling(&expired), None);
        assert!(expired.status.as_ref().is_some_and(|status| status.applied.is_none()));
        world.login("reporting", PASSWORD).await.expect_err("the account is gone");
        let free = |user: &clickhouse_user_operator::api::user::ClickHouseUser| {
            user.metadata.finalizers.as_ref().is_none_or(Vec::is_empty)
        };
        world.kubernetes.user_until("reporting", "hold nothing", free).await;

        let later = jiff::Timestamp::now() + std::time::Duration::from_secs(3600);
        world.kubernetes.patch_user("reporting", &expires_at(later)).await;
        world.kubernetes.user_shows("reporting", "AccountReady").await;
        world.login("reporting", PASSWORD).await.expect("the account is back");
        assert_eq!(world.effects("reporting"), [EffectKind::Created, EffectKind::Deleted, EffectKind::Created]);
        world.finish().await;
    })
    .await;
}

#[tokio::test]
async fn object_that_comes_expired_never_gets_an_account_and_goes_freely() {
    on_both_clouds(async |cloud| {
        let world = World::of(cloud).start().await;
        world.apply_instance().await;
        world.apply_password("reporting", PASSWORD).await;
        world.apply_user("reporting", "expiresAt: 2020-01-01T00:00:00Z").await;
        world.kubernetes.user_shows("reporting", "Expired").await;
        world.delete_user("reporting").await;
        assert_eq!(world.changing_requests(), 0);
        world.finish().await;
    })
    .await;
}

#[tokio::test]
async fn suspended_account_does_not_expire() {
    on_both_clouds(async |cloud| {
        let world = World::of(cloud).start().await;
        world.ready_user("reporting").await;
        world
            .kubernetes
            .patch_user("reporting", r#"{"spec": {"suspend": true, "expiresAt": "2020-01-01T00:00:00Z"}}"#)
            .await;
        let suspended = |user: &clickhouse_user_operator::api::user::ClickHouseUser| {
            let conditions = user.status.as_ref().map(|it| it.conditions.as_slice()).unwrap_or_default();
            conditions.iter().any(|it| it.type_ == "Suspended" && it.status == "True")
        };
        world.kubernetes.user_until("reporting", "be suspended", suspended).await;
        assert_eq!(world.changing_requests(), 1, "the create alone");
        world.kubernetes.patch_user("reporting", r#"{"spec": {"suspend": false}}"#).await;
        world.kubernetes.user_shows("reporting", "Expired").await;
        world.finish().await;
    })
    .await;
}

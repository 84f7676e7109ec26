//! What this version does not change in place is said, not done; undone, the user is Ready again.

use clickhouse_user_operator::api::user::ClickHouseUser;

use crate::{
    kubernetes::stalled_or_reconciling,
    manifests::{Cloud, OTHER_PASSWORD, PASSWORD, password, ready},
    world::{World, on_both_clouds},
};

#[tokio::test]
async fn changed_password_access_or_revision_is_refused_without_a_call_until_it_is_undone() {
    on_both_clouds(async |cloud| {
        let world = World::of(cloud).flag("--retry-min", "10m").flag("--retry-max", "10m").start().await;
        world.ready_user("reporting").await;
        let accounts = world.clouds.accounts(cloud.instance_id());
        let access = match cloud {
            Cloud::QingCloud => r#"{"spec": {"allowedHosts": ["127.0.0.0/8", "10.0.0.0/8"]}}"#,
            Cloud::HuaweiCloud => r#"{"spec": {"databases": ["db1"]}}"#,
        };
        let no_access = match cloud {
            Cloud::QingCloud => r#"{"spec": {"allowedHosts": ["127.0.0.0/8"]}}"#,
            Cloud::HuaweiCloud => r#"{"spec": {"databases": ["*"]}}"#,
        };
        let revised = r#"{"spec": {"passwordSecretRef": {"name": "reporting-password", "revision": "2"}}}"#;
        let not_revised = r#"{"spec": {"passwordSecretRef": {"name": "reporting-password", "revision": null}}}"#;
        for (change, undo, names) in [(access, no_access, "access"), (revised, not_revised, "password")] {
            world.kubernetes.patch_user("reporting", change).await;
            is_refused(&world.kubernetes.user_shows("reporting", "ChangeNotSupported").await, names);
            world.kubernetes.patch_user("reporting", undo).await;
            is_settled(&world.kubernetes.user_shows("reporting", "AccountReady").await);
        }
        world.apply_password("reporting", OTHER_PASSWORD).await;
        is_refused(&world.kubernetes.user_shows("reporting", "ChangeNotSupported").await, "password");
        world.apply_password("reporting", PASSWORD).await;
        is_settled(&world.kubernetes.user_shows("reporting", "AccountReady").await);

        assert_eq!(world.changing_requests(), 1, "the create alone");
        assert_eq!(world.clouds.accounts(cloud.instance_id()), accounts);
        world.finish().await;
    })
    .await;
}

fn is_refused(user: &ClickHouseUser, names: &str) {
    assert_eq!(stalled_or_reconciling(user), Some("Stalled"));
    assert!(ready(user).1.contains(names), "{:?}", ready(user));
    assert!(user.status.as_ref().is_some_and(|status| status.applied.is_some()), "it is still ours");
}

fn is_settled(user: &ClickHouseUser) {
    assert_eq!(stalled_or_reconciling(user), None);
    assert_eq!(user.status.as_ref().and_then(|status| status.observed_generation), user.metadata.generation);
}

#[tokio::test]
async fn secret_made_anew_with_the_same_value_is_noted_and_is_no_change() {
    on_both_clouds(async |cloud| {
        let world = World::of(cloud).start().await;
        world.ready_user("reporting").await;
        let noted = |user: &ClickHouseUser| user.status.as_ref()?.password.as_ref()?.secret_uid.clone();
        let before = noted(&world.kubernetes.user_shows("reporting", "AccountReady").await);
        assert!(before.is_some());
        world.kubernetes.kubectl(&["delete", "secret", "reporting-password"]).await;
        world.kubernetes.apply(&password("reporting", PASSWORD)).await;
        let is_new = |user: &ClickHouseUser| noted(user).is_some() && noted(user) != before;
        let user = world.kubernetes.user_until("reporting", "note the new Secret", is_new).await;
        assert_eq!(ready(&user).0, "AccountReady");
        assert_eq!(world.changing_requests(), 1, "the create alone");
        world.finish().await;
    })
    .await;
}

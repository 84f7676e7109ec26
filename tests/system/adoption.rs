//! An account that was there before is left alone, unless the manifest says Adopt.

use emulated_clouds::{AccountAccess, EffectKind};

use crate::{
    kubernetes::stalled_or_reconciling,
    manifests::{Cloud, OTHER_PASSWORD, PASSWORD, password, ready, user},
    world::{World, on_both_clouds},
};

/// Somebody makes the account at the console.
async fn foreign_account(world: &World, name: &str) {
    let access = match world.cloud {
        Cloud::QingCloud => AccountAccess { hosts: Some(vec!["127.0.0.0/8".into()]), ..AccountAccess::default() },
        Cloud::HuaweiCloud => {
            AccountAccess { databases: Some(vec!["db1".into()]), dml: Some(1), ..AccountAccess::default() }
        }
    };
    let put = world.clouds.put_account(world.cloud.instance_id(), name, OTHER_PASSWORD, access).await;
    put.expect("the account is made");
}

#[tokio::test]
async fn account_of_somebody_else_is_neither_changed_nor_deleted() {
    on_both_clouds(async |cloud| {
        let world = World::of(cloud).start().await;
        world.apply_instance().await;
        foreign_account(&world, "reporting").await;
        let accounts = world.clouds.accounts(cloud.instance_id());
        world.apply_user_with_password("reporting").await;
        let reason = if cloud == Cloud::QingCloud { "JobFailed" } else { "AccountExists" };
        let shown = world.kubernetes.user_shows("reporting", reason).await;
        assert_eq!(stalled_or_reconciling(&shown), Some("Stalled"));
        assert!(ready(&shown).1.contains("Adopt"), "{:?}", ready(&shown));
        world.delete_user("reporting").await;
        assert_eq!(world.clouds.accounts(cloud.instance_id()), accounts);
        world.finish().await;
    })
    .await;
}

#[tokio::test]
async fn adopted_account_gets_the_password_and_the_access_of_the_manifest_and_goes_with_it() {
    on_both_clouds(async |cloud| {
        let world = World::of(cloud).with_database().start().await;
        world.apply_instance().await;
        foreign_account(&world, "reporting").await;
        world.apply_password("reporting", PASSWORD).await;
        world.apply_user("reporting", "adoptionPolicy: Adopt\n  updatePolicy: Recreate").await;
        world.kubernetes.user_shows("reporting", "AccountReady").await;
        world.login("reporting", PASSWORD).await.expect("the manifest's password is in force");
        world.login("reporting", OTHER_PASSWORD).await.expect_err("the old one is not");
        let expected = match cloud {
            Cloud::QingCloud => vec![EffectKind::Created, EffectKind::Deleted, EffectKind::Created],
            Cloud::HuaweiCloud => vec![EffectKind::Created, EffectKind::PasswordSet, EffectKind::AccessSet],
        };
        assert_eq!(world.effects("reporting"), expected);
        world.delete_user("reporting").await;
        assert!(world.accounts().is_empty(), "it was ours");
        world.finish().await;
    })
    .await;
}

#[tokio::test]
async fn adopting_what_is_not_there_creates_it() {
    on_both_clouds(async |cloud| {
        let world = World::of(cloud).start().await;
        world.apply_instance().await;
        world
            .kubernetes
            .apply(&(password("reporting", PASSWORD) + &user(cloud, "reporting", "adoptionPolicy: Adopt")))
            .await;
        world.kubernetes.user_shows("reporting", "AccountReady").await;
        assert_eq!(world.effects("reporting"), [EffectKind::Created]);
        world.finish().await;
    })
    .await;
}

#[tokio::test]
async fn taken_name_is_adopted_as_soon_as_the_manifest_says_so() {
    let world = World::of(Cloud::HuaweiCloud).flag("--retry-max", "10m").start().await;
    world.apply_instance().await;
    foreign_account(&world, "reporting").await;
    world.apply_user_with_password("reporting").await;
    world.kubernetes.user_shows("reporting", "AccountExists").await;
    world.kubernetes.patch_user("reporting", r#"{"spec": {"adoptionPolicy": "Adopt"}}"#).await;
    world.kubernetes.user_shows("reporting", "AccountReady").await;
    world.kubernetes.patch_user("reporting", r#"{"spec": {"adoptionPolicy": "Never"}}"#).await;
    let settled = |user: &clickhouse_user_operator::api::user::ClickHouseUser| {
        user.status.as_ref().and_then(|it| it.observed_generation) == user.metadata.generation
            && ready(user).0 == "AccountReady"
    };
    world.kubernetes.user_until("reporting", "be ours still", settled).await;
    world.finish().await;
}

//! What somebody does to an account behind the operator's back is seen in the instance's list and mended.

use clickhouse_user_operator::api::user::ClickHouseUser;
use emulated_clouds::{AccountAccess, EffectKind, Operation};

use crate::{
    manifests::{Cloud, PASSWORD, password, user},
    world::World,
};

const USERS: [&str; 5] = ["first", "second", "third", "fourth", "fifth"];

async fn ready_users(interval: &'static str) -> World {
    let world = World::of(Cloud::HuaweiCloud).with_database().flag("--drift-interval", interval);
    // A list counts against our own last call only when the cloud can no longer lag behind it: 15 s, or less with this.
    let world = world.flag("--job-timeout", "1s").start().await;
    world.apply_instance().await;
    let manifests = USERS.map(|name| password(name, PASSWORD) + &user(world.cloud, name, ""));
    world.kubernetes.apply(&manifests.concat()).await;
    for name in USERS {
        world.kubernetes.user_shows(name, "AccountReady").await;
    }
    world
}

async fn widen(world: &World, name: &str) {
    let access = AccountAccess { databases: Some(vec!["db1".into()]), dml: Some(2), ..AccountAccess::default() };
    world.clouds.put_account(world.cloud.instance_id(), name, PASSWORD, access).await.expect("changed");
}

#[tokio::test]
async fn missing_account_comes_back_and_changed_access_is_restored() {
    let world = ready_users("2s").await;
    world.clouds.remove_account(world.cloud.instance_id(), "first").await.expect("removed");
    widen(&world, "second").await;
    world
        .ledger_shows("both mended", |ledger| {
            let effects = |name| ledger.effects_of(name).map(|it| it.kind).collect::<Vec<_>>();
            effects("first") == [EffectKind::Created, EffectKind::Deleted, EffectKind::Created]
                && effects("second") == [EffectKind::Created, EffectKind::PasswordSet, EffectKind::AccessSet]
        })
        .await;
    world.kubernetes.user_shows("first", "AccountReady").await;
    world.login("first", PASSWORD).await.expect("it is back with its password");
    for name in &USERS[2..] {
        assert_eq!(world.effects(name), [EffectKind::Created], "{name}");
    }
    world.finish().await;
}

#[tokio::test]
async fn drift_is_looked_for_with_one_list_for_all_users() {
    let world = ready_users("2s").await;
    let before = world.clouds.requests(Operation::ListUsers);
    let asked = world.clouds.ledger().requests().count();
    world.ledger_shows("three rounds", |ledger| ledger.count(Operation::ListUsers) >= before + 3).await;
    let ledger = world.clouds.ledger();
    let lists = ledger.count(Operation::ListUsers) - before;
    assert_eq!(ledger.requests().count() - asked, lists, "nothing but the lists");
    world.finish().await;
}

#[tokio::test]
async fn asked_for_a_look_the_operator_looks_at_once_and_says_that_it_has() {
    let world = ready_users("1h").await;
    world.clouds.remove_account(world.cloud.instance_id(), "first").await.expect("removed");
    let asked = r#"{"metadata": {"annotations": {"chuser.dev/reconcile-requested-at": "now"}}}"#;
    world.kubernetes.patch_user("first", asked).await;
    let handled = |user: &ClickHouseUser| {
        user.status.as_ref().is_some_and(|status| status.last_handled_reconcile_at.as_deref() == Some("now"))
    };
    world.kubernetes.user_until("first", "say that it has looked", handled).await;
    world.ledger_shows("the account again", |ledger| ledger.effects_of("first").count() == 3).await;
    world.kubernetes.user_shows("first", "AccountReady").await;
    world.finish().await;
}

#[tokio::test]
async fn account_that_somebody_else_made_anew_is_not_taken_for_ours() {
    let world = World::of(Cloud::HuaweiCloud).flag("--drift-interval", "1h").flag("--retry-max", "10m");
    let world = world.flag("--job-timeout", "1s").start().await;
    world.ready_user("reporting").await;
    // Gone at the cloud while its Secret is gone too: it waits, and owns nothing.
    world.kubernetes.kubectl(&["delete", "secret", "reporting-password"]).await;
    world.clouds.remove_account(world.cloud.instance_id(), "reporting").await.expect("removed");
    let asked = r#"{"metadata": {"annotations": {"chuser.dev/reconcile-requested-at": "now"}}}"#;
    world.kubernetes.patch_user("reporting", asked).await;
    let waiting = world.kubernetes.user_shows("reporting", "WaitingForSecret").await;
    assert!(waiting.status.is_some_and(|status| status.applied.is_none()));
    widen(&world, "reporting").await;
    let foreign = world.clouds.accounts(world.cloud.instance_id());
    world.apply_password("reporting", PASSWORD).await;
    world.kubernetes.user_shows("reporting", "AccountExists").await;
    world.delete_user("reporting").await;
    assert_eq!(world.clouds.accounts(world.cloud.instance_id()), foreign);
    world.finish().await;
}

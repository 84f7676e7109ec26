//! The operator logs in to ClickHouse itself, says what it saw, and changes nothing but what it says.

use clickhouse::{Account, ReadOnly};
use clickhouse_user_operator::api::{conditions, instance::ClickHouseInstance, user::ClickHouseUser};

use emulated_clouds::{EffectKind, JobFate};

use crate::{
    manifests::{Cloud, OTHER_PASSWORD, PASSWORD, ready},
    world::{World, on_both_clouds},
};

/// Loopback, where tests' servers are, without TLS.
const LOOPBACK: &str = "http://127.0.0.1";

fn login(user: &ClickHouseUser) -> Option<(&str, &str, &str)> {
    let condition = conditions::find(&user.status.as_ref()?.conditions, conditions::LOGIN_VERIFIED)?;
    Some((&condition.status, &condition.reason, &condition.message))
}

async fn login_shows(world: &World, status: &str, reason: &str) -> ClickHouseUser {
    let shown = |user: &ClickHouseUser| login(user).is_some_and(|it| (it.0, it.1) == (status, reason));
    world.kubernetes.user_until("reporting", reason, shown).await
}

/// The account as somebody left it who did not ask the operator.
async fn change_behind_its_back(world: &World, password: &str) {
    let account = Account {
        name: "reporting".to_owned(),
        password: password.to_owned(),
        networks: vec!["::/0".to_owned()],
        databases: vec!["*".to_owned()],
        read_only: ReadOnly::Reads,
    };
    world.database().put_account(&account).await.expect("the account is written");
}

#[tokio::test]
async fn login_is_verified_once_the_account_is_there() {
    on_both_clouds(async |cloud| {
        let world = World::of(cloud).with_database().flag("--allowed-login-targets", LOOPBACK).start().await;
        world.apply_connected_instance("loginCheck: {interval: 1h}").await;
        world.apply_user_with_password("reporting").await;
        let user = login_shows(&world, "True", "LoginSucceeded").await;
        assert_eq!(ready(&user).0, "AccountReady");
        let password = user.status.and_then(|status| status.password).expect("a password");
        assert!(password.verified_at >= password.applied_at, "{password:?}");
        world.finish().await;
    })
    .await;
}

#[tokio::test]
async fn password_changed_behind_the_operators_back_is_seen_and_so_is_its_return() {
    // A cloud that cannot set a password again.
    let world = World::of(Cloud::QingCloud).with_database().flag("--allowed-login-targets", LOOPBACK).start().await;
    world.apply_connected_instance("loginCheck: {interval: 1s}").await;
    world.apply_user_with_password("reporting").await;
    login_shows(&world, "True", "LoginSucceeded").await;
    change_behind_its_back(&world, OTHER_PASSWORD).await;
    let user = login_shows(&world, "False", "LoginRefused").await;
    assert_eq!(ready(&user).0, "AccountReady", "only LoginVerified says so");
    change_behind_its_back(&world, PASSWORD).await;
    login_shows(&world, "True", "LoginSucceeded").await;
    assert_eq!(world.changing_requests(), 1, "the create alone");
    world.finish().await;
}

#[tokio::test]
async fn password_changed_behind_the_operators_back_is_set_again_once_where_the_cloud_can() {
    let world = World::of(Cloud::HuaweiCloud).with_database().flag("--allowed-login-targets", LOOPBACK).start().await;
    world.apply_connected_instance("loginCheck: {interval: 1s}").await;
    world.apply_user_with_password("reporting").await;
    login_shows(&world, "True", "LoginSucceeded").await;
    change_behind_its_back(&world, OTHER_PASSWORD).await;
    world.ledger_shows("the password set again", |ledger| ledger.changing_requests() == 2).await;
    login_shows(&world, "True", "LoginSucceeded").await;
    world.login("reporting", PASSWORD).await.expect("the password of the Secret");
    assert_eq!(world.effects("reporting"), [EffectKind::Created, EffectKind::PasswordSet]);
    world.finish().await;
}

#[tokio::test]
async fn login_goes_to_allowed_targets_only() {
    let plan = World::of(Cloud::HuaweiCloud).with_database();
    let world = plan.flag("--allowed-login-targets", "http://10.0.0.0/8,127.0.0.1,http://0.0.0.0/0").start().await;
    world.apply_connected_instance("loginCheck: {interval: 1s}").await;
    world.apply_user_with_password("reporting").await;
    let user = login_shows(&world, "Unknown", "Unreachable").await;
    let message = login(&user).expect("a login").2;
    assert!(message.contains("--allowed-login-targets"), "{message}");
    assert_eq!(ready(&user).0, "AccountReady");
    world.finish().await;
}

#[tokio::test]
async fn server_that_does_not_answer_makes_the_login_unknown_and_leaves_ready_alone() {
    on_both_clouds(async |cloud| {
        let world = World::of(cloud).with_database().flag("--allowed-login-targets", LOOPBACK).start().await;
        // A port of the harness' own that speaks no HTTP.
        world.apply_connected_instance("loginCheck: {interval: 1s}").await;
        let port = world.database().tcp_port();
        let elsewhere = format!(r#"{{"spec": {{"connection": {{"httpPort": {port}}}}}}}"#);
        world.kubernetes.kubectl(&["patch", "chinst", "warehouse", "--type=merge", "-p", &elsewhere]).await;
        world.apply_user_with_password("reporting").await;
        let user = login_shows(&world, "Unknown", "Unreachable").await;
        assert_eq!(ready(&user).0, "AccountReady");
        let back = format!(r#"{{"spec": {{"connection": {{"httpPort": {}}}}}}}"#, world.database().http_port());
        world.kubernetes.kubectl(&["patch", "chinst", "warehouse", "--type=merge", "-p", &back]).await;
        login_shows(&world, "True", "LoginSucceeded").await;
        let no_check = r#"{"spec": {"loginCheck": null}}"#;
        world.kubernetes.kubectl(&["patch", "chinst", "warehouse", "--type=merge", "-p", no_check]).await;
        let silent = |user: &ClickHouseUser| login(user).is_none();
        let user = world.kubernetes.user_until("reporting", "say nothing of logins", silent).await;
        assert_eq!(ready(&user).0, "AccountReady");
        world.finish().await;
    })
    .await;
}

#[tokio::test]
async fn instance_says_where_clients_connect_and_why_its_login_check_cannot_be_made() {
    let refusal = |instance: &ClickHouseInstance| {
        let conditions = instance.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default();
        conditions::find(conditions, conditions::READY).map(|it| it.message.clone()).unwrap_or_default()
    };
    let world = World::of(Cloud::HuaweiCloud).with_database().start().await;
    world.apply_connected_instance("loginCheck: {}").await;
    let instance = world.kubernetes.instance_shows("warehouse", "NotAllowed").await;
    assert!(refusal(&instance).contains("--allowed-login-targets"), "{}", refusal(&instance));
    let connection = instance.status.and_then(|status| status.connection).expect("an address");
    assert_eq!(connection.host.as_deref(), Some("127.0.0.1"));
    assert_eq!(connection.http_port, Some(world.database().http_port()));
    world.finish().await;

    let world = World::of(Cloud::HuaweiCloud).with_database().flag("--allowed-login-targets", LOOPBACK).start().await;
    world.apply_connected_instance("loginCheck: {interval: 10ms}").await;
    let instance = world.kubernetes.instance_shows("warehouse", "InvalidSpec").await;
    assert!(refusal(&instance).contains("spec.loginCheck.interval"), "{}", refusal(&instance));
    world.finish().await;
}

#[tokio::test]
async fn failed_deletion_of_an_account_that_was_removed_by_hand_is_released_by_a_login_refused() {
    // A cloud that fails to delete what is not there, and cannot be asked what is.
    let world = World::of(Cloud::QingCloud).with_database().flag("--allowed-login-targets", LOOPBACK).start().await;
    world.apply_connected_instance("loginCheck: {interval: 1s}").await;
    world.apply_user_with_password("reporting").await;
    login_shows(&world, "True", "LoginSucceeded").await;
    world.clouds.remove_account(Cloud::QingCloud.instance_id(), "reporting").await.expect("the account goes");
    world.delete_user("reporting").await;
    assert_eq!(world.clouds.requests(Cloud::QingCloud.delete()), 3, "as often as it is tried before people must act");
    world.finish().await;
}

#[tokio::test]
async fn failed_deletion_of_an_account_that_lets_in_is_held() {
    let world = World::of(Cloud::QingCloud).with_database().flag("--allowed-login-targets", LOOPBACK).start().await;
    world.apply_connected_instance("loginCheck: {interval: 1s}").await;
    world.apply_user_with_password("reporting").await;
    login_shows(&world, "True", "LoginSucceeded").await;
    for _ in 0..4 {
        world.clouds.set_job_fate(Cloud::QingCloud.delete(), JobFate::Failed);
    }
    world.kubernetes.delete_user("reporting").await;
    world.kubernetes.user_shows("reporting", "JobFailed").await;
    world.kubernetes.user_gone("reporting").await;
    assert_eq!(world.clouds.requests(Cloud::QingCloud.delete()), 5, "until one succeeds, and no login ends that");
    assert_eq!(world.effects("reporting"), [EffectKind::Created, EffectKind::Deleted]);
    world.finish().await;
}

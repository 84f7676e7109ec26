//! A connection Secret comes with its account, is kept as it should be, and goes when it is no longer asked for.

use std::{collections::BTreeMap, time::Duration};

use clickhouse_user_operator::api::user::ClickHouseUser;
use k8s_openapi::api::core::v1::Secret;
use kube::{Api, ResourceExt, runtime::wait::await_condition};

use crate::{
    kubernetes::{OPERATOR_NAMESPACE, stalled_or_reconciling, writes},
    manifests::{Cloud, OTHER_PASSWORD, PASSWORD, ready, secret_object},
    world::{PATIENCE, World, on_both_clouds},
};

const BOUND: &str = "connectionSecret: {name: output, labels: {team: reports}, annotations: {tier: gold}}";

/// What the chart adds with config.connectionSecrets, in the test's namespace alone.
async fn grant(world: &World) {
    let rights = format!(
        "
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {{name: connection-secrets}}
rules: [{{apiGroups: [''], resources: [secrets], verbs: [create, patch, delete]}}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {{name: connection-secrets}}
roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: Role, name: connection-secrets}}
subjects: [{{kind: ServiceAccount, name: clickhouse-user-operator, namespace: {OPERATOR_NAMESPACE}}}]
"
    );
    world.kubernetes.apply(&rights).await;
}

async fn start(cloud: Cloud) -> World {
    let world = World::of(cloud).with_database().flag("--connection-secrets", "true").start().await;
    grant(&world).await;
    world
}

fn secrets(world: &World) -> Api<Secret> {
    Api::namespaced(world.kubernetes.client.clone(), &world.kubernetes.namespace)
}

/// Waits until a Secret is as `condition` wants it; one that is not there is `None`.
async fn secret_until(world: &World, name: &str, what: &str, condition: impl Fn(Option<&Secret>) -> bool) {
    let waiting = await_condition(secrets(world), name, |secret: Option<&Secret>| condition(secret));
    let late = tokio::time::timeout(PATIENCE, waiting).await.is_err();
    assert!(!late, "Secret {name} did not come to {what}:\n{}", world.operator.log());
}

async fn values(world: &World, name: &str) -> BTreeMap<String, String> {
    let secret = secrets(world).get(name).await.expect("the connection Secret");
    let text = |value: k8s_openapi::ByteString| String::from_utf8(value.0).expect("text");
    secret.data.unwrap_or_default().into_iter().map(|(key, value)| (key, text(value))).collect()
}

fn binding(user: &ClickHouseUser) -> Option<&str> {
    Some(user.status.as_ref()?.binding.as_ref()?.name.as_str())
}

async fn bound_user(world: &World) -> ClickHouseUser {
    world.apply_password("reporting", PASSWORD).await;
    world.apply_user("reporting", BOUND).await;
    world.kubernetes.user_shows("reporting", "AccountReady").await
}

#[tokio::test]
async fn values_log_in_and_belong_to_the_user() {
    on_both_clouds(async |cloud| {
        let world = start(cloud).await;
        world.apply_connected_instance("").await;
        let user = bound_user(&world).await;
        assert_eq!(binding(&user), Some("output"));
        let values = values(&world, "output").await;
        assert_eq!((values["type"].as_str(), values["username"].as_str()), ("clickhouse", "reporting"));
        assert_eq!(values["provider"], format!("{cloud:?}"));
        assert_eq!(values["port"], world.database().tcp_port().to_string());
        assert_eq!(values["password"], PASSWORD);
        world.login(&values["username"], &values["password"]).await.expect("the values log in");
        let client = reqwest::Client::builder().no_proxy().build().expect("a client");
        let answer = client.post(&values["http-uri"]).body("SELECT 1").send().await.expect("an answer");
        assert_eq!(answer.text().await.expect("a text"), "1\n", "the URI alone is enough");

        let secret = secrets(&world).get("output").await.expect("the connection Secret");
        assert_eq!(secret.type_.as_deref(), Some("servicebinding.io/clickhouse"));
        assert_eq!((secret.labels()["team"].as_str(), secret.annotations()["tier"].as_str()), ("reports", "gold"));
        let owner = &secret.owner_references()[0];
        assert_eq!((Some(&owner.uid), owner.controller), (user.metadata.uid.as_ref(), Some(true)));
        world.delete_user("reporting").await;
        world.finish().await;
    })
    .await;
}

#[tokio::test]
async fn secret_that_is_deleted_or_changed_is_restored_and_what_others_put_on_it_is_left() {
    let world = start(Cloud::HuaweiCloud).await;
    world.apply_connected_instance("").await;
    bound_user(&world).await;
    let intact = values(&world, "output").await;
    let uid = secrets(&world).get("output").await.expect("the connection Secret").uid();

    world.kubernetes.kubectl(&["delete", "secret", "output"]).await;
    secret_until(&world, "output", "be there anew", |it| it.is_some_and(|it| it.uid() != uid)).await;
    assert_eq!(values(&world, "output").await, intact);

    let tampered = r#"{"stringData": {"host": "elsewhere", "added": "x"},
                       "metadata": {"labels": {"team": "other", "tool": "seen"}}}"#;
    world.kubernetes.kubectl(&["patch", "secret", "output", "-p", tampered]).await;
    secret_until(&world, "output", "be restored", |it| {
        it.is_some_and(|it| it.labels()["team"] == "reports" && it.data.as_ref().is_some_and(|it| it.len() == 10))
    })
    .await;
    assert_eq!(values(&world, "output").await, intact);
    let secret = secrets(&world).get("output").await.expect("the connection Secret");
    assert_eq!(secret.labels().get("tool").map(String::as_str), Some("seen"));
    world.finish().await;
}

#[tokio::test]
async fn secret_follows_its_name_and_goes_when_it_is_no_longer_asked_for() {
    on_both_clouds(async |cloud| {
        let world = start(cloud).await;
        world.apply_connected_instance("").await;
        bound_user(&world).await;
        let renamed = r#"{"spec": {"connectionSecret": {"name": "renamed", "labels": null}}}"#;
        world.kubernetes.patch_user("reporting", renamed).await;
        let is_renamed = |user: &ClickHouseUser| binding(user) == Some("renamed");
        world.kubernetes.user_until("reporting", "the new name", is_renamed).await;
        secret_until(&world, "output", "be gone", |it| it.is_none()).await;
        assert_eq!(values(&world, "renamed").await["password"], PASSWORD);

        world.kubernetes.patch_user("reporting", r#"{"spec": {"connectionSecret": null}}"#).await;
        world.kubernetes.user_until("reporting", "no binding", |user| binding(user).is_none()).await;
        secret_until(&world, "renamed", "be gone", |it| it.is_none()).await;
        assert_eq!(world.changing_requests(), 1, "the create alone");
        world.finish().await;
    })
    .await;
}

#[tokio::test]
async fn label_that_the_manifest_no_longer_asks_for_is_taken_off() {
    let world = start(Cloud::HuaweiCloud).await;
    world.apply_connected_instance("").await;
    bound_user(&world).await;
    world
        .kubernetes
        .patch_user("reporting", r#"{"spec": {"connectionSecret": {"labels": {"tier": "b", "team": null}}}}"#)
        .await;
    secret_until(&world, "output", "its new labels", |it| {
        it.is_some_and(|it| it.labels().iter().map(|(key, value)| (key.as_str(), value.as_str())).eq([("tier", "b")]))
    })
    .await;
    world.finish().await;
}

#[tokio::test]
async fn secret_of_somebody_else_is_left_alone_and_its_name_taken_when_it_is_gone() {
    on_both_clouds(async |cloud| {
        let world = start(cloud).await;
        world.apply_connected_instance("").await;
        world.kubernetes.apply(&secret_object("output", &[("password", "theirs")])).await;
        world.apply_password("reporting", PASSWORD).await;
        world.apply_user("reporting", BOUND).await;
        let user = world.kubernetes.user_shows("reporting", "ConnectionSecretConflict").await;
        assert_eq!(stalled_or_reconciling(&user), Some("Stalled"));
        assert!(user.status.as_ref().is_some_and(|status| status.applied.is_some()), "the account is there and ours");
        assert_eq!(values(&world, "output").await, BTreeMap::from([("password".to_owned(), "theirs".to_owned())]));
        world.kubernetes.kubectl(&["delete", "secret", "output"]).await;
        world.kubernetes.user_shows("reporting", "AccountReady").await;
        assert_eq!(values(&world, "output").await["password"], PASSWORD);
        assert_eq!(world.changing_requests(), 1, "the create alone");
        world.finish().await;
    })
    .await;
}

#[tokio::test]
async fn ready_waits_for_a_host_and_the_secret_follows_it() {
    let world = start(Cloud::HuaweiCloud).await;
    world.apply_instance().await;
    world.apply_password("reporting", PASSWORD).await;
    world.apply_user("reporting", BOUND).await;
    let user = world.kubernetes.user_shows("reporting", "WaitingForConnection").await;
    assert!(ready(&user).1.contains("spec.connection.host"), "{:?}", ready(&user));
    assert!(world.login("reporting", PASSWORD).await.is_ok(), "the account does not wait");
    for host in ["first.example", "second.example"] {
        let patch = format!(r#"{{"spec": {{"connection": {{"host": "{host}"}}}}}}"#);
        world.kubernetes.kubectl(&["patch", "chinst", "warehouse", "--type=merge", "-p", &patch]).await;
        secret_until(&world, "output", host, |it| {
            let found = it.and_then(|it| it.data.as_ref()?.get("host"));
            found.is_some_and(|found| found.0 == host.as_bytes())
        })
        .await;
    }
    world.kubernetes.user_shows("reporting", "AccountReady").await;
    world.finish().await;
}

#[tokio::test]
async fn restart_reads_the_secret_and_writes_nothing() {
    let mut world = start(Cloud::HuaweiCloud).await;
    world.apply_connected_instance("").await;
    bound_user(&world).await;
    world.operator.kill();
    let since = world.kubernetes.mark().await;
    world.operator.start();
    let looked = async {
        loop {
            let requests = world.kubernetes.operator_requests(since).await;
            if requests.iter().any(|it| (it.verb.as_str(), it.name.as_str()) == ("get", "output")) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(PATIENCE, looked).await.expect("the operator looks at the Secret");
    // The pass that looked at it has ended once another pass of the same user has: passes of one user do not overlap.
    world.kubernetes.patch_user("reporting", r#"{"spec": {"deletionPolicy": "Retain"}}"#).await;
    let observed = |user: &ClickHouseUser| user.status.as_ref().and_then(|it| it.observed_generation);
    let is_seen = |user: &ClickHouseUser| observed(user) == user.metadata.generation;
    world.kubernetes.user_until("reporting", "see the new generation", is_seen).await;
    let requests = world.kubernetes.operator_requests(since).await;
    let about = |name: &str| requests.iter().filter(|it| it.name == name).collect::<Vec<_>>();
    assert!(about("output").iter().all(|it| !writes(it)), "{:?}", about("output"));
    assert_eq!(about("reporting").iter().filter(|it| writes(it)).count(), 1, "the new generation alone");
    world.finish().await;
}

#[tokio::test]
async fn secret_changed_while_nobody_watched_is_restored() {
    let mut world = start(Cloud::HuaweiCloud).await;
    world.apply_connected_instance("").await;
    bound_user(&world).await;
    let intact = values(&world, "output").await;
    world.operator.kill();
    world.kubernetes.kubectl(&["patch", "secret", "output", "-p", r#"{"stringData": {"password": "theirs"}}"#]).await;
    world.operator.start();
    secret_until(&world, "output", "be restored", |it| {
        let password = it.and_then(|it| it.data.as_ref()?.get("password"));
        password.is_some_and(|password| password.0 == PASSWORD.as_bytes())
    })
    .await;
    assert_eq!(values(&world, "output").await, intact);
    world.finish().await;
}

#[tokio::test]
async fn secret_follows_the_password_once_it_is_in_force() {
    let world = start(Cloud::HuaweiCloud).await;
    world.apply_connected_instance("").await;
    bound_user(&world).await;
    world.apply_password("reporting", OTHER_PASSWORD).await;
    secret_until(&world, "output", "hold the new password", |it| {
        let password = it.and_then(|it| it.data.as_ref()?.get("password"));
        password.is_some_and(|password| password.0 == OTHER_PASSWORD.as_bytes())
    })
    .await;
    let values = values(&world, "output").await;
    world.login(&values["username"], &values["password"]).await.expect("the new password is in force");
    assert_eq!(world.changing_requests(), 2, "the create and the change");
    world.finish().await;
}

#[tokio::test]
async fn secret_goes_with_an_account_that_expires() {
    on_both_clouds(async |cloud| {
        let world = start(cloud).await;
        world.apply_connected_instance("").await;
        bound_user(&world).await;
        world.kubernetes.patch_user("reporting", r#"{"spec": {"expiresAt": "2020-01-01T00:00:00Z"}}"#).await;
        let user = world.kubernetes.user_until("reporting", "no binding", |user| binding(user).is_none()).await;
        assert_eq!(ready(&user).0, "Expired");
        secret_until(&world, "output", "be gone", |it| it.is_none()).await;
        world.finish().await;
    })
    .await;
}

//! What a user waits for may come late: it goes on at once, not at the next retry. The operator retries every ten
//! minutes here, so that nothing but the watch can wake it.

use emulated_clouds::Event;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;
use kube::{Api, api::PostParams};

use crate::{
    kubernetes::stalled_or_reconciling,
    manifests::{PASSWORD, credentials, ready, secret_object},
    world::{Plan, World, on_both_clouds},
};

fn retrying_in_ten_minutes(plan: Plan) -> Plan {
    plan.flag("--retry-min", "10m").flag("--retry-max", "10m")
}

#[tokio::test]
async fn late_secret_starts_the_create_at_once() {
    on_both_clouds(async |cloud| {
        let world = retrying_in_ten_minutes(World::of(cloud)).start().await;
        world.apply_instance().await;
        world.kubernetes.instance_shows("warehouse", "Reachable").await;
        world.apply_user("reporting", "").await;
        let user = world.kubernetes.user_shows("reporting", "WaitingForSecret").await;
        assert_eq!(stalled_or_reconciling(&user), Some("Reconciling"));
        assert!(ready(&user).1.contains("reporting-password"), "{:?}", ready(&user));
        assert_eq!(world.changing_requests(), 0);

        let secret = serde_json::json!({
            "metadata": { "name": "reporting-password" },
            "stringData": { "password": PASSWORD },
        });
        let secret: Secret = serde_json::from_value(secret).expect("a Secret");
        let api: Api<Secret> = Api::namespaced(world.kubernetes.client.clone(), &world.kubernetes.namespace);
        api.create(&PostParams::default(), &secret).await.expect("the Secret is created");
        let acknowledged = Timestamp::now();
        world.ledger_shows("the create", |ledger| ledger.count(cloud.create()) == 1).await;
        let ledger = world.clouds.ledger();
        let asked = ledger.entries().iter().find_map(|entry| match &entry.event {
            Event::Request(request) if request.operation == cloud.create() => Some(entry.time),
            _ => None,
        });
        let late = asked.expect("a create").duration_since(acknowledged);
        eprintln!("{cloud:?}: the create reached the cloud {} ms after its Secret", late.as_millis());
        world.kubernetes.user_shows("reporting", "AccountReady").await;
        world.finish().await;
    })
    .await;
}

#[tokio::test]
async fn missing_key_of_the_secret_is_waited_for_and_named() {
    on_both_clouds(async |cloud| {
        let world = retrying_in_ten_minutes(World::of(cloud)).start().await;
        world.apply_instance().await;
        world.kubernetes.apply(&secret_object("reporting-password", &[("passwort", PASSWORD)])).await;
        world.apply_user("reporting", "").await;
        let user = world.kubernetes.user_shows("reporting", "WaitingForSecret").await;
        assert!(ready(&user).1.contains("password") && !ready(&user).1.contains("passwort"), "{:?}", ready(&user));
        assert_eq!(world.changing_requests(), 0);

        world.apply_password("reporting", PASSWORD).await;
        world.kubernetes.user_shows("reporting", "AccountReady").await;
        world.finish().await;
    })
    .await;
}

#[tokio::test]
async fn late_instance_and_late_credentials_wake_its_users() {
    on_both_clouds(async |cloud| {
        let world = retrying_in_ten_minutes(World::of(cloud)).start().await;
        world.apply_user_with_password("reporting").await;
        let user = world.kubernetes.user_shows("reporting", "WaitingForInstance").await;
        assert_eq!(stalled_or_reconciling(&user), Some("Reconciling"));

        world.kubernetes.apply(&world.instance()).await;
        world.kubernetes.instance_shows("warehouse", "WaitingForSecret").await;
        let says = |user: &_| ready(user).0 == "WaitingForInstance" && ready(user).1.contains("cloud-api");
        world.kubernetes.user_until("reporting", "name the missing credentials", says).await;
        assert_eq!(world.clouds.ledger().requests().count(), 0);

        world.kubernetes.apply(&credentials(cloud)).await;
        world.kubernetes.user_shows("reporting", "AccountReady").await;
        world.kubernetes.instance_shows("warehouse", "Reachable").await;
        world.finish().await;
    })
    .await;
}

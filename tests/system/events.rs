//! What happens to a user is told by Events: one for each happening, in the words of its status.

use std::time::Duration;

use clickhouse_user_operator::api::ClickHouseUser;
use k8s_openapi::api::events::v1::Event;
use kube::{Api, api::ListParams};
use serde_json::json;

use crate::{
    kubernetes::writes,
    manifests::{PASSWORD, ready, secret_object},
    world::{PATIENCE, World, on_both_clouds},
};

/// The Events about a user in the order of their happening: reason, note, and how often each was told again.
async fn told(world: &World, user: &str) -> Vec<(String, String, i32)> {
    let api: Api<Event> = Api::namespaced(world.kubernetes.client.clone(), &world.kubernetes.namespace);
    let mut events = api.list(&ListParams::default()).await.expect("Events can be listed").items;
    events.retain(|event| event.regarding.as_ref().is_some_and(|it| it.name.as_deref() == Some(user)));
    events.sort_by_key(|event| event.event_time.as_ref().map(|time| time.0));
    let text = |text: Option<String>| text.unwrap_or_default();
    let again = |event: &Event| event.series.as_ref().map_or(0, |series| series.count);
    events.into_iter().map(|it| (text(it.reason.clone()), text(it.note.clone()), again(&it))).collect()
}

/// Waits until the last Event about a user says this.
async fn last_told(world: &World, user: &str, reason: &str, note: &str) {
    let telling = async {
        while told(world, user).await.last().is_none_or(|it| (it.0.as_str(), it.1.as_str()) != (reason, note)) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let waited = tokio::time::timeout(PATIENCE, telling).await;
    assert!(waited.is_ok(), "no Event {reason} with {note:?}: {:?}", told(world, user).await);
}

#[tokio::test]
async fn each_happening_has_one_event_and_a_changed_message_is_shown() {
    on_both_clouds(async |cloud| {
        let world = World::of(cloud).start().await;
        world.apply_instance().await;
        world.apply_user("reporting", "").await;
        let mut messages = Vec::new();
        // One reason with two messages: no Secret, then a Secret without the key.
        for (named, manifest) in [
            ("reporting-password", None),
            ("key password", Some(secret_object("reporting-password", &[("another", PASSWORD)]))),
        ] {
            if let Some(manifest) = manifest {
                world.kubernetes.apply(&manifest).await;
            }
            let waits = |user: &_| ready(user).0 == "WaitingForSecret" && ready(user).1.contains(named);
            let user = world.kubernetes.user_until("reporting", named, waits).await;
            let message = ready(&user).1.to_owned();
            last_told(&world, "reporting", "WaitingForSecret", &message).await;
            messages.push(message);
        }
        assert_ne!(messages[0], messages[1]);
        world.apply_password("reporting", PASSWORD).await;
        let user = world.kubernetes.user_shows("reporting", "AccountReady").await;
        last_told(&world, "reporting", "AccountReady", ready(&user).1).await;

        // Passes that find nothing new tell nothing.
        let mark = world.kubernetes.mark().await;
        let asked = json!({"metadata": {"annotations": {"chuser.dev/reconcile-requested-at": "now"}}}).to_string();
        world.kubernetes.patch_user("reporting", &asked).await;
        let handled = |user: &ClickHouseUser| {
            user.status.as_ref().and_then(|it| it.last_handled_reconcile_at.as_deref()) == Some("now")
        };
        world.kubernetes.user_until("reporting", "the look that was asked for", handled).await;
        let events = told(&world, "reporting").await;
        let waited: Vec<_> = events.iter().filter(|it| it.0 == "WaitingForSecret").map(|it| it.1.clone()).collect();
        assert_eq!(waited, messages, "{events:?}");
        assert_eq!(events.iter().filter(|it| it.0 == "AccountReady").count(), 1, "{events:?}");
        assert!(events.iter().all(|it| it.2 == 0), "told again: {events:?}");
        let requests = world.kubernetes.operator_requests(mark).await;
        let told_since: Vec<_> = requests.iter().filter(|it| it.resource == "events" && writes(it)).collect();
        assert!(told_since.is_empty(), "{told_since:?}");
        world.finish().await;
    })
    .await;
}

//! What is ours goes with its object, what is not stays, and nothing hangs.

use std::time::Duration;

use emulated_clouds::{EffectKind, Fault, FaultAnswer, Moment, Target, Timing, Which};
use k8s_openapi::api::{core::v1::Namespace, events::v1::Event};
use kube::{
    Api,
    api::{DeleteParams, ListParams},
    runtime::{conditions::is_deleted, wait::await_condition},
};

use crate::{
    kubernetes::{OPERATOR_NAMESPACE, stalled_or_reconciling},
    manifests::{BAD_PASSWORD, Cloud, PASSWORD, password, ready, user},
    world::{PATIENCE, World, on_both_clouds},
};

#[tokio::test]
async fn retained_account_stays_and_logs_in() {
    on_both_clouds(async |cloud| {
        let world = World::of(cloud).with_database().start().await;
        world.apply_instance().await;
        world.apply_password("reporting", PASSWORD).await;
        world.apply_user("reporting", "deletionPolicy: Retain").await;
        world.kubernetes.user_shows("reporting", "AccountReady").await;
        world.delete_user("reporting").await;
        assert_eq!(world.clouds.requests(cloud.delete()), 0);
        world.login("reporting", PASSWORD).await.expect("the account is still there");
        world.finish().await;
    })
    .await;
}

#[tokio::test]
async fn users_that_never_got_an_account_go_without_a_call() {
    on_both_clouds(async |cloud| {
        let world = World::of(cloud).start().await;
        world.apply_instance().await;
        let manifests = password("refused", BAD_PASSWORD) + &user(cloud, "refused", "") + &user(cloud, "waiting", "");
        world.kubernetes.apply(&manifests).await;
        world.kubernetes.user_shows("refused", "InvalidPassword").await;
        world.kubernetes.user_shows("waiting", "WaitingForSecret").await;
        world.delete_user("refused").await;
        world.delete_user("waiting").await;
        assert_eq!(world.changing_requests(), 0);
        world.finish().await;
    })
    .await;
}

#[tokio::test]
async fn deleted_while_it_is_created_a_user_leaves_no_account() {
    on_both_clouds(async |cloud| {
        let world = World::of(cloud).start().await;
        world.apply_instance().await;
        match cloud {
            Cloud::QingCloud => {
                world.clouds.set_timing(Timing { job_duration: Duration::from_secs(2), ..Timing::default() });
                world.apply_user_with_password("reporting").await;
                world.kubernetes.user_shows("reporting", "JobRunning").await;
                world.kubernetes.delete_user("reporting").await;
            }
            Cloud::HuaweiCloud => {
                let hold = world.clouds.hold_before_effect(cloud.create());
                world.apply_user_with_password("reporting").await;
                hold.reached().await;
                world.kubernetes.delete_user("reporting").await;
            }
        }
        world.kubernetes.user_gone("reporting").await;
        assert_eq!(world.effects("reporting"), [EffectKind::Created, EffectKind::Deleted]);
        world.finish().await;
    })
    .await;
}

#[tokio::test]
async fn instance_object_stays_until_its_last_user_is_gone_and_takes_no_new_ones() {
    on_both_clouds(async |cloud| {
        let world = World::of(cloud).start().await;
        world.ready_user("first").await;
        world.apply_user_with_password("second").await;
        world.kubernetes.user_shows("second", "AccountReady").await;
        let api = world.kubernetes.instances();
        let instance = api.get("warehouse").await.expect("the instance");
        assert_eq!(instance.metadata.finalizers.as_deref(), Some(&["chuser.dev/in-use".to_owned()][..]));
        api.delete("warehouse", &DeleteParams::default()).await.expect("it can be deleted");

        world.apply_user_with_password("third").await;
        let third = world.kubernetes.user_shows("third", "WaitingForInstance").await;
        assert!(ready(&third).1.contains("being deleted"), "{:?}", ready(&third));
        world.delete_user("first").await;
        let instance = api.get("warehouse").await.expect("the second user still holds it");
        world.delete_user("third").await;
        world.delete_user("second").await;
        let uid = instance.metadata.uid.expect("a uid");
        let gone = tokio::time::timeout(PATIENCE, await_condition(api, "warehouse", is_deleted(&uid))).await;
        gone.expect("the instance object goes after its last user").expect("a watch");
        assert!(world.accounts().is_empty());
        assert_eq!(world.effects("third"), []);
        world.finish().await;
    })
    .await;
}

#[tokio::test]
async fn mass_deletion_waits_for_its_window_and_says_so() {
    on_both_clouds(async |cloud| {
        let world = World::of(cloud).flag("--max-deletes", "1/10s").start().await;
        world.ready_user("first").await;
        world.apply_user_with_password("second").await;
        world.kubernetes.user_shows("second", "AccountReady").await;
        world.delete_user("first").await;
        world.kubernetes.user_gone("first").await;
        world.kubernetes.delete_user("second").await;
        let second = world.kubernetes.user_shows("second", "DeletionLimited").await;
        assert!(ready(&second).1.contains("--max-deletes"), "{:?}", ready(&second));
        world.kubernetes.user_gone("second").await;
        assert!(world.accounts().is_empty());
        world.finish().await;
    })
    .await;
}

#[tokio::test]
async fn user_whose_credentials_are_gone_is_released_in_time_and_recorded_as_an_orphan() {
    on_both_clouds(async |cloud| {
        let mut world = World::of(cloud).flag("--orphan-after", "3s").start().await;
        world.ready_user("reporting").await;
        // In memory they would still be known.
        world.operator.kill();
        world.expect_orphan("reporting");
        world.kubernetes.kubectl(&["delete", "secret", "cloud-api"]).await;
        world.kubernetes.delete_user("reporting").await;
        world.operator.start();
        let held = world.kubernetes.user_shows("reporting", "Deleting").await;
        assert!(ready(&held).1.contains("cannot be removed yet"), "{:?}", ready(&held));
        world.kubernetes.user_gone("reporting").await;
        assert_eq!(world.clouds.requests(cloud.delete()), 0);
        let orphans = format!(r#"chuser_orphans_total{{provider="{cloud:?}"}} 1"#);
        world.operator.metrics_show(|page| page.contains(&orphans)).await;
        let events: Api<Event> = Api::namespaced(world.kubernetes.client.clone(), OPERATOR_NAMESPACE);
        let ours = |event: &Event| {
            let subject = event.related.as_ref().and_then(|related| related.namespace.as_deref());
            event.reason.as_deref() == Some("AccountOrphaned") && subject == Some(&*world.kubernetes.namespace)
        };
        let listed = async {
            while !events.list(&ListParams::default()).await.expect("Events").iter().any(ours) {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        tokio::time::timeout(PATIENCE, listed).await.expect("an Event in the operator's namespace");
        world.finish().await;
    })
    .await;
}

#[tokio::test]
async fn namespace_goes_with_its_accounts_though_its_secrets_went_first() {
    on_both_clouds(async |cloud| {
        let world = World::of(cloud).start_on(control_plane::shared_with_controller_manager().await).await;
        world.ready_user("reporting").await;
        world.kubernetes.kubectl(&["delete", "secret", "cloud-api", "reporting-password"]).await;
        world.kubernetes.instance_shows("warehouse", "WaitingForSecret").await;
        let namespaces: Api<Namespace> = Api::all(world.kubernetes.client.clone());
        let name = world.kubernetes.namespace.clone();
        let uid = namespaces.get(&name).await.expect("the namespace").metadata.uid.expect("a uid");
        namespaces.delete(&name, &DeleteParams::default()).await.expect("it can be deleted");
        let gone = tokio::time::timeout(PATIENCE, await_condition(namespaces, &name, is_deleted(&uid))).await;
        gone.expect("the namespace does not hang").expect("a watch");
        assert_eq!(world.effects("reporting"), [EffectKind::Created, EffectKind::Deleted]);
        world.finish_after_namespace().await;
    })
    .await;
}

#[tokio::test]
async fn instance_that_the_cloud_says_is_gone_lets_its_users_go_without_a_call() {
    on_both_clouds(async |cloud| {
        let mut world = World::of(cloud).flag("--drift-interval", "1s").start().await;
        world.ready_user("reporting").await;
        let (status, code, message) = match cloud {
            Cloud::QingCloud => (200, "2100", "ResourceNotFound, cluster not found"),
            Cloud::HuaweiCloud => (404, "DBS.200002", "The DB instance does not exist."),
        };
        world.clouds.inject(Fault {
            target: Target::Operation(cloud.read()),
            which: Which::All,
            moment: Moment::BeforeEffect,
            answer: FaultAnswer::Refusal(status, code.to_owned(), message.to_owned()),
        });
        world.kubernetes.instance_shows("warehouse", "InstanceNotFound").await;
        // Said by a settled user once the cloud has said so twice.
        let user = world.kubernetes.user_shows("reporting", "InstanceNotFound").await;
        assert_eq!(stalled_or_reconciling(&user), Some("Stalled"));
        // The emulated cloud only says that it is gone.
        world.expect_orphan("reporting");
        world.delete_user("reporting").await;
        assert_eq!(world.changing_requests(), 1, "the create alone");
        world.finish().await;
    })
    .await;
}

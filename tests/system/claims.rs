//! Two users for one account, in every form: one holds it, the others say so and make no call.

use emulated_clouds::{EffectKind, NameCase, Switches};

use crate::{
    kubernetes::Kubernetes,
    manifests::{Cloud, OTHER_PASSWORD, PASSWORD, credentials, object_name, password, ready, secret_object, user},
    sharing::{Sharing, refused, younger_than},
    world::{World, on_both_clouds},
};

/// A user object of this name for account `reporting` of instance `warehouse`.
fn claimant(cloud: Cloud, object: &str, more: &str) -> String {
    let manifest = user(cloud, object, more).replace(&format!("username: {object}"), "username: reporting");
    password(object, PASSWORD) + &manifest
}

#[tokio::test]
async fn second_user_of_a_namespace_waits_and_goes_on_when_the_first_is_gone() {
    on_both_clouds(async |cloud| {
        let world = World::of(cloud).flag("--retry-min", "10m").flag("--retry-max", "10m").start().await;
        world.apply_instance().await;
        world.kubernetes.apply(&claimant(cloud, "first", "")).await;
        world.kubernetes.user_shows("first", "AccountReady").await;
        world.kubernetes.apply(&claimant(cloud, "second", "")).await;
        refused(&world.kubernetes, "second", "AccountConflict", &["reporting", "ClickHouseUser first"]).await;
        assert_eq!(world.changing_requests(), 1);
        let second = world.kubernetes.users().get("second").await.expect("the user");
        assert!(second.metadata.finalizers.is_none(), "nothing is to be cleaned up for it");

        world.delete_user("first").await;
        world.kubernetes.user_shows("second", "AccountReady").await;
        assert_eq!(world.accounts().into_iter().collect::<Vec<_>>(), ["reporting"]);
        assert_eq!(world.changing_requests(), 3);
        world.finish().await;
    })
    .await;
}

#[tokio::test]
async fn loser_goes_without_a_call_and_leaves_the_account_alone() {
    on_both_clouds(async |cloud| {
        let world = World::of(cloud).start().await;
        world.apply_instance().await;
        world.kubernetes.apply(&claimant(cloud, "first", "")).await;
        world.kubernetes.user_shows("first", "AccountReady").await;
        // A finalizer that somebody wrote into the manifest is no claim.
        let forged = claimant(cloud, "second", "")
            .replace("metadata: {name: second}", "metadata: {name: second, finalizers: [chuser.dev/account]}");
        world.kubernetes.apply(&forged).await;
        world.kubernetes.user_shows("second", "AccountConflict").await;
        world.delete_user("second").await;
        assert_eq!(world.changing_requests(), 1);
        assert_eq!(world.accounts().into_iter().collect::<Vec<_>>(), ["reporting"]);
        world.finish().await;
    })
    .await;
}

#[tokio::test]
async fn many_that_come_at_once_make_one_account() {
    on_both_clouds(async |cloud| {
        let world = World::of(cloud).start().await;
        let names: Vec<_> = (0..8).map(|number| format!("claimant-{number}")).collect();
        let manifests: String = names.iter().map(|name| claimant(cloud, name, "")).collect();
        world.kubernetes.apply(&manifests).await;
        // All of them wait for it, so that all set out in the same moment.
        for name in &names {
            world.kubernetes.user_shows(name, "WaitingForInstance").await;
        }
        world.apply_instance().await;
        let mut ready_ones = 0;
        for name in &names {
            let settled = |user: &_| ["AccountReady", "AccountConflict"].contains(&ready(user).0);
            let user = world.kubernetes.user_until(name, "be decided", settled).await;
            ready_ones += usize::from(ready(&user).0 == "AccountReady");
        }
        assert_eq!((ready_ones, world.changing_requests()), (1, 1));
        world.finish().await;
    })
    .await;
}

#[tokio::test]
async fn older_that_is_not_ready_does_not_hold_up_the_younger_and_loses_to_it() {
    on_both_clouds(async |cloud| {
        let world = World::of(cloud).start().await;
        world.apply_instance().await;
        let older = user(cloud, "older", "").replace("username: older", "username: reporting");
        world.kubernetes.apply(&older).await;
        younger_than(&world.kubernetes.user_shows("older", "WaitingForSecret").await).await;
        world.kubernetes.apply(&claimant(cloud, "younger", "")).await;
        world.kubernetes.user_shows("younger", "AccountReady").await;
        world.kubernetes.apply(&password("older", PASSWORD)).await;
        refused(&world.kubernetes, "older", "AccountConflict", &["ClickHouseUser younger"]).await;
        assert_eq!(world.changing_requests(), 1);
        world.finish().await;
    })
    .await;
}

/// The cloud's address in another spelling that reaches the same port.
fn respelled(instance: &str) -> String {
    let spelled = instance.replace("http://127.0.0.1:", "HTTP://127.0.0.1:");
    assert_ne!(spelled, instance);
    spelled
}

#[tokio::test]
async fn conflict_crosses_namespaces_kinds_and_spellings_and_names_nobody() {
    for cloud in [Cloud::QingCloud, Cloud::HuaweiCloud] {
        let sharing = Sharing::start_with(cloud, &[("--retry-min", "10m"), ("--retry-max", "10m")]).await;
        let (world, own, other) = (&sharing.world, &sharing.world.kubernetes, &sharing.other);
        sharing.share(&[&sharing.for_both()]).await;
        own.apply(&sharing.user("reporting", "")).await;
        own.user_shows("reporting", "AccountReady").await;

        // In another namespace, by the same object.
        let second = sharing.user("second", "").replace("username: second", "username: reporting");
        other.apply(&second).await;
        unnamed(other, "second", &own.namespace).await;
        // In another namespace, by an object of its own, of the other kind, in another spelling.
        other.apply(&(credentials(cloud) + &respelled(&world.instance()))).await;
        other.instance_shows("warehouse", "Reachable").await;
        other.apply(&claimant(cloud, "third", "")).await;
        unnamed(other, "third", &own.namespace).await;
        assert_eq!(world.changing_requests(), 1);

        own.delete_user("reporting").await;
        own.user_gone("reporting").await;
        let (one, two) = tokio::join!(decided(other, "second"), decided(other, "third"));
        assert!(one != two, "{one} and {two}");
        assert_eq!(world.changing_requests(), 3);
        assert_eq!(world.accounts().into_iter().collect::<Vec<_>>(), ["reporting"]);
        sharing.finish().await;
    }
}

async fn unnamed(kubernetes: &Kubernetes, name: &str, namespace: &str) {
    let user = kubernetes.user_shows(name, "AccountConflict").await;
    let message = ready(&user).1;
    assert!(message.contains("another namespace"), "{message}");
    assert!(!message.contains(namespace) && !message.contains("ClickHouseUser reporting"), "{message}");
}

/// Waits until a user that is older or younger than another knows which, after the holder of the account has gone.
async fn decided(kubernetes: &Kubernetes, name: &str) -> String {
    let rival = |user: &_| ready(user).0 == "AccountConflict" && !ready(user).1.contains("another namespace");
    let settled = |user: &_| ready(user).0 == "AccountReady" || rival(user);
    ready(&kubernetes.user_until(name, "be decided", settled).await).0.to_owned()
}

#[tokio::test]
async fn whoever_only_names_an_instance_blocks_nobody_on_it() {
    for cloud in [Cloud::QingCloud, Cloud::HuaweiCloud] {
        let sharing = Sharing::start(cloud).await;
        let (world, own, other) = (&sharing.world, &sharing.world.kubernetes, &sharing.other);
        // The stranger has no key of the cloud, is the older, and lacks nothing else.
        let wrong = secret_object("cloud-api", &[("accessKeyID", "STRANGER"), ("secretAccessKey", "wrong")]);
        other.apply(&(wrong + &world.instance())).await;
        other.instance_shows("warehouse", "AccessDenied").await;
        other.apply(&claimant(cloud, "stranger", "")).await;
        younger_than(&other.user_shows("stranger", "AccessDenied").await).await;

        world.apply_instance().await;
        own.apply(&claimant(cloud, "owner", "")).await;
        own.user_shows(&object_name("owner"), "AccountReady").await;
        assert_eq!(world.changing_requests(), 1);
        // It learns nothing of the conflict either before it can read the instance.
        other.delete_user("stranger").await;
        other.user_gone("stranger").await;
        assert_eq!(world.changing_requests(), 1);
        sharing.finish().await;
    }
}

/// A user object of this name for an account of another.
fn named(cloud: Cloud, object: &str, account: &str, password_text: &str) -> String {
    let manifest = user(cloud, object, "").replace(&format!("username: {object}"), &format!("username: {account}"));
    password(object, password_text) + &manifest
}

#[tokio::test]
async fn names_that_differ_in_case_are_two_accounts_where_the_cloud_takes_both() {
    let world = World::of(Cloud::QingCloud).with_database().start().await;
    world.apply_instance().await;
    world.kubernetes.apply(&named(world.cloud, "upper", "Reporting", PASSWORD)).await;
    world.kubernetes.apply(&named(world.cloud, "lower", "reporting", OTHER_PASSWORD)).await;
    for object in ["upper", "lower"] {
        world.kubernetes.user_shows(object, "AccountReady").await;
    }
    world.login("Reporting", PASSWORD).await.expect("the one");
    world.login("reporting", OTHER_PASSWORD).await.expect("the other");
    world.delete_user("lower").await;
    world.login("Reporting", PASSWORD).await.expect("still there");
    assert_eq!(world.accounts().into_iter().collect::<Vec<_>>(), ["Reporting"]);
    world.finish().await;
}

#[tokio::test]
async fn name_in_another_case_takes_nothing_where_the_cloud_takes_it_for_the_same() {
    let world = World::of(Cloud::QingCloud).start().await;
    world.clouds.set_switches(Switches { qingcloud_name_case: NameCase::Same, ..Switches::default() });
    world.apply_instance().await;
    world.kubernetes.apply(&named(world.cloud, "upper", "Reporting", PASSWORD)).await;
    world.kubernetes.user_shows("upper", "AccountReady").await;
    world.kubernetes.apply(&named(world.cloud, "lower", "reporting", OTHER_PASSWORD)).await;
    world.kubernetes.user_shows("lower", "JobFailed").await;
    world.delete_user("lower").await;
    assert_eq!(world.effects("Reporting"), [EffectKind::Created], "the other's");
    assert_eq!(world.clouds.requests(world.cloud.delete()), 0);
    world.finish().await;
}

#[tokio::test]
async fn name_in_another_case_is_refused_before_any_call_where_the_cloud_takes_lower_case_alone() {
    let world = World::of(Cloud::HuaweiCloud).start().await;
    world.apply_instance().await;
    world.kubernetes.apply(&named(world.cloud, "upper", "Reporting", PASSWORD)).await;
    refused(&world.kubernetes, "upper", "InvalidSpec", &["lower-case"]).await;
    world.kubernetes.apply(&named(world.cloud, "lower", "reporting", OTHER_PASSWORD)).await;
    world.kubernetes.user_shows("lower", "AccountReady").await;
    world.delete_user("upper").await;
    assert_eq!(world.changing_requests(), 1, "the create of the other");
    world.finish().await;
}

//! Annotations are copied, forged and stripped, status is wiped, objects are restored and the operator's key is lost:
//! nothing is taken over, nothing is lost, and nothing is set again without need.

use clickhouse_user_operator::api::user::ClickHouseUser;
use control_plane::ControlPlane;
use emulated_clouds::EffectKind;

use crate::{
    kubernetes::OPERATOR_NAMESPACE,
    manifests::{Cloud, PASSWORD, password, ready, user},
    world::{World, on_both_clouds},
};

const KEY: &str = "clickhouse-user-operator-key";
const ANNOTATION: &str = "chuser.dev/operation";

fn journal(user: &ClickHouseUser) -> Option<&String> {
    user.metadata.annotations.as_ref()?.get(ANNOTATION)
}

fn held(user: &ClickHouseUser) -> bool {
    user.metadata.finalizers.as_ref().is_some_and(|it| it.iter().any(|name| name == "chuser.dev/account"))
}

#[tokio::test]
async fn stripped_finalizer_and_journal_are_put_back_and_the_account_still_goes_with_its_object() {
    on_both_clouds(async |cloud| {
        let world = World::of(cloud).start().await;
        world.ready_user("reporting").await;
        world.kubernetes.patch_user("reporting", r#"{"metadata": {"finalizers": null}}"#).await;
        world.kubernetes.user_until("reporting", "be held again", held).await;
        let strip = format!(r#"{{"metadata": {{"annotations": {{"{ANNOTATION}": null}}}}}}"#);
        world.kubernetes.patch_user("reporting", &strip).await;
        world.kubernetes.user_until("reporting", "have its journal again", |user| journal(user).is_some()).await;
        assert_eq!(world.changing_requests(), 1, "the create alone");
        world.delete_user("reporting").await;
        assert_eq!(world.effects("reporting"), [EffectKind::Created, EffectKind::Deleted]);
        world.finish().await;
    })
    .await;
}

#[tokio::test]
async fn wiped_status_is_made_anew_and_nothing_is_set_again() {
    on_both_clouds(async |cloud| {
        let world = World::of(cloud).start().await;
        world.ready_user("reporting").await;
        world
            .kubernetes
            .kubectl(&[
                "patch",
                "chu",
                "reporting",
                "--subresource=status",
                "--type=json",
                "-p",
                r#"[{"op": "replace", "path": "/status", "value": {"observedGeneration": -1}}]"#,
            ])
            .await;
        let whole = |user: &ClickHouseUser| {
            ready(user).0 == "AccountReady"
                && user.status.as_ref().is_some_and(|it| it.applied.is_some() && it.password.is_some())
        };
        world.kubernetes.user_until("reporting", "have its status again", whole).await;
        assert_eq!(world.changing_requests(), 1, "the create alone");
        world.delete_user("reporting").await;
        assert!(world.accounts().is_empty());
        world.finish().await;
    })
    .await;
}

#[tokio::test]
async fn object_restored_with_a_new_uid_waits_for_leave_to_adopt() {
    on_both_clouds(async |cloud| {
        let mut world = World::of(cloud).start().await;
        world.ready_user("reporting").await;
        let before = world.kubernetes.users().get("reporting").await.expect("the user");
        let annotation = journal(&before).expect("a journal").clone();
        // The object goes without the operator, as with a cluster that is lost; a backup brings it back.
        world.operator.terminate().await;
        world.kubernetes.patch_user("reporting", r#"{"metadata": {"finalizers": null}}"#).await;
        world.kubernetes.delete_user("reporting").await;
        world.kubernetes.user_gone("reporting").await;
        world.apply_user("reporting", "").await;
        let restored = serde_json::json!({"metadata": {"annotations": {ANNOTATION: annotation}, "finalizers": ["chuser.dev/account"]}});
        world.kubernetes.patch_user("reporting", &restored.to_string()).await;
        world.operator.start();
        let reason = if cloud == Cloud::QingCloud { "JobFailed" } else { "AccountExists" };
        world.kubernetes.user_shows("reporting", reason).await;
        assert_eq!(world.effects("reporting"), [EffectKind::Created], "not touched");
        let adopt = r#"{"spec": {"adoptionPolicy": "Adopt", "updatePolicy": "Recreate"}}"#;
        world.kubernetes.patch_user("reporting", adopt).await;
        world.kubernetes.user_shows("reporting", "AccountReady").await;
        world.finish().await;
    })
    .await;
}

#[tokio::test]
async fn journal_copied_to_another_object_gives_it_nothing() {
    on_both_clouds(async |cloud| {
        let world = World::of(cloud).start().await;
        world.ready_user("reporting").await;
        let owner = world.kubernetes.users().get("reporting").await.expect("the user");
        let annotation = journal(&owner).expect("a journal").clone();
        let thief = user(cloud, "reporting", "").replace("{name: reporting}", "{name: thief}");
        let thief = thief.replace("metadata: {name: thief}", &format!("metadata: {{name: thief, finalizers: [chuser.dev/account], annotations: {{{ANNOTATION}: {annotation:?}}}}}"));
        world.kubernetes.apply(&thief).await;
        let refused = |user: &ClickHouseUser| ["AccountConflict", "AccountExists", "JobFailed"].contains(&ready(user).0);
        world.kubernetes.user_until("thief", "be refused", refused).await;
        world.delete_user("thief").await;
        assert_eq!(world.effects("reporting"), [EffectKind::Created]);
        world.finish().await;
    })
    .await;
}

/// The operator's key is in a namespace that all worlds of a control plane share.
async fn own_plane() -> &'static ControlPlane {
    Box::leak(Box::new(ControlPlane::start().await.expect("a control plane")))
}

async fn delete_key(world: &World) {
    world.kubernetes.kubectl(&["--namespace", OPERATOR_NAMESPACE, "delete", "secret", KEY]).await;
}

#[tokio::test]
async fn lost_operator_key_sets_nothing_again_and_deletion_still_works() {
    let plane = own_plane().await;
    for cloud in [Cloud::QingCloud, Cloud::HuaweiCloud] {
        let mut world = World::of(cloud).start_on(plane).await;
        world.ready_user("reporting").await;
        let user = world.kubernetes.users().get("reporting").await.expect("the user");
        let before = user.status.and_then(|it| it.password).expect("a password").key_id;
        world.operator.terminate().await;
        delete_key(&world).await;
        world.operator.start();
        let noted = |user: &ClickHouseUser| {
            let password = user.status.as_ref().and_then(|it| it.password.as_ref());
            password.is_some_and(|it| it.key_id != before) && ready(user).0 == "AccountReady"
        };
        world.kubernetes.user_until("reporting", "have a fingerprint under the new key", noted).await;
        assert_eq!(world.changing_requests(), 1, "the create alone");
        world.delete_user("reporting").await;
        assert_eq!(world.effects("reporting"), [EffectKind::Created, EffectKind::Deleted]);
        world.finish().await;
    }
}

#[tokio::test]
async fn key_deleted_while_the_operator_runs_is_written_back() {
    let world = World::of(Cloud::HuaweiCloud).start_on(own_plane().await).await;
    world.ready_user("reporting").await;
    let get = ["--namespace", OPERATOR_NAMESPACE, "get", "secret", KEY, "-o", "jsonpath={.data.key}"];
    let key = world.kubernetes.kubectl(&get).await;
    delete_key(&world).await;
    let created = format!("secret/{KEY}");
    let there = ["--namespace", OPERATOR_NAMESPACE, "wait", "--for=create", &created, "--timeout=60s"];
    world.kubernetes.kubectl(&there).await;
    assert!(world.kubernetes.kubectl(&get).await == key, "another key was made");
    world.kubernetes.apply(&(password("other", PASSWORD) + &user(world.cloud, "other", ""))).await;
    world.kubernetes.user_shows("other", "AccountReady").await;
    world.finish().await;
}

#[tokio::test]
async fn what_others_write_in_the_middle_of_a_pass_stays_and_nothing_is_called_again() {
    on_both_clouds(async |cloud| {
        let world = World::of(cloud).start().await;
        world.apply_instance().await;
        let create = world.clouds.hold_before_effect(cloud.create());
        world.apply_user_with_password("reporting").await;
        create.reached().await;
        // What the operator writes next names the version from before this, and is refused.
        let both = r#"{"metadata": {"finalizers": ["chuser.dev/account", "example.com/theirs"]}}"#;
        world.kubernetes.patch_user("reporting", both).await;
        create.release();
        world.kubernetes.user_shows("reporting", "AccountReady").await;

        let delete = world.clouds.hold_before_effect(cloud.delete());
        world.kubernetes.delete_user("reporting").await;
        delete.reached().await;
        world.kubernetes.kubectl(&["label", "chu", "reporting", "team=data"]).await;
        delete.release();
        let user = world.kubernetes.user_until("reporting", "be let go by the operator", |user| !held(user)).await;
        assert_eq!(user.metadata.finalizers.as_deref(), Some(&["example.com/theirs".to_owned()][..]));
        assert!(user.metadata.labels.is_some_and(|labels| labels["team"] == "data"));
        assert_eq!(world.effects("reporting"), [EffectKind::Created, EffectKind::Deleted]);
        assert_eq!(world.changing_requests(), 2);
        world.kubernetes.patch_user("reporting", r#"{"metadata": {"finalizers": null}}"#).await;
        world.kubernetes.user_gone("reporting").await;
        world.finish().await;
    })
    .await;
}

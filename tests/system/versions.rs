//! A newer version was at work here and is gone again. What it left that this version cannot read stops its own object
//! alone: no account is lost, nothing is done a second time, and the newer version can go on.

use base64::{Engine, engine::general_purpose::STANDARD};
use clickhouse_user_operator::{api::user::ClickHouseUser, domain::operator_key::OperatorKey};
use control_plane::ControlPlane;
use emulated_clouds::EffectKind;
use kube::{
    Api, ResourceExt,
    api::{ApiResource, DynamicObject, Patch, PatchParams},
};
use serde_json::json;
use zeroize::Zeroizing;

use crate::{
    kubernetes::{OPERATOR_NAMESPACE, stalled_or_reconciling},
    manifests::{Cloud, PASSWORD, password, ready, user},
    world::{PATIENCE, World, on_both_clouds},
};

const ANNOTATION: &str = "chuser.dev/operation";
const CRD: &str = "clickhouseusers.chuser.dev";

fn journal(user: &ClickHouseUser) -> String {
    user.annotations()[ANNOTATION].clone()
}

fn held(user: &ClickHouseUser) -> bool {
    user.finalizers().iter().any(|name| name == "chuser.dev/account")
}

/// The journal entry with one word more, sealed as the operator would.
async fn with_a_word_more(world: &World, entry: &str) -> String {
    let name = "clickhouse-user-operator-key";
    let get = ["--namespace", OPERATOR_NAMESPACE, "get", "secret", name, "-o", "jsonpath={.data.key}"];
    let key = STANDARD.decode(world.kubernetes.kubectl(&get).await).expect("base64");
    let key = OperatorKey::new(Zeroizing::new(key.try_into().expect("a key")));
    let (members, _) = entry.rsplit_once(r#","mac":""#).expect("a seal");
    let text = format!(r#"{members},"borrowed":true}}"#);
    format!(r#"{members},"borrowed":true,"mac":"{}"}}"#, key.seal(text.as_bytes()))
}

async fn write_journal(world: &World, entry: &str) {
    let patch = json!({ "metadata": { "annotations": { ANNOTATION: entry } } });
    world.kubernetes.patch_user("reporting", &patch.to_string()).await;
}

#[tokio::test]
async fn call_that_a_newer_version_announced_is_neither_made_again_nor_forgotten() {
    on_both_clouds(async |cloud| {
        let mut world = World::of(cloud).flag("--job-timeout", "2s").start().await;
        world.apply_instance().await;
        let hold = world.clouds.hold_after_effect(cloud.create());
        world.apply_user_with_password("reporting").await;
        hold.reached().await;
        world.operator.kill();
        hold.release();
        let ours = journal(&world.kubernetes.users().get("reporting").await.expect("the user"));
        write_journal(&world, &with_a_word_more(&world, &ours).await).await;

        world.operator.start();
        let shown = world.kubernetes.user_shows("reporting", "OutcomeUnknown").await;
        assert_eq!(stalled_or_reconciling(&shown), Some("Stalled"));
        assert!(ready(&shown).1.contains("newer version"), "{:?}", ready(&shown));
        world.kubernetes.delete_user("reporting").await;
        let looked = |user: &ClickHouseUser| {
            let observed = user.status.as_ref().and_then(|status| status.observed_generation);
            user.metadata.deletion_timestamp.is_some() && observed == user.metadata.generation
        };
        let leaving = world.kubernetes.user_until("reporting", "be looked at on its way out", looked).await;
        assert!(held(&leaving), "let go with an account that may be there");
        assert_eq!(world.changing_requests(), 1, "the create alone");

        // The newer version is back, and reads its own entry.
        world.operator.kill();
        write_journal(&world, &ours).await;
        world.operator.start();
        world.kubernetes.user_gone("reporting").await;
        assert_eq!(world.effects("reporting"), [EffectKind::Created, EffectKind::Deleted]);
        world.finish().await;
    })
    .await;
}

#[tokio::test]
async fn settled_user_of_a_newer_version_is_kept_without_a_call_and_can_be_deleted() {
    on_both_clouds(async |cloud| {
        let mut world = World::of(cloud).start().await;
        world.ready_user("reporting").await;
        world.operator.terminate().await;
        let ours = journal(&world.kubernetes.users().get("reporting").await.expect("the user"));
        let newer = with_a_word_more(&world, &ours).await;
        write_journal(&world, &newer).await;
        world.operator.start();
        let rewritten = |user: &ClickHouseUser| journal(user) != newer && ready(user).0 == "AccountReady";
        world.kubernetes.user_until("reporting", "have a journal of this version", rewritten).await;
        assert_eq!(world.changing_requests(), 1, "the create alone");
        world.delete_user("reporting").await;
        assert_eq!(world.effects("reporting"), [EffectKind::Created, EffectKind::Deleted]);
        world.finish().await;
    })
    .await;
}

/// The definitions of a newer version, which knows another operation and more of a status.
async fn install_newer_definition(world: &World) {
    let schema = "/spec/versions/0/schema/openAPIV3Schema/properties/status";
    let patch = json!([
        { "op": "add", "path": format!("{schema}/x-kubernetes-preserve-unknown-fields"), "value": true },
        { "op": "add", "path": format!("{schema}/properties/operation/properties/kind/enum/-"), "value": "Rename" },
    ]);
    world.kubernetes.kubectl(&["patch", "crd", CRD, "--type=json", "-p", &patch.to_string()]).await;
}

/// Merges this into a status, once the API server goes by the newer definition.
async fn write_status(world: &World, name: &str, status: &serde_json::Value) {
    let resource = ApiResource::erase::<ClickHouseUser>(&());
    let api: Api<DynamicObject> =
        Api::namespaced_with(world.kubernetes.client.clone(), &world.kubernetes.namespace, &resource);
    let patch = Patch::Merge(json!({ "status": status }));
    let written = async {
        while api.patch_status(name, &PatchParams::default(), &patch).await.is_err() {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, written).await.expect("the status is accepted");
}

#[tokio::test]
async fn status_of_a_newer_version_stops_its_own_object_at_most_and_loses_nothing() {
    let plane: &ControlPlane = Box::leak(Box::new(ControlPlane::start().await.expect("a control plane")));
    for cloud in [Cloud::QingCloud, Cloud::HuaweiCloud] {
        let mut world = World::of(cloud).start_on(plane).await;
        install_newer_definition(&world).await;
        world.apply_instance().await;
        for name in ["renamed", "extended"] {
            world.apply_user_with_password(name).await;
            world.kubernetes.user_shows(name, "AccountReady").await;
        }
        world.operator.terminate().await;
        write_status(&world, "renamed", &json!({ "operation": { "kind": "Rename" } })).await;
        write_status(&world, "extended", &json!({ "quota": { "queries": 1 }, "applied": { "quota": "small" } })).await;
        let ready_by_another_name = json!([{
            "type": "Ready", "status": "True", "reason": "AccountRenamed", "message": "", "observedGeneration": 1,
            "lastTransitionTime": "2026-11-22T08:00:00Z",
        }]);
        write_status(&world, "extended", &json!({ "conditions": ready_by_another_name })).await;

        world.operator.start();
        world.kubernetes.apply(&(password("later", PASSWORD) + &user(cloud, "later", ""))).await;
        world.kubernetes.user_shows("later", "AccountReady").await;
        // Whoever knows this version alone cannot read the answer either.
        world.kubernetes.kubectl(&["delete", "clickhouseuser", "renamed", "--wait=false"]).await;
        world.kubernetes.user_shows("extended", "AccountReady").await;
        world.delete_user("extended").await;
        assert_eq!(world.effects("extended"), [EffectKind::Created, EffectKind::Deleted]);
        assert_eq!(world.effects("renamed"), [EffectKind::Created], "its object cannot be read");

        write_status(&world, "renamed", &json!({ "operation": { "kind": "Create" } })).await;
        world.kubernetes.user_gone("renamed").await;
        assert_eq!(world.effects("renamed"), [EffectKind::Created, EffectKind::Deleted]);
        world.finish().await;
    }
}

use serde_json::{Value, json};

use super::*;
use crate::{
    api::{ACCOUNT_FINALIZER, any_instance::tests::instance},
    domain::names::Username,
};

fn user(namespace: &str, name: &str, reference: &Value, created_at: i64) -> ClickHouseUser {
    let mut user: ClickHouseUser = serde_json::from_value(json!({
        "apiVersion": "chuser.dev/v1alpha1",
        "kind": "ClickHouseUser",
        "metadata": {"namespace": namespace, "name": name, "uid": format!("uid of {namespace}/{name}")},
        "spec": {"instanceRef": reference, "passwordSecretRef": {"name": "password"}, "username": "reporting"},
    }))
    .expect("a manifest");
    let time = jiff::Timestamp::from_second(created_at).expect("a time");
    user.metadata.creation_timestamp = Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(time));
    user
}

fn own(namespace: &str, name: &str) -> ClickHouseUser {
    user(namespace, name, &json!({"name": "warehouse"}), 0)
}

fn sharing(namespace: &str, name: &str, created_at: i64) -> ClickHouseUser {
    user(namespace, name, &json!({"kind": "ClusterClickHouseInstance", "name": "shared"}), created_at)
}

fn name(namespace: &str, name: &str) -> Name {
    (namespace.to_owned(), name.to_owned())
}

fn instance_name(namespace: Option<&str>, name: &str) -> InstanceName {
    InstanceName { namespace: namespace.map(str::to_owned), name: name.to_owned() }
}

/// Notes an instance object of either kind; all mean the same cloud instance.
fn note_instance(index: &Index, at: &InstanceName) {
    index.instance(at, &instance(at.namespace.as_deref(), &at.name), "operator");
}

fn account() -> Account {
    Account {
        instance: instance(None, "any").spec().provider().expect("a provider").instance_key(),
        username: Username::new("reporting"),
    }
}

#[test]
fn rivals_meet_across_namespaces_and_kinds_of_instance_objects() {
    let index = Index::default();
    for at in
        [instance_name(Some("a"), "warehouse"), instance_name(Some("b"), "warehouse"), instance_name(None, "shared")]
    {
        note_instance(&index, &at);
    }
    for user in [own("a", "first"), own("b", "second"), sharing("c", "third", 0)] {
        index.user(&user, None);
    }
    let mut rivals = index.rivals(&name("a", "first"));
    rivals.sort();
    assert_eq!(rivals, [name("b", "second"), name("c", "third")]);
    index.instance_gone(&instance_name(None, "shared"));
    index.user_gone(&name("b", "second"));
    assert!(index.rivals(&name("a", "first")).is_empty());
}

#[test]
fn claim_is_found_by_its_account_whatever_its_reference_means_now() {
    let index = Index::default();
    note_instance(&index, &instance_name(Some("a"), "warehouse"));
    index.user(&own("a", "late"), None);
    // No instance object tells what this one means any more.
    index.user(&own("b", "holder"), Some(account()));
    assert_eq!(index.rivals(&name("a", "late")), [name("b", "holder")]);
    assert_eq!(index.rivals(&name("b", "holder")), [name("a", "late")]);
    index.user(&own("b", "holder"), None);
    assert!(index.rivals(&name("a", "late")).is_empty());
}

#[test]
fn other_accounts_are_no_rivals() {
    let index = Index::default();
    note_instance(&index, &instance_name(Some("a"), "warehouse"));
    index.user(&own("a", "one"), None);
    let mut other = own("a", "two");
    other.spec.username = Some("other".to_owned());
    index.user(&other, None);
    assert!(index.rivals(&name("a", "one")).is_empty());
}

#[test]
fn oldest_of_a_namespace_are_among_the_number_and_those_at_the_limit_are_told() {
    let index = Index::default();
    let shared = instance_name(None, "shared");
    for (user, created_at) in [("young", 3), ("old", 1), ("middle", 2)] {
        index.user(&sharing("a", user, created_at), None);
    }
    index.user(&sharing("b", "alone", 9), None);
    let among = |user: &str| index.is_among_oldest(&name("a", user), 2);
    assert_eq!(["old", "middle", "young"].map(among), [true, true, false]);
    assert!(index.is_among_oldest(&name("b", "alone"), 2));
    assert_eq!(index.at_limit(&shared, "a", 2), [name("a", "middle"), name("a", "young")]);
    index.user_gone(&name("a", "old"));
    assert!(index.is_among_oldest(&name("a", "young"), 2));
    assert!(!index.is_among_oldest(&name("a", "middle"), 0));
}

#[test]
fn nothing_is_left_of_what_is_gone() {
    let index = Index::default();
    let mut held = sharing("a", "user", 0);
    held.metadata.finalizers = Some(vec![ACCOUNT_FINALIZER.to_owned()]);
    let shared = instance_name(None, "shared");
    note_instance(&index, &shared);
    let noted = index.user(&held, Some(account())).expect("a note");
    assert!(noted.is_new && noted.held_changed);
    assert_eq!(index.claims(&shared), 1);
    let noted = index.user(&held, Some(account())).expect("a note");
    assert!(!noted.is_new && !noted.held_changed);
    assert_eq!(index.instances_of_secret(&name("operator", "api")), std::slice::from_ref(&shared));
    assert_eq!(index.sharing_users("a"), [name("a", "user")]);
    index.user_gone(&name("a", "user"));
    index.instance_gone(&shared);
    let state = index.state();
    assert!(state.users.is_empty() && state.by_secret.is_empty() && state.by_instance.is_empty());
    assert!(state.by_claim.is_empty() && state.instances.is_empty());
    assert!(state.instances_by_key.is_empty() && state.instances_by_secret.is_empty());
}

//! What the operator asks the API server for (I13).

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::Value;

use crate::{
    History, Violation,
    objects::{Objects, written},
};

/// Everything that it has business with.
const RESOURCES: [(&str, &str); 8] = [
    ("chuser.dev", "clickhouseusers"),
    ("chuser.dev", "clickhouseinstances"),
    ("chuser.dev", "clusterclickhouseinstances"),
    ("", "secrets"),
    ("", "namespaces"),
    ("events.k8s.io", "events"),
    ("", "events"),
    ("coordination.k8s.io", "leases"),
];

pub(crate) fn check(history: &History, objects: &Objects) -> Vec<Violation> {
    let named = named(history, objects);
    let mut found = Vec::new();
    let ours = history.requests.iter().filter(|event| event.user == history.operator);
    let served = |namespace: &String| {
        namespace.is_empty() || *namespace == history.operator_namespace || history.namespaces.contains(namespace)
    };
    for event in ours.filter(|event| served(&event.namespace)) {
        let mut violate = |what: String| found.push(Violation { rule: "I13", what });
        let resource = (event.group.as_str(), event.resource.as_str());
        if !event.resource.is_empty() && !RESOURCES.contains(&resource) {
            violate(format!("{} {}", event.verb, event.request_uri));
        }
        let read = resource == ("", "secrets") && event.verb == "get" && history.namespaces.contains(&event.namespace);
        if read
            && named
                .get(&(event.namespace.as_str(), event.name.as_str()))
                .is_none_or(|since| *since > event.received_at)
        {
            violate(format!("read Secret {}, which no object of its namespace names", event.name));
        }
    }
    found
}

/// The Secrets that users and instances name, by namespace and name, and since when.
fn named<'a>(history: &'a History, objects: &'a Objects) -> BTreeMap<(&'a str, &'a str), Timestamp> {
    let mut found: BTreeMap<(&str, &str), Timestamp> = BTreeMap::new();
    let mut name = |object: &'a Value, pointer: &str, at| {
        if let Some(name) = object.pointer(pointer).and_then(Value::as_str) {
            let namespace = object.pointer("/metadata/namespace").and_then(Value::as_str).unwrap_or_default();
            let since = found.entry((namespace, name)).or_insert(at);
            *since = at.min(*since);
        }
    };
    for version in objects.users.values().flatten() {
        for pointer in ["/spec/passwordSecretRef/name", "/spec/connectionSecret/name"] {
            name(&version.object, pointer, version.received_at);
        }
    }
    let instances = history.requests.iter().filter(|it| it.resource == "clickhouseinstances" && it.code < 300);
    for event in instances.filter(|event| history.namespaces.contains(&event.namespace)) {
        for object in written(event) {
            for block in ["qingcloud", "huaweicloud"] {
                name(object, &format!("/spec/{block}/credentialsSecretRef/name"), event.received_at);
            }
        }
    }
    found
}

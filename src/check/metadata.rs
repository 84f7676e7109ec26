//! What Kubernetes itself demands of an object's metadata, whatever its kind.

use std::sync::LazyLock;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use regex::Regex;
use serde_json::json;

use super::{
    manifest::{Node, Value},
    schema::Broken,
};

/// Names of objects of these kinds: DNS subdomains, at most 253 characters.
static NAME: LazyLock<Regex> =
    LazyLock::new(|| pattern(r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$"));

/// Keys of labels and annotations, whose prefix is a DNS subdomain.
static KEY: LazyLock<Regex> = LazyLock::new(|| {
    pattern(
        r"^([a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$",
    )
});

/// Values of labels.
static LABEL: LazyLock<Regex> = LazyLock::new(|| pattern("^([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?$"));

fn pattern(text: &str) -> Regex {
    Regex::new(text).expect("the pattern is legal")
}

/// Every rule of Kubernetes that the metadata of a manifest breaks.
pub fn broken(node: &Node, namespaced: bool, found: &mut Vec<Broken>) {
    let Some(metadata) = node.get("metadata") else {
        return found.push(("metadata.name".to_owned(), "is required".to_owned()));
    };
    let Value::Map(fields) = &metadata.value else {
        return found.push(("metadata".to_owned(), "must be a map".to_owned()));
    };
    match metadata.get("name").map(Node::text) {
        Some(Some(name)) if name.len() <= 253 && NAME.is_match(name) => {}
        Some(_) => found.push((
            "metadata.name".to_owned(),
            "must be lower-case letters, digits, '-' and '.', with a letter or digit at both ends".to_owned(),
        )),
        None if metadata.get("generateName").is_some() => {}
        None => found.push(("metadata.name".to_owned(), "is required".to_owned())),
    }
    if !namespaced && metadata.get("namespace").is_some() {
        found.push(("metadata.namespace".to_owned(), "this kind has no namespace; remove it".to_owned()));
    }
    for (name, child) in fields.iter().filter(|(_, child)| !matches!(child.value, Value::Null)) {
        let field = format!("metadata.{name}");
        let words = match name.as_str() {
            "labels" => broken_words(child, true),
            "annotations" => broken_words(child, false),
            _ => None,
        };
        if let Some(message) = words {
            found.push((field, message));
            continue;
        }
        // The type drops what it does not know, and refuses what is of another shape.
        match serde_json::from_value::<ObjectMeta>(json!({ name: child.to_json() })) {
            Err(_) => found.push((field, "is of the wrong type".to_owned())),
            Ok(known) if known == ObjectMeta::default() && !is_empty(child) => {
                found.push((field, "unknown field; remove it, or correct its name".to_owned()));
            }
            Ok(_) => {}
        }
    }
}

fn is_empty(node: &Node) -> bool {
    match &node.value {
        Value::List(items) => items.is_empty(),
        Value::Map(fields) => fields.is_empty(),
        _ => false,
    }
}

/// What is wrong with the keys of labels or annotations, or with the values of labels.
fn broken_words(node: &Node, labels: bool) -> Option<String> {
    let Value::Map(fields) = &node.value else { return None };
    if fields.keys().any(|key| !KEY.is_match(key)) {
        return Some("a key must be a name such as team or example.com/team; correct it".to_owned());
    }
    let broken = |value: &Node| value.text().is_some_and(|text| !LABEL.is_match(text));
    (labels && fields.values().any(broken)).then(|| {
        "a value must have at most 63 letters, digits, '-', '_' and '.', with a letter or digit at both ends".to_owned()
    })
}

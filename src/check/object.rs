//! One object of a file: which it is, and what its definition says of it.

use std::{collections::BTreeMap, sync::LazyLock};

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::JSONSchemaProps;
use kube_cel::Validator;

use super::{
    manifest::{Node, Value},
    metadata,
    schema::{self, Broken},
};
use crate::api::{GROUP, VERSION, crds};

/// The kind of Secrets, which belong to the core group.
pub const SECRET: &str = "Secret";

/// The kind of namespaces, whose labels may admit them to a shared instance.
pub const NAMESPACE: &str = "Namespace";

/// Lists that kubectl takes apart.
const LIST: &str = "List";

/// Fields that every object has beside those of its kind.
const COMMON: [&str; 3] = ["apiVersion", "kind", "metadata"];

/// An object that is looked at: one of the operator's kinds, a Secret or a namespace.
pub struct Object<'a> {
    /// The file it is in.
    pub file: &'a str,
    /// Its text.
    pub node: &'a Node,
    /// Its kind.
    pub kind: &'a str,
    /// Its namespace: its own, else the one given on the command line. Empty for a kind without.
    pub namespace: &'a str,
    /// Its name; empty where it is missing.
    pub name: &'a str,
}

/// Schema and scope of one of the operator's kinds.
struct Definition {
    kind: String,
    namespaced: bool,
    schema: JSONSchemaProps,
    /// The same as JSON, for its CEL rules.
    json: serde_json::Value,
}

static DEFINITIONS: LazyLock<Vec<Definition>> = LazyLock::new(|| {
    crds::all()
        .into_iter()
        .filter_map(|crd| {
            let version = crd.spec.versions.into_iter().find(|version| version.name == VERSION)?;
            let schema = version.schema?.open_api_v3_schema?;
            let json = serde_json::to_value(&schema).ok()?;
            Some(Definition { kind: crd.spec.names.kind, namespaced: crd.spec.scope == "Namespaced", schema, json })
        })
        .collect()
});

fn definition(kind: &str) -> Option<&'static Definition> {
    DEFINITIONS.iter().find(|definition| definition.kind == kind)
}

/// The objects in a document that are looked at.
pub fn objects<'a>(file: &'a str, document: &'a Node, namespace: &'a str) -> Vec<Object<'a>> {
    let text = |keys: &[&str]| document.at(keys).and_then(Node::text);
    let Some(kind) = text(&["kind"]) else { return Vec::new() };
    let api_version = text(&["apiVersion"]).unwrap_or_default();
    if api_version == "v1" && kind == LIST {
        let Some(Node { value: Value::List(items), .. }) = document.get("items") else { return Vec::new() };
        return items.iter().flat_map(|item| objects(file, item, namespace)).collect();
    }
    let ours = api_version.split_once('/').is_some_and(|(group, _)| group == GROUP);
    let beside = api_version == "v1" && [SECRET, NAMESPACE].contains(&kind);
    if !ours && !beside {
        return Vec::new();
    }
    let namespaced = kind != NAMESPACE && definition(kind).is_none_or(|definition| definition.namespaced);
    let namespace = if namespaced { text(&["metadata", "namespace"]).unwrap_or(namespace) } else { "" };
    vec![Object { file, node: document, kind, namespace, name: text(&["metadata", "name"]).unwrap_or_default() }]
}

impl Object<'_> {
    /// Whether it is one of the operator's.
    pub fn is_ours(&self) -> bool {
        ![SECRET, NAMESPACE].contains(&self.kind)
    }

    /// Its labels.
    pub fn labels(&self) -> BTreeMap<String, String> {
        let Some(Node { value: Value::Map(labels), .. }) = self.node.at(&["metadata", "labels"]) else {
            return BTreeMap::new();
        };
        let text = |(key, value): (&String, &Node)| Some((key.clone(), value.text()?.to_owned()));
        labels.iter().filter_map(text).collect()
    }

    /// The object as its Rust type; `None` where it breaks the schema.
    pub fn read<K: serde::de::DeserializeOwned>(&self) -> Option<K> {
        serde_json::from_value(without_status(self.node)).ok()
    }

    /// Every rule of the object's definition that it breaks.
    pub fn broken(&self) -> Vec<Broken> {
        let api_version = self.node.get("apiVersion").and_then(Node::text).unwrap_or_default();
        if api_version != format!("{GROUP}/{VERSION}") {
            return vec![("apiVersion".to_owned(), format!("must be {GROUP}/{VERSION}"))];
        }
        let Some(definition) = definition(self.kind) else {
            let kinds: Vec<_> = DEFINITIONS.iter().map(|definition| definition.kind.as_str()).collect();
            return vec![("kind".to_owned(), format!("{GROUP} has the kinds {}", kinds.join(", ")))];
        };
        let mut found = Vec::new();
        schema::broken(&definition.schema, "", self.node, &mut found);
        // Kubernetes itself gives a meaning to these; status is the operator's, and the API server drops it here.
        found.retain(|(field, _)| !COMMON.contains(&field.as_str()) && !is_below("status", field));
        metadata::broken(self.node, definition.namespaced, &mut found);
        rules(definition, self.node, &mut found);
        found
    }
}

/// The rules in CEL that hold without an old object.
fn rules(definition: &Definition, node: &Node, found: &mut Vec<Broken>) {
    let Err(errors) = Validator::new().validate(&definition.json, &without_status(node), None) else { return };
    let sound = found.is_empty();
    for error in errors {
        // A rule cannot be evaluated on an object of another shape; the schema has said so already.
        if sound || error.kind == kube_cel::ErrorKind::ValidationFailure {
            found.push((error.field_path.trim_start_matches('.').to_owned(), error.message));
        }
    }
}

fn without_status(node: &Node) -> serde_json::Value {
    let mut object = node.to_json();
    if let Some(fields) = object.as_object_mut() {
        fields.remove("status");
    }
    object
}

fn is_below(parent: &str, field: &str) -> bool {
    field.strip_prefix(parent).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
}

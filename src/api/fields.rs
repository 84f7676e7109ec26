//! The fields of a user's spec and what each needs: the one table that the tests of refusals are made from, so that neither
//! a new field nor a new cloud is forgotten.

use std::collections::BTreeSet;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{CustomResourceDefinition, JSONSchemaProps};
use kube::CustomResourceExt;
use serde_json::{Value, json};

use super::{ClickHouseInstance, ClickHouseUser};
use crate::provider::contract::{Capabilities, ProviderKind};

/// Fields that mean the same on every cloud: the operator alone acts on them.
const COMMON: &[&str] = &[
    "instanceRef.kind",
    "instanceRef.name",
    "username",
    "passwordSecretRef.name",
    "passwordSecretRef.key",
    "passwordSecretRef.revision",
    "updatePolicy",
    "adoptionPolicy",
    "deletionPolicy",
    "suspend",
    "expiresAt",
];

/// Fields that hang on how the operator was started, not on the cloud.
const OF_A_FLAG: &[&str] = &["connectionSecret.name", "connectionSecret.labels", "connectionSecret.annotations"];

/// A field that some clouds have and others lack.
pub struct CloudField {
    /// Its name below `spec`.
    pub name: &'static str,
    /// A value that is legal where the cloud has the field.
    pub value: Value,
    /// The clouds' own word on it.
    pub held: fn(Capabilities) -> bool,
}

/// Every field of which clouds differ.
pub fn of_clouds() -> Vec<CloudField> {
    vec![
        CloudField { name: "allowedHosts", value: json!(["192.168.0.0/16"]), held: |can| can.allowed_hosts },
        CloudField { name: "databases", value: json!(["sales"]), held: |can| can.databases },
        CloudField { name: "permission", value: json!("ReadAndConfigure"), held: |can| can.permission },
    ]
}

/// Every field on every cloud.
pub fn on_each_cloud() -> impl Iterator<Item = (ProviderKind, CloudField, bool)> {
    ProviderKind::ALL.into_iter().flat_map(|cloud| {
        of_clouds().into_iter().map(move |field| {
            let held = (field.held)(cloud.rules().capabilities());
            (cloud, field, held)
        })
    })
}

fn spec_of(definition: CustomResourceDefinition) -> JSONSchemaProps {
    let [version] = <[_; 1]>::try_from(definition.spec.versions).expect("one version");
    let root = version.schema.and_then(|schema| schema.open_api_v3_schema).expect("a schema");
    root.properties.and_then(|mut fields| fields.remove("spec")).expect("a spec")
}

/// The paths of all fields below this one that are no objects of named fields themselves.
fn leaves(path: &str, schema: &JSONSchemaProps) -> Vec<String> {
    let below = |name: &String| if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
    match &schema.properties {
        Some(fields) => fields.iter().flat_map(|(name, field)| leaves(&below(name), field)).collect(),
        None => vec![path.to_owned()],
    }
}

#[test]
fn every_field_of_a_user_is_common_or_classed_by_what_clouds_can_do() {
    let of_clouds = of_clouds();
    let names = of_clouds.iter().map(|field| field.name);
    let classed: Vec<_> = COMMON.iter().chain(OF_A_FLAG).copied().chain(names).collect();
    let distinct: BTreeSet<_> = classed.iter().copied().map(str::to_owned).collect();
    assert_eq!(distinct.len(), classed.len(), "a field is classed twice");
    let schema: BTreeSet<_> = leaves("", &spec_of(ClickHouseUser::crd())).into_iter().collect();
    assert_eq!(distinct, schema, "class each field of the schema in this file");
}

#[test]
fn every_word_of_a_cloud_on_fields_has_its_field() {
    for cloud in ProviderKind::ALL {
        // All are named here: a new one has to be put on one of the two sides.
        let Capabilities { jobs: _, list: _, set_password: _, set_access: _, allowed_hosts, databases, permission } =
            cloud.rules().capabilities();
        let said: Vec<_> = of_clouds().iter().map(|field| (field.held)(cloud.rules().capabilities())).collect();
        assert_eq!(said, [allowed_hosts, databases, permission], "{cloud}");
    }
}

#[test]
fn every_cloud_that_an_instance_can_be_on_is_among_those_that_tests_go_through() {
    let fields = spec_of(ClickHouseInstance::crd()).properties.expect("fields");
    let blocks = fields.into_keys().filter(|field| !["connection", "loginCheck"].contains(&field.as_str()));
    let known: BTreeSet<_> = ProviderKind::ALL.into_iter().map(|cloud| cloud.as_str().to_lowercase()).collect();
    assert_eq!(blocks.collect::<BTreeSet<_>>(), known);
}

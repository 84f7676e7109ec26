//! Generates the CustomResourceDefinitions in `crds/` from the types.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSON, JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
};
use kube::CustomResourceExt;
use serde_json::json;

use super::{ClickHouseInstance, ClickHouseUser, ClusterClickHouseInstance, NEVER_OBSERVED};

/// The three definitions.
pub fn all() -> Vec<CustomResourceDefinition> {
    [ClickHouseUser::crd(), ClickHouseInstance::crd(), ClusterClickHouseInstance::crd()].map(finish).into()
}

/// A definition as YAML, the way it is kept in `crds/`.
///
/// # Panics
///
/// Never: a definition is made of maps with text keys, lists and scalars, all of which YAML can say.
pub fn to_yaml(crd: &CustomResourceDefinition) -> String {
    serde_saphyr::to_string(crd).expect("YAML can say it")
}

/// Adds what attributes cannot say.
fn finish(mut crd: CustomResourceDefinition) -> CustomResourceDefinition {
    for version in &mut crd.spec.versions {
        let Some(root) = version.schema.as_mut().and_then(|schema| schema.open_api_v3_schema.as_mut()) else {
            continue;
        };
        tidy(root);
        if let Some(status) = root.properties.as_mut().and_then(|properties| properties.get_mut("status")) {
            // A new object must not look settled before the operator has seen it: kstatus compares this number with the
            // generation.
            status.default = Some(JSON(json!({ "observedGeneration": NEVER_OBSERVED })));
        }
    }
    crd
}

/// Joins the wrapped lines of doc comments. Takes null out: the API server then removes a null that a manifest writes,
/// where with `nullable` it would keep it, and refuse it for an enum. Removes the formats of Rust's unsigned integers,
/// about which the API server would warn whoever applies the definition; their ranges are in the schema.
fn tidy(schema: &mut JSONSchemaProps) {
    schema.description = schema.description.take().map(|text| text.replace('\n', " "));
    schema.nullable = None;
    if let Some(values) = &mut schema.enum_ {
        values.retain(|JSON(value)| !value.is_null());
    }
    schema.format.take_if(|format| format.starts_with("uint"));
    schema.properties.iter_mut().flat_map(|properties| properties.values_mut()).for_each(tidy);
    if let Some(JSONSchemaPropsOrArray::Schema(items)) = &mut schema.items {
        tidy(items);
    }
    if let Some(JSONSchemaPropsOrBool::Schema(values)) = &mut schema.additional_properties {
        tidy(values);
    }
}

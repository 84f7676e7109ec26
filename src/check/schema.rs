//! What the schema of a definition says of a manifest: the part of the API server's validation that needs no cluster.

use jiff::Timestamp;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    JSON, JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
};
use regex::Regex;
use serde_json::Number;

use super::manifest::{Node, Value};

/// A broken rule: the field, and what is wrong with it.
pub type Broken = (String, String);

/// Every rule of `schema` that the value of `field` breaks. No message repeats a value: it may be a secret that stands
/// in the wrong place.
pub fn broken(schema: &JSONSchemaProps, field: &str, node: &Node, found: &mut Vec<Broken>) {
    let before = found.len();
    let mut broken_by = |message: String| found.push((field.to_owned(), message));
    let kind = schema.type_.as_deref().unwrap_or_default();
    match (&node.value, kind) {
        (Value::Map(_), "object") | (Value::Bool(_), "boolean") => {}
        (Value::Text(text), "string") => text_rules(schema, text).into_iter().for_each(&mut broken_by),
        (Value::Number(number), "integer") if is_whole(number) => {
            number_rules(schema, number).into_iter().for_each(&mut broken_by);
        }
        (Value::List(items), "array") => list_rules(schema, items).into_iter().for_each(&mut broken_by),
        (value, _) => return broken_by(format!("must be {}, not {}", with_article(kind), name_of(value))),
    }
    if let Some(values) = &schema.enum_
        && before == found.len()
        && !values.iter().any(|JSON(value)| *value == node.to_json())
    {
        let values: Vec<_> = values.iter().map(|JSON(value)| value.as_str().unwrap_or_default()).collect();
        found.push((field.to_owned(), format!("must be one of {}", values.join(", "))));
    }
    match &node.value {
        Value::Map(_) => map_rules(schema, field, node, found),
        Value::List(items) => {
            for (index, item) in items.iter().enumerate() {
                let path = format!("{field}[{index}]");
                if let Some(JSONSchemaPropsOrArray::Schema(schema)) = &schema.items {
                    broken(schema, &path, item, found);
                }
                if schema.x_kubernetes_list_type.as_deref() == Some("set")
                    && items[..index].iter().any(|earlier| earlier.to_json() == item.to_json())
                {
                    found.push((path, "is there twice; remove one".to_owned()));
                }
            }
        }
        _ => {}
    }
}

fn map_rules(schema: &JSONSchemaProps, field: &str, node: &Node, found: &mut Vec<Broken>) {
    let Value::Map(fields) = &node.value else { return };
    let path = |name: &str| if field.is_empty() { name.to_owned() } else { format!("{field}.{name}") };
    for name in schema.required.iter().flatten() {
        if node.get(name).is_none() {
            found.push((path(name), "is required".to_owned()));
        }
    }
    if let Some(most) = schema.max_properties
        && i64::try_from(fields.len()).is_ok_and(|count| count > most)
    {
        found.push((field.to_owned(), format!("must have at most {most} entries")));
    }
    for (name, child) in fields {
        let known = schema.properties.as_ref().and_then(|properties| properties.get(name));
        let schema = match (known, &schema.additional_properties) {
            (Some(schema), _) => schema,
            (None, Some(JSONSchemaPropsOrBool::Schema(schema))) => schema,
            _ => {
                found.push((path(name), "unknown field; remove it, or correct its name".to_owned()));
                continue;
            }
        };
        // The API server takes a null away, as if the field were left out.
        if !matches!(child.value, Value::Null) {
            broken(schema, &path(name), child, found);
        }
    }
}

fn text_rules(schema: &JSONSchemaProps, text: &str) -> Vec<String> {
    let length = i64::try_from(text.chars().count()).unwrap_or(i64::MAX);
    let pattern = schema.pattern.as_deref();
    let matches = |pattern: &str| Regex::new(pattern).is_ok_and(|pattern| pattern.is_match(text));
    [
        schema.min_length.filter(|least| length < *least).map(|least| {
            if least == 1 { "must not be empty".to_owned() } else { format!("must have at least {least} characters") }
        }),
        schema.max_length.filter(|most| length > *most).map(|most| format!("must have at most {most} characters")),
        pattern.filter(|pattern| !matches(pattern)).map(|pattern| format!("must match {pattern}")),
        (schema.format.as_deref() == Some("date-time") && text.parse::<Timestamp>().is_err())
            .then(|| "must be a time such as 2027-01-01T00:00:00Z".to_owned()),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn number_rules(schema: &JSONSchemaProps, number: &Number) -> Vec<String> {
    let value = number.as_f64().unwrap_or(f64::NAN);
    [
        schema.minimum.filter(|least| value < *least).map(|least| format!("must be at least {least}")),
        schema.maximum.filter(|most| value > *most).map(|most| format!("must be at most {most}")),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn list_rules(schema: &JSONSchemaProps, items: &[Node]) -> Option<String> {
    let most = schema.max_items?;
    i64::try_from(items.len()).is_ok_and(|count| count > most).then(|| format!("must have at most {most} items"))
}

/// The API server takes `1.0` for a whole number.
fn is_whole(number: &Number) -> bool {
    number.is_i64() || number.is_u64() || number.as_f64().is_some_and(|value| value.fract() == 0.0)
}

fn name_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean (quote it where the word is meant)",
        Value::Number(_) => "a number (quote it where the digits are meant)",
        Value::Text(_) => "a string",
        Value::List(_) => "a list",
        Value::Map(_) => "a map",
    }
}

fn with_article(kind: &str) -> &str {
    match kind {
        "string" => "a string",
        "integer" => "a whole number",
        "boolean" => "true or false",
        "array" => "a list",
        _ => "a map",
    }
}

//! Manifests with the line of every field. YAML, and JSON as the part of YAML that it is.

use std::{collections::BTreeMap, fmt, io::Cursor};

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, SeqAccess, Visitor},
};
use serde_json::Number;
use serde_saphyr::{Error, Spanned};

/// A value of a manifest. Without `Debug` on purpose: it may be a Secret.
pub struct Node {
    /// Where it stands: for a field, the line of its name. Counted from 1.
    pub line: u64,
    /// What stands there.
    pub value: Value,
}

/// What YAML can say, as kubectl turns it into JSON.
pub enum Value {
    /// `null`, `~` or nothing.
    Null,
    /// `true`, `false`, and the words of YAML 1.1 for them.
    Bool(bool),
    /// A number.
    Number(Number),
    /// Text.
    Text(String),
    /// A list.
    List(Vec<Node>),
    /// A map.
    Map(BTreeMap<String, Node>),
}

/// Why a file is no manifest.
#[derive(Debug, PartialEq, Eq)]
pub struct Malformed {
    /// Where, as far as it is known. Counted from 1.
    pub line: Option<u64>,
    /// What is wrong. Does not repeat the text, which may hold a password.
    pub message: String,
}

/// The documents of a file, those that say nothing left out.
pub fn documents(text: &str) -> Result<Vec<Node>, Malformed> {
    let options = serde_saphyr::options! { with_snippet: false };
    let mut reader = Cursor::new(text.as_bytes());
    serde_saphyr::read_with_options::<_, Spanned<Value>>(&mut reader, options)
        .map(|document| document.map(node).map_err(|error| malformed(&error)))
        .collect()
}

fn malformed(error: &Error) -> Malformed {
    // The parser's own words may quote the text.
    let message = match error {
        Error::DuplicateMappingKey { key: Some(key), .. } => format!("the field {key} stands there twice"),
        Error::AliasReplayLimitExceeded { .. } | Error::AliasExpansionLimitExceeded { .. } => {
            "its aliases stand for too much".to_owned()
        }
        _ => "this is no YAML; correct it, or render it first where it is a template".to_owned(),
    };
    Malformed { line: error.location().map(|location| location.line()), message }
}

fn node(spanned: Spanned<Value>) -> Node {
    Node { line: spanned.referenced.line(), value: spanned.value }
}

impl Node {
    /// The value under a key of a map. A null counts as left out, as the API server has it.
    pub fn get(&self, key: &str) -> Option<&Node> {
        match &self.value {
            Value::Map(fields) => fields.get(key).filter(|node| !matches!(node.value, Value::Null)),
            _ => None,
        }
    }

    /// The value under one key after the other.
    pub fn at(&self, keys: &[&str]) -> Option<&Node> {
        keys.iter().try_fold(self, |node, key| node.get(key))
    }

    /// The text, where it is one.
    pub fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The line of a field such as `spec.databases[1]`; where it is left out, of the nearest field around it.
    pub fn line_of(&self, field: &str) -> u64 {
        let mut node = self;
        for step in field.split(['.', '[', ']']).filter(|step| !step.is_empty()) {
            let next = match &node.value {
                Value::Map(fields) => fields.get(step),
                Value::List(items) => step.parse::<usize>().ok().and_then(|index| items.get(index)),
                _ => None,
            };
            match next {
                Some(next) => node = next,
                None => break,
            }
        }
        node.line
    }

    /// The same as JSON, fields that are null left out.
    pub fn to_json(&self) -> serde_json::Value {
        match &self.value {
            Value::Null => serde_json::Value::Null,
            Value::Bool(value) => (*value).into(),
            Value::Number(value) => value.clone().into(),
            Value::Text(value) => value.as_str().into(),
            Value::List(items) => items.iter().map(Self::to_json).collect(),
            Value::Map(fields) => fields
                .iter()
                .filter(|(_, node)| !matches!(node.value, Value::Null))
                .map(|(key, node)| (key.clone(), node.to_json()))
                .collect(),
        }
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnyValue)
    }
}

struct AnyValue;

impl<'de> Visitor<'de> for AnyValue {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        Value::deserialize(deserializer)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_i128<E: serde::de::Error>(self, value: i128) -> Result<Value, E> {
        number(Number::from_i128(value))
    }

    fn visit_u128<E: serde::de::Error>(self, value: u128) -> Result<Value, E> {
        number(Number::from_u128(value))
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Value, E> {
        number(Number::from_f64(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::Text(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::Text(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element::<Spanned<Value>>()? {
            list.push(node(item));
        }
        Ok(Value::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut map = BTreeMap::new();
        while let Some(key) = entries.next_key::<Spanned<String>>()? {
            map.insert(key.value, Node { line: key.referenced.line(), value: entries.next_value()? });
        }
        Ok(Value::Map(map))
    }
}

/// JSON has no number that is not finite and none beyond 64 bits but as a float.
fn number<E: serde::de::Error>(number: Option<Number>) -> Result<Value, E> {
    number.map(Value::Number).ok_or_else(|| E::custom("a number that JSON cannot say"))
}

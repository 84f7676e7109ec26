//! The parameters of a call, decoded once.

use std::collections::BTreeMap;

use axum::http::Method;
use serde_json::{Map, Value};
use url::form_urlencoded;

use super::Refusal;
use crate::message::{RawRequest, encode};

/// A call: verb, path as written, and decoded parameters.
pub(super) struct Call {
    pub(super) verb: String,
    pub(super) path: String,
    /// Without `signature`; sorted by name, bytewise, as the signature wants them.
    pub(super) parameters: BTreeMap<String, String>,
    pub(super) signature: Option<String>,
    /// The name of a parameter that came twice.
    pub(super) repeated: Option<String>,
}

impl Call {
    /// Reads the query of a GET or the form of a POST, whose query is ignored.
    pub(super) fn read(raw: &RawRequest) -> Self {
        let form = raw.header("content-type").is_some_and(|it| it.starts_with("application/x-www-form-urlencoded"));
        let text = match raw.method {
            Method::GET => raw.query.as_bytes(),
            Method::POST if form => &raw.body[..],
            _ => &[],
        };
        let mut call = Self {
            verb: raw.method.to_string(),
            path: raw.path.clone(),
            parameters: BTreeMap::new(),
            signature: None,
            repeated: None,
        };
        for (name, value) in form_urlencoded::parse(text) {
            if name == "signature" {
                call.signature = Some(value.into_owned());
            } else if call.parameters.insert(name.clone().into_owned(), value.into_owned()).is_some() {
                call.repeated = Some(name.into_owned());
            }
        }
        call
    }

    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.parameters.get(name).map(String::as_str)
    }

    pub(super) fn required(&self, name: &str) -> Result<&str, Refusal> {
        self.get(name).filter(|value| !value.is_empty()).ok_or_else(|| Refusal::missing(name))
    }

    /// The values of `name.1`, `name.2`, …
    pub(super) fn list(&self, name: &str) -> Vec<&str> {
        (1..).map_while(|number| self.get(&format!("{name}.{number}"))).collect()
    }

    /// A parameter that is a whole number.
    pub(super) fn number(&self, name: &str, default: usize) -> Result<usize, Refusal> {
        self.get(name).map_or(Ok(default), |text| {
            text.parse().map_err(|_| Refusal::malformed(format!("illegal value of parameter [{name}]")))
        })
    }

    /// `service_params` as an object.
    pub(super) fn service_params(&self) -> Option<Map<String, Value>> {
        match serde_json::from_str(self.get("service_params")?) {
            Ok(Value::Object(object)) => Some(object),
            _ => None,
        }
    }

    /// What the signature covers: verb, path and sorted parameters.
    pub(super) fn string_to_sign(&self) -> String {
        let pairs: Vec<_> =
            self.parameters.iter().map(|(name, value)| format!("{}={}", encode(name), encode(value))).collect();
        format!("{}\n{}\n{}", self.verb, self.path, pairs.join("&"))
    }
}

//! A request as named parts, so that two can be compared whatever their order, blanks and encoding.

use std::collections::BTreeMap;

use jiff::{Timestamp, civil::DateTime, tz::TimeZone};
use serde_json::Value;
use url::form_urlencoded;

use crate::tap::Exchange;

/// Parts by name: `verb`, `path`, `query NAME`, `form NAME`, `body PATH`, `header NAME`, `authorization NAME`.
pub type Shape = BTreeMap<String, String>;

/// Takes a request apart.
pub fn shape(exchange: &Exchange) -> Shape {
    let mut shape = Shape::new();
    shape.insert("verb".into(), exchange.method.to_string());
    shape.insert("path".into(), exchange.target.path().to_owned());
    parameters("query", exchange.target.query().unwrap_or_default().as_bytes(), &mut shape);
    let mut content_type = "";
    for (name, value) in &exchange.headers {
        let value = value.to_str().unwrap();
        match name.as_str() {
            "authorization" => authorization(value, &mut shape),
            name => {
                let twice = shape.insert(format!("header {name}"), value.to_owned());
                assert_eq!(twice, None, "{name} is sent once");
            }
        }
        if name == "content-type" {
            content_type = value;
        }
    }
    if content_type.starts_with("application/x-www-form-urlencoded") {
        parameters("form", &exchange.body, &mut shape);
    } else if !exchange.body.is_empty() {
        json("body", &serde_json::from_slice(&exchange.body).unwrap(), &mut shape);
    }
    settle(&mut shape);
    shape
}

/// Takes out what differs between two runs of one client: port and time.
fn settle(shape: &mut Shape) {
    let host = shape.get_mut("header host").unwrap();
    assert!(host.starts_with("127.0.0.1:"), "the port belongs to the name: {host}");
    *host = "127.0.0.1".into();
    let times = [
        ("header x-sdk-date", "%Y%m%dT%H%M%SZ"),
        ("query time_stamp", "%Y-%m-%dT%H:%M:%SZ"),
        ("form time_stamp", "%Y-%m-%dT%H:%M:%SZ"),
    ];
    for (part, form) in times {
        let Some(text) = shape.get_mut(part) else { continue };
        let time = DateTime::strptime(form, &*text).unwrap().to_zoned(TimeZone::UTC).unwrap().timestamp();
        assert!(Timestamp::now().duration_since(time).abs().as_secs() < 60, "{part}: {text}");
        *text = "now".into();
    }
}

fn parameters(place: &str, text: &[u8], shape: &mut Shape) {
    for (name, value) in form_urlencoded::parse(text) {
        let part = format!("{place} {name}");
        if name == "service_params" {
            json(&part, &serde_json::from_str(&value).unwrap(), shape);
        } else {
            assert_eq!(shape.insert(part, value.into_owned()), None, "{name} is sent once");
        }
    }
}

/// Objects are taken apart; what is in them is compared as it is.
fn json(part: &str, value: &Value, shape: &mut Shape) {
    match value {
        Value::Object(fields) => fields.iter().for_each(|(name, value)| json(&format!("{part}/{name}"), value, shape)),
        value => assert_eq!(shape.insert(part.to_owned(), value.to_string()), None, "{part}"),
    }
}

/// `ALGORITHM Access=…, SignedHeaders=…, Signature=…`
fn authorization(value: &str, shape: &mut Shape) {
    let (algorithm, parts) = value.split_once(' ').unwrap();
    shape.insert("authorization algorithm".into(), algorithm.to_owned());
    for part in parts.split(", ") {
        let (name, value) = part.split_once('=').unwrap();
        shape.insert(format!("authorization {name}"), value.to_owned());
    }
}

//! The signature: base64 of an HMAC over verb, path and parameters (vendor's page on signatures).

use base64::{Engine, prelude::BASE64_STANDARD};
use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;
use sha2::Sha256;

/// Whether the signature is right, compared in constant time; none for an unknown method.
pub(super) fn verify(method: &str, secret: &str, string_to_sign: &str, signature: &str) -> Option<bool> {
    let signature = BASE64_STANDARD.decode(signature).unwrap_or_default();
    match method {
        "HmacSHA256" => {
            let mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("HMAC takes keys of any length");
            Some(mac.chain_update(string_to_sign).verify_slice(&signature).is_ok())
        }
        "HmacSHA1" => {
            let mac = Hmac::<Sha1>::new_from_slice(secret.as_bytes()).expect("HMAC takes keys of any length");
            Some(mac.chain_update(string_to_sign).verify_slice(&signature).is_ok())
        }
        _ => None,
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "in tests a panic is the report")]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::{message::RawRequest, qingcloud::call::Call};

    const VECTORS: &str = include_str!("../../../vectors/qingcloud-vectors.json");

    fn text<'a>(value: &'a Value, field: &str) -> &'a str {
        value[field].as_str().unwrap_or_else(|| panic!("{field} is a text"))
    }

    /// The requests of a vector as they go over the wire: one for GET, the SDK's and the equal one for POST.
    fn wire_forms(vector: &Value) -> Vec<RawRequest> {
        let raw = |method: &str, target: &str, body: &str| {
            let (path, query) = target.split_once('?').unwrap_or((target, ""));
            let headers = [("content-type", "application/x-www-form-urlencoded")];
            RawRequest {
                method: method.parse().unwrap(),
                path: path.to_owned(),
                query: query.to_owned(),
                headers: headers.into_iter().map(|(n, v)| (n.parse().unwrap(), v.parse().unwrap())).collect(),
                body: body.to_owned().into(),
            }
        };
        match text(vector, "method") {
            "GET" => vec![raw("GET", text(vector, "request_target"), "")],
            _ => ["sdk_form_body", "percent20_form_body"]
                .map(|form| raw("POST", text(vector, "path"), text(vector, form)))
                .into(),
        }
    }

    #[test]
    fn every_golden_vector_is_accepted_from_its_wire_form() {
        let vectors: Value = serde_json::from_str(VECTORS).unwrap();
        let vectors = vectors["vectors"].as_array().unwrap();
        assert!(vectors.len() >= 17);
        for vector in vectors {
            for raw in wire_forms(vector) {
                let call = Call::read(&raw);
                let string_to_sign = call.string_to_sign();
                assert_eq!(string_to_sign, text(vector, "string_to_sign"), "{}", vector["name"]);
                let signature = call.signature.as_deref().unwrap();
                let right = verify(
                    call.get("signature_method").unwrap(),
                    text(vector, "secret_access_key"),
                    &string_to_sign,
                    signature,
                );
                assert_eq!(right, Some(true), "{}", vector["name"]);
            }
        }
    }

    #[test]
    fn a_tampered_signature_parameter_or_secret_is_refused() {
        let vectors: Value = serde_json::from_str(VECTORS).unwrap();
        for vector in vectors["vectors"].as_array().unwrap() {
            for raw in wire_forms(vector) {
                let mut call = Call::read(&raw);
                let method = call.get("signature_method").unwrap().to_owned();
                let secret = text(vector, "secret_access_key");
                let signature = call.signature.clone().unwrap();
                assert_eq!(verify(&method, "another", &call.string_to_sign(), &signature), Some(false));
                let flipped = if signature.starts_with('A') { "B" } else { "A" };
                let flipped = format!("{flipped}{}", &signature[1..]);
                assert_eq!(verify(&method, secret, &call.string_to_sign(), &flipped), Some(false));
                call.parameters.insert("zone".to_owned(), "elsewhere".to_owned());
                assert_eq!(verify(&method, secret, &call.string_to_sign(), &signature), Some(false));
            }
        }
    }

    #[test]
    fn the_published_mistakes_are_refused() {
        let all: Value = serde_json::from_str(VECTORS).unwrap();
        let vectors = all["vectors"].as_array().unwrap();
        let mut tried = 0;
        for negative in all["negative"].as_array().unwrap() {
            let Some(vector) = vectors.iter().find(|vector| vector["name"] == negative["of"]) else { continue };
            let wrong = negative["wrong_signature_base64"].as_str().or(negative["wrong_signature_parameter"].as_str());
            let method = text(vector, "signature_method");
            let secret = text(vector, "secret_access_key");
            let right = verify(method, secret, text(vector, "string_to_sign"), wrong.unwrap());
            assert_eq!(right, Some(false), "{}", negative["name"]);
            tried += 1;
        }
        assert!(tried >= 5, "the file holds the vectors that its mistakes are of");
    }
}

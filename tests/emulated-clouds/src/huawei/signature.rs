//! Verification of `SDK-HMAC-SHA256`, from the request as it came (vendor's signing guide and SDKs).

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};

use crate::message::{RawRequest, decode, encode};

const ALGORITHM: &str = "SDK-HMAC-SHA256";

/// The parts of an `Authorization` header.
pub(super) struct Authorization<'a> {
    pub(super) access_key: &'a str,
    pub(super) signed_headers: Vec<&'a str>,
    signature: &'a str,
}

impl<'a> Authorization<'a> {
    /// Reads the header's one legal form.
    pub(super) fn read(header: &'a str) -> Option<Self> {
        let mut parts = header.strip_prefix(ALGORITHM)?.strip_prefix(' ')?.split(", ");
        let access_key = parts.next()?.strip_prefix("Access=")?;
        let signed_headers = parts.next()?.strip_prefix("SignedHeaders=")?.split(';').collect();
        let signature = parts.next()?.strip_prefix("Signature=")?;
        parts.next().is_none().then_some(Self { access_key, signed_headers, signature })
    }

    /// Whether this header's value is covered.
    pub(super) fn covers(&self, header: &str) -> bool {
        self.signed_headers.contains(&header)
    }

    /// Whether the signature is right, compared in constant time.
    pub(super) fn verify(&self, request: &RawRequest, secret: &str) -> bool {
        let Some(string_to_sign) = self.string_to_sign(request) else { return false };
        let lower_case = !self.signature.bytes().any(|byte| byte.is_ascii_uppercase());
        let signature = hex::decode(self.signature).unwrap_or_default();
        let mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("HMAC takes keys of any length");
        mac.chain_update(string_to_sign).verify_slice(&signature).is_ok() && lower_case
    }

    fn string_to_sign(&self, request: &RawRequest) -> Option<String> {
        let canonical = self.canonical_request(request)?;
        let date = request.header("x-sdk-date")?;
        Some(format!("{ALGORITHM}\n{date}\n{}", hex::encode(Sha256::digest(canonical))))
    }

    /// The canonical request; none where a signed header is absent or the list of them is out of order.
    fn canonical_request(&self, request: &RawRequest) -> Option<String> {
        if !self.signed_headers.is_sorted() {
            return None;
        }
        let mut headers = String::new();
        for name in &self.signed_headers {
            headers.extend([name, ":", request.header(name)?, "\n"]);
        }
        let path: Vec<_> = decode(&request.path).split('/').map(encode).collect();
        let mut path = path.join("/");
        if !path.ends_with('/') {
            path.push('/');
        }
        let mut query = request.query_pairs();
        query.sort();
        let query: Vec<_> = query.iter().map(|(name, value)| format!("{}={}", encode(name), encode(value))).collect();
        let unsigned =
            self.covers("x-sdk-content-sha256") && request.header("x-sdk-content-sha256") == Some("UNSIGNED-PAYLOAD");
        let payload = if unsigned && !request.body.is_empty() {
            "UNSIGNED-PAYLOAD".to_owned()
        } else {
            hex::encode(Sha256::digest(&request.body))
        };
        Some(format!(
            "{}\n{path}\n{}\n{headers}\n{}\n{payload}",
            request.method,
            query.join("&"),
            self.signed_headers.join(";"),
        ))
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "in tests a panic is the report")]
mod tests {
    use axum::http::HeaderMap;
    use serde_json::Value;

    use super::*;

    type Tamper = fn(&mut RawRequest);

    const VECTORS: &str = include_str!("../../../vectors/huawei-vectors.json");

    fn vectors() -> Vec<Value> {
        let all: Value = serde_json::from_str(VECTORS).unwrap();
        all["signing_vectors"].as_array().unwrap().clone()
    }

    /// The request of a vector as it goes over the wire. Values of signed headers are those of the input.
    fn wire_form(vector: &Value) -> RawRequest {
        let input = &vector["input"];
        let target = vector["request_target_on_wire"].as_str().unwrap();
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let mut headers = HeaderMap::new();
        headers.insert("host", input["host"].as_str().unwrap().parse().unwrap());
        for (name, value) in input["headers"].as_object().unwrap() {
            headers.insert(name.parse::<axum::http::HeaderName>().unwrap(), value.as_str().unwrap().parse().unwrap());
        }
        // The SDK adds these by itself.
        for line in vector["canonical_request"].as_str().unwrap().split('\n').skip(3) {
            let Some((name, value)) = line.split_once(':') else { break };
            headers.entry(name.parse::<axum::http::HeaderName>().unwrap()).or_insert(value.parse().unwrap());
        }
        RawRequest {
            method: input["method"].as_str().unwrap().parse().unwrap(),
            path: path.to_owned(),
            query: query.to_owned(),
            headers,
            body: input["body"].as_str().unwrap_or_default().to_owned().into(),
        }
    }

    #[test]
    fn every_golden_vector_is_accepted_from_its_wire_form() {
        let vectors = vectors();
        assert!(vectors.len() >= 15);
        for vector in vectors {
            let request = wire_form(&vector);
            let authorization = Authorization::read(vector["authorization"].as_str().unwrap()).unwrap();
            let canonical = authorization.canonical_request(&request);
            assert_eq!(canonical.as_deref(), vector["canonical_request"].as_str(), "{}", vector["name"]);
            assert_eq!(authorization.string_to_sign(&request).as_deref(), vector["string_to_sign"].as_str());
            assert!(authorization.verify(&request, vector["sk"].as_str().unwrap()), "{}", vector["name"]);
        }
    }

    #[test]
    fn a_tampered_part_is_refused() {
        for vector in vectors() {
            let secret = vector["sk"].as_str().unwrap();
            let authorization = Authorization::read(vector["authorization"].as_str().unwrap()).unwrap();
            let name = &vector["name"];
            assert!(!authorization.verify(&wire_form(&vector), "another"), "{name}: secret");
            let tampers: [(&str, Tamper); 5] = [
                ("method", |request| request.method = "PATCH".parse().unwrap()),
                ("path", |request| request.path.push_str("/more")),
                ("query", |request| request.query.push_str("&more=1")),
                ("host", |request| drop(request.headers.insert("host", "elsewhere".parse().unwrap()))),
                ("date", |request| drop(request.headers.insert("x-sdk-date", "20250102T030406Z".parse().unwrap()))),
            ];
            for (part, tamper) in tampers {
                let mut request = wire_form(&vector);
                tamper(&mut request);
                assert!(!authorization.verify(&request, secret), "{name}: {part}");
            }
            if !authorization.covers("x-sdk-content-sha256") {
                let mut request = wire_form(&vector);
                request.body = [&request.body[..], b" "].concat().into();
                assert!(!authorization.verify(&request, secret), "{name}: body");
            }
        }
    }

    #[test]
    fn other_spellings_of_the_header_are_refused() {
        for header in [
            "",
            "SDK-HMAC-SHA256",
            "SDK-HMAC-SHA256 Access=a,SignedHeaders=host,Signature=00",
            "SDK-HMAC-SHA256, Access=a, SignedHeaders=host, Signature=00",
            "SDK-HMAC-SHA256 Access=a, Signature=00, SignedHeaders=host",
            "AWS4-HMAC-SHA256 Access=a, SignedHeaders=host, Signature=00",
        ] {
            assert!(Authorization::read(header).is_none(), "{header}");
        }
    }
}

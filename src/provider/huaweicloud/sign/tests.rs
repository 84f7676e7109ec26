//! The signer against the vendor's own vectors and captures, and against a second implementation.

use base64::Engine as _;
use proptest::prelude::*;
use serde_json::Value;

use super::*;

const VECTORS: &str = include_str!("../../../../tests/vectors/huawei-vectors.json");

/// The key of every capture (note of the vectors).
const CAPTURE_KEY: &str = "SKtest/Huawei+0123456789abcdefABCDEFGHIJ";

/// Vectors of input forms that only the vendor's SDK has, or of bodies that are no JSON: nothing here sends them.
const NOT_OURS: [&str; 2] = ["header-trim-and-underscore", "non-json-content-type"];

fn vectors() -> Value {
    serde_json::from_str(VECTORS).expect("the vectors are JSON")
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// The query of a vector, with lists spread out as the SDK does.
fn query(vector: &Value) -> Vec<(String, String)> {
    let plain = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let mut pairs = Vec::new();
    for pair in vector["input"]["query_params"].as_array().expect("a query") {
        let name = text(&pair[0]).to_owned();
        match pair[1].as_array() {
            Some(values) => pairs.extend(values.iter().map(|value| (name.clone(), plain(value)))),
            None => pairs.push((name, plain(&pair[1]))),
        }
    }
    pairs
}

#[test]
fn vendor_vectors_are_signed_bit_for_bit() {
    let vectors = vectors();
    let mut passed = Vec::new();
    for vector in vectors["signing_vectors"].as_array().expect("vectors") {
        let name = text(&vector["name"]);
        if NOT_OURS.contains(&name) {
            continue;
        }
        let input = &vector["input"];
        let query = query(vector);
        let query: Vec<(&str, &str)> = query.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let mut headers: Vec<(&str, &str)> = vec![("Host", text(&input["host"]))];
        headers.extend(input["headers"].as_object().expect("headers").iter().map(|(k, v)| (k.as_str(), text(v))));
        let request = Signable {
            method: text(&input["method"]),
            path: text(&input["resource_path"]),
            query: &query,
            headers: &headers,
            body: text(&input["body"]).as_bytes(),
        };
        let signed = signed_headers(&request);
        assert_eq!(*canonical_request(&request, &signed), text(&vector["canonical_request"]), "{name}");
        assert_eq!(string_to_sign(&request, &signed), text(&vector["string_to_sign"]), "{name}");
        let authorization = authorization(&request, text(&vector["ak"]), &SecretText::new(text(&vector["sk"])));
        assert_eq!(authorization, text(&vector["authorization"]), "{name}");
        let target = text(&vector["request_target_on_wire"]);
        if let Some((_, on_wire)) = target.split_once('?') {
            assert_eq!(canonical_query(&query), on_wire, "{name}");
        }
        passed.push(name);
    }
    for name in [
        "doc-vpcs-list",
        "minimal-get",
        "create-user",
        "create-user-compact-json",
        "list-users-query-sort",
        "permission",
        "post-empty-body",
        "keystone-list-projects",
    ] {
        assert!(passed.contains(&name), "{name} is missing from the vectors");
    }
}

/// A request taken apart from the raw bytes that the vendor's SDK sent.
struct Captured {
    method: String,
    path: String,
    query: Vec<(String, String)>,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

fn captured(capture: &Value) -> Captured {
    let raw = base64::engine::general_purpose::STANDARD.decode(text(&capture["raw_base64"])).expect("base64");
    let end = raw.windows(4).position(|window| window == b"\r\n\r\n").expect("an end of the headers");
    let head = std::str::from_utf8(&raw[..end]).expect("headers are text");
    let mut lines = head.split("\r\n");
    let mut line = lines.next().expect("a request line").split(' ');
    let (method, target) = (line.next().expect("a method").to_owned(), line.next().expect("a target"));
    let url = url::Url::parse("http://any.example").and_then(|base| base.join(target)).expect("a URL");
    Captured {
        method,
        path: target.split('?').next().expect("a path").to_owned(),
        query: url.query_pairs().into_owned().collect(),
        headers: lines.filter_map(|line| line.split_once(": ")).map(|(k, v)| (k.to_owned(), v.to_owned())).collect(),
        body: raw[end + 4..].to_vec(),
    }
}

#[test]
fn requests_captured_from_the_vendor_sdk_get_the_same_signature() {
    let vectors = vectors();
    let captures = vectors["captures"].as_array().expect("captures");
    assert_eq!(captures.len(), 16);
    for capture in captures {
        let request = captured(capture);
        let sent = &request.headers.iter().find(|(name, _)| name == "Authorization").expect("a signature").1;
        let (_, signed) = sent.split_once("SignedHeaders=").expect("a list of headers");
        let signed: Vec<&str> = signed.split(',').next().expect("a list").split(';').collect();
        let headers: Vec<(&str, &str)> = request
            .headers
            .iter()
            .filter(|(name, _)| signed.contains(&name.to_ascii_lowercase().as_str()))
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        let query: Vec<(&str, &str)> = request.query.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
        let signable = Signable {
            method: &request.method,
            path: &request.path,
            query: &query,
            headers: &headers,
            body: &request.body,
        };
        let access = sent.split("Access=").nth(1).and_then(|rest| rest.split(',').next()).expect("an access key");
        assert_eq!(&authorization(&signable, access, &SecretText::new(CAPTURE_KEY)), sent, "{}", capture["name"]);
    }
}

/// The same rules written a second time from the vendor's text, character by character and with HMAC spelt out.
fn second_implementation(request: &Signable<'_>, access_key_id: &str, key: &str) -> String {
    fn escape(text: &str) -> String {
        let mut escaped = String::new();
        for character in text.chars() {
            if matches!(character, 'A'..='Z' | 'a'..='z' | '0'..='9' | '-' | '_' | '.' | '~') {
                escaped.push(character);
                continue;
            }
            let mut buffer = [0; 4];
            for byte in character.encode_utf8(&mut buffer).as_bytes() {
                escaped.push('%');
                escaped += &hex::encode_upper([*byte]);
            }
        }
        escaped
    }
    fn hmac_by_hand(key: &[u8], text: &[u8]) -> Vec<u8> {
        let mut block = if key.len() > 64 { Sha256::digest(key).to_vec() } else { key.to_vec() };
        block.resize(64, 0);
        let pad = |with: u8| block.iter().map(|byte| byte ^ with).collect::<Vec<u8>>();
        let inner = Sha256::digest([pad(0x36), text.to_vec()].concat());
        Sha256::digest([pad(0x5c), inner.to_vec()].concat()).to_vec()
    }
    let mut query: Vec<_> = request.query.iter().collect();
    query.sort_by(|a, b| a.0.as_bytes().cmp(b.0.as_bytes()).then(a.1.as_bytes().cmp(b.1.as_bytes())));
    let mut query_text = String::new();
    for (name, value) in query {
        if !query_text.is_empty() {
            query_text.push('&');
        }
        query_text += &[escape(name), escape(value)].join("=");
    }
    let headers: std::collections::BTreeMap<String, &str> =
        request.headers.iter().map(|(name, value)| (name.to_lowercase(), value.trim())).collect();
    let mut canonical = format!("{}\n", request.method);
    // The paths of the test hold nothing that needs decoding.
    canonical += request.path;
    canonical += if request.path.ends_with('/') { "\n" } else { "/\n" };
    canonical += &(query_text + "\n");
    for (name, value) in &headers {
        canonical += &[name, ":", value, "\n"].concat();
    }
    let names: Vec<&str> = headers.keys().map(String::as_str).collect();
    canonical += &["", &names.join(";"), &hex::encode(Sha256::digest(request.body))].join("\n");
    let to_sign =
        format!("SDK-HMAC-SHA256\n{}\n{}", headers["x-sdk-date"], hex::encode(Sha256::digest(canonical.as_bytes())));
    let signature = hex::encode(hmac_by_hand(key.as_bytes(), to_sign.as_bytes()));
    format!("SDK-HMAC-SHA256 Access={access_key_id}, SignedHeaders={}, Signature={signature}", names.join(";"))
}

proptest! {
    #[test]
    fn second_implementation_agrees(
        method in "GET|POST|PUT|DELETE",
        path in "(/[A-Za-z0-9_.~-]{0,12}){1,6}",
        query in proptest::collection::vec((any::<String>(), any::<String>()), 0..6),
        custom in "[ -~]{0,20}",
        host in "[a-z]{1,9}(:[0-9]{2,5})?",
        body in proptest::collection::vec(any::<u8>(), 0..200),
        key in "[ -~]{1,100}",
    ) {
        let query: Vec<(&str, &str)> = query.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let headers = [("Host", host.as_str()), ("X-Custom", &custom), ("X-Sdk-Date", "20250102T030405Z")];
        let request = Signable { method: &method, path: &path, query: &query, headers: &headers, body: &body };
        let ours = authorization(&request, "AK", &SecretText::new(key.clone()));
        prop_assert_eq!(ours, second_implementation(&request, "AK", &key));
    }

    #[test]
    fn what_is_signed_on_the_wire_decodes_to_what_was_asked_for(
        query in proptest::collection::vec((any::<String>(), any::<String>()), 0..6),
    ) {
        let mut pairs: Vec<(&str, &str)> = query.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let url = url::Url::parse(&format!("http://any.example/?{}", canonical_query(&pairs))).expect("a URL");
        pairs.sort_unstable();
        let decoded: Vec<(String, String)> = url.query_pairs().into_owned().collect();
        let decoded: Vec<(&str, &str)> = decoded.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
        prop_assert_eq!(decoded, pairs);
    }

    #[test]
    fn any_path_can_be_signed(path in any::<String>()) {
        prop_assert!(canonical_path(&path).ends_with('/'));
    }
}

//! The request signature (vendor page "signature"), a pure function of verb, path, parameters and secret.
//!
//! The same text serves both ways of sending: it is the query of a GET and the form body of a POST, a blank written
//! `%20` in both, so what is signed is what is sent.

use std::{borrow::Cow, collections::BTreeMap};

use base64::{Engine, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::domain::secret::SecretText;

/// The value of `signature_method` that [`signature`] fulfils.
pub const METHOD: &str = "HmacSHA256";

/// Request parameters, decoded, in the order that is signed: by name, as byte strings (`jobs.1`, `jobs.10`, `jobs.2`).
///
/// Values are wiped when dropped, because `service_params` holds the password.
#[derive(Clone, Default)]
pub struct Parameters(BTreeMap<Cow<'static, str>, Zeroizing<String>>);

impl Parameters {
    /// Sets one parameter; a later value of the same name replaces the former.
    #[must_use]
    pub fn with(mut self, name: impl Into<Cow<'static, str>>, value: impl Into<String>) -> Self {
        self.0.insert(name.into(), Zeroizing::new(value.into()));
        self
    }

    /// Sets `name.1`, `name.2`, … as the vendor writes lists.
    #[must_use]
    pub fn with_list<'a>(self, name: &str, values: impl IntoIterator<Item = &'a str>) -> Self {
        let numbered = values.into_iter().zip(1..);
        numbered.fold(self, |parameters, (value, number)| parameters.with(format!("{name}.{number}"), value))
    }

    /// `name=value` joined with `&`, percent-encoded, in the order that is signed.
    fn canonical(&self) -> Zeroizing<String> {
        // Large enough that the text is never moved, which would leave an unwiped copy behind.
        let longest = self.0.iter().map(|(name, value)| 3 * (name.len() + value.len()) + 2).sum();
        let mut text = Zeroizing::new(String::with_capacity(longest));
        for (name, value) in &self.0 {
            if !text.is_empty() {
                text.push('&');
            }
            percent_encode(name, &mut text);
            text.push('=');
            percent_encode(value, &mut text);
        }
        text
    }
}

/// Query of a GET or form body of a POST: the parameters in canonical order, then their signature.
///
/// `path` is the path that is requested, byte for byte: `/iaas` and `/iaas/` have different signatures.
pub fn signed(verb: &str, path: &str, parameters: &Parameters, secret: &SecretText) -> Zeroizing<String> {
    let canonical = parameters.canonical();
    let signature = signature(&string_to_sign(verb, path, &canonical), secret);
    // Base64 has at most 88 characters here, tripled by encoding at worst.
    let mut text = Zeroizing::new(String::with_capacity(canonical.len() + 300));
    text.push_str(&canonical);
    text.push_str("&signature=");
    percent_encode(&signature, &mut text);
    text
}

/// Verb, path and parameters on three lines, without a line break at the end. Host and headers are not signed.
fn string_to_sign(verb: &str, path: &str, canonical: &str) -> Zeroizing<String> {
    Zeroizing::new([verb, path, canonical].join("\n"))
}

/// HMAC-SHA256 in base64 with padding.
fn signature(text: &str, secret: &SecretText) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.expose().as_bytes()).expect("HMAC takes a key of any length");
    mac.update(text.as_bytes());
    STANDARD.encode(mac.finalize().into_bytes())
}

/// Appends `text` with every byte escaped, upper-case hex, but the unreserved ones of RFC 3986.
fn percent_encode(text: &str, into: &mut String) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            into.push(char::from(byte));
        } else {
            into.push('%');
            into.push(char::from(HEX[usize::from(byte >> 4)]));
            into.push(char::from(HEX[usize::from(byte & 15)]));
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde::Deserialize;
    use sha2::Digest;

    use super::*;

    #[derive(Deserialize)]
    struct File {
        vectors: Vec<Vector>,
        negative: Vec<Negative>,
    }

    #[derive(Deserialize)]
    struct Vector {
        name: String,
        method: String,
        path: String,
        params: BTreeMap<String, String>,
        secret_access_key: String,
        canonical_query: String,
        string_to_sign: String,
        signature_method: String,
        signature_base64: String,
        signature_urlencoded: String,
        request_target: Option<String>,
        percent20_form_body: Option<String>,
    }

    #[derive(Deserialize)]
    struct Negative {
        name: String,
        of: String,
        wrong_string_to_sign: Option<String>,
        wrong_signature_base64: Option<String>,
        wrong_signature_parameter: Option<String>,
    }

    fn parameters<'a>(pairs: impl IntoIterator<Item = (&'a String, &'a String)>) -> Parameters {
        let pairs = pairs.into_iter();
        pairs.fold(Parameters::default(), |parameters, (name, value)| parameters.with(name.clone(), value.clone()))
    }

    fn vectors() -> File {
        serde_json::from_str(include_str!("../../../tests/vectors/qingcloud-vectors.json")).expect("the vectors parse")
    }

    impl Vector {
        fn parameters(&self) -> Parameters {
            parameters(&self.params)
        }

        fn secret(&self) -> SecretText {
            SecretText::new(&self.secret_access_key)
        }
    }

    #[test]
    fn golden_vectors_are_met_byte_for_byte() {
        let file = vectors();
        assert_eq!(file.vectors.len(), 17);
        for vector in &file.vectors {
            let name = &vector.name;
            let canonical = vector.parameters().canonical();
            assert_eq!(*canonical, vector.canonical_query, "{name}");
            let text = string_to_sign(&vector.method, &vector.path, &canonical);
            assert_eq!(*text, vector.string_to_sign, "{name}");
            if vector.signature_method != METHOD {
                // The operator never signs with HmacSHA1: of that vector only what is signed is of interest.
                assert_eq!(name, "hmac_sha1_get");
                continue;
            }
            assert_eq!(signature(&text, &vector.secret()), vector.signature_base64, "{name}");
            let sent = signed(&vector.method, &vector.path, &vector.parameters(), &vector.secret());
            assert!(sent.ends_with(&format!("&signature={}", vector.signature_urlencoded)), "{name}");
            match (&vector.request_target, &vector.percent20_form_body) {
                (Some(target), None) => assert_eq!(format!("{}?{}", vector.path, *sent), *target, "{name}"),
                (None, Some(body)) => assert_eq!(*sent, *body, "{name}"),
                _ => panic!("{name} is neither a GET nor a POST"),
            }
        }
    }

    #[test]
    fn known_mistakes_are_not_made() {
        let file = vectors();
        assert_eq!(file.negative.len(), 7);
        for wrong in &file.negative {
            let name = &wrong.name;
            let (Some(text), Some(mistaken)) = (&wrong.wrong_string_to_sign, &wrong.wrong_signature_base64) else {
                assert_eq!(name, "signature_encoded_twice", "tested below");
                continue;
            };
            // The mistake is as described: its text gives its signature. So another signature proves its absence.
            assert_eq!(signature(text, &SecretText::new("SECRETACCESSKEY")), *mistaken, "{name}");
            // What was meant: the parameters of the wrong text, and verb and path of the right one where the file has it.
            let query = text.lines().nth(2).expect("three lines");
            let pairs: BTreeMap<_, _> = url::form_urlencoded::parse(query.as_bytes()).into_owned().collect();
            let right = file.vectors.iter().find(|vector| vector.name == wrong.of);
            let (verb, path) = right.map_or(("GET", "/iaas/"), |right| (&right.method, &right.path));
            assert!(right.is_none_or(|right| right.params == pairs), "{name}");
            let canonical = parameters(&pairs).canonical();
            assert_ne!(*string_to_sign(verb, path, &canonical), *text, "{name}");
        }
    }

    #[test]
    fn signature_is_encoded_once() {
        let file = vectors();
        let wrong = file.negative.iter().find_map(|wrong| wrong.wrong_signature_parameter.as_ref());
        let twice = wrong.expect("a signature encoded twice");
        let decoded = twice.replace("%252B", "+").replace("%252F", "/").replace("%253D", "=");
        let (mut once, mut again) = (String::new(), String::new());
        percent_encode(&decoded, &mut once);
        percent_encode(&once, &mut again);
        assert_eq!(again, *twice, "the mistake is as described");
        let sent = signed("GET", "/", &Parameters::default().with("a", "b"), &SecretText::new("k"));
        assert!(sent.ends_with("%3D") && !sent.contains("%25"), "{}", *sent);
    }

    #[test]
    fn lists_are_numbered_from_one_and_sorted_by_name() {
        let parameters = Parameters::default().with_list("jobs", (0..11).map(|_| "j"));
        let names: Vec<_> = parameters.0.keys().take(4).map(AsRef::as_ref).collect();
        assert_eq!(names, ["jobs.1", "jobs.10", "jobs.11", "jobs.2"]);
    }

    /// HMAC after RFC 2104 with the bare hash, percent-encoding through the form encoder of `url`, and a sorted vector
    /// of pairs: nothing in common with the code under test but the hash.
    fn second_opinion(verb: &str, path: &str, pairs: &[(String, String)], secret: &str) -> String {
        let encode = |text: &str| {
            let form: String = url::form_urlencoded::byte_serialize(text.as_bytes()).collect();
            form.replace('+', "%20").replace('*', "%2A").replace("%7E", "~")
        };
        let mut sorted = pairs.to_vec();
        sorted.sort_by(|a, b| a.0.as_bytes().cmp(b.0.as_bytes()));
        let lines: Vec<_> = sorted.iter().map(|(name, value)| encode(name) + "=" + &encode(value)).collect();
        let query = lines.join("&");
        let mut key = if secret.len() > 64 { Sha256::digest(secret).to_vec() } else { secret.as_bytes().to_vec() };
        key.resize(64, 0);
        let pad = |with: u8| key.iter().map(|byte| byte ^ with).collect::<Vec<_>>();
        let inner = Sha256::digest([pad(0x36), format!("{verb}\n{path}\n{query}").into_bytes()].concat());
        let outer = Sha256::digest([pad(0x5c), inner.to_vec()].concat());
        query + "&signature=" + &encode(&STANDARD.encode(outer))
    }

    proptest! {
        #[test]
        fn any_request_is_signed_as_a_second_implementation_signs_it(
            post in any::<bool>(),
            path in "/[a-z/]{0,8}",
            pairs in proptest::collection::btree_map(".{1,12}", ".{0,40}", 1..12),
            secret in ".{0,100}",
        ) {
            let verb = if post { "POST" } else { "GET" };
            let parameters = parameters(&pairs);
            let pairs: Vec<_> = pairs.into_iter().rev().collect();
            prop_assert_eq!(
                &*signed(verb, &path, &parameters, &SecretText::new(secret.clone())),
                &second_opinion(verb, &path, &pairs, &secret)
            );
        }
    }
}

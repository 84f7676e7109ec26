//! Request signing `SDK-HMAC-SHA256` (vendor's API signing guide). Pure: the time is a header of the request.
//!
//! Unlike AWS's scheme the secret key itself is the key of the HMAC, and neither region nor service is part of it.

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::{
    domain::secret::SecretText,
    provider::percent::{decode, encode},
};

/// Name of the algorithm as it stands in the header and in the string to sign.
pub const ALGORITHM: &str = "SDK-HMAC-SHA256";

/// The header that carries the time of signing, `YYYYMMDDTHHMMSSZ` in UTC; the gateway takes 15 minutes of difference.
pub const DATE_HEADER: &str = "x-sdk-date";

/// What of a request is signed.
pub struct Signable<'a> {
    /// HTTP method in upper case.
    pub method: &'a str,
    /// Path as on the wire.
    pub path: &'a str,
    /// Query names and values, not yet encoded, in any order.
    pub query: &'a [(&'a str, &'a str)],
    /// Every header to be signed, in any order; `host` and [`DATE_HEADER`] must be among them. Names with `_` are left
    /// out, as the vendor's signer does.
    pub headers: &'a [(&'a str, &'a str)],
    /// The body bytes exactly as sent.
    pub body: &'a [u8],
}

/// The value of the `Authorization` header.
pub fn authorization(request: &Signable<'_>, access_key_id: &str, secret_access_key: &SecretText) -> String {
    let headers = signed_headers(request);
    let signature = hmac(secret_access_key, &string_to_sign(request, &headers));
    format!("{ALGORITHM} Access={access_key_id}, SignedHeaders={}, Signature={signature}", names(&headers))
}

/// The query as it goes onto the wire and into the signature: sorted by name, then value, both percent-encoded.
pub fn canonical_query(query: &[(&str, &str)]) -> String {
    let mut pairs = query.to_vec();
    pairs.sort_unstable();
    let pairs: Vec<String> =
        pairs.iter().map(|(name, value)| format!("{}={}", encode(name.as_bytes()), encode(value.as_bytes()))).collect();
    pairs.join("&")
}

type Headers<'a> = Vec<(String, &'a str)>;

fn signed_headers<'a>(request: &Signable<'a>) -> Headers<'a> {
    let signed = request.headers.iter().filter(|(name, _)| !name.contains('_'));
    let mut headers: Headers<'a> = signed.map(|(name, value)| (name.to_ascii_lowercase(), value.trim())).collect();
    headers.sort_unstable();
    headers
}

fn names(headers: &Headers<'_>) -> String {
    headers.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(";")
}

/// Holds the security token of temporary keys, so it is wiped.
fn canonical_request(request: &Signable<'_>, headers: &Headers<'_>) -> Zeroizing<String> {
    // Each header line has its own end, so an empty line stands between headers and their names.
    let lines: Zeroizing<String> =
        Zeroizing::new(headers.iter().flat_map(|(name, value)| [name, ":", *value, "\n"]).collect());
    let parts = [
        request.method,
        &canonical_path(request.path),
        &canonical_query(request.query),
        &lines,
        &names(headers),
        &sha256(request.body),
    ];
    Zeroizing::new(parts.join("\n"))
}

fn string_to_sign(request: &Signable<'_>, headers: &Headers<'_>) -> String {
    let date = headers.iter().find(|(name, _)| name == DATE_HEADER).map_or("", |(_, value)| value);
    [ALGORITHM, date, &sha256(canonical_request(request, headers).as_bytes())].join("\n")
}

/// Decoded, encoded anew segment by segment, and always with a slash at its end, which is never on the wire.
fn canonical_path(path: &str) -> String {
    let decoded = decode(path.as_bytes());
    let mut path = decoded.split(|&byte| byte == b'/').map(encode).collect::<Vec<_>>().join("/");
    if !path.ends_with('/') {
        path.push('/');
    }
    path
}

fn sha256(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

fn hmac(key: &SecretText, text: &str) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(key.expose().as_bytes()).expect("HMAC takes a key of any length");
    mac.update(text.as_bytes());
    hex::encode(mac.finalize().into_bytes())
}

#[cfg(test)]
mod tests;

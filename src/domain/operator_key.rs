//! The operator's own key and the three things it makes: seals of journal entries, fingerprints of passwords and
//! digests of credentials. Whoever lacks the key can forge none of them and learn nothing from them.

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::{
    names::{Fingerprint, InstanceKey, KeyId, Username},
    secret::SecretText,
};

/// Bytes of a key: as long as the output of SHA-256, beyond which HMAC gains nothing.
pub const KEY_BYTES: usize = 32;

/// Hex digits kept of a fingerprint: 128 bits, so that two passwords never meet by chance.
const FINGERPRINT_DIGITS: usize = 32;

/// The key of one installation, from the Secret `clickhouse-user-operator-key`.
#[derive(Clone)]
pub struct OperatorKey {
    bytes: Zeroizing<[u8; KEY_BYTES]>,
    id: KeyId,
}

impl OperatorKey {
    /// Takes the key's bytes. Its id is derived from them by a one-way function, so it need not be stored.
    pub fn new(bytes: Zeroizing<[u8; KEY_BYTES]>) -> Self {
        let id = KeyId::new(&hex::encode(Sha256::digest(bytes.as_slice()))[..12]);
        Self { bytes, id }
    }

    /// The key's bytes, to write them back where they were lost.
    pub fn to_bytes(&self) -> Zeroizing<[u8; KEY_BYTES]> {
        self.bytes.clone()
    }

    /// Names this key without telling it.
    pub fn id(&self) -> &KeyId {
        &self.id
    }

    /// Seals a text: 64 hex digits that only this key makes of it.
    pub fn seal(&self, text: &[u8]) -> String {
        hex::encode(self.tag("journal", &[text]).finalize().into_bytes())
    }

    /// Whether `seal` was made of this text by this key; in constant time.
    pub fn verifies(&self, text: &[u8], seal: &str) -> bool {
        hex::decode(seal).is_ok_and(|seal| self.tag("journal", &[text]).verify_slice(&seal).is_ok())
    }

    /// Tells whether a password changed. Bound to the account, so that equal passwords of two accounts do not show.
    pub fn fingerprint(&self, instance: &InstanceKey, username: &Username, password: &SecretText) -> Fingerprint {
        let parts = [instance.as_str().as_bytes(), username.as_str().as_bytes(), password.expose().as_bytes()];
        let tag = self.tag("password", &parts).finalize().into_bytes();
        Fingerprint::new(&hex::encode(tag)[..FINGERPRINT_DIGITS])
    }

    /// Tells two credentials apart. `parts` are the credential's fields and the endpoint it is used at.
    pub fn credential_digest(&self, parts: &[&[u8]]) -> String {
        hex::encode(self.tag("credential", parts).finalize().into_bytes())[..FINGERPRINT_DIGITS].to_owned()
    }

    /// HMAC-SHA256 over a purpose and length-prefixed parts, so that no two inputs run together.
    fn tag(&self, purpose: &str, parts: &[&[u8]]) -> Hmac<Sha256> {
        let mut mac = Hmac::<Sha256>::new_from_slice(self.bytes.as_slice()).expect("HMAC takes a key of any length");
        for part in std::iter::once(purpose.as_bytes()).chain(parts.iter().copied()) {
            mac.update(&u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
            mac.update(part);
        }
        mac
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(byte: u8) -> OperatorKey {
        OperatorKey::new(Zeroizing::new([byte; KEY_BYTES]))
    }

    fn fingerprint(key: &OperatorKey, username: &str, password: &str) -> Fingerprint {
        key.fingerprint(
            &InstanceKey::new("qingcloud/sh1a/cl-1"),
            &Username::new(username),
            &SecretText::new(password.to_owned()),
        )
    }

    #[test]
    fn fingerprint_changes_with_key_account_and_password_only() {
        assert_eq!(fingerprint(&key(1), "a", "p"), fingerprint(&key(1), "a", "p"));
        for other in [fingerprint(&key(2), "a", "p"), fingerprint(&key(1), "b", "p"), fingerprint(&key(1), "a", "q")] {
            assert_ne!(fingerprint(&key(1), "a", "p"), other);
        }
    }

    #[test]
    fn parts_do_not_run_together() {
        assert_ne!(fingerprint(&key(1), "ab", "c"), fingerprint(&key(1), "a", "bc"));
    }

    #[test]
    fn seal_of_another_key_or_text_is_refused() {
        let seal = key(1).seal(b"text");
        assert!(key(1).verifies(b"text", &seal));
        assert!(!key(2).verifies(b"text", &seal));
        assert!(!key(1).verifies(b"texT", &seal));
        assert!(!key(1).verifies(b"text", "not hex"));
    }
}

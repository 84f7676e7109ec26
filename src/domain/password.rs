//! From a Secret's value to a password that may be sent, or the reason why not. Never shows the value.

use super::{
    journal::SecretVersion,
    names::{InstanceKey, Username},
    operator_key::OperatorKey,
    secret::SecretText,
    seen::PasswordSeen,
};
use crate::provider::contract::{AccountRules, Refusal};
use crate::seeded::{Bug, seeded};

/// Longest value looked at: every cloud's limit is 32 characters, and fingerprints of a megabyte serve nobody.
const LONGEST: usize = 1024;

/// For which account a password is.
pub struct Purpose<'a> {
    /// Its instance.
    pub instance: &'a InstanceKey,
    /// Its name.
    pub username: &'a Username,
    /// Its cloud's rules.
    pub rules: &'a dyn AccountRules,
    /// What fingerprints are made with.
    pub key: &'a OperatorKey,
}

/// Examines the bytes under `key_name` of a Secret. The text comes back only where it may be sent.
pub fn examine(
    value: Option<&[u8]>,
    key_name: &str,
    version: SecretVersion,
    purpose: &Purpose<'_>,
) -> (PasswordSeen, Option<SecretText>) {
    let refused = |version: SecretVersion, text: &SecretText, why: Refusal| {
        let fingerprint = purpose.key.fingerprint(purpose.instance, purpose.username, text);
        (PasswordSeen::Refused(version, fingerprint, why), None)
    };
    let Some(value) = value else {
        let what = format!("key {key_name} in Secret {}", version.name);
        return (PasswordSeen::Missing(what), None);
    };
    let empty = SecretText::new(String::new());
    let invalid = |what: &str| Refusal::InvalidPassword(format!("The password in Secret {} {what}.", version.name));
    let value = if seeded(Bug::LineBreakCutOff) { value.trim_ascii_end() } else { value };
    if value.is_empty() {
        let why = invalid("is empty");
        return refused(version, &empty, why);
    }
    if value.len() > LONGEST {
        let why = invalid("is longer than any cloud takes");
        return refused(version, &empty, why);
    }
    let Ok(text) = std::str::from_utf8(value) else {
        let why = invalid("is not text (UTF-8)");
        return refused(version, &empty, why);
    };
    let text = SecretText::new(text);
    if let Err(why) = purpose.rules.password(purpose.username.as_str(), &text) {
        return refused(version, &text, why);
    }
    let fingerprint = purpose.key.fingerprint(purpose.instance, purpose.username, &text);
    (PasswordSeen::Usable(version, fingerprint), Some(text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        domain::{journal::tests::key, names::Uid},
        provider::contract::ProviderKind,
    };

    const GOOD: &str = "Passw0rd-1";

    fn version() -> SecretVersion {
        SecretVersion {
            name: "password".to_owned(),
            uid: Uid::new("secret-uid"),
            resource_version: "1".to_owned(),
            revision: None,
        }
    }

    fn examined(value: Option<&[u8]>) -> (PasswordSeen, Option<SecretText>) {
        let purpose = Purpose {
            instance: &InstanceKey::new("key-1"),
            username: &Username::new("reporting"),
            rules: ProviderKind::QingCloud.rules(),
            key: &key(1),
        };
        examine(value, "pw", version(), &purpose)
    }

    #[test]
    fn legal_password_comes_back_with_its_fingerprint() {
        let (seen, text) = examined(Some(GOOD.as_bytes()));
        let fingerprint =
            key(1).fingerprint(&InstanceKey::new("key-1"), &Username::new("reporting"), &SecretText::new(GOOD));
        assert_eq!(seen, PasswordSeen::Usable(version(), fingerprint));
        assert_eq!(text.map(|text| text.expose().to_owned()), Some(GOOD.to_owned()));
    }

    #[test]
    fn missing_key_is_named_with_its_secret() {
        assert_eq!(examined(None).0, PasswordSeen::Missing("key pw in Secret password".to_owned()));
    }

    #[test]
    fn what_no_cloud_takes_is_refused_and_its_text_kept_back() {
        let values: [&[u8]; 4] = [b"", b"Passw0rd-1\n", &[0xff, 0xfe], &[b'a'; LONGEST + 1]];
        for value in values {
            let (seen, text) = examined(Some(value));
            assert!(matches!(seen, PasswordSeen::Refused(_, _, Refusal::InvalidPassword(_))), "{seen:?}");
            assert!(text.is_none());
        }
    }

    #[test]
    fn refusal_never_repeats_the_value() {
        let secret = "hunter2hunter2hunter2hunter2hunter2";
        assert!(!format!("{:?}", examined(Some(secret.as_bytes())).0).contains("hunter2"));
    }
}

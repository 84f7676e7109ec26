//! The operation journal: what we are about to do to an account, durable before it is done.
//!
//! An [`Intent`] rides as annotation `chuser.dev/operation` in the same PATCH that adds the finalizer. After a crash it
//! tells "our call whose answer was lost" from "an account somebody else made". Annotations are copied, forged and
//! stripped by `kubectl apply`, replace and restore, so an intent counts only if its seal and its uid are right.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{
    names::{AttemptId, Fingerprint, InstanceKey, KeyId, Uid, Username},
    operator_key::OperatorKey,
};
use crate::seeded::{Bug, seeded};
use crate::{
    api::user::{OperationKind, OperationPhase},
    provider::contract::Access,
};

/// Which version of the password Secret a call carries.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SecretVersion {
    /// `metadata.name`
    pub name: String,
    /// `metadata.uid`
    pub uid: Uid,
    /// `metadata.resourceVersion`
    pub resource_version: String,
    /// `spec.passwordSecretRef.revision` at that time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<String>,
}

/// One attempt of one changing call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Intent {
    /// The object that holds the account.
    pub uid: Uid,
    /// On which instance.
    pub instance_key: InstanceKey,
    /// Which account.
    pub username: Username,
    /// What is being done.
    pub kind: OperationKind,
    /// How far a re-creation has come.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<OperationPhase>,
    /// The attempt, durable before the call is sent.
    pub attempt: AttemptId,
    /// How many attempts this operation has had, this one included.
    pub attempts: u32,
    /// When the intent was written.
    pub written_at: Timestamp,
    /// On clouds that can be listed: when the account was seen absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub absent_at: Option<Timestamp>,
    /// The account was not ours when this was written: only success makes it so.
    #[serde(default, skip_serializing_if = "is_false")]
    pub adopting: bool,
    /// The removal before this addition failed, so the old account may still be there.
    #[serde(default, skip_serializing_if = "is_false")]
    pub removal_failed: bool,
    /// The access the account has when the call has succeeded.
    #[serde(default)]
    pub access: Access,
    /// Fingerprint of the password the account has when the call has succeeded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fingerprint: Option<Fingerprint>,
    /// The Secret it comes from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<SecretVersion>,
    /// Under which operator key fingerprint and seal were made.
    #[serde(rename = "keyID")]
    pub key_id: KeyId,
}

/// What an annotation of this object says, written by this installation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    /// An intent.
    Intent(Box<Intent>),
    /// One that says more than this version understands: a newer one wrote it.
    Newer(Newer),
}

/// What every version says of a call. A newer one may add to it what changes its meaning.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Newer {
    /// The object that holds the account.
    pub uid: Uid,
    /// On which instance.
    pub instance_key: InstanceKey,
    /// Which account.
    pub username: Username,
    /// The attempt.
    pub attempt: AttemptId,
}

/// Between an intent and its seal in the annotation.
const SEAL: &str = r#","mac":""#;

/// The annotation's text for an intent.
pub fn seal(intent: &Intent, key: &OperatorKey) -> String {
    seal_text(&text_of(intent), key)
}

/// Puts the seal behind the members of a JSON object.
fn seal_text(text: &str, key: &OperatorKey) -> String {
    format!("{}{SEAL}{}\"}}", text.strip_suffix('}').unwrap_or(text), key.seal(text.as_bytes()))
}

/// The intent in an annotation, if it was written for this object by this installation and all of it is understood.
pub fn open(annotation: &str, uid: &Uid, key: &OperatorKey) -> Option<Intent> {
    match read(annotation, uid, key)? {
        Entry::Intent(intent) => Some(*intent),
        Entry::Newer(_) => None,
    }
}

/// What an annotation says, if it was written for this object by this installation; anything else says nothing.
pub fn read(annotation: &str, uid: &Uid, key: &OperatorKey) -> Option<Entry> {
    let (members, mac) = annotation.strip_suffix("\"}")?.rsplit_once(SEAL)?;
    let text = format!("{members}}}");
    if !key.verifies(text.as_bytes(), mac) && !seeded(Bug::SealNotChecked) {
        return None;
    }
    let own = |written_for: &Uid| written_for == uid || seeded(Bug::IntentOfAnotherObject);
    // Whatever is not understood is lost on the way there and back.
    let intent: Option<Intent> = serde_json::from_str(&text).ok().filter(|intent| text_of(intent) == text);
    match intent {
        Some(intent) => own(&intent.uid).then(|| Entry::Intent(Box::new(intent))),
        None => serde_json::from_str(&text).ok().filter(|newer: &Newer| own(&newer.uid)).map(Entry::Newer),
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde asks for")]
fn is_false(value: &bool) -> bool {
    !value
}

fn text_of(intent: &Intent) -> String {
    serde_json::to_string(intent).expect("an intent is plain data with text keys")
}

#[cfg(test)]
pub(crate) mod tests {
    use zeroize::Zeroizing;

    use super::*;

    pub(crate) fn key(byte: u8) -> OperatorKey {
        OperatorKey::new(Zeroizing::new([byte; 32]))
    }

    pub(crate) fn intent() -> Intent {
        Intent {
            uid: Uid::new("uid-1"),
            instance_key: InstanceKey::new("qingcloud/sh1a/cl-1"),
            username: Username::new("reporting"),
            kind: OperationKind::Create,
            phase: None,
            attempt: AttemptId::new("0".repeat(32)),
            attempts: 1,
            written_at: "2026-11-22T08:00:00.123456789Z".parse().expect("a time"),
            absent_at: None,
            adopting: false,
            removal_failed: false,
            access: Access { allowed_hosts: Some(["10.0.0.0/8".to_owned()].into()), ..Access::default() },
            fingerprint: Some(Fingerprint::new("f")),
            secret: None,
            key_id: key(1).id().clone(),
        }
    }

    #[test]
    fn sealed_intent_opens_unchanged() {
        assert_eq!(open(&seal(&intent(), &key(1)), &Uid::new("uid-1"), &key(1)), Some(intent()));
    }

    #[test]
    fn intent_copied_to_another_object_is_no_intent() {
        assert_eq!(open(&seal(&intent(), &key(1)), &Uid::new("uid-2"), &key(1)), None);
    }

    #[test]
    fn forged_or_altered_intent_is_no_intent() {
        let sealed = seal(&intent(), &key(1));
        assert_eq!(open(&sealed.replace("reporting", "somebody"), &Uid::new("uid-1"), &key(1)), None);
        assert_eq!(open(&seal(&intent(), &key(2)), &Uid::new("uid-1"), &key(1)), None);
        for text in ["", "{}", "[]", "null", "{\"mac\":\"00\"}"] {
            assert_eq!(open(text, &Uid::new("uid-1"), &key(1)), None, "{text}");
        }
    }

    /// An entry as a newer version writes it, which says one thing more at `place`.
    pub(crate) fn newer(intent: &Intent, place: &str, key: &OperatorKey) -> String {
        seal_text(&text_of(intent).replacen(place, &format!("{place}\"borrowed\":true,"), 1), key)
    }

    #[test]
    fn intent_that_says_more_than_is_understood_is_known_as_that_and_never_taken_for_less() {
        let known = Newer {
            uid: Uid::new("uid-1"),
            instance_key: InstanceKey::new("qingcloud/sh1a/cl-1"),
            username: Username::new("reporting"),
            attempt: AttemptId::new("0".repeat(32)),
        };
        let kind = seal_text(&text_of(&intent()).replace("\"Create\"", "\"Rename\""), &key(1));
        for text in [newer(&intent(), "{", &key(1)), newer(&intent(), "\"access\":{", &key(1)), kind] {
            assert_eq!(read(&text, &Uid::new("uid-1"), &key(1)), Some(Entry::Newer(known.clone())), "{text}");
            assert_eq!(open(&text, &Uid::new("uid-1"), &key(1)), None, "{text}");
            assert_eq!(read(&text, &Uid::new("uid-2"), &key(1)), None, "{text}");
            assert_eq!(read(&text, &Uid::new("uid-1"), &key(2)), None, "{text}");
        }
    }
}

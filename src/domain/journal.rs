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

#[derive(Serialize, Deserialize)]
struct Sealed {
    #[serde(flatten)]
    intent: Intent,
    mac: String,
}

/// The annotation's text for an intent.
#[expect(clippy::missing_panics_doc, reason = "plain data with text keys always becomes JSON")]
pub fn seal(intent: &Intent, key: &OperatorKey) -> String {
    let sealed = Sealed { mac: key.seal(&sealed_text(intent)), intent: intent.clone() };
    serde_json::to_string(&sealed).expect("an intent is plain data with text keys")
}

/// The intent in an annotation, if it was written for this object by this installation; anything else is no intent.
pub fn open(annotation: &str, uid: &Uid, key: &OperatorKey) -> Option<Intent> {
    let Sealed { intent, mac } = serde_json::from_str(annotation).ok()?;
    let own = intent.uid == *uid || seeded(Bug::IntentOfAnotherObject);
    let sealed = key.verifies(&sealed_text(&intent), &mac) || seeded(Bug::SealNotChecked);
    (own && sealed).then_some(intent)
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde asks for")]
fn is_false(value: &bool) -> bool {
    !value
}

fn sealed_text(intent: &Intent) -> Vec<u8> {
    serde_json::to_vec(intent).expect("an intent is plain data with text keys")
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
}

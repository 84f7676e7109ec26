//! A user at rest: a few hundred bytes instead of the kilobytes that it takes as an object. It is the whole object, so
//! nothing has to be fetched again when it is looked at.

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};

use super::user::ClickHouseUser;

/// Texts that settled users have in common; what stands here costs a packed user a few bytes. It decides about memory
/// alone: whatever differs from it is packed as it is.
const COMMON: &[u8] = br#"{"apiVersion":"chuser.dev/v1alpha1","kind":"ClickHouseUser","metadata":{"annotations":{"chuser.dev/operation":"{\"uid\":\",\"instanceKey\":\"huaweicloud/cn-north-4/\",\"instanceKey\":\"qingcloud/\",\"username\":\",\"kind\":\"SetPassword\",\"kind\":\"Create\",\"attempt\":\",\"attempts\":1,\"writtenAt\":\"2026-,\"absentAt\":\"2026-,\"access\":{\"allowedHosts\":[\"10.0.0.0/8\"]},\"access\":{\"databases\":[\"*\"],\"permission\":\"ReadOnly\"},\"fingerprint\":\",\"secret\":{\"name\":\"-password\",\"uid\":\",\"resourceVersion\":\"},\"keyID\":\",\"mac\":\""},"creationTimestamp":"2026-","finalizers":["chuser.dev/account"],"generation":1,"labels":{"app.kubernetes.io/name":","app.kubernetes.io/managed-by":"},"name":","namespace":","resourceVersion":","uid":"},"spec":{"instanceRef":{"name":"},"passwordSecretRef":{"name":"-password"},"username":","allowedHosts":["10.0.0.0/8"],"databases":["*"],"permission":"ReadOnly"},"status":{"observedGeneration":1,"uid":","provider":"QingCloud","provider":"HuaweiCloud","instanceKey":","username":","jobID":"j-","operation":{"id":","kind":"Create","state":"Succeeded","startedAt":"2026-","finishedAt":"2026-","attempts":1},"applied":{"databases":["*"],"permission":"ReadOnly"},"password":{"secretName":"-password","secretUID":","secretResourceVersion":","keyID":","fingerprint":","appliedAt":"2026-"},"conditions":[{"lastTransitionTime":"2026-","message":"The account is as the manifest says.","observedGeneration":1,"reason":"AccountReady","status":"True","type":"Ready"}]}}"#;

/// A window of 4 KiB, which holds an object and the dictionary. The usual one of 32 KiB takes five times as long to set
/// up as a user to pack.
const WINDOW_BITS: u8 = 12;

/// Room for the length, and for the frame around what cannot be made smaller.
const SLACK: usize = 128;

/// A user as the API server sent it, packed.
pub struct PackedUser(Box<[u8]>);

/// Packs and unpacks. Made once and used again: what it works in has a quarter of a megabyte, and asking for that between
/// all the small pieces that stay would tear the heap to pieces.
pub struct Packer {
    compress: Compress,
    decompress: Decompress,
}

impl Default for Packer {
    fn default() -> Self {
        Self {
            compress: Compress::new_with_window_bits(Compression::default(), false, WINDOW_BITS),
            decompress: Decompress::new_with_window_bits(false, WINDOW_BITS),
        }
    }
}

impl Packer {
    /// Packs the JSON of a user: what most users have in common is left out, and what is repeated.
    #[expect(clippy::missing_panics_doc, reason = "there is room for every object of the API server")]
    pub fn pack(&mut self, json: &[u8]) -> PackedUser {
        self.compress.reset();
        self.compress.set_dictionary(COMMON).expect("a packer that was reset takes a dictionary");
        // The length travels along, so that unpacking needs no guess.
        let length = u32::try_from(json.len()).expect("an object of the API server has at most some megabytes");
        let mut packed = Vec::with_capacity(json.len() + SLACK);
        packed.extend(length.to_le_bytes());
        let ended = self.compress.compress_vec(json, &mut packed, FlushCompress::Finish);
        assert!(matches!(ended, Ok(Status::StreamEnd)), "there is room even for what cannot be made smaller");
        // Copied, and not shrunk in place: a piece of its own size leaves no gap behind it.
        PackedUser(packed.as_slice().into())
    }

    /// The JSON that was packed.
    #[expect(clippy::missing_panics_doc, reason = "what is unpacked was packed here")]
    pub fn unpack(&mut self, PackedUser(packed): &PackedUser) -> Vec<u8> {
        let (length, packed) = packed.split_first_chunk().expect("packed above, with its length");
        let length = usize::try_from(u32::from_le_bytes(*length)).expect("no address space is smaller");
        self.decompress.reset(false);
        self.decompress.set_dictionary(COMMON).expect("an unpacker that was reset takes a dictionary");
        let mut json = Vec::with_capacity(length);
        self.decompress.decompress_vec(packed, &mut json, FlushDecompress::Finish).expect("packed above");
        json
    }
}

/// The JSON of a user.
#[expect(clippy::missing_panics_doc, reason = "an object that was JSON becomes JSON again")]
pub fn to_json(user: &ClickHouseUser) -> Vec<u8> {
    serde_json::to_vec(user).expect("an object that was JSON becomes JSON again")
}

/// The user of a JSON that was made of one.
#[expect(clippy::missing_panics_doc, reason = "what was made of a user is a user")]
pub fn from_json(json: &[u8]) -> ClickHouseUser {
    serde_json::from_slice(json).expect("a user became this JSON")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn user(uid: &str) -> ClickHouseUser {
        let key = "huaweicloud/cn-north-4/23a50154cf494ec9ad6883979a12db0a/df3ae779e2ad4993a03ccd7a81240125in16";
        let operation = json!({
            "uid": uid, "instanceKey": key, "username": "reporting", "kind": "Create",
            "attempt": "a7f0c1de8b2245f1ab0f4f0c7d1c9e55", "attempts": 1, "writtenAt": "2026-11-22T17:53:52Z",
            "absentAt": "2026-11-22T17:53:50Z", "access": { "databases": ["*"], "permission": "ReadOnly" },
            "fingerprint": "5e884898da28047151d0e56f8dc62927",
            "secret": { "name": "reporting-password", "uid": "1d1c5b0e-6f5e-4f0e-9a57-2f8f0f0b7a11",
                "resourceVersion": "48211" },
            "keyID": "9f86d081884c",
            "mac": "60303ae22b998861bce3b28f33eec1be758a213c86c93c076dbe9f558c11c752",
        });
        serde_json::from_value(json!({
            "apiVersion": "chuser.dev/v1alpha1",
            "kind": "ClickHouseUser",
            "metadata": {
                "name": "reporting", "namespace": "analytics", "uid": uid, "resourceVersion": "48230", "generation": 1,
                "creationTimestamp": "2026-11-22T17:53:49Z", "finalizers": ["chuser.dev/account"],
                "annotations": { "chuser.dev/operation": operation.to_string() },
            },
            "spec": { "instanceRef": { "name": "warehouse" }, "passwordSecretRef": { "name": "reporting-password" },
                "databases": ["*"] },
            "status": {
                "observedGeneration": 1, "uid": uid, "provider": "HuaweiCloud", "instanceKey": key,
                "username": "reporting",
                "operation": { "id": "a7f0c1de8b2245f1ab0f4f0c7d1c9e55", "kind": "Create", "state": "Succeeded",
                    "startedAt": "2026-11-22T17:53:52Z", "finishedAt": "2026-11-22T17:53:52Z", "attempts": 1 },
                "applied": { "databases": ["*"], "permission": "ReadOnly" },
                "password": { "secretName": "reporting-password",
                    "secretUID": "1d1c5b0e-6f5e-4f0e-9a57-2f8f0f0b7a11", "secretResourceVersion": "48211",
                    "keyID": "9f86d081884c", "fingerprint": "5e884898da28047151d0e56f8dc62927",
                    "appliedAt": "2026-11-22T17:53:52Z" },
                "conditions": [{ "type": "Ready", "status": "True", "reason": "AccountReady", "observedGeneration": 1,
                    "message": "The account is as the manifest says.",
                    "lastTransitionTime": "2026-11-22T17:53:52Z" }],
            },
        }))
        .expect("a user")
    }

    #[test]
    fn packed_user_comes_back_whole_and_takes_a_fifth_of_its_json() {
        let (mut packer, user) = (Packer::default(), user("0c7e5b0e-6f5e-4f0e-9a57-2f8f0f0b7a11"));
        let json = to_json(&user);
        let small = packer.pack(&json);
        assert_eq!(from_json(&packer.unpack(&small)), user);
        assert!(small.0.len() * 5 < json.len(), "{} of {} bytes", small.0.len(), json.len());
    }

    #[test]
    fn each_comes_back_whole_whatever_was_packed_before_it() {
        let noise = (0..60_000_u32).filter_map(|at| char::from_u32(0x4e00 + (at.wrapping_mul(2_654_435_761) >> 20)));
        let mut unlike = user("1");
        unlike.metadata.annotations = Some([("example.com/noise".to_owned(), noise.collect())].into());
        let mut packer = Packer::default();
        let users = [user("2"), unlike, user("3")];
        let all: Vec<_> = users.iter().map(|user| packer.pack(&to_json(user))).collect();
        for (small, user) in all.iter().zip(&users).rev() {
            assert_eq!(from_json(&packer.unpack(small)), *user);
        }
    }
}

//! A user at rest: some two hundred bytes instead of the kilobytes that it takes as an object. It is the whole object, so
//! nothing has to be fetched again when it is looked at.

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};

use super::{
    conditions::{self, ConditionStatus, READY},
    hex_runs,
    user::ClickHouseUser,
};
use crate::provider::contract::ProviderKind;

/// A window of 4 KiB, which holds an object and the one it is packed against. The usual one of 32 KiB takes five times as
/// long to set up as a user to pack.
const WINDOW_BITS: u8 = 12;

/// Longest user that others are packed against: half the window, the other half is theirs.
const LONGEST_SAMPLE: usize = 1 << (WINDOW_BITS - 1);

/// Room for the frame around what cannot be made smaller.
const SLACK: usize = 128;

/// A user as the API server sent it, packed; the first byte says which sample it was packed against.
#[derive(Clone)]
pub struct PackedUser(Box<[u8]>);

/// Packs and unpacks. Made once and used again: what it works in has a quarter of a megabyte, and asking for that between
/// all the small pieces that stay would tear the heap to pieces.
pub struct Packer {
    compress: Compress,
    decompress: Decompress,
    /// The first settled user of each cloud. Settled users of one cluster are much alike, so that of all others of the
    /// cloud little more than the difference is kept. Never taken back: what is packed needs them.
    samples: Vec<(ProviderKind, Box<[u8]>)>,
}

impl Default for Packer {
    fn default() -> Self {
        Self {
            compress: Compress::new_with_window_bits(Compression::default(), false, WINDOW_BITS),
            decompress: Decompress::new_with_window_bits(false, WINDOW_BITS),
            samples: Vec::new(),
        }
    }
}

impl Packer {
    /// Packs a user, given as it is and as JSON.
    #[expect(clippy::missing_panics_doc, reason = "there is room for every object of the API server")]
    pub fn pack(&mut self, user: &ClickHouseUser, json: &str) -> PackedUser {
        let short = hex_runs::shorten(json);
        let provider = user.status.as_ref().and_then(|status| status.provider);
        let known = self.samples.iter().position(|(of, _)| Some(*of) == provider);
        if let (Some(provider), None, true) = (provider, known, short.len() <= LONGEST_SAMPLE && is_settled(user)) {
            self.samples.push((provider, short.clone().into()));
        }
        // One without a cloud is new, and still more like any other than like none.
        let sample = self.samples.iter().position(|(of, _)| Some(*of) == provider).unwrap_or_default();
        self.compress.reset();
        if let Some((_, sample)) = self.samples.get(sample) {
            self.compress.set_dictionary(sample).expect("a packer that was reset takes a dictionary");
        }
        let mut packed = Vec::with_capacity(short.len() + SLACK);
        packed.push(if self.samples.is_empty() { NO_SAMPLE } else { sample.to_le_bytes()[0] });
        let ended = self.compress.compress_vec(&short, &mut packed, FlushCompress::Finish);
        assert!(matches!(ended, Ok(Status::StreamEnd)), "there is room even for what cannot be made smaller");
        // Copied, and not shrunk in place: a piece of its own size leaves no gap behind it.
        PackedUser(packed.as_slice().into())
    }

    /// The JSON that was packed.
    #[expect(clippy::missing_panics_doc, reason = "what is unpacked was packed here")]
    pub fn unpack(&mut self, PackedUser(packed): &PackedUser) -> Vec<u8> {
        let (sample, packed) = packed.split_first().expect("packed above, with its sample");
        self.decompress.reset(false);
        if let Some((_, sample)) = self.samples.get(usize::from(*sample)) {
            self.decompress.set_dictionary(sample).expect("an unpacker that was reset takes a dictionary");
        }
        let mut short = Vec::with_capacity(LONGEST_SAMPLE);
        loop {
            let read = usize::try_from(self.decompress.total_in()).expect("less than an object");
            let ended = self.decompress.decompress_vec(&packed[read..], &mut short, FlushDecompress::Finish);
            match ended.expect("packed above") {
                Status::StreamEnd => return hex_runs::lengthen(&short),
                Status::Ok | Status::BufError => short.reserve(short.len().max(LONGEST_SAMPLE)),
            }
        }
    }
}

/// Stands where a user was packed against none.
const NO_SAMPLE: u8 = u8::MAX;

fn is_settled(user: &ClickHouseUser) -> bool {
    let ready = user.status.as_ref().and_then(|status| conditions::find(&status.conditions, READY));
    ready.is_some_and(|ready| ready.status == ConditionStatus::True.as_str())
}

/// The JSON of a user.
#[expect(clippy::missing_panics_doc, reason = "an object that was JSON becomes JSON again")]
pub fn to_json(user: &ClickHouseUser) -> String {
    serde_json::to_string(user).expect("an object that was JSON becomes JSON again")
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

    fn pack(packer: &mut Packer, user: &ClickHouseUser) -> PackedUser {
        packer.pack(user, &to_json(user))
    }

    #[test]
    fn packed_user_comes_back_whole_and_takes_a_ninth_of_its_json() {
        let mut packer = Packer::default();
        pack(&mut packer, &user("0c7e5b0e-6f5e-4f0e-9a57-2f8f0f0b7a11"));
        let mut other = user("77b6a1a2-0d5c-4c4f-8f3e-1c9a40d0b9e3");
        other.metadata.name = Some("billing".to_owned());
        let (json, small) = (to_json(&other), pack(&mut packer, &other));
        assert_eq!(from_json(&packer.unpack(&small)), other);
        assert!(small.0.len() * 9 < json.len(), "{} of {} bytes", small.0.len(), json.len());
    }

    #[test]
    fn each_comes_back_whole_whatever_was_packed_before_it() {
        let noise = (0..60_000_u32).filter_map(|at| char::from_u32(0x4e00 + (at.wrapping_mul(2_654_435_761) >> 20)));
        let mut unlike = user("1");
        unlike.metadata.annotations = Some([("example.com/noise".to_owned(), noise.collect())].into());
        let mut new = user("2");
        new.status = None;
        let mut elsewhere = user("3");
        elsewhere.status.as_mut().expect("a status").provider = Some(ProviderKind::QingCloud);
        let mut packer = Packer::default();
        let users = [new.clone(), unlike, user("4"), elsewhere.clone(), user("5"), new, elsewhere];
        let all: Vec<_> = users.iter().map(|user| pack(&mut packer, user)).collect();
        assert_eq!(packer.samples.len(), 2, "one of each cloud");
        for (small, user) in all.iter().zip(&users).rev() {
            assert_eq!(from_json(&packer.unpack(small)), *user);
        }
    }
}

//! The annotation that says what is being done to an account: copied, cut and forged by anybody, and believed only as we
//! wrote it, for the object we wrote it for.
#![no_main]

use std::sync::LazyLock;

use clickhouse_user_operator::domain::{
    journal::{Intent, open, seal},
    names::Uid,
    operator_key::{KEY_BYTES, OperatorKey},
};
use fuzz::in_bounds;
use libfuzzer_sys::fuzz_target;
use zeroize::Zeroizing;

static KEY: LazyLock<OperatorKey> = LazyLock::new(|| OperatorKey::new(Zeroizing::new([1; KEY_BYTES])));
static FOREIGN: LazyLock<OperatorKey> = LazyLock::new(|| OperatorKey::new(Zeroizing::new([2; KEY_BYTES])));

/// One of ours, whose text the input is laid over.
static INTENT: LazyLock<Intent> =
    LazyLock::new(|| serde_json::from_slice(include_bytes!("../seeds/journal/intent.json")).expect("an intent"));
static SEALED: LazyLock<String> = LazyLock::new(|| seal(&INTENT, &KEY));

fuzz_target!(|input: &[u8]| {
    LazyLock::force(&SEALED);
    LazyLock::force(&FOREIGN);
    in_bounds(input.len() + SEALED.len(), || {
        let Ok(text) = std::str::from_utf8(input) else { return };
        // As somebody wrote it.
        if let Some(opened) = open(text, &INTENT.uid, &KEY) {
            assert_eq!(opened, *INTENT, "somebody else's words are believed");
        }
        // What we write comes back as it was, and to nobody else.
        if let Ok(intent) = serde_json::from_str::<Intent>(text) {
            let sealed = seal(&intent, &KEY);
            assert_eq!(open(&sealed, &intent.uid, &KEY).as_ref(), Some(&intent));
            assert_eq!(open(&sealed, &intent.uid, &FOREIGN), None);
            assert_eq!(open(&sealed, &Uid::new(format!("{}x", intent.uid)), &KEY), None);
        }
        // Ours, with a piece replaced: two bytes say where, the rest is put there.
        if let [high, low, piece @ ..] = input
            && let Ok(piece) = std::str::from_utf8(piece)
        {
            let at = usize::from(u16::from_be_bytes([*high, *low])) % SEALED.len();
            let end = (at + piece.len()).min(SEALED.len());
            let mut altered = SEALED.clone();
            altered.replace_range(at..end, piece);
            if let Some(opened) = open(&altered, &INTENT.uid, &KEY) {
                assert_eq!(opened, *INTENT, "an altered intent is believed: {altered}");
            }
        }
    });
});

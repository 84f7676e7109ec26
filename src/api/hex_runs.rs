//! Digests, uids and attempt ids in half the room: what is written in hexadecimal digits becomes the bytes they stand for.
//! A compressor cannot do that, and they are most of what distinguishes one settled user from another.

/// Stands for a uid: sixteen bytes follow. No text has this byte, because it is never part of UTF-8.
const UID: u8 = 0xfe;

/// Stands for a run of digits: their number of bytes follows, and the bytes. Not in UTF-8 either.
const RUN: u8 = 0xff;

/// Characters of a uid.
const UID_LENGTH: usize = 36;

/// Bytes of a uid.
const UID_BYTES: usize = 16;

/// Where its dashes are.
const DASHES: [usize; 4] = [8, 13, 18, 23];

/// A shorter run is left as it is: it is a number or part of a word, and repeated texts are the compressor's work.
const SHORTEST_RUN: usize = 16;

/// A text with its uids and long runs of digits as bytes.
pub fn shorten(text: &str) -> Vec<u8> {
    let mut rest = text.as_bytes();
    let mut short = Vec::with_capacity(rest.len());
    while let Some(first) = rest.first() {
        let length = if is_uid(rest) {
            short.push(UID);
            for part in rest[..UID_LENGTH].split(|byte| *byte == b'-') {
                push_bytes(&mut short, part);
            }
            UID_LENGTH
        } else if let Some(run) = run(rest) {
            short.push(RUN);
            // At most 255, see below.
            short.push((run.len() / 2).to_le_bytes()[0]);
            push_bytes(&mut short, run);
            run.len()
        } else {
            short.push(*first);
            1
        };
        rest = &rest[length..];
    }
    short
}

/// The text that was shortened.
pub fn lengthen(short: &[u8]) -> Vec<u8> {
    let mut text = Vec::with_capacity(short.len() * 2);
    let mut rest = short;
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        match first {
            &UID => {
                let (bytes, after) = rest.split_at(UID_BYTES);
                let begin = text.len();
                push_digits(&mut text, bytes);
                for dash in DASHES {
                    text.insert(begin + dash, b'-');
                }
                rest = after;
            }
            &RUN => {
                // Written above, so the length is there, and so many bytes.
                let (count, after) = rest.split_first().unwrap_or((&0, rest));
                let (bytes, after) = after.split_at(usize::from(*count));
                push_digits(&mut text, bytes);
                rest = after;
            }
            other => text.push(*other),
        }
    }
    text
}

/// Appends the bytes that digits stand for, two each.
fn push_bytes(short: &mut Vec<u8>, digits: &[u8]) {
    short.extend(digits.chunks_exact(2).map(|pair| value(pair[0]) << 4 | value(pair[1])));
}

/// Appends the digits of bytes.
fn push_digits(text: &mut Vec<u8>, bytes: &[u8]) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let halves = bytes.iter().flat_map(|byte| [byte >> 4, byte & 0xf]);
    text.extend(halves.map(|half| DIGITS[usize::from(half)]));
}

const fn is_digit(byte: u8) -> bool {
    matches!(byte, b'0'..=b'9' | b'a'..=b'f')
}

/// What a digit stands for.
const fn value(digit: u8) -> u8 {
    if digit <= b'9' { digit - b'0' } else { digit - b'a' + 10 }
}

/// Whether a text begins with a uid.
fn is_uid(text: &[u8]) -> bool {
    let fits = |(place, byte): (usize, &u8)| if DASHES.contains(&place) { *byte == b'-' } else { is_digit(*byte) };
    text.get(..UID_LENGTH).is_some_and(|text| text.iter().enumerate().all(fits))
}

/// The run of digits that a text begins with, as far as it makes whole bytes.
fn run(text: &[u8]) -> Option<&[u8]> {
    let most = usize::from(u8::MAX) * 2;
    let length = text.iter().take(most).take_while(|byte| is_digit(**byte)).count() / 2 * 2;
    (length >= SHORTEST_RUN).then(|| &text[..length])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const A_UID: &str = "0c7e5b0e-6f5e-4f0e-9a57-2f8f0f0b7a11";

    fn back(text: &str) -> String {
        String::from_utf8(lengthen(&shorten(text))).expect("text")
    }

    #[test]
    fn uid_and_digest_take_half_their_room() {
        let text = format!("uid {A_UID} mac {}", "60303ae2".repeat(8));
        assert_eq!(back(&text), text);
        assert_eq!(shorten(&text).len(), "uid  mac ".len() + 17 + 34);
    }

    #[test]
    fn what_only_looks_like_one_comes_back_as_it_was() {
        let upper = A_UID.to_uppercase();
        let longer = format!("{A_UID}a{A_UID}");
        let odd = "abc".repeat(7);
        let long = "0123456789abcdef".repeat(100);
        let cut = &A_UID[..35];
        for text in [upper.as_str(), &longer, &odd, &long, cut, "-".repeat(36).as_str(), "", "é", "\u{fe}\u{ff}"] {
            assert_eq!(back(text), text);
        }
    }

    proptest! {
        #[test]
        fn every_text_comes_back_as_it_was(text in "([0-9a-f]{0,40}|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|\\PC{0,5}){0,8}") {
            prop_assert_eq!(back(&text), text);
        }
    }
}

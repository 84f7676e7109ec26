//! Takes the secrets of a call out of what a server says in answer to it.

use std::cmp::Reverse;

use zeroize::Zeroizing;

use super::percent;

/// Stands where a secret was.
const REDACTED: &str = "[redacted]";

/// The text without control characters and without the secrets, however a server may spell them when it repeats a
/// request. A text that hides one in a percent-encoding of its own kind goes whole.
pub fn redact(text: &str, secrets: &[&str]) -> String {
    // Control characters must not hide a secret until somebody else drops them.
    let mut text: String = text.chars().filter(|c| !c.is_control()).collect();
    let mut spellings: Vec<_> =
        secrets.iter().filter(|secret| !secret.is_empty()).flat_map(|secret| spellings(secret)).collect();
    // A secret may be part of another: the longest goes first.
    spellings.sort_unstable_by_key(|spelling| Reverse(spelling.len()));
    for spelling in &spellings {
        text = text.replace(spelling.as_str(), REDACTED);
    }
    let decode = |text: &str| String::from_utf8_lossy(&percent::decode(text.as_bytes())).into_owned();
    let (once, twice) = (decode(&text), decode(&decode(&text)));
    let hidden = spellings.iter().any(|spelling| once.contains(spelling.as_str()) || twice.contains(spelling.as_str()));
    if hidden { REDACTED.to_owned() } else { text }
}

/// The text as it is, as JSON and HTML escape it, and percent-encoded once, in either case of hex, or twice.
fn spellings(secret: &str) -> Vec<Zeroizing<String>> {
    let json = serde_json::to_string(secret).expect("a text always becomes JSON");
    let json = json.strip_prefix('"').and_then(|json| json.strip_suffix('"')).unwrap_or(&json);
    let html = secret.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;");
    let once = percent::encode(secret.as_bytes());
    let twice = percent::encode(once.as_bytes());
    [secret.to_owned(), json.to_owned(), html, lower_hex(&once), once, twice].map(Zeroizing::new).into()
}

/// Percent-encoded text with its hex digits in lower case.
fn lower_hex(encoded: &str) -> String {
    let mut parts = encoded.split('%');
    let plain = parts.next().unwrap_or_default().to_owned();
    parts.fold(plain, |text, part| {
        // Two digits follow each `%`.
        let (hex, rest) = part.split_at(2);
        format!("{text}%{}{rest}", hex.to_ascii_lowercase())
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn repeated_secret_is_taken_out_in_every_spelling() {
        let secret = r#"aB1@#$%^&*_+-="\<é"#;
        for spelling in spellings(secret) {
            let text = redact(&format!("illegal value [{}] given", *spelling), &[secret]);
            assert_eq!(text, "illegal value [[redacted]] given", "{}", *spelling);
        }
        assert_eq!(*spellings("a@")[3], "a%40");
        assert_eq!(*spellings("é*")[3], "%c3%a9%2a");
    }

    #[test]
    fn longer_secret_goes_before_the_one_it_holds() {
        assert_eq!(redact("Rds_1 and Rds_12", &["Rds_1", "Rds_12"]), "[redacted] and [redacted]");
    }

    #[test]
    fn secret_split_by_control_characters_is_not_put_together_again() {
        assert_eq!(redact("bad aB1@\u{0}aB1\n@ given", &["aB1@aB1@"]), "bad [redacted] given");
    }

    #[test]
    fn text_that_hides_a_secret_in_an_odd_encoding_goes_whole() {
        for text in ["given %52ds_1234", "given Rds%5f1234", "given Rds%255f1234", "given %7B%22Rds_1234%22"] {
            assert!(!redact(text, &["Rds_1234"]).contains("1234"), "{text}");
        }
    }

    #[test]
    fn text_without_secrets_stays_and_an_empty_secret_takes_nothing_out() {
        assert_eq!(redact("100% [sure], so be it", &["", "Rds_1234"]), "100% [sure], so be it");
    }

    proptest! {
        #[test]
        fn no_text_shows_a_secret(before in ".{0,40}", secret in "[A-Za-z0-9@#$%^&*_+=\"\\\\<-]{8,32}", after in ".{0,40}") {
            let text = redact(&format!("{before}{secret}{after}"), &[&secret]);
            prop_assert!(!text.contains(&secret), "{}", text);
        }
    }
}

//! What a refusal means: every `ret_code` of the vendor's error table, mapped to the contract's classes.
//!
//! Numbers decide. The words that come with them are not stable enough to match on; they only split 1400, which the
//! vendor uses for missing rights and for unfit states alike.

use std::{ops::RangeInclusive, time::Duration};

use crate::provider::{
    contract::{CallError, CloudError, ErrorClass},
    redact::redact,
};

/// `ret_code` of a request whose `time_stamp` the server finds too old.
pub(super) const EXPIRED: i64 = 1300;

/// `ret_code` for something that is not there.
pub(super) const NOT_FOUND: i64 = 2100;

/// One line of the vendor's error table.
struct Row {
    codes: RangeInclusive<i64>,
    class: ErrorClass,
    /// The server stopped somewhere inside the request, so that it may have taken effect.
    unknown: bool,
    pause: Option<Duration>,
    /// What it means and what to do, for people.
    meaning: &'static str,
}

const fn row(codes: RangeInclusive<i64>, class: ErrorClass, meaning: &'static str) -> Row {
    Row { codes, class, unknown: false, pause: None, meaning }
}

impl Row {
    const fn unknown(mut self) -> Self {
        self.unknown = true;
        self
    }

    const fn pause(mut self, seconds: u64) -> Self {
        self.pause = Some(Duration::from_secs(seconds));
        self
    }
}

/// The table, first match wins. Pauses are the shortest that make sense: a quota comes back within the hour at best, a
/// refused key only by a person's hand, capacity and dependencies within minutes.
const TABLE: &[Row] = &[
    // Rules are checked before the call, so what the cloud still refuses is for the author of the manifest to mend.
    row(1100..=1100, ErrorClass::InvalidSpec, "the cloud finds a parameter missing or malformed: check the manifest"),
    // Nothing in a manifest mends an operation that this endpoint does not offer.
    row(1101..=1101, ErrorClass::Rejected, "the cloud does not know this operation or one of its values"),
    row(1200..=1200, ErrorClass::AccessDenied, "check accessKeyID and secretAccessKey of the credentials Secret")
        .pause(300),
    row(EXPIRED..=EXPIRED, ErrorClass::Unavailable, "the clocks of operator and cloud differ: check the node's time"),
    // 1400 is split by `class_of_1400`; this is its plain meaning.
    row(1400..=1400, ErrorClass::AccessDenied, "check the rights of the access key and who owns the cluster").pause(60),
    row(1500..=1662, ErrorClass::Rejected, "an answer meant for console users"),
    row(2000..=2000, ErrorClass::Rejected, "an answer meant for console sessions"),
    row(NOT_FOUND..=NOT_FOUND, ErrorClass::InstanceNotFound, "check zone and clusterID of the instance"),
    row(2110..=2110, ErrorClass::AccountExists, "an account of that name is there already"),
    row(2200..=2300, ErrorClass::Unavailable, "the cloud's billing of the cluster is not ready").pause(60),
    row(2400..=2400, ErrorClass::InstanceUnavailable, "the balance of the cloud account is too low: top it up")
        .pause(60),
    row(2500..=2500, ErrorClass::Throttled, "the quota of API calls is used up").pause(15 * 60),
    row(3300..=3300, ErrorClass::Rejected, "the cloud does not offer this part of its API"),
    row(4000..=4005, ErrorClass::InstanceUnavailable, "the licence of this private cloud: ask who runs it").pause(60),
    row(5000..=5000, ErrorClass::Unavailable, "the cloud failed inside").unknown(),
    row(5100..=5100, ErrorClass::Unavailable, "the cloud is overloaded or ran out of time").unknown(),
    row(5200..=5200, ErrorClass::Unavailable, "the cloud is out of capacity").pause(60),
    row(5300..=5300, ErrorClass::Unavailable, "the cloud is being updated"),
    row(5400..=5400, ErrorClass::Unavailable, "the cloud waits for something this depends on").pause(60),
    row(5500..=5600, ErrorClass::Rejected, "an answer meant for other services"),
    // Not documented, but of the family of server faults: no proof that nothing happened.
    row(5001..=5999, ErrorClass::Unavailable, "a server fault that is not documented").unknown(),
    row(8000..=8004, ErrorClass::Rejected, "an answer meant for configuration files"),
    row(i64::MIN..=i64::MAX, ErrorClass::Rejected, "a code that is not documented"),
];

/// Makes a refusal of a `ret_code` that is not 0 and its `message`. Texts in `secrets` never appear in it.
pub(super) fn refusal(code: i64, message: &str, secrets: &[&str]) -> CallError {
    let row = TABLE.iter().find(|row| row.codes.contains(&code)).expect("the last row holds every code");
    let (class, meaning) = if code == 1400 { class_of_1400(message, row) } else { (row.class, row.meaning) };
    let said = presentable(message, secrets);
    let text = if said.is_empty() { meaning.to_owned() } else { format!("{said} ({meaning})") };
    let mut error = CloudError::new(class, text).with_code(code.to_string());
    // A busy cluster is free again soon; only the other readings of 1400 are slow.
    error.pause = row.pause.filter(|_| class != ErrorClass::InstanceBusy);
    if row.unknown { CallError::Unknown(error) } else { CallError::NotApplied(error) }
}

/// 1400 is `PermissionDenied` for missing rights **and** for a resource in an unfit state. Seen are, among others,
/// `resource [cl-…] is [updating], please try later`, `instance [i-…] is not running, can not be stopped` and
/// `only healthy cluster can be upgraded`.
fn class_of_1400(message: &str, row: &Row) -> (ErrorClass, &'static str) {
    let message = message.to_ascii_lowercase();
    let state = message.split_once(" is [").and_then(|(_, rest)| rest.split_once(']')).map(|(state, _)| state);
    if message.contains("please try later") || state.is_some_and(|state| state.ends_with("ing")) {
        return (ErrorClass::InstanceBusy, "another operation runs on the cluster");
    }
    let unfit = ["running", "active", "healthy", "ready"].iter().any(|fit| message.contains(&format!(" is not {fit}")));
    if state.is_some() || unfit || message.contains(", only ") {
        return (ErrorClass::InstanceUnavailable, "the cluster's state does not allow it: check it in the console");
    }
    (row.class, row.meaning)
}

/// Longest part of a server's text that is shown, so that the meaning behind it always fits the contract's limit.
const SAID_LIMIT: usize = 150;

/// The server's text without control characters and without anything that this call must not repeat.
///
/// Two nets: the call's own secrets are taken out in each spelling a server may repeat them in; and the text ends at
/// the first character that starts an echo of parameters, JSON, HTML or a URL, none of which a documented message has.
fn presentable(message: &str, secrets: &[&str]) -> String {
    let mut text = redact(message, secrets);
    let end = text.find(['{', '"', '=', '<', '&', '?']).into_iter().chain(text.find("://")).min();
    text.truncate(end.unwrap_or(text.len()));
    text.trim().chars().take(SAID_LIMIT).collect()
}

#[cfg(test)]
mod tests {
    use ErrorClass::*;
    use proptest::prelude::*;

    use super::*;
    use crate::provider::contract::MESSAGE_LIMIT;

    fn class(code: i64) -> ErrorClass {
        refusal(code, "", &[]).error().class
    }

    #[test]
    fn every_documented_code_has_its_class() {
        for (codes, expected) in [
            (vec![1100], InvalidSpec),
            (vec![1101, 1500, 1662, 2000, 3300, 5500, 5600, 8000, 8004], Rejected),
            (vec![1200, 1400], AccessDenied),
            (vec![2100], InstanceNotFound),
            (vec![2110], AccountExists),
            (vec![2400, 4000, 4001, 4002, 4003, 4004, 4005], InstanceUnavailable),
            (vec![2500], Throttled),
            (vec![1300, 2200, 2300, 5000, 5100, 5200, 5300, 5400], Unavailable),
        ] {
            for code in codes {
                assert_eq!(class(code), expected, "{code}");
            }
        }
    }

    #[test]
    fn only_server_faults_leave_the_effect_unknown() {
        let unknown: Vec<_> =
            (0..10_000).filter(|code| matches!(refusal(*code, "", &[]), CallError::Unknown(_))).collect();
        assert!(unknown.contains(&5000) && unknown.contains(&5100));
        let documented = [5200, 5300, 5400, 5500, 5600];
        assert!(unknown.iter().all(|code| (5000..6000).contains(code) && !documented.contains(code)), "{unknown:?}");
    }

    #[test]
    fn words_split_1400() {
        for (message, expected) in [
            ("PermissionDenied, resource [cl-1] is [updating], please try later", InstanceBusy),
            ("PermissionDenied, resource [cl-1] is [creating]", InstanceBusy),
            ("PermissionDenied, resource [cl-1] lease info not ready yet, please try later", InstanceBusy),
            ("PermissionDenied, instance [i-1] is not running, can not be stopped", InstanceUnavailable),
            ("PermissionDenied, only healthy cluster can be upgraded", InstanceUnavailable),
            ("PermissionDenied, resource [cl-1] is [suspended]", InstanceUnavailable),
            ("PermissionDenied, access denied for zone [sh1a]", AccessDenied),
            ("PermissionDenied, describe resource failed", AccessDenied),
            ("PermissionDenied, resource [cl-1] is not owned by you", AccessDenied),
            ("", AccessDenied),
        ] {
            assert_eq!(refusal(1400, message, &[]).error().class, expected, "{message}");
        }
    }

    #[test]
    fn words_split_nothing_else() {
        assert_eq!(refusal(1100, "x is [updating], please try later", &[]).error().class, InvalidSpec);
    }

    #[test]
    fn used_up_quota_pauses_a_quarter_of_an_hour() {
        assert_eq!(refusal(2500, "", &[]).error().pause, Some(Duration::from_secs(900)));
    }

    #[test]
    fn message_shows_the_clouds_words_and_what_to_do() {
        let error = refusal(1200, "AuthFailure, signature not matched", &[]);
        assert_eq!(
            error.error().to_string(),
            "1200: AuthFailure, signature not matched (check accessKeyID and secretAccessKey of the credentials Secret)"
        );
    }

    #[test]
    fn message_without_words_still_says_what_to_do() {
        assert_eq!(refusal(5100, "", &[]).error().to_string(), "5100: the cloud is overloaded or ran out of time");
    }

    #[test]
    fn echoed_password_is_taken_out() {
        let password = "aB1@#$%^&*_+-=";
        let text = refusal(1100, &format!("InvailidRequestFormat, illegal value [{password}] given"), &[password]);
        assert!(text.error().message.contains("illegal value [[redacted]] given"), "{text:?}");
    }

    #[test]
    fn echoed_parameters_json_and_urls_are_cut_off() {
        for echo in [
            "{\"passwd\": \"Unknown@1\"}",
            "passwd=Unknown@1",
            "<html>Unknown@1",
            "https://host/?service_params=Unknown@1",
            "\"Unknown@1\"",
        ] {
            let text = refusal(1100, &format!("bad request {echo}"), &[]).error().to_string();
            assert!(text.starts_with("1100: bad request") && !text.contains("Unknown@1"), "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_code_and_message_give_a_bounded_refusal_without_the_secrets(
            code: i64,
            before in ".{0,300}",
            secret in "[A-Za-z0-9@#$%^&*_+=-]{8,32}",
            after in ".{0,300}",
        ) {
            let error = refusal(code, &format!("{before}{secret}{after}"), &[&secret]);
            let error = error.error();
            prop_assert!(error.message.chars().count() <= MESSAGE_LIMIT);
            prop_assert!(!error.message.contains(&secret));
            prop_assert!(!error.message.chars().any(char::is_control));
        }
    }
}

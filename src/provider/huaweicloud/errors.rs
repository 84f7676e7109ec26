//! What a refusal of Huawei Cloud means: one table of codes, and the status only where the code is unknown.
//!
//! The code decides because the same code carries different statuses in sister services. A failure is certain, that is,
//! nothing was changed, when its meaning is a refusal; faults of the server and answers that cannot be read leave the
//! outcome unknown.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use reqwest::StatusCode;
use serde_json::Value;

use crate::{
    domain::secret::SecretText,
    provider::{
        contract::{CallError, CloudError, ErrorClass},
        http::{Answer, json, retry_after, server_time},
        redact::redact,
    },
};

/// Pause after throttling where the cloud names none: its windows are minutes, and refused calls count too.
const THROTTLE_PAUSE: Duration = Duration::from_secs(60);

/// Pause after a refused credential: more than five refusals lock an access key for five minutes (vendor's signing
/// guide), and wrong passwords lock the user.
pub const CREDENTIAL_PAUSE: Duration = Duration::from_secs(5 * 60);

/// Difference of clocks that the gateway still takes (vendor's signing guide).
const CLOCK_TOLERANCE: SignedDuration = SignedDuration::from_mins(15);

/// What a code means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Meaning {
    /// The credential itself was not accepted; a token may only be stale.
    Credential,
    /// A failure of this class. `Unavailable` says nothing of the effect, every other class is a certain refusal.
    Class(ErrorClass),
}

use ErrorClass::{
    AccessDenied, AccountExists, AccountNotFound, InstanceBusy, InstanceNotFound, InstanceUnavailable, InvalidPassword,
    InvalidSpec, Rejected, Throttled, Unavailable,
};
use Meaning::{Class, Credential};

/// Codes of the database service and of the identity service, from the vendor's tables of error codes.
#[rustfmt::skip]
const CODES: &[(Meaning, &[&str])] = &[
    // The account.
    (Class(AccountExists), &["DBS.200827"]),
    (Class(AccountNotFound), &["DBS.200824"]),
    (Class(InvalidPassword), &["DBS.280203", "DBS.200052", "DBS.280246"]),
    // Bad name, built-in name, name and password, no such database, bad parameters, malformed instance id.
    (Class(InvalidSpec), &["DBS.280292", "DBS.200828", "DBS.200029", "DBS.200823", "DBS.280128", "DBS.200001",
        "DBS.200004", "DBS.200006", "DBS.280001", "DBS.280204", "DBS.290000", "DBS.290001", "DBS.280404"]),
    // Accounts cannot be deleted on read replicas; page size.
    (Class(Rejected), &["DBS.200819", "DBS.280439"]),
    // The instance: another operation, backup, a status that does not allow the call.
    (Class(InstanceBusy), &["DBS.200011", "DBS.200019", "DBS.200047", "DBS.201202", "DBS.212006", "DBS.201015",
        "DBS.05000084", "DBS.212033", "DBS.200086", "DBS.201014", "DBS.200076", "DBS.280406", "DBS.201205"]),
    // Storage full, frozen for arrears, quota.
    (Class(InstanceUnavailable), &["DBS.200316", "DBS.280449", "DBS.200046", "DBS.290003"]),
    (Class(InstanceNotFound), &["DBS.200002", "DBS.200013", "DBS.200045", "DBS.200408", "DBS.200602", "DBS.201028",
        "DBS.290005", "DBS.290011", "DBS.290013", "DBS.05000044"]),
    // Id not authorised; "not found or no permission" is ambiguous on purpose and must never look like "gone".
    (Class(AccessDenied), &["DBS.200010", "DBS.200604", "DBS.200044", "DBS.201003", "DBS.280015"]),
    // The token does not fit the tenant.
    (Credential, &["DBS.280056"]),
    // Faults of the service. 200821: a change of permission failed, and how far it came is not said. 111205: timeout.
    (Class(Unavailable), &["DBS.108000", "DBS.108002", "DBS.108005", "DBS.200005", "DBS.200208", "DBS.213002",
        "DBS.213004", "DBS.290006", "DBS.290015", "DBS.111205", "DBS.00114000", "DBS.200821"]),
    // The identity service: not authenticated, locked, wrong password, token expired or invalid.
    (Credential, &["IAM.0001", "IAM.0061", "IAM.0062", "IAM.0066", "IAM.0067"]),
    (Class(AccessDenied), &["IAM.0002", "IAM.0003", "IAM.0080", "IAM.0081", "IAM.0082"]),
    (Class(InvalidSpec), &["IAM.1109"]),
    (Class(Rejected), &["IAM.0004", "IAM.0011"]),
    (Class(Throttled), &["IAM.0012"]),
    (Class(Unavailable), &["IAM.0006"]),
];

/// Codes of the gateway by the part after the dot: `APIGW.` and `APIG.` share them. 0201 is split by status.
#[rustfmt::skip]
const GATEWAY_CODES: &[(Meaning, &[&str])] = &[
    (Credential, &["0301", "0303", "0305", "0307"]),
    (Class(AccessDenied), &["0302", "0304", "0306", "0402", "0802"]),
    (Class(Throttled), &["0308"]),
    // 0101, no such API, says that path, host or region is wrong. It is no InstanceNotFound: it says nothing of the
    // instance, and "not found" could release an account that is still there. 0310: the project cannot be used.
    (Class(Rejected), &["0101", "0204", "0310", "0602"]),
    (Class(Unavailable), &["0103", "0104", "0105", "0106", "0107", "0202", "0203", "0601", "0605", "0606", "0608",
        "0609", "0610", "0611", "0613"]),
];

/// What of the call is needed to judge its refusal.
pub struct Asked<'a> {
    /// Signed with an access key, so that the clock matters.
    pub signed: bool,
    /// Secrets of the call, which a server may repeat in its answer.
    pub secrets: &'a [&'a SecretText],
    /// The time now.
    pub now: Timestamp,
}

/// A refusal, and whether the credential was its cause: then a fresh token may cure it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The failure in the words of the contract.
    pub error: CallError,
    /// The credential was not accepted, for certain.
    pub credential: bool,
}

impl Failure {
    /// A request that never left.
    pub fn not_sent(error: CloudError) -> Self {
        Self { error: CallError::NotApplied(error), credential: false }
    }
}

/// Judges an answer that is no success.
pub fn classify(answer: &Answer, asked: &Asked<'_>) -> Failure {
    let status = answer.status;
    let envelope = Some(&answer.body)
        .filter(|body| body.len() <= ENVELOPE_LIMIT)
        .and_then(|body| Envelope::find(&json(body)?, NESTING));
    let meaning =
        envelope.as_ref().and_then(|envelope| by_code(&envelope.code, status)).unwrap_or_else(|| by_status(status));
    let (mut class, credential) = match meaning {
        Credential => (AccessDenied, true),
        Class(class) => (class, false),
    };
    let code = envelope.as_ref().map_or_else(|| status.as_u16().to_string(), |envelope| envelope.code.clone());
    let secrets: Vec<_> = asked.secrets.iter().map(|secret| secret.expose()).collect();
    let mut message = envelope.as_ref().map_or_else(String::new, |envelope| redact(&envelope.message, &secrets));
    if message.is_empty() {
        let text = if status.is_success() { "cannot be understood" } else { "does not say why" };
        message = format!("the provider's answer with HTTP status {} {text}", status.as_u16());
    }
    // Neither success nor redirect is a refusal. Without an envelope it is not known who speaks, but only gateways say
    // 401 and 429, before anything is done.
    let understood = envelope.is_some() || [StatusCode::UNAUTHORIZED, StatusCode::TOO_MANY_REQUESTS].contains(&status);
    let certain = understood && class != Unavailable && (status.is_client_error() || status.is_server_error());
    if credential && asked.signed && wrong_clock(answer, asked.now, &message) {
        class = Unavailable;
        message = "the provider refused the time of the signature; set the clock of this machine".into();
    }
    let mut error = CloudError::new(class, message).with_code(redact(&code, &secrets));
    error.pause = pause(class, credential, retry_after(&answer.headers, asked.now));
    let error = if certain { CallError::NotApplied(error) } else { CallError::Unknown(error) };
    Failure { error, credential: credential && certain }
}

fn by_code(code: &str, status: StatusCode) -> Option<Meaning> {
    let row = |table: &[(Meaning, &[&str])], code: &str| {
        table.iter().find(|(_, codes)| codes.contains(&code)).map(|(meaning, _)| *meaning)
    };
    match code.strip_prefix("APIGW.").or_else(|| code.strip_prefix("APIG.")) {
        // One code for too large, too slow and broken: the fault is the server's where the status says so.
        Some("0201") => Some(Class(if status.is_server_error() { Unavailable } else { Rejected })),
        Some(number) => row(GATEWAY_CODES, number),
        None => row(CODES, code),
    }
}

/// Meaning of a status whose code is unknown. 404 is no proof that an account or an instance is gone.
fn by_status(status: StatusCode) -> Meaning {
    match status.as_u16() {
        401 => Credential,
        403 => Class(AccessDenied),
        408 => Class(Unavailable),
        409 => Class(InstanceBusy),
        429 => Class(Throttled),
        400..=499 => Class(Rejected),
        _ => Class(Unavailable),
    }
}

fn pause(class: ErrorClass, credential: bool, asked_for: Option<Duration>) -> Option<Duration> {
    if credential {
        return Some(asked_for.unwrap_or_default().max(CREDENTIAL_PAUSE));
    }
    if class == Throttled { asked_for.or(Some(THROTTLE_PAUSE)) } else { asked_for }
}

/// A refused signature whose cause is the clock: the answer bears another time, or says so.
fn wrong_clock(answer: &Answer, now: Timestamp, message: &str) -> bool {
    let differs = |server: Timestamp| now.duration_since(server).abs() > CLOCK_TOLERANCE;
    server_time(&answer.headers).is_some_and(differs) || message.contains("signature expired")
}

/// Deepest object searched for an error: the documented ones are at most one deep.
const NESTING: usize = 8;

/// Largest answer searched for an error. Documented ones take less than 1 KiB; a list that is no list may have 16 MiB, which
/// as a tree of JSON values would take many times that.
const ENVELOPE_LIMIT: usize = 64 * 1024;

/// Names under which code and message stand, in the order of the vendor's SDK; the third pair, of some sub-services of
/// the database, is unknown to it.
const FIELDS: [(&str, &str); 4] =
    [("error_code", "error_msg"), ("errorCode", "errorMsg"), ("errCode", "externalMessage"), ("code", "message")];

/// Code and message of an error answer.
struct Envelope {
    code: String,
    message: String,
}

impl Envelope {
    /// At this level first, then in the nested objects.
    fn find(value: &Value, depth: usize) -> Option<Self> {
        let object = value.as_object()?;
        let here = FIELDS.iter().find_map(|(code, message)| {
            let message = object.get(*message).and_then(Value::as_str);
            // `code` alone is too common a word to be an error.
            if *code == "code" && message.is_none() {
                return None;
            }
            let code = match object.get(*code)? {
                Value::String(text) if !text.is_empty() => text.clone(),
                // The identity service writes its code as a number.
                Value::Number(number) => number.to_string(),
                _ => return None,
            };
            Some(Self { code, message: message.unwrap_or_default().to_owned() })
        });
        let depth = depth.checked_sub(1)?;
        here.or_else(|| object.values().find_map(|nested| Self::find(nested, depth)))
    }
}

#[cfg(test)]
mod tests;

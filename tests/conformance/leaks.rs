//! No secret comes out again: not in an error, not in a log line of any level, in no spelling.

use std::{
    io,
    sync::{Arc, LazyLock, Mutex, PoisonError},
};

use base64::{
    Engine,
    prelude::{BASE64_STANDARD, BASE64_URL_SAFE},
};
use clickhouse_user_operator::{
    domain::{
        names::InstanceKey,
        operator_key::{KEY_BYTES, OperatorKey},
        secret::SecretText,
    },
    provider::contract::CallKind,
};
use emulated_clouds::{Fault, FaultAnswer, Moment, Operation, Switches, Target, Which};
use serde_json::json;
use tracing_subscriber::{fmt, layer::SubscriberExt, util::SubscriberInitExt};
use zeroize::Zeroizing;

use crate::{
    subjects::{HUAWEI_BY_KEYS, HUAWEI_BY_LOGIN, Place, QINGCLOUD_BY_POST, Subject, Who},
    world::{OTHER_PASSWORD, PASSWORD, World, read, unhindered},
};

/// Longer runs of letters and digits are tokens: a signature has 64 of them.
const LONGEST_PLAIN_RUN: usize = 100;

/// What nobody may see: passwords of accounts and the secret parts of every credential.
fn secrets() -> Vec<String> {
    let mut secrets = vec![PASSWORD.to_owned(), OTHER_PASSWORD.to_owned()];
    let ways: [&dyn Subject; 3] = [&QINGCLOUD_BY_POST, &HUAWEI_BY_KEYS, &HUAWEI_BY_LOGIN];
    for way in ways {
        for who in [Who::Us, Who::Colleague, Who::Impostor, Who::Stranger] {
            let secret =
                way.credential(who).into_iter().filter(|(key, _)| ["secretAccessKey", "password"].contains(key));
            secrets.extend(secret.map(|(_, value)| value));
        }
    }
    secrets
}

/// The ways in which a server may repeat a text in one of its own.
fn echoes(secret: &str) -> Vec<String> {
    let percent = |upper: bool, text: &str| -> String {
        let byte = |byte: u8| match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => char::from(byte).to_string(),
            _ if upper => format!("%{byte:02X}"),
            _ => format!("%{byte:02x}"),
        };
        text.bytes().map(byte).collect()
    };
    let in_json = serde_json::to_string(secret).expect("a text becomes JSON");
    let in_html = secret.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;");
    let once = percent(true, secret);
    vec![
        secret.to_owned(),
        percent(true, &once),
        percent(false, secret),
        once,
        in_json.trim_matches('"').to_owned(),
        in_html,
        format!("{}\u{0}{}", &secret[..4], &secret[4..]),
    ]
}

/// These, and spellings that only our own code could make.
fn spellings(secret: &str) -> Vec<String> {
    let hex = hex::encode(secret);
    let own = [
        BASE64_STANDARD.encode(secret).trim_end_matches('=').to_owned(),
        BASE64_URL_SAFE.encode(secret).trim_end_matches('=').to_owned(),
        hex.to_uppercase(),
        hex,
        secret.chars().rev().collect(),
        format!("{:?}", secret.as_bytes()).trim_matches(['[', ']']).to_owned(),
    ];
    echoes(secret).into_iter().chain(own).collect()
}

/// Every spelling of every secret.
static SPELLINGS: LazyLock<Vec<String>> =
    LazyLock::new(|| secrets().iter().flat_map(|secret| spellings(secret)).collect());

/// The lines of this text but for the records of the TLS library, which show certificates and keys of handshakes.
fn outside_tls(text: &str) -> impl Iterator<Item = &str> {
    let mut of_tls = false;
    text.lines().filter(move |line| {
        // A record begins with time, level and target; what follows on lines of its own belongs to it.
        if line.starts_with("20") {
            of_tls = line.split_whitespace().nth(2).is_some_and(|target| target.starts_with("rustls::"));
        }
        !of_tls
    })
}

/// A secret in this text, if there is one: how it is spelt there.
fn found_in(text: &str) -> Option<String> {
    let not_plain = |c: char| !c.is_ascii_alphanumeric() && !"+/=".contains(c);
    let mut lines = outside_tls(text);
    if let Some(run) = lines.find_map(|line| line.split(not_plain).find(|run| run.len() > LONGEST_PLAIN_RUN)) {
        return Some(run.to_owned());
    }
    SPELLINGS.iter().find(|spelling| text.contains(spelling.as_str())).cloned()
}

/// Panics if there is a secret in this text.
pub fn assert_clean(text: &str) {
    if let Some(secret) = found_in(text) {
        panic!("{secret} is shown in: {text}");
    }
}

/// Log lines of one test.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Runs a proof with all logs on, those of libraries too, and finds no secret in them. The proof runs on one thread.
pub async fn watched(proof: impl Future<Output = ()>) {
    let logged = logged_by(proof).await;
    assert!(!logged.is_empty(), "even a connection is logged at this level: nobody watched");
    assert_clean(&logged);
}

async fn logged_by(work: impl Future<Output = ()>) -> String {
    let lines = Lines::default();
    let writer = lines.clone();
    let layer = fmt::layer().with_ansi(false).with_writer(move || writer.clone());
    let guard = tracing_subscriber::registry().with(layer).set_default();
    work.await;
    drop(guard);
    let bytes = lines.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
    String::from_utf8(bytes).expect("lines are text")
}

#[tokio::test]
async fn watch_sees_each_secret_in_each_spelling_and_tokens() {
    for secret in secrets() {
        for spelling in spellings(&secret) {
            let logged = logged_by(async { tracing::trace!("sent {spelling} now") }).await;
            assert!(found_in(&logged).is_some(), "{spelling:?} in {logged:?}");
        }
    }
    assert!(found_in(&format!("token {}", "MIIa+/9".repeat(20))).is_some());
    let of_tls = logged_by(async { tracing::trace!(target: "rustls::server", "{}", "ab".repeat(100)) }).await;
    assert_eq!(found_in(&of_tls), None, "a certificate");
    let of_tls = logged_by(async { tracing::trace!(target: "rustls::server", "{PASSWORD}") }).await;
    assert!(found_in(&of_tls).is_some(), "{of_tls}");
    assert_eq!(found_in(&format!("code 1100 {} {}", "a".repeat(64), "0".repeat(32))), None);
}

/// Everything a call may carry is repeated in the answer to it, in the cloud's own words and in others'.
async fn secret_that_a_cloud_repeats_is_not_passed_on(subject: &'static dyn Subject) {
    let world = World::start(subject, Switches::default(), unhindered()).await;
    let (_, credential) = subject.credential(Who::Us).pop().expect("the secret part comes last");
    let codes: &[&str] = if subject.capabilities().jobs { &["1100", "1400", "5000", "9999"] } else { &["DBS.280001"] };
    for kind in subject.changes() {
        let mut carried = vec![credential.as_str()];
        match kind {
            CallKind::Create => carried.push(PASSWORD),
            CallKind::SetPassword => carried.push(OTHER_PASSWORD),
            CallKind::SetAccess | CallKind::Delete => {}
        }
        for echo in carried.into_iter().flat_map(echoes) {
            let message = format!("illegal value [{echo}] given");
            let mut answers: Vec<_> =
                codes.iter().map(|code| FaultAnswer::Refusal(400, (*code).to_owned(), message.clone())).collect();
            answers.extend([
                FaultAnswer::Refusal(400, echo.clone(), "illegal value".to_owned()),
                FaultAnswer::Json(500, json!({ "error": { "code": echo, "message": message } }).to_string()),
                FaultAnswer::Json(502, format!("<html>{echo}</html>")),
                FaultAnswer::Json(200, json!({ "ret_code": 0, "job_id": [&echo], "result": echo }).to_string()),
            ]);
            for answer in answers {
                let target = Target::Operation(subject.change(kind));
                world.clouds.inject(Fault { target, which: Which::Next(1), moment: Moment::BeforeEffect, answer });
                let (_, outcome) = world.change(&world.connect(Place::Ours(0), Who::Us), kind, "repeated").await;
                assert!(outcome.is_err(), "{}: {outcome:?}", subject.name());
            }
        }
    }
}

proven_for_every_cloud! {
    secret_that_a_cloud_repeats_is_not_passed_on
}

#[tokio::test]
async fn login_password_that_the_identity_service_repeats_is_not_passed_on() {
    let proof = async {
        let world = World::start(&HUAWEI_BY_LOGIN, Switches::default(), unhindered()).await;
        let (_, password) = HUAWEI_BY_LOGIN.credential(Who::Us).pop().expect("the password comes last");
        for echo in echoes(&password) {
            let message = format!("illegal value [{echo}] given");
            let answer = FaultAnswer::Refusal(400, "IAM.0011".to_owned(), message);
            let target = Target::Operation(Operation::CreateToken);
            world.clouds.inject(Fault { target, which: Which::Next(1), moment: Moment::BeforeEffect, answer });
            let error = read(&world.connect(Place::Ours(0), Who::Us)).await.err().expect("a refused login");
            assert!(error.message.starts_with("login: "), "{error}");
        }
    };
    watched(proof).await;
}

#[tokio::test]
async fn credential_that_lacks_a_part_is_refused_without_showing_the_rest() {
    for subject in [&QINGCLOUD_BY_POST as &'static dyn Subject, &HUAWEI_BY_KEYS, &HUAWEI_BY_LOGIN] {
        let world = World::start(subject, Switches::default(), unhindered()).await;
        let values = subject.credential(Who::Us);
        for (missing, _) in &values {
            let present = values.iter().filter(|(key, _)| key != missing);
            let value =
                |key: &str| present.clone().find(|(name, _)| *name == key).map(|(_, value)| SecretText::new(value));
            let target = subject.target(&world.clouds, Place::Ours(0));
            let operator_key = OperatorKey::new(Zeroizing::new([7; KEY_BYTES]));
            let error = world.fleet.connect(&target, &InstanceKey::new("key"), &value, &operator_key).err();
            let error = error.unwrap_or_else(|| panic!("{}: connected without {missing}", subject.name()));
            assert!(error.to_string().contains(missing), "{}: {error}", subject.name());
            assert_clean(&format!("{error} {error:?}"));
        }
    }
}

//! What the targets have in common: scripts of answers, and what must hold whatever a server says.
//!
//! An input is a script in plain text, so that it can be read, written and cut by hand: the name of a call, then the
//! answers that its requests get, each a status, header lines, a blank line and a body, with a line `%%` between two.

use std::{
    fmt::Debug,
    str::FromStr,
    sync::{Arc, LazyLock},
    time::Duration,
};

use clickhouse_user_operator::{
    domain::{
        names::{AttemptId, Username},
        secret::SecretText,
    },
    provider::{
        budget::{Budget, Rate},
        contract::{
            Access, CallError, CallKind, CloudError, LostCall, MESSAGE_LIMIT, Mutation, Permission, ProviderKind,
        },
        http::{Answer, Http, Observer, Transport, planted},
    },
};
use futures::FutureExt;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use peak_alloc::PeakAlloc;
use serde_json::Value;
use tokio::time::Instant;
use zeroize::Zeroizing;

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

/// The password of each call. What a server repeats of it must not come out again.
pub const PASSWORD: &str = "Canary^Pass*word+1@";

/// The secret part of every credential, likewise.
pub const SECRET_KEY: &str = "canarySecretKey0123456789";

/// A call and the answers that its requests get.
pub struct Script {
    /// Which call.
    pub call: String,
    /// Status and body of each answer, as planted.
    pub answers: Vec<(StatusCode, Vec<u8>)>,
}

/// Reads a script and plants its answers; `None` where the input is none.
pub fn plant(input: &[u8]) -> Option<Script> {
    let (call, rest) = cut(input, b"\n")?;
    let call = std::str::from_utf8(call).ok()?.to_owned();
    let answers: Vec<_> = split(rest, b"\n%%\n").map(answer).collect::<Option<_>>()?;
    let script = Script { call, answers: answers.iter().map(|it| (it.status, it.body.to_vec())).collect() };
    planted::plant(answers);
    Some(script)
}

fn answer(text: &[u8]) -> Option<Answer> {
    let (status, rest) = cut(text, b"\n")?;
    let status = StatusCode::from_str(std::str::from_utf8(status).ok()?).ok()?;
    // Without headers the blank line follows at once.
    let (head, body) = rest.strip_prefix(b"\n").map(|body| (&b""[..], body)).or_else(|| cut(rest, b"\n\n"))?;
    let mut headers = HeaderMap::new();
    for line in split(head, b"\n").filter(|line| !line.is_empty()) {
        let (name, value) = cut(line, b": ")?;
        headers.append(HeaderName::from_bytes(name).ok()?, HeaderValue::from_bytes(value).ok()?);
    }
    Some(Answer { status, headers, body: Zeroizing::new(body.to_vec()) })
}

fn cut<'a>(text: &'a [u8], at: &[u8]) -> Option<(&'a [u8], &'a [u8])> {
    let place = text.windows(at.len()).position(|window| window == at)?;
    Some((&text[..place], &text[place + at.len()..]))
}

fn split<'a>(text: &'a [u8], at: &'a [u8]) -> impl Iterator<Item = &'a [u8]> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let text = rest?;
        let (part, left) = cut(text, at).map_or((text, None), |(part, left)| (part, Some(left)));
        rest = left;
        Some(part)
    })
}

/// The HTTP side of a credential. Nothing is sent through it: answers are planted.
pub fn http(provider: ProviderKind) -> Arc<Http> {
    fn observer() -> Observer {
        Arc::new(|_| {})
    }
    static CLIENT: LazyLock<reqwest::Client> = LazyLock::new(|| {
        let call_timeout = Duration::from_secs(1);
        let transport = Transport { call_timeout, extra_roots: Vec::new(), observer: observer() };
        transport.client().expect("the machine has TLS roots")
    });
    let budget = Budget::new(Rate { per_second: 1.0, burst: 1 }, Instant::now());
    Arc::new(Http::new(provider, budget.into(), CLIENT.clone(), observer()))
}

/// Access with all that a cloud may ask for.
pub fn access() -> Access {
    Access {
        allowed_hosts: Some(["10.0.0.0/8".to_owned()].into()),
        databases: Some(["db1".to_owned()].into()),
        permission: Some(Permission::ReadOnly),
    }
}

/// Attempt, account and password of a call.
pub fn names() -> (AttemptId, Username, SecretText) {
    (AttemptId::new("0123456789abcdef0123456789abcdef"), Username::new("reporting"), SecretText::new(PASSWORD))
}

/// The call as one whose answer was lost.
pub fn lost(kind: CallKind) -> LostCall {
    let (attempt, username, _) = names();
    LostCall { attempt, kind, username, since: "2026-11-22T08:00:00Z".parse().expect("a time") }
}

/// What a call came to. Planted answers are there at once, so nothing is waited for.
pub fn now<T>(call: impl Future<Output = T>) -> T {
    call.now_or_never().expect("nothing is waited for")
}

/// Demands of a changing call that its failure can be shown, and that it succeeded only where an answer says so.
pub fn judge(outcome: &Mutation, succeeded: bool) {
    match outcome {
        Ok(_) => assert!(succeeded, "no answer says that it succeeded: {outcome:?}"),
        Err(CallError::NotApplied(error) | CallError::Unknown(error)) => presentable(error),
    }
}

/// Demands of a failure that it can be shown to people.
pub fn presentable(error: &CloudError) {
    assert!(error.message.chars().count() <= MESSAGE_LIMIT, "{error}");
    assert!(error.code.as_ref().is_none_or(|code| code.chars().count() <= 64), "{error}");
    assert!(!error.to_string().chars().any(char::is_control), "{error:?}");
    shows_no_secret(error);
}

/// Demands of a result that it shows no secret.
pub fn shows_no_secret(result: &impl Debug) {
    let text = format!("{result:?}");
    assert!(!text.contains(PASSWORD) && !text.contains(SECRET_KEY), "{text}");
}

/// The object of an answer.
pub fn json(body: &[u8]) -> Option<Value> {
    serde_json::from_slice(body).ok().filter(Value::is_object)
}

/// Runs something and demands that it took no more memory than an input of this size may cost: a JSON value takes up to
/// some 70 bytes for each of its text (`[0,0,…`), and one is made by the client and one by its judge.
pub fn in_bounds<T>(input: usize, run: impl FnOnce() -> T) -> T {
    let before = MEMORY.current_usage();
    MEMORY.reset_peak_usage();
    let result = run();
    let taken = MEMORY.peak_usage().saturating_sub(before);
    assert!(taken <= 256 * 1024 + 256 * input, "{taken} bytes for an input of {input}");
    result
}

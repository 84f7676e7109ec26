//! What tools make of our objects: kstatus itself, from its Go module, on every state that an object can be in. Flux and
//! Helm wait by it.

use std::{
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use clickhouse_user_operator::api::conditions::{self, Companion, ConditionStatus, LoginOutcome, ReadySummary, Reason};
use jiff::Timestamp;
use serde_json::{Value, json};

const GENERATION: i64 = 4;

/// What kstatus says of each object.
fn kstatus(objects: &[Value]) -> Vec<String> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("hack/tools/build");
    let built = Command::new(script).arg("kstatus").stderr(Stdio::inherit()).output().expect("the script runs");
    assert!(built.status.success(), "kstatus cannot be built; see above");
    let folder = PathBuf::from(String::from_utf8(built.stdout).expect("a path").trim());
    let mut process = Command::new(folder.join("kstatus"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("kstatus starts");
    let mut input = process.stdin.take().expect("its input is piped");
    input.write_all(json!(objects).to_string().as_bytes()).expect("it reads");
    drop(input);
    let output = process.wait_with_output().expect("it ends");
    assert!(output.status.success(), "kstatus failed");
    let verdicts: Vec<String> = serde_json::from_slice(&output.stdout).expect("a list");
    assert_eq!(verdicts.len(), objects.len());
    verdicts
}

/// An object with this status.
fn object(kind: &str, status: &Value) -> Value {
    json!({
        "apiVersion": "chuser.dev/v1alpha1",
        "kind": kind,
        "metadata": { "name": "reporting", "namespace": "analytics", "generation": GENERATION },
        "status": status,
    })
}

/// The status that the operator writes for a reason.
fn status(reason: Reason, login: Option<LoginOutcome>) -> Value {
    let ready = ReadySummary { reason, message: reason.meaning().to_owned() };
    let now = Timestamp::UNIX_EPOCH;
    let conditions = conditions::conditions(&[], &ready, GENERATION, now);
    let conditions = match login {
        Some(outcome) => conditions::with_login(&conditions, Some((outcome, "A login.")), GENERATION, now),
        None => conditions,
    };
    // A new object that is suspended has not been applied yet.
    let observed = if reason == Reason::Suspended { -1 } else { GENERATION };
    json!({ "observedGeneration": observed, "conditions": conditions })
}

fn expected(reason: Reason) -> &'static str {
    match (reason.ready(), reason.companion()) {
        (ConditionStatus::True, None) => "Current",
        (ConditionStatus::False, Some(Companion::Stalled)) => "Failed",
        (ConditionStatus::Unknown, Some(Companion::Reconciling | Companion::Suspended))
        | (ConditionStatus::False, None) => "InProgress",
        other => panic!("{reason:?} has a combination that the design does not know: {other:?}"),
    }
}

#[test]
fn kstatus_sees_each_reason_as_what_it_is() {
    let objects: Vec<_> = Reason::ALL.iter().map(|reason| object("ClickHouseUser", &status(*reason, None))).collect();
    for (reason, verdict) in Reason::ALL.iter().zip(kstatus(&objects)) {
        assert_eq!(verdict, expected(*reason), "{reason:?}");
    }
}

#[test]
fn login_check_changes_nothing_of_what_kstatus_sees() {
    let objects = LoginOutcome::ALL.map(|login| object("ClickHouseUser", &status(Reason::AccountReady, Some(login))));
    assert_eq!(kstatus(&objects), ["Current"; 3]);
}

#[test]
fn object_that_nobody_has_seen_yet_is_in_progress_and_one_that_goes_is_terminating() {
    let new = object("ClickHouseUser", &json!({ "observedGeneration": -1 }));
    let mut changed = object("ClickHouseUser", &status(Reason::AccountReady, None));
    changed["metadata"]["generation"] = json!(GENERATION + 1);
    let mut deleted = object("ClickHouseUser", &status(Reason::JobFailed, None));
    deleted["metadata"]["deletionTimestamp"] = json!("2026-11-22T12:00:00Z");
    assert_eq!(kstatus(&[new, changed, deleted]), ["InProgress", "InProgress", "Terminating"]);
}

//! The program that a person starts.
#![expect(clippy::unwrap_used, reason = "in tests a panic is the report")]

mod support;

use std::{
    io::{BufRead, BufReader},
    process::{Command, Stdio},
};

use serde_json::Value;
use support::*;

const PROGRAM: &str = env!("CARGO_BIN_EXE_emulated-clouds");
const EXAMPLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/example-seed.json");

#[tokio::test]
async fn it_serves_the_example_of_its_help_and_ends_at_sigterm() {
    let help = Command::new(PROGRAM).arg("--help").output().unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    assert!(help.contains(&std::fs::read_to_string(EXAMPLE).unwrap()), "{help}");

    let mut child = Command::new(PROGRAM).args(["--seed", EXAMPLE]).stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    let endpoints: Value = serde_json::from_str(&line).unwrap();
    let get = async |origin: &str, path: &str| {
        let url = url::Url::parse(endpoints[origin].as_str().unwrap()).unwrap().join(path).unwrap();
        http().get(url).send().await.unwrap().text().await.unwrap()
    };
    assert!(get("qingcloud", "?access_key_id=KEY").await.contains("1100"));
    let ledger = get("iam", "/_emulator/ledger").await;
    assert_eq!(ledger.lines().count(), 2, "{ledger}");
    let switches: Value = serde_json::from_str(&get("huawei", "/_emulator/switches").await).unwrap();
    assert_eq!(switches["set"]["huawei_user_name_filter"], "substring");

    assert!(Command::new("kill").arg(child.id().to_string()).status().unwrap().success());
    assert!(child.wait().unwrap().success());
}

#[test]
fn a_seed_that_is_not_understood_is_refused_by_name() {
    let output =
        Command::new(PROGRAM).args(["--seed", concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml")]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8(output.stderr).unwrap().contains("Cargo.toml: "));
}

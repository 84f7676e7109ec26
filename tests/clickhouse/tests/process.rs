//! Nothing of a server outlives its owner.

use std::net::TcpStream;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clickhouse::{Account, ReadOnly, Server};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

const PASSWORD: &str = "Password1";

fn account(name: &str) -> Account {
    Account {
        name: name.to_owned(),
        password: PASSWORD.to_owned(),
        networks: vec!["127.0.0.1".to_owned()],
        databases: vec!["*".to_owned()],
        read_only: ReadOnly::Reads,
    }
}

/// What `clickhouse-for-tests` prints once it serves.
async fn start_by_hand(folder: &tempfile::TempDir) -> (Child, u16) {
    let mut program = Command::new(env!("CARGO_BIN_EXE_clickhouse-for-tests"))
        .env("TMPDIR", folder.path())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("the program starts");
    let stdout = BufReader::new(program.stdout.take().expect("standard output is a pipe"));
    let line = stdout.lines().next_line().await.expect("standard output is text").expect("one line is printed");
    let facts: Value = serde_json::from_str(&line).expect("the line is JSON");
    let port = facts["httpPort"].as_u64().and_then(|port| u16::try_from(port).ok()).expect("a port");
    (program, port)
}

/// Waits until nobody listens on the port and the folder for temporary files is empty.
async fn everything_is_gone(port: u16, folder: &tempfile::TempDir) {
    let begin = Instant::now();
    let leftovers = || folder.path().read_dir().expect("a folder").map(|entry| entry.expect("an entry").path());
    while TcpStream::connect(("127.0.0.1", port)).is_ok() || leftovers().next().is_some() {
        let leftovers: Vec<PathBuf> = leftovers().collect();
        assert!(begin.elapsed() < Duration::from_secs(20), "still there: port {port} or {leftovers:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn dropping_the_server_ends_it() {
    let server = Server::start().await.expect("a server");
    let port = server.http_port();
    drop(server);
    assert!(TcpStream::connect(("127.0.0.1", port)).is_err());
}

#[tokio::test]
async fn a_killed_owner_takes_the_server_along() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (mut owner, port) = start_by_hand(&folder).await;
    TcpStream::connect(("127.0.0.1", port)).expect("the server listens");
    owner.kill().await.expect("SIGKILL is delivered");
    everything_is_gone(port, &folder).await;
}

#[tokio::test]
async fn sigterm_ends_the_program_and_the_server_in_order() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (mut owner, port) = start_by_hand(&folder).await;
    let pid = owner.id().expect("it runs").to_string();
    let sent = Command::new("kill").args(["-TERM", &pid]).status().await.expect("kill starts");
    assert!(sent.success());
    assert!(owner.wait().await.expect("it ends").success());
    everything_is_gone(port, &folder).await;
}

#[test]
fn a_server_serves_tests_in_different_runtimes() {
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let server = runtime().block_on(Server::start()).expect("a server");
    let account = account("reporting");
    runtime().block_on(server.put_account(&account)).expect("the account is put");
    for _ in 0..3 {
        let answer = runtime().block_on(server.query("reporting", PASSWORD, "SELECT 1"));
        assert_eq!(answer.expect("the account logs in"), "1\n");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tasks_on_several_threads_share_a_server() {
    let server = Arc::new(tokio::spawn(Server::start()).await.expect("no panic").expect("a server"));
    let tasks = ["one", "two", "three"].map(|name| {
        let server = Arc::clone(&server);
        tokio::spawn(async move {
            server.put_account(&account(name)).await.expect("the account is put");
            server.query(name, PASSWORD, "SELECT 1").await.expect("the account logs in");
            server.remove_account(name).await.expect("the account is removed");
        })
    });
    for task in tasks {
        task.await.expect("no panic");
    }
}

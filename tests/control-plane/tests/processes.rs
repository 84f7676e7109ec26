//! Starting, stopping and ending: nothing of a control plane outlives its owner.

use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};
use std::{env, fs};

use control_plane::{ControlPlane, client, shared};
use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use kube::api::{ObjectMeta, PostParams};
use kube::{Api, ResourceExt as _};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

fn map(name: &str) -> ConfigMap {
    let metadata = ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() };
    ConfigMap { metadata, ..ConfigMap::default() }
}

fn is_listening(url: &str) -> bool {
    TcpStream::connect(url.trim_start_matches("https://")).is_ok()
}

/// Processes that have this folder in their command line or run in it.
fn processes_of(folder: &Path) -> Vec<PathBuf> {
    let of_folder = |process: &PathBuf| {
        let command_line = fs::read(process.join("cmdline")).unwrap_or_default();
        let runs_in = fs::read_link(process.join("cwd")).unwrap_or_default();
        String::from_utf8_lossy(&command_line).contains(&*folder.to_string_lossy()) || runs_in.starts_with(folder)
    };
    let processes = fs::read_dir("/proc").expect("processes can be listed");
    processes.map(|process| process.expect("an entry").path()).filter(of_folder).collect()
}

/// Waits until no process uses the folder and nothing is in it.
async fn is_left_empty(folder: &Path) {
    let begin = Instant::now();
    loop {
        let files: Vec<_> = fs::read_dir(folder).expect("a folder").collect();
        let processes = processes_of(folder);
        if files.is_empty() && processes.is_empty() {
            return;
        }
        assert!(begin.elapsed() < Duration::from_secs(30), "still there: {files:?}, {processes:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Starts the program `control-plane` and returns it with what it prints.
async fn start_by_hand(folder: &Path, arguments: &[&str]) -> (Child, Value) {
    let mut program = Command::new(env!("CARGO_BIN_EXE_control-plane"))
        .args(arguments)
        .env("TMPDIR", folder)
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("the program starts");
    let stdout = BufReader::new(program.stdout.take().expect("standard output is a pipe"));
    let line = stdout.lines().next_line().await.expect("standard output is text").expect("one line is printed");
    (program, serde_json::from_str(&line).expect("the line is JSON"))
}

#[tokio::test]
async fn a_restart_keeps_address_objects_and_audit_log() {
    let plane = ControlPlane::start().await.expect("a control plane");
    let maps: Api<ConfigMap> = Api::default_namespaced(plane.client());
    let mark = plane.audit_mark().await.expect("a mark");
    maps.create(&PostParams::default(), &map("before")).await.expect("it is created");

    plane.stop_api_server().await;
    assert!(!is_listening(plane.url()));
    maps.get("before").await.expect_err("nobody answers");
    plane.start_api_server().await.expect("it starts");
    maps.get("before").await.expect("it is still there");

    plane.restart_api_server().await.expect("it restarts");
    maps.create(&PostParams::default(), &map("after")).await.expect("it is created");
    let events = plane.audit_since(mark).await.expect("the audit log");
    for name in ["before", "after"] {
        assert!(events.iter().any(|event| event.verb == "create" && event.name == name), "{name}");
    }
}

#[tokio::test]
async fn dropping_it_ends_all_servers_and_removes_their_folder() {
    let plane = ControlPlane::start().await.expect("a control plane");
    let folder = plane.kubeconfig().parent().expect("it has a folder").to_owned();
    assert!(processes_of(&folder).len() >= 2);
    drop(plane);
    assert_eq!(processes_of(&folder), Vec::<PathBuf>::new());
    assert!(!folder.exists());
}

#[tokio::test]
async fn a_killed_owner_takes_all_servers_along() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (mut owner, facts) = start_by_hand(folder.path(), &[]).await;
    assert!(is_listening(facts["url"].as_str().expect("a URL")));
    assert!(processes_of(folder.path()).len() >= 2);
    owner.kill().await.expect("SIGKILL is delivered");
    is_left_empty(folder.path()).await;
}

#[tokio::test]
async fn sigterm_ends_the_program_with_its_controller_manager_in_order() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (mut owner, facts) = start_by_hand(folder.path(), &["--controller-manager"]).await;
    let client = client(Path::new(facts["kubeconfig"].as_str().expect("a path"))).await.expect("a client");

    // Only the controller manager ends a namespace.
    let namespaces: Api<Namespace> = Api::all(client);
    let metadata = ObjectMeta { generate_name: Some("ends-".to_owned()), ..ObjectMeta::default() };
    let namespace = Namespace { metadata, ..Namespace::default() };
    let namespace = namespaces.create(&PostParams::default(), &namespace).await.expect("it is created").name_any();
    namespaces.delete(&namespace, &kube::api::DeleteParams::default()).await.expect("it is deleted");
    let begin = Instant::now();
    while namespaces.get_opt(&namespace).await.expect("it is looked for").is_some() {
        assert!(begin.elapsed() < Duration::from_secs(60), "the namespace is still there");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }

    let pid = owner.id().expect("it runs").to_string();
    let sent = Command::new("kill").args(["-TERM", &pid]).status().await.expect("kill starts");
    assert!(sent.success());
    assert!(owner.wait().await.expect("it ends").success());
    is_left_empty(folder.path()).await;
}

/// Two tests in one: by itself, and as what the next one runs in a process of its own.
#[test]
fn tests_in_different_runtimes_share_one() {
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let url = runtime().block_on(async { shared().await.url().to_owned() });
    for number in 0..3 {
        runtime().block_on(async {
            let plane = shared().await;
            assert_eq!(plane.url(), url);
            let maps: Api<ConfigMap> = Api::default_namespaced(plane.client());
            maps.create(&PostParams::default(), &map(&format!("map-{number}"))).await.expect("it is created");
        });
    }
}

#[tokio::test]
async fn a_shared_one_ends_with_its_process() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let status = Command::new(env::current_exe().expect("this program has a path"))
        .args(["--exact", "tests_in_different_runtimes_share_one"])
        .env("TMPDIR", folder.path())
        .stdout(Stdio::null())
        .status()
        .await
        .expect("this program starts");
    assert!(status.success());
    is_left_empty(folder.path()).await;
}

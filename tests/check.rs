//! `check` beside a real API server: what the one refuses, so does the other, on the same files.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use control_plane::ControlPlane;
use tokio::sync::OnceCell;

/// The shared control plane with the definitions installed.
async fn plane() -> &'static ControlPlane {
    static INSTALLED: OnceCell<()> = OnceCell::const_new();
    let plane = control_plane::shared().await;
    INSTALLED
        .get_or_init(async || {
            for arguments in [
                vec!["apply", "-f", "crds"],
                vec!["wait", "crd", "--all", "--for=condition=Established", "--timeout=60s"],
            ] {
                let output = plane.kubectl(&arguments).await.expect("kubectl runs");
                assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            }
        })
        .await;
    plane
}

fn manifests(folder: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let entries = fs::read_dir(folder).expect("the folder is there");
    let mut files: Vec<_> = entries.map(|entry| entry.expect("the folder can be read").path()).collect();
    files.sort();
    assert!(!files.is_empty());
    files
}

fn check(arguments: &[&str]) -> Output {
    let program = env!("CARGO_BIN_EXE_clickhouse-user-operator");
    Command::new(program).arg("check").args(arguments).env_clear().output().expect("the program starts")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("UTF-8")
}

/// The findings of `check` that the API server could have too: it knows nothing of clouds, nor of this version.
fn findings(file: &Path) -> Vec<String> {
    let output = check(&[file.to_str().expect("UTF-8")]);
    let ours = |line: &str| {
        line.contains(": note: ")
            || line.contains(" is not in this version")
            || line.contains("QingCloud")
            || line.contains("Huawei Cloud")
    };
    let lines = text(&output.stdout) + if output.status.code() == Some(2) { "it cannot be read" } else { "" };
    lines.lines().filter(|line| !ours(line)).map(str::to_owned).collect()
}

/// What the API server says of a file, or nothing where it takes it.
async fn verdict(plane: &ControlPlane, namespace: &str, file: &Path) -> Result<(), String> {
    let file = file.to_str().expect("UTF-8");
    let arguments = ["create", "--dry-run=server", "--validate=strict", "-f", file, "--namespace", namespace];
    let output = plane.kubectl(&arguments).await.expect("kubectl runs");
    if output.status.success() { Ok(()) } else { Err(text(&output.stderr)) }
}

#[tokio::test]
async fn what_the_api_server_takes_has_no_finding() {
    let plane = plane().await;
    let namespace = plane.namespace("check").await.expect("a namespace is made");
    for file in manifests("tests/crds/accepted").into_iter().chain(manifests("tests/check/accepted")) {
        assert_eq!(verdict(plane, &namespace, &file).await, Ok(()), "{}", file.display());
        assert_eq!(findings(&file), [""; 0], "{}", file.display());
    }
}

#[tokio::test]
async fn what_the_api_server_refuses_has_a_finding_on_a_field_that_it_names() {
    let plane = plane().await;
    let namespace = plane.namespace("check").await.expect("a namespace is made");
    for file in manifests("tests/crds/refused").into_iter().chain(manifests("tests/check/refused")) {
        let refusal = verdict(plane, &namespace, &file).await.expect_err(&file.display().to_string());
        let findings = findings(&file);
        assert!(!findings.is_empty(), "{} is refused with {refusal}", file.display());
        for finding in findings {
            // FILE:LINE: KIND/NAME: FIELD: MESSAGE, and no field where the file cannot be read or the object as a whole
            // is wrong.
            let after_object = finding.splitn(3, ": ").nth(2).unwrap_or_default();
            let field = after_object.split(": ").next().unwrap_or_default();
            assert!(refusal.contains(field), "{}: {finding}\nthe API server: {refusal}", file.display());
        }
    }
}

#[tokio::test]
async fn samples_are_right_for_both() {
    let plane = plane().await;
    for namespace in ["analytics", "marketing", "clickhouse-user-operator"] {
        let created = plane.kubectl(&["create", "namespace", namespace]).await.expect("kubectl runs");
        assert!(created.status.success(), "{}", text(&created.stderr));
    }
    // The namespaces that the samples make are there by now, which apply does not mind.
    let applied = plane.kubectl(&["apply", "--dry-run=server", "--validate=strict", "-f", "deploy/samples"]).await;
    let applied = applied.expect("kubectl runs");
    assert!(applied.status.success(), "{}", text(&applied.stderr));
    let output = check(&["deploy/samples"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stdout));
    assert_eq!(text(&output.stdout), "");
    assert!(text(&output.stderr).starts_with("0 findings in "), "{}", text(&output.stderr));
}

#[test]
fn exit_code_tells_right_from_wrong_and_from_unreadable() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().expect("it has one")).expect("made");
        fs::write(&path, text).expect("written");
    };
    let root = folder.path().to_str().expect("UTF-8");
    file("a/right.yaml", "apiVersion: v1\nkind: ConfigMap\n");
    file("a/notes.txt", "{{{");
    assert_eq!(check(&[root]).status.code(), Some(0));
    file("a/b/wrong.yml", "apiVersion: chuser.dev/v1alpha1\nkind: ClickHouseUser\nmetadata: {name: a1}\n");
    let output = check(&[root]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(text(&output.stdout), format!("{root}/a/b/wrong.yml:1: ClickHouseUser/a1: spec: is required\n"));
    file("a/c.json", "{");
    let output = check(&[root]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stdout).contains("wrong.yml:1: "), "the others are checked all the same");
    assert!(text(&output.stderr).contains("/a/c.json:"), "{}", text(&output.stderr));
    assert_eq!(check(&[&format!("{root}/nothing.yaml")]).status.code(), Some(2));
    assert_eq!(check(&[]).status.code(), Some(2));
}

#[test]
fn standard_input_is_a_file_like_any_other() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_clickhouse-user-operator"))
        .args(["check", "-"])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::null())
        .spawn()
        .expect("the program starts");
    let text = b"apiVersion: chuser.dev/v1alpha1\nkind: ClickHouseUser\nmetadata: {name: a1}\n";
    std::io::Write::write_all(&mut child.stdin.take().expect("a pipe"), text).expect("written");
    let output = child.wait_with_output().expect("it ends");
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(output.stdout, b"-:1: ClickHouseUser/a1: spec: is required\n");
}

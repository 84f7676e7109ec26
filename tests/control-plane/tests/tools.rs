//! Where the binaries come from.

use std::os::unix::fs::symlink;
use std::process::Stdio;

use control_plane::Tool;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::Command;

/// The program, on a machine with nothing: an empty `PATH`, an empty cache, and this folder of ready binaries.
fn with_assets(folder: &tempfile::TempDir) -> Command {
    let mut program = Command::new(env!("CARGO_BIN_EXE_control-plane"));
    program.env("KUBEBUILDER_ASSETS", folder.path()).env("CHUSER_CACHE", folder.path()).env("PATH", folder.path());
    program.kill_on_drop(true);
    program
}

#[tokio::test]
async fn a_missing_binary_is_an_error_that_names_it_and_the_mend() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let output = with_assets(&folder).output().await.expect("the program starts");
    assert!(!output.status.success());
    let text = String::from_utf8_lossy(&output.stderr);
    for part in ["no kubectl", "hack/tools/build kube", "Go 1.26", "KUBEBUILDER_ASSETS"] {
        assert!(text.contains(part), "{part} is missing in {text}");
    }
}

#[tokio::test]
async fn ready_binaries_are_taken_and_nothing_is_built() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    for tool in [Tool::Etcd, Tool::KubeApiServer, Tool::Kubectl] {
        let binary = tool.path().await.expect("it is there or can be built");
        symlink(binary, folder.path().join(tool.binary())).expect("a link");
    }
    let mut program = with_assets(&folder).stdout(Stdio::piped()).spawn().expect("the program starts");
    let stdout = BufReader::new(program.stdout.take().expect("standard output is a pipe"));
    let line = stdout.lines().next_line().await.expect("standard output is text");
    assert!(line.is_some_and(|line| line.contains("kubeconfig")));
}

//! The scripts beside this file, run in the environments that `hack/vendors` installs.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use tokio::{process::Command, time::timeout};

/// Longest run of a script, and of asking for an environment that is installed.
const PATIENCE: Duration = Duration::from_secs(120);

/// The interpreter of an environment: `sdk` or `keystone`.
pub async fn interpreter(environment: &str) -> PathBuf {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("hack/vendors");
    let printed = run(Command::new(script).args(["python", environment])).await;
    PathBuf::from(printed.lines().last().unwrap())
}

/// A script of this folder.
pub fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vendors/python").join(name)
}

/// Has one of the SDKs run a scenario against these endpoints; the script itself judges what the SDK reports. Returns
/// how many checks it made.
pub async fn sdk(name: &str, scenario: &str, endpoints: &[(&str, &str)]) -> usize {
    // The SDK keeps an identifier of the installation there.
    let home = tempfile::tempdir().unwrap();
    let mut command = Command::new(interpreter("sdk").await);
    command.arg(script(name)).arg(scenario).env("HOME", home.path()).env("PYTHONDONTWRITEBYTECODE", "1");
    for proxy in ["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"] {
        command.env_remove(proxy);
    }
    let printed = run(command.envs(endpoints.iter().copied())).await;
    let last = printed.lines().last().unwrap_or_default();
    let checks = last.strip_suffix(" checks passed").unwrap_or_else(|| panic!("{name} {scenario}: {printed}"));
    checks.parse().unwrap()
}

/// Runs a program to its end and returns what was printed; a failure shows everything.
async fn run(command: &mut Command) -> String {
    let output = timeout(PATIENCE, command.kill_on_drop(true).output()).await;
    let output = output.unwrap_or_else(|_| panic!("not within {PATIENCE:?}: {command:?}")).unwrap();
    let printed = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{printed}{}", String::from_utf8_lossy(&output.stderr));
    printed
}

//! Server processes that end with the process that started them.
//!
//! A value that is dropped can end its server. A static is never dropped, and a test that is killed drops nothing. So
//! each server runs under a [small supervisor](../src/supervisor.rs), which kills it when its owner drops the value
//! **or is gone**. What remains is a supervisor that is itself killed with SIGKILL: its server then runs on.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tokio::time::{sleep, timeout};

/// How long one probe may take.
const PROBE: Duration = Duration::from_secs(5);

/// A program to run and what belongs to it.
#[derive(Clone, Debug)]
pub struct Program {
    /// How it is called in errors.
    pub name: &'static str,
    /// The file to execute.
    pub path: PathBuf,
    /// The command line, without the program itself.
    pub arguments: Vec<OsString>,
    /// Where it runs.
    pub working_folder: PathBuf,
    /// Where its output goes (appended).
    pub log: PathBuf,
    /// A folder to remove once the program has ended because its owner dropped it or is gone.
    pub remove: Option<PathBuf>,
}

/// A running program; dropping it kills it and waits until it is gone.
pub struct Supervised {
    name: &'static str,
    log: PathBuf,
    supervisor: Child,
}

/// Why a program does not serve.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Its supervisor cannot be started.
    #[error("cannot start {name}: {source}")]
    Start {
        /// The program.
        name: &'static str,
        /// The cause.
        source: io::Error,
    },
    /// A port that was free is taken by now: try again with another one.
    #[error("{name} found its port taken by another process; start again")]
    PortTaken {
        /// The program.
        name: &'static str,
    },
    /// It ended by itself.
    #[error("{name} ended before it served; the end of its log:\n{log}")]
    Ended {
        /// The program.
        name: &'static str,
        /// Its last lines.
        log: String,
    },
    /// It runs, but is not ready in time.
    #[error("{name} is not ready after {} s; the end of its log:\n{log}", .after.as_secs())]
    NotReady {
        /// The program.
        name: &'static str,
        /// How long was waited.
        after: Duration,
        /// Its last lines.
        log: String,
    },
}

impl Supervised {
    /// Starts the program. It may end at once; [`Supervised::ready`] tells.
    pub fn start(program: Program) -> Result<Self, Error> {
        let Program { name, path, arguments, working_folder, log, remove } = program;
        let output = || File::options().create(true).append(true).open(&log);
        let supervisor = || -> io::Result<Child> {
            Command::new(env!("SUPERVISOR"))
                .arg(remove.as_deref().map_or(OsStr::new(""), Path::as_os_str))
                .arg(path)
                .args(arguments)
                .current_dir(working_folder)
                .stdin(Stdio::piped())
                .stdout(output()?)
                .stderr(output()?)
                // Ctrl-C in a terminal is for the owner; the supervisor follows it.
                .process_group(0)
                .spawn()
        };
        let supervisor = supervisor().map_err(|source| Error::Start { name, source })?;
        Ok(Self { name, log, supervisor })
    }

    /// Returns once `probe` says that the program serves; fails when the program ends first, or after `patience`.
    // Not an `AsyncFn`: with one, callers get futures that the compiler cannot show to be `Send`.
    pub async fn ready<F>(&mut self, patience: Duration, probe: impl Fn() -> F) -> Result<(), Error>
    where
        F: Future<Output = bool>,
    {
        let begin = Instant::now();
        let name = self.name;
        // A probe that hangs is one that has failed; it must not hide that the program has ended.
        while !timeout(PROBE, probe()).await.unwrap_or(false) {
            if self.supervisor.try_wait().map_err(|source| Error::Start { name, source })?.is_some() {
                let log = self.end_of_log();
                let port_taken = log.to_ascii_lowercase().contains("address already in use");
                return Err(if port_taken { Error::PortTaken { name } } else { Error::Ended { name, log } });
            }
            if begin.elapsed() > patience {
                return Err(Error::NotReady { name, after: patience, log: self.end_of_log() });
            }
            sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }

    fn end_of_log(&self) -> String {
        let log = fs::read(&self.log).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }
}

impl Drop for Supervised {
    fn drop(&mut self) {
        drop(self.supervisor.stdin.take());
        // Nothing can be done here about a failure; `wait` fails only for a child that is not ours.
        let _ = self.supervisor.wait();
    }
}

/// A port of 127.0.0.1 that nobody listens on. It may be taken before it is used: see [`Error::PortTaken`].
pub fn free_port() -> io::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn program(folder: &Path, path: &str, arguments: &[&str]) -> Program {
        Program {
            name: "example",
            path: path.into(),
            arguments: arguments.iter().map(OsString::from).collect(),
            working_folder: folder.to_owned(),
            log: folder.join("log"),
            remove: Some(folder.to_owned()),
        }
    }

    #[tokio::test(flavor = "current_thread")]
    async fn a_program_that_ends_early_is_reported_with_its_log() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut ended = Supervised::start(program(folder.path(), "ls", &["--no-such-option"])).expect("ls starts");
        let error = ended.ready(Duration::from_secs(10), || async { false }).await.expect_err("ls ends");
        assert!(matches!(&error, Error::Ended { log, .. } if log.contains("no-such-option")), "{error}");
    }

    #[tokio::test(flavor = "current_thread")]
    async fn a_taken_port_is_told_apart() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let arguments = ["listen: Address already in use"];
        let mut ended = Supervised::start(program(folder.path(), "echo", &arguments)).expect("echo starts");
        let error = ended.ready(Duration::from_secs(10), || async { false }).await.expect_err("echo ends");
        assert!(matches!(error, Error::PortTaken { .. }), "{error}");
    }

    #[tokio::test(flavor = "current_thread", start_paused = true)]
    async fn a_program_that_never_gets_ready_is_given_up() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut running = Supervised::start(program(folder.path(), "sleep", &["600"])).expect("sleep starts");
        let never = std::future::pending;
        let error = running.ready(Duration::ZERO, never).await.expect_err("it never gets ready");
        assert!(matches!(error, Error::NotReady { .. }), "{error}");
    }

    #[test]
    fn dropping_it_ends_the_program_and_removes_the_folder() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let running = Supervised::start(program(folder.path(), "sleep", &["600"])).expect("sleep starts");
        let begin = Instant::now();
        drop(running);
        assert!(begin.elapsed() < Duration::from_secs(60), "sleep was waited for, not killed");
        assert!(!folder.path().exists());
    }
}

//! `supervisor FOLDER PROGRAM ARGUMENT...`: runs PROGRAM until it ends, or until standard input does.
//!
//! Standard input is a pipe whose other end only the owner holds. The kernel closes it when the owner is gone, however
//! that came about. Then PROGRAM is killed and FOLDER, where it is not empty, removed.

use std::io::Read as _;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;
use std::{env, fs, io, thread};

fn main() -> io::Result<ExitCode> {
    let mut arguments = env::args_os().skip(1);
    let (Some(folder), Some(program)) = (arguments.next(), arguments.next()) else {
        return Err(io::Error::other("usage: supervisor FOLDER PROGRAM ARGUMENT..."));
    };
    let mut child = Command::new(program).args(arguments).stdin(Stdio::null()).spawn()?;

    let (owner, owner_is_gone) = channel::<()>();
    thread::spawn(move || {
        let _ = io::stdin().read_to_end(&mut Vec::new());
        drop(owner);
    });
    while owner_is_gone.recv_timeout(Duration::from_millis(20)) == Err(RecvTimeoutError::Timeout) {
        if let Some(status) = child.try_wait()? {
            eprintln!("ended: {status}");
            return Ok(ExitCode::FAILURE);
        }
    }

    child.kill()?;
    child.wait()?;
    if !folder.is_empty() {
        remove(Path::new(&folder))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Another program that uses the folder may be on its way out and still write to it, hence the repetition.
fn remove(folder: &Path) -> io::Result<()> {
    for _ in 0..50 {
        if fs::remove_dir_all(folder).is_ok() {
            return Ok(());
        }
        thread::sleep(Duration::from_millis(100));
    }
    fs::remove_dir_all(folder)
}

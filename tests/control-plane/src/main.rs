//! Starts a control plane by hand.

use std::error::Error;
use std::io::{self, Write as _};
use std::process::ExitCode;

use clap::Parser;
use control_plane::ControlPlane;
use tokio::signal::unix::{SignalKind, signal};

/// Starts etcd and kube-apiserver in a temporary folder, prints where they are as one line of JSON, and runs until
/// SIGINT or SIGTERM.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// Run kube-controller-manager too.
    #[arg(long)]
    controller_manager: bool,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match run(Arguments::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: Arguments) -> Result<(), Box<dyn Error>> {
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let start = ControlPlane::builder().controller_manager(arguments.controller_manager).start();
    let plane = tokio::select! {
        plane = start => plane?,
        _ = interrupt.recv() => return Ok(()),
        _ = terminate.recv() => return Ok(()),
    };
    let facts = serde_json::json!({
        "kubeconfig": plane.kubeconfig(),
        "url": plane.url(),
        "auditLog": plane.audit_log(),
    });
    writeln!(io::stdout(), "{facts}")?;
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    Ok(())
}

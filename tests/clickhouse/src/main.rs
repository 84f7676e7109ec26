//! Starts a ClickHouse server for tests by hand.

use std::error::Error;
use std::io::{self, Write as _};
use std::process::ExitCode;

use clap::Parser;
use clickhouse::Server;
use tokio::signal::unix::{SignalKind, signal};

/// Starts a ClickHouse server in a temporary folder, prints where it is and an account that may do everything as one
/// line of JSON, and runs until SIGINT or SIGTERM.
#[derive(Parser)]
#[command(version)]
struct Arguments {}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    Arguments::parse();
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<(), Box<dyn Error>> {
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let server = Server::start().await?;
    let (user, password) = server.administrator();
    let facts = serde_json::json!({
        "httpURL": server.http_url().as_str(),
        "httpPort": server.http_port(),
        "tcpPort": server.tcp_port(),
        "administrator": {"user": user, "password": password},
    });
    writeln!(io::stdout(), "{facts}")?;
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    Ok(())
}

//! `emulated-clouds`: both clouds on loopback, for whoever wants to try a client without a cloud account.

use std::{fs, io::Write, net::SocketAddr, path::PathBuf, process::ExitCode, sync::Arc};

use clap::Parser;
use clickhouse::Server;
use emulated_clouds::{Database, EmulatedClouds, Options, Seed};
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};

const MORE: &str = concat!(
    "When ready, one line of JSON on standard output names the endpoints, and the ports of ClickHouse if asked for.\n",
    "Give the endpoints to the operator as those of an instance, and allow them with --allowed-endpoints.\n",
    "While serving, each port also answers\n",
    "  GET /_emulator/ledger     what was asked, answered and changed, a JSON object a line, passwords as digests\n",
    "  GET /_emulator/switches   every open question about the real clouds, its settings, and the one in force\n\n",
    "Example of a seed file (times are milliseconds, every field may be left out):\n",
    include_str!("../example-seed.json"),
);

/// Emulates the account APIs of QingCloud MySQL Plus and Huawei Cloud TaurusDB on this machine, until SIGTERM or SIGINT.
#[derive(Parser)]
#[command(name = "emulated-clouds", after_help = MORE)]
struct Arguments {
    /// Where QingCloud's API listens; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:0")]
    qingcloud_listen: SocketAddr,
    /// Where Huawei Cloud's database API listens
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:0")]
    huawei_listen: SocketAddr,
    /// Where Huawei Cloud's IAM listens
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:0")]
    iam_listen: SocketAddr,
    /// Start a real ClickHouse server on loopback (clickhouse-server has to be installed) and create every account in it
    #[arg(long)]
    clickhouse: bool,
    /// JSON file with keys, clusters, instances, switches, timing and limits
    #[arg(long, value_name = "FILE")]
    seed: Option<PathBuf>,
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(Arguments::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("emulated-clouds: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: Arguments) -> Result<(), Box<dyn std::error::Error>> {
    let seed = match &arguments.seed {
        Some(path) => {
            let text = fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
            serde_json::from_str(&text).map_err(|error| format!("{}: {error}", path.display()))?
        }
        None => Seed::default(),
    };
    let (mut terminated, mut interrupted) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let clickhouse = if arguments.clickhouse { Some(Arc::new(Server::start().await?)) } else { None };
    let options = Options {
        database: clickhouse.clone().map(|server| server as Arc<dyn Database>),
        qingcloud_listen: arguments.qingcloud_listen,
        huawei_listen: arguments.huawei_listen,
        iam_listen: arguments.iam_listen,
        ..Options::default()
    };
    let clouds = EmulatedClouds::start(options).await?;
    clouds.seed(seed);
    let endpoints = json!({
        "qingcloud": clouds.qingcloud_endpoint(),
        "huawei": clouds.huawei_endpoint(),
        "iam": clouds.iam_endpoint(),
        "clickhouse": clickhouse.as_ref().map(|server| json!({ "http": server.http_port(), "native": server.tcp_port() })),
    });
    let mut output = std::io::stdout().lock();
    writeln!(output, "{endpoints}")?;
    output.flush()?;
    drop(output);
    tokio::select! {
        _ = terminated.recv() => {}
        _ = interrupted.recv() => {}
    }
    Ok(())
}

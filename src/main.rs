//! The program: reads the command line, sets the process up, runs, and ends with the exit code that says why.

use std::{error::Error, io::Write, process::ExitCode, sync::Arc};

use clickhouse_user_operator::{
    api::{crds, reference},
    check,
    cli::{self, Command, Config, LogFormat, LogLevel, Output, ProbeArguments},
    controller,
    ops::{
        health::Health,
        logs,
        metrics::Metrics,
        server::{self, health_routes, metrics_routes},
        signals,
    },
    probe,
};
use tokio_util::sync::CancellationToken;

/// The system's allocator keeps what a start needed for ever: a third more at ten thousand users.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    // Both the Kubernetes client and the provider clients use TLS; rustls wants its cryptography named before the first
    // of them is built. It fails only where one is installed already, which is the same one.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    // A bad flag ends here with exit code 2.
    let config = match cli::parse(std::env::args_os()).unwrap_or_else(|error| error.exit()) {
        Command::Run(config) => config,
        Command::Crds => return print(&crds_as_yaml()),
        Command::Reasons => return print(&reference::reasons()),
        Command::Check(arguments) => return run_check(&arguments.into()),
        Command::Probe(arguments) => return run_probe(*arguments),
    };
    let _last_lines = logs::start(config.log_format, config.log_level);
    let ended = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(Into::into)
        .and_then(|runtime| runtime.block_on(run(*config)));
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(error = &*error, "the operator ends");
            ExitCode::FAILURE
        }
    }
}

/// Serves until a signal asks for the end. The servers outlive everything else, so that probes and the last scrape find
/// them while running passes finish.
async fn run(config: Config) -> Result<(), Box<dyn Error + Send + Sync>> {
    let stop = signals::stop_on_signal()?;
    let metrics = Arc::new(Metrics::new());
    let health = Health::new(config.watch_timeout);
    let health_listener = server::listen("--health-bind-address", config.health_bind_address).await?;
    let metrics_listener = server::listen("--metrics-bind-address", config.metrics_bind_address).await?;
    let close = CancellationToken::new();
    let health_server = tokio::spawn(server::serve(health_listener, health_routes(health.clone()), close.clone()));
    let metrics_server = tokio::spawn(server::serve(metrics_listener, metrics_routes(metrics.clone()), close.clone()));

    let ended = controller::run(config, metrics, health, stop).await;
    close.cancel();
    health_server.await??;
    metrics_server.await??;
    ended?;
    tracing::info!("stopped");
    Ok(())
}

/// The CustomResourceDefinitions as one YAML stream.
fn crds_as_yaml() -> String {
    let documents: Vec<_> = crds::all().iter().map(crds::to_yaml).collect();
    documents.join("---\n")
}

fn print(text: &str) -> ExitCode {
    match std::io::stdout().write_all(text.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

/// Checks manifests. Findings and notes are the output; what could not be read is an error.
fn run_check(settings: &check::Settings) -> ExitCode {
    let report = check::run(settings);
    let (mut out, mut errors) = (std::io::stdout().lock(), std::io::stderr().lock());
    let told = (|| {
        report.findings.iter().try_for_each(|finding| writeln!(out, "{finding}"))?;
        out.flush()?;
        report.unreadable.iter().try_for_each(|file| writeln!(errors, "{file}"))?;
        writeln!(errors, "{} findings in {} objects", report.broken(), report.checked)
    })();
    match told {
        Ok(()) => ExitCode::from(report.exit_code()),
        Err(_) => ExitCode::FAILURE,
    }
}

/// Asks a cloud. The answers are the output; what stands in the way is an error.
fn run_probe(arguments: ProbeArguments) -> ExitCode {
    let _last_lines = logs::start(LogFormat::Text, LogLevel::Warn);
    let output = arguments.output;
    let asked = tokio::runtime::Builder::new_current_thread().enable_all().build().and_then(|runtime| {
        runtime.block_on(async { Ok(probe::run(arguments.into(), signals::stop_on_signal()?).await) })
    });
    let report = match asked {
        Ok(Ok(report)) => report,
        Ok(Err(error)) => return fail(&error.to_string()),
        Err(error) => return fail(&error.to_string()),
    };
    let text = match output {
        Output::Text => report.to_text(),
        Output::Json => serde_json::to_string_pretty(&report).expect("texts and lists become JSON") + "\n",
    };
    if let Err(error) = std::io::stdout().write_all(text.as_bytes()) {
        return fail(&error.to_string());
    }
    if !report.left_behind.is_empty() {
        return fail(&format!("test accounts could not be removed, delete them: {}", report.left_behind.join(", ")));
    }
    if report.stopped { fail("stopped before all questions were asked") } else { ExitCode::SUCCESS }
}

/// Says on standard error why the program ends.
fn fail(why: &str) -> ExitCode {
    // Where that cannot be written either, the exit code is all there is.
    let _ = writeln!(std::io::stderr(), "{why}");
    ExitCode::FAILURE
}

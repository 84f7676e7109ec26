//! Log lines on stderr: their form, and who may write them.

use std::io::{self, IsTerminal};

use tracing::level_filters::LevelFilter;
use tracing_appender::non_blocking::{ErrorCounter, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::{Layer, filter::Targets, fmt, layer::SubscriberExt, util::SubscriberInitExt};

use crate::cli::{LogFormat, LogLevel};

/// Lines that may wait to be read: a burst of the most talkative level. What comes on top is dropped, because a log that
/// nobody reads must not stop the work, nor the probes that would tell.
const WAITING: usize = 8192;

/// Lets the last lines out when it is dropped, for a second at most.
pub struct LastLines {
    dropped: ErrorCounter,
    _guard: WorkerGuard,
}

impl Drop for LastLines {
    fn drop(&mut self) {
        let dropped = self.dropped.dropped_lines();
        if dropped > 0 {
            tracing::warn!(dropped, "log lines were dropped: they were not read in time");
        }
    }
}

/// Sets the logs of the whole process up, panics included. Call it once, first of all, and keep what it returns to the end.
pub fn start(format: LogFormat, level: LogLevel) -> LastLines {
    let log = NonBlockingBuilder::default().buffered_lines_limit(WAITING).lossy(true).thread_name("log");
    let (writer, guard) = log.finish(io::stderr());
    let last = LastLines { dropped: writer.error_counter(), _guard: guard };
    let lines = match format {
        // Fields of the message at the top level, where log queries expect them.
        LogFormat::Json => fmt::layer().json().flatten_event(true).with_span_list(false).with_writer(writer).boxed(),
        LogFormat::Text => fmt::layer().with_ansi(io::stderr().is_terminal()).with_writer(writer).boxed(),
    };
    tracing_subscriber::registry().with(lines.with_filter(filter(level))).init();
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        let payload = panic.payload();
        let text = payload.downcast_ref::<&str>().copied().or(payload.downcast_ref::<String>().map(String::as_str));
        tracing::error!(place, "panic: {}", text.unwrap_or("no message"));
    }));
    last
}

/// Our own lines down to the level asked for; of the libraries warnings, and at `debug` and `trace` more. Some are never
/// heard, at no level.
fn filter(level: LogLevel) -> Targets {
    let ours = match level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    };
    let libraries = if ours <= LevelFilter::INFO { ours.min(LevelFilter::WARN) } else { ours };
    Targets::new()
        .with_default(libraries)
        .with_target("clickhouse_user_operator", ours)
        // The HTTP stack logs URLs and headers. A signed URL or a token is a secret, and QingCloud's GET form has the
        // password in its URL. What goes wrong there comes back to us as an error, which we log without them.
        .with_targets(["reqwest", "hyper", "h2", "rustls", "tower"].map(|target| (target, LevelFilter::OFF)))
        // kube's client warns with the whole body of an answer it cannot read, which may be a Secret, and writes an
        // error of its own for each failed connection, which our retries report already.
        .with_target("kube_client::client", LevelFilter::OFF)
}

#[cfg(test)]
mod tests {
    use tracing::Level;

    use super::*;

    #[test]
    fn libraries_are_quiet_until_debugging() {
        let info = filter(LogLevel::Info);
        assert!(info.would_enable("clickhouse_user_operator::controller", &Level::INFO));
        assert!(!info.would_enable("clickhouse_user_operator", &Level::DEBUG));
        assert!(info.would_enable("kube_runtime::watcher", &Level::WARN));
        assert!(!info.would_enable("kube_runtime::watcher", &Level::INFO));
        assert!(filter(LogLevel::Debug).would_enable("kube_runtime::watcher", &Level::DEBUG));
        assert!(!filter(LogLevel::Error).would_enable("kube_runtime::watcher", &Level::WARN));
    }

    #[test]
    fn libraries_that_know_secrets_are_silent_at_every_level() {
        let trace = filter(LogLevel::Trace);
        for target in [
            "reqwest::connect",
            "hyper::proto::h1",
            "hyper_util::client",
            "h2::codec",
            "rustls::client",
            "tower_http::trace",
            "kube_client::client",
            "kube_client::client::builder",
        ] {
            assert!(!trace.would_enable(target, &Level::ERROR), "{target}");
        }
        assert!(trace.would_enable("clickhouse_user_operator", &Level::TRACE));
    }
}

//! The operator's release binary as a process, seen from outside: its metrics page, its memory, its CPU time.

use std::{
    fs::{self, File},
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::Duration,
};

use tempfile::TempDir;
use tokio::time::{Instant, sleep};

use crate::{
    cloud::Cloud,
    cluster::{Cluster, OPERATOR_NAMESPACE},
};

/// How often something is looked at that nobody tells of.
const LOOK: Duration = Duration::from_millis(500);

/// Looks in a row without a change, after which the operator counts as settled.
const QUIET_LOOKS: usize = 10;

/// Longest that anything may take to settle.
const PATIENCE: Duration = Duration::from_secs(600);

/// A running operator; dropping it kills it.
pub struct Operator {
    process: Child,
    metrics: String,
    folder: TempDir,
}

/// Memory of a process, in MiB.
#[derive(Clone, Copy, Debug)]
pub struct Memory {
    /// Resident now.
    pub settled: f64,
    /// Resident at most so far.
    pub peak: f64,
}

impl Operator {
    /// Starts the binary for a cluster and a cloud.
    pub fn start(binary: &PathBuf, cluster: &Cluster, cloud: &Cloud) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let log = File::create(folder.path().join("log")).expect("a log file");
        let metrics = format!("127.0.0.1:{}", supervised::free_port().expect("a free port"));
        let process = Command::new(binary)
            .arg("run")
            .args(["--operator-namespace", OPERATOR_NAMESPACE])
            .args(["--allowed-endpoints", &cloud.origin])
            // The clouds' budgets are not what is measured.
            .args(["--huaweicloud-rate", "100000/s:100000"])
            .args(["--health-bind-address", "127.0.0.1:0"])
            .args(["--metrics-bind-address", &metrics])
            .env("KUBECONFIG", &cluster.operator_kubeconfig)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn();
        Self { process: process.expect("the operator starts"), metrics, folder }
    }

    /// Waits until at least this many passes have ended and nothing has happened for some seconds.
    pub async fn settled(&self, passes: f64) {
        let (begin, mut quiet, mut before) = (Instant::now(), 0, (0.0, 0.0));
        while quiet < QUIET_LOOKS {
            assert!(begin.elapsed() < PATIENCE, "the operator does not settle:\n{}", self.end_of_log());
            sleep(LOOK).await;
            let now = (self.metric("chuser_passes_total").await, self.memory().settled);
            let same = now.0 >= passes && (now.0 - before.0).abs() < 0.5 && (now.1 - before.1).abs() < now.1 * 0.01;
            quiet = if same { quiet + 1 } else { 0 };
            before = now;
        }
    }

    /// Sum of a metric over all its labels.
    pub async fn metric(&self, name: &str) -> f64 {
        let page = self.page().await.unwrap_or_default();
        let of_name = page.lines().filter(|line| line.starts_with(name) && !line.starts_with('#'));
        of_name.filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok()).sum()
    }

    async fn page(&self) -> Option<String> {
        let client = reqwest::Client::builder().no_proxy().build().ok()?;
        client.get(format!("http://{}/metrics", self.metrics)).send().await.ok()?.text().await.ok()
    }

    /// Resident memory.
    pub fn memory(&self) -> Memory {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process.id())).unwrap_or_default();
        let kibibytes = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<f64>().ok()).unwrap_or_default()
        };
        Memory { settled: kibibytes("VmRSS:") / 1024.0, peak: kibibytes("VmHWM:") / 1024.0 }
    }

    /// CPU time used so far.
    pub fn cpu(&self) -> Duration {
        cpu_of(self.process.id())
    }

    fn end_of_log(&self) -> String {
        let log = fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
        let lines: Vec<_> = log.lines().collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }
}

/// CPU time of a process. The kernel counts hundredths of a second on every machine that people use.
pub fn cpu_of(process: u32) -> Duration {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    let after_name = stat.rsplit_once(") ").map_or("", |(_, rest)| rest);
    let ticks: u64 = after_name.split(' ').skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum();
    Duration::from_millis(ticks * 10)
}

impl Drop for Operator {
    fn drop(&mut self) {
        // It may have ended by itself; either way it is gone after this.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

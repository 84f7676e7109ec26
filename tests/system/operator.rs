//! The operator as a process of its own, with the rights of its chart.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    path::PathBuf,
    process::{Child, ChildStderr, Command, ExitStatus, Stdio},
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};

use tempfile::TempDir;

use crate::{
    kubernetes::{Kubernetes, OPERATOR_NAMESPACE},
    world::PATIENCE,
};

const BINARY: &str = env!("CARGO_BIN_EXE_clickhouse-user-operator");

/// What the operator is started with. Intervals are short, so that what takes minutes takes moments.
const SETTINGS: [(&str, &str); 9] = [
    ("--job-poll-interval", "100ms"),
    ("--retry-min", "100ms"),
    ("--retry-max", "1s"),
    ("--qingcloud-rate", "1000/s:1000"),
    ("--huaweicloud-rate", "1000/s:1000"),
    ("--log-format", "text"),
    ("--log-level", "trace"),
    ("--operator-namespace", OPERATOR_NAMESPACE),
    // Shared instances are of the whole cluster, and with it of every other test; those that are about them say so.
    ("--cluster-instances", "false"),
];

/// An operator and what it leaves behind; ends with the test.
pub struct Operator {
    process: Option<Child>,
    /// How often it was started; each run has a log of its own.
    runs: usize,
    /// When each run began.
    pub starts: Vec<Timestamp>,
    settings: BTreeMap<String, String>,
    kubeconfig: PathBuf,
    folder: TempDir,
}

impl Operator {
    /// An operator for one namespace that is not running yet. `settings` are flags beside or instead of the usual ones.
    pub fn new(kubernetes: &Kubernetes, endpoints: &str, settings: &[(&str, &str)]) -> Self {
        let own = [
            ("--watch-namespaces", kubernetes.namespace.as_str()),
            ("--allowed-endpoints", endpoints),
            ("--health-bind-address", "127.0.0.1:0"),
            ("--metrics-bind-address", "127.0.0.1:0"),
        ];
        let settings = SETTINGS.iter().chain(&own).chain(settings);
        Self {
            process: None,
            runs: 0,
            starts: Vec::new(),
            settings: settings.map(|(flag, value)| ((*flag).to_owned(), (*value).to_owned())).collect(),
            kubeconfig: kubernetes.operator_kubeconfig.clone(),
            folder: tempfile::tempdir().expect("a temporary folder"),
        }
    }

    /// Another one with the same flags, not running yet, that goes to the API server by this kubeconfig.
    pub fn replica(&self, kubeconfig: PathBuf) -> Self {
        Self {
            process: None,
            runs: 0,
            starts: Vec::new(),
            settings: self.settings.clone(),
            kubeconfig,
            folder: tempfile::tempdir().expect("a temporary folder"),
        }
    }

    /// Changes a flag for the next start.
    pub fn set(&mut self, flag: &str, value: &str) {
        self.settings.insert(flag.to_owned(), value.to_owned());
    }

    /// Starts the binary.
    pub fn start(&mut self) {
        let log = File::create(self.log_file(self.runs + 1)).expect("a log file");
        self.spawn(Command::new(BINARY), log.into());
    }

    /// Starts the binary in a shell that was told something first, such as `ulimit -n 64`. Its log goes to a pipe that
    /// nobody reads, where the shell has not sent it elsewhere, so its ports have to be set.
    pub fn start_after(&mut self, told: &str) {
        let mut shell = Command::new("sh");
        shell.args(["-c", &format!("{told}; exec \"$0\" \"$@\""), BINARY]);
        self.spawn(shell, Stdio::piped());
    }

    fn spawn(&mut self, mut command: Command, log: Stdio) {
        assert!(self.process.is_none(), "the operator runs already");
        self.runs += 1;
        self.starts.push(Timestamp::now());
        let process = command
            .arg("run")
            .args(self.settings.iter().flat_map(|(flag, value)| [flag, value]))
            .env("KUBECONFIG", &self.kubeconfig)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn();
        self.process = Some(process.expect("the operator starts"));
    }

    /// The id of its process.
    pub fn pid(&self) -> u32 {
        self.process.as_ref().expect("the operator runs").id()
    }

    /// The end of the pipe that its log goes to.
    pub fn unread_log(&mut self) -> ChildStderr {
        self.process.as_mut().and_then(|process| process.stderr.take()).expect("a pipe")
    }

    /// Whether it was started and has not been ended by the test.
    pub fn is_running(&self) -> bool {
        self.process.is_some()
    }

    /// Goes to the API server by this kubeconfig from its next start on.
    pub fn connect_by(&mut self, kubeconfig: PathBuf) {
        self.kubeconfig = kubeconfig;
    }

    /// Waits until it serves.
    pub async fn is_ready(&self) {
        let ready = async {
            while self.page("health-bind-address", "/readyz").await.0 != 200 {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(PATIENCE, ready).await.expect("the operator is ready");
    }

    /// Waits until it is asked to stop and finishes what it has begun.
    pub async fn is_draining(&self) {
        let draining = async {
            while !self.page("health-bind-address", "/readyz").await.1.contains("draining") {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(PATIENCE, draining).await.expect("the operator drains");
    }

    /// `--retry-min` and `--retry-max`; none where a test has set them to nonsense.
    pub fn retries(&self) -> (Duration, Duration) {
        let pause = |flag: &str| {
            let pause: Option<SignedDuration> = self.settings[flag].parse().ok();
            pause.and_then(|pause| pause.try_into().ok()).unwrap_or_default()
        };
        (pause("--retry-min"), pause("--retry-max"))
    }

    /// What all its runs have logged so far.
    pub fn log(&self) -> String {
        (1..=self.runs).map(|run| self.log_of(run)).collect()
    }

    fn log_of(&self, run: usize) -> String {
        fs::read_to_string(self.log_file(run)).unwrap_or_default()
    }

    fn log_file(&self, run: usize) -> PathBuf {
        self.folder.path().join(format!("{run}.log"))
    }

    /// Ends it at once, as kill -9 does.
    pub fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().expect("the operator runs");
            process.wait().expect("the operator has ended");
        }
    }

    /// Asks it to end, as the kubelet does, and waits until it has.
    pub async fn terminate(&mut self) -> ExitStatus {
        self.signal("TERM");
        self.ended().await
    }

    /// Sends it a signal, such as `STOP` or `CONT`.
    pub fn signal(&self, signal: &str) {
        let process = self.process.as_ref().expect("the operator runs");
        let sent = Command::new("kill").args([format!("-{signal}"), process.id().to_string()]).status();
        assert!(sent.expect("kill runs").success());
    }

    /// Waits until it has ended by itself.
    pub async fn ended(&mut self) -> ExitStatus {
        let mut process = self.process.take().expect("the operator runs");
        let waiting = tokio::task::spawn_blocking(move || process.wait());
        let ended = tokio::time::timeout(PATIENCE, waiting).await.expect("the operator ends");
        ended.expect("no panic").expect("an exit status")
    }

    /// Gets a page of the server that a flag (`health-bind-address`) starts: status and text.
    pub async fn page(&self, flag: &str, path: &str) -> (u16, String) {
        let address = &self.settings[&format!("--{flag}")];
        if !address.ends_with(":0") {
            return get(address, path).await;
        }
        let says = format!("{flag} listens address=127.0.0.1:");
        let found = async {
            loop {
                let log = self.log_of(self.runs);
                let line = log.lines().find_map(|line| line.split_once(&says).map(|(_, rest)| rest.to_owned()));
                match line {
                    Some(port) => return port,
                    None => tokio::time::sleep(Duration::from_millis(20)).await,
                }
            }
        };
        let port = tokio::time::timeout(PATIENCE, found).await.expect("the operator says where it listens");
        get(&format!("127.0.0.1:{}", port.trim()), path).await
    }

    /// Waits until the page of metrics is as `condition` wants it.
    pub async fn metrics_show(&self, condition: impl Fn(&str) -> bool) {
        let shown = async {
            while !condition(&self.page("metrics-bind-address", "/metrics").await.1) {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        let Err(late) = tokio::time::timeout(PATIENCE, shown).await else { return };
        panic!("metrics ({late}):\n{}", self.page("metrics-bind-address", "/metrics").await.1);
    }
}

async fn get(address: &str, path: &str) -> (u16, String) {
    let client = reqwest::Client::builder().no_proxy().build().expect("a client");
    let answer = client.get(format!("http://{address}{path}")).send().await.expect("an answer");
    (answer.status().as_u16(), answer.text().await.expect("a text"))
}

impl Drop for Operator {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            let log = self.log();
            let lines: Vec<_> = log.lines().filter(|line| line.contains("clickhouse_user_operator")).collect();
            eprintln!("--- last lines of the operator for {}", self.settings["--watch-namespaces"]);
            eprintln!("{}", lines[lines.len().saturating_sub(30)..].join("\n"));
        }
    }
}

//! The program from the outside: its help, its exit codes, its logs and its servers.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    process::{Child, Command, Output, Stdio},
};

use tempfile::NamedTempFile;

/// Every flag of `run`, its environment variable and its default.
const FLAGS: [(&str, &str, &str); 27] = [
    ("--watch-namespaces", "WATCH_NAMESPACES", ""),
    ("--operator-namespace", "POD_NAMESPACE", "default"),
    ("--cluster-instances", "CLUSTER_INSTANCES", "true"),
    ("--connection-secrets", "CONNECTION_SECRETS", "false"),
    ("--allowed-endpoints", "ALLOWED_ENDPOINTS", ""),
    ("--allowed-login-targets", "ALLOWED_LOGIN_TARGETS", ""),
    ("--provider-ca-file", "PROVIDER_CA_FILE", ""),
    ("--drift-interval", "DRIFT_INTERVAL", "10m"),
    ("--job-poll-interval", "JOB_POLL_INTERVAL", "3s"),
    ("--job-timeout", "JOB_TIMEOUT", "15m"),
    ("--retry-min", "RETRY_MIN", "1s"),
    ("--retry-max", "RETRY_MAX", "10m"),
    ("--call-timeout", "CALL_TIMEOUT", "30s"),
    ("--qingcloud-rate", "QINGCLOUD_RATE", "0.4/s"),
    ("--huaweicloud-rate", "HUAWEICLOUD_RATE", "20/s"),
    ("--max-deletes", "MAX_DELETES", "50/10m"),
    ("--orphan-after", "ORPHAN_AFTER", "1h"),
    ("--concurrency", "CONCURRENCY", "64"),
    ("--watch-timeout", "WATCH_TIMEOUT", "200s"),
    ("--leader-elect", "LEADER_ELECT", "false"),
    ("--lease-duration", "LEASE_DURATION", "15s"),
    ("--lease-renew-deadline", "LEASE_RENEW_DEADLINE", "10s"),
    ("--drain-timeout", "DRAIN_TIMEOUT", "25s"),
    ("--health-bind-address", "HEALTH_BIND_ADDRESS", ":8081"),
    ("--metrics-bind-address", "METRICS_BIND_ADDRESS", ":8080"),
    ("--log-format", "LOG_FORMAT", "json"),
    ("--log-level", "LOG_LEVEL", "info"),
];

/// The program with none of our variables set, whatever surrounds the test.
fn program(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_clickhouse-user-operator"));
    command.args(arguments).env_clear();
    command
}

fn refused(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{text}");
    text
}

/// What the help says about one flag, in one line.
fn about(flag: &str, in_cluster: bool) -> String {
    let mut command = program(&["run", "--help"]);
    if in_cluster {
        command.env("KUBERNETES_SERVICE_HOST", "10.0.0.1");
    }
    let output = command.output().expect("started");
    assert_eq!(output.status.code(), Some(0));
    let help = String::from_utf8(output.stdout).expect("UTF-8");
    let after = help.split_once(&format!("\n      {flag} ")).expect(flag).1;
    after.split("\n      --").next().expect("the first part").to_owned()
}

#[test]
fn help_names_every_flag_with_its_variable_and_default() {
    for (flag, variable, default) in FLAGS {
        let about = about(flag, false);
        assert!(about.contains(&format!("[env: {variable}]")), "{flag}: {about}");
        assert!(default.is_empty() || about.contains(&format!("[default: {default}]")), "{flag}: {about}");
    }
}

#[test]
fn help_of_check_names_its_flags_and_exit_codes() {
    let output = program(&["check", "--help"]).output().expect("started");
    assert_eq!(output.status.code(), Some(0));
    let help = String::from_utf8(output.stdout).expect("UTF-8");
    let words = ["<FILES>...", "--namespace", "--operator-namespace", "--allowed-endpoints", "Exit codes:", "\n  2  "];
    for word in words {
        assert!(help.contains(word), "{word}: {help}");
    }
}

#[test]
fn help_of_probe_names_its_flags_and_exit_codes() {
    let output = program(&["probe", "--help"]).output().expect("started");
    assert_eq!(output.status.code(), Some(0));
    let help = String::from_utf8(output.stdout).expect("UTF-8");
    let flags = ["--instance", "--cluster-instance", "--file", "--credentials", "--create-test-account", "--output"];
    for word in
        flags.into_iter().chain(["CLOUD_SECRET_ACCESS_KEY", "[env: ALLOWED_ENDPOINTS]", "Exit codes:", "\n  2  "])
    {
        assert!(help.contains(word), "{word}: {help}");
    }
    refused(&program(&["probe"]).output().expect("started"));
    refused(&program(&["probe", "--instance", "a", "--file", "b"]).output().expect("started"));
}

#[test]
fn leader_election_is_the_default_in_a_cluster() {
    let about = about("--leader-elect", true);
    assert!(about.contains("[default: true]"), "{about}");
}

#[test]
fn bad_flag_is_named_and_ends_with_two() {
    let bad: [&[&str]; 14] = [
        &["--no-such-flag"],
        &["--drift-interval", "soon"],
        &["--drift-interval", "0s"],
        &["--cluster-instances", "yes"],
        &["--cluster-instances"],
        &["--qingcloud-rate", "1/d"],
        &["--max-deletes", "0/10m"],
        &["--concurrency", "0"],
        &["--watch-namespaces", "Team_A"],
        &["--allowed-endpoints", "https://host/path"],
        &["--allowed-login-targets", "https://host"],
        &["--provider-ca-file", "/does/not/exist"],
        &["--health-bind-address", "localhost:8081"],
        &["--log-level", "loud"],
    ];
    for flags in bad {
        let error = refused(&program(&["run"]).args(flags).output().expect("started"));
        assert!(error.contains(flags[0]), "{flags:?}: {error}");
        assert!(!error.contains("environment variable"), "{flags:?}: {error}");
    }
}

#[test]
fn flags_that_contradict_each_other_are_both_named() {
    let bad: [&[&str]; 3] = [
        &["--retry-min", "2s", "--retry-max", "1s"],
        &["--lease-renew-deadline", "15s", "--lease-duration", "15s"],
        &["--health-bind-address", ":9000", "--metrics-bind-address", ":9000"],
    ];
    for flags in bad {
        let error = refused(&program(&["run"]).args(flags).output().expect("started"));
        assert!(error.contains(flags[0]) && error.contains(flags[2]), "{error}");
    }
}

#[test]
fn bad_variable_is_named_and_ends_with_two() {
    for (variable, value) in [
        ("RETRY_MAX", "later"),
        ("POD_NAMESPACE", "A B"),
        ("LEADER_ELECT", "maybe"),
        ("CONCURRENCY", "many"),
        ("LOG_FORMAT", "xml"),
    ] {
        let error = refused(&program(&["run"]).env(variable, value).output().expect("started"));
        assert!(error.contains(&format!("environment variable {variable}")), "{error}");
    }
}

#[test]
fn flag_wins_over_its_variable() {
    let output = program(&["run", "--retry-max", "never"]).env("RETRY_MAX", "5m").output().expect("started");
    assert!(!refused(&output).contains("environment variable"));
}

#[test]
fn password_in_an_endpoint_is_refused_without_being_repeated() {
    for entry in ["https://me:hunter2@host", "http://me:hunter2@host"] {
        for variable in ["ALLOWED_ENDPOINTS", "ALLOWED_LOGIN_TARGETS"] {
            let error = refused(&program(&["run"]).env(variable, entry).output().expect("started"));
            assert!(error.contains(variable) && !error.contains("hunter2"), "{error}");
        }
    }
}

#[test]
fn taken_address_ends_with_one_and_names_the_flag() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = taken.local_addr().expect("an address").to_string();
    let output = program(&["run", "--metrics-bind-address", &address, "--health-bind-address", "127.0.0.1:0"])
        .output()
        .expect("started");
    let log = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{log}");
    assert!(log.contains(&format!("--metrics-bind-address {address}: cannot listen")), "{log}");
}

/// A running operator that is killed if the test gives up on it.
struct Running {
    child: Child,
    log: BufReader<std::process::ChildStderr>,
    health: SocketAddr,
    metrics: SocketAddr,
    _kubeconfig: NamedTempFile,
}

/// Names an API server that nobody runs: a replica that waits for the Lease goes on asking.
const NO_API_SERVER: &str = "
apiVersion: v1
kind: Config
current-context: none
contexts: [{name: none, context: {cluster: none, user: none}}]
clusters: [{name: none, cluster: {server: 'http://127.0.0.1:1'}}]
users: [{name: none, user: {}}]
";

impl Running {
    fn start() -> Self {
        let mut kubeconfig = NamedTempFile::new().expect("a temporary file");
        kubeconfig.write_all(NO_API_SERVER.as_bytes()).expect("written");
        let mut child = program(&["run", "--leader-elect", "true"])
            .env("KUBECONFIG", kubeconfig.path())
            .env("HEALTH_BIND_ADDRESS", "127.0.0.1:0")
            .env("METRICS_BIND_ADDRESS", "127.0.0.1:0")
            .stderr(Stdio::piped())
            .spawn()
            .expect("started");
        let mut log = BufReader::new(child.stderr.take().expect("piped"));
        let health = listening(&mut log, "health-bind-address listens");
        let metrics = listening(&mut log, "metrics-bind-address listens");
        Self { child, log, health, metrics, _kubeconfig: kubeconfig }
    }

    fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-s", name, &pid]).status().expect("kill").success());
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Already ended in a test that passes.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Reads log lines, each a JSON object, up to the one with this message, and returns the address it names.
fn listening(log: &mut impl BufRead, message: &str) -> SocketAddr {
    loop {
        let mut line = String::new();
        assert_ne!(log.read_line(&mut line).expect("a line"), 0, "the log ended before `{message}`");
        let line: serde_json::Value = serde_json::from_str(&line).expect("one JSON object a line");
        if line["message"] == message {
            return line["address"].as_str().expect("an address").parse().expect("host:port");
        }
    }
}

fn get(address: SocketAddr, path: &str) -> String {
    let mut connection = TcpStream::connect(address).expect("connected");
    write!(connection, "GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").expect("sent");
    let mut answer = String::new();
    connection.read_to_string(&mut answer).expect("an answer");
    answer
}

#[test]
fn sigterm_ends_a_follower_with_zero() {
    let mut running = Running::start();
    assert!(get(running.health, "/livez").starts_with("HTTP/1.1 200 "));
    assert!(get(running.metrics, "/metrics").contains("chuser_leader 0"));
    running.signal("TERM");
    assert_eq!(running.child.wait().expect("ended").code(), Some(0));
    let mut rest = String::new();
    running.log.read_to_string(&mut rest).expect("the log");
    assert!(rest.contains("SIGTERM") && rest.contains("stopped"), "{rest}");
}

#[test]
fn second_signal_ends_the_operator_at_once_with_one() {
    let mut running = Running::start();
    // Half a request keeps the servers, and with them the orderly end, waiting for a moment.
    let mut client = TcpStream::connect(running.metrics).expect("connected");
    client.write_all(b"GET /metrics HTTP/1.1\r\n").expect("sent");
    // Connections are taken in order, so this answer shows that the other one is open.
    get(running.metrics, "/metrics");
    running.signal("INT");
    let mut line = String::new();
    while !line.contains("SIGINT") {
        line.clear();
        assert_ne!(running.log.read_line(&mut line).expect("a line"), 0, "the log ended before the signal was heard");
    }
    running.signal("TERM");
    assert_eq!(running.child.wait().expect("ended").code(), Some(1));
}

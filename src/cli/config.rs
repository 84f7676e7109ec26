//! What `run` is told: one struct is the flags, their help and the values the rest of the operator reads.

use std::{
    collections::{BTreeSet, HashSet},
    time::Duration,
};

use clap::{ArgAction, Args, ValueEnum};

use super::{
    login_target::LoginTarget,
    values::{self, BindAddress, DeleteLimit, ExtraRoots},
};
use crate::{
    domain::origin::Origin,
    provider::{budget::Rate, fleet::Rates},
};

/// Where a pod finds the namespace it runs in.
const NAMESPACE_FILE: &str = "/var/run/secrets/kubernetes.io/serviceaccount/namespace";

/// The validated settings of `run`. Doc comments of the fields are the help text.
#[derive(Args, Clone, Debug)]
pub struct Config {
    /// Namespaces whose users and instances are served, comma separated; empty serves all
    #[arg(long, env, value_name = "NAMESPACES", default_value = "", hide_default_value = true)]
    #[arg(value_parser = values::namespaces, help_heading = "What is served")]
    pub watch_namespaces: BTreeSet<String>,

    /// Namespace of the Lease, of the operator's key, of credentials of ClusterClickHouseInstance objects, and of Events
    /// about orphaned accounts; the default is the pod's own namespace, outside a cluster `default`
    #[arg(long, env = "POD_NAMESPACE", value_name = "NAMESPACE", default_value_t = own_namespace())]
    #[arg(value_parser = values::namespace, help_heading = "What is served")]
    pub operator_namespace: String,

    /// Serve ClusterClickHouseInstance objects (needs a ClusterRole to read them)
    #[arg(long, env, value_name = "true|false", default_value_t = true)]
    #[arg(action = ArgAction::Set, help_heading = "What is served")]
    pub cluster_instances: bool,

    /// Write connection Secrets (needs the right to); otherwise users that ask for one are refused with
    /// FieldNotSupported
    #[arg(long, env, value_name = "true|false", default_value_t = false)]
    #[arg(action = ArgAction::Set, help_heading = "What is served")]
    pub connection_secrets: bool,

    /// Origins that an `endpoint` or `iamEndpoint` override may name, as scheme://host[:port], comma separated; https
    /// unless the entry itself says http; empty allows no override
    #[arg(long, env, value_name = "ORIGINS", default_value = "", hide_default_value = true)]
    #[arg(value_parser = values::origins, help_heading = "Where connections may go")]
    pub allowed_endpoints: HashSet<Origin>,

    /// Hosts that login checks may connect to, as network-or-host[:port], comma separated; logins go without TLS only
    /// where the entry starts with http://; empty refuses login checks
    #[arg(long, env, value_name = "TARGETS", default_value = "", hide_default_value = true)]
    #[arg(value_parser = values::login_targets, help_heading = "Where connections may go")]
    pub allowed_login_targets: HashSet<LoginTarget>,

    /// PEM file of root certificates trusted for provider calls and logins, beside the system's
    #[arg(long, env, value_name = "FILE", default_value = "", hide_default_value = true)]
    #[arg(value_parser = values::ca_file, help_heading = "Where connections may go")]
    pub provider_ca_file: ExtraRoots,

    /// How often an instance whose accounts can be listed is compared with the manifests: one listing an instance,
    /// never one a user
    #[arg(long, env, value_name = "DURATION", default_value = "10m")]
    #[arg(value_parser = values::duration, help_heading = "Provider calls")]
    pub drift_interval: Duration,

    /// First and shortest interval at which running jobs are asked for; it grows while a job runs on
    #[arg(long, env, value_name = "DURATION", default_value = "3s")]
    #[arg(value_parser = values::duration, help_heading = "Provider calls")]
    pub job_poll_interval: Duration,

    /// How long a job or a call may stay without a result before its outcome counts as unknown and is read
    #[arg(long, env, value_name = "DURATION", default_value = "15m")]
    #[arg(value_parser = values::duration, help_heading = "Provider calls")]
    pub job_timeout: Duration,

    /// Shortest wait before a try after a transient error; doubles with each failure, with full jitter
    #[arg(long, env, value_name = "DURATION", default_value = "1s")]
    #[arg(value_parser = values::duration, help_heading = "Provider calls")]
    pub retry_min: Duration,

    /// Longest wait before a try after a transient error, and the pace at which stalled users are tried
    #[arg(long, env, value_name = "DURATION", default_value = "10m")]
    #[arg(value_parser = values::duration, help_heading = "Provider calls")]
    pub retry_max: Duration,

    /// Time limit of one provider call, from connecting to the last byte read
    #[arg(long, env, value_name = "DURATION", default_value = "30s")]
    #[arg(value_parser = values::duration, help_heading = "Provider calls")]
    pub call_timeout: Duration,

    /// Calls that one QingCloud credential may make: N/s, N/m or N/h, then :BURST where it is not 20
    #[arg(long, env, value_name = "RATE", default_value = "0.4/s")]
    #[arg(value_parser = values::rate, help_heading = "Provider calls")]
    pub qingcloud_rate: Rate,

    /// Calls that one Huawei Cloud credential may make: N/s, N/m or N/h, then :BURST where it is not 20
    #[arg(long, env, value_name = "RATE", default_value = "20/s")]
    #[arg(value_parser = values::rate, help_heading = "Provider calls")]
    pub huaweicloud_rate: Rate,

    /// Account deletions allowed per instance and window, written COUNT/WINDOW; 0 sets no limit
    #[arg(long, env, value_name = "LIMIT", default_value = "50/10m")]
    #[arg(value_parser = values::delete_limit, help_heading = "Deletion")]
    pub max_deletes: DeleteLimit,

    /// How long after its deletion a user whose instance or credentials are gone is held, before it is released and
    /// its account recorded as an orphan
    #[arg(long, env, value_name = "DURATION", default_value = "1h")]
    #[arg(value_parser = values::duration_or_zero, help_heading = "Deletion")]
    pub orphan_after: Duration,

    /// Passes that run at once
    #[arg(long, env, value_name = "COUNT", default_value_t = 64)]
    #[arg(value_parser = clap::value_parser!(u16).range(1..=4096), help_heading = "Kubernetes")]
    pub concurrency: u16,

    /// How long one watch request lasts, in whole seconds; load balancers often drop idle connections after 240s
    #[arg(long, env, value_name = "DURATION", default_value = "200s")]
    #[arg(value_parser = values::whole_seconds, help_heading = "Kubernetes")]
    pub watch_timeout: Duration,

    /// Work only while holding the Lease `clickhouse-user-operator`; the default is true in a cluster, false elsewhere
    #[arg(long, env, value_name = "true|false", default_value_t = in_cluster())]
    #[arg(action = ArgAction::Set, help_heading = "Kubernetes")]
    pub leader_elect: bool,

    /// How long others wait before they take over an unrenewed Lease, in whole seconds
    #[arg(long, env, value_name = "DURATION", default_value = "15s")]
    #[arg(value_parser = values::whole_seconds, help_heading = "Kubernetes")]
    pub lease_duration: Duration,

    /// How long the leader tries to renew the Lease before it gives up; shorter than --lease-duration
    #[arg(long, env, value_name = "DURATION", default_value = "10s")]
    #[arg(value_parser = values::duration, help_heading = "Kubernetes")]
    pub lease_renew_deadline: Duration,

    /// How long running passes may go on after SIGTERM
    #[arg(long, env, value_name = "DURATION", default_value = "25s")]
    #[arg(value_parser = values::duration_or_zero, help_heading = "Process")]
    pub drain_timeout: Duration,

    /// Where /livez and /readyz are served; without a host, on all interfaces
    #[arg(long, env, value_name = "ADDRESS", default_value = ":8081")]
    #[arg(value_parser = values::bind_address, help_heading = "Process")]
    pub health_bind_address: BindAddress,

    /// Where /metrics is served; without a host, on all interfaces
    #[arg(long, env, value_name = "ADDRESS", default_value = ":8080")]
    #[arg(value_parser = values::bind_address, help_heading = "Process")]
    pub metrics_bind_address: BindAddress,

    /// Form of the log lines on stderr
    #[arg(long, env, value_name = "FORMAT", value_enum, default_value_t = LogFormat::Json)]
    #[arg(help_heading = "Process")]
    pub log_format: LogFormat,

    /// Least important log lines shown
    #[arg(long, env, value_name = "LEVEL", value_enum, default_value_t = LogLevel::Info)]
    #[arg(help_heading = "Process")]
    pub log_level: LogLevel,
}

impl Config {
    /// How often each cloud may be called.
    pub fn rates(&self) -> Rates {
        Rates { qingcloud: self.qingcloud_rate, huaweicloud: self.huaweicloud_rate }
    }

    /// How often the Lease is renewed or asked for: a fifth of the renew deadline, client-go's proportion.
    pub fn lease_retry_period(&self) -> Duration {
        self.lease_renew_deadline / 5
    }

    /// Checks what no single flag can: the error names both flags and the mend.
    pub(super) fn check(&self) -> Result<(), String> {
        if self.retry_min > self.retry_max {
            return Err(format!(
                "--retry-min ({:?}) must not be longer than --retry-max ({:?})",
                self.retry_min, self.retry_max
            ));
        }
        if self.lease_renew_deadline >= self.lease_duration {
            return Err(format!(
                "--lease-renew-deadline ({:?}) must be shorter than --lease-duration ({:?}): a leader has to give up \
                 before another may take over",
                self.lease_renew_deadline, self.lease_duration
            ));
        }
        let (health, metrics) = (self.health_bind_address, self.metrics_bind_address);
        if health == metrics && health.port != 0 {
            return Err(format!(
                "--health-bind-address and --metrics-bind-address are both {health}: choose two ports"
            ));
        }
        Ok(())
    }
}

/// Form of the log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// One JSON object a line.
    Json,
    /// For reading at a terminal.
    Text,
}

/// Importance of a log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogLevel {
    /// The operator cannot do its work.
    Error,
    /// Something to look into.
    Warn,
    /// What was done.
    Info,
    /// Why it was done.
    Debug,
    /// Everything.
    Trace,
}

fn in_cluster() -> bool {
    std::env::var_os("KUBERNETES_SERVICE_HOST").is_some()
}

fn own_namespace() -> String {
    let mounted = in_cluster().then(|| std::fs::read_to_string(NAMESPACE_FILE).ok()).flatten();
    mounted.map_or_else(|| "default".to_owned(), |name| name.trim().to_owned())
}

//! What `probe` is told.

use std::{path::PathBuf, time::Duration};

use clap::{Args, ValueEnum};

use super::{
    check::Origins,
    values::{self, ExtraRoots},
};
use crate::{
    probe::{self, Wanted},
    provider::budget::Rate,
};

/// The arguments of `probe`. Doc comments of the fields are the help text.
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Credentials are read from the folder of --credentials; else from the environment variables CLOUD_ACCESS_KEY_ID,
CLOUD_SECRET_ACCESS_KEY, CLOUD_SECURITY_TOKEN, CLOUD_DOMAIN_NAME, CLOUD_USER_NAME and CLOUD_PASSWORD, where any is set;
else from the Secret that the instance object names in the cluster. They are never printed.

Without --create-test-account the probe only reads. With it, it makes accounts whose names begin with chuser_probe_,
reachable from nowhere (QingCloud) or reading one database (Huawei Cloud), and removes them at the end, after an error,
and after SIGINT or SIGTERM.

Exit codes:
  0  the questions were asked
  1  nothing could be asked, the probe was stopped, or a test account could not be removed (its name is printed)
  2  the command line is wrong")]
pub struct ProbeArguments {
    /// Name of the ClickHouseInstance in the cluster, which comes from KUBECONFIG or from the pod the probe runs in
    #[arg(long, value_name = "NAME", required_unless_present_any = ["cluster_instance", "file"])]
    pub instance: Option<String>,

    /// Namespace of the ClickHouseInstance
    #[arg(long, short, value_name = "NAMESPACE", default_value = "default", value_parser = values::namespace)]
    pub namespace: String,

    /// Name of a ClusterClickHouseInstance instead
    #[arg(long, value_name = "NAME", conflicts_with_all = ["instance", "file"])]
    pub cluster_instance: Option<String>,

    /// Namespace of the operator, where the credentials of a ClusterClickHouseInstance are
    #[arg(long, value_name = "NAMESPACE", default_value = "clickhouse-user-operator", value_parser = values::namespace)]
    pub operator_namespace: String,

    /// File with the instance object instead; no cluster is needed then
    #[arg(long, value_name = "FILE", conflicts_with = "instance")]
    pub file: Option<PathBuf>,

    /// Folder with the credentials, one file a key of the Secret, as a mounted Secret has it
    #[arg(long, value_name = "FOLDER")]
    pub credentials: Option<PathBuf>,

    /// Make test accounts, for the questions that need one
    #[arg(long)]
    pub create_test_account: bool,

    /// Form of the answers on standard output
    #[arg(long, value_enum, value_name = "FORM", default_value_t = Output::Text)]
    pub output: Output,

    /// Origins that an `endpoint` or `iamEndpoint` override of the instance may name, as for `run`
    #[arg(long, env, value_name = "ORIGINS", default_value = "", hide_default_value = true)]
    pub allowed_endpoints: Origins,

    /// PEM file of root certificates trusted for provider calls, beside the system's
    #[arg(long, env, value_name = "FILE", default_value = "", hide_default_value = true, value_parser = values::ca_file)]
    pub provider_ca_file: ExtraRoots,

    /// Time limit of one provider call
    #[arg(long, env, value_name = "DURATION", default_value = "30s", value_parser = values::duration)]
    pub call_timeout: Duration,

    /// Interval at which running jobs are asked for
    #[arg(long, env, value_name = "DURATION", default_value = "3s", value_parser = values::duration)]
    pub job_poll_interval: Duration,

    /// How long a job may take
    #[arg(long, env, value_name = "DURATION", default_value = "15m", value_parser = values::duration)]
    pub job_timeout: Duration,

    /// Calls that the QingCloud credential may make: N/s, N/m or N/h, then :BURST where it is not 20
    #[arg(long, env, value_name = "RATE", default_value = "0.4/s", value_parser = values::rate)]
    pub qingcloud_rate: Rate,

    /// Calls that the Huawei Cloud credential may make: N/s, N/m or N/h, then :BURST where it is not 20
    #[arg(long, env, value_name = "RATE", default_value = "20/s", value_parser = values::rate)]
    pub huaweicloud_rate: Rate,
}

/// Form of the answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// For people.
    Text,
    /// One JSON object.
    Json,
}

impl From<ProbeArguments> for probe::Settings {
    fn from(arguments: ProbeArguments) -> Self {
        let instance = match (arguments.file, arguments.cluster_instance) {
            (Some(file), _) => Wanted::File(file),
            (None, Some(name)) => Wanted::ClusterInstance { name, operator_namespace: arguments.operator_namespace },
            (None, None) => {
                Wanted::Instance { namespace: arguments.namespace, name: arguments.instance.unwrap_or_default() }
            }
        };
        Self {
            instance,
            credentials: arguments.credentials,
            create_test_account: arguments.create_test_account,
            allowed_endpoints: arguments.allowed_endpoints.0,
            extra_roots: arguments.provider_ca_file.0,
            call_timeout: arguments.call_timeout,
            job_poll_interval: arguments.job_poll_interval,
            job_timeout: arguments.job_timeout,
            qingcloud_rate: arguments.qingcloud_rate,
            huaweicloud_rate: arguments.huaweicloud_rate,
        }
    }
}

//! What `check` is told.

use std::{collections::HashSet, path::PathBuf};

use clap::Args;

use super::values;
use crate::{check, domain::origin::Origin};

/// The arguments of `check`. Doc comments of the fields are the help text.
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Findings go to standard output, one a line, sorted:

  FILE:LINE: KIND/NAME: FIELD: MESSAGE

`note: ` before KIND marks what is good to know and no finding. No value of a Secret is ever printed.

Exit codes:
  0  every rule is kept
  1  a rule is broken
  2  the command line is wrong, or a file cannot be read or is no YAML")]
pub struct CheckArguments {
    /// Manifests in YAML or JSON, with any number of documents; `-` is the standard input; of a folder, every *.yaml,
    /// *.yml and *.json in it and below it. Objects that are none of the operator's are passed over, but for the
    /// Secrets and instances that a checked object names: their cloud's rules are checked where they are there
    #[arg(required = true, value_name = "FILES")]
    pub files: Vec<PathBuf>,

    /// Namespace of objects that name none, as for kubectl
    #[arg(long, short, value_name = "NAMESPACE", default_value = "default", value_parser = values::namespace)]
    pub namespace: String,

    /// Namespace of the operator, where the credentials of ClusterClickHouseInstance objects are
    #[arg(long, value_name = "NAMESPACE", default_value = "clickhouse-user-operator", value_parser = values::namespace)]
    pub operator_namespace: String,

    /// What the operator is started with: an `endpoint` or `iamEndpoint` override beyond it is a finding. Left out,
    /// overrides are noted
    #[arg(long, value_name = "ORIGINS")]
    pub allowed_endpoints: Option<Origins>,
}

/// A list of origins. A type of its own, or else the command line would take each occurrence for one entry.
#[derive(Clone, Debug)]
pub struct Origins(pub HashSet<Origin>);

impl std::str::FromStr for Origins {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        values::origins(text).map(Self)
    }
}

impl From<CheckArguments> for check::Settings {
    fn from(arguments: CheckArguments) -> Self {
        Self {
            paths: arguments.files,
            namespace: arguments.namespace,
            operator_namespace: arguments.operator_namespace,
            allowed_endpoints: arguments.allowed_endpoints.map(|origins| origins.0),
        }
    }
}

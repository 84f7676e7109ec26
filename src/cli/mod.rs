//! The command line: flags and environment variables, read once into a validated [`Config`].

mod check;
mod config;
mod login_target;
mod probe;
mod values;

use std::{env, ffi::OsString};

use clap::{
    CommandFactory, FromArgMatches, Parser, Subcommand,
    error::{ContextKind, ContextValue, ErrorKind},
};

pub use check::{CheckArguments, Origins};
pub use config::{Config, LogFormat, LogLevel};
pub use login_target::{LoginTarget, LoginTargetError, TargetHost};
pub use probe::{Output, ProbeArguments};
pub use values::{BindAddress, DeleteLimit, ExtraRoots};

/// Keeps ClickHouse accounts on cloud databases in step with ClickHouseUser resources.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

/// What the program is asked to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the operator; the cluster comes from KUBECONFIG or from the pod it runs in
    Run(Box<Config>),
    /// Print the CustomResourceDefinitions as YAML
    Crds,
    /// Check manifests against every rule of the definitions and of the clouds, without a cluster
    Check(CheckArguments),
    /// Ask a real cloud account what its vendor's documentation leaves open; reads only, unless told otherwise
    Probe(Box<ProbeArguments>),
    /// Print the reference of reasons as Markdown, for the documentation
    #[command(hide = true)]
    Reasons,
}

/// Reads the command line and the environment. The error prints itself and knows its exit code: 2, or 0 for `--help`.
pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Command, clap::Error> {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    // The help names each variable; its value belongs to one machine and not into a reference.
    let mut command = Arguments::command()
        .mut_subcommands(|subcommand| subcommand.mut_args(|argument| argument.hide_env_values(true)));
    let parsed = command
        .try_get_matches_from_mut(&arguments)
        .and_then(|matches| Arguments::from_arg_matches(&matches))
        .map_err(|error| explain(error, &command, &arguments))?;
    if let Command::Run(config) = &parsed.command {
        config.check().map_err(|text| command.error(ErrorKind::ValueValidation, text))?;
    }
    Ok(parsed.command)
}

/// Names the environment variable where a bad value came from one, and hides values that may hold a password.
fn explain(mut error: clap::Error, command: &clap::Command, arguments: &[OsString]) -> clap::Error {
    let Some(ContextValue::String(usage)) = error.get(ContextKind::InvalidArg) else { return error };
    let name = usage.trim_start_matches('-').split([' ', '=']).next().unwrap_or_default().to_owned();
    let mut candidates = command.get_subcommands().flat_map(clap::Command::get_arguments);
    let Some(argument) = candidates.find(|argument| argument.get_long() == Some(&name)) else { return error };
    // A URL with a password in it is refused; it must not end up in the log for that.
    if error.kind() == ErrorKind::ValueValidation && name.starts_with("allowed-") {
        error.insert(ContextKind::InvalidValue, ContextValue::String("…".to_owned()));
    }
    let flag = format!("--{name}");
    let is_flag = |given: &OsString| given.to_str().is_some_and(|given| given.split('=').next() == Some(&flag));
    if let Some(variable) = argument.get_env().filter(|variable| env::var_os(variable).is_some())
        && !arguments.iter().any(is_flag)
    {
        let tip = format!("the value comes from the environment variable {}", variable.to_string_lossy());
        error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![tip.into()]));
    }
    error
}

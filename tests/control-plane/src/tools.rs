//! Where the binaries are.

use std::env;
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::process::Command;

use crate::Error;

/// A Go program that tests need.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tool {
    /// The store of the API server.
    Etcd,
    /// The API server.
    KubeApiServer,
    /// The built-in controllers.
    KubeControllerManager,
    /// The command line.
    Kubectl,
    /// The package manager, for tests of the chart.
    Helm,
}

impl Tool {
    /// The name of its file.
    pub fn binary(self) -> &'static str {
        match self {
            Self::Etcd => "etcd",
            Self::KubeApiServer => "kube-apiserver",
            Self::KubeControllerManager => "kube-controller-manager",
            Self::Kubectl => "kubectl",
            Self::Helm => "helm",
        }
    }

    /// What `hack/tools/build` calls the module it is built from.
    pub fn module(self) -> &'static str {
        match self {
            Self::Etcd => "etcd",
            Self::KubeApiServer | Self::KubeControllerManager | Self::Kubectl => "kube",
            Self::Helm => "helm",
        }
    }

    /// Finds the binary in the folder that `KUBEBUILDER_ASSETS` names, else in the cache of `hack/tools/build`, which
    /// builds it where it is missing. That takes minutes once; progress is on stderr.
    pub async fn path(self) -> Result<PathBuf, Error> {
        let asset = env::var_os("KUBEBUILDER_ASSETS").map(|folder| Path::new(&folder).join(self.binary()));
        match asset {
            Some(asset) if asset.is_file() => Ok(asset),
            _ => Ok(self.built().await?.join(self.binary())),
        }
    }

    async fn built(self) -> Result<PathBuf, Error> {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../../hack/tools/build");
        let no_tool = |problem: String| Error::NoTool { tool: self, problem };
        let build = async {
            // Not `output()`, which would keep stderr to itself.
            let build = Command::new(script).arg(self.module()).stdout(Stdio::piped()).kill_on_drop(true).spawn()?;
            build.wait_with_output().await
        };
        let output = build.await.map_err(|error| no_tool(format!("cannot be started ({error})")))?;
        if !output.status.success() {
            return Err(no_tool(format!("failed ({})", output.status)));
        }
        Ok(OsString::from_vec(output.stdout.trim_ascii_end().to_vec()).into())
    }
}

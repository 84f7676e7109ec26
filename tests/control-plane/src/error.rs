//! What can go wrong with a control plane.

use std::io;

use crate::tools::Tool;

/// Why the control plane does not do what it was asked for.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A binary is missing and cannot be built.
    #[error(
        "no {}: hack/tools/build {} {problem}. It needs Go 1.26 or newer and says more on stderr; \
         or name a folder that has the binary in KUBEBUILDER_ASSETS",
        .tool.binary(), .tool.module()
    )]
    NoTool {
        /// The missing tool.
        tool: Tool,
        /// What the build script did.
        problem: String,
    },
    /// One of the servers does not come up.
    #[error(transparent)]
    Process(#[from] supervised::Error),
    /// The folder of the control plane cannot be read or written, or kubectl cannot be started.
    #[error("control plane: {0}")]
    Io(#[from] io::Error),
    /// A key or certificate cannot be made.
    #[error("certificates of the control plane: {0}")]
    Certificate(#[from] rcgen::Error),
    /// A kubeconfig cannot be read.
    #[error("kubeconfig: {0}")]
    Kubeconfig(#[from] kube::config::KubeconfigError),
    /// The API server refused a request of the harness itself.
    #[error("API server: {0}")]
    Api(#[from] kube::Error),
    /// The audit log has a line that is no event.
    #[error("audit log: {0}")]
    Audit(#[from] serde_json::Error),
    /// A request was answered, but is not in the audit log.
    #[error("audit log: a request of the harness did not appear within 10 s")]
    AuditLags,
}

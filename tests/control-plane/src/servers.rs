//! The command lines of the three servers.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use supervised::Program;

/// How long a server may take on a loaded machine; an idle one needs a few seconds.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// Relative to the folder that all servers run in; the path of a socket must be short.
const ETCD: &str = "unix://etcd.socket";

/// Names of the files in the folder of a control plane.
pub(crate) mod file {
    pub(crate) const ETCD_SOCKET: &str = "etcd.socket";
    pub(crate) const AUTHORITY: &str = "authority.crt";
    pub(crate) const SERVING_CERTIFICATE: &str = "kube-apiserver.crt";
    pub(crate) const SERVING_KEY: &str = "kube-apiserver.key";
    pub(crate) const TOKEN_SIGNING_KEY: &str = "service-account.key";
    pub(crate) const TOKEN_PROVING_KEY: &str = "service-account.pub";
    pub(crate) const AUDIT_POLICY: &str = "audit-policy.json";
    pub(crate) const AUDIT_LOG: &str = "audit.log";
    pub(crate) const ADMINISTRATOR: &str = "administrator.kubeconfig";
    pub(crate) const CONTROLLER_MANAGER: &str = "kube-controller-manager.kubeconfig";
}

/// etcd goes last, so the folder goes with it. It listens on a socket in the folder: no other process of this machine
/// can meet it by its port, and it asks nobody who they are.
pub(crate) fn etcd(path: PathBuf, folder: &Path) -> Program {
    let arguments = [
        "--data-dir=etcd".to_owned(),
        format!("--listen-client-urls={ETCD}"),
        format!("--advertise-client-urls={ETCD}"),
        // No other member will ever call.
        "--listen-peer-urls=http://127.0.0.1:0".to_owned(),
        // The data need not outlive the machine.
        "--unsafe-no-fsync=true".to_owned(),
    ];
    program("etcd", path, folder, arguments, Some(folder.to_owned()))
}

pub(crate) fn api_server(path: PathBuf, folder: &Path, port: u16, controller_manager: bool) -> Program {
    let mut arguments = vec![
        format!("--etcd-servers={ETCD}"),
        "--bind-address=127.0.0.1".to_owned(),
        format!("--secure-port={port}"),
        // Else it looks for a default route, and machines without one are refused.
        "--advertise-address=127.0.0.1".to_owned(),
        "--endpoint-reconciler-type=none".to_owned(),
        "--service-cluster-ip-range=10.0.0.0/24".to_owned(),
        format!("--tls-cert-file={}", file::SERVING_CERTIFICATE),
        format!("--tls-private-key-file={}", file::SERVING_KEY),
        format!("--client-ca-file={}", file::AUTHORITY),
        "--service-account-issuer=https://kubernetes.default.svc".to_owned(),
        format!("--service-account-signing-key-file={}", file::TOKEN_SIGNING_KEY),
        format!("--service-account-key-file={}", file::TOKEN_PROVING_KEY),
        "--authorization-mode=RBAC".to_owned(),
        "--allow-privileged=true".to_owned(),
        format!("--audit-policy-file={}", file::AUDIT_POLICY),
        format!("--audit-log-path={}", file::AUDIT_LOG),
        // No rotation: marks are places in this one file.
        "--audit-log-maxsize=0".to_owned(),
    ];
    if !controller_manager {
        // It would refuse every pod: nobody makes the ServiceAccount `default` of a namespace.
        arguments.push("--disable-admission-plugins=ServiceAccount".to_owned());
    }
    program("kube-apiserver", path, folder, arguments, None)
}

pub(crate) fn controller_manager(path: PathBuf, folder: &Path) -> Program {
    let arguments = [
        format!("--kubeconfig={}", file::CONTROLLER_MANAGER),
        // It needs to serve nobody.
        "--secure-port=0".to_owned(),
        "--leader-elect=false".to_owned(),
        format!("--root-ca-file={}", file::AUTHORITY),
        format!("--service-account-private-key-file={}", file::TOKEN_SIGNING_KEY),
        // Each controller under its own ClusterRole, as in real clusters.
        "--use-service-account-credentials=true".to_owned(),
    ];
    program("kube-controller-manager", path, folder, arguments, None)
}

fn program(
    name: &'static str,
    path: PathBuf,
    folder: &Path,
    arguments: impl IntoIterator<Item = String>,
    remove: Option<PathBuf>,
) -> Program {
    Program {
        name,
        path,
        arguments: arguments.into_iter().map(OsString::from).collect(),
        working_folder: folder.to_owned(),
        log: folder.join(format!("{name}.log")),
        remove,
    }
}

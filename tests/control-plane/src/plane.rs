//! The control plane: start, clients, audit, end.

use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::{Namespace, ServiceAccount};
use kube::api::{ObjectMeta, PostParams};
use kube::{Api, Client, ResourceExt as _};
use supervised::{Supervised, free_port};
use tempfile::TempDir;
use tokio::fs;
use tokio::io::AsyncWriteExt as _;
use tokio::net::UnixStream;
use tokio::process::Command;

use crate::api_server::{ApiServer, get};
use crate::audit::{self, AuditEvent, AuditMark};
use crate::certificates::{Authority, service_account_keys};
use crate::kubeconfig::{Cluster, by_certificate, by_token};
use crate::servers::{self, PATIENCE, file};
use crate::{Error, Tool};

/// How to start a control plane.
#[derive(Clone, Copy, Debug, Default)]
pub struct Builder {
    controller_manager: bool,
}

impl Builder {
    /// Run kube-controller-manager too, and with it the admission plugin ServiceAccount. Costs some seconds and 90 MB.
    ///
    /// Its garbage collector looks for new kinds every 30 s: until then it does not act on a CRD that was just made.
    #[must_use]
    pub fn controller_manager(self, controller_manager: bool) -> Self {
        Self { controller_manager }
    }

    /// Starts the control plane and waits until it serves.
    pub async fn start(self) -> Result<ControlPlane, Error> {
        // The port is free when it is chosen; should it be taken by the time the server binds it, choose anew.
        let mut attempts = 0;
        loop {
            attempts += 1;
            match ControlPlane::start_once(self).await {
                Err(Error::Process(supervised::Error::PortTaken { .. })) if attempts < 5 => {}
                result => return result,
            }
        }
    }
}

/// A running control plane; dropping it ends its servers and removes all they wrote.
pub struct ControlPlane {
    // Fields are dropped in this order: clients of a server go before it, the folder last.
    _controller_manager: Option<Supervised>,
    api_server: ApiServer,
    _etcd: Supervised,
    folder: TempDir,
    kubectl: PathBuf,
    cluster: Cluster,
    kubeconfig: PathBuf,
    audit_requests: AtomicU64,
    /// The last mark that was taken: the next one is behind it, and nobody has to read what is before.
    audited: AtomicU64,
}

impl ControlPlane {
    /// Starts etcd and kube-apiserver and waits until they serve.
    pub async fn start() -> Result<Self, Error> {
        Self::builder().start().await
    }

    /// For a control plane with more to it.
    pub fn builder() -> Builder {
        Builder::default()
    }

    async fn start_once(builder: Builder) -> Result<Self, Error> {
        let kubectl = Tool::Kubectl.path().await?;
        let folder = tempfile::Builder::new().prefix("control-plane-").tempdir()?;
        let port = free_port()?;
        let cluster = prepare(folder.path(), port).await?;

        let etcd = start_etcd(folder.path()).await?;
        let path = Tool::KubeApiServer.path().await?;
        let program = servers::api_server(path, folder.path(), port, builder.controller_manager);
        let api_server = ApiServer::start(program, &folder.path().join(file::ADMINISTRATOR)).await?;
        let controller_manager = if builder.controller_manager {
            Some(start_controller_manager(folder.path(), api_server.client()).await?)
        } else {
            None
        };
        Ok(Self {
            _controller_manager: controller_manager,
            api_server,
            _etcd: etcd,
            kubeconfig: folder.path().join(file::ADMINISTRATOR),
            folder,
            kubectl,
            cluster,
            audit_requests: AtomicU64::new(0),
            audited: AtomicU64::new(0),
        })
    }

    /// Starts the API server after a [stop](Self::stop_api_server), at the same address, and waits until it is ready.
    /// Nothing happens where it runs.
    pub async fn start_api_server(&self) -> Result<(), Error> {
        self.api_server.start_again().await
    }

    /// Kills the API server: connections break, as in a crash. What it has answered is in etcd.
    pub async fn stop_api_server(&self) {
        self.api_server.stop().await;
    }

    /// [Stops](Self::stop_api_server) and [starts](Self::start_api_server) the API server. The address stays.
    pub async fn restart_api_server(&self) -> Result<(), Error> {
        self.stop_api_server().await;
        self.start_api_server().await
    }

    /// A new client in group `system:masters`, for the runtime it is made in. It tries every request once.
    ///
    /// # Panics
    ///
    /// Outside a Tokio runtime.
    pub fn client(&self) -> Client {
        self.api_server.client()
    }

    /// The kubeconfig of a user in group `system:masters`.
    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// Writes a kubeconfig with a token of this ServiceAccount, which must exist; good for a day.
    pub async fn service_account_kubeconfig(&self, namespace: &str, name: &str) -> Result<PathBuf, Error> {
        let accounts: Api<ServiceAccount> = Api::namespaced(self.client(), namespace);
        let spec = TokenRequestSpec { expiration_seconds: Some(24 * 60 * 60), ..TokenRequestSpec::default() };
        let request = TokenRequest { spec, ..TokenRequest::default() };
        let answer = accounts.create_token_request(name, &PostParams::default(), &request).await?;
        let token = answer.status.map(|status| status.token).unwrap_or_default();

        let file = self.folder.path().join(format!("{namespace}.{name}.kubeconfig"));
        self.cluster.write(&file, by_token(&token), namespace).await?;
        Ok(file)
    }

    /// Creates a namespace whose name begins with `prefix` and is in use by nobody else.
    pub async fn namespace(&self, prefix: &str) -> Result<String, Error> {
        let metadata = ObjectMeta { generate_name: Some(format!("{prefix}-")), ..ObjectMeta::default() };
        let namespace = Namespace { metadata, ..Namespace::default() };
        let namespace = Api::all(self.client()).create(&PostParams::default(), &namespace).await?;
        Ok(namespace.name_any())
    }

    /// Runs kubectl as the administrator. That it failed is in the output, not an error.
    pub async fn kubectl(&self, arguments: &[&str]) -> Result<Output, Error> {
        self.kubectl_with_input(arguments, "").await
    }

    /// Runs kubectl as the administrator with this text on standard input, for `apply -f -`.
    pub async fn kubectl_with_input(&self, arguments: &[&str], input: &str) -> Result<Output, Error> {
        let mut kubectl = Command::new(&self.kubectl)
            .args(arguments)
            .env("KUBECONFIG", self.kubeconfig())
            // What the person at this machine set for their own kubectl must not matter.
            .env("KUBECACHEDIR", self.folder.path().join("kubectl"))
            .env("KUBERC", "off")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        if let Some(mut stdin) = kubectl.stdin.take() {
            // A kubectl that does not read its input closes it; its output says why.
            let _ = stdin.write_all(input.as_bytes()).await;
        }
        Ok(kubectl.wait_with_output().await?)
    }

    /// All requests that were answered so far.
    pub async fn audit(&self) -> Result<Vec<AuditEvent>, Error> {
        self.audit_since(AuditMark(0)).await
    }

    /// The place in the audit log behind everything that was answered before this call.
    pub async fn audit_mark(&self) -> Result<AuditMark, Error> {
        let (_, mark) = self.audit_until_now(AuditMark(self.audited.load(Ordering::Relaxed))).await?;
        self.audited.fetch_max(mark.0, Ordering::Relaxed);
        Ok(mark)
    }

    /// All requests that were answered after the mark was taken and before this call.
    pub async fn audit_since(&self, mark: AuditMark) -> Result<Vec<AuditEvent>, Error> {
        let (events, _) = self.audit_until_now(mark).await?;
        Ok(events)
    }

    /// The API server writes an event before it ends its answer. So what a request of our own has before it in the log
    /// is everything that was answered before that request.
    async fn audit_until_now(&self, mark: AuditMark) -> Result<(Vec<AuditEvent>, AuditMark), Error> {
        const OURS: &str = "/version?audit-request=";
        let uri = format!("{OURS}{}", self.audit_requests.fetch_add(1, Ordering::Relaxed));
        get(&self.client(), &uri).await?;

        let begin = Instant::now();
        let log = self.audit_log();
        loop {
            let events = audit::read(&log, mark).await?;
            if let Some(end) = events.iter().position(|(event, _)| event.request_uri == uri) {
                let (_, mark) = events[end];
                let before = events.into_iter().take(end).map(|(event, _)| event);
                return Ok((before.filter(|event| !event.request_uri.starts_with(OURS)).collect(), mark));
            }
            if begin.elapsed() > Duration::from_secs(10) {
                return Err(Error::AuditLags);
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// The audit log as a file: one JSON object a line.
    pub fn audit_log(&self) -> PathBuf {
        self.folder.path().join(file::AUDIT_LOG)
    }

    /// Where the API server is.
    pub fn url(&self) -> &str {
        &self.cluster.url
    }
}

async fn start_etcd(folder: &Path) -> Result<Supervised, Error> {
    let mut started = Supervised::start(servers::etcd(Tool::Etcd.path().await?, folder))?;
    let socket = folder.join(file::ETCD_SOCKET);
    started.ready(PATIENCE, || async { UnixStream::connect(&socket).await.is_ok() }).await?;
    Ok(started)
}

/// Ready is when it has done its first work.
async fn start_controller_manager(folder: &Path, client: Client) -> Result<Supervised, Error> {
    let path = Tool::KubeControllerManager.path().await?;
    let mut started = Supervised::start(servers::controller_manager(path, folder))?;
    let accounts: Api<ServiceAccount> = Api::namespaced(client, "default");
    started.ready(PATIENCE, || async { accounts.get("default").await.is_ok() }).await?;
    Ok(started)
}

/// Writes the files that the servers need before they start.
async fn prepare(folder: &Path, port: u16) -> Result<Cluster, Error> {
    let authority = Authority::new()?;
    let serving = authority.serving()?;
    let (signing_key, proving_key) = service_account_keys()?;
    for (name, content) in [
        (file::AUTHORITY, authority.certificate.as_str()),
        (file::SERVING_CERTIFICATE, &serving.certificate),
        (file::SERVING_KEY, &serving.key),
        (file::TOKEN_SIGNING_KEY, &signing_key),
        (file::TOKEN_PROVING_KEY, &proving_key),
        (file::AUDIT_POLICY, audit::POLICY),
    ] {
        fs::write(folder.join(name), content).await?;
    }

    let cluster = Cluster { url: format!("https://127.0.0.1:{port}"), authority: authority.certificate.clone() };
    let administrator = authority.client("administrator", Some("system:masters"))?;
    let manager = authority.client("system:kube-controller-manager", None)?;
    for (name, identity) in [(file::ADMINISTRATOR, administrator), (file::CONTROLLER_MANAGER, manager)] {
        cluster.write(&folder.join(name), by_certificate(&identity), "default").await?;
    }
    Ok(cluster)
}

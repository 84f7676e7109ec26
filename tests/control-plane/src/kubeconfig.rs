//! Kubeconfig files: one cluster, one user, nothing outside the file.

use std::path::Path;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use serde_json::{Value, json};
use tokio::fs;

use crate::Error;
use crate::certificates::Identity;

/// Where a control plane is, and the authority (PEM) that signed its certificate.
pub(crate) struct Cluster {
    pub(crate) url: String,
    pub(crate) authority: String,
}

/// What a client shows of itself.
pub(crate) fn by_certificate(identity: &Identity) -> Value {
    json!({
        "client-certificate-data": BASE64_STANDARD.encode(&identity.certificate),
        "client-key-data": BASE64_STANDARD.encode(&identity.key),
    })
}

/// What a client shows of itself.
pub(crate) fn by_token(token: &str) -> Value {
    json!({ "token": token })
}

impl Cluster {
    /// Writes a kubeconfig. It is JSON, which every reader of YAML takes.
    pub(crate) async fn write(&self, file: &Path, user: Value, namespace: &str) -> Result<(), Error> {
        let authority = BASE64_STANDARD.encode(&self.authority);
        let content = json!({
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{
                "name": "tests",
                "cluster": {"server": self.url, "certificate-authority-data": authority},
            }],
            "users": [{"name": "user", "user": user}],
            "contexts": [{
                "name": "tests",
                "context": {"cluster": "tests", "user": "user", "namespace": namespace},
            }],
            "current-context": "tests",
        });
        Ok(fs::write(file, content.to_string()).await?)
    }
}

/// A client with the identity of a kubeconfig file, for the runtime it is made in.
///
/// It tries every request once, as the operator does: a refusal that a test provokes must not hide behind retries.
pub async fn client(kubeconfig: &Path) -> Result<Client, Error> {
    let config = Kubeconfig::read_from(kubeconfig)?;
    Ok(Client::try_from(configuration(config).await?)?)
}

pub(crate) async fn configuration(kubeconfig: Kubeconfig) -> Result<Config, Error> {
    let mut config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
    config.default_retry = false;
    // kube sends even 127.0.0.1 through the proxy that the environment names.
    config.proxy_url = None;
    Ok(config)
}

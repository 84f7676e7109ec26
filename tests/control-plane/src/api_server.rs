//! The API server, which can be stopped and started again.

use std::path::Path;

use kube::config::Kubeconfig;
use kube::{Client, Config};
use supervised::{Program, Supervised};
use tokio::sync::Mutex;

use crate::Error;
use crate::kubeconfig::configuration;
use crate::servers::PATIENCE;

pub(crate) struct ApiServer {
    program: Program,
    administrator: Config,
    /// None while it is stopped.
    process: Mutex<Option<Supervised>>,
}

impl ApiServer {
    /// Starts it and waits until it is ready; the kubeconfig is that of its administrator.
    pub(crate) async fn start(program: Program, kubeconfig: &Path) -> Result<Self, Error> {
        let administrator = configuration(Kubeconfig::read_from(kubeconfig)?).await?;
        let api_server = Self { program, administrator, process: Mutex::new(None) };
        api_server.start_again().await?;
        Ok(api_server)
    }

    pub(crate) async fn start_again(&self) -> Result<(), Error> {
        let mut process = self.process.lock().await;
        if process.is_none() {
            let mut started = Supervised::start(self.program.clone())?;
            let client = self.client();
            started.ready(PATIENCE, || async { get(&client, "/readyz").await.is_ok() }).await?;
            *process = Some(started);
        }
        Ok(())
    }

    pub(crate) async fn stop(&self) {
        drop(self.process.lock().await.take());
    }

    pub(crate) fn client(&self) -> Client {
        Client::try_from(self.administrator.clone()).expect("the certificates were made for it")
    }
}

/// A GET of any path of the API server.
pub(crate) async fn get(client: &Client, path: &str) -> Result<String, Error> {
    let request = http::Request::get(path).body(Vec::new()).expect("the path is well-formed");
    Ok(client.request_text(request).await?)
}

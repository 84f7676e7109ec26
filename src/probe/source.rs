//! Where the instance object and its credentials come from.

use std::{
    collections::HashMap,
    env, fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use kube::Api;
use serde::Deserialize;

use super::{ProbeError, Settings};
use crate::{
    api::{ClickHouseInstance, ClickHouseInstanceSpec, ClusterClickHouseInstance},
    check,
    domain::secret::SecretText,
    kubeio::Kube,
    ops::metrics::Metrics,
};

/// The kinds of instance objects.
const KINDS: [&str; 2] = ["ClickHouseInstance", "ClusterClickHouseInstance"];

/// Keys of a credentials Secret, each with the environment variable that may stand for it.
pub const VARIABLES: [(&str, &str); 6] = [
    ("accessKeyID", "CLOUD_ACCESS_KEY_ID"),
    ("secretAccessKey", "CLOUD_SECRET_ACCESS_KEY"),
    ("securityToken", "CLOUD_SECURITY_TOKEN"),
    ("domainName", "CLOUD_DOMAIN_NAME"),
    ("userName", "CLOUD_USER_NAME"),
    ("password", "CLOUD_PASSWORD"),
];

/// The instance to probe.
#[derive(Clone, Debug)]
pub enum Wanted {
    /// A `ClickHouseInstance` of the cluster.
    Instance {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
    },
    /// A `ClusterClickHouseInstance` of the cluster.
    ClusterInstance {
        /// Its name.
        name: String,
        /// The operator's namespace, where its credentials are.
        operator_namespace: String,
    },
    /// The first instance object in a file.
    File(PathBuf),
}

/// Credentials by their keys.
pub type Credentials = HashMap<&'static str, SecretText>;

/// Reads the instance and its credentials: from the folder given, else from the environment where it names any, else
/// from the Secret in the cluster.
pub async fn read(settings: &Settings) -> Result<(ClickHouseInstanceSpec, Credentials), ProbeError> {
    let mut kube = None;
    let (spec, namespace) = match &settings.instance {
        Wanted::File(path) => (from_file(path)?, None),
        Wanted::Instance { namespace, name } => {
            let kube = kube.insert(connect().await?);
            let api: Api<ClickHouseInstance> = Api::namespaced(kube.client.clone(), namespace);
            let object = api.get(name).await.map_err(|error| ProbeError::Instance(error.to_string()))?;
            (object.spec, Some(namespace))
        }
        Wanted::ClusterInstance { name, operator_namespace } => {
            let kube = kube.insert(connect().await?);
            let api: Api<ClusterClickHouseInstance> = Api::all(kube.client.clone());
            let object = api.get(name).await.map_err(|error| ProbeError::Instance(error.to_string()))?;
            (object.spec.instance, Some(operator_namespace))
        }
    };
    let mut given = Credentials::new();
    for (key, variable) in VARIABLES {
        let value = match &settings.credentials {
            Some(folder) => fs::read_to_string(folder.join(key)).ok(),
            None => env::var(variable).ok(),
        };
        if let Some(value) = value {
            insert(&mut given, key, value.as_bytes());
        }
    }
    if !given.is_empty() {
        return Ok((spec, given));
    }
    let (Some(kube), Some(namespace), Some(block)) = (kube, namespace, spec.provider()) else {
        return Err(ProbeError::Credentials(
            "none given: name their folder with --credentials, or set CLOUD_…".to_owned(),
        ));
    };
    let name = &block.credentials_secret_ref().name;
    let secret = kube.read_secret(namespace, name, None).await;
    let secret = secret.map_err(|error| ProbeError::Credentials(format!("Secret {namespace}/{name}: {error}")))?;
    for (key, _) in VARIABLES {
        insert(&mut given, key, secret.get(key).unwrap_or_default());
    }
    Ok((spec, given))
}

async fn connect() -> Result<Kube, ProbeError> {
    let kube = Kube::connect(Arc::new(Metrics::new()), Duration::ZERO).await;
    kube.map_err(|error| ProbeError::Instance(format!("no API server: {error}")))
}

/// As in the operator: a line break at the end of a key is what `echo` leaves behind; no cloud's keys hold blanks.
fn insert(credentials: &mut Credentials, key: &'static str, value: &[u8]) {
    if let Ok(text) = std::str::from_utf8(value)
        && !text.trim().is_empty()
    {
        credentials.insert(key, SecretText::new(text.trim()));
    }
}

/// The first instance object in a file, which must be as right as the API server would have it.
fn from_file(path: &Path) -> Result<ClickHouseInstanceSpec, ProbeError> {
    #[derive(Deserialize)]
    struct Document {
        kind: Option<String>,
        spec: Option<serde_json::Value>,
    }
    let report = check::run(&check::Settings {
        paths: vec![path.to_owned()],
        namespace: String::new(),
        operator_namespace: String::new(),
        allowed_endpoints: None,
    });
    let is_instance = |finding: &&check::Finding| KINDS.iter().any(|kind| finding.object.starts_with(kind));
    let broken = report.findings.iter().filter(|finding| !finding.note).find(is_instance);
    if let Some(why) = report.unreadable.first().cloned().or(broken.map(ToString::to_string)) {
        return Err(ProbeError::Instance(why));
    }
    let unusable = || ProbeError::Instance(format!("{}: there is no instance object", path.display()));
    let text = fs::read_to_string(path).map_err(|_| unusable())?;
    let documents: Vec<Document> = serde_saphyr::from_multiple(&text).map_err(|_| unusable())?;
    let mut specs = documents.into_iter().filter_map(|document| {
        KINDS.contains(&document.kind.as_deref()?).then(|| serde_json::from_value(document.spec?).ok())?
    });
    specs.next().ok_or_else(unusable)
}

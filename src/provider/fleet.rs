//! Every way to a cloud that the operator uses, and what those ways share: one credential's budget, breaker and token
//! however many instances it serves, one instance's queue however many objects name it.

use std::{
    collections::HashMap,
    hash::Hash,
    sync::{Arc, Mutex, PoisonError, Weak},
    time::Duration,
};

use tokio::time::Instant;
use url::Url;

use super::{
    breaker::Breaker,
    budget::{Budget, Rate},
    connection::{Connection, Credential},
    contract::{Cloud, CloudError, ProviderKind},
    delete_limit::{DeleteLimit, DeleteRate},
    http::{Http, Transport},
    huaweicloud, qingcloud,
    queue::Queue,
};
use crate::domain::{names::InstanceKey, operator_key::OperatorKey, secret::SecretText};

/// The settings that connections depend on; each is a flag of `run`.
#[derive(Clone)]
pub struct FleetSettings {
    /// What all HTTP clients have in common.
    pub transport: Transport,
    /// How often each cloud may be called.
    pub rates: Rates,
    /// `--max-deletes`; `None` sets no limit.
    pub max_deletes: Option<DeleteRate>,
    /// `--job-poll-interval`
    pub job_poll_interval: Duration,
    /// `--job-timeout`: the longest turn at an instance.
    pub job_timeout: Duration,
    /// `--retry-min`: the breaker's shortest pause.
    pub retry_min: Duration,
    /// `--retry-max`: the longest pause of breaker and budget.
    pub retry_max: Duration,
}

/// How often one credential may call each cloud.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rates {
    /// `--qingcloud-rate`
    pub qingcloud: Rate,
    /// `--huaweicloud-rate`
    pub huaweicloud: Rate,
}

/// A cloud instance, as an instance object describes it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Target {
    /// A QingCloud cluster.
    QingCloud {
        /// The API, path included.
        endpoint: Url,
        /// Its zone.
        zone: String,
        /// The cluster.
        cluster_id: String,
        /// The role whose nodes hold ClickHouse.
        role: String,
        /// Whether parameters go as a form or in the URL.
        method: qingcloud::Method,
    },
    /// A Huawei Cloud instance.
    HuaweiCloud {
        /// Origin of the database service.
        endpoint: Url,
        /// Origin of IAM.
        iam_endpoint: Url,
        /// Its region.
        region: String,
        /// Its project.
        project_id: String,
        /// The ClickHouse instance.
        instance_id: String,
        /// The TaurusDB instance, to look the address up.
        taurus_instance_id: Option<String>,
    },
}

impl Target {
    /// Which cloud.
    pub fn provider(&self) -> ProviderKind {
        match self {
            Self::QingCloud { .. } => ProviderKind::QingCloud,
            Self::HuaweiCloud { .. } => ProviderKind::HuaweiCloud,
        }
    }

    /// The endpoint that changing calls go to.
    pub fn endpoint(&self) -> &Url {
        match self {
            Self::QingCloud { endpoint, .. } | Self::HuaweiCloud { endpoint, .. } => endpoint,
        }
    }
}

/// An instance in its cloud's own type.
pub enum Reached {
    /// A QingCloud cluster.
    QingCloud(qingcloud::Cluster),
    /// A Huawei Cloud instance.
    HuaweiCloud(huaweicloud::Instance),
}

/// Every connection in use. What nobody uses any more is forgotten.
pub struct Fleet {
    settings: FleetSettings,
    client: Result<reqwest::Client, CloudError>,
    credentials: Shelf<String, Credential>,
    qingcloud: Shelf<String, qingcloud::Client>,
    huaweicloud: Shelf<String, huaweicloud::Client>,
    queues: Shelf<InstanceKey, Queue>,
    deletes: Shelf<InstanceKey, DeleteLimit>,
    connections: Shelf<(String, Target), Connection>,
}

impl Fleet {
    /// No connections yet. Loads the TLS roots, so that nobody holds a lock while they are loaded.
    pub fn new(settings: FleetSettings) -> Self {
        Self {
            client: settings.transport.client(),
            settings,
            credentials: Shelf::default(),
            qingcloud: Shelf::default(),
            huaweicloud: Shelf::default(),
            queues: Shelf::default(),
            deletes: Shelf::default(),
            connections: Shelf::default(),
        }
    }

    /// The connection for a target through the credential in a Secret's values (`value` looks one up by key). Objects
    /// that bring the same credential share everything that belongs to it; objects that do not share nothing.
    pub fn connect(
        &self,
        target: &Target,
        key: &InstanceKey,
        value: &dyn Fn(&str) -> Option<SecretText>,
        operator_key: &OperatorKey,
    ) -> Result<Arc<Connection>, ConnectError> {
        let (credential, reached) = self.reach(target, value, operator_key)?;
        let cloud: Box<dyn Cloud> = match reached {
            Reached::QingCloud(cluster) => Box::new(cluster),
            Reached::HuaweiCloud(instance) => Box::new(instance),
        };
        let provider = target.provider();
        let queue = self.queues.get_or_make(key.clone(), || Ok(Queue::new(self.settings.job_timeout)))?;
        let deletes = self.deletes.get_or_make(key.clone(), || Ok(DeleteLimit::new(self.settings.max_deletes)))?;
        self.connections.get_or_make((credential.digest.clone(), target.clone()), || {
            let poll_interval = self.settings.job_poll_interval;
            let connection = Connection::new(provider, key.clone(), credential, (queue, deletes), cloud, poll_interval);
            Ok(connection.with_list_lag_at_most(self.settings.job_timeout))
        })
    }

    /// The instance behind a target in its cloud's own type, and the credential it is seen through: for whoever asks
    /// more than the contract knows. Calls through it are not queued; their maker waits for the budget.
    pub fn reach(
        &self,
        target: &Target,
        value: &dyn Fn(&str) -> Option<SecretText>,
        operator_key: &OperatorKey,
    ) -> Result<(Arc<Credential>, Reached), ConnectError> {
        let provider = target.provider();
        match target {
            Target::QingCloud { endpoint, zone, cluster_id, role, method } => {
                let credentials = qingcloud::Credentials::read(value).map_err(ConnectError::Credentials)?;
                let digest = digest(operator_key, provider, &credentials.parts(), &[endpoint.as_str()]);
                let credential = self.credential(provider, &digest, self.settings.rates.qingcloud)?;
                let client = self.qingcloud.get_or_make(digest, || {
                    Ok(qingcloud::Client::new(self.http(&credential)?, endpoint.clone(), credentials))
                })?;
                let cluster = qingcloud::Cluster::new(client, zone.clone(), cluster_id.clone());
                Ok((credential, Reached::QingCloud(cluster.with_role(role.clone()).with_method(*method))))
            }
            Target::HuaweiCloud { endpoint, iam_endpoint, region, project_id, instance_id, taurus_instance_id } => {
                let credentials = huaweicloud::Credentials::read(value).map_err(ConnectError::Credentials)?;
                let places = [endpoint.as_str(), iam_endpoint.as_str(), region];
                let digest = digest(operator_key, provider, &credentials.parts(), &places);
                let credential = self.credential(provider, &digest, self.settings.rates.huaweicloud)?;
                let client = self.huaweicloud.get_or_make(digest, || {
                    let http = self.http(&credential)?;
                    let at = |origin: &Url| huaweicloud::Endpoint { http: http.clone(), origin: origin.clone() };
                    Ok(huaweicloud::Client::new(at(endpoint), at(iam_endpoint), credentials, region.clone()))
                })?;
                let ids = (project_id.clone(), instance_id.clone(), taurus_instance_id.clone());
                Ok((credential, Reached::HuaweiCloud(huaweicloud::Instance::new(client, ids.0, ids.1, ids.2))))
            }
        }
    }

    /// Every credential in use.
    pub fn credentials(&self) -> Vec<Arc<Credential>> {
        self.credentials.all()
    }

    fn credential(&self, provider: ProviderKind, digest: &str, rate: Rate) -> Result<Arc<Credential>, ConnectError> {
        let FleetSettings { retry_min, retry_max, .. } = self.settings;
        self.credentials.get_or_make(digest.to_owned(), || {
            let budget = Arc::new(Budget::new(rate, Instant::now()));
            Ok(Credential::new(provider, digest.to_owned(), budget, Breaker::new(retry_min, retry_max), retry_max))
        })
    }

    fn http(&self, credential: &Credential) -> Result<Arc<Http>, ConnectError> {
        let client = self.client.clone().map_err(ConnectError::Tls)?;
        let observer = self.settings.transport.observer.clone();
        Ok(Arc::new(Http::new(credential.provider, credential.budget.clone(), client, observer)))
    }
}

/// Tells credentials apart, and the same credential at two endpoints.
fn digest(key: &OperatorKey, provider: ProviderKind, secrets: &[&SecretText], places: &[&str]) -> String {
    let parts: Vec<&[u8]> = [provider.as_str()]
        .into_iter()
        .chain(places.iter().copied())
        .chain(secrets.iter().map(|secret| secret.expose()))
        .map(str::as_bytes)
        .collect();
    key.credential_digest(&parts)
}

/// Why there is no connection.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConnectError {
    /// The credentials Secret lacks a key; which.
    #[error("{0}")]
    Credentials(String),
    /// The TLS roots cannot be loaded.
    #[error(transparent)]
    Tls(CloudError),
}

/// Values that live as long as somebody holds them.
struct Shelf<K, V>(Mutex<HashMap<K, Weak<V>>>);

impl<K, V> Default for Shelf<K, V> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K: Eq + Hash, V> Shelf<K, V> {
    /// The value under a key, made where nobody holds one.
    fn get_or_make(&self, key: K, make: impl FnOnce() -> Result<V, ConnectError>) -> Result<Arc<V>, ConnectError> {
        let mut map = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(value) = map.get(&key).and_then(Weak::upgrade) {
            return Ok(value);
        }
        map.retain(|_, value| value.strong_count() > 0);
        let value = Arc::new(make()?);
        map.insert(key, Arc::downgrade(&value));
        Ok(value)
    }

    fn all(&self) -> Vec<Arc<V>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).values().filter_map(Weak::upgrade).collect()
    }
}

#[cfg(test)]
mod tests {
    use zeroize::Zeroizing;

    use super::*;

    fn fleet() -> Fleet {
        let rate = Rate { per_second: 1.0, burst: 5 };
        let call_timeout = Duration::from_secs(30);
        Fleet::new(FleetSettings {
            transport: Transport { call_timeout, extra_roots: Vec::new(), observer: Arc::new(|_| {}) },
            rates: Rates { qingcloud: rate, huaweicloud: rate },
            max_deletes: None,
            job_poll_interval: Duration::from_secs(3),
            job_timeout: Duration::from_secs(900),
            retry_min: Duration::from_secs(1),
            retry_max: Duration::from_secs(600),
        })
    }

    fn cluster(cluster_id: &str, endpoint: &str) -> Target {
        Target::QingCloud {
            endpoint: Url::parse(endpoint).expect("a URL"),
            zone: "sh1a".to_owned(),
            cluster_id: cluster_id.to_owned(),
            role: "analysis".to_owned(),
            method: qingcloud::Method::Post,
        }
    }

    fn instance(region: &str) -> Target {
        Target::HuaweiCloud {
            endpoint: Url::parse("https://cloud.example").expect("a URL"),
            iam_endpoint: Url::parse("https://iam.example").expect("a URL"),
            region: region.to_owned(),
            project_id: "p".to_owned(),
            instance_id: "i".to_owned(),
            taurus_instance_id: None,
        }
    }

    const ENDPOINT: &str = "https://cloud.example/iaas/";

    fn connect(fleet: &Fleet, target: &Target, key: &str, secret: &'static str) -> Arc<Connection> {
        let value = |name: &str| {
            ["accessKeyID", "secretAccessKey"].contains(&name).then(|| SecretText::new(format!("{name} {secret}")))
        };
        let operator_key = OperatorKey::new(Zeroizing::new([1; 32]));
        fleet.connect(target, &InstanceKey::new(key), &value, &operator_key).expect("a connection")
    }

    #[test]
    fn objects_with_the_same_credential_share_its_budget_and_breaker_across_instances() {
        for (one, other) in [(cluster("cl-1", ENDPOINT), cluster("cl-2", ENDPOINT)), (instance("a"), instance("a"))] {
            let fleet = fleet();
            let (one, other) = (connect(&fleet, &one, "k-1", "x"), connect(&fleet, &other, "k-2", "x"));
            assert!(Arc::ptr_eq(&one.credential, &other.credential));
            assert_eq!(fleet.credentials().len(), 1);
        }
    }

    #[test]
    fn objects_that_mean_the_same_through_the_same_credential_share_their_connection() {
        let fleet = fleet();
        let target = cluster("cl-1", ENDPOINT);
        assert!(Arc::ptr_eq(&connect(&fleet, &target, "k-1", "x"), &connect(&fleet, &target, "k-1", "x")));
    }

    #[test]
    fn objects_with_different_credentials_share_the_queue_of_their_instance_and_nothing_else() {
        let fleet = fleet();
        let target = cluster("cl-1", ENDPOINT);
        let (one, other) = (connect(&fleet, &target, "k-1", "x"), connect(&fleet, &target, "k-1", "y"));
        assert!(Arc::ptr_eq(&one.queue, &other.queue));
        assert!(!Arc::ptr_eq(&one, &other));
        assert!(!Arc::ptr_eq(&one.credential, &other.credential));
        assert!(!Arc::ptr_eq(&one.credential.budget, &other.credential.budget));
    }

    #[test]
    fn same_key_at_another_endpoint_region_or_cloud_is_another_credential() {
        let fleet = fleet();
        let targets =
            [cluster("cl-1", ENDPOINT), cluster("cl-1", "https://other.example/iaas/"), instance("a"), instance("b")];
        let connections: Vec<_> = targets.iter().map(|target| connect(&fleet, target, "k-1", "x")).collect();
        assert_eq!(fleet.credentials().len(), connections.len());
    }

    #[test]
    fn different_instances_have_queues_of_their_own() {
        let fleet = fleet();
        let one = connect(&fleet, &cluster("cl-1", ENDPOINT), "k-1", "x");
        let other = connect(&fleet, &cluster("cl-2", ENDPOINT), "k-2", "x");
        assert!(!Arc::ptr_eq(&one.queue, &other.queue));
    }

    #[test]
    fn what_nobody_uses_is_forgotten() {
        let fleet = fleet();
        drop(connect(&fleet, &cluster("cl-1", ENDPOINT), "k-1", "x"));
        assert!(fleet.credentials().is_empty());
    }

    #[test]
    fn incomplete_credentials_are_refused_by_the_key_that_is_missing() {
        let operator_key = OperatorKey::new(Zeroizing::new([1; 32]));
        for target in [cluster("cl-1", ENDPOINT), instance("a")] {
            let value = |name: &str| (name == "accessKeyID").then(|| SecretText::new("x"));
            match fleet().connect(&target, &InstanceKey::new("k-1"), &value, &operator_key) {
                Err(ConnectError::Credentials(what)) => assert!(what.contains("secretAccessKey"), "{what}"),
                Err(other) => panic!("{other}"),
                Ok(_) => panic!("connected without a secret"),
            }
        }
    }
}

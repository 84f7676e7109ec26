//! One test's world: a namespace of its own on the shared control plane, clouds of its own, an operator process that
//! serves this namespace, and a real ClickHouse where the test logs in.

use std::{collections::BTreeSet, net::SocketAddr, sync::Arc, time::Duration};

use clickhouse::{QueryError, Server};
use control_plane::{AuditMark, ControlPlane};
use emulated_clouds::{
    Cluster, Database, EffectKind, EmulatedClouds, HuaweiKeys, HuaweiProject, HuaweiUser, Instance, Ledger, Options,
    QingcloudKey,
};
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::{
    kubernetes::Kubernetes,
    manifests::{
        self, CLUSTER, Cloud, HUAWEI_SECRET, IAM_PASSWORD, INSTANCE, PASSWORD, PROJECT, QINGCLOUD_SECRET, TAURUS, ZONE,
    },
    operator::Operator,
    proxy::Proxy,
    secrets::Secrets,
    trouble::Troubles,
};

/// How long anything in a test may take before it counts as not happening. Generous: machines are shared.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// More worlds at once only make each other slow.
static WORLDS: Semaphore = Semaphore::const_new(6);

/// Those behind a proxy wait most of the time.
static WORLDS_BEHIND_PROXIES: Semaphore = Semaphore::const_new(10);

/// Runs a proof on both clouds, side by side.
pub async fn on_both_clouds(proof: impl AsyncFn(Cloud)) {
    tokio::join!(Box::pin(proof(Cloud::QingCloud)), Box::pin(proof(Cloud::HuaweiCloud)));
}

/// Everything a test needs.
pub struct World {
    pub cloud: Cloud,
    pub kubernetes: Kubernetes,
    pub clouds: EmulatedClouds,
    pub operator: Operator,
    /// Where the audit log was when the world began.
    pub since: AuditMark,
    /// What the password Secrets held, version by version.
    pub secrets: Secrets,
    /// Further namespaces of the test, each with its Secrets.
    pub neighbours: Vec<(String, Secrets)>,
    /// The ledgers of clouds that were taken down.
    pub past: Vec<Ledger>,
    /// Users that the test makes the operator release without their accounts.
    pub orphans: BTreeSet<String>,
    database: Option<Arc<Server>>,
    /// Between the operator and everything, in a world that has one.
    pub proxy: Option<Proxy>,
    /// Where the clouds listened before they went down.
    addresses: Option<[SocketAddr; 3]>,
    _permit: SemaphorePermit<'static>,
}

/// A world to be started.
pub struct Plan {
    cloud: Cloud,
    with_database: bool,
    behind_a_proxy: bool,
    settings: Vec<(&'static str, &'static str)>,
}

impl Plan {
    /// With a real ClickHouse behind the cloud.
    pub fn with_database(mut self) -> Self {
        self.with_database = true;
        self
    }

    /// With a proxy between the operator and all it calls. The operator is not started.
    pub fn behind_a_proxy(mut self) -> Self {
        self.behind_a_proxy = true;
        self
    }

    /// With a flag of the operator beside or instead of the usual ones.
    pub fn flag(mut self, flag: &'static str, value: &'static str) -> Self {
        self.settings.push((flag, value));
        self
    }

    /// Starts it on the control plane that tests share, the operator running.
    pub async fn start(self) -> World {
        self.start_on(control_plane::shared().await).await
    }

    /// Starts it on a control plane, the operator running.
    pub async fn start_on(self, plane: &'static ControlPlane) -> World {
        let worlds = if self.behind_a_proxy { &WORLDS_BEHIND_PROXIES } else { &WORLDS };
        let permit = worlds.acquire().await.expect("the semaphore is never closed");
        let kubernetes = Kubernetes::prepare(plane).await;
        let since = plane.audit_mark().await.expect("the audit log can be read");
        let database =
            if self.with_database { Some(Arc::new(Server::start().await.expect("ClickHouse starts"))) } else { None };
        let secrets = Secrets::follow(kubernetes.client.clone(), &kubernetes.namespace);
        let behind = database.clone().map(|server| server as Arc<dyn Database>);
        let clouds = furnished(Options { database: behind, ..Options::default() }).await;
        let proxy = if self.behind_a_proxy {
            let cloud = manifests::endpoint(self.cloud, &clouds);
            Some(Proxy::start(&kubernetes.operator_kubeconfig, &cloud, &kubernetes.namespace).await)
        } else {
            None
        };
        let endpoints = [clouds.qingcloud_endpoint(), clouds.huawei_endpoint(), clouds.iam_endpoint()];
        let endpoints = endpoints.map(|endpoint| endpoint.origin().ascii_serialization()).into_iter();
        let endpoints: Vec<_> = endpoints.chain(proxy.as_ref().map(Proxy::cloud_origin)).collect();
        let mut operator = Operator::new(&kubernetes, &endpoints.join(","), &self.settings);
        match &proxy {
            Some(proxy) => operator.connect_by(proxy.kubeconfig()),
            None => operator.start(),
        }
        World {
            cloud: self.cloud,
            kubernetes,
            clouds,
            operator,
            since,
            secrets,
            neighbours: Vec::new(),
            past: Vec::new(),
            orphans: BTreeSet::new(),
            database,
            proxy,
            addresses: None,
            _permit: permit,
        }
    }
}

impl World {
    /// A world of this cloud.
    pub fn of(cloud: Cloud) -> Plan {
        Plan { cloud, with_database: false, behind_a_proxy: false, settings: Vec::new() }
    }

    /// Another namespace belongs to this test too; nothing is in it yet.
    pub fn includes(&mut self, other: &Kubernetes) {
        let secrets = Secrets::follow(other.client.clone(), &other.namespace);
        self.neighbours.push((other.namespace.clone(), secrets));
    }

    /// Every namespace of the test.
    pub fn namespaces(&self) -> BTreeSet<String> {
        let further = self.neighbours.iter().map(|(namespace, _)| namespace.clone());
        further.chain([self.kubernetes.namespace.clone()]).collect()
    }

    /// Applies the credentials Secret and the instance object `warehouse`.
    pub async fn apply_instance(&self) {
        self.kubernetes.apply(&(manifests::credentials(self.cloud) + &self.instance())).await;
    }

    /// The manifest of the instance object `warehouse`.
    pub fn instance(&self) -> String {
        let manifest = manifests::instance(self.cloud, &self.clouds);
        let Some(proxy) = &self.proxy else { return manifest };
        let origin = manifests::endpoint(self.cloud, &self.clouds).origin().ascii_serialization();
        manifest.replace(&origin, &proxy.cloud_origin())
    }

    /// Applies the password Secret of a user.
    pub async fn apply_password(&self, name: &str, password: &str) {
        self.kubernetes.apply(&manifests::password(name, password)).await;
    }

    /// Applies a user of instance `warehouse` with the least its cloud needs, and `more` lines of spec.
    pub async fn apply_user(&self, name: &str, more: &str) {
        self.kubernetes.apply(&manifests::user(self.cloud, name, more)).await;
    }

    /// Applies a user and its password Secret.
    pub async fn apply_user_with_password(&self, name: &str) {
        let manifests = manifests::password(name, PASSWORD) + &manifests::user(self.cloud, name, "");
        self.kubernetes.apply(&manifests).await;
    }

    /// Instance, password and user, Ready.
    pub async fn ready_user(&self, name: &str) {
        self.apply_instance().await;
        self.apply_user_with_password(name).await;
        self.kubernetes.user_shows(&manifests::object_name(name), "AccountReady").await;
    }

    /// Deletes a user and waits until it is gone.
    pub async fn delete_user(&self, name: &str) {
        self.kubernetes.delete_user(name).await;
        self.kubernetes.user_gone(name).await;
    }

    /// Kills the operator and starts it again.
    pub fn restart_operator(&mut self) {
        self.operator.kill();
        self.operator.start();
    }

    /// Closes the clouds' ports. Their accounts and their ledger go with them.
    pub async fn take_clouds_down(&mut self) {
        let endpoints = [self.clouds.qingcloud_endpoint(), self.clouds.huawei_endpoint(), self.clouds.iam_endpoint()];
        let addresses = endpoints.map(|endpoint| endpoint.socket_addrs(|| None).expect("an address")[0]);
        // The new ones are the same clouds at ports that nobody knows.
        self.replace_clouds(Options::default()).await;
        self.addresses = Some(addresses);
    }

    /// Opens the ports again, with fresh clouds behind them.
    pub async fn bring_clouds_back(&mut self) {
        let [qingcloud_listen, huawei_listen, iam_listen] = self.addresses.take().expect("the clouds are down");
        let options = Options { qingcloud_listen, huawei_listen, iam_listen, ..Options::default() };
        self.replace_clouds(options).await;
    }

    async fn replace_clouds(&mut self, options: Options) {
        let before = std::mem::replace(&mut self.clouds, furnished(options).await);
        self.past.push(before.ledger());
    }

    /// What goes wrong between the operator and the API server, in a world behind a proxy.
    pub fn troubles(&self) -> &Troubles {
        self.proxy.as_ref().expect("a proxy").troubles()
    }

    /// Declares that this user will be released while its account stays: the test takes away what its deletion needs.
    pub fn expect_orphan(&mut self, name: &str) {
        self.orphans.insert(name.to_owned());
    }

    /// Logs in to ClickHouse as a client would.
    pub async fn login(&self, user: &str, password: &str) -> Result<String, QueryError> {
        self.query(user, password, "SELECT 1").await
    }

    /// Applies the credentials Secret and the instance object `warehouse`, which says where the real ClickHouse is, with
    /// `more` lines of spec.
    pub async fn apply_connected_instance(&self, more: &str) {
        let database = self.database();
        let (port, http_port) = (database.tcp_port(), database.http_port());
        let connection = format!("connection: {{host: 127.0.0.1, port: {port}, httpPort: {http_port}}}");
        let instance = manifests::credentials(self.cloud) + &self.instance() + &format!("  {connection}\n  {more}\n");
        self.kubernetes.apply(&instance).await;
    }

    /// The real ClickHouse.
    pub fn database(&self) -> &Server {
        self.database.as_ref().expect("a world with a database")
    }

    /// Asks ClickHouse as a client would.
    pub async fn query(&self, user: &str, password: &str, sql: &str) -> Result<String, QueryError> {
        self.database().query(user, password, sql).await
    }

    /// Names of the accounts in the cloud.
    pub fn accounts(&self) -> BTreeSet<String> {
        self.clouds.accounts(self.cloud.instance_id()).into_keys().collect()
    }

    /// What happened to the account of this name, in order.
    pub fn effects(&self, account: &str) -> Vec<EffectKind> {
        self.clouds.effects_of(account).into_iter().map(|effect| effect.kind).collect()
    }

    /// How many requests asked for a change of accounts, refused ones included.
    pub fn changing_requests(&self) -> usize {
        self.clouds.ledger().changing_requests()
    }

    /// Waits until the ledger is as `condition` wants it; `what` says so in a failure.
    pub async fn ledger_shows(&self, what: &str, condition: impl FnMut(&Ledger) -> bool) {
        if let Err(error) = self.clouds.wait_until(condition, PATIENCE).await {
            panic!("{:?}: the cloud did not see {what}: {error}", self.cloud);
        }
    }
}

/// Clouds with all that the tests' manifests name.
async fn furnished(options: Options) -> EmulatedClouds {
    // The same for all clouds, so that digests of one can be compared with those of another.
    let options = Options { salt: Some([0; 16]), ..options };
    let clouds = EmulatedClouds::start(options).await.expect("the clouds start");
    clouds.add_qingcloud_key(QingcloudKey::new("QINGCLOUDKEY", QINGCLOUD_SECRET));
    clouds.add_cluster(Cluster::new(ZONE, CLUSTER));
    clouds.add_huawei_project(HuaweiProject {
        id: PROJECT.into(),
        name: "cn-north-4".into(),
        domain: "ACCOUNT".into(),
    });
    clouds.add_huawei_keys(HuaweiKeys {
        access_key: "HUAWEIKEY".into(),
        secret_key: HUAWEI_SECRET.into(),
        security_token: None,
        expires_at: None,
        domain: "ACCOUNT".into(),
    });
    clouds.add_huawei_user(HuaweiUser {
        domain: "ACCOUNT".into(),
        name: "iam-user".into(),
        password: IAM_PASSWORD.into(),
    });
    clouds.add_instance(Instance::new(PROJECT, INSTANCE, TAURUS));
    clouds
}

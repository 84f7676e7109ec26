//! A world with a shared instance: two namespaces, the credentials in the operator's own, and one test at a time,
//! because every operator that serves shared instances serves all of the cluster.

use std::time::Duration;

use clickhouse_user_operator::api::user::ClickHouseUser;
use kube::{Api, api::DeleteParams, runtime::wait::await_condition};
use tokio::sync::{Mutex, MutexGuard};

use crate::{
    kubernetes::Kubernetes,
    manifests::{self, Cloud, PASSWORD, password, ready},
    world::{PATIENCE, World},
};

static TURN: Mutex<()> = Mutex::const_new(());

/// The world, with a second namespace and the name of its shared instance.
pub struct Sharing {
    pub world: World,
    pub other: Kubernetes,
    pub instance: String,
    _turn: MutexGuard<'static, ()>,
}

impl Sharing {
    /// Starts it; the shared instance is not there yet, its credentials are.
    pub async fn start(cloud: Cloud) -> Self {
        Self::start_with(cloud, &[]).await
    }

    /// Starts it with these flags too.
    pub async fn start_with(cloud: Cloud, flags: &[(&'static str, &'static str)]) -> Self {
        let turn = TURN.lock().await;
        let plan = flags.iter().fold(World::of(cloud), |plan, (flag, value)| plan.flag(flag, value));
        let mut world = plan.flag("--cluster-instances", "true").start().await;
        let other = world.kubernetes.another().await;
        world.includes(&other);
        world.operator.kill();
        world.operator.set("--watch-namespaces", &format!("{},{}", world.kubernetes.namespace, other.namespace));
        world.operator.start();
        world.kubernetes.operators().apply(&manifests::credentials(cloud)).await;
        let instance = format!("shared-{}", world.kubernetes.namespace);
        Self { world, other, instance, _turn: turn }
    }

    /// Applies the shared instance with these further lines of spec, each a line of YAML.
    pub async fn share(&self, lines: &[&str]) {
        self.world.kubernetes.apply(&self.manifest(lines)).await;
    }

    /// The same, for both namespaces of the test, with these ceilings.
    pub async fn share_with_ceilings(&self, ceilings: &str) {
        let names = self.for_both();
        self.share(&[&names, &format!("ceilings: {{{ceilings}}}")]).await;
    }

    /// The line of spec that allows both namespaces of the test.
    pub fn for_both(&self) -> String {
        format!("allowedNamespaces: {{names: [{}, {}]}}", self.world.kubernetes.namespace, self.other.namespace)
    }

    fn manifest(&self, lines: &[&str]) -> String {
        let instance = self.world.instance().replace("kind: ClickHouseInstance", "kind: ClusterClickHouseInstance");
        let named = instance.replace("name: warehouse", &format!("name: {}", self.instance));
        lines.iter().fold(named, |manifest, line| manifest + &format!("  {line}\n"))
    }

    /// A user of the shared instance with the least its cloud needs, and `more` lines of spec.
    pub fn user(&self, name: &str, more: &str) -> String {
        self.user_of(name, &format!("{}\n  {more}", self.world.cloud.access()))
    }

    /// A user of the shared instance with these lines of spec, and its password.
    pub fn user_of(&self, name: &str, lines: &str) -> String {
        let reference = format!("instanceRef: {{kind: ClusterClickHouseInstance, name: {}}}", self.instance);
        let user = manifests::user_object(name, lines).replace("instanceRef: {name: warehouse}", &reference);
        password(name, PASSWORD) + &user
    }

    /// Takes users and instance away and ends the test.
    pub async fn finish(self) {
        let Self { world, other, instance, _turn } = self;
        for kubernetes in [&world.kubernetes, &other] {
            kubernetes.kubectl(&["delete", "clickhouseusers", "--all", "--timeout=60s"]).await;
        }
        let api = world.kubernetes.shared_instances();
        if api.get_opt(&instance).await.expect("an answer").is_some() {
            api.delete(&instance, &DeleteParams::default()).await.expect("the instance can be deleted");
        }
        shared_instance_gone(&world.kubernetes, &instance).await;
        world.finish().await;
    }
}

/// Waits until the shared instance is gone.
pub async fn shared_instance_gone(kubernetes: &Kubernetes, name: &str) {
    let api: Api<_> = kubernetes.shared_instances();
    let gone = await_condition(api, name, |it: Option<&clickhouse_user_operator::api::ClusterClickHouseInstance>| {
        it.is_none()
    });
    tokio::time::timeout(PATIENCE, gone).await.expect("the shared instance goes").expect("a watch");
}

/// Waits until objects that are created now are younger than this one: the API server keeps seconds.
pub async fn younger_than(user: &ClickHouseUser) {
    let created = user.metadata.creation_timestamp.as_ref().expect("the time of its creation").0;
    let next = created + Duration::from_secs(1);
    while jiff::Timestamp::now() < next {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Waits until a user is refused with a reason and a message that holds all of these.
pub async fn refused(kubernetes: &Kubernetes, name: &str, reason: &str, says: &[&str]) {
    let what = format!("{reason} saying {says:?}");
    let is_refused =
        |user: &ClickHouseUser| ready(user).0 == reason && says.iter().all(|word| ready(user).1.contains(word));
    kubernetes.user_until(name, &what, is_refused).await;
}

//! What passes may touch: the state of the whole process, and of one watched scope.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError, Weak, atomic::AtomicUsize},
    time::Duration,
};

use jiff::Timestamp;
use kube::runtime::reflector::{ObjectRef, Store};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::{
    announcer::Announcer,
    around::Around,
    changes::Changes,
    counts::Counts,
    directory::Directory,
    gate::Gate,
    index::{Index, Name},
    latest::Latest,
    pace::Pace,
    refusals::Refusals,
    secret_versions::SecretVersions,
    waits::Waits,
};
use crate::{
    api::{instance::ClickHouseInstance, user::ClickHouseUser},
    cli::Config,
    domain::{operator_key::OperatorKey, plan::Settings},
    kubeio::Kube,
    login::Logins,
    ops::metrics::Metrics,
    provider::{contract::ProviderKind, fleet::Fleet},
};

/// Shared by everything this process does.
pub struct Context {
    /// Flags.
    pub config: Config,
    /// The flags that the plan reads.
    pub settings: Settings,
    /// The API server.
    pub kube: Kube,
    /// The operator's key.
    pub key: OperatorKey,
    /// The clouds.
    pub fleet: Fleet,
    /// Logins to ClickHouse itself.
    pub logins: Logins,
    /// Bounds and orders passes.
    pub gate: Arc<Gate>,
    /// Events and log lines of happenings.
    pub announcer: Announcer,
    /// Metrics.
    pub metrics: Arc<Metrics>,
    /// When this process began to serve.
    pub started_at: Timestamp,
    /// Longest a pass may take.
    pub pass_deadline: Duration,
    /// Every scope that is served, for what is counted over all of them.
    pub scopes: Mutex<Vec<Weak<Scope>>>,
    /// Scopes whose stores are not filled yet.
    pub filling: AtomicUsize,
}

impl Context {
    /// Counts users and jobs over all scopes.
    pub fn count(&self) {
        let scopes = self.scopes.lock().unwrap_or_else(PoisonError::into_inner);
        let scopes: Vec<_> = scopes.iter().filter_map(Weak::upgrade).collect();
        let mut groups = BTreeMap::new();
        for scope in &scopes {
            scope.index.count_groups(&mut groups);
        }
        self.metrics.users(groups);
        for provider in ProviderKind::ALL {
            let jobs = scopes.iter().map(|scope| scope.index.running_jobs(provider)).sum();
            self.metrics.jobs_in_flight(provider, jobs);
        }
    }
}

/// One watched scope: all namespaces, or one of `--watch-namespaces`. Users, their Secrets and their instances live in
/// one namespace, so scopes need nothing of each other.
pub struct Scope {
    /// The process.
    pub context: Arc<Context>,
    /// Users as the watch shows them.
    pub users: Store<ClickHouseUser>,
    /// Instances as the watch shows them.
    pub instances: Store<ClickHouseInstance>,
    /// Secrets as the metadata watch shows them.
    pub secrets: SecretVersions,
    /// The first list of users is in their store.
    pub users_filled: CancellationToken,
    /// The first list of instances is in their store.
    pub instances_filled: CancellationToken,
    /// Who depends on what.
    pub index: Index,
    /// What is known of instances.
    pub directory: Directory,
    /// How often users are tried.
    pub pace: Pace,
    /// Whose last call was refused for certain.
    pub refusals: Refusals,
    /// What was seen of each user's login and connection Secret.
    pub around: Around,
    /// How soon users may be changed again.
    pub changes: Changes,
    /// Since when users wait for nothing but ourselves.
    pub waits: Waits,
    /// How often instances are tried.
    pub instance_pace: Pace,
    /// When each instance's count of users was written.
    pub counts: Counts,
    /// Own writes to users that the watch does not show yet.
    pub written_users: Latest<ClickHouseUser>,
    /// Own writes to instances that the watch does not show yet.
    pub written_instances: Latest<ClickHouseInstance>,
    /// Asks for passes of users.
    pub wake_user: mpsc::UnboundedSender<ObjectRef<ClickHouseUser>>,
    /// Asks for passes of instances.
    pub wake_instance: mpsc::UnboundedSender<ObjectRef<ClickHouseInstance>>,
}

impl Scope {
    /// A scope that knows nothing yet.
    pub fn new(
        context: Arc<Context>,
        users: Store<ClickHouseUser>,
        instances: Store<ClickHouseInstance>,
        wake_user: mpsc::UnboundedSender<ObjectRef<ClickHouseUser>>,
        wake_instance: mpsc::UnboundedSender<ObjectRef<ClickHouseInstance>>,
    ) -> Self {
        Self {
            context,
            users,
            instances,
            secrets: SecretVersions::default(),
            users_filled: CancellationToken::new(),
            instances_filled: CancellationToken::new(),
            index: Index::default(),
            directory: Directory::default(),
            pace: Pace::default(),
            refusals: Refusals::default(),
            around: Around::default(),
            changes: Changes::default(),
            waits: Waits::default(),
            instance_pace: Pace::default(),
            counts: Counts::default(),
            written_users: Latest::default(),
            written_instances: Latest::default(),
            wake_user,
            wake_instance,
        }
    }

    /// Waits until the first lists of users, instances and Secrets are complete.
    ///
    /// Not by [`Store::wait_until_ready`]: of several that wait there, kube-runtime 5.0 wakes the last one only, and
    /// each `Controller` waits there already.
    pub async fn filled(&self) {
        self.users_filled.cancelled().await;
        self.instances_filled.cancelled().await;
        self.secrets.filled().await;
    }

    /// Asks for a pass of a user. A closed channel means that the process ends.
    pub fn wake_user(&self, name: &Name) {
        let _ = self.wake_user.send(ObjectRef::new(&name.1).within(&name.0));
    }

    /// Asks for a pass of an instance.
    pub fn wake_instance(&self, name: &Name) {
        let _ = self.wake_instance.send(ObjectRef::new(&name.1).within(&name.0));
    }

    /// An instance object as it is now, own writes included.
    pub fn instance(&self, name: &Name) -> Option<Arc<ClickHouseInstance>> {
        let watched = self.instances.get(&ObjectRef::new(&name.1).within(&name.0))?;
        Some(self.written_instances.newest(watched))
    }
}

//! What passes may touch: the state of the whole process, of one watched scope, and of what scopes share.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use jiff::Timestamp;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::{
    announcer::Announcer,
    around::Around,
    changes::Changes,
    counts::Counts,
    directory::Directory,
    fence::Fence,
    gate::Gate,
    index::Index,
    instances::Instances,
    latest::Latest,
    names::{InstanceName, Name},
    namespaces::Namespaces,
    pace::Pace,
    refusals::Refusals,
    secret_versions::SecretVersions,
    users::Users,
    waits::Waits,
};
use crate::{
    api::{AnyInstance, ClusterClickHouseInstance, instance::ClickHouseInstance, packed::Packer, user::ClickHouseUser},
    cli::Config,
    domain::{claims::Account, names::Uid, operator_key::OperatorKey, plan::Settings, seen::SecretSeen},
    kubeio::Kube,
    login::Logins,
    ops::{
        health::{Health, Readiness},
        metrics::Metrics,
    },
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
    /// Whether this process may still change something.
    pub fence: Arc<Fence>,
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
    /// Who depends on what.
    pub index: Index,
    /// Makes users at rest small.
    pub packer: Arc<Mutex<Packer>>,
    /// What is known of instances.
    pub directory: Directory,
    /// How often instances are tried.
    pub instance_pace: Pace,
    /// When each instance's count of users was written.
    pub counts: Counts,
    /// Accounts whose first intent is being written in this moment, and by whom.
    pub claiming: Mutex<HashMap<Account, Uid>>,
    /// Shared instances; `None` where `--cluster-instances` is false.
    pub shared: Option<Shared>,
    /// Every scope that is served.
    pub scopes: Mutex<Vec<Weak<Scope>>>,
    /// What is not filled yet of the scopes and of what they share.
    pub filling: AtomicUsize,
    /// All of it is filled, or was waited for long enough.
    pub filled: CancellationToken,
}

impl Context {
    /// Counts users and jobs over all scopes.
    pub fn count(&self) {
        let mut groups = BTreeMap::new();
        self.index.count_groups(&mut groups);
        self.metrics.users(groups);
        for provider in ProviderKind::ALL {
            self.metrics.jobs_in_flight(provider, self.index.running_jobs(provider));
        }
    }

    /// One scope, or what scopes share, is filled. The last one lets passes start.
    pub fn part_filled(&self, health: &Health) {
        if self.filling.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.filled.cancel();
            health.set_ready(Readiness::Serving);
        }
    }

    /// Waits until passes of shared instances may run.
    pub async fn shared_filled(self: Arc<Self>) {
        if let Some(shared) = &self.shared {
            shared.filled().await;
        }
        self.filled.cancelled().await;
    }

    /// The scope that serves a namespace.
    pub fn scope_of(&self, namespace: &str) -> Option<Arc<Scope>> {
        self.scopes().iter().filter_map(Weak::upgrade).find(|scope| scope.serves(namespace))
    }

    /// A user as it is now, own writes included.
    pub fn user(&self, name: &Name) -> Option<Arc<ClickHouseUser>> {
        let scope = self.scope_of(&name.0)?;
        scope.written_users.newest_of(|| scope.users.get(name))
    }

    /// An instance object as it is now, own writes included.
    pub fn instance(&self, name: &InstanceName) -> Option<AnyInstance> {
        match &name.namespace {
            Some(namespace) => self.scope_of(namespace)?.instances.get(name),
            None => self.shared.as_ref()?.instances.get(name),
        }
    }

    /// Remembers what a write to an instance object returned.
    pub fn wrote_instance(&self, written: AnyInstance) {
        match written {
            AnyInstance::Own(object) => {
                let namespace = object.metadata.namespace.clone().unwrap_or_default();
                if let Some(scope) = self.scope_of(&namespace) {
                    scope.instances.written.wrote(object);
                }
            }
            AnyInstance::Shared(object) => {
                if let Some(shared) = &self.shared {
                    shared.instances.written.wrote(object);
                }
            }
        }
    }

    /// What the watches show of a Secret.
    pub fn secret(&self, name: &Name) -> SecretSeen {
        let own = || self.shared.as_ref().and_then(|shared| shared.secrets.clone());
        let in_own = || if name.0 == self.config.operator_namespace { own() } else { None };
        let versions = self.scope_of(&name.0).map(|scope| scope.secrets.clone()).or_else(in_own);
        versions.map_or(SecretSeen::Missing, |versions| versions.get(name))
    }

    /// Asks for a pass of a user.
    pub fn wake_user(&self, name: &Name) {
        if let Some(scope) = self.scope_of(&name.0) {
            scope.wake_user(name);
        }
    }

    /// Asks for a pass of an instance.
    pub fn wake_instance(&self, name: &InstanceName) {
        match &name.namespace {
            Some(namespace) => {
                if let Some(scope) = self.scope_of(namespace) {
                    scope.instances.wake(name);
                }
            }
            None => {
                if let Some(shared) = &self.shared {
                    shared.instances.wake(name);
                }
            }
        }
    }

    fn scopes(&self) -> MutexGuard<'_, Vec<Weak<Scope>>> {
        self.scopes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What scopes share: instances of the whole cluster, and what deciding about them needs.
pub struct Shared {
    /// The instances.
    pub instances: Instances<ClusterClickHouseInstance>,
    /// Labels of namespaces.
    pub namespaces: Namespaces,
    /// Secrets of the operator's own namespace, where the credentials are; `None` where a scope watches it anyway.
    pub secrets: Option<Arc<SecretVersions>>,
}

impl Shared {
    /// Whether the first lists are complete.
    pub fn is_filled(&self) -> bool {
        self.instances.filled.is_cancelled() && self.namespaces.are_filled()
    }

    /// Waits until the first lists are complete.
    pub async fn filled(&self) {
        self.instances.filled.cancelled().await;
        self.namespaces.filled().await;
        if let Some(secrets) = &self.secrets {
            secrets.filled().await;
        }
    }
}

/// One watched scope: all namespaces, or one of `--watch-namespaces`. Users, their Secrets and their own instances live
/// in one namespace; what crosses namespaces is in [`Context`].
pub struct Scope {
    /// The process.
    pub context: Arc<Context>,
    /// The namespace; `None` for all.
    pub namespace: Option<String>,
    /// Users as the watch shows them.
    pub users: Users,
    /// The instances of these namespaces.
    pub instances: Instances<ClickHouseInstance>,
    /// Secrets as the metadata watch shows them.
    pub secrets: Arc<SecretVersions>,
    /// The first list of users is in their store.
    pub users_filled: CancellationToken,
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
    /// Own writes to users that the watch does not show yet.
    pub written_users: Latest<ClickHouseUser>,
    /// Asks for passes of users.
    pub wake_user: mpsc::UnboundedSender<Name>,
}

impl Scope {
    /// A scope that knows nothing yet.
    pub fn new(
        context: Arc<Context>,
        namespace: Option<String>,
        instances: Instances<ClickHouseInstance>,
        wake_user: mpsc::UnboundedSender<Name>,
    ) -> Self {
        Self {
            namespace,
            users: Users::new(context.packer.clone()),
            instances,
            secrets: Arc::default(),
            users_filled: CancellationToken::new(),
            pace: Pace::default(),
            refusals: Refusals::default(),
            around: Around::default(),
            changes: Changes::default(),
            waits: Waits::default(),
            written_users: Latest::default(),
            wake_user,
            context,
        }
    }

    /// Whether a namespace is in this scope.
    pub fn serves(&self, namespace: &str) -> bool {
        self.namespace.as_deref().is_none_or(|own| own == namespace)
    }

    /// Waits until the first lists of users, instances and Secrets of this scope are complete.
    ///
    /// Not by `Store::wait_until_ready`: of several that wait there, kube-runtime 5.0 wakes the last one only, and
    /// the `Controller` of instances waits there already.
    pub async fn own_filled(&self) {
        self.users_filled.cancelled().await;
        self.instances.filled.cancelled().await;
        self.secrets.filled().await;
    }

    /// Waits until a pass may run: it needs what is in this scope, and what others claim.
    pub async fn filled(&self) {
        self.own_filled().await;
        self.context.filled.cancelled().await;
    }

    /// Asks for a pass of a user. A closed channel means that the process ends.
    pub fn wake_user(&self, name: &Name) {
        let _ = self.wake_user.send(name.clone());
    }
}

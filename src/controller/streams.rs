//! The watches. Each has its own backoff and its errors end here, counted and logged: kube-runtime merges the triggers
//! of a controller into one stream, and one failing watch would hold up all others.

use std::{
    collections::HashSet,
    convert::Infallible,
    fmt::Debug,
    hash::{DefaultHasher, Hash, Hasher},
    sync::Arc,
    time::Duration,
};

use futures::{Stream, StreamExt, future, stream};
use k8s_openapi::api::core::v1::{Namespace, Secret};
use kube::{
    Api, Client, Resource,
    api::PartialObjectMeta,
    core::DeserializeGuard,
    runtime::{
        Predicate, PredicateConfig, WatchStreamExt,
        controller::{Action, Error as ControllerError},
        predicates,
        reflector::{Lookup, ObjectRef, store::Writer},
        watcher::{self, Event, watcher},
    },
};
use serde::de::DeserializeOwned;
use tokio::{sync::mpsc, time::Instant};
use tokio_util::sync::CancellationToken;

use super::{
    context::{Context, Scope},
    names::{InstanceName, name_of},
    secret_versions::SecretVersions,
};
use crate::{
    api::{AnyInstance, OPERATION_ANNOTATION, RECONCILE_REQUESTED_ANNOTATION, user::ClickHouseUser},
    domain::{claims, names::Uid},
    ops::{
        health::{Health, WatchHealth},
        labels::KubeKind,
        metrics::Metrics,
    },
};

/// Secrets that hold no password and are many: releases of Helm and tokens of ServiceAccounts.
const SECRET_SELECTOR: &str = "type!=helm.sh/release.v1,type!=kubernetes.io/service-account-token";

/// Backoff between tries of a broken watch is at most 30 s; a watch that has not failed for thrice as long stands.
const STANDS_AFTER: Duration = Duration::from_secs(90);

/// How a watch's fate is told.
#[derive(Clone)]
pub struct Watched {
    kind: KubeKind,
    health: Arc<WatchHealth>,
    metrics: Arc<Metrics>,
    last_error: Arc<std::sync::Mutex<Option<Instant>>>,
}

impl Watched {
    /// Begins to look after the watch of a kind.
    pub fn new(kind: KubeKind, health: &Health, metrics: Arc<Metrics>) -> Self {
        let last_error = Arc::default();
        Self { kind, health: Arc::new(health.watch(kind)), metrics, last_error }
    }

    /// A quiet watch that reconnects in order yields nothing, and so does one that fell silent: kube-runtime gives it up
    /// and begins another. A request that is never answered ends with an error, by the client's read timeout. So a watch
    /// stands while no error came for a while.
    pub fn tick(&self) {
        let last_error = *self.last_error.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if last_error.is_none_or(|at| at.elapsed() > STANDS_AFTER) {
            self.health.progress();
        }
    }

    fn note<K>(&self, event: &Result<Event<K>, watcher::Error>) {
        match event {
            Ok(Event::InitDone) => self.health.filled(),
            Ok(_) => self.health.progress(),
            Err(error) => {
                tracing::warn!(kind = self.kind.as_str(), "watch: {}", chain(error));
                *self.last_error.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(Instant::now());
                self.health.failing();
                self.metrics.watch_restarted(self.kind);
            }
        }
    }
}

/// Tells the liveness probe of watches that stand. Ends never.
pub async fn telling(watches: &[Watched]) {
    loop {
        for watch in watches {
            watch.tick();
        }
        tokio::time::sleep(super::TICK).await;
    }
}

/// Follows the users of a scope, and wakes those that may need a pass. Ends never.
pub async fn users(
    api: Api<DeserializeGuard<ClickHouseUser>>,
    config: watcher::Config,
    watched: Watched,
    scope: Arc<Scope>,
) {
    readable(api, config, watched)
        .for_each(|event| {
            match event {
                Event::Init => scope.users.list_begins(),
                Event::Apply(user) => user_shown(&scope, &user, true),
                Event::InitApply(user) => user_shown(&scope, &user, false),
                Event::Delete(user) => user_gone(&scope, user),
                Event::InitDone => {
                    // Those that went while nobody watched; nothing else tells.
                    for user in scope.users.list_ends() {
                        user_gone(&scope, user);
                    }
                    scope.users_filled.cancel();
                }
            }
            future::ready(())
        })
        .await;
}

/// Notes a user, and wakes it and whom its news concern. At the first list everybody gets a pass anyway.
fn user_shown(scope: &Scope, user: &ClickHouseUser, is_news: bool) {
    let (context, Some(name)) = (&scope.context, name_of(user)) else { return };
    let before = if is_news { context.index.rivals(&name) } else { Vec::new() };
    let held = claims::recorded(user, &context.key).map(|claim| claim.account);
    let Some(noted) = context.index.user(user, held) else { return };
    let changed = scope.users.put(noted.key, user, state_of(user));
    scope.written_users.caught_up(user);
    if changed {
        scope.wake_user(&name);
    }
    if noted.held_changed {
        context.wake_instance(&noted.instance);
    }
    if is_news {
        for rival in before.iter().chain(&context.index.rivals(&name)) {
            context.wake_user(rival);
        }
        if noted.is_new {
            wake_at_limit(context, &noted.instance, &name.0);
        }
    }
}

fn user_gone(scope: &Scope, user: ClickHouseUser) {
    let (context, Some(name)) = (&scope.context, name_of(&user)) else { return };
    scope.users.remove(&name);
    if let Some(uid) = user.meta().uid.as_deref() {
        scope.written_users.forget(uid);
        // Somebody may have taken our finalizer off while a job ran; nobody else would end its turn.
        if let Some(connection) = context.directory.connection(&InstanceName::meant_by(&user)) {
            connection.queue.forget(uid, Instant::now());
        }
        let uid = Uid::new(uid);
        scope.pace.forget(&uid);
        scope.around.forget(&uid);
        scope.waits.over(&uid);
    }
    context.announcer.gone(Arc::new(user));
    let rivals = context.index.rivals(&name);
    let instance = context.index.user_gone(&name);
    for rival in rivals {
        context.wake_user(&rival);
    }
    if let Some(instance) = instance {
        context.wake_instance(&instance);
        wake_at_limit(context, &instance, &name.0);
    }
}

/// What calls for a pass where it changes: the manifest, finalizers, a wiped status, a journal taken off, the annotation
/// that asks for a look. Our own status writes are none of these.
fn state_of(user: &ClickHouseUser) -> u64 {
    let metadata = &user.metadata;
    let annotations = metadata.annotations.as_ref();
    let requested = annotations.and_then(|it| it.get(RECONCILE_REQUESTED_ANNOTATION));
    let journal = annotations.is_some_and(|it| it.contains_key(OPERATION_ANNOTATION));
    let recorded = user.status.as_ref().is_some_and(|status| status.uid.is_some());
    let mut hasher = DefaultHasher::new();
    (&metadata.uid, metadata.generation, &metadata.finalizers, requested, journal, recorded).hash(&mut hasher);
    hasher.finish()
}

/// A user came or went: another of its namespace may be one too many now, or no longer.
fn wake_at_limit(context: &Context, instance: &InstanceName, namespace: &str) {
    let policy = context.instance(instance).and_then(|object| context.directory.policy(&object)?.ok());
    if let Some(most) = policy.and_then(|policy| policy.users_per_namespace()) {
        for user in context.index.at_limit(instance, namespace, most) {
            context.wake_user(&user);
        }
    }
}

/// The instance objects of one kind, into the store and the index. `is_inside` says which of all known are of this
/// watch.
pub fn instances<K>(
    api: Api<DeserializeGuard<K>>,
    config: watcher::Config,
    watched: Watched,
    (writer, filled): (Writer<K>, CancellationToken),
    context: Arc<Context>,
    is_inside: impl Fn(&InstanceName) -> bool,
) -> impl Stream<Item = K>
where
    K: Resource<DynamicType = ()> + Lookup<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
    DeserializeGuard<K>: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + 'static,
    Arc<K>: Into<AnyInstance>,
{
    let events = readable(api, config, watched);
    let mut listed = HashSet::new();
    events
        .map(move |event| {
            match &event {
                Event::Init => listed.clear(),
                Event::Apply(instance) | Event::InitApply(instance) => {
                    if let Some(name) = InstanceName::of(instance) {
                        let object = Arc::new(instance.clone()).into();
                        context.index.instance(&name, &object, &context.config.operator_namespace);
                        if matches!(event, Event::InitApply(_)) {
                            listed.insert(name);
                        }
                    }
                }
                Event::InitDone => {
                    for name in context.index.instances_in(&is_inside) {
                        if !listed.contains(&name) {
                            instance_gone(&context, &name);
                        }
                    }
                    listed = HashSet::new();
                }
                Event::Delete(instance) => {
                    if let Some(name) = InstanceName::of(instance) {
                        instance_gone(&context, &name);
                    }
                }
            }
            Ok(event)
        })
        .reflect(writer)
        .inspect(filling(filled))
        .applied_objects()
        .filter_map(|instance| future::ready(instance.ok()))
}

fn instance_gone(context: &Context, name: &InstanceName) {
    context.index.instance_gone(name);
    context.directory.remove(name);
    wake_users_of(context, name);
}

/// Wakes the users of an instance, and whoever waits for one of them: that one may not stand in the way any more.
pub fn wake_users_of(context: &Context, instance: &InstanceName) {
    for user in context.index.users_of_instance(instance) {
        context.wake_user(&user);
        for rival in context.index.rivals(&user) {
            context.wake_user(&rival);
        }
    }
}

/// Tells when the first list is complete; it stands behind the store, so that the store has it then.
fn filling<K>(filled: CancellationToken) -> impl FnMut(&Result<Event<K>, watcher::Error>) {
    move |event| {
        if matches!(event, Ok(Event::InitDone)) {
            filled.cancel();
        }
    }
}

/// Follows the Secrets of a scope by metadata, and wakes whom a change concerns. Ends never.
pub async fn secrets(
    client: Client,
    namespace: Option<&str>,
    config: watcher::Config,
    watched: Watched,
    (versions, context): (Arc<SecretVersions>, Arc<Context>),
) {
    let api: Api<PartialObjectMeta<Secret>> = match namespace {
        Some(namespace) => Api::namespaced(client, namespace),
        None => Api::all(client),
    };
    let events = watcher(api, config.fields(SECRET_SELECTOR)).default_backoff();
    events
        .for_each(|event| {
            watched.note(&event);
            for name in event.iter().flat_map(|event| versions.apply(event)) {
                for user in context.index.users_of_secret(&name) {
                    context.wake_user(&user);
                }
                for instance in context.index.instances_of_secret(&name) {
                    context.wake_instance(&instance);
                }
            }
            future::ready(())
        })
        .await;
}

/// Follows the labels of namespaces, and wakes the users of shared instances in those that changed. Ends never.
pub async fn namespaces(client: Client, config: watcher::Config, watched: Watched, context: Arc<Context>) {
    let Some(shared) = &context.shared else { return };
    let api: Api<PartialObjectMeta<Namespace>> = Api::all(client);
    watcher(api, config)
        .default_backoff()
        .for_each(|event| {
            watched.note(&event);
            for namespace in event.iter().flat_map(|event| shared.namespaces.apply(event)) {
                for user in context.index.sharing_users(&namespace) {
                    context.wake_user(&user);
                    for rival in context.index.rivals(&user) {
                        context.wake_user(&rival);
                    }
                }
            }
            future::ready(())
        })
        .await;
}

/// Objects whose change may call for a pass. Our own status writes are none.
pub fn significant<K>(
    objects: impl Stream<Item = K> + Send + 'static,
    state: fn(&K) -> u64,
) -> impl Stream<Item = Result<K, watcher::Error>> + Send + 'static
where
    K: Resource<DynamicType = ()> + Clone + Send + 'static,
{
    let predicate =
        predicates::generation.combine(predicates::finalizers).combine(move |object: &K| Some(state(object)));
    objects.map(Ok).predicate_filter(predicate, PredicateConfig::default())
}

/// Objects that passes are asked for.
pub fn references<K>(mut wakes: mpsc::UnboundedReceiver<ObjectRef<K>>) -> impl Stream<Item = ObjectRef<K>>
where
    K: Resource<DynamicType = ()>,
{
    stream::poll_fn(move |context| wakes.poll_recv(context))
}

/// Notes how a controller fared with an object; passes tell of their own troubles.
pub fn log<K: Resource<DynamicType = ()>>(
    ended: &Result<(ObjectRef<K>, Action), ControllerError<Infallible, watcher::Error>>,
) {
    match ended {
        // A wake for an object that has gone since.
        Ok(_) | Err(ControllerError::ObjectNotFound(_)) => {}
        Err(error) => tracing::warn!("controller: {error}"),
    }
}

/// Events of objects that this version can read. One that it cannot read would otherwise fail the whole list.
fn readable<K>(api: Api<DeserializeGuard<K>>, config: watcher::Config, watched: Watched) -> impl Stream<Item = Event<K>>
where
    K: Resource<DynamicType = ()> + Lookup<DynamicType = ()> + Clone + Debug + Send + 'static,
    DeserializeGuard<K>: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + 'static,
{
    watcher(api, config)
        .default_backoff()
        .inspect(move |event| watched.note(event))
        .filter_map(|event| future::ready(event.ok().and_then(understood)))
}

fn understood<K: Resource<DynamicType = ()>>(event: Event<DeserializeGuard<K>>) -> Option<Event<K>> {
    let object = |guard: DeserializeGuard<K>| match guard.0 {
        Ok(mut object) => {
            // Four fifths of an object's memory, and nobody here reads them.
            object.meta_mut().managed_fields = None;
            if let Some(annotations) = &mut object.meta_mut().annotations {
                annotations.remove("kubectl.kubernetes.io/last-applied-configuration");
            }
            Some(object)
        }
        Err(invalid) => {
            let (namespace, name) = (invalid.metadata.namespace, invalid.metadata.name);
            tracing::warn!(namespace, name, kind = %K::kind(&()), "object cannot be read: {}", invalid.error);
            None
        }
    };
    Some(match event {
        Event::Apply(guard) => Event::Apply(object(guard)?),
        Event::InitApply(guard) => Event::InitApply(object(guard)?),
        Event::Delete(guard) => Event::Delete(object(guard)?),
        Event::Init => Event::Init,
        Event::InitDone => Event::InitDone,
    })
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let next = error.to_string();
        if !text.contains(&next) {
            text = format!("{text}: {next}");
        }
        source = error.source();
    }
    text
}

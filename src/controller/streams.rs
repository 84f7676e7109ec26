//! The watches. Each has its own backoff and its errors end here, counted and logged: kube-runtime merges the triggers
//! of a controller into one stream, and one failing watch would hold up all others.

use std::{sync::Arc, time::Duration};

use futures::{Stream, StreamExt, future};
use k8s_openapi::api::core::v1::Secret;
use kube::{
    Api, Client, Resource,
    api::PartialObjectMeta,
    core::DeserializeGuard,
    runtime::{
        WatchStreamExt,
        reflector::{Lookup, store::Writer},
        watcher::{self, Event, watcher},
    },
};
use serde::de::DeserializeOwned;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{context::Scope, index::name_of};
use crate::{
    api::{instance::ClickHouseInstance, user::ClickHouseUser},
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

    /// A quiet watch that reconnects in order yields nothing, and one that hangs is ended by kube-runtime's own idle
    /// timeout with an error. So a watch stands while no error came for a while.
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

/// The users of a scope, into the store and the index; yields those that may need a pass.
pub fn users(
    api: Api<DeserializeGuard<ClickHouseUser>>,
    config: watcher::Config,
    watched: Watched,
    writer: Writer<ClickHouseUser>,
    scope: Arc<Scope>,
) -> impl Stream<Item = ClickHouseUser> {
    let (events, filled) = (readable(api, config, watched), scope.users_filled.clone());
    events
        .map(move |event| {
            match &event {
                Event::Apply(user) | Event::InitApply(user) => {
                    if let Some(instance) = scope.index.user(user) {
                        scope.wake_instance(&instance);
                    }
                }
                Event::Delete(user) => {
                    let instance = scope.index.user_gone(user);
                    if let Some(uid) = user.meta().uid.as_deref() {
                        scope.written_users.forget(uid);
                        let uid = crate::domain::names::Uid::new(uid);
                        scope.pace.forget(&uid);
                        scope.around.forget(&uid);
                        scope.waits.over(&uid);
                    }
                    scope.context.announcer.gone(Arc::new(user.clone()));
                    if let Some(instance) = instance {
                        scope.wake_instance(&instance);
                    }
                }
                Event::Init | Event::InitDone => {}
            }
            Ok(event)
        })
        .reflect(writer)
        .inspect(filling(filled))
        .applied_objects()
        .filter_map(|user| future::ready(user.ok()))
}

/// The instances of a scope, into the store and the index.
pub fn instances(
    api: Api<DeserializeGuard<ClickHouseInstance>>,
    config: watcher::Config,
    watched: Watched,
    writer: Writer<ClickHouseInstance>,
    scope: Arc<Scope>,
) -> impl Stream<Item = ClickHouseInstance> {
    let (events, filled) = (readable(api, config, watched), scope.instances_filled.clone());
    events
        .map(move |event| {
            match &event {
                Event::Apply(instance) | Event::InitApply(instance) => scope.index.instance(instance),
                Event::Delete(instance) => {
                    if let Some(name) = name_of(instance) {
                        scope.directory.remove(&name);
                        for user in scope.index.users_of_instance(&name) {
                            scope.wake_user(&user);
                        }
                    }
                }
                Event::Init | Event::InitDone => {}
            }
            Ok(event)
        })
        .reflect(writer)
        .inspect(filling(filled))
        .applied_objects()
        .filter_map(|instance| future::ready(instance.ok()))
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
    scope: Arc<Scope>,
) {
    let api: Api<PartialObjectMeta<Secret>> = match namespace {
        Some(namespace) => Api::namespaced(client, namespace),
        None => Api::all(client),
    };
    let events = watcher(api, config.fields(SECRET_SELECTOR)).default_backoff();
    events
        .for_each(|event| {
            watched.note(&event);
            for name in event.iter().flat_map(|event| scope.secrets.apply(event)) {
                for user in scope.index.users_of_secret(&name) {
                    scope.wake_user(&user);
                }
                for instance in scope.index.instances_of_secret(&name) {
                    scope.wake_instance(&instance);
                }
            }
            future::ready(())
        })
        .await;
}

/// Events of objects that this version can read. One that it cannot read would otherwise fail the whole list.
fn readable<K>(api: Api<DeserializeGuard<K>>, config: watcher::Config, watched: Watched) -> impl Stream<Item = Event<K>>
where
    K: Resource<DynamicType = ()> + Lookup<DynamicType = ()> + Clone + std::fmt::Debug + Send + 'static,
    DeserializeGuard<K>: Resource<DynamicType = ()> + Clone + std::fmt::Debug + DeserializeOwned + Send + 'static,
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

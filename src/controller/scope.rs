//! Serves one watched scope: its three watches and its two controllers.

use std::{
    convert::Infallible,
    sync::{Arc, PoisonError, atomic::Ordering},
};

use futures::{Stream, StreamExt, future, stream};
use kube::{
    Api, Client, Resource,
    core::{DeserializeGuard, NamespaceResourceScope},
    runtime::{
        Controller, Predicate, PredicateConfig, WatchStreamExt,
        controller::{Action, Error as ControllerError},
        predicates,
        reflector::{self, ObjectRef},
        watcher,
    },
};
use serde::de::DeserializeOwned;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::{
    context::{Context, Scope},
    index::name_of,
    instance_pass, pass,
    streams::{self, Watched},
};
use crate::{
    api::{OPERATION_ANNOTATION, RECONCILE_REQUESTED_ANNOTATION, instance::ClickHouseInstance, user::ClickHouseUser},
    ops::{
        health::{Health, Readiness},
        labels::KubeKind,
    },
};

/// Serves until `stop`; running passes may then finish for `--drain-timeout`.
pub async fn serve(context: Arc<Context>, namespace: Option<&String>, health: &Health, stop: &CancellationToken) {
    let (users, user_writer) = reflector::store();
    let (instances, instance_writer) = reflector::store();
    let (wake_user, woken_users) = mpsc::unbounded_channel();
    let (wake_instance, woken_instances) = mpsc::unbounded_channel();
    let scope = Arc::new(Scope::new(context.clone(), users.clone(), instances.clone(), wake_user, wake_instance));
    context.scopes.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::downgrade(&scope));
    let watches = [KubeKind::ClickHouseUser, KubeKind::ClickHouseInstance, KubeKind::Secret]
        .map(|kind| Watched::new(kind, health, context.metrics.clone()));
    let [user_watch, instance_watch, secret_watch] = watches.clone();
    let (client, config) = (context.kube.client.clone(), watch_config(&context));
    let name = namespace.map(String::as_str);

    let secrets = streams::secrets(client.clone(), name, config.clone(), secret_watch, scope.clone());
    let user_events = streams::users(api(&client, name), config.clone(), user_watch, user_writer, scope.clone());
    let instance_events =
        streams::instances(api(&client, name), config, instance_watch, instance_writer, scope.clone());

    // Passes start when all three stores are filled: a user whose Secret is not known yet would seem to lack it.
    let ready = {
        let (scope, health) = (scope.clone(), health.clone());
        async move {
            scope.filled().await;
            if scope.context.filling.fetch_sub(1, Ordering::AcqRel) == 1 {
                health.set_ready(Readiness::Serving);
            }
            // The others in the group go on for ever; so must this one.
            future::pending::<()>().await;
        }
    };

    let user_passes = Controller::for_stream(significant(user_events, user_state), users)
        .reconcile_on(references(woken_users))
        .graceful_shutdown_on(stop.clone().cancelled_owned())
        .run(
            |user, scope| async move {
                scope.filled().await;
                match name_of(&*user) {
                    Some(name) => Ok::<_, Infallible>(Box::pin(pass::run(scope, name)).await),
                    None => Ok(Action::await_change()),
                }
            },
            |_, error: &Infallible, _| match *error {},
            scope.clone(),
        )
        .for_each(async |ended| log(&ended));
    let instance_passes = Controller::for_stream(significant(instance_events, instance_state), instances)
        .reconcile_on(references(woken_instances))
        .graceful_shutdown_on(stop.clone().cancelled_owned())
        .run(
            |instance, scope| async move {
                scope.filled().await;
                match name_of(&*instance) {
                    Some(name) => Ok::<_, Infallible>(Box::pin(instance_pass::run(scope, name)).await),
                    None => Ok(Action::await_change()),
                }
            },
            |_, error: &Infallible, _| match *error {},
            scope.clone(),
        )
        .for_each(async |ended| log(&ended));

    let draining = async {
        stop.cancelled().await;
        health.set_ready(Readiness::Draining);
        tokio::time::sleep(context.config.drain_timeout).await;
        tracing::warn!("passes were still running at the end of --drain-timeout");
    };
    let telling = async {
        loop {
            for watch in &watches {
                watch.tick();
            }
            tokio::time::sleep(super::TICK).await;
        }
    };
    tokio::select! {
        _ = future::join(user_passes, instance_passes) => {}
        () = draining => {}
        _ = future::join3(secrets, ready, telling) => {}
    }
}

fn api<K>(client: &Client, namespace: Option<&str>) -> Api<DeserializeGuard<K>>
where
    DeserializeGuard<K>: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
{
    match namespace {
        Some(namespace) => Api::namespaced(client.clone(), namespace),
        None => Api::all(client.clone()),
    }
}

fn watch_config(context: &Context) -> watcher::Config {
    let seconds = u32::try_from(context.config.watch_timeout.as_secs()).unwrap_or(u32::MAX);
    watcher::Config::default().timeout(seconds)
}

/// Objects whose change may call for a pass. Our own status writes are none.
fn significant<K>(
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

/// Whether status was wiped or the journal taken off, and the annotation that asks for a look.
fn user_state(user: &ClickHouseUser) -> u64 {
    let annotations = user.metadata.annotations.as_ref();
    let requested = annotations.and_then(|it| it.get(RECONCILE_REQUESTED_ANNOTATION));
    let journal = annotations.is_some_and(|it| it.contains_key(OPERATION_ANNOTATION));
    let recorded = user.status.as_ref().is_some_and(|status| status.uid.is_some());
    hash(&(requested, journal, recorded))
}

fn instance_state(instance: &ClickHouseInstance) -> u64 {
    hash(&instance.status.as_ref().is_some_and(|status| !status.conditions.is_empty()))
}

fn hash(value: &impl std::hash::Hash) -> u64 {
    use std::hash::{DefaultHasher, Hasher};
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

fn references<K>(mut wakes: mpsc::UnboundedReceiver<ObjectRef<K>>) -> impl Stream<Item = ObjectRef<K>>
where
    K: Resource<DynamicType = ()> + DeserializeOwned,
{
    stream::poll_fn(move |context| wakes.poll_recv(context))
}

fn log<K: Resource<DynamicType = ()>>(
    ended: &Result<(ObjectRef<K>, Action), ControllerError<Infallible, watcher::Error>>,
) {
    match ended {
        // A wake for an object that has gone since.
        Ok(_) | Err(ControllerError::ObjectNotFound(_)) => {}
        Err(error) => tracing::warn!("controller: {error}"),
    }
}

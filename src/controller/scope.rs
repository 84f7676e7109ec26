//! Serves one watched scope: its three watches and its two controllers.

use std::{
    convert::Infallible,
    sync::{Arc, PoisonError},
};

use futures::{StreamExt, future};
use kube::{
    Api, Client, Resource,
    core::{DeserializeGuard, NamespaceResourceScope},
    runtime::{Controller, controller::Action, reflector, watcher},
};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::{
    context::{Context, Scope},
    index::{InstanceName, name_of},
    instances::{self, Inlet, Instances},
    pass,
    streams::{self, Watched},
};
use crate::{
    api::{OPERATION_ANNOTATION, RECONCILE_REQUESTED_ANNOTATION, user::ClickHouseUser},
    ops::{
        health::{Health, Readiness},
        labels::KubeKind,
    },
};

/// Serves until `stop`; running passes may then finish for `--drain-timeout`.
pub async fn serve(context: Arc<Context>, namespace: Option<&String>, health: &Health, stop: &CancellationToken) {
    let (users, user_writer) = reflector::store();
    let (own_instances, inlet) = Instances::new();
    let (wake_user, woken_users) = mpsc::unbounded_channel();
    let scope = Arc::new(Scope::new(context.clone(), namespace.cloned(), users.clone(), own_instances, wake_user));
    context.scopes.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::downgrade(&scope));
    let watches = [KubeKind::ClickHouseUser, KubeKind::ClickHouseInstance, KubeKind::Secret]
        .map(|kind| Watched::new(kind, health, context.metrics.clone()));
    let [user_watch, instance_watch, secret_watch] = watches.clone();
    let (client, config) = (context.kube.client.clone(), watch_config(&context));
    let name = namespace.map(String::as_str);

    let into = (scope.secrets.clone(), context.clone());
    let secrets = streams::secrets(client.clone(), name, config.clone(), secret_watch, into);
    let user_events = streams::users(api(&client, name), config.clone(), user_watch, user_writer, scope.clone());
    let Inlet { writer, passes } = inlet;
    let (into, own) = ((writer, scope.instances.filled.clone()), scope.clone());
    let is_own = move |name: &InstanceName| name.namespace.as_deref().is_some_and(|it| own.serves(it));
    let instance_events = streams::instances(api(&client, name), config, instance_watch, into, context.clone(), is_own);

    // Passes start when all stores are filled: a user whose Secret is not known yet would seem to lack it.
    let ready = async {
        scope.own_filled().await;
        context.part_filled(health);
        // The others in the group go on for ever; so must this one.
        future::pending::<()>().await;
    };

    let user_passes = Controller::for_stream(streams::significant(user_events, user_state), users)
        .reconcile_on(streams::references(woken_users))
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
        .for_each(async |ended| streams::log(&ended));
    let filled = {
        let scope = scope.clone();
        move || {
            let scope = scope.clone();
            async move { scope.filled().await }
        }
    };
    let instance_passes = instances::serve(context.clone(), passes, instance_events, filled, stop.clone());

    tokio::select! {
        _ = future::join(user_passes, instance_passes) => {}
        () = drained(&context, health, stop) => {}
        _ = future::join3(secrets, ready, streams::telling(&watches)) => {}
    }
}

/// Ends when the time is up that running passes have after `stop`.
pub async fn drained(context: &Context, health: &Health, stop: &CancellationToken) {
    stop.cancelled().await;
    health.set_ready(Readiness::Draining);
    tokio::time::sleep(context.config.drain_timeout).await;
    tracing::warn!("passes were still running at the end of --drain-timeout");
}

/// What all watches have in common.
pub fn watch_config(context: &Context) -> watcher::Config {
    let seconds = u32::try_from(context.config.watch_timeout.as_secs()).unwrap_or(u32::MAX);
    watcher::Config::default().timeout(seconds)
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

/// Whether status was wiped or the journal taken off, and the annotation that asks for a look.
fn user_state(user: &ClickHouseUser) -> u64 {
    use std::hash::{DefaultHasher, Hash, Hasher};
    let annotations = user.metadata.annotations.as_ref();
    let requested = annotations.and_then(|it| it.get(RECONCILE_REQUESTED_ANNOTATION));
    let journal = annotations.is_some_and(|it| it.contains_key(OPERATION_ANNOTATION));
    let recorded = user.status.as_ref().is_some_and(|status| status.uid.is_some());
    let mut hasher = DefaultHasher::new();
    (requested, journal, recorded).hash(&mut hasher);
    hasher.finish()
}

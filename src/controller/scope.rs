//! Serves one watched scope: its three watches, and the passes of its users and instances.

use std::sync::{Arc, PoisonError};

use futures::future;
use kube::{
    Api, Client, Resource,
    core::{DeserializeGuard, NamespaceResourceScope},
    runtime::watcher,
};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::{
    context::{Context, Scope},
    instances::{self, Inlet, Instances},
    names::{InstanceName, Name},
    pass, passes,
    streams::{self, Watched},
};
use crate::ops::{
    health::{Health, Readiness},
    labels::KubeKind,
};

/// Serves until `stop`; running passes may then finish for `--drain-timeout`.
pub async fn serve(context: Arc<Context>, namespace: Option<&String>, health: &Health, stop: &CancellationToken) {
    let (own_instances, inlet) = Instances::new();
    let (wake_user, woken_users) = mpsc::unbounded_channel();
    let scope = Arc::new(Scope::new(context.clone(), namespace.cloned(), own_instances, wake_user));
    context.scopes.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::downgrade(&scope));
    let watches = [KubeKind::ClickHouseUser, KubeKind::ClickHouseInstance, KubeKind::Secret]
        .map(|kind| Watched::new(kind, health, context.metrics.clone()));
    let [user_watch, instance_watch, secret_watch] = watches.clone();
    let (client, config) = (context.kube.client.clone(), watch_config(&context));
    let name = namespace.map(String::as_str);

    let into = (scope.secrets.clone(), context.clone());
    let secrets = streams::secrets(client.clone(), name, config.clone(), secret_watch, into);
    let users = streams::users(api(&client, name), config.clone(), user_watch, scope.clone());
    let Inlet { writer, passes: woken_instances } = inlet;
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

    let user_passes = async {
        tokio::select! {
            () = scope.filled() => {}
            () = stop.cancelled() => return,
        }
        let lane = |name: &Name| pass::lane(&scope, name);
        let pass = |name| pass::run(scope.clone(), name);
        passes::run(woken_users, context.gate.clone(), stop.clone(), lane, pass).await;
    };
    let filled = {
        let scope = scope.clone();
        move || {
            let scope = scope.clone();
            async move { scope.filled().await }
        }
    };
    let instance_passes = instances::serve(context.clone(), woken_instances, instance_events, filled, stop.clone());

    tokio::select! {
        _ = future::join(user_passes, instance_passes) => {}
        () = drained(&context, health, stop) => {}
        _ = future::join4(users, secrets, ready, streams::telling(&watches)) => {}
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

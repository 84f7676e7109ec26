//! Serves what all scopes share: instances of the whole cluster, labels of namespaces, and the Secrets of the operator's
//! own namespace.

use std::sync::Arc;

use futures::future;
use kube::Api;
use tokio_util::sync::CancellationToken;

use super::{
    context::Context,
    instances::{self, Inlet},
    scope::{drained, watch_config},
    streams::{self, Watched},
};
use crate::{
    api::ClusterClickHouseInstance,
    ops::{health::Health, labels::KubeKind},
};

/// Serves until `stop`; running passes may then finish for `--drain-timeout`.
pub async fn serve(
    context: Arc<Context>,
    inlet: Inlet<ClusterClickHouseInstance>,
    health: &Health,
    stop: &CancellationToken,
) {
    let Some(shared) = &context.shared else { return };
    let watch = |kind| Watched::new(kind, health, context.metrics.clone());
    let instance_watch = watch(KubeKind::ClusterClickHouseInstance);
    let namespace_watch = watch(KubeKind::Namespace);
    let secret_watch = shared.secrets.as_ref().map(|_| watch(KubeKind::Secret));
    let watches: Vec<_> = [&instance_watch, &namespace_watch].into_iter().chain(&secret_watch).cloned().collect();
    let (client, config) = (context.kube.client.clone(), watch_config(&context));

    let Inlet { writer, passes } = inlet;
    let into = (writer, shared.instances.filled.clone());
    let events =
        streams::instances(Api::all(client.clone()), config.clone(), instance_watch, into, context.clone(), |name| {
            name.namespace.is_none()
        });
    let filled = {
        let context = context.clone();
        move || context.clone().shared_filled()
    };
    let passes = instances::serve(context.clone(), passes, events, filled, stop.clone());
    let namespaces = streams::namespaces(client.clone(), config.clone(), namespace_watch, context.clone());
    let secrets = async {
        if let Some((versions, watched)) = shared.secrets.clone().zip(secret_watch) {
            let namespace = Some(context.config.operator_namespace.as_str());
            streams::secrets(client.clone(), namespace, config, watched, (versions, context.clone())).await;
        }
        // The others in the group go on for ever; so must this one.
        future::pending::<()>().await;
    };
    let ready = async {
        shared.filled().await;
        context.part_filled(health);
        future::pending::<()>().await;
    };
    tokio::select! {
        () = passes => {}
        () = drained(&context, health, stop) => {}
        _ = future::join4(namespaces, secrets, ready, streams::telling(&watches)) => {}
    }
}

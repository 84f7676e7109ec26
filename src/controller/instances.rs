//! Instance objects of one kind in one scope: their store, own writes, wakes, and the controller that runs their passes.

use std::{convert::Infallible, fmt::Debug, future::Future, sync::Arc};

use futures::{Stream, StreamExt};
use kube::{
    Resource,
    core::object::HasStatus,
    runtime::{
        Controller,
        controller::Action,
        reflector::{self, Lookup, ObjectRef, Store, store::Writer},
    },
};
use serde::de::DeserializeOwned;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::{context::Context, instance_pass, latest::Latest, names::InstanceName, streams};
use crate::api::{AnyInstance, ClickHouseInstanceStatus};

/// The objects of one kind in one scope.
pub struct Instances<K: Lookup<DynamicType = ()> + Clone + 'static> {
    store: Store<K>,
    /// Own writes that the watch does not show yet.
    pub written: Latest<K>,
    /// The first list is in the store.
    pub filled: CancellationToken,
    wake: mpsc::UnboundedSender<ObjectRef<K>>,
}

/// What fills [`Instances`] and follows them.
pub struct Inlet<K: Lookup<DynamicType = ()> + Clone + 'static> {
    /// Into the store.
    pub writer: Writer<K>,
    /// For [`serve`].
    pub passes: Passes<K>,
}

/// Whose passes are run: the objects in the store, and those that wakes name.
pub struct Passes<K: Lookup<DynamicType = ()> + Clone + 'static> {
    store: Store<K>,
    woken: mpsc::UnboundedReceiver<ObjectRef<K>>,
}

impl<K> Instances<K>
where
    K: Resource<DynamicType = ()> + Clone + 'static,
    Arc<K>: Into<AnyInstance>,
{
    /// An empty store, and the way into it.
    pub fn new() -> (Self, Inlet<K>) {
        let (store, writer) = reflector::store();
        let (wake, woken) = mpsc::unbounded_channel();
        let inlet = Inlet { writer, passes: Passes { store: store.clone(), woken } };
        (Self { store, written: Latest::default(), filled: CancellationToken::new(), wake }, inlet)
    }

    /// An object as it is now, own writes included.
    pub fn get(&self, name: &InstanceName) -> Option<AnyInstance> {
        let watched = self.store.get(&reference(name))?;
        Some(self.written.newest(watched).into())
    }

    /// Asks for a pass. A closed channel means that the process ends.
    pub fn wake(&self, name: &InstanceName) {
        let _ = self.wake.send(reference(name));
    }
}

fn reference<K: Resource<DynamicType = ()>>(name: &InstanceName) -> ObjectRef<K> {
    let reference = ObjectRef::new(&name.name);
    match &name.namespace {
        Some(namespace) => reference.within(namespace),
        None => reference,
    }
}

/// Runs passes of the objects that `events` and wakes name, once `filled`, until `stop`.
pub async fn serve<K, F>(
    context: Arc<Context>,
    passes: Passes<K>,
    events: impl Stream<Item = K> + Send + 'static,
    filled: impl Fn() -> F + Send + Sync + 'static,
    stop: CancellationToken,
) where
    K: Resource<DynamicType = ()> + HasStatus<Status = ClickHouseInstanceStatus>,
    K: Clone + Debug + DeserializeOwned + Send + Sync + 'static,
    F: Future<Output = ()> + Send + 'static,
{
    let Passes { store, woken } = passes;
    Controller::for_stream(streams::significant(events, state), store)
        .reconcile_on(streams::references(woken))
        .graceful_shutdown_on(stop.cancelled_owned())
        .run(
            move |instance, context| {
                let filled = filled();
                async move {
                    filled.await;
                    match InstanceName::of(&*instance) {
                        Some(name) => Ok::<_, Infallible>(Box::pin(instance_pass::run(context, name)).await),
                        None => Ok(Action::await_change()),
                    }
                }
            },
            |_, error: &Infallible, _| match *error {},
            context,
        )
        .for_each(async |ended| streams::log(&ended))
        .await;
}

/// Whether status was wiped.
fn state<K: HasStatus<Status = ClickHouseInstanceStatus>>(instance: &K) -> u64 {
    u64::from(instance.status().is_some_and(|status| !status.conditions.is_empty()))
}

//! Tells people what happened: an Event beside the status, published in the background and dropped under pressure,
//! because the status says the same and API server time is the price of every request.

use std::sync::Arc;

use kube::Resource;
use tokio::sync::mpsc;

use crate::{
    api::user::ClickHouseUser,
    domain::report::Notice,
    kubeio::{Kube, events::Events},
};

/// Events that may wait to be published: some seconds' worth for the API server.
const BACKLOG: usize = 256;

/// Queues Events.
pub struct Announcer {
    queue: mpsc::Sender<Announcement>,
    operator_namespace: String,
}

enum Announcement {
    Happened(Arc<ClickHouseUser>, Notice),
    Orphaned(Arc<ClickHouseUser>, Notice),
    Gone(Arc<ClickHouseUser>),
}

impl Announcer {
    /// Starts the task that publishes; it ends with the announcer.
    pub fn start(kube: &Kube, operator_namespace: String) -> Self {
        let (queue, mut waiting) = mpsc::channel(BACKLOG);
        let (client, namespace) = (kube.client.clone(), operator_namespace.clone());
        tokio::spawn(async move {
            let events = Events::new(client.clone());
            while let Some(announcement) = waiting.recv().await {
                match announcement {
                    Announcement::Happened(user, notice) => events.publish(&*user, &notice).await,
                    Announcement::Orphaned(user, notice) => {
                        events.publish_orphan(&client, &namespace, &user.object_ref(&()), &notice).await;
                    }
                    Announcement::Gone(user) => events.forget(&*user),
                }
            }
        });
        Self { queue, operator_namespace }
    }

    /// Something happened to a user.
    pub fn happened(&self, user: Arc<ClickHouseUser>, notice: Notice) {
        tracing::info!(
            namespace = user.metadata.namespace,
            name = user.metadata.name,
            reason = notice.reason,
            "{}",
            notice.note
        );
        self.enqueue(Announcement::Happened(user, notice));
    }

    /// A user was released while its account may stay in the cloud.
    pub fn orphaned(&self, user: Arc<ClickHouseUser>, notice: Notice) {
        tracing::warn!(
            namespace = user.metadata.namespace,
            name = user.metadata.name,
            reason = notice.reason,
            events_in = self.operator_namespace,
            "{}",
            notice.note
        );
        self.enqueue(Announcement::Orphaned(user, notice));
    }

    /// A user is gone.
    pub fn gone(&self, user: Arc<ClickHouseUser>) {
        self.enqueue(Announcement::Gone(user));
    }

    fn enqueue(&self, announcement: Announcement) {
        if self.queue.try_send(announcement).is_err() {
            tracing::debug!("an Event was dropped: too many are waiting");
        }
    }
}

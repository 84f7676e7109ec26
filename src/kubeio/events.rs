//! Events: one per distinct happening, best effort, never in the way of a pass.

use std::time::Duration;

use k8s_controller::events::{Event, EventRecorder, EventType, Reporter};
use k8s_openapi::{
    api::core::v1::ObjectReference,
    apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta},
};
use kube::{Api, Client, Resource, api::PostParams};

use super::FIELD_MANAGER;
use crate::domain::report::Notice;

/// Longest the Event about an orphan may take; its log line and metric are there already.
const ORPHAN_TIMEOUT: Duration = Duration::from_secs(5);

/// Publishes Events; one for the whole process, because it remembers what it has said.
pub struct Events {
    recorder: EventRecorder,
}

impl Events {
    /// A recorder that names this operator, and this pod where the environment tells.
    pub fn new(client: Client) -> Self {
        let reporter = Reporter { controller: FIELD_MANAGER.to_owned(), instance: std::env::var("HOSTNAME").ok() };
        Self { recorder: EventRecorder::new(client, reporter) }
    }

    /// Publishes a notice about an object; a failure is only logged.
    pub async fn publish<K>(&self, object: &K, notice: &Notice)
    where
        K: Resource,
        K::DynamicType: Default,
    {
        let event = Event {
            type_: if notice.warning { EventType::Warning } else { EventType::Normal },
            reason: notice.reason.to_owned(),
            action: "Reconcile".to_owned(),
            note: Some(notice.note.clone()),
            related: None,
        };
        if let Err(error) = self.recorder.publish(object, &event).await {
            tracing::debug!(%error, "an Event could not be published");
        }
    }

    /// Publishes, in the operator's own namespace, that an account may be left behind: the user's namespace may be
    /// terminating, and then refuses new Events.
    pub async fn publish_orphan(&self, client: &Client, namespace: &str, subject: &ObjectReference, notice: &Notice) {
        let reporter = self.recorder.reporter();
        let event = k8s_openapi::api::events::v1::Event {
            metadata: ObjectMeta {
                // A dash: the API server takes no prefix that ends in a dot.
                generate_name: Some(format!("{}-", subject.name.as_deref().unwrap_or("user"))),
                namespace: Some(namespace.to_owned()),
                ..ObjectMeta::default()
            },
            action: Some("Release".to_owned()),
            event_time: Some(MicroTime(jiff::Timestamp::now())),
            note: Some(notice.note.clone()),
            reason: Some(notice.reason.to_owned()),
            related: Some(subject.clone()),
            // Events must regard an object of their own namespace; the user itself is `related`.
            regarding: Some(ObjectReference {
                api_version: Some("v1".to_owned()),
                kind: Some("Secret".to_owned()),
                name: Some(super::operator_key::SECRET_NAME.to_owned()),
                namespace: Some(namespace.to_owned()),
                ..ObjectReference::default()
            }),
            reporting_controller: Some(reporter.controller.clone()),
            reporting_instance: Some(reporter.instance.clone().unwrap_or_else(|| reporter.controller.clone())),
            type_: Some("Warning".to_owned()),
            ..k8s_openapi::api::events::v1::Event::default()
        };
        let api: Api<k8s_openapi::api::events::v1::Event> = Api::namespaced(client.clone(), namespace);
        let params = PostParams::default();
        let why = match tokio::time::timeout(ORPHAN_TIMEOUT, api.create(&params, &event)).await {
            Ok(Ok(_)) => return,
            Ok(Err(error)) => error.to_string(),
            Err(_) => "no answer in time".to_owned(),
        };
        tracing::warn!("the Event about an account left behind could not be published: {why}");
    }

    /// Forgets what was said about an object that is gone.
    pub fn forget<K: Resource>(&self, object: &K) {
        self.recorder.forget(object);
    }
}

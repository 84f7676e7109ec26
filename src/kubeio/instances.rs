//! The writes to a `ClickHouseInstance`: the finalizer that keeps it while users hold claims on it, and status.

use kube::{
    Api, Resource,
    api::{Patch, PatchParams},
};
use serde_json::json;

use super::{FIELD_MANAGER, Kube, KubeError};
use crate::{
    api::{
        GROUP, IN_USE_FINALIZER, VERSION,
        instance::{ClickHouseInstance, ClickHouseInstanceStatus},
    },
    ops::labels::{KubeKind, KubeVerb},
};

const KIND: &str = "ClickHouseInstance";

impl Kube {
    /// Puts the finalizer `chuser.dev/in-use` on, or takes it off.
    pub async fn set_in_use(
        &self,
        instance: &ClickHouseInstance,
        in_use: bool,
    ) -> Result<ClickHouseInstance, KubeError> {
        let metadata = instance.meta();
        let mut finalizers = metadata.finalizers.clone().unwrap_or_default();
        finalizers.retain(|finalizer| finalizer != IN_USE_FINALIZER);
        if in_use {
            finalizers.push(IN_USE_FINALIZER.to_owned());
        }
        let body = json!({ "metadata": {
            "uid": metadata.uid,
            "resourceVersion": metadata.resource_version,
            "finalizers": finalizers,
        }});
        let params = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
        let (api, name) = self.instance_api(instance);
        self.call(KubeVerb::Patch, KubeKind::ClickHouseInstance, api.patch(&name, &params, &Patch::Merge(body))).await
    }

    /// Applies the whole status of this very object.
    pub async fn apply_instance_status(
        &self,
        instance: &ClickHouseInstance,
        status: &ClickHouseInstanceStatus,
    ) -> Result<ClickHouseInstance, KubeError> {
        let (api, name) = self.instance_api(instance);
        let body = json!({
            "apiVersion": format!("{GROUP}/{VERSION}"),
            "kind": KIND,
            "metadata": { "name": name, "uid": instance.meta().uid },
            "status": status,
        });
        let params = PatchParams::apply(FIELD_MANAGER).force();
        self.call(KubeVerb::Patch, KubeKind::ClickHouseInstance, api.patch_status(&name, &params, &Patch::Apply(&body)))
            .await
    }

    /// Reads the object as it is now.
    pub async fn get_instance(&self, namespace: &str, name: &str) -> Result<ClickHouseInstance, KubeError> {
        let api: Api<ClickHouseInstance> = Api::namespaced(self.client.clone(), namespace);
        self.call(KubeVerb::Get, KubeKind::ClickHouseInstance, api.get(name)).await
    }

    fn instance_api(&self, instance: &ClickHouseInstance) -> (Api<ClickHouseInstance>, String) {
        let metadata = instance.meta();
        let namespace = metadata.namespace.clone().unwrap_or_default();
        (Api::namespaced(self.client.clone(), &namespace), metadata.name.clone().unwrap_or_default())
    }
}

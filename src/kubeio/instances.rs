//! The writes to an instance object of either kind: the finalizer that keeps it while users hold claims on it, and
//! status.

use std::{fmt::Debug, sync::Arc};

use kube::{
    Api, Resource,
    api::{Patch, PatchParams},
};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::{FIELD_MANAGER, Kube, KubeError};
use crate::{
    api::{AnyInstance, ClickHouseInstanceStatus, GROUP, IN_USE_FINALIZER, VERSION},
    ops::labels::{KubeKind, KubeVerb},
};

impl Kube {
    /// Puts the finalizer `chuser.dev/in-use` on, or takes it off.
    pub async fn set_in_use(&self, instance: &AnyInstance, in_use: bool) -> Result<AnyInstance, KubeError> {
        let metadata = instance.metadata();
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
        self.patch_instance(instance, Part::Object, &params, &Patch::Merge(body)).await
    }

    /// Applies the whole status of this very object.
    pub async fn apply_instance_status(
        &self,
        instance: &AnyInstance,
        status: &ClickHouseInstanceStatus,
    ) -> Result<AnyInstance, KubeError> {
        let metadata = instance.metadata();
        let body = json!({
            "apiVersion": format!("{GROUP}/{VERSION}"),
            "kind": instance.kind().as_str(),
            "metadata": { "name": metadata.name, "uid": metadata.uid },
            "status": status,
        });
        let params = PatchParams::apply(FIELD_MANAGER).force();
        self.patch_instance(instance, Part::Status, &params, &Patch::Apply(body)).await
    }

    async fn patch_instance(
        &self,
        instance: &AnyInstance,
        part: Part,
        params: &PatchParams,
        patch: &Patch<Value>,
    ) -> Result<AnyInstance, KubeError> {
        let metadata = instance.metadata();
        let name = metadata.name.as_deref().unwrap_or_default();
        let client = self.client.clone();
        match instance {
            AnyInstance::Own(_) => {
                let api = Api::namespaced(client, metadata.namespace.as_deref().unwrap_or_default());
                let patched = self.patch(KubeKind::ClickHouseInstance, &api, part, name, params, patch).await?;
                Ok(AnyInstance::Own(Arc::new(patched)))
            }
            AnyInstance::Shared(_) => {
                let api = Api::all(client);
                let patched = self.patch(KubeKind::ClusterClickHouseInstance, &api, part, name, params, patch).await?;
                Ok(AnyInstance::Shared(Arc::new(patched)))
            }
        }
    }

    async fn patch<K>(
        &self,
        kind: KubeKind,
        api: &Api<K>,
        part: Part,
        name: &str,
        params: &PatchParams,
        patch: &Patch<Value>,
    ) -> Result<K, KubeError>
    where
        K: Resource + Clone + DeserializeOwned + Debug,
    {
        match part {
            Part::Object => self.call(KubeVerb::Patch, kind, api.patch(name, params, patch)).await,
            Part::Status => self.call(KubeVerb::Patch, kind, api.patch_status(name, params, patch)).await,
        }
    }
}

/// Which part of an object a patch is for.
#[derive(Clone, Copy)]
enum Part {
    Object,
    Status,
}

//! The three writes to a `ClickHouseUser`: intent, release, status.

use kube::{
    Api, Resource,
    api::{Patch, PatchParams},
};
use serde_json::{Value, json};

use super::{FIELD_MANAGER, Kube, KubeError};
use crate::{
    api::{
        ACCOUNT_FINALIZER, GROUP, OPERATION_ANNOTATION, VERSION,
        user::{ClickHouseUser, ClickHouseUserStatus},
    },
    ops::labels::{KubeKind, KubeVerb},
};

const KIND: &str = "ClickHouseUser";

impl Kube {
    /// Puts the finalizer on, with the journal entry where there is one, in one PATCH. Fails with a conflict where the
    /// object is no longer the one that was decided on.
    pub async fn write_intent(
        &self,
        user: &ClickHouseUser,
        annotation: Option<&str>,
    ) -> Result<ClickHouseUser, KubeError> {
        let mut finalizers = user.meta().finalizers.clone().unwrap_or_default();
        if !finalizers.iter().any(|finalizer| finalizer == ACCOUNT_FINALIZER) {
            finalizers.push(ACCOUNT_FINALIZER.to_owned());
        }
        let mut metadata = json!({ "finalizers": finalizers });
        if let Some(annotation) = annotation {
            metadata["annotations"] = json!({ OPERATION_ANNOTATION: annotation });
        }
        self.patch_user(user, metadata).await
    }

    /// Takes our finalizer and the journal entry off; other finalizers stay.
    pub async fn release_user(&self, user: &ClickHouseUser) -> Result<(), KubeError> {
        let mut finalizers = user.meta().finalizers.clone().unwrap_or_default();
        finalizers.retain(|finalizer| finalizer != ACCOUNT_FINALIZER);
        let metadata = json!({ "finalizers": finalizers, "annotations": { OPERATION_ANNOTATION: Value::Null } });
        match self.patch_user(user, metadata).await {
            Ok(_) | Err(KubeError::NotFound) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Applies the whole status. The uid keeps an apply from bringing a vanished object back as a ghost; the
    /// resourceVersion keeps an old decision from overwriting a newer one.
    pub async fn apply_user_status(
        &self,
        user: &ClickHouseUser,
        status: &ClickHouseUserStatus,
    ) -> Result<ClickHouseUser, KubeError> {
        let (api, name) = self.user_api(user);
        let body = json!({
            "apiVersion": format!("{GROUP}/{VERSION}"),
            "kind": KIND,
            "metadata": {
                "name": name,
                "uid": user.meta().uid,
                "resourceVersion": user.meta().resource_version,
            },
            "status": status,
        });
        let params = PatchParams::apply(FIELD_MANAGER).force();
        self.call(KubeVerb::Patch, KubeKind::ClickHouseUser, api.patch_status(&name, &params, &Patch::Apply(&body)))
            .await
    }

    /// Reads the object as it is now.
    pub async fn get_user(&self, namespace: &str, name: &str) -> Result<ClickHouseUser, KubeError> {
        let api: Api<ClickHouseUser> = Api::namespaced(self.client.clone(), namespace);
        self.call(KubeVerb::Get, KubeKind::ClickHouseUser, api.get(name)).await
    }

    async fn patch_user(&self, user: &ClickHouseUser, mut metadata: Value) -> Result<ClickHouseUser, KubeError> {
        let (api, name) = self.user_api(user);
        metadata["uid"] = json!(user.meta().uid);
        metadata["resourceVersion"] = json!(user.meta().resource_version);
        let params = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
        self.call(
            KubeVerb::Patch,
            KubeKind::ClickHouseUser,
            api.patch(&name, &params, &Patch::Merge(json!({ "metadata": metadata }))),
        )
        .await
    }

    fn user_api(&self, user: &ClickHouseUser) -> (Api<ClickHouseUser>, String) {
        let metadata = user.meta();
        let namespace = metadata.namespace.clone().unwrap_or_default();
        (Api::namespaced(self.client.clone(), &namespace), metadata.name.clone().unwrap_or_default())
    }
}

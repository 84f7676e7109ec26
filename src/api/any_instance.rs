//! An instance object of either kind, for everything that does not care which.

use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::{
    ClickHouseInstance, ClickHouseInstanceSpec, ClickHouseInstanceStatus, ClusterClickHouseInstance,
    ClusterClickHouseInstanceSpec, IN_USE_FINALIZER, InstanceKind,
};

/// An instance object of either kind.
#[derive(Clone, Debug)]
pub enum AnyInstance {
    /// Of the team that owns the namespace.
    Own(Arc<ClickHouseInstance>),
    /// Shared by the platform team.
    Shared(Arc<ClusterClickHouseInstance>),
}

impl AnyInstance {
    /// Its metadata.
    pub fn metadata(&self) -> &ObjectMeta {
        match self {
            Self::Own(object) => &object.metadata,
            Self::Shared(object) => &object.metadata,
        }
    }

    /// What both kinds say.
    pub fn spec(&self) -> &ClickHouseInstanceSpec {
        match self {
            Self::Own(object) => &object.spec,
            Self::Shared(object) => &object.spec.instance,
        }
    }

    /// Its status.
    pub fn status(&self) -> Option<&ClickHouseInstanceStatus> {
        match self {
            Self::Own(object) => object.status.as_ref(),
            Self::Shared(object) => object.status.as_ref(),
        }
    }

    /// Who may use it and how far; `None` where it is for its own namespace.
    pub fn sharing(&self) -> Option<&ClusterClickHouseInstanceSpec> {
        match self {
            Self::Own(_) => None,
            Self::Shared(object) => Some(&object.spec),
        }
    }

    /// Its kind.
    pub fn kind(&self) -> InstanceKind {
        match self {
            Self::Own(_) => InstanceKind::ClickHouseInstance,
            Self::Shared(_) => InstanceKind::ClusterClickHouseInstance,
        }
    }

    /// Whether users hold it.
    pub fn is_held(&self) -> bool {
        self.metadata().finalizers.iter().flatten().any(|finalizer| finalizer == IN_USE_FINALIZER)
    }

    /// Whether it is being deleted.
    pub fn is_terminating(&self) -> bool {
        self.metadata().deletion_timestamp.is_some()
    }
}

impl From<Arc<ClickHouseInstance>> for AnyInstance {
    fn from(object: Arc<ClickHouseInstance>) -> Self {
        Self::Own(object)
    }
}

impl From<Arc<ClusterClickHouseInstance>> for AnyInstance {
    fn from(object: Arc<ClusterClickHouseInstance>) -> Self {
        Self::Shared(object)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use serde_json::json;

    use super::*;

    /// An instance object of either kind with this name; all mean the same cloud instance.
    pub(crate) fn instance(namespace: Option<&str>, name: &str) -> AnyInstance {
        let block = json!({"zone": "sh1a", "clusterID": "cl-1", "credentialsSecretRef": {"name": "api"}});
        let object = json!({
            "apiVersion": "chuser.dev/v1alpha1",
            "kind": if namespace.is_some() { "ClickHouseInstance" } else { "ClusterClickHouseInstance" },
            "metadata": {"name": name, "namespace": namespace},
            "spec": {"qingcloud": block},
        });
        let read = "an instance object";
        if namespace.is_some() {
            AnyInstance::Own(Arc::new(serde_json::from_value(object).expect(read)))
        } else {
            AnyInstance::Shared(Arc::new(serde_json::from_value(object).expect(read)))
        }
    }

    #[test]
    fn both_kinds_say_the_same_of_the_same_instance() {
        let (own, shared) = (instance(Some("team"), "warehouse"), instance(None, "warehouse"));
        assert_eq!(own.spec(), shared.spec());
        assert_eq!((own.sharing().is_some(), shared.sharing().is_some()), (false, true));
        assert_eq!(own.kind(), InstanceKind::ClickHouseInstance);
        assert_eq!(shared.kind(), InstanceKind::ClusterClickHouseInstance);
    }
}

//! Names of objects, as what is kept of them is looked up by.

use std::fmt;

use arcstr::ArcStr;
use kube::Resource;

use crate::api::user::{ClickHouseUser, InstanceKind};

/// Namespace and name of an object.
pub type Name = (String, String);

/// The name of an instance object of either kind.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InstanceName {
    /// `None` for a shared one.
    pub namespace: Option<String>,
    /// `metadata.name`
    pub name: String,
}

impl InstanceName {
    /// The instance that a user of this namespace means. A namespaced one is always of its own namespace.
    pub fn meant(namespace: &str, kind: InstanceKind, name: &str) -> Self {
        let own = kind == InstanceKind::ClickHouseInstance;
        Self { namespace: own.then(|| namespace.to_owned()), name: name.to_owned() }
    }

    /// The instance that a user means.
    pub fn meant_by(user: &ClickHouseUser) -> Self {
        let reference = &user.spec.instance_ref;
        Self::meant(user.metadata.namespace.as_deref().unwrap_or_default(), reference.kind(), &reference.name)
    }

    /// The name of an object; `None` for one without, which the API server never sends.
    pub fn of<K: Resource>(object: &K) -> Option<Self> {
        Some(Self { namespace: object.meta().namespace.clone(), name: object.meta().name.clone()? })
    }
}

impl fmt::Display for InstanceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.namespace {
            Some(namespace) => write!(f, "{namespace}/{}", self.name),
            None => f.write_str(&self.name),
        }
    }
}

/// A name as `namespace/name`, shared by all maps that hold it: there may be a hundred thousand of them.
pub type Key = ArcStr;

/// Namespace and name; `None` for an object without, which the API server never sends.
pub fn name_of<K: Resource>(object: &K) -> Option<Name> {
    Some((object.meta().namespace.clone()?, object.meta().name.clone()?))
}

/// The name in one text.
pub fn key(namespace: &str, name: &str) -> Key {
    format!("{namespace}/{name}").into()
}

/// The same, to look it up.
pub fn text((namespace, name): &Name) -> String {
    format!("{namespace}/{name}")
}

/// The parts of a name in one text.
pub fn name_in(key: &str) -> Name {
    let (namespace, name) = key.split_once('/').unwrap_or(("", key));
    (namespace.to_owned(), name.to_owned())
}

/// The namespace of a name in one text.
pub fn namespace_in(key: &str) -> &str {
    key.split_once('/').map_or("", |(namespace, _)| namespace)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn namespaced_instance_is_always_of_the_users_own_namespace() {
        let meant = InstanceName::meant("team", InstanceKind::ClickHouseInstance, "warehouse");
        assert_eq!(meant.to_string(), "team/warehouse");
        let meant = InstanceName::meant("team", InstanceKind::ClusterClickHouseInstance, "warehouse");
        assert_eq!(meant.to_string(), "warehouse");
    }
}

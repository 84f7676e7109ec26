//! The custom resources of group `chuser.dev`: what users write and what the operator answers.
//!
//! The CustomResourceDefinitions in `crds/` are generated from these types by [`crds`]. A field of a spec has no schema
//! default: it is an `Option`, resolved by the methods beside it, so that the manifest stays as its author wrote it.

pub mod any_instance;
pub mod cluster_instance;
pub mod conditions;
pub mod crds;
#[cfg(test)]
pub(crate) mod fields;
mod hex_runs;
pub mod instance;
pub mod packed;
pub mod reasons;
pub mod reference;
mod rules;
mod schema;
pub mod user;

pub use any_instance::AnyInstance;
pub use cluster_instance::{AllowedNamespaces, Ceilings, ClusterClickHouseInstance, ClusterClickHouseInstanceSpec};
pub use instance::{
    ClickHouseInstance, ClickHouseInstanceSpec, ClickHouseInstanceStatus, Connection, ConnectionTls, CredentialReading,
    HuaweiCloudInstance, LoginCheck, ProviderBlock, QingCloudInstance, QingCloudMethod, SecretRef,
};
pub use rules::ONE_PROVIDER;
pub use user::{
    AdoptionPolicy, AppliedAccess, AppliedPassword, Binding, ClickHouseUser, ClickHouseUserSpec, ClickHouseUserStatus,
    ConnectionSecretSpec, DeletionPolicy, InstanceKind, InstanceRef, Operation, OperationKind, OperationPhase,
    OperationState, PasswordSecretRef, Permission, StatusError, UpdatePolicy,
};

/// API group of every kind.
pub const GROUP: &str = "chuser.dev";
/// API version of every kind.
pub const VERSION: &str = "v1alpha1";

/// Annotation on a user: the journal entry of the running operation, written before its first effect.
pub const OPERATION_ANNOTATION: &str = "chuser.dev/operation";
/// Annotation that people write to ask for a pass now; any new value counts.
pub const RECONCILE_REQUESTED_ANNOTATION: &str = "chuser.dev/reconcile-requested-at";
/// Finalizer on a user: its account may exist.
pub const ACCOUNT_FINALIZER: &str = "chuser.dev/account";
/// Finalizer on an instance: users hold claims on it.
pub const IN_USE_FINALIZER: &str = "chuser.dev/in-use";

/// `status.observedGeneration` of an object that the operator has not looked at yet.
pub const NEVER_OBSERVED: i64 = -1;

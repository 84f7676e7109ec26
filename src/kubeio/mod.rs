//! Every call to the API server, each under a deadline and counted. Decides nothing.

pub mod client;
pub mod connection_secrets;
pub mod events;
pub mod instances;
pub mod operator_key;
pub mod secrets;
pub mod users;

pub use client::{Haste, Kube, KubeError};

/// Owner of the fields that the operator applies.
pub const FIELD_MANAGER: &str = "clickhouse-user-operator";

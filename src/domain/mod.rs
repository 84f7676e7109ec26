//! Pure policy: no Kubernetes client, no HTTP, no runtime, no clock.

pub mod names;
pub mod operator_key;
pub mod secret;

//! Pure policy: no Kubernetes client, no HTTP, no runtime, no clock.

pub mod backoff;
pub mod claims;
pub mod connection_secret;
pub mod desired;
pub mod drift;
pub mod duration;
pub mod fair_queue;
pub mod instance;
pub mod journal;
pub mod names;
pub mod operator_key;
pub mod origin;
pub mod password;
pub mod plan;
pub mod policy;
pub mod report;
pub mod secret;
pub mod seen;
pub mod target;

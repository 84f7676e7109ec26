//! The whole system on real parts: kube-apiserver and etcd, the operator's own binary with the rights of its chart,
//! emulated clouds, and a real ClickHouse that tests log in to.
//!
//! Each test has a world of its own, and ends it with [`world::World::finish`]: that looks for secrets where none may
//! be, for requests that the chart's rights do not cover, and for anything in the histories of both sides that breaks
//! one of the [`invariants`].

mod checks;
mod kubernetes;
mod manifests;
mod operator;
mod proxy;
mod secrets;
mod trouble;
mod world;

mod access;
mod adoption;
mod api_server;
mod churn;
mod claims;
mod connection_secrets;
mod crash_points;
mod crashes;
mod definitions;
mod deletion;
mod denied;
mod drift;
mod errors;
mod events;
mod expiry;
mod instance_status;
mod isolation;
mod journal;
mod leaders;
mod lifecycle;
mod logins;
mod lost;
mod refusals;
mod requests;
mod restarts;
mod rotation;
mod shared_instances;
mod sharing;
mod soak;
mod surface;
mod suspension;
mod toggles;
mod versions;
mod waiting;
mod watches;
mod withdrawn;

//! QingCloud MySQL Plus: ClickHouse accounts on the analysis node of a cluster.
//!
//! The cloud can add and delete an account, each as a job, and nothing else: no list, no change. One request goes
//! `cluster` (what is asked) → `client` (signed with `sign`, sent) → `wire` (the answer's JSON) → `errors` (what a
//! refusal means). `jobs` follows jobs, `lost` finds the one whose call was not answered, `record` is what
//! both read of one, and [`rules`] holds what the vendor documents about names, passwords and hosts.

mod client;
mod cluster;
mod errors;
mod jobs;
mod lost;
pub mod probe;
mod record;
pub mod rules;
mod sign;
mod wire;

pub use client::{Client, Credentials, Method};
pub use cluster::{Cluster, DEFAULT_ROLE};

#[cfg(test)]
mod fake;

/// The public cloud's endpoint, the same for every zone (vendor page "API overview"); private clouds have their own.
pub const DEFAULT_ENDPOINT: &str = "https://api.qingcloud.com/iaas/";

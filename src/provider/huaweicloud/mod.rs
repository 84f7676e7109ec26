//! Huawei Cloud TaurusDB (GaussDB for MySQL): accounts of its ClickHouse instances.
//!
//! The cloud answers account calls at once (there are no jobs) and lists accounts, but never shows a password.

mod client;
pub mod endpoints;
mod errors;
mod instance;
mod listing;
pub mod probe;
pub mod rules;
mod sign;
mod token;
mod wire;

pub use client::{Client, Credentials, Endpoint};
pub use instance::Instance;

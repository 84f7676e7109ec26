//! A real ClickHouse server in a temporary folder, on free ports of 127.0.0.1, for as long as a test needs it.
//!
//! The emulated clouds put the accounts of an instance into it, so that a test can log in with a new password, and
//! fail to with the old one, as any client of that instance would.
//!
//! Works with `clickhouse-server` (Debian's 18.16 is what it is tested with) and with a single `clickhouse` binary.

mod account;
mod configuration;
mod program;
mod query;
mod server;

pub use account::{Account, Invalid, ReadOnly};
pub use query::QueryError;
pub use server::{Error, Server};

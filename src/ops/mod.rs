//! What an operator of the operator sees: logs, metrics, health, and how the process ends.

pub mod health;
pub mod labels;
pub mod logs;
pub mod metrics;
pub mod server;
pub mod signals;

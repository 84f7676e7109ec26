//! Operator library.

pub mod domain;
pub mod provider;

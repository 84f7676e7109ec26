//! Placeholder until the client lands.

pub mod rules;

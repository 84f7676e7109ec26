//! clickhouse-user-operator keeps ClickHouse accounts on cloud databases in step with `ClickHouseUser` resources.
//!
//! ```text
//!  CR watch ────────┐                       ┌───────────────────────┐
//!  Secret metadata ─┼─► trigger ─► gate ─► plan ─► act ─► seen ─────┴─► report ─► status, Event, metrics, requeue
//!  instance watch ──┘            (fair)   (pure)  (one step)           (pure)
//! ```
//!
//! Data flows left to right, once. `plan` never does I/O, `act` never decides, `report` never asks.
//!
//! | room | what is in it | what it may touch |
//! | --- | --- | --- |
//! | [`api`] | the custom resources and what their conditions mean | nothing |
//! | [`domain`] | policy: desired, seen, plan, journal, report | nothing: no client, no runtime, no clock |
//! | [`controller`] | watches, gate, the pass, `act`: the one place where effects happen | everything, by the rooms below |
//! | [`provider`] | the contract of a cloud, what connections share, one folder a cloud | the clouds |
//! | [`login`] | logins to ClickHouse itself, to see whether a password works | the databases |
//! | [`kubeio`] | every call to the API server | the API server |
//! | [`ops`] | logs, metrics, health | files and ports of this process |
//! | [`check`] | every rule on manifests, without a cluster | files |
//! | [`probe`] | what a real cloud answers where its documentation is silent | the clouds |
//! | [`cli`] | flags and their validation | the environment |
//!
//! Start with [`domain::plan`]: it is the whole behaviour of the operator in one sitting. Then read
//! [`controller::pass`], the loop around it.

pub mod api;
pub mod check;
pub mod cli;
pub mod controller;
pub mod domain;
pub mod kubeio;
pub mod login;
pub mod ops;
pub mod probe;
pub mod provider;
mod seeded;

//! The operator's side of the wire, held against programs that others wrote.
//!
//! * `sdks`: the vendors' own SDKs take the emulated clouds for theirs, so what the other tests stand on is sound.
//! * `requests`: what the operator sends is what those SDKs send, but for differences that are listed with a reason.
//! * `tokens`: Keystone, the original of Huawei Cloud's token calls, gives the operator tokens and takes them away.
//!
//! `make test-vendors` installs what they need and runs them.
#![expect(clippy::unwrap_used, reason = "in tests a panic is the report")]

mod clouds;
mod keystone;
mod operator;
mod python;
mod requests;
mod sdks;
mod shape;
mod tap;
mod tokens;

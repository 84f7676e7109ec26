//! A real Kubernetes control plane for tests: etcd and kube-apiserver, and kube-controller-manager where asked for, in
//! a temporary folder, on free ports of 127.0.0.1.
//!
//! RBAC is on, and every request is in the audit log. There are no nodes: pods stay pending. Without the controller
//! manager nothing collects garbage, ends namespaces, aggregates ClusterRoles or makes ServiceAccounts.
//!
//! ```no_run
//! # async fn example() -> Result<(), control_plane::Error> {
//! let plane = control_plane::shared().await;
//! let namespace = plane.namespace("example").await?;
//! let mark = plane.audit_mark().await?;
//! plane.kubectl(&["create", "configmap", "one", "--namespace", &namespace]).await?;
//! assert!(plane.audit_since(mark).await?.iter().any(|event| event.verb == "create" && event.name == "one"));
//! # Ok(())
//! # }
//! ```

mod api_server;
mod audit;
mod certificates;
mod error;
mod kubeconfig;
mod plane;
mod servers;
mod shared;
mod tools;

pub use audit::{AuditEvent, AuditMark};
pub use error::Error;
pub use kubeconfig::client;
pub use plane::{Builder, ControlPlane};
pub use shared::{shared, shared_with_controller_manager};
pub use tools::Tool;

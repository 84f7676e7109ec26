//! One control plane for all tests of a process.

use tokio::sync::OnceCell;

use crate::plane::{Builder, ControlPlane};

/// The control plane that all tests of this process share; the first caller starts it.
///
/// Each test takes a [namespace](ControlPlane::namespace) of its own. A static is never dropped: the control plane ends
/// because this process does, see [`supervised`].
///
/// # Panics
///
/// Where it cannot be started, with the cause: a test can do nothing else.
pub async fn shared() -> &'static ControlPlane {
    static SHARED: OnceCell<ControlPlane> = OnceCell::const_new();
    start_once(&SHARED, ControlPlane::builder()).await
}

/// Like [`shared`], but another one, with a controller manager.
///
/// # Panics
///
/// Where it cannot be started, with the cause: a test can do nothing else.
pub async fn shared_with_controller_manager() -> &'static ControlPlane {
    static SHARED: OnceCell<ControlPlane> = OnceCell::const_new();
    start_once(&SHARED, ControlPlane::builder().controller_manager(true)).await
}

async fn start_once(cell: &'static OnceCell<ControlPlane>, builder: Builder) -> &'static ControlPlane {
    let start = async || match builder.start().await {
        Ok(plane) => plane,
        Err(error) => panic!("{error}"),
    };
    cell.get_or_init(start).await
}

//! Stopping a request on its way, so that a test can act in between.

use tokio::sync::watch;

use crate::{faults::Moment, ledger::Operation};

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Waiting,
    Reached,
    Released,
}

/// The emulation's end of a [`Hold`].
pub(crate) struct HoldPoint {
    pub(crate) operation: Operation,
    pub(crate) moment: Moment,
    stage: watch::Sender<Stage>,
}

impl HoldPoint {
    /// Says that the request is here and waits until it may go on.
    pub(crate) async fn stop(self) {
        self.stage.send_if_modified(|stage| {
            let waiting = *stage == Stage::Waiting;
            if waiting {
                *stage = Stage::Reached;
            }
            waiting
        });
        let mut stage = self.stage.subscribe();
        // The sender lives in `self`, so this ends with `Released` alone.
        let _ = stage.wait_for(|stage| *stage == Stage::Released).await;
    }
}

/// A request held back: the next one for the operation. Dropping the hold releases it.
pub struct Hold {
    stage: watch::Sender<Stage>,
}

impl Hold {
    pub(crate) fn new(operation: Operation, moment: Moment) -> (Self, HoldPoint) {
        let stage = watch::Sender::new(Stage::Waiting);
        (Self { stage: stage.clone() }, HoldPoint { operation, moment, stage })
    }

    /// Returns once a request is held.
    pub async fn reached(&self) {
        let mut stage = self.stage.subscribe();
        // The sender lives in `self`, so this cannot fail.
        let _ = stage.wait_for(|stage| *stage != Stage::Waiting).await;
    }

    /// Lets the request go on.
    pub fn release(&self) {
        self.stage.send_replace(Stage::Released);
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.release();
    }
}

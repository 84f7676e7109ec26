//! A pass and the turn at its instance: when it is taken, kept and given back.

use std::sync::Arc;

use kube::ResourceExt;
use tokio::time::Instant;

use super::act::{Acting, Interrupted};
use crate::{
    api::user::OperationState,
    domain::{plan::Verdict, seen::CallSeen},
    kubeio::Haste,
    provider::{
        contract::{Accepted, CallKind, JobSeen, JobState, Turn},
        queue::Waiter,
    },
};

impl Acting {
    /// Asks for the turn; whoever has it keeps others waiting, and hurries.
    pub(super) async fn take_turn(&mut self, kind: CallKind) -> Result<(), Interrupted> {
        let turn = self.connection()?.take_turn(kind, &self.waiter()).await;
        if turn == Turn::Ours && !self.urgent {
            self.kube = self.kube.with(Haste::Turn);
        }
        self.seen.turn = Some(turn);
        Ok(())
    }

    /// A running job keeps the instance; everything else gives the turn back, and waiting keeps its place.
    pub(super) fn pass_turn_on(&self, verdict: &Verdict) {
        let (Some(connection), now) = (&self.connection, Instant::now()) else { return };
        let id = self.desired.uid.as_str();
        let running = verdict.operation.as_ref().is_some_and(|operation| operation.state == OperationState::Running);
        if running {
            connection.queue.keep(id, now);
        }
        if !running || self.is_gone() {
            connection.queue.leave(id, now);
        }
    }

    /// An interrupted pass must not hold up the others: its user may be gone, and nobody else would end its turn. A job
    /// that was accepted or seen at work keeps it, as long as there is somebody to follow it.
    pub fn give_turn_back(&self) {
        let accepted = matches!(&self.seen.call, Some(CallSeen { outcome: Ok(Accepted::Job(_)), .. }));
        let at_work = matches!(&self.seen.job, Some(Ok(JobSeen::Found(job))) if job.state == JobState::Running);
        if let Some(connection) = &self.connection
            && (!accepted && !at_work || self.is_gone())
        {
            connection.queue.leave(self.desired.uid.as_str(), Instant::now());
        }
    }

    /// Whether the watch has shown that the object went, with our finalizer on it or not. What it held here was given
    /// back then, so that nothing may be taken afterwards.
    fn is_gone(&self) -> bool {
        let name = (self.desired.namespace.clone(), self.desired.name.clone());
        let uid = self.scope.users.get(&name).and_then(|user| user.uid());
        uid.as_deref() != Some(self.desired.uid.as_str())
    }

    fn waiter(&self) -> Waiter {
        let scope = self.scope.clone();
        let name = (self.desired.namespace.clone(), self.desired.name.clone());
        Waiter {
            id: self.desired.uid.as_str().to_owned(),
            group: self.desired.namespace.clone(),
            urgent: self.urgent,
            wake: Arc::new(move || scope.wake_user(&name)),
        }
    }
}

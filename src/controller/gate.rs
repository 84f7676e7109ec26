//! The gate before every pass: so many at once, first come first served, and what a person waits for goes first.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::{sync::oneshot, time::Instant};

use crate::ops::{labels::Lane, metrics::Metrics};

/// Lets a bounded number of passes run. kube-runtime's own limit picks waiting objects in no order and can leave some
/// out for ever; this one is fair within a lane.
pub struct Gate {
    metrics: Arc<Metrics>,
    state: Mutex<State>,
}

struct State {
    free: usize,
    fast: VecDeque<oneshot::Sender<Permit>>,
    slow: VecDeque<oneshot::Sender<Permit>>,
}

/// The right to run one pass; dropped, it goes to the next in line.
pub struct Permit {
    /// `None` once the permit has been handed back by other means.
    gate: Option<Arc<Gate>>,
}

impl Gate {
    /// A gate for `concurrency` passes at once.
    pub fn new(concurrency: usize, metrics: Arc<Metrics>) -> Arc<Self> {
        let state = State { free: concurrency, fast: VecDeque::new(), slow: VecDeque::new() };
        Arc::new(Self { metrics, state: Mutex::new(state) })
    }

    /// Waits for a permit.
    pub async fn enter(self: &Arc<Self>, lane: Lane) -> Permit {
        let since = Instant::now();
        loop {
            let waiting = {
                let mut state = self.state();
                if state.free > 0 {
                    state.free -= 1;
                    return self.permit();
                }
                let (permit, waiting) = oneshot::channel();
                state.lane(lane).push_back(permit);
                self.metrics.queue_depth(lane, state.lane(lane).len());
                waiting
            };
            // The sender is dropped unused only with the gate, which this call keeps alive.
            if let Ok(permit) = waiting.await {
                self.metrics.queue_left(lane, since.elapsed());
                return permit;
            }
        }
    }

    fn permit(self: &Arc<Self>) -> Permit {
        Permit { gate: Some(self.clone()) }
    }

    fn leave(self: &Arc<Self>) {
        loop {
            let next = {
                let mut state = self.state();
                let next = state.fast.pop_front().map(|permit| (Lane::Fast, permit));
                let next = next.or_else(|| state.slow.pop_front().map(|permit| (Lane::Slow, permit)));
                match next {
                    None => {
                        state.free += 1;
                        return;
                    }
                    Some((lane, permit)) => {
                        self.metrics.queue_depth(lane, state.lane(lane).len());
                        permit
                    }
                }
            };
            match next.send(self.permit()) {
                Ok(()) => return,
                // The waiter has gone; its permit must not come back here by its own drop.
                Err(mut permit) => drop(permit.gate.take()),
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn lane(&mut self, lane: Lane) -> &mut VecDeque<oneshot::Sender<Permit>> {
        match lane {
            Lane::Fast => &mut self.fast,
            Lane::Slow => &mut self.slow,
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if let Some(gate) = self.gate.take() {
            gate.leave();
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::{FutureExt, future::join_all};

    use super::*;

    fn gate(concurrency: usize) -> Arc<Gate> {
        Gate::new(concurrency, Arc::new(Metrics::new()))
    }

    #[tokio::test]
    async fn no_more_than_the_limit_are_inside() {
        let gate = gate(2);
        let (first, second) = (gate.enter(Lane::Fast).await, gate.enter(Lane::Slow).await);
        let mut third = Box::pin(gate.enter(Lane::Fast));
        assert!(third.as_mut().now_or_never().is_none());
        drop(first);
        let third = third.await;
        drop((second, third));
        let _inside = join_all([gate.enter(Lane::Slow), gate.enter(Lane::Slow)]).await;
    }

    #[tokio::test]
    async fn fast_lane_goes_first_and_each_lane_in_order() {
        let gate = gate(1);
        let inside = gate.enter(Lane::Slow).await;
        let (sender, receiver) = std::sync::mpsc::channel();
        let lanes = [("slow 1", Lane::Slow), ("slow 2", Lane::Slow), ("fast 1", Lane::Fast), ("fast 2", Lane::Fast)];
        let mut waiting = Vec::new();
        for (name, lane) in lanes {
            let (gate, sender) = (gate.clone(), sender.clone());
            let mut entering = Box::pin(async move {
                let _permit = gate.enter(lane).await;
                sender.send(name).expect("the test listens");
            });
            assert!(entering.as_mut().now_or_never().is_none());
            waiting.push(entering);
        }
        drop(inside);
        join_all(waiting).await;
        assert_eq!(receiver.try_iter().collect::<Vec<_>>(), ["fast 1", "fast 2", "slow 1", "slow 2"]);
    }

    #[tokio::test]
    async fn waiter_that_gives_up_does_not_take_a_permit_with_it() {
        let gate = gate(1);
        let inside = gate.enter(Lane::Fast).await;
        let mut gone = Box::pin(gate.enter(Lane::Fast));
        assert!(gone.as_mut().now_or_never().is_none());
        drop(gone);
        drop(inside);
        assert!(gate.enter(Lane::Slow).now_or_never().is_some());
    }
}

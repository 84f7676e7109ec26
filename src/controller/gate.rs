//! The gate before every pass: so many at once over all scopes, first come first served, and what a person waits for
//! goes first. Those who wait are names in a queue, not tasks, so that a hundred thousand may.

use std::{
    collections::VecDeque,
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::{
    sync::mpsc::{self, error::SendError},
    time::Instant,
};

use super::index::Name;
use crate::ops::{labels::Lane, metrics::Metrics};

/// Lets a bounded number of passes run, fairly within a lane.
pub struct Gate {
    metrics: Arc<Metrics>,
    state: Mutex<State>,
}

struct State {
    free: usize,
    fast: VecDeque<Ticket>,
    slow: VecDeque<Ticket>,
}

/// One who waits, and whom to tell.
struct Ticket {
    name: Name,
    admitted: mpsc::UnboundedSender<Admitted>,
    since: Instant,
}

/// A name whose pass may run now.
pub type Admitted = (Name, Permit);

/// The right to run one pass; dropped, it goes to the next in line.
pub struct Permit {
    /// `None` once the permit has been taken back by other means.
    gate: Option<Arc<Gate>>,
}

impl Gate {
    /// A gate for `concurrency` passes at once.
    pub fn new(concurrency: usize, metrics: Arc<Metrics>) -> Arc<Self> {
        let state = State { free: concurrency, fast: VecDeque::new(), slow: VecDeque::new() };
        Arc::new(Self { metrics, state: Mutex::new(state) })
    }

    /// Queues a name in a lane; its permit comes through `admitted`.
    pub fn enter(self: &Arc<Self>, lane: Lane, name: Name, admitted: &mpsc::UnboundedSender<Admitted>) {
        {
            let mut state = self.state();
            if state.free == 0 {
                let ticket = Ticket { name, admitted: admitted.clone(), since: Instant::now() };
                state.lane(lane).push_back(ticket);
                self.metrics.queue_depth(lane, state.lane(lane).len());
                return;
            }
            state.free -= 1;
        }
        // Where nobody listens any more the permit is dropped, which gives it back.
        let _ = admitted.send((name, self.permit()));
    }

    fn permit(self: &Arc<Self>) -> Permit {
        Permit { gate: Some(self.clone()) }
    }

    fn leave(self: &Arc<Self>) {
        while let Some(ticket) = self.next() {
            match ticket.admitted.send((ticket.name, self.permit())) {
                Ok(()) => return,
                // Nobody listens; the permit must not come back here by its own drop.
                Err(SendError((_, mut permit))) => drop(permit.gate.take()),
            }
        }
    }

    /// The next in line; `None` where nobody waits, and the permit is free then.
    fn next(&self) -> Option<Ticket> {
        let mut state = self.state();
        let lane = if state.fast.is_empty() { Lane::Slow } else { Lane::Fast };
        let waiting = state.lane(lane);
        let Some(ticket) = waiting.pop_front() else {
            state.free += 1;
            return None;
        };
        if waiting.is_empty() {
            // After a start there is room for every user in it.
            drop(mem::take(waiting));
        }
        self.metrics.queue_depth(lane, waiting.len());
        self.metrics.queue_left(lane, ticket.since.elapsed());
        Some(ticket)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn lane(&mut self, lane: Lane) -> &mut VecDeque<Ticket> {
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
    use super::*;

    struct World {
        gate: Arc<Gate>,
        sender: mpsc::UnboundedSender<Admitted>,
        admitted: mpsc::UnboundedReceiver<Admitted>,
    }

    impl World {
        fn new(concurrency: usize) -> Self {
            let (sender, admitted) = mpsc::unbounded_channel();
            Self { gate: Gate::new(concurrency, Arc::new(Metrics::new())), sender, admitted }
        }

        fn enter(&self, lane: Lane, name: &str) {
            self.gate.enter(lane, (String::new(), name.to_owned()), &self.sender);
        }

        fn next(&mut self) -> Option<(String, Permit)> {
            self.admitted.try_recv().ok().map(|((_, name), permit)| (name, permit))
        }
    }

    #[test]
    fn no_more_than_the_limit_are_inside() {
        let mut world = World::new(2);
        for name in ["1", "2", "3"] {
            world.enter(Lane::Fast, name);
        }
        let inside = [world.next().expect("room"), world.next().expect("room")];
        assert!(world.next().is_none());
        drop(inside);
        assert_eq!(world.next().expect("room").0, "3");
    }

    #[test]
    fn fast_lane_goes_first_and_each_lane_in_order() {
        let mut world = World::new(1);
        world.enter(Lane::Slow, "inside");
        for (name, lane) in
            [("slow 1", Lane::Slow), ("slow 2", Lane::Slow), ("fast 1", Lane::Fast), ("fast 2", Lane::Fast)]
        {
            world.enter(lane, name);
        }
        let mut order = Vec::new();
        while let Some((name, _leaves)) = world.next() {
            order.push(name);
        }
        assert_eq!(order, ["inside", "fast 1", "fast 2", "slow 1", "slow 2"]);
    }

    #[test]
    fn one_that_has_gone_does_not_take_a_permit_with_it() {
        let mut world = World::new(1);
        world.enter(Lane::Fast, "inside");
        let inside = world.next().expect("room");
        let (gone, _) = mpsc::unbounded_channel();
        world.gate.enter(Lane::Fast, (String::new(), "gone".to_owned()), &gone);
        drop(inside);
        world.enter(Lane::Slow, "next");
        assert_eq!(world.next().expect("room").0, "next");
    }
}

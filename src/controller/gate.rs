//! The gate before every pass: so many at once over all scopes, in turn between namespaces, and what a person waits for
//! goes first, changed passwords before all. Those who wait are names in a queue, not tasks, so that a hundred thousand may.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::{
    sync::mpsc::{self, error::SendError},
    time::Instant,
};

use super::names::Name;
use crate::{
    domain::fair_queue::FairQueue,
    ops::{labels::Lane, metrics::Metrics},
};

/// Where both wait, one pass in so many is of the slow lane and the others of the fast one: a stream of new users must not
/// keep a retry from ever coming.
const SLOW_TURN: usize = 4;

/// One part in so many of the passes is for the urgent lane alone and one for the others, of whose rest as much is kept from
/// the slow lane; and from any one namespace two parts are kept. Passes that are many, or wait for a cloud that does not
/// answer, leave others room.
const KEPT: usize = 4;

/// Lets a bounded number of passes run, fairly within a lane.
pub struct Gate {
    metrics: Arc<Metrics>,
    state: Mutex<State>,
}

struct State {
    concurrency: usize,
    running: HashMap<Lane, usize>,
    running_by_namespace: HashMap<Arc<str>, usize>,
    waiting: HashMap<Lane, FairQueue<Ticket>>,
    /// Passes of the fast lane since the last one of the slow lane.
    fast_in_a_row: usize,
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
    lane: Lane,
    namespace: Arc<str>,
}

impl Gate {
    /// A gate for `concurrency` passes at once.
    pub fn new(concurrency: usize, metrics: Arc<Metrics>) -> Arc<Self> {
        let state = State {
            concurrency,
            running: HashMap::new(),
            running_by_namespace: HashMap::new(),
            waiting: HashMap::new(),
            fast_in_a_row: 0,
        };
        Arc::new(Self { metrics, state: Mutex::new(state) })
    }

    /// Queues a name in a lane; its permit comes through `admitted`.
    pub fn enter(self: &Arc<Self>, lane: Lane, name: Name, admitted: &mpsc::UnboundedSender<Admitted>) {
        let ticket = Ticket { admitted: admitted.clone(), since: Instant::now(), name };
        let mut state = self.state();
        let namespace = ticket.name.0.clone();
        state.waiting.entry(lane).or_default().push(&namespace, ticket);
        self.let_in(state);
    }

    /// Lets in as many of those who wait as there is room for.
    fn let_in(self: &Arc<Self>, mut state: MutexGuard<'_, State>) {
        while let Some((lane, namespace, ticket)) = state.next() {
            self.metrics.queue_left(lane, ticket.since.elapsed());
            let permit = Permit { gate: Some(self.clone()), lane, namespace };
            if let Err(SendError((_, mut permit))) = ticket.admitted.send((ticket.name, permit)) {
                // Nobody listens; the permit must not come back here by its own drop, which would wait for this lock.
                drop(permit.gate.take());
                state.left(permit.lane, &permit.namespace);
            }
        }
        for (lane, waiting) in &state.waiting {
            self.metrics.queue_depth(*lane, waiting.len());
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// The next in line whom there is room for, counted as inside.
    fn next(&mut self) -> Option<(Lane, Arc<str>, Ticket)> {
        let slow_is_due = self.fast_in_a_row + 1 >= SLOW_TURN;
        let [first, then] = if slow_is_due { [Lane::Slow, Lane::Fast] } else { [Lane::Fast, Lane::Slow] };
        [Lane::Urgent, first, then].into_iter().find_map(|lane| self.next_of(lane))
    }

    fn next_of(&mut self, lane: Lane) -> Option<(Lane, Arc<str>, Ticket)> {
        if !self.has_room(lane) {
            return None;
        }
        let Self { concurrency, running_by_namespace, waiting, .. } = self;
        let share = *concurrency - 2 * (*concurrency / KEPT);
        let has_room = |namespace: &str| running_by_namespace.get(namespace).is_none_or(|running| *running < share);
        let (namespace, ticket) = waiting.get_mut(&lane)?.pop(has_room)?;
        *self.running.entry(lane).or_default() += 1;
        *self.running_by_namespace.entry(namespace.clone()).or_default() += 1;
        match lane {
            Lane::Urgent => {}
            Lane::Fast => self.fast_in_a_row += 1,
            Lane::Slow => self.fast_in_a_row = 0,
        }
        Some((lane, namespace, ticket))
    }

    fn has_room(&self, lane: Lane) -> bool {
        let running = |lane| self.running.get(&lane).copied().unwrap_or_default();
        let [urgent, fast, slow] = [Lane::Urgent, Lane::Fast, Lane::Slow].map(running);
        let kept = self.concurrency / KEPT;
        let has_room = match lane {
            Lane::Urgent => urgent < self.concurrency - kept,
            Lane::Fast => fast + slow < self.concurrency - kept,
            Lane::Slow => fast + slow < self.concurrency - kept && slow < self.concurrency - 2 * kept,
        };
        has_room && urgent + fast + slow < self.concurrency
    }

    /// One who was let in has gone.
    fn left(&mut self, lane: Lane, namespace: &str) {
        if let Some(running) = self.running.get_mut(&lane) {
            *running -= 1;
        }
        if let Some(running) = self.running_by_namespace.get_mut(namespace) {
            *running -= 1;
            if *running == 0 {
                self.running_by_namespace.remove(namespace);
            }
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if let Some(gate) = self.gate.take() {
            let mut state = gate.state();
            state.left(self.lane, &self.namespace);
            gate.let_in(state);
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
            self.enter_of("", lane, name);
        }

        fn enter_of(&self, namespace: &str, lane: Lane, name: &str) {
            self.gate.enter(lane, (namespace.to_owned(), name.to_owned()), &self.sender);
        }

        /// All, each of whom leaves before the next comes.
        fn in_order(&mut self) -> Vec<String> {
            std::iter::from_fn(|| self.next().map(|(name, _leaves)| name)).collect()
        }

        /// All who are let in now, and stay.
        fn inside(&mut self) -> Vec<(String, Permit)> {
            std::iter::from_fn(|| self.next()).collect()
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
        assert_eq!(world.in_order(), ["inside", "fast 1", "fast 2", "slow 1", "slow 2"]);
    }

    #[test]
    fn namespaces_have_their_turns_one_after_the_other() {
        let mut world = World::new(1);
        world.enter(Lane::Fast, "inside");
        for name in ["mass 1", "mass 2", "mass 3"] {
            world.enter_of("mass", Lane::Fast, name);
        }
        world.enter_of("small", Lane::Fast, "small");
        assert_eq!(world.in_order(), ["inside", "mass 1", "small", "mass 2", "mass 3"]);
    }

    #[test]
    fn slow_lane_has_a_turn_among_many_of_the_fast_one() {
        let mut world = World::new(1);
        world.enter(Lane::Slow, "inside");
        for name in ["1", "2", "3", "4"] {
            world.enter(Lane::Fast, name);
        }
        world.enter(Lane::Slow, "slow");
        assert_eq!(world.in_order(), ["inside", "1", "2", "3", "slow", "4"]);
    }

    #[test]
    fn ten_thousand_retries_that_hang_leave_room_for_a_new_user() {
        let mut world = World::new(64);
        for number in 0..10_000 {
            world.enter_of(&format!("team-{}", number % 50), Lane::Slow, &number.to_string());
        }
        let hanging = world.inside();
        assert_eq!(hanging.len(), 32);
        world.enter_of("team-1", Lane::Fast, "new");
        assert_eq!(world.next().expect("room").0, "new");
    }

    #[test]
    fn changed_password_does_not_wait_behind_ten_thousand_new_users() {
        let mut world = World::new(64);
        for number in 0..10_000 {
            world.enter_of(&format!("team-{}", number % 50), Lane::Fast, &number.to_string());
        }
        let inside = world.inside();
        assert_eq!(inside.len(), 48);
        for number in 0..100 {
            world.enter_of(&format!("team-{}", number % 50), Lane::Urgent, &format!("changed {number}"));
        }
        let changed = world.inside();
        assert_eq!(changed.len(), 16);
        assert!(changed.iter().all(|(name, _)| name.starts_with("changed")));
        drop(inside);
        let changed = world.inside().iter().filter(|(name, _)| name.starts_with("changed")).count();
        assert_eq!(changed, 32, "many changed passwords leave room too");
    }

    #[test]
    fn namespace_whose_passes_hang_leaves_room_for_the_others() {
        let mut world = World::new(64);
        for number in 0..10_000 {
            world.enter_of("hanging", Lane::Fast, &number.to_string());
        }
        let mut hanging = world.inside();
        assert_eq!(hanging.len(), 32);
        world.enter_of("other", Lane::Fast, "new");
        assert_eq!(world.next().expect("room").0, "new");
        hanging.pop();
        assert_eq!(world.inside().len(), 1, "whoever leaves makes room for the next of its namespace");
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

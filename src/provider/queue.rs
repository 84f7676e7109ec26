//! The one-writer queue of an instance: who may change something on it now, and who is next.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use crate::domain::fair_queue::FairQueue;

/// A turn that was offered and not taken up within this time goes to the next: its user may be gone.
const OFFER_PATIENCE: Duration = Duration::from_secs(30);

/// Somebody who wants to change something on the instance.
#[derive(Clone)]
pub struct Waiter {
    /// Who, for ever the same.
    pub id: String,
    /// Turns go round between groups, so that one group's mass does not hold up the others.
    pub group: String,
    /// Every second turn is for those in a hurry.
    pub urgent: bool,
    /// Called when it is this one's turn.
    pub wake: Arc<dyn Fn() + Send + Sync>,
}

/// One instance's queue, whatever objects and credentials lead to it.
pub struct Queue {
    longest_turn: Duration,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    holder: Option<Holder>,
    urgent: FairQueue<Waiter>,
    others: FairQueue<Waiter>,
    last_was_urgent: bool,
}

struct Holder {
    id: String,
    until: Instant,
}

impl Queue {
    /// A free queue; a turn ends by itself after `longest_turn`.
    pub fn new(longest_turn: Duration) -> Self {
        Self { longest_turn, state: Mutex::default() }
    }

    /// Takes the turn if it is this waiter's, else queues it. True: the turn is taken until [`Queue::leave`].
    pub fn take(&self, waiter: &Waiter, now: Instant) -> bool {
        let mut state = self.state();
        if state.holder.as_ref().is_some_and(|holder| holder.until <= now) {
            state.holder = None;
        }
        match &state.holder {
            Some(holder) if holder.id != waiter.id => {
                state.enqueue(waiter);
                false
            }
            // Free, but others have waited longer: they were woken or will be when the next turn is passed on.
            None if state.waiting().any(|other| other.id != waiter.id) => {
                state.enqueue(waiter);
                state.pass_on(now);
                state.claim(&waiter.id, now + self.longest_turn)
            }
            _ => {
                state.holder = Some(Holder { id: waiter.id.clone(), until: now + self.longest_turn });
                state.forget(&waiter.id);
                true
            }
        }
    }

    /// Keeps the instance for one whose job is running, also where the turn was taken by an earlier process.
    pub fn keep(&self, id: &str, now: Instant) {
        let mut state = self.state();
        if state.holder.is_none() {
            state.holder = Some(Holder { id: id.to_owned(), until: now + self.longest_turn });
        }
    }

    /// Whether it is this one's turn, offered or taken.
    pub fn is_turn_of(&self, id: &str) -> bool {
        self.state().holder.as_ref().is_some_and(|holder| holder.id == id)
    }

    /// Gives the turn back, or the place in the queue, and passes the turn on.
    pub fn leave(&self, id: &str, now: Instant) {
        let mut state = self.state();
        if state.holder.as_ref().is_some_and(|holder| holder.id == id) {
            state.holder = None;
            state.pass_on(now);
        }
    }

    /// Like [`Queue::leave`], for one that will not come back: it also leaves its place.
    pub fn forget(&self, id: &str, now: Instant) {
        self.state().forget(id);
        self.leave(id, now);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn enqueue(&mut self, waiter: &Waiter) {
        if !self.waiting().any(|other| other.id == waiter.id) {
            let queue = if waiter.urgent { &mut self.urgent } else { &mut self.others };
            queue.push(&waiter.group, waiter.clone());
        }
    }

    fn waiting(&self) -> impl Iterator<Item = &Waiter> {
        self.urgent.iter().chain(self.others.iter())
    }

    /// Offers the free turn to the next waiter.
    fn pass_on(&mut self, now: Instant) {
        let others_are_due = self.last_was_urgent && !self.others.is_empty();
        let urgent = !self.urgent.is_empty() && !others_are_due;
        let queue = if urgent { &mut self.urgent } else { &mut self.others };
        if let Some((_, next)) = queue.pop(|_| true) {
            self.last_was_urgent = urgent;
            (next.wake)();
            self.holder = Some(Holder { id: next.id, until: now + OFFER_PATIENCE });
        }
    }

    fn claim(&mut self, id: &str, until: Instant) -> bool {
        match &mut self.holder {
            Some(holder) if holder.id == id => {
                holder.until = until;
                true
            }
            _ => false,
        }
    }

    fn forget(&mut self, id: &str) {
        self.urgent.retain(|other| other.id != id);
        self.others.retain(|other| other.id != id);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, Sender, channel};

    use super::*;

    const LONGEST: Duration = Duration::from_secs(900);

    struct World {
        queue: Queue,
        woken: Receiver<String>,
        sender: Sender<String>,
        now: Instant,
    }

    impl World {
        fn new() -> Self {
            let (sender, woken) = channel();
            Self { queue: Queue::new(LONGEST), woken, sender, now: Instant::now() }
        }

        fn waiter(&self, group: &str, id: &str) -> Waiter {
            let (sender, name) = (self.sender.clone(), id.to_owned());
            let wake = Arc::new(move || sender.send(name.clone()).expect("the test listens"));
            Waiter { id: id.to_owned(), group: group.to_owned(), urgent: id.starts_with("urgent"), wake }
        }

        fn take(&self, group: &str, id: &str) -> bool {
            self.queue.take(&self.waiter(group, id), self.now)
        }

        fn woken(&self) -> Vec<String> {
            self.woken.try_iter().collect()
        }
    }

    #[tokio::test(start_paused = true)]
    async fn second_writer_waits_and_is_woken_when_the_first_leaves() {
        let world = World::new();
        assert!(world.take("a", "1"));
        assert!(!world.take("a", "2"));
        assert!(world.woken().is_empty());
        world.queue.leave("1", world.now);
        assert_eq!(world.woken(), ["2"]);
        assert!(world.take("a", "2"));
    }

    #[tokio::test(start_paused = true)]
    async fn turns_go_round_between_groups_and_in_order_within() {
        let world = World::new();
        assert!(world.take("mass", "m0"));
        for id in ["m1", "m2", "m3"] {
            assert!(!world.take("mass", id));
        }
        assert!(!world.take("small", "s1"));
        let mut order = Vec::new();
        let mut holder = "m0".to_owned();
        for _ in 0..4 {
            world.queue.leave(&holder, world.now);
            holder = world.woken().pop().expect("somebody is next");
            order.push(holder.clone());
        }
        assert_eq!(order, ["m1", "s1", "m2", "m3"]);
    }

    #[tokio::test(start_paused = true)]
    async fn those_in_a_hurry_have_the_next_turn_and_then_every_second() {
        let world = World::new();
        let mut holder = "m0".to_owned();
        assert!(world.take("mass", &holder));
        for id in ["m1", "m2", "urgent 1", "urgent 2", "urgent 3"] {
            assert!(!world.take("mass", id));
        }
        let mut order = Vec::new();
        for _ in 0..5 {
            world.queue.leave(&holder, world.now);
            holder = world.woken().pop().expect("somebody is next");
            order.push(holder.clone());
        }
        assert_eq!(order, ["urgent 1", "m1", "urgent 2", "m2", "urgent 3"]);
    }

    #[tokio::test(start_paused = true)]
    async fn late_comer_does_not_overtake_one_that_was_offered_the_turn() {
        let world = World::new();
        assert!(world.take("a", "1"));
        assert!(!world.take("a", "2"));
        world.queue.leave("1", world.now);
        assert!(!world.take("b", "3"));
        assert!(world.take("a", "2"));
    }

    #[tokio::test(start_paused = true)]
    async fn offer_that_nobody_takes_up_and_turn_without_end_expire() {
        let mut world = World::new();
        assert!(world.take("a", "1"));
        assert!(!world.take("a", "2"));
        world.queue.leave("1", world.now);
        world.now += OFFER_PATIENCE;
        assert!(world.take("a", "3"));
        world.now += LONGEST;
        assert!(world.take("a", "4"));
    }

    #[tokio::test(start_paused = true)]
    async fn forgotten_waiter_is_not_offered_the_turn() {
        let world = World::new();
        assert!(world.take("a", "1"));
        assert!(!world.take("a", "2"));
        assert!(!world.take("a", "3"));
        world.queue.forget("2", world.now);
        world.queue.leave("1", world.now);
        assert_eq!(world.woken(), ["3"]);
    }

    #[tokio::test(start_paused = true)]
    async fn asking_again_keeps_one_place() {
        let world = World::new();
        assert!(world.take("a", "1"));
        assert!(world.take("a", "1"));
        assert!(!world.take("a", "2"));
        assert!(!world.take("a", "2"));
        world.queue.leave("1", world.now);
        world.queue.leave("2", world.now);
        assert_eq!(world.woken(), ["2"]);
    }
}

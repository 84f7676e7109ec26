//! A queue that goes round between groups, first come first served within each: one group's mass holds nobody else up.

use std::{
    collections::{HashMap, VecDeque},
    mem,
    sync::Arc,
};

/// Those who wait, by group.
pub struct FairQueue<T> {
    waiting: HashMap<Arc<str>, VecDeque<T>>,
    /// The groups in which somebody waits, in the order of their next turn.
    round: VecDeque<Arc<str>>,
    length: usize,
}

impl<T> Default for FairQueue<T> {
    fn default() -> Self {
        Self { waiting: HashMap::new(), round: VecDeque::new(), length: 0 }
    }
}

impl<T> FairQueue<T> {
    /// How many wait.
    pub fn len(&self) -> usize {
        self.length
    }

    /// Whether nobody waits.
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Queues one in its group. A group that nobody waited in is the last of the round.
    pub fn push(&mut self, group: &str, one: T) {
        self.length += 1;
        if let Some(waiting) = self.waiting.get_mut(group) {
            waiting.push_back(one);
            return;
        }
        let group: Arc<str> = group.into();
        self.round.push_back(group.clone());
        self.waiting.insert(group, VecDeque::from([one]));
    }

    /// Takes out the next of the first group in the round that may have a turn; the group is the last of the round then.
    pub fn pop(&mut self, may: impl Fn(&str) -> bool) -> Option<(Arc<str>, T)> {
        let place = self.round.iter().position(|group| may(group))?;
        let group = self.round.remove(place)?;
        let waiting = self.waiting.get_mut(&group)?;
        let next = waiting.pop_front()?;
        self.length -= 1;
        if waiting.is_empty() {
            self.waiting.remove(&group);
        } else {
            self.round.push_back(group.clone());
        }
        if self.is_empty() {
            // There is room for everybody who ever waited at once.
            drop(mem::take(self));
        }
        Some((group, next))
    }

    /// Everybody who waits, in no particular order.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.waiting.values().flatten()
    }

    /// Takes out whom `stays` is not true of; the others keep their places.
    pub fn retain(&mut self, stays: impl Fn(&T) -> bool) {
        self.waiting.values_mut().for_each(|waiting| waiting.retain(&stays));
        self.waiting.retain(|_, waiting| !waiting.is_empty());
        self.round.retain(|group| self.waiting.contains_key(group));
        self.length = self.waiting.values().map(VecDeque::len).sum();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queue(waiting: &[(&str, u32)]) -> FairQueue<u32> {
        let mut queue = FairQueue::default();
        for (group, one) in waiting {
            queue.push(group, *one);
        }
        queue
    }

    fn all(mut queue: FairQueue<u32>) -> Vec<u32> {
        std::iter::from_fn(|| queue.pop(|_| true).map(|(_, one)| one)).collect()
    }

    #[test]
    fn turns_go_round_between_groups_and_in_order_within() {
        assert_eq!(all(queue(&[("mass", 1), ("mass", 2), ("mass", 3), ("small", 4), ("other", 5)])), [1, 4, 5, 2, 3]);
    }

    #[test]
    fn group_that_may_not_have_a_turn_keeps_its_place() {
        let mut queue = queue(&[("full", 1), ("free", 2), ("full", 3), ("free", 4)]);
        assert_eq!(queue.pop(|group| group != "full"), Some(("free".into(), 2)));
        assert_eq!(all(queue), [1, 4, 3]);
    }

    #[test]
    fn nobody_is_popped_where_no_group_may_have_a_turn() {
        let mut queue = queue(&[("a", 1)]);
        assert_eq!(queue.pop(|_| false), None);
        assert_eq!(queue.len(), 1);
    }

    #[test]
    fn those_taken_out_leave_the_places_of_the_others_as_they_were() {
        let mut queue = queue(&[("a", 1), ("b", 2), ("a", 3), ("c", 4)]);
        queue.retain(|one| *one != 2 && *one != 1);
        assert_eq!((queue.len(), queue.iter().count()), (2, 2));
        assert_eq!(all(queue), [3, 4]);
    }
}

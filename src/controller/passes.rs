//! Who has a pass, who waits for one and who is to have one later: never two of one name at once, and another one after
//! it where it was woken meanwhile. Of those at rest nothing is kept.

use std::{collections::HashMap, future::Future, sync::Arc, time::Duration};

use futures::StreamExt;
use tokio::{
    sync::mpsc::{self, UnboundedReceiver, UnboundedSender},
    task::JoinSet,
};
use tokio_util::{
    sync::CancellationToken,
    time::{DelayQueue, delay_queue::Key},
};

use super::{
    gate::{Admitted, Gate},
    names::Name,
};
use crate::ops::labels::Lane;

/// Later passes come at the latest after this; the timer cannot hold more than two years, and a pass too many is none.
const LATEST: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// Runs a pass of every name that is woken until `stop`, then waits for those that run. A pass says when the next is
/// due, unless something wakes its name before.
#[expect(clippy::missing_panics_doc, reason = "a pass ends its panics itself")]
pub async fn run<F>(
    mut woken: UnboundedReceiver<Name>,
    gate: Arc<Gate>,
    stop: CancellationToken,
    lane: impl Fn(&Name) -> Lane,
    pass: impl Fn(Name) -> F,
) where
    F: Future<Output = Option<Duration>> + Send + 'static,
{
    let (sender, mut admitted) = mpsc::unbounded_channel();
    let mut names = Names { gate, sender, running: HashMap::new(), waiting: HashMap::new(), later: Later::default() };
    let mut passes = JoinSet::new();
    loop {
        tokio::select! {
            () = stop.cancelled() => break,
            Some(name) = woken.recv() => names.wake(name, &lane),
            Some(name) = names.later.next() => names.wake(name, &lane),
            Some((name, permit)) = admitted.recv() => {
                if names.starts(&name) {
                    let pass = pass(name.clone());
                    passes.spawn(async move {
                        let next = pass.await;
                        drop(permit);
                        (name, next)
                    });
                }
            }
            Some(ended) = passes.join_next() => {
                // A panic inside a pass ends at its own boundary; one outside must not leave its user behind unseen.
                let (name, next) = ended.expect("passes do not panic");
                names.ended(name, next, &lane);
            }
        }
    }
    while passes.join_next().await.is_some() {}
}

struct Names {
    gate: Arc<Gate>,
    sender: UnboundedSender<Admitted>,
    /// Those with a pass, and whether they were woken meanwhile.
    running: HashMap<Name, bool>,
    /// Those in the gate's queue, and in which lane.
    waiting: HashMap<Name, Lane>,
    later: Later,
}

impl Names {
    fn wake(&mut self, name: Name, lane: &impl Fn(&Name) -> Lane) {
        if let Some(again) = self.running.get_mut(&name) {
            *again = true;
            return;
        }
        self.later.remove(&name);
        let lane = lane(&name);
        // One that waits and is in more of a hurry now queues once more; the first permit counts.
        if self.waiting.get(&name).is_none_or(|queued| lane < *queued) {
            self.waiting.insert(name.clone(), lane);
            self.gate.enter(lane, name, &self.sender);
        }
    }

    /// A permit came: whether its name still waits for one.
    fn starts(&mut self, name: &Name) -> bool {
        let waits = self.waiting.remove(name).is_some();
        if self.waiting.is_empty() {
            // After a start there is room for every user in it.
            self.waiting = HashMap::new();
        }
        if waits {
            self.running.insert(name.clone(), false);
        }
        waits
    }

    fn ended(&mut self, name: Name, next: Option<Duration>, lane: &impl Fn(&Name) -> Lane) {
        match (self.running.remove(&name), next) {
            (Some(true), _) => self.wake(name, lane),
            (_, Some(delay)) => self.later.insert(name, delay),
            _ => {}
        }
    }
}

/// Names that are due later, each once.
#[derive(Default)]
struct Later {
    queue: DelayQueue<Name>,
    keys: HashMap<Name, Key>,
}

impl Later {
    fn insert(&mut self, name: Name, delay: Duration) {
        let key = self.queue.insert(name.clone(), delay.min(LATEST));
        self.keys.insert(name, key);
    }

    fn remove(&mut self, name: &Name) {
        if let Some(key) = self.keys.remove(name) {
            self.queue.remove(&key);
        }
    }

    /// The next that is due; `None` where nobody is to come.
    async fn next(&mut self) -> Option<Name> {
        let name = self.queue.next().await?.into_inner();
        self.keys.remove(&name);
        if self.keys.is_empty() {
            *self = Self::default();
        }
        Some(name)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use tokio::{sync::oneshot, task::JoinHandle, time::Instant};

    use super::*;
    use crate::ops::metrics::Metrics;

    /// A pass that has begun; the test says how it ends.
    type Begun = (String, oneshot::Sender<Option<Duration>>);

    struct World {
        wake: UnboundedSender<Name>,
        begun: UnboundedReceiver<Begun>,
        urgent: Arc<Mutex<Vec<String>>>,
        stop: CancellationToken,
        running: JoinHandle<()>,
    }

    impl World {
        fn new(concurrency: usize) -> Self {
            let (wake, woken) = mpsc::unbounded_channel();
            let (begins, begun) = mpsc::unbounded_channel();
            let (urgent, stop) = (Arc::<Mutex<Vec<String>>>::default(), CancellationToken::new());
            let listed = urgent.clone();
            let lane = move |name: &Name| {
                let fast = listed.lock().expect("no panic").contains(&name.1);
                if fast { Lane::Fast } else { Lane::Slow }
            };
            let pass = move |name: Name| {
                let (ends, end) = oneshot::channel();
                begins.send((name.1, ends)).expect("the test listens");
                async move { end.await.expect("the test ends it") }
            };
            let gate = Gate::new(concurrency, Arc::new(Metrics::new()));
            let running = tokio::spawn(run(woken, gate, stop.clone(), lane, pass));
            Self { wake, begun, urgent, stop, running }
        }

        fn wake(&self, name: &str) {
            self.wake.send((String::new(), name.to_owned())).expect("it runs");
        }

        async fn begins(&mut self, name: &str) -> oneshot::Sender<Option<Duration>> {
            let (begun, ends) = self.begun.recv().await.expect("a pass begins");
            assert_eq!(begun, name);
            ends
        }

        /// Lets everything happen that can happen now.
        async fn nothing_begins(&mut self) {
            tokio::time::sleep(Duration::from_millis(1)).await;
            assert!(self.begun.try_recv().is_err());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn name_woken_during_its_pass_has_one_more_after_it() {
        let mut world = World::new(2);
        world.wake("a");
        let first = world.begins("a").await;
        world.wake("a");
        world.wake("a");
        world.nothing_begins().await;
        first.send(None).expect("it runs");
        world.begins("a").await.send(None).expect("it runs");
        world.nothing_begins().await;
    }

    #[tokio::test(start_paused = true)]
    async fn later_pass_comes_when_it_is_due_and_once_only_where_something_wakes_it_before() {
        let mut world = World::new(2);
        let minute = Duration::from_secs(60);
        world.wake("a");
        world.begins("a").await.send(Some(minute)).expect("it runs");
        let before = Instant::now();
        let due = world.begins("a").await;
        assert!(before.elapsed() >= minute);
        due.send(Some(minute)).expect("it runs");
        world.nothing_begins().await;
        world.wake("a");
        let woken = world.begins("a").await;
        woken.send(None).expect("it runs");
        tokio::time::sleep(2 * minute).await;
        world.nothing_begins().await;
    }

    #[tokio::test(start_paused = true)]
    async fn name_that_has_become_urgent_overtakes_those_it_waited_behind() {
        let mut world = World::new(1);
        world.wake("inside");
        let inside = world.begins("inside").await;
        for name in ["a", "b", "c"] {
            world.wake(name);
        }
        world.nothing_begins().await;
        world.urgent.lock().expect("no panic").push("c".to_owned());
        world.wake("c");
        world.nothing_begins().await;
        inside.send(None).expect("it runs");
        for name in ["c", "a", "b"] {
            world.begins(name).await.send(None).expect("it runs");
        }
        world.nothing_begins().await;
    }

    #[tokio::test(start_paused = true)]
    async fn stop_starts_nothing_more_and_waits_for_what_runs() {
        let mut world = World::new(1);
        world.wake("a");
        let pass = world.begins("a").await;
        world.wake("b");
        world.stop.cancel();
        world.nothing_begins().await;
        assert!(!world.running.is_finished());
        pass.send(None).expect("it runs");
        world.running.await.expect("no panic");
        assert!(world.begun.try_recv().is_err());
    }
}

//! Breadth first through everything that can happen in the small world. From every state that is reached the operator is
//! also left in peace: it must come to the end that the manifests ask for, and stay there.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    rc::Rc,
    time::Duration,
};

use clickhouse_user_operator::{api::conditions::Reason, provider::contract::ErrorClass};

use super::{
    moves::{Event, Move, Wish},
    pass::{EFFECTS, Outcome, Trouble},
    world::World,
};

/// What a search goes through.
#[derive(Clone, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is a kind of trouble of its own")]
pub struct Scope {
    pub wishes: Vec<Wish>,
    pub events: Vec<Event>,
    /// Passes may be troubled by refusals and failed reads of these classes.
    pub classes: Vec<ErrorClass>,
    /// Passes may crash, lose answers, fail jobs.
    pub crashes: bool,
    pub losses: bool,
    pub stops: bool,
    pub secret_changes: bool,
    pub most_wishes: u8,
    pub most_troubles: u8,
}

type Left = (u8, u8);

pub struct Search<'a> {
    scope: &'a Scope,
    seen: HashSet<(u64, Left)>,
    ways: Vec<(usize, Move)>,
    queue: VecDeque<(Rc<World>, Left, usize)>,
    found: HashMap<String, usize>,
    pub passes: usize,
}

/// Moves in which a world that is left in peace comes to its end.
const ENOUGH: usize = 120;

impl<'a> Search<'a> {
    /// Searches from these worlds; tells the number of states, or panics with the shortest way to each violation.
    pub fn run(scope: &'a Scope, worlds: &[World]) -> usize {
        let mut search = Self {
            scope,
            seen: HashSet::new(),
            ways: Vec::new(),
            queue: VecDeque::new(),
            found: HashMap::new(),
            passes: 0,
        };
        let begins: Vec<usize> = (0..worlds.len()).collect();
        for world in worlds {
            search.ways.push((usize::MAX, Move::Begin));
            let way = search.ways.len() - 1;
            search.visit(world.clone(), (scope.most_wishes, scope.most_troubles), way);
        }
        while let Some((world, left, way)) = search.queue.pop_front() {
            search.calm_down(&world, left, way);
            search.disturb(&world, left, way);
        }
        let told: Vec<String> =
            search.found.iter().map(|(what, way)| search.tell(what, *way, worlds, &begins)).collect();
        assert!(told.is_empty(), "{} states, {}\n", search.seen.len(), told.join("\n\n"));
        search.seen.len()
    }

    /// Takes a state in, unless it was there before.
    fn visit(&mut self, world: World, left: Left, way: usize) -> bool {
        if let Some(what) = &world.violation {
            self.found.entry(what.clone()).or_insert(way);
            return false;
        }
        if !self.seen.insert((world.digest(), left)) {
            return false;
        }
        self.queue.push_back((Rc::new(world), left, way));
        true
    }

    fn step(&mut self, world: &World, left: Left, way: usize, next: Move) -> Option<(World, usize)> {
        let mut world = world.clone();
        self.passes += 1;
        world.make(next);
        self.ways.push((way, next));
        let way = self.ways.len() - 1;
        self.visit(world.clone(), left, way).then_some((world, way))
    }

    /// Leaves the world in peace. What was reached before has come to its end before.
    fn calm_down(&mut self, world: &World, left: Left, way: usize) {
        let (mut world, mut way) = (world.clone(), way);
        let mut own = HashSet::new();
        for _ in 0..ENOUGH {
            own.insert(world.digest());
            match world.at_end() {
                Some(Ok(())) => return self.stays(&world, way),
                Some(Err(what)) => {
                    self.found.entry(what).or_insert(way);
                    return;
                }
                None => {}
            }
            if let Some(next) = self.step(&world, left, way, Move::Calm) {
                (world, way) = next;
                continue;
            }
            world.make(Move::Calm);
            // What this very way came by has yet to show that it leads to an end.
            if world.violation.is_some() || !own.contains(&world.digest()) {
                return;
            }
        }
        self.found.entry(format!("ESR: no end in sight with {:?}", world.reasons())).or_insert(way);
    }

    /// A pass of a world at rest calls nothing and writes nothing.
    fn stays(&mut self, world: &World, way: usize) {
        for user in 0..world.users.len() {
            let (due, checked) = (world.users[user].due, world.checked(user));
            if world.users[user].gone || due.is_some() && !checked {
                continue;
            }
            let mut again = world.clone();
            // Where logins are checked, after the next check.
            again.wait(due.unwrap_or(again.now + Duration::from_secs(60)));
            // Where a human has to act the first look may still put it in other words.
            if again.users[user].reason != Some(Reason::AccountReady) || checked {
                again.pass(user, Trouble::Nothing);
                again.wait(again.users[user].due.filter(|_| checked).unwrap_or(again.now));
            }
            let Outcome { steps, calls, writes, .. } = again.pass(user, Trouble::Nothing);
            if calls + writes > 0 || again.violation.is_some() {
                let what = format!("ESR: at rest with {:?}, and then {steps:?}", world.reasons());
                self.found.entry(again.violation.unwrap_or(what)).or_insert(way);
            }
        }
    }

    fn disturb(&mut self, world: &World, (wishes, troubles): Left, way: usize) {
        if let Some(next) = world.next_other() {
            debug_assert!(next < world.users.len());
            self.step(world, (wishes, troubles), way, Move::Other);
        }
        for user in 0..world.users.len() {
            if wishes > 0 {
                for wish in self.scope.wishes.clone() {
                    if world.can_wish(user, wish) {
                        self.step(world, (wishes - 1, troubles), way, Move::Wish(user, wish));
                    }
                }
            }
            if troubles > 0 {
                for event in self.scope.events.clone() {
                    if world.can_happen(user, event) {
                        self.step(world, (wishes, troubles - 1), way, Move::Event(user, event));
                    }
                }
            }
        }
        if world.stopped.is_some() {
            self.step(world, (wishes, troubles), way, Move::Resume);
        }
        if troubles > 0 {
            for trouble in self.troubles(world) {
                self.step(world, (wishes, troubles - 1), way, Move::Pass(trouble));
            }
        }
    }

    /// What can go wrong in the next pass, as far as it makes a difference there.
    fn troubles(&self, world: &World) -> Vec<Trouble> {
        let mut peaceful = world.clone();
        let Some(Outcome { steps, after_effects, calls, reads, .. }) = peaceful.calm() else { return Vec::new() };
        let mut troubles = Vec::new();
        let inner = || (1..steps.len()).filter(|it| after_effects.contains(it));
        if self.scope.crashes {
            troubles.extend(inner().map(Trouble::Crash));
        }
        if self.scope.stops && world.stopped.is_none() {
            // Before a write or a settlement that was decided on what will be past.
            let decided = |it: &usize| matches!(steps[*it], "WriteIntent" | "RestoreFinalizer" | "Release" | "Settle");
            troubles.extend((0..steps.len()).filter(decided).map(Trouble::Stop));
            troubles.extend(inner().map(Trouble::Stop));
        }
        if self.scope.secret_changes {
            let read = steps.iter().position(|it| *it == "ReadPassword");
            troubles.extend(read.into_iter().flat_map(|it| [it, it + 1]).map(Trouble::SecretChanges));
        }
        if calls > 0 && self.scope.losses {
            troubles.extend(EFFECTS.map(Trouble::AnswerLost));
            if !world.can_list() {
                troubles.push(Trouble::JobFails);
            }
        }
        if calls > 0 {
            troubles.extend(self.scope.classes.iter().copied().map(Trouble::Refused));
        }
        if steps.contains(&"Login") {
            troubles.extend([Trouble::LoginUnreachable, Trouble::LoginBusy]);
        }
        if reads > 0 {
            troubles.extend(self.scope.classes.iter().copied().map(Trouble::ReadsFail));
        }
        troubles
    }

    fn tell(&self, what: &str, way: usize, worlds: &[World], begins: &[usize]) -> String {
        let (mut moves, mut at) = (Vec::new(), way);
        while let (before, next) = self.ways[at]
            && before != usize::MAX
        {
            moves.push(next);
            at = before;
        }
        let begin = begins.iter().find(|it| **it == at).copied().unwrap_or_default();
        let mut world = World { diary: Some(Vec::new()), ..worlds[begin].clone() };
        for next in moves.into_iter().rev() {
            if !matches!(next, Move::Calm) {
                world.note(|_| format!("{next:?}"));
            }
            world.make(next);
        }
        let diary = world.diary.clone().unwrap_or_default();
        let middle = 12..diary.len().saturating_sub(18).max(12);
        let told: Vec<String> =
            (0..diary.len()).filter(|it| !middle.contains(it)).map(|it| diary[it].clone()).collect();
        for _ in 0..12 {
            world.make(Move::Calm);
        }
        let then = world.diary.unwrap_or_default();
        let then = then.get(diary.len()..).unwrap_or_default().join("\n    ");
        format!("{what} ({}):\n    {}\n  and then\n    {then}", world.kind, told.join("\n    "))
    }
}

//! Breadth first through everything that can happen in the small world. From every state that is reached the operator is
//! also left in peace: it must come to the end that the manifests ask for, and stay there.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    rc::Rc,
    time::Duration,
};

use clickhouse_user_operator::{
    api::conditions::{Companion, Reason},
    domain::{names::Uid, plan::Release},
    provider::contract::ErrorClass,
};

use super::{
    pass::{EFFECTS, Outcome, Trouble},
    world::{Owner, World, access},
};

/// What people may want on the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    /// Another password.
    NewPassword,
    /// A new version of the Secret with the same password.
    SameSecret,
    /// A password that breaks the cloud's rules.
    BadPassword,
    SecretGone,
    Access,
    Revision,
    /// `updatePolicy: Recreate`, and back.
    Recreate,
    /// `adoptionPolicy: Adopt`, and back.
    Adopt,
    Suspend,
    Delete,
    Retain,
    Expire,
    ExpireLater,
    /// The deleted object is restored from a backup: with its annotation, under a new uid.
    Restore,
}

/// What goes wrong between two passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    Restart,
    /// The operator is down for so long that job records expire.
    LongOutage,
    AnnotationStripped,
    AnnotationForged,
    AnnotationCopied,
    /// An older annotation is put back.
    AnnotationReplayed,
    FinalizerStripped,
    StatusWiped,
    KeyLost,
    AccountDeleted,
    AccessChanged,
    PasswordChanged,
    /// A pass that nothing called for.
    Early,
}

#[derive(Clone, Copy, Debug)]
enum Move {
    Begin,
    Calm,
    Pass(Trouble),
    /// The pass of the other user that is due at the same time.
    Other,
    Wish(usize, Wish),
    Event(usize, Event),
    Resume,
}

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
            if world.users[user].gone || world.users[user].due.is_some() {
                continue;
            }
            let mut again = world.clone();
            again.wait(again.now + Duration::from_secs(60));
            // Where a human has to act the first look may still put it in other words.
            if again.users[user].reason != Some(Reason::AccountReady) {
                again.pass(user, Trouble::Nothing);
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

impl World {
    /// Who is next when nobody disturbs.
    fn next(&self) -> Option<usize> {
        let due = (0..self.users.len()).filter(|it| self.users[*it].due.is_some());
        due.min_by_key(|it| self.users[*it].due)
    }

    /// Another user whose pass may as well come first.
    fn next_other(&self) -> Option<usize> {
        let next = self.next()?;
        let soon = self.users[next].due.map(|it| it.max(self.now) + Duration::from_millis(500));
        (0..self.users.len()).find(|it| *it != next && self.users[*it].due.is_some() && self.users[*it].due <= soon)
    }

    /// Time goes on to whatever is due next, and that happens. `None`: it was no pass.
    pub fn calm(&mut self) -> Option<Outcome> {
        self.troubled(Trouble::Nothing)
    }

    fn troubled(&mut self, trouble: Trouble) -> Option<Outcome> {
        let user = self.next();
        let due = user.and_then(|it| self.users[it].due);
        if let Some(look) = self.look.filter(|look| due.is_none_or(|due| *look <= due)) {
            self.wait(look);
            self.drift_look();
            return None;
        }
        self.wait(due?);
        Some(self.pass(user?, trouble))
    }

    fn make(&mut self, next: Move) {
        match next {
            Move::Begin => {}
            Move::Calm => drop(self.calm()),
            Move::Pass(trouble) => drop(self.troubled(trouble)),
            Move::Other => {
                if let Some(user) = self.next_other() {
                    self.wait(self.users[user].due.unwrap_or(self.now));
                    self.pass(user, Trouble::Nothing);
                }
            }
            Move::Wish(user, wish) => self.wish(user, wish),
            Move::Event(user, event) => self.happen(user, event),
            Move::Resume => self.resume(),
        }
    }

    fn can_wish(&self, user: usize, wish: Wish) -> bool {
        let it = &self.users[user];
        let desired = &it.desired;
        match wish {
            Wish::Restore => it.gone && it.backup.is_some(),
            _ if it.gone => false,
            Wish::Retain => !desired.retain,
            Wish::Expire => desired.expires_at.is_none(),
            Wish::ExpireLater => desired.expires_at.is_some(),
            Wish::SecretGone => it.secret.is_some(),
            Wish::BadPassword => it.secret.is_some_and(|it| it.1 != 0),
            Wish::NewPassword => it.secret.is_none_or(|it| it.0 < 3),
            Wish::SameSecret => it.secret.is_some_and(|it| it.0 < 3),
            Wish::Revision => desired.password.revision.is_none(),
            Wish::Access | Wish::Recreate | Wish::Adopt | Wish::Suspend | Wish::Delete => desired.deleted_at.is_none(),
        }
    }

    fn wish(&mut self, user: usize, wish: Wish) {
        let (now, kind) = (self.now, self.kind);
        let it = &mut self.users[user];
        it.due = Some(now);
        let other = super::world::wanted(kind, u8::from(it.desired.access == super::world::wanted(kind, 0)));
        match wish {
            Wish::NewPassword => self.change_secret(user),
            Wish::SameSecret => it.secret = it.secret.map(|(version, password)| (version + 1, password)),
            Wish::BadPassword => it.secret = it.secret.map(|(version, _)| (version + 1, 0)),
            Wish::SecretGone => it.secret = None,
            Wish::Access => it.wish(|it| it.access = other),
            Wish::Revision => it.wish(|it| it.password.revision = Some("2".to_owned())),
            Wish::Recreate => it.wish(|it| it.recreate = !it.recreate),
            Wish::Adopt => it.wish(|it| it.adopt = !it.adopt),
            Wish::Suspend => it.wish(|it| it.suspend = !it.suspend),
            Wish::Retain => it.wish(|it| it.retain = true),
            Wish::Expire => it.wish(|it| it.expires_at = Some(now)),
            Wish::ExpireLater => it.wish(|it| it.expires_at = None),
            Wish::Delete => {
                it.wish(|it| it.deleted_at = Some(now));
                it.gone = !it.finalizer;
            }
            Wish::Restore => {
                it.wish(|it| {
                    it.uid = Uid::new(format!("{}r", it.uid));
                    (it.deleted_at, it.retain, it.created_at) = (None, false, now);
                });
                (it.gone, it.finalizer, it.annotation, it.released) = (false, true, it.backup.clone(), None);
            }
        }
        self.wake_rivals();
        if self.users[user].gone {
            self.users[user].due = None;
        }
    }

    fn can_happen(&self, user: usize, event: Event) -> bool {
        let it = &self.users[user];
        let account = self.account(&it.desired.username);
        let ours = account.is_some_and(|account| account.owner == Owner::Object(it.uid().clone()));
        match event {
            Event::Restart | Event::LongOutage => user == 0,
            Event::KeyLost => user == 0 && self.stopped.is_none(),
            _ if it.gone => false,
            Event::AnnotationStripped => it.annotation.is_some(),
            Event::AnnotationForged => it.annotation.as_ref().is_some_and(|it| !it.forged),
            // With both proofs gone an old one that is put back is all there is.
            Event::AnnotationReplayed => it.backup.is_some() && it.status.is_some(),
            Event::AnnotationCopied => self.users.len() > 1 && self.users[1 - user].annotation.is_some(),
            Event::FinalizerStripped => it.finalizer,
            Event::StatusWiped => {
                let replayed = it.annotation.iter().zip(&it.backup).any(|(now, before)| Rc::ptr_eq(now, before));
                it.status.is_some() && !replayed
            }
            Event::AccountDeleted | Event::AccessChanged | Event::PasswordChanged => ours && !self.tampered,
            Event::Early => it.due.is_some_and(|due| self.now < due),
        }
    }

    fn happen(&mut self, user: usize, event: Event) {
        let now = self.now;
        let name = self.users[user].desired.username.clone();
        let account = self.account(&name).cloned();
        let it = &mut self.users[user];
        match event {
            Event::Restart => return self.restart(Duration::from_secs(2)),
            Event::LongOutage => {
                self.evidence_lost |= !self.can_list();
                return self.restart(Duration::from_secs(7200));
            }
            Event::Early => {
                self.wait(now + Duration::from_millis(10));
                drop(self.pass(user, Trouble::Nothing));
                return;
            }
            Event::AnnotationStripped => it.annotation = None,
            Event::AnnotationForged => {
                let annotation = it.annotation.as_mut().expect("an annotation");
                Rc::make_mut(annotation).forged = true;
            }
            Event::AnnotationCopied => {
                let copy = self.users[1 - user].annotation.clone();
                self.users[user].annotation = copy;
            }
            Event::AnnotationReplayed => it.annotation = it.backup.clone(),
            Event::FinalizerStripped => {
                it.finalizer = false;
                it.cut_loose = true;
                it.gone = it.desired.deleted_at.is_some();
            }
            Event::StatusWiped => it.status = None,
            Event::KeyLost => {
                self.key += 1;
                self.forget_unproven();
                return self.restart(Duration::from_secs(2));
            }
            Event::AccountDeleted => {
                self.put_account(&name, now, None);
                self.tampered = true;
            }
            Event::AccessChanged => {
                let account = account.map(|it| super::world::Account {
                    access: access(self.kind, &super::world::wanted(self.kind, 7)),
                    ..it
                });
                self.put_account(&name, now, account);
                self.tampered = true;
            }
            Event::PasswordChanged => {
                let account = account.map(|it| super::world::Account { password: 9, ..it });
                self.put_account(&name, now, account);
                self.password_tampered = true;
            }
        }
        if self.tampered {
            self.look = Some(now + Duration::from_secs(30));
        }
        let proof = matches!(event, Event::AnnotationStripped | Event::AnnotationForged | Event::AnnotationCopied);
        if proof || matches!(event, Event::StatusWiped | Event::AnnotationReplayed) {
            self.forget_unproven();
        }
        let it = &mut self.users[user];
        it.version += 1;
        it.due = (!it.gone).then_some(now);
        self.wake_rivals();
    }

    fn reasons(&self) -> Vec<Option<Reason>> {
        self.users.iter().map(|it| it.reason).collect()
    }

    /// Whether nothing is left to do; `Err`: it has ended, and not as the manifests ask.
    fn at_end(&self) -> Option<Result<(), String>> {
        if self.look.is_some() {
            return None;
        }
        let mut wrong = Ok(());
        for user in 0..self.users.len() {
            let it = &self.users[user];
            match (self.as_wished(user), it.due) {
                (Ok(()), None) => {}
                // It is looked at again and again, and that is right.
                (Ok(()), Some(_)) if it.reason.is_some_and(held) => {}
                (_, Some(_)) => return None,
                (Err(what), None) => wrong = Err(format!("ESR: user {user} ends with {what}")),
            }
        }
        Some(wrong)
    }

    pub fn as_wished(&self, user: usize) -> Result<(), String> {
        let it = &self.users[user];
        let desired = &it.desired;
        let account = self.account(&desired.username);
        let ours = account.filter(|account| account.owner == Owner::Object(it.uid().clone()));
        let unseen = self.tampered && !self.can_list();
        if it.gone {
            let told = matches!(it.released, Some(Release::Retained | Release::Orphaned(_))) || it.cut_loose;
            return if ours.is_none() || told { Ok(()) } else { Err("an account that nobody knows of".to_owned()) };
        }
        let Some(reason) = it.reason else { return Err("no word".to_owned()) };
        let wrong = || Err(format!("{reason:?}"));
        let right = match reason {
            Reason::AccountReady => {
                let secret = it.secret.filter(|it| it.1 != 0);
                let Some(account) = ours else { return if unseen { Ok(()) } else { wrong() } };
                let password = secret.is_none_or(|it| it.1 == account.password)
                    || self.password_tampered
                    || it.secret.is_none_or(|it| it.1 == 0);
                let same = account.access == access(self.kind, &desired.access) || self.logins || unseen;
                if !same {
                    return Err("another access than the manifest's".to_owned());
                }
                if !password {
                    return Err("another password than the Secret's".to_owned());
                }
                desired.deleted_at.is_none()
            }
            Reason::AccountExists => {
                let theirs = account.is_some_and(|account| account.owner == Owner::Foreign)
                    || account.is_some_and(|account| matches!(&account.owner, Owner::Object(uid) if uid != it.uid()));
                theirs && !desired.adopt
            }
            // Where the journal was lost on the way, an account of ours may be in the way of its own creation.
            Reason::JobFailed => {
                let taken = account.is_some() && (ours.is_none() || self.evidence_lost);
                // Nor can a deletion whose job was forgotten tell that it has nothing left to delete.
                let forgotten = desired.deleted_at.is_some() && self.evidence_lost;
                !self.can_list() && (taken || forgotten || unseen)
            }
            Reason::OutcomeStaysUnknown => !self.can_list() && self.evidence_lost,
            Reason::ChangeNotSupported => !self.can_list() && !desired.recreate,
            Reason::AccountConflict => self.rival(user).is_some(),
            Reason::WaitingForSecret => it.secret.is_none() && desired.deleted_at.is_none(),
            Reason::InvalidPassword => it.secret.is_some_and(|it| it.1 == 0),
            Reason::Suspended => desired.suspend,
            Reason::Expired => desired.expires_at.is_some() && ours.is_none() && !it.finalizer,
            _ => false,
        };
        if right { Ok(()) } else { wrong() }
    }
}

/// Reasons that stay until a human acts, however often the operator looks.
fn held(reason: Reason) -> bool {
    reason.companion() == Some(Companion::Stalled)
}

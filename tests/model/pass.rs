//! One pass in the small world, as the controller makes it: plan, act, look again, report; and what may go wrong on the
//! way.

use std::{rc::Rc, time::Duration};

use clickhouse_user_operator::{
    domain::{
        names::AttemptId,
        plan::{Moment, Recheck, Release, Step, Verdict, plan},
        report::report,
        seen::{InstanceSeen, LoginSeen, Record, Seen},
    },
    provider::contract::{CallKind, CloudError, Delay, ErrorClass, JobState, Turn},
};
use jiff::Timestamp;

use super::{
    cloud::{LATE, Owner, Work},
    instance::Lost,
    world::{Annotation, Pass, Process, SETTINGS, Stopped, World},
};

/// Steps of one pass, as the controller counts them.
const MOST_STEPS: usize = 16;

/// What goes wrong in a pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    Nothing,
    /// The process dies before this step, and its successor starts.
    Crash(usize),
    /// The process stops before this step for longer than its lease; another one takes over.
    Stop(usize),
    /// The Secret gets another password before this step.
    SecretChanges(usize),
    /// The changing call is refused for certain.
    Refused(ErrorClass),
    /// The answer to the changing call is lost; it takes effect at once, late, or never.
    AnswerLost(Option<Duration>),
    /// The job of the changing call fails without effect.
    JobFails,
    /// Reads of the cloud fail.
    ReadsFail(ErrorClass),
    /// ClickHouse does not answer.
    LoginUnreachable,
    /// As many logins as may be are under way.
    LoginBusy,
}

/// What a pass did, for whoever enumerates what could have gone wrong in it.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    pub steps: Vec<&'static str>,
    /// Steps before which a crash makes a difference: those that follow an effect.
    pub after_effects: Vec<usize>,
    pub calls: usize,
    pub reads: usize,
    pub writes: usize,
}

enum End {
    Next(Option<Timestamp>),
    Failed(Timestamp),
    Gone,
}

impl World {
    /// Runs the pass of this user now.
    pub fn pass(&mut self, user: usize, trouble: Trouble) -> Outcome {
        let mut outcome = Outcome::default();
        let pass = self.begin(user);
        self.go_on(pass, None, trouble, &mut outcome);
        self.wake_rivals();
        outcome
    }

    /// The process that stopped wakes up. It has lost its lease, so it makes no call; what it was about to write it
    /// may still write.
    pub fn resume(&mut self) {
        let Some(stopped) = self.stopped.take() else { return };
        let Stopped { pass, step, process } = Rc::unwrap_or_clone(stopped);
        let (user, due, reason) = (pass.user, self.users[pass.user].due, self.users[pass.user].reason);
        let own = std::mem::replace(&mut self.process, process);
        self.go_on(pass, Some(step), Trouble::Nothing, &mut Outcome::default());
        self.process = own;
        // Its writes are changes like anybody's: the leader's watch brings them.
        (self.users[user].due, self.users[user].reason) = (due, reason);
        if !self.users[user].gone {
            self.users[user].due = Some(self.now);
        }
        self.wake_rivals();
    }

    fn begin(&self, user: usize) -> Pass {
        let it = &self.users[user];
        let record = Record::of(it.status.as_deref(), it.uid());
        let seen = Seen {
            finalizer: it.finalizer,
            intent: self.intent(user).filter(|intent| record.is_not_newer_than(intent)).cloned(),
            record,
            instance: InstanceSeen::Present(self.instance()),
            login_tried: self.process.login_tried[user],
            secret: self.secret_seen(user),
            listed: self.process.list.clone().map(|(asked_at, list)| self.in_list(user, asked_at, &list)),
            rival: self.rival(user).map(|_| "Another object holds the account.".to_owned()),
            ..Seen::default()
        };
        Pass {
            user,
            desired: it.desired.clone(),
            status: it.status.clone(),
            version: it.version,
            seen,
            password: None,
            began: self.now,
            attempt: AttemptId::new(self.unused('t')),
        }
    }

    fn go_on(&mut self, mut pass: Pass, first: Option<Step>, trouble: Trouble, outcome: &mut Outcome) {
        let user = pass.user;
        let stale = first.is_some();
        let mut first = first;
        let moment = Moment {
            now: pass.began,
            started_at: self.process.started_at,
            attempt: pass.attempt.clone(),
            jitter: 0.5,
            failures: self.process.failures[user],
            refused: self.process.refused[user].clone(),
            waiting_since: None,
            changeable_from: None,
            key_id: self.key_id(),
            settings: &SETTINGS,
        };
        let end = loop {
            let taken = outcome.steps.len();
            if taken == MOST_STEPS {
                self.violate(format!("the pass goes round in circles: {:?}", outcome.steps));
                return;
            }
            let step = first.take().unwrap_or_else(|| plan(&pass.desired, &pass.seen, &moment));
            match trouble {
                Trouble::Crash(before) if before == taken => return self.restart(Duration::from_secs(2)),
                Trouble::Stop(before) if before == taken => {
                    self.note(|_| format!("user {user} stops before {}", step.name()));
                    let process = self.process.clone();
                    self.stopped = Some(Rc::new(Stopped { pass, step, process }));
                    return self.restart(Duration::from_secs(2));
                }
                Trouble::SecretChanges(before) if before == taken => self.change_secret(user),
                _ => {}
            }
            outcome.steps.push(step.name());
            let wrote = outcome.writes + outcome.calls;
            let ended = match step {
                Step::Call(_) if stale => Some(End::Next(None)),
                Step::Settle(verdict) => Some(self.settle(&mut pass, &verdict, &moment, outcome)),
                Step::Gone => Some(End::Gone),
                step => self.perform(step, &mut pass, trouble, outcome),
            };
            if wrote < outcome.writes + outcome.calls {
                outcome.after_effects.push(outcome.steps.len());
            }
            if let Some(end) = ended {
                break end;
            }
        };
        self.note(|it| {
            let user = &it.users[user];
            let said = user.status.as_ref().and_then(|it| it.operation.as_ref());
            let said = said.map(|it| format!("{:?} {:?} {:?} {}", it.kind, it.phase, it.state, it.id));
            let applied = user.status.as_ref().is_some_and(|it| it.applied.is_some());
            format!("user {} {:?}: {:?}, applied {applied}, operation {said:?}", pass.user, outcome.steps, user.reason)
        });
        let it = &mut self.users[user];
        match end {
            End::Next(at) => {
                it.due = at;
                self.process.failures[user] = 0;
            }
            End::Failed(at) => {
                it.due = Some(at);
                self.process.failures[user] += 1;
            }
            End::Gone => (it.due, it.reason) = (None, None),
        }
        if matches!(trouble, Trouble::SecretChanges(_)) && !self.users[user].gone {
            self.users[user].due = Some(self.now);
        }
    }

    fn perform(&mut self, step: Step, pass: &mut Pass, trouble: Trouble, outcome: &mut Outcome) -> Option<End> {
        let down = match trouble {
            Trouble::ReadsFail(class) => Some(CloudError::new(class, "no")),
            _ => self.not_found(),
        };
        let down = down.map(Delay::Failed);
        match step {
            Step::ReadPassword => self.read_password(pass),
            Step::ReadAccount(_) | Step::ReadJob(_) | Step::FindJob(_) if down.is_some() => {
                outcome.reads += 1;
                let down = down.expect("a failure");
                (pass.seen.account, pass.seen.job) = (Some(Err(down.clone())), Some(Err(down)));
            }
            Step::ReadAccount(asked_from) => {
                outcome.reads += 1;
                pass.seen.account = Some(self.list(pass.user, asked_from));
            }
            Step::ReadJob(id) => {
                outcome.reads += 1;
                pass.seen.job = Some(Ok(self.job(|work| work.job == id)));
            }
            Step::FindJob(lost) => {
                outcome.reads += 1;
                pass.seen.job = Some(Ok(self.job(|work| work.attempt == lost.attempt && work.kind == lost.kind)));
            }
            Step::Login => {
                let seen = match trouble {
                    Trouble::LoginBusy => LoginSeen::Busy,
                    Trouble::LoginUnreachable => LoginSeen::Unreachable("No answer.".to_owned()),
                    _ => self.log_in(pass),
                };
                if seen != LoginSeen::Busy {
                    self.process.login_tried[pass.user] = Some(self.now);
                }
                pass.seen.login = Some(seen);
            }
            Step::TakeTurn(_) => pass.seen.turn = Some(Turn::Ours),
            Step::HoldInstance => self.violate("the instance is held"),
            Step::WriteIntent(intent) => {
                if !self.write(pass, outcome) {
                    return Some(End::Next(Some(self.now + Duration::from_millis(250))));
                }
                let key = self.key;
                let it = &mut self.users[pass.user];
                let annotation = Rc::new(Annotation { intent: (*intent).clone(), key, forged: false });
                let before = it.annotation.replace(annotation);
                if it.backup.is_none() {
                    it.backup = before;
                }
                it.finalizer = true;
                (pass.seen.finalizer, pass.seen.intent) = (true, Some(*intent));
            }
            Step::RestoreFinalizer => {
                if !self.write(pass, outcome) {
                    return Some(End::Next(Some(self.now + Duration::from_millis(250))));
                }
                (self.users[pass.user].finalizer, pass.seen.finalizer) = (true, true);
            }
            Step::Call(kind) => self.call(kind, pass, trouble, outcome),
            Step::Release(release) => {
                if !self.write(pass, outcome) {
                    return Some(End::Next(Some(self.now + Duration::from_millis(250))));
                }
                self.release(pass, release);
            }
            Step::ReadConnectionSecret { .. }
            | Step::WriteConnectionSecret { .. }
            | Step::RemoveConnectionSecret(_) => {
                self.violate("no connection Secret is asked for");
            }
            Step::Settle(_) | Step::Gone => {}
        }
        None
    }

    /// A write that holds only for the version the pass knows.
    fn write(&mut self, pass: &mut Pass, outcome: &mut Outcome) -> bool {
        let it = &mut self.users[pass.user];
        if it.gone || it.version != pass.version {
            return false;
        }
        it.version += 1;
        pass.version = it.version;
        outcome.writes += 1;
        true
    }

    fn release(&mut self, pass: &mut Pass, release: Release) {
        let owner = Owner::Object(pass.desired.uid.clone());
        let there = self.account(&pass.desired.username).is_some_and(|it| it.owner == owner);
        let coming = |it: &Work| it.state == JobState::Running && it.owner == owner && it.kind == CallKind::Create;
        let coming = self.work.iter().any(coming);
        if release == Release::NothingLeft && (there || coming) {
            self.violate("I10: an account is left behind without a word");
        }
        let it = &mut self.users[pass.user];
        it.finalizer = false;
        it.annotation = None;
        (pass.seen.finalizer, pass.seen.released) = (false, true);
        pass.seen.intent = None;
        if it.desired.deleted_at.is_some() {
            it.gone = true;
            it.released = Some(release);
        }
    }

    fn settle(&mut self, pass: &mut Pass, verdict: &Verdict, moment: &Moment<'_>, outcome: &mut Outcome) -> End {
        let written = report(pass.status.as_deref(), &pass.desired, &pass.seen, verdict, moment, self.now);
        let same_object = !self.users[pass.user].gone && *self.users[pass.user].uid() == pass.desired.uid;
        // A status that somebody else wrote meanwhile is not overwritten.
        if !same_object {
            return End::Gone;
        }
        if self.users[pass.user].status != pass.status {
            return End::Next(Some(self.now + Duration::from_millis(250)));
        }
        self.confirmed(pass, verdict);
        if let Some(status) = written.status {
            let before = self.users[pass.user].status.clone();
            let observed = before.filter(|it| it.uid.as_ref() == Some(&pass.desired.uid));
            if observed.is_some_and(|it| it.observed_generation > status.observed_generation) {
                self.violate("I9: observedGeneration falls");
            }
            let it = &mut self.users[pass.user];
            it.status = Some(Rc::new(status));
            it.version += 1;
            outcome.writes += 1;
        }
        self.adopted(pass);
        self.ready(pass, verdict);
        self.users[pass.user].reason = Some(verdict.reason);
        match verdict.recheck {
            Recheck::OnChange => End::Next(None),
            Recheck::At(at) => End::Next(Some(at)),
            Recheck::Retry { at } => End::Failed(at),
        }
    }

    /// The process is gone with all it remembered; its successor looks at everything.
    pub fn restart(&mut self, after: Duration) {
        self.process = Process::new(self.now, self.users.len());
        self.wait(self.now + after);
        self.process = Process::new(self.now, self.users.len());
        if let Some(lost) = self.lost {
            // Since when an instance was not found a process remembers, and no more.
            self.lost = Some(Lost { seen_since: None, ..lost });
            self.look = self.look_at_lost();
        }
        for user in self.users.iter_mut().filter(|it| !it.gone) {
            user.due = Some(self.now);
        }
        // The instance is read before its users.
        self.read_instance();
    }

    /// The instance is listed, and all its users see the list.
    pub fn drift_look(&mut self) {
        let lost = self.look_at_lost();
        let missed = (0..self.users.len()).any(|it| self.as_wished(it).is_err());
        self.look = (missed && self.tampered && self.can_list()).then(|| self.now + Duration::from_secs(600));
        self.look = lost.or(self.look.filter(|_| self.lost.is_none()));
        self.read_instance();
        for user in self.users.iter_mut().filter(|it| !it.gone) {
            user.due = Some(self.now);
        }
    }

    fn read_instance(&mut self) {
        if self.can_list() && self.lost.is_none() {
            self.process.list = Some((self.now, self.listing()));
        }
    }

    /// Another version of the Secret, with another legal password.
    pub fn change_secret(&mut self, user: usize) {
        let it = &mut self.users[user];
        let (version, password) = it.secret.unwrap_or((1, 1));
        it.secret = Some((version + 1, password % 3 + 1));
        it.due = Some(self.now);
    }
}

/// A late effect and an immediate one.
pub const EFFECTS: [Option<Duration>; 3] = [None, Some(Duration::ZERO), Some(LATE)];

//! One pass in the small world, as the controller makes it: plan, act, look again, report; and what may go wrong on the
//! way. What must hold at each step is checked here.

use std::{rc::Rc, time::Duration};

use clickhouse_user_operator::{
    api::{
        conditions::Reason,
        user::{OperationKind, OperationState},
    },
    domain::{
        journal::{Intent, SecretVersion},
        names::{AttemptId, JobId, Uid, Username},
        plan::{AccountChange, Moment, Recheck, Release, Step, Verdict, plan},
        report::report,
        seen::{CallSeen, InstanceFacts, InstanceSeen, LoginSeen, PasswordSeen, Record, SecretSeen, Seen},
    },
    provider::contract::{
        Accepted, Access, Account as ListedAccount, AccountSeen, CallError, CallKind, CloudError, Delay, ErrorClass,
        Job, JobSeen, JobState, Refusal, Turn,
    },
};
use jiff::Timestamp;

use super::world::{
    Account, Annotation, JOB_TAKES, LATE, Owner, Pass, Process, SETTINGS, Stopped, Work, World, access,
};

/// Steps of one pass, as the controller counts them.
const MOST_STEPS: usize = 16;

/// A list is shared for so long.
const SHARED_FOR: Duration = Duration::from_secs(5);

/// Changes of our own are laid over lists that were asked so long after them.
const LAID_OVER: Duration = Duration::from_secs(15);

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
        let before = (pass.seen.finalizer, self.users[user].gone);
        self.go_on(pass, None, trouble, &mut outcome);
        if before != (self.users[user].finalizer, self.users[user].gone) {
            self.wake_rivals();
        }
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
            instance: InstanceSeen::Present(InstanceFacts {
                key: super::world::instance_key(),
                provider: self.kind,
                state: Some((Reason::Reachable, "Reachable.".to_owned())),
                held: true,
                terminating: false,
                connected: true,
                gone: false,
                not_allowed: None,
                connection: None,
                login_check: self.logins.then_some(Duration::from_secs(600)),
            }),
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
            Trouble::ReadsFail(class) => Some(Delay::Failed(CloudError::new(class, "no"))),
            _ => None,
        };
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
                let account = self.account(&pass.desired.username);
                let let_in = account.is_some_and(|it| Some(it.password) == pass.password);
                pass.seen.login = Some(if let_in { LoginSeen::Accepted } else { LoginSeen::Refused });
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

    fn secret_seen(&self, user: usize) -> SecretSeen {
        self.users[user].secret.map_or(SecretSeen::Missing, |(version, _)| SecretSeen::Present {
            uid: Uid::new("secret"),
            resource_version: version.to_string(),
        })
    }

    fn read_password(&self, pass: &mut Pass) {
        let Some((version, password)) = self.users[pass.user].secret else {
            pass.seen.password = Some(PasswordSeen::Missing("the Secret".to_owned()));
            return;
        };
        let version = SecretVersion {
            name: pass.desired.password.secret.clone(),
            uid: Uid::new("secret"),
            resource_version: version.to_string(),
            revision: pass.desired.password.revision.clone(),
        };
        let fingerprint = self.fingerprint(&pass.desired.username, password);
        pass.password = (password != 0).then_some(password);
        pass.seen.password = Some(if password == 0 {
            PasswordSeen::Refused(version, fingerprint, Refusal::InvalidPassword("Too short.".to_owned()))
        } else {
            PasswordSeen::Usable(version, fingerprint)
        });
    }

    fn in_list(&self, user: usize, asked_at: Timestamp, list: &[(Username, Access)]) -> AccountSeen {
        let name = &self.users[user].desired.username;
        let listed = list.iter().find(|it| it.0 == *name).map(|it| it.1.clone());
        let changed = |it: &&(Timestamp, Username, Option<Access>)| it.1 == *name && it.0 + LAID_OVER >= asked_at;
        let own = self.process.own_changes.iter().rev().find(changed);
        let access = own.map_or(listed, |it| it.2.clone());
        let account = access.map(|access| ListedAccount { username: name.clone(), access, built_in: false });
        AccountSeen { asked_at, account }
    }

    fn list(&mut self, user: usize, asked_from: Timestamp) -> Result<AccountSeen, Delay> {
        if !self.can_list() {
            return Ok(AccountSeen { asked_at: self.now, account: None });
        }
        match &self.process.list {
            Some(list) if list.0 >= asked_from => {}
            Some((asked_at, _)) if self.now < *asked_at + SHARED_FOR => {
                return Err(Delay::NotBefore(*asked_at + SHARED_FOR));
            }
            _ => self.process.list = Some((self.now, self.listing())),
        }
        let (asked_at, list) = self.process.list.clone().expect("a list");
        Ok(self.in_list(user, asked_at, &list))
    }

    fn job(&self, is_it: impl Fn(&Work) -> bool) -> JobSeen {
        let found = self.work.iter().rev().find(|work| is_it(work));
        found.map_or(JobSeen::NotFound, |work| JobSeen::Found(Job { id: work.job.clone(), state: work.state.clone() }))
    }

    fn call(&mut self, kind: CallKind, pass: &mut Pass, trouble: Trouble, outcome: &mut Outcome) {
        outcome.calls += 1;
        let Some(durable) = self.intent(pass.user).cloned() else {
            return self.violate("a changing call without a durable intent");
        };
        if Some(&durable) != pass.seen.intent.as_ref() || outcome.calls > 1 || !self.users[pass.user].finalizer {
            return self.violate("a changing call that was not announced, or a second one in a pass");
        }
        if self.users[pass.user].version != pass.version {
            return self.violate("I11: a call decided on a version that is past");
        }
        let with_password = matches!(kind, CallKind::Create | CallKind::SetPassword);
        let announced = pass.password.map(|it| self.fingerprint(&pass.desired.username, it));
        if with_password && (announced.is_none() || announced != durable.fingerprint) {
            return self.violate("I4: the password that is sent is not the one announced");
        }
        self.may_be_made(kind, pass);
        self.process.refused[pass.user] = None;
        let result = self.answered(kind, pass, &durable, trouble);
        self.note(|_| format!("user {} calls {kind:?} as {}: {result:?}", pass.user, durable.attempt));
        if matches!(result, Err(CallError::NotApplied(_))) {
            self.process.refused[pass.user] = Some(durable.attempt.clone());
        }
        pass.seen.call = Some(CallSeen { kind, outcome: result });
    }

    /// What must be true of the wish behind a call, and what it must not repeat.
    fn may_be_made(&mut self, kind: CallKind, pass: &Pass) {
        let desired = &pass.desired;
        let intent = pass.seen.intent.as_ref().expect("an intent");
        let owner = Owner::Object(desired.uid.clone());
        let account = self.account(&desired.username).cloned();
        let ours = account.as_ref().is_some_and(|it| it.owner == owner);
        let leaving = desired.deleted_at.is_some() && !desired.retain;
        let expired = desired.expires_at.is_some_and(|at| at <= pass.began);
        let wished = match kind {
            CallKind::Delete => leaving || expired || intent.kind == OperationKind::Recreate && desired.recreate,
            _ => desired.deleted_at.is_none() && !expired,
        };
        if !wished || desired.suspend && desired.deleted_at.is_none() {
            self.violate(format!("I1: a {kind:?} that nobody wishes"));
        }
        // Whoever does not believe the cloud to have lost it must not make it a second time.
        let known = intent.kind == OperationKind::Create && ours && !self.tampered && !self.evidence_lost;
        if kind == CallKind::Create && known {
            self.violate("I3: a second creation of an account that is there");
        }
        let unfinished = |it: &&Work| it.state == JobState::Running && it.owner == owner;
        if !self.can_list() && self.work.iter().any(|it| unfinished(&it)) {
            let hidden = self.work.iter().find(unfinished).expect("a job").attempt.clone();
            // The cloud would refuse; that it is asked at all means that a job of ours was forgotten.
            if !self.evidence_lost {
                self.violate(format!("I3: a second job beside {hidden}"));
            }
        }
    }

    fn answered(
        &mut self,
        kind: CallKind,
        pass: &Pass,
        intent: &Intent,
        trouble: Trouble,
    ) -> Result<Accepted, CallError> {
        let refuse = |class| Err(CallError::NotApplied(CloudError::new(class, "refused")));
        let jobs = self.kind.rules().capabilities().jobs;
        let busy = jobs && self.work.iter().any(|it| it.state == JobState::Running);
        if let Trouble::Refused(class) = trouble {
            return refuse(class);
        }
        let desired = &pass.desired;
        let mut work = Work {
            kind,
            name: intent.username.clone(),
            attempt: intent.attempt.clone(),
            owner: Owner::Object(desired.uid.clone()),
            password: pass.password.unwrap_or(0),
            access: intent.access.clone(),
            due: self.now,
            job: JobId::new(self.unused('j')),
            state: JobState::Running,
            fails: trouble == Trouble::JobFails,
            any_owner: intent.adopting
                && match kind {
                    CallKind::Delete => desired.adopt && desired.recreate,
                    _ => desired.adopt,
                },
        };
        if jobs {
            work.due += JOB_TAKES;
        }
        if let Trouble::AnswerLost(effect) = trouble {
            if let Some(late) = effect.filter(|_| !busy) {
                work.due += late;
                self.work.push(work);
                self.let_work_happen();
            }
            return Err(CallError::Unknown(CloudError::new(ErrorClass::Unavailable, "no answer")));
        }
        if busy {
            return refuse(ErrorClass::InstanceBusy);
        }
        if jobs {
            let job = work.job.clone();
            self.work.push(work);
            return Ok(Accepted::Job(job));
        }
        let there = self.account(&work.name).is_some();
        match (there, kind) {
            (true, CallKind::Create) | (false, CallKind::Delete) if self.vague => return refuse(ErrorClass::Rejected),
            (true, CallKind::Create) => return refuse(ErrorClass::AccountExists),
            (false, CallKind::Delete | CallKind::SetPassword | CallKind::SetAccess) => {
                return refuse(ErrorClass::AccountNotFound);
            }
            _ => {}
        }
        let name = work.name.clone();
        self.work.push(work);
        self.let_work_happen();
        let access = self.account(&name).map(|it| it.access.clone());
        self.process.own_changes.retain(|it| it.1 != name);
        self.process.own_changes.push((self.now, name, access));
        Ok(Accepted::Done)
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

    /// An adoption makes the account ours once its success is on record.
    fn adopted(&mut self, pass: &Pass) {
        let it = &self.users[pass.user];
        let adopting = self.intent(pass.user).filter(|it| it.adopting && it.kind == OperationKind::SetPassword);
        let operation = it.status.as_ref().and_then(|it| it.operation.as_ref());
        let on_record = operation.is_some_and(|operation| {
            operation.state == OperationState::Succeeded
                && adopting.is_some_and(|intent| intent.attempt == operation.id)
        });
        let name = pass.desired.username.clone();
        if let Some(account) = self.account(&name).cloned().filter(|it| on_record && it.owner == Owner::Foreign) {
            let owner = Owner::Object(pass.desired.uid.clone());
            self.put_account(&name, self.now, Some(Account { owner, ..account }));
        }
    }

    /// Whoever says that the account is ours must be right.
    fn confirmed(&mut self, pass: &Pass, verdict: &Verdict) {
        let AccountChange::Confirmed(..) = &verdict.account else { return };
        let (name, owner) = (&pass.desired.username, Owner::Object(pass.desired.uid.clone()));
        let heard = pass.seen.call.as_ref().is_some_and(|it| it.outcome == Ok(Accepted::Done));
        if pass.seen.login == Some(LoginSeen::Accepted) && pass.desired.adopt || heard {
            let taken = self.account(name).cloned().map(|it| Account { owner: owner.clone(), ..it });
            self.put_account(&name.clone(), self.now, taken);
        }
        let ours = self.account(name).is_some_and(|it| it.owner == owner);
        if !ours && !self.tampered {
            self.violate("I2: an account is claimed that is not ours");
        }
    }

    /// Whoever says Ready must be right about account, access and password.
    fn ready(&mut self, pass: &Pass, verdict: &Verdict) {
        let edited = self.users[pass.user].desired.generation != pass.desired.generation;
        if verdict.reason != Reason::AccountReady || verdict.recheck != Recheck::OnChange || self.tampered || edited {
            return;
        }
        let name = &pass.desired.username;
        let Some(account) = self.account(name).cloned() else {
            return self.violate("I4: Ready without an account");
        };
        if account.owner != Owner::Object(pass.desired.uid.clone()) {
            self.violate("I2: Ready with somebody else's account");
        }
        // A login says nothing of access.
        if account.access != access(self.kind, &pass.desired.access) && !self.logins {
            self.violate("I4: Ready with another access");
        }
        let status = self.users[pass.user].status.clone();
        let Some(password) = status.as_ref().and_then(|it| it.password.as_ref()) else {
            // Nothing to send, and nothing known to be wrong.
            if self.users[pass.user].secret.is_none() {
                return;
            }
            return self.violate("I4: Ready without a password on record");
        };
        let in_force = self.fingerprint(name, account.password);
        if password.key_id == self.key_id() && password.fingerprint != in_force && !self.password_tampered {
            self.violate("I4: Ready for a password that the account does not have");
        }
    }

    /// The process is gone with all it remembered; its successor looks at everything.
    pub fn restart(&mut self, after: Duration) {
        self.process = Process::new(self.now, self.users.len());
        self.wait(self.now + after);
        self.process = Process::new(self.now, self.users.len());
        for user in self.users.iter_mut().filter(|it| !it.gone) {
            user.due = Some(self.now);
        }
        // The instance is read before its users.
        self.read_instance();
    }

    /// The instance is listed, and all its users see the list.
    pub fn drift_look(&mut self) {
        let missed = (0..self.users.len()).any(|it| self.as_wished(it).is_err());
        self.look = (missed && self.tampered && self.can_list()).then(|| self.now + Duration::from_secs(600));
        self.read_instance();
        for user in self.users.iter_mut().filter(|it| !it.gone) {
            user.due = Some(self.now);
        }
    }

    fn read_instance(&mut self) {
        if self.can_list() {
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

//! A small world for whole lives of one user: an API server, a cloud of either kind, and a schedule of troubles.
//!
//! It checks on the way what must hold at every step, and leaves to the test what must hold in the end.

use std::time::Duration;

use super::{super::*, fixture::*};
use crate::{
    api::user::{ClickHouseUserStatus, OperationKind},
    domain::{
        names::Uid,
        report::report,
        seen::{CallSeen, Record},
    },
    provider::contract::{Accepted, AccountSeen, CallError, Job, JobSeen, JobState, ProviderKind, Turn},
};

/// Steps of one pass.
const MOST_STEPS: usize = 16;

/// A list is not asked for again before it is this old.
const SHARED_FOR: Duration = Duration::from_secs(5);

/// What goes wrong in one pass.
#[derive(Clone, Copy, Debug)]
pub enum Trouble {
    Nothing,
    /// The process dies before this step.
    Crash(usize),
    /// The status is not written, and the process goes on.
    StatusLost,
    /// The changing call is refused for certain.
    Refused(ErrorClass),
    /// The answer to the changing call is lost; it takes effect that many seconds later, or never.
    AnswerLost(Option<u8>),
    /// The job of the changing call fails without effect.
    JobFails,
    /// Reads of the cloud fail.
    ReadsFail,
    /// It is not our turn.
    NoTurn,
}

/// Whose account it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    Ours,
    SomebodyElse,
}

/// A change that the cloud has taken on.
struct Work {
    kind: CallKind,
    attempt: AttemptId,
    due: Timestamp,
    /// On clouds with jobs: seen as this.
    job: JobId,
    state: JobState,
    fails: bool,
}

pub struct World {
    kind: ProviderKind,
    pub now: Timestamp,
    // API server
    desired: Desired,
    finalizer: bool,
    annotation: Option<Intent>,
    status: Option<ClickHouseUserStatus>,
    pub gone: bool,
    // cloud
    accounts: Vec<(Timestamp, Option<Owner>)>,
    work: Vec<Work>,
    vague: bool,
    list_lag: Duration,
    job_takes: Duration,
    // process
    started_at: Timestamp,
    failures: u32,
    refused: Option<AttemptId>,
    passes: usize,
    last_list: Option<(Timestamp, bool)>,
    own_change: Option<(Timestamp, bool)>,
    // what the test asks about
    pub creates: usize,
    pub calls: usize,
    pub writes: usize,
    pub released: Option<Release>,
    pub verdict: Option<Verdict>,
}

impl World {
    /// `vague`: the cloud does not say clearly that an account is there, or is not. Somebody else's account came at
    /// second `foreign_since`.
    pub fn new(kind: ProviderKind, vague: bool, list_lag: u8, job_takes: u8, foreign_since: Option<i64>) -> Self {
        Self {
            kind,
            now: at(100),
            desired: desired(kind),
            finalizer: false,
            annotation: None,
            status: None,
            gone: false,
            accounts: foreign_since.map(|since| (at(since), Some(Owner::SomebodyElse))).into_iter().collect(),
            work: Vec::new(),
            vague,
            list_lag: Duration::from_secs(list_lag.into()),
            job_takes: Duration::from_secs(job_takes.into()),
            started_at: at(100),
            failures: 0,
            refused: None,
            passes: 0,
            last_list: None,
            own_change: None,
            creates: 0,
            calls: 0,
            writes: 0,
            released: None,
            verdict: None,
        }
    }

    pub fn delete_object(&mut self, retain: bool) {
        self.wait(self.now);
        self.desired.deleted_at = Some(self.now);
        self.desired.generation += 1;
        self.desired.retain = retain;
        self.gone = !self.finalizer;
    }

    pub fn describe(&self) -> String {
        let Self { kind, vague, list_lag, job_takes, accounts, .. } = self;
        format!("{kind}, vague {vague}, lists lag {list_lag:?}, jobs take {job_takes:?}, there is {accounts:?}")
    }

    pub fn account(&self) -> Option<Owner> {
        self.accounts.last().and_then(|(_, owner)| *owner)
    }

    pub fn is_ready(&self) -> bool {
        let ready = |it: &Verdict| it.reason == Reason::AccountReady && it.recheck == Recheck::OnChange;
        self.verdict.as_ref().is_some_and(ready)
    }

    /// Runs one pass and lets time go on to the next. Names the steps that were taken.
    pub fn pass(&mut self, trouble: Trouble) -> Vec<&'static str> {
        self.passes += 1;
        self.verdict = None;
        let attempt = AttemptId::new(format!("attempt-{}", self.passes));
        let moment = Moment {
            now: self.now,
            started_at: self.started_at,
            attempt,
            jitter: 0.5,
            failures: self.failures,
            refused: self.refused.clone(),
            waiting_since: None,
            changeable_from: None,
            key_id: KeyId::new("key"),
            settings: &SETTINGS,
        };
        let mut seen = Seen {
            finalizer: self.finalizer,
            intent: self.annotation.clone(),
            record: Record::of(self.status.as_ref(), &Uid::new("uid-1")),
            instance: InstanceSeen::Present(facts(self.kind)),
            secret: secret("1"),
            ..Seen::default()
        };
        let mut steps = Vec::new();
        loop {
            assert!(steps.len() < MOST_STEPS, "the pass goes round in circles: {steps:?}");
            if matches!(trouble, Trouble::Crash(after) if after == steps.len()) {
                self.restart();
                return steps;
            }
            let step = plan(&self.desired, &seen, &moment);
            steps.push(step.name());
            match step {
                Step::Settle(verdict) => {
                    self.settle(&seen, *verdict, &moment, matches!(trouble, Trouble::StatusLost));
                    return steps;
                }
                Step::Gone => {
                    self.gone = true;
                    return steps;
                }
                step => self.perform(step, &mut seen, trouble),
            }
        }
    }

    fn perform(&mut self, step: Step, seen: &mut Seen, trouble: Trouble) {
        let reads_fail = matches!(trouble, Trouble::ReadsFail);
        let down = || Delay::Failed(CloudError::new(ErrorClass::Unavailable, "down"));
        match step {
            Step::ReadPassword => seen.password = Some(usable("1", "f")),
            Step::ReadAccount(_) | Step::ReadJob(_) | Step::FindJob(_) if reads_fail => {
                (seen.account, seen.job) = (Some(Err(down())), Some(Err(down())));
            }
            Step::ReadAccount(asked_from) => seen.account = Some(self.list(asked_from)),
            Step::ReadJob(id) => seen.job = Some(Ok(self.job(|work| work.job == id))),
            Step::FindJob(lost) => seen.job = Some(Ok(self.job(|work| work.attempt == lost.attempt))),
            Step::TakeTurn(_) if matches!(trouble, Trouble::NoTurn) => {
                seen.turn = Some(Turn::NotBefore(self.now + Duration::from_secs(7)));
            }
            Step::TakeTurn(_) => seen.turn = Some(Turn::Ours),
            Step::WriteIntent(intent) => {
                (self.finalizer, self.annotation) = (true, Some(*intent));
                (seen.finalizer, seen.intent) = (true, self.annotation.clone());
                self.writes += 1;
            }
            Step::Call(kind) => {
                assert!(seen.call.is_none(), "a second changing call in one pass");
                let outcome = self.call(kind, seen.intent.as_ref(), trouble);
                let refused = seen.intent.as_ref().filter(|_| matches!(outcome, Err(CallError::NotApplied(_))));
                self.refused = refused.map(|intent| intent.attempt.clone());
                seen.call = Some(CallSeen { kind, outcome });
            }
            Step::Release(release) => {
                (self.finalizer, seen.finalizer, seen.released) = (false, false, true);
                self.released = Some(release);
                self.gone = true;
            }
            other => panic!("{} is never needed here", other.name()),
        }
    }

    fn call(&mut self, kind: CallKind, intent: Option<&Intent>, trouble: Trouble) -> Result<Accepted, CallError> {
        let durable = self.annotation.as_ref().expect("no changing call without a durable intent");
        assert_eq!(Some(durable), intent);
        assert!(
            self.finalizer
                && matches!(
                    (durable.kind, kind),
                    (OperationKind::Create, CallKind::Create) | (OperationKind::Delete, CallKind::Delete)
                )
        );
        self.calls += 1;
        let jobs = self.kind.rules().capabilities().jobs;
        let mut work = Work {
            kind,
            attempt: durable.attempt.clone(),
            due: self.now,
            job: JobId::new(format!("j-{}", self.calls)),
            state: JobState::Running,
            fails: jobs && matches!(trouble, Trouble::JobFails),
        };
        let unknown = Err(CallError::Unknown(CloudError::new(ErrorClass::Unavailable, "no answer")));
        let refuse = |class| Err(CallError::NotApplied(CloudError::new(class, "refused")));
        match (trouble, self.account(), kind) {
            (Trouble::Refused(class), ..) => return refuse(class),
            (Trouble::AnswerLost(None), ..) => return unknown,
            (Trouble::AnswerLost(Some(later)), ..) => {
                work.due += Duration::from_secs(later.into());
                if jobs {
                    work.due += self.job_takes;
                }
                self.work.push(work);
                return unknown;
            }
            _ if jobs => {
                work.due += self.job_takes;
                let job = work.job.clone();
                self.work.push(work);
                return Ok(Accepted::Job(job));
            }
            (_, Some(_), CallKind::Create) | (_, None, CallKind::Delete) if self.vague => {
                return refuse(ErrorClass::Rejected);
            }
            (_, Some(_), CallKind::Create) => return refuse(ErrorClass::AccountExists),
            (_, None, CallKind::Delete) => return refuse(ErrorClass::AccountNotFound),
            _ => self.work.push(work),
        }
        self.let_work_happen();
        self.own_change = Some((self.now, kind == CallKind::Create));
        Ok(Accepted::Done)
    }

    /// What the cloud has taken on and is due takes effect.
    fn let_work_happen(&mut self) {
        let mut due: Vec<_> = (0..self.work.len()).filter(|&it| self.work[it].due <= self.now).collect();
        due.sort_by_key(|&it| self.work[it].due);
        for work in due {
            let (account, work) = (self.account(), &mut self.work[work]);
            if work.state != JobState::Running {
                continue;
            }
            let effect = match (work.kind, account) {
                (CallKind::Create, None) => Some(Some(Owner::Ours)),
                (CallKind::Delete, Some(owner)) => {
                    assert_eq!(owner, Owner::Ours, "an account of somebody else was deleted");
                    Some(None)
                }
                _ => None,
            };
            match effect.filter(|_| !work.fails) {
                None => work.state = JobState::Failed(None),
                Some(account) => {
                    work.state = JobState::Succeeded;
                    self.creates += usize::from(account.is_some());
                    self.accounts.push((work.due, account));
                }
            }
        }
    }

    /// A list as the connection gives it: shared for some seconds, lagging, with our own changes laid over it.
    fn list(&mut self, asked_from: Timestamp) -> Result<AccountSeen, Delay> {
        let (asked_at, listed) = match self.last_list {
            Some(list) if list.0 >= asked_from => list,
            Some((asked_at, _)) if self.now < asked_at + SHARED_FOR => {
                return Err(Delay::NotBefore(asked_at + SHARED_FOR));
            }
            _ => {
                let shown = self.now - self.list_lag;
                let then = self.accounts.iter().rev().find(|(since, _)| *since <= shown);
                (self.now, then.is_some_and(|(_, owner)| owner.is_some()))
            }
        };
        self.last_list = Some((asked_at, listed));
        let overlaid = self.own_change.filter(|(at, _)| *at + LIST_LAG >= asked_at).map(|(_, present)| present);
        let present = overlaid.unwrap_or(listed);
        Ok(AccountSeen { asked_at, account: present.then(|| account(access(self.kind))) })
    }

    fn job(&self, is_it: impl Fn(&Work) -> bool) -> JobSeen {
        let found = self.work.iter().rev().find(|work| is_it(work));
        found.map_or(JobSeen::NotFound, |work| JobSeen::Found(Job { id: work.job.clone(), state: work.state.clone() }))
    }

    fn settle(&mut self, seen: &Seen, verdict: Verdict, moment: &Moment<'_>, status_lost: bool) {
        if matches!(verdict.account, AccountChange::Confirmed(..)) {
            assert_eq!(self.account(), Some(Owner::Ours), "an account that is not ours was claimed");
        }
        let written = report(self.status.as_ref(), &self.desired, seen, &verdict, moment, self.now);
        if status_lost {
            self.failures += 1;
            return self.wait(self.now + Duration::from_secs(1));
        }
        if let Some(status) = written.status {
            let text = serde_json::to_string(&status).expect("status is plain data");
            self.status = Some(serde_json::from_str(&text).expect("status reads back"));
            assert_eq!(self.status, Some(status), "the API server keeps what was written");
            self.writes += 1;
        }
        match verdict.recheck {
            Recheck::OnChange => self.failures = 0,
            Recheck::At(at) => {
                self.failures = 0;
                self.wait(at);
            }
            Recheck::Retry { at } => {
                self.failures += 1;
                self.wait(at);
            }
        }
        self.verdict = Some(verdict);
    }

    fn restart(&mut self) {
        (self.last_list, self.own_change, self.refused, self.failures) = (None, None, None, 0);
        self.wait(self.now + Duration::from_secs(2));
        self.started_at = self.now;
    }

    /// Time goes on, at least a little.
    pub fn wait(&mut self, until: Timestamp) {
        self.now = until.max(self.now + Duration::from_millis(10));
        self.let_work_happen();
    }
}

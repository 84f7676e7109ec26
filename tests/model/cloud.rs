//! The cloud of the small world: accounts with their history, what a list shows of it, and the work it has taken on.

use std::time::Duration;

use clickhouse_user_operator::{
    domain::names::{AttemptId, JobId, Uid, Username},
    provider::contract::{Access, CallKind, JobState},
};
use jiff::Timestamp;

use super::world::World;

/// How far a list lags behind the cloud; less than what the plan assumes.
pub const LIST_LAGS: Duration = Duration::from_secs(8);

/// A call whose answer was lost may take effect so much later; with the lag, less than what the plan assumes.
pub const LATE: Duration = Duration::from_secs(5);

/// How long a job takes.
pub const JOB_TAKES: Duration = Duration::from_secs(8);

/// The cloud forgets a job after this time.
const JOB_RECORDS_KEPT: Duration = Duration::from_secs(3600);

/// Who made an account.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Owner {
    Object(Uid),
    /// Somebody else; or us, of which no proof is left.
    Foreign,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Account {
    pub owner: Owner,
    pub password: u8,
    pub access: Access,
}

/// What a name stood for, and since when.
pub type History = Vec<(Timestamp, Option<Account>)>;

/// A change that the cloud has taken on.
#[derive(Clone, Debug)]
pub struct Work {
    pub kind: CallKind,
    pub name: Username,
    pub attempt: AttemptId,
    pub owner: Owner,
    pub password: u8,
    pub access: Access,
    pub due: Timestamp,
    pub job: JobId,
    pub state: JobState,
    pub fails: bool,
    /// People allowed to take or delete an account that is somebody else's.
    pub any_owner: bool,
}

impl World {
    /// The account as it is.
    pub fn account(&self, name: &Username) -> Option<&Account> {
        self.accounts.iter().find(|it| it.0 == *name).and_then(|(_, history)| history.last()?.1.as_ref())
    }

    /// The account as it was.
    pub fn account_at(&self, name: &Username, time: Timestamp) -> Option<&Account> {
        let (_, history) = self.accounts.iter().find(|it| it.0 == *name)?;
        history.iter().rev().find(|(since, _)| *since <= time)?.1.as_ref()
    }

    pub fn put_account(&mut self, name: &Username, since: Timestamp, account: Option<Account>) {
        let place = self.accounts.iter().position(|it| it.0 == *name).unwrap_or_else(|| {
            self.accounts.push((name.clone(), Vec::new()));
            self.accounts.len() - 1
        });
        self.accounts[place].1.push((since, account));
    }

    /// What a list shows that is asked now.
    pub fn listing(&self) -> Vec<(Username, Access)> {
        let shown = self.now - LIST_LAGS;
        let then = |history: &[(Timestamp, Option<Account>)]| {
            history.iter().rev().find(|(since, _)| *since <= shown).and_then(|(_, account)| account.clone())
        };
        self.accounts.iter().filter_map(|(name, history)| Some((name.clone(), then(history)?.access))).collect()
    }

    /// Time goes on, at least a little, and what the cloud has taken on happens.
    pub fn wait(&mut self, until: Timestamp) {
        self.now = until.max(self.now + Duration::from_millis(10));
        self.let_work_happen();
        self.forget();
    }

    pub fn let_work_happen(&mut self) {
        loop {
            let now = self.now;
            let due = |it: &&mut Work| it.state == JobState::Running && it.due <= now;
            let Some(work) = self.work.iter_mut().filter(due).min_by_key(|it| it.due) else { return };
            work.state = JobState::Failed(None);
            let work = work.clone();
            self.note(|_| format!("the cloud gets to {:?} of {:?}", work.kind, work.owner));
            if work.fails {
                continue;
            }
            if let Some(account) = self.effect(&work) {
                self.put_account(&work.name, work.due, account);
                let done = self.work.iter_mut().find(|it| it.attempt == work.attempt && it.due == work.due);
                done.expect("the work that was done").state = JobState::Succeeded;
            }
        }
    }

    /// What becomes of the account; `None`: the cloud refuses. Losses and hijacks are found here.
    #[expect(clippy::option_option, reason = "whether there is an effect, and whether an account is there after it")]
    pub fn effect(&mut self, work: &Work) -> Option<Option<Account>> {
        let account = self.account(&work.name).cloned();
        let ours = |world: &mut Self, account: &Account, what: &str| {
            if account.owner != work.owner && !work.any_owner {
                world.violate(format!("I2: {what} of an account that is not the object's"));
            }
        };
        match (work.kind, account) {
            (CallKind::Create, None) => {
                Some(Some(Account { owner: work.owner.clone(), password: work.password, access: work.access.clone() }))
            }
            (CallKind::Create, Some(_)) | (_, None) => None,
            (CallKind::Delete, Some(account)) => {
                ours(self, &account, "deletion");
                Some(None)
            }
            (CallKind::SetPassword, Some(account)) => {
                ours(self, &account, "password");
                Some(Some(Account { password: work.password, ..account }))
            }
            (CallKind::SetAccess, Some(account)) => {
                ours(self, &account, "access");
                Some(Some(Account { access: work.access.clone(), ..account }))
            }
        }
    }

    /// What nobody can ask about any more makes no two states different.
    pub fn forget(&mut self) {
        let (now, shown) = (self.now, self.now - LIST_LAGS);
        for (_, history) in &mut self.accounts {
            let last = history.iter().rposition(|(since, _)| *since <= shown).unwrap_or(0);
            history.drain(..last);
        }
        let asked_for: Vec<AttemptId> = (0..self.users.len()).flat_map(|it| self.attempts_of(it)).collect();
        self.work.retain(|it| {
            it.state == JobState::Running || asked_for.contains(&it.attempt) && now < it.due + JOB_RECORDS_KEPT
        });
        self.process.own_changes.retain(|(at, ..)| now < *at + Duration::from_secs(40));
        if self.process.list.as_ref().is_some_and(|(asked_at, _)| *asked_at + Duration::from_secs(900) < now) {
            self.process.list = None;
        }
    }
}

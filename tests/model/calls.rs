//! What a pass asks the cloud and the API server for: reads, and the one changing call, with what may become of it.

use std::time::Duration;

use clickhouse_user_operator::{
    domain::{
        journal::{Intent, SecretVersion},
        names::{JobId, Uid, Username},
        seen::{CallSeen, PasswordSeen, SecretSeen},
    },
    provider::contract::{
        Accepted, Access, Account as ListedAccount, AccountSeen, CallError, CallKind, CloudError, Delay, ErrorClass,
        Job, JobSeen, JobState, Refusal,
    },
};
use jiff::Timestamp;

use super::{
    cloud::{JOB_TAKES, Owner, Work},
    pass::{Outcome, Trouble},
    world::{Pass, World},
};

/// A list is shared for so long.
const SHARED_FOR: Duration = Duration::from_secs(5);

/// Changes of our own are laid over lists that were asked so long after them.
const LAID_OVER: Duration = Duration::from_secs(15);

impl World {
    pub fn secret_seen(&self, user: usize) -> SecretSeen {
        self.users[user].secret.map_or(SecretSeen::Missing, |(version, _)| SecretSeen::Present {
            uid: Uid::new("secret"),
            resource_version: version.to_string(),
        })
    }

    pub fn read_password(&self, pass: &mut Pass) {
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

    pub fn in_list(&self, user: usize, asked_at: Timestamp, list: &[(Username, Access)]) -> AccountSeen {
        let name = &self.users[user].desired.username;
        let listed = list.iter().find(|it| it.0 == *name).map(|it| it.1.clone());
        let changed = |it: &&(Timestamp, Username, Option<Access>)| it.1 == *name && it.0 + LAID_OVER >= asked_at;
        let own = self.process.own_changes.iter().rev().find(changed);
        let access = own.map_or(listed, |it| it.2.clone());
        let account =
            access.map(|access| ListedAccount { username: name.clone(), access: access.into(), built_in: false });
        AccountSeen { asked_at, account }
    }

    pub fn list(&mut self, user: usize, asked_from: Timestamp) -> Result<AccountSeen, Delay> {
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

    pub fn job(&self, is_it: impl Fn(&Work) -> bool) -> JobSeen {
        let found = self.work.iter().rev().find(|work| is_it(work));
        found.map_or(JobSeen::NotFound, |work| JobSeen::Found(Job { id: work.job.clone(), state: work.state.clone() }))
    }

    pub fn call(&mut self, kind: CallKind, pass: &mut Pass, trouble: Trouble, outcome: &mut Outcome) {
        outcome.calls += 1;
        let Some(durable) = self.intent(pass.user).cloned() else {
            return self.violate("a changing call without a durable intent");
        };
        if Some(&durable) != pass.seen.intent.as_ref() || outcome.calls > 1 || !self.users[pass.user].finalizer {
            return self.violate("a changing call that was not announced, or a second one in a pass");
        }
        if !self.instance().connected {
            return self.violate("a call without a credential");
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

    pub fn answered(
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
        if let Some(error) = self.not_found() {
            return Err(CallError::NotApplied(error));
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
            (true, CallKind::Create) | (false, CallKind::Delete) if self.vague => {
                return refuse(ErrorClass::InvalidSpec);
            }
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
}

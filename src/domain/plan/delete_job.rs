//! The end of a delete job. A cloud tells no cause where one fails: it may be tried again, people may remove the account
//! themselves, and a login may show that they have.

use jiff::Timestamp;

use super::{Release, Situation, Step, Verdict};
use crate::seeded::{Bug, seeded};
use crate::{
    api::conditions::Reason,
    domain::{
        journal::Intent,
        names::JobId,
        seen::{InstanceSeen, LoginSeen, PasswordSeen, SecretSeen},
    },
    provider::contract::JobState,
};

/// Failed delete jobs before people are told that they have to act.
const DELETE_TRIES: u32 = 3;

impl Situation<'_> {
    pub(super) fn delete_ended(&self, intent: &Intent, job: &JobId, state: &JobState) -> Step {
        match state {
            JobState::Succeeded => self.left(Release::NothingLeft),
            JobState::Running => self.job_running(intent, job.clone(), Reason::Deleting),
            JobState::Failed(_) if seeded(Bug::FailedDeletionReleases) => self.left(Release::NothingLeft),
            JobState::Failed(why) => self.delete_failed(intent, job, why.as_deref()),
        }
    }

    pub(super) fn delete_failed(&self, intent: &Intent, job: &JobId, why: Option<&str>) -> Step {
        let cause = why.filter(|why| !why.is_empty()).map_or_else(String::new, |why| format!(" with code {why}"));
        let failed = self.failed(intent);
        let since = failed.finished_at.as_ref().map_or(self.now(), |time| time.0);
        let next = since + self.delete_pause();
        let verdict = |reason, message: String| {
            Verdict::new(reason, message).with_operation(failed.clone(), Some(job.clone())).retry(next)
        };
        if intent.attempts < DELETE_TRIES {
            return verdict(Reason::Deleting, format!("Delete job {job} failed{cause}; it is tried again.")).step();
        }
        let message = format!(
            "Delete job {job} failed{cause}, as {} before it. Remove account {} in the cloud console and set \
             spec.deletionPolicy: Retain to release this object.",
            intent.attempts - 1,
            intent.username
        );
        let held = verdict(Reason::JobFailed, message);
        match self.removed_by_others(intent, &held, since) {
            Removed::Asking(step) => step,
            Removed::Shown => self.left(Release::NothingLeft),
            Removed::AskedTooEarly => held.retry(next.min(self.login_slot_at())).step(),
            Removed::Unknown => held.step(),
        }
    }

    /// A login that is refused with the very password that has been let in before shows that the account has gone. Asked
    /// once after each failed job.
    fn removed_by_others(&self, intent: &Intent, held: &Verdict, failed_at: Timestamp) -> Removed {
        let InstanceSeen::Present(facts) = &self.seen.instance else { return Removed::Unknown };
        let checked = facts.login_check.is_some() && facts.connection.is_some() && facts.key == intent.instance_key;
        let tried = self.seen.login_tried.is_some_and(|at| at >= failed_at);
        if !checked || self.seen.record.verified_at.is_none() {
            return Removed::Unknown;
        }
        match &self.seen.login {
            Some(LoginSeen::Refused) => return Removed::Shown,
            Some(LoginSeen::Busy) => return Removed::AskedTooEarly,
            Some(LoginSeen::Accepted | LoginSeen::Unreachable(_)) => return Removed::Unknown,
            None if tried || self.seen.secret == SecretSeen::Missing => return Removed::Unknown,
            None => {}
        }
        match (self.fingerprint_in_force(held), &self.seen.password) {
            (Err(step), _) => Removed::Asking(step),
            (Ok(Some(_)), None) => Removed::Asking(Step::ReadPassword),
            (Ok(Some(applied)), Some(PasswordSeen::Usable(_, read))) if *read == applied => {
                Removed::Asking(Step::Login)
            }
            (Ok(_), _) => Removed::Unknown,
        }
    }

    /// Pause between tries of a failed delete job: three tries then span three times `--retry-max`, half an hour by
    /// default, in which most maintenance ends.
    pub(super) fn delete_pause(&self) -> std::time::Duration {
        self.settings().retry_max * 3 / 2
    }
}

/// Whether an account that cannot be deleted has gone all the same.
enum Removed {
    /// Not known yet: the step to take.
    Asking(Step),
    /// It has gone.
    Shown,
    /// As many logins as may be are under way.
    AskedTooEarly,
    /// Nothing shows it.
    Unknown,
}

//! Test accounts: made under names that nobody else has, and always removed.

use std::time::Duration;

use jiff::Timestamp;

use super::session::Session;
use crate::{
    domain::{
        names::{AttemptId, JobId, Username},
        secret::SecretText,
    },
    provider::contract::{
        Accepted, Access, CallError, CallKind, Cloud, CloudError, ErrorClass, Job, JobState, LostCall, Mutation,
        NewAccount,
    },
};

/// Every test account's name begins with it, so that one left behind is known for what it is.
pub const PREFIX: &str = "chuser_probe_";

/// How often the removal of a test account is tried.
const REMOVALS: u32 = 5;

/// How long the job of a call that was not answered is looked for: records appear within this.
const SEARCH: Duration = Duration::from_secs(60);

/// How a changing call ended, once its job has ended too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Done, with the job if there was one.
    Done(Option<JobId>),
    /// Accepted, and its job failed with these `error_codes`.
    JobFailed(Option<String>),
    /// Refused for certain.
    Refused(CloudError),
    /// Not known.
    Unknown(CloudError),
}

impl Outcome {
    /// Whether the change is in force.
    pub fn is_done(&self) -> bool {
        matches!(self, Self::Done(_))
    }

    /// The class of a certain refusal.
    pub fn refused_as(&self) -> Option<ErrorClass> {
        match self {
            Self::Refused(error) => Some(error.class),
            _ => None,
        }
    }

    /// In words.
    pub fn told(&self) -> Result<String, CloudError> {
        Ok(match self {
            Self::Done(None) => "done at once".to_owned(),
            Self::Done(Some(_)) => "accepted, and its job succeeds".to_owned(),
            Self::JobFailed(codes) => {
                format!("accepted, and its job fails, error_codes {}", codes.as_deref().unwrap_or("empty"))
            }
            Self::Refused(error) => format!("refused at once: {error}"),
            Self::Unknown(error) => return Err(error.clone()),
        })
    }
}

/// A name that may be taken by an account of ours.
struct Made {
    username: Username,
    attempt: AttemptId,
    since: Timestamp,
    /// Whether the account was seen to be made; otherwise it is not known.
    certain: bool,
}

/// The test accounts of one probe.
pub struct TestAccounts<'a> {
    session: &'a Session,
    cloud: &'a dyn Cloud,
    made: Vec<Made>,
}

/// A name that no account has.
pub fn new_name(suffix: &str) -> Username {
    Username::new(format!("{PREFIX}{:06x}{suffix}", rand::random::<u32>() >> 8))
}

/// An attempt of its own.
pub fn new_attempt() -> AttemptId {
    AttemptId::new(format!("{:032x}", rand::random::<u128>()))
}

/// A password that both clouds take.
pub fn new_password() -> SecretText {
    SecretText::new(format!("Aa1-{:024x}", rand::random::<u128>() >> 32))
}

impl<'a> TestAccounts<'a> {
    /// None yet.
    pub fn new(session: &'a Session, cloud: &'a dyn Cloud) -> Self {
        Self { session, cloud, made: Vec::new() }
    }

    /// Sends a creation without waiting for its end. The name is on the list before the call is made.
    pub async fn send(
        &mut self,
        username: &Username,
        password: &SecretText,
        access: &Access,
        attempt: &AttemptId,
    ) -> Mutation {
        let known = self.made.iter().any(|made| made.username == *username && made.certain);
        if !known {
            let (username, attempt) = (username.clone(), attempt.clone());
            self.made.push(Made { username, attempt, since: Timestamp::now(), certain: false });
        }
        self.session.admitted().await;
        self.cloud.create(attempt, NewAccount { username, password, access }).await
    }

    /// Follows a creation to its end.
    pub async fn settle(&mut self, username: &Username, sent: Mutation) -> Outcome {
        let outcome = self.session.outcome(self.cloud, sent).await;
        match &outcome {
            Outcome::Done(_) => {
                self.made.iter_mut().filter(|made| made.username == *username).for_each(|made| made.certain = true);
            }
            // Not made, so there is nothing to remove, unless an earlier call made it.
            Outcome::Refused(_) => self.made.retain(|made| made.certain || made.username != *username),
            // A failed job may have got half way. Nobody else has the name, so removing it does no harm.
            Outcome::JobFailed(_) | Outcome::Unknown(_) => {}
        }
        outcome
    }

    /// Makes an account and follows it to its end.
    pub async fn create(&mut self, username: &Username, password: &SecretText, access: &Access) -> Outcome {
        let sent = self.send(username, password, access, &new_attempt()).await;
        self.settle(username, sent).await
    }

    /// Removes every account that may be there; those that could not be removed.
    pub async fn remove_all(mut self) -> Vec<Username> {
        let mut left = Vec::new();
        for made in std::mem::take(&mut self.made) {
            if !self.remove(&made).await {
                left.push(made.username);
            }
        }
        left
    }

    async fn remove(&self, made: &Made) -> bool {
        if !made.certain {
            self.await_lost_creation(made).await;
        }
        for attempt in 0..REMOVALS {
            if attempt > 0 {
                tokio::time::sleep(self.session.job_poll_interval).await;
            }
            self.session.admitted().await;
            let sent = self.cloud.delete(&new_attempt(), &made.username).await;
            match self.session.outcome(self.cloud, sent).await {
                Outcome::Done(_) => return true,
                Outcome::Refused(error) if error.class == ErrorClass::AccountNotFound => return true,
                // So does the deletion of an account that was never made.
                Outcome::JobFailed(_) if !made.certain => return true,
                _ => {}
            }
        }
        false
    }

    /// A creation that was not answered may still be carried out, after the deletion even: its job is awaited.
    async fn await_lost_creation(&self, made: &Made) {
        let lost = LostCall {
            attempt: made.attempt.clone(),
            kind: CallKind::Create,
            username: made.username.clone(),
            since: made.since,
        };
        let until = tokio::time::Instant::now() + SEARCH;
        while tokio::time::Instant::now() < until {
            self.session.admitted().await;
            match self.cloud.find_job(&lost).await {
                Ok(Some(job)) => {
                    let _ = self.session.follow(self.cloud, &job.id).await;
                    return;
                }
                // Clouds without jobs: what was answered late is there by now.
                Err(error) if error.class == ErrorClass::Rejected => return,
                _ => tokio::time::sleep(self.session.job_poll_interval).await,
            }
        }
    }
}

impl Session {
    /// Follows a changing call to its end.
    pub async fn outcome(&self, cloud: &dyn Cloud, sent: Mutation) -> Outcome {
        match sent {
            Ok(Accepted::Done) => Outcome::Done(None),
            Err(CallError::NotApplied(error)) => Outcome::Refused(error),
            Err(CallError::Unknown(error)) => Outcome::Unknown(error),
            Ok(Accepted::Job(id)) => match self.follow(cloud, &id).await {
                Ok(JobState::Succeeded) => Outcome::Done(Some(id)),
                Ok(JobState::Failed(codes)) => Outcome::JobFailed(codes),
                Ok(JobState::Running) => Outcome::Unknown(CloudError::new(
                    ErrorClass::Unavailable,
                    "the job has not ended within --job-timeout",
                )),
                Err(error) => Outcome::Unknown(error),
            },
        }
    }

    /// Where a job stands at its end, or at the latest after `--job-timeout`.
    async fn follow(&self, cloud: &dyn Cloud, id: &JobId) -> Result<JobState, CloudError> {
        let until = tokio::time::Instant::now() + self.job_timeout;
        loop {
            self.admitted().await;
            let looked = cloud.jobs(std::slice::from_ref(id)).await;
            let last = tokio::time::Instant::now() >= until;
            match looked {
                Ok(jobs) => match jobs.into_iter().next() {
                    Some(Job { state: JobState::Running, .. }) | None if !last => {}
                    Some(job) => return Ok(job.state),
                    None => return Ok(JobState::Running),
                },
                Err(error) if last || error.class == ErrorClass::AccessDenied => return Err(error),
                Err(_) => {}
            }
            tokio::time::sleep(self.job_poll_interval).await;
        }
    }
}

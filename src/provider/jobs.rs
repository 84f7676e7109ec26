//! Looks at jobs: one call asks for every open job of a credential, whoever's user it is.

use std::{collections::HashMap, future::Future, time::Duration};

use jiff::Timestamp;
use tokio::sync::Mutex;

use super::contract::{Delay, Job, JobState};
use crate::domain::names::JobId;

/// The open jobs of one scope and what the last look showed of them.
#[derive(Default)]
pub struct JobBoard {
    /// Whoever holds the lock looks; the others wait for what it sees.
    open: Mutex<Open>,
}

#[derive(Default)]
struct Open {
    jobs: HashMap<JobId, Glance>,
    /// When the last look was taken.
    looked_at: Option<Timestamp>,
}

/// What the last look said of one job.
#[derive(Clone)]
enum Glance {
    /// It did not cover this job.
    Uncovered,
    /// The cloud showed the job, or did not.
    Covered(Option<Job>),
}

/// Most jobs kept on a board: a bound on memory, far above the jobs a credential's budget can start in their lifetime.
const OPEN_LIMIT: usize = 10_000;

impl JobBoard {
    /// Adds a job that was just accepted, so that the next look covers it, whoever takes it.
    pub async fn add(&self, id: &JobId) {
        self.open.lock().await.insert(id);
    }

    /// What the cloud shows of this job; `None` where it shows nothing. A look younger than half of `interval` that
    /// covered the job is reused, so that users who come at nearly the same time share one call.
    pub async fn look<F>(
        &self,
        id: &JobId,
        interval: Duration,
        admit: impl FnOnce() -> Result<(), Delay>,
        fetch: impl FnOnce(Vec<JobId>) -> F,
    ) -> Result<Option<Job>, Delay>
    where
        F: Future<Output = Result<Vec<Job>, Delay>>,
    {
        let mut open = self.open.lock().await;
        let now = Timestamp::now();
        let fresh = open.looked_at.is_some_and(|at| now < at + interval / 2);
        if let (true, Some(Glance::Covered(seen))) = (fresh, open.jobs.get(id)) {
            let seen = seen.clone();
            open.close_if_ended(id);
            return Ok(seen);
        }
        admit()?;
        open.insert(id);
        let jobs = fetch(open.jobs.keys().cloned().collect()).await?;
        for seen in open.jobs.values_mut() {
            *seen = Glance::Covered(None);
        }
        for job in jobs {
            if let Some(seen) = open.jobs.get_mut(&job.id) {
                *seen = Glance::Covered(Some(job));
            }
        }
        open.looked_at = Some(now);
        let seen = match open.jobs.get(id) {
            Some(Glance::Covered(seen)) => seen.clone(),
            _ => None,
        };
        open.close_if_ended(id);
        Ok(seen)
    }
}

impl Open {
    fn insert(&mut self, id: &JobId) {
        if self.jobs.len() >= OPEN_LIMIT {
            self.jobs.clear();
        }
        self.jobs.entry(id.clone()).or_insert(Glance::Uncovered);
    }

    /// A job whose end has been told to its user is not asked about again.
    fn close_if_ended(&mut self, id: &JobId) {
        let ended = matches!(self.jobs.get(id), Some(Glance::Covered(Some(job))) if job.state != JobState::Running);
        if ended {
            self.jobs.remove(id);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    fn job(id: &JobId, state: JobState) -> Job {
        Job { id: id.clone(), state }
    }

    #[tokio::test]
    async fn users_who_come_together_share_one_call_for_all_their_jobs() {
        let (board, calls) = (JobBoard::default(), AtomicUsize::new(0));
        let ids: Vec<_> = (0..20).map(|n| JobId::new(format!("j-{n}"))).collect();
        let interval = Duration::from_secs(60);
        let look = |id: JobId| {
            let (board, calls) = (&board, &calls);
            async move {
                board
                    .look(
                        &id,
                        interval,
                        || Ok(()),
                        |ids| async move {
                            calls.fetch_add(1, Ordering::Relaxed);
                            Ok(ids.iter().map(|id| job(id, JobState::Running)).collect())
                        },
                    )
                    .await
            }
        };
        for id in &ids {
            board.add(id).await;
        }
        for id in &ids {
            assert_eq!(look(id.clone()).await, Ok(Some(job(id, JobState::Running))));
        }
        assert_eq!(calls.load(Ordering::Relaxed), 1);
    }

    #[tokio::test]
    async fn job_that_the_last_look_did_not_cover_is_looked_at() {
        let board = JobBoard::default();
        let interval = Duration::from_secs(60);
        for id in ["j-1", "j-2"] {
            let id = JobId::new(id);
            board.add(&id).await;
            let seen = board
                .look(
                    &id,
                    interval,
                    || Ok(()),
                    |ids| async move { Ok(ids.iter().map(|id| job(id, JobState::Running)).collect()) },
                )
                .await;
            assert_eq!(seen, Ok(Some(job(&id, JobState::Running))));
        }
    }

    #[tokio::test]
    async fn ended_job_is_told_once_and_not_asked_about_again() {
        let board = JobBoard::default();
        let (ended, running) = (JobId::new("j-1"), JobId::new("j-2"));
        let seen = board
            .look(
                &ended,
                Duration::ZERO,
                || Ok(()),
                |ids| async move { Ok(ids.iter().map(|id| job(id, JobState::Succeeded)).collect()) },
            )
            .await;
        assert_eq!(seen, Ok(Some(job(&ended, JobState::Succeeded))));
        board
            .look(
                &running,
                Duration::ZERO,
                || Ok(()),
                |ids| async move {
                    assert_eq!(ids, [JobId::new("j-2")]);
                    Ok(Vec::new())
                },
            )
            .await
            .expect("a look");
    }

    #[tokio::test]
    async fn refused_admission_makes_no_call() {
        let later = Timestamp::now();
        let seen = JobBoard::default()
            .look(
                &JobId::new("j-1"),
                Duration::ZERO,
                || Err(Delay::NotBefore(later)),
                |_| async { unreachable!("no call without admission") },
            )
            .await;
        assert_eq!(seen, Err(Delay::NotBefore(later)));
    }
}

//! One pass of one user: plan, act, look again, until the plan settles; then report.
//!
//! Around it stand the gate, the pace, a deadline and a panic boundary, so that one user's trouble stays its own.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use kube::ResourceExt;
use rand::RngExt;
use tokio::time::Instant;

use super::{
    act::{Acting, Interrupted},
    boundary::{self, Broken},
    context::Scope,
    names::{InstanceName, Name, name_of},
    pace::Basis,
};
use crate::{
    api::{RECONCILE_REQUESTED_ANNOTATION, conditions::Companion, user::ClickHouseUser},
    domain::{
        backoff,
        desired::Desired,
        names::{AttemptId, Uid},
        plan::{Moment, QUIET_FOR, Recheck, Step, Verdict, plan},
        seen::SecretSeen,
    },
    ops::labels::{Lane, PassOutcome},
};

/// Steps of one pass. The longest way there is takes nine; more is a plan that goes round in circles.
const MOST_STEPS: usize = 16;

/// How a pass ended, for pace and metrics.
struct End {
    outcome: PassOutcome,
    /// The next pass, unless something changes before.
    next: Option<Timestamp>,
    failed: bool,
}

/// Runs one pass of the user of this name, and says after which time the next is due.
pub async fn run(scope: Arc<Scope>, name: Name) -> Option<Duration> {
    let user = scope.written_users.newest_of(|| scope.users.get(&name))?;
    let uid = user.uid().map(Uid::new)?;
    let (basis, now) = (basis(&scope, &user), Timestamp::now());
    let failures = match scope.pace.admit(&uid, &basis, now) {
        Ok(failures) => failures,
        Err(at) => return Some(until(at, now)),
    };

    let (context, started) = (scope.context.clone(), Instant::now());
    let passed = pass(scope.clone(), user, failures);
    let end = match boundary::within(context.pass_deadline, passed).await {
        Ok(end) => end,
        Err(broken) => {
            tracing::error!(namespace = name.0, name = name.1, "{broken}");
            let outcome = match broken {
                Broken::Panicked => PassOutcome::Panicked,
                Broken::TimedOut => PassOutcome::TimedOut,
            };
            End { outcome, next: None, failed: true }
        }
    };
    context.metrics.pass_finished(end.outcome, started.elapsed());
    let now = Timestamp::now();
    if end.failed {
        let settings = &context.settings;
        let pause = backoff::retry_delay(failures, rand::rng().random(), settings.retry_min, settings.retry_max, None);
        let next = end.next.unwrap_or(now + pause);
        scope.pace.failed(&uid, basis, next);
        return Some(until(next, now));
    }
    scope.pace.forget(&uid);
    end.next.map(|at| until(at, now))
}

async fn pass(scope: Arc<Scope>, user: Arc<ClickHouseUser>, failures: u32) -> End {
    let Some(desired) = Desired::of(&user) else {
        return End { outcome: PassOutcome::Settled, next: None, failed: false };
    };
    let context = scope.context.clone();
    let moment = Moment {
        now: Timestamp::now(),
        started_at: context.started_at,
        attempt: AttemptId::new(hex::encode(rand::rng().random::<[u8; 16]>())),
        jitter: rand::rng().random(),
        failures,
        refused: scope.refusals.of(&desired.uid),
        waiting_since: scope.waits.since(&desired.uid),
        changeable_from: scope.changes.next(&desired.uid, Timestamp::now()),
        key_id: context.key.id().clone(),
        settings: &context.settings,
    };
    let urgent = password_changed(&scope, &user);
    let mut acting = Acting::begin(scope, user, desired, urgent);
    for _ in 0..MOST_STEPS {
        let step = plan(&acting.desired, &acting.seen, &moment);
        tracing::debug!(namespace = acting.desired.namespace, name = acting.desired.name, step = step.name(), "step");
        let interrupted = match step {
            Step::Gone => {
                acting.leave();
                return End { outcome: PassOutcome::Settled, next: None, failed: false };
            }
            Step::Settle(verdict) => match acting.settle(&verdict, &moment).await {
                Ok(()) => return acting.ended(&verdict),
                Err(interrupted) => interrupted,
            },
            step => match acting.perform(step, &moment).await {
                Ok(()) => continue,
                Err(interrupted) => interrupted,
            },
        };
        return acting.interrupted(&interrupted);
    }
    tracing::error!(
        namespace = acting.desired.namespace,
        name = acting.desired.name,
        "the plan goes round in circles; this is a bug, please report it"
    );
    End { outcome: PassOutcome::Failed, next: None, failed: true }
}

impl Acting {
    /// Ends a pass that came to a verdict. A wait of our own making is looked at again when it has become worth a word.
    fn ended(&self, verdict: &Verdict) -> End {
        let (end, now) = (ended(verdict), Timestamp::now());
        if !verdict.quiet {
            self.waits().over(&self.desired.uid);
            return end;
        }
        let told_at = self.waits().waits(&self.desired.uid, now) + QUIET_FOR;
        let next = end.next.into_iter().chain((now < told_at).then_some(told_at)).min();
        End { next, ..end }
    }

    /// Ends a pass that the API server did not let through.
    fn interrupted(&self, interrupted: &Interrupted) -> End {
        self.give_turn_back();
        let (namespace, name) = (&self.desired.namespace, &self.desired.name);
        match interrupted {
            // Somebody else wrote first; the watch brings their version, and with it the next pass.
            Interrupted::Stale => {
                tracing::debug!(namespace, name, "the object changed during the pass");
                End { outcome: PassOutcome::Waiting, next: Some(Timestamp::now() + STALE_PAUSE), failed: false }
            }
            Interrupted::Failed(what) => {
                tracing::warn!(namespace, name, "{what}");
                End { outcome: PassOutcome::Failed, next: None, failed: true }
            }
        }
    }
}

/// After a conflict, in case the watch is slow or was the one that caught up first.
const STALE_PAUSE: Duration = Duration::from_millis(250);

fn ended(verdict: &Verdict) -> End {
    let stalled = verdict.reason.companion() == Some(Companion::Stalled);
    match verdict.recheck {
        Recheck::OnChange if stalled => End { outcome: PassOutcome::Refused, next: None, failed: false },
        Recheck::OnChange => End { outcome: PassOutcome::Settled, next: None, failed: false },
        Recheck::At(at) => End { outcome: PassOutcome::Waiting, next: Some(at), failed: false },
        Recheck::Retry { at } if stalled => End { outcome: PassOutcome::Refused, next: Some(at), failed: true },
        Recheck::Retry { at } => End { outcome: PassOutcome::Failed, next: Some(at), failed: true },
    }
}

fn until(at: Timestamp, now: Timestamp) -> Duration {
    Duration::try_from(at.duration_since(now)).unwrap_or_default()
}

/// The lane of the user of this name.
pub fn lane(scope: &Scope, name: &Name) -> Lane {
    scope.users.get(name).map_or(Lane::Slow, |user| lane_of(scope, &user))
}

/// A person waits for users that are new, changed or deleted. Where a password changed, whoever logs in with the new one
/// fails until the account has it; and one whose turn it is at its instance keeps all others there waiting.
fn lane_of(scope: &Scope, user: &ClickHouseUser) -> Lane {
    if password_changed(scope, user) || is_its_turn(scope, user) {
        return Lane::Urgent;
    }
    let status = user.status.as_ref();
    let observed = status.and_then(|status| status.observed_generation);
    let requested = user.annotations().get(RECONCILE_REQUESTED_ANNOTATION);
    let asked = requested.is_some() && requested != status.and_then(|it| it.last_handled_reconcile_at.as_ref());
    let new = observed != user.metadata.generation || user.metadata.deletion_timestamp.is_some();
    if new || asked { Lane::Fast } else { Lane::Slow }
}

/// The Secret is not the one that the password in force was read from.
fn password_changed(scope: &Scope, user: &ClickHouseUser) -> bool {
    let applied = user.status.as_ref().and_then(|status| status.password.as_ref());
    match (secret(scope, user), applied) {
        (SecretSeen::Present { resource_version, .. }, Some(applied)) => {
            applied.secret_resource_version.as_ref() != Some(&resource_version)
        }
        _ => false,
    }
}

fn is_its_turn(scope: &Scope, user: &ClickHouseUser) -> bool {
    let connection = scope.context.directory.connection(&InstanceName::meant_by(user));
    connection.zip(user.uid()).is_some_and(|(connection, uid)| connection.queue.is_turn_of(&uid))
}

/// What a retry of this user waits for besides time.
fn basis(scope: &Scope, user: &ClickHouseUser) -> Basis {
    let instance = scope.context.directory.get(&InstanceName::meant_by(user));
    Basis {
        generation: user.metadata.generation.unwrap_or_default(),
        secret: match secret(scope, user) {
            SecretSeen::Present { uid, resource_version } => Some((uid, resource_version)),
            SecretSeen::Missing => None,
        },
        instance: instance.map(|entry| (entry.state.0.as_str().to_owned(), entry.generation)),
        requested: user.annotations().get(RECONCILE_REQUESTED_ANNOTATION).cloned(),
    }
}

fn secret(scope: &Scope, user: &ClickHouseUser) -> SecretSeen {
    let Some((namespace, _)) = name_of(user) else { return SecretSeen::Missing };
    scope.secrets.get(&(namespace, user.spec.password_secret_ref.name.clone()))
}

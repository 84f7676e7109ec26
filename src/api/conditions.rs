//! The rules by which a list of conditions changes.
//!
//! The rules are those of kstatus, on which `kubectl wait`, Flux and Argo CD rely: `Ready` is always there,
//! `Reconciling`, `Stalled` and `Suspended` only while they are True, and every condition says which generation it was
//! made from.

use crate::seeded::{Bug, seeded};
use k8s_openapi::{
    apimachinery::pkg::apis::meta::v1::{Condition, Time},
    jiff::Timestamp,
};

pub use super::reasons::{Companion, ConditionStatus, Reason, Retry, Subject};

/// Condition type: whether the object is as its manifest says.
pub const READY: &str = "Ready";
/// Condition type: whether a login with the password works.
pub const LOGIN_VERIFIED: &str = "LoginVerified";

/// Longest message of a condition, in characters. The API would take 32768; nobody reads them in a table.
pub const MESSAGE_LIMIT: usize = 1024;

/// What is to be said of an object now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadySummary {
    /// Why `Ready` is as it is; the statuses follow from it.
    pub reason: Reason,
    /// The same for people; cut to [`MESSAGE_LIMIT`].
    pub message: String,
}

/// The conditions that say `ready` of the object at `generation`.
///
/// `Ready` comes first, its companion second; conditions of other types are kept as they are. A condition's time
/// changes only with its status. Suspending changes only `Suspended`: an object that had conditions keeps them.
pub fn conditions(previous: &[Condition], ready: &ReadySummary, generation: i64, now: Timestamp) -> Vec<Condition> {
    let say = |type_: &str, status: ConditionStatus| {
        let (reason, message) = (ready.reason.as_str(), ready.message.as_str());
        condition(previous, type_, status, reason, message, generation, now)
    };
    let companion = ready.reason.companion();
    let said = companion.map(|companion| say(companion.as_str(), ConditionStatus::True));

    if companion == Some(Companion::Suspended) && find(previous, READY).is_some() {
        let kept = previous.iter().filter(|c| c.type_ != Companion::Suspended.as_str()).cloned();
        return kept.chain(said).collect();
    }
    let ours = |c: &Condition| c.type_ == READY || Companion::ALL.iter().any(|companion| c.type_ == companion.as_str());
    let others = previous.iter().filter(|c| !ours(c)).cloned();
    [say(READY, ready.reason.ready())].into_iter().chain(said).chain(others).collect()
}

/// What a login with the password in force showed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LoginOutcome {
    /// The instance let the user in.
    Succeeded,
    /// The instance refused name or password.
    Refused,
    /// The instance could not be asked.
    Unreachable,
}

impl LoginOutcome {
    /// Every outcome, for the documentation.
    pub const ALL: [Self; 3] = [Self::Succeeded, Self::Refused, Self::Unreachable];

    /// What `LoginVerified` is then.
    pub fn status(self) -> ConditionStatus {
        match self {
            Self::Succeeded => ConditionStatus::True,
            Self::Refused => ConditionStatus::False,
            Self::Unreachable => ConditionStatus::Unknown,
        }
    }

    /// The reason of `LoginVerified`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Succeeded => "LoginSucceeded",
            Self::Refused => "LoginRefused",
            Self::Unreachable => "Unreachable",
        }
    }
}

/// The conditions with `LoginVerified` as the login showed it; without it where there are no login checks (`None`).
pub fn with_login(
    previous: &[Condition],
    login: Option<(LoginOutcome, &str)>,
    generation: i64,
    now: Timestamp,
) -> Vec<Condition> {
    let said = login.map(|(outcome, message)| {
        condition(previous, LOGIN_VERIFIED, outcome.status(), outcome.as_str(), message, generation, now)
    });
    previous.iter().filter(|c| c.type_ != LOGIN_VERIFIED).cloned().chain(said).collect()
}

/// The condition of a type.
pub fn find<'a>(conditions: &'a [Condition], type_: &str) -> Option<&'a Condition> {
    conditions.iter().find(|c| c.type_ == type_)
}

fn condition(
    previous: &[Condition],
    type_: &str,
    status: ConditionStatus,
    reason: &str,
    message: &str,
    generation: i64,
    now: Timestamp,
) -> Condition {
    let since = find(previous, type_)
        .filter(|c| c.status == status.as_str() && !seeded(Bug::TransitionTimeMoves))
        .map(|c| c.last_transition_time.clone());
    Condition {
        type_: type_.to_owned(),
        status: status.as_str().to_owned(),
        reason: reason.to_owned(),
        message: bounded(message),
        observed_generation: Some(generation),
        last_transition_time: since.unwrap_or_else(|| to_seconds(now)),
    }
}

fn bounded(message: &str) -> String {
    if message.chars().nth(MESSAGE_LIMIT).is_none() {
        return message.to_owned();
    }
    message.chars().take(MESSAGE_LIMIT - 1).chain(['…']).collect()
}

/// The API server keeps seconds; a finer value would read back as another one.
fn to_seconds(now: Timestamp) -> Time {
    Time(Timestamp::from_second(now.as_second()).unwrap_or(now))
}

#[cfg(test)]
mod tests {
    use k8s_openapi::jiff::SignedDuration;

    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).expect("a small number of seconds")
    }

    fn summary(reason: Reason) -> ReadySummary {
        ReadySummary { reason, message: reason.meaning().to_owned() }
    }

    fn types(conditions: &[Condition]) -> Vec<&str> {
        conditions.iter().map(|c| c.type_.as_str()).collect()
    }

    #[test]
    fn ready_comes_first_and_companions_stand_only_while_true() {
        let creating = conditions(&[], &summary(Reason::Creating), 1, at(10));
        assert_eq!(types(&creating), ["Ready", "Reconciling"]);
        let refused = conditions(&creating, &summary(Reason::InvalidPassword), 1, at(20));
        assert_eq!(types(&refused), ["Ready", "Stalled"]);
        let done = conditions(&refused, &summary(Reason::AccountReady), 1, at(30));
        assert_eq!(types(&done), ["Ready"]);
        for condition in creating.iter().chain(&refused).skip(1) {
            assert!(condition.type_ == "Ready" || condition.status == "True");
        }
    }

    #[test]
    fn every_condition_says_the_generation_reason_and_message_it_was_made_from() {
        let first = conditions(&[], &summary(Reason::Creating), 1, at(10));
        let second = conditions(&first, &summary(Reason::JobRunning), 2, at(20));
        for condition in &second {
            assert_eq!(condition.observed_generation, Some(2));
            assert_eq!(condition.reason, "JobRunning");
            assert_eq!(condition.message, Reason::JobRunning.meaning());
        }
    }

    #[test]
    fn the_time_changes_only_with_the_status_and_has_whole_seconds() {
        let first = conditions(&[], &summary(Reason::Creating), 1, at(10) + SignedDuration::from_nanos(999_999_999));
        assert!(first.iter().all(|c| c.last_transition_time == Time(at(10))));

        let second = conditions(&first, &summary(Reason::JobRunning), 1, at(20));
        assert!(second.iter().all(|c| c.last_transition_time == Time(at(10))));

        let third = conditions(&second, &summary(Reason::AccessDenied), 1, at(30));
        assert!(third.iter().all(|c| c.last_transition_time == Time(at(30))));
    }

    #[test]
    fn the_same_summary_again_changes_nothing() {
        for &reason in Reason::ALL {
            let first = conditions(&[], &summary(reason), 1, at(10));
            assert_eq!(conditions(&first, &summary(reason), 1, at(20)), first, "{reason:?}");
        }
    }

    #[test]
    fn suspending_leaves_everything_else_as_it_is() {
        let stalled = conditions(&[], &summary(Reason::AccessDenied), 1, at(10));
        let stalled =
            with_login(&stalled, Some((LoginOutcome::Refused, "the instance refused the password")), 1, at(10));
        let suspended = conditions(&stalled, &summary(Reason::Suspended), 2, at(20));
        assert_eq!(suspended[..3], stalled[..]);
        assert_eq!(types(&suspended), ["Ready", "Stalled", "LoginVerified", "Suspended"]);
        assert_eq!(suspended[3].observed_generation, Some(2));

        let resumed = conditions(&suspended, &summary(Reason::AccountReady), 3, at(30));
        assert_eq!(types(&resumed), ["Ready", "LoginVerified"]);
    }

    #[test]
    fn a_new_object_that_is_suspended_is_neither_ready_nor_failed() {
        let new = conditions(&[], &summary(Reason::Suspended), 1, at(10));
        assert_eq!(types(&new), ["Ready", "Suspended"]);
        assert_eq!((new[0].status.as_str(), new[0].reason.as_str()), ("Unknown", "Suspended"));
        assert_eq!(conditions(&new, &summary(Reason::Suspended), 1, at(20)), new);
    }

    #[test]
    fn a_login_is_shown_kept_and_removed() {
        let ready = conditions(&[], &summary(Reason::AccountReady), 1, at(10));
        let verified = with_login(&ready, Some((LoginOutcome::Succeeded, "")), 1, at(11));
        assert_eq!(verified[1].reason, "LoginSucceeded");
        let later = conditions(&verified, &summary(Reason::UpdatingPassword), 2, at(20));
        assert_eq!(find(&later, LOGIN_VERIFIED), find(&verified, LOGIN_VERIFIED));

        let statuses = LoginOutcome::ALL.map(|outcome| {
            let shown = with_login(&later, Some((outcome, "")), 2, at(30));
            find(&shown, LOGIN_VERIFIED).map(|c| c.status.clone())
        });
        assert_eq!(statuses.map(Option::unwrap_or_default), ["True", "False", "Unknown"]);
        assert_eq!(types(&with_login(&later, None, 2, at(30))), ["Ready", "Reconciling"]);
    }

    #[test]
    fn a_long_message_is_cut_between_characters() {
        let long = ReadySummary { reason: Reason::ProviderRejected, message: "é".repeat(MESSAGE_LIMIT + 1) };
        let message = conditions(&[], &long, 1, at(0)).swap_remove(0).message;
        assert_eq!(message.chars().count(), MESSAGE_LIMIT);
        assert!(message.ends_with("é…"));

        let fits = ReadySummary { reason: Reason::ProviderRejected, message: "é".repeat(MESSAGE_LIMIT) };
        assert_eq!(conditions(&[], &fits, 1, at(0)).swap_remove(0).message, fits.message);
    }
}

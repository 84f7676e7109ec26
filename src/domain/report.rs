//! From a verdict to what people see: status, and an Event for each distinct happening.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::{
    desired::Desired,
    journal::SecretVersion,
    names::{Fingerprint, KeyId},
    plan::{AccountChange, BindingChange, LoginChange, Moment, QUIET_FOR, Release, Verdict, whole_seconds},
    seen::{InstanceSeen, Seen},
};
use crate::api::{
    NEVER_OBSERVED,
    conditions::{self, Companion, ConditionStatus, LOGIN_VERIFIED, LoginOutcome, ReadySummary, Reason},
    user::{AppliedAccess, AppliedPassword, Binding, ClickHouseUserStatus, StatusError},
};
use crate::seeded::{Bug, seeded};

/// What a pass leaves behind.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    /// The status to write; `None` where its meaning has not changed.
    pub status: Option<ClickHouseUserStatus>,
    /// The Event to publish, where something happened that people should know.
    pub event: Option<Notice>,
}

/// An Event in the words of the domain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// Something a human should look at.
    pub warning: bool,
    /// The same word as the condition's reason.
    pub reason: &'static str,
    /// One sentence.
    pub note: String,
}

/// What to write after a pass that ended with `verdict`. `old` is the status as last read or written.
pub fn report(
    old: Option<&ClickHouseUserStatus>,
    desired: &Desired,
    seen: &Seen,
    verdict: &Verdict,
    moment: &Moment<'_>,
    now: Timestamp,
) -> Report {
    let key_id = &moment.key_id;
    let unwritten = Report { status: None, event: None };
    let mine = old.filter(|status| status.uid.as_ref() == Some(&desired.uid));
    // A short wait of our own making is not worth a write; it ends by itself.
    if verdict.quiet && now < moment.waiting_since.unwrap_or(now) + QUIET_FOR {
        return unwritten;
    }
    let mut status = mine.cloned().unwrap_or_default();
    status.uid = Some(desired.uid.clone());
    let summary = ReadySummary { reason: verdict.reason, message: verdict.message.clone() };
    status.conditions = conditions::conditions(&status.conditions, &summary, desired.generation, now);
    if verdict.reason == Reason::Suspended {
        // Nothing was looked at: Ready and observedGeneration stay what they were.
        status.observed_generation.get_or_insert(NEVER_OBSERVED);
    } else {
        status.observed_generation = Some(desired.generation);
        status.error = verdict.error.as_ref().map(|error| StatusError {
            code: error.code.clone(),
            message: error.message.clone(),
            retryable: verdict.reason.companion() != Some(Companion::Stalled),
        });
        if verdict.handled {
            status.last_handled_reconcile_at.clone_from(&desired.requested);
        }
        if status.applied.is_none() {
            status.username = Some(desired.username.clone());
            if let InstanceSeen::Present(facts) = &seen.instance {
                status.provider = Some(facts.provider);
                status.instance_key = Some(facts.key.clone());
            }
        }
    }
    if let Some(operation) = &verdict.operation {
        status.job_id = match (&verdict.job_id, &status.operation) {
            (None, Some(before)) if before.id == operation.id => status.job_id,
            (job_id, _) => job_id.clone(),
        };
        status.operation = Some(operation.clone());
    }
    match &verdict.account {
        AccountChange::Keep => {}
        AccountChange::Confirmed(access, password) => {
            status.applied = Some(AppliedAccess::from(access.clone()));
            if let Some((secret, fingerprint)) = password {
                // What logins with another password showed says nothing of this one.
                if status.password.as_ref().is_none_or(|before| before.fingerprint != *fingerprint) {
                    status.conditions = conditions::with_login(&status.conditions, None, desired.generation, now);
                }
                status.password = Some(applied_password(secret, fingerprint, key_id, now));
            }
        }
        AccountChange::PasswordUnknown(access) => {
            (status.applied, status.password) = (Some(AppliedAccess::from(access.clone())), None);
            status.conditions = conditions::with_login(&status.conditions, None, desired.generation, now);
        }
        AccountChange::SamePassword(secret, fingerprint) => {
            let noted = applied_password(secret, fingerprint, key_id, now);
            let before = status.password.take();
            status.password = Some(match before {
                Some(before) => {
                    AppliedPassword { applied_at: before.applied_at, verified_at: before.verified_at, ..noted }
                }
                None => noted,
            });
        }
        AccountChange::Gone => {
            (status.applied, status.password) = (None, None);
            status.conditions = conditions::with_login(&status.conditions, None, desired.generation, now);
        }
    }
    report_login(&mut status, desired, seen, verdict, now);
    match &verdict.binding {
        BindingChange::Keep => {}
        BindingChange::Written(name) => status.binding = Some(Binding { name: name.clone() }),
        BindingChange::Removed => status.binding = None,
    }
    let event = notice(mine, &status, verdict);
    Report { status: (old != Some(&status) || seeded(Bug::StatusAlwaysWritten)).then_some(status), event }
}

/// What is said of logins: the outcome of the one that was made, and nothing where the instance has no login check.
fn report_login(status: &mut ClickHouseUserStatus, desired: &Desired, seen: &Seen, verdict: &Verdict, now: Timestamp) {
    let unchecked = matches!(&seen.instance, InstanceSeen::Present(facts) if facts.login_check.is_none());
    let login = match &verdict.login {
        LoginChange::Seen(outcome, message) => Some((*outcome, message.as_str())),
        LoginChange::Keep if unchecked && verdict.reason != Reason::Suspended => None,
        LoginChange::Keep => return,
    };
    let stood = conditions::find(&status.conditions, conditions::LOGIN_VERIFIED)
        .is_some_and(|it| it.status == ConditionStatus::True.as_str());
    status.conditions = conditions::with_login(&status.conditions, login, desired.generation, now);
    if let (Some((LoginOutcome::Succeeded, _)), Some(password)) = (login, &mut status.password) {
        // Once: a check that shows the same as the one before is not worth a write for each user and interval.
        if !stood || password.verified_at.is_none() {
            password.verified_at = Some(Time(whole_seconds(now)));
        }
    }
}

/// The Event for a user that is released while its account stays, or may stay, in the cloud.
pub fn left_behind(desired: &Desired, release: &Release) -> Option<Notice> {
    let account = &desired.username;
    match release {
        Release::NothingLeft => None,
        Release::Retained => Some(Notice {
            warning: false,
            reason: "AccountRetained",
            note: format!("Account {account} stays in the cloud: spec.deletionPolicy is Retain."),
        }),
        Release::Orphaned(why) => Some(Notice {
            warning: true,
            reason: "AccountOrphaned",
            note: format!("Account {account} may be left behind in the cloud: {why}. Check it in the cloud console."),
        }),
    }
}

/// An Event where reason or message of the outcome is new; steps on the way to it are told by status alone.
fn notice(old: Option<&ClickHouseUserStatus>, new: &ClickHouseUserStatus, verdict: &Verdict) -> Option<Notice> {
    let said = |status: &ClickHouseUserStatus| {
        let of =
            |type_: &str| conditions::find(&status.conditions, type_).map(|it| (it.reason.clone(), it.message.clone()));
        (of(conditions::READY), of(Companion::Suspended.as_str()))
    };
    if old.map(said) == Some(said(new)) {
        return login_notice(old, new);
    }
    let warning = verdict.reason.ready() == ConditionStatus::False || verdict.error.is_some();
    Some(Notice { warning, reason: verdict.reason.as_str(), note: verdict.message.clone() })
}

/// An Event where logins begin to fail, or succeed again. That the first one succeeds goes without saying.
fn login_notice(old: Option<&ClickHouseUserStatus>, new: &ClickHouseUserStatus) -> Option<Notice> {
    let of = |status: &ClickHouseUserStatus| {
        conditions::find(&status.conditions, LOGIN_VERIFIED).map(|it| (it.reason.clone(), it.message.clone()))
    };
    let (before, (reason, note)) = (old.and_then(of), of(new)?);
    let outcome = LoginOutcome::ALL.into_iter().find(|outcome| outcome.as_str() == reason)?;
    let succeeded = outcome == LoginOutcome::Succeeded;
    let news = before.as_ref() != Some(&(reason, note.clone())) && (before.is_some() || !succeeded);
    news.then(|| Notice { warning: !succeeded, reason: outcome.as_str(), note })
}

fn applied_password(
    secret: &SecretVersion,
    fingerprint: &Fingerprint,
    key_id: &KeyId,
    now: Timestamp,
) -> AppliedPassword {
    AppliedPassword {
        secret_name: Some(secret.name.clone()),
        secret_uid: Some(secret.uid.clone()),
        secret_resource_version: Some(secret.resource_version.clone()),
        revision: secret.revision.clone(),
        key_id: key_id.clone(),
        fingerprint: fingerprint.clone(),
        applied_at: Some(Time(whole_seconds(now))),
        verified_at: None,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{
        api::user::{ClickHouseUser, Operation, OperationKind, OperationState},
        domain::{
            names::{AttemptId, InstanceKey, JobId, Uid},
            plan::{Recheck, Settings},
            seen::InstanceFacts,
        },
        provider::contract::{Access, CloudError, ErrorClass, ProviderKind},
    };

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + seconds).expect("a small number of seconds")
    }

    fn desired() -> Desired {
        let spec = serde_json::from_value(serde_json::json!({
            "instanceRef": {"name": "instance"},
            "passwordSecretRef": {"name": "password"},
        }));
        let mut user = ClickHouseUser::new("reporting", spec.expect("a manifest"));
        user.metadata.uid = Some("uid-1".to_owned());
        user.metadata.namespace = Some("team".to_owned());
        user.metadata.generation = Some(1);
        user.metadata.creation_timestamp = Some(Time(at(0)));
        Desired::of(&user).expect("an object of the API server")
    }

    fn seen(key: &str) -> Seen {
        Seen {
            instance: InstanceSeen::Present(InstanceFacts {
                key: InstanceKey::new(key),
                provider: ProviderKind::QingCloud,
                state: None,
                held: true,
                terminating: false,
                connected: true,
                gone: false,
                not_allowed: None,
                login_check: None,
                connection: None,
            }),
            ..Seen::default()
        }
    }

    fn verdict(reason: Reason, message: &str) -> Verdict {
        Verdict {
            reason,
            message: message.to_owned(),
            error: None,
            operation: None,
            job_id: None,
            account: AccountChange::Keep,
            login: LoginChange::Keep,
            binding: BindingChange::Keep,
            recheck: Recheck::OnChange,
            quiet: false,
            handled: true,
        }
    }

    fn operation(id: &str, state: OperationState) -> Operation {
        Operation {
            id: AttemptId::new(id),
            kind: OperationKind::Create,
            phase: None,
            state,
            started_at: Time(at(0)),
            finished_at: None,
            attempts: 1,
        }
    }

    fn secret(resource_version: &str) -> SecretVersion {
        SecretVersion {
            name: "password".to_owned(),
            uid: Uid::new("secret-uid"),
            resource_version: resource_version.to_owned(),
            revision: None,
        }
    }

    fn confirmed() -> Verdict {
        let password = Some((secret("1"), Fingerprint::new("f")));
        Verdict {
            account: AccountChange::Confirmed(Access::default(), password),
            ..verdict(Reason::AccountReady, "It is there.")
        }
    }

    /// A pass of a user that waits for nothing but ourselves since then.
    fn moment(waiting_since: Option<Timestamp>) -> Moment<'static> {
        const SETTINGS: Settings = Settings {
            job_poll_interval: Duration::from_secs(3),
            job_timeout: Duration::from_secs(900),
            retry_min: Duration::from_secs(1),
            retry_max: Duration::from_secs(600),
            orphan_after: Duration::from_secs(3600),
            connection_secrets: true,
        };
        Moment {
            now: at(0),
            started_at: at(0),
            attempt: AttemptId::new("fresh"),
            jitter: 0.0,
            failures: 0,
            refused: None,
            waiting_since,
            changeable_from: None,
            key_id: KeyId::new("key"),
            settings: &SETTINGS,
        }
    }

    fn write(old: Option<&ClickHouseUserStatus>, verdict: &Verdict, seconds: i64) -> Report {
        report(old, &desired(), &seen("key-1"), verdict, &moment(None), at(seconds))
    }

    fn written(old: Option<&ClickHouseUserStatus>, verdict: &Verdict, seconds: i64) -> ClickHouseUserStatus {
        write(old, verdict, seconds).status.expect("a status to write")
    }

    fn reason_of_ready(status: &ClickHouseUserStatus) -> &str {
        &conditions::find(&status.conditions, conditions::READY).expect("Ready is always there").reason
    }

    #[test]
    fn same_outcome_is_neither_written_nor_announced_again() {
        let waiting = verdict(Reason::WaitingForSecret, "Waiting.");
        let first = write(None, &waiting, 10);
        assert_eq!(first.event.as_ref().map(|it| it.reason), Some("WaitingForSecret"));
        let again = write(first.status.as_ref(), &waiting, 500);
        assert_eq!(again, Report { status: None, event: None });
    }

    #[test]
    fn new_reason_or_message_is_written_and_announced_once() {
        let old = written(None, &verdict(Reason::WaitingForSecret, "Waiting for a."), 10);
        for next in [verdict(Reason::WaitingForSecret, "Waiting for b."), verdict(Reason::InvalidSpec, "Wrong.")] {
            let report = write(Some(&old), &next, 20);
            assert_eq!(report.event.map(|it| it.note), Some(next.message.clone()));
            assert!(report.status.is_some());
        }
    }

    #[test]
    fn event_warns_of_what_went_wrong_only() {
        let error = Some(CloudError::new(ErrorClass::Throttled, "slow down"));
        let throttled = Verdict { error, ..verdict(Reason::Throttled, "slow down") };
        let table = [(confirmed(), false), (verdict(Reason::InvalidSpec, "Wrong."), true), (throttled, true)];
        for (verdict, warning) in table {
            assert_eq!(write(None, &verdict, 10).event.map(|it| it.warning), Some(warning), "{:?}", verdict.reason);
        }
    }

    #[test]
    fn wait_of_our_own_making_is_told_once_it_has_lasted() {
        let quiet = Verdict { quiet: true, ..verdict(Reason::UpdatingPassword, "Waiting for a turn.") };
        let write = |since, now| {
            let moment = moment(since);
            report(None, &desired(), &seen("key-1"), &quiet, &moment, at(now)).status
        };
        assert_eq!(write(None, 5000), None, "it has only begun");
        assert_eq!(write(Some(at(1000)), 1119), None);
        assert!(write(Some(at(1000)), 1120).is_some());
    }

    #[test]
    fn job_stays_with_its_attempt_and_goes_with_the_next() {
        let step = |id: &str, state, job: Option<&str>| Verdict {
            operation: Some(operation(id, state)),
            job_id: job.map(JobId::new),
            ..verdict(Reason::JobRunning, "Running.")
        };
        let running = written(None, &step("a", OperationState::Running, Some("j-1")), 10);
        assert_eq!(running.job_id, Some(JobId::new("j-1")));
        let same = written(Some(&running), &step("a", OperationState::Succeeded, None), 20);
        assert_eq!(same.job_id, Some(JobId::new("j-1")));
        let next = written(Some(&same), &step("b", OperationState::Unknown, None), 30);
        assert_eq!(next.job_id, None);
        let without = written(Some(&running), &verdict(Reason::InvalidSpec, "Wrong."), 40);
        assert_eq!((without.job_id, without.operation), (running.job_id, running.operation));
    }

    #[test]
    fn suspended_keeps_what_was_known_and_the_generation_it_was_known_for() {
        let ready = written(None, &confirmed(), 10);
        let suspended = verdict(Reason::Suspended, "Suspended.");
        let later = Desired { generation: 2, ..desired() };
        let report = report(Some(&ready), &later, &seen("key-2"), &suspended, &moment(None), at(20));
        let status = report.status.expect("a status to write");
        assert_eq!(reason_of_ready(&status), "AccountReady");
        assert_eq!(status.observed_generation, Some(1));
        assert_eq!((&status.applied, &status.instance_key), (&ready.applied, &ready.instance_key));
        assert_eq!(report.event.map(|it| it.reason), Some("Suspended"));
        assert_eq!(written(None, &suspended, 20).observed_generation, Some(NEVER_OBSERVED));
    }

    #[test]
    fn confirmed_account_is_recorded_with_its_password_and_keeps_its_instance() {
        let status = written(None, &confirmed(), 10);
        assert!(status.applied.is_some());
        let password = status.password.as_ref().expect("a password");
        assert_eq!((&password.fingerprint, &password.key_id), (&Fingerprint::new("f"), &KeyId::new("key")));
        assert_eq!(password.applied_at, Some(Time(at(10))));
        let moved = verdict(Reason::InstanceChanged, "Another instance.");
        let report = report(Some(&status), &desired(), &seen("key-2"), &moved, &moment(None), at(20));
        assert_eq!(report.status.expect("a status to write").instance_key, Some(InstanceKey::new("key-1")));
    }

    #[test]
    fn same_password_at_a_new_version_changes_the_version_and_nothing_else() {
        let old = written(None, &confirmed(), 10);
        let noted = Verdict {
            account: AccountChange::SamePassword(secret("2"), Fingerprint::new("f")),
            ..verdict(Reason::AccountReady, "It is there.")
        };
        let report = write(Some(&old), &noted, 20);
        let mut expected = old;
        expected.password.as_mut().expect("a password").secret_resource_version = Some("2".to_owned());
        assert_eq!(report, Report { status: Some(expected), event: None });
    }

    #[test]
    fn error_is_shown_with_its_code_while_it_stands_in_the_way() {
        let error = CloudError::new(ErrorClass::AccessDenied, "denied").with_code("1400");
        let denied = Verdict { error: Some(error), ..verdict(Reason::AccessDenied, "1400: denied") };
        let status = written(None, &denied, 10);
        let expected = StatusError { code: Some("1400".to_owned()), message: "denied".to_owned(), retryable: false };
        assert_eq!(status.error, Some(expected));
        assert_eq!(written(Some(&status), &confirmed(), 20).error, None);
    }

    fn login_of(status: &ClickHouseUserStatus) -> Option<&str> {
        conditions::find(&status.conditions, LOGIN_VERIFIED).map(|it| it.reason.as_str())
    }

    fn logged_in(outcome: LoginOutcome) -> Verdict {
        let login = LoginChange::Seen(outcome, outcome.as_str().to_owned());
        Verdict { login, ..verdict(Reason::AccountReady, "It is there.") }
    }

    /// With a login check on the instance.
    fn write_checked(old: Option<&ClickHouseUserStatus>, verdict: &Verdict, seconds: i64) -> Report {
        let mut seen = seen("key-1");
        if let InstanceSeen::Present(facts) = &mut seen.instance {
            facts.login_check = Some(Duration::from_secs(600));
        }
        report(old, &desired(), &seen, verdict, &moment(None), at(seconds))
    }

    #[test]
    fn login_is_shown_beside_ready_and_told_where_it_is_news() {
        let mut status = written(None, &confirmed(), 10);
        let table = [
            (LoginOutcome::Succeeded, None),
            (LoginOutcome::Refused, Some(true)),
            (LoginOutcome::Refused, None),
            (LoginOutcome::Unreachable, Some(true)),
            (LoginOutcome::Succeeded, Some(false)),
        ];
        for (second, (outcome, warning)) in (20..).zip(table) {
            let report = write_checked(Some(&status), &logged_in(outcome), second);
            assert_eq!(report.event.map(|it| it.warning), warning, "{outcome:?}");
            status = report.status.unwrap_or(status);
            assert_eq!((login_of(&status), reason_of_ready(&status)), (Some(outcome.as_str()), "AccountReady"));
        }
        let verified_at = status.password.and_then(|it| it.verified_at);
        assert_eq!(verified_at, Some(Time(at(24))), "of the last login that succeeded");
    }

    #[test]
    fn login_goes_with_its_password_and_with_the_check() {
        let ready = written(None, &confirmed(), 10);
        let old =
            write_checked(Some(&ready), &logged_in(LoginOutcome::Succeeded), 20).status.expect("a status to write");
        let kept = write_checked(Some(&old), &verdict(Reason::AccountReady, "It is there."), 30);
        assert_eq!(kept.status, None);
        let without_check = written(Some(&old), &verdict(Reason::AccountReady, "It is there."), 30);
        assert_eq!(login_of(&without_check), None);
        let rotated = Verdict {
            account: AccountChange::Confirmed(Access::default(), Some((secret("2"), Fingerprint::new("g")))),
            ..confirmed()
        };
        let rotated = write_checked(Some(&old), &rotated, 30).status.expect("a status to write");
        assert_eq!(login_of(&rotated), None);
        assert_eq!(rotated.password.and_then(|it| it.verified_at), None);
    }

    #[test]
    fn refusal_stays_on_record_where_the_same_password_was_set_again() {
        let ready = written(None, &confirmed(), 10);
        let old = write_checked(Some(&ready), &logged_in(LoginOutcome::Refused), 20).status.expect("a status to write");
        let again = write_checked(Some(&old), &confirmed(), 30).status.expect("a status to write");
        assert_eq!(login_of(&again), Some("LoginRefused"));
    }

    #[test]
    fn binding_names_the_connection_secret_while_it_is_there() {
        let change = |binding| Verdict { binding, ..confirmed() };
        let status = written(None, &change(BindingChange::Written("output".to_owned())), 10);
        assert_eq!(status.binding, Some(Binding { name: "output".to_owned() }));
        assert_eq!(written(Some(&status), &confirmed(), 20).binding, status.binding);
        assert_eq!(written(Some(&status), &change(BindingChange::Removed), 20).binding, None);
    }

    #[test]
    fn status_of_another_object_of_the_same_name_is_not_continued() {
        let mut foreign = written(None, &confirmed(), 10);
        foreign.uid = Some(Uid::new("uid-0"));
        let status = written(Some(&foreign), &verdict(Reason::WaitingForSecret, "Waiting."), 20);
        assert_eq!((status.applied, status.password, status.uid), (None, None, Some(Uid::new("uid-1"))));
    }

    #[test]
    fn times_have_whole_seconds_as_the_api_server_keeps_them() {
        let now = at(10) + Duration::from_millis(999);
        let report = report(None, &desired(), &seen("key-1"), &confirmed(), &moment(None), now);
        let password = report.status.and_then(|it| it.password).expect("a password");
        assert_eq!(password.applied_at, Some(Time(at(10))));
    }

    #[test]
    fn released_object_tells_of_the_account_that_stays() {
        let told = |release| left_behind(&desired(), &release).map(|it| (it.warning, it.reason));
        assert_eq!(told(Release::NothingLeft), None);
        assert_eq!(told(Release::Retained), Some((false, "AccountRetained")));
        assert_eq!(told(Release::Orphaned("why".to_owned())), Some((true, "AccountOrphaned")));
    }
}

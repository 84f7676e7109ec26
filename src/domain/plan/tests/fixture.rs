//! One user at one moment, with everything in order until a test says otherwise.

use std::time::Duration;

use super::super::*;
use crate::{
    api::user::{InstanceKind, OperationKind, OperationState},
    domain::{
        desired::PasswordSource,
        names::{InstanceKey, Uid, Username},
        plan::attempt::operation,
        seen::{CallSeen, PasswordSeen, Record, RecordedPassword, SecretSeen},
    },
    provider::contract::{
        Accepted, Account, AccountSeen, CallError, Job, JobSeen, JobState, Permission, ProviderKind, Turn, WantedAccess,
    },
};

/// Attempt of the pass at hand.
pub const FRESH: &str = "fresh";
/// Attempt of an earlier pass.
pub const OLD: &str = "old";

pub static SETTINGS: Settings = Settings {
    job_poll_interval: Duration::from_secs(3),
    job_timeout: Duration::from_secs(900),
    retry_min: Duration::from_secs(1),
    retry_max: Duration::from_secs(600),
    orphan_after: Duration::from_secs(3600),
    connection_secrets: true,
};

/// Seconds after the object was created.
pub fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + seconds).expect("a small number of seconds")
}

pub fn wanted(kind: ProviderKind) -> WantedAccess {
    match kind {
        ProviderKind::QingCloud => {
            WantedAccess { allowed_hosts: Some(vec!["10.0.0.0/8".to_owned()]), ..WantedAccess::default() }
        }
        ProviderKind::HuaweiCloud => WantedAccess {
            databases: Some(vec!["reports".to_owned()]),
            permission: Some(Permission::ReadOnly),
            ..WantedAccess::default()
        },
    }
}

pub fn access(kind: ProviderKind) -> Access {
    kind.rules().access(&wanted(kind)).expect("the wish of these tests is legal")
}

pub fn key() -> InstanceKey {
    InstanceKey::new("cloud/place/instance")
}

pub fn desired(kind: ProviderKind) -> Desired {
    Desired {
        uid: Uid::new("uid-1"),
        namespace: "team".to_owned(),
        name: "reporting".to_owned(),
        generation: 1,
        created_at: at(0),
        deleted_at: None,
        suspend: false,
        retain: false,
        recreate: false,
        adopt: false,
        expires_at: None,
        requested: None,
        instance_kind: InstanceKind::ClickHouseInstance,
        instance_name: "instance".to_owned(),
        username: Username::new("reporting"),
        access: wanted(kind),
        password: PasswordSource { secret: "password".to_owned(), key: "password".to_owned(), revision: None },
        connection_secret: None,
    }
}

pub fn facts(kind: ProviderKind) -> InstanceFacts {
    InstanceFacts {
        key: key(),
        provider: kind,
        state: Some((Reason::Reachable, "Reachable.".to_owned())),
        held: true,
        terminating: false,
        connected: true,
        gone: false,
        not_allowed: None,
        login_check: None,
        connection: None,
    }
}

pub fn secret(resource_version: &str) -> SecretSeen {
    SecretSeen::Present { uid: Uid::new("secret-uid"), resource_version: resource_version.to_owned() }
}

pub fn version(resource_version: &str) -> SecretVersion {
    SecretVersion {
        name: "password".to_owned(),
        uid: Uid::new("secret-uid"),
        resource_version: resource_version.to_owned(),
        revision: None,
    }
}

pub fn usable(resource_version: &str, fingerprint: &str) -> PasswordSeen {
    PasswordSeen::Usable(version(resource_version), Fingerprint::new(fingerprint))
}

pub fn account(access: Access) -> Account {
    Account { username: Username::new("reporting"), access: access.into(), built_in: false }
}

pub fn not_applied(class: ErrorClass) -> Result<Accepted, CallError> {
    Err(CallError::NotApplied(CloudError::new(class, "refused")))
}

pub fn lost() -> Result<Accepted, CallError> {
    Err(CallError::Unknown(CloudError::new(ErrorClass::Unavailable, "no answer")))
}

pub struct Case {
    pub kind: ProviderKind,
    pub desired: Desired,
    pub seen: Seen,
    pub now: Timestamp,
    pub started_at: Timestamp,
    pub refused: Option<AttemptId>,
    pub changeable_from: Option<Timestamp>,
}

impl Case {
    /// A new object 100 seconds old; its Secret is there, its instance reachable; nothing was asked yet.
    pub fn on(kind: ProviderKind) -> Self {
        let seen = Seen {
            record: Record { observed_generation: 1, ..Record::default() },
            instance: InstanceSeen::Present(facts(kind)),
            secret: secret("1"),
            ..Seen::default()
        };
        Self {
            kind,
            desired: desired(kind),
            seen,
            now: at(100),
            started_at: at(0),
            refused: None,
            changeable_from: None,
        }
    }

    pub fn with(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }

    pub fn facts(&mut self) -> &mut InstanceFacts {
        match &mut self.seen.instance {
            InstanceSeen::Present(facts) => facts,
            other => panic!("no instance to change: {other:?}"),
        }
    }

    /// The password was read, the name seen free where it can be, the turn taken.
    pub fn checked(self) -> Self {
        let can_list = self.kind.rules().capabilities().list;
        let case = self.with(|it| {
            it.seen.password = Some(usable("1", "f"));
            it.seen.turn = Some(Turn::Ours);
        });
        if can_list { case.listed(90, None) } else { case }
    }

    /// An intent of an earlier pass is on the object.
    pub fn announced(self, kind: OperationKind, seconds: i64) -> Self {
        self.with(|it| {
            it.seen.finalizer = true;
            it.seen.intent = Some(it.intent(kind, OLD, seconds));
        })
    }

    /// Status says this of the attempt that the intent announced.
    pub fn recorded(self, state: OperationState, job: Option<&str>, finished: Option<i64>) -> Self {
        self.with(|it| {
            let intent = it.seen.intent.as_ref().expect("an announced attempt");
            it.seen.record.operation = Some(operation(intent, state, finished.map(at)));
            it.seen.record.job_id = job.map(JobId::new);
            it.seen.record.instance_key = Some(intent.instance_key.clone());
        })
    }

    /// This process heard that the call was refused for certain.
    pub fn refused(self) -> Self {
        self.recorded(OperationState::Pending, None, None).with(|it| it.refused = Some(AttemptId::new(OLD)))
    }

    /// The account is ours.
    pub fn owned(self) -> Self {
        self.announced(OperationKind::Create, 0).recorded(OperationState::Succeeded, None, Some(1)).with(|it| {
            let first = AttemptId::new("first");
            it.seen.intent.as_mut().expect("an intent").attempt = first.clone();
            it.seen.record.operation.as_mut().expect("an operation").id = first;
            it.seen.record.applied = Some(access(it.kind));
            it.seen.record.ready_generation = Some(it.desired.generation);
            it.seen.record.password = Some(RecordedPassword {
                secret: version("1"),
                fingerprint: Fingerprint::new("f"),
                key_id: KeyId::new("key"),
                applied_at: Some(at(1)),
                verified: false,
            });
        })
    }

    /// The object was deleted then.
    pub fn deleted(self, seconds: i64) -> Self {
        self.with(|it| it.desired.deleted_at = Some(at(seconds)))
    }

    /// A list was read that was asked then.
    pub fn listed(self, seconds: i64, account: Option<Account>) -> Self {
        self.with(|it| it.seen.account = Some(Ok(AccountSeen { asked_at: at(seconds), account })))
    }

    /// A job was looked at or found.
    pub fn saw_job(self, id: &str, state: JobState) -> Self {
        self.with(|it| it.seen.job = Some(Ok(JobSeen::Found(Job { id: JobId::new(id), state }))))
    }

    /// The changing call of this pass was made.
    pub fn called(self, kind: CallKind, outcome: Result<Accepted, CallError>) -> Self {
        self.with(|it| it.seen.call = Some(CallSeen { kind, outcome }))
    }

    pub fn at(self, seconds: i64) -> Self {
        self.with(|it| it.now = at(seconds))
    }

    /// An intent as this object's would be.
    pub fn intent(&self, kind: OperationKind, attempt: &str, seconds: i64) -> Intent {
        let create = kind == OperationKind::Create;
        Intent {
            uid: Uid::new("uid-1"),
            instance_key: key(),
            username: Username::new("reporting"),
            kind,
            phase: None,
            attempt: AttemptId::new(attempt),
            attempts: 1,
            written_at: at(seconds),
            absent_at: None,
            adopting: false,
            removal_failed: false,
            access: if create { access(self.kind) } else { Access::default() },
            fingerprint: create.then(|| Fingerprint::new("f")),
            secret: create.then(|| version("1")),
            key_id: KeyId::new("key"),
        }
    }

    pub fn step(&self) -> Step {
        plan(&self.desired, &self.seen, &self.moment())
    }

    pub fn moment(&self) -> Moment<'static> {
        Moment {
            now: self.now,
            started_at: self.started_at,
            attempt: AttemptId::new(FRESH),
            jitter: 0.0,
            failures: 0,
            refused: self.refused.clone(),
            waiting_since: None,
            changeable_from: self.changeable_from,
            key_id: KeyId::new("key"),
            settings: &SETTINGS,
        }
    }

    /// The verdict, with its wording left out.
    pub fn verdict(&self) -> Verdict {
        match self.step() {
            Step::Settle(verdict) => {
                assert!(!verdict.message.is_empty());
                Verdict { message: String::new(), ..*verdict }
            }
            other => panic!("the pass goes on with {other:?}"),
        }
    }

    pub fn message(&self) -> String {
        match self.step() {
            Step::Settle(verdict) => verdict.message,
            other => panic!("the pass goes on with {other:?}"),
        }
    }

    /// `status.operation` for the intent at hand.
    pub fn operation(&self, state: OperationState, finished: Option<i64>) -> Operation {
        operation(self.seen.intent.as_ref().expect("an intent"), state, finished.map(at))
    }
}

/// A verdict without its wording; a test adds what it expects beside the reason.
pub fn verdict(reason: Reason) -> Verdict {
    Verdict::new(reason, "")
}

pub fn failed(reason: Reason, class: ErrorClass, message: &str) -> Verdict {
    Verdict { error: Some(CloudError::new(class, message)), ..verdict(reason) }
}

//! The small world: objects at the API server, a cloud of either kind, the process that serves them, and perhaps another
//! one that lost its lease in the middle of a pass and does not know it yet.

use std::{rc::Rc, time::Duration};

use clickhouse_user_operator::{
    api::{
        conditions::Reason,
        user::{ClickHouseUserStatus, InstanceKind, OperationKind, OperationState},
    },
    domain::{
        desired::{Desired, PasswordSource},
        journal::Intent,
        names::{AttemptId, Fingerprint, InstanceKey, KeyId, Uid, Username},
        plan::{Release, Settings, Step},
        seen::{Record, Seen},
    },
    provider::contract::{Access, CallKind, Permission, ProviderKind, WantedAccess},
};
use jiff::Timestamp;

use super::{
    cloud::{History, Owner, Work},
    instance::Lost,
};

pub const SETTINGS: Settings = Settings {
    job_poll_interval: Duration::from_secs(3),
    job_timeout: Duration::from_secs(900),
    retry_min: Duration::from_secs(1),
    retry_max: Duration::from_secs(600),
    orphan_after: Duration::from_secs(3600),
    connection_secrets: false,
};

/// The journal at the API server: what it says, and whether its seal is any good.
#[derive(Clone, Debug)]
pub struct Annotation {
    pub intent: Intent,
    pub key: u8,
    pub forged: bool,
}

#[derive(Clone, Debug)]
pub struct User {
    pub desired: Rc<Desired>,
    pub gone: bool,
    /// Moves on with each write to the object.
    pub version: u32,
    pub finalizer: bool,
    pub annotation: Option<Rc<Annotation>>,
    /// An older annotation that somebody may put back.
    pub backup: Option<Rc<Annotation>>,
    pub status: Option<Rc<ClickHouseUserStatus>>,
    /// Resource version and password; password 0 breaks the cloud's rules.
    pub secret: Option<(u8, u8)>,
    pub due: Option<Timestamp>,
    pub reason: Option<Reason>,
    pub released: Option<Release>,
    /// Somebody took the finalizer off by hand.
    pub cut_loose: bool,
}

/// What a process keeps in memory.
#[derive(Clone, Debug)]
pub struct Process {
    pub started_at: Timestamp,
    pub failures: Vec<u32>,
    pub refused: Vec<Option<AttemptId>>,
    pub list: Option<(Timestamp, Vec<(Username, Access)>)>,
    pub own_changes: Vec<(Timestamp, Username, Option<Access>)>,
    pub login_tried: Vec<Option<Timestamp>>,
}

/// A pass at work.
#[derive(Clone, Debug)]
pub struct Pass {
    pub user: usize,
    pub desired: Rc<Desired>,
    pub status: Option<Rc<ClickHouseUserStatus>>,
    pub version: u32,
    pub seen: Seen,
    pub password: Option<u8>,
    pub began: Timestamp,
    pub attempt: AttemptId,
}

/// A process that stopped before a step and lost its lease.
#[derive(Clone, Debug)]
pub struct Stopped {
    pub pass: Pass,
    pub step: Step,
    pub process: Process,
}

#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub struct World {
    pub kind: ProviderKind,
    pub now: Timestamp,
    pub users: Vec<User>,
    /// Each account's history, as far back as a list may look.
    pub accounts: Vec<(Username, History)>,
    pub work: Vec<Work>,
    pub process: Process,
    pub stopped: Option<Rc<Stopped>>,
    /// When the instance is listed for drift.
    pub look: Option<Timestamp>,
    /// Which operator key is in use.
    pub key: u8,
    /// The instance has a login check.
    pub logins: bool,
    /// ClickHouse lets the account in with no password.
    pub barred: bool,
    /// The instance is lost.
    pub lost: Option<Lost>,
    /// The cloud says "exists" and "does not exist" with a code that means anything.
    pub vague: bool,
    /// Proof was destroyed: status, journal, key, or job records that expired.
    pub evidence_lost: bool,
    /// Somebody changed the account behind our back: whether it exists or its access.
    pub tampered: bool,
    /// Somebody changed its password.
    pub password_tampered: bool,
    pub violation: Option<String>,
    /// Kept only while a way to a violation is told.
    pub diary: Option<Vec<String>>,
}

pub fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + seconds).expect("a small number of seconds")
}

pub fn instance_key() -> InstanceKey {
    InstanceKey::new("cloud/place/instance")
}

pub fn wanted(kind: ProviderKind, variant: u8) -> WantedAccess {
    match kind {
        ProviderKind::QingCloud => {
            WantedAccess { allowed_hosts: Some(vec![format!("10.{variant}.0.0/16")]), ..WantedAccess::default() }
        }
        ProviderKind::HuaweiCloud => WantedAccess {
            databases: Some(vec![format!("reports{variant}")]),
            permission: Some(Permission::ReadOnly),
            ..WantedAccess::default()
        },
    }
}

pub fn access(kind: ProviderKind, wanted: &WantedAccess) -> Access {
    kind.rules().access(wanted).expect("the wishes of this world are legal")
}

/// A name's place in the order in which objects were made.
fn desired(kind: ProviderKind, number: i64) -> Desired {
    Desired {
        uid: Uid::new(format!("u{number}")),
        namespace: "team".to_owned(),
        name: format!("user{number}"),
        generation: 1,
        created_at: at(number),
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
        access: wanted(kind, 0),
        password: PasswordSource { secret: "password".to_owned(), key: "password".to_owned(), revision: None },
        connection_secret: None,
    }
}

impl Process {
    pub fn new(started_at: Timestamp, users: usize) -> Self {
        Self {
            started_at,
            failures: vec![0; users],
            refused: vec![None; users],
            list: None,
            own_changes: Vec::new(),
            login_tried: vec![None; users],
        }
    }
}

impl User {
    pub fn uid(&self) -> &Uid {
        &self.desired.uid
    }

    /// Changes the manifest.
    pub fn wish(&mut self, change: impl FnOnce(&mut Desired)) {
        let desired = Rc::make_mut(&mut self.desired);
        desired.generation += 1;
        change(desired);
        self.version += 1;
    }
}

impl World {
    pub fn new(kind: ProviderKind, users: usize) -> Self {
        let now = at(100);
        let user = |number| User {
            desired: Rc::new(desired(kind, number)),
            gone: false,
            version: 0,
            finalizer: false,
            annotation: None,
            backup: None,
            status: None,
            secret: Some((1, 1)),
            due: Some(now),
            reason: None,
            released: None,
            cut_loose: false,
        };
        Self {
            kind,
            now,
            users: (1..).take(users).map(user).collect(),
            accounts: Vec::new(),
            work: Vec::new(),
            process: Process::new(now, users),
            stopped: None,
            look: None,
            key: 1,
            logins: false,
            barred: false,
            lost: None,
            vague: false,
            evidence_lost: false,
            tampered: false,
            password_tampered: false,
            violation: None,
            diary: None,
        }
    }

    pub fn can_list(&self) -> bool {
        self.kind.rules().capabilities().list
    }

    pub fn key_id(&self) -> KeyId {
        KeyId::new(format!("key{}", self.key))
    }

    pub fn fingerprint(&self, name: &Username, password: u8) -> Fingerprint {
        Fingerprint::new(format!("{}-{name}-{password}", self.key))
    }

    pub fn violate(&mut self, what: impl Into<String>) {
        self.violation.get_or_insert(what.into());
    }

    pub fn note(&mut self, what: impl FnOnce(&Self) -> String) {
        if let Some(mut diary) = self.diary.take() {
            diary.push(format!("{:>9.2} {}", self.now.duration_since(at(0)).as_secs_f64(), what(self)));
            self.diary = Some(diary);
        }
    }

    /// The intent on an object, as the process reads it.
    pub fn intent(&self, user: usize) -> Option<&Intent> {
        let user = &self.users[user];
        let annotation = user.annotation.as_ref()?;
        opens(annotation, user.uid(), self.key).then_some(&annotation.intent)
    }

    pub fn attempts_of(&self, user: usize) -> Vec<AttemptId> {
        let user = &self.users[user];
        let annotations = user.annotation.iter().chain(&user.backup).map(|it| it.intent.attempt.clone());
        let operation = user.status.iter().filter_map(|it| it.operation.as_ref()).map(|it| it.id.clone());
        annotations.chain(operation).collect()
    }

    /// The lowest number that no record mentions: attempts and jobs that play the same part in two states are then the
    /// same there.
    pub fn unused(&self, letter: char) -> String {
        let mut used: Vec<String> =
            (0..self.users.len()).flat_map(|it| self.attempts_of(it)).map(|it| text(&it)).collect();
        used.extend(self.work.iter().flat_map(|it| [text(&it.attempt), it.job.as_str().to_owned()]));
        used.extend(self.process.refused.iter().flatten().map(text));
        used.extend(self.users.iter().filter_map(|it| Some(it.status.as_ref()?.job_id.as_ref()?.as_str().to_owned())));
        if let Some(stopped) = &self.stopped {
            used.push(text(&stopped.pass.attempt));
            used.extend(stopped.pass.seen.intent.iter().map(|it| text(&it.attempt)));
            used.extend(stopped.pass.seen.record.operation.iter().map(|it| text(&it.id)));
        }
        (0..=used.len())
            .map(|it| format!("{letter}{it}"))
            .find(|it| !used.contains(it))
            .expect("more numbers than records")
    }

    /// An account of which neither status nor a journal tells any more is somebody else's for all anybody knows.
    pub fn forget_unproven(&mut self) {
        self.evidence_lost = true;
        for user in 0..self.users.len() {
            let it = &self.users[user];
            let owner = Owner::Object(it.uid().clone());
            let record = Record::of(it.status.as_deref(), it.uid());
            let applied = record.applied.is_some();
            let open = record.operation.as_ref().is_some_and(|it| {
                matches!(it.state, OperationState::Running | OperationState::Unknown)
                    && it.kind != OperationKind::SetPassword
            });
            // That an adoption has succeeded is told by status alone, and a change of password may have been one.
            if applied || open || self.intent(user).is_some_and(|it| !it.adopting && record.is_not_newer_than(it)) {
                continue;
            }
            for work in self.work.iter_mut().filter(|it| it.owner == owner && it.kind == CallKind::Create) {
                work.owner = Owner::Foreign;
            }
            for work in self.work.iter_mut().filter(|it| it.owner == owner) {
                work.any_owner = true;
            }
            for account in self.accounts.iter_mut().flat_map(|it| &mut it.1).filter_map(|it| it.1.as_mut()) {
                if account.owner == owner {
                    account.owner = Owner::Foreign;
                }
            }
        }
    }
}

/// What `journal::open` says; a test holds the two together.
pub fn opens(annotation: &Annotation, uid: &Uid, key: u8) -> bool {
    !annotation.forged && annotation.key == key && annotation.intent.uid == *uid
}

fn text(id: &AttemptId) -> String {
    id.as_str().to_owned()
}

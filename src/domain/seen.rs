//! What a pass knows: first from the object and the shared state, then from what each step showed. `Option::None` is
//! "not asked yet", never "absent".

use std::time::Duration;

use jiff::Timestamp;

use super::{
    connection_secret::ConnectionSecret,
    journal::{Intent, SecretVersion},
    names::{AttemptId, Fingerprint, InstanceKey, JobId, KeyId, Uid},
};
use crate::seeded::{Bug, seeded};
use crate::{
    api::{
        NEVER_OBSERVED,
        conditions::{self, ConditionStatus, Reason},
        instance::Connection,
        user::{ClickHouseUserStatus, Operation, OperationState},
    },
    provider::contract::{
        Accepted, Access, AccountSeen, CallError, CallKind, Delay, JobSeen, ProviderKind, Refusal, Turn,
    },
};

/// Everything a plan may look at beside the manifest.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// The finalizer `chuser.dev/account` is on the object.
    pub finalizer: bool,
    /// The journal entry, if it is ours and intact.
    pub intent: Option<Intent>,
    /// The attempt of a journal entry that is ours and intact, and that a newer version wrote.
    pub newer_attempt: Option<AttemptId>,
    /// What status says, if it was written for this object (`status.uid`).
    pub record: Record,
    /// The instance object the manifest names.
    pub instance: InstanceSeen,
    /// The password Secret's version, from its metadata alone.
    pub secret: SecretSeen,
    /// The password, read in this pass.
    pub password: Option<PasswordSeen>,
    /// The account in the last list that was read, whoever asked for it; free of cost, and as old as it says.
    pub listed: Option<AccountSeen>,
    /// The account list, read or reused in this pass.
    pub account: Option<Result<AccountSeen, Delay>>,
    /// The job that was asked for in this pass.
    pub job: Option<Result<JobSeen, Delay>>,
    /// A login as the account, with the password read in this pass.
    pub login: Option<LoginSeen>,
    /// When this process last tried to log in as the account.
    pub login_tried: Option<Timestamp>,
    /// The connection Secret.
    pub connection_secret: ConnectionSecretSeen,
    /// Another user holds the account or goes before this one: the whole message.
    pub rival: Option<String>,
    /// Whether it is our turn to change something on the instance.
    pub turn: Option<Turn>,
    /// The changing call of this pass.
    pub call: Option<CallSeen>,
    /// The finalizer was taken off in this pass.
    pub released: bool,
}

/// The part of status that decisions rest on.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Record {
    /// The instance the account was made on.
    pub instance_key: Option<InstanceKey>,
    /// There only while the account is ours: the access in force.
    pub applied: Option<Access>,
    /// The password in force.
    pub password: Option<RecordedPassword>,
    /// The last operation.
    pub operation: Option<Operation>,
    /// Its job.
    pub job_id: Option<JobId>,
    /// The generation it was written for.
    pub observed_generation: i64,
    /// The generation that `Ready` was true for, while it is.
    pub ready_generation: Option<i64>,
    /// When the account was last changed by an operation that succeeded.
    pub changed_at: Option<Timestamp>,
    /// When a login with the password in force last succeeded.
    pub verified_at: Option<Timestamp>,
    /// The connection Secret that was written.
    pub binding: Option<String>,
    /// The value of `chuser.dev/reconcile-requested-at` that was handled last.
    pub last_handled: Option<String>,
    /// Since when a login with the password in force is refused.
    pub login_refused_since: Option<Timestamp>,
}

/// Which password is in force, without telling it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordedPassword {
    /// The Secret's version it came from.
    pub secret: SecretVersion,
    /// Its fingerprint.
    pub fingerprint: Fingerprint,
    /// Under which operator key.
    pub key_id: KeyId,
    /// When it was set.
    pub applied_at: Option<Timestamp>,
    /// A login with it has succeeded.
    pub verified: bool,
}

/// The instance object, and how its cloud instance was last seen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum InstanceSeen {
    /// No such object.
    #[default]
    Missing,
    /// A shared one, and `--cluster-instances` is false.
    NotServed,
    /// The object is there.
    Present(InstanceFacts),
}

/// What is known of an instance object.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own, true or not")]
pub struct InstanceFacts {
    /// Which cloud instance it means.
    pub key: InstanceKey,
    /// On which cloud.
    pub provider: ProviderKind,
    /// Reason and message of its `Ready` condition; `None` before the first look.
    pub state: Option<(Reason, String)>,
    /// It carries the finalizer `chuser.dev/in-use`.
    pub held: bool,
    /// It is being deleted: serves its users, takes no new ones.
    pub terminating: bool,
    /// A credential is in hand, so calls can be made.
    pub connected: bool,
    /// The cloud confirmed, to a credential that has read the instance before, that it does not exist any more.
    pub gone: bool,
    /// Its owner does not allow this user: the whole message.
    pub not_allowed: Option<String>,
    /// How often to log in as the user (`spec.loginCheck`).
    pub login_check: Option<Duration>,
    /// Where clients connect.
    pub connection: Option<Connection>,
}

/// What a login to ClickHouse itself showed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LoginSeen {
    /// Name and password are right.
    Accepted,
    /// Name or password is wrong.
    Refused,
    /// Nobody could say; why, in words.
    Unreachable(String),
    /// Not tried: as many logins as may be are under way.
    Busy,
}

/// What is known of the connection Secret.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConnectionSecretSeen {
    /// The Secret of the name that the manifest asks for, by metadata.
    pub shown: SecretSeen,
    /// What this process last found it to say, and at which version.
    pub known: Option<(SecretSeen, ConnectionSecret)>,
    /// When this process last wrote it.
    pub written_at: Option<Timestamp>,
    /// What reading or writing it in this pass came to.
    pub found: Option<ConnectionSecretFound>,
    /// What removing the one that is no longer asked for came to in this pass: gone, or why not.
    pub removed: Option<Result<(), String>>,
}

/// What reading or writing the connection Secret came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConnectionSecretFound {
    /// There is none of that name.
    Missing,
    /// There is one that is not this object's.
    Foreign,
    /// It is ours, and says something else.
    Different,
    /// It is as it should be.
    Same,
    /// It could not be read or written; why, in words.
    Failed(String),
}

/// The password Secret, by metadata.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum SecretSeen {
    /// There is none of that name.
    #[default]
    Missing,
    /// `metadata.uid` and `metadata.resourceVersion`.
    Present {
        /// `metadata.uid`
        uid: Uid,
        /// `metadata.resourceVersion`
        resource_version: String,
    },
}

/// The password, examined by the one who read it; the text itself is not here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PasswordSeen {
    /// Secret or key is not there: which, in words.
    Missing(String),
    /// The API server did not give it: why, in words.
    Unreadable(String),
    /// There, and the cloud would refuse it.
    Refused(SecretVersion, Fingerprint, Refusal),
    /// There, and the cloud's rules allow it.
    Usable(SecretVersion, Fingerprint),
}

/// A changing call and its outcome.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallSeen {
    /// What was asked for.
    pub kind: CallKind,
    /// What came of it.
    pub outcome: Result<Accepted, CallError>,
}

/// Times on record are whole seconds, and a repeated call's is rounded up: two times this close say nothing of order.
const SAME_TIME: Duration = Duration::from_secs(2);

impl Record {
    /// Whether an intent may be the present one. An annotation from before the operation on record was put back by
    /// somebody, with a backup or an old copy of the object.
    pub fn is_not_newer_than(&self, intent: &Intent) -> bool {
        self.operation
            .as_ref()
            .is_none_or(|it| it.id == intent.attempt || it.started_at.0 <= intent.written_at + SAME_TIME)
    }

    /// Reads status. A status written for another object of the same name proves nothing.
    pub fn of(status: Option<&ClickHouseUserStatus>, uid: &Uid) -> Self {
        let Some(status) =
            status.filter(|status| status.uid.as_ref() == Some(uid) || seeded(Bug::StatusOfAnotherObject))
        else {
            return Self { observed_generation: NEVER_OBSERVED, ..Self::default() };
        };
        Self {
            instance_key: status.instance_key.clone(),
            applied: status.applied.clone().map(Access::from),
            password: status.password.as_ref().and_then(recorded_password),
            operation: status.operation.clone(),
            job_id: status.job_id.clone(),
            observed_generation: status.observed_generation.unwrap_or(NEVER_OBSERVED),
            ready_generation: conditions::find(&status.conditions, conditions::READY)
                .filter(|ready| ready.status == ConditionStatus::True.as_str())
                .and_then(|ready| ready.observed_generation),
            changed_at: changed_at(status),
            verified_at: status.password.as_ref().and_then(|it| it.verified_at.as_ref()).map(|time| time.0),
            binding: status.binding.as_ref().map(|binding| binding.name.clone()),
            last_handled: status.last_handled_reconcile_at.clone(),
            login_refused_since: conditions::find(&status.conditions, conditions::LOGIN_VERIFIED)
                .filter(|verified| verified.status == ConditionStatus::False.as_str())
                .map(|verified| verified.last_transition_time.0),
        }
    }
}

fn changed_at(status: &ClickHouseUserStatus) -> Option<Timestamp> {
    let set = status.password.as_ref().and_then(|password| password.applied_at.as_ref());
    let operation = status.operation.as_ref().filter(|operation| operation.state == OperationState::Succeeded);
    let ended = operation.and_then(|operation| operation.finished_at.as_ref());
    set.into_iter().chain(ended).map(|time| time.0).max()
}

fn recorded_password(password: &crate::api::user::AppliedPassword) -> Option<RecordedPassword> {
    Some(RecordedPassword {
        secret: SecretVersion {
            name: password.secret_name.clone()?,
            uid: password.secret_uid.clone().unwrap_or_else(|| Uid::new("")),
            resource_version: password.secret_resource_version.clone().unwrap_or_default(),
            revision: password.revision.clone(),
        },
        fingerprint: password.fingerprint.clone(),
        key_id: password.key_id.clone(),
        applied_at: password.applied_at.as_ref().map(|time| time.0),
        verified: password.verified_at.is_some(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn status_of_another_object_of_the_same_name_proves_nothing() {
        let status = ClickHouseUserStatus {
            uid: Some(Uid::new("uid-1")),
            observed_generation: Some(7),
            applied: Some(Access::default().into()),
            ..ClickHouseUserStatus::default()
        };
        let own = Record::of(Some(&status), &Uid::new("uid-1"));
        assert!(own.applied.is_some() && own.observed_generation == 7);
        let another = Record::of(Some(&status), &Uid::new("uid-2"));
        assert_eq!(another, Record { observed_generation: NEVER_OBSERVED, ..Record::default() });
    }
}

//! What a cloud must offer the operator, and the only words in which it may answer.
//!
//! Everything here is plain data plus two traits: [`AccountRules`] (pure, known without a connection) and [`Cloud`]
//! (one instance seen through one credential). Nothing here knows Kubernetes, and nothing outside `provider/` knows a
//! cloud's wire format.

use std::{collections::BTreeSet, fmt, sync::Arc, time::Duration};

use futures::future::BoxFuture;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::domain::{
    names::{AttemptId, JobId, Username},
    secret::SecretText,
};

/// The clouds this build knows. Its `Display` is what `status.provider` and metric labels show.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum ProviderKind {
    /// QingCloud MySQL Plus.
    QingCloud,
    /// Huawei Cloud TaurusDB.
    HuaweiCloud,
}

impl ProviderKind {
    /// Every cloud, for tables and metrics that list them all.
    pub const ALL: [Self; 2] = [Self::QingCloud, Self::HuaweiCloud];

    /// The name as shown to people and in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::QingCloud => "QingCloud",
            Self::HuaweiCloud => "HuaweiCloud",
        }
    }
}

impl fmt::Display for ProviderKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a cloud can do with an account. What it cannot do is refused, never ignored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a question of its own, answered yes or no")]
pub struct Capabilities {
    /// Changes are accepted as jobs that have to be followed; otherwise an answer is the outcome.
    pub jobs: bool,
    /// Accounts can be listed, so existence and access can be read back.
    pub list: bool,
    /// A password can be changed without removing the account.
    pub set_password: bool,
    /// Databases or permission can be changed without removing the account.
    pub set_access: bool,
    /// The cloud holds a list of client networks for each account.
    pub allowed_hosts: bool,
    /// The cloud holds a list of databases for each account.
    pub databases: bool,
    /// The cloud holds a permission level for each account.
    pub permission: bool,
}

/// How much an account may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Permission {
    /// Read only (Huawei Cloud `dml` 1).
    ReadOnly,
    /// Read and change settings (Huawei Cloud `dml` 2).
    ReadAndConfigure,
}

/// Access as a manifest asks for it: `None` where the field is absent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WantedAccess {
    /// `spec.allowedHosts`
    pub allowed_hosts: Option<Vec<String>>,
    /// `spec.databases`
    pub databases: Option<Vec<String>>,
    /// `spec.permission`
    pub permission: Option<Permission>,
}

/// Access in canonical form, comparable with `==`. A field that the cloud does not have is `None`.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Access {
    /// Networks that may connect: canonical addresses and CIDRs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allowed_hosts: Option<BTreeSet<String>>,
    /// Databases the account may use; `*` alone means all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub databases: Option<BTreeSet<String>>,
    /// What the account may do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub permission: Option<Permission>,
}

/// Why a manifest or a password cannot be sent to this cloud. The message names the field and the mend, never a value
/// that is secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The cloud's rules forbid the value.
    InvalidSpec(String),
    /// The cloud has no such thing.
    FieldNotSupported(String),
    /// The password breaks the cloud's rules.
    InvalidPassword(String),
}

/// A cloud's rules for accounts, checked before any call. Pure.
pub trait AccountRules: Sync {
    /// What the cloud can do.
    fn capabilities(&self) -> Capabilities;
    /// Whether the cloud takes this account name.
    fn username(&self, username: &str) -> Result<(), Refusal>;
    /// Whether the cloud takes this password for this account.
    fn password(&self, username: &str, password: &SecretText) -> Result<(), Refusal>;
    /// The access in canonical form, defaults filled in; refuses what is missing, malformed or not supported.
    fn access(&self, wanted: &WantedAccess) -> Result<Access, Refusal>;
}

/// The classes of failure. Closed: a new kind of failure is mapped to one of these, or this list grows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ErrorClass {
    /// The cloud refuses a value of the manifest.
    InvalidSpec,
    /// The cloud refuses the password.
    InvalidPassword,
    /// An account of that name is there (a definite answer).
    AccountExists,
    /// No account of that name is there (a definite answer).
    AccountNotFound,
    /// Another operation, maintenance: try again soon.
    InstanceBusy,
    /// Network, server fault, refused clock: try again.
    Unavailable,
    /// Too many calls.
    Throttled,
    /// The credential is wrong or lacks the right.
    AccessDenied,
    /// The cloud says this instance does not exist.
    InstanceNotFound,
    /// Stopped, frozen, in arrears, full, over a quota.
    InstanceUnavailable,
    /// Any other refusal of this request.
    Rejected,
}

/// A failure in the cloud's words, safe to show: the message is bounded and holds no secret, no URL and no body.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}{message}", code.as_ref().map(|c| format!("{c}: ")).unwrap_or_default())]
pub struct CloudError {
    /// What kind of failure it is.
    pub class: ErrorClass,
    /// The cloud's own code, as text.
    pub code: Option<String>,
    /// One sentence for people, at most [`MESSAGE_LIMIT`] characters.
    pub message: String,
    /// The shortest pause before the next try that the cloud asked for or its documentation demands.
    pub pause: Option<Duration>,
}

/// Longest message kept of a cloud's text: enough for every documented one, too little to carry a body.
pub const MESSAGE_LIMIT: usize = 256;

impl CloudError {
    /// A failure without a code; control characters are dropped and the message is cut to [`MESSAGE_LIMIT`].
    pub fn new(class: ErrorClass, message: impl AsRef<str>) -> Self {
        let message = message.as_ref().chars().filter(|c| !c.is_control()).take(MESSAGE_LIMIT).collect();
        Self { class, code: None, message, pause: None }
    }

    /// Adds the cloud's code, cut to 64 characters.
    #[must_use]
    pub fn with_code(mut self, code: impl AsRef<str>) -> Self {
        self.code = Some(code.as_ref().chars().filter(|c| !c.is_control()).take(64).collect());
        self
    }

    /// Adds the shortest pause before the next try.
    #[must_use]
    pub fn with_pause(mut self, pause: Duration) -> Self {
        self.pause = Some(pause);
        self
    }
}

/// Why a call did not succeed, and what that says of its effect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CallError {
    /// Certain: nothing was changed (nothing was sent, or the cloud refused in an answer that was understood).
    NotApplied(CloudError),
    /// Bytes were sent and no complete, understood answer came: it may have been applied. Find out by reading.
    Unknown(CloudError),
}

impl CallError {
    /// The failure itself, for reads, where certainty of effect means nothing.
    pub fn into_error(self) -> CloudError {
        match self {
            Self::NotApplied(error) | Self::Unknown(error) => error,
        }
    }

    /// The failure itself.
    pub fn error(&self) -> &CloudError {
        match self {
            Self::NotApplied(error) | Self::Unknown(error) => error,
        }
    }
}

/// A changing call that succeeded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Accepted {
    /// The change is in force.
    Done,
    /// The change was accepted as a job; its end tells the outcome.
    Job(JobId),
}

/// Outcome of a changing call.
pub type Mutation = Result<Accepted, CallError>;

/// The kinds of changing calls a cloud takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum CallKind {
    /// Create an account.
    Create,
    /// Change a password.
    SetPassword,
    /// Change databases or permission.
    SetAccess,
    /// Remove an account.
    Delete,
}

/// An account as a list shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// Its name.
    pub username: Username,
    /// Its access, canonical; fields the cloud does not list are `None`. Shared, because nearly all accounts of a list
    /// have the same.
    pub access: Arc<Access>,
    /// Belongs to the cloud itself: never touched.
    pub built_in: bool,
}

/// Where a job stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JobState {
    /// Not ended, or a status this build does not know.
    Running,
    /// Ended well.
    Succeeded,
    /// Ended badly; the opaque reason the cloud gave, if any.
    Failed(Option<String>),
}

/// One job. Made from a job record of which nothing else is kept, because records may repeat the password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Job {
    /// The cloud's identifier.
    pub id: JobId,
    /// Where it stands.
    pub state: JobState,
}

/// What to look for among the jobs of an instance when the answer to a call was lost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LostCall {
    /// The attempt whose answer was lost.
    pub attempt: AttemptId,
    /// What was asked for.
    pub kind: CallKind,
    /// For which account.
    pub username: Username,
    /// When the intent was written; jobs created well before it are not ours.
    pub since: Timestamp,
}

/// Where clients connect to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Address {
    /// Host name or IP address.
    pub host: String,
    /// Native protocol.
    pub port: Option<u16>,
    /// HTTP interface.
    pub http_port: Option<u16>,
    /// Whether the ports speak TLS.
    pub tls: bool,
}

/// One account in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountSeen {
    /// The moment the list speaks for: when its first page was asked.
    pub asked_at: Timestamp,
    /// The account, if it is in the list.
    pub account: Option<Account>,
}

/// What became of a search for a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JobSeen {
    /// The job.
    Found(Job),
    /// The cloud shows no such job.
    NotFound,
}

/// Why a read or a turn could not be had now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Delay {
    /// Our own budget, breaker or list pacing: not before this time.
    NotBefore(Timestamp),
    /// The cloud's answer.
    Failed(CloudError),
}

/// The one-writer queue of the instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Turn {
    /// We may change something now.
    Ours,
    /// Somebody else is at it; we are woken when it is our turn.
    Waiting,
    /// Our own budget or breaker: not before this time.
    NotBefore(Timestamp),
    /// The cloud says that another operation runs on the instance: not before this time.
    Busy(Timestamp),
    /// As many accounts as may go within the window have gone: not before this time.
    DeletionLimited(Timestamp),
}

/// What one read of an instance showed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InstanceReading {
    /// The accounts, where the cloud can list them.
    pub accounts: Option<Vec<Account>>,
    /// The connection address, where the cloud reports one.
    pub address: Option<Address>,
    /// Another operation runs on the instance right now.
    pub busy: bool,
}

/// What a new account needs.
pub struct NewAccount<'a> {
    /// Its name.
    pub username: &'a Username,
    /// Its password.
    pub password: &'a SecretText,
    /// Its access.
    pub access: &'a Access,
}

/// One instance seen through one credential: the raw calls, each bounded in time and bytes, none retried.
///
/// `attempt` identifies a changing call to clouds that repeat it in their job records. Calls that a cloud does not have
/// (see [`Capabilities`]) answer [`ErrorClass::Rejected`]; the plan never asks for them.
pub trait Cloud: Send + Sync {
    /// Proves that the credential can read the instance, and says what the read showed. An instance that cannot take
    /// changes (stopped, frozen) is an error of its class, not a reading.
    fn read_instance(&self) -> BoxFuture<'_, Result<InstanceReading, CloudError>>;

    /// Creates an account.
    fn create<'a>(&'a self, attempt: &'a AttemptId, account: NewAccount<'a>) -> BoxFuture<'a, Mutation>;

    /// Changes a password in place.
    fn set_password<'a>(
        &'a self,
        attempt: &'a AttemptId,
        username: &'a Username,
        password: &'a SecretText,
    ) -> BoxFuture<'a, Mutation>;

    /// Replaces databases and permission.
    fn set_access<'a>(
        &'a self,
        attempt: &'a AttemptId,
        username: &'a Username,
        access: &'a Access,
    ) -> BoxFuture<'a, Mutation>;

    /// Removes an account.
    fn delete<'a>(&'a self, attempt: &'a AttemptId, username: &'a Username) -> BoxFuture<'a, Mutation>;

    /// Connections of one credential with the same scope may ask for their jobs in one call (QingCloud: the zone).
    fn job_scope(&self) -> &str;

    /// Reads the named jobs, in one call where they fit. Jobs that the cloud does not show are left out.
    fn jobs<'a>(&'a self, ids: &'a [JobId]) -> BoxFuture<'a, Result<Vec<Job>, CloudError>>;

    /// Finds the job of a call whose answer was lost. `None`: every record of that time was read and none is it.
    fn find_job<'a>(&'a self, lost: &'a LostCall) -> BoxFuture<'a, Result<Option<Job>, CloudError>>;
}

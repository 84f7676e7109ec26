//! What came in, what was answered and what was changed: one list, totally ordered, without a secret in it.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// The emulated services; each has a port of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Service {
    /// QingCloud's API.
    QingCloud,
    /// Huawei Cloud's database API.
    Huawei,
    /// Huawei Cloud's identity service.
    Iam,
}

/// What a request asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Operation {
    /// QingCloud: `RunClusterCustomService` with `add_ck_user`.
    AddCkUser,
    /// QingCloud: `RunClusterCustomService` with `del_ck_user`.
    DelCkUser,
    /// QingCloud: `DescribeJobs`.
    DescribeJobs,
    /// QingCloud: `DescribeClusters`.
    DescribeClusters,
    /// QingCloud: `DescribeClusterNodes`.
    DescribeClusterNodes,
    /// Huawei Cloud: create an account.
    CreateUser,
    /// Huawei Cloud: list accounts.
    ListUsers,
    /// Huawei Cloud: delete an account.
    DeleteUser,
    /// Huawei Cloud: change a password.
    SetPassword,
    /// Huawei Cloud: change databases and permission.
    SetPermission,
    /// Huawei Cloud: list databases.
    ListDatabases,
    /// Huawei Cloud: a ClickHouse instance in detail.
    ShowInstance,
    /// Huawei Cloud: the analysis instances of a TaurusDB instance.
    ListHtap,
    /// Huawei Cloud: a job.
    ShowJob,
    /// IAM: a new token.
    CreateToken,
    /// IAM: look at a token.
    ShowToken,
    /// IAM: find projects.
    ListProjects,
    /// Anything else.
    Other,
}

impl Operation {
    /// Whether it changes accounts.
    pub fn changes_accounts(self) -> bool {
        matches!(
            self,
            Self::AddCkUser
                | Self::DelCkUser
                | Self::CreateUser
                | Self::DeleteUser
                | Self::SetPassword
                | Self::SetPermission
        )
    }
}

/// A request as it came in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Request {
    /// Where it came in.
    pub service: Service,
    /// What it asked for.
    pub operation: Operation,
    /// HTTP method.
    pub verb: String,
    /// Access key id, or name of the user whose token or password it carried; not yet proven.
    pub key: Option<String>,
    /// The cluster or instance it names.
    pub instance: Option<String>,
    /// The account it names.
    pub account: Option<String>,
    /// Its `req_id` (QingCloud).
    pub request_id: Option<String>,
}

/// The answer to a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Answer {
    /// HTTP status; none where the connection was cut without one.
    pub status: Option<u16>,
    /// The cloud's own code; `0` is QingCloud's success.
    pub code: Option<String>,
    /// Its header `Retry-After`, as it was sent.
    pub retry_after: Option<String>,
    /// Name of the fault that shaped it.
    pub fault: Option<&'static str>,
}

/// A change of an account.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Effect {
    /// What changed.
    pub kind: EffectKind,
    /// The cluster or instance.
    pub instance: String,
    /// The account's name.
    pub account: String,
    /// Digest of the password now in force, where this effect set it.
    pub password_digest: Option<String>,
    /// The access now in force, where this effect set it.
    pub access: Option<AccountAccess>,
    /// Number of the request that asked for it; none for what was done at the cloud's console.
    pub request: Option<u64>,
    /// The job that did it (QingCloud).
    pub job: Option<String>,
}

/// The kinds of changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EffectKind {
    /// An account was created.
    Created,
    /// An account was removed.
    Deleted,
    /// A password was set.
    PasswordSet,
    /// Databases or permission were set.
    AccessSet,
}

/// What an account may do, in the words of its cloud.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AccountAccess {
    /// Addresses and networks that may connect (QingCloud).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hosts: Option<Vec<String>>,
    /// Databases (Huawei Cloud).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub databases: Option<Vec<String>>,
    /// `dml`: 1 reads only, 2 may also change settings (Huawei Cloud).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dml: Option<u8>,
}

/// What an entry says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Event {
    /// A request came in; the entry's `sequence` is its number.
    Request(Request),
    /// A request was answered. None follows a request whose client went away first.
    Answer {
        /// Number of the request.
        request: u64,
        /// The answer.
        answer: Answer,
    },
    /// An account changed.
    Effect(Effect),
    /// A request was accepted as a job (QingCloud).
    JobStarted {
        /// Its id.
        job: String,
        /// Number of the request.
        request: u64,
    },
    /// A job ended (QingCloud).
    JobEnded {
        /// Its id.
        job: String,
        /// Its last status.
        status: String,
    },
}

/// One line of the ledger.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Entry {
    /// Its place in the total order, from 0.
    pub sequence: u64,
    /// The clouds' clock.
    pub time: Timestamp,
    /// What happened.
    #[serde(flatten)]
    pub event: Event,
}

/// Everything that happened, in order.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    entries: Vec<Entry>,
}

impl Ledger {
    /// Adds an entry and returns its place.
    pub fn append(&mut self, time: Timestamp, event: Event) -> u64 {
        let sequence = self.entries.len() as u64;
        self.entries.push(Entry { sequence, time, event });
        sequence
    }

    /// Every entry, oldest first.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Every request with its number.
    pub fn requests(&self) -> impl Iterator<Item = (u64, &Request)> {
        self.entries.iter().filter_map(|entry| match &entry.event {
            Event::Request(request) => Some((entry.sequence, request)),
            _ => None,
        })
    }

    /// How many requests asked for this.
    pub fn count(&self, operation: Operation) -> usize {
        self.requests().filter(|(_, request)| request.operation == operation).count()
    }

    /// How many requests asked for a change of accounts, refused ones included.
    pub fn changing_requests(&self) -> usize {
        self.requests().filter(|(_, request)| request.operation.changes_accounts()).count()
    }

    /// The answer to a request.
    pub fn answer_to(&self, number: u64) -> Option<&Answer> {
        self.entries.iter().find_map(|entry| match &entry.event {
            Event::Answer { request, answer } if *request == number => Some(answer),
            _ => None,
        })
    }

    /// The answers to all requests for this, in the order they were given.
    pub fn answers(&self, operation: Operation) -> impl Iterator<Item = &Answer> {
        self.entries.iter().filter_map(move |entry| match &entry.event {
            Event::Answer { request, answer } => {
                let place = usize::try_from(*request).ok()?;
                match &self.entries.get(place)?.event {
                    Event::Request(asked) if asked.operation == operation => Some(answer),
                    _ => None,
                }
            }
            _ => None,
        })
    }

    /// Every change of an account.
    pub fn effects(&self) -> impl Iterator<Item = &Effect> {
        self.entries.iter().filter_map(|entry| match &entry.event {
            Event::Effect(effect) => Some(effect),
            _ => None,
        })
    }

    /// Every change of the accounts of this name.
    pub fn effects_of<'a>(&'a self, account: &'a str) -> impl Iterator<Item = &'a Effect> {
        self.effects().filter(move |effect| effect.account == account)
    }

    /// Writes one JSON object a line.
    pub fn to_json_lines(&self) -> String {
        self.entries.iter().flat_map(|entry| [serde_json::json!(entry).to_string(), "\n".to_owned()]).collect()
    }
}

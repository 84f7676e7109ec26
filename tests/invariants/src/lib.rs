//! What the operator never breaks, held against what really happened.
//!
//! Two histories are written outside the operator: the emulated clouds' ledger and the API server's audit log.
//! [`check`] walks both and returns every place where they contradict one of the rules. It knows nothing of the
//! operator's code: objects are JSON, and what a rule says is written down here a second time.
//!
//! | rule | says |
//! | --- | --- |
//! | I1 | an account is deleted only for a deleted object that asks for it, an expiry, or a re-creation |
//! | I2 | every change of an account was announced by the object that holds it; accounts of others stay untouched |
//! | I3 | an account is made once: no second call over a running job, an account of ours, or an answer nobody read |
//! | I4 | `Ready` is true only while password and access in the cloud are those that status names |
//! | I7 | nobody is asked before the pause that they asked for is over; in an outage only after pauses that grow, however many users there are; nor is one change tried again without them |
//! | I9 | status only moves forward, and is written only where its meaning changes |
//! | I10 | the finalizer goes only when the account has gone, is kept on purpose, or was never ours |
//! | I13 | Secrets are read only where an object of their namespace names them; nothing else is asked for |
//! | I14 | however many processes there are, an account has one creation or deletion under way, whatever announced it |
//!
//! The remaining ones need more than histories: I5 (no leak), I6 (what is settled stays settled) and I8 (one's trouble is no
//! other's) are proven where the system runs.

mod accounts;
mod attempts;
mod calls;
mod cloud;
mod objects;
mod outages;
mod requests;
mod status;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    time::Duration,
};

use control_plane::AuditEvent;
use emulated_clouds::Ledger;
use jiff::Timestamp;

use crate::{accounts::Accounts, cloud::Cloud, objects::Objects};

/// Everything that happened, and what a test has to add to it.
#[derive(Clone, Debug, Default)]
pub struct History {
    /// The operator's user name at the API server.
    pub operator: String,
    /// Its own namespace.
    pub operator_namespace: String,
    /// The namespaces that it served.
    pub namespaces: BTreeSet<String>,
    /// The audit log.
    pub requests: Vec<AuditEvent>,
    /// The clouds' ledgers: more than one where a test replaced the clouds. Accounts go with their ledger.
    pub clouds: Vec<Ledger>,
    /// The passwords that Secrets held, as digests of the clouds: by version of the Secret and key.
    pub secrets: BTreeMap<SecretVersion, BTreeMap<String, String>>,
    /// Objects that a test made the operator release without its account, such as by taking the credentials away.
    pub orphans: BTreeSet<String>,
    /// When the operator was started: what it keeps in memory begins anew.
    pub starts: Vec<Timestamp>,
    /// `--retry-min`, the first pause after a failure.
    pub retry_min: Duration,
    /// `--retry-max`, which bounds every pause that a cloud asks for.
    pub retry_max: Duration,
}

/// One version of a Secret: `metadata.uid` and `metadata.resourceVersion`.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct SecretVersion {
    /// `metadata.uid`
    pub uid: String,
    /// `metadata.resourceVersion`
    pub resource_version: String,
}

/// A rule that was broken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Which, as in the table above.
    pub rule: &'static str,
    /// By what.
    pub what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.rule, self.what)
    }
}

/// Every violation, rule by rule.
pub fn check(history: &History) -> Vec<Violation> {
    let objects = Objects::of(history);
    let cloud = Cloud::of(&history.clouds);
    let accounts = Accounts::of(&objects, &cloud);
    let mut found = accounts::check(&objects, &accounts);
    found.extend(calls::check(history, &objects, &cloud, &accounts));
    found.extend(status::check(history, &objects, &accounts));
    found.extend(accounts::check_releases(history, &objects, &accounts));
    found.extend(requests::check(history, &objects));
    found
}

//! The reasons that conditions give: one table, from which the documentation is made.

use std::fmt;

use Retry::{Backoff, JobPoll, OnChange, Turn};
use Subject::{Both, Instance, User};

/// Status of a condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ConditionStatus {
    /// It is so.
    True,
    /// It is not so.
    False,
    /// It is being worked on.
    Unknown,
}

impl ConditionStatus {
    /// The status as the API writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::True => "True",
            Self::False => "False",
            Self::Unknown => "Unknown",
        }
    }
}

/// The condition that stands beside `Ready`, with the same reason and message, while it is True.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Companion {
    /// The operator is at work or will try again by itself.
    Reconciling,
    /// A human has to act.
    Stalled,
    /// A human has asked for a stop.
    Suspended,
}

impl Companion {
    /// Every companion.
    pub const ALL: [Self; 3] = [Self::Reconciling, Self::Stalled, Self::Suspended];

    /// The condition's type.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Reconciling => "Reconciling",
            Self::Stalled => "Stalled",
            Self::Suspended => "Suspended",
        }
    }
}

/// The kinds that a reason is given on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Subject {
    /// `ClickHouseUser` only.
    User,
    /// `ClickHouseInstance` and `ClusterClickHouseInstance` only.
    Instance,
    /// All three kinds.
    Both,
}

impl Subject {
    /// Whether users give the reason.
    pub fn includes_users(self) -> bool {
        matches!(self, Self::User | Self::Both)
    }

    /// Whether instances give the reason.
    pub fn includes_instances(self) -> bool {
        matches!(self, Self::Instance | Self::Both)
    }
}

/// What starts the next pass. Whatever the rule, a change of the object, its Secret or its instance does too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Retry {
    /// A change, or a drift check.
    OnChange,
    /// Its turn in the instance's queue; where the cloud makes a job of it, the next poll.
    Turn,
    /// The next poll of the cloud's jobs.
    JobPoll,
    /// A growing pause between `--retry-min` and `--retry-max`.
    Backoff,
    /// A pause of `--retry-max` or longer.
    Slow,
}

impl Retry {
    /// The rule in words.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::OnChange => "when the object, its Secret or its instance changes",
            Self::Turn => {
                "when its turn on the instance comes, then with the next poll where the cloud made a job of it"
            }
            Self::JobPoll => "with the next poll of the cloud's jobs (--job-poll-interval)",
            Self::Backoff => "after a growing pause (--retry-min to --retry-max)",
            Self::Slow => "after --retry-max, at once when the object, its Secret or its instance changes",
        }
    }
}

/// What a reason says of the object, apart from its words.
#[derive(Clone, Copy)]
struct State {
    ready: ConditionStatus,
    companion: Option<Companion>,
    subject: Subject,
    retry: Retry,
}

const fn ready(subject: Subject) -> State {
    State { ready: ConditionStatus::True, companion: None, subject, retry: Retry::OnChange }
}

const fn working(subject: Subject, retry: Retry) -> State {
    State { ready: ConditionStatus::Unknown, companion: Some(Companion::Reconciling), subject, retry }
}

const fn suspended(subject: Subject) -> State {
    State { ready: ConditionStatus::Unknown, companion: Some(Companion::Suspended), subject, retry: Retry::OnChange }
}

const fn stalled(subject: Subject) -> State {
    State { ready: ConditionStatus::False, companion: Some(Companion::Stalled), subject, retry: Retry::Slow }
}

const fn ended(subject: Subject) -> State {
    State { ready: ConditionStatus::False, companion: None, subject, retry: Retry::OnChange }
}

/// Makes the enum and all that is known of its variants of one table: the name (with its word where that differs), what
/// it says of the object, its meaning, and what a human does about it.
macro_rules! reasons {
    ($($name:ident $(as $word:literal)?: $state:expr, $meaning:literal, $mend:literal;)*) => {
        /// Why `Ready` is as it is. A variant is a row of the documentation: one meaning, one rule for trying again.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Reason {
            $(#[doc = $meaning] $name,)*
        }

        impl Reason {
            /// Every reason, in the order of the documentation.
            pub const ALL: &[Self] = &[$(Self::$name),*];

            /// The word in the condition. `OutcomeUnknown` is the one that two variants share.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => [$($word,)? stringify!($name)][0],)* }
            }

            /// What is the case, in one sentence.
            pub const fn meaning(self) -> &'static str {
                match self { $(Self::$name => $meaning,)* }
            }

            /// What a human does about it.
            pub const fn mend(self) -> &'static str {
                match self { $(Self::$name => $mend,)* }
            }

            const fn state(self) -> State {
                match self { $(Self::$name => $state,)* }
            }
        }
    };
}

reasons! {
    AccountReady: ready(User),
        "The account exists and is as the manifest says.",
        "Nothing.";
    Reachable: ready(Instance),
        "The credentials can read the instance.",
        "Nothing.";

    Creating: working(User, Turn),
        "The account is due to be created and waits for its turn on the instance.",
        "Nothing; where it lasts, look at the other users of the instance.";
    JobRunning: working(User, JobPoll),
        "The cloud has accepted the creation as a job and works on it.",
        "Nothing; status.jobID finds the job in the cloud's console.";
    UpdatingPassword: working(User, Turn),
        "A new password is due or being set.",
        "Nothing; the old password works until then.";
    UpdatingAccess: working(User, Turn),
        "New databases or a new permission are due or being set.",
        "Nothing; the old access is in force until then.";
    Recreating: working(User, Turn),
        "The account is deleted and added again, or waits for that; while operation.phase is Removed it is gone.",
        "Nothing; an account is re-created at most once in 10 minutes.";
    Deleting: working(User, Turn),
        "The account is being deleted, and the object goes with it.",
        "Nothing; to keep the account set deletionPolicy: Retain.";
    DeletionLimited: working(User, Turn),
        "Many accounts of the instance were deleted within a short time, so this deletion waits (--max-deletes).",
        "Nothing, if the deletions are meant; to keep the account set deletionPolicy: Retain.";
    WaitingForSecret: working(Both, OnChange),
        "The Secret with the password (on an instance: with the credentials) or a key in it does not exist.",
        "Create the Secret, or correct passwordSecretRef (on an instance: credentialsSecretRef).";
    WaitingForInstance: working(User, OnChange),
        "The instance object does not exist, is being deleted, or is not ready for a reason of its own.",
        "Create the instance object, correct instanceRef, or see the conditions of the instance object.";
    WaitingForConnection: working(User, OnChange),
        "The account exists, but its connection Secret cannot be written: as a rule, no host is known to write into it.",
        "Set connection.host on the instance object; where the message names another cause, remove that.";
    InstanceBusy: working(User, Backoff),
        "Another operation or maintenance runs on the instance.",
        "Nothing; where it lasts, look at the instance in the cloud's console.";
    ProviderUnavailable: working(Both, Backoff),
        "The cloud's API cannot be reached, fails, or refuses the operator's clock.",
        "Nothing, if it passes; else check network, proxy, certificates and clock of the operator.";
    Throttled: working(Both, Backoff),
        "The cloud refuses calls because there were too many.",
        "Nothing; where it lasts, see what else calls with the same credentials, or lower the operator's rate.";
    OutcomeUnknown: working(User, Backoff),
        "A call was sent and no clear answer came; the operator reads whether it was applied.",
        "Nothing; the operator finds out.";

    Suspended: suspended(User),
        "The account was never applied because spec.suspend is true.",
        "Remove spec.suspend.";

    InvalidSpec: stalled(Both),
        "A value of spec, or a combination of values, is not valid on this cloud.",
        "Correct the field that the message names.";
    InvalidPassword: stalled(User),
        "The password breaks the cloud's rules; it was not sent.",
        "Put a password into the Secret that follows the rule in the message.";
    FieldNotSupported: stalled(User),
        "The cloud, or the operator as it was started, cannot do what a field asks for.",
        "Remove the field that the message names.";
    ChangeNotSupported: stalled(User),
        "The cloud has no call for this change of an existing account.",
        "Take the change back, or set updatePolicy: Recreate, which deletes the account and adds it again.";
    AccountExists: stalled(User),
        "An account of this name is there already and is not this object's.",
        "Choose another username, remove the account, or set adoptionPolicy: Adopt (not for built-in accounts).";
    AccountConflict: stalled(User),
        "Another ClickHouseUser already holds this account.",
        "Choose another username, or delete one of the two objects.";
    NotAllowed: stalled(Both),
        "The namespace, a ceiling of the instance, an endpoint or a login target is not allowed.",
        "Ask the owner of the instance (on an instance: of the operator) to allow it, or ask for less.";
    InstanceChanged: stalled(User),
        "The instance object now stands for another instance than the one that holds the account.",
        "Restore the instance object, or delete this object and create it anew.";
    AccessDenied: stalled(Both),
        "The cloud refuses the credentials, or they lack a right.",
        "Correct the credentials Secret of the instance, or grant the right in the cloud.";
    InstanceNotFound: stalled(Both),
        "The cloud says that the instance does not exist.",
        "Check the identifiers of the instance object; where the instance is gone, delete its objects.";
    InstanceUnavailable: stalled(Both),
        "The instance is stopped, frozen, in arrears, full or over a quota.",
        "Bring the instance back into service in the cloud's console.";
    ProviderRejected: stalled(User),
        "The cloud refused the request for a reason of its own.",
        "See status.error; correct what its code names.";
    JobFailed: stalled(User),
        "The cloud accepted a job for the account, and the job failed.",
        "See the message. The name may be taken: choose another, or set adoptionPolicy: Adopt, updatePolicy: Recreate.";
    OutcomeStaysUnknown as "OutcomeUnknown": stalled(User),
        "A call was sent, no clear answer came, and nothing that can be read shows whether it was applied.",
        "Look at the account in the cloud, then follow one of the exits in the message.";
    ConnectionSecretConflict: stalled(User),
        "A Secret of the connection Secret's name is there and is not this object's.",
        "Choose another connectionSecret.name, or delete the Secret.";

    Expired: ended(User),
        "expiresAt has passed and the account is deleted.",
        "Delete the object, or set a later expiresAt to have the account again.";
}

impl Reason {
    /// What `Ready` is with this reason.
    pub const fn ready(self) -> ConditionStatus {
        self.state().ready
    }

    /// What stands beside `Ready`.
    pub const fn companion(self) -> Option<Companion> {
        self.state().companion
    }

    /// Which kinds give the reason.
    pub const fn subject(self) -> Subject {
        self.state().subject
    }

    /// What starts the next pass.
    pub const fn retry(self) -> Retry {
        self.state().retry
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// The table of the design, written out by hand: status, companion, words.
    #[test]
    fn users_and_instances_give_exactly_the_reasons_of_the_design() {
        fn words(
            subject: fn(Subject) -> bool,
            ready: ConditionStatus,
            companion: Option<Companion>,
        ) -> BTreeSet<&'static str> {
            let chosen = |r: &&Reason| subject(r.subject()) && r.ready() == ready && r.companion() == companion;
            Reason::ALL.iter().filter(chosen).map(|r| r.as_str()).collect()
        }
        fn set(words: &str) -> BTreeSet<&str> {
            words.split_whitespace().collect()
        }
        use Companion::{Reconciling, Stalled, Suspended};
        use ConditionStatus::{False, True, Unknown};

        let users = Subject::includes_users;
        assert_eq!(words(users, True, None), set("AccountReady"));
        assert_eq!(
            words(users, Unknown, Some(Reconciling)),
            set("Creating JobRunning UpdatingPassword UpdatingAccess Recreating Deleting DeletionLimited \
                 WaitingForSecret WaitingForInstance WaitingForConnection InstanceBusy ProviderUnavailable \
                 Throttled OutcomeUnknown")
        );
        assert_eq!(words(users, Unknown, Some(Suspended)), set("Suspended"));
        assert_eq!(
            words(users, False, Some(Stalled)),
            set("InvalidSpec InvalidPassword FieldNotSupported ChangeNotSupported AccountExists AccountConflict \
                 NotAllowed InstanceChanged AccessDenied InstanceNotFound InstanceUnavailable ProviderRejected \
                 JobFailed OutcomeUnknown ConnectionSecretConflict")
        );
        assert_eq!(words(users, False, None), set("Expired"));

        let instances = Subject::includes_instances;
        assert_eq!(words(instances, True, None), set("Reachable"));
        assert_eq!(words(instances, Unknown, Some(Reconciling)), set("WaitingForSecret ProviderUnavailable Throttled"));
        assert_eq!(
            words(instances, False, Some(Stalled)),
            set("NotAllowed AccessDenied InstanceNotFound InstanceUnavailable InvalidSpec")
        );
    }

    #[test]
    fn a_reason_has_one_meaning_one_mend_and_a_word_of_its_own() {
        let meanings: BTreeSet<_> = Reason::ALL.iter().map(|r| r.meaning()).collect();
        assert_eq!(meanings.len(), Reason::ALL.len());
        let words: BTreeSet<_> = Reason::ALL.iter().map(|r| (r.as_str(), r.ready().as_str())).collect();
        assert_eq!(words.len(), Reason::ALL.len());
        for reason in Reason::ALL {
            assert!(reason.meaning().ends_with('.') && reason.mend().ends_with('.'), "{reason:?}");
            assert!(reason.as_str().chars().all(char::is_alphanumeric), "{reason:?}");
        }
    }

    #[test]
    fn what_stalls_is_retried_slowly_and_nothing_else_is() {
        for reason in Reason::ALL {
            let stalled = reason.companion() == Some(Companion::Stalled);
            assert_eq!(stalled, reason.retry() == Retry::Slow, "{reason:?}");
        }
    }
}

//! The closed sets of words that metrics are labelled with. No text from outside ever becomes a label, so the number of
//! time series is bounded by this file.

/// Defines an enum whose variants are words on the metrics page.
macro_rules! words {
    ($(#[$about:meta])* $name:ident { $($(#[$meaning:meta])* $variant:ident = $word:literal,)+ }) => {
        $(#[$about])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name { $($(#[$meaning])* $variant,)+ }

        impl $name {
            /// Every one of them.
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            /// The word on the page.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word,)+ }
            }
        }
    };
}

words! {
    /// How a pass ended.
    PassOutcome {
        /// Nothing is left to do until something changes.
        Settled = "settled",
        /// It goes on later: a job, a queue, a budget, a backoff.
        Waiting = "waiting",
        /// Only a person can help.
        Refused = "refused",
        /// An error that is tried again.
        Failed = "failed",
        /// Cut off at its deadline.
        TimedOut = "timed_out",
        /// A bug; only this pass was lost.
        Panicked = "panicked",
    }
}

words! {
    /// The lanes to the clouds, the first in the greatest hurry.
    Lane {
        /// Changed passwords, and those whose turn it is at their instance: others wait for them.
        Urgent = "urgent",
        /// What a person waits for: new, changed and deleted users.
        Fast = "fast",
        /// Drift checks and retries.
        Slow = "slow",
    }
}

words! {
    /// Status of the condition `Ready`.
    Ready {
        /// The account is as the manifest says.
        True = "True",
        /// It is not, and will not be without help.
        False = "False",
        /// Work is under way.
        Unknown = "Unknown",
    }
}

words! {
    /// What an operation does to an account, as in `status.operation.kind`.
    OperationKind {
        /// Make the account.
        Create = "Create",
        /// Set its password.
        SetPassword = "SetPassword",
        /// Set its databases or permission.
        SetAccess = "SetAccess",
        /// Remove it and make it anew.
        Recreate = "Recreate",
        /// Remove it.
        Delete = "Delete",
    }
}

words! {
    /// What is asked of the API server.
    KubeVerb {
        /// Read one object.
        Get = "get",
        /// Read many.
        List = "list",
        /// Follow many.
        Watch = "watch",
        /// Make one.
        Create = "create",
        /// Replace one.
        Update = "update",
        /// Change parts of one.
        Patch = "patch",
        /// Remove one.
        Delete = "delete",
    }
}

words! {
    /// The kinds of objects the operator reads or writes.
    KubeKind {
        /// Accounts that should exist.
        ClickHouseUser = "ClickHouseUser",
        /// Instances of a team.
        ClickHouseInstance = "ClickHouseInstance",
        /// Instances shared by teams.
        ClusterClickHouseInstance = "ClusterClickHouseInstance",
        /// Passwords, credentials, connections, the operator's key.
        Secret = "Secret",
        /// Labels for `allowedNamespaces`.
        Namespace = "Namespace",
        /// What people are told beside status.
        Event = "Event",
        /// Who leads.
        Lease = "Lease",
    }
}

impl KubeKind {
    /// The kinds that are watched.
    pub const WATCHED: [Self; 5] = [
        Self::ClickHouseUser,
        Self::ClickHouseInstance,
        Self::ClusterClickHouseInstance,
        Self::Secret,
        Self::Namespace,
    ];
}

words! {
    /// What the API server answered.
    KubeOutcome {
        /// Done.
        Ok = "ok",
        /// 404 or 410: the object, or the version of a watch, is gone.
        NotFound = "not_found",
        /// 409: somebody else was faster.
        Conflict = "conflict",
        /// 401 or 403.
        Denied = "denied",
        /// 429.
        Throttled = "throttled",
        /// Any other 4xx: the request itself is wrong.
        Rejected = "rejected",
        /// 5xx.
        ServerError = "server_error",
        /// No complete answer in time.
        Unreachable = "unreachable",
    }
}

impl KubeOutcome {
    /// The outcome that an HTTP status stands for.
    pub const fn of_status(status: u16) -> Self {
        match status {
            ..400 => Self::Ok,
            401 | 403 => Self::Denied,
            404 | 410 => Self::NotFound,
            409 => Self::Conflict,
            429 => Self::Throttled,
            400..500 => Self::Rejected,
            500.. => Self::ServerError,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_status_has_one_outcome() {
        let expected = [
            (200, KubeOutcome::Ok),
            (403, KubeOutcome::Denied),
            (404, KubeOutcome::NotFound),
            (409, KubeOutcome::Conflict),
            (410, KubeOutcome::NotFound),
            (422, KubeOutcome::Rejected),
            (429, KubeOutcome::Throttled),
            (503, KubeOutcome::ServerError),
        ];
        for (status, outcome) in expected {
            assert_eq!(KubeOutcome::of_status(status), outcome, "{status}");
        }
    }
}

//! A type for each string that has a meaning of its own, so that one cannot be passed for another.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Declares a text newtype with the traits every name needs.
macro_rules! name {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            /// Wraps a text that is already known to be such a name.
            pub fn new(text: impl Into<String>) -> Self {
                Self(text.into())
            }

            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

name! {
    /// The ClickHouse account's name as the cloud knows it.
    Username
}
name! {
    /// `metadata.uid` of a Kubernetes object.
    Uid
}
name! {
    /// What an instance is, whoever names it: `qingcloud/<zone>/<clusterID>` or
    /// `huaweicloud/<region>/<projectID>/<instanceID>`. Two instance objects with the same key share one queue.
    InstanceKey
}
name! {
    /// A cloud's own identifier of an asynchronous job.
    JobId
}
name! {
    /// Identifies one attempt of one mutating call: 32 lower-case hex digits, durable before the call is sent.
    /// QingCloud is given it as `req_id`.
    AttemptId
}
name! {
    /// Says under which operator key a fingerprint or digest was made.
    KeyId
}
name! {
    /// Keyed digest of instance, username and password: tells whether a password changed without telling what it is.
    Fingerprint
}

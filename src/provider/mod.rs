//! The clouds: the contract each fulfils, what their connections share, and one folder a cloud. Knows no Kubernetes.

pub mod breaker;
pub mod budget;
pub mod connection;
pub mod contract;
pub mod delete_limit;
pub mod fleet;
pub mod http;
pub mod huaweicloud;
pub mod jobs;
pub mod percent;
pub mod qingcloud;
pub mod queue;
pub mod redact;

use contract::{AccountRules, ProviderKind};

impl ProviderKind {
    /// The cloud's rules for accounts.
    pub fn rules(self) -> &'static dyn AccountRules {
        match self {
            Self::QingCloud => &qingcloud::rules::Rules,
            Self::HuaweiCloud => &huaweicloud::rules::Rules,
        }
    }
}

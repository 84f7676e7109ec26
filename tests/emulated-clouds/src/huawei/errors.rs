//! Refusals of the database service and of the gateway before it.

use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::{message::Reply, switches::Envelope, world::World};

/// Why the database service refuses; the code of each may be replaced
/// ([`EmulatedClouds::set_huawei_code`](crate::EmulatedClouds::set_huawei_code)).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Rejection {
    /// The name breaks the rules.
    InvalidName,
    /// The password breaks the rules.
    WeakPassword,
    /// An account of that name is there.
    AccountExists,
    /// No account of that name is there.
    AccountMissing,
    /// The account is the cloud's own.
    BuiltInAccount,
    /// A database that is named does not exist.
    DatabaseMissing,
    /// Another value is missing or wrong.
    BadParameter,
    /// `limit` or `offset` is wrong.
    BadPage,
    /// The id has not the form of one.
    MalformedInstanceId,
    /// The instance does not exist.
    InstanceMissing,
    /// The instance is another project's.
    InstanceForbidden,
    /// The token is for another project.
    TokenOfAnotherProject,
    /// Another operation runs.
    Busy,
    /// The instance is in no state for it.
    Abnormal,
    /// The instance is frozen.
    Frozen,
    /// The job does not exist.
    JobMissing,
    /// The service failed.
    Internal,
}

impl Rejection {
    /// Every reason.
    pub const ALL: [Self; 17] = [
        Self::InvalidName,
        Self::WeakPassword,
        Self::AccountExists,
        Self::AccountMissing,
        Self::BuiltInAccount,
        Self::DatabaseMissing,
        Self::BadParameter,
        Self::BadPage,
        Self::MalformedInstanceId,
        Self::InstanceMissing,
        Self::InstanceForbidden,
        Self::TokenOfAnotherProject,
        Self::Busy,
        Self::Abnormal,
        Self::Frozen,
        Self::JobMissing,
        Self::Internal,
    ];

    /// HTTP status, code and text, as the tables of the service family have them.
    pub fn documented(self) -> (u16, &'static str, &'static str) {
        match self {
            Self::InvalidName => (400, "DBS.280292", "The database user name is invalid."),
            Self::WeakPassword => (400, "DBS.280203", "The password is too weak."),
            Self::AccountExists => (409, "DBS.200827", "The database account already exists."),
            Self::AccountMissing => (400, "DBS.200824", "The database account does not exist."),
            Self::BuiltInAccount => (409, "DBS.200828", "The account is a built-in account."),
            Self::DatabaseMissing => (400, "DBS.200823", "The database does not exist."),
            Self::BadParameter => (400, "DBS.280001", "Parameter error."),
            Self::BadPage => (400, "DBS.280439", "The page size is invalid."),
            Self::MalformedInstanceId => (400, "DBS.280404", "The instance ID format is invalid."),
            Self::InstanceMissing => (404, "DBS.200002", "The DB instance does not exist."),
            Self::InstanceForbidden => {
                (403, "DBS.200044", "The DB instance does not exist or you do not have the permission.")
            }
            Self::TokenOfAnotherProject => (403, "DBS.280056", "The token is invalid for this tenant."),
            Self::Busy => (409, "DBS.200019", "Another operation is being performed on the DB instance."),
            Self::Abnormal => (400, "DBS.200086", "The DB instance status does not allow the operation."),
            Self::Frozen => (400, "DBS.280449", "The DB instance is frozen."),
            Self::JobMissing => (400, "DBS.200543", "The job does not exist."),
            Self::Internal => (500, "DBS.108000", "Internal error."),
        }
    }
}

/// A refusal of the database service.
pub(super) fn rejection(world: &World, reason: Rejection) -> Reply {
    let (status, code, message) = reason.documented();
    match world.huawei.codes.get(&reason) {
        Some((status, code)) => envelope(world, *status, code, message),
        None => envelope(world, status, code, message),
    }
}

/// The service's error body in the shape that is switched on.
pub(crate) fn envelope(world: &World, status: u16, code: &str, message: &str) -> Reply {
    let body = match world.switches.huawei_envelope {
        Envelope::ErrorCode => json!({ "error_code": code, "error_msg": message }),
        Envelope::CamelCase => json!({ "errorCode": code, "errorMsg": message }),
        Envelope::ErrCode => json!({ "errCode": code, "externalMessage": message }),
        Envelope::CodeMessage => json!({ "code": code, "message": message }),
        Envelope::Nested => json!({ "error": { "code": code, "message": message, "title": "Error" } }),
    };
    Reply::new(status, body).with_code(code)
}

/// A refusal of the gateway, which has its own envelope.
pub(crate) fn gateway_refusal(world: &World, status: u16, number: &str, message: &str) -> Reply {
    let code = format!("{}.{number}", world.switches.huawei_gateway_prefix.as_str());
    let body = json!({ "error_msg": message, "error_code": code, "request_id": super::request_id() });
    Reply::new(status, body).with_code(code)
}

/// The gateway's answer to too many calls.
pub(crate) fn throttled(world: &World, limit: usize) -> Reply {
    let message =
        format!("The throttling threshold has been reached: policy user over ratelimit,limit:{limit},time:1 minute");
    gateway_refusal(world, 429, "0308", &message)
}

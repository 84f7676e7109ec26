//! Trouble on request: answers that a sound service would not give, and jobs that end otherwise than asked.

use std::time::Duration;

use serde::Serialize;

use crate::ledger::{Operation, Service};

/// Which requests a fault is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// Requests for this operation.
    Operation(Operation),
    /// Requests to this service.
    Service(Service),
    /// Requests with this access key, or with the token or password of this user.
    Key(&'static str),
}

/// Which of the requests that come after the fault was set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    /// Only the one with this number, from 1.
    Nth(u32),
    /// This many, beginning with the next.
    Next(u32),
    /// All, until [`EmulatedClouds::clear_faults`](crate::EmulatedClouds::clear_faults).
    All,
}

/// Whether the request is carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// It is not: the fault answers in its place, before any check.
    BeforeEffect,
    /// It is, then the fault replaces or spoils the answer.
    AfterEffect,
}

/// How a request in trouble is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FaultAnswer {
    /// This status and body, as JSON.
    Json(u16, String),
    /// A refusal in the service's own envelope: (HTTP status, code, message). QingCloud's codes are numbers, its status
    /// is always the usual one.
    Refusal(u16, String, String),
    /// This status with a page of HTML, as proxies write it.
    Html(u16),
    /// The connection is reset before a byte of the answer.
    Reset,
    /// Half of the answer's bytes, then the connection is closed.
    Half,
    /// No answer until [`EmulatedClouds::clear_faults`](crate::EmulatedClouds::clear_faults).
    Hang,
    /// The answer, after this time of the system's clock.
    Late(Duration),
    /// The answer's head, then one byte of its body a second.
    Drip,
    /// 200 without a body.
    Empty,
    /// The answer with every text turned into a number and every number into a text.
    WrongTypes,
    /// 200 and a body of this many bytes.
    Huge(u64),
    /// 200, `Content-Encoding: gzip`, and a body that unpacks to this many bytes.
    GzipBomb(u64),
    /// 302 to this address.
    Redirect(String),
    /// 429 in the service's envelope (QingCloud: 2500 with 200), with this `Retry-After`.
    Throttled(Option<String>),
    /// The answer of a service that thinks the request's time is wrong.
    ClockSkew,
    /// The answer of a service that no longer takes the token.
    TokenRevoked,
}

impl FaultAnswer {
    /// Short name, as the ledger writes it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Json(..) => "json",
            Self::Refusal(..) => "refusal",
            Self::Html(_) => "html",
            Self::Reset => "reset",
            Self::Half => "half",
            Self::Hang => "hang",
            Self::Late(_) => "late",
            Self::Drip => "drip",
            Self::Empty => "empty",
            Self::WrongTypes => "wrong-types",
            Self::Huge(_) => "huge",
            Self::GzipBomb(_) => "gzip-bomb",
            Self::Redirect(_) => "redirect",
            Self::Throttled(_) => "throttled",
            Self::ClockSkew => "clock-skew",
            Self::TokenRevoked => "token-revoked",
        }
    }
}

/// Trouble for some requests to come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// For which requests.
    pub target: Target,
    /// For which of them.
    pub which: Which,
    /// Whether they are carried out.
    pub moment: Moment,
    /// How they are answered.
    pub answer: FaultAnswer,
}

/// How a QingCloud job ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum JobFate {
    /// As the cloud's state demands.
    #[default]
    Natural,
    /// It fails without an effect.
    Failed,
    /// It has its effect and says that it failed.
    FailedAfterEffect,
    /// It stays `working`, without an effect and with the cluster busy, until
    /// [`EmulatedClouds::clear_faults`](crate::EmulatedClouds::clear_faults); then it ends naturally.
    Stuck,
    /// It has its effect and then shows a status that nobody documented.
    OddStatus,
}

/// The faults that are set, with the requests they have seen.
#[derive(Default)]
pub(crate) struct Faults {
    armed: Vec<(Fault, u32)>,
}

impl Faults {
    pub(crate) fn arm(&mut self, fault: Fault) {
        self.armed.push((fault, 0));
    }

    pub(crate) fn clear(&mut self) {
        self.armed.clear();
    }

    /// The fault for this request: the one set first among those that apply. Each sees every request it is meant for.
    pub(crate) fn take(&mut self, service: Service, operation: Operation, key: Option<&str>) -> Option<Fault> {
        let mut found = None;
        self.armed.retain_mut(|(fault, seen)| {
            let meant = match fault.target {
                Target::Operation(wanted) => wanted == operation,
                Target::Service(wanted) => wanted == service,
                Target::Key(wanted) => Some(wanted) == key,
            };
            if !meant {
                return true;
            }
            // A fault that counts its uses waits its turn behind the one that applies now.
            if found.is_some() && matches!(fault.which, Which::Next(_)) {
                return true;
            }
            *seen = seen.saturating_add(1);
            let (applies, keep) = match fault.which {
                Which::Nth(number) => (*seen == number, *seen < number),
                Which::Next(count) => (*seen <= count, *seen < count),
                Which::All => (true, true),
            };
            if applies && found.is_none() {
                found = Some(fault.clone());
            }
            keep
        });
        found
    }
}

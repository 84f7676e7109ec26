//! I7: how often a cloud that is down is asked, however many users there are.

use std::{collections::BTreeMap, time::Duration};

use emulated_clouds::{Answer, Request, Service};
use jiff::Timestamp;

use crate::{History, Violation, attempts::looks};

/// Failures in a row after which nobody may take the cloud for well.
const FAILURES: u32 = 5;

/// Requests that were on their way at the last of them.
const ON_THE_WAY: Duration = Duration::from_millis(250);

/// Requests that one look may take, and looks that may be under way when the outage is seen.
const SLACK: u32 = 2;

/// The outages of each service, as one credential meets them.
#[derive(Default)]
pub(crate) struct Outages(BTreeMap<(Service, Option<String>), Outage>);

#[derive(Default)]
struct Outage {
    failures: u32,
    since: Option<Timestamp>,
    asked: u32,
}

impl Outages {
    pub(crate) fn asked(&mut self, at: Timestamp, request: &Request, history: &History) -> Option<Violation> {
        let outage = self.0.get_mut(&(request.service, request.key.clone()))?;
        let since = outage.since?;
        // A process that was started since knows of no outage.
        if history.starts.iter().any(|start| (since..=at).contains(start)) {
            *outage = Outage::default();
            return None;
        }
        outage.asked += u32::from(at > since + ON_THE_WAY);
        let most = SLACK * (SLACK + looks(since, at, history));
        (outage.asked > most).then(|| Violation {
            rule: "I7",
            what: format!("{:?} at {at}: more than {most} requests in an outage since {since}", request.operation),
        })
    }

    pub(crate) fn answered(&mut self, at: Timestamp, request: &Request, answer: &Answer) {
        // Tokens have an outage of their own, which a good answer of the service ends.
        if request.service == Service::Iam {
            return;
        }
        let outage = self.0.entry((request.service, request.key.clone())).or_default();
        let down = answer.code.is_none() && answer.status.is_none_or(|status| status >= 500);
        if !down {
            *outage = Outage::default();
            return;
        }
        outage.failures += 1;
        if outage.failures >= FAILURES {
            outage.since.get_or_insert(at);
        }
    }
}

//! The ledgers as one list, and what a request came to.

use emulated_clouds::{Answer, Effect, Event, Ledger, Operation, Request, Service};
use jiff::Timestamp;

/// Number of a request: which ledger, and which of its entries.
pub(crate) type Number = (usize, u64);

/// One line of a ledger.
pub(crate) enum Fact<'a> {
    Asked(Number, &'a Request),
    Answered(Number, &'a Answer),
    JobStarted(Number, &'a str),
    JobEnded(&'a str),
    Changed(Option<Number>, &'a Effect),
    /// These clouds are gone, their accounts with them.
    Replaced,
}

/// Everything that happened in the clouds, oldest first.
pub(crate) struct Cloud<'a> {
    pub(crate) facts: Vec<(Timestamp, Fact<'a>)>,
}

impl<'a> Cloud<'a> {
    pub(crate) fn of(ledgers: &'a [Ledger]) -> Self {
        let mut facts = Vec::new();
        for (place, ledger) in ledgers.iter().enumerate() {
            if let (Some((last, _)), 1..) = (facts.last(), place) {
                facts.push((*last, Fact::Replaced));
            }
            facts.extend(ledger.entries().iter().map(|entry| {
                let fact = match &entry.event {
                    Event::Request(request) => Fact::Asked((place, entry.sequence), request),
                    Event::Answer { request, answer } => Fact::Answered((place, *request), answer),
                    Event::JobStarted { job, request } => Fact::JobStarted((place, *request), job),
                    Event::JobEnded { job, .. } => Fact::JobEnded(job),
                    Event::Effect(effect) => Fact::Changed(effect.request.map(|request| (place, request)), effect),
                };
                (entry.time, fact)
            }));
        }
        Self { facts }
    }

    /// A request and when it came.
    pub(crate) fn request(&self, number: Number) -> Option<(Timestamp, &'a Request)> {
        self.facts.iter().find_map(|(at, fact)| match fact {
            Fact::Asked(asked, request) if *asked == number => Some((*at, *request)),
            _ => None,
        })
    }
}

/// Whether an answer tells its reader for certain that nothing was done.
pub(crate) fn refuses(service: Service, answer: &Answer) -> bool {
    // A fault may have come after the effect, or spoilt what it says.
    let sound =
        answer.fault.is_none_or(|fault| ["refusal", "throttled", "clock-skew", "token-revoked"].contains(&fault));
    let code = answer.code.as_deref();
    sound
        && match service {
            // Two codes say that nobody knows.
            Service::QingCloud => !matches!(code, None | Some("0" | "5000" | "5100")),
            Service::Huawei | Service::Iam => answer.status.is_some_and(|status| (400..500).contains(&status)),
        }
}

/// Whether a read shows what became of changes.
pub(crate) fn shows_outcomes(operation: Operation) -> bool {
    matches!(operation, Operation::ListUsers | Operation::DescribeJobs)
}

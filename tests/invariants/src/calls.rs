//! The calls themselves: none is made over another one, over an answer nobody read, or before its time (I2, I3, I7, I14).

use std::{collections::BTreeMap, time::Duration};

use emulated_clouds::{Answer, Operation, Request, Service};
use jiff::Timestamp;

use crate::{
    History, Violation,
    accounts::{Accounts, Key, announcement},
    attempts::Attempts,
    cloud::{Cloud, Fact, Number, refuses, shows_outcomes},
    objects::Objects,
    outages::Outages,
};

/// Requests that were on their way when a pause was asked for.
const ON_THE_WAY: Duration = Duration::from_millis(250);

/// The last changing call for an account.
struct Last<'a> {
    number: Number,
    operation: Operation,
    answer: Option<&'a Answer>,
    /// A read has shown since what became of it.
    looked_at: bool,
    /// Its job runs.
    job: Option<&'a str>,
}

pub(crate) fn check(
    history: &History,
    objects: &Objects,
    cloud: &Cloud<'_>,
    accounts: &Accounts<'_>,
) -> Vec<Violation> {
    let mut found = Vec::new();
    let mut calls: BTreeMap<Key, Last<'_>> = BTreeMap::new();
    let mut asked: BTreeMap<Number, &Request> = BTreeMap::new();
    let mut pauses = Pauses::default();
    let mut outages = Outages::default();
    let mut attempts = Attempts::default();
    for (at, fact) in &cloud.facts {
        match fact {
            Fact::Asked(number, request) => {
                asked.insert(*number, request);
                found.extend(pauses.broken_by(*at, request, &history.starts));
                found.extend(outages.asked(*at, request, history));
                if shows_outcomes(request.operation) {
                    for last in calls.values_mut() {
                        last.looked_at = true;
                    }
                }
                let (Some(instance), Some(account), true) =
                    (&request.instance, &request.account, request.operation.changes_accounts())
                else {
                    continue;
                };
                let key = (instance.clone(), account.clone());
                found.extend(attempts.asked(*at, &key, history, objects));
                let mut violate = |rule, what: &str| {
                    let what = format!("{:?} of {account} at {at}: {what}", request.operation);
                    found.push(Violation { rule, what });
                };
                let intent = announcement(objects, *at, request);
                if intent.is_none() {
                    violate("I2", "nothing announced it");
                }
                if let Some(last) = calls.get(&key) {
                    if last.job.is_some() {
                        violate("I3", "the job of an earlier call still runs");
                    }
                    let another = last.operation != request.operation && once(last.operation);
                    if another && once(request.operation) && last.answer.is_none() && !last.looked_at {
                        violate("I14", "an earlier call, announced apart from it, is still under way");
                    }
                    let repeated = last.operation == request.operation && once(request.operation);
                    let certain = last.answer.is_some_and(|answer| refuses(request.service, answer));
                    if repeated && !certain && !last.looked_at {
                        violate("I3", "nobody looked what had become of the same call before it");
                    }
                }
                let account = accounts.before(&key, *at);
                if creates(request.operation) && account.exists && account.owner.as_ref() == intent.map(|it| &it.uid) {
                    violate("I3", "the object has that account already");
                }
                let last =
                    Last { number: *number, operation: request.operation, answer: None, looked_at: false, job: None };
                calls.insert(key, last);
            }
            Fact::Answered(number, answer) => {
                if let Some(request) = asked.get(number) {
                    pauses.asked_for(*at, request, answer, history.retry_max);
                    outages.answered(*at, request, answer);
                }
                if let Some((key, last)) = calls.iter_mut().find(|(_, last)| last.number == *number) {
                    last.answer = Some(answer);
                    attempts.answered(*at, key.clone(), asked[number], answer);
                }
            }
            Fact::JobStarted(number, job) => {
                if let Some(last) = calls.values_mut().find(|last| last.number == *number) {
                    last.job = Some(job);
                }
            }
            Fact::JobEnded(job) => {
                calls.values_mut().filter(|last| last.job == Some(job)).for_each(|last| last.job = None);
            }
            Fact::Changed(..) => {}
            Fact::Replaced => calls.clear(),
        }
    }
    found
}

fn creates(operation: Operation) -> bool {
    matches!(operation, Operation::AddCkUser | Operation::CreateUser)
}

/// Calls that must not be made twice; setting a password or access again changes nothing.
fn once(operation: Operation) -> bool {
    creates(operation) || matches!(operation, Operation::DelCkUser | Operation::DeleteUser)
}

/// I7: until when whom has asked not to be called.
#[derive(Default)]
struct Pauses(BTreeMap<(Service, Option<String>), (Timestamp, Timestamp)>);

impl Pauses {
    fn asked_for(&mut self, at: Timestamp, request: &Request, answer: &Answer, longest: Duration) {
        let seconds = answer.retry_after.as_deref().and_then(|text| text.parse().ok());
        if let Some(seconds) = seconds {
            let until = at + Duration::from_secs(seconds).min(longest);
            self.0.insert((request.service, request.key.clone()), (at, until));
        }
    }

    fn broken_by(&self, at: Timestamp, request: &Request, starts: &[Timestamp]) -> Option<Violation> {
        let (since, until) = self.0.get(&(request.service, request.key.clone()))?;
        // A process that was started since knows of no pause.
        let forgotten = starts.iter().any(|start| (*since..=at).contains(start));
        (at > *since + ON_THE_WAY && at < *until && !forgotten).then(|| Violation {
            rule: "I7",
            what: format!("{:?} at {at}, though no call was wanted until {until}", request.operation),
        })
    }
}

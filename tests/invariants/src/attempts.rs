//! I7: how often a change of one account is tried while the cloud refuses it.

use std::{collections::BTreeMap, time::Duration};

use emulated_clouds::{Answer, Request, Service};
use jiff::Timestamp;

use crate::{
    History, Violation,
    accounts::Key,
    objects::{Objects, Version},
};

/// Tries that a run of failures may have before pauses count.
const AT_ONCE: u32 = 3;

/// Pauses are drawn by chance up to a bound that doubles. In the long run they are half of it; a third leaves room for luck.
const OF_THE_BOUND: u32 = 3;

/// The failures in a row of each account.
#[derive(Default)]
pub(crate) struct Attempts(BTreeMap<Key, Failing>);

struct Failing {
    since: Timestamp,
    tries: u32,
}

impl Attempts {
    pub(crate) fn asked(
        &mut self,
        at: Timestamp,
        key: &Key,
        history: &History,
        objects: &Objects,
    ) -> Option<Violation> {
        let failing = self.0.get_mut(key)?;
        if begins_anew(failing.since, at, &key.1, history, objects) {
            self.0.remove(key);
            return None;
        }
        failing.tries += 1;
        let most = AT_ONCE + OF_THE_BOUND * looks(failing.since, at, history);
        (failing.tries > most).then(|| Violation {
            rule: "I7",
            what: format!("{} tries at {} by {at}, failing since {}", failing.tries, key.1, failing.since),
        })
    }

    pub(crate) fn answered(&mut self, at: Timestamp, key: Key, request: &Request, answer: &Answer) {
        let well = match request.service {
            Service::QingCloud => answer.code.as_deref() == Some("0"),
            Service::Huawei | Service::Iam => answer.status.is_some_and(|status| status < 300),
        };
        if well {
            self.0.remove(&key);
        } else {
            self.0.entry(key).or_insert(Failing { since: at, tries: 0 });
        }
    }
}

/// A process that was started knows of no failure, and whoever changes a user, a Secret or an instance wants another try.
fn begins_anew(since: Timestamp, at: Timestamp, account: &str, history: &History, objects: &Objects) -> bool {
    let meanwhile = |time: &Timestamp| (since..=at).contains(time);
    let about = |version: &&Version| version.text("/spec/username").unwrap_or_else(|| version.name()) == account;
    let users = objects.users.values().flatten().filter(|version| !version.by_operator).filter(about);
    let others = history.requests.iter().filter(|event| {
        event.user != history.operator
            && ["secrets", "clickhouseinstances", "clusterclickhouseinstances"].contains(&event.resource.as_str())
            && ["create", "update", "patch", "delete"].contains(&event.verb.as_str())
            && (history.namespaces.contains(&event.namespace) || event.namespace == history.operator_namespace)
    });
    history.starts.iter().any(meanwhile)
        || users.map(|version| version.answered_at).any(|time| meanwhile(&time))
        || others.map(|event| event.answered_at).any(|time| meanwhile(&time))
}

/// How many pauses that double from `--retry-min` to `--retry-max` end in this time.
pub(crate) fn looks(since: Timestamp, at: Timestamp, history: &History) -> u32 {
    let (mut pause, mut end, mut looks) = (history.retry_min.max(Duration::from_millis(1)), since, 0);
    while end + pause <= at {
        (end, looks) = (end + pause, looks + 1);
        pause = (pause * 2).min(history.retry_max.max(pause));
    }
    looks
}

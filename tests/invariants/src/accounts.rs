//! Whose accounts are: every change of them, and by which object's leave it was made (I1, I2, I3, I10).

use std::{collections::BTreeMap, time::Duration};

use emulated_clouds::{AccountAccess, Effect, EffectKind, Request};
use jiff::Timestamp;

use crate::{
    History, Violation,
    cloud::{Cloud, Fact},
    objects::{Intent, Objects, Version},
};

/// How long the operator may not know yet what somebody else wrote: its watch is behind.
const WATCH_LAG: Duration = Duration::from_secs(1);

/// Id of the cluster or instance, and name.
pub(crate) type Key = (String, String);

/// An account after a change.
#[derive(Clone, Debug, Default)]
pub(crate) struct Account {
    pub(crate) exists: bool,
    /// The object that made or adopted it; nobody's where somebody else did.
    pub(crate) owner: Option<String>,
    pub(crate) password: Option<String>,
    pub(crate) access: AccountAccess,
    /// Somebody else changed it after the operator did.
    pub(crate) meddled: bool,
}

/// A change, with the call that asked for it.
pub(crate) struct Change<'a> {
    pub(crate) at: Timestamp,
    pub(crate) effect: &'a Effect,
    /// None for what was done behind the operator's back.
    pub(crate) asked: Option<(Timestamp, &'a Request)>,
    /// What announced the call.
    pub(crate) intent: Option<&'a Intent>,
    pub(crate) before: Account,
}

/// Every account through time.
pub(crate) struct Accounts<'a> {
    pub(crate) changes: Vec<Change<'a>>,
    states: BTreeMap<Key, Vec<(Timestamp, Account)>>,
}

impl<'a> Accounts<'a> {
    pub(crate) fn of(objects: &'a Objects, cloud: &Cloud<'a>) -> Self {
        let mut accounts = Self { changes: Vec::new(), states: BTreeMap::new() };
        for (at, fact) in &cloud.facts {
            match fact {
                Fact::Changed(number, effect) => {
                    let asked = number.and_then(|number| cloud.request(number));
                    let intent = asked.and_then(|(at, request)| announcement(objects, at, request));
                    accounts.change(*at, effect, asked, intent);
                }
                Fact::Replaced => accounts.replace(*at),
                _ => {}
            }
        }
        accounts
    }

    fn change(
        &mut self,
        at: Timestamp,
        effect: &'a Effect,
        asked: Option<(Timestamp, &'a Request)>,
        intent: Option<&'a Intent>,
    ) {
        let key = (effect.instance.clone(), effect.account.clone());
        let before = self.at(&key, at);
        let mut account = before.clone();
        account.meddled = asked.is_none();
        match effect.kind {
            EffectKind::Created => {
                account.owner = intent.map(|intent| intent.uid.clone());
                account.exists = true;
            }
            EffectKind::Deleted => account.exists = false,
            // Whoever changes an account with leave to adopt it has it from then on.
            EffectKind::PasswordSet | EffectKind::AccessSet => {
                account.owner = intent.map(|intent| intent.uid.clone()).or(account.owner);
            }
        }
        if let Some(digest) = &effect.password_digest {
            account.password = Some(digest.clone());
        }
        if let Some(access) = &effect.access {
            account.access = access.clone();
        }
        self.states.entry(key).or_default().push((at, account));
        self.changes.push(Change { at, effect, asked, intent, before });
    }

    fn replace(&mut self, at: Timestamp) {
        for states in self.states.values_mut() {
            let gone = states.last().map(|(_, account)| Account { exists: false, meddled: true, ..account.clone() });
            states.extend(gone.map(|account| (at, account)));
        }
    }

    /// The account at a time, the changes of that very moment included.
    pub(crate) fn at(&self, key: &Key, time: Timestamp) -> Account {
        self.last(key, |at| at <= time)
    }

    /// The account at a time, as the changes before it left it.
    pub(crate) fn before(&self, key: &Key, time: Timestamp) -> Account {
        self.last(key, |at| at < time)
    }

    fn last(&self, key: &Key, counts: impl Fn(Timestamp) -> bool) -> Account {
        let states = self.states.get(key).map(Vec::as_slice).unwrap_or_default();
        states.iter().rev().find(|(at, _)| counts(*at)).map(|(_, account)| account.clone()).unwrap_or_default()
    }

    /// Accounts that an object made or adopted and that exist at a time.
    fn of_owner<'b>(&'b self, uid: &'b str, time: Timestamp) -> impl Iterator<Item = &'b Key> {
        self.states.keys().filter(move |key| {
            let account = self.at(key, time);
            account.exists && account.owner.as_deref() == Some(uid)
        })
    }
}

/// The last intent for the account of a call that was durable when the call came. On QingCloud calls carry its id.
pub(crate) fn announcement<'a>(objects: &'a Objects, at: Timestamp, request: &Request) -> Option<&'a Intent> {
    let same_account = |intent: &&Intent| {
        Some(&intent.instance) == request.instance.as_ref() && Some(&intent.account) == request.account.as_ref()
    };
    let same_attempt = |intent: &&Intent| request.request_id.as_ref().is_none_or(|id| *id == intent.attempt);
    objects.intents.iter().rev().filter(|it| it.durable_at <= at).filter(same_account).find(same_attempt)
}

/// I1 and I2, and of I3 what concerns accounts.
pub(crate) fn check(objects: &Objects, accounts: &Accounts<'_>) -> Vec<Violation> {
    let mut found = Vec::new();
    for change in &accounts.changes {
        let Some((asked_at, request)) = change.asked else { continue };
        let mut violate = |rule, what: &str| {
            let Effect { kind, instance, account, .. } = change.effect;
            found.push(Violation {
                rule,
                what: format!("{kind:?} of {account} on {instance} at {}: {what}", change.at),
            });
        };
        let Some(intent) = change.intent else {
            violate("I2", &format!("nothing announced the call ({:?})", request.operation));
            continue;
        };
        if !announces(&intent.kind, change.effect.kind) {
            violate("I2", &format!("the last announcement was of a {}", intent.kind));
        }
        let version = &objects.users[&intent.uid][intent.place];
        if !objects.at(&intent.uid, asked_at).is_some_and(Version::held) {
            violate("I2", &format!("{} did not hold the account", version.name()));
        }
        let (before, ours) = (&change.before, change.before.owner.as_ref() == Some(&intent.uid));
        if before.exists && !ours && !known(objects, intent, asked_at).iter().any(|version| version.adopts()) {
            violate("I2", &format!("the account was not {}'s, which does not adopt", version.name()));
        }
        match change.effect.kind {
            EffectKind::Created if before.exists => violate("I3", "it exists already"),
            EffectKind::Created if !objects.at(&intent.uid, change.at).is_some_and(Version::held) => {
                violate("I10", &format!("{} was released before its account was made", version.name()));
            }
            EffectKind::Deleted
                if !known(objects, intent, asked_at).iter().any(|it| may_delete(it, intent, asked_at)) =>
            {
                violate("I1", &format!("{} asked for no deletion", version.name()));
            }
            _ => {}
        }
    }
    for intent in &objects.intents {
        let others = objects.users.keys().filter(|uid| **uid != intent.uid);
        let mut holders = others.filter(|uid| holds(objects, uid, intent));
        if let Some(holder) = holders.next() {
            let (name, holder) = (objects.name(&intent.uid), objects.name(holder));
            found.push(Violation {
                rule: "I2",
                what: format!("{name} announced a {} of {}, which {holder} holds", intent.kind, intent.account),
            });
        }
    }
    found
}

/// What the operator may have gone by when it made a call: the version it announced it in, and whatever came later.
/// What others wrote a moment ago it may not have seen yet.
fn known<'a>(objects: &'a Objects, intent: &Intent, at: Timestamp) -> Vec<&'a Version> {
    let later = objects.users[&intent.uid][intent.place..].iter();
    let known: Vec<_> = later.take_while(|version| version.received_at <= at).collect();
    let old = known.iter().rposition(|version| version.answered_at + WATCH_LAG <= at).unwrap_or(0);
    known.into_iter().skip(old).collect()
}

fn announces(kind: &str, effect: EffectKind) -> bool {
    match effect {
        EffectKind::Created => matches!(kind, "Create" | "Recreate"),
        EffectKind::Deleted => matches!(kind, "Delete" | "Recreate"),
        EffectKind::PasswordSet => kind == "SetPassword",
        EffectKind::AccessSet => kind == "SetAccess",
    }
}

fn may_delete(version: &Version, intent: &Intent, at: Timestamp) -> bool {
    let expires: Option<Timestamp> = version.text("/spec/expiresAt").and_then(|it| it.parse().ok());
    (version.deleted() && !version.retained())
        || expires.is_some_and(|expires| expires <= at)
        || (intent.kind == "Recreate" && version.text("/spec/updatePolicy") == Some("Recreate"))
}

/// Whether an object had a claim on the account of somebody else's intent when that was written.
fn holds(objects: &Objects, uid: &str, intent: &Intent) -> bool {
    let Some(version) = objects.at(uid, intent.durable_at).filter(|version| version.held()) else { return false };
    let announced = objects.intents.iter().any(|it| {
        it.uid == uid
            && (&it.instance, &it.account) == (&intent.instance, &intent.account)
            && it.durable_at < intent.durable_at
    });
    announced && version.owns()
}

/// I10: each time the operator takes its finalizer off.
pub(crate) fn check_releases(history: &History, objects: &Objects, accounts: &Accounts<'_>) -> Vec<Violation> {
    let mut found = Vec::new();
    for (uid, versions) in &objects.users {
        for pair in versions.windows(2) {
            let (before, after) = (&pair[0], &pair[1]);
            let released = before.held() && !after.held() && after.by_operator;
            if !released || before.retained() || history.orphans.contains(after.name()) {
                continue;
            }
            for (instance, account) in accounts.of_owner(uid, after.received_at) {
                let (name, at) = (after.name(), after.received_at);
                let what = format!("{name} was released at {at} while its account {account} exists on {instance}");
                found.push(Violation { rule: "I10", what });
            }
        }
    }
    found
}

//! Who holds an account, where several users ask for the same one: across namespaces, and across instance objects that
//! mean the same instance.
//!
//! A recorded claim holds until its finalizer is gone, whatever the ages. Only among users without one that are ready to
//! create does the older go first.

use super::{
    journal::{self, Entry},
    names::{InstanceKey, Uid, Username},
    operator_key::OperatorKey,
    seen::{InstanceFacts, InstanceSeen, Record, SecretSeen},
};
use crate::api::{
    ClickHouseUser, OPERATION_ANNOTATION,
    conditions::{self, ConditionStatus, READY, Reason},
};

/// One account of one instance, whoever names it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Account {
    /// The instance.
    pub instance: InstanceKey,
    /// The account's name.
    pub username: Username,
}

/// What a user holds, on record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// The account.
    pub account: Account,
    /// The record is a journal entry, which nobody but the operator can write.
    sealed: bool,
}

/// Orders users by age: the older goes first, then the lower uid.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Seniority {
    /// `metadata.creationTimestamp` in seconds, which is all the API server keeps.
    created_at: i64,
    uid: Uid,
}

/// A user that asks for an account that others ask for too.
#[derive(Clone, Debug)]
pub struct Claimant {
    /// `metadata.namespace`
    pub namespace: String,
    /// `metadata.name`
    pub name: String,
    /// Its age.
    pub seniority: Seniority,
    /// The account it holds, on record.
    pub holds: Option<Account>,
    /// Nothing but its turn stands between it and the account.
    pub ready: bool,
}

impl Seniority {
    /// The age of a user.
    pub fn of(user: &ClickHouseUser) -> Self {
        Self {
            created_at: user.metadata.creation_timestamp.as_ref().map_or(0, |time| time.0.as_second()),
            uid: Uid::new(user.metadata.uid.clone().unwrap_or_default()),
        }
    }
}

/// The account that a user holds on record: by a journal entry or a status of its own. A finalizer alone proves nothing,
/// because anybody can write it into a manifest.
pub fn recorded(user: &ClickHouseUser, key: &OperatorKey) -> Option<Claim> {
    let metadata = &user.metadata;
    // Taken off an object that stays, the finalizer is put back; taken off one that goes, the claim has ended.
    if !user.is_held() && metadata.deletion_timestamp.is_some() {
        return None;
    }
    let uid = Uid::new(metadata.uid.clone()?);
    let annotation = metadata.annotations.as_ref().and_then(|annotations| annotations.get(OPERATION_ANNOTATION));
    let announced = annotation.and_then(|text| journal::read(text, &uid, key)).map(|entry| match entry {
        Entry::Intent(intent) => Account { instance: intent.instance_key, username: intent.username },
        Entry::Newer(newer) => Account { instance: newer.instance_key, username: newer.username },
    });
    if let Some(account) = announced {
        return Some(Claim { account, sealed: true });
    }
    let record = Record::of(user.status.as_ref(), &uid);
    let instance = record.applied.and(record.instance_key)?;
    let username = user.status.as_ref().and_then(|status| status.username.clone());
    let account = Account { instance, username: username.unwrap_or_else(|| user.username()) };
    Some(Claim { account, sealed: false })
}

impl Claim {
    /// Whether others have to respect it. Whoever may write status in a namespace could claim what is not his; so where
    /// the journal entry is missing, the user's own instance object must have been read with its own credential.
    pub fn counts(&self, instance: &InstanceSeen) -> bool {
        self.sealed
            || matches!(instance, InstanceSeen::Present(InstanceFacts { key, state: Some((Reason::Reachable, _)), .. })
                if *key == self.account.instance)
    }
}

/// Whether a user without a claim would create its account now: nothing that can be known without a call is in the way,
/// and what was refused before has changed since. Its instance object must have been read with its own credential, so
/// that nobody blocks an account by naming somebody else's instance.
pub fn is_ready(user: &ClickHouseUser, instance: &InstanceSeen, secret: &SecretSeen) -> bool {
    let InstanceSeen::Present(facts) = instance else { return false };
    let reachable = matches!(
        facts,
        InstanceFacts {
            state: Some((Reason::Reachable, _)),
            connected: true,
            terminating: false,
            not_allowed: None,
            ..
        }
    );
    let idle = user.metadata.deletion_timestamp.is_some() || user.spec.suspended();
    reachable && !idle && *secret != SecretSeen::Missing && !is_refused(user)
}

/// The manifest as it stands was judged, and is not to be fulfilled. A conflict is no such judgement: it ends with its
/// winner.
fn is_refused(user: &ClickHouseUser) -> bool {
    let Some(uid) = user.metadata.uid.as_ref() else { return false };
    let status = user.status.as_ref().filter(|status| status.uid.as_ref().is_some_and(|it| it.as_str() == uid));
    status.and_then(|status| conditions::find(&status.conditions, READY)).is_some_and(|ready| {
        ready.status == ConditionStatus::False.as_str()
            && ready.observed_generation == user.metadata.generation
            && ready.reason != Reason::AccountConflict.as_str()
    })
}

/// Who of the others keeps `me` from creating `account`.
pub fn rival<'a>(me: &Claimant, account: &Account, others: &'a [Claimant]) -> Option<&'a Claimant> {
    if me.holds.is_some() {
        return None;
    }
    let holder = others.iter().find(|other| other.holds.as_ref() == Some(account));
    let elder = || {
        let waiting = others.iter().filter(|other| other.holds.is_none() && other.ready);
        waiting.filter(|other| other.seniority < me.seniority).min_by_key(|other| &other.seniority)
    };
    holder.or_else(elder)
}

/// What `me` shows. Names of other namespaces are not told.
pub fn conflict(me: &Claimant, account: &Account, rival: &Claimant) -> String {
    let who = if rival.namespace == me.namespace {
        format!("ClickHouseUser {}", rival.name)
    } else {
        "a ClickHouseUser of another namespace".to_owned()
    };
    let how = if rival.holds.is_some() { "belongs to" } else { "is about to be created for" };
    format!(
        "Account {} of {} {how} {who}; choose another spec.username, or delete one of the two objects.",
        account.username, account.instance
    )
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
    use serde_json::json;

    use super::*;
    use crate::{api::ACCOUNT_FINALIZER, domain::journal::tests::key};

    fn account() -> Account {
        Account { instance: InstanceKey::new("cloud/instance"), username: Username::new("reporting") }
    }

    fn claimant(name: &str, created_at: i64, holds: bool, ready: bool) -> Claimant {
        Claimant {
            namespace: "team".to_owned(),
            name: name.to_owned(),
            seniority: Seniority { created_at, uid: Uid::new(name) },
            holds: holds.then(account),
            ready,
        }
    }

    fn winner(me: &Claimant, others: &[Claimant]) -> Option<String> {
        rival(me, &account(), others).map(|other| other.name.clone())
    }

    #[test]
    fn recorded_claim_holds_whatever_the_ages() {
        let (old, young) = (claimant("old", 1, false, true), claimant("young", 2, true, false));
        assert_eq!(winner(&old, std::slice::from_ref(&young)).as_deref(), Some("young"));
        assert_eq!(winner(&young, &[old]), None);
    }

    #[test]
    fn claim_on_another_account_is_none_here() {
        let elsewhere = Account { instance: InstanceKey::new("cloud/other"), ..account() };
        let other = Claimant { holds: Some(elsewhere), ..claimant("other", 1, false, true) };
        assert_eq!(winner(&claimant("me", 2, false, true), &[other]), None);
    }

    #[test]
    fn older_goes_first_then_the_lower_uid() {
        let (first, second, third) =
            (claimant("a", 1, false, true), claimant("b", 1, false, true), claimant("c", 0, false, true));
        assert_eq!(winner(&second, &[first.clone(), third.clone()]).as_deref(), Some("c"));
        assert_eq!(winner(&second, std::slice::from_ref(&first)).as_deref(), Some("a"));
        assert_eq!(winner(&first, &[second]), None);
        assert_eq!(winner(&third, &[first]), None);
    }

    #[test]
    fn older_that_is_not_ready_does_not_block() {
        assert_eq!(winner(&claimant("me", 2, false, true), &[claimant("old", 1, false, false)]), None);
    }

    #[test]
    fn other_is_named_only_inside_its_own_namespace() {
        let (me, other) = (claimant("me", 2, false, true), claimant("secretive", 1, true, true));
        assert!(conflict(&me, &account(), &other).contains("ClickHouseUser secretive"));
        let foreign = Claimant { namespace: "other".to_owned(), ..other };
        let message = conflict(&me, &account(), &foreign);
        assert!(!message.contains("secretive") && message.contains("another namespace"), "{message}");
    }

    fn user() -> ClickHouseUser {
        let spec = json!({"instanceRef": {"name": "i"}, "passwordSecretRef": {"name": "p"}, "username": "reporting"});
        let mut user = ClickHouseUser::new("reporting", serde_json::from_value(spec).expect("a manifest"));
        user.metadata.uid = Some("uid-1".to_owned());
        user.metadata.finalizers = Some(vec![ACCOUNT_FINALIZER.to_owned()]);
        user.metadata.generation = Some(1);
        user
    }

    fn owned() -> ClickHouseUser {
        let status = json!({"uid": "uid-1", "instanceKey": "cloud/instance", "username": "reporting", "applied": {}});
        ClickHouseUser { status: serde_json::from_value(status).expect("a status"), ..user() }
    }

    #[test]
    fn finalizer_alone_is_no_claim_and_ownership_is() {
        assert_eq!(recorded(&user(), &key(1)), None);
        assert_eq!(held(&owned()), Some(account()));
    }

    #[test]
    fn journal_entry_is_a_claim_by_itself_and_status_only_where_its_instance_was_read() {
        let intent = crate::domain::journal::tests::intent();
        let mut announced = user();
        let sealed = crate::domain::journal::seal(&intent, &key(1));
        announced.metadata.annotations = Some([(OPERATION_ANNOTATION.to_owned(), sealed)].into());
        let claim = recorded(&announced, &key(1)).expect("a claim");
        assert_eq!((&claim.account.instance, &claim.account.username), (&intent.instance_key, &intent.username));
        assert!(claim.counts(&InstanceSeen::Missing));
        assert_eq!(recorded(&announced, &key(2)), None, "sealed by somebody else");

        let claim = recorded(&owned(), &key(1)).expect("a claim");
        assert!(claim.counts(&InstanceSeen::Present(facts())));
        for facts in [
            InstanceFacts { state: None, ..facts() },
            InstanceFacts { state: Some((Reason::AccessDenied, String::new())), ..facts() },
            InstanceFacts { key: InstanceKey::new("cloud/other"), ..facts() },
        ] {
            assert!(!claim.counts(&InstanceSeen::Present(facts)));
        }
        assert!(!claim.counts(&InstanceSeen::Missing));
    }

    fn held(user: &ClickHouseUser) -> Option<Account> {
        recorded(user, &key(1)).map(|claim| claim.account)
    }

    fn facts() -> InstanceFacts {
        InstanceFacts {
            key: account().instance,
            provider: crate::provider::contract::ProviderKind::HuaweiCloud,
            state: Some((Reason::Reachable, String::new())),
            held: false,
            terminating: false,
            connected: true,
            gone: false,
            not_allowed: None,
            login_check: None,
            connection: None,
        }
    }

    #[test]
    fn status_of_another_object_is_no_claim() {
        let mut restored = owned();
        restored.metadata.uid = Some("uid-2".to_owned());
        assert_eq!(recorded(&restored, &key(1)), None);
    }

    #[test]
    fn claim_ends_with_the_finalizer_of_an_object_that_goes() {
        let mut going = owned();
        going.metadata.deletion_timestamp = Some(Time(Timestamp::UNIX_EPOCH));
        assert_eq!(held(&going), Some(account()));
        going.metadata.finalizers = None;
        assert_eq!(recorded(&going, &key(1)), None);
        let mut stripped = owned();
        stripped.metadata.finalizers = None;
        assert_eq!(held(&stripped), Some(account()), "it will be put back");
    }

    #[test]
    fn user_is_ready_when_nothing_but_its_turn_is_in_the_way() {
        let facts = facts();
        let present = SecretSeen::Present { uid: Uid::new("s"), resource_version: "1".to_owned() };
        let ready = |user: &ClickHouseUser, facts: &InstanceFacts, secret: &SecretSeen| {
            is_ready(user, &InstanceSeen::Present(facts.clone()), secret)
        };
        assert!(ready(&user(), &facts, &present));
        assert!(!ready(&user(), &facts, &SecretSeen::Missing));
        assert!(!is_ready(&user(), &InstanceSeen::Missing, &present));
        for (what, facts) in [
            ("never read", InstanceFacts { state: None, connected: false, ..facts.clone() }),
            ("refused", InstanceFacts { state: Some((Reason::AccessDenied, String::new())), ..facts.clone() }),
            ("terminating", InstanceFacts { terminating: true, ..facts.clone() }),
            ("not allowed", InstanceFacts { not_allowed: Some(String::new()), ..facts.clone() }),
        ] {
            assert!(!ready(&user(), &facts, &present), "{what}");
        }
        let mut suspended = user();
        suspended.spec.suspend = Some(true);
        assert!(!ready(&suspended, &facts, &present));
        let judged = |reason: &str, generation: i64| {
            let condition = json!({"type": "Ready", "status": "False", "reason": reason, "message": "",
                "observedGeneration": generation, "lastTransitionTime": "2026-01-01T00:00:00Z"});
            let status = json!({"uid": "uid-1", "conditions": [condition]});
            ClickHouseUser { status: serde_json::from_value(status).expect("a status"), ..user() }
        };
        assert!(!ready(&judged("InvalidPassword", 1), &facts, &present));
        assert!(ready(&judged("InvalidPassword", 0), &facts, &present), "an older manifest was refused");
        assert!(ready(&judged("AccountConflict", 1), &facts, &present));
    }
}

//! What status says: the truth (I4), moving forward only (I9).

use std::collections::BTreeSet;

use emulated_clouds::AccountAccess;
use serde_json::Value;

use crate::{
    History, SecretVersion, Violation,
    accounts::{Account, Accounts},
    objects::{Objects, Version},
};

pub(crate) fn check(history: &History, objects: &Objects, accounts: &Accounts<'_>) -> Vec<Violation> {
    let mut found = Vec::new();
    for versions in objects.users.values() {
        let nothing = std::iter::once(None);
        for (before, after) in nothing.chain(versions.iter().map(Some)).zip(versions) {
            if !after.by_operator {
                continue;
            }
            let broken = ready_is_true(history, accounts, before, after).map(|what| ("I4", what));
            let broken =
                broken.into_iter().chain(before.and_then(|before| goes_back(before, after)).map(|it| ("I9", it)));
            found.extend(broken.map(|(rule, what)| Violation {
                rule,
                what: format!("{} at {}: {what}", after.name(), after.received_at),
            }));
        }
    }
    found
}

/// I4, wherever a write says that the user is ready, or says something else of a ready one.
fn ready_is_true(
    history: &History,
    accounts: &Accounts<'_>,
    before: Option<&Version>,
    after: &Version,
) -> Option<String> {
    let said = |version: &Version| ["password", "applied"].map(|field| version.object["status"][field].clone());
    if !after.is_ready() || before.is_some_and(|before| before.is_ready() && said(before) == said(after)) {
        return None;
    }
    let (Some(instance), Some(account)) = (after.text("/status/instanceKey"), after.text("/status/username")) else {
        return Some("it is Ready and says neither on which instance nor under which name".to_owned());
    };
    let instance = instance.rsplit('/').next().unwrap_or_default();
    let in_cloud = accounts.at(&(instance.to_owned(), account.to_owned()), after.received_at);
    if in_cloud.meddled {
        return None;
    }
    if !in_cloud.exists {
        return Some(format!("it is Ready without an account {account}"));
    }
    if in_cloud.owner.as_deref() != after.text("/metadata/uid") {
        return Some(format!("it is Ready with an account {account} that is not its own"));
    }
    let version = SecretVersion {
        uid: after.text("/status/password/secretUID").unwrap_or_default().to_owned(),
        resource_version: after.text("/status/password/secretResourceVersion").unwrap_or_default().to_owned(),
    };
    let key = after.text("/spec/passwordSecretRef/key").unwrap_or("password");
    let named = history.secrets.get(&version).and_then(|values| values.get(key));
    if named.is_none() {
        return Some(format!("it is Ready with a password of {version:?}, which held none"));
    }
    if named != in_cloud.password.as_ref() {
        return Some(format!("it is Ready with the password of {version:?}, and the cloud has another"));
    }
    (!same_access(&after.object["status"]["applied"], &in_cloud)).then(|| {
        format!(
            "it is Ready with access {:?}, and the cloud has {:?}",
            after.object["status"]["applied"], in_cloud.access
        )
    })
}

fn same_access(applied: &Value, in_cloud: &Account) -> bool {
    let AccountAccess { hosts, databases, dml } = &in_cloud.access;
    let set = |field: &str| -> Option<BTreeSet<&str>> {
        Some(applied.get(field)?.as_array()?.iter().filter_map(Value::as_str).collect())
    };
    let of = |list: &Option<Vec<String>>| list.as_ref().map(|it| it.iter().cloned().collect::<BTreeSet<_>>());
    let equal = |field, list: &Option<Vec<String>>| {
        set(field).map(|set| set.into_iter().map(str::to_owned).collect()) == of(list)
    };
    let permission = match applied.get("permission").and_then(Value::as_str) {
        Some("ReadOnly") => Some(1),
        Some("ReadAndConfigure") => Some(2),
        _ => None,
    };
    equal("allowedHosts", hosts) && equal("databases", databases) && permission == *dml
}

/// I9.
fn goes_back(before: &Version, after: &Version) -> Option<String> {
    let observed = |version: &Version| version.object.pointer("/status/observedGeneration").and_then(Value::as_i64);
    if observed(after) < observed(before) {
        return Some(format!("observedGeneration fell from {:?} to {:?}", observed(before), observed(after)));
    }
    let conditions = after.object.pointer("/status/conditions").and_then(Value::as_array);
    for now in conditions.into_iter().flatten() {
        let type_ = now["type"].as_str().unwrap_or_default();
        let Some(then) = before.condition(type_) else { continue };
        let moved = then["lastTransitionTime"] != now["lastTransitionTime"];
        if moved && then["status"] == now["status"] {
            return Some(format!("lastTransitionTime of {type_} moved although its status did not"));
        }
    }
    (meaning(&before.object) == meaning(&after.object)).then(|| "a write that changed nothing but times".to_owned())
}

/// An object without what changes by itself with every write.
fn meaning(object: &Value) -> Value {
    match object {
        Value::Object(fields) => {
            let changing = ["resourceVersion", "managedFields", "generation", "lastTransitionTime"];
            let times = ["startedAt", "finishedAt", "appliedAt", "verifiedAt"];
            let kept =
                fields.iter().filter(|(name, _)| !changing.contains(&name.as_str()) && !times.contains(&name.as_str()));
            kept.map(|(name, value)| (name.clone(), meaning(value))).collect()
        }
        Value::Array(items) => items.iter().map(meaning).collect(),
        other => other.clone(),
    }
}

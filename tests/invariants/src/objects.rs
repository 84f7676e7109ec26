//! Every version of every user, in order, with who wrote it; and the intents among them.

use std::collections::BTreeMap;

use control_plane::AuditEvent;
use jiff::Timestamp;
use serde_json::Value;

use crate::History;

const FINALIZER: &str = "chuser.dev/account";
const OPERATION: &str = "chuser.dev/operation";

/// One version of a user, as a write left it.
pub(crate) struct Version {
    pub(crate) received_at: Timestamp,
    pub(crate) answered_at: Timestamp,
    pub(crate) by_operator: bool,
    pub(crate) revision: u64,
    pub(crate) object: Value,
}

/// A call that the operator announced, in the version of this place.
#[derive(Clone, Debug)]
pub(crate) struct Intent {
    pub(crate) uid: String,
    /// Place in the versions of its object.
    pub(crate) place: usize,
    pub(crate) durable_at: Timestamp,
    /// Id of the cluster or instance.
    pub(crate) instance: String,
    pub(crate) account: String,
    pub(crate) kind: String,
    pub(crate) attempt: String,
}

/// The users of all namespaces that the operator served.
pub(crate) struct Objects {
    /// By uid, oldest version first.
    pub(crate) users: BTreeMap<String, Vec<Version>>,
    /// In the order in which they became durable.
    pub(crate) intents: Vec<Intent>,
}

impl Version {
    pub(crate) fn text(&self, pointer: &str) -> Option<&str> {
        self.object.pointer(pointer).and_then(Value::as_str)
    }

    pub(crate) fn name(&self) -> &str {
        self.text("/metadata/name").unwrap_or_default()
    }

    pub(crate) fn held(&self) -> bool {
        let finalizers = self.object.pointer("/metadata/finalizers").and_then(Value::as_array);
        finalizers.is_some_and(|finalizers| finalizers.iter().any(|it| it.as_str() == Some(FINALIZER)))
    }

    pub(crate) fn deleted(&self) -> bool {
        self.text("/metadata/deletionTimestamp").is_some()
    }

    pub(crate) fn retained(&self) -> bool {
        self.text("/spec/deletionPolicy") == Some("Retain")
    }

    pub(crate) fn adopts(&self) -> bool {
        self.text("/spec/adoptionPolicy") == Some("Adopt")
    }

    /// The annotation, read without its seal: only the operator's own writes are asked.
    fn announced(&self) -> Option<&str> {
        self.object.pointer("/metadata/annotations").and_then(|it| it.get(OPERATION)).and_then(Value::as_str)
    }

    /// Status says that the account is this very object's.
    pub(crate) fn owns(&self) -> bool {
        self.object.pointer("/status/applied").is_some() && self.text("/status/uid") == self.text("/metadata/uid")
    }

    /// The condition of a type, where it is there.
    pub(crate) fn condition(&self, wanted: &str) -> Option<&Value> {
        let conditions = self.object.pointer("/status/conditions").and_then(Value::as_array)?;
        conditions.iter().find(|it| it.get("type").and_then(Value::as_str) == Some(wanted))
    }

    pub(crate) fn is_ready(&self) -> bool {
        let ready = self.condition("Ready");
        ready.and_then(|it| it.get("status")).and_then(Value::as_str) == Some("True")
    }
}

impl Objects {
    pub(crate) fn of(history: &History) -> Self {
        let mut users: BTreeMap<String, Vec<Version>> = BTreeMap::new();
        let about_users =
            |event: &&AuditEvent| event.resource == "clickhouseusers" && history.namespaces.contains(&event.namespace);
        for event in history.requests.iter().filter(about_users).filter(|event| event.code < 300) {
            for object in written(event) {
                let text = |pointer| object.pointer(pointer).and_then(Value::as_str);
                let (Some(uid), Some(revision)) = (text("/metadata/uid"), text("/metadata/resourceVersion")) else {
                    continue;
                };
                let version = Version {
                    received_at: event.received_at,
                    answered_at: event.answered_at,
                    by_operator: event.user == history.operator,
                    revision: revision.parse().expect("the API server counts its versions"),
                    object: object.clone(),
                };
                users.entry(uid.to_owned()).or_default().push(version);
            }
        }
        for versions in users.values_mut() {
            versions.sort_by_key(|version| (version.revision, version.answered_at));
        }
        let mut intents: Vec<_> = users.iter().flat_map(|(uid, versions)| intents_of(uid, versions)).collect();
        intents.sort_by_key(|intent| intent.durable_at);
        Self { users, intents }
    }

    /// The version that everybody knows at a time.
    pub(crate) fn at(&self, uid: &str, time: Timestamp) -> Option<&Version> {
        self.users.get(uid)?.iter().rev().find(|version| version.answered_at <= time)
    }

    pub(crate) fn name(&self, uid: &str) -> &str {
        self.users.get(uid).and_then(|versions| versions.last()).map_or("an unknown object", Version::name)
    }
}

/// The objects in an answer: one, a list, or none.
pub(crate) fn written(event: &AuditEvent) -> Vec<&Value> {
    match &event.response {
        Some(list) if list.get("items").is_some() => list["items"].as_array().into_iter().flatten().collect(),
        Some(object) => vec![object],
        None => Vec::new(),
    }
}

fn intents_of(uid: &str, versions: &[Version]) -> Vec<Intent> {
    let mut found = Vec::new();
    for (place, version) in versions.iter().enumerate() {
        let before = place.checked_sub(1).and_then(|place| versions[place].announced());
        // What somebody else wrote and the operator only left as it was is no word of the operator.
        let Some(text) = version.announced().filter(|text| version.by_operator && Some(*text) != before) else {
            continue;
        };
        let Ok(intent) = serde_json::from_str::<Value>(text) else { continue };
        let text = |field: &str| intent.get(field).and_then(Value::as_str).unwrap_or_default().to_owned();
        found.push(Intent {
            uid: uid.to_owned(),
            place,
            durable_at: version.answered_at,
            instance: text("instanceKey").rsplit('/').next().unwrap_or_default().to_owned(),
            account: text("username"),
            kind: text("kind"),
            attempt: text("attempt"),
        });
    }
    found
}

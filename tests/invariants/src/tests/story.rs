//! Histories by hand: the user objects of namespace `team`, one instance, one account.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use control_plane::AuditEvent;
use emulated_clouds::{AccountAccess, Answer, Effect, EffectKind, Event, Ledger, Operation, Request, Service};
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::{History, SecretVersion};

const OPERATOR: &str = "system:serviceaccount:operator:operator";
const INSTANCE: &str = "in-1";
const ACCOUNT: &str = "reporting";

/// Digest of the password in version 2 of the Secret; version 1 has `digest-1`.
pub const OTHER: &str = "digest-2";

/// A time of the story.
pub fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + seconds).expect("a small number of seconds")
}

/// What happened, in the order of its telling.
#[derive(Clone, Default)]
pub struct Story {
    objects: BTreeMap<String, Value>,
    revision: u64,
    requests: Vec<AuditEvent>,
    clouds: Vec<Ledger>,
    ledger: Ledger,
    pub orphans: BTreeSet<String>,
    pub starts: Vec<Timestamp>,
    pub retry_min: Duration,
    pub retry_max: Duration,
}

impl Story {
    pub fn history(&self) -> History {
        let version = |number: &str| SecretVersion { uid: "secret".to_owned(), resource_version: number.to_owned() };
        let value = |digest: &str| BTreeMap::from([("password".to_owned(), digest.to_owned())]);
        History {
            operator: OPERATOR.to_owned(),
            operator_namespace: "operator".to_owned(),
            namespaces: ["team".to_owned()].into(),
            requests: self.requests.clone(),
            clouds: self.clouds.iter().cloned().chain([self.ledger.clone()]).collect(),
            secrets: [(version("1"), value("digest-1")), (version("2"), value(OTHER))].into(),
            orphans: self.orphans.clone(),
            starts: self.starts.clone(),
            retry_min: self.retry_min,
            retry_max: self.retry_max,
        }
    }

    /// Somebody applies a user.
    pub fn user(&mut self, second: i64, name: &str, with: impl Fn(&mut Value)) {
        let mut object = json!({
            "kind": "ClickHouseUser",
            "metadata": { "namespace": "team", "name": name, "uid": format!("uid-{name}"), "generation": 1 },
            "spec": {
                "username": ACCOUNT,
                "instanceRef": { "name": "warehouse" },
                "passwordSecretRef": { "name": format!("{name}-password") },
            },
        });
        with(&mut object);
        self.objects.insert(name.to_owned(), object);
        self.write(second, name, "somebody", |_| {});
    }

    /// Somebody changes it.
    pub fn user_write(&mut self, second: i64, name: &str, change: impl Fn(&mut Value)) {
        self.write(second, name, "somebody", change);
    }

    /// The operator changes it.
    pub fn operator_write(&mut self, second: i64, name: &str, change: impl Fn(&mut Value)) {
        self.write(second, name, OPERATOR, change);
    }

    pub fn intent(&mut self, second: i64, name: &str, kind: &str, attempt: &str) {
        self.operator_write(second, name, announce(name, kind, attempt));
    }

    pub fn forged_intent(&mut self, second: i64, name: &str, kind: &str, attempt: &str) {
        self.user_write(second, name, announce(name, kind, attempt));
        // The operator's own writes carry it on.
        self.operator_write(second, name, |object| object["status"] = json!({ "observedGeneration": 1 }));
    }

    /// The operator says Ready, with this version of the Secret.
    pub fn ready(&mut self, second: i64, name: &str, version: &str) {
        self.operator_write(second, name, |object| {
            object["status"] = json!({
                "uid": object["metadata"]["uid"],
                "observedGeneration": 1,
                "instanceKey": format!("huaweicloud/region/project/{INSTANCE}"),
                "username": ACCOUNT,
                "applied": { "databases": ["*"], "permission": "ReadOnly" },
                "password": { "secretUID": "secret", "secretResourceVersion": version },
                "conditions": [{
                    "type": "Ready", "status": "True", "reason": "AccountReady", "message": "",
                    "lastTransitionTime": "2026-11-22T08:00:00Z",
                }],
            });
        });
    }

    pub fn release(&mut self, second: i64, name: &str) {
        self.operator_write(second, name, |object| {
            object["metadata"]["finalizers"] = json!([]);
            object["metadata"]["annotations"] = json!({});
        });
    }

    fn write(&mut self, second: i64, name: &str, user: &str, change: impl Fn(&mut Value)) {
        self.revision += 1;
        let object = self.objects.get_mut(name).expect("a user that was applied");
        change(object);
        object["metadata"]["resourceVersion"] = json!(self.revision.to_string());
        let response = Some(object.clone());
        let event = event(second, user, "patch", ("chuser.dev", "clickhouseusers"), "team", name);
        self.requests.push(AuditEvent { response, ..event });
    }

    pub fn reads_secret(&mut self, second: i64, namespace: &str, name: &str) {
        self.asks(second, "get", "", "secrets", namespace, name);
    }

    /// Somebody changes a Secret.
    pub fn secret_write(&mut self, second: i64, name: &str) {
        self.requests.push(event(second, "somebody", "patch", ("", "secrets"), "team", name));
    }

    /// The operator asks the API server for something.
    pub fn asks(&mut self, second: i64, verb: &str, group: &str, resource: &str, namespace: &str, name: &str) {
        self.requests.push(event(second, OPERATOR, verb, (group, resource), namespace, name));
    }

    /// A call to the cloud that is answered well, with what it changed.
    pub fn call(&mut self, second: i64, operation: Operation, change: Option<(EffectKind, &str)>) {
        let request = self.lost_call(second, operation);
        if let Some((kind, digest)) = change {
            self.effect(second, request, kind, digest);
        }
        self.answer(second, request, 200, None);
    }

    /// A call that nobody answers. Returns its number.
    pub fn lost_call(&mut self, second: i64, operation: Operation) -> u64 {
        let request = Request {
            service: Service::Huawei,
            operation,
            verb: "POST".to_owned(),
            key: Some("key".to_owned()),
            instance: Some(INSTANCE.to_owned()),
            account: operation.changes_accounts().then(|| ACCOUNT.to_owned()),
            request_id: None,
        };
        self.ledger.append(at(second), Event::Request(request))
    }

    pub fn throttled(&mut self, second: i64, operation: Operation, retry_after: &str) {
        let request = self.lost_call(second, operation);
        self.answer(second, request, 429, Some(retry_after));
    }

    /// A call to a cloud that is down.
    pub fn failed_call(&mut self, second: i64, operation: Operation) {
        let request = self.lost_call(second, operation);
        self.answer(second, request, 503, None);
    }

    /// A call that the cloud refuses.
    pub fn refused_call(&mut self, second: i64, operation: Operation) {
        let request = self.lost_call(second, operation);
        self.answer(second, request, 403, None);
    }

    fn answer(&mut self, second: i64, request: u64, status: u16, retry_after: Option<&str>) {
        let retry_after = retry_after.map(str::to_owned);
        let answer = Answer { status: Some(status), code: None, retry_after, fault: None };
        self.ledger.append(at(second), Event::Answer { request, answer });
    }

    /// A call that is accepted as a job.
    pub fn job(&mut self, second: i64, operation: Operation, job: &str) {
        let request = self.lost_call(second, operation);
        self.ledger.append(at(second), Event::JobStarted { job: job.to_owned(), request });
        self.answer(second, request, 200, None);
    }

    pub fn job_ends(&mut self, second: i64, job: &str) {
        self.ledger.append(at(second), Event::JobEnded { job: job.to_owned(), status: "failed".to_owned() });
    }

    pub fn effect(&mut self, second: i64, request: u64, kind: EffectKind, digest: &str) {
        self.changed(second, Some(request), kind, digest);
    }

    pub fn at_the_console(&mut self, second: i64, kind: EffectKind, digest: &str) {
        self.changed(second, None, kind, digest);
    }

    fn changed(&mut self, second: i64, request: Option<u64>, kind: EffectKind, digest: &str) {
        let access = AccountAccess { databases: Some(vec!["*".to_owned()]), dml: Some(1), hosts: None };
        let effect = Effect {
            kind,
            instance: INSTANCE.to_owned(),
            account: ACCOUNT.to_owned(),
            password_digest: Some(digest.to_owned()).filter(|digest| !digest.is_empty()),
            access: (kind != EffectKind::Deleted).then_some(access),
            request,
            job: None,
        };
        self.ledger.append(at(second), Event::Effect(effect));
    }

    pub fn clouds_replaced(&mut self) {
        self.clouds.push(std::mem::take(&mut self.ledger));
    }
}

fn announce(name: &str, kind: &str, attempt: &str) -> impl Fn(&mut Value) {
    let intent = json!({
        "uid": format!("uid-{name}"),
        "instanceKey": format!("huaweicloud/region/project/{INSTANCE}"),
        "username": ACCOUNT,
        "kind": kind,
        "attempt": attempt,
    });
    move |object| {
        object["metadata"]["finalizers"] = json!(["chuser.dev/account"]);
        object["metadata"]["annotations"] = json!({ "chuser.dev/operation": intent.to_string() });
    }
}

fn event(
    second: i64,
    user: &str,
    verb: &str,
    (group, resource): (&str, &str),
    namespace: &str,
    name: &str,
) -> AuditEvent {
    AuditEvent {
        verb: verb.to_owned(),
        user: user.to_owned(),
        group: group.to_owned(),
        resource: resource.to_owned(),
        subresource: String::new(),
        namespace: namespace.to_owned(),
        name: name.to_owned(),
        code: 200,
        request_uri: format!("/{group}/{namespace}/{resource}/{name}"),
        stage: "ResponseComplete".to_owned(),
        received_at: at(second),
        answered_at: at(second),
        response: None,
    }
}

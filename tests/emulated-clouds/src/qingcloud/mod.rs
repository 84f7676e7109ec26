//! QingCloud's `/iaas/` as MySQL Plus uses it.
//!
//! Sources: the vendor's pages on signatures, common parameters and error codes; on `add_ck_user` and `delete_ck_user`;
//! on `DescribeJobs`, `DescribeClusters` and `DescribeClusterNodes`.

mod call;
mod jobs;
mod reads;
mod rules;
mod signature;

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::{
    clock::{SECONDS, parse_exactly},
    ledger::{Operation, Request, Service},
    message::{RawRequest, Reply},
    seed::{Cluster, QingcloudKey},
    switches::{ErrorStatus, FutureTime, Message, NameCase, TransitionStatus},
    world::{CallWindow, Shared, World},
};
use call::Call;
use jobs::Job;

/// How long a `time_stamp` is good (vendor's error table, 1300).
const TIME_STAMP_LIFE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);

/// QingCloud's part of the world.
#[derive(Default)]
pub(crate) struct State {
    keys: BTreeMap<String, QingcloudKey>,
    calls: HashMap<String, CallWindow>,
    clusters: BTreeMap<String, ClusterState>,
    jobs: Vec<Job>,
    job_places: HashMap<String, usize>,
}

pub(crate) struct ClusterState {
    pub(crate) seed: Cluster,
    pub(crate) accounts: BTreeMap<String, Account>,
    /// Jobs that have not ended.
    running: usize,
    /// Taken by the job that works, where jobs may queue; holds when the last one ended.
    turn: Arc<tokio::sync::Mutex<Timestamp>>,
}

pub(crate) struct Account {
    pub(crate) password_digest: String,
    pub(crate) hosts: Vec<String>,
}

impl State {
    pub(crate) fn add_key(&mut self, key: QingcloudKey) {
        self.keys.insert(key.id.clone(), key);
    }

    pub(crate) fn remove_key(&mut self, id: &str) {
        self.keys.remove(id);
    }

    pub(crate) fn add_cluster(&mut self, cluster: Cluster) {
        if let Some(state) = self.clusters.get_mut(&cluster.id) {
            state.seed = cluster;
            return;
        }
        let id = cluster.id.clone();
        let state = ClusterState { seed: cluster, accounts: BTreeMap::new(), running: 0, turn: Arc::default() };
        self.clusters.insert(id, state);
    }

    pub(crate) fn cluster(&self, id: &str) -> Option<&ClusterState> {
        self.clusters.get(id)
    }

    pub(crate) fn cluster_mut(&mut self, id: &str) -> Option<&mut ClusterState> {
        self.clusters.get_mut(id)
    }

    /// Drops the records of all jobs that have ended.
    pub(crate) fn forget_jobs(&mut self) {
        self.jobs.retain(|job| !job.ended());
        self.job_places = self.jobs.iter().enumerate().map(|(place, job)| (job.id.clone(), place)).collect();
    }
}

impl ClusterState {
    /// The account that bears a name.
    fn bearer(&self, name: &str, case: NameCase) -> Option<String> {
        let bears = |other: &&String| match case {
            NameCase::Distinct => *other == name,
            NameCase::Same => other.eq_ignore_ascii_case(name),
        };
        self.accounts.keys().find(bears).cloned()
    }

    fn transition_status(&self, switch: TransitionStatus) -> &str {
        if self.running > 0 && switch == TransitionStatus::Updating { "updating" } else { &self.seed.transition_status }
    }
}

/// A refusal: code, and the text after the code word.
#[derive(Debug)]
struct Refusal {
    code: u16,
    message: String,
}

impl Refusal {
    fn malformed(detail: impl AsRef<str>) -> Self {
        // Spelt so by the vendor.
        Self { code: 1100, message: format!("InvailidRequestFormat, {}", detail.as_ref()) }
    }

    fn missing(parameter: &str) -> Self {
        Self::malformed(format!("missing parameter [{parameter}]"))
    }

    fn method(detail: impl AsRef<str>) -> Self {
        Self { code: 1101, message: format!("InvailidRequestMethod, {}", detail.as_ref()) }
    }

    fn unauthenticated(detail: impl AsRef<str>) -> Self {
        Self { code: 1200, message: format!("AuthFailure, {}", detail.as_ref()) }
    }

    fn expired() -> Self {
        Self { code: 1300, message: "RequestHasExpired, request has expired".to_owned() }
    }

    fn denied(detail: impl AsRef<str>) -> Self {
        Self { code: 1400, message: format!("PermissionDenied, {}", detail.as_ref()) }
    }

    fn not_found(detail: impl AsRef<str>) -> Self {
        Self { code: 2100, message: format!("ResourceNotFound, {}", detail.as_ref()) }
    }

    fn exists(detail: impl AsRef<str>) -> Self {
        Self { code: 2110, message: format!("ResourceAlreadyExists, {}", detail.as_ref()) }
    }

    fn over_quota() -> Self {
        Self { code: 2500, message: "QuotaExceeded, API call quota exceeded".to_owned() }
    }
}

/// A refusal in QingCloud's form.
pub(crate) fn refusal_with(world: &World, code: &str, message: &str) -> Reply {
    let number: Value = code.parse::<i64>().map_or_else(|_| json!(code), |number| json!(number));
    let message = match world.switches.qingcloud_message {
        Message::Text => json!(message),
        Message::Null => Value::Null,
    };
    let status = match world.switches.qingcloud_error_status {
        ErrorStatus::Ok => 200,
        ErrorStatus::BadRequest => 400,
    };
    Reply::new(status, json!({ "ret_code": number, "message": message })).with_code(code)
}

/// What the ledger says of a request.
pub(crate) fn describe(raw: &RawRequest) -> Request {
    let call = Call::read(raw);
    let parameters = call.service_params();
    let operation = match (call.get("action"), call.get("service")) {
        (Some("RunClusterCustomService"), Some("add_ck_user")) => Operation::AddCkUser,
        (Some("RunClusterCustomService"), Some("del_ck_user")) => Operation::DelCkUser,
        (Some("DescribeJobs"), _) => Operation::DescribeJobs,
        (Some("DescribeClusters"), _) => Operation::DescribeClusters,
        (Some("DescribeClusterNodes"), _) => Operation::DescribeClusterNodes,
        _ => Operation::Other,
    };
    Request {
        key: call.get("access_key_id").map(str::to_owned),
        instance: call.get("cluster").map(str::to_owned),
        account: parameters.as_ref().and_then(|it| it.get("user")).and_then(Value::as_str).map(str::to_owned),
        request_id: call.get("req_id").map(str::to_owned),
        ..Request::new(Service::QingCloud, operation, raw)
    }
}

/// Answers a request.
pub(crate) async fn answer(shared: &Arc<Shared>, raw: &RawRequest, number: u64) -> Reply {
    if raw.path != "/iaas/" && raw.path != "/iaas" {
        return Reply::new(404, json!({ "message": "Not Found" }));
    }
    let call = Call::read(raw);
    // A refusal at once may depend on accounts: not in the middle of another change.
    let _turn = shared.effects.lock().await;
    let mut world = shared.world();
    match dispatch(shared, &mut world, &call, number) {
        Ok(body) => Reply::new(200, body).with_code("0"),
        Err(refusal) => refusal_with(&world, &refusal.code.to_string(), &refusal.message),
    }
}

fn dispatch(shared: &Arc<Shared>, world: &mut World, call: &Call, number: u64) -> Result<Value, Refusal> {
    let now = shared.clock.now();
    let action = call.required("action")?;
    let key = authenticate(world, call, now)?;
    let limit = world.limits.qingcloud_calls_per_hour;
    if !world.qingcloud.calls.entry(key.id.clone()).or_default().admit(now, HOUR, limit) {
        return Err(Refusal::over_quota());
    }
    if !["RunClusterCustomService", "DescribeJobs", "DescribeClusters", "DescribeClusterNodes"].contains(&action) {
        return Err(Refusal::method(format!("action [{action}] is not supported")));
    }
    let zone = call.required("zone")?;
    let known = world.qingcloud.clusters.values().any(|cluster| cluster.seed.zone == zone);
    if !known || !(key.zones.is_empty() || key.zones.iter().any(|allowed| allowed == zone)) {
        return Err(Refusal::denied(format!("access denied for zone [{zone}]")));
    }
    match action {
        "RunClusterCustomService" => jobs::run_custom_service(shared, world, call, &key, number),
        "DescribeJobs" => reads::describe_jobs(world, call, &key, now),
        "DescribeClusters" => reads::describe_clusters(world, call, &key),
        _ => reads::describe_cluster_nodes(world, call, &key),
    }
}

/// Key, signature and time, in this order.
fn authenticate(world: &World, call: &Call, now: Timestamp) -> Result<QingcloudKey, Refusal> {
    if let Some(name) = &call.repeated {
        return Err(Refusal::malformed(format!("parameter [{name}] is given twice")));
    }
    let key_id = call.required("access_key_id")?;
    let method = call.required("signature_method")?;
    for (name, only) in [("signature_version", "1"), ("version", "1")] {
        match call.get(name) {
            // The vendor's Go SDK never sends `version`.
            None if name == "version" => {}
            None => return Err(Refusal::missing(name)),
            Some(value) if value == only => {}
            Some(_) => return Err(Refusal::malformed(format!("illegal value of parameter [{name}]"))),
        }
    }
    let signature = call.signature.as_deref().ok_or_else(|| Refusal::missing("signature"))?;
    let time_stamp = call.required("time_stamp")?;
    let key = world.qingcloud.keys.get(key_id);
    let key = key.ok_or_else(|| Refusal::unauthenticated(format!("illegal access key [{key_id}]")))?;
    let right = signature::verify(method, &key.secret, &call.string_to_sign(), signature)
        .ok_or_else(|| Refusal::malformed("illegal value of parameter [signature_method]"))?;
    if !right {
        return Err(Refusal::unauthenticated("signature not matched"));
    }
    let illegal_time = |name: &str| Refusal::malformed(format!("illegal value of parameter [{name}]"));
    let sent = parse_exactly(SECONDS, time_stamp).ok_or_else(|| illegal_time("time_stamp"))?;
    let early = sent > now + TIME_STAMP_LIFE && world.switches.qingcloud_future_time == FutureTime::Refused;
    if early || sent + TIME_STAMP_LIFE < now {
        return Err(Refusal::expired());
    }
    if let Some(expires) = call.get("expires")
        && parse_exactly(SECONDS, expires).ok_or_else(|| illegal_time("expires"))? < now
    {
        return Err(Refusal::expired());
    }
    Ok(key.clone())
}

//! Custom services and the jobs that carry them out.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use rand::RngExt;
use serde_json::{Map, Value, json};
use tokio::sync::watch;

use super::{
    Account, Call, Refusal,
    rules::{self, Change},
};
use crate::{
    clock::SECONDS,
    database::DatabaseAccount,
    faults::JobFate,
    ledger::{AccountAccess, Effect, EffectKind, Event, Operation},
    seed::QingcloudKey,
    switches::{
        Busy, DirectiveParams, DirectivePassword, ExistingAccount, FailedJob, JobErrorCodes, MissingAccount,
        NewAccountRights, Post, RepeatedRequestId, RequestId, RuleViolation, UnknownCluster,
    },
    world::{Shared, World},
};

/// A job and its record.
pub(super) struct Job {
    pub(super) id: String,
    pub(super) owner: String,
    pub(super) zone: String,
    pub(super) cluster: String,
    pub(super) status: &'static str,
    pub(super) error_codes: &'static str,
    pub(super) created: Timestamp,
    pub(super) status_time: Timestamp,
    pub(super) directive: String,
    request_id: Option<String>,
}

impl Job {
    pub(super) fn ended(&self) -> bool {
        !matches!(self.status, "pending" | "working")
    }

    /// The record as `DescribeJobs` shows it.
    pub(super) fn record(&self) -> Value {
        json!({
            "job_id": self.id,
            "job_action": "RunClusterCustomService",
            "status": self.status,
            "create_time": self.created.strftime(SECONDS).to_string(),
            "status_time": self.status_time.strftime(SECONDS).to_string(),
            "owner": self.owner,
            "resource_ids": self.cluster,
            "error_codes": self.error_codes,
            "directive": self.directive,
        })
    }
}

/// How the work of a job ends.
enum End {
    Done,
    Refused,
}

/// Accepts or refuses a custom service.
pub(super) fn run_custom_service(
    shared: &Arc<Shared>,
    world: &mut World,
    call: &Call,
    key: &QingcloudKey,
    number: u64,
) -> Result<Value, Refusal> {
    let switches = world.switches.clone();
    if call.verb == "POST" && switches.qingcloud_post == Post::Refused {
        return Err(Refusal::method("POST is not supported"));
    }
    let (zone, cluster_id) = (call.required("zone")?, call.required("cluster")?);
    let (role, service) = (call.required("role")?, call.required("service")?);
    let cluster = world.qingcloud.cluster(cluster_id);
    let cluster =
        cluster.filter(|cluster| cluster.seed.zone == zone && cluster.seed.owner == key.owner).ok_or_else(|| {
            match switches.qingcloud_unknown_cluster {
                UnknownCluster::NotFound => Refusal::not_found(format!("resource [{cluster_id}] not found")),
                UnknownCluster::PermissionDenied => Refusal::denied("describe resource failed"),
            }
        })?;
    let operation = match service {
        "add_ck_user" => Operation::AddCkUser,
        "del_ck_user" => Operation::DelCkUser,
        _ => return Err(Refusal::malformed(format!("illegal service [{service}]"))),
    };
    if role != "analysis" || cluster.seed.analysis_nodes.is_empty() {
        return Err(Refusal::malformed(format!("cluster [{cluster_id}] has no role [{role}]")));
    }
    if cluster.seed.status != "active" {
        return Err(Refusal::denied(format!("cluster [{cluster_id}] is not active")));
    }
    let changing = &cluster.seed.transition_status;
    let busy_with = if !changing.is_empty() {
        Some(changing.as_str())
    } else if cluster.running > 0 && switches.qingcloud_busy == Busy::Refused {
        Some("updating")
    } else {
        None
    };
    if let Some(transition) = busy_with {
        return Err(Refusal::denied(format!("resource [{cluster_id}] is [{transition}], please try later")));
    }
    let request_id = call.get("req_id").map(str::to_owned);
    if switches.qingcloud_repeated_request_id == RepeatedRequestId::Refused
        && request_id.is_some()
        && world.qingcloud.jobs.iter().any(|job| job.request_id == request_id)
    {
        return Err(Refusal::malformed("req_id was used before"));
    }
    let change = rules::read(service, call.service_params().as_ref(), switches.qingcloud_default_name);
    match &change {
        Err(broken) if switches.qingcloud_rule_violation == RuleViolation::RefusedAtOnce => {
            return Err(Refusal::malformed(broken));
        }
        Ok(Change::Add { user, .. })
            if cluster.bearer(user, switches.qingcloud_name_case).is_some()
                && switches.qingcloud_existing_account == ExistingAccount::RefusedAtOnce =>
        {
            return Err(Refusal::exists(format!("user [{user}] already exists")));
        }
        Ok(Change::Remove { user })
            if cluster.bearer(user, switches.qingcloud_name_case).is_none()
                && switches.qingcloud_missing_account == MissingAccount::RefusedAtOnce =>
        {
            return Err(Refusal::not_found(format!("user [{user}] not found")));
        }
        _ => {}
    }
    let turn = cluster.turn.clone();
    let now = shared.clock.now();
    let id = new_job_id();
    let job = Job {
        id: id.clone(),
        owner: key.owner.clone(),
        zone: zone.to_owned(),
        cluster: cluster_id.to_owned(),
        status: "pending",
        error_codes: "",
        created: now,
        status_time: now,
        directive: directive(world, call),
        request_id,
    };
    world.qingcloud.job_places.insert(id.clone(), world.qingcloud.jobs.len());
    world.qingcloud.jobs.push(job);
    shared.record(world, Event::JobStarted { job: id.clone(), request: number });
    if let Some(cluster) = world.qingcloud.cluster_mut(cluster_id) {
        cluster.running += 1;
    }
    let place = world.job_fates.iter().position(|(wanted, _)| *wanted == operation);
    let fate = place.and_then(|place| world.job_fates.remove(place)).map_or(JobFate::Natural, |(_, fate)| fate);
    let work = Work {
        job: id.clone(),
        cluster: cluster_id.to_owned(),
        created: now,
        change: change.ok(),
        fate,
        duration: world.timing.job_duration,
        request: number,
    };
    let shared = shared.clone();
    let released = shared.released.subscribe();
    tokio::spawn(async move {
        tokio::select! {
            () = work.run(&shared, turn, released) => {}
            () = shared.until_stopped() => {}
        }
    });
    Ok(json!({
        "action": "RunClusterCustomServiceResponse",
        "job_id": id,
        "cluster_id": cluster_id,
        "role": role,
        "service": service,
        "ret_code": 0,
    }))
}

/// `j-` and eleven lower-case letters or digits.
fn new_job_id() -> String {
    const LETTERS: &[u8] = b"abcdefghijklmnopqrstuvwxyz0123456789";
    let mut random = rand::rng();
    let letters = (0..11).map(|_| char::from(LETTERS[random.random_range(0..LETTERS.len())]));
    format!("j-{}", letters.collect::<String>())
}

/// The whole request as text, as the real service keeps it: password, key id and signature included.
fn directive(world: &World, call: &Call) -> String {
    let mut directive: Map<String, Value> =
        call.parameters.iter().map(|(name, value)| (name.clone(), json!(value))).collect();
    directive.insert("signature".to_owned(), json!(call.signature));
    if world.switches.qingcloud_request_id == RequestId::Dropped {
        directive.remove("req_id");
    }
    if let Some(mut parameters) = call.service_params() {
        if world.switches.qingcloud_directive_password == DirectivePassword::Masked && parameters.contains_key("passwd")
        {
            parameters.insert("passwd".to_owned(), json!("******"));
            directive.insert("service_params".to_owned(), json!(Value::from(parameters.clone()).to_string()));
        }
        if world.switches.qingcloud_directive_params == DirectiveParams::Object {
            directive.insert("service_params".to_owned(), parameters.into());
        }
    }
    Value::from(directive).to_string()
}

/// What a job has to do.
struct Work {
    job: String,
    cluster: String,
    created: Timestamp,
    /// None where a rule is broken.
    change: Option<Change>,
    fate: JobFate,
    duration: Duration,
    request: u64,
}

impl Work {
    async fn run(
        self,
        shared: &Arc<Shared>,
        turn: Arc<tokio::sync::Mutex<Timestamp>>,
        mut released: watch::Receiver<u64>,
    ) {
        let mut last_end = turn.lock().await;
        let begun = self.created.max(*last_end);
        shared.clock.sleep_until(begun + self.duration / 12).await;
        self.set_status(&mut shared.world(), "working");
        shared.clock.sleep_until(begun + self.duration).await;
        if self.fate == JobFate::Stuck {
            // The sender lives in `shared`, so this ends with a release alone.
            let _ = released.changed().await;
        }
        *last_end = shared.clock.now();
        let _one = shared.effects.lock().await;
        let end = match &self.change {
            Some(change) if self.fate != JobFate::Failed => self.apply(shared, change).await,
            _ => End::Refused,
        };
        let mut world = shared.world();
        let failed = match world.switches.qingcloud_failed_job {
            FailedJob::Failed => "failed",
            FailedJob::DoneWithFailure => "done with failure",
        };
        let status = match (end, self.fate) {
            (End::Done, JobFate::OddStatus) => "archived",
            (End::Done, JobFate::FailedAfterEffect) | (End::Refused, _) => failed,
            (End::Done, _) => "successful",
        };
        let error_codes = match world.switches.qingcloud_job_error_codes {
            JobErrorCodes::ExitStatus if status == failed => "1",
            _ => "",
        };
        let now = shared.clock.now();
        self.set_status(&mut world, status);
        if let Some(job) = self.record(&mut world) {
            job.error_codes = error_codes;
            job.status_time = now;
        }
        if let Some(cluster) = world.qingcloud.cluster_mut(&self.cluster) {
            cluster.running -= 1;
        }
        shared.record(&mut world, Event::JobEnded { job: self.job.clone(), status: status.to_owned() });
    }

    fn record<'a>(&self, world: &'a mut World) -> Option<&'a mut Job> {
        let place = *world.qingcloud.job_places.get(&self.job)?;
        world.qingcloud.jobs.get_mut(place)
    }

    fn set_status(&self, world: &mut World, status: &'static str) {
        if let Some(job) = self.record(world) {
            job.status = status;
        }
    }

    async fn apply(&self, shared: &Arc<Shared>, change: &Change) -> End {
        let (bearer, missing_is_fine, rights) = {
            let world = shared.world();
            let cluster = world.qingcloud.cluster(&self.cluster);
            let case = world.switches.qingcloud_name_case;
            (
                cluster.and_then(|cluster| cluster.bearer(change.user(), case)),
                world.switches.qingcloud_missing_account == MissingAccount::SuccessfulJob,
                world.switches.qingcloud_new_account_rights,
            )
        };
        let name = bearer.clone().unwrap_or_else(|| change.user().to_owned());
        let in_database = match change {
            Change::Add { .. } if bearer.is_some() => return End::Refused,
            Change::Remove { .. } if bearer.is_none() => return if missing_is_fine { End::Done } else { End::Refused },
            Change::Add { user, password, hosts } => {
                let account = DatabaseAccount {
                    name: user.clone(),
                    password: password.clone(),
                    networks: hosts.clone(),
                    databases: vec!["*".to_owned()],
                    read_only: match rights {
                        NewAccountRights::ReadOnly => 1,
                        NewAccountRights::ReadWrite => 0,
                    },
                };
                shared.put_in_database(account).await
            }
            Change::Remove { .. } => shared.remove_from_database(&name).await,
        };
        if in_database.is_err() {
            return End::Refused;
        }
        let mut world = shared.world();
        let Some(cluster) = world.qingcloud.cluster_mut(&self.cluster) else { return End::Refused };
        let (kind, password_digest, access) = match change {
            Change::Add { user, password, hosts } => {
                let digest = shared.digest(password);
                let account = Account { password_digest: digest.clone(), hosts: hosts.clone() };
                cluster.accounts.insert(user.clone(), account);
                let access = AccountAccess { hosts: Some(hosts.clone()), ..AccountAccess::default() };
                (EffectKind::Created, Some(digest), Some(access))
            }
            Change::Remove { .. } => {
                cluster.accounts.remove(&name);
                (EffectKind::Deleted, None, None)
            }
        };
        let effect = Effect {
            kind,
            instance: self.cluster.clone(),
            account: name,
            password_digest,
            access,
            request: Some(self.request),
            job: Some(self.job.clone()),
        };
        shared.record_effect(&mut world, effect);
        End::Done
    }
}

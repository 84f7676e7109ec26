//! Huawei Cloud's account calls for ClickHouse instances of TaurusDB, behind the vendor's gateway.
//!
//! Sources: the vendor's pages of the account calls, of the instance's detail and of the list of analysis instances;
//! the API signing guide; the error tables of the service family and of the gateway.

mod accounts;
mod errors;
mod reads;
mod rules;
mod signature;

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

use axum::http::Method;
use jiff::Timestamp;

use crate::{
    clock::{COMPACT, parse_exactly},
    iam::TokenState,
    ledger::{Operation, Request, Service},
    message::{RawRequest, Reply},
    seed::{HuaweiKeys, Instance, InstanceState},
    switches::{ForeignInstance, Published},
    world::{CallWindow, Shared, World},
};
pub(crate) use accounts::Account;
pub use errors::Rejection;
pub(crate) use errors::{envelope, gateway_refusal, throttled};

/// The gateway refuses a signature that is older or newer (vendor's signing guide).
const SKEW: Duration = Duration::from_secs(15 * 60);
/// So many failures in a row lock an access key (vendor's signing guide).
const FAILURES_TO_LOCK: u32 = 5;
const LOCK: Duration = Duration::from_secs(5 * 60);
const MINUTE: Duration = Duration::from_secs(60);

/// Huawei Cloud's part of the world, IAM apart.
#[derive(Default)]
pub(crate) struct State {
    keys: BTreeMap<String, HuaweiKeys>,
    failures: HashMap<String, Failures>,
    calls: HashMap<String, CallWindow>,
    instances: BTreeMap<String, InstanceRecord>,
    pub(crate) codes: BTreeMap<Rejection, (u16, String)>,
}

#[derive(Default)]
struct Failures {
    in_a_row: u32,
    locked_until: Option<Timestamp>,
}

pub(crate) struct InstanceRecord {
    pub(crate) seed: Instance,
    pub(crate) accounts: BTreeMap<String, accounts::Account>,
    /// What lists show, in the order of creation.
    listed: Vec<accounts::Listed>,
    /// Taken by the write that works.
    turn: Arc<tokio::sync::Mutex<()>>,
}

impl State {
    pub(crate) fn add_keys(&mut self, keys: HuaweiKeys) {
        self.keys.insert(keys.access_key.clone(), keys);
    }

    pub(crate) fn remove_keys(&mut self, access_key: &str) {
        self.keys.remove(access_key);
    }

    pub(crate) fn add_instance(&mut self, instance: Instance) {
        match self.instances.get_mut(&instance.id) {
            Some(record) => record.seed = instance,
            None => {
                self.instances.insert(instance.id.clone(), InstanceRecord::new(instance));
            }
        }
    }

    pub(crate) fn instance(&self, id: &str) -> Option<&InstanceRecord> {
        self.instances.get(id)
    }

    pub(crate) fn instance_mut(&mut self, id: &str) -> Option<&mut InstanceRecord> {
        self.instances.get_mut(id)
    }
}

/// Who calls, proven.
pub(crate) struct Caller {
    /// Access key or `domain/user`.
    name: String,
    pub(crate) domain: String,
    reach: Reach,
}

/// The projects a caller may use.
enum Reach {
    /// Those of its domain: access keys.
    Domain,
    /// This one: tokens.
    Project(String),
    /// None: tokens for global services.
    Nothing,
}

/// 32 hex digits, as in `X-Request-Id`.
pub(crate) fn request_id() -> String {
    hex::encode(rand::random::<[u8; 16]>())
}

/// What a path means.
struct Route {
    operation: Operation,
    project: String,
    /// Instance that is acted on.
    instance: Option<String>,
    /// TaurusDB instance in the path.
    taurus: Option<String>,
    /// Account in the path.
    account: Option<String>,
}

impl Route {
    fn find(raw: &RawRequest) -> Option<Self> {
        let segments = raw.segments();
        let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
        let ["v3", project, rest @ ..] = &segments[..] else { return None };
        let (mut instance, mut taurus, mut account) = (None, None, None);
        let operation = match (&raw.method, rest) {
            (&Method::GET, ["jobs"]) => Operation::ShowJob,
            (&Method::GET, ["instances", id, "htap"]) => {
                taurus = Some(*id);
                Operation::ListHtap
            }
            (method, ["instances", id, "clickhouse", tail @ ..]) => {
                instance = Some(*id);
                match (method, tail) {
                    (&Method::POST, ["users"]) => Operation::CreateUser,
                    (&Method::GET, ["users"]) => Operation::ListUsers,
                    (&Method::GET, ["databases"]) => Operation::ListDatabases,
                    (&Method::PUT, ["users", "password"]) => Operation::SetPassword,
                    (&Method::PUT, ["users", "permission"]) => Operation::SetPermission,
                    (&Method::DELETE, ["users", name]) if !name.is_empty() => {
                        account = Some(*name);
                        Operation::DeleteUser
                    }
                    // The list of nodes has the place of an id, and is not emulated.
                    (&Method::GET, [clickhouse]) if *clickhouse != "nodes" => {
                        taurus = Some(*id);
                        instance = Some(*clickhouse);
                        Operation::ShowInstance
                    }
                    _ => return None,
                }
            }
            _ => return None,
        };
        Some(Self {
            operation,
            project: (*project).to_owned(),
            instance: instance.map(str::to_owned),
            taurus: taurus.map(str::to_owned),
            account: account.map(str::to_owned),
        })
    }
}

/// Who a request says it is from: user of its token, or access key.
pub(crate) fn claimed_key(shared: &Shared, raw: &RawRequest) -> Option<String> {
    match raw.header("x-auth-token") {
        Some(token) => shared.world().iam.user_of(token),
        None => signature::Authorization::read(raw.header("authorization").unwrap_or_default())
            .map(|authorization| authorization.access_key.to_owned()),
    }
}

/// What the ledger says of a request.
pub(crate) fn describe(shared: &Shared, raw: &RawRequest) -> Request {
    let route = Route::find(raw);
    let operation = route.as_ref().map_or(Operation::Other, |route| route.operation);
    let mut request = Request::new(Service::Huawei, operation, raw);
    request.key = claimed_key(shared, raw);
    if let Some(route) = route {
        request.instance = route.instance.or(route.taurus);
        request.account = route.account.or_else(|| accounts::named_in(raw));
    }
    request
}

/// Answers a request.
pub(crate) async fn answer(shared: &Arc<Shared>, raw: &RawRequest, number: u64) -> Reply {
    let reply = match admit(shared, raw) {
        Err(refusal) => refusal,
        Ok((route, instance)) => {
            let result = match (&instance, route.operation.changes_accounts()) {
                (Some(instance), true) => accounts::change(shared, raw, &route, instance, number).await,
                _ => reads::answer(shared, raw, &route, instance.as_deref()),
            };
            result.unwrap_or_else(|reason| errors::rejection(&shared.world(), reason))
        }
    };
    reply.with_header("x-request-id", request_id())
}

/// Everything before the service itself: route, caller, project, instance.
fn admit(shared: &Shared, raw: &RawRequest) -> Result<(Route, Option<String>), Reply> {
    let mut world = shared.world();
    let now = shared.clock.now();
    let unpublished = world.switches.huawei_published == Published::No;
    let route = Route::find(raw)
        .filter(|route| !unpublished || matches!(route.operation, Operation::ShowJob | Operation::ListHtap))
        .ok_or_else(|| {
            let message = "The API does not exist or has not been published in the environment";
            gateway_refusal(&world, 404, "0101", message)
        })?;
    let caller = authenticate(&mut world, raw, now)?;
    if let Some(limit) = world.limits.huawei_calls_per_minute
        && !world.huawei.calls.entry(caller.name.clone()).or_default().admit(now, MINUTE, limit)
    {
        return Err(throttled(&world, limit));
    }
    match &caller.reach {
        Reach::Domain if world.iam.domain_of_project(&route.project) != Some(&caller.domain) => {
            return Err(gateway_refusal(&world, 403, "0310", "The project is not available"));
        }
        Reach::Domain => {}
        Reach::Project(project) if *project == route.project => {}
        Reach::Project(_) | Reach::Nothing => {
            return Err(errors::rejection(&world, Rejection::TokenOfAnotherProject));
        }
    }
    let instance = find_instance(&world, &route).map_err(|reason| errors::rejection(&world, reason))?;
    Ok((route, instance))
}

/// The ClickHouse instance of a path that names one, if it may be used.
fn find_instance(world: &World, route: &Route) -> Result<Option<String>, Rejection> {
    let Some(id) = &route.instance else { return Ok(None) };
    if !rules::is_instance_id(id) {
        return Err(Rejection::MalformedInstanceId);
    }
    let record = world.huawei.instance(id).ok_or(Rejection::InstanceMissing)?;
    if record.seed.project != route.project {
        return Err(match world.switches.huawei_foreign_instance {
            ForeignInstance::Forbidden => Rejection::InstanceForbidden,
            ForeignInstance::NotFound => Rejection::InstanceMissing,
        });
    }
    let of_taurus = route.taurus.as_ref().is_none_or(|taurus| *taurus == record.seed.taurus_id);
    if !of_taurus || record.seed.state == InstanceState::Deleted {
        return Err(Rejection::InstanceMissing);
    }
    Ok(Some(id.clone()))
}

/// Who calls: by token, else by signature.
pub(crate) fn authenticate(world: &mut World, raw: &RawRequest, now: Timestamp) -> Result<Caller, Reply> {
    let refuse = |world: &World, number: &str, detail: &str| {
        let message = format!("Incorrect IAM authentication information: {detail}");
        gateway_refusal(world, 401, number, &message)
    };
    if let Some(text) = raw.header("x-auth-token") {
        return match world.iam.token(text, now) {
            Ok(token) => Ok(Caller {
                name: token.user_name(),
                domain: token.domain().to_owned(),
                reach: token.project().map_or(Reach::Nothing, |id| Reach::Project(id.to_owned())),
            }),
            Err(TokenState::Expired) => Err(refuse(world, "0307", "token expires")),
            Err(TokenState::Revoked) => Err(refuse(world, "0301", "token revoked")),
            Err(TokenState::Unknown) => Err(refuse(world, "0301", "decrypt token fail")),
        };
    }
    let Some(header) = raw.header("authorization") else {
        return Err(refuse(world, "0301", "X-Auth-Token cannot be empty"));
    };
    let Some(authorization) = signature::Authorization::read(header) else {
        return Err(refuse(world, "0301", "verify aksk signature fail, malformed Authorization"));
    };
    let Some(keys) = world.huawei.keys.get(authorization.access_key).cloned() else {
        return Err(refuse(world, "0301", "Get secretKey failed,ak:******,err:ak not exist"));
    };
    let failures = world.huawei.failures.entry(keys.access_key.clone()).or_default();
    if failures.locked_until.is_some_and(|until| now < until) {
        return Err(refuse(world, "0301", "AK access failed to reach the limit,forbidden."));
    }
    match verify(&authorization, raw, &keys, now) {
        Ok(()) => {
            *failures = Failures::default();
            Ok(Caller { name: keys.access_key, domain: keys.domain, reach: Reach::Domain })
        }
        Err(detail) => {
            failures.in_a_row += 1;
            if failures.in_a_row >= FAILURES_TO_LOCK {
                *failures = Failures { in_a_row: 0, locked_until: Some(now + LOCK) };
            }
            Err(refuse(world, "0301", detail))
        }
    }
}

fn verify(
    authorization: &signature::Authorization<'_>,
    raw: &RawRequest,
    keys: &HuaweiKeys,
    now: Timestamp,
) -> Result<(), &'static str> {
    let date = raw.header("x-sdk-date").and_then(|text| parse_exactly(COMPACT, text));
    let date = date.ok_or("verify aksk signature fail, X-Sdk-Date is missing or malformed")?;
    if date + SKEW < now || date > now + SKEW {
        return Err("verify aksk signature fail, signature expired");
    }
    if !authorization.covers("host") || !authorization.covers("x-sdk-date") {
        return Err("verify aksk signature fail, host and x-sdk-date have to be signed");
    }
    if !authorization.verify(raw, &keys.secret_key) {
        return Err("verify aksk signature fail, signature not matched");
    }
    let sent = raw.header("x-security-token");
    match (&keys.security_token, sent) {
        (None, None) => Ok(()),
        (Some(_), Some(_)) if !authorization.covers("x-security-token") => {
            Err("verify aksk signature fail, x-security-token has to be signed")
        }
        (Some(right), Some(sent)) if right == sent => {
            if keys.expires_at.is_some_and(|end| end <= now) {
                Err("security token expired")
            } else {
                Ok(())
            }
        }
        _ => Err("decrypt security token fail"),
    }
}

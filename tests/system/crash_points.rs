//! The operator is killed at every call of a life: before the call is sent, after its effect and before its answer is
//! seen, and after its answer. The process that follows comes to the same end, with the same effects.
//!
//! The points are those of an undisturbed run, all of them; one that other undisturbed runs come to and a cut one does not
//! is a failure.

use std::{collections::BTreeMap, time::Duration};

use clickhouse_user_operator::api::user::ClickHouseUser;
use control_plane::ControlPlane;
use emulated_clouds::{AccountAccess, AccountView, EffectKind, Timing};
use futures::{
    StreamExt,
    future::{self, Either},
    stream,
};
use kube::{
    ResourceExt,
    api::{DeleteParams, ListParams},
    runtime::wait::await_condition,
};
use serde_json::{Value, json};

use crate::{
    kubernetes::Kubernetes,
    manifests::{self, Cloud, OTHER_PASSWORD, PASSWORD, ready},
    proxy::{Call, Cut, Proxy},
    world::{PATIENCE, World, on_both_clouds},
};

/// Runs at once, on both clouds and in each workload: most of their time they wait.
const AT_ONCE: usize = 5;

/// How long after its visible end a run may come to its last calls.
const LAST_CALLS: Duration = Duration::from_secs(3);

/// What is done to the world while the operator is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Workload {
    /// An instance and a user are applied.
    Create,
    /// The user gets another password; where the cloud has no call for it, by re-creation.
    Rotate,
    /// The user gets another access; where the cloud has no call for it, by re-creation.
    Access,
    /// An account is there already, and a user adopts it.
    Adopt,
    /// The user is deleted, and its instance object with it.
    Delete,
    /// The user is deleted, and made again under the same name.
    Replace,
    /// Two users for one account are applied.
    Conflict,
}

/// Where a run came to, without what differs between any two runs.
#[derive(Debug, PartialEq)]
struct Outcome {
    users: Vec<Value>,
    instance: Value,
    accounts: BTreeMap<String, AccountView>,
    effects: Vec<(String, EffectKind, Option<String>)>,
}

/// What a workload works with; the operator is none of it.
struct Stage<'a> {
    cloud: Cloud,
    kubernetes: &'a Kubernetes,
    instance: String,
}

impl Workload {
    /// What is there before the calls are counted.
    async fn prepare(self, world: &mut World) {
        match self {
            Self::Create | Self::Conflict => {}
            Self::Adopt => {
                let access = match world.cloud {
                    Cloud::QingCloud => AccountAccess::default(),
                    Cloud::HuaweiCloud => {
                        AccountAccess { databases: Some(vec!["db1".to_owned()]), ..Default::default() }
                    }
                };
                let put = world.clouds.put_account(world.cloud.instance_id(), "reporting", OTHER_PASSWORD, access);
                put.await.expect("an account");
            }
            Self::Rotate | Self::Access | Self::Delete | Self::Replace => {
                world.operator.start();
                let stage = world.stage();
                stage.instance().await;
                let recreates = matches!(self, Self::Rotate | Self::Access) && world.cloud == Cloud::QingCloud;
                stage.user("reporting", if recreates { "updatePolicy: Recreate" } else { "" }).await;
                stage.ready("reporting").await;
            }
        }
    }

    /// The count of users in an instance's status is written by the clock, so a run may do without; what the first look
    /// at an instance showed is written in every run.
    fn always_makes(self, call: &Call) -> bool {
        let begins_with_the_instance = matches!(self, Self::Create | Self::Adopt | Self::Conflict);
        call.what != "PATCH clickhouseinstances/warehouse/status" || begins_with_the_instance && call.number == 1
    }

    /// From the first to the last thing that is done and waited for, whatever happens to the operator meanwhile.
    async fn play(self, stage: &Stage<'_>) {
        match self {
            Self::Create => {
                stage.instance().await;
                stage.user("reporting", "").await;
                stage.ready("reporting").await;
            }
            Self::Rotate => {
                let version = stage.kubernetes.change_password("reporting", OTHER_PASSWORD).await;
                let rotated = |user: &ClickHouseUser| {
                    let password = user.status.as_ref().and_then(|status| status.password.as_ref());
                    let known = password.and_then(|password| password.secret_resource_version.as_ref());
                    ready(user).0 == "AccountReady" && known == Some(&version)
                };
                stage.kubernetes.user_until("reporting", "the new password", rotated).await;
            }
            Self::Access => {
                let (field, value) = match stage.cloud {
                    Cloud::QingCloud => ("allowedHosts", "127.0.0.1"),
                    Cloud::HuaweiCloud => ("databases", "db1"),
                };
                let patch = json!({ "spec": { field: [value] } });
                stage.kubernetes.patch_user("reporting", &patch.to_string()).await;
                let changed = |user: &ClickHouseUser| {
                    let applied = user.status.as_ref().and_then(|status| status.applied.clone()).unwrap_or_default();
                    let lists = applied.allowed_hosts.into_iter().chain(applied.databases);
                    ready(user).0 == "AccountReady" && lists.flatten().eq([value])
                };
                stage.kubernetes.user_until("reporting", "the new access", changed).await;
            }
            Self::Adopt => {
                let policies = match stage.cloud {
                    Cloud::QingCloud => "adoptionPolicy: Adopt\n  updatePolicy: Recreate",
                    Cloud::HuaweiCloud => "adoptionPolicy: Adopt",
                };
                stage.instance().await;
                stage.user("reporting", policies).await;
                stage.ready("reporting").await;
            }
            Self::Delete => {
                stage.kubernetes.delete_user("reporting").await;
                let instances = stage.kubernetes.instances();
                instances.delete("warehouse", &DeleteParams::default()).await.expect("it can be deleted");
                stage.kubernetes.user_gone("reporting").await;
                let gone = await_condition(instances, "warehouse", |it: Option<&_>| it.is_none());
                tokio::time::timeout(PATIENCE, gone).await.expect("the instance goes").expect("a watch");
            }
            Self::Replace => {
                stage.kubernetes.delete_user("reporting").await;
                stage.kubernetes.user_gone("reporting").await;
                stage.kubernetes.create(&manifests::user(stage.cloud, "reporting", "")).await;
                stage.ready("reporting").await;
            }
            Self::Conflict => {
                stage.instance().await;
                for name in ["first", "second"] {
                    stage.older(name).await;
                    let manifest = manifests::user(stage.cloud, name, "");
                    let shared = manifest.replace(&format!("username: {name}"), "username: shared");
                    stage.kubernetes.create(&(manifests::password(name, PASSWORD) + &shared)).await;
                }
                stage.decided().await;
            }
        }
    }
}

impl Stage<'_> {
    /// The instance is there, and was looked at: how often its users look for it before is chance.
    async fn instance(&self) {
        self.kubernetes.create(&(manifests::credentials(self.cloud) + &self.instance)).await;
        self.kubernetes.instance_shows("warehouse", "Reachable").await;
    }

    async fn user(&self, name: &str, more: &str) {
        let manifests = manifests::password(name, PASSWORD) + &manifests::user(self.cloud, name, more);
        self.kubernetes.create(&manifests).await;
    }

    /// The user that is there already is a second older than the next: of two that came in the same one, chance says
    /// who goes first.
    async fn older(&self, next: &str) {
        let Ok(users) = self.kubernetes.users().list(&ListParams::default()).await else { panic!("no users: {next}") };
        let newest = users.iter().filter_map(|user| user.metadata.creation_timestamp.as_ref()).map(|it| it.0).max();
        let Some(newest) = newest else { return };
        while jiff::Timestamp::now().as_second() <= newest.as_second() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    async fn ready(&self, name: &str) {
        self.kubernetes.user_shows(name, "AccountReady").await;
    }

    /// One of the users has the account, and the other knows that it has not.
    async fn decided(&self) {
        let decided = async {
            loop {
                let users = self.kubernetes.users().list(&ListParams::default()).await.expect("users");
                let mut reasons: Vec<_> = users.iter().map(|user| ready(user).0.to_owned()).collect();
                reasons.sort();
                if reasons == ["AccountConflict", "AccountReady"] {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(PATIENCE, decided).await.expect("one has the account, the other is told");
    }
}

impl World {
    fn stage(&self) -> Stage<'_> {
        Stage { cloud: self.cloud, kubernetes: &self.kubernetes, instance: self.instance() }
    }
}

/// One run of a workload; cut at a point, where one is given. `None`: the run did not come to the point.
async fn run(
    plane: &'static ControlPlane,
    cloud: Cloud,
    workload: Workload,
    point: Option<(Call, Cut)>,
) -> Option<(Vec<Call>, Outcome)> {
    // What is in doubt is believed to be missing after this time, and a job on a slow machine must end within it.
    let plan = World::of(cloud).behind_a_proxy().flag("--job-timeout", "3s");
    let plan = plan.flag("--retry-min", "20ms").flag("--retry-max", "300ms").flag("--log-level", "info");
    let mut world = plan.start_on(plane).await;
    // A job is over at the first look at it, so that every run has the same looks.
    world.clouds.set_timing(Timing { job_duration: Duration::from_millis(20), ..Timing::default() });
    workload.prepare(&mut world).await;

    let instance = world.instance();
    let (operator, proxy) = (&mut world.operator, world.proxy.as_ref().expect("a world behind a proxy"));
    let to_be_cut = point.is_some();
    proxy.arm(point);
    if !operator.is_running() {
        operator.start();
    }
    let stage = Stage { cloud, kubernetes: &world.kubernetes, instance };
    if to_be_cut {
        let killing = Box::pin(async {
            proxy.reached().await;
            operator.kill();
            proxy.open();
            operator.start();
        });
        match future::select(killing, Box::pin(workload.play(&stage))).await {
            Either::Left(((), playing)) => playing.await,
            // What people wait for is there before the last calls are over.
            Either::Right(((), killing)) => tokio::time::timeout(LAST_CALLS, killing).await.ok()?,
        }
    } else {
        workload.play(&stage).await;
    }
    world.operator.is_ready().await;
    world.stays_settled().await;
    let calls = world.proxy.as_ref().map(Proxy::calls).unwrap_or_default();
    let outcome = outcome(&world).await;
    world.finish_after_namespace().await;
    Some((calls, outcome))
}

async fn outcome(world: &World) -> Outcome {
    let users = world.kubernetes.users().list(&ListParams::default()).await.expect("users");
    let mut users: Vec<_> = users.iter().map(kept).collect();
    users.sort_by_key(Value::to_string);
    let instance = world.kubernetes.instances().get_opt("warehouse").await.expect("an answer");
    let instance = instance.map(|it| {
        json!([it.metadata.finalizers, it.status.and_then(|it| it.conditions.first().map(|it| it.reason.clone()))])
    });
    let mut effects: Vec<_> =
        world.clouds.ledger().effects().cloned().map(|it| (it.account, it.kind, it.password_digest)).collect();
    // A password whose answer was lost may be sent again: the same one, and once.
    let mut repeated = 0;
    effects.dedup_by(|second, first| {
        let same = second == first && first.1 == EffectKind::PasswordSet;
        repeated += usize::from(same);
        same
    });
    assert!(repeated <= 1, "a password was sent {} times", repeated + 1);
    Outcome { users, instance: json!(instance), accounts: world.clouds.accounts(world.cloud.instance_id()), effects }
}

/// What of a user has to be the same in every run.
fn kept(user: &ClickHouseUser) -> Value {
    let mut status = serde_json::to_value(&user.status).expect("JSON");
    for pointer in ["", "/operation", "/password"] {
        let differing = ["uid", "jobID", "id", "startedAt", "finishedAt", "attempts"];
        let of_password = ["secretUID", "secretResourceVersion", "fingerprint", "appliedAt"];
        if let Some(fields) = status.pointer_mut(pointer).and_then(Value::as_object_mut) {
            fields.retain(|name, _| !differing.contains(&name.as_str()) && !of_password.contains(&name.as_str()));
        }
    }
    for condition in status.pointer_mut("/conditions").and_then(Value::as_array_mut).into_iter().flatten() {
        let message = condition["message"].as_str().unwrap_or_default();
        let words = message.split(' ').filter(|word| !word.starts_with("j-"));
        condition["message"] = json!(words.collect::<Vec<_>>().join(" "));
        condition["lastTransitionTime"] = Value::Null;
    }
    let annotated = user.annotations().contains_key("chuser.dev/operation");
    let summary = json!({ "finalizers": user.finalizers(), "announced": annotated, "status": status });
    // Which of two users that came in the same second goes first is for their uids to say.
    let anonymous = summary.to_string().replace("first", "either").replace("second", "either");
    serde_json::from_str(&anonymous).expect("JSON as before")
}

/// A run that is cut at this point. One that did not come to it, because of what else the machine does, is made anew.
async fn run_to(
    plane: &'static ControlPlane,
    cloud: Cloud,
    workload: Workload,
    point: &(Call, Cut),
) -> Option<(Vec<Call>, Outcome)> {
    for _ in 0..TRIES {
        if let Some(ended) = run(plane, cloud, workload, Some(point.clone())).await {
            return Some(ended);
        }
    }
    None
}

/// Runs before a point that is not reached is a failure.
const TRIES: usize = 3;

/// Cuts every call of the workload at every moment, on both clouds.
async fn every_point_of(workload: Workload) {
    let plane = control_plane::shared().await;
    on_both_clouds(async |cloud| {
        let (calls, undisturbed) = run(plane, cloud, workload, None).await.expect("nothing to miss");
        // What a slow machine makes the operator say in passing is in one run and not in the other.
        let (again, _) = run(plane, cloud, workload, None).await.expect("nothing to miss");
        let points: Vec<_> = calls
            .iter()
            .filter(|call| again.contains(call) && workload.always_makes(call))
            .flat_map(|call| Cut::ALL.map(|cut| (call.clone(), cut)))
            .collect();
        let count = points.len();
        let undisturbed = &undisturbed;
        let failures: Vec<String> = stream::iter(points)
            .map(async |point| match run_to(plane, cloud, workload, &point).await {
                None if run(plane, cloud, workload, None).await.is_some_and(|(calls, _)| !calls.contains(&point.0)) => {
                    eprintln!("{cloud:?}: {workload:?}: {:?} is not in every run", point.0);
                    None
                }
                None => Some(format!("{point:?}: the run did not come to this call")),
                Some((_, outcome)) if outcome != *undisturbed => Some(format!("{point:?}: it came to\n{outcome:#?}")),
                Some(_) => None,
            })
            .buffer_unordered(AT_ONCE)
            .filter_map(async |failure| failure)
            .collect()
            .await;
        eprintln!("{cloud:?}: {workload:?}: {} calls, {count} crash points", calls.len());
        assert!(
            failures.is_empty(),
            "{cloud:?}: {workload:?} should come to\n{undisturbed:#?}\n{}",
            failures.join("\n")
        );
    })
    .await;
}

#[tokio::test]
async fn create_survives_a_crash_at_every_call() {
    every_point_of(Workload::Create).await;
}

#[tokio::test]
async fn rotation_survives_a_crash_at_every_call() {
    every_point_of(Workload::Rotate).await;
}

#[tokio::test]
async fn change_of_access_survives_a_crash_at_every_call() {
    every_point_of(Workload::Access).await;
}

#[tokio::test]
async fn adoption_survives_a_crash_at_every_call() {
    every_point_of(Workload::Adopt).await;
}

#[tokio::test]
async fn delete_survives_a_crash_at_every_call() {
    every_point_of(Workload::Delete).await;
}

#[tokio::test]
async fn delete_and_creation_under_the_same_name_survive_a_crash_at_every_call() {
    every_point_of(Workload::Replace).await;
}

#[tokio::test]
async fn conflict_of_two_users_survives_a_crash_at_every_call() {
    every_point_of(Workload::Conflict).await;
}

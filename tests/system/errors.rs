//! What the cloud refuses is shown with its code and a reason, and is over when the cloud is in order again.

use std::time::Duration;

use clickhouse_user_operator::api::user::ClickHouseUser;
use emulated_clouds::{
    AccountAccess, EffectKind, ExistingAccount, Fault, FaultAnswer, Ledger, Moment, Switches, Target, Timing, Which,
};
use futures::FutureExt;
use tokio::net::TcpListener;

use crate::{
    kubernetes::stalled_or_reconciling,
    manifests::{self, CLUSTER, Cloud, INSTANCE, OTHER_PASSWORD, PASSWORD, PROJECT, ZONE, ready, secret_object},
    world::{World, on_both_clouds},
};

/// A refusal, and what the user shows of it.
struct Refusal {
    status: u16,
    code: &'static str,
    message: &'static str,
    reason: &'static str,
    companion: &'static str,
}

const fn refusal(
    status: u16,
    code: &'static str,
    message: &'static str,
    reason: &'static str,
    companion: &'static str,
) -> Refusal {
    Refusal { status, code, message, reason, companion }
}

const QINGCLOUD: &[Refusal] = &[
    refusal(
        200,
        "1400",
        "PermissionDenied, resource [cl-ouhutv70] is [updating], please try later",
        "InstanceBusy",
        "Reconciling",
    ),
    refusal(200, "1200", "AuthFailure, signature not matched", "AccessDenied", "Stalled"),
    refusal(200, "2100", "ResourceNotFound, cluster not found", "InstanceNotFound", "Stalled"),
    refusal(200, "2400", "InsufficientBalance, charge please", "InstanceUnavailable", "Stalled"),
    refusal(200, "2500", "QuotaExceeded, too many calls", "Throttled", "Reconciling"),
    refusal(200, "5000", "InternalError, it failed", "OutcomeUnknown", "Reconciling"),
    refusal(200, "5300", "ServerUpdating, come back", "ProviderUnavailable", "Reconciling"),
];

const HUAWEI: &[Refusal] = &[
    refusal(409, "DBS.200019", "Another operation is being performed.", "InstanceBusy", "Reconciling"),
    refusal(401, "APIGW.0301", "Incorrect IAM authentication information.", "AccessDenied", "Stalled"),
    refusal(403, "DBS.200044", "Not found or no permission.", "AccessDenied", "Stalled"),
    refusal(404, "DBS.200002", "The DB instance does not exist.", "InstanceNotFound", "Stalled"),
    refusal(429, "APIGW.0308", "The throttling threshold has been reached.", "Throttled", "Reconciling"),
    refusal(409, "DBS.200827", "The database account already exists.", "AccountExists", "Stalled"),
    refusal(500, "DBS.108000", "Internal error.", "OutcomeUnknown", "Reconciling"),
];

#[tokio::test]
async fn refused_create_shows_code_and_reason_and_is_made_when_the_cloud_allows_it() {
    on_both_clouds(async |cloud| {
        let world = World::of(cloud).flag("--job-timeout", "2s").start().await;
        world.apply_instance().await;
        let refusals = match cloud {
            Cloud::QingCloud => QINGCLOUD,
            Cloud::HuaweiCloud => HUAWEI,
        };
        for (number, refusal) in refusals.iter().enumerate() {
            let name = format!("user{number}");
            let Refusal { status, code, message, .. } = *refusal;
            world.clouds.inject(Fault {
                target: Target::Operation(cloud.create()),
                which: Which::All,
                moment: Moment::BeforeEffect,
                answer: FaultAnswer::Refusal(status, code.to_owned(), message.to_owned()),
            });
            world.apply_user_with_password(&name).await;
            let shows = |user: &ClickHouseUser| {
                let error = user.status.as_ref().and_then(|status| status.error.as_ref());
                ready(user).0 == refusal.reason && error.and_then(|error| error.code.as_deref()) == Some(code)
            };
            let user = world.kubernetes.user_until(&name, &format!("{} for {code}", refusal.reason), shows).await;
            assert_eq!(stalled_or_reconciling(&user), Some(refusal.companion), "{code}");
            let error = user.status.and_then(|status| status.error).expect("an error");
            assert!(error.message.contains(message.split(", ").next().unwrap_or_default()), "{error:?}");
            assert_eq!(error.retryable, refusal.companion == "Reconciling", "{code}");
            assert!(!world.accounts().contains(&name));

            world.clouds.clear_faults();
            let user = world.kubernetes.user_shows(&name, "AccountReady").await;
            assert_eq!(user.status.expect("a status").error, None, "{code}");
            assert_eq!(world.effects(&name), [EffectKind::Created], "{code}");
        }
        world.finish().await;
    })
    .await;
}

#[tokio::test]
async fn job_of_a_create_that_was_refused_for_long_counts_as_new() {
    let cloud = Cloud::QingCloud;
    let world = World::of(cloud).flag("--job-timeout", "2s").flag("--retry-max", "500ms").start().await;
    world.clouds.set_timing(Timing { job_duration: Duration::from_secs(1), ..Timing::default() });
    world.apply_instance().await;
    let busy = "PermissionDenied, resource [cl-ouhutv70] is [updating], please try later";
    world.clouds.inject(Fault {
        target: Target::Operation(cloud.create()),
        which: Which::All,
        moment: Moment::BeforeEffect,
        answer: FaultAnswer::Refusal(200, "1400".to_owned(), busy.to_owned()),
    });
    world.apply_user_with_password("reporting").await;
    // Longer than the job timeout, twice over.
    let long = |ledger: &Ledger| match ledger.entries() {
        [first, .., last] => last.time.duration_since(first.time).as_secs() >= 5,
        _ => false,
    };
    world.ledger_shows("refusals for five seconds", long).await;
    world.clouds.clear_faults();
    world.kubernetes.user_shows("reporting", "AccountReady").await;
    let reasons = world.kubernetes.kubectl(&["get", "events.events.k8s.io", "-o", "jsonpath={.items[*].reason}"]).await;
    assert!(reasons.contains("JobRunning") && !reasons.contains("OutcomeUnknown"), "{reasons}");
    world.finish().await;
}

#[tokio::test]
async fn somebody_elses_account_is_left_alone_and_its_name_taken_when_it_is_free() {
    on_both_clouds(async |cloud| {
        let world = World::of(cloud).start().await;
        let access = AccountAccess::default();
        world
            .clouds
            .put_account(cloud.instance_id(), "taken", OTHER_PASSWORD, access.clone())
            .await
            .expect("an account");
        world.clouds.put_account(cloud.instance_id(), "kept", OTHER_PASSWORD, access).await.expect("an account");
        world.apply_instance().await;
        world.apply_user_with_password("taken").await;
        world.apply_user_with_password("kept").await;
        // QingCloud tells by a failed job, and gives no cause.
        let reason = if cloud == Cloud::QingCloud { "JobFailed" } else { "AccountExists" };
        for name in ["taken", "kept"] {
            let user = world.kubernetes.user_shows(name, reason).await;
            assert_eq!(stalled_or_reconciling(&user), Some("Stalled"));
            assert!(ready(&user).1.contains(name) && ready(&user).1.contains("exist"), "{:?}", ready(&user));
            assert!(user.status.expect("a status").applied.is_none(), "it is not ours");
        }
        world.delete_user("kept").await;
        assert_eq!(world.clouds.requests(cloud.delete()), 0);
        assert!(world.accounts().contains("kept"));
        let others = world.clouds.password_digest(OTHER_PASSWORD);
        assert!(world.clouds.accounts(cloud.instance_id()).values().all(|account| account.password_digest == others));

        world.clouds.remove_account(cloud.instance_id(), "taken").await.expect("it is there");
        world.kubernetes.user_shows("taken", "AccountReady").await;
        assert_eq!(world.effects("taken"), [EffectKind::Created, EffectKind::Deleted, EffectKind::Created]);
        world.finish().await;
    })
    .await;
}

#[tokio::test]
async fn name_that_qingcloud_refuses_at_once_as_taken_is_account_exists() {
    let world = World::of(Cloud::QingCloud).start().await;
    let refusing = Switches { qingcloud_existing_account: ExistingAccount::RefusedAtOnce, ..Switches::default() };
    world.clouds.set_switches(refusing);
    world.clouds.put_account(CLUSTER, "taken", OTHER_PASSWORD, AccountAccess::default()).await.expect("an account");
    world.apply_instance().await;
    world.apply_user_with_password("taken").await;
    let user = world.kubernetes.user_shows("taken", "AccountExists").await;
    assert_eq!(user.status.and_then(|status| status.error).and_then(|error| error.code).as_deref(), Some("2110"));
    world.delete_user("taken").await;
    assert_eq!(world.clouds.requests(Cloud::QingCloud.delete()), 0);
    assert_eq!(world.effects("taken"), [EffectKind::Created], "at the console alone");
    world.finish().await;
}

#[tokio::test]
async fn wrong_credentials_are_shown_by_instance_and_users_until_they_are_replaced() {
    on_both_clouds(async |cloud| {
        let world = World::of(cloud).flag("--retry-min", "10m").flag("--retry-max", "10m").start().await;
        let id = if cloud == Cloud::QingCloud { "QINGCLOUDKEY" } else { "HUAWEIKEY" };
        let wrong = secret_object("cloud-api", &[("accessKeyID", id), ("secretAccessKey", PASSWORD)]);
        world.kubernetes.apply(&(wrong + &world.instance())).await;
        world.apply_user_with_password("reporting").await;
        world.kubernetes.instance_shows("warehouse", "AccessDenied").await;
        let user = world.kubernetes.user_shows("reporting", "AccessDenied").await;
        assert_eq!(stalled_or_reconciling(&user), Some("Stalled"));
        assert_eq!(world.changing_requests(), 0);

        world.kubernetes.apply(&manifests::credentials(cloud)).await;
        world.kubernetes.instance_shows("warehouse", "Reachable").await;
        world.kubernetes.user_shows("reporting", "AccountReady").await;
        world.finish().await;
    })
    .await;
}

#[tokio::test]
async fn unknown_instance_is_shown_by_its_object_and_users() {
    on_both_clouds(async |cloud| {
        let world = World::of(cloud).start().await;
        let unknown = match cloud {
            Cloud::QingCloud => world.instance().replace(CLUSTER, "cl-gone1234"),
            Cloud::HuaweiCloud => world.instance().replace(INSTANCE, "00000000000000000000000000000000in16"),
        };
        world.kubernetes.apply(&(manifests::credentials(cloud) + &unknown)).await;
        world.apply_user_with_password("reporting").await;
        world.kubernetes.instance_shows("warehouse", "InstanceNotFound").await;
        world.kubernetes.user_shows("reporting", "InstanceNotFound").await;
        assert_eq!(world.changing_requests(), 0);
        world.finish().await;
    })
    .await;
}

#[tokio::test]
async fn cloud_that_is_down_is_shown_and_users_go_on_when_it_is_back() {
    on_both_clouds(async |cloud| {
        let mut world = World::of(cloud).start().await;
        let manifests = manifests::credentials(cloud) + &world.instance();
        world.take_clouds_down().await;
        world.kubernetes.apply(&manifests).await;
        world.apply_user_with_password("reporting").await;
        world.kubernetes.instance_shows("warehouse", "ProviderUnavailable").await;
        let user = world.kubernetes.user_shows("reporting", "ProviderUnavailable").await;
        assert_eq!(stalled_or_reconciling(&user), Some("Reconciling"));

        world.bring_clouds_back().await;
        world.kubernetes.user_shows("reporting", "AccountReady").await;
        world.kubernetes.instance_shows("warehouse", "Reachable").await;
        assert_eq!(world.effects("reporting"), [EffectKind::Created]);
        world.finish().await;
    })
    .await;
}

#[tokio::test]
async fn outage_of_one_cloud_leaves_users_of_the_other_alone() {
    let plan = World::of(Cloud::QingCloud).flag("--call-timeout", "10m").flag("--job-timeout", "2s");
    let world = plan.start().await;
    let well = Cloud::HuaweiCloud;
    let renamed = |manifest: String| manifest.replace("warehouse", "lake").replace("cloud-api", "lake-api");
    world.apply_instance().await;
    world.kubernetes.apply(&renamed(manifests::credentials(well) + &manifests::instance(well, &world.clouds))).await;
    world.kubernetes.instance_shows("warehouse", "Reachable").await;
    world.clouds.inject(Fault {
        target: Target::Service(Cloud::QingCloud.service()),
        which: Which::All,
        moment: Moment::BeforeEffect,
        answer: FaultAnswer::Hang,
    });
    world.apply_user_with_password("stuck").await;
    world.ledger_shows("a call that hangs", |ledger| ledger.count(Cloud::QingCloud.create()) == 1).await;

    let user = manifests::password("reporting", PASSWORD) + &renamed(manifests::user(well, "reporting", ""));
    world.kubernetes.apply(&user).await;
    world.kubernetes.user_shows("reporting", "AccountReady").await;
    assert_eq!(world.effects("stuck"), [], "its call still hangs");
    world.clouds.clear_faults();
    world.kubernetes.user_shows("stuck", "AccountReady").await;
    world.finish().await;
}

#[tokio::test]
async fn changes_go_on_after_so_many_failures_that_the_breaker_opened() {
    on_both_clouds(async |cloud| {
        // Huawei Cloud's 503 leaves the outcome open, which its list may tell after this time.
        let timeout = if cloud == Cloud::QingCloud { "15m" } else { "2s" };
        let world = World::of(cloud).flag("--job-timeout", timeout).start().await;
        world.apply_instance().await;
        world.kubernetes.instance_shows("warehouse", "Reachable").await;
        let (status, code) = if cloud == Cloud::QingCloud { (200, "5300") } else { (503, "DBS.108000") };
        world.clouds.inject(Fault {
            target: Target::Service(cloud.service()),
            which: Which::All,
            moment: Moment::BeforeEffect,
            answer: FaultAnswer::Refusal(status, code.to_owned(), "closed".to_owned()),
        });
        world.apply_user_with_password("reporting").await;
        let opened = format!("chuser_breaker_open{{provider=\"{cloud:?}\"}} 1");
        world.operator.metrics_show(|page| page.contains(&opened)).await;
        world.clouds.clear_faults();
        world.kubernetes.user_shows("reporting", "AccountReady").await;
        assert_eq!(world.effects("reporting"), [EffectKind::Created]);
        world.finish().await;
    })
    .await;
}

#[tokio::test]
async fn endpoint_that_is_not_allowed_is_never_spoken_to() {
    on_both_clouds(async |cloud| {
        let world = World::of(cloud).start().await;
        let stranger = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let origin = format!("http://{}", stranger.local_addr().expect("an address"));
        let block = match cloud {
            Cloud::QingCloud => format!(
                "qingcloud: {{zone: {ZONE}, clusterID: {CLUSTER}, endpoint: '{origin}/iaas/', \
                 credentialsSecretRef: {{name: cloud-api}}}}"
            ),
            Cloud::HuaweiCloud => format!(
                "huaweicloud: {{region: cn-north-4, projectID: {PROJECT}, instanceID: {INSTANCE}, \
                 endpoint: '{origin}', credentialsSecretRef: {{name: cloud-api}}}}"
            ),
        };
        let instance = manifests::instance_object("warehouse", &block);
        world.kubernetes.apply(&(manifests::credentials(cloud) + &instance)).await;
        world.apply_user_with_password("reporting").await;
        world.kubernetes.instance_shows("warehouse", "NotAllowed").await;
        let user = world.kubernetes.user_shows("reporting", "NotAllowed").await;
        assert!(ready(&user).1.contains("--allowed-endpoints"), "{:?}", ready(&user));
        assert!(stranger.accept().now_or_never().is_none(), "somebody connected");
        assert_eq!(world.clouds.ledger().requests().count(), 0);
        world.finish().await;
    })
    .await;
}

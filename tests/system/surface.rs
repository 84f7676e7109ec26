//! What people and machines see of the operator from outside.

use crate::{
    manifests::Cloud,
    world::{World, on_both_clouds},
};

#[tokio::test]
async fn kubectl_shows_readiness_reason_account_and_instance() {
    let world = World::of(Cloud::HuaweiCloud).start().await;
    world.ready_user("reporting_2").await;
    let table = world.kubernetes.kubectl(&["get", "chu"]).await;
    let rows: Vec<Vec<_>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(rows[0], ["NAME", "READY", "REASON", "USERNAME", "INSTANCE", "AGE"]);
    assert_eq!(rows[1][..5], ["reporting-2", "True", "AccountReady", "reporting_2", "warehouse"]);
    world.kubernetes.kubectl(&["wait", "--for=condition=Ready", "chu/reporting-2", "--timeout=10s"]).await;
    world.finish().await;
}

/// The names of the metrics, as they are on the page.
const METRICS: [&str; 15] = [
    "chuser_users",
    "chuser_passes_total",
    "chuser_pass_seconds",
    "chuser_queue_depth",
    "chuser_queue_seconds",
    "chuser_provider_requests_total",
    "chuser_provider_request_seconds",
    "chuser_provider_budget_tokens",
    "chuser_breaker_open",
    "chuser_jobs_in_flight",
    "chuser_operation_seconds",
    "chuser_orphans_total",
    "chuser_kube_requests_total",
    "chuser_watch_restarts_total",
    "chuser_leader",
];

#[tokio::test]
async fn metrics_are_all_there_before_anything_happens() {
    let world = World::of(Cloud::QingCloud).start().await;
    let (status, page) = world.operator.page("metrics-bind-address", "/metrics").await;
    assert_eq!(status, 200);
    for name in METRICS {
        // A counter's samples end in _total, a histogram's in _count; neither is part of another name.
        let samples = [format!("{name} "), format!("{name}{{"), format!("{name}_count")];
        let shown = page.lines().any(|line| samples.iter().any(|sample| line.starts_with(sample)));
        assert!(shown, "{name} is not on the page:\n{page}");
    }
    world.finish().await;
}

#[tokio::test]
async fn metrics_count_what_was_done() {
    on_both_clouds(async |cloud| {
        let world = World::of(cloud).start().await;
        world.ready_user("reporting").await;
        let ready = format!(r#"chuser_users{{provider="{cloud:?}",ready="True",reason="AccountReady"}} 1"#);
        let created = format!(r#"chuser_operation_seconds_count{{provider="{cloud:?}",kind="Create"}} 1"#);
        world.operator.metrics_show(|page| page.contains(&ready) && page.contains(&created)).await;
        world.delete_user("reporting").await;
        let deleted = format!(r#"chuser_operation_seconds_count{{provider="{cloud:?}",kind="Delete"}} 1"#);
        world.operator.metrics_show(|page| !page.contains(&ready) && page.contains(&deleted)).await;
        world.finish().await;
    })
    .await;
}

#[tokio::test]
async fn operator_is_ready_and_ends_well_when_it_is_asked_to() {
    let mut world = World::of(Cloud::QingCloud).start().await;
    world.ready_user("reporting").await;
    assert_eq!(world.operator.page("health-bind-address", "/readyz").await.0, 200);
    assert_eq!(world.operator.page("health-bind-address", "/livez").await.0, 200);
    assert_eq!(world.operator.terminate().await.code(), Some(0));
    world.finish().await;
}

#[tokio::test]
async fn bad_flag_ends_the_operator_with_code_2() {
    let mut world = World::of(Cloud::QingCloud).flag("--retry-max", "soon").start().await;
    assert_eq!(world.operator.ended().await.code(), Some(2));
    world.finish().await;
}

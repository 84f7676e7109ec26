//! The page as those who scrape it see it.

use super::*;

/// Every metric, its type and its labels: the promise to those who write alerts.
const PAGE: [(&str, &str, &[&str]); 15] = [
    ("chuser_users", "gauge", &["provider", "ready", "reason"]),
    ("chuser_passes_total", "counter", &["outcome"]),
    ("chuser_pass_seconds", "histogram", &[]),
    ("chuser_queue_depth", "gauge", &["lane"]),
    ("chuser_queue_seconds", "histogram", &["lane"]),
    ("chuser_provider_requests_total", "counter", &["operation", "outcome", "provider"]),
    ("chuser_provider_request_seconds", "histogram", &[]),
    ("chuser_provider_budget_tokens", "gauge", &["provider"]),
    ("chuser_breaker_open", "gauge", &["provider"]),
    ("chuser_jobs_in_flight", "gauge", &["provider"]),
    ("chuser_operation_seconds", "histogram", &["kind", "provider"]),
    ("chuser_orphans_total", "counter", &["provider"]),
    ("chuser_kube_requests_total", "counter", &["kind", "outcome", "verb"]),
    ("chuser_watch_restarts_total", "counter", &["kind"]),
    ("chuser_leader", "gauge", &[]),
];

const PROVIDER: (&str, &str) = ("provider", "HuaweiCloud");

type Labels = &'static [(&'static str, &'static str)];

struct Sample<'a> {
    name: &'a str,
    labels: BTreeMap<&'a str, &'a str>,
    value: f64,
}

fn samples(page: &str) -> Vec<Sample<'_>> {
    page.lines().filter(|line| !line.starts_with('#')).map(sample).collect()
}

/// Reads `name{label="value",…} value`; no value of ours holds a comma or a quote.
fn sample(line: &str) -> Sample<'_> {
    let (series, value) = line.rsplit_once(' ').expect("a value");
    let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
    let labels = labels.trim_end_matches('}').split(',').filter(|text| !text.is_empty());
    let labels =
        labels.map(|text| text.split_once('=').map(|(key, word)| (key, word.trim_matches('"'))).expect("a label"));
    Sample { name, labels: labels.collect(), value: value.parse().expect("a number") }
}

/// The metric a sample belongs to: histograms have three samples to a name.
fn metric<'a>(sample: &Sample<'a>) -> &'a str {
    let name = sample.name;
    let stem = ["_bucket", "_sum", "_count"].iter().find_map(|suffix| name.strip_suffix(suffix));
    stem.unwrap_or(name)
}

fn value(page: &str, name: &str, labels: &[(&str, &str)]) -> f64 {
    let labels = labels.iter().copied().collect::<BTreeMap<_, _>>();
    let found: Vec<_> =
        samples(page).into_iter().filter(|sample| sample.name == name && sample.labels == labels).collect();
    assert_eq!(found.len(), 1, "{name} {labels:?} in\n{page}");
    found[0].value
}

#[track_caller]
fn assert_value(metrics: &Metrics, name: &str, labels: &[(&str, &str)], expected: f64) {
    let value = value(&metrics.render().expect("a page"), name, labels);
    assert!((value - expected).abs() < 1e-9, "{name} {labels:?} is {value}, not {expected}");
}

#[test]
fn fresh_page_has_every_promised_name_type_and_label_at_zero() {
    let page = Metrics::new().render().expect("a page");
    for (name, kind, labels) in PAGE {
        let declared = format!("# TYPE {} {kind}\n", name.trim_end_matches("_total"));
        assert!(page.contains(&declared), "{declared}");
        let all = samples(&page);
        let mine: Vec<_> = all.iter().filter(|sample| metric(sample) == name).collect();
        assert!(!mine.is_empty(), "{name} has no sample");
        for sample in mine {
            let keys: Vec<_> = sample.labels.keys().copied().filter(|key| *key != "le").collect();
            assert_eq!(keys, labels, "{}", sample.name);
            assert!(sample.value.abs() < f64::EPSILON, "{} is {}", sample.name, sample.value);
        }
    }
    assert!(page.ends_with("# EOF\n"));
}

#[test]
fn page_has_nothing_that_is_not_promised() {
    let page = Metrics::new().render().expect("a page");
    for sample in samples(&page) {
        assert!(PAGE.iter().any(|(name, ..)| *name == metric(&sample)), "{}", sample.name);
    }
}

/// Labels are made of `&'static str` only, so an object's name, read at run time, cannot become one; this shows that
/// no label key invites one either.
#[test]
fn no_label_is_made_for_object_names() {
    let page = Metrics::new().render().expect("a page");
    let samples = samples(&page);
    let words: BTreeSet<_> = samples.iter().flat_map(|sample| sample.labels.keys().copied()).collect();
    let closed = ["kind", "lane", "le", "operation", "outcome", "provider", "ready", "reason", "verb"];
    assert_eq!(words, BTreeSet::from(closed));
}

#[test]
fn users_are_replaced_and_groups_without_users_fall_to_zero() {
    let metrics = Metrics::new();
    let group = |provider, ready, reason| UserGroup { provider, ready, reason };
    let ready = group(Some(ProviderKind::QingCloud), Ready::True, "AccountReady");
    let lost = group(None, Ready::Unknown, "WaitingForInstance");
    let ready_labels = [("provider", "QingCloud"), ("ready", "True"), ("reason", "AccountReady")];
    let lost_labels = [("provider", "Unknown"), ("ready", "Unknown"), ("reason", "WaitingForInstance")];

    metrics.users([(ready, 3), (lost, 2)]);
    assert_value(&metrics, "chuser_users", &ready_labels, 3.0);
    assert_value(&metrics, "chuser_users", &lost_labels, 2.0);
    metrics.users([(ready, 5)]);
    assert_value(&metrics, "chuser_users", &ready_labels, 5.0);
    assert_value(&metrics, "chuser_users", &lost_labels, 0.0);
}

#[test]
fn each_event_moves_its_own_metric() {
    let metrics = Metrics::new();
    let half = Duration::from_millis(500);
    let huawei = ProviderKind::HuaweiCloud;
    metrics.pass_finished(PassOutcome::Settled, half);
    metrics.queue_depth(Lane::Fast, 4);
    metrics.queue_left(Lane::Slow, half);
    metrics.provider_exchange(&Exchange { provider: huawei, operation: "list", outcome: "throttled", elapsed: half });
    metrics.provider_budget_tokens(huawei, -1.5);
    metrics.breakers_open(huawei, 1);
    metrics.jobs_in_flight(huawei, 7);
    metrics.operation_confirmed(huawei, OperationKind::Create, half);
    metrics.orphan_left(huawei);
    metrics.kube_request(KubeVerb::Patch, KubeKind::ClickHouseUser, KubeOutcome::Conflict);
    metrics.watch_restarted(KubeKind::Secret);
    metrics.leader(true);

    let expected: [(&str, Labels, f64); 15] = [
        ("chuser_passes_total", &[("outcome", "settled")], 1.0),
        ("chuser_pass_seconds_sum", &[], 0.5),
        ("chuser_queue_depth", &[("lane", "fast")], 4.0),
        ("chuser_queue_seconds_sum", &[("lane", "slow")], 0.5),
        ("chuser_queue_seconds_count", &[("lane", "fast")], 0.0),
        ("chuser_provider_requests_total", &[PROVIDER, ("operation", "list"), ("outcome", "throttled")], 1.0),
        ("chuser_provider_request_seconds_count", &[], 1.0),
        ("chuser_provider_budget_tokens", &[PROVIDER], -1.5),
        ("chuser_breaker_open", &[PROVIDER], 1.0),
        ("chuser_jobs_in_flight", &[PROVIDER], 7.0),
        ("chuser_operation_seconds_count", &[PROVIDER, ("kind", "Create")], 1.0),
        ("chuser_orphans_total", &[PROVIDER], 1.0),
        ("chuser_kube_requests_total", &[("kind", "ClickHouseUser"), ("outcome", "conflict"), ("verb", "patch")], 1.0),
        ("chuser_watch_restarts_total", &[("kind", "Secret")], 1.0),
        ("chuser_leader", &[], 1.0),
    ];
    for (name, labels, value) in expected {
        assert_value(&metrics, name, labels, value);
    }
}

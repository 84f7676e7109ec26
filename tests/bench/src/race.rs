//! The race: the same users made Ready by the bare writer and by the operator, each on a control plane of its own, one
//! after the other.

use std::time::Instant;

use control_plane::AuditEvent;

use crate::{
    Sizes, bare,
    cloud::Cloud,
    cluster::Cluster,
    manifests::User,
    operator::Operator,
    ready::Watched,
    report::{Report, median},
};

/// Passes that the operator runs at once by default.
pub const CONCURRENCY: usize = 64;

/// Requests that a created user costs at a cloud without jobs: a Secret read, the intent, the status.
const REQUESTS: f64 = 3.0;

/// Runs all repetitions.
pub async fn run(sizes: &Sizes, report: &mut Report) {
    let (mut bare, mut ours, mut ratios, mut requests, mut events, mut cpu) =
        <(Vec<_>, Vec<_>, Vec<_>, Vec<_>, Vec<_>, Vec<_>)>::default();
    for repetition in 1..=sizes.repetitions {
        let limit = by_bare_writer(sizes).await;
        let race = by_operator(sizes).await;
        report.say(&format!(
            "repetition {repetition}: bare writer {limit:.1} s, operator {:.1} s, {:.3} requests and {:.3} Events a user",
            race.seconds, race.requests, race.events
        ));
        bare.push(limit);
        ours.push(race.seconds);
        ratios.push(race.seconds / limit);
        requests.push(race.requests);
        events.push(race.events);
        cpu.push(race.cpu);
    }
    let created = sizes.created;
    let (bare, ours) = (median(&bare), median(&ours));
    report.compare(
        &format!("{created} users Ready, {CONCURRENCY} in flight, from the start of the process"),
        &format!("{ours:.1} s ({:.0}/s)", created as f64 / ours),
        &format!("{bare:.1} s ({:.0}/s)", created as f64 / bare),
        median(&ratios),
        1.25,
    );
    report.compare(
        "requests to the API server for each created user, Events apart",
        &format!("{:.3}", median(&requests)),
        &format!("{REQUESTS}"),
        median(&requests) / REQUESTS,
        1.10,
    );
    report.fact("Events published for each created user", &format!("{:.2}", median(&events)));
    report.fact("CPU time of the operator for each created user", &format!("{:.2} ms", median(&cpu)));
}

async fn by_bare_writer(sizes: &Sizes) -> f64 {
    let cloud = Cloud::start(sizes.latency).await;
    let cluster = Cluster::start(&cloud).await;
    let users = in_turn(cluster.create_users((0..sizes.created).map(User), User::manifest).await);
    let watched = Watched::start(cluster.client.clone()).await;
    let client = cluster.operator_client().await;
    let begin = Instant::now();
    bare::create(&client, &cloud, &cluster.key, &users, CONCURRENCY).await;
    let ready = watched.all(0..users.len()).await;
    assert_eq!(cloud.changes(), users.len());
    ready.duration_since(begin).as_secs_f64()
}

/// One user of each team after the other, so that no team waits for itself.
fn in_turn(mut users: Vec<crate::manifests::Stored>) -> Vec<crate::manifests::Stored> {
    users.sort_by_key(|stored| stored.user.0);
    users
}

struct Race {
    seconds: f64,
    requests: f64,
    events: f64,
    cpu: f64,
}

async fn by_operator(sizes: &Sizes) -> Race {
    let cloud = Cloud::start(sizes.latency).await;
    let cluster = Cluster::start(&cloud).await;
    cluster.create_users((0..sizes.created).map(User), User::manifest).await;
    let watched = Watched::start(cluster.client.clone()).await;
    let mark = cluster.mark().await;
    let begin = Instant::now();
    let operator = Operator::start(&sizes.operator, &cluster, &cloud);
    let ready = watched.all(0..sizes.created).await;
    let cpu = operator.cpu();
    let requests = cluster.operator_requests(mark).await;
    assert_eq!(cloud.changes(), sizes.created, "one change a user");
    let a_user = |count: usize| count as f64 / sizes.created as f64;
    Race {
        seconds: ready.duration_since(begin).as_secs_f64(),
        requests: a_user(requests.iter().filter(|event| about_users(event)).count()),
        events: a_user(requests.iter().filter(|event| event.resource == "events").count()),
        cpu: cpu.as_secs_f64() * 1000.0 / sizes.created as f64,
    }
}

/// What a user costs; watches, instances and their credentials are there once.
pub fn about_users(event: &AuditEvent) -> bool {
    match event.resource.as_str() {
        "clickhouseusers" => !matches!(event.verb.as_str(), "list" | "watch"),
        "secrets" => event.name.ends_with("-password") && event.verb != "watch",
        _ => false,
    }
}

//! Many users that are settled already: what a restart asks, what they weigh, and how fast a change goes through.

use std::{future::pending, time::Instant};

use crate::{
    Sizes,
    changes::{Changes, Latencies},
    cloud::Cloud,
    cluster::Cluster,
    manifests::User,
    operator::Operator,
    race::about_users,
    ready::Watched,
    report::{Report, percentile},
};

/// Passwords changed in an idle cluster by each side.
const IDLE_SAMPLES: usize = 100;

/// Numbers of the users that are created meanwhile begin here, beyond all others.
const OTHERS: usize = 500_000;

/// Users are written in parts of so many, so that what is remembered of them stays small.
const PART: usize = 10_000;

/// Memory that so many settled users may take, in MiB.
fn memory_goal(users: usize) -> f64 {
    if users <= 10_000 { 40.0 } else { 128.0 }
}

/// Writes the users, starts the operator, looks.
pub async fn run(sizes: &Sizes, report: &mut Report) {
    let cloud = Cloud::start(sizes.latency).await;
    let cluster = Cluster::start(&cloud).await;
    cluster.hold_instances().await;
    for begin in (0..sizes.users).step_by(PART) {
        let part = begin..(begin + PART).min(sizes.users);
        let stored = cluster.create_users(part.clone().map(User), User::manifest).await;
        cluster.settle_users(&cloud, stored).await;
        report.say(&format!("{} settled users written", part.end));
    }

    let mark = cluster.mark().await;
    let begin = Instant::now();
    let operator = Operator::start(&sizes.operator, &cluster, &cloud);
    operator.settled(sizes.users as f64).await;
    report.say(&format!("settled {:.0} s after the start", begin.elapsed().as_secs_f64()));
    let memory = operator.memory();
    let users = sizes.users;
    report.bound(&format!("memory with {users} settled users"), memory.settled, "MiB", memory_goal(users));
    report.fact(&format!("memory at its peak, while {users} users are listed"), &format!("{:.1} MiB", memory.peak));
    report.fact(
        &format!("CPU time of a start with {users} settled users"),
        &format!("{:.1} s", operator.cpu().as_secs_f64()),
    );
    let requests = cluster.operator_requests(mark).await;
    let touched = requests.iter().filter(|event| about_users(event)).count();
    report.bound("requests about users after a restart with nothing changed", touched as f64, "requests", 0.0);
    report.fact("all other requests of that restart", &format!("{}", requests.len() - touched));
    report.fact("changes at the cloud after that restart", &format!("{}", cloud.changes()));

    let mut changes = Changes::prepare(&cluster, &cloud, 0..users, users).await;
    let idle = changes.sample(IDLE_SAMPLES, pending()).await;
    let what = format!("Secret written to password at the cloud, idle with {users} users, median");
    compare(report, &what, &idle, 0.5, Some(1.5));
    compare(report, "Secret written to password at the cloud, idle, 99th percentile", &idle, 0.99, None);
    if sizes.storm > 0 {
        storm(sizes, &cluster, &mut changes, report).await;
    }
    operator.settled(0.0).await;
    let memory = operator.memory().settled;
    report.fact("memory after all of this, settled again", &format!("{memory:.1} MiB"));
}

/// Changes of settled users while many others are being created.
async fn storm(sizes: &Sizes, cluster: &Cluster, changes: &mut Changes<'_>, report: &mut Report) {
    let first = OTHERS;
    let watched = Watched::start(cluster.client.clone()).await;
    let created = async {
        let others = (first..first + sizes.storm).map(User);
        cluster.create_users(others, User::manifest).await;
        watched.all(first..first + sizes.storm).await;
    };
    let busy = changes.sample(usize::MAX, created).await;
    let what = format!("Secret written to password at the cloud, while {} others are created, median", sizes.storm);
    compare(report, &what, &busy, 0.5, None);
    let worst = percentile(&busy.operator, 0.99);
    let what = format!(
        "Secret written to password at the cloud, while {} others are created, 99th percentile of {}",
        sizes.storm,
        busy.operator.len()
    );
    report.bound(&what, worst, "ms", 500.0);
    report.fact("the bare chain then, 99th percentile", &format!("{:.1} ms", percentile(&busy.bare, 0.99)));
}

fn compare(report: &mut Report, what: &str, samples: &Latencies, part: f64, goal: Option<f64>) {
    let (ours, bare) = (percentile(&samples.operator, part), percentile(&samples.bare, part));
    match goal {
        Some(goal) => report.compare(what, &format!("{ours:.1} ms"), &format!("{bare:.1} ms"), ours / bare, goal),
        None => report.fact(what, &format!("{ours:.1} ms, the bare chain {bare:.1} ms")),
    }
}

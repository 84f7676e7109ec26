//! Whatever QingCloud, or who stands in its place, answers to any call.
#![no_main]

use clickhouse_user_operator::{
    domain::{names::JobId, secret::SecretText},
    provider::{
        contract::{Accepted, CallKind, Cloud, JobState, NewAccount, ProviderKind},
        qingcloud::{Client, Cluster, Credentials},
    },
};
use fuzz::{
    SECRET_KEY, Script, access, http, in_bounds, json, judge, lost, names, now, plant, presentable, shows_no_secret,
};
use libfuzzer_sys::{Corpus, fuzz_target};
use serde_json::Value;

const CLUSTER: &str = "cl-ouhutv70";

fuzz_target!(|input: &[u8]| -> Corpus {
    // Made ahead of the measured part: the first one loads the TLS roots.
    let client = Client::new(
        http(ProviderKind::QingCloud).into(),
        "https://api.qingcloud.com/iaas/".parse().expect("a URL"),
        Credentials { access_key_id: SecretText::new("QYKEY"), secret_access_key: SecretText::new(SECRET_KEY) },
    );
    let cluster = Cluster::new(client.into(), "sh1a", CLUSTER);
    in_bounds(input.len(), || match plant(input) {
        Some(script) => run(&cluster, &script),
        None => Corpus::Reject,
    })
});

fn run(cluster: &Cluster, script: &Script) -> Corpus {
    let (attempt, username, password) = names();
    let (asked, other) = (JobId::new("j-1"), JobId::new("j-2"));
    match script.call.as_str() {
        "create" => {
            let account = NewAccount { username: &username, password: &password, access: &access() };
            let outcome = now(cluster.create(&attempt, account));
            judge(&outcome, outcome.as_ref().is_ok_and(|accepted| is_accepted(script, accepted)));
        }
        "delete" => {
            let outcome = now(cluster.delete(&attempt, &username));
            judge(&outcome, outcome.as_ref().is_ok_and(|accepted| is_accepted(script, accepted)));
        }
        "read" => match now(cluster.read_instance()) {
            Ok(reading) => {
                let shown =
                    |it: &Value| it["cluster_id"] == CLUSTER && (it["status"] == "active" || it["status"] == "pending");
                assert!(rows(script, "cluster_set").any(|it| shown(&it)), "no answer shows the cluster: {reading:?}");
                shows_no_secret(&reading);
            }
            Err(error) => presentable(&error),
        },
        "jobs" => match now(cluster.jobs(&[asked.clone(), other.clone()])) {
            Ok(jobs) => {
                for job in &jobs {
                    assert!([&asked, &other].contains(&&job.id), "nobody asked for it: {job:?}");
                    assert!(job.state != JobState::Succeeded || is_successful(script, &job.id), "{job:?}");
                }
                shows_no_secret(&jobs);
            }
            Err(error) => presentable(&error),
        },
        "find" => match now(cluster.find_job(&lost(CallKind::Create))) {
            Ok(Some(job)) => {
                assert!(job.state != JobState::Succeeded || is_successful(script, &job.id), "{job:?}");
                shows_no_secret(&job);
            }
            // "None" lets the call be made again: a whole answer has to say so.
            Ok(None) => assert!(answered(script).any(|it| it["job_set"].is_array()), "no answer shows any jobs"),
            Err(error) => presentable(&error),
        },
        _ => return Corpus::Reject,
    }
    Corpus::Keep
}

/// What was answered with HTTP 200 and `ret_code` 0.
fn answered(script: &Script) -> impl Iterator<Item = Value> {
    let ok = script.answers.iter().filter(|(status, _)| *status == 200).filter_map(|(_, body)| json(body));
    ok.filter(|it| it["ret_code"].as_i64() == Some(0))
}

fn rows(script: &Script, list: &str) -> impl Iterator<Item = Value> {
    answered(script).flat_map(move |it| it[list].as_array().cloned().unwrap_or_default())
}

/// The first answer, or the second where the first only corrected the clock, accepted the call with this job.
fn is_accepted(script: &Script, accepted: &Accepted) -> bool {
    let Accepted::Job(job) = accepted else { return false };
    let said = |place: usize| script.answers.get(place).and_then(|(status, body)| Some((*status, json(body)?)));
    let accepts = |place| {
        said(place).is_some_and(|(status, it)| {
            status == 200 && it["ret_code"].as_i64() == Some(0) && it["job_id"] == job.as_str()
        })
    };
    accepts(0) || (said(0).is_some_and(|(_, it)| it["ret_code"].as_i64() == Some(1300)) && accepts(1))
}

fn is_successful(script: &Script, job: &JobId) -> bool {
    rows(script, "job_set").any(|it| it["job_id"] == job.as_str() && it["status"] == "successful")
}

//! QingCloud as its pages describe it: signature, time, zone, rules, jobs, pages of rows, quota.
#![expect(clippy::unwrap_used, reason = "in tests a panic is the report")]

mod support;

use std::time::Duration;

use emulated_clouds::{
    Busy, Cluster, DefaultName, DirectiveParams, DirectivePassword, EffectKind, Endpoints, ErrorStatus,
    ExistingAccount, FailedJob, FutureTime, JobErrorCodes, JobFate, JobOrder, Limits, Message, MissingAccount,
    Operation, Options, Post, QingcloudKey, RepeatedRequestId, RequestId, RuleViolation, Switches, Timing,
    TransitionStatus, UnknownCluster, UnknownJob,
};
use reqwest::Method;
use serde_json::{Value, json};
use support::*;

const START: &str = "2022-01-04T08:57:03Z";

/// Options with a clock that stands still and these switches.
fn with(switches: Switches) -> Options {
    Options { switches, ..stopped(START) }
}

#[tokio::test]
async fn a_job_lives_from_pending_over_working_to_successful_on_the_clouds_clock() {
    let timing = Timing { job_duration: Duration::from_secs(6), ..Timing::default() };
    let clouds = clouds(Options { timing, ..stopped(START) }).await;
    let accepted = qingcloud(&clouds, &add(&clouds, "test")).await;
    let id = accepted["job_id"].as_str().unwrap().to_owned();
    assert_eq!(
        accepted,
        json!({ "action": "RunClusterCustomServiceResponse", "job_id": id, "cluster_id": CLUSTER, "role": "analysis",
                "service": "add_ck_user", "ret_code": 0 })
    );
    assert!(id.starts_with("j-") && id.len() == 13, "{id}");
    assert_eq!(job_status(&clouds, &id).await, "pending");
    assert!(clouds.accounts(CLUSTER).is_empty());

    clouds.advance_clock(Duration::from_secs(1));
    while job_status(&clouds, &id).await != "working" {
        tokio::task::yield_now().await;
    }
    assert!(clouds.accounts(CLUSTER).is_empty());

    clouds.advance_clock(Duration::from_secs(5));
    jobs_ended(&clouds, 1).await;
    let record = &jobs(&clouds, &[("jobs.1", &id)]).await["job_set"][0];
    assert_eq!(record["status"], "successful");
    assert_eq!(record["create_time"], "2022-01-04T08:57:03Z");
    assert_eq!(record["status_time"], "2022-01-04T08:57:09Z");
    assert_eq!(record["resource_ids"], CLUSTER);
    assert_eq!(record["error_codes"], "");
    assert_eq!(clouds.accounts(CLUSTER)["test"].password_digest, clouds.password_digest(PASSWORD));
}

#[tokio::test]
async fn a_directive_repeats_the_request_with_password_and_request_id() {
    for (switches, expected_id, form) in [
        (Switches::default(), json!("0123456789abcdef0123456789abcdef"), "text"),
        (Switches { qingcloud_request_id: RequestId::Dropped, ..Switches::default() }, Value::Null, "text"),
        (
            Switches { qingcloud_directive_params: DirectiveParams::Object, ..Switches::default() },
            json!("0123456789abcdef0123456789abcdef"),
            "object",
        ),
    ] {
        let clouds = clouds(with(switches)).await;
        let mut call = add(&clouds, "test");
        call.insert("req_id".into(), "0123456789abcdef0123456789abcdef".into());
        qingcloud(&clouds, &call).await;
        let directive = jobs(&clouds, &[]).await["job_set"][0]["directive"].as_str().unwrap().to_owned();
        let directive: Value = serde_json::from_str(&directive).unwrap();
        assert_eq!(directive["req_id"], expected_id);
        assert_eq!(directive["access_key_id"], "QYKEY");
        assert!(directive["signature"].is_string());
        let params = match form {
            "text" => serde_json::from_str(directive["service_params"].as_str().unwrap()).unwrap(),
            _ => directive["service_params"].clone(),
        };
        assert_eq!(params["passwd"], PASSWORD);
        assert_eq!(params["user"], "test");
    }
    let masked = Switches { qingcloud_directive_password: DirectivePassword::Masked, ..Switches::default() };
    let clouds = clouds(with(masked)).await;
    qingcloud(&clouds, &add(&clouds, "test")).await;
    assert!(!jobs(&clouds, &[]).await.to_string().contains(PASSWORD));
}

#[tokio::test]
async fn each_broken_common_parameter_has_its_code() {
    let clouds = clouds(stopped(START)).await;
    let good = parameters(&clouds, &[("action", "DescribeClusters")]);
    for (name, value, code, words) in [
        ("action", None, 1100, "missing parameter [action]"),
        ("action", Some("RunInstances"), 1101, "InvailidRequestMethod"),
        ("access_key_id", None, 1100, "missing parameter [access_key_id]"),
        ("access_key_id", Some("NOBODY"), 1200, "AuthFailure, illegal access key [NOBODY]"),
        ("signature_method", Some("HmacMD5"), 1100, "signature_method"),
        ("signature_version", Some("2"), 1100, "signature_version"),
        ("version", Some("2"), 1100, "version"),
        ("time_stamp", None, 1100, "missing parameter [time_stamp]"),
        ("time_stamp", Some("2022-1-4T08:57:03Z"), 1100, "time_stamp"),
        ("time_stamp", Some("2022-01-04T08:56:02Z"), 1300, "RequestHasExpired"),
        ("time_stamp", Some("2022-01-04T08:58:04Z"), 1300, "RequestHasExpired"),
        ("expires", Some("2022-01-04T08:57:02Z"), 1300, "RequestHasExpired"),
        ("zone", None, 1100, "InvailidRequestFormat, missing parameter [zone]"),
        ("zone", Some("pek3b"), 1400, "PermissionDenied, access denied for zone [pek3b]"),
        ("limit", Some("many"), 1100, "limit"),
    ] {
        let mut call = good.clone();
        match value {
            Some(value) => call.insert(name.into(), value.into()),
            None => call.remove(name),
        };
        let answer = qingcloud(&clouds, &call).await;
        assert_eq!(answer["ret_code"], code, "{name} {value:?}: {answer}");
        assert!(answer["message"].as_str().unwrap().contains(words), "{name} {value:?}: {answer}");
    }
    for edge in ["2022-01-04T08:56:03Z", "2022-01-04T08:58:03Z"] {
        let mut call = good.clone();
        call.insert("time_stamp".into(), edge.into());
        assert_eq!(qingcloud(&clouds, &call).await["ret_code"], 0, "{edge}");
    }
}

#[tokio::test]
async fn a_signature_that_does_not_fit_is_refused_on_both_verbs() {
    let clouds = clouds(stopped(START)).await;
    let call = parameters(&clouds, &[("action", "DescribeClusters")]);
    for method in [Method::GET, Method::POST] {
        let answer = send(&clouds, method.clone(), &call).await.unwrap().text().await.unwrap();
        assert_eq!(serde_json::from_str::<Value>(&answer).unwrap()["ret_code"], 0, "{method}");
    }
    let mut url = clouds.qingcloud_endpoint();
    url.query_pairs_mut().extend_pairs(&call).append_pair("signature", "AAAA");
    let answer: Value = serde_json::from_str(&http().get(url).send().await.unwrap().text().await.unwrap()).unwrap();
    assert_eq!(answer, json!({ "ret_code": 1200, "message": "AuthFailure, signature not matched" }));
}

#[tokio::test]
async fn each_refusal_of_a_custom_service_has_its_code() {
    let clouds = clouds(stopped(START)).await;
    clouds.add_cluster(Cluster { analysis_nodes: Vec::new(), ..Cluster::new("sh1a", "cl-noanalys") });
    clouds.add_cluster(Cluster { status: "stopped".into(), ..Cluster::new("sh1a", "cl-stopped0") });
    clouds.add_cluster(Cluster { transition_status: "updating".into(), ..Cluster::new("sh1a", "cl-updating") });
    clouds.add_cluster(Cluster { owner: "usr-other".into(), ..Cluster::new("sh1a", "cl-foreign0") });
    for (name, value, code, words) in [
        ("cluster", None, 1100, "missing parameter [cluster]"),
        ("role", None, 1100, "missing parameter [role]"),
        ("service", None, 1100, "missing parameter [service]"),
        ("cluster", Some("cl-unknown0"), 2100, "ResourceNotFound, resource [cl-unknown0] not found"),
        ("cluster", Some("cl-foreign0"), 2100, "ResourceNotFound"),
        ("cluster", Some("cl-noanalys"), 1100, "role"),
        ("cluster", Some("cl-stopped0"), 1400, "is not active"),
        ("cluster", Some("cl-updating"), 1400, "is [updating], please try later"),
        ("role", Some("maininstance"), 1100, "role"),
        ("service", Some("drop_ck_user"), 1100, "service"),
        ("service_params", Some("{"), 1100, "service_params"),
        ("service_params", Some("[]"), 1100, "service_params"),
        ("service_params", Some(r#"{"user":"test","host":"::/0"}"#), 1100, "passwd"),
        ("service_params", Some(r#"{"user":"default","passwd":"Passwd@123","host":"::/0"}"#), 1100, "default"),
    ] {
        let mut call = add(&clouds, "test");
        match value {
            Some(value) => call.insert(name.into(), value.into()),
            None => call.remove(name),
        };
        let answer = qingcloud(&clouds, &call).await;
        assert_eq!(answer["ret_code"], code, "{name} {value:?}: {answer}");
        assert!(answer["message"].as_str().unwrap().contains(words), "{name} {value:?}: {answer}");
    }
    assert_eq!(clouds.ledger().effects().count(), 0);
    assert_eq!(jobs(&clouds, &[]).await["total_count"], 0);
}

#[tokio::test]
async fn a_busy_cluster_refuses_or_queues() {
    let clouds = clouds(stopped(START)).await;
    qingcloud(&clouds, &add(&clouds, "first")).await;
    let busy = qingcloud(&clouds, &add(&clouds, "second")).await;
    assert_eq!(busy["ret_code"], 1400);
    assert_eq!(busy["message"], "PermissionDenied, resource [cl-ouhutv70] is [updating], please try later");
    let describe = parameters(&clouds, &[("action", "DescribeClusters"), ("clusters.1", CLUSTER)]);
    assert_eq!(qingcloud(&clouds, &describe).await["cluster_set"][0]["transition_status"], "updating");

    clouds.set_switches(Switches {
        qingcloud_busy: Busy::Queued,
        qingcloud_transition_status: TransitionStatus::Empty,
        ..Switches::default()
    });
    assert_eq!(qingcloud(&clouds, &add(&clouds, "second")).await["ret_code"], 0);
    assert_eq!(qingcloud(&clouds, &describe).await["cluster_set"][0]["transition_status"], "");
    clouds.advance_clock(Duration::from_millis(200));
    jobs_ended(&clouds, 1).await;
    assert_eq!(clouds.effects_of("first").len(), 1);
    // The second job begins when the first has ended.
    clouds.advance_clock(Duration::from_millis(200));
    let both = async {
        while clouds.effects_of("second").is_empty() {
            clouds.advance_clock(Duration::from_millis(200));
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(SOON, both).await.unwrap();
    let ledger = clouds.ledger();
    let accounts: Vec<_> = ledger.effects().map(|effect| effect.account.as_str()).collect();
    assert_eq!(accounts, ["first", "second"]);
}

#[tokio::test]
async fn an_existing_or_missing_account_is_told_as_switched() {
    let end = async |switches: Switches, service: &str| {
        let clouds = clouds(Options { switches, ..Options::default() }).await;
        clouds.put_account(CLUSTER, "there", PASSWORD, emulated_clouds::AccountAccess::default()).await.unwrap();
        let call = if service == "add" { add(&clouds, "there") } else { remove(&clouds, "absent") };
        let answer = qingcloud(&clouds, &call).await;
        let Some(id) = answer["job_id"].as_str() else { return answer["ret_code"].to_string() };
        jobs_ended(&clouds, 1).await;
        let record = jobs(&clouds, &[("jobs.1", id)]).await["job_set"][0].clone();
        assert_eq!(clouds.ledger().effects().count(), 1, "only the console's");
        format!("{} {}", record["status"].as_str().unwrap(), record["error_codes"].as_str().unwrap())
    };
    let base = Switches::default;
    assert_eq!(end(base(), "add").await, "failed ");
    let exit = Switches { qingcloud_job_error_codes: JobErrorCodes::ExitStatus, ..base() };
    assert_eq!(end(exit, "add").await, "failed 1");
    let partly = Switches { qingcloud_failed_job: FailedJob::DoneWithFailure, ..base() };
    assert_eq!(end(partly, "add").await, "done with failure ");
    let at_once = Switches { qingcloud_existing_account: ExistingAccount::RefusedAtOnce, ..base() };
    assert_eq!(end(at_once, "add").await, "2110");
    assert_eq!(end(base(), "delete").await, "failed ");
    let fine = Switches { qingcloud_missing_account: MissingAccount::SuccessfulJob, ..base() };
    assert_eq!(end(fine, "delete").await, "successful ");
    let at_once = Switches { qingcloud_missing_account: MissingAccount::RefusedAtOnce, ..base() };
    assert_eq!(end(at_once, "delete").await, "2100");
}

#[tokio::test]
async fn the_other_switches_turn() {
    let clouds = clouds(stopped(START)).await;
    let turn = |turn: fn(&mut Switches)| {
        let mut switches = Switches::default();
        turn(&mut switches);
        clouds.set_switches(switches);
    };
    turn(|it| it.qingcloud_post = Post::Refused);
    assert_eq!(qingcloud(&clouds, &add(&clouds, "test")).await["ret_code"], 1101);
    turn(|it| it.qingcloud_future_time = FutureTime::Accepted);
    let mut early = parameters(&clouds, &[("action", "DescribeClusters")]);
    early.insert("time_stamp".into(), "2023-01-04T08:57:03Z".into());
    assert_eq!(qingcloud(&clouds, &early).await["ret_code"], 0);
    turn(|it| it.qingcloud_unknown_cluster = UnknownCluster::PermissionDenied);
    let mut elsewhere = add(&clouds, "test");
    elsewhere.insert("cluster".into(), "cl-unknown0".into());
    assert_eq!(qingcloud(&clouds, &elsewhere).await["message"], "PermissionDenied, describe resource failed");
    turn(|it| it.qingcloud_message = Message::Null);
    assert_eq!(qingcloud(&clouds, &elsewhere).await, json!({ "ret_code": 2100, "message": null }));
    turn(|it| it.qingcloud_error_status = ErrorStatus::BadRequest);
    assert_eq!(send(&clouds, Method::GET, &elsewhere).await.unwrap().status(), 400);
    turn(|it| it.qingcloud_unknown_job = UnknownJob::Refused);
    assert_eq!(jobs(&clouds, &[("jobs.1", "j-unknown")]).await["ret_code"], 2100);
    let describe = parameters(&clouds, &[("action", "DescribeClusters")]);
    turn(|it| it.qingcloud_endpoints = Endpoints::Text);
    assert!(qingcloud(&clouds, &describe).await["cluster_set"][0]["endpoints"].is_string());
    turn(|it| it.qingcloud_endpoints = Endpoints::Null);
    assert!(qingcloud(&clouds, &describe).await["cluster_set"][0]["endpoints"].is_null());
    turn(|it| it.qingcloud_default_name = DefaultName::AnyCase);
    assert_eq!(qingcloud(&clouds, &add(&clouds, "Default")).await["ret_code"], 1100);
    turn(|it| it.qingcloud_rule_violation = RuleViolation::FailedJob);
    assert_eq!(qingcloud(&clouds, &add(&clouds, "default")).await["ret_code"], 0);
    clouds.advance_clock(Duration::from_secs(1));
    jobs_ended(&clouds, 1).await;
    assert_eq!(jobs(&clouds, &[]).await["job_set"][0]["status"], "failed");
    turn(|it| it.qingcloud_repeated_request_id = RepeatedRequestId::Refused);
    let mut call = add(&clouds, "test");
    call.insert("req_id".into(), "once".into());
    assert_eq!(qingcloud(&clouds, &call).await["ret_code"], 0);
    clouds.advance_clock(Duration::from_secs(1));
    jobs_ended(&clouds, 2).await;
    assert_eq!(qingcloud(&clouds, &call).await["ret_code"], 1100);
}

#[tokio::test]
async fn jobs_are_listed_in_pages_by_status_and_for_their_owner_alone() {
    let clouds =
        clouds(Options { timing: Timing { job_duration: Duration::ZERO, ..Timing::default() }, ..Options::default() })
            .await;
    let mut ids = Vec::new();
    for number in 0..105 {
        let answer = qingcloud(&clouds, &add(&clouds, &format!("user_{number}"))).await;
        ids.push(answer["job_id"].as_str().unwrap_or_else(|| panic!("{answer}")).to_owned());
        jobs_ended(&clouds, ids.len()).await;
    }
    let all = jobs(&clouds, &[("limit", "1000")]).await;
    assert_eq!(all["total_count"], 105);
    assert_eq!(all["job_set"].as_array().unwrap().len(), 100);
    assert_eq!(all["job_set"][0]["job_id"], *ids.last().unwrap());
    let rest = jobs(&clouds, &[("limit", "100"), ("offset", "100")]).await;
    assert_eq!(rest["job_set"].as_array().unwrap().len(), 5);
    assert_eq!(jobs(&clouds, &[]).await["job_set"].as_array().unwrap().len(), 20);
    clouds.set_switches(Switches { qingcloud_job_order: JobOrder::OldestFirst, ..Switches::default() });
    assert_eq!(jobs(&clouds, &[]).await["job_set"][0]["job_id"], ids[0]);
    let two = jobs(&clouds, &[("jobs.1", &ids[3]), ("jobs.2", &ids[1]), ("jobs.3", "j-unknown")]).await;
    assert_eq!(two["total_count"], 2);
    assert_eq!(jobs(&clouds, &[("status.1", "pending"), ("status.2", "working")]).await["total_count"], 0);
    assert_eq!(jobs(&clouds, &[("status.1", "ended")]).await["ret_code"], 1100);
    assert_eq!(jobs(&clouds, &[("job_action", "RunClusterCustomService")]).await["total_count"], 105);
    assert_eq!(jobs(&clouds, &[("job_action", "RunInstances")]).await["total_count"], 0);
    clouds.add_qingcloud_key(QingcloudKey { owner: "usr-other".into(), ..QingcloudKey::new("QYKEY", "QYSECRET") });
    assert_eq!(jobs(&clouds, &[]).await["total_count"], 0);
}

#[tokio::test]
async fn nodes_are_found_by_role_and_an_unknown_cluster_is_an_empty_list() {
    let clouds = clouds(stopped(START)).await;
    let nodes = |cluster: &str| {
        parameters(&clouds, &[("action", "DescribeClusterNodes"), ("cluster", cluster), ("role", "analysis")])
    };
    let found = qingcloud(&clouds, &nodes(CLUSTER)).await;
    assert_eq!(found["total_count"], 1);
    assert_eq!(found["node_set"][0]["private_ip"], "192.168.0.10");
    let none = qingcloud(&clouds, &nodes("cl-unknown0")).await;
    assert_eq!((&none["ret_code"], &none["node_set"]), (&json!(0), &json!([])));
}

#[tokio::test]
async fn the_quota_is_a_sliding_hour_of_one_key() {
    let limits = Limits { qingcloud_calls_per_hour: 3, ..Limits::default() };
    let clouds = clouds(Options { limits, ..stopped(START) }).await;
    let mut codes = Vec::new();
    for _ in 0..4 {
        codes.push(jobs(&clouds, &[]).await["ret_code"].clone());
    }
    assert_eq!(codes, [0, 0, 0, 2500]);
    clouds.advance_clock(Duration::from_secs(3600));
    assert_eq!(jobs(&clouds, &[]).await["ret_code"], 0);
}

#[tokio::test]
async fn fates_of_jobs_come_true() {
    for (fate, status, effects) in [
        (JobFate::Failed, "failed", 0),
        (JobFate::FailedAfterEffect, "failed", 1),
        (JobFate::OddStatus, "archived", 1),
        (JobFate::Natural, "successful", 1),
    ] {
        let clouds = clouds(Options::default()).await;
        clouds.set_job_fate(Operation::AddCkUser, fate);
        let id = qingcloud(&clouds, &add(&clouds, "test")).await["job_id"].as_str().unwrap().to_owned();
        jobs_ended(&clouds, 1).await;
        assert_eq!(job_status(&clouds, &id).await, status, "{fate:?}");
        assert_eq!(clouds.effects_of("test").len(), effects, "{fate:?}");
    }
    let clouds = clouds(stopped(START)).await;
    clouds.set_job_fate(Operation::AddCkUser, JobFate::Stuck);
    let id = qingcloud(&clouds, &add(&clouds, "test")).await["job_id"].as_str().unwrap().to_owned();
    clouds.advance_clock(Duration::from_secs(86_400));
    while job_status(&clouds, &id).await != "working" {
        tokio::task::yield_now().await;
    }
    assert_eq!(qingcloud(&clouds, &add(&clouds, "other")).await["ret_code"], 1400);
    clouds.clear_faults();
    jobs_ended(&clouds, 1).await;
    assert_eq!(job_status(&clouds, &id).await, "successful");
}

#[tokio::test]
async fn a_new_job_may_be_missing_for_a_while_and_an_old_one_for_ever() {
    let timing = Timing { job_visible_after: Duration::from_secs(5), ..Timing::default() };
    let clouds = clouds(Options { timing, ..stopped(START) }).await;
    let id = qingcloud(&clouds, &add(&clouds, "test")).await["job_id"].as_str().unwrap().to_owned();
    assert_eq!(job_status(&clouds, &id).await, "missing");
    clouds.advance_clock(Duration::from_secs(5));
    jobs_ended(&clouds, 1).await;
    assert_eq!(job_status(&clouds, &id).await, "successful");
    clouds.forget_jobs();
    assert_eq!(job_status(&clouds, &id).await, "missing");
}

#[tokio::test]
async fn an_account_is_deleted_and_added_anew() {
    let clouds = clouds(Options::default()).await;
    for (number, call) in [add(&clouds, "test"), remove(&clouds, "test"), add(&clouds, "test")].into_iter().enumerate()
    {
        assert_eq!(qingcloud(&clouds, &call).await["ret_code"], 0);
        jobs_ended(&clouds, number + 1).await;
    }
    let kinds: Vec<_> = clouds.effects_of("test").iter().map(|effect| effect.kind).collect();
    assert_eq!(kinds, [EffectKind::Created, EffectKind::Deleted, EffectKind::Created]);
}

use std::collections::BTreeSet;

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::provider::qingcloud::fake::{self, Reply, Server};

const ATTEMPT: &str = "0123456789abcdef0123456789abcdef";
const PASSWORD: &str = "Pass&wd@123=";
const ACCEPTED: &str = r#"{"action":"RunClusterCustomServiceResponse","cluster_id":"cl-ouhutv70","role":"analysis",
    "service":"add_ck_user","job_id":"j-i0oox8b5t90","ret_code":0}"#;

fn cluster(server: &Server) -> Cluster {
    Cluster::new(server.client().into(), "sh1a", "cl-ouhutv70")
}

async fn create(cluster: &Cluster) -> Mutation {
    let hosts = ["10.0.0.0/8", "::1"].map(str::to_owned);
    let access = Access { allowed_hosts: Some(BTreeSet::from(hosts)), ..Access::default() };
    let (username, password) = (Username::new("reporting"), SecretText::new(PASSWORD));
    let account = NewAccount { username: &username, password: &password, access: &access };
    cluster.create(&AttemptId::new(ATTEMPT), account).await
}

async fn delete(cluster: &Cluster) -> Mutation {
    cluster.delete(&AttemptId::new(ATTEMPT), &Username::new("reporting")).await
}

/// What a create that is answered so comes to.
async fn answered(body: &str) -> Mutation {
    let body = body.to_owned();
    let server = Server::start(move |_| Reply::json(&body)).await;
    create(&cluster(&server)).await
}

#[tokio::test]
async fn create_is_a_signed_form_with_nothing_in_the_url() {
    let server = Server::start(|_| Reply::json(ACCEPTED)).await;
    assert_eq!(create(&cluster(&server)).await, Ok(Accepted::Job(JobId::new("j-i0oox8b5t90"))));
    let request = &server.requests()[0];
    assert_eq!((request.method.as_str(), request.path.as_str(), request.query.as_str()), ("POST", "/iaas/", ""));
    assert!(request.signature_holds());
    let sent = ["action", "cluster", "role", "service", "zone", "req_id"].map(|name| request.parameters[name].as_str());
    assert_eq!(sent, ["RunClusterCustomService", "cl-ouhutv70", "analysis", "add_ck_user", "sh1a", ATTEMPT]);
    assert_eq!(
        request.parameters["service_params"],
        r#"{"user":"reporting","passwd":"Pass&wd@123=","host":"10.0.0.0/8;::1"}"#
    );
}

#[tokio::test]
async fn get_is_sent_only_where_it_is_asked_for() {
    let server = Server::start(|_| Reply::json(ACCEPTED)).await;
    let cluster = cluster(&server).with_method(Method::Get).with_role("clickhouse");
    create(&cluster).await.expect("accepted");
    let request = &server.requests()[0];
    assert_eq!((request.method.as_str(), request.body.as_str()), ("GET", ""));
    assert!(request.signature_holds());
    assert_eq!(request.parameters["role"], "clickhouse");
}

#[tokio::test]
async fn delete_names_the_account_alone() {
    let server = Server::start(|_| Reply::json(ACCEPTED)).await;
    delete(&cluster(&server)).await.expect("accepted");
    let request = &server.requests()[0];
    assert_eq!(request.method, "POST");
    assert_eq!(request.parameters["service"], "del_ck_user");
    assert_eq!(request.parameters["service_params"], r#"{"user":"reporting"}"#);
    assert_eq!(request.parameters["req_id"], ATTEMPT);
}

#[tokio::test]
async fn delete_refused_with_not_found_means_the_account_where_the_cluster_can_be_read() {
    for (message, clusters, expected) in [
        (json!("ResourceNotFound, user [reporting] not found"), in_status("active", ""), ErrorClass::AccountNotFound),
        (json!(null), in_status("active", ""), ErrorClass::AccountNotFound),
        (json!(null), json!([]), ErrorClass::InstanceNotFound),
        (json!(null), in_status("deleted", ""), ErrorClass::InstanceNotFound),
        (json!(null), in_status("stopped", ""), ErrorClass::InstanceUnavailable),
        (json!(null), json!(null), ErrorClass::Unavailable),
    ] {
        let (refusal, shown) = (json!({ "ret_code": 2100, "message": message }), clusters.clone());
        let server = Server::start(move |request| {
            let answer = match request.parameters["action"].as_str() {
                "RunClusterCustomService" => refusal.clone(),
                "DescribeClusters" => json!({ "ret_code": 0, "cluster_set": shown }),
                _ => json!({ "ret_code": 0, "node_set": node() }),
            };
            Reply::json(&answer.to_string())
        })
        .await;
        let Err(CallError::NotApplied(error)) = delete(&cluster(&server)).await else { panic!("refused for certain") };
        assert_eq!(error.class, expected, "{clusters}");
    }
}

#[tokio::test]
async fn account_without_hosts_is_never_sent() {
    let server = Server::start(|_| Reply::json(ACCEPTED)).await;
    let (username, password) = (Username::new("reporting"), SecretText::new(PASSWORD));
    let account = NewAccount { username: &username, password: &password, access: &Access::default() };
    let Err(CallError::NotApplied(error)) = cluster(&server).create(&AttemptId::new(ATTEMPT), account).await else {
        panic!("refused")
    };
    assert_eq!(error.class, ErrorClass::InvalidSpec);
    assert!(server.requests().is_empty());
}

#[tokio::test]
async fn refusals_are_not_applied_and_server_faults_unknown() {
    for (code, applied_unknown) in
        [(1100, false), (1400, false), (2110, false), (2500, false), (5000, true), (5100, true)]
    {
        let result = answered(&json!({"ret_code": code, "message": "Word, detail"}).to_string()).await;
        let error = result.expect_err("a refusal");
        assert_eq!(matches!(error, CallError::Unknown(_)), applied_unknown, "{code}");
        assert_eq!(error.error().code, Some(code.to_string()));
    }
}

#[tokio::test]
async fn acceptance_without_a_usable_job_is_unknown() {
    let long = format!(r#"{{"ret_code":0,"job_id":"{}"}}"#, "j".repeat(65));
    for body in [r#"{"ret_code":0}"#, r#"{"ret_code":0,"job_id":""}"#, r#"{"ret_code":0,"job_id":"j 1"}"#, &long] {
        assert!(matches!(answered(body).await, Err(CallError::Unknown(_))), "{body}");
    }
}

#[tokio::test]
async fn lost_answer_is_unknown_and_an_unsent_request_not_applied() {
    let broken = fake::client(fake::endpoint_that_hangs_up().await);
    let result = create(&Cluster::new(broken.into(), "sh1a", "cl-ouhutv70")).await;
    assert!(matches!(result, Err(CallError::Unknown(_))), "{result:?}");
    let closed = fake::client(fake::closed_endpoint().await);
    let result = create(&Cluster::new(closed.into(), "sh1a", "cl-ouhutv70")).await;
    assert!(matches!(result, Err(CallError::NotApplied(_))), "{result:?}");
}

#[tokio::test]
async fn create_refused_for_its_clock_is_signed_again_under_the_same_attempt() {
    let server = Server::start(|request| {
        let stamp: jiff::Timestamp = request.parameters["time_stamp"].parse().expect("a time");
        let cloud = jiff::Timestamp::now() - std::time::Duration::from_secs(600);
        if stamp > cloud + std::time::Duration::from_secs(60) {
            return Reply::json(r#"{"ret_code":1300,"message":null}"#).dated(cloud);
        }
        Reply::json(ACCEPTED)
    })
    .await;
    create(&cluster(&server)).await.expect("accepted");
    let requests = server.requests();
    assert_eq!(requests.len(), 2);
    assert!(requests.iter().all(|seen| seen.parameters["req_id"] == ATTEMPT && seen.signature_holds()));
}

#[tokio::test]
async fn nothing_secret_comes_back_in_an_error() {
    let server = Server::start(|request| {
        let echo = format!(
            "InvailidRequestFormat, bad {} from {} by {} in {}",
            PASSWORD,
            fake::ACCESS_KEY_ID,
            fake::SECRET_ACCESS_KEY,
            request.body
        );
        Reply::json(&json!({"ret_code": 1100, "message": echo}).to_string())
    })
    .await;
    let error = create(&cluster(&server)).await.expect_err("a refusal");
    let shown = format!("{error:?} {}", error.error());
    assert!(shown.contains("InvailidRequestFormat, bad [redacted] from [redacted] by [redacted] in"), "{shown}");
    for secret in [PASSWORD, "Pass%26wd", fake::ACCESS_KEY_ID, fake::SECRET_ACCESS_KEY, "service_params", "http"] {
        assert!(!shown.contains(secret), "{secret}: {shown}");
    }
}

#[tokio::test]
async fn changes_in_place_are_not_offered_and_not_sent() {
    let server = Server::start(|_| Reply::json(ACCEPTED)).await;
    let (cluster, attempt, username) = (cluster(&server), AttemptId::new(ATTEMPT), Username::new("reporting"));
    for result in [
        cluster.set_password(&attempt, &username, &SecretText::new(PASSWORD)).await,
        cluster.set_access(&attempt, &username, &Access::default()).await,
    ] {
        let Err(CallError::NotApplied(error)) = result else { panic!("not offered") };
        assert_eq!(error.class, ErrorClass::Rejected);
    }
    assert!(server.requests().is_empty());
}

/// Reads an instance of this one cluster record and these nodes.
async fn reading(cluster_set: serde_json::Value, node_set: serde_json::Value) -> Result<InstanceReading, CloudError> {
    let server = Server::start(move |request| {
        assert_eq!((request.method.as_str(), request.parameters["zone"].as_str()), ("GET", "sh1a"));
        let answer = if request.parameters["action"] == "DescribeClusters" {
            assert_eq!(request.parameters["clusters.1"], "cl-ouhutv70");
            json!({"ret_code": 0, "cluster_set": cluster_set})
        } else {
            assert_eq!(request.parameters["action"], "DescribeClusterNodes");
            let asked = ["cluster", "role"].map(|name| request.parameters[name].as_str());
            assert_eq!(asked, ["cl-ouhutv70", "analysis"]);
            json!({"ret_code": 0, "node_set": node_set})
        };
        Reply::json(&answer.to_string())
    })
    .await;
    cluster(&server).read_instance().await
}

fn in_status(status: &str, transition: &str) -> serde_json::Value {
    json!([{
        "cluster_id": "cl-ouhutv70", "status": status, "transition_status": transition,
        "endpoints": "{\"client\":{\"port\":3306}}", "role_count": null,
    }])
}

fn node() -> serde_json::Value {
    json!([{"node_id": "cln-1", "role": "analysis", "status": "active", "private_ip": "192.168.1.5", "eip": ""}])
}

#[tokio::test]
async fn active_cluster_shows_the_address_of_its_analysis_node() {
    let read = reading(in_status("active", ""), node()).await.expect("a reading");
    let address = Address { host: "192.168.1.5".into(), ..Address::default() };
    assert_eq!(read, InstanceReading { accounts: None, address: Some(address), busy: false });
}

#[tokio::test]
async fn cluster_in_transition_is_busy() {
    for (status, transition) in [("active", "updating"), ("pending", "creating")] {
        assert!(reading(in_status(status, transition), node()).await.expect("a reading").busy, "{status}");
    }
    let idle = json!([{"cluster_id": "cl-ouhutv70", "status": "active", "transition_status": null}]);
    assert!(!reading(idle, node()).await.expect("a reading").busy);
}

#[tokio::test]
async fn cluster_that_is_not_shown_is_not_found_without_the_clouds_word() {
    let error = reading(json!([]), json!([])).await.expect_err("not found");
    assert_eq!((error.class, error.code), (ErrorClass::InstanceNotFound, None));
}

#[tokio::test]
async fn cluster_the_cloud_calls_deleted_is_not_found_by_the_clouds_word() {
    for status in ["deleted", "ceased"] {
        let error = reading(in_status(status, ""), node()).await.expect_err("not found");
        assert_eq!((error.class, error.code.as_deref()), (ErrorClass::InstanceNotFound, Some(status)));
        assert!(error.message.contains("says"), "{error}");
    }
}

#[tokio::test]
async fn cluster_that_takes_no_changes_is_unavailable() {
    for status in ["stopped", "suspended", "new word"] {
        let error = reading(in_status(status, ""), node()).await.expect_err("unavailable");
        assert_eq!((error.class, error.code.as_deref()), (ErrorClass::InstanceUnavailable, Some(status)));
    }
}

#[tokio::test]
async fn answer_about_something_else_does_not_prove_the_cluster_gone() {
    for set in [json!([{"cluster_id": "cl-other", "status": "deleted"}]), json!([{}]), json!(null), json!({})] {
        let error = reading(set.clone(), node()).await.expect_err("not understood");
        assert_eq!(error.class, ErrorClass::Unavailable, "{set}");
    }
}

#[tokio::test]
async fn cluster_without_an_analysis_node_is_unavailable_unless_busy() {
    let main = json!([{"role": "maininstance", "status": "active", "private_ip": "192.168.1.2"}]);
    let error = reading(in_status("active", ""), main.clone()).await.expect_err("no node");
    assert_eq!(error.class, ErrorClass::InstanceUnavailable);
    assert!(error.message.contains("analysis"), "{error}");
    let read = reading(in_status("active", "updating"), main).await.expect("a reading");
    assert_eq!((read.busy, read.address), (true, None));
}

#[tokio::test]
async fn active_node_is_preferred_and_an_odd_address_is_none() {
    let nodes = json!([
        {"role": "analysis", "status": "ceased", "private_ip": "192.168.1.4"},
        {"role": "analysis", "status": "active", "private_ip": "192.168.1.5"},
    ]);
    let read = reading(in_status("active", ""), nodes).await.expect("a reading");
    assert_eq!(read.address.expect("an address").host, "192.168.1.5");
    for odd in [json!(""), json!(null), json!("host;name")] {
        let nodes = json!([{"role": "analysis", "status": "active", "private_ip": odd}]);
        assert_eq!(reading(in_status("active", ""), nodes).await.expect("a reading").address, None);
    }
}

#[test]
fn jobs_are_shared_by_zone() {
    let client = fake::client("http://127.0.0.1:1/".parse().expect("a URL"));
    assert_eq!(Cluster::new(client.into(), "sh1a", "cl-ouhutv70").job_scope(), "sh1a");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn nothing_but_code_0_with_a_job_is_accepted(
        code in prop_oneof![Just(json!(0)), any::<i64>().prop_map(|code| json!(code)), Just(json!("0")), Just(json!(null))],
        job in prop_oneof![Just(json!("j-i0oox8b5t90")), ".{0,10}".prop_map(|job| json!(job)), Just(json!(null))],
        status in prop_oneof![Just(200_u16), 201_u16..600],
    ) {
        let body = json!({"ret_code": code, "job_id": job}).to_string();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let result = runtime.block_on(async {
            let status = axum::http::StatusCode::from_u16(status).expect("a status");
            let server = Server::start(move |_| Reply::json(&body).with_status(status)).await;
            create(&cluster(&server)).await
        });
        if let Ok(accepted) = result {
            prop_assert_eq!((status, code), (200, json!(0)));
            prop_assert_eq!(Some(accepted), job.as_str().map(|job| Accepted::Job(JobId::new(job))));
        }
    }
}

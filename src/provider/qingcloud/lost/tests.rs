use std::sync::LazyLock;

use jiff::ToSpan;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::{
    domain::names::{AttemptId, JobId, Username},
    provider::{
        contract::JobState,
        qingcloud::fake::{self, Reply, Seen, Server},
    },
};

const ATTEMPT: &str = "0123456789abcdef0123456789abcdef";

fn intent() -> Timestamp {
    "2026-11-22T08:00:00Z".parse().expect("a time")
}

fn lost(kind: CallKind) -> LostCall {
    LostCall { attempt: AttemptId::new(ATTEMPT), kind, username: Username::new("reporting"), since: intent() }
}

/// `create_time` so many seconds after the intent.
fn after(seconds: i64) -> String {
    (intent() + seconds.seconds()).to_string()
}

/// The request of our call as the record repeats it.
fn directive() -> Value {
    json!({
        "action": CUSTOM_SERVICE,
        "access_key_id": fake::ACCESS_KEY_ID,
        "cluster": "cl-ouhutv70",
        "service": ADD_USER,
        "service_params": r#"{"user":"reporting","passwd":"Passwd@123","host":"::/0"}"#,
        "req_id": ATTEMPT,
    })
}

/// Our job's record, created a second after the intent, with changes to its request.
fn record(change: impl FnOnce(&mut Value)) -> Value {
    let mut directive = directive();
    change(&mut directive);
    json!({
        "job_id": "j-ours",
        "job_action": CUSTOM_SERVICE,
        "status": "successful",
        "create_time": after(1),
        "resource_ids": "cl-ouhutv70",
        "directive": directive.to_string(),
        "error_codes": "",
    })
}

fn without_req_id(directive: &mut Value) {
    directive["req_id"].take();
}

fn answer(total: usize, records: &[Value]) -> Reply {
    Reply::json(&json!({"ret_code": 0, "total_count": total, "job_set": records}).to_string())
}

fn cluster(server: &Server) -> Cluster {
    Cluster::new(server.client().into(), "sh1a", "cl-ouhutv70")
}

/// What is found of a lost create among these records.
async fn find_in(records: Vec<Value>) -> Result<Option<Job>, CloudError> {
    let server = Server::start(move |_| answer(records.len(), &records)).await;
    find(&cluster(&server), &lost(CallKind::Create)).await
}

async fn found_in(records: Vec<Value>) -> Option<String> {
    find_in(records).await.expect("a search").map(|job| job.id.as_str().to_owned())
}

/// The rows that a request's `offset` and `limit` cut out of `records`.
fn page(request: &Seen, records: &[Value]) -> Reply {
    let number = |name: &str| request.parameters[name].parse::<usize>().expect("a number");
    let rows: Vec<_> = records.iter().skip(number("offset")).take(number("limit").min(PAGE)).cloned().collect();
    answer(records.len(), &rows)
}

/// So many jobs of other clusters, newest first, from `newest` seconds after the intent.
fn others(count: i64, newest: i64) -> Vec<Value> {
    (0..count)
        .map(
            |age| json!({"job_id": format!("j-{age}"), "create_time": after(newest - age), "resource_ids": "cl-other"}),
        )
        .collect()
}

#[tokio::test]
async fn lost_call_is_found_by_its_attempt() {
    let other = record(|directive| directive["req_id"] = "ffffffffffffffffffffffffffffffff".into());
    let job = find_in(vec![other, record(|_| {})]).await;
    assert_eq!(job, Ok(Some(Job { id: JobId::new("j-ours"), state: JobState::Succeeded })));
}

#[tokio::test]
async fn search_asks_for_custom_services_only() {
    let server = Server::start(|_| answer(0, &[])).await;
    assert_eq!(find(&cluster(&server), &lost(CallKind::Delete)).await, Ok(None));
    let request = &server.requests()[0];
    let asked = ["action", "job_action", "zone", "offset", "limit"].map(|name| request.parameters[name].as_str());
    assert_eq!(asked, ["DescribeJobs", CUSTOM_SERVICE, "sh1a", "0", "100"]);
}

#[tokio::test]
async fn refused_search_does_not_read_as_if_the_instance_were_gone() {
    let server = Server::start(|_| Reply::json(r#"{"ret_code":2100,"message":"ResourceNotFound"}"#)).await;
    let error = find(&cluster(&server), &lost(CallKind::Create)).await.expect_err("a refusal");
    assert_eq!((error.class, error.code.as_deref()), (ErrorClass::Rejected, Some("2100")));
}

#[tokio::test]
async fn directive_may_be_an_object() {
    let mut ours = record(|_| {});
    ours["directive"] = directive();
    assert_eq!(found_in(vec![ours]).await.as_deref(), Some("j-ours"));
    let mut ours = record(|_| {});
    ours["directive"] = directive();
    without_req_id(&mut ours["directive"]);
    ours["directive"]["service_params"] = json!({"user": "reporting"});
    assert_eq!(found_in(vec![ours]).await.as_deref(), Some("j-ours"));
}

#[tokio::test]
async fn without_any_req_id_the_newest_job_alike_is_it() {
    let mut older = record(without_req_id);
    older["job_id"] = "j-older".into();
    older["create_time"] = after(-30).into();
    assert_eq!(found_in(vec![older.clone(), record(without_req_id), older]).await.as_deref(), Some("j-ours"));
}

#[tokio::test]
async fn without_any_req_id_every_other_trait_must_be_ours() {
    for (name, value) in [
        ("access_key_id", "QYSOMEBODYELSE"),
        ("cluster", "cl-other"),
        ("service", DELETE_USER),
        ("service_params", r#"{"user":"other"}"#),
    ] {
        let other = record(|directive| {
            without_req_id(directive);
            directive[name] = value.into();
        });
        assert_eq!(found_in(vec![other]).await, None, "{name}");
    }
}

#[tokio::test]
async fn where_some_req_ids_are_repeated_a_job_without_one_that_may_be_ours_is_never_none() {
    let other = record(|directive| directive["req_id"] = "ffffffffffffffffffffffffffffffff".into());
    let masked = record(|directive| {
        without_req_id(directive);
        directive["service_params"] = "******".into();
    });
    for alike in [record(without_req_id), masked] {
        for records in [vec![alike.clone(), other.clone()], vec![other.clone(), alike.clone()]] {
            let error = find_in(records).await.expect_err("in doubt");
            assert_eq!(error.class, ErrorClass::Unavailable);
        }
        let found = found_in(vec![alike, record(|_| {}), other.clone()]).await;
        assert_eq!(found.as_deref(), Some("j-ours"), "its own req_id decides");
    }
    let of_another_account = record(|directive| {
        without_req_id(directive);
        directive["service_params"] = r#"{"user":"other"}"#.into();
    });
    assert_eq!(found_in(vec![of_another_account, other]).await, None);
}

#[tokio::test]
async fn jobs_before_the_intent_and_of_other_clusters_or_actions_are_not_ours() {
    for (name, value) in
        [("create_time", after(-61)), ("resource_ids", "cl-other".into()), ("job_action", "StopClusters".into())]
    {
        let mut other = record(|_| {});
        other[name] = value.into();
        assert_eq!(found_in(vec![other]).await, None, "{name}");
    }
}

#[tokio::test]
async fn job_from_a_slower_clock_is_still_found() {
    let mut ours = record(|_| {});
    ours["create_time"] = after(-59).into();
    assert_eq!(found_in(vec![ours]).await.as_deref(), Some("j-ours"));
}

#[tokio::test]
async fn record_that_cannot_be_read_is_an_error_and_never_none() {
    for directive in [json!("***"), json!(null), json!(7), json!("{\"cut"), json!("[]")] {
        let mut odd = record(|_| {});
        odd["directive"] = directive.clone();
        let error = find_in(vec![odd.clone()]).await.expect_err("in doubt");
        assert_eq!(error.class, ErrorClass::Unavailable, "{directive}");
        assert_eq!(found_in(vec![odd, record(|_| {})]).await.as_deref(), Some("j-ours"), "found beside it");
    }
    let masked = record(|directive| {
        without_req_id(directive);
        directive["service_params"] = "******".into();
    });
    find_in(vec![masked.clone()]).await.expect_err("in doubt");
    find_in(vec![masked, record(without_req_id)]).await.expect_err("either may be it");
}

#[tokio::test]
async fn odd_records_of_others_disturb_nothing() {
    let mut odd = record(|_| {});
    odd["directive"] = "***".into();
    odd["resource_ids"] = "cl-other".into();
    assert_eq!(found_in(vec![odd]).await, None);
}

#[tokio::test]
async fn all_pages_are_read_where_the_order_is_unknown() {
    let mut records = others(250, 0);
    records.reverse();
    records.push(record(|_| {}));
    let server = Server::start(move |request| page(request, &records)).await;
    let job = find(&cluster(&server), &lost(CallKind::Create)).await.expect("a search");
    assert_eq!(job.expect("a job").id.as_str(), "j-ours");
    let offsets: Vec<_> = server.requests().iter().map(|seen| seen.parameters["offset"].clone()).collect();
    assert_eq!(offsets, ["0", "100", "200"]);
}

#[tokio::test]
async fn newest_first_the_search_ends_at_the_intent() {
    let records = others(10_000, 20);
    let server = Server::start(move |request| page(request, &records)).await;
    assert_eq!(find(&cluster(&server), &lost(CallKind::Create)).await, Ok(None));
    assert_eq!(server.requests().len(), 1, "the first page goes back to 79 seconds before the intent");
}

#[tokio::test]
async fn records_out_of_order_do_not_end_the_search_early() {
    let mut records = others(150, 20);
    records.swap(3, 4);
    records.push(record(|_| {}));
    let server = Server::start(move |request| page(request, &records)).await;
    let job = find(&cluster(&server), &lost(CallKind::Create)).await.expect("a search");
    assert_eq!(job.expect("a job").id.as_str(), "j-ours");
}

#[tokio::test]
async fn search_ends_with_the_job_of_the_attempt() {
    let mut records = others(250, 10_000);
    records.insert(0, record(|_| {}));
    let server = Server::start(move |request| page(request, &records)).await;
    assert!(find(&cluster(&server), &lost(CallKind::Create)).await.expect("a search").is_some());
    assert_eq!(server.requests().len(), 1);
}

#[tokio::test]
async fn search_without_a_total_ends_at_an_empty_page() {
    let records = others(150, 1000);
    let server = Server::start(move |request| {
        let offset: usize = request.parameters["offset"].parse().expect("a number");
        let rows: Vec<_> = records.iter().skip(offset).take(PAGE).collect();
        Reply::json(&json!({"ret_code": 0, "job_set": rows}).to_string())
    })
    .await;
    assert_eq!(find(&cluster(&server), &lost(CallKind::Create)).await, Ok(None));
    assert_eq!(server.requests().len(), 3);
}

#[tokio::test]
async fn too_many_records_are_an_error_and_never_none() {
    let mut records = others(3000, 0);
    records.reverse();
    let server = Server::start(move |request| page(request, &records)).await;
    let error = find(&cluster(&server), &lost(CallKind::Create)).await.expect_err("not all records were read");
    assert_eq!(error.class, ErrorClass::Unavailable);
    assert_eq!(server.requests().len(), MOST_PAGES);
}

#[tokio::test]
async fn calls_the_cloud_does_not_have_have_no_job() {
    let server = Server::start(|_| answer(0, &[])).await;
    for kind in [CallKind::SetPassword, CallKind::SetAccess] {
        let error = find(&cluster(&server), &lost(kind)).await.expect_err("no such call");
        assert_eq!(error.class, ErrorClass::Rejected);
    }
    assert!(server.requests().is_empty());
}

fn any_json() -> impl Strategy<Value = Value> {
    let names = prop_oneof![Just("req_id"), Just("cluster"), Just("service"), Just("service_params"), Just("user")];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        ".{0,20}".prop_map(Value::from),
        Just(Value::from(ATTEMPT)),
        Just(Value::from("cl-ouhutv70")),
    ];
    leaf.prop_recursive(3, 20, 5, move |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::btree_map(names.clone().prop_map(str::to_owned), inner.clone(), 0..5)
                .prop_map(|fields| json!(fields)),
            inner.prop_map(|value| value.to_string().into()),
        ]
    })
}

/// Made once, for its certificates take a while to load. Nothing is sent.
static CLUSTER: LazyLock<Cluster> = LazyLock::new(|| {
    let client = fake::client("http://127.0.0.1:1/".parse().expect("a URL"));
    Cluster::new(client.into(), "sh1a", "cl-ouhutv70")
});

proptest! {
    #[test]
    fn any_record_is_looked_at_without_panic(
        directive in any_json(),
        fields in proptest::collection::vec(any_json(), 5),
        whole in any_json(),
    ) {
        let lost = lost(CallKind::Create);
        let mut search = Search::new(&CLUSTER, &lost).expect("a call with a job");
        let names = ["job_id", "job_action", "status", "create_time", "resource_ids"];
        let mut record: serde_json::Map<_, _> = names.into_iter().map(str::to_owned).zip(fields).collect();
        record.insert("directive".into(), directive);
        for value in [record.into(), whole] {
            // What is no record at all makes the whole answer one that is not understood.
            if let Ok(record) = serde_json::from_value(value) {
                search.look_at(&record);
            }
        }
        let _any = search.conclusion();
    }
}

//! Huawei Cloud as its pages describe it: gateway, tokens, signatures, rules, codes, lists.
#![expect(clippy::unwrap_used, reason = "in tests a panic is the report")]

mod support;

use std::time::Duration;

use base64::{Engine, prelude::BASE64_STANDARD};
use emulated_clouds::{
    AccountAccess, AccountCodes, ConcurrentWrite, EffectKind, EmptyDatabases, EngineName, Envelope, ForeignInstance,
    GatewayPrefix, HuaweiKeys, HuaweiUser, Instance, InstanceState, Limits, Operation, Options, PasswordComma,
    PasswordLikeName, PermissionChange, ProjectDomain, Published, Rejection, StarWithNames, Switches, Timing,
    TokenLength, TotalCount, TrafficVip, UnknownDatabase, UserNameFilter,
};
use reqwest::Method;
use serde_json::{Value, json};
use support::*;
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
};

const START: &str = "2025-01-02T03:04:05Z";

#[tokio::test]
async fn every_request_captured_from_the_sdk_is_taken_byte_for_byte() {
    let all: Value = serde_json::from_str(include_str!("../../vectors/huawei-vectors.json")).unwrap();
    let captures = all["captures"].as_array().unwrap();
    assert!(captures.len() >= 16);
    for capture in captures {
        let name = capture["name"].as_str().unwrap();
        let header = |name: &str| {
            let headers = capture["headers_in_order"].as_array().unwrap();
            let found = headers.iter().find(|pair| pair[0].as_str().unwrap().eq_ignore_ascii_case(name));
            found.map(|pair| pair[1].as_str().unwrap())
        };
        let date = jiff::civil::DateTime::strptime("%Y%m%dT%H%M%SZ", header("x-sdk-date").unwrap()).unwrap();
        let clouds = clouds(stopped(&format!("{date}Z"))).await;
        if !name.starts_with("create") {
            clouds.put_account(INSTANCE, "user_test1", "Rds_1234", AccountAccess::default()).await.unwrap();
        }
        let access_key = header("authorization").unwrap().split("Access=").nth(1).unwrap().split(',').next().unwrap();
        clouds.add_huawei_keys(HuaweiKeys {
            access_key: access_key.into(),
            // Of all captures, as the file's note says.
            secret_key: "SKtest/Huawei+0123456789abcdefABCDEFGHIJ".into(),
            security_token: header("x-security-token").map(str::to_owned),
            expires_at: None,
            domain: "IAMDomain".into(),
        });
        let is_iam = name.starts_with("iam") || name.ends_with("#1");
        let origin = if is_iam { clouds.iam_endpoint() } else { clouds.huawei_endpoint() };
        let mut stream = TcpStream::connect(("127.0.0.1", origin.port().unwrap())).await.unwrap();
        let bytes = BASE64_STANDARD.decode(capture["raw_base64"].as_str().unwrap()).unwrap();
        stream.write_all(&bytes).await.unwrap();
        let mut head = String::new();
        BufReader::new(stream).read_line(&mut head).await.unwrap();
        // Refusals of what the captures ask for are fine, of how they ask are not.
        let expected = match name {
            it if it.starts_with("iam") => "HTTP/1.1 201",
            it if it.contains("needing encoding") || it.starts_with("show_gauss") => "HTTP/1.1 400",
            _ => "HTTP/1.1 200",
        };
        assert!(head.starts_with(expected) && !head.contains("401"), "{name}: {head}");
        let ledger = clouds.ledger();
        let (_, request) = ledger.requests().next().unwrap();
        assert_ne!(request.operation, Operation::Other, "{name}");
        assert!(is_iam || request.key.as_deref() == Some(access_key), "{name}");
    }
}

#[tokio::test]
async fn an_account_lives() {
    let clouds = clouds(stopped(START)).await;
    assert_eq!(listed(&clouds, "").await, ["root"]);
    assert_eq!(create(&clouds, "reporting").await, (200, json!({ "result": "SUCCESS" })));
    let (_, body) = HuaweiRequest::users(&clouds, Method::GET, "").answer(&clouds).await;
    assert_eq!(
        body,
        json!({ "total_count": 2, "user_details": [
            { "user_name": "root", "databases": ["*"], "dml": 2, "ddl": 0 },
            { "user_name": "reporting", "databases": ["*"], "dml": 1, "ddl": 0 },
        ] })
    );
    let change = json!({ "user_name": "reporting", "password": "Clickhouse_1234" });
    let answer = HuaweiRequest::users(&clouds, Method::PUT, "/password").body(change).answer(&clouds).await;
    assert_eq!(answer, (200, json!({ "result": "SUCCESS" })));
    let change = json!({ "user_name": "reporting", "databases": ["db1"], "dml": 2 });
    let answer = HuaweiRequest::users(&clouds, Method::PUT, "/permission").body(change).answer(&clouds).await;
    assert_eq!(answer.0, 200);
    let account = &clouds.accounts(INSTANCE)["reporting"];
    assert_eq!(account.password_digest, clouds.password_digest("Clickhouse_1234"));
    assert_eq!((account.access.databases.clone(), account.access.dml), (Some(vec!["db1".to_owned()]), Some(2)));
    let answer = HuaweiRequest::users(&clouds, Method::DELETE, "/reporting").answer(&clouds).await;
    assert_eq!(answer, (200, json!({ "result": "SUCCESS" })));
    assert_eq!(listed(&clouds, "").await, ["root"]);
    let kinds: Vec<_> = clouds.effects_of("reporting").iter().map(|effect| effect.kind).collect();
    assert_eq!(kinds, [EffectKind::Created, EffectKind::PasswordSet, EffectKind::AccessSet, EffectKind::Deleted]);
}

/// A create request with one field replaced (or, with `Null`, left out).
fn create_with(field: &str, value: Value) -> Value {
    let mut body = json!({ "user_name": "test_1", "password": "Rds_1234", "databases": ["db1"], "dml": 1 });
    match value {
        Value::Null => drop(body.as_object_mut().unwrap().remove(field)),
        value => body[field] = value,
    }
    body
}

#[tokio::test]
async fn each_refusal_has_its_status_and_code() {
    let clouds = clouds(stopped(START)).await;
    create(&clouds, "there").await;
    let post = |body: Value| HuaweiRequest::users(&clouds, Method::POST, "").body(body);
    let put = |tail: &str, body: Value| HuaweiRequest::users(&clouds, Method::PUT, tail).body(body);
    let delete = |tail: &str| HuaweiRequest::users(&clouds, Method::DELETE, tail);
    let list = |query: &str| HuaweiRequest::users(&clouds, Method::GET, "").query(query);
    let get = |path: String| HuaweiRequest::new(&clouds, Method::GET, path);
    let instance = |project: &str, id: &str| get(format!("/v3/{project}/instances/{id}/clickhouse/users"));
    for (request, status, code) in [
        (post(create_with("user_name", json!("Test"))), 400, "DBS.280292"),
        (post(create_with("user_name", Value::Null)), 400, "DBS.280001"),
        (post(create_with("user_name", json!("root"))), 409, "DBS.200828"),
        (post(create_with("user_name", json!("there"))), 409, "DBS.200827"),
        (post(create_with("password", json!("weak"))), 400, "DBS.280203"),
        (post(create_with("password", json!(12_345_678))), 400, "DBS.280001"),
        (post(create_with("databases", Value::Null)), 400, "DBS.280001"),
        (post(create_with("databases", json!("*"))), 400, "DBS.280001"),
        (post(create_with("databases", json!(["*", "db1"]))), 400, "DBS.280001"),
        (post(create_with("databases", json!(["unknown"]))), 400, "DBS.200823"),
        (post(create_with("dml", json!(3))), 400, "DBS.280001"),
        (post(create_with("dml", json!("1"))), 400, "DBS.280001"),
        (HuaweiRequest::users(&clouds, Method::POST, ""), 400, "DBS.280001"),
        (put("/password", json!({ "user_name": "absent", "password": "Rds_1234" })), 400, "DBS.200824"),
        (put("/password", json!({ "user_name": "root", "password": "Rds_1234" })), 409, "DBS.200828"),
        (put("/password", json!({ "user_name": "there", "password": "weak" })), 400, "DBS.280203"),
        (put("/permission", json!({ "user_name": "there", "databases": ["db1"] })), 400, "DBS.280001"),
        (put("/permission", json!({ "user_name": "absent", "databases": ["*"], "dml": 1 })), 400, "DBS.200824"),
        (delete("/absent"), 400, "DBS.200824"),
        (delete("/root"), 409, "DBS.200828"),
        (list("limit=0"), 400, "DBS.280439"),
        (list("limit=101"), 400, "DBS.280439"),
        (list("offset=-1"), 400, "DBS.280439"),
        (instance(PROJECT, "11111111111111111111111111111111in16"), 404, "DBS.200002"),
        (instance(PROJECT, OTHER_INSTANCE), 403, "DBS.200044"),
        (instance(PROJECT, "warehouse"), 400, "DBS.280404"),
        (instance(OTHER_PROJECT, OTHER_INSTANCE), 403, "APIGW.0310"),
        (get(format!("/v3/{PROJECT}/instances/{TAURUS}/clickhouse/{OTHER_INSTANCE}")), 403, "DBS.200044"),
        (get(format!("/v3/{PROJECT}/instances/{OTHER_INSTANCE}/htap")), 404, "DBS.200002"),
        (get(format!("/v3/{PROJECT}/jobs")).query("id=unknown"), 400, "DBS.200543"),
        // The singular of one published example reads as the id of an instance.
        (get(format!("/v3/{PROJECT}/instances/{INSTANCE}/clickhouse/user")), 400, "DBS.280404"),
        (get(format!("/v3/{PROJECT}/instances")), 404, "APIGW.0101"),
        (HuaweiRequest::users(&clouds, Method::PATCH, ""), 404, "APIGW.0101"),
    ] {
        let name = format!("{} {} {:?}", request.method, request.path, request.body);
        let (given, body) = request.answer(&clouds).await;
        assert_eq!((given, body["error_code"].as_str().unwrap()), (status, code), "{name}: {body}");
        assert!(!body.to_string().contains("Rds_1234"), "{name}");
    }
    assert_eq!(clouds.ledger().effects().count(), 1);
}

#[tokio::test]
async fn states_of_an_instance_refuse_writes_but_not_reads() {
    let clouds = clouds(stopped(START)).await;
    for (state, status, code) in [
        (InstanceState::Busy, 409, "DBS.200019"),
        (InstanceState::Abnormal, 400, "DBS.200086"),
        (InstanceState::Frozen, 400, "DBS.280449"),
    ] {
        clouds.add_instance(Instance { state, ..Instance::new(PROJECT, INSTANCE, TAURUS) });
        let (given, body) = create(&clouds, "test_1").await;
        assert_eq!((given, body["error_code"].as_str().unwrap()), (status, code));
        assert_eq!(listed(&clouds, "").await, ["root"]);
    }
    clouds.add_instance(Instance { state: InstanceState::Deleted, ..Instance::new(PROJECT, INSTANCE, TAURUS) });
    let (status, body) = HuaweiRequest::users(&clouds, Method::GET, "").answer(&clouds).await;
    assert_eq!((status, &body["error_code"]), (404, &json!("DBS.200002")));
}

#[tokio::test]
async fn five_failures_in_a_row_lock_an_access_key_for_five_minutes() {
    let clouds = clouds(stopped(START)).await;
    let wrong = |secret: &str| {
        let mut request = HuaweiRequest::users(&clouds, Method::GET, "");
        secret.clone_into(&mut request.secret_key);
        request.answer(&clouds)
    };
    for _ in 0..4 {
        assert_eq!(wrong("nope").await.0, 401);
    }
    assert_eq!(wrong("SK").await.0, 200, "a success begins the count anew");
    for _ in 0..5 {
        let (status, body) = wrong("nope").await;
        assert_eq!((status, &body["error_code"]), (401, &json!("APIGW.0301")));
        assert!(body["error_msg"].as_str().unwrap().contains("verify aksk signature fail"));
    }
    let (status, body) = wrong("SK").await;
    assert_eq!(status, 401);
    assert!(body["error_msg"].as_str().unwrap().contains("reach the limit,forbidden"));
    clouds.advance_clock(Duration::from_secs(299));
    assert_eq!(wrong("SK").await.0, 401);
    clouds.advance_clock(Duration::from_secs(1));
    assert_eq!(wrong("SK").await.0, 200);
}

#[tokio::test]
async fn a_signature_is_good_for_fifteen_minutes_on_either_side() {
    let clouds = clouds(stopped("2025-01-02T03:04:05Z")).await;
    for (date, status) in [
        ("2025-01-02T02:49:05Z", 200),
        ("2025-01-02T03:19:05Z", 200),
        ("2025-01-02T02:49:04Z", 401),
        ("2025-01-02T03:19:06Z", 401),
    ] {
        let mut request = HuaweiRequest::users(&clouds, Method::GET, "");
        request.date = date.parse().unwrap();
        assert_eq!(request.answer(&clouds).await.0, status, "{date}");
    }
}

#[tokio::test]
async fn temporary_keys_need_their_token_and_end() {
    let clouds = clouds(stopped(START)).await;
    clouds.add_huawei_keys(HuaweiKeys {
        access_key: "TEMP".into(),
        secret_key: "TEMPSECRET".into(),
        security_token: Some("token".into()),
        expires_at: Some("2025-01-02T04:04:05Z".parse().unwrap()),
        domain: "IAMDomain".into(),
    });
    let ask = async |token: Option<&str>| {
        let mut request = HuaweiRequest::users(&clouds, Method::GET, "");
        request.access_key = "TEMP".into();
        request.secret_key = "TEMPSECRET".into();
        request.security_token = token.map(str::to_owned);
        request.answer(&clouds).await.0
    };
    assert_eq!(ask(Some("token")).await, 200);
    assert_eq!(ask(None).await, 401);
    assert_eq!(ask(Some("another")).await, 401);
    clouds.advance_clock(Duration::from_secs(3600));
    assert_eq!(ask(Some("token")).await, 401);
}

#[tokio::test]
async fn a_token_is_for_one_project_and_for_a_day() {
    let clouds = clouds(stopped(START)).await;
    let text = token(&clouds).await;
    assert!((9_000..9_300).contains(&text.len()) && text.starts_with("MII"), "{}", text.len());
    assert_eq!(list_with_token(&clouds, PROJECT, &text).await.0, 200);
    let (status, body) = list_with_token(&clouds, OTHER_PROJECT, &text).await;
    assert_eq!((status, &body["error_code"]), (403, &json!("DBS.280056")));
    let (status, body) = list_with_token(&clouds, PROJECT, "MIIgarbage").await;
    assert_eq!((status, &body["error_code"]), (401, &json!("APIGW.0301")));
    assert!(body["error_msg"].as_str().unwrap().contains("decrypt token fail"));

    let url = clouds.iam_endpoint().join("/v3/auth/tokens").unwrap();
    let look = || http().get(url.clone()).header("x-auth-token", &text).header("x-subject-token", &text).send();
    let (status, body) = read(look().await.unwrap()).await;
    assert_eq!((status, &body["token"]["expires_at"]), (200, &json!("2025-01-03T03:04:05.000000Z")));
    assert_eq!(body["token"]["project"]["id"], PROJECT);

    clouds.advance_clock(Duration::from_secs(24 * 3600 - 1));
    assert_eq!(list_with_token(&clouds, PROJECT, &text).await.0, 200);
    clouds.advance_clock(Duration::from_secs(1));
    let (status, body) = list_with_token(&clouds, PROJECT, &text).await;
    assert_eq!((status, &body["error_code"]), (401, &json!("APIGW.0307")));
    assert_eq!(look().await.unwrap().status(), 401);
    let fresh = token(&clouds).await;
    clouds.add_huawei_user(HuaweiUser {
        domain: "IAMDomain".into(),
        name: "IAMUser".into(),
        password: "Changed_1".into(),
    });
    assert_eq!(list_with_token(&clouds, PROJECT, &fresh).await.0, 401);
}

#[tokio::test]
async fn a_token_is_asked_for_as_documented_or_refused() {
    let clouds = clouds(stopped(START)).await;
    for scope in [
        json!({ "project": { "id": PROJECT } }),
        json!({ "project": { "name": "cn-north-4" } }),
        json!({ "project": { "name": "cn-north-4", "domain": { "name": "IAMDomain" } } }),
    ] {
        let answer = ask_token(&clouds, &token_request("IAMPassword", &scope)).await;
        assert_eq!(answer.status(), 201, "{scope}");
        let (_, body) = read(answer).await;
        assert_eq!(body["token"]["project"]["id"], PROJECT, "{scope}");
        assert_eq!(body["token"]["catalog"], json!([]));
    }
    let global = ask_token(&clouds, &token_request("IAMPassword", &json!({ "domain": { "name": "IAMDomain" } }))).await;
    let global = global.headers()["x-subject-token"].to_str().unwrap().to_owned();
    assert_eq!(list_with_token(&clouds, PROJECT, &global).await.0, 403);
    for (body, status) in [
        (json!({}), 400),
        (token_request("IAMPassword", &json!({ "project": { "id": OTHER_PROJECT } })), 404),
        (token_request("wrong", &json!({})), 401),
    ] {
        let (given, answer) = read(ask_token(&clouds, &body).await).await;
        assert_eq!((given, answer["error"]["code"].as_u64().unwrap()), (status, u64::from(status)));
    }
}

#[tokio::test]
async fn five_wrong_passwords_lock_the_user() {
    let clouds = clouds(stopped(START)).await;
    let ask = async |password: &str| {
        ask_token(&clouds, &token_request(password, &json!({ "project": { "id": PROJECT } }))).await.status().as_u16()
    };
    for _ in 0..5 {
        assert_eq!(ask("wrong").await, 401);
    }
    assert_eq!(ask("IAMPassword").await, 401);
    clouds.advance_clock(Duration::from_secs(15 * 60));
    assert_eq!(ask("IAMPassword").await, 201);
}

#[tokio::test]
async fn projects_are_found_by_name_within_the_callers_domain() {
    let clouds = clouds(stopped(START)).await;
    let request = HuaweiRequest::new(&clouds, Method::GET, "/v3/projects").query("name=cn-north-4");
    let (status, body) = read(request.send_to(clouds.iam_endpoint()).await.unwrap()).await;
    assert_eq!(status, 200);
    let ids: Vec<_> = body["projects"].as_array().unwrap().iter().map(|project| &project["id"]).collect();
    assert_eq!(ids, [PROJECT]);
}

#[tokio::test]
async fn lists_are_paged_by_records_and_filtered() {
    let clouds = clouds(stopped(START)).await;
    for number in 0..24 {
        assert_eq!(create(&clouds, &format!("user_{number}")).await.0, 200);
    }
    assert_eq!(listed(&clouds, "").await.len(), 10);
    assert_eq!(listed(&clouds, "limit=100").await.len(), 25);
    assert_eq!(listed(&clouds, "limit=10&offset=20").await, ["user_19", "user_20", "user_21", "user_22", "user_23"]);
    assert!(listed(&clouds, "limit=10&offset=25").await.is_empty());
    let total = async |query: &str| {
        HuaweiRequest::users(&clouds, Method::GET, "").query(query).answer(&clouds).await.1["total_count"].clone()
    };
    assert_eq!(total("limit=1&user_name=user_1").await, 1);
    clouds.set_switches(Switches {
        huawei_user_name_filter: UserNameFilter::Substring,
        huawei_total_count: TotalCount::BeforeFilter,
        ..Switches::default()
    });
    assert_eq!(listed(&clouds, "limit=100&user_name=ser_1").await.len(), 11);
    assert_eq!(total("limit=1&user_name=user_1").await, 25);
    clouds.set_switches(Switches { huawei_user_name_filter: UserNameFilter::Prefix, ..Switches::default() });
    assert_eq!(listed(&clouds, "limit=100&user_name=user_2").await.len(), 5);
    assert!(listed(&clouds, "limit=100&user_name=ser_1").await.is_empty());
}

#[tokio::test]
async fn a_lagging_list_shows_each_change_late() {
    let timing = Timing { list_lag: Duration::from_secs(3), ..Timing::default() };
    let clouds = clouds(Options { timing, ..stopped(START) }).await;
    create(&clouds, "test_1").await;
    assert_eq!(listed(&clouds, "").await, ["root"]);
    assert_eq!(create(&clouds, "test_1").await.0, 409, "the account is there all the same");
    clouds.advance_clock(Duration::from_secs(3));
    assert_eq!(listed(&clouds, "").await, ["root", "test_1"]);
    let change = json!({ "user_name": "test_1", "databases": ["db1"], "dml": 2 });
    HuaweiRequest::users(&clouds, Method::PUT, "/permission").body(change).answer(&clouds).await;
    let dml = async || {
        HuaweiRequest::users(&clouds, Method::GET, "").answer(&clouds).await.1["user_details"][1]["dml"].clone()
    };
    assert_eq!(dml().await, 1);
    clouds.advance_clock(Duration::from_secs(3));
    assert_eq!(dml().await, 2);
    HuaweiRequest::users(&clouds, Method::DELETE, "/test_1").answer(&clouds).await;
    assert_eq!(listed(&clouds, "").await, ["root", "test_1"]);
    clouds.advance_clock(Duration::from_secs(3));
    assert_eq!(listed(&clouds, "").await, ["root"]);
}

#[tokio::test]
async fn a_write_during_a_write_is_refused_or_waits() {
    let timing = Timing { write_duration: Duration::from_secs(2), ..Timing::default() };
    let clouds = clouds(Options { timing, ..stopped(START) }).await;
    for (switch, status) in [(ConcurrentWrite::Refused, 409), (ConcurrentWrite::Queued, 200)] {
        clouds.set_switches(Switches { huawei_concurrent_write: switch, ..Switches::default() });
        let first = async {
            let answer = create(&clouds, &format!("first_{status}")).await;
            assert_eq!(answer.0, 200);
        };
        let seen = clouds.requests(Operation::CreateUser);
        let second = async {
            clouds.wait_until(|ledger| ledger.count(Operation::CreateUser) > seen, SOON).await.unwrap();
            // The first write holds its turn once its request is noted and its rules are read.
            while clouds.requests(Operation::ListUsers) < 3 {
                listed(&clouds, "").await;
            }
            create(&clouds, &format!("second_{status}")).await.0
        };
        let time = async {
            clouds.wait_until(|ledger| ledger.count(Operation::CreateUser) > seen + 1, SOON).await.unwrap();
            while clouds.effects_of(&format!("first_{status}")).is_empty()
                || (status == 200 && clouds.effects_of("second_200").is_empty())
            {
                clouds.advance_clock(Duration::from_secs(1));
                tokio::task::yield_now().await;
            }
        };
        let ((), given, ()) = tokio::join!(first, second, time);
        assert_eq!(given, status);
    }
}

#[tokio::test]
async fn the_address_of_an_instance_is_found_in_both_ways() {
    let clouds = clouds(stopped(START)).await;
    let detail =
        || HuaweiRequest::new(&clouds, Method::GET, format!("/v3/{PROJECT}/instances/{TAURUS}/clickhouse/{INSTANCE}"));
    let (_, body) = detail().answer(&clouds).await;
    assert_eq!(body["instance"]["port_info"]["tep_port"], 9000);
    assert_eq!(body["instance"]["groups"][0]["nodes"][0]["traffic_ip"], "192.168.0.55");
    assert_eq!(body["instance"]["groups"][0]["nodes"][0]["traffic_vip"], "");
    let htap = || HuaweiRequest::new(&clouds, Method::GET, format!("/v3/{PROJECT}/instances/{TAURUS}/htap"));
    let (_, body) = htap().answer(&clouds).await;
    assert_eq!((&body["total"], &body["instances"][0]["engine_name"]), (&json!(1), &json!("click-house")));
    clouds.set_switches(Switches {
        huawei_traffic_vip: TrafficVip::Filled,
        huawei_engine_name: EngineName::OneWord,
        ..Switches::default()
    });
    let (_, body) = detail().answer(&clouds).await;
    assert_eq!(body["instance"]["groups"][0]["nodes"][0]["traffic_vip"], "192.168.0.55");
    assert_eq!(htap().answer(&clouds).await.1["instances"][0]["engine_name"], "clickhouse");
    let databases =
        HuaweiRequest::new(&clouds, Method::GET, format!("/v3/{PROJECT}/instances/{INSTANCE}/clickhouse/databases"));
    assert_eq!(databases.answer(&clouds).await.1, json!({ "databases": ["db1", "db2"], "total_count": 2 }));
}

#[tokio::test]
async fn the_other_switches_turn() {
    let clouds = clouds(stopped(START)).await;
    create(&clouds, "there").await;
    let turn = |turn: fn(&mut Switches)| {
        let mut switches = Switches::default();
        turn(&mut switches);
        clouds.set_switches(switches);
    };
    let post = |body: Value| HuaweiRequest::users(&clouds, Method::POST, "").body(body).answer(&clouds);
    for (shape, pointer) in [
        (Envelope::ErrorCode, "/error_code"),
        (Envelope::CamelCase, "/errorCode"),
        (Envelope::ErrCode, "/errCode"),
        (Envelope::CodeMessage, "/code"),
        (Envelope::Nested, "/error/code"),
    ] {
        clouds.set_switches(Switches { huawei_envelope: shape, ..Switches::default() });
        let (_, body) = create(&clouds, "there").await;
        assert_eq!(body.pointer(pointer), Some(&json!("DBS.200827")), "{shape:?}");
    }
    turn(|it| it.huawei_gateway_prefix = GatewayPrefix::Apig);
    assert_eq!(list_with_token(&clouds, PROJECT, "garbage").await.1["error_code"], "APIG.0301");
    turn(|it| it.huawei_account_codes = AccountCodes::Generic);
    assert_eq!(create(&clouds, "there").await.1["error_code"], "DBS.280001");
    turn(|it| it.huawei_empty_databases = EmptyDatabases::Refused);
    assert_eq!(post(create_with("databases", json!([]))).await.0, 400);
    turn(|it| it.huawei_star_with_names = StarWithNames::Accepted);
    assert_eq!(post(create_with("databases", json!(["*", "db1"]))).await.0, 200);
    turn(|it| it.huawei_unknown_database = UnknownDatabase::Accepted);
    let mut body = create_with("databases", json!(["later"]));
    body["user_name"] = json!("test_2");
    assert_eq!(post(body).await.0, 200);
    turn(|it| it.huawei_permission_change = PermissionChange::Adds);
    clouds
        .put_account(
            INSTANCE,
            "test_3",
            "Rds_1234",
            AccountAccess { databases: Some(vec!["db1".into()]), ..Default::default() },
        )
        .await
        .unwrap();
    let change = json!({ "user_name": "test_3", "databases": ["db2"], "dml": 1 });
    HuaweiRequest::users(&clouds, Method::PUT, "/permission").body(change).answer(&clouds).await;
    assert_eq!(clouds.accounts(INSTANCE)["test_3"].access.databases, Some(vec!["db1".into(), "db2".into()]));
    turn(|it| it.huawei_password_comma = PasswordComma::Accepted);
    let mut body = create_with("password", json!("Rds,1234"));
    body["user_name"] = json!("test_4");
    assert_eq!(post(body).await.0, 200);
    turn(|it| it.huawei_password_like_name = PasswordLikeName::ExactCase);
    assert_eq!(post(json!({ "user_name": "user_1ab", "password": "User_1ab", "databases": ["*"] })).await.0, 200);
    turn(|it| it.huawei_foreign_instance = ForeignInstance::NotFound);
    let path = format!("/v3/{PROJECT}/instances/{OTHER_INSTANCE}/clickhouse/users");
    assert_eq!(HuaweiRequest::new(&clouds, Method::GET, path).answer(&clouds).await.0, 404);
    turn(|it| it.huawei_published = Published::No);
    assert_eq!(create(&clouds, "test_5").await.1["error_code"], "APIGW.0101");
    turn(|it| it.iam_project_domain = ProjectDomain::Refused);
    let scope = json!({ "project": { "name": "cn-north-4", "domain": { "name": "IAMDomain" } } });
    assert_eq!(ask_token(&clouds, &token_request("IAMPassword", &scope)).await.status(), 400);
    turn(|it| it.iam_token_length = TokenLength::Short);
    assert_eq!(token(&clouds).await.len(), 180);
    clouds.set_huawei_code(Rejection::AccountExists, 403, "DBS.999999");
    assert_eq!(
        create(&clouds, "there").await,
        (403, json!({ "error_code": "DBS.999999", "error_msg": "The database account already exists." }))
    );
}

#[tokio::test]
async fn a_rate_limit_answers_429_and_slides() {
    let limits = Limits { huawei_calls_per_minute: Some(2), ..Limits::default() };
    let clouds = clouds(Options { limits, ..stopped(START) }).await;
    let ask = async || HuaweiRequest::users(&clouds, Method::GET, "").answer(&clouds).await;
    assert_eq!([ask().await.0, ask().await.0], [200, 200]);
    let (status, body) = ask().await;
    assert_eq!((status, &body["error_code"]), (429, &json!("APIGW.0308")));
    clouds.advance_clock(Duration::from_secs(60));
    assert_eq!(ask().await.0, 200);
}

//! Each call on the wire is the call of the vendor's SDK.

use super::*;
use crate::provider::huaweicloud::sign::{self, Signable};

const VECTORS: &str = include_str!("../../../../../tests/vectors/huawei-vectors.json");

/// Compares method, path, query and body with what the vendor's SDK sent for the same call.
fn assert_as_captured(received: &Received, name: &str) {
    let vectors: Value = serde_json::from_str(VECTORS).expect("the vectors are JSON");
    let captures = vectors["captures"].as_array().expect("captures");
    let capture = captures.iter().find(|capture| capture["name"] == name).expect(name);
    let mut line = capture["request_line"].as_str().expect("a request line").split(' ');
    assert_eq!(Some(received.method.as_str()), line.next(), "{name}");
    let target = line.next().expect("a target");
    assert_eq!(received.path, target.split('?').next().expect("a path"), "{name}");
    match capture["body"].as_str() {
        None | Some("") => assert!(received.body.is_empty(), "{name}"),
        Some(body) => assert_eq!(received.json(), serde_json::from_str::<Value>(body).expect("JSON"), "{name}"),
    }
    assert!(received.header("content-type").starts_with("application/json"), "{name}");
    assert_eq!(received.header("x-project-id"), PROJECT, "{name}");
}

#[tokio::test]
async fn account_calls_are_those_the_vendor_sdk_sends() {
    let (origin, log) = serve(|_| success()).await;
    let instance = instance(&origin, access_key());
    assert_eq!(create(&instance, "user_test1", "Rds_1234").await, Ok(Accepted::Done));
    let (username, attempt) = (Username::new("user_test1"), attempt());
    let new_password = SecretText::new("Clickhouse_1234");
    assert_eq!(instance.set_password(&attempt, &username, &new_password).await, Ok(Accepted::Done));
    let new_access = access(&["db1"], Permission::ReadAndConfigure);
    assert_eq!(instance.set_access(&attempt, &username, &new_access).await, Ok(Accepted::Done));
    assert_eq!(delete(&instance, "user_test1").await, Ok(Accepted::Done));
    let received = log.all();
    for (received, name) in received.iter().zip([
        "create_click_house_database_user (all fields)",
        "update_click_house_database_user_password",
        "update_click_house_database_user_permission",
        "delete_click_house_database_user",
    ]) {
        assert_as_captured(received, name);
    }
    assert_eq!(received.len(), 4);
}

#[tokio::test]
async fn reads_are_those_the_vendor_sdk_sends() {
    let (origin, log) = serve(|received| {
        if received.path.ends_with("/users") {
            page(&[], 0)
        } else if received.path.ends_with("/databases") {
            reply(200, &json!({"databases": ["db1"], "total_count": 1}))
        } else {
            reply(200, &json!({"instance": {"id": INSTANCE}}))
        }
    })
    .await;
    let client = client(&origin, access_key());
    let instance = Instance::new(client, PROJECT, INSTANCE, Some(TAURUS.to_owned()));
    instance.read_instance().await.expect("a reading");
    instance.databases().await.expect("a list");
    let received = log.all();
    assert_as_captured(&received[0], "show_click_house_database_user (list, no query)");
    assert_eq!(received[0].raw_query.as_deref(), Some("limit=100&offset=0"));
    assert_as_captured(&received[1], "list_click_house_instance (detail)");
    assert_eq!(received[1].raw_query, None);
    assert_as_captured(&received[2], "list_click_house_data_base");
    assert_eq!(received[2].raw_query.as_deref(), Some("limit=100&offset=0"));
}

/// Signs what arrived anew and compares.
fn assert_signed(received: &Received, names: &[&str]) {
    let headers: Vec<(&str, &str)> = names.iter().map(|&name| (name, received.header(name))).collect();
    let query: Vec<(&str, &str)> = received.query.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let signable = Signable {
        method: &received.method,
        path: &received.path,
        query: &query,
        headers: &headers,
        body: &received.body,
    };
    let expected = sign::authorization(&signable, "AKTESTHUAWEI00000001", &SecretText::new(SECRET_KEY));
    assert_eq!(received.header("authorization"), expected);
}

#[tokio::test]
async fn signature_covers_what_is_on_the_wire() {
    let (origin, log) = serve(|received| if received.method == "GET" { page(&[], 0) } else { success() }).await;
    let instance = instance(&origin, access_key());
    create(&instance, "user_test1", "Rds_1234").await.expect("success");
    delete(&instance, "user_test1").await.expect("success");
    instance.read_instance().await.expect("a reading");
    for received in log.all() {
        assert_signed(&received, &["content-type", "host", "x-project-id", "x-sdk-date"]);
        assert!(received.header("host").contains(':'), "a port that is not the scheme's own is signed too");
        assert!(received.headers.get("x-auth-token").is_none());
    }
}

#[tokio::test]
async fn temporary_keys_bring_their_token_and_sign_it() {
    let (origin, log) = serve(|_| success()).await;
    let credentials = Credentials::AccessKey {
        access_key_id: SecretText::new("AKTESTHUAWEI00000001"),
        secret_access_key: SecretText::new(SECRET_KEY),
        security_token: Some(SecretText::new("gQpjbi1ub3J0aC00examplesecuritytoken==")),
    };
    delete(&instance(&origin, credentials), "user_test1").await.expect("success");
    let received = &log.all()[0];
    assert_eq!(received.header("x-security-token"), "gQpjbi1ub3J0aC00examplesecuritytoken==");
    assert_signed(received, &["content-type", "host", "x-project-id", "x-sdk-date", "x-security-token"]);
}

#[tokio::test]
async fn both_permissions_are_always_sent_as_a_number() {
    let (origin, log) = serve(|_| success()).await;
    let instance = instance(&origin, access_key());
    let (username, password) = (Username::new("user_test1"), SecretText::new("Rds_1234"));
    for permission in [Permission::ReadOnly, Permission::ReadAndConfigure] {
        let access = access(&["db1", "db2"], permission);
        let account = NewAccount { username: &username, password: &password, access: &access };
        instance.create(&attempt(), account).await.expect("success");
        instance.set_access(&attempt(), &username, &access).await.expect("success");
    }
    let sent: Vec<Value> = log.all().iter().map(|received| received.json()["dml"].clone()).collect();
    assert_eq!(sent, [json!(1), json!(1), json!(2), json!(2)]);
}

#[tokio::test]
async fn ids_and_names_that_would_change_the_path_are_never_sent() {
    let (origin, log) = serve(|_| success()).await;
    let client = client(&origin, access_key());
    for (project, id, username) in [
        ("..", INSTANCE, "user_test1"),
        (PROJECT, "a/../b", "user_test1"),
        (PROJECT, INSTANCE, "../password"),
        (PROJECT, INSTANCE, "a%2Fb"),
        (PROJECT, INSTANCE, "a?b"),
        (PROJECT, INSTANCE, ""),
    ] {
        let outcome = delete(&Instance::new(client.clone(), project, id, None), username).await;
        assert!(
            matches!(&outcome, Err(CallError::NotApplied(error)) if error.class == ErrorClass::InvalidSpec),
            "{outcome:?}"
        );
    }
    assert!(log.all().is_empty());
}

#[tokio::test]
async fn access_that_lacks_a_part_is_never_sent() {
    let (origin, log) = serve(|_| success()).await;
    let instance = instance(&origin, access_key());
    let outcome = instance.set_access(&attempt(), &Username::new("user_test1"), &Access::default()).await;
    assert!(matches!(outcome, Err(CallError::NotApplied(error)) if error.class == ErrorClass::InvalidSpec));
    assert!(log.all().is_empty());
}

#[tokio::test]
async fn there_are_no_jobs_and_the_region_is_their_scope() {
    let (origin, log) = serve(|_| success()).await;
    let instance = instance(&origin, access_key());
    let error = instance.jobs(&[JobId::new("j")]).await.expect_err("no jobs");
    assert_eq!(error.class, ErrorClass::Rejected);
    let lost = LostCall {
        attempt: attempt(),
        kind: crate::provider::contract::CallKind::Create,
        username: Username::new("user_test1"),
        since: "2026-11-22T08:00:00Z".parse().expect("a time"),
    };
    assert_eq!(instance.find_job(&lost).await.expect_err("no jobs").class, ErrorClass::Rejected);
    assert_eq!(instance.job_scope(), "cn-north-4");
    assert!(log.all().is_empty());
}

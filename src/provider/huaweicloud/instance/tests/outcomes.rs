//! What a call's end says of its effect: applied, certainly not, or unknown.

use tokio::io::AsyncReadExt as _;

use super::*;

async fn outcome(status: u16, body: &str) -> (Mutation, Log) {
    let body = body.to_owned();
    let (origin, log) = serve(move |_| Reply(status, Vec::new(), body.clone())).await;
    (create(&instance(&origin, access_key()), "user_test1", "Rds_1234").await, log)
}

#[tokio::test]
async fn success_without_its_word_is_unknown() {
    for (status, body) in [
        (200, ""),
        (204, ""),
        (200, "{}"),
        (200, r#"{"result":"FAILED"}"#),
        (200, r#"{"error_code":"DBS.280001","error_msg":"x"}"#),
        (200, "<html><body>Welcome</body></html>"),
        (202, r#"{"job_id":"j"}"#),
        (302, r#"{"result":"SUCCESS"}"#),
    ] {
        let (outcome, log) = outcome(status, body).await;
        assert!(matches!(outcome, Err(CallError::Unknown(_))), "{status} {body}: {outcome:?}");
        assert_eq!(log.calls(), 1, "nothing is sent twice");
    }
}

#[tokio::test]
async fn success_is_any_2xx_with_its_word() {
    for status in [200, 201, 202] {
        assert_eq!(outcome(status, r#"{"result":"SUCCESS"}"#).await.0, Ok(Accepted::Done));
    }
}

#[tokio::test]
async fn faults_of_the_server_are_unknown() {
    for (status, body) in [
        (500, r#"{"error_code":"DBS.111205","error_msg":"timeout"}"#),
        (500, r#"{"error_code":"DBS.200005","error_msg":"internal"}"#),
        (504, r#"{"error_code":"APIGW.0203","error_msg":"backend timeout"}"#),
        (502, "<html>bad gateway</html>"),
        (503, ""),
        (500, r#"{"result":"SUCCESS"}"#),
    ] {
        let (outcome, _) = outcome(status, body).await;
        let Err(CallError::Unknown(error)) = outcome else { panic!("{status} {body}: {outcome:?}") };
        assert_eq!(error.class, ErrorClass::Unavailable);
        assert!(!error.message.contains('<'), "no body: {error}");
    }
}

#[tokio::test]
async fn refusals_are_certain() {
    for (status, code, class) in [
        (409, "DBS.200827", ErrorClass::AccountExists),
        (400, "DBS.280292", ErrorClass::InvalidSpec),
        (400, "DBS.280203", ErrorClass::InvalidPassword),
        (409, "DBS.200019", ErrorClass::InstanceBusy),
        (404, "DBS.200002", ErrorClass::InstanceNotFound),
        (404, "APIGW.0101", ErrorClass::Rejected),
        (429, "APIGW.0308", ErrorClass::Throttled),
    ] {
        let (outcome, log) = outcome(status, &json!({"error_code": code, "error_msg": "why"}).to_string()).await;
        let Err(CallError::NotApplied(error)) = outcome else { panic!("{code}: {outcome:?}") };
        assert_eq!((error.class, error.code.as_deref()), (class, Some(code)));
        assert_eq!(log.calls(), 1, "nothing is sent twice");
    }
}

#[tokio::test]
async fn refused_access_key_is_sent_once_and_pauses_five_minutes() {
    let body = json!({"error_code": "APIGW.0301", "error_msg": "verify aksk signature fail"}).to_string();
    let (outcome, log) = outcome(401, &body).await;
    let Err(CallError::NotApplied(error)) = outcome else { panic!("a certain refusal, not {outcome:?}") };
    assert_eq!((error.class, error.pause), (ErrorClass::AccessDenied, Some(Duration::from_secs(300))));
    assert_eq!((log.calls(), log.logins()), (1, 0));
}

#[tokio::test]
async fn account_that_is_not_there_is_deleted_but_cannot_be_changed() {
    let (origin, _) = serve(|_| reply(400, &json!({"error_code": "DBS.200824", "error_msg": "no such account"}))).await;
    let instance = instance(&origin, access_key());
    assert_eq!(delete(&instance, "user_test1").await, Ok(Accepted::Done));
    let (username, password) = (Username::new("user_test1"), SecretText::new("Rds_1234"));
    let changed = instance.set_password(&attempt(), &username, &password).await;
    assert!(matches!(changed, Err(CallError::NotApplied(error)) if error.class == ErrorClass::AccountNotFound));
}

#[tokio::test]
async fn nothing_else_that_is_not_found_counts_as_deleted() {
    for (status, code) in [(404, "DBS.200002"), (404, "APIGW.0101"), (403, "DBS.200044"), (404, "NEW.1"), (404, "")] {
        let (origin, _) = serve(move |_| reply(status, &json!({"error_code": code, "error_msg": "not found"}))).await;
        let outcome = delete(&instance(&origin, access_key()), "user_test1").await;
        assert!(outcome.is_err(), "{code}: {outcome:?}");
    }
}

#[tokio::test]
async fn lost_answer_is_unknown() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let origin = Url::parse(&format!("http://{}", listener.local_addr().expect("an address"))).expect("a URL");
    let server = tokio::spawn(async move {
        let (mut connection, _) = listener.accept().await.expect("a connection");
        let mut buffer = [0; 4096];
        connection.read(&mut buffer).await.expect("a request")
    });
    let outcome = create(&instance(&origin, access_key()), "user_test1", "Rds_1234").await;
    assert!(
        matches!(&outcome, Err(CallError::Unknown(error)) if error.class == ErrorClass::Unavailable),
        "{outcome:?}"
    );
    assert!(server.await.expect("the server ran") > 0);
}

#[tokio::test]
async fn refused_connection_means_that_nothing_was_changed() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let origin = Url::parse(&format!("http://{}", listener.local_addr().expect("an address"))).expect("a URL");
    drop(listener);
    for credentials in [access_key(), password()] {
        let outcome = create(&instance(&origin, credentials), "user_test1", "Rds_1234").await;
        assert!(
            matches!(&outcome, Err(CallError::NotApplied(error)) if error.class == ErrorClass::Unavailable),
            "{outcome:?}"
        );
    }
}

#[tokio::test]
async fn secrets_that_the_server_repeats_reach_no_error() {
    for status in [400, 401, 409, 500, 200] {
        let (origin, _) = serve(move |received| {
            if received.is_login() {
                return token("MIIsecretToken");
            }
            let headers: Vec<&str> = received.headers.values().filter_map(|value| value.to_str().ok()).collect();
            let echo = format!("{} {}", String::from_utf8_lossy(&received.body), headers.join(" "));
            reply(status, &json!({"error_code": "DBS.280001", "error_msg": echo}))
        })
        .await;
        let outcome = create(&instance(&origin, password()), "user_test1", "Rds_1234").await;
        let shown = format!("{outcome:?} {}", outcome.as_ref().expect_err("a failure").error());
        for secret in ["Rds_1234", "MIIsecretToken", IAM_PASSWORD] {
            assert!(!shown.contains(secret), "{shown}");
        }
    }
}

#[tokio::test]
async fn credential_that_no_header_can_carry_is_refused_before_sending() {
    let (origin, log) = serve(|_| success()).await;
    let credentials = Credentials::AccessKey {
        access_key_id: SecretText::new("AK\n"),
        secret_access_key: SecretText::new(SECRET_KEY),
        security_token: None,
    };
    let outcome = delete(&instance(&origin, credentials), "user_test1").await;
    assert!(matches!(outcome, Err(CallError::NotApplied(error)) if error.class == ErrorClass::AccessDenied));
    assert!(log.all().is_empty());
}

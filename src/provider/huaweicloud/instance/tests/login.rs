//! Password credentials: who logs in, when, and how often.

use std::sync::atomic::{AtomicUsize, Ordering};

use futures::future::join_all;

use super::*;
use crate::provider::huaweicloud::errors::CREDENTIAL_PAUSE;

/// Gives out `token-1`, `token-2`, … and takes those from `first_good` on; what it refuses it refuses as told.
async fn serve_tokens(first_good: usize, refusal: (u16, &'static str)) -> (Url, Log) {
    let logins = AtomicUsize::new(0);
    serve(move |received| {
        if received.is_login() {
            return token(&format!("token-{}", logins.fetch_add(1, Ordering::SeqCst) + 1));
        }
        let number = received.header("x-auth-token").strip_prefix("token-").and_then(|text| text.parse::<usize>().ok());
        match number {
            Some(number) if number >= first_good => success(),
            _ => reply(refusal.0, &json!({"error_code": refusal.1, "error_msg": "renew the token"})),
        }
    })
    .await
}

#[tokio::test]
async fn calls_carry_the_token_and_no_signature() {
    let (origin, log) = serve_tokens(1, (401, "")).await;
    delete(&instance(&origin, password()), "user_test1").await.expect("success");
    let received = log.all();
    assert_eq!(received[0].raw_query.as_deref(), Some("nocatalog=true"));
    assert_eq!(received[0].json()["auth"]["scope"], json!({"project": {"id": PROJECT}}));
    assert!(received[0].headers.get("authorization").is_none() && received[0].headers.get("x-auth-token").is_none());
    assert_eq!(received[1].header("x-auth-token"), "token-1");
    assert!(received[1].headers.get("authorization").is_none());
}

#[tokio::test]
async fn refused_token_is_renewed_once_and_the_call_sent_again() {
    for refusal in [(401, "APIGW.0301"), (401, "APIGW.0305"), (401, "APIG.0307"), (401, ""), (403, "DBS.280056")] {
        let (origin, log) = serve_tokens(2, refusal).await;
        let instance = instance(&origin, password());
        assert_eq!(create(&instance, "user_test1", "Rds_1234").await, Ok(Accepted::Done), "{refusal:?}");
        assert_eq!((log.logins(), log.calls()), (2, 2));
        delete(&instance, "user_test1").await.expect("the fresh token is kept");
        assert_eq!((log.logins(), log.calls()), (2, 3));
    }
}

#[tokio::test]
async fn fresh_token_refused_too_is_access_denied_and_no_more_is_sent() {
    let (origin, log) = serve_tokens(usize::MAX, (401, "APIGW.0301")).await;
    let outcome = delete(&instance(&origin, password()), "user_test1").await;
    let Err(CallError::NotApplied(error)) = outcome else { panic!("a certain refusal, not {outcome:?}") };
    assert_eq!((error.class, error.pause), (ErrorClass::AccessDenied, Some(CREDENTIAL_PAUSE)));
    assert_eq!((log.logins(), log.calls()), (2, 2));
}

#[tokio::test]
async fn refused_permission_does_not_cost_a_login() {
    let (origin, log) = serve_tokens(usize::MAX, (403, "DBS.200044")).await;
    let outcome = delete(&instance(&origin, password()), "user_test1").await;
    assert!(matches!(outcome, Err(CallError::NotApplied(error)) if error.class == ErrorClass::AccessDenied));
    assert_eq!((log.logins(), log.calls()), (1, 1));
}

#[tokio::test]
async fn fifty_calls_at_once_share_one_login() {
    let (origin, log) = serve_tokens(1, (401, "")).await;
    let instance = instance(&origin, password());
    let names: Vec<String> = (0..50).map(|number| format!("user_{number}")).collect();
    let outcomes = join_all(names.iter().map(|name| delete(&instance, name))).await;
    assert!(outcomes.iter().all(Result::is_ok));
    assert_eq!((log.logins(), log.calls()), (1, 50));
}

#[tokio::test]
async fn fifty_calls_refused_at_once_share_one_renewal() {
    let (origin, log) = serve_tokens(2, (401, "APIGW.0307")).await;
    let instance = instance(&origin, password());
    let names: Vec<String> = (0..50).map(|number| format!("user_{number}")).collect();
    let outcomes = join_all(names.iter().map(|name| delete(&instance, name))).await;
    assert!(outcomes.iter().all(Result::is_ok));
    assert_eq!(log.logins(), 2);
}

#[tokio::test]
async fn wrong_password_is_sent_once_however_many_ask() {
    let (origin, log) = serve(|_| {
        let message = format!("The username or password {IAM_PASSWORD} is wrong.");
        reply(401, &json!({"error": {"code": 401, "message": message, "title": "Unauthorized"}}))
    })
    .await;
    let instance = instance(&origin, password());
    let outcomes = join_all((0..20).map(|_| create(&instance, "user_test1", "Rds_1234"))).await;
    for outcome in outcomes {
        let Err(CallError::NotApplied(error)) = outcome else { panic!("nothing was sent, not {outcome:?}") };
        assert_eq!((error.class, error.code.as_deref()), (ErrorClass::AccessDenied, Some("401")));
        assert!(error.pause.is_some_and(|pause| pause > Duration::from_secs(240) && pause <= CREDENTIAL_PAUSE));
        assert_eq!(error.message, "login: The username or password [redacted] is wrong.");
    }
    assert_eq!((log.logins(), log.calls()), (1, 0));
}

#[tokio::test]
async fn failed_login_means_that_nothing_was_changed() {
    for (status, body) in [(500, "{}"), (201, "{}"), (503, "<html>"), (429, "{}"), (302, "")] {
        let (origin, log) = serve(move |_| Reply(status, Vec::new(), body.to_owned())).await;
        let outcome = create(&instance(&origin, password()), "user_test1", "Rds_1234").await;
        assert!(matches!(outcome, Err(CallError::NotApplied(_))), "{status}: {outcome:?}");
        assert_eq!(log.calls(), 0);
    }
}

#[tokio::test]
async fn token_of_sixteen_kilobytes_goes_both_ways() {
    let text = "M".repeat(16 * 1024);
    let given = text.clone();
    let (origin, log) = serve(move |received| if received.is_login() { token(&given) } else { success() }).await;
    delete(&instance(&origin, password()), "user_test1").await.expect("success");
    assert_eq!(log.all()[1].header("x-auth-token"), text);
}

#[tokio::test]
async fn long_refusal_of_a_login_stays_within_the_bound_of_messages() {
    let (origin, _) = serve(|_| reply(403, &json!({"error": {"code": 403, "message": "no ".repeat(500)}}))).await;
    let outcome = delete(&instance(&origin, password()), "user_test1").await;
    let message = outcome.expect_err("a refusal").into_error().message;
    assert_eq!(message.chars().count(), crate::provider::contract::MESSAGE_LIMIT);
    assert!(message.starts_with("login: no no"), "{message}");
}

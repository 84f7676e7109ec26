//! Tokens in paused time: who logs in, when, and how often.

use std::sync::atomic::{AtomicUsize, Ordering};

use futures::future::join_all;
use reqwest::{StatusCode, header::HeaderMap};
use serde_json::{Value, json};

use super::*;

const DAY: Duration = Duration::from_secs(86_400);

/// A login service that counts and answers as told.
struct Service {
    logins: AtomicUsize,
    life: Duration,
}

impl Service {
    fn new(life: Duration) -> Self {
        Self { logins: AtomicUsize::new(0), life }
    }

    async fn log_in(&self) -> Result<Issued, CloudError> {
        let number = self.logins.fetch_add(1, Ordering::SeqCst) + 1;
        tokio::time::sleep(Duration::from_millis(100)).await;
        Ok(Issued { text: SecretText::new(format!("token-{number}")), life: self.life })
    }

    async fn fail(&self, class: ErrorClass) -> Result<Issued, CloudError> {
        self.logins.fetch_add(1, Ordering::SeqCst);
        tokio::time::sleep(Duration::from_millis(100)).await;
        Err(CloudError::new(class, "no"))
    }

    fn logins(&self) -> usize {
        self.logins.load(Ordering::SeqCst)
    }
}

async fn get(tokens: &Tokens, service: &Service, refused: Option<&Token>) -> Token {
    tokens.get("p", refused, || service.log_in()).await.expect("a token")
}

async fn refused(tokens: &Tokens, service: &Service, project: &str, class: ErrorClass) -> CloudError {
    tokens.get(project, None, || service.fail(class)).await.err().expect("a refusal")
}

#[tokio::test(start_paused = true)]
async fn fifty_callers_share_one_login() {
    let (tokens, service) = (Tokens::default(), Service::new(DAY));
    let got = join_all((0..50).map(|_| get(&tokens, &service, None))).await;
    assert_eq!(service.logins(), 1);
    assert!(got.iter().all(|token| token.text.expose() == "token-1"));
}

#[tokio::test(start_paused = true)]
async fn token_is_renewed_at_four_fifths_of_its_life_at_the_latest() {
    let (tokens, service) = (Tokens::default(), Service::new(DAY));
    get(&tokens, &service, None).await;
    tokio::time::advance(DAY.mul_f64(0.74)).await;
    assert_eq!(get(&tokens, &service, None).await.text.expose(), "token-1");
    tokio::time::advance(DAY.mul_f64(0.06)).await;
    assert_eq!(get(&tokens, &service, None).await.text.expose(), "token-2");
}

#[test]
fn renewals_are_spread_by_the_jitter() {
    assert_eq!(renewal(Duration::from_secs(1000), 0.0), Duration::from_secs(800));
    assert_eq!(renewal(Duration::from_secs(1000), 1.0), Duration::from_secs(750));
    assert_eq!(renewal(Duration::from_secs(1000), 7.0), Duration::from_secs(750));
}

#[tokio::test(start_paused = true)]
async fn refused_token_is_replaced_once_by_all_who_held_it() {
    let (tokens, service) = (Tokens::default(), Service::new(DAY));
    let old = get(&tokens, &service, None).await;
    let got = join_all((0..50).map(|_| get(&tokens, &service, Some(&old)))).await;
    assert_eq!(service.logins(), 2);
    assert!(got.iter().all(|token| token.text.expose() == "token-2"));
}

#[tokio::test(start_paused = true)]
async fn each_project_has_a_token_of_its_own() {
    let (tokens, service) = (Tokens::default(), Service::new(DAY));
    get(&tokens, &service, None).await;
    let other = tokens.get("q", None, || service.log_in()).await.expect("a token");
    assert_eq!(other.text.expose(), "token-2");
    assert_eq!(get(&tokens, &service, None).await.text.expose(), "token-1");
}

#[tokio::test(start_paused = true)]
async fn refused_login_is_not_repeated_for_five_minutes_whoever_asks() {
    let (tokens, service) = (Tokens::default(), Service::new(DAY));
    let first = refused(&tokens, &service, "p", ErrorClass::AccessDenied).await;
    assert_eq!((first.class, first.pause), (ErrorClass::AccessDenied, Some(CREDENTIAL_PAUSE)));
    tokio::time::advance(Duration::from_secs(60)).await;
    let again = refused(&tokens, &service, "another project", ErrorClass::AccessDenied).await;
    assert_eq!(again.pause, Some(Duration::from_secs(4 * 60)));
    assert_eq!(service.logins(), 1);
    tokio::time::advance(CREDENTIAL_PAUSE).await;
    get(&tokens, &service, None).await;
    assert_eq!(service.logins(), 2);
}

#[tokio::test(start_paused = true)]
async fn those_who_waited_for_a_login_that_failed_share_its_failure() {
    let (tokens, service) = (Tokens::default(), Service::new(DAY));
    join_all((0..50).map(|_| refused(&tokens, &service, "p", ErrorClass::Unavailable))).await;
    assert_eq!(service.logins(), 1);
    tokio::time::advance(Duration::from_millis(1)).await;
    get(&tokens, &service, None).await;
    assert_eq!(service.logins(), 2);
}

#[tokio::test(start_paused = true)]
async fn token_that_cannot_be_renewed_early_serves_until_it_expires() {
    let (tokens, service) = (Tokens::default(), Service::new(DAY));
    get(&tokens, &service, None).await;
    tokio::time::advance(DAY.mul_f64(0.9)).await;
    for _ in 0..3 {
        let token = tokens.get("p", None, || service.fail(ErrorClass::Unavailable)).await.expect("the old token");
        assert_eq!(token.text.expose(), "token-1");
    }
    assert_eq!(service.logins(), 2, "the next try to renew waits");
    tokio::time::advance(DAY.mul_f64(0.1)).await;
    refused(&tokens, &service, "p", ErrorClass::Unavailable).await;
}

#[tokio::test(start_paused = true)]
async fn login_given_up_midway_leaves_the_next_one_free() {
    let (tokens, service) = (Tokens::default(), Service::new(DAY));
    let given_up = tokio::time::timeout(Duration::from_millis(10), get(&tokens, &service, None)).await;
    assert!(given_up.is_err());
    assert_eq!(get(&tokens, &service, None).await.text.expose(), "token-2");
}

fn answer(token: Option<&str>, body: &Value) -> Answer {
    let mut headers = HeaderMap::new();
    if let Some(token) = token {
        headers.insert("x-subject-token", token.parse().expect("a header value"));
    }
    Answer { status: StatusCode::CREATED, headers, body: Zeroizing::new(body.to_string().into_bytes()) }
}

fn now() -> Timestamp {
    "2020-01-03T09:05:22Z".parse().expect("a time")
}

#[test]
fn token_of_sixteen_kilobytes_is_taken_with_the_life_its_answer_gives() {
    let text = format!("MII{}", "a".repeat(16 * 1024 - 3));
    let body =
        json!({"token": {"expires_at": "2020-01-04T09:05:22.701000Z", "issued_at": "2020-01-03T09:05:22.701000Z"}});
    let issued = issued(&answer(Some(&text), &body), now()).expect("a token");
    assert_eq!((issued.text.expose(), issued.life), (text.as_str(), DAY));
}

#[test]
fn answer_without_token_or_life_is_no_login() {
    let good = json!({"token": {"expires_at": "2020-01-04T09:05:22Z"}});
    assert_eq!(issued(&answer(Some("MII"), &good), now()).map(|issued| issued.life), Some(DAY));
    assert!(issued(&answer(None, &good), now()).is_none());
    assert!(issued(&answer(Some(""), &good), now()).is_none());
    assert!(issued(&answer(Some(&"a".repeat(MAX_LENGTH + 1)), &good), now()).is_none());
    for expires in ["2020-01-02T09:05:22Z", "soon", "9999-01-01T00:00:00Z"] {
        assert!(issued(&answer(Some("MII"), &json!({"token": {"expires_at": expires}})), now()).is_none(), "{expires}");
    }
    assert!(issued(&answer(Some("MII"), &json!({})), now()).is_none());
}

#[test]
fn login_body_is_the_documented_one_with_the_project_by_its_id() {
    let secret = SecretText::new;
    let body = login_body(&secret("IAMDomain"), &secret("IAMUser"), &secret("IAMPassword"), "23a5");
    let expected = json!({"auth": {
        "identity": {"methods": ["password"], "password": {"user": {
            "domain": {"name": "IAMDomain"}, "name": "IAMUser", "password": "IAMPassword"}}},
        "scope": {"project": {"id": "23a5"}},
    }});
    assert_eq!(serde_json::from_slice::<Value>(&body).expect("JSON"), expected);
}

//! The operator's logins at Keystone, of which Huawei Cloud's token calls are an offspring: the tokens are real, they
//! expire and are revoked, and a database service believes only what Keystone says of them.

use std::{
    net::Ipv4Addr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::{
    Router,
    extract::{Request, State},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use clickhouse_user_operator::{
    domain::secret::SecretText,
    provider::{
        connection::Connection,
        contract::{Accepted, CallError, CloudError, ErrorClass, Mutation},
        fleet::{Fleet, Target},
    },
};
use futures::future::join_all;
use tokio::{
    net::TcpListener,
    time::{Instant, sleep, timeout},
};
use tokio_util::task::AbortOnDropHandle;
use url::Url;

use crate::{
    clouds::INSTANCE,
    keystone::{BRIEF, Keystone, User},
    operator::{attempt, connect, fleet, username},
    tap::Tap,
};

/// Stands for the database service: it serves whoever brings a token that Keystone knows for the project of the path.
struct Database {
    url: Url,
    seen: Arc<Seen>,
    _serving: AbortOnDropHandle<()>,
}

struct Seen {
    keystone: &'static Keystone,
    served: AtomicUsize,
    refused: AtomicUsize,
    last_token: Mutex<String>,
}

impl Database {
    async fn start(keystone: &'static Keystone) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap()).parse().unwrap();
        let (served, refused) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let seen = Arc::new(Seen { keystone, served, refused, last_token: Mutex::default() });
        let router = Router::new().fallback(answer).with_state(Arc::clone(&seen));
        let serving = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { url, seen, _serving: AbortOnDropHandle::new(serving) }
    }

    /// How many calls it served and refused.
    fn counts(&self) -> (usize, usize) {
        (self.seen.served.load(Ordering::SeqCst), self.seen.refused.load(Ordering::SeqCst))
    }

    fn last_token(&self) -> String {
        self.seen.last_token.lock().unwrap().clone()
    }
}

async fn answer(State(seen): State<Arc<Seen>>, request: Request) -> Response {
    let token = request.headers()["x-auth-token"].to_str().unwrap().to_owned();
    let project = request.uri().path().split('/').nth(2).unwrap().to_owned();
    seen.last_token.lock().unwrap().clone_from(&token);
    let (count, status, body) = match seen.keystone.project_of(&token).await {
        Some(known) if known == project => (&seen.served, StatusCode::OK, r#"{"result":"SUCCESS"}"#),
        _ => {
            let body = r#"{"error_msg":"Incorrect IAM authentication information","error_code":"APIGW.0301"}"#;
            (&seen.refused, StatusCode::UNAUTHORIZED, body)
        }
    };
    count.fetch_add(1, Ordering::SeqCst);
    (status, [(header::CONTENT_TYPE, "application/json")], body).into_response()
}

/// A user's way to the database, with a tap before Keystone: everything that goes through it is a login.
struct Way {
    keystone: &'static Keystone,
    user: User,
    logins: Tap,
    database: Database,
    fleet: Fleet,
}

impl Way {
    /// For a user of this name, which is the caller's own.
    async fn new(name: &str, keystone: &'static Keystone) -> Self {
        Self {
            keystone,
            user: keystone.user(name).await,
            logins: Tap::start(keystone.url.clone()).await,
            database: Database::start(keystone).await,
            fleet: fleet(),
        }
    }

    fn connect(&self, password: &str) -> Arc<Connection> {
        let target = Target::HuaweiCloud {
            endpoint: self.database.url.clone(),
            iam_endpoint: self.logins.url("/"),
            region: "cn-north-4".into(),
            project_id: self.user.project.clone(),
            instance_id: INSTANCE.into(),
            taurus_instance_id: None,
        };
        let secret = [("domainName", "Default"), ("userName", &*self.user.name), ("password", password)];
        connect(&self.fleet, &target, &secret)
    }
}

/// Any call that needs a token.
async fn call(connection: &Connection) -> Mutation {
    connection.set_password(&attempt(1), &username("reporting"), &SecretText::new("Rds_1234")).await
}

async fn succeeds(connection: &Connection) {
    assert_eq!(call(connection).await, Ok(Accepted::Done));
}

/// The refusal of a call that was not sent to the database.
async fn refusal(connection: &Connection) -> CloudError {
    match call(connection).await {
        Err(CallError::NotApplied(error)) => error,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn one_login_serves_many_calls_and_those_that_come_at_once() {
    let way = Way::new("many", Keystone::lasting().await).await;
    let connection = way.connect(way.user.password);
    join_all((0..8).map(|_| succeeds(&connection))).await;
    for _ in 0..8 {
        succeeds(&connection).await;
    }
    assert_eq!((way.logins.count(), way.database.counts()), (1, (16, 0)));
    let login = &way.logins.take()[0];
    assert_eq!((login.method.as_str(), login.target.path(), login.status), ("POST", "/v3/auth/tokens", 201));
}

#[tokio::test]
async fn token_is_renewed_before_it_expires() {
    let way = Way::new("renewed", Keystone::brief().await).await;
    let connection = way.connect(way.user.password);
    let renewed = async {
        while way.logins.count() < 2 {
            succeeds(&connection).await;
            sleep(Duration::from_millis(100)).await;
        }
    };
    let begin = Instant::now();
    timeout(4 * BRIEF, renewed).await.unwrap();
    assert!(begin.elapsed() > BRIEF / 2, "not too early: {:?}", begin.elapsed());
    let (_, refused) = way.database.counts();
    assert_eq!(refused, 0, "no call went out with a token that had expired");
}

#[tokio::test]
async fn token_that_expired_unused_is_not_sent() {
    let way = Way::new("expired", Keystone::brief().await).await;
    let connection = way.connect(way.user.password);
    succeeds(&connection).await;
    way.keystone.until_expired(&way.database.last_token()).await;
    succeeds(&connection).await;
    assert_eq!((way.logins.count(), way.database.counts()), (2, (2, 0)));
}

#[tokio::test]
async fn revoked_token_is_replaced_within_the_call_that_finds_out() {
    let way = Way::new("revoked", Keystone::lasting().await).await;
    let connection = way.connect(way.user.password);
    succeeds(&connection).await;
    way.keystone.revoke(&way.database.last_token()).await;
    succeeds(&connection).await;
    succeeds(&connection).await;
    assert_eq!((way.logins.count(), way.database.counts()), (2, (3, 1)));
}

#[tokio::test]
async fn wrong_password_is_refused_with_a_pause_and_not_tried_again() {
    let way = Way::new("wrong", Keystone::lasting().await).await;
    let connection = way.connect("not the password");
    let refusals = join_all((0..4).map(|_| refusal(&connection))).await;
    for error in refusals {
        assert_eq!((error.class, error.code.as_deref()), (ErrorClass::AccessDenied, Some("401")), "{error}");
        assert!(error.pause.unwrap() > Duration::from_secs(4 * 60), "{:?}", error.pause);
        assert!(!error.message.contains("not the password"), "{error}");
    }
    refusal(&connection).await;
    assert_eq!((way.logins.count(), way.database.counts()), (1, (0, 0)));
}

#[tokio::test]
async fn password_that_is_changed_at_the_cloud_ends_the_token_and_one_login_finds_out() {
    let way = Way::new("changed", Keystone::lasting().await).await;
    let connection = way.connect(way.user.password);
    succeeds(&connection).await;
    way.keystone.set_password(&way.user, "AnotherPassword1").await;
    for _ in 0..3 {
        let error = refusal(&connection).await;
        assert_eq!(error.class, ErrorClass::AccessDenied);
    }
    assert_eq!((way.logins.count(), way.database.counts()), (2, (1, 1)));

    succeeds(&way.connect("AnotherPassword1")).await;
    assert_eq!(way.logins.count(), 3, "another credential has a login of its own");
}

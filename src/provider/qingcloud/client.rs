//! One credential at one endpoint: signs requests by the right clock, sends them and reads the answers.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};
use reqwest::{
    Url,
    header::{CONTENT_TYPE, HeaderValue},
};
use serde::de::DeserializeOwned;
use zeroize::Zeroizing;

use super::{errors, sign, sign::Parameters, wire};
use crate::{
    domain::secret::SecretText,
    provider::{
        contract::CallError,
        http::{Call, Http, LIST_LIMIT, server_time},
    },
};

/// The path of the public endpoint, for an endpoint that is given as an origin alone.
const DEFAULT_PATH: &str = "/iaas/";

/// An API key of the cloud.
pub struct Credentials {
    /// Names the key. Not secret, but of no use in a log.
    pub access_key_id: SecretText,
    /// Signs.
    pub secret_access_key: SecretText,
}

impl Credentials {
    /// Reads the keys of a credentials Secret; the error names the one that is missing.
    pub fn read(value: &dyn Fn(&str) -> Option<SecretText>) -> Result<Self, String> {
        let required = |key: &str| value(key).ok_or_else(|| format!("key {key} (an API key of QingCloud) is missing"));
        Ok(Self { access_key_id: required("accessKeyID")?, secret_access_key: required("secretAccessKey")? })
    }

    /// What tells this credential from another.
    pub fn parts(&self) -> Vec<&SecretText> {
        vec![&self.access_key_id, &self.secret_access_key]
    }
}

/// How a request is sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Method {
    /// As a form: nothing secret in the URL. The vendor's libraries do so for other actions of the same endpoint.
    #[default]
    Post,
    /// As a query, the documented way. URLs end up in the logs of proxies and servers, so a password does too.
    Get,
}

impl Method {
    /// The verb, as it is signed.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Post => "POST",
            Self::Get => "GET",
        }
    }
}

/// One action with its own parameters.
pub(super) struct Request<'a> {
    /// The word for it in measurements, from a closed set.
    pub operation: &'static str,
    /// The value of `action`.
    pub action: &'static str,
    /// How it is sent.
    pub method: Method,
    /// The zone it is about.
    pub zone: &'a str,
    /// What the action is told beside the common parameters.
    pub parameters: Parameters,
    /// Text that must not come back in an error.
    pub secret: Option<&'a SecretText>,
    /// Most bytes read of the answer.
    pub limit: usize,
}

impl<'a> Request<'a> {
    /// A read: by GET, as documented, since it holds nothing secret.
    pub fn read(action: &'static str, zone: &'a str, parameters: Parameters) -> Self {
        Self { operation: action, action, method: Method::Get, zone, parameters, secret: None, limit: LIST_LIMIT }
    }
}

/// The API as one credential sees it. Shared by all instances that use the credential at this endpoint.
pub struct Client {
    http: Arc<Http>,
    endpoint: Url,
    credentials: Credentials,
    clock: Clock,
}

impl Client {
    /// Prepares a client. An endpoint without a path is given that of the public cloud.
    pub fn new(http: Arc<Http>, mut endpoint: Url, credentials: Credentials) -> Self {
        if matches!(endpoint.path(), "" | "/") {
            endpoint.set_path(DEFAULT_PATH);
        }
        endpoint.set_query(None);
        endpoint.set_fragment(None);
        Self { http, endpoint, credentials, clock: Clock::default() }
    }

    /// The access key's name, to recognise this credential's own jobs.
    pub(super) fn access_key_id(&self) -> &SecretText {
        &self.credentials.access_key_id
    }

    /// A moment of this machine's clock, as the cloud's clock shows it.
    pub(super) fn cloud_time(&self, local: Timestamp) -> Timestamp {
        self.clock.cloud_time(local)
    }

    /// Sends a request and reads its answer. A request refused for its time stamp is signed and sent once more, if the
    /// refusal taught the cloud's time: it was refused for certain, so nothing happens twice.
    pub(super) async fn call<T: DeserializeOwned>(&self, request: &Request<'_>) -> Result<T, CallError> {
        let mut cloud_time = None;
        let now = self.cloud_time(Timestamp::now());
        let refused = match self.send(request, now, &mut cloud_time).await {
            Err(CallError::NotApplied(error)) if error.code == Some(errors::EXPIRED.to_string()) => error,
            result => return result,
        };
        match cloud_time {
            Some(cloud_time) if self.clock.learn(Timestamp::now(), cloud_time) => {
                self.send(request, self.cloud_time(Timestamp::now()), &mut None).await
            }
            _ => Err(CallError::NotApplied(refused)),
        }
    }

    /// Sends a request once, signed for a moment of the cloud's clock.
    pub(super) async fn send<T: DeserializeOwned>(
        &self,
        request: &Request<'_>,
        now: Timestamp,
        cloud_time: &mut Option<Timestamp>,
    ) -> Result<T, CallError> {
        let call = self.signed(request, now);
        let secrets: Vec<_> = [&self.credentials.access_key_id, &self.credentials.secret_access_key]
            .into_iter()
            .chain(request.secret)
            .map(SecretText::expose)
            .collect();
        self.http
            .exchange(call, |answer| {
                *cloud_time = server_time(&answer.headers);
                wire::read(answer, &secrets)
            })
            .await
    }

    /// The request with the common parameters (vendor page "common parameters"), signed for a moment.
    fn signed(&self, request: &Request<'_>, now: Timestamp) -> Call {
        let parameters = request
            .parameters
            .clone()
            .with("action", request.action)
            .with("zone", request.zone)
            .with("time_stamp", now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string())
            .with("access_key_id", self.credentials.access_key_id.expose())
            .with("version", "1")
            .with("signature_method", sign::METHOD)
            .with("signature_version", "1");
        let mut url = self.endpoint.clone();
        let secret = &self.credentials.secret_access_key;
        let text = sign::signed(request.method.as_str(), url.path(), &parameters, secret);
        let (method, headers, body) = match request.method {
            Method::Post => {
                let form = HeaderValue::from_static("application/x-www-form-urlencoded");
                (reqwest::Method::POST, vec![(CONTENT_TYPE, form)], Some(Zeroizing::new(text.as_bytes().to_vec())))
            }
            Method::Get => {
                url.set_query(Some(&text));
                (reqwest::Method::GET, Vec::new(), None)
            }
        };
        Call { operation: request.operation, method, url, headers, body, limit: request.limit }
    }
}

/// What the cloud's clock is ahead of ours, in seconds: learnt from a refusal, otherwise none.
#[derive(Default)]
struct Clock {
    ahead: AtomicI64,
}

impl Clock {
    /// A difference that a `Date` header of whole seconds and a slow answer explain is no difference.
    const TOLERANCE: Duration = Duration::from_secs(5);

    /// A clock further off is broken or the header lies; signing for such a time would not help.
    const MOST: Duration = Duration::from_secs(24 * 60 * 60);

    fn cloud_time(&self, local: Timestamp) -> Timestamp {
        local.saturating_add(SignedDuration::from_secs(self.ahead.load(Ordering::Relaxed))).unwrap_or(local)
    }

    /// Keeps the difference, and says whether it is a new one, so that signing again makes sense.
    fn learn(&self, local: Timestamp, cloud: Timestamp) -> bool {
        let ahead = cloud.duration_since(local);
        let correction = cloud.duration_since(self.cloud_time(local));
        if ahead.unsigned_abs() > Self::MOST || correction.unsigned_abs() <= Self::TOLERANCE {
            return false;
        }
        self.ahead.store(ahead.as_secs(), Ordering::Relaxed);
        true
    }
}

#[cfg(test)]
mod tests {
    use axum::http::StatusCode;

    use super::*;
    use crate::provider::{
        contract::{CloudError, ErrorClass},
        http::ANSWER_LIMIT,
        qingcloud::fake::{self, Reply, Server},
    };

    fn at(text: &str) -> Timestamp {
        text.parse().expect("a time")
    }

    fn a_list() -> Request<'static> {
        Request::read("DescribeJobs", "sh1a", Parameters::default().with("limit", "100"))
    }

    async fn list(server: &Server) -> Result<wire::Jobs<serde_json::Value>, CallError> {
        server.client().call(&a_list()).await
    }

    async fn list_error(server: &Server) -> CallError {
        list(server).await.err().expect("a failure")
    }

    #[test]
    fn clock_learns_a_difference_of_minutes_and_follows_its_repair() {
        let clock = Clock::default();
        let now = at("2026-11-22T08:00:00Z");
        assert!(clock.learn(now, at("2026-11-22T07:30:00Z")));
        assert_eq!(clock.cloud_time(now), at("2026-11-22T07:30:00Z"));
        assert!(!clock.learn(now, at("2026-11-22T07:30:02Z")), "known already");
        assert!(clock.learn(now, at("2026-11-22T08:00:01Z")));
        assert_eq!(clock.cloud_time(now), at("2026-11-22T08:00:01Z"));
    }

    #[test]
    fn clock_learns_neither_a_few_seconds_nor_days() {
        let clock = Clock::default();
        let now = at("2026-11-22T08:00:00Z");
        for cloud in ["2026-11-22T08:00:05Z", "2026-11-22T07:59:55Z", "2026-11-24T08:00:00Z", "1970-01-01T00:00:00Z"] {
            assert!(!clock.learn(now, at(cloud)), "{cloud}");
        }
        assert_eq!(clock.cloud_time(now), now);
    }

    #[tokio::test]
    async fn request_carries_the_common_parameters_and_a_signature_over_all_of_them() {
        let server = Server::start(|_| Reply::json(r#"{"ret_code":0,"total_count":0,"job_set":[]}"#)).await;
        list(&server).await.expect("an answer");
        let request = &server.requests()[0];
        assert_eq!((request.method.as_str(), request.path.as_str()), ("GET", "/iaas/"));
        let names: Vec<_> = request.parameters.keys().map(String::as_str).collect();
        assert_eq!(
            names,
            [
                "access_key_id",
                "action",
                "limit",
                "signature",
                "signature_method",
                "signature_version",
                "time_stamp",
                "version",
                "zone"
            ]
        );
        assert!(request.signature_holds());
        let stamp = &request.parameters["time_stamp"];
        assert_eq!(stamp.len(), "2026-11-22T08:00:00Z".len(), "whole seconds: {stamp}");
        assert!(at(stamp).duration_since(Timestamp::now()).unsigned_abs() < Duration::from_secs(60));
    }

    #[tokio::test]
    async fn endpoint_keeps_its_path_and_an_origin_gets_the_public_one() {
        let server = Server::start(|_| Reply::json(r#"{"ret_code":0,"job_set":[]}"#)).await;
        for (path, expected) in
            [("", "/iaas/"), ("/", "/iaas/"), ("/iaas", "/iaas"), ("/private/api/", "/private/api/")]
        {
            let endpoint = format!("http://{}{path}?x=y#z", server.address);
            let client = fake::client(endpoint.parse().expect("a URL"));
            client.call::<wire::Jobs<serde_json::Value>>(&a_list()).await.map(|_| ()).expect("an answer");
            let request = server.requests().pop().expect("a request");
            assert_eq!(request.path, expected);
            assert!(request.signature_holds(), "{path}");
        }
    }

    const EXPIRED: &str = r#"{"ret_code":1300,"message":"RequestHasExpired, time stamp expired"}"#;

    #[tokio::test]
    async fn refused_clock_is_learnt_and_the_request_signed_again_once() {
        let server = Server::start(|request| {
            let cloud = Timestamp::now() + Duration::from_secs(3600);
            let stamp = at(&request.parameters["time_stamp"]);
            if cloud.duration_since(stamp).unsigned_abs() > Duration::from_secs(60) {
                return Reply::json(EXPIRED).dated(cloud);
            }
            Reply::json(r#"{"ret_code":0,"job_set":[]}"#)
        })
        .await;
        let client = server.client();
        for _ in 0..2 {
            client.call::<wire::Jobs<serde_json::Value>>(&a_list()).await.map(|_| ()).expect("an answer");
        }
        assert_eq!(server.requests().len(), 3, "one refused, one repeated, and the next right at once");
        assert!(server.requests().iter().all(fake::Seen::signature_holds));
    }

    #[tokio::test]
    async fn clock_refused_twice_is_reported() {
        let server = Server::start(|_| Reply::json(EXPIRED).dated(Timestamp::now() + Duration::from_secs(3600))).await;
        let CallError::NotApplied(error) = list_error(&server).await else { panic!("refused for certain") };
        assert_eq!((error.class, error.code.as_deref()), (ErrorClass::Unavailable, Some("1300")));
        assert_eq!(server.requests().len(), 2);
    }

    #[tokio::test]
    async fn clock_refused_without_a_usable_date_is_not_repeated() {
        let server =
            Server::start(|_| Reply::json(EXPIRED).dated(Timestamp::now() + Duration::from_secs(48 * 60 * 60))).await;
        assert_eq!(list_error(&server).await.error().code.as_deref(), Some("1300"));
        assert_eq!(server.requests().len(), 1);
    }

    #[tokio::test]
    async fn refused_connection_is_not_applied() {
        let endpoint = fake::closed_endpoint().await;
        let result = fake::client(endpoint).call::<wire::CustomService>(&a_list()).await;
        assert!(matches!(result.err(), Some(CallError::NotApplied(CloudError { class: ErrorClass::Unavailable, .. }))));
    }

    #[tokio::test]
    async fn answer_cut_off_is_unknown() {
        let endpoint = fake::endpoint_that_hangs_up().await;
        let result = fake::client(endpoint).call::<wire::CustomService>(&a_list()).await;
        let Some(CallError::Unknown(error)) = result.err() else { panic!("bytes were sent") };
        assert!(!error.to_string().contains("iaas"), "no URL: {error}");
    }

    #[tokio::test]
    async fn answer_beyond_the_limit_is_unknown_and_not_read() {
        let server = Server::start(|_| Reply::json(&format!("\"{}\"", "x".repeat(ANSWER_LIMIT)))).await;
        let request = Request { limit: ANSWER_LIMIT, ..a_list() };
        let result = server.client().call::<wire::CustomService>(&request).await;
        let Some(CallError::Unknown(error)) = result.err() else { panic!("a failure") };
        assert!(error.message.contains("larger than"), "{error}");
    }

    #[tokio::test]
    async fn html_is_unknown_and_never_shown() {
        for status in [StatusCode::OK, StatusCode::BAD_GATEWAY] {
            let server = Server::start(move |_| Reply::html("<html>secret page</html>").with_status(status)).await;
            let CallError::Unknown(error) = list_error(&server).await else { panic!("{status}") };
            assert!(!error.to_string().contains("secret page"), "{error}");
        }
    }
}

//! One bounded HTTP exchange with a cloud: time, bytes, redirects, proxies and error texts under control.

use std::{sync::Arc, time::Duration};

use reqwest::{
    Certificate, Client, Method, StatusCode, Url,
    header::{HeaderMap, HeaderName, HeaderValue},
};
use serde::de::DeserializeOwned;
use tokio::time::Instant;
use zeroize::Zeroizing;

#[cfg(fuzzing)]
pub mod planted;

use super::{
    budget::Budget,
    contract::{CallError, CloudError, ErrorClass, ProviderKind},
};

/// Largest answer read, lists apart: every documented one is below 64 KiB.
pub const ANSWER_LIMIT: usize = 1024 * 1024;

/// Largest page of a list read.
pub const LIST_LIMIT: usize = 16 * 1024 * 1024;

/// A connection attempt that takes longer than this will not succeed. A shorter call gives half of its time, so that a
/// connection that does not come about is told as such: nothing was sent.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// What the operator's measurements are told of each exchange.
#[derive(Clone, Copy, Debug)]
pub struct Exchange {
    /// Which cloud.
    pub provider: ProviderKind,
    /// The cloud's word for the operation, from a closed set.
    pub operation: &'static str,
    /// `ok`, or the class of the failure, or `unknown`.
    pub outcome: &'static str,
    /// From connecting to the last byte.
    pub elapsed: Duration,
}

/// Receives every exchange; the operator hangs its metrics here.
pub type Observer = Arc<dyn Fn(Exchange) + Send + Sync>;

/// What all connections have in common.
#[derive(Clone)]
pub struct Transport {
    /// `--call-timeout`: from connecting to the last byte read.
    pub call_timeout: Duration,
    /// `--provider-ca-file`: roots trusted beside the platform's.
    pub extra_roots: Vec<Certificate>,
    /// Receives every exchange.
    pub observer: Observer,
}

impl Transport {
    /// The HTTP client of all clouds: it keeps connections by endpoint. Making it loads the platform's TLS roots, which
    /// takes some 50 ms, so it is made once and cloned.
    pub fn client(&self) -> Result<Client, CloudError> {
        let client = Client::builder()
            .user_agent(concat!("clickhouse-user-operator/", env!("CARGO_PKG_VERSION")))
            .timeout(self.call_timeout)
            .connect_timeout(CONNECT_TIMEOUT.min(self.call_timeout / 2))
            // A redirect could carry a signed request or a token to another host, or from https to http.
            .redirect(reqwest::redirect::Policy::none())
            // The library would send a request again that HTTP/2 turned away: a second call that nobody counted.
            .retry(reqwest::retry::never())
            // A proxy of the environment would see URLs that hold passwords (QingCloud's GET form).
            .no_proxy()
            .referer(false)
            // A Huawei Cloud token comes as one header of up to 16 KiB, which is the library's limit for all together.
            .http2_max_header_list_size(64 * 1024)
            .tls_version_min(reqwest::tls::Version::TLS_1_2)
            .tls_certs_merge(self.extra_roots.iter().cloned())
            .build();
        let text = "the TLS roots for provider calls cannot be loaded";
        client.map_err(|_| CloudError::new(ErrorClass::Unavailable, text))
    }
}

/// A request, complete and signed.
pub struct Call {
    /// The cloud's word for the operation, from a closed set.
    pub operation: &'static str,
    /// HTTP method.
    pub method: Method,
    /// Absolute URL; a secret where it is signed, so it goes nowhere but onto the wire.
    pub url: Url,
    /// Headers in the order they are sent.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// Body bytes, wiped after sending as far as the HTTP library allows.
    pub body: Option<Zeroizing<Vec<u8>>>,
    /// Most bytes read of the answer.
    pub limit: usize,
}

/// A complete answer, whatever its status. The body may repeat secrets: parse it and drop it.
pub struct Answer {
    /// HTTP status.
    pub status: StatusCode,
    /// Headers.
    pub headers: HeaderMap,
    /// The whole body.
    pub body: Zeroizing<Vec<u8>>,
}

/// The HTTP side of one credential: the shared client and the credential's call budget.
pub struct Http {
    provider: ProviderKind,
    client: Client,
    budget: Arc<Budget>,
    observer: Observer,
}

impl Http {
    /// Calls through this client are debited to this budget.
    pub fn new(provider: ProviderKind, budget: Arc<Budget>, client: Client, observer: Observer) -> Self {
        Self { provider, client, budget, observer }
    }

    /// Sends the call and hands a complete answer to `read`, which says what it means.
    ///
    /// Failures before the request could leave are [`CallError::NotApplied`]; everything after that, up to the last
    /// byte of the answer, is [`CallError::Unknown`].
    pub async fn exchange<T>(
        &self,
        call: Call,
        read: impl FnOnce(&Answer) -> Result<T, CallError>,
    ) -> Result<T, CallError> {
        let started = Instant::now();
        self.budget.debit(started);
        let operation = call.operation;
        let result = match self.send(call).await {
            Ok(answer) => read(&answer),
            Err(error) => Err(error),
        };
        let outcome = match &result {
            Ok(_) => "ok",
            Err(CallError::NotApplied(error)) => class_label(error.class),
            Err(CallError::Unknown(_)) => "unknown",
        };
        (self.observer)(Exchange { provider: self.provider, operation, outcome, elapsed: started.elapsed() });
        result
    }

    async fn send(&self, call: Call) -> Result<Answer, CallError> {
        #[cfg(fuzzing)]
        if let Some(answer) = planted::next(call.limit) {
            return answer;
        }
        let mut request = self.client.request(call.method, call.url);
        for (name, value) in call.headers {
            request = request.header(name, value);
        }
        if let Some(body) = call.body {
            request = request.body(body.to_vec());
        }
        let mut response = request.send().await.map_err(|error| transport_error(&error))?;
        let (status, headers) = (response.status(), response.headers().clone());
        let mut body = Zeroizing::new(Vec::new());
        loop {
            match response.chunk().await {
                Ok(Some(chunk)) if body.len() + chunk.len() > call.limit => {
                    let text = format!("the answer is larger than {} bytes", call.limit);
                    return Err(CallError::Unknown(CloudError::new(ErrorClass::Unavailable, text)));
                }
                Ok(Some(chunk)) => body.extend_from_slice(&chunk),
                Ok(None) => return Ok(Answer { status, headers, body }),
                Err(error) => return Err(transport_error(&error)),
            }
        }
    }
}

/// Names the fault without the library's own text, which holds the URL.
fn transport_error(error: &reqwest::Error) -> CallError {
    let unavailable = |text: &str| CloudError::new(ErrorClass::Unavailable, text);
    if error.is_builder() {
        return CallError::NotApplied(unavailable("the request could not be built"));
    }
    if error.is_connect() {
        let text = if error.is_timeout() {
            "connecting to the provider took too long"
        } else {
            "the provider could not be reached (name, connection or TLS)"
        };
        return CallError::NotApplied(unavailable(text));
    }
    if error.is_timeout() {
        return CallError::Unknown(unavailable("the provider did not answer in time"));
    }
    CallError::Unknown(unavailable("the connection to the provider broke before its answer was complete"))
}

fn class_label(class: ErrorClass) -> &'static str {
    match class {
        ErrorClass::InvalidSpec => "invalid_spec",
        ErrorClass::InvalidPassword => "invalid_password",
        ErrorClass::AccountExists => "account_exists",
        ErrorClass::AccountNotFound => "account_not_found",
        ErrorClass::InstanceBusy => "instance_busy",
        ErrorClass::Unavailable => "unavailable",
        ErrorClass::Throttled => "throttled",
        ErrorClass::AccessDenied => "access_denied",
        ErrorClass::InstanceNotFound => "instance_not_found",
        ErrorClass::InstanceUnavailable => "instance_unavailable",
        ErrorClass::Rejected => "rejected",
    }
}

/// Reads a body as JSON, which is UTF-8 from end to end. The parser alone demands that only of the texts it keeps, and would
/// take an answer that is damaged elsewhere for whole.
pub fn json<T: DeserializeOwned>(body: &[u8]) -> Option<T> {
    serde_json::from_str(std::str::from_utf8(body).ok()?).ok()
}

/// `Retry-After` in seconds or as an HTTP date, as a pause from `now`. Negative and unreadable ones are no pause; the
/// caller bounds absurd ones by `--retry-max`.
pub fn retry_after(headers: &HeaderMap, now: jiff::Timestamp) -> Option<Duration> {
    let text = headers.get(reqwest::header::RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse::<u64>() {
        return Some(Duration::from_secs(seconds));
    }
    http_date(text)?.duration_since(now).try_into().ok()
}

/// The server's clock from its `Date` header.
pub fn server_time(headers: &HeaderMap) -> Option<jiff::Timestamp> {
    http_date(headers.get(reqwest::header::DATE)?.to_str().ok()?)
}

fn http_date(text: &str) -> Option<jiff::Timestamp> {
    let date = jiff::fmt::rfc2822::parse(text).ok()?;
    Some(date.timestamp())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(text: &str) -> Option<Duration> {
        let mut headers = HeaderMap::new();
        headers.insert(reqwest::header::RETRY_AFTER, HeaderValue::from_str(text).expect("a header value"));
        retry_after(&headers, "2026-11-22T08:00:00Z".parse().expect("a time"))
    }

    #[test]
    fn json_that_is_damaged_where_nobody_looks_is_none() {
        #[derive(serde::Deserialize)]
        struct Body {
            result: String,
        }
        assert_eq!(
            json::<Body>(br#"{"result":"SUCCESS","x":"y"}"#).map(|body| body.result).as_deref(),
            Some("SUCCESS")
        );
        assert!(json::<Body>(b"{\"result\":\"SUCCESS\",\"x\":\"\xff\"}").is_none());
    }

    #[test]
    fn retry_after_is_read_as_seconds_or_date() {
        assert_eq!(after("120"), Some(Duration::from_secs(120)));
        assert_eq!(after("Sun, 22 Nov 2026 08:01:00 GMT"), Some(Duration::from_secs(60)));
    }

    #[test]
    fn retry_after_that_is_negative_past_or_nonsense_is_no_pause() {
        for text in ["-5", "Sun, 22 Nov 2026 07:59:00 GMT", "soon", ""] {
            assert_eq!(after(text), None, "{text}");
        }
    }
}

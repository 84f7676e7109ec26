//! The JSON of the answers: what is read of it, and nothing more.
//!
//! An answer counts only when it is whole and understood: a JSON object with an integer `ret_code`, for a success HTTP
//! 200. Fields that are not needed are skipped, and needed ones of another type than documented are read as absent.

use std::time::Duration;

use reqwest::StatusCode;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;

use super::errors;
use crate::{
    domain::names::JobId,
    provider::{
        contract::{CallError, CloudError, ErrorClass},
        http::{Answer, json, retry_after},
    },
};

/// What every answer begins with.
#[derive(Deserialize)]
struct Head {
    ret_code: i64,
    #[serde(default)]
    message: Value,
}

/// Answer to `RunClusterCustomService`.
#[derive(Deserialize)]
pub(super) struct CustomService {
    /// The job that does the work.
    pub job_id: String,
}

/// Answer to `DescribeClusters`.
#[derive(Deserialize)]
pub(super) struct Clusters {
    /// The clusters found.
    pub cluster_set: Vec<Cluster>,
}

/// One cluster.
#[derive(Deserialize)]
pub(super) struct Cluster {
    #[serde(default, rename = "cluster_id")]
    pub id: Value,
    #[serde(default)]
    pub status: Value,
    #[serde(default)]
    pub transition_status: Value,
}

/// Answer to `DescribeClusterNodes`.
#[derive(Deserialize)]
pub(super) struct Nodes {
    /// The nodes found.
    pub node_set: Vec<Node>,
}

/// One node.
#[derive(Deserialize)]
pub(super) struct Node {
    #[serde(default)]
    pub role: Value,
    #[serde(default)]
    pub status: Value,
    #[serde(default)]
    pub private_ip: Value,
}

/// Answer to `DescribeJobs`, with as much of each record as `R` reads.
#[derive(Deserialize)]
pub(super) struct Jobs<R> {
    /// How many records there are in all.
    #[serde(default)]
    pub total_count: Value,
    /// One page of them.
    pub job_set: Vec<R>,
}

/// Reads a whole answer. Everything but a `ret_code` 0 with the fields of `T` is an error; whether the request took
/// effect is certain only where the cloud's own code says so.
pub(super) fn read<T: DeserializeOwned>(answer: &Answer, secrets: &[&str]) -> Result<T, CallError> {
    let head = json::<Head>(&answer.body);
    // The status of a refusal is not documented: 200 by all samples, but one of a client's error would say no less.
    // Any other status is from a machine in between, which may have passed the request on.
    let from_the_cloud = answer.status == StatusCode::OK || answer.status.is_client_error();
    match head {
        Some(head) if head.ret_code != 0 && from_the_cloud => {
            let message = head.message.as_str().unwrap_or_default();
            Err(pause_as_asked(errors::refusal(head.ret_code, message, secrets), answer))
        }
        _ if answer.status != StatusCode::OK => Err(CallError::Unknown(foreign_status(answer))),
        Some(_) => json(&answer.body).ok_or_else(not_understood),
        None => Err(not_understood()),
    }
}

/// A longer pause than ours that the cloud asks for is kept.
fn pause_as_asked(mut refusal: CallError, answer: &Answer) -> CallError {
    let (CallError::NotApplied(error) | CallError::Unknown(error)) = &mut refusal;
    error.pause = error.pause.max(retry_after(&answer.headers, jiff::Timestamp::now()));
    refusal
}

/// A job's identifier, which goes into status and into later requests. Documented are `j-` and 8 to 12 lower-case
/// letters or digits.
pub(super) fn job_id(text: &str) -> Option<JobId> {
    let legal = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    (legal && (1..=64).contains(&text.len())).then(|| JobId::new(text))
}

/// An answer of which nothing can be concluded. The parser's own words are not shown, for they quote the body.
pub(super) fn not_understood() -> CallError {
    CallError::Unknown(CloudError::new(
        ErrorClass::Unavailable,
        "the answer is not one that QingCloud documents: check the endpoint, and proxies on the way to it",
    ))
}

fn foreign_status(answer: &Answer) -> CloudError {
    let (class, pause) = match answer.status {
        StatusCode::TOO_MANY_REQUESTS => (ErrorClass::Throttled, Some(Duration::from_secs(60))),
        _ => (ErrorClass::Unavailable, None),
    };
    let mut error = CloudError::new(
        class,
        format!(
            "HTTP status {} where QingCloud answers 200: check the endpoint, and proxies on the way to it",
            answer.status.as_u16()
        ),
    );
    error.pause = retry_after(&answer.headers, jiff::Timestamp::now()).or(pause);
    error
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use reqwest::header::HeaderMap;
    use zeroize::Zeroizing;

    use super::*;

    fn answer(status: u16, body: &[u8]) -> Answer {
        Answer {
            status: StatusCode::from_u16(status).expect("a status"),
            headers: HeaderMap::new(),
            body: Zeroizing::new(body.to_vec()),
        }
    }

    fn job(status: u16, body: &str) -> Result<String, CallError> {
        read::<CustomService>(&answer(status, body.as_bytes()), &[]).map(|read| read.job_id)
    }

    #[test]
    fn whole_answer_with_code_0_and_a_job_is_read() {
        assert_eq!(job(200, r#"{"ret_code":0,"job_id":"j-1","other":null}"#), Ok("j-1".into()));
    }

    #[test]
    fn anything_less_than_a_whole_answer_is_unknown() {
        for body in [
            "",
            "null",
            "<html>502</html>",
            r#"{"ret_code":0}"#,
            r#"{"ret_code":0,"job_id":null}"#,
            r#"{"ret_code":"0","job_id":"j-1"}"#,
            r#"{"ret_code":0.0,"job_id":"j-1"}"#,
            r#"{"job_id":"j-1"}"#,
            r#"{"ret_code":0,"job_id":"j-1"#,
            r#"{"ret_code":0,"job_id":"j-1"}{"ret_code":0}"#,
            r#"[{"ret_code":0,"job_id":"j-1"}]"#,
        ] {
            assert!(matches!(job(200, body), Err(CallError::Unknown(_))), "{body}");
        }
    }

    #[test]
    fn refusal_without_text_is_still_a_refusal() {
        for body in [r#"{"ret_code":1400,"message":null}"#, r#"{"ret_code":1400}"#, r#"{"ret_code":1400,"message":{}}"#]
        {
            let Err(CallError::NotApplied(error)) = job(200, body) else { panic!("{body}") };
            assert_eq!(error.code.as_deref(), Some("1400"));
        }
    }

    #[test]
    fn refusal_is_one_with_a_clients_error_status_too() {
        for status in [200, 400, 403, 429] {
            let Err(CallError::NotApplied(error)) = job(status, r#"{"ret_code":1200,"message":null}"#) else {
                panic!("{status}")
            };
            assert_eq!((error.class, error.code.as_deref()), (ErrorClass::AccessDenied, Some("1200")));
        }
        for status in [201, 302, 500, 502, 503] {
            let refused = job(status, r#"{"ret_code":1200,"message":null}"#);
            assert!(matches!(refused, Err(CallError::Unknown(_))), "{status}: it may have been passed on");
        }
    }

    #[test]
    fn pause_is_the_longer_of_the_clouds_and_ours() {
        for (asked, expected) in [("7", 900), ("1000", 1000), ("-5", 900)] {
            let mut answer = answer(200, br#"{"ret_code":2500}"#);
            answer.headers.insert("retry-after", reqwest::header::HeaderValue::from_static(asked));
            let error = read::<CustomService>(&answer, &[]).err().expect("an error").into_error();
            assert_eq!(error.pause, Some(Duration::from_secs(expected)), "{asked}");
        }
    }

    #[test]
    fn success_with_another_status_is_unknown() {
        for status in [201, 302, 400, 403, 404, 500, 502, 503] {
            let Err(CallError::Unknown(error)) = job(status, r#"{"ret_code":0,"job_id":"j-1"}"#) else {
                panic!("{status}")
            };
            assert!(error.message.contains(&status.to_string()), "{error}");
        }
    }

    #[test]
    fn too_many_requests_is_throttled_with_the_pause_asked_for() {
        let mut answer = answer(429, b"");
        answer.headers.insert("retry-after", reqwest::header::HeaderValue::from_static("7"));
        let error = read::<CustomService>(&answer, &[]).err().expect("an error").into_error();
        assert_eq!((error.class, error.pause), (ErrorClass::Throttled, Some(Duration::from_secs(7))));
    }

    proptest! {
        #[test]
        fn any_bytes_and_status_are_answered_without_panic(
            status in 100_u16..600,
            bytes in proptest::collection::vec(any::<u8>(), 0..200),
        ) {
            prop_assert!(read::<CustomService>(&answer(status, &bytes), &[]).is_err());
        }

        #[test]
        fn cut_off_anywhere_an_acceptance_is_unknown(end in 0_usize..60) {
            let body = br#"{"action":"RunClusterCustomServiceResponse","job_id":"j-12345678","ret_code":0}"#;
            let cut = read::<CustomService>(&answer(200, &body[..end]), &[]);
            prop_assert!(matches!(cut, Err(CallError::Unknown(_))));
        }

        #[test]
        fn any_code_but_0_is_never_read_as_success(status in 100_u16..600, code: i64, job in ".{0,20}") {
            let body = serde_json::json!({"ret_code": code, "job_id": job}).to_string();
            let read = read::<CustomService>(&answer(status, body.as_bytes()), &[]);
            prop_assert_eq!(read.is_ok(), status == 200 && code == 0);
        }
    }
}

//! `Retry-After` and `Date`, which tell how long nothing is sent and how far the clocks differ.
#![no_main]

use std::time::Duration;

use clickhouse_user_operator::provider::http::{retry_after, server_time};
use fuzz::in_bounds;
use http::{HeaderMap, HeaderValue, header};
use jiff::Timestamp;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| in_bounds(input.len(), || {
    let Ok(value) = HeaderValue::from_bytes(input) else { return };
    let headers = HeaderMap::from_iter([(header::RETRY_AFTER, value.clone()), (header::DATE, value.clone())]);
    let now: Timestamp = "2026-11-22T08:00:00Z".parse().expect("a time");
    let (pause, date) = (retry_after(&headers, now), server_time(&headers));
    let seconds = value.to_str().ok().and_then(|text| text.trim().parse::<u64>().ok());
    match (seconds, date) {
        (Some(seconds), _) => assert_eq!(pause, Some(Duration::from_secs(seconds))),
        // A time that is over is no pause.
        (None, Some(date)) => assert_eq!(pause, Duration::try_from(date.duration_since(now)).ok()),
        (None, None) => {
            assert!(value.to_str().is_err() || pause.is_none() || value.to_str().is_ok_and(|it| it != it.trim()))
        }
    }
}));

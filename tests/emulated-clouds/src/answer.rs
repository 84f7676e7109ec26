//! Turning replies into HTTP answers, sound or spoilt.

use std::{io::Write, time::Duration};

use axum::{
    body::{Body, Bytes},
    http::{Response, header},
};
use flate2::{Compression, write::GzEncoder};
use futures::stream;
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::{
    clock::HTTP_DATE,
    connection::Cut,
    faults::FaultAnswer,
    huawei,
    ledger::Service,
    message::Reply,
    qingcloud,
    world::{Shared, World},
};

/// An answer and what the ledger says of it.
pub(crate) struct Outcome {
    pub(crate) response: Response<Body>,
    pub(crate) status: Option<u16>,
    pub(crate) code: Option<String>,
}

impl Outcome {
    /// The reply as it is.
    pub(crate) fn plain(reply: Reply, shared: &Shared) -> Self {
        let body = Body::from(reply.body.to_string());
        Self { response: respond(&reply, body, shared), status: Some(reply.status), code: reply.code }
    }

    fn other(status: u16, headers: &[(&'static str, String)], body: Body, shared: &Shared) -> Self {
        let mut reply = Reply::new(status, Value::Null);
        reply.headers = headers.to_vec();
        Self { response: respond(&reply, body, shared), status: Some(status), code: None }
    }
}

fn respond(reply: &Reply, body: Body, shared: &Shared) -> Response<Body> {
    let mut builder = Response::builder()
        .status(reply.status)
        .header(header::DATE, shared.clock.now().strftime(HTTP_DATE).to_string());
    let mut typed = false;
    for (name, value) in &reply.headers {
        typed |= *name == "content-type";
        builder = builder.header(*name, value);
    }
    if !typed {
        builder = builder.header(header::CONTENT_TYPE, "application/json");
    }
    builder.body(body).expect("status and headers of a reply are valid")
}

/// The reply as the fault wants it.
pub(crate) async fn spoil(
    fault: &FaultAnswer,
    service: Service,
    mut reply: Reply,
    shared: &Shared,
    cut: &Cut,
    mut released: watch::Receiver<u64>,
) -> Outcome {
    if let Some(refusal) = own_refusal(fault, service, &shared.world()) {
        return Outcome::plain(refusal, shared);
    }
    match fault {
        FaultAnswer::Json(status, text) => Outcome::other(*status, &[], Body::from(text.clone()), shared),
        FaultAnswer::Html(status) => {
            let page = format!("<html><head><title>{status}</title></head><body><h1>{status}</h1></body></html>");
            Outcome::other(*status, &[("content-type", "text/html".to_owned())], Body::from(page), shared)
        }
        FaultAnswer::Refusal(..) | FaultAnswer::Throttled(_) | FaultAnswer::ClockSkew | FaultAnswer::TokenRevoked => {
            unreachable!("answered above")
        }
        FaultAnswer::Reset => {
            cut.reset();
            Outcome { status: None, ..Outcome::plain(reply, shared) }
        }
        FaultAnswer::Half => {
            // The body alone is that long, so head and half of it or less get through.
            let head =
                u64::try_from(reply.headers.iter().map(|(name, value)| name.len() + value.len() + 4).sum::<usize>())
                    .unwrap_or(0);
            let body = reply.body.to_string();
            // Status line, date, length and type: about 120 bytes before the reply's own headers.
            cut.close_after(120 + head + body.len() as u64 / 2);
            reply = reply.with_header("connection", "close");
            Outcome::plain(reply, shared)
        }
        FaultAnswer::Hang => {
            tokio::select! {
                _ = released.changed() => {}
                () = shared.until_stopped() => {}
            }
            Outcome::plain(reply, shared)
        }
        FaultAnswer::Late(time) => {
            tokio::select! {
                () = tokio::time::sleep(*time) => {}
                () = shared.until_stopped() => {}
            }
            Outcome::plain(reply, shared)
        }
        FaultAnswer::Drip => {
            let body = drip(Bytes::from(reply.body.to_string()));
            Outcome { response: respond(&reply, body, shared), status: Some(reply.status), code: reply.code }
        }
        FaultAnswer::Empty => Outcome::other(200, &[], Body::empty(), shared),
        FaultAnswer::WrongTypes => {
            twist(&mut reply.body);
            Outcome::plain(reply, shared)
        }
        FaultAnswer::Huge(bytes) => Outcome::other(200, &[], blanks(*bytes), shared),
        FaultAnswer::GzipBomb(bytes) => {
            let encoding = [("content-encoding", "gzip".to_owned())];
            Outcome::other(200, &encoding, Body::from(bomb(*bytes)), shared)
        }
        FaultAnswer::Redirect(address) => {
            Outcome::other(302, &[("location", address.clone())], Body::from("{}"), shared)
        }
    }
}

/// The refusals among the faults, in the service's own envelope.
fn own_refusal(fault: &FaultAnswer, service: Service, world: &World) -> Option<Reply> {
    let qingcloud = service == Service::QingCloud;
    let unauthenticated = |detail: &str| {
        let message = format!("Incorrect IAM authentication information: {detail}");
        huawei::gateway_refusal(world, 401, "0301", &message)
    };
    let refusal = match fault {
        FaultAnswer::Refusal(_, code, message) if qingcloud => qingcloud::refusal_with(world, code, message),
        FaultAnswer::Refusal(status, code, message) if service == Service::Iam => {
            Reply::new(*status, json!({ "error_code": code, "error_msg": message })).with_code(code)
        }
        FaultAnswer::Refusal(status, code, message) => huawei::envelope(world, *status, code, message),
        FaultAnswer::Throttled(retry_after) => {
            let refusal = match service {
                Service::QingCloud => qingcloud::refusal_with(world, "2500", "QuotaExceeded, API call quota exceeded"),
                Service::Huawei => huawei::throttled(world, 60),
                Service::Iam => {
                    let message =
                        "The throttling threshold has been reached: policy ip over ratelimit,limit:60,time:60s";
                    Reply::new(429, json!({ "error_code": "IAM.0012", "error_msg": message })).with_code("IAM.0012")
                }
            };
            match retry_after {
                Some(seconds) => refusal.with_header("retry-after", seconds),
                None => refusal,
            }
        }
        FaultAnswer::ClockSkew if qingcloud => {
            qingcloud::refusal_with(world, "1300", "RequestHasExpired, request has expired")
        }
        FaultAnswer::ClockSkew => unauthenticated("verify aksk signature fail, signature expired"),
        FaultAnswer::TokenRevoked => unauthenticated("token revoked"),
        _ => return None,
    };
    Some(if qingcloud { refusal } else { refusal.with_header("x-request-id", huawei::request_id()) })
}

/// Every text becomes a number and every number a text.
fn twist(value: &mut Value) {
    match value {
        Value::String(_) => *value = json!(7),
        Value::Number(number) => *value = json!(number.to_string()),
        Value::Array(items) => items.iter_mut().for_each(twist),
        Value::Object(fields) => fields.values_mut().for_each(twist),
        Value::Null | Value::Bool(_) => {}
    }
}

/// One byte a second.
fn drip(bytes: Bytes) -> Body {
    Body::from_stream(stream::unfold(bytes, |mut left| async move {
        if left.is_empty() {
            return None;
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
        let byte = left.split_to(1);
        Some((Ok::<_, std::io::Error>(byte), left))
    }))
}

/// A body of blanks, never held in memory as a whole.
fn blanks(length: u64) -> Body {
    const CHUNK: usize = 64 * 1024;
    Body::from_stream(stream::unfold(length, |left| async move {
        let size = usize::try_from(left).unwrap_or(CHUNK).min(CHUNK);
        (size > 0).then(|| (Ok::<_, std::io::Error>(Bytes::from(vec![b' '; size])), left - size as u64))
    }))
}

fn bomb(unpacked: u64) -> Vec<u8> {
    static CHUNK: [u8; 64 * 1024] = [b' '; 64 * 1024];
    let mut packed = GzEncoder::new(Vec::new(), Compression::best());
    let mut left = unpacked;
    while left > 0 {
        let size = usize::try_from(left).unwrap_or(CHUNK.len()).min(CHUNK.len());
        packed.write_all(&CHUNK[..size]).expect("writing to memory does not fail");
        left -= size as u64;
    }
    packed.finish().expect("writing to memory does not fail")
}

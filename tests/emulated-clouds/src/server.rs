//! The way of every request: read, note, trouble, cloud, trouble, note, answer.

use std::sync::Arc;

use axum::{
    Router,
    body::{Body, to_bytes},
    extract::{ConnectInfo, Request, State},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use tokio::net::TcpListener;

use crate::{
    answer::{self, Outcome},
    connection::{Cut, CuttableListener},
    faults::{FaultAnswer, Moment},
    hold::HoldPoint,
    huawei, iam,
    ledger::{Answer, Event, Operation, Request as Asked, Service},
    message::{RawRequest, Reply},
    qingcloud,
    switches::Switches,
    world::Shared,
};

/// The gateway of Huawei Cloud takes no more; QingCloud says nothing.
const BODY_LIMIT: usize = 12 * 1024 * 1024;

#[derive(Clone)]
struct Port {
    service: Service,
    shared: Arc<Shared>,
}

/// Serves one cloud until the emulation is dropped.
pub(crate) fn spawn(service: Service, listener: TcpListener, shared: Arc<Shared>) {
    let port = Port { service, shared: shared.clone() };
    let router = Router::new().fallback(serve).with_state(port).into_make_service_with_connect_info::<Cut>();
    tokio::spawn(async move {
        let stop = async move { shared.until_stopped().await };
        // Serving ends with the stop alone; accept errors are retried inside.
        let _ = axum::serve(CuttableListener(listener), router).with_graceful_shutdown(stop).await;
    });
}

async fn serve(State(port): State<Port>, ConnectInfo(cut): ConnectInfo<Cut>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let Ok(body) = to_bytes(body, BODY_LIMIT).await else {
        return StatusCode::PAYLOAD_TOO_LARGE.into_response();
    };
    let mut headers = head.headers;
    // HTTP/2 names the host with the path; signatures cover it as the header that gateways make of it.
    if let Some(host) = head.uri.authority().and_then(|authority| authority.as_str().parse().ok()) {
        headers.entry(header::HOST).or_insert(host);
    }
    let raw = RawRequest {
        method: head.method,
        path: head.uri.path().to_owned(),
        query: head.uri.query().unwrap_or_default().to_owned(),
        headers,
        body,
    };
    if let Some(page) = own_page(&port.shared, &raw.path) {
        return page;
    }
    // A task of its own: what was begun is carried out and noted even if the client goes away.
    let stopped = port.shared.clone();
    let work = tokio::spawn(async move { answer(&port, &raw, &cut).await });
    tokio::select! {
        done = work => done.unwrap_or_else(|_| StatusCode::INTERNAL_SERVER_ERROR.into_response()),
        () = stopped.until_stopped() => StatusCode::SERVICE_UNAVAILABLE.into_response(),
    }
}

/// The emulation's own pages, for people.
fn own_page(shared: &Shared, path: &str) -> Option<Response> {
    match path {
        "/_emulator/ledger" => {
            let lines = shared.world().ledger.to_json_lines();
            Some(([("content-type", "application/x-ndjson")], lines).into_response())
        }
        "/_emulator/switches" => {
            let page = serde_json::json!({ "set": shared.world().switches, "catalogue": Switches::catalogue() });
            Some(([("content-type", "application/json")], page.to_string()).into_response())
        }
        _ => None,
    }
}

async fn answer(port: &Port, raw: &RawRequest, cut: &Cut) -> Response<Body> {
    let shared = &port.shared;
    let asked = match port.service {
        Service::QingCloud => qingcloud::describe(raw),
        Service::Huawei => huawei::describe(shared, raw),
        Service::Iam => iam::describe(shared, raw),
    };
    let (operation, key) = (asked.operation, asked.key.clone());
    let (number, fault, released) = {
        let mut world = shared.world();
        let number = shared.record(&mut world, Event::Request(asked));
        // Listening from here on: faults may be cleared before this one comes to hang.
        (number, world.faults.take(port.service, operation, key.as_deref()), shared.released.subscribe())
    };
    stop_at(shared, operation, Moment::BeforeEffect).await;
    let fault_before = fault.as_ref().filter(|fault| fault.moment == Moment::BeforeEffect);
    let reply = if fault_before.is_some() {
        None
    } else {
        Some(match port.service {
            Service::QingCloud => qingcloud::answer(shared, raw, number).await,
            Service::Huawei => huawei::answer(shared, raw, number).await,
            Service::Iam => iam::answer(shared, raw),
        })
    };
    stop_at(shared, operation, Moment::AfterEffect).await;
    let reply = reply.unwrap_or_else(|| not_asked(port.service));
    let outcome = match &fault {
        None => Outcome::plain(reply, shared),
        Some(fault) => {
            if matches!(fault.answer, FaultAnswer::TokenRevoked) {
                shared.world().iam.revoke_tokens();
            }
            answer::spoil(&fault.answer, port.service, reply, shared, cut, released).await
        }
    };
    let retry_after = outcome.response.headers().get(header::RETRY_AFTER);
    let answer = Answer {
        status: outcome.status,
        code: outcome.code,
        retry_after: retry_after.and_then(|value| value.to_str().ok()).map(str::to_owned),
        fault: fault.as_ref().map(|fault| fault.answer.name()),
    };
    let mut world = shared.world();
    shared.record(&mut world, Event::Answer { request: number, answer });
    outcome.response
}

/// What faults that spoil an answer have to spoil where the cloud was not asked.
fn not_asked(service: Service) -> Reply {
    match service {
        Service::QingCloud => Reply::new(200, serde_json::json!({ "ret_code": 0 })),
        Service::Huawei => Reply::new(200, serde_json::json!({ "result": "SUCCESS" })),
        Service::Iam => Reply::new(200, serde_json::json!({ "token": {} })),
    }
}

async fn stop_at(shared: &Shared, operation: Operation, moment: Moment) {
    let point: Option<HoldPoint> = {
        let mut world = shared.world();
        let place = world.holds.iter().position(|hold| hold.operation == operation && hold.moment == moment);
        place.map(|place| world.holds.remove(place))
    };
    if let Some(point) = point {
        tokio::select! {
            () = point.stop() => {}
            () = shared.until_stopped() => {}
        }
    }
}

impl Asked {
    /// A request of which only the kind is known yet.
    pub(crate) fn new(service: Service, operation: Operation, raw: &RawRequest) -> Self {
        Self {
            service,
            operation,
            verb: raw.method.to_string(),
            key: None,
            instance: None,
            account: None,
            request_id: None,
        }
    }
}

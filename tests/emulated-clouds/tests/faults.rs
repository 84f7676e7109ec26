//! Trouble on request, and what the ledger says of it.
#![expect(clippy::unwrap_used, reason = "in tests a panic is the report")]

mod support;

use std::{
    io::Write,
    time::{Duration, Instant},
};

use emulated_clouds::{
    EmulatedClouds, Event, Fault, FaultAnswer, Moment, Operation, Options, Service, Switches, Target, Which,
};
use reqwest::Method;
use serde_json::json;
use support::*;

fn inject(clouds: &EmulatedClouds, target: Operation, which: Which, moment: Moment, answer: FaultAnswer) {
    clouds.inject(Fault { target: Target::Operation(target), which, moment, answer });
}

/// One create at Huawei Cloud under this fault.
async fn create_under(answer: FaultAnswer) -> (EmulatedClouds, reqwest::Result<reqwest::Response>) {
    let clouds = clouds(Options::default()).await;
    inject(&clouds, Operation::CreateUser, Which::Next(1), Moment::AfterEffect, answer);
    let body = json!({ "user_name": "test_1", "password": "Rds_1234", "databases": ["*"] });
    let request = HuaweiRequest::users(&clouds, Method::POST, "").body(body);
    let answer = request.send_to(clouds.huawei_endpoint()).await;
    assert_eq!(clouds.effects_of("test_1").len(), 1, "the effect came before the fault");
    (clouds, answer)
}

#[tokio::test]
async fn before_the_effect_nothing_happens_and_after_it_the_answer_alone_is_lost() {
    for (moment, effects) in [(Moment::BeforeEffect, 0), (Moment::AfterEffect, 1)] {
        let clouds = clouds(Options::default()).await;
        inject(&clouds, Operation::CreateUser, Which::Next(1), moment, FaultAnswer::Html(502));
        let body = json!({ "user_name": "test_1", "password": "Rds_1234", "databases": ["*"] });
        let request = HuaweiRequest::users(&clouds, Method::POST, "").body(body);
        let answer = request.send_to(clouds.huawei_endpoint()).await.unwrap();
        assert_eq!(answer.status(), 502);
        assert_eq!(answer.headers()["content-type"], "text/html");
        assert_eq!(clouds.effects_of("test_1").len(), effects);
    }
}

#[tokio::test]
async fn connections_are_reset_or_cut_in_the_middle_of_an_answer() {
    let (clouds, answer) = create_under(FaultAnswer::Reset).await;
    let error = answer.unwrap_err();
    let mut source: Option<&dyn std::error::Error> = Some(&error);
    let mut kind = None;
    while let Some(error) = source {
        kind = kind.or(error.downcast_ref::<std::io::Error>().map(std::io::Error::kind));
        source = error.source();
    }
    assert_eq!(kind, Some(std::io::ErrorKind::ConnectionReset));
    let ledger = clouds.ledger();
    let (number, _) = ledger.requests().next().unwrap();
    let noted = ledger.answer_to(number).unwrap();
    assert_eq!((noted.status, noted.fault), (None, Some("reset")));

    let (_, answer) = create_under(FaultAnswer::Half).await;
    let answer = answer.unwrap();
    assert_eq!(answer.status(), 200);
    assert!(answer.bytes().await.is_err(), "the head came whole, the body did not");
}

#[tokio::test]
async fn bodies_are_empty_wrong_huge_packed_or_elsewhere() {
    let (_, answer) = create_under(FaultAnswer::Empty).await;
    let answer = answer.unwrap();
    assert_eq!((answer.status().as_u16(), answer.bytes().await.unwrap().len()), (200, 0));
    let (_, answer) = create_under(FaultAnswer::WrongTypes).await;
    assert_eq!(answer.unwrap().text().await.unwrap(), r#"{"result":7}"#);
    let (_, answer) = create_under(FaultAnswer::Huge(3_000_000)).await;
    assert_eq!(answer.unwrap().bytes().await.unwrap().len(), 3_000_000);
    let (_, answer) = create_under(FaultAnswer::Html(200)).await;
    assert!(answer.unwrap().text().await.unwrap().starts_with("<html>"));
    let (_, answer) = create_under(FaultAnswer::Json(200, "{".into())).await;
    assert_eq!(answer.unwrap().text().await.unwrap(), "{");
    let (_, answer) = create_under(FaultAnswer::Redirect("http://127.0.0.1:9/".into())).await;
    let answer = answer.unwrap();
    assert_eq!(
        (answer.status().as_u16(), &answer.headers()["location"]),
        (302, &"http://127.0.0.1:9/".parse().unwrap())
    );
    let (_, answer) = create_under(FaultAnswer::GzipBomb(50_000_000)).await;
    let answer = answer.unwrap();
    assert_eq!(answer.headers()["content-encoding"], "gzip");
    let packed = answer.bytes().await.unwrap();
    assert!(packed.len() < 100_000, "{}", packed.len());
    let mut unpacked = Counter(0);
    let mut decoder = flate2::write::GzDecoder::new(&mut unpacked);
    decoder.write_all(&packed).unwrap();
    decoder.finish().unwrap();
    assert_eq!(unpacked.0, 50_000_000);
}

struct Counter(usize);

impl Write for Counter {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0 += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn answers_hang_until_faults_are_cleared_come_late_or_drip() {
    let clouds = clouds(Options::default()).await;
    inject(&clouds, Operation::ListUsers, Which::All, Moment::AfterEffect, FaultAnswer::Hang);
    let ask = HuaweiRequest::users(&clouds, Method::GET, "").answer(&clouds);
    let clear = async {
        clouds.wait_until(|ledger| ledger.count(Operation::ListUsers) == 1, SOON).await.unwrap();
        assert_eq!(clouds.ledger().answers(Operation::ListUsers).count(), 0);
        clouds.clear_faults();
    };
    let answered = async { tokio::join!(ask, clear).0.0 };
    let Ok(status) = tokio::time::timeout(SOON, answered).await else { panic!("still hanging") };
    assert_eq!(status, 200);

    inject(
        &clouds,
        Operation::ListUsers,
        Which::Next(1),
        Moment::AfterEffect,
        FaultAnswer::Late(Duration::from_millis(150)),
    );
    let begun = Instant::now();
    listed(&clouds, "").await;
    assert!(begun.elapsed() >= Duration::from_millis(150));

    inject(&clouds, Operation::ListUsers, Which::Next(1), Moment::AfterEffect, FaultAnswer::Drip);
    let mut answer = HuaweiRequest::users(&clouds, Method::GET, "").send_to(clouds.huawei_endpoint()).await.unwrap();
    assert_eq!(answer.chunk().await.unwrap().unwrap().len(), 1);
}

#[tokio::test]
async fn refusals_come_in_the_clouds_own_envelope() {
    let clouds = clouds(Options::default()).await;
    let refusal = |code: &str| FaultAnswer::Refusal(500, code.into(), "InternalError, try again".into());
    inject(&clouds, Operation::DescribeJobs, Which::Next(1), Moment::BeforeEffect, refusal("5100"));
    assert_eq!(jobs(&clouds, &[]).await, json!({ "ret_code": 5100, "message": "InternalError, try again" }));
    inject(&clouds, Operation::DescribeJobs, Which::Next(1), Moment::BeforeEffect, FaultAnswer::ClockSkew);
    assert_eq!(jobs(&clouds, &[]).await["ret_code"], 1300);
    inject(&clouds, Operation::DescribeJobs, Which::Next(1), Moment::BeforeEffect, FaultAnswer::Throttled(None));
    assert_eq!(jobs(&clouds, &[]).await["ret_code"], 2500);
    inject(&clouds, Operation::ListUsers, Which::Next(1), Moment::BeforeEffect, refusal("DBS.200001"));
    let (status, body) = HuaweiRequest::users(&clouds, Method::GET, "").answer(&clouds).await;
    assert_eq!((status, &body["error_code"]), (500, &json!("DBS.200001")));
    let throttled = FaultAnswer::Throttled(Some("7".into()));
    inject(&clouds, Operation::ListUsers, Which::Next(1), Moment::BeforeEffect, throttled);
    let answer = HuaweiRequest::users(&clouds, Method::GET, "").send_to(clouds.huawei_endpoint()).await.unwrap();
    assert_eq!((answer.status().as_u16(), &answer.headers()["retry-after"]), (429, &"7".parse().unwrap()));
    let text = token(&clouds).await;
    inject(&clouds, Operation::ListUsers, Which::Next(1), Moment::BeforeEffect, FaultAnswer::TokenRevoked);
    assert_eq!(list_with_token(&clouds, PROJECT, &text).await.0, 401);
    assert_eq!(list_with_token(&clouds, PROJECT, &text).await.0, 401, "revoked means revoked");
    assert_eq!(list_with_token(&clouds, PROJECT, &token(&clouds).await).await.0, 200);
}

#[tokio::test]
async fn a_fault_hits_the_requests_it_is_for_and_no_others() {
    let clouds = clouds(Options::default()).await;
    let ask = async || {
        HuaweiRequest::users(&clouds, Method::GET, "")
            .send_to(clouds.huawei_endpoint())
            .await
            .unwrap()
            .status()
            .as_u16()
    };
    inject(&clouds, Operation::ListUsers, Which::Nth(2), Moment::BeforeEffect, FaultAnswer::Html(503));
    assert_eq!([ask().await, ask().await, ask().await], [200, 503, 200]);
    inject(&clouds, Operation::ListUsers, Which::Next(1), Moment::BeforeEffect, FaultAnswer::Html(502));
    inject(&clouds, Operation::ListUsers, Which::Next(1), Moment::BeforeEffect, FaultAnswer::Html(504));
    assert_eq!([ask().await, ask().await, ask().await], [502, 504, 200], "one after the other");
    let target = Target::Service(Service::Huawei);
    clouds.inject(Fault { target, which: Which::All, moment: Moment::BeforeEffect, answer: FaultAnswer::Html(500) });
    assert_eq!([ask().await, ask().await], [500, 500]);
    assert_eq!(jobs(&clouds, &[]).await["ret_code"], 0);
    clouds.clear_faults();
    assert_eq!(ask().await, 200);
}

#[tokio::test]
async fn a_held_answer_comes_after_the_effect_even_where_the_client_has_gone() {
    let clouds = clouds(Options::default()).await;
    let hold = clouds.hold_after_effect(Operation::CreateUser);
    let gone = tokio::select! {
        answer = create(&clouds, "test_1") => panic!("answered while held: {answer:?}"),
        () = hold.reached() => true,
    };
    assert!(gone);
    assert_eq!(clouds.effects_of("test_1").len(), 1);
    assert_eq!(clouds.ledger().answers(Operation::CreateUser).count(), 0);
    hold.release();
    clouds.wait_until(|ledger| ledger.answers(Operation::CreateUser).count() == 1, SOON).await.unwrap();

    let hold = clouds.hold_before_effect(Operation::CreateUser);
    let seen = async {
        hold.reached().await;
        assert!(clouds.effects_of("test_2").is_empty());
        hold.release();
    };
    let (answer, ()) = tokio::join!(create(&clouds, "test_2"), seen);
    assert_eq!(answer.0, 200);
}

#[tokio::test]
async fn the_ledger_is_ordered_and_holds_no_secret() {
    let clouds = clouds(Options::default()).await;
    qingcloud(&clouds, &add(&clouds, "test")).await;
    jobs_ended(&clouds, 1).await;
    create(&clouds, "test_1").await;
    let text = token(&clouds).await;
    list_with_token(&clouds, PROJECT, &text).await;
    let ledger = clouds.ledger();
    let shape: Vec<_> = ledger
        .entries()
        .iter()
        .map(|entry| match &entry.event {
            Event::Request(request) => format!("request {:?}", request.operation),
            Event::Answer { request, answer } => format!("answer {request} {}", answer.status.unwrap()),
            Event::Effect(effect) => format!("effect {:?} {}", effect.kind, effect.request.unwrap()),
            Event::JobStarted { request, .. } => format!("job of {request}"),
            Event::JobEnded { status, .. } => format!("job {status}"),
        })
        .collect();
    assert_eq!(
        shape,
        [
            "request AddCkUser",
            "job of 0",
            "answer 0 200",
            "effect Created 0",
            "job successful",
            "request CreateUser",
            "effect Created 5",
            "answer 5 200",
            "request CreateToken",
            "answer 8 201",
            "request ListUsers",
            "answer 10 200",
        ]
    );
    assert!(ledger.entries().iter().zip(0..).all(|(entry, place)| entry.sequence == place));
    let keys: Vec<_> = ledger.requests().map(|(_, request)| request.key.clone().unwrap()).collect();
    assert_eq!(keys, ["QYKEY", "AK", "IAMDomain/IAMUser", "IAMDomain/IAMUser"]);
    assert_eq!(ledger.changing_requests(), 2);
    let lines = ledger.to_json_lines();
    assert_eq!(lines.lines().count(), shape.len());
    for secret in [PASSWORD, "Rds_1234", "IAMPassword", "QYSECRET", &text[..40]] {
        assert!(!lines.contains(secret), "{secret}");
    }
    assert!(lines.contains(&clouds.password_digest(PASSWORD)));
    let page = http().get(clouds.iam_endpoint().join("/_emulator/ledger").unwrap()).send().await.unwrap();
    assert_eq!(page.text().await.unwrap(), lines, "looking at it does not change it");
}

#[tokio::test]
async fn waiting_in_vain_says_what_came_last() {
    let clouds = clouds(Options::default()).await;
    create(&clouds, "test_1").await;
    let error = clouds.wait_until(|ledger| ledger.entries().len() > 3, Duration::from_millis(20)).await.unwrap_err();
    assert!(error.to_string().contains("3 entries"), "{error}");
}

#[test]
fn every_switch_is_documented_and_every_setting_is_listed_once() {
    let catalogue = Switches::catalogue();
    let defaults = serde_json::to_value(Switches::default()).unwrap();
    assert_eq!(catalogue.len(), defaults.as_object().unwrap().len());
    let mut others = 0;
    for switch in &catalogue {
        assert!(switch.question.ends_with('?'), "{}", switch.name);
        assert!(
            switch.settings.iter().all(|setting| setting.meaning.ends_with('.') || setting.meaning.ends_with('`')),
            "{}",
            switch.name
        );
        let default = &defaults[switch.name];
        assert_eq!(*default, switch.settings[0].name, "{}", switch.name);
        others += switch.settings.len() - 1;
    }
    let every = Switches::every_setting();
    assert_eq!(every.len(), others);
    for (name, switches) in every {
        let turned = serde_json::to_value(&switches).unwrap();
        let (switch, setting) = name.split_once('=').unwrap();
        assert_eq!(turned[switch], setting, "{name}");
        assert_ne!(switches, Switches::default(), "{name}");
    }
}

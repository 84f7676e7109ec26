//! What goes over the wire below HTTP: a server that is not trusted is sent nothing, and HTTP/2 fails as HTTP/1 does.

use std::{sync::Arc, time::Duration};

use clickhouse_user_operator::provider::{
    connection::Connection,
    contract::{Accepted, CallError, CallKind, ErrorClass},
    fleet::{Fleet, FleetSettings, Target},
    http::Transport,
};
use emulated_clouds::Switches;
use h2::Reason;

use crate::{
    leaks::watched,
    subjects::{HUAWEI_BY_KEYS, Place, QINGCLOUD_BY_POST, Subject, Who},
    tls::{Authority, Failing, Flaw, Greeting, at, failing, stranger, terminator},
    world::{End, PATIENCE, World, read, unhindered},
};

/// Of which a connection may take half: short for those that do not come about.
const CALL_TIMEOUT: Duration = Duration::from_secs(4);

/// A fleet that trusts this authority beside the platform's.
fn trusting(authority: &Authority, call_timeout: Duration) -> Fleet {
    let settings = unhindered();
    let transport = Transport { call_timeout, extra_roots: vec![authority.root()], ..settings.transport };
    Fleet::new(FleetSettings { transport, ..settings })
}

fn connect(world: &World, fleet: &Fleet, target: &Target) -> Arc<Connection> {
    world.connect_to(fleet, target, Place::Ours(0), Who::Us)
}

/// Where logins go; nowhere where there are none.
fn logins(target: &Target) -> url::Url {
    match target {
        Target::QingCloud { endpoint, .. } => endpoint.clone(),
        Target::HuaweiCloud { iam_endpoint, .. } => iam_endpoint.clone(),
    }
}

async fn life_of_an_account_goes_over_tls_by_either_version_of_http(subject: &'static dyn Subject) {
    let authority = Authority::new();
    for (protocols, agreed) in [(&["h2", "http/1.1"][..], "h2"), (&["http/1.1"], "http/1.1")] {
        let world = World::start(subject, Switches::default(), unhindered()).await;
        let target = subject.target(&world.clouds, Place::Ours(0));
        let config = authority.serving(Flaw::None, protocols);
        let (account_calls, seen) = terminator(config.clone(), target.endpoint()).await;
        let (log_ins, _) = terminator(config, &logins(&target)).await;
        let fleet = trusting(&authority, PATIENCE);
        let connection = connect(&world, &fleet, &at(target, account_calls, log_ins));
        read(&connection).await.expect("a reading");
        for kind in [CallKind::Create, CallKind::Delete] {
            let (_, outcome) = world.change(&connection, kind, "over_tls").await;
            assert_eq!(world.end(&connection, outcome).await, End::Done, "{} {agreed}, {kind:?}", subject.name());
        }
        assert_eq!(world.clouds.effects_of("over_tls").len(), 2, "{} {agreed}", subject.name());
        assert_eq!(seen.all(), [agreed], "{}: one connection for all calls", subject.name());
    }
}

/// Nothing was sent, and it is said so: the change may be made again without a look.
fn assert_not_sent(outcome: Result<Accepted, CallError>, context: &str) {
    match outcome {
        Err(CallError::NotApplied(error)) => assert_eq!(error.class, ErrorClass::Unavailable, "{context}: {error}"),
        other => panic!("{context}: {other:?}"),
    }
}

async fn server_whose_certificate_is_not_right_is_sent_nothing(subject: &'static dyn Subject) {
    let (authority, unknown) = (Authority::new(), Authority::new());
    let world = World::start(subject, Switches::default(), unhindered()).await;
    let flawed = [Flaw::Expired, Flaw::NotYetValid, Flaw::OtherName, Flaw::SelfSigned].map(|flaw| (&authority, flaw));
    for (signer, flaw) in flawed.into_iter().chain([(&unknown, Flaw::None)]) {
        let target = subject.target(&world.clouds, Place::Ours(0));
        let (address, seen) = terminator(signer.serving(flaw, &["h2", "http/1.1"]), target.endpoint()).await;
        let fleet = trusting(&authority, PATIENCE);
        let connection = connect(&world, &fleet, &at(target, address, address));
        let (_, outcome) = world.change(&connection, CallKind::Create, "untrusted").await;
        assert_not_sent(outcome, &format!("{}, {flaw:?}", subject.name()));
        assert!(seen.all().is_empty(), "{}, {flaw:?}: a handshake came to its end", subject.name());
    }
    assert!(world.clouds.ledger().entries().is_empty(), "{}", subject.name());
}

async fn handshake_that_comes_to_no_end_sends_nothing(subject: &'static dyn Subject) {
    let authority = Authority::new();
    let world = World::start(subject, Switches::default(), unhindered()).await;
    for greeting in [Greeting::Alert, Greeting::Old, Greeting::Silence, Greeting::Plain, Greeting::Goodbye] {
        let (address, seen) = stranger(greeting).await;
        let fleet = trusting(&authority, CALL_TIMEOUT);
        let target = at(subject.target(&world.clouds, Place::Ours(0)), address, address);
        let connection = connect(&world, &fleet, &target);
        let (_, outcome) = world.change(&connection, CallKind::Create, "not_greeted").await;
        assert_not_sent(outcome, &format!("{}, {greeting:?}", subject.name()));
        let records = seen.all();
        assert_eq!(records.first().map(String::as_str), Some("22"), "{}, {greeting:?}: a greeting", subject.name());
        assert!(records.iter().all(|kind| ["21", "22"].contains(&kind.as_str())), "{greeting:?}: {records:?}");
    }
}

proven_for_every_cloud! {
    life_of_an_account_goes_over_tls_by_either_version_of_http
    server_whose_certificate_is_not_right_is_sent_nothing
    handshake_that_comes_to_no_end_sends_nothing
}

/// HTTP/2 lets a server say that it did not look at a request. It is believed of no server: a gateway may have passed the
/// request on before it said so.
#[tokio::test]
async fn request_that_http_2_fails_is_unknown_and_sent_once() {
    let proof = async {
        let authority = Authority::new();
        let config = authority.serving(Flaw::None, &["h2"]);
        for subject in [&QINGCLOUD_BY_POST as &'static dyn Subject, &HUAWEI_BY_KEYS] {
            let world = World::start(subject, Switches::default(), unhindered()).await;
            for how in [
                Failing::Reset(Reason::INTERNAL_ERROR),
                Failing::Reset(Reason::CANCEL),
                Failing::Reset(Reason::REFUSED_STREAM),
                Failing::ResetWithin(Reason::INTERNAL_ERROR),
                Failing::ResetWithin(Reason::NO_ERROR),
                Failing::GoAway(Reason::NO_ERROR),
                Failing::GoAway(Reason::ENHANCE_YOUR_CALM),
                Failing::Cut,
            ] {
                let context = format!("{}, {how:?}", subject.name());
                let (address, seen) = failing(config.clone(), how).await;
                let fleet = trusting(&authority, PATIENCE);
                let target = at(subject.target(&world.clouds, Place::Ours(0)), address, address);
                let connection = connect(&world, &fleet, &target);
                let (_, outcome) = world.change(&connection, CallKind::Create, "failed").await;
                assert!(matches!(outcome, Err(CallError::Unknown(_))), "{context}: {outcome:?}");
                assert_eq!(seen.all(), ["POST"], "{context}");
            }
        }
    };
    watched(proof).await;
}

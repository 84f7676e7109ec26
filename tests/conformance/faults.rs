//! Trouble of every kind, before and after the effect of every call: what happened is never denied, what did not
//! happen is never claimed, and a read finds out.

use std::time::{Duration, Instant};

use clickhouse_user_operator::provider::{
    contract::{CallError, CallKind, CloudError, ErrorClass, JobSeen, LostCall},
    fleet::FleetSettings,
    http::{ANSWER_LIMIT, LIST_LIMIT},
};
use emulated_clouds::{EmulatedClouds, Fault, FaultAnswer, Moment, Operation, Options, Switches, Target, Which};
use futures::future::join_all;
use jiff::Timestamp;

use crate::{
    leaks::watched,
    subjects::{HUAWEI_BY_LOGIN, Place, Subject, Who},
    world::{PATIENCE, World, jobs_ended, patiently, read, unhindered},
};

/// A call timeout that faults use up.
const SHORT: Duration = Duration::from_secs(1);

/// What a busy machine may add to a bounded time.
const SLACK: Duration = Duration::from_secs(5);

/// Answers of which nothing can be concluded.
/// `limit` bytes are read of an answer, and no more.
pub fn unclear(subject: &dyn Subject, elsewhere: &EmulatedClouds, limit: usize) -> Vec<FaultAnswer> {
    let json = |status, text: &str| FaultAnswer::Json(status, text.to_owned());
    let elsewhere = match subject.target(elsewhere, Place::Ours(0)) {
        clickhouse_user_operator::provider::fleet::Target::QingCloud { endpoint, .. }
        | clickhouse_user_operator::provider::fleet::Target::HuaweiCloud { endpoint, .. } => endpoint,
    };
    let mut answers = vec![
        FaultAnswer::Html(200),
        FaultAnswer::Html(404),
        FaultAnswer::Html(502),
        json(200, "[]"),
        json(200, r#"{"ret_code":0,"job_id":null,"result":"FAILED"}"#),
        json(500, "{}"),
        json(503, ""),
        FaultAnswer::Reset,
        FaultAnswer::Half,
        FaultAnswer::Empty,
        FaultAnswer::WrongTypes,
        FaultAnswer::Huge(1 << 40),
        FaultAnswer::GzipBomb(limit as u64 + 1),
        FaultAnswer::Redirect(elsewhere.to_string()),
    ];
    let refusal = |(status, code): &(u16, &str)| {
        FaultAnswer::Refusal(*status, (*code).to_owned(), "InternalError, try again".to_owned())
    };
    answers.extend(subject.server_faults().iter().map(refusal));
    answers
}

/// Answers that do not come in time.
pub const SILENT: [FaultAnswer; 2] = [FaultAnswer::Hang, FaultAnswer::Drip];

/// Refusals in the cloud's own words. They are believed, so they come before an effect only.
pub fn refusals() -> Vec<FaultAnswer> {
    let throttled = |text: &str| FaultAnswer::Throttled(Some(text.to_owned()));
    vec![
        FaultAnswer::Throttled(None),
        throttled("7"),
        throttled("18446744073709551615"),
        throttled("-5"),
        FaultAnswer::ClockSkew,
        FaultAnswer::TokenRevoked,
    ]
}

fn impatient() -> FleetSettings {
    let mut settings = unhindered();
    settings.transport.call_timeout = SHORT;
    settings
}

/// Somewhere else, where no request may turn up.
async fn elsewhere() -> EmulatedClouds {
    EmulatedClouds::start(Options::default()).await.expect("free ports")
}

/// What became of one call in trouble.
struct Case<'a> {
    world: &'a World,
    kind: CallKind,
    answer: FaultAnswer,
    moment: Moment,
    username: String,
}

impl Case<'_> {
    /// Makes the call in its trouble and checks what must hold whatever the trouble is. Gives the call's failure.
    async fn run(&self) -> Option<CallError> {
        let Self { world, kind, answer, moment, username } = self;
        let context = format!("{}, {kind:?}, {} {moment:?}", world.subject.name(), answer.name());
        if *kind != CallKind::Create {
            world.given(username).await;
        }
        let (effects, ended) = (world.clouds.effects_of(username).len(), jobs_ended(&world.clouds.ledger()));
        let operation = world.subject.change(*kind);
        inject(&world.clouds, operation, answer, *moment);
        let (since, begun) = (Timestamp::now(), Instant::now());
        let connection = world.connect(Place::Ours(0), Who::Us);
        let (attempt, outcome) = world.change(&connection, *kind, username).await;
        assert!(begun.elapsed() < SHORT.max(world.call_timeout()) + SLACK, "{context}: it took {:?}", begun.elapsed());
        world.clouds.clear_faults();
        // A job that was accepted, and a request that nobody waits for any more, come to their end.
        let happens = *moment == Moment::AfterEffect || outcome.is_ok();
        if happens {
            let all = if world.subject.capabilities().jobs { ended + 1 } else { ended };
            let done = world
                .clouds
                .wait_until(
                    |ledger| ledger.effects_of(username).count() > effects && jobs_ended(ledger) == all,
                    PATIENCE,
                )
                .await;
            assert!(done.is_ok(), "{context}: reported {outcome:?} without an effect: {done:?}");
        }
        let happened = world.clouds.effects_of(username).len() > effects;
        assert_eq!(happened, happens, "{context}: the emulation did not do as told");
        let denied = happened && matches!(outcome, Err(CallError::NotApplied(_)));
        assert!(!denied, "{context}: an effect is denied: {outcome:?}");
        let shown = world.effect_shown(*kind, &attempt, username, since).await.expect("a read without trouble");
        assert!(shown.is_none_or(|shown| shown == happened), "{context}: the read does not tell the truth: {shown:?}");
        outcome.err()
    }
}

fn inject(clouds: &EmulatedClouds, operation: Operation, answer: &FaultAnswer, moment: Moment) {
    let target = Target::Operation(operation);
    clouds.inject(Fault { target, which: Which::Next(1), moment, answer: answer.clone() });
}

/// Runs every kind of changing call through these troubles at these moments; the kinds at the same time.
async fn changes_in_trouble(
    subject: &'static dyn Subject,
    settings: FleetSettings,
    answers: &[FaultAnswer],
    moments: &[Moment],
    check: impl Fn(&Case<'_>, Option<CallError>),
) {
    let mut worlds = Vec::new();
    for kind in subject.changes() {
        worlds.push((kind, warm(subject, settings.clone()).await));
    }
    let of_kind = async |(kind, world): &(CallKind, World)| {
        let troubles = answers.iter().flat_map(|answer| moments.iter().map(move |moment| (answer, *moment)));
        for (number, (answer, moment)) in troubles.enumerate() {
            let username = format!("in_trouble_{number}");
            let case = Case { world, kind: *kind, answer: answer.clone(), moment, username };
            let failure = case.run().await;
            check(&case, failure);
        }
    };
    join_all(worlds.iter().map(of_kind)).await;
}

/// A world whose first call is done: it makes connections and tokens, and may be slower than a short call timeout.
async fn warm(subject: &'static dyn Subject, settings: FleetSettings) -> World {
    let world = World::start(subject, Switches::default(), settings).await;
    while read(&world.connect(Place::Ours(0), Who::Us)).await.is_err() {}
    world
}

const BOTH: [Moment; 2] = [Moment::BeforeEffect, Moment::AfterEffect];

async fn unclear_answer_is_unknown_whether_it_had_an_effect_or_not(subject: &'static dyn Subject) {
    let elsewhere = elsewhere().await;
    changes_in_trouble(subject, unhindered(), &unclear(subject, &elsewhere, ANSWER_LIMIT), &BOTH, |case, failure| {
        let context = format!("{}, {:?}, {} {:?}", subject.name(), case.kind, case.answer.name(), case.moment);
        let Some(CallError::Unknown(error)) = failure else { panic!("{context}: {failure:?}") };
        assert_proves_nothing(&error, &context);
        if let FaultAnswer::Huge(_) = case.answer {
            assert!(error.message.contains("larger than"), "{context}: it was read on: {error}");
        }
    })
    .await;
    assert!(elsewhere.ledger().entries().is_empty(), "{}: a redirect was followed", subject.name());
}

async fn silence_is_unknown_after_the_call_timeout(subject: &'static dyn Subject) {
    changes_in_trouble(subject, impatient(), &SILENT, &BOTH, |case, failure| {
        let context = format!("{}, {:?}, {} {:?}", subject.name(), case.kind, case.answer.name(), case.moment);
        assert!(matches!(failure, Some(CallError::Unknown(_))), "{context}: {failure:?}");
    })
    .await;
}

async fn late_answer_within_the_call_timeout_is_taken(subject: &'static dyn Subject) {
    let late = [FaultAnswer::Late(Duration::from_millis(50))];
    changes_in_trouble(subject, unhindered(), &late, &[Moment::AfterEffect], |case, failure| {
        assert_eq!(failure, None, "{}, {:?}", subject.name(), case.kind);
    })
    .await;
}

async fn refusal_in_the_clouds_words_is_certain_and_names_its_pause(subject: &'static dyn Subject) {
    changes_in_trouble(subject, unhindered(), &refusals(), &[Moment::BeforeEffect], |case, failure| {
        let context = format!("{}, {:?}, {:?}", subject.name(), case.kind, case.answer);
        let FaultAnswer::Throttled(asked) = &case.answer else { return };
        let Some(CallError::NotApplied(error)) = failure else { panic!("{context}: {failure:?}") };
        let asked = asked.as_ref().and_then(|text| text.parse().ok());
        let pause = Duration::from_secs(subject.pause(asked));
        assert_eq!((error.class, error.pause), (ErrorClass::Throttled, Some(pause)), "{context}");
    })
    .await;
}

async fn retry_after_may_be_a_date(subject: &'static dyn Subject) {
    let world = World::start(subject, Switches::default(), unhindered()).await;
    for (ahead, least, most) in [(7_200_i64, 7_100, 7_200), (-7_200, subject.pause(None), subject.pause(None))] {
        let date = Timestamp::now() + jiff::SignedDuration::from_secs(ahead);
        let date = date.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string();
        inject(
            &world.clouds,
            world.subject.change(CallKind::Create),
            &FaultAnswer::Throttled(Some(date)),
            Moment::BeforeEffect,
        );
        let (_, outcome) = world.change(&world.connect(Place::Ours(0), Who::Us), CallKind::Create, "throttled").await;
        let Err(CallError::NotApplied(error)) = outcome else { panic!("{}: {outcome:?}", subject.name()) };
        let pause = error.pause.expect("a pause").as_secs();
        assert!((least..=most).contains(&pause), "{}: {ahead} s ahead: {pause} s", subject.name());
    }
}

/// Every read of the operator, in this trouble: what it shows is the truth, or it is an error that proves nothing.
async fn read_in_trouble(world: &World, answer: &FaultAnswer, done: &LostCall) {
    for &operation in world.subject.reads() {
        let context = format!("{}, {operation:?}, {}", world.subject.name(), answer.name());
        inject(&world.clouds, operation, answer, Moment::AfterEffect);
        let begun = Instant::now();
        match read(&world.connect(Place::Ours(0), Who::Us)).await {
            Err(error) => assert_proves_nothing(&error, &context),
            Ok(reading) => {
                // A fresh login cured it.
                let cured = [FaultAnswer::ClockSkew, FaultAnswer::TokenRevoked].contains(answer);
                assert!(cured && world.logs_in(), "{context}: it was read");
                let accounts = reading.instance.accounts.as_deref().expect("a list");
                assert!(accounts.iter().any(|account| account.username == done.username), "{context}: {accounts:?}");
            }
        }
        assert!(begun.elapsed() < world.call_timeout() + SLACK, "{context}: it took {:?}", begun.elapsed());
        world.clouds.clear_faults();
    }
    if world.subject.capabilities().jobs {
        let connection = world.connect(Place::Ours(0), Who::Us);
        let context = format!("{}, find_job, {}", world.subject.name(), answer.name());
        inject(&world.clouds, Operation::DescribeJobs, answer, Moment::AfterEffect);
        match patiently(async || connection.find_job(done).await).await {
            Err(error) => assert_proves_nothing(&error, &context),
            Ok(seen) => panic!("{context}: {seen:?}"),
        }
        world.clouds.clear_faults();
        let seen = world.reader().find_job(done).await.expect("a read without trouble");
        let JobSeen::Found(job) = seen else { panic!("{context}: the job is not found") };
        inject(&world.clouds, Operation::DescribeJobs, answer, Moment::AfterEffect);
        match patiently(async || connection.job(&job.id).await).await {
            Err(error) => assert_proves_nothing(&error, &context),
            Ok(seen) => panic!("{context}: {seen:?}"),
        }
        world.clouds.clear_faults();
    }
}

fn assert_proves_nothing(error: &CloudError, context: &str) {
    let definite = [ErrorClass::InstanceNotFound, ErrorClass::AccountNotFound, ErrorClass::AccountExists];
    assert!(!definite.contains(&error.class), "{context}: {error:?}");
}

async fn read_in_trouble_never_shows_an_account_or_job_as_missing(subject: &'static dyn Subject) {
    let elsewhere = elsewhere().await;
    let with = async |settings: FleetSettings, answers: Vec<FaultAnswer>| {
        let world = warm(subject, settings).await;
        let since = Timestamp::now();
        let (attempt, outcome) = world.change(&world.reader(), CallKind::Create, "present").await;
        assert!(outcome.is_ok(), "{}: {outcome:?}", subject.name());
        world.jobs_have_ended().await;
        let username = clickhouse_user_operator::domain::names::Username::new("present");
        let done = LostCall { attempt, kind: CallKind::Create, username, since };
        for answer in &answers {
            read_in_trouble(&world, answer, &done).await;
        }
    };
    let clear = [unclear(subject, &elsewhere, LIST_LIMIT), refusals()].concat();
    with(impatient(), SILENT.to_vec()).await;
    with(unhindered(), clear).await;
    assert!(elsewhere.ledger().entries().is_empty(), "{}: a redirect was followed", subject.name());
}

proven_for_every_cloud! {
    unclear_answer_is_unknown_whether_it_had_an_effect_or_not
    silence_is_unknown_after_the_call_timeout
    late_answer_within_the_call_timeout_is_taken
    refusal_in_the_clouds_words_is_certain_and_names_its_pause
    retry_after_may_be_a_date
    read_in_trouble_never_shows_an_account_or_job_as_missing
    clock_an_hour_off_is_learnt_or_reported_and_nothing_is_done_twice
}

/// How a change ends while the clouds' clock is an hour ahead of ours.
#[derive(Debug, PartialEq, Eq)]
enum Skewed {
    Done,
    Refused,
}

async fn clock_an_hour_off_is_learnt_or_reported_and_nothing_is_done_twice(subject: &'static dyn Subject) {
    let world = World::start(subject, Switches::default(), unhindered()).await;
    world.clouds.advance_clock(Duration::from_secs(3600));
    let connection = world.connect(Place::Ours(0), Who::Us);
    let since = Timestamp::now();
    let (attempt, outcome) = world.change(&connection, CallKind::Create, "skewed").await;
    let end = match &outcome {
        Ok(_) => Skewed::Done,
        Err(CallError::NotApplied(error)) => {
            assert_eq!(error.class, ErrorClass::Unavailable, "{}: {error:?}", subject.name());
            Skewed::Refused
        }
        Err(CallError::Unknown(error)) => panic!("{}: {error:?}", subject.name()),
    };
    // QingCloud: learnt from the refusal; a login: has no clock; keys of Huawei Cloud: the node's clock is to be set.
    let expected = if world.subject.capabilities().jobs || world.logs_in() { Skewed::Done } else { Skewed::Refused };
    assert_eq!(end, expected, "{}", subject.name());
    world.end(&connection, outcome).await;
    assert_eq!(world.clouds.effects_of("skewed").len(), usize::from(end == Skewed::Done), "{}", subject.name());
    if end == Skewed::Done {
        let shown = world.effect_shown(CallKind::Create, &attempt, "skewed", since).await;
        assert_eq!(shown, Ok(Some(true)), "{}", subject.name());
    }
}

#[tokio::test]
async fn failed_login_sends_no_change_and_denies_none() {
    watched(log_in_through_trouble()).await;
}

async fn log_in_through_trouble() {
    let elsewhere = elsewhere().await;
    let troubles = [unclear(&HUAWEI_BY_LOGIN, &elsewhere, ANSWER_LIMIT), refusals()].concat();
    let world = World::start(&HUAWEI_BY_LOGIN, Switches::default(), unhindered()).await;
    for answer in troubles {
        let context = format!("login, {}", answer.name());
        // A refused login is remembered for its pause, so that each needs a client that knows nothing of the last.
        let fleet = clickhouse_user_operator::provider::fleet::Fleet::new(unhindered());
        let connection = world.connect_by(&fleet, Place::Ours(0), Who::Us);
        inject(&world.clouds, Operation::CreateToken, &answer, Moment::AfterEffect);
        let (_, outcome) = world.change(&connection, CallKind::Create, "not_sent").await;
        let Err(CallError::NotApplied(error)) = outcome else { panic!("{context}: {outcome:?}") };
        assert_proves_nothing(&error, &context);
        assert_eq!(world.clouds.requests(Operation::CreateUser), 0, "{context}");
        world.clouds.clear_faults();
    }
    assert!(elsewhere.ledger().entries().is_empty(), "a redirect was followed");
}

#[tokio::test]
async fn revoked_token_is_replaced_once_and_the_change_made_once() {
    let world = World::start(&HUAWEI_BY_LOGIN, Switches::default(), unhindered()).await;
    let connection = world.connect(Place::Ours(0), Who::Us);
    read(&connection).await.expect("a reading");
    world.clouds.revoke_tokens();
    let (_, outcome) = world.change(&connection, CallKind::Create, "wanted").await;
    assert!(outcome.is_ok(), "{outcome:?}");
    assert_eq!(world.clouds.requests(Operation::CreateToken), 2);
    assert_eq!(world.clouds.effects_of("wanted").len(), 1);
}

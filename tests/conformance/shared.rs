//! What users of one credential and of one instance share, and what nobody else gets of it. The emulation's ledger
//! counts.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use clickhouse_user_operator::{
    domain::names::Username,
    provider::{
        budget::Rate,
        connection::Connection,
        contract::{Accepted, CallKind, Delay, ErrorClass, JobSeen, JobState, LostCall, Turn},
        fleet::{Fleet, FleetSettings, Rates},
        queue::Waiter,
    },
};
use emulated_clouds::{Fault, FaultAnswer, Moment, Operation, Switches, Target, Timing, Which};
use futures::future::join_all;
use jiff::Timestamp;
use tokio::time::Instant;

use crate::{
    leaks::watched,
    subjects::{HUAWEI_BY_KEYS, HUAWEI_BY_LOGIN, Place, QINGCLOUD_BY_POST, Subject, Who},
    world::{PATIENCE, World, read, unhindered, until},
};

const USERS: usize = 50;

/// Failures in a row that open a breaker.
const FAILURES_TO_OPEN: usize = 5;

/// Pauses long enough to be seen and short enough to be waited for.
fn paused_for(shortest: Duration, longest: Duration) -> FleetSettings {
    FleetSettings { retry_min: shortest, retry_max: longest, job_poll_interval: PATIENCE, ..unhindered() }
}

async fn start(subject: &'static dyn Subject) -> World {
    let settings = paused_for(Duration::from_millis(300), Duration::from_secs(2));
    World::start(subject, Switches::default(), settings).await
}

fn requests(world: &World) -> usize {
    world.clouds.ledger().requests().count()
}

fn inject(world: &World, which: Which, answer: FaultAnswer) {
    let target = Target::Operation(world.subject.reads()[0]);
    world.clouds.inject(Fault { target, which, moment: Moment::BeforeEffect, answer });
}

fn waiter(id: &str) -> (Waiter, Arc<AtomicBool>) {
    let woken = Arc::new(AtomicBool::new(false));
    let wake = woken.clone();
    let wake = Arc::new(move || wake.store(true, Ordering::Relaxed));
    (Waiter { id: id.to_owned(), group: id.to_owned(), urgent: false, wake }, woken)
}

fn not_before(delay: Delay) -> Timestamp {
    match delay {
        Delay::NotBefore(at) => at,
        Delay::Failed(error) => panic!("it was asked: {error:?}"),
    }
}

async fn users_of_an_instance_share_one_reading(subject: &'static dyn Subject) {
    let world = start(subject).await;
    let asked_from = Timestamp::now();
    let users: Vec<_> = (0..USERS).map(|_| world.connect(Place::Ours(0), Who::Us)).collect();
    let readings = join_all(users.iter().map(|connection| connection.reading(asked_from))).await;
    assert!(readings.iter().all(Result::is_ok), "{}", subject.name());
    for operation in subject.reads() {
        assert_eq!(world.clouds.requests(*operation), 1, "{}: {operation:?}", subject.name());
    }
    assert_eq!(world.clouds.requests(Operation::CreateToken), usize::from(world.logs_in()));
    // Who wants a newer one is told when, and nothing is sent for it.
    let sent = requests(&world);
    let at = not_before(users[0].reading(Timestamp::now()).await.err().expect("too soon"));
    assert!(at > Timestamp::now(), "{}", subject.name());
    assert_eq!(requests(&world), sent, "{}", subject.name());
}

async fn users_of_a_credential_share_its_budget_and_token_over_all_instances(subject: &'static dyn Subject) {
    let world = start(subject).await;
    let asked_from = Timestamp::now();
    let users: Vec<_> = (0..10).map(|number| world.connect(Place::Ours(number), Who::Us)).collect();
    let all = || users.iter().flat_map(|connection| std::iter::repeat_n(connection, USERS / 10));
    let readings = join_all(all().map(|connection| connection.reading(asked_from))).await;
    assert!(readings.iter().all(Result::is_ok), "{}", subject.name());
    assert_eq!(world.clouds.requests(subject.reads()[0]), 10, "{}: one for each instance", subject.name());
    assert_eq!(world.clouds.requests(Operation::CreateToken), usize::from(world.logs_in()));
    assert!(users.iter().all(|user| Arc::ptr_eq(&user.credential, &users[0].credential)), "{}", subject.name());
}

async fn nothing_is_sent_before_the_pause_that_the_cloud_asked_for(subject: &'static dyn Subject) {
    let world = start(subject).await;
    let connection = world.connect(Place::Ours(0), Who::Us);
    inject(&world, Which::Next(1), FaultAnswer::Throttled(Some("1".to_owned())));
    let throttled_at = Timestamp::now();
    let delay = connection.reading(throttled_at).await.err().expect("throttled");
    assert!(matches!(&delay, Delay::Failed(error) if error.class == ErrorClass::Throttled), "{delay:?}");
    let sent = requests(&world);
    let at = not_before(connection.reading(throttled_at).await.err().expect("paused"));
    let pause = at.duration_since(throttled_at).as_millis();
    // QingCloud's own pause is a quarter of an hour; none is longer than the longest that was set.
    assert!((1_000..3_000).contains(&pause), "{}: {pause} ms", subject.name());
    // The credential as a whole is closed: another of its instances, a job, a change.
    let other = world.connect(Place::Ours(1), Who::Us);
    not_before(other.reading(throttled_at).await.err().expect("paused"));
    let username = Username::new("nobody");
    let lost = LostCall { attempt: world.attempt(), kind: CallKind::Create, username, since: throttled_at };
    not_before(other.find_job(&lost).await.expect_err("paused"));
    assert!(
        matches!(other.take_turn(CallKind::Create, &waiter("1").0).await, Turn::NotBefore(_)),
        "{}",
        subject.name()
    );
    assert_eq!(requests(&world), sent, "{}: something was sent in the pause", subject.name());
    // Another credential is not.
    read(&world.connect(Place::Ours(0), Who::Colleague)).await.expect("another's budget is open");
    until(at).await;
    connection.reading(throttled_at).await.unwrap_or_else(|delay| panic!("{}: {delay:?}", subject.name()));
    assert_eq!(other.take_turn(CallKind::Create, &waiter("1").0).await, Turn::Ours, "{}", subject.name());
}

async fn spent_budget_holds_reads_and_changes_back(subject: &'static dyn Subject) {
    let rate = Rate { per_second: 2.0, burst: 3 };
    let settings = FleetSettings { rates: Rates { qingcloud: rate, huaweicloud: rate }, ..unhindered() };
    let world = World::start(subject, Switches::default(), settings).await;
    let asked_from = Timestamp::now();
    let mut read = Vec::new();
    let at = loop {
        let connection = world.connect(Place::Ours(u8::try_from(read.len()).expect("few")), Who::Us);
        match connection.reading(asked_from).await {
            Ok(_) => read.push(connection),
            Err(delay) => break not_before(delay),
        }
    };
    // A reading may be several requests, which may overdraw the budget but not begin without one.
    assert!((1..=3).contains(&read.len()), "{}: {} readings", subject.name(), read.len());
    let sent = requests(&world);
    let connection = &read[0];
    assert!(
        matches!(connection.take_turn(CallKind::Create, &waiter("1").0).await, Turn::NotBefore(_)),
        "{}",
        subject.name()
    );
    assert_eq!(requests(&world), sent, "{}", subject.name());
    until(at).await;
    assert_eq!(connection.take_turn(CallKind::Create, &waiter("1").0).await, Turn::Ours, "{}", subject.name());
}

async fn two_credentials_of_an_instance_share_its_queue_alone(subject: &'static dyn Subject) {
    let world = start(subject).await;
    let asked_from = Timestamp::now();
    let [us, colleague] = [Who::Us, Who::Colleague].map(|who| world.connect(Place::Ours(0), who));
    assert!(Arc::ptr_eq(&us.queue, &colleague.queue), "{}: two queues", subject.name());
    assert!(!Arc::ptr_eq(&us.credential, &colleague.credential), "{}: one credential", subject.name());
    let ((first, _), (second, woken)) = (waiter("first"), waiter("second"));
    assert_eq!(us.take_turn(CallKind::Create, &first).await, Turn::Ours);
    assert_eq!(colleague.take_turn(CallKind::Create, &second).await, Turn::Waiting);
    us.queue.leave(&first.id, Instant::now());
    assert!(woken.load(Ordering::Relaxed), "{}: nobody woke the second", subject.name());
    assert_eq!(colleague.take_turn(CallKind::Create, &second).await, Turn::Ours);
    // Each reads for itself.
    for connection in [&us, &colleague] {
        connection.reading(asked_from).await.unwrap_or_else(|delay| panic!("{}: {delay:?}", subject.name()));
    }
    assert_eq!(world.clouds.requests(subject.reads()[0]), 2, "{}: a shared reading", subject.name());
    assert_eq!(world.clouds.requests(Operation::CreateToken), 2 * usize::from(world.logs_in()));
}

async fn wrong_secret_gets_nothing_of_the_owners_and_does_the_owner_no_harm(subject: &'static dyn Subject) {
    let world = start(subject).await;
    let owner = world.connect(Place::Ours(0), Who::Us);
    let asked_from = Timestamp::now();
    let (_, outcome) = world.change(&owner, CallKind::Create, "owned").await;
    world.jobs_have_ended().await;
    owner.reading(asked_from).await.unwrap_or_else(|delay| panic!("{}: {delay:?}", subject.name()));
    let impostor = world.connect(Place::Ours(0), Who::Impostor);
    assert!(!Arc::ptr_eq(&owner.credential, &impostor.credential), "{}: one credential", subject.name());
    // Not the reading, however fresh the owner's is.
    let delay = impostor.account(&Username::new("owned"), asked_from).await.expect_err("a wrong secret");
    assert!(matches!(&delay, Delay::Failed(error) if error.class == ErrorClass::AccessDenied), "{delay:?}");
    // Not tried again at once, which would lock key or user.
    let sent = requests(&world);
    not_before(impostor.reading(asked_from).await.err().expect("paused"));
    assert!(
        matches!(impostor.take_turn(CallKind::Create, &waiter("impostor").0).await, Turn::NotBefore(_)),
        "{}",
        subject.name()
    );
    assert_eq!(requests(&world), sent, "{}", subject.name());
    // Not the look at the owner's job.
    if let Ok(Accepted::Job(job)) = &outcome {
        let seen = owner.job(job).await.expect("the owner's job");
        assert!(matches!(seen, JobSeen::Found(_)), "{seen:?}");
        not_before(impostor.job(job).await.expect_err("paused"));
    }
    // The owner goes on.
    assert!(!owner.credential.breaker.is_open(), "{}", subject.name());
    owner.reading(asked_from).await.unwrap_or_else(|delay| panic!("{}: {delay:?}", subject.name()));
    read(&world.connect(Place::Ours(1), Who::Us)).await.expect("the owner's budget is open");
    assert_eq!(owner.take_turn(CallKind::Create, &waiter("owner").0).await, Turn::Ours, "{}", subject.name());
}

async fn stranger_with_keys_of_its_own_gets_nothing_of_the_owners_and_blocks_nothing(subject: &'static dyn Subject) {
    let world = start(subject).await;
    let owner = world.connect(Place::Ours(0), Who::Us);
    let asked_from = Timestamp::now();
    let (attempt, outcome) = world.change(&owner, CallKind::Create, "owned").await;
    world.jobs_have_ended().await;
    owner.reading(asked_from).await.unwrap_or_else(|delay| panic!("{}: {delay:?}", subject.name()));
    let stranger = world.connect(Place::Ours(0), Who::Stranger);
    assert!(!Arc::ptr_eq(&owner.credential, &stranger.credential), "{}: one credential", subject.name());
    // Neither the list, however fresh the owner's is, nor the token: the cloud is asked and refuses. On Huawei Cloud the
    // project is in the way before the instance is.
    let delay = stranger.account(&Username::new("owned"), asked_from).await.expect_err("another's instance");
    let refused = [ErrorClass::AccessDenied, ErrorClass::InstanceNotFound, ErrorClass::Rejected];
    assert!(matches!(&delay, Delay::Failed(error) if refused.contains(&error.class)), "{}: {delay:?}", subject.name());
    // Nor a job, however it is asked for.
    if let Ok(Accepted::Job(job)) = &outcome {
        assert!(matches!(owner.job(job).await, Ok(JobSeen::Found(_))));
        assert_eq!(stranger.job(job).await, Ok(JobSeen::NotFound));
        let lost = LostCall { attempt, kind: CallKind::Create, username: Username::new("owned"), since: asked_from };
        assert_eq!(stranger.find_job(&lost).await, Ok(JobSeen::NotFound));
    }
    // It has no place in the queue, so it holds nobody up.
    let turn = stranger.take_turn(CallKind::Create, &waiter("stranger").0).await;
    assert!(matches!(turn, Turn::NotBefore(_)), "{}: {turn:?}", subject.name());
    assert_eq!(owner.take_turn(CallKind::Create, &waiter("owner").0).await, Turn::Ours, "{}", subject.name());
    owner.queue.leave("owner", Instant::now());
    // Its failures are its own.
    while !stranger.credential.breaker.is_open() {
        stranger.credential.breaker.failed(Instant::now());
    }
    stranger.credential.budget.close_until(Instant::now() + PATIENCE);
    assert!(!owner.credential.breaker.is_open(), "{}", subject.name());
    read(&world.connect(Place::Ours(1), Who::Us)).await.expect("the owner's budget is open");
    assert_eq!(owner.take_turn(CallKind::Create, &waiter("owner").0).await, Turn::Ours, "{}", subject.name());
    let tokens =
        world.clouds.ledger().answers(Operation::CreateToken).filter(|answer| answer.status == Some(201)).count();
    assert_eq!(tokens, usize::from(world.logs_in()), "{}: the owner's alone", subject.name());
}

async fn breaker_opens_after_failures_in_a_row_and_one_read_closes_it(subject: &'static dyn Subject) {
    let world = start(subject).await;
    let connection = world.connect(Place::Ours(0), Who::Us);
    inject(&world, Which::All, FaultAnswer::Html(502));
    let asked_from = Timestamp::now();
    let failed = async |connection: &Connection| match connection.reading(asked_from).await {
        Err(Delay::Failed(error)) => error.class == ErrorClass::Unavailable,
        Err(Delay::NotBefore(_)) => false,
        Ok(_) => panic!("{}: it was read", subject.name()),
    };
    for _ in 0..FAILURES_TO_OPEN {
        assert!(!connection.credential.breaker.is_open(), "{}: too soon", subject.name());
        assert!(failed(&connection).await, "{}", subject.name());
    }
    assert!(connection.credential.breaker.is_open(), "{}", subject.name());
    let sent = requests(&world);
    let at = not_before(connection.reading(asked_from).await.err().expect("held back"));
    assert!(
        matches!(connection.take_turn(CallKind::Create, &waiter("1").0).await, Turn::NotBefore(_)),
        "{}",
        subject.name()
    );
    assert_eq!(requests(&world), sent, "{}: a call through an open breaker", subject.name());
    // Half open: of many, one read goes out.
    until(at).await;
    let probes = join_all((0..USERS).map(|_| failed(&connection))).await;
    assert_eq!(probes.into_iter().filter(|failed| *failed).count(), 1, "{}", subject.name());
    assert_eq!(requests(&world), sent + 1, "{}: more than one probe", subject.name());
    // A change that is wanted sends a read ahead, and waits on where that fails.
    until(not_before(connection.reading(asked_from).await.err().expect("held back longer"))).await;
    assert!(
        matches!(connection.take_turn(CallKind::Create, &waiter("1").0).await, Turn::NotBefore(_)),
        "{}",
        subject.name()
    );
    assert_eq!(requests(&world), sent + 2, "{}: not one probe", subject.name());
    world.clouds.clear_faults();
    until(not_before(connection.reading(asked_from).await.err().expect("held back longer"))).await;
    connection.reading(asked_from).await.unwrap_or_else(|delay| panic!("{}: {delay:?}", subject.name()));
    assert!(!connection.credential.breaker.is_open(), "{}", subject.name());
    assert_eq!(connection.take_turn(CallKind::Create, &waiter("1").0).await, Turn::Ours, "{}", subject.name());
}

async fn what_nobody_uses_any_more_is_forgotten(subject: &'static dyn Subject) {
    let world = start(subject).await;
    let fleet = Fleet::new(unhindered());
    let connection = world.connect_by(&fleet, Place::Ours(0), Who::Us);
    assert_eq!(fleet.credentials().len(), 1, "{}", subject.name());
    drop(connection);
    assert!(fleet.credentials().is_empty(), "{}: a credential is kept for nobody", subject.name());
}

proven_for_every_cloud! {
    users_of_an_instance_share_one_reading
    users_of_a_credential_share_its_budget_and_token_over_all_instances
    nothing_is_sent_before_the_pause_that_the_cloud_asked_for
    two_credentials_of_an_instance_share_its_queue_alone
    wrong_secret_gets_nothing_of_the_owners_and_does_the_owner_no_harm
    stranger_with_keys_of_its_own_gets_nothing_of_the_owners_and_blocks_nothing
    breaker_opens_after_failures_in_a_row_and_one_read_closes_it
    spent_budget_holds_reads_and_changes_back
    what_nobody_uses_any_more_is_forgotten
}

#[tokio::test]
async fn own_confirmed_changes_are_laid_over_a_list_that_lags() {
    let proof = async {
        let world = start(&HUAWEI_BY_KEYS).await;
        world.clouds.set_timing(Timing { list_lag: PATIENCE, ..Timing::default() });
        let connection = world.connect(Place::Ours(0), Who::Us);
        let (name, begun) = (Username::new("fresh"), Timestamp::now());
        let (_, outcome) = world.change(&connection, CallKind::Create, name.as_str()).await;
        assert_eq!(outcome, Ok(Accepted::Done));
        let seen = connection.account(&name, begun).await.expect("a list").account.expect("our own account");
        assert_eq!(*seen.access, world.subject.access(false).0);
        let (_, outcome) = world.change(&connection, CallKind::SetAccess, name.as_str()).await;
        assert_eq!(outcome, Ok(Accepted::Done));
        let seen = connection.account(&name, begun).await.expect("a list").account.expect("our own account");
        assert_eq!(*seen.access, world.subject.access(true).0);
        let (_, outcome) = world.change(&connection, CallKind::Delete, name.as_str()).await;
        assert_eq!(outcome, Ok(Accepted::Done));
        assert_eq!(connection.account(&name, begun).await.expect("a list").account, None);
        // Who did none of it sees the list as it is.
        let colleague = world.connect(Place::Ours(0), Who::Colleague);
        assert_eq!(colleague.account(&name, begun).await.expect("a list").account, None);
    };
    watched(proof).await;
}

#[tokio::test]
async fn open_jobs_of_a_credential_are_looked_at_in_one_call() {
    let proof = async {
        let world = start(&QINGCLOUD_BY_POST).await;
        let mut open = Vec::new();
        for number in 0..10 {
            let connection = world.connect(Place::Ours(number), Who::Us);
            let (_, outcome) = world.change(&connection, CallKind::Create, "wanted").await;
            let Ok(Accepted::Job(job)) = outcome else { panic!("{outcome:?}") };
            open.push((connection, job));
        }
        world.jobs_have_ended().await;
        for seen in join_all(open.iter().map(|(connection, job)| connection.job(job))).await {
            let Ok(JobSeen::Found(job)) = seen else { panic!("{seen:?}") };
            assert_eq!(job.state, JobState::Succeeded);
        }
        assert_eq!(world.clouds.requests(Operation::DescribeJobs), 1);
    };
    watched(proof).await;
}

#[tokio::test]
async fn revoked_token_is_replaced_by_one_login_for_all_users() {
    let proof = async {
        let world = start(&HUAWEI_BY_LOGIN).await;
        read(&world.connect(Place::Ours(0), Who::Us)).await.expect("a reading");
        world.clouds.revoke_tokens();
        let users: Vec<_> = (0..10).map(|number| world.connect(Place::Ours(number), Who::Us)).collect();
        for reading in join_all(users.iter().map(|connection| read(connection))).await {
            assert!(reading.is_ok(), "{:?}", reading.err());
        }
        assert_eq!(world.clouds.requests(Operation::CreateToken), 2);
    };
    watched(proof).await;
}

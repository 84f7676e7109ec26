//! What users of a credential and of an instance share, with a cloud that answers as it is told.

use std::sync::atomic::{AtomicUsize, Ordering};

use futures::future::{BoxFuture, join_all};

use super::*;
use crate::provider::{budget::Rate, contract::Job};

const LONGEST_PAUSE: Duration = Duration::from_secs(600);

/// A cloud that answers as it is told and counts how often it was read.
struct Fake {
    reads: AtomicUsize,
    reading: Mutex<Result<InstanceReading, CloudError>>,
    mutation: Mutex<Mutation>,
}

impl Fake {
    fn reads_as(&self, reading: Result<InstanceReading, CloudError>) {
        *self.reading.lock().expect("no test panicked") = reading;
    }

    fn changes_as(&self, mutation: Mutation) {
        *self.mutation.lock().expect("no test panicked") = mutation;
    }

    fn reads(&self) -> usize {
        self.reads.load(Ordering::Relaxed)
    }

    fn change(&self) -> BoxFuture<'_, Mutation> {
        let answer = self.mutation.lock().expect("no test panicked").clone();
        Box::pin(async move { answer })
    }
}

impl Cloud for Arc<Fake> {
    fn read_instance(&self) -> BoxFuture<'_, Result<InstanceReading, CloudError>> {
        Box::pin(async move {
            self.reads.fetch_add(1, Ordering::Relaxed);
            tokio::time::sleep(Duration::from_millis(50)).await;
            self.reading.lock().expect("no test panicked").clone()
        })
    }

    fn create<'a>(&'a self, _: &'a AttemptId, _: NewAccount<'a>) -> BoxFuture<'a, Mutation> {
        self.change()
    }

    fn set_password<'a>(&'a self, _: &'a AttemptId, _: &'a Username, _: &'a SecretText) -> BoxFuture<'a, Mutation> {
        self.change()
    }

    fn set_access<'a>(&'a self, _: &'a AttemptId, _: &'a Username, _: &'a Access) -> BoxFuture<'a, Mutation> {
        self.change()
    }

    fn delete<'a>(&'a self, _: &'a AttemptId, _: &'a Username) -> BoxFuture<'a, Mutation> {
        self.change()
    }

    fn job_scope(&self) -> &'static str {
        "zone"
    }

    fn jobs<'a>(&'a self, ids: &'a [JobId]) -> BoxFuture<'a, Result<Vec<Job>, CloudError>> {
        let ended = ids.iter().map(|id| Job { id: id.clone(), state: JobState::Succeeded }).collect();
        Box::pin(async { Ok(ended) })
    }

    fn find_job<'a>(&'a self, _: &'a LostCall) -> BoxFuture<'a, Result<Option<Job>, CloudError>> {
        Box::pin(async { Ok(None) })
    }
}

fn connected() -> (Arc<Fake>, Connection) {
    let fake = Arc::new(Fake {
        reads: AtomicUsize::new(0),
        reading: Mutex::new(Ok(listing(&[]))),
        mutation: Mutex::new(Ok(Accepted::Done)),
    });
    let budget = Arc::new(Budget::new(Rate { per_second: 100.0, burst: 100 }, Instant::now()));
    let breaker = Breaker::new(Duration::from_secs(1), LONGEST_PAUSE);
    let credential = Credential::new(ProviderKind::HuaweiCloud, "digest".to_owned(), budget, breaker, LONGEST_PAUSE);
    let connection = Connection::new(
        ProviderKind::HuaweiCloud,
        InstanceKey::new("key-1"),
        Arc::new(credential),
        (Arc::new(Queue::new(Duration::from_secs(900))), Arc::new(DeleteLimit::new(None))),
        Box::new(fake.clone()),
        Duration::from_secs(3),
    );
    (fake, connection)
}

fn listing(usernames: &[&str]) -> InstanceReading {
    let account =
        |name: &&str| Account { username: Username::new(*name), access: Access::default().into(), built_in: false };
    InstanceReading { accounts: Some(usernames.iter().map(account).collect()), ..InstanceReading::default() }
}

fn error(class: ErrorClass) -> CloudError {
    CloudError::new(class, "why")
}

async fn create(connection: &Connection, name: &str) -> Mutation {
    let (username, password) = (Username::new(name), SecretText::new("secret"));
    let account = NewAccount { username: &username, password: &password, access: &Access::default() };
    connection.create(&AttemptId::new("attempt"), account).await
}

async fn turn(connection: &Connection) -> Turn {
    let waiter = Waiter { id: "1".to_owned(), group: "team".to_owned(), urgent: false, wake: Arc::new(|| {}) };
    connection.take_turn(CallKind::Create, &waiter).await
}

fn seconds_until(delay: Option<Delay>) -> i64 {
    match delay {
        Some(Delay::NotBefore(at)) => (at + Duration::from_millis(500)).duration_since(Timestamp::now()).as_secs(),
        other => panic!("not held back: {other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn fifty_users_who_ask_at_once_share_one_read() {
    let (fake, connection) = connected();
    fake.reads_as(Ok(listing(&["user-7"])));
    let asked_from = Timestamp::now();
    let names: Vec<_> = (0..50).map(|n| Username::new(format!("user-{n}"))).collect();
    let seen = join_all(names.iter().map(|name| connection.account(name, asked_from))).await;
    let found: Vec<_> = seen.into_iter().map(|seen| seen.expect("a list").account.is_some()).collect();
    assert_eq!(found.iter().filter(|found| **found).count(), 1);
    assert!(found[7]);
    assert_eq!(fake.reads(), 1);
}

#[tokio::test(start_paused = true)]
async fn newer_list_is_not_asked_for_before_the_last_is_five_seconds_old() {
    let (fake, connection) = connected();
    let first = connection.reading(Timestamp::now()).await.expect("a reading");
    let newer = first.asked_at + Duration::from_nanos(1);
    let delay = connection.reading(newer).await.err();
    assert_eq!(delay, Some(Delay::NotBefore(first.asked_at + Duration::from_secs(5))));
    assert_eq!(connection.reading(first.asked_at).await.expect("the same").asked_at, first.asked_at);
    assert_eq!(fake.reads(), 1);
}

#[tokio::test(start_paused = true)]
async fn own_confirmed_changes_are_laid_over_a_list_that_lags() {
    let (fake, connection) = connected();
    fake.reads_as(Ok(listing(&["old"])));
    let began = Timestamp::now();
    create(&connection, "new").await.expect("created");
    connection.delete(&AttemptId::new("attempt"), &Username::new("old"), true).await.expect("deleted");
    for (name, there) in [("new", true), ("old", false)] {
        let seen = connection.account(&Username::new(name), began).await.expect("a list");
        assert_eq!(seen.account.is_some(), there, "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn change_that_is_not_confirmed_is_not_laid_over_a_list() {
    let (fake, connection) = connected();
    let began = Timestamp::now();
    let outcomes = [
        Ok(Accepted::Job(JobId::new("j-1"))),
        Err(CallError::Unknown(error(ErrorClass::Rejected))),
        Err(CallError::NotApplied(error(ErrorClass::Rejected))),
    ];
    for outcome in outcomes {
        fake.changes_as(outcome.clone());
        assert_eq!(create(&connection, "new").await, outcome);
    }
    assert_eq!(connection.account(&Username::new("new"), began).await.expect("a list").account, None);
}

#[tokio::test(start_paused = true)]
async fn pause_that_concerns_the_credential_holds_back_reads_and_changes() {
    for class in [ErrorClass::Throttled, ErrorClass::AccessDenied] {
        let (fake, connection) = connected();
        let denied = error(class).with_pause(Duration::from_secs(60));
        fake.reads_as(Err(denied.clone()));
        assert_eq!(connection.reading(Timestamp::now()).await.err(), Some(Delay::Failed(denied)));
        assert_eq!(seconds_until(connection.reading(Timestamp::now()).await.err()), 60);
        match turn(&connection).await {
            Turn::NotBefore(at) => assert_eq!(seconds_until(Some(Delay::NotBefore(at))), 60),
            other => panic!("{other:?}"),
        }
        assert_eq!(fake.reads(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn pause_of_a_busy_instance_concerns_nobody_else_and_no_pause_is_endless() {
    let (fake, connection) = connected();
    let hour = Duration::from_secs(3600);
    fake.changes_as(Err(CallError::NotApplied(error(ErrorClass::InstanceBusy).with_pause(hour))));
    create(&connection, "new").await.expect_err("busy");
    assert_eq!(connection.credential.budget.admit(Instant::now()), Ok(()), "its other instances go on");
    fake.changes_as(Err(CallError::NotApplied(error(ErrorClass::Throttled).with_pause(hour))));
    create(&connection, "new").await.expect_err("throttled");
    assert_eq!(seconds_until(connection.reading(Timestamp::now()).await.err()), 600);
}

#[tokio::test(start_paused = true)]
async fn cloud_that_does_not_answer_is_left_alone_until_a_read_is_answered() {
    let (fake, connection) = connected();
    fake.reads_as(Err(error(ErrorClass::Unavailable)));
    fake.changes_as(Err(CallError::Unknown(error(ErrorClass::Unavailable))));
    for _ in 0..4 {
        connection.reading(Timestamp::now()).await.err().expect("down");
    }
    assert!(!connection.credential.breaker.is_open());
    create(&connection, "new").await.expect_err("down");
    assert!(connection.credential.breaker.is_open());
    assert_eq!(seconds_until(connection.reading(Timestamp::now()).await.err()), 1);
    assert!(matches!(turn(&connection).await, Turn::NotBefore(_)));
    assert_eq!(fake.reads(), 4);

    tokio::time::advance(Duration::from_secs(1)).await;
    assert!(matches!(turn(&connection).await, Turn::NotBefore(_)), "the probe, a read, is not answered");
    assert_eq!(fake.reads(), 5);

    fake.reads_as(Ok(listing(&[])));
    tokio::time::advance(Duration::from_secs(2)).await;
    assert_eq!(turn(&connection).await, Turn::Ours, "a change that is wanted sends the probe ahead");
    assert!(!connection.credential.breaker.is_open());
}

#[tokio::test(start_paused = true)]
async fn refusal_is_an_answer_too() {
    let (fake, connection) = connected();
    for class in [ErrorClass::Unavailable, ErrorClass::Rejected, ErrorClass::Unavailable] {
        fake.reads_as(Err(error(class)));
        for _ in 0..4 {
            connection.reading(Timestamp::now()).await.err().expect("refused");
        }
    }
    assert!(!connection.credential.breaker.is_open());
}

fn busy(busy: bool) -> InstanceReading {
    InstanceReading { busy, ..listing(&[]) }
}

fn busy_for(turn: &Turn) -> i64 {
    match turn {
        Turn::Busy(at) => seconds_until(Some(Delay::NotBefore(*at))),
        other => panic!("not taken for busy: {other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn instance_that_a_reading_shows_busy_is_sent_no_change_until_one_shows_it_idle() {
    let (fake, connection) = connected();
    fake.reads_as(Ok(busy(true)));
    connection.reading(Timestamp::now()).await.expect("a reading");
    assert_eq!(busy_for(&turn(&connection).await), 5);
    assert_eq!(busy_for(&turn(&connection).await), 5, "whoever asks next");
    assert_eq!(fake.reads(), 1, "and nobody looks again before that");
}

#[tokio::test(start_paused = true)]
async fn instance_that_refused_a_change_as_busy_is_looked_at_before_the_next() {
    let (fake, connection) = connected();
    // Long enough ago for another.
    connection.reading(Timestamp::now()).await.expect("a reading");
    connection
        .reading
        .lock()
        .await
        .as_mut()
        .map(|reading| Arc::get_mut(reading).map(|it| it.asked_at -= LIST_SHARED_FOR));
    fake.changes_as(Err(CallError::NotApplied(error(ErrorClass::InstanceBusy))));
    create(&connection, "new").await.expect_err("busy");
    assert_eq!(busy_for(&turn(&connection).await), 5);
    assert_eq!(fake.reads(), 1);
    // As if that time were over: the look decides.
    let long_ago = Timestamp::now() - Duration::from_secs(60);
    *connection.busy() = Some((long_ago, Timestamp::now()));
    fake.reads_as(Ok(busy(true)));
    assert_eq!(busy_for(&turn(&connection).await), 60, "as long as it has been busy");
    assert_eq!(fake.reads(), 2);
}

#[tokio::test(start_paused = true)]
async fn look_that_shows_the_instance_idle_gives_the_turn() {
    let (fake, connection) = connected();
    connection.note_busy(true, Timestamp::now() - Duration::from_secs(5));
    assert_eq!(turn(&connection).await, Turn::Ours);
    assert_eq!((fake.reads(), *connection.busy()), (1, None));
}

#[tokio::test(start_paused = true)]
async fn instance_that_was_busy_with_our_own_job_is_free_when_the_job_has_ended() {
    let (fake, connection) = connected();
    fake.reads_as(Ok(busy(true)));
    connection.reading(Timestamp::now()).await.expect("a reading");
    busy_for(&turn(&connection).await);
    connection.job(&JobId::new("j-1")).await.expect("a look");
    assert_eq!(turn(&connection).await, Turn::Ours);
}

#[test]
fn looks_at_a_busy_instance_get_rarer_until_there_is_one_a_minute() {
    let (_, connection) = connected();
    let mut at: Timestamp = "2026-11-22T08:00:00Z".parse().expect("a time");
    let mut pauses = Vec::new();
    for _ in 0..7 {
        connection.note_busy(true, at);
        let (_, until) = connection.busy().expect("busy");
        pauses.push(until.duration_since(at).as_secs());
        at = until;
    }
    assert_eq!(pauses, [5, 5, 10, 20, 40, 60, 60]);
}

#[tokio::test(start_paused = true)]
async fn whoever_cannot_read_the_instance_gets_no_place_in_its_queue() {
    let (fake, connection) = connected();
    fake.reads_as(Err(error(ErrorClass::InstanceNotFound)));
    assert!(matches!(turn(&connection).await, Turn::NotBefore(_)));
    let owner = Waiter { id: "owner".to_owned(), group: "team".to_owned(), urgent: false, wake: Arc::new(|| {}) };
    assert!(connection.queue.take(&owner, Instant::now()), "the queue is free for others");
    fake.reads_as(Ok(listing(&[])));
    assert_eq!(turn(&connection).await, Turn::Waiting, "and it is read first");
    assert_eq!(fake.reads(), 2);
}

//! Every call once, under every answer that the real clouds may turn out to give.

use clickhouse_user_operator::provider::contract::{
    Accepted, CallKind, ErrorClass, Job, JobSeen, JobState, ProviderKind,
};
use emulated_clouds::{Fault, FaultAnswer, JobFate, Moment, Operation, Switches, Target, Which};
use jiff::Timestamp;

use crate::{
    subjects::{Place, QINGCLOUD_BY_POST, Subject, Who},
    world::{self, End, OTHER_PASSWORD, World, create, patiently, read, unhindered},
};

/// What is tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// Read our instance.
    Read,
    /// Read it with a wrong secret.
    ReadAsImpostor,
    /// Read an instance that does not exist.
    ReadNowhere,
    /// Read an instance of another cloud account.
    ReadForeign,
    /// Create an account.
    Create,
    /// Create one on an instance that does not exist.
    CreateNowhere,
    /// Create one whose name is taken.
    CreateExisting,
    /// Create one with a password that the cloud forbids.
    CreateWeak,
    /// Change a password.
    SetPassword,
    /// Change access.
    SetAccess,
    /// Remove an account.
    Delete,
    /// Remove one that is not there.
    DeleteMissing,
    /// Create one; the answer is lost.
    CreateLost,
    /// Create one; the request is lost.
    CreateNeverDone,
    /// Remove one; the answer is lost.
    DeleteLost,
    /// Remove one; the request is lost.
    DeleteNeverDone,
}

use End::{Done, JobFailed, Refused, Unknown};
use Step::{
    Create, CreateExisting, CreateLost, CreateNeverDone, CreateNowhere, CreateWeak, Delete, DeleteLost, DeleteMissing,
    DeleteNeverDone, Read, ReadAsImpostor, ReadForeign, ReadNowhere, SetAccess, SetPassword,
};

const STEPS: [Step; 16] = [
    Read,
    ReadAsImpostor,
    ReadNowhere,
    ReadForeign,
    Create,
    CreateNowhere,
    CreateExisting,
    CreateWeak,
    SetPassword,
    SetAccess,
    Delete,
    DeleteMissing,
    CreateLost,
    CreateNeverDone,
    DeleteLost,
    DeleteNeverDone,
];

/// How a step ends where nothing says otherwise.
fn usual(cloud: ProviderKind, step: Step) -> End {
    let capabilities = cloud.rules().capabilities();
    let offered = |offered| if offered { Done } else { Refused(ErrorClass::Rejected) };
    match (step, cloud) {
        (Read | Create | Delete, _) | (DeleteMissing, ProviderKind::HuaweiCloud) => Done,
        (SetPassword, _) => offered(capabilities.set_password),
        (SetAccess, _) => offered(capabilities.set_access),
        // QingCloud shows nothing of others.
        (ReadNowhere | CreateNowhere, _) | (ReadForeign, ProviderKind::QingCloud) => {
            Refused(ErrorClass::InstanceNotFound)
        }
        // Huawei Cloud's words do not tell a foreign instance from a missing right.
        (ReadAsImpostor, _) | (ReadForeign, ProviderKind::HuaweiCloud) => Refused(ErrorClass::AccessDenied),
        (CreateExisting | DeleteMissing, ProviderKind::QingCloud) => JobFailed,
        (CreateExisting, ProviderKind::HuaweiCloud) => Refused(ErrorClass::AccountExists),
        (CreateWeak, ProviderKind::QingCloud) => Refused(ErrorClass::InvalidSpec),
        (CreateWeak, ProviderKind::HuaweiCloud) => Refused(ErrorClass::InvalidPassword),
        (CreateLost | CreateNeverDone | DeleteLost | DeleteNeverDone, _) => Unknown,
    }
}

/// Ways that begin so; setting; steps; how they end under it.
type Exception = (&'static str, &'static str, &'static [Step], End);

/// Where a setting makes steps end otherwise.
const EXCEPTIONS: &[Exception] = &[
    ("QingCloud", "qingcloud_existing_account=refused-at-once", &[CreateExisting], Refused(ErrorClass::AccountExists)),
    ("QingCloud", "qingcloud_missing_account=successful-job", &[DeleteMissing], Done),
    ("QingCloud", "qingcloud_missing_account=refused-at-once", &[DeleteMissing], Refused(ErrorClass::AccountNotFound)),
    ("QingCloud", "qingcloud_rule_violation=failed-job", &[CreateWeak], JobFailed),
    ("QingCloud", "qingcloud_unknown_cluster=permission-denied", &[CreateNowhere], Refused(ErrorClass::AccessDenied)),
    // The way out is the instance's setting that sends GET.
    (
        "QingCloud by POST",
        "qingcloud_post=refused",
        &[Create, CreateNowhere, CreateExisting, CreateWeak, Delete, DeleteMissing],
        Refused(ErrorClass::Rejected),
    ),
    // A code for anything: the account list, which the operator reads next, tells what it meant.
    (
        "Huawei Cloud",
        "huawei_account_codes=generic",
        &[CreateExisting, DeleteMissing],
        Refused(ErrorClass::InvalidSpec),
    ),
    ("Huawei Cloud", "huawei_foreign_instance=not-found", &[ReadForeign], Refused(ErrorClass::InstanceNotFound)),
    // The gateway does not know the paths, whoever asks for whatever: nothing about the instance is concluded.
    (
        "Huawei Cloud",
        "huawei_published=no",
        &[
            Read,
            ReadAsImpostor,
            ReadNowhere,
            ReadForeign,
            Create,
            CreateNowhere,
            CreateExisting,
            CreateWeak,
            SetPassword,
            SetAccess,
            Delete,
            DeleteMissing,
        ],
        Refused(ErrorClass::Rejected),
    ),
    // The login comes first, and it is refused.
    ("Huawei Cloud by login", "huawei_published=no", &[ReadAsImpostor], Refused(ErrorClass::AccessDenied)),
];

fn expected(subject: &dyn Subject, setting: &str, step: Step) -> End {
    EXCEPTIONS
        .iter()
        // The last is the most special.
        .rfind(|(ways, under, steps, _)| subject.name().starts_with(ways) && *under == setting && steps.contains(&step))
        .map_or_else(|| usual(subject.kind(), step), |(.., end)| *end)
}

async fn every_call_ends_as_the_table_says_under_every_setting(subject: &'static dyn Subject) {
    let concerns = |name: &str| subject.switches().iter().any(|beginning| name.starts_with(beginning));
    let others = Switches::every_setting().into_iter().filter(|(name, _)| concerns(name));
    let settings: Vec<_> = std::iter::once(("defaults".to_owned(), Switches::default())).chain(others).collect();
    assert!(settings.len() > 10, "the switches are named otherwise");
    let mut wrong = Vec::new();
    let mut world = World::start(subject, Switches::default(), unhindered()).await;
    for (number, (setting, switches)) in settings.into_iter().enumerate() {
        // Tokens and job records of an earlier setting would be met again.
        if setting.starts_with("iam_") || setting.starts_with("qingcloud_request_id") {
            world = World::start(subject, switches, unhindered()).await;
        } else {
            world.clouds.set_switches(switches);
        }
        for step in STEPS {
            // No account meets another step's or setting's.
            let username = format!("{}_{number}", format!("{step:?}").to_lowercase());
            let end = take(&world, &setting, step, &username).await;
            let expected = expected(subject, &setting, step);
            if end != expected {
                wrong.push(format!("{setting}: {step:?} ends {end:?}, not {expected:?}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}:\n{}", subject.name(), wrong.join("\n"));
}

/// Takes one step and checks what it left behind; says how it ended.
async fn take(world: &World, setting: &str, step: Step, username: &str) -> End {
    let context = format!("{}, {setting}, {step:?}", world.subject.name());
    match step {
        Read => read_ours(world, username, &context).await,
        ReadAsImpostor => {
            let error = read(&world.connect(Place::Ours(0), Who::Impostor)).await.err();
            let error = error.unwrap_or_else(|| panic!("{context}: a wrong secret opened the instance"));
            let paused = error.class != ErrorClass::AccessDenied || error.pause.is_some();
            assert!(paused, "{context}: it is tried again at once, which locks keys and users: {error:?}");
            Refused(error.class)
        }
        ReadNowhere | ReadForeign => {
            let place = if step == ReadNowhere { Place::Nowhere } else { Place::Foreign };
            let error = read(&world.connect(place, Who::Us)).await.err();
            Refused(error.unwrap_or_else(|| panic!("{context}: it was read")).class)
        }
        CreateNowhere => {
            let connection = world.connect(Place::Nowhere, Who::Us);
            let (_, outcome) = world.change(&connection, CallKind::Create, username).await;
            world.end(&connection, outcome).await
        }
        Create | CreateWeak => create_new(world, step, username, &context).await,
        CreateExisting => {
            let before = world.given(username).await;
            let connection = world.connect(Place::Ours(0), Who::Us);
            let access = world.subject.access(true).0;
            let outcome = create(&connection, &world.attempt(), username, OTHER_PASSWORD, &access).await;
            let end = world.end(&connection, outcome).await;
            assert_ne!(end, Done, "{context}: somebody else's account is taken for ours");
            assert_eq!(world.account(username), Some(before), "{context}: it changed somebody else's account");
            end
        }
        SetPassword => change(world, CallKind::SetPassword, username, &context).await,
        SetAccess => change(world, CallKind::SetAccess, username, &context).await,
        Delete => change(world, CallKind::Delete, username, &context).await,
        DeleteMissing => {
            let connection = world.connect(Place::Ours(0), Who::Us);
            let (_, outcome) = world.change(&connection, CallKind::Delete, username).await;
            world.end(&connection, outcome).await
        }
        CreateLost => lose(world, CallKind::Create, Moment::AfterEffect, username, &context).await,
        CreateNeverDone => lose(world, CallKind::Create, Moment::BeforeEffect, username, &context).await,
        DeleteLost => lose(world, CallKind::Delete, Moment::AfterEffect, username, &context).await,
        DeleteNeverDone => lose(world, CallKind::Delete, Moment::BeforeEffect, username, &context).await,
    }
}

async fn read_ours(world: &World, username: &str, context: &str) -> End {
    world.given(username).await;
    let reading = match read(&world.connect(Place::Ours(0), Who::Us)).await {
        Ok(reading) => reading,
        Err(error) => return Refused(error.class),
    };
    assert!(!reading.instance.busy, "{context}: an idle instance is shown as busy");
    let address = reading.instance.address.as_ref().map(|address| address.host.as_str());
    assert!(address.is_some_and(|host| host.starts_with("192.168.0.")), "{context}: {address:?}");
    let accounts = reading.instance.accounts.as_deref();
    assert_eq!(accounts.is_some(), world.subject.capabilities().list, "{context}: what is listed");
    if let Some(accounts) = accounts {
        let named = |name: &str| accounts.iter().find(|account| account.username.as_str() == name);
        assert_eq!(named("root").map(|account| account.built_in), Some(true), "{context}: {accounts:?}");
        let given = named(username).map(|account| (account.built_in, &*account.access));
        assert_eq!(given, Some((false, &world.subject.access(false).0)), "{context}");
    }
    Done
}

async fn create_new(world: &World, step: Step, username: &str, context: &str) -> End {
    let password = if step == Create { world::PASSWORD } else { "short" };
    let connection = world.connect(Place::Ours(0), Who::Us);
    let (access, in_cloud) = world.subject.access(false);
    let outcome = create(&connection, &world.attempt(), username, password, &access).await;
    let end = world.end(&connection, outcome).await;
    let there = (end == Done).then(|| world.view(password, &in_cloud));
    assert_eq!(world.account(username), there, "{context}: the account does not fit {end:?}");
    end
}

/// Changes an account that is there.
async fn change(world: &World, kind: CallKind, username: &str, context: &str) -> End {
    let before = world.given(username).await;
    let requests = world.clouds.ledger().changing_requests();
    let connection = world.connect(Place::Ours(0), Who::Us);
    let (_, outcome) = world.change(&connection, kind, username).await;
    let end = world.end(&connection, outcome).await;
    let offered = match kind {
        CallKind::Create | CallKind::Delete => true,
        CallKind::SetPassword => world.subject.capabilities().set_password,
        CallKind::SetAccess => world.subject.capabilities().set_access,
    };
    let sent = world.clouds.ledger().changing_requests() - requests;
    assert_eq!(sent, usize::from(offered), "{context}: requests for a change");
    let mut after = Some(before);
    if end == Done {
        match (kind, &mut after) {
            (CallKind::SetPassword, Some(account)) => {
                account.password_digest = world.clouds.password_digest(OTHER_PASSWORD);
            }
            (CallKind::SetAccess, Some(account)) => {
                let old = std::mem::replace(&mut account.access, world.subject.access(true).1);
                if context.contains("huawei_permission_change=adds") {
                    let databases = account.access.databases.as_mut().expect("Huawei Cloud has databases");
                    databases.splice(0..0, old.databases.unwrap_or_default());
                }
            }
            _ => after = None,
        }
    }
    assert_eq!(world.account(username), after, "{context}: the account does not fit {end:?}");
    // What a list shows is what is there, so that a change that came out otherwise is seen.
    if let Ok(Some(accounts)) = world.listed().await {
        let listed = accounts.into_iter().find(|account| account.username.as_str() == username);
        let databases = listed.map(|account| account.access.databases.clone().unwrap_or_default());
        let in_cloud = after.map(|account| account.access.databases.unwrap_or_default().into_iter().collect());
        assert_eq!(databases, in_cloud, "{context}: the list");
    }
    end
}

/// Makes a call and loses request or answer; then reads the truth.
async fn lose(world: &World, kind: CallKind, moment: Moment, username: &str, context: &str) -> End {
    if kind == CallKind::Delete {
        world.given(username).await;
    }
    let before = world.account(username);
    let since = Timestamp::now();
    let target = Target::Operation(world.subject.change(kind));
    world.clouds.inject(Fault { target, which: Which::Next(1), moment, answer: FaultAnswer::Reset });
    let connection = world.connect(Place::Ours(0), Who::Us);
    let (attempt, outcome) = world.change(&connection, kind, username).await;
    let end = world.end(&connection, outcome).await;
    world.jobs_have_ended().await;
    match world.effect_shown(kind, &attempt, username, since).await {
        Ok(shown) => {
            let happened = world.account(username) != before;
            assert_eq!(shown, Some(happened), "{context}: the read does not tell the truth");
        }
        // Then nothing is concluded. Only where nothing can be read at all.
        Err(delay) => assert!(context.contains("huawei_published=no"), "{context}: {delay:?}"),
    }
    end
}

proven_for_every_cloud! {
    every_call_ends_as_the_table_says_under_every_setting
}

#[tokio::test]
async fn job_that_ends_oddly_is_a_success_only_where_the_cloud_says_so() {
    for (fate, expected) in [
        (JobFate::Natural, JobState::Succeeded),
        (JobFate::Failed, JobState::Failed(None)),
        // The cloud says so, and nothing it offers tells otherwise.
        (JobFate::FailedAfterEffect, JobState::Failed(None)),
        // Not a word that is documented: the caller's deadline ends it.
        (JobFate::OddStatus, JobState::Running),
        (JobFate::Stuck, JobState::Running),
    ] {
        let world = World::start(&QINGCLOUD_BY_POST, Switches::default(), unhindered()).await;
        world.clouds.set_job_fate(Operation::AddCkUser, fate);
        let connection = world.connect(Place::Ours(0), Who::Us);
        let (_, outcome) = world.change(&connection, CallKind::Create, "wanted").await;
        let Ok(Accepted::Job(job)) = outcome else { panic!("{fate:?}: {outcome:?}") };
        if fate != JobFate::Stuck {
            world.jobs_have_ended().await;
        }
        let seen = patiently(async || connection.job(&job).await).await.expect("a read without trouble");
        assert_eq!(seen, JobSeen::Found(Job { id: job, state: expected }), "{fate:?}");
    }
}

//! `probe` against the emulated clouds: its answers follow what the clouds do, and it leaves nothing behind.

use std::{
    path::{Path, PathBuf},
    process::{Output, Stdio},
    time::Duration,
};

use emulated_clouds::{
    AccountCodes, Cluster, EmptyDatabases, EmulatedClouds, ExistingAccount, Fault, FaultAnswer, FutureTime, HuaweiKeys,
    HuaweiProject, Instance, JobFate, JobOrder, MissingAccount, Moment, NameCase, Operation, Options, PasswordComma,
    PermissionChange, Post, QingcloudKey, RequestId, Switches, Target, Timing, TransitionStatus, UserNameFilter, Which,
};
use serde_json::Value;
use tempfile::TempDir;
use tokio::process::{Child, Command};

const ZONE: &str = "sh1a";
const CLUSTER: &str = "cl-ouhutv70";
const PROJECT: &str = "23a50154cf494ec9ad6883979a12db0a";
const INSTANCE: &str = "df3ae779e2ad4993a03ccd7a81240125in16";
const TAURUS: &str = "df3ae779e2ad4993a03ccd7a81240125in07";

/// Secrets that must never be printed.
const CANARIES: [&str; 2] = ["qingcloud-secret-canary", "huawei-secret-canary"];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cloud {
    QingCloud,
    HuaweiCloud,
}

/// The emulated clouds, with an instance file and a credentials folder for each.
struct World {
    clouds: EmulatedClouds,
    folder: TempDir,
}

impl World {
    async fn start(switches: Switches) -> Self {
        let timing = Timing { job_duration: Duration::from_millis(50), ..Timing::default() };
        let clouds = EmulatedClouds::start(Options { switches, timing, ..Options::default() }).await;
        let clouds = clouds.expect("the clouds start");
        clouds.add_qingcloud_key(QingcloudKey::new("QINGCLOUDKEY", CANARIES[0]));
        clouds.add_cluster(Cluster::new(ZONE, CLUSTER));
        let domain = "ACCOUNT".to_owned();
        clouds.add_huawei_project(HuaweiProject {
            id: PROJECT.into(),
            name: "cn-north-4".into(),
            domain: domain.clone(),
        });
        clouds.add_huawei_keys(HuaweiKeys {
            access_key: "HUAWEIKEY".into(),
            secret_key: CANARIES[1].into(),
            security_token: None,
            expires_at: None,
            domain,
        });
        clouds.add_instance(Instance::new(PROJECT, INSTANCE, TAURUS));
        let world = Self { clouds, folder: tempfile::tempdir().expect("a folder") };
        for (cloud, key, secret) in
            [(Cloud::QingCloud, "QINGCLOUDKEY", CANARIES[0]), (Cloud::HuaweiCloud, "HUAWEIKEY", CANARIES[1])]
        {
            let credentials = world.credentials(cloud);
            std::fs::create_dir(&credentials).expect("made");
            std::fs::write(credentials.join("accessKeyID"), format!("{key}\n")).expect("written");
            std::fs::write(credentials.join("secretAccessKey"), secret).expect("written");
            std::fs::write(world.file(cloud), world.manifest(cloud)).expect("written");
        }
        world
    }

    fn credentials(&self, cloud: Cloud) -> PathBuf {
        self.folder.path().join(format!("{cloud:?}"))
    }

    fn file(&self, cloud: Cloud) -> PathBuf {
        self.folder.path().join(format!("{cloud:?}.yaml"))
    }

    fn manifest(&self, cloud: Cloud) -> String {
        let origin = |url: url::Url| url.origin().ascii_serialization();
        let block = match cloud {
            Cloud::QingCloud => format!(
                "  qingcloud:\n    zone: {ZONE}\n    clusterID: {CLUSTER}\n    endpoint: {}\n",
                self.clouds.qingcloud_endpoint()
            ),
            Cloud::HuaweiCloud => format!(
                "  huaweicloud:\n    region: cn-north-4\n    projectID: {PROJECT}\n    instanceID: {INSTANCE}\n    \
                 taurusInstanceID: {TAURUS}\n    endpoint: {}\n    iamEndpoint: {}\n",
                origin(self.clouds.huawei_endpoint()),
                origin(self.clouds.iam_endpoint())
            ),
        };
        format!(
            "apiVersion: chuser.dev/v1alpha1\nkind: ClickHouseInstance\nmetadata: {{name: warehouse}}\nspec:\n{block}    \
             credentialsSecretRef: {{name: api}}\n"
        )
    }

    fn origins(&self) -> String {
        [self.clouds.qingcloud_endpoint(), self.clouds.huawei_endpoint(), self.clouds.iam_endpoint()]
            .map(|url| url.origin().ascii_serialization())
            .join(",")
    }

    fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_clickhouse-user-operator"));
        command
            .arg("probe")
            .args([
                "--job-poll-interval",
                "10ms",
                "--qingcloud-rate",
                "1000/s:1000",
                "--huaweicloud-rate",
                "1000/s:1000",
            ])
            .args(["--allowed-endpoints", &self.origins()])
            .env_clear()
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        command
    }

    fn start_probe(&self, cloud: Cloud, flags: &[&str]) -> Child {
        let (file, credentials) = (self.file(cloud), self.credentials(cloud));
        let mut command = self.command();
        command.arg("--file").arg(file).arg("--credentials").arg(credentials).args(flags);
        command.spawn().expect("the program starts")
    }

    async fn probe(&self, cloud: Cloud, flags: &[&str]) -> Output {
        finished(self.start_probe(cloud, flags)).await
    }

    /// The answers of a probe that must succeed.
    async fn answers(&self, cloud: Cloud, flags: &[&str]) -> Answers {
        let output = self.probe(cloud, &[flags, &["--output", "json"]].concat()).await;
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
        Answers(serde_json::from_slice(&output.stdout).expect("JSON"))
    }

    /// The answers once there are jobs of different seconds, whose order can be told.
    async fn answers_of_a_used_cloud(&self, cloud: Cloud) -> Answers {
        for _ in 0..2 {
            self.answers(cloud, &["--create-test-account"]).await;
            self.clouds.advance_clock(Duration::from_secs(2));
        }
        self.answers(cloud, &["--create-test-account"]).await
    }

    fn test_accounts(&self, cloud: Cloud) -> Vec<String> {
        let instance = if cloud == Cloud::QingCloud { CLUSTER } else { INSTANCE };
        self.clouds.accounts(instance).into_keys().filter(|name| name.starts_with("chuser_probe_")).collect()
    }
}

async fn finished(child: Child) -> Output {
    let output = tokio::time::timeout(Duration::from_secs(60), child.wait_with_output()).await;
    let output = output.expect("it ends in time").expect("it ran");
    for canary in CANARIES {
        assert!(!text(&output.stdout).contains(canary) && !text(&output.stderr).contains(canary));
    }
    output
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

struct Answers(Value);

impl Answers {
    fn rows(&self) -> &[Value] {
        self.0["questions"].as_array().expect("a list")
    }

    /// The answer to the question with these words.
    fn to(&self, words: &str) -> &str {
        let row = self.rows().iter().find(|row| row["question"].as_str().is_some_and(|it| it.contains(words)));
        row.unwrap_or_else(|| panic!("nobody asks for {words}: {:#}", self.0))["answer"].as_str().expect("a text")
    }
}

const CLOUDS: [Cloud; 2] = [Cloud::QingCloud, Cloud::HuaweiCloud];

#[tokio::test(flavor = "multi_thread")]
async fn without_leave_nothing_is_changed_and_the_rest_is_told_as_not_asked() {
    let world = World::start(Switches::default()).await;
    for cloud in CLOUDS {
        let answers = world.answers(cloud, &[]).await;
        let unasked = answers.rows().iter().filter(|row| row["answer"] == "not asked: needs --create-test-account");
        assert!(unasked.count() >= 8, "{:#}", answers.0);
        assert_eq!(answers.0["provider"], format!("{cloud:?}"));
        let output = world.probe(cloud, &[]).await;
        let table = text(&output.stdout);
        assert!(table.contains("answer:  not asked: needs --create-test-account"), "{table}");
        assert!(!table.contains("<-- differs"), "the emulation behaves as assumed: {table}");
    }
    let ledger = world.clouds.ledger();
    assert_eq!(ledger.changing_requests(), 0);
    assert!(ledger.requests().count() > 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn with_leave_every_question_is_answered_and_no_account_is_left() {
    let world = World::start(Switches::default()).await;
    for cloud in CLOUDS {
        let answers = world.answers(cloud, &["--create-test-account"]).await;
        for row in answers.rows() {
            let answer = row["answer"].as_str().expect("a text");
            assert!(!answer.contains("no answer") && !answer.contains("--create-test-account"), "{row:#}");
            assert_ne!(row["as_assumed"], false, "{row:#}");
        }
        assert_eq!(world.test_accounts(cloud), [""; 0]);
    }
    let made = world.clouds.ledger().effects().filter(|effect| effect.account.starts_with("chuser_probe_")).count();
    assert!(made >= 4, "accounts were made and removed: {made}");
}

#[tokio::test(flavor = "multi_thread")]
async fn answer_that_contradicts_an_assumption_is_marked_and_every_question_still_has_its_row() {
    let usual = World::start(Switches::default()).await;
    let other = World::start(Switches { qingcloud_post: Post::Refused, ..Switches::default() }).await;
    let answers = other.answers(Cloud::QingCloud, &["--create-test-account"]).await;
    assert_eq!(answers.rows().len() - 1, usual.answers(Cloud::QingCloud, &[]).await.rows().len(), "{:#}", answers.0);
    assert!(answers.to("show the password").starts_with("not asked: "));
    let output = other.probe(Cloud::QingCloud, &["--create-test-account"]).await;
    let marked: Vec<_> =
        text(&output.stdout).lines().filter(|it| it.contains("<-- differs")).map(str::to_owned).collect();
    assert_eq!(marked.len(), 1, "{marked:?}");
    assert!(marked[0].contains("refused: 1101"), "{marked:?}");
}

/// A cloud that behaves otherwise, the question that shows it, and words of the answer.
type Case = (Cloud, fn(&mut Switches), &'static str, &'static str);

const CASES: [Case; 13] = [
    (
        Cloud::QingCloud,
        |it| it.qingcloud_existing_account = ExistingAccount::RefusedAtOnce,
        "a name that exists",
        "2110",
    ),
    (Cloud::QingCloud, |it| it.qingcloud_request_id = RequestId::Dropped, "repeat req_id", "no"),
    (Cloud::QingCloud, |it| it.qingcloud_name_case = NameCase::Same, "in case alone", "its job fails"),
    (Cloud::QingCloud, |it| it.qingcloud_future_time = FutureTime::Accepted, "60 s ahead", "accepted"),
    (Cloud::QingCloud, |it| it.qingcloud_transition_status = TransitionStatus::Empty, "transition_status", "empty"),
    (Cloud::QingCloud, |it| it.qingcloud_post = Post::Refused, "POST forms", "refused"),
    (Cloud::QingCloud, |it| it.qingcloud_job_order = JobOrder::OldestFirst, "order", "oldest first"),
    (Cloud::QingCloud, |it| it.qingcloud_missing_account = MissingAccount::SuccessfulJob, "does not exist", "succeeds"),
    (Cloud::HuaweiCloud, |it| it.huawei_account_codes = AccountCodes::Generic, "account that exists", "DBS.280001"),
    (Cloud::HuaweiCloud, |it| it.huawei_permission_change = PermissionChange::Adds, "replace the list", "no"),
    (Cloud::HuaweiCloud, |it| it.huawei_user_name_filter = UserNameFilter::Substring, "user_name", "any part"),
    (Cloud::HuaweiCloud, |it| it.huawei_empty_databases = EmptyDatabases::Refused, "be empty", "refused at once"),
    (Cloud::HuaweiCloud, |it| it.huawei_password_comma = PasswordComma::Accepted, "comma", "done at once"),
];

#[tokio::test(flavor = "multi_thread")]
async fn answers_follow_what_the_cloud_does() {
    let usual = World::start(Switches::default()).await;
    let mut defaults = Vec::new();
    for cloud in CLOUDS {
        defaults.push(usual.answers_of_a_used_cloud(cloud).await);
    }
    for (cloud, turn, question, answer) in CASES {
        let mut switches = Switches::default();
        turn(&mut switches);
        let other = World::start(switches).await;
        let answers = other.answers_of_a_used_cloud(cloud).await;
        let usual = defaults[usize::from(cloud == Cloud::HuaweiCloud)].to(question);
        assert!(answers.to(question).contains(answer), "{question} {}", answers.to(question));
        assert_ne!(answers.to(question), usual, "{question}");
        assert_eq!(other.test_accounts(cloud), [""; 0], "{question}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn interrupted_probe_removes_its_account() {
    for (cloud, operation) in [(Cloud::QingCloud, Operation::AddCkUser), (Cloud::HuaweiCloud, Operation::CreateUser)] {
        let world = World::start(Switches::default()).await;
        let hold = world.clouds.hold_after_effect(operation);
        let child = world.start_probe(cloud, &["--create-test-account"]);
        hold.reached().await;
        let pid = child.id().expect("it runs").to_string();
        let killed = Command::new("kill").args(["-INT", &pid]).status().await.expect("kill runs");
        assert!(killed.success());
        hold.release();
        let output = finished(child).await;
        assert_eq!(output.status.code(), Some(1));
        let made = world.clouds.ledger().effects().any(|effect| effect.account.starts_with("chuser_probe_"));
        assert!(made, "{cloud:?}: the account was made");
        assert_eq!(world.test_accounts(cloud), [""; 0], "{cloud:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn account_whose_creation_was_not_answered_is_removed() {
    for (cloud, operation) in [(Cloud::QingCloud, Operation::AddCkUser), (Cloud::HuaweiCloud, Operation::CreateUser)] {
        let world = World::start(Switches::default()).await;
        world.clouds.inject(Fault {
            target: Target::Operation(operation),
            which: Which::Next(1),
            moment: Moment::AfterEffect,
            answer: FaultAnswer::Reset,
        });
        let answers = world.answers(cloud, &["--create-test-account"]).await;
        assert!(answers.to("Can a test account be made?").starts_with("no answer: "), "{:#}", answers.0);
        let made = world.clouds.ledger().effects().any(|effect| effect.account.starts_with("chuser_probe_"));
        assert!(made, "{cloud:?}: the account was made");
        assert_eq!(world.test_accounts(cloud), [""; 0], "{cloud:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn account_whose_job_lies_about_its_failure_is_removed() {
    let world = World::start(Switches::default()).await;
    world.clouds.set_job_fate(Operation::AddCkUser, JobFate::FailedAfterEffect);
    world.answers(Cloud::QingCloud, &["--create-test-account"]).await;
    let made = world.clouds.ledger().effects().any(|effect| effect.account.starts_with("chuser_probe_"));
    assert!(made);
    assert_eq!(world.test_accounts(Cloud::QingCloud), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn account_that_cannot_be_removed_is_named() {
    let world = World::start(Switches::default()).await;
    world.clouds.inject(Fault {
        target: Target::Operation(Operation::DeleteUser),
        which: Which::All,
        moment: Moment::BeforeEffect,
        answer: FaultAnswer::Html(502),
    });
    let output = world.probe(Cloud::HuaweiCloud, &["--create-test-account"]).await;
    assert_eq!(output.status.code(), Some(1));
    let left = world.test_accounts(Cloud::HuaweiCloud);
    assert_eq!(left.len(), 1);
    assert!(text(&output.stderr).contains(&left[0]), "{}", text(&output.stderr));
}

#[tokio::test(flavor = "multi_thread")]
async fn override_that_is_not_allowed_is_not_called() {
    let world = World::start(Switches::default()).await;
    for cloud in CLOUDS {
        let output = world.probe(cloud, &["--allowed-endpoints", "https://elsewhere.example"]).await;
        assert_eq!(output.status.code(), Some(2), "the flag was given twice");
        let mut command = Command::new(env!("CARGO_BIN_EXE_clickhouse-user-operator"));
        command.arg("probe").arg("--file").arg(world.file(cloud)).arg("--credentials").arg(world.credentials(cloud));
        let output = command.env_clear().output().await.expect("the program starts");
        assert_eq!(output.status.code(), Some(1));
        assert!(text(&output.stderr).contains("--allowed-endpoints"), "{}", text(&output.stderr));
    }
    assert_eq!(world.clouds.ledger().requests().count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn file_that_check_refuses_is_refused_in_the_same_words() {
    let world = World::start(Switches::default()).await;
    let file = world.file(Cloud::QingCloud);
    let wrong = world.manifest(Cloud::QingCloud).replace("http://", "http://me:qingcloud-secret-canary@");
    for (manifest, words) in [
        (wrong.as_str(), ":8: ClickHouseInstance/warehouse: spec.qingcloud.endpoint: must match"),
        ("a: 1\n", "no instance object"),
        ("a: [", "this is no YAML"),
    ] {
        std::fs::write(&file, manifest).expect("written");
        let output = world.probe(Cloud::QingCloud, &[]).await;
        assert_eq!(output.status.code(), Some(1));
        assert!(text(&output.stderr).contains(words), "{}", text(&output.stderr));
    }
    assert_eq!(world.clouds.ledger().requests().count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn credentials_come_from_the_environment_and_their_absence_is_told() {
    let world = World::start(Switches::default()).await;
    let file = |command: &mut Command| {
        command.arg("--file").arg(world.file(Cloud::QingCloud));
    };
    let mut command = world.command();
    file(&mut command);
    command.env("CLOUD_ACCESS_KEY_ID", "QINGCLOUDKEY").env("CLOUD_SECRET_ACCESS_KEY", CANARIES[0]);
    let output = finished(command.spawn().expect("the program starts")).await;
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let mut command = world.command();
    file(&mut command);
    let output = finished(command.spawn().expect("the program starts")).await;
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).starts_with("credentials: "), "{}", text(&output.stderr));
    let mut command = world.command();
    file(&mut command);
    command.env("CLOUD_ACCESS_KEY_ID", "QINGCLOUDKEY").env("CLOUD_SECRET_ACCESS_KEY", "wrong-huawei-secret");
    let output = finished(command.spawn().expect("the program starts")).await;
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).starts_with("the instance cannot be read: "), "{}", text(&output.stderr));
}

#[tokio::test(flavor = "multi_thread")]
async fn instance_and_credentials_come_from_the_cluster() {
    let plane = control_plane::shared().await;
    let namespace = plane.namespace("probe").await.expect("a namespace");
    let crds = Path::new(env!("CARGO_MANIFEST_DIR")).join("crds");
    let apply = async |arguments: &[&str], input: &str| {
        let output = plane.kubectl_with_input(arguments, input).await.expect("kubectl runs");
        assert!(output.status.success(), "{}", text(&output.stderr));
    };
    apply(&["apply", "-f", &crds.to_string_lossy()], "").await;
    apply(&["wait", "crd", "--all", "--for=condition=Established", "--timeout=60s"], "").await;
    let world = World::start(Switches::default()).await;
    let secret = format!(
        "---\napiVersion: v1\nkind: Secret\nmetadata: {{name: api}}\nstringData: {{accessKeyID: QINGCLOUDKEY, \
         secretAccessKey: {}}}\n",
        CANARIES[0]
    );
    let manifest = world.manifest(Cloud::QingCloud);
    let namespaced = ["--namespace", &namespace];
    apply(&[&namespaced[..], &["apply", "-f", "-"]].concat(), &(manifest + &secret)).await;
    let mut command = world.command();
    command.args(["--instance", "warehouse"]).args(namespaced).env("KUBECONFIG", plane.kubeconfig());
    let output = finished(command.spawn().expect("the program starts")).await;
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let mut command = world.command();
    command.args(["--instance", "nothing"]).args(namespaced).env("KUBECONFIG", plane.kubeconfig());
    let output = finished(command.spawn().expect("the program starts")).await;
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("not found"), "{}", text(&output.stderr));
}

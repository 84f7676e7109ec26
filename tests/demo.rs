//! `hack/demo`, the first thing a newcomer runs, tells its story to the end and leaves nothing behind.

use std::{
    fs,
    path::Path,
    process::{ExitStatus, Stdio},
    time::Duration,
};

use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt, BufReader, Lines},
    process::{Child, ChildStdout, Command},
    sync::Mutex,
    time::timeout,
};

/// How long the story may take once everything is built. It takes some twenty seconds on an idle machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// Each demo runs a whole control plane; one at a time is enough for a machine.
static ONE_AT_A_TIME: Mutex<()> = Mutex::const_new(());

#[tokio::test]
async fn demo_shows_both_clouds_and_leaves_nothing_behind() {
    let _turn = ONE_AT_A_TIME.lock().await;
    let mut demo = Demo::built().await;
    let (said, status) = demo.end().await;
    assert!(status.success(), "{said}\n{}", demo.errors());

    let story = [
        "clickhouseuser.chuser.dev/reporting created",
        "JobRunning",
        "AccountReady",
        "\nj-",
        "\nreporting\n",
        "Code: 193, ",
        "InvalidPassword",
        "Code: 192, ",
        "clickhouseuser.chuser.dev/dashboards created",
        "AccountReady",
        "\ndashboards\n",
        "Code: 193, ",
        "Code: 192, ",
    ];
    let mut rest = said.as_str();
    for words in story {
        let Some(at) = rest.find(words) else { panic!("no {words:?} in its place:\n{said}") };
        rest = &rest[at + words.len()..];
    }
    demo.left_nothing();
}

#[tokio::test]
async fn demo_that_is_interrupted_leaves_nothing_behind() {
    let _turn = ONE_AT_A_TIME.lock().await;
    let mut demo = Demo::built().await;
    demo.until("$ kubectl get chu ").await;
    demo.signal("INT").await;
    let (said, status) = demo.end().await;
    assert_eq!(status.code(), Some(130), "{said}\n{}", demo.errors());
    demo.left_nothing();
}

/// A running demo. What it starts inherits its folder for temporary files, by which it is known again.
struct Demo {
    process: Child,
    output: Lines<BufReader<ChildStdout>>,
    folder: TempDir,
    errors: TempDir,
}

impl Demo {
    /// Starts the demo and waits, for as long as it takes, until everything is built.
    async fn built() -> Self {
        let (folder, errors) =
            (tempfile::tempdir().expect("a temporary folder"), tempfile::tempdir().expect("a temporary folder"));
        // Whoever is started in the background of a script ignores SIGINT, and so does all that it starts; a shell cannot
        // undo that for itself.
        let mut process = Command::new("env")
            .arg("--default-signal=INT")
            .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("hack/demo"))
            .env("TMPDIR", folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(fs::File::create(errors.path().join("log")).expect("a log file"))
            .spawn()
            .expect("the demo starts");
        let output = BufReader::new(process.stdout.take().expect("its output is piped")).lines();
        let mut demo = Self { process, output, folder, errors };
        demo.until("Starting ").await;
        demo
    }

    /// Reads on until a line begins like this.
    async fn until(&mut self, beginning: &str) {
        while let Some(line) = self.output.next_line().await.expect("text") {
            if line.starts_with(beginning) {
                return;
            }
        }
        panic!("the demo ended before {beginning:?}:\n{}", self.errors());
    }

    /// What it says from here on, and how it ends.
    async fn end(&mut self) -> (String, ExitStatus) {
        let mut said = String::new();
        let reading = async {
            while let Some(line) = self.output.next_line().await.expect("text") {
                said.push_str(&line);
                said.push('\n');
            }
            self.process.wait().await.expect("it can be waited for")
        };
        if let Ok(status) = timeout(PATIENCE, reading).await {
            return (said, status);
        }
        self.signal("TERM").await;
        let _ = self.process.wait().await;
        panic!("the demo takes more than {PATIENCE:?}:\n{said}\n{}", self.errors());
    }

    async fn signal(&self, signal: &str) {
        let id = self.process.id().expect("it runs").to_string();
        let sent = Command::new("kill").args(["-s", signal, &id]).status().await.expect("kill runs");
        assert!(sent.success(), "signal {signal} was not sent");
    }

    fn errors(&self) -> String {
        fs::read_to_string(self.errors.path().join("log")).unwrap_or_default()
    }

    /// No file in its folder, and no process that inherited it.
    fn left_nothing(&self) {
        let files: Vec<_> = fs::read_dir(self.folder.path()).expect("the folder is there").flatten().collect();
        assert!(files.is_empty(), "files are left: {files:?}");
        let marker = format!("TMPDIR={}", self.folder.path().display());
        let inherited = |process: &fs::DirEntry| {
            let environment = fs::read(process.path().join("environ")).unwrap_or_default();
            environment.split(|byte| *byte == 0).any(|variable| variable == marker.as_bytes())
        };
        let left: Vec<_> = fs::read_dir("/proc")
            .expect("Linux")
            .flatten()
            .filter(inherited)
            .map(|process| fs::read_to_string(process.path().join("cmdline")).unwrap_or_default())
            .collect();
        assert!(left.is_empty(), "processes are left: {left:?}");
    }
}

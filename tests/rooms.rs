//! Each room of the source keeps to itself: the domain is pure, the providers know no Kubernetes, the controller names
//! no cloud.

use std::{fs, path::Path};

/// Every line of a room that names what it must not know, as `file:line: text`.
fn trespasses(room: &str, forbidden: &[&str]) -> Vec<String> {
    let checkout = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    let mut folders = vec![checkout.join(room)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("the room exists") {
            let path = entry.expect("a readable folder").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|it| it == "rs") {
                let text = fs::read_to_string(&path).expect("a readable file");
                let name = path.strip_prefix(checkout).expect("a path below the checkout").display().to_string();
                let lines = text.lines().enumerate().filter(|(_, line)| names_any(line, forbidden));
                found.extend(lines.map(|(number, line)| format!("{name}:{}: {}", number + 1, line.trim())));
            }
        }
    }
    found.sort();
    found
}

/// Whether a line names one of these, in any case and as a whole word or path.
fn names_any(line: &str, forbidden: &[&str]) -> bool {
    let line = line.to_ascii_lowercase();
    let part_of_word = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric() || c == '_');
    forbidden.iter().any(|word| {
        let (word, any_end) = word.strip_suffix('*').map_or((*word, false), |word| (word, true));
        line.match_indices(&word.to_ascii_lowercase()).any(|(at, _)| {
            let (before, after) = (line[..at].chars().next_back(), line[at + word.len()..].chars().next());
            !part_of_word(before) && (any_end || word.ends_with(':') || !part_of_word(after))
        })
    })
}

fn assert_unnamed(room: &str, forbidden: &[&str]) {
    let found = trespasses(room, forbidden);
    assert!(found.is_empty(), "{room} must not name {}:\n{}", forbidden.join(", "), found.join("\n"));
}

#[test]
fn domain_has_no_client_no_runtime_no_clock_and_no_chance() {
    let io = ["kube::Client", "kube::Api", "kube_runtime", "kube::runtime", "reqwest", "tokio", "std::fs", "std::net"];
    let clock = ["Timestamp::now", "Instant::now", "SystemTime", "rand::", "std::env"];
    assert_unnamed("src/domain", &io);
    assert_unnamed("src/domain", &clock);
}

#[test]
fn providers_know_no_kubernetes() {
    assert_unnamed("src/provider", &["kube", "k8s_openapi", "kube_runtime", "crate::kubeio", "crate::controller"]);
}

#[test]
fn controller_holds_no_secret_and_follows_their_metadata_alone() {
    // A watch of whole Secrets would keep every password of the cluster in memory.
    assert_unnamed("src/controller", &["Api<Secret>", "watcher::<Secret>", "reflector::<Secret>", "Store<Secret>"]);
    let streams = include_str!("../src/controller/streams.rs");
    assert!(streams.contains("PartialObjectMeta<Secret>"), "the watch of Secrets is no longer where this test looks");
}

#[test]
fn logins_know_no_kubernetes_and_no_cloud() {
    let kubernetes = ["kube", "k8s_openapi", "kube_runtime", "crate::kubeio", "crate::controller"];
    assert_unnamed("src/login", &kubernetes);
    assert_unnamed("src/login", &["qingcloud*", "huawei*", "crate::provider"]);
}

#[test]
fn controller_names_no_cloud() {
    assert_unnamed("src/controller", &["qingcloud*", "huawei*"]);
}

#[test]
fn search_sees_whole_names_and_nothing_less() {
    for (line, word, named) in [
        ("use tokio::time;", "tokio", true),
        ("let now = Timestamp::now();", "Timestamp::now", true),
        ("use rand::RngExt;", "rand::", true),
        ("let operand::x = y;", "rand::", false),
        ("a kubelet is no client", "kube", false),
        ("qingcloud_rate: config.qingcloud_rate,", "qingcloud*", true),
        ("HuaweiCloud", "huawei*", true),
    ] {
        assert_eq!(names_any(line, &[word]), named, "{line}");
    }
}

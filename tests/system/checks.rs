//! What holds at the end of every test: no secret has leaked, and the chart's rights were enough.

use base64::{Engine, engine::general_purpose::STANDARD};
use url::form_urlencoded::byte_serialize;

use crate::{
    kubernetes::OPERATOR_NAMESPACE,
    manifests::{BAD_PASSWORD, HUAWEI_SECRET, IAM_PASSWORD, OTHER_PASSWORD, PASSWORD, QINGCLOUD_SECRET},
    world::World,
};

/// Fails where a text holds one of the tests' secrets in any usual spelling, or anything like a token.
pub fn holds_no_secret(place: &str, text: &str) {
    for secret in [PASSWORD, OTHER_PASSWORD, BAD_PASSWORD, QINGCLOUD_SECRET, HUAWEI_SECRET, IAM_PASSWORD] {
        let once: String = byte_serialize(secret.as_bytes()).collect();
        let twice: String = byte_serialize(once.as_bytes()).collect();
        for spelling in [secret.to_owned(), STANDARD.encode(secret), once.to_lowercase(), once, twice] {
            assert!(!text.contains(&spelling), "{place} holds a secret as {spelling:?}:\n{}", around(text, &spelling));
        }
    }
    // Huawei Cloud's tokens begin with MII, those of ServiceAccounts with eyJ; both are long base64.
    for beginning in ["MII", "eyJ"] {
        for (position, _) in text.match_indices(beginning) {
            let letters = text[position..].chars().take_while(|c| c.is_ascii_alphanumeric() || "+/=-_.".contains(*c));
            assert!(letters.count() < 60, "{place} holds a token:\n{}", around(text, beginning));
        }
    }
}

fn around<'a>(text: &'a str, what: &str) -> &'a str {
    text.lines().find(|line| line.contains(what)).unwrap_or_default()
}

impl World {
    /// Ends the test: what must hold in every world.
    pub async fn finish(self) {
        let kinds = "chu,chinst,events.events.k8s.io";
        let objects = self.kubernetes.kubectl(&["get", kinds, "-o", "json", "--show-managed-fields"]).await;
        holds_no_secret("an object", &objects);
        let events = self.kubernetes.plane.audit_since(self.since).await.expect("the audit log can be read");
        // Requests about all namespaces name none; they are every test's own.
        let ours = [self.kubernetes.namespace.as_str(), OPERATOR_NAMESPACE, ""];
        let refused: Vec<_> = events
            .into_iter()
            .filter(|event| event.user.ends_with(":clickhouse-user-operator") && event.code == 403)
            .filter(|event| ours.contains(&event.namespace.as_str()))
            .collect();
        assert!(refused.is_empty(), "the chart's rights do not cover {refused:?}");
        self.finish_without_namespace();
    }

    /// Ends a test that has deleted its namespace, where Events are refused to the very end.
    pub fn finish_without_namespace(self) {
        let log = self.operator.log();
        holds_no_secret("the operator's log", &log);
        for trouble in ["panic", "this is a bug"] {
            assert!(!log.contains(trouble), "the operator's log:\n{}", around(&log, trouble));
        }
    }
}

#[test]
fn secret_is_found_in_every_spelling() {
    let token = format!("MII{}", "aB3+".repeat(20));
    let spellings =
        ["Correct-horse@1#%", "Q29ycmVjdC1ob3JzZUAxIyU=", "Correct-horse%401%23%25", "correct-horse%401%23%25"];
    for text in spellings.into_iter().chain(["Correct-horse%25401%2523%2525", &token]) {
        let found = std::panic::catch_unwind(|| holds_no_secret("a log", &format!("level=info value={text} end")));
        assert!(found.is_err(), "{text}");
    }
    holds_no_secret("a log", "MII is how a token begins, Correct-horse is half of a password");
}

//! What holds at the end of every test: no secret has leaked, the chart's rights were enough, what is settled stays so,
//! and neither side's history shows anything that the operator must never do.

use std::{collections::BTreeMap, time::Duration};

use base64::{Engine, engine::general_purpose::STANDARD};
use clickhouse_user_operator::api::{
    conditions::{self, READY},
    user::ClickHouseUser,
};
use emulated_clouds::Event;
use invariants::History;
use kube::{ResourceExt, api::ListParams};
use url::form_urlencoded::byte_serialize;

use crate::{
    kubernetes::{OPERATOR_NAMESPACE, writes},
    manifests::{BAD_PASSWORD, HUAWEI_SECRET, IAM_PASSWORD, OTHER_PASSWORD, PASSWORD, QINGCLOUD_SECRET},
    world::{PATIENCE, World},
};

/// The operator's name at the API server, by its chart.
pub const OPERATOR_USER: &str = "system:serviceaccount:clickhouse-user-operator:clickhouse-user-operator";

/// How long nothing may happen to settled users. Tests' operators look at jobs every 100 ms and retry within a second.
const HOLD: Duration = Duration::from_millis(500);

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
            .filter(|event| event.user == OPERATOR_USER && event.code == 403)
            .filter(|event| ours.contains(&event.namespace.as_str()))
            .collect();
        assert!(refused.is_empty(), "the chart's rights do not cover {refused:?}");
        self.stays_settled().await;
        self.finish_after_namespace().await;
    }

    /// Ends a test that has deleted its namespace, where Events are refused to the very end.
    pub async fn finish_after_namespace(self) {
        let violations = invariants::check(&self.history().await);
        let shown: Vec<_> = violations.iter().map(ToString::to_string).collect();
        assert!(shown.is_empty(), "{:?}: broken rules:\n{}", self.cloud, shown.join("\n"));
        let log = self.operator.log();
        holds_no_secret("the operator's log", &log);
        for trouble in ["panic", "this is a bug"] {
            assert!(!log.contains(trouble), "the operator's log:\n{}", around(&log, trouble));
        }
    }

    /// What both sides have written down.
    async fn history(&self) -> History {
        let mut secrets = self.secrets.digests(|value| self.clouds.password_digest(value)).await;
        for (_, further) in &self.neighbours {
            secrets.extend(further.digests(|value| self.clouds.password_digest(value)).await);
        }
        let (retry_min, retry_max) = self.operator.retries();
        History {
            operator: OPERATOR_USER.to_owned(),
            operator_namespace: OPERATOR_NAMESPACE.to_owned(),
            namespaces: self.namespaces(),
            requests: self.kubernetes.plane.audit_since(self.since).await.expect("the audit log can be read"),
            clouds: self.past.iter().cloned().chain([self.clouds.ledger()]).collect(),
            secrets,
            orphans: self.orphans.clone(),
            starts: self.operator.starts.clone(),
            retry_min,
            retry_max,
        }
    }

    /// Waits until a while passes in which no user that was Ready at its beginning is written and no account of one is
    /// changed. What a test did last may still be at work; it has to come to an end.
    pub async fn stays_settled(&self) {
        let quiet = async {
            loop {
                let (mark, seen) = (self.kubernetes.mark().await, self.clouds.ledger().entries().len());
                let settled = self.settled().await;
                tokio::time::sleep(HOLD).await;
                let written = self.kubernetes.operator_requests(mark).await;
                let written = written.iter().filter(|it| it.resource == "clickhouseusers" && writes(it));
                let written = written.filter(|it| settled.contains_key(&it.name)).count();
                let ledger = self.clouds.ledger();
                let changed = ledger.entries()[seen..].iter().filter(|entry| match &entry.event {
                    Event::Effect(effect) => settled.values().any(|account| *account == effect.account),
                    _ => false,
                });
                if written + changed.count() == 0 {
                    return;
                }
            }
        };
        tokio::time::timeout(PATIENCE, quiet).await.expect("settled users are left alone");
    }

    /// Users whose manifest is in force, with the names of their accounts.
    async fn settled(&self) -> BTreeMap<String, String> {
        let is_settled = |user: &ClickHouseUser| {
            let status = user.status.as_ref();
            let ready = status.and_then(|status| conditions::find(&status.conditions, READY));
            ready.is_some_and(|ready| ready.status == "True" && ready.observed_generation == user.metadata.generation)
                && user.metadata.deletion_timestamp.is_none()
        };
        let users = self.kubernetes.users().list(&ListParams::default()).await.expect("users");
        let settled = users.iter().filter(|user| is_settled(user));
        settled.map(|user| (user.name_any(), user.username().to_string())).collect()
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

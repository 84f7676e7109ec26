//! From what was seen of a cloud instance to the status of its object. Pure.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::{
    duration,
    plan::{reason_of, whole_seconds},
};
use crate::{
    api::{
        conditions::{self, ReadySummary, Reason},
        instance::{
            ClickHouseInstanceSpec, ClickHouseInstanceStatus, Connection, ConnectionTls, CredentialReading, LoginCheck,
        },
    },
    domain::names::KeyId,
    provider::contract::{Address, CloudError},
};

/// A new count of users is written at most this often: it is for people, and every write costs the API server.
pub const USERS_EVERY: Duration = Duration::from_secs(30);

/// Logins of one user more often than this are a load without a use.
const LOGINS_EVERY: Duration = Duration::from_secs(1);

/// What a pass found out about an instance.
#[derive(Clone, Debug, PartialEq)]
pub struct InstanceVerdict {
    /// Reason of `Ready`.
    pub reason: Reason,
    /// One sentence for people.
    pub message: String,
    /// The pause the cloud asked for.
    pub pause: Option<Duration>,
    /// The credential that read the instance: its digest.
    pub credential: Option<String>,
    /// Where the cloud says clients connect.
    pub address: Option<Address>,
    /// The endpoint that calls go to.
    pub endpoint: Option<String>,
}

impl InstanceVerdict {
    /// A verdict without a reading.
    pub fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self { reason, message: message.into(), pause: None, credential: None, address: None, endpoint: None }
    }

    /// A failed read.
    pub fn failed(error: &CloudError) -> Self {
        let reason = match reason_of(error.class) {
            reason if reason.subject().includes_instances() => reason,
            // A read says nothing of accounts or passwords: whatever else is refused, the request does not fit.
            Reason::InstanceBusy => Reason::ProviderUnavailable,
            _ => Reason::InvalidSpec,
        };
        Self { pause: error.pause, ..Self::new(reason, error.to_string()) }
    }
}

/// The status to write; `None` where its meaning has not changed. `users` is the count to show.
pub fn report(
    old: Option<&ClickHouseInstanceStatus>,
    spec: &ClickHouseInstanceSpec,
    generation: i64,
    verdict: &InstanceVerdict,
    users: Option<i64>,
    key_id: &KeyId,
    now: Timestamp,
) -> Option<ClickHouseInstanceStatus> {
    let mut status = old.cloned().unwrap_or_default();
    let same_manifest = status.observed_generation == Some(generation);
    let summary = ReadySummary { reason: verdict.reason, message: verdict.message.clone() };
    status.conditions = conditions::conditions(&status.conditions, &summary, generation, now);
    status.observed_generation = Some(generation);
    if let Some(block) = spec.provider() {
        status.provider = Some(block.kind());
        status.instance_key = Some(block.instance_key());
    }
    if let Some(endpoint) = &verdict.endpoint {
        status.endpoint = Some(endpoint.clone());
    }
    if let Some(digest) = &verdict.credential {
        let same = status.credential.as_ref().is_some_and(|it| it.digest == *digest && it.key_id == *key_id);
        if !same {
            status.credential = Some(CredentialReading {
                digest: digest.clone(),
                key_id: key_id.clone(),
                read_at: Time(whole_seconds(now)),
            });
        }
    }
    // A look that failed, or was not told the address this time, leaves what was known of it.
    if verdict.address.is_some() || !same_manifest || status.connection.is_none() {
        status.connection = connection(spec.connection.as_ref(), verdict.address.as_ref());
    }
    if users.is_some() {
        status.users = users;
    }
    (old != Some(&status)).then_some(status)
}

/// Whether status was written after a credential with this digest had read the instance. The digest is keyed and covers
/// the endpoints too, so nobody but an operator can have made it, for any other credential or endpoint.
pub fn has_read(status: Option<&ClickHouseInstanceStatus>, digest: &str, key_id: &KeyId) -> bool {
    let read = status.and_then(|status| status.credential.as_ref());
    read.is_some_and(|it| it.digest == digest && it.key_id == *key_id)
}

/// How often to log in as each user.
pub fn login_interval(check: &LoginCheck) -> Result<Duration, String> {
    let interval = duration::duration(check.interval())
        .map_err(|error| format!("spec.loginCheck.interval {:?}: {error}.", check.interval()))?;
    if interval < LOGINS_EVERY {
        return Err(format!("spec.loginCheck.interval {:?}: must be at least 1s.", check.interval()));
    }
    Ok(interval)
}

/// Where clients connect: what the manifest says, else what the cloud reports, else ClickHouse's own ports.
fn connection(wanted: Option<&Connection>, reported: Option<&Address>) -> Option<Connection> {
    let host = wanted.and_then(|it| it.host.clone()).or_else(|| reported.map(|it| it.host.clone()))?;
    let tls = wanted.and_then(|it| it.tls).unwrap_or(match reported {
        Some(address) if address.tls => ConnectionTls::Required,
        _ => ConnectionTls::Disabled,
    });
    // ClickHouse's documented defaults; QingCloud documents no ports, so they are assumed there.
    let (port, http_port) = if tls == ConnectionTls::Required { (9440, 8443) } else { (9000, 8123) };
    Some(Connection {
        host: Some(host),
        port: wanted.and_then(|it| it.port).or_else(|| reported.and_then(|it| it.port)).or(Some(port)),
        http_port: wanted
            .and_then(|it| it.http_port)
            .or_else(|| reported.and_then(|it| it.http_port))
            .or(Some(http_port)),
        tls: Some(tls),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::{domain::names::InstanceKey, provider::contract::ErrorClass};

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + seconds).expect("a small number of seconds")
    }

    fn spec(connection: &Value) -> ClickHouseInstanceSpec {
        let block = json!({"zone": "sh1a", "clusterID": "cl-1", "credentialsSecretRef": {"name": "credentials"}});
        serde_json::from_value(json!({"qingcloud": block, "connection": connection})).expect("a manifest")
    }

    fn reachable() -> InstanceVerdict {
        InstanceVerdict {
            credential: Some("digest".to_owned()),
            endpoint: Some("https://cloud.example/".to_owned()),
            ..InstanceVerdict::new(Reason::Reachable, "Reachable.")
        }
    }

    fn write(
        old: Option<&ClickHouseInstanceStatus>,
        verdict: &InstanceVerdict,
        users: Option<i64>,
        seconds: i64,
    ) -> Option<ClickHouseInstanceStatus> {
        report(old, &spec(&Value::Null), 1, verdict, users, &KeyId::new("key"), at(seconds))
    }

    #[test]
    fn same_look_is_not_written_again() {
        let first = write(None, &reachable(), Some(3), 10).expect("a status");
        assert_eq!(first.instance_key, Some(InstanceKey::new("qingcloud/sh1a/cl-1")));
        assert_eq!(write(Some(&first), &reachable(), Some(3), 500), None);
        assert_eq!(write(Some(&first), &reachable(), None, 500), None);
        assert_eq!(write(Some(&first), &reachable(), Some(4), 500).and_then(|it| it.users), Some(4));
    }

    #[test]
    fn time_of_a_credential_is_that_of_its_first_reading() {
        let first = write(None, &reachable(), None, 10).expect("a status");
        let trouble = InstanceVerdict::new(Reason::ProviderUnavailable, "Down.");
        let down = write(Some(&first), &trouble, None, 20).expect("a status");
        assert_eq!(down.credential, first.credential, "what was read stays known");
        let rotated = InstanceVerdict { credential: Some("other".to_owned()), ..reachable() };
        let next = write(Some(&down), &rotated, None, 30).and_then(|it| it.credential).expect("a credential");
        assert_eq!((next.digest.as_str(), next.read_at), ("other", Time(at(30))));
    }

    #[test]
    fn only_the_credential_on_record_under_the_key_in_use_has_read_the_instance() {
        let status = write(None, &reachable(), None, 10);
        let (ours, other) = (KeyId::new("key"), KeyId::new("other"));
        assert!(has_read(status.as_ref(), "digest", &ours));
        assert!(!has_read(status.as_ref(), "digest", &other), "made under a key that nobody can check");
        assert!(!has_read(status.as_ref(), "elsewhere", &ours));
        let never = write(None, &InstanceVerdict::new(Reason::ProviderUnavailable, "Down."), None, 10);
        assert!(!has_read(never.as_ref(), "digest", &ours) && !has_read(None, "digest", &ours));
    }

    #[test]
    fn failed_look_gives_a_reason_that_instances_have() {
        let table = [
            (ErrorClass::Unavailable, Reason::ProviderUnavailable),
            (ErrorClass::InstanceBusy, Reason::ProviderUnavailable),
            (ErrorClass::Throttled, Reason::Throttled),
            (ErrorClass::AccessDenied, Reason::AccessDenied),
            (ErrorClass::InstanceNotFound, Reason::InstanceNotFound),
            (ErrorClass::InstanceUnavailable, Reason::InstanceUnavailable),
            (ErrorClass::InvalidSpec, Reason::InvalidSpec),
            (ErrorClass::Rejected, Reason::InvalidSpec),
            (ErrorClass::AccountNotFound, Reason::InvalidSpec),
        ];
        for (class, reason) in table {
            let error = CloudError::new(class, "why").with_pause(Duration::from_secs(60));
            let verdict = InstanceVerdict::failed(&error);
            assert_eq!((verdict.reason, verdict.pause), (reason, Some(Duration::from_secs(60))), "{class:?}");
            assert!(verdict.reason.subject().includes_instances());
        }
    }

    #[test]
    fn address_that_a_look_did_not_tell_stays_until_the_manifest_changes() {
        let address = Address { host: "10.0.0.1".to_owned(), port: None, http_port: Some(1234), tls: false };
        let known = InstanceVerdict { address: Some(address), ..reachable() };
        let first = write(None, &known, None, 10).expect("a status");
        assert!(first.connection.is_some());
        let trouble = InstanceVerdict::new(Reason::ProviderUnavailable, "Down.");
        for untold in [trouble, reachable()] {
            let connection =
                write(Some(&first), &untold, None, 20).map_or(first.connection.clone(), |it| it.connection);
            assert_eq!(connection, first.connection);
        }
        let edited = report(Some(&first), &spec(&Value::Null), 2, &reachable(), None, &KeyId::new("key"), at(20));
        assert_eq!(edited.expect("a status").connection, None);
    }

    #[test]
    fn interval_of_logins_is_a_second_or_more() {
        let interval = |text: Option<&str>| login_interval(&LoginCheck { interval: text.map(ToOwned::to_owned) });
        assert_eq!(interval(None), Ok(Duration::from_secs(600)));
        assert_eq!(interval(Some("1m30s")), Ok(Duration::from_secs(90)));
        for text in ["0s", "999ms", "1m1m", "99999999h"] {
            let refusal = interval(Some(text)).expect_err(text);
            assert!(refusal.starts_with("spec.loginCheck.interval"), "{refusal}");
        }
    }

    #[test]
    fn address_is_that_of_the_manifest_then_the_clouds_then_the_usual_ports() {
        let shown = |connection: &Value, address: Option<Address>| {
            let verdict = InstanceVerdict { address, ..reachable() };
            let status = report(None, &spec(connection), 1, &verdict, None, &KeyId::new("key"), at(0));
            status.and_then(|it| it.connection).map(|it| (it.host, it.port, it.http_port, it.tls))
        };
        let address = |tls| Address { host: "10.0.0.1".to_owned(), port: None, http_port: Some(1234), tls };
        let host = |host: &str| Some(host.to_owned());
        let (plain, tls) = (Some(ConnectionTls::Disabled), Some(ConnectionTls::Required));
        assert_eq!(shown(&Value::Null, None), None);
        assert_eq!(shown(&Value::Null, Some(address(false))), Some((host("10.0.0.1"), Some(9000), Some(1234), plain)));
        assert_eq!(shown(&Value::Null, Some(address(true))), Some((host("10.0.0.1"), Some(9440), Some(1234), tls)));
        let wanted = json!({"host": "db.example", "port": 1, "tls": "Required"});
        assert_eq!(shown(&wanted, Some(address(false))), Some((host("db.example"), Some(1), Some(1234), tls)));
        assert_eq!(
            shown(&json!({"host": "db.example"}), None),
            Some((host("db.example"), Some(9000), Some(8123), plain))
        );
    }
}

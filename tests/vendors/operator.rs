//! The operator's provider side as the program builds it: a fleet, and connections through credentials in Secrets.

use std::{sync::Arc, time::Duration};

use clickhouse_user_operator::{
    domain::{
        names::{AttemptId, InstanceKey, Username},
        operator_key::OperatorKey,
        secret::SecretText,
    },
    provider::{
        budget::Rate,
        connection::Connection,
        contract::{Access, Delay, Permission},
        fleet::{Fleet, FleetSettings, Rates, Reached, Target},
        http::Transport,
    },
};
use jiff::Timestamp;
use zeroize::Zeroizing;

/// A fleet whose budget holds nothing back.
pub fn fleet() -> Fleet {
    let rate = Rate { per_second: 1000.0, burst: 1000 };
    Fleet::new(FleetSettings {
        transport: Transport {
            call_timeout: Duration::from_secs(30),
            extra_roots: Vec::new(),
            observer: Arc::new(|_| {}),
        },
        rates: Rates { qingcloud: rate, huaweicloud: rate },
        max_deletes: None,
        job_poll_interval: Duration::from_millis(20),
        job_timeout: Duration::from_secs(60),
        retry_min: Duration::from_millis(10),
        retry_max: Duration::from_secs(600),
    })
}

/// A connection through a Secret of these keys and values.
pub fn connect(fleet: &Fleet, target: &Target, secret: &[(&str, &str)]) -> Arc<Connection> {
    fleet.connect(target, &InstanceKey::new("an/instance"), &|key| value(secret, key), &operator_key()).unwrap()
}

/// The instance behind such a connection, for calls that `probe` alone makes.
pub fn reach(fleet: &Fleet, target: &Target, secret: &[(&str, &str)]) -> Reached {
    fleet.reach(target, &|key| value(secret, key), &operator_key()).unwrap().1
}

fn value(secret: &[(&str, &str)], key: &str) -> Option<SecretText> {
    secret.iter().find(|(name, _)| *name == key).map(|(_, value)| SecretText::new(value.to_owned()))
}

fn operator_key() -> OperatorKey {
    OperatorKey::new(Zeroizing::new([7; 32]))
}

/// Asks until the connection's own pacing lets the question through.
pub async fn asked<T, F: Future<Output = Result<T, Delay>>>(question: impl Fn() -> F) -> T {
    loop {
        match question().await {
            Ok(answer) => return answer,
            Err(Delay::NotBefore(at)) => {
                let left = at.duration_since(Timestamp::now()).try_into().unwrap_or_default();
                tokio::time::sleep(left).await;
            }
            Err(Delay::Failed(error)) => panic!("{error}"),
        }
    }
}

/// An attempt that is told from the others by its number.
pub fn attempt(number: u32) -> AttemptId {
    AttemptId::new(format!("{number:032x}"))
}

/// An account's name.
pub fn username(name: &str) -> Username {
    Username::new(name)
}

/// Access on Huawei Cloud.
pub fn databases(names: &[&str], permission: Permission) -> Access {
    let databases = Some(names.iter().map(|&name| name.to_owned()).collect());
    Access { allowed_hosts: None, databases, permission: Some(permission) }
}

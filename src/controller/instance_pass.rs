//! One pass of one instance object: read its credentials, look at the cloud instance, tell its users.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use kube::runtime::controller::Action;
use rand::RngExt;

use super::{boundary, context::Context, directory::Entry, drift, names::InstanceName, pace::Basis, streams};
use crate::{
    api::{
        AnyInstance, ONE_PROVIDER,
        conditions::{Companion, Reason},
        instance::ClickHouseInstanceStatus,
    },
    domain::{
        backoff,
        instance::{self, InstanceVerdict, USERS_EVERY},
        names::{InstanceKey, KeyId, Uid},
        policy::Invalid,
        secret::SecretText,
        seen::SecretSeen,
        target::{Unusable, noted_target, target},
    },
    kubeio::KubeError,
    provider::{
        connection::Connection,
        contract::Delay,
        fleet::{ConnectError, Target},
    },
};

/// Runs one pass of the instance of this name, and says when the next is due.
pub async fn run(context: Arc<Context>, name: InstanceName) -> Action {
    let Some(object) = context.instance(&name) else {
        context.directory.remove(&name);
        return Action::await_change();
    };
    let Some(uid) = object.metadata().uid.clone().map(Uid::new) else { return Action::await_change() };
    let (basis, now) = (basis(&context, &object, &name), Timestamp::now());
    let failures = match context.instance_pace.admit(&uid, &basis, now) {
        Ok(failures) => failures,
        Err(at) => return Action::requeue(Duration::try_from(at.duration_since(now)).unwrap_or_default()),
    };
    let passed = pass(context.clone(), name.clone(), object, uid.clone());
    let verdict = match boundary::within(context.pass_deadline, passed).await {
        Ok(Ok(ended)) => Some(ended),
        Ok(Err(error)) => {
            tracing::warn!(instance = %name, "instance pass failed: {error}");
            None
        }
        Err(broken) => {
            tracing::error!(instance = %name, "{broken}");
            None
        }
    };
    let (jitter, settings) = (rand::rng().random(), &context.settings);
    let failed = |pause| {
        let delay = backoff::retry_delay(failures, jitter, settings.retry_min, settings.retry_max, pause);
        context.instance_pace.failed(&uid, basis.clone(), Timestamp::now() + delay);
        Action::requeue(delay)
    };
    match verdict {
        None => failed(None),
        // The count of users is not what it should be; it may be written soon.
        Some((verdict, false)) if verdict.reason == Reason::Reachable => Action::requeue(USERS_EVERY),
        Some((verdict, true)) if verdict.reason == Reason::Reachable => {
            context.instance_pace.forget(&uid);
            // Spread over the interval, so that instances made together are not looked at together for ever.
            Action::requeue(context.config.drift_interval.mul_f64(0.9 + 0.2 * jitter))
        }
        Some((verdict, _)) if verdict.reason == Reason::WaitingForSecret => Action::await_change(),
        Some((verdict, _)) if verdict.reason.companion() == Some(Companion::Stalled) => {
            let delay = backoff::slow_delay(jitter, settings.retry_max);
            context.instance_pace.failed(&uid, basis.clone(), Timestamp::now() + delay);
            Action::requeue(delay)
        }
        Some((verdict, _)) => failed(verdict.pause),
    }
}

/// What was found, and whether the count of users in status is the present one.
async fn pass(
    context: Arc<Context>,
    name: InstanceName,
    object: AnyInstance,
    uid: Uid,
) -> Result<(InstanceVerdict, bool), KubeError> {
    let users = context.index.claims(&name);
    if object.is_terminating() && users == 0 {
        if object.is_held() {
            match context.kube.set_in_use(&object, false).await {
                Ok(_) | Err(KubeError::NotFound) => {}
                Err(error) => return Err(error),
            }
        }
        context.directory.remove(&name);
        return Ok((InstanceVerdict::new(Reason::WaitingForSecret, "The object is being deleted."), true));
    }
    let known = context.directory.get(&name).filter(|entry| entry.uid == uid);
    let Looked { verdict, connection, credentials_version, withdrawn } =
        look(&context, &name, &object, known.as_deref(), users).await;
    let generation = object.metadata().generation.unwrap_or_default();
    let old = object.status();
    let present = i64::try_from(users).unwrap_or(i64::MAX);
    let count = context.counts.due(&uid, old.and_then(|status| status.users), present, USERS_EVERY);
    let key_id = context.key.id();
    let report = instance::report(old, object.spec(), generation, &verdict, count, key_id, Timestamp::now());
    let address = report.as_ref().or(old).and_then(|status| status.connection.clone());
    let written = match report {
        Some(status) => context.kube.apply_instance_status(&object, &status).await.map(Some),
        None => Ok(None),
    };
    if let Ok(Some(object)) = &written {
        context.wrote_instance(object.clone());
    }
    let (now, compared_before) = (Timestamp::now(), known.as_ref().and_then(|entry| entry.compared));
    let compared = connection.as_ref().and_then(|connection| connection.listed_at()).or(compared_before);
    let not_found_since =
        connection.as_ref().filter(|it| verdict.reason == Reason::InstanceNotFound && has_read(old, it, key_id));
    let not_found_since = not_found_since.map(|_| known.as_ref().and_then(|it| it.not_found_since).unwrap_or(now));
    // After the status: the first user's write to the object would otherwise meet ours.
    if let Some(block) = object.spec().provider() {
        let entry = Entry {
            uid: uid.clone(),
            generation,
            key: block.instance_key(),
            provider: block.kind(),
            state: (verdict.reason, verdict.message.clone()),
            address,
            // Kept without credentials, so that deletions can still be made.
            connection: connection.or_else(|| known.as_ref().and_then(|entry| entry.connection.clone())),
            withdrawn,
            credentials_version,
            not_found_since,
            gone: not_found_since.is_some_and(|since| since + gone_after(&context) <= now),
            compared,
        };
        let connection = entry.connection.clone();
        if context.directory.set(name.clone(), entry) {
            streams::wake_users_of(&context, &name);
        }
        if let Some(connection) = connection.filter(|_| compared.is_some() && compared != compared_before) {
            drift::wake_drifted(&context, &name, &connection).await;
        }
    }
    match written {
        Ok(_) | Err(KubeError::NotFound | KubeError::Conflict) => Ok((verdict, count == Some(present))),
        Err(error) => Err(error),
    }
}

/// This credential has read the instance before, as status tells: its "not found" then means that the instance is gone,
/// and not that somebody looks with the wrong keys.
fn has_read(status: Option<&ClickHouseInstanceStatus>, connection: &Connection, key_id: &KeyId) -> bool {
    instance::has_read(status, &connection.credential.digest, key_id)
}

/// Two answers this far apart are no passing fault of the cloud.
fn gone_after(context: &Context) -> Duration {
    Duration::from_secs(60).min(context.settings.retry_max)
}

/// What a look at an instance came to.
struct Looked {
    verdict: InstanceVerdict,
    connection: Option<Arc<Connection>>,
    credentials_version: Option<(Uid, String)>,
    withdrawn: bool,
}

impl Looked {
    fn without_connection(verdict: InstanceVerdict) -> Self {
        Self { verdict, connection: None, credentials_version: None, withdrawn: false }
    }
}

/// Reads the credentials where they are new, connects, and looks at the instance. One whose manifest is refused is not
/// looked at; where it has users it is connected all the same, because deletions go on.
async fn look(
    context: &Context,
    name: &InstanceName,
    object: &AnyInstance,
    known: Option<&Entry>,
    users: usize,
) -> Looked {
    let Some(block) = object.spec().provider() else {
        return Looked::without_connection(InstanceVerdict::new(Reason::InvalidSpec, format!("{ONE_PROVIDER}.")));
    };
    let refused = refusal(context, object);
    let (target, refused, withdrawn) = match target(block, &context.config.allowed_endpoints) {
        Ok(target) => (target, refused, false),
        Err(unusable) => {
            let refused = refused.unwrap_or_else(|| verdict_on(unusable));
            let noted = object.status().and_then(|status| status.endpoint.as_deref());
            match noted.and_then(|noted| noted_target(block, noted)) {
                Some(target) => (target, Some(refused), true),
                None => return Looked { withdrawn: true, ..Looked::without_connection(refused) },
            }
        }
    };
    if let Some(refused) = refused.as_ref().filter(|_| users == 0) {
        return Looked { withdrawn, ..Looked::without_connection(refused.clone()) };
    }
    let without = |verdict| {
        let verdict = refused.clone().unwrap_or(verdict);
        Looked { withdrawn, ..Looked::without_connection(verdict) }
    };
    let secret_name = &block.credentials_secret_ref().name;
    // Those of a shared instance are in the operator's own namespace, and nowhere else.
    let namespace = name.namespace.as_ref().unwrap_or(&context.config.operator_namespace);
    let version = match context.secret(&(namespace.clone(), secret_name.clone())) {
        SecretSeen::Present { uid, resource_version } => (uid, resource_version),
        SecretSeen::Missing => {
            let message = format!("Waiting for Secret {secret_name} with the credentials to be created.");
            return without(InstanceVerdict::new(Reason::WaitingForSecret, message));
        }
    };
    let reusable = known.filter(|entry| {
        entry.credentials_version.as_ref() == Some(&version) && Some(entry.generation) == object.metadata().generation
    });
    let connection = match reusable.and_then(|entry| entry.connection.clone()) {
        Some(connection) => connection,
        None => match connect(context, namespace, &block.instance_key(), &target, secret_name, &version.1).await {
            Ok(connection) => connection,
            Err(verdict) => return without(verdict),
        },
    };
    if let Some(refused) = &refused {
        // Whoever can write status could otherwise have credentials used anywhere.
        if withdrawn && !has_read(object.status(), &connection, context.key.id()) {
            return without(refused.clone());
        }
        let (connection, credentials_version) = (Some(connection), Some(version));
        return Looked { verdict: refused.clone(), connection, credentials_version, withdrawn };
    }
    let endpoint = Some(target.endpoint().to_string());
    // Older readings are shared; a forced one would cost every instance object of the credential a call.
    let asked_from = Timestamp::now() - context.config.drift_interval / 2;
    let verdict = match connection.reading(asked_from).await {
        Ok(reading) => InstanceVerdict {
            credential: Some(connection.credential.digest.clone()),
            address: reading.instance.address.clone(),
            endpoint,
            ..InstanceVerdict::new(Reason::Reachable, "The credentials can read the instance.")
        },
        Err(Delay::Failed(error)) => InstanceVerdict { endpoint, ..InstanceVerdict::failed(&error) },
        Err(Delay::NotBefore(at)) => InstanceVerdict {
            pause: at.duration_since(Timestamp::now()).try_into().ok(),
            endpoint,
            ..held_back(known, &connection)
        },
    };
    Looked { verdict, connection: Some(connection), credentials_version: Some(version), withdrawn }
}

fn verdict_on(unusable: Unusable) -> InstanceVerdict {
    match unusable {
        Unusable::InvalidSpec(message) => InstanceVerdict::new(Reason::InvalidSpec, message),
        Unusable::NotAllowed(message) => InstanceVerdict::new(Reason::NotAllowed, message),
    }
}

/// Why the manifest is refused before anything is read.
fn refusal(context: &Context, object: &AnyInstance) -> Option<InstanceVerdict> {
    if let Some(Err(Invalid { field, message })) = context.directory.policy(object) {
        return Some(InstanceVerdict::new(Reason::InvalidSpec, format!("{field}: {message}.")));
    }
    let check = object.spec().login_check.as_ref()?;
    if context.config.allowed_login_targets.is_empty() {
        let message = "spec.loginCheck needs an operator that was started with --allowed-login-targets; remove it, or \
                       ask the operator's owner.";
        return Some(InstanceVerdict::new(Reason::NotAllowed, message));
    }
    instance::login_interval(check).err().map(|message| InstanceVerdict::new(Reason::InvalidSpec, message))
}

/// Our own budget or breaker holds the look back: what was last seen through this credential still stands.
fn held_back(known: Option<&Entry>, connection: &Connection) -> InstanceVerdict {
    let open = connection.credential.breaker.is_open();
    let digest = |entry: &&Entry| entry.connection.as_ref().map(|it| it.credential.digest.clone());
    let known = known.filter(|entry| digest(entry).as_ref() == Some(&connection.credential.digest));
    match known.map(|entry| &entry.state) {
        Some((reason, message)) if !open || *reason != Reason::Reachable => InstanceVerdict::new(*reason, message),
        _ if open => InstanceVerdict::new(
            Reason::ProviderUnavailable,
            "The provider has failed repeatedly; waiting before the next call.",
        ),
        _ => InstanceVerdict::new(Reason::Throttled, "Waiting for the call budget of the credential."),
    }
}

async fn connect(
    context: &Context,
    namespace: &str,
    key: &InstanceKey,
    target: &Target,
    secret_name: &str,
    version: &str,
) -> Result<Arc<Connection>, InstanceVerdict> {
    let secret =
        context.kube.read_secret(namespace, secret_name, Some(version)).await.map_err(|error| match error {
            KubeError::NotFound => InstanceVerdict::new(
                Reason::WaitingForSecret,
                format!("Waiting for Secret {secret_name} with the credentials to be created."),
            ),
            error => InstanceVerdict::new(
                Reason::ProviderUnavailable,
                format!("Secret {secret_name} with the credentials cannot be read: {error}."),
            ),
        })?;
    // A line break at the end of a key is what `echo` leaves behind; no cloud's keys hold blanks.
    let value = |key: &str| {
        let text = std::str::from_utf8(secret.get(key)?).ok()?.trim();
        (!text.is_empty()).then(|| SecretText::new(text))
    };
    context.fleet.connect(target, key, &value, &context.key).map_err(|error| match error {
        ConnectError::Credentials(what) => {
            InstanceVerdict::new(Reason::WaitingForSecret, format!("Secret {secret_name} is not complete: {what}."))
        }
        ConnectError::Tls(error) => InstanceVerdict::failed(&error),
    })
}

/// What a retry of this instance waits for besides time.
fn basis(context: &Context, object: &AnyInstance, name: &InstanceName) -> Basis {
    let namespace = name.namespace.as_ref().unwrap_or(&context.config.operator_namespace);
    let secret = object.spec().provider().map(|block| block.credentials_secret_ref().name.clone());
    let version = secret.map(|secret| context.secret(&(namespace.clone(), secret)));
    Basis {
        generation: object.metadata().generation.unwrap_or_default(),
        secret: match version {
            Some(SecretSeen::Present { uid, resource_version }) => Some((uid, resource_version)),
            _ => None,
        },
        instance: None,
        requested: None,
    }
}

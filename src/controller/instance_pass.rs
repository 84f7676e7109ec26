//! One pass of one instance object: read its credentials, look at the cloud instance, tell its users.

use std::{panic::AssertUnwindSafe, sync::Arc, time::Duration};

use futures::FutureExt;
use jiff::Timestamp;
use kube::{
    ResourceExt,
    runtime::{controller::Action, reflector::ObjectRef},
};
use rand::RngExt;

use super::{context::Scope, directory::Entry, index::Name, pace::Basis};
use crate::{
    api::{
        IN_USE_FINALIZER, ONE_PROVIDER,
        conditions::{Companion, Reason},
        instance::ClickHouseInstance,
    },
    domain::{
        backoff,
        instance::{self, InstanceVerdict, USERS_EVERY},
        names::{InstanceKey, Uid},
        secret::SecretText,
        seen::SecretSeen,
        target::{Unusable, target},
    },
    kubeio::KubeError,
    provider::{
        connection::Connection,
        contract::Delay,
        fleet::{ConnectError, Target},
    },
};

/// Runs one pass of the instance of this name, and says when the next is due.
pub async fn run(scope: Arc<Scope>, name: Name) -> Action {
    let reference = ObjectRef::<ClickHouseInstance>::new(&name.1).within(&name.0);
    let Some(watched) = scope.instances.get(&reference) else {
        scope.directory.remove(&name);
        return Action::await_change();
    };
    let object = scope.written_instances.newest(watched);
    let Some(uid) = object.uid().map(Uid::new) else { return Action::await_change() };
    let (basis, now) = (basis(&scope, &object, &name), Timestamp::now());
    let failures = match scope.instance_pace.admit(&uid, &basis, now) {
        Ok(failures) => failures,
        Err(at) => return Action::requeue(Duration::try_from(at.duration_since(now)).unwrap_or_default()),
    };
    let context = scope.context.clone();
    let guarded = AssertUnwindSafe(pass(scope.clone(), name.clone(), object, uid.clone())).catch_unwind();
    let verdict = match tokio::time::timeout(context.pass_deadline, guarded).await {
        Ok(Ok(Ok(ended))) => Some(ended),
        Ok(Ok(Err(error))) => {
            tracing::warn!(namespace = name.0, name = name.1, "instance pass failed: {error}");
            None
        }
        Ok(Err(_)) => {
            tracing::error!(namespace = name.0, name = name.1, "a pass panicked; this is a bug, please report it");
            None
        }
        Err(_) => {
            tracing::warn!(namespace = name.0, name = name.1, "a pass was cut off at its deadline");
            None
        }
    };
    let (jitter, settings) = (rand::rng().random(), &context.settings);
    let failed = |pause| {
        let delay = backoff::retry_delay(failures, jitter, settings.retry_min, settings.retry_max, pause);
        scope.instance_pace.failed(&uid, basis.clone(), Timestamp::now() + delay);
        Action::requeue(delay)
    };
    match verdict {
        None => failed(None),
        // The count of users is not what it should be; it may be written soon.
        Some((verdict, false)) if verdict.reason == Reason::Reachable => Action::requeue(USERS_EVERY),
        Some((verdict, true)) if verdict.reason == Reason::Reachable => {
            scope.instance_pace.forget(&uid);
            // Spread over the interval, so that instances made together are not looked at together for ever.
            Action::requeue(context.config.drift_interval.mul_f64(0.9 + 0.2 * jitter))
        }
        Some((verdict, _)) if verdict.reason == Reason::WaitingForSecret => Action::await_change(),
        Some((verdict, _)) if verdict.reason.companion() == Some(Companion::Stalled) => {
            let delay = backoff::slow_delay(jitter, settings.retry_max);
            scope.instance_pace.failed(&uid, basis.clone(), Timestamp::now() + delay);
            Action::requeue(delay)
        }
        Some((verdict, _)) => failed(verdict.pause),
    }
}

/// What was found, and whether the count of users in status is the present one.
async fn pass(
    scope: Arc<Scope>,
    name: Name,
    object: Arc<ClickHouseInstance>,
    uid: Uid,
) -> Result<(InstanceVerdict, bool), KubeError> {
    let context = scope.context.clone();
    let users = scope.index.claims(&name);
    if object.metadata.deletion_timestamp.is_some() && users == 0 {
        if object.finalizers().iter().any(|finalizer| finalizer == IN_USE_FINALIZER) {
            match context.kube.set_in_use(&object, false).await {
                Ok(_) | Err(KubeError::NotFound) => {}
                Err(error) => return Err(error),
            }
        }
        scope.directory.remove(&name);
        return Ok((InstanceVerdict::new(Reason::WaitingForSecret, "The object is being deleted."), true));
    }
    let known = scope.directory.get(&name).filter(|entry| entry.uid == uid);
    let (verdict, connection, credentials_version) = look(&scope, &name, &object, known.as_ref()).await;
    let generation = object.metadata.generation.unwrap_or_default();
    let old = object.status.as_ref();
    let present = i64::try_from(users).unwrap_or(i64::MAX);
    let count = scope.counts.due(&uid, old.and_then(|status| status.users), present, USERS_EVERY);
    let key_id = context.key.id();
    let report = instance::report(old, &object.spec, generation, &verdict, count, key_id, Timestamp::now());
    let address = report.as_ref().or(old).and_then(|status| status.connection.clone());
    let written = match report {
        Some(status) => context.kube.apply_instance_status(&object, &status).await.map(Some),
        None => Ok(None),
    };
    if let Ok(Some(object)) = &written {
        scope.written_instances.wrote(Arc::new(object.clone()));
    }
    // After the status: the first user's write to the object would otherwise meet ours.
    if let Some(block) = object.spec.provider() {
        let entry = Entry {
            uid: uid.clone(),
            generation,
            key: block.instance_key(),
            provider: block.kind(),
            state: (verdict.reason, verdict.message.clone()),
            address,
            // Kept without credentials, so that deletions can still be made.
            connection: connection.or_else(|| known.as_ref().and_then(|entry| entry.connection.clone())),
            credentials_version,
        };
        if scope.directory.set(name.clone(), entry) {
            for user in scope.index.users_of_instance(&name) {
                scope.wake_user(&user);
            }
        }
    }
    match written {
        Ok(_) | Err(KubeError::NotFound | KubeError::Conflict) => Ok((verdict, count == Some(present))),
        Err(error) => Err(error),
    }
}

type Looked = (InstanceVerdict, Option<Arc<Connection>>, Option<(Uid, String)>);

/// Reads the credentials where they are new, connects, and looks at the instance.
async fn look(scope: &Scope, name: &Name, object: &ClickHouseInstance, known: Option<&Entry>) -> Looked {
    let context = &scope.context;
    let without = |verdict| (verdict, None, None);
    let Some(block) = object.spec.provider() else {
        return without(InstanceVerdict::new(Reason::InvalidSpec, format!("{ONE_PROVIDER}.")));
    };
    if let Some(check) = &object.spec.login_check {
        if context.config.allowed_login_targets.is_empty() {
            let message = "spec.loginCheck needs an operator that was started with --allowed-login-targets; remove it, \
                           or ask the operator's owner.";
            return without(InstanceVerdict::new(Reason::NotAllowed, message));
        }
        if let Err(message) = instance::login_interval(check) {
            return without(InstanceVerdict::new(Reason::InvalidSpec, message));
        }
    }
    let target = match target(block, &context.config.allowed_endpoints) {
        Ok(target) => target,
        Err(Unusable::InvalidSpec(message)) => return without(InstanceVerdict::new(Reason::InvalidSpec, message)),
        Err(Unusable::NotAllowed(message)) => return without(InstanceVerdict::new(Reason::NotAllowed, message)),
    };
    let secret_name = &block.credentials_secret_ref().name;
    let version = match scope.secrets.get(&(name.0.clone(), secret_name.clone())) {
        SecretSeen::Present { uid, resource_version } => (uid, resource_version),
        SecretSeen::Missing => {
            let message = format!("Waiting for Secret {secret_name} with the credentials to be created.");
            return without(InstanceVerdict::new(Reason::WaitingForSecret, message));
        }
    };
    let reusable = known.filter(|entry| {
        entry.credentials_version.as_ref() == Some(&version) && Some(entry.generation) == object.metadata.generation
    });
    let connection = match reusable.and_then(|entry| entry.connection.clone()) {
        Some(connection) => connection,
        None => match connect(scope, &name.0, &block.instance_key(), &target, secret_name, &version.1).await {
            Ok(connection) => connection,
            Err(verdict) => return without(verdict),
        },
    };
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
    (verdict, Some(connection), Some(version))
}

/// Our own budget or breaker holds the look back: what was last seen still stands.
fn held_back(known: Option<&Entry>, connection: &Connection) -> InstanceVerdict {
    let open = connection.credential.breaker.is_open();
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
    scope: &Scope,
    namespace: &str,
    key: &InstanceKey,
    target: &Target,
    secret_name: &str,
    version: &str,
) -> Result<Arc<Connection>, InstanceVerdict> {
    let context = &scope.context;
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
fn basis(scope: &Scope, object: &ClickHouseInstance, name: &Name) -> Basis {
    let secret = object.spec.provider().map(|block| block.credentials_secret_ref().name.clone());
    let version = secret.map(|secret| scope.secrets.get(&(name.0.clone(), secret)));
    Basis {
        generation: object.metadata.generation.unwrap_or_default(),
        secret: match version {
            Some(SecretSeen::Present { uid, resource_version }) => Some((uid, resource_version)),
            _ => None,
        },
        instance: None,
        requested: None,
    }
}

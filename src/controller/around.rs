//! What a pass does around an account that is in order: it logs in, and keeps the connection Secret.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use jiff::Timestamp;

use super::act::Acting;
use crate::{
    domain::{
        connection_secret::{Comparison, ConnectionSecret},
        names::Uid,
        seen::{ConnectionSecretFound, InstanceSeen, LoginSeen, SecretSeen},
    },
    kubeio::{KubeError, connection_secrets::Owner},
};

/// What this process remembers of each user's login and connection Secret. Lost with it, which costs a login and a read.
#[derive(Default)]
pub struct Around {
    users: Mutex<HashMap<Uid, Remembered>>,
}

/// What is remembered of one user.
#[derive(Clone, Default)]
pub struct Remembered {
    /// When a login was last tried.
    pub login_tried: Option<Timestamp>,
    /// What the connection Secret was found to say, or was made to say, and at which version.
    pub connection_secret: Option<(SecretSeen, ConnectionSecret)>,
    /// When the connection Secret was last written.
    pub written_at: Option<Timestamp>,
}

impl Around {
    /// What is remembered of this user.
    pub fn of(&self, uid: &Uid) -> Remembered {
        self.users().get(uid).cloned().unwrap_or_default()
    }

    /// The user is gone.
    pub fn forget(&self, uid: &Uid) {
        self.users().remove(uid);
    }

    fn remember(&self, uid: &Uid, what: impl FnOnce(&mut Remembered)) {
        what(self.users().entry(uid.clone()).or_default());
    }

    fn users(&self) -> MutexGuard<'_, HashMap<Uid, Remembered>> {
        self.users.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Acting {
    /// Logs in to ClickHouse as the account.
    pub(super) async fn log_in(&mut self) {
        let connection = match &self.seen.instance {
            InstanceSeen::Present(facts) => facts.connection.as_ref(),
            _ => None,
        };
        let seen = match (connection, &self.password) {
            (Some(connection), Some(password)) => {
                self.scope.context.logins.login(connection, &self.desired.username, password).await
            }
            (None, _) => LoginSeen::Unreachable("No host is known to log in to.".to_owned()),
            (_, None) => LoginSeen::Unreachable("The password was not read in this pass.".to_owned()),
        };
        if seen != LoginSeen::Busy {
            let now = Timestamp::now();
            self.scope.around.remember(&self.desired.uid, |it| it.login_tried = Some(now));
        }
        self.seen.login = Some(seen);
    }

    /// Reads the connection Secret and holds it against the one that should be there.
    pub(super) async fn read_connection_secret(&mut self, wanted: ConnectionSecret, exact: bool) {
        let read = self.kube.find_secret(&self.desired.namespace, &wanted.name).await;
        let found = match read {
            Ok(found) => {
                let (key, seen) = (&self.scope.context.key, &self.seen.instance);
                let fingerprint = |password: &_| match seen {
                    InstanceSeen::Present(facts) => key.fingerprint(&facts.key, &self.desired.username, password),
                    _ => wanted.fingerprint.clone(),
                };
                let comparison = wanted.compare(&found, &self.desired.uid, exact, fingerprint);
                let version = (found.uid.clone(), found.resource_version.clone());
                self.found_secret = Some(found);
                match comparison {
                    Comparison::Same => return self.connection_secret_is(wanted, version),
                    Comparison::Foreign => ConnectionSecretFound::Foreign,
                    Comparison::Different => ConnectionSecretFound::Different,
                }
            }
            Err(KubeError::NotFound) => ConnectionSecretFound::Missing,
            Err(error) => ConnectionSecretFound::Failed(format!("Secret {} cannot be read: {error}.", wanted.name)),
        };
        self.seen.connection_secret.found = Some(found);
    }

    /// Creates the connection Secret, or writes over the one that was read.
    pub(super) async fn write_connection_secret(&mut self, wanted: ConnectionSecret, exact: bool) {
        let failed = |error: &str| {
            ConnectionSecretFound::Failed(format!(
                "The account is there, but Secret {} cannot be written: {error}.",
                wanted.name
            ))
        };
        let kube = &self.kube;
        let written = match (&self.password, &self.found_secret) {
            (Some(password), None) => kube.create_connection_secret(self.owner(), &wanted, password).await,
            (Some(password), Some(found)) => {
                kube.restore_connection_secret(self.owner(), found, &wanted, exact, password).await
            }
            (None, _) => {
                self.seen.connection_secret.found = Some(failed("the password was not read in this pass"));
                return;
            }
        };
        match written {
            Ok(version) => {
                let now = Timestamp::now();
                self.scope.around.remember(&self.desired.uid, |it| it.written_at = Some(now));
                self.connection_secret_is(wanted, version);
            }
            Err(error) => self.seen.connection_secret.found = Some(failed(&error.to_string())),
        }
    }

    /// Removes a connection Secret that is no longer asked for.
    pub(super) async fn remove_connection_secret(&mut self, name: &str) {
        let removed = self.kube.remove_connection_secret(self.owner(), name).await;
        if let Err(error) = &removed {
            let (namespace, user) = (&self.desired.namespace, &self.desired.name);
            tracing::warn!(namespace, name = user, "Secret {name} cannot be removed: {error}");
        }
        self.seen.connection_secret.removed = Some(removed.map_err(|error| error.to_string()));
    }

    fn connection_secret_is(&mut self, wanted: ConnectionSecret, (uid, resource_version): (Uid, String)) {
        let known = (SecretSeen::Present { uid, resource_version }, wanted);
        self.scope.around.remember(&self.desired.uid, |it| it.connection_secret = Some(known));
        self.seen.connection_secret.found = Some(ConnectionSecretFound::Same);
    }

    fn owner(&self) -> Owner<'_> {
        Owner { namespace: &self.desired.namespace, name: &self.desired.name, uid: &self.desired.uid }
    }
}

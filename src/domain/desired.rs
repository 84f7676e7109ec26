//! What a `ClickHouseUser` asks for, with every default resolved and every name typed.

use jiff::Timestamp;

use super::names::{Uid, Username};
use crate::{
    api::{
        RECONCILE_REQUESTED_ANNOTATION,
        user::{AdoptionPolicy, ClickHouseUser, ConnectionSecretSpec, DeletionPolicy, InstanceKind, UpdatePolicy},
    },
    provider::contract::WantedAccess,
};

/// Where the password comes from, always in the user's own namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PasswordSource {
    /// Name of the Secret.
    pub secret: String,
    /// Key in its data.
    pub key: String,
    /// `passwordSecretRef.revision`: a change sends the password again. Empty and absent are the same.
    pub revision: Option<String>,
}

/// The manifest, resolved.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a wish of its own, said or not said")]
pub struct Desired {
    /// `metadata.uid`
    pub uid: Uid,
    /// `metadata.namespace`
    pub namespace: String,
    /// `metadata.name`
    pub name: String,
    /// `metadata.generation`
    pub generation: i64,
    /// `metadata.creationTimestamp`
    pub created_at: Timestamp,
    /// `metadata.deletionTimestamp`
    pub deleted_at: Option<Timestamp>,
    /// `spec.suspend`
    pub suspend: bool,
    /// `spec.deletionPolicy: Retain`
    pub retain: bool,
    /// `spec.updatePolicy: Recreate`: what the cloud cannot change in place may be deleted and added again.
    pub recreate: bool,
    /// `spec.adoptionPolicy: Adopt`: an account of that name that is there already may become ours.
    pub adopt: bool,
    /// `spec.expiresAt`
    pub expires_at: Option<Timestamp>,
    /// Value of `chuser.dev/reconcile-requested-at`: another one than was handled last forces a look.
    pub requested: Option<String>,
    /// Which kind of instance object is meant.
    pub instance_kind: InstanceKind,
    /// Its name.
    pub instance_name: String,
    /// The account.
    pub username: Username,
    /// The access asked for.
    pub access: WantedAccess,
    /// The password's source.
    pub password: PasswordSource,
    /// `spec.connectionSecret`
    pub connection_secret: Option<ConnectionSecretSpec>,
}

impl Desired {
    /// Reads the manifest. `None` for an object the API server has not given a uid and a namespace, which none it
    /// serves lacks.
    pub fn of(user: &ClickHouseUser) -> Option<Self> {
        let (metadata, spec) = (&user.metadata, &user.spec);
        let name = metadata.name.clone()?;
        Some(Self {
            uid: Uid::new(metadata.uid.clone()?),
            namespace: metadata.namespace.clone()?,
            generation: metadata.generation.unwrap_or_default(),
            created_at: metadata.creation_timestamp.as_ref().map_or(Timestamp::UNIX_EPOCH, |time| time.0),
            deleted_at: metadata.deletion_timestamp.as_ref().map(|time| time.0),
            suspend: spec.suspended(),
            retain: spec.deletion_policy() == DeletionPolicy::Retain,
            recreate: spec.update_policy() == UpdatePolicy::Recreate,
            adopt: spec.adoption_policy() == AdoptionPolicy::Adopt,
            expires_at: spec.expires_at.as_ref().map(|time| time.0),
            requested: metadata.annotations.as_ref().and_then(|it| it.get(RECONCILE_REQUESTED_ANNOTATION)).cloned(),
            instance_kind: spec.instance_ref.kind(),
            instance_name: spec.instance_ref.name.clone(),
            username: user.username(),
            access: WantedAccess {
                allowed_hosts: spec.allowed_hosts.clone(),
                databases: spec.databases.clone(),
                permission: spec.permission,
            },
            password: PasswordSource {
                secret: spec.password_secret_ref.name.clone(),
                key: spec.password_secret_ref.key().to_owned(),
                revision: Some(spec.password_secret_ref.revision().to_owned()).filter(|revision| !revision.is_empty()),
            },
            connection_secret: spec.connection_secret.clone(),
            name,
        })
    }

    /// When the present wish came up: what waits since then is told to people after a while.
    pub fn since(&self) -> Timestamp {
        self.deleted_at.unwrap_or(self.created_at)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn user(extra: &Value) -> ClickHouseUser {
        let mut spec = json!({"instanceRef": {"name": "instance"}, "passwordSecretRef": {"name": "password"}});
        for (field, value) in extra.as_object().expect("fields") {
            spec[field] = value.clone();
        }
        let mut user = ClickHouseUser::new("reporting", serde_json::from_value(spec).expect("a manifest"));
        user.metadata.uid = Some("uid-1".to_owned());
        user.metadata.namespace = Some("team".to_owned());
        user
    }

    fn desired(extra: &Value) -> Desired {
        Desired::of(&user(extra)).expect("an object of the API server")
    }

    #[test]
    fn what_is_left_out_has_its_default() {
        let desired = desired(&json!({}));
        assert_eq!(desired.username, Username::new("reporting"));
        assert_eq!(desired.instance_kind, InstanceKind::ClickHouseInstance);
        let password = PasswordSource { secret: "password".to_owned(), key: "password".to_owned(), revision: None };
        assert_eq!(desired.password, password);
        assert_eq!(desired.access, WantedAccess::default());
        assert_eq!((desired.suspend, desired.retain, desired.connection_secret), (false, false, None));
    }

    #[test]
    fn empty_revision_is_none() {
        let reference = |revision: &str| json!({"passwordSecretRef": {"name": "password", "revision": revision}});
        assert_eq!(desired(&reference("")).password.revision, None);
        assert_eq!(desired(&reference("2")).password.revision, Some("2".to_owned()));
    }

    #[test]
    fn object_that_the_api_server_has_not_taken_is_not_read() {
        let mut nameless = user(&json!({}));
        nameless.metadata.uid = None;
        assert_eq!(Desired::of(&nameless), None);
    }

    #[test]
    fn wish_of_a_deleted_object_counts_from_its_deletion() {
        let created = Desired { created_at: Timestamp::UNIX_EPOCH, ..desired(&json!({})) };
        assert_eq!(created.since(), Timestamp::UNIX_EPOCH);
        let later = Timestamp::from_second(100).expect("a time");
        assert_eq!(Desired { deleted_at: Some(later), ..created }.since(), later);
    }
}

//! Whether the password in force is the one in the Secret.

use super::{AccountChange, Situation, Step, Verdict, attempt::Attempt, refused, settled::ACCOUNT_READY};
use crate::seeded::{Bug, seeded};
use crate::{
    api::{conditions::Reason, user::OperationKind},
    domain::{
        journal::SecretVersion,
        names::Fingerprint,
        seen::{InstanceFacts, LoginSeen, PasswordSeen, RecordedPassword, SecretSeen},
    },
    provider::contract::{CallKind, Turn},
};

/// Whether the password in force is the Secret's.
pub(super) enum Password {
    /// It is; what there is to note of it.
    InForce(AccountChange),
    /// It is not: this one is to be set.
    Due(SecretVersion, Fingerprint),
}

impl Situation<'_> {
    /// The password in force, as far as the record or the journal tells.
    pub(super) fn known_password(&self) -> Option<RecordedPassword> {
        let recorded = self.seen.record.password.clone();
        recorded.or_else(|| {
            let intent = self.seen.intent.as_ref()?;
            // A SetPassword tells only once it has succeeded: an adoption, whose status follows with the access.
            let tells = match intent.kind {
                OperationKind::SetAccess => true,
                OperationKind::SetPassword => matches!(self.attempt(OperationKind::SetPassword), Attempt::None),
                _ => false,
            };
            Some(RecordedPassword {
                secret: intent.secret.clone().filter(|_| tells)?,
                fingerprint: intent.fingerprint.clone()?,
                key_id: intent.key_id.clone(),
                applied_at: None,
                verified: false,
            })
        })
    }

    /// Whether the Secret still holds the password in force. Its value is read only where something about it is new.
    pub(super) fn password_in_force(&self, facts: &InstanceFacts) -> Result<Password, Step> {
        let keep = Ok(Password::InForce(AccountChange::Keep));
        let in_doubt = matches!(self.attempt(OperationKind::SetPassword), Attempt::Unknown(_));
        let known = self.known_password();
        let Some(known) = known.filter(|_| !in_doubt) else { return self.password_unknown(facts, in_doubt) };
        if known.secret.revision != self.desired.password.revision {
            return self.password().map(|(secret, fingerprint)| Password::Due(secret, fingerprint));
        }
        let SecretSeen::Present { uid, resource_version } = &self.seen.secret else { return keep };
        let same_version = known.secret.name == self.desired.password.secret
            && known.secret.uid == *uid
            && known.secret.resource_version == *resource_version;
        // Status does not say under which key of the Secret the password was; a changed manifest may name another.
        let same_manifest = self.seen.record.ready_generation == Some(self.desired.generation);
        let same_key = known.key_id == self.moment.key_id;
        let repair = self.login_shows_another(facts, &known);
        if same_version && same_manifest && same_key && !repair {
            return keep;
        }
        match &self.seen.password {
            None if same_version => Err(Step::ReadPassword),
            None => Err(self.waiting_for_a_change(facts).unwrap_or(Step::ReadPassword)),
            // Without its Secret the account goes on working with the password in force.
            Some(PasswordSeen::Missing(_)) => keep,
            Some(PasswordSeen::Unreadable(_)) => {
                let verdict = Verdict::new(Reason::AccountReady, ACCOUNT_READY);
                Err(self.ready(verdict.retry(self.retry_at(false, None))))
            }
            Some(PasswordSeen::Usable(secret, fingerprint)) if seeded(Bug::RotationMissed) => {
                Ok(Password::InForce(AccountChange::SamePassword(secret.clone(), fingerprint.clone())))
            }
            Some(PasswordSeen::Usable(secret, fingerprint))
                if seeded(Bug::VersionIsPassword) || !same_key && seeded(Bug::NewKeyIsChange) =>
            {
                Ok(Password::Due(secret.clone(), fingerprint.clone()))
            }
            Some(PasswordSeen::Usable(secret, fingerprint)) if !same_key => {
                if same_version && same_manifest {
                    return Ok(Password::InForce(AccountChange::SamePassword(secret.clone(), fingerprint.clone())));
                }
                self.password_unknown(facts, false)
            }
            Some(PasswordSeen::Usable(secret, fingerprint)) if repair || *fingerprint != known.fingerprint => {
                Ok(Password::Due(secret.clone(), fingerprint.clone()))
            }
            Some(PasswordSeen::Usable(secret, fingerprint)) => {
                Ok(Password::InForce(AccountChange::SamePassword(secret.clone(), fingerprint.clone())))
            }
            Some(PasswordSeen::Refused(secret, fingerprint, _)) if same_key && *fingerprint == known.fingerprint => {
                Ok(Password::InForce(AccountChange::SamePassword(secret.clone(), fingerprint.clone())))
            }
            Some(PasswordSeen::Refused(_, _, refusal)) => Err(refused(refusal)),
        }
    }

    /// A Secret that changed is read when it is the user's turn at its instance: whoever waits there would read it once
    /// more each time it is woken. Where there may be no turn for long, what the Secret holds decides what is said.
    fn waiting_for_a_change(&self, facts: &InstanceFacts) -> Option<Step> {
        if !facts.connected || !facts.provider.rules().capabilities().set_password {
            return None;
        }
        match &self.seen.turn {
            None => Some(Step::TakeTurn(CallKind::SetPassword)),
            Some(Turn::Waiting) => self.turn(facts, CallKind::SetPassword, Reason::UpdatingPassword).err(),
            Some(_) => None,
        }
    }

    /// Nobody can say which password is in force: our answer was lost, or the operator's key was. Setting it again does
    /// no harm; deleting the account for it would, so where there is no such call only a login can tell.
    fn password_unknown(&self, facts: &InstanceFacts, in_doubt: bool) -> Result<Password, Step> {
        let (secret, fingerprint) = match self.password() {
            Ok(password) => password,
            // Nothing to send and nothing known to be wrong.
            Err(Step::Settle(verdict)) if !in_doubt && verdict.reason == Reason::WaitingForSecret => {
                return Ok(Password::InForce(AccountChange::Keep));
            }
            Err(step) => return Err(step),
        };
        if facts.provider.rules().capabilities().set_password {
            return Ok(Password::Due(secret, fingerprint));
        }
        match &self.seen.login {
            None if facts.login_check.is_some() => Err(Step::Login),
            Some(LoginSeen::Accepted) => Ok(Password::InForce(AccountChange::SamePassword(secret, fingerprint))),
            Some(LoginSeen::Busy) => Err(self.waiting_to_log_in(Reason::UpdatingPassword)),
            _ => {
                let message = format!(
                    "The operator cannot tell whether the password in Secret {} is the one in force: its own key was \
                     lost, or the journal. Set spec.loginCheck on the instance to let it try, or set a new \
                     spec.passwordSecretRef.revision with spec.updatePolicy: Recreate to set the password.",
                    secret.name
                );
                let verdict = Verdict::new(Reason::OutcomeStaysUnknown, message);
                Err(verdict.retry(self.retry_at(true, None)).step())
            }
        }
    }

    /// A login was refused after the password was last set: somebody changed it behind our back. It is set once more;
    /// if that does not help, setting it again would not either.
    fn login_shows_another(&self, facts: &InstanceFacts, known: &RecordedPassword) -> bool {
        let can_set = facts.provider.rules().capabilities().set_password;
        let refused_since = self.seen.record.login_refused_since.filter(|_| facts.login_check.is_some() && can_set);
        refused_since.is_some_and(|since| known.applied_at.is_none_or(|at| at <= since))
    }
}

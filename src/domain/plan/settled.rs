//! An account that is ours: is it still as the manifest says?

use super::{AccountChange, Situation, Step, Verdict, create::instance_changed, refused, settle};
use crate::{
    api::conditions::Reason,
    domain::seen::{InstanceSeen, PasswordSeen, SecretSeen},
};

pub(super) fn next(situation: &Situation<'_>) -> Step {
    if !situation.seen.finalizer {
        return Step::RestoreFinalizer;
    }
    let record = &situation.seen.record;
    // A settled user does not depend on its instance object; only what it says can change the verdict.
    if let InstanceSeen::Present(facts) = &situation.seen.instance {
        if let Some(before) = record.instance_key.as_ref().filter(|key| **key != facts.key) {
            return settle(Reason::InstanceChanged, instance_changed(situation, before.as_str()));
        }
        match facts.provider.rules().access(&situation.desired.access) {
            Err(refusal) => return refused(&refusal),
            Ok(access) if Some(&access) != record.applied.as_ref() => {
                return settle(
                    Reason::ChangeNotSupported,
                    "Changing the access of an account (spec.allowedHosts, spec.databases, spec.permission) is not in \
                     this version; undo the change. The access in force is in status.applied.",
                );
            }
            Ok(_) => {}
        }
    }
    situation.password_unchanged()
}

impl Situation<'_> {
    /// The Secret still holds the password in force. Its value is read only where its version is new.
    fn password_unchanged(&self) -> Step {
        let ready = || Verdict::new(Reason::AccountReady, "The account is as the manifest says.");
        let Some(recorded) = &self.seen.record.password else { return self.ready(ready()) };
        let revised = recorded.secret.revision != self.desired.password.revision;
        let same_version = match &self.seen.secret {
            // Without its Secret the account goes on working with the password in force.
            SecretSeen::Missing => return self.ready(ready()),
            SecretSeen::Present { uid, resource_version } => {
                recorded.secret.name == self.desired.password.secret
                    && recorded.secret.uid == *uid
                    && recorded.secret.resource_version == *resource_version
            }
        };
        // Status does not say under which key of the Secret the password was; a changed manifest may name another.
        let same_manifest = self.seen.record.ready_generation == Some(self.desired.generation);
        if same_version && same_manifest && !revised {
            return self.ready(ready());
        }
        let changed = || {
            settle(
                Reason::ChangeNotSupported,
                "Changing the password of an account is not in this version; restore the Secret's value or \
                 spec.passwordSecretRef. The password set at creation stays in force.",
            )
        };
        if revised {
            return changed();
        }
        match &self.seen.password {
            None => Step::ReadPassword,
            Some(PasswordSeen::Missing(_)) => self.ready(ready()),
            Some(PasswordSeen::Unreadable(_)) => self.ready(ready().retry(self.retry_at(false, None))),
            // Under another operator key the fingerprint says nothing, and nothing is not a change.
            _ if recorded.key_id != self.moment.key_id => self.ready(ready()),
            Some(PasswordSeen::Refused(secret, fingerprint, _) | PasswordSeen::Usable(secret, fingerprint)) => {
                if *fingerprint != recorded.fingerprint {
                    return changed();
                }
                let mut verdict = ready();
                verdict.account = AccountChange::SameSecret(secret.clone());
                self.ready(verdict)
            }
        }
    }
}

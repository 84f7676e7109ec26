//! Whether the small world has come to the end that its manifests ask for.

use clickhouse_user_operator::{
    api::conditions::{self, Companion, ConditionStatus, LOGIN_VERIFIED, Reason},
    domain::plan::Release,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

use super::{
    cloud::Owner,
    instance::{LOGINS_EVERY, Loss},
    world::{World, access},
};

impl World {
    pub fn reasons(&self) -> Vec<Option<Reason>> {
        self.users.iter().map(|it| it.reason).collect()
    }

    /// Whether nothing is left to do; `Err`: it has ended, and not as the manifests ask.
    pub fn at_end(&self) -> Option<Result<(), String>> {
        if self.look.is_some() {
            return None;
        }
        let mut wrong = Ok(());
        for user in 0..self.users.len() {
            let it = &self.users[user];
            match (self.as_wished(user), it.due) {
                (Ok(()), None) => {}
                // It is looked at again and again, and that is right.
                (Ok(()), Some(_)) if it.reason.is_some_and(held) || self.checked(user) => {}
                (_, Some(_)) => return None,
                (Err(what), None) => wrong = Err(format!("ESR: user {user} ends with {what}")),
            }
        }
        Some(wrong)
    }

    /// Nothing but the next login check is due.
    pub fn checked(&self, user: usize) -> bool {
        let it = &self.users[user];
        it.reason == Some(Reason::AccountReady)
            && it.due.is_some_and(|due| due > self.now + LOGINS_EVERY / 2)
            && self.logins
            && self.login_is_told(user)
    }

    /// What status says of logins.
    fn lookup_login(&self, user: usize) -> Option<&Condition> {
        let status = self.users[user].status.as_ref().filter(|_| self.logins)?;
        conditions::find(&status.conditions, LOGIN_VERIFIED)
    }

    /// What status says of logins is what one would show now.
    fn login_is_told(&self, user: usize) -> bool {
        let it = &self.users[user];
        let in_force = it.status.as_ref().and_then(|it| it.password.as_ref()).map(|it| &it.fingerprint);
        let name = &it.desired.username;
        let secret = it.secret.map(|it| it.1).filter(|it| Some(&self.fingerprint(name, *it)) == in_force && *it != 0);
        // Without the password in force nobody can try.
        let Some(password) = secret else { return true };
        let right = !self.barred && self.account(name).is_some_and(|it| it.password == password);
        let told = if right { ConditionStatus::True } else { ConditionStatus::False };
        self.lookup_login(user).is_some_and(|it| it.status == told.as_str())
    }

    pub fn as_wished(&self, user: usize) -> Result<(), String> {
        let it = &self.users[user];
        let desired = &it.desired;
        let account = self.account(&desired.username);
        let ours = account.filter(|account| account.owner == Owner::Object(it.uid().clone()));
        let unseen = self.tampered && !self.can_list();
        if it.gone {
            let told = matches!(it.released, Some(Release::Retained | Release::Orphaned(_))) || it.cut_loose;
            return if ours.is_none() || told { Ok(()) } else { Err("an account that nobody knows of".to_owned()) };
        }
        let Some(reason) = it.reason else { return Err("no word".to_owned()) };
        let wrong = || Err(format!("{reason:?}"));
        let right = match reason {
            Reason::AccountReady => {
                let secret = it.secret.filter(|it| it.1 != 0);
                let Some(account) = ours else { return if unseen { Ok(()) } else { wrong() } };
                if self.logins && !self.login_is_told(user) {
                    return Err("another word of logins than they would show".to_owned());
                }
                // A login shows what somebody changed, and where there is a call for it the password is set again.
                let repaired = self.logins && self.can_list() && !self.barred;
                let password = secret.is_none_or(|it| it.1 == account.password)
                    || self.password_tampered && !repaired
                    || it.secret.is_none_or(|it| it.1 == 0);
                let same = account.access == access(self.kind, &desired.access) || self.logins || unseen;
                if !same {
                    return Err("another access than the manifest's".to_owned());
                }
                if !password {
                    return Err("another password than the Secret's".to_owned());
                }
                desired.deleted_at.is_none()
            }
            Reason::AccountExists => {
                let theirs = account.is_some_and(|account| account.owner == Owner::Foreign)
                    || account.is_some_and(|account| matches!(&account.owner, Owner::Object(uid) if uid != it.uid()));
                theirs && !desired.adopt
            }
            // Where the journal was lost on the way, an account of ours may be in the way of its own creation.
            Reason::JobFailed => {
                let taken = account.is_some() && (ours.is_none() || self.evidence_lost);
                // Nor can a deletion whose job was forgotten tell that it has nothing left to delete.
                let forgotten = desired.deleted_at.is_some() && self.evidence_lost;
                !self.can_list() && (taken || forgotten || unseen)
            }
            Reason::InstanceNotFound => self.lost.is_some_and(|it| it.how == Loss::Deleted),
            Reason::WaitingForInstance => self.lost.is_some_and(|it| it.how == Loss::Credentials),
            Reason::OutcomeStaysUnknown => !self.can_list() && self.evidence_lost,
            Reason::ChangeNotSupported => !self.can_list() && !desired.recreate,
            Reason::AccountConflict => self.rival(user).is_some(),
            Reason::WaitingForSecret => it.secret.is_none() && desired.deleted_at.is_none(),
            Reason::InvalidPassword => it.secret.is_some_and(|it| it.1 == 0),
            Reason::Suspended => desired.suspend,
            Reason::Expired => desired.expires_at.is_some() && ours.is_none() && !it.finalizer,
            _ => false,
        };
        if right { Ok(()) } else { wrong() }
    }
}

/// Reasons that stay until a human acts, however often the operator looks.
fn held(reason: Reason) -> bool {
    reason.companion() == Some(Companion::Stalled)
}

//! What must hold at each step of a pass, however it came to be taken.

use clickhouse_user_operator::{
    api::{
        conditions::Reason,
        user::{OperationKind, OperationState},
    },
    domain::{
        plan::{AccountChange, Recheck, Verdict},
        seen::LoginSeen,
    },
    provider::contract::{Accepted, CallKind, JobState},
};

use super::{
    cloud::{Account, Owner, Work},
    world::{Pass, World, access},
};

impl World {
    /// What must be true of the wish behind a call, and what it must not repeat.
    pub fn may_be_made(&mut self, kind: CallKind, pass: &Pass) {
        let desired = &pass.desired;
        let intent = pass.seen.intent.as_ref().expect("an intent");
        let owner = Owner::Object(desired.uid.clone());
        let account = self.account(&desired.username).cloned();
        let ours = account.as_ref().is_some_and(|it| it.owner == owner);
        let leaving = desired.deleted_at.is_some() && !desired.retain;
        let expired = desired.expires_at.is_some_and(|at| at <= pass.began);
        let wished = match kind {
            CallKind::Delete => leaving || expired || intent.kind == OperationKind::Recreate && desired.recreate,
            _ => desired.deleted_at.is_none() && !expired,
        };
        if !wished || desired.suspend && desired.deleted_at.is_none() {
            self.violate(format!("I1: a {kind:?} that nobody wishes"));
        }
        // Whoever does not believe the cloud to have lost it must not make it a second time.
        let known = intent.kind == OperationKind::Create && ours && !self.tampered && !self.evidence_lost;
        if kind == CallKind::Create && known {
            self.violate("I3: a second creation of an account that is there");
        }
        let unfinished = |it: &&Work| it.state == JobState::Running && it.owner == owner;
        if !self.can_list() && self.work.iter().any(|it| unfinished(&it)) {
            let hidden = self.work.iter().find(unfinished).expect("a job").attempt.clone();
            // The cloud would refuse; that it is asked at all means that a job of ours was forgotten.
            if !self.evidence_lost {
                self.violate(format!("I3: a second job beside {hidden}"));
            }
        }
    }

    /// An adoption makes the account ours once its success is on record.
    pub fn adopted(&mut self, pass: &Pass) {
        let it = &self.users[pass.user];
        let adopting = self.intent(pass.user).filter(|it| it.adopting && it.kind == OperationKind::SetPassword);
        let operation = it.status.as_ref().and_then(|it| it.operation.as_ref());
        let on_record = operation.is_some_and(|operation| {
            operation.state == OperationState::Succeeded
                && adopting.is_some_and(|intent| intent.attempt == operation.id)
        });
        let name = pass.desired.username.clone();
        if let Some(account) = self.account(&name).cloned().filter(|it| on_record && it.owner == Owner::Foreign) {
            let owner = Owner::Object(pass.desired.uid.clone());
            self.put_account(&name, self.now, Some(Account { owner, ..account }));
        }
    }

    /// Whoever says that the account is ours must be right.
    pub fn confirmed(&mut self, pass: &Pass, verdict: &Verdict) {
        let AccountChange::Confirmed(..) = &verdict.account else { return };
        let (name, owner) = (&pass.desired.username, Owner::Object(pass.desired.uid.clone()));
        // Nor can anybody tell whose it is that a login shows after a creation whose outcome nobody knows.
        let in_doubt = pass
            .seen
            .intent
            .as_ref()
            .is_some_and(|it| matches!(it.kind, OperationKind::Create | OperationKind::Recreate));
        let heard = pass.seen.call.as_ref().is_some_and(|it| it.outcome == Ok(Accepted::Done));
        if pass.seen.login == Some(LoginSeen::Accepted) && (pass.desired.adopt || in_doubt) || heard {
            let taken = self.account(name).cloned().map(|it| Account { owner: owner.clone(), ..it });
            self.put_account(&name.clone(), self.now, taken);
        }
        let ours = self.account(name).is_some_and(|it| it.owner == owner);
        if !ours && !self.tampered {
            self.violate("I2: an account is claimed that is not ours");
        }
    }

    /// Whoever says Ready must be right about account, access and password.
    pub fn ready(&mut self, pass: &Pass, verdict: &Verdict) {
        let edited = self.users[pass.user].desired.generation != pass.desired.generation;
        if verdict.reason != Reason::AccountReady
            || verdict.recheck != Recheck::OnChange
            || self.tampered
            || self.lost.is_some()
            || edited
        {
            return;
        }
        let name = &pass.desired.username;
        let Some(account) = self.account(name).cloned() else {
            return self.violate("I4: Ready without an account");
        };
        if account.owner != Owner::Object(pass.desired.uid.clone()) {
            self.violate("I2: Ready with somebody else's account");
        }
        // A login says nothing of access.
        if account.access != access(self.kind, &pass.desired.access) && !self.logins {
            self.violate("I4: Ready with another access");
        }
        let status = self.users[pass.user].status.clone();
        let Some(password) = status.as_ref().and_then(|it| it.password.as_ref()) else {
            // Nothing to send, and nothing known to be wrong.
            if self.users[pass.user].secret.is_none() {
                return;
            }
            return self.violate("I4: Ready without a password on record");
        };
        let in_force = self.fingerprint(name, account.password);
        if password.key_id == self.key_id() && password.fingerprint != in_force && !self.password_tampered {
            self.violate("I4: Ready for a password that the account does not have");
        }
    }
}

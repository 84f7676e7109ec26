//! The instance of the small world, as its own passes show it to those of its users, and how it can be lost.

use std::time::Duration;

use clickhouse_user_operator::{
    api::{conditions::Reason, instance::Connection},
    domain::seen::{InstanceFacts, LoginSeen},
    provider::contract::{CloudError, ErrorClass},
};
use jiff::Timestamp;

use super::{
    cloud::LIST_LAGS,
    world::{Pass, World, instance_key},
};

/// What became of the instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Loss {
    /// Deleted at the cloud, with all its accounts.
    Deleted,
    /// The cloud says for a while that it does not exist.
    Hidden,
    /// The Secret with its credentials was deleted.
    Credentials,
}

/// The instance is lost, and since when its own passes say so.
#[derive(Clone, Copy, Debug)]
pub struct Lost {
    pub how: Loss,
    pub seen_since: Option<Timestamp>,
}

/// How often a lost instance is looked at; one that is only hidden is found by the second look.
const LOOKS_EVERY: Duration = Duration::from_secs(40);

/// A second answer so much later confirms that the instance is gone.
const GONE_AFTER: Duration = Duration::from_secs(60);

/// How often logins are checked.
pub const LOGINS_EVERY: Duration = Duration::from_secs(600);

impl World {
    pub fn instance(&self) -> InstanceFacts {
        let seen = self.lost.and_then(|it| Some((it.how, it.seen_since?)));
        let state = match seen {
            None => (Reason::Reachable, "Reachable.".to_owned()),
            Some((Loss::Credentials, _)) => (Reason::WaitingForSecret, "Its Secret is missing.".to_owned()),
            Some(_) => (Reason::InstanceNotFound, "It is not found.".to_owned()),
        };
        // Credentials that this process has seen it keeps, for deletions.
        let connected = !matches!(seen, Some((Loss::Credentials, since)) if since <= self.process.started_at);
        InstanceFacts {
            key: instance_key(),
            provider: self.kind,
            state: Some(state),
            held: true,
            terminating: false,
            connected,
            gone: seen.is_some_and(|(how, since)| how != Loss::Credentials && since + GONE_AFTER <= self.now),
            not_allowed: None,
            connection: self.logins.then(|| Connection { host: Some("db".to_owned()), ..Connection::default() }),
            login_check: self.logins.then_some(LOGINS_EVERY),
        }
    }

    /// What the cloud says to whoever asks for the instance.
    pub fn not_found(&self) -> Option<CloudError> {
        let lost = self.lost.is_some_and(|it| it.how != Loss::Credentials);
        lost.then(|| CloudError::new(ErrorClass::InstanceNotFound, "no such instance"))
    }

    pub fn lose(&mut self, how: Loss) {
        if how == Loss::Deleted {
            for account in 0..self.accounts.len() {
                let name = self.accounts[account].0.clone();
                self.put_account(&name, self.now, None);
            }
            self.work.clear();
        }
        self.lost = Some(Lost { how, seen_since: None });
        self.look = Some(self.now + LOOKS_EVERY);
    }

    /// A pass of the instance, where it is lost. Tells when the next one comes.
    pub fn look_at_lost(&mut self) -> Option<Timestamp> {
        let lost = self.lost?;
        let next = self.now + LOOKS_EVERY;
        match (lost.how, lost.seen_since) {
            (_, None) => self.lost = Some(Lost { seen_since: Some(self.now), ..lost }),
            (Loss::Hidden, Some(_)) => self.lost = None,
            (Loss::Credentials, Some(_)) => return None,
            (Loss::Deleted, Some(since)) if since + GONE_AFTER <= self.now => return None,
            (Loss::Deleted, Some(_)) => {}
        }
        Some(next).filter(|_| self.lost.is_some_and(|it| it.how != Loss::Credentials))
    }

    /// A login with the password at hand. An account that was just changed is not known everywhere yet.
    pub fn log_in(&self, pass: &Pass) -> LoginSeen {
        let known =
            |account: Option<&super::cloud::Account>| account.is_some_and(|it| Some(it.password) == pass.password);
        let name = &pass.desired.username;
        let everywhere = known(self.account(name)) && known(self.account_at(name, self.now - LIST_LAGS));
        if everywhere && !self.barred { LoginSeen::Accepted } else { LoginSeen::Refused }
    }
}

//! An account that is as the manifest says: what is still to be done around it before the pass ends. First the
//! connection Secret, which `Ready` waits for; then the login check, which changes nothing but what is said of it.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    time::Duration,
};

use jiff::Timestamp;

use super::{AccountChange, BindingChange, LIST_LAG, LoginChange, Recheck, Situation, Step, Verdict};
use crate::{
    api::{
        conditions::{LoginOutcome, Reason},
        user::ConnectionSecretSpec,
    },
    domain::{
        connection_secret::ConnectionSecret,
        names::{Fingerprint, Uid},
        seen::{ConnectionSecretFound, InstanceSeen, LoginSeen, PasswordSeen, SecretSeen},
    },
};

/// A refused login proves nothing before an account that was just changed is known everywhere. Nothing is published;
/// lists of accounts are given as long.
const LOGIN_LAG: Duration = LIST_LAG;

/// Where as many logins as may be are under way, one of them ends within this time as a rule.
const LOGIN_BUSY: Duration = Duration::from_secs(5);

/// Due checks begin at this part of the interval, and the next is planned within twice as much beyond it: checks that
/// began together spread, and a pass that comes a little early still counts.
const EARLIEST: f64 = 0.9;

/// A connection Secret that somebody else keeps changing is restored this often and no more.
const RESTORE_EVERY: Duration = Duration::from_secs(3);

/// What stands between an account in order and `Ready`.
enum Obstacle {
    /// Something to be done first.
    Step(Step),
    /// Something that has to wait; said with this reason and message, and tried again then.
    Wait(Reason, String, Option<Timestamp>),
    /// Something that is not worth saying, to be done then.
    Later(Timestamp),
}

impl Situation<'_> {
    /// Ends the pass of an account that is in order.
    pub(super) fn ready(&self, verdict: Verdict) -> Step {
        match self.with_connection_secret(verdict).and_then(|verdict| self.with_login(verdict)) {
            Ok(verdict) => verdict.step(),
            Err(step) => step,
        }
    }

    fn with_connection_secret(&self, mut verdict: Verdict) -> Result<Verdict, Step> {
        // Without the flag there are no rights either; what was written before stays until its owner goes.
        if !self.settings().connection_secrets {
            return Ok(verdict);
        }
        let (wanted, recorded) = (self.desired.connection_secret.as_ref(), self.seen.record.binding.as_ref());
        if let Some(spec) = wanted {
            match self.in_place(spec, &verdict) {
                Ok(()) => {}
                Err(Obstacle::Step(step)) => return Err(step),
                Err(Obstacle::Later(at)) => return Ok(verdict.no_later_than(at)),
                Err(Obstacle::Wait(reason, message, retry)) => {
                    (verdict.reason, verdict.message) = (reason, message);
                    verdict.recheck = retry.map_or(verdict.recheck, |at| Recheck::Retry { at });
                    return Ok(verdict);
                }
            }
        }
        match wanted {
            Some(spec) if recorded == Some(&spec.name) => Ok(verdict),
            Some(spec) => self.with_former_removed(verdict, BindingChange::Written(spec.name.clone())),
            None => self.with_former_removed(verdict, BindingChange::Removed),
        }
    }

    /// Ends the pass of an object that has no account any more, and so nothing to connect with.
    pub(super) fn unbound(&self, verdict: Verdict) -> Step {
        if !self.settings().connection_secrets {
            return verdict.step();
        }
        self.with_former_removed(verdict, BindingChange::Removed).map_or_else(|step| step, Verdict::step)
    }

    /// The connection Secret on record is gone; `change` is what becomes of the record.
    fn with_former_removed(&self, verdict: Verdict, change: BindingChange) -> Result<Verdict, Step> {
        let binding = match (&self.seen.record.binding, &self.seen.connection_secret.removed) {
            (None, _) if change == BindingChange::Removed => BindingChange::Keep,
            (None, _) | (Some(_), Some(Ok(()))) => change,
            (Some(former), None) => return Err(Step::RemoveConnectionSecret(former.clone())),
            (Some(_), Some(Err(_))) => return Ok(verdict.retry(self.retry_at(false, None))),
        };
        Ok(Verdict { binding, ..verdict })
    }

    /// The connection Secret is there and says what it should.
    fn in_place(&self, spec: &ConnectionSecretSpec, verdict: &Verdict) -> Result<(), Obstacle> {
        let name = &spec.name;
        let InstanceSeen::Present(facts) = &self.seen.instance else {
            // A settled user does not depend on its instance object.
            if self.seen.record.binding.as_ref() == Some(name) {
                return Ok(());
            }
            return Err(self.no_host(name));
        };
        let Some(fingerprint) = self.fingerprint_in_force(verdict).map_err(Obstacle::Step)? else {
            return Err(self.password_not_at_hand(name));
        };
        let (username, connection) = (&self.desired.username, facts.connection.as_ref());
        let wanted = connection.and_then(|it| ConnectionSecret::new(spec, facts.provider, username, it, fingerprint));
        let Some(wanted) = wanted else { return Err(self.no_host(name)) };
        // Labels that the manifest no longer asks for go; those of others are left alone while it stands.
        let exact = self.seen.record.ready_generation != Some(self.desired.generation);
        let seen = &self.seen.connection_secret;
        match &seen.found {
            Some(ConnectionSecretFound::Same) => Ok(()),
            None if seen.shown != SecretSeen::Missing
                && seen.known.as_ref().is_some_and(|(version, known)| *version == seen.shown && *known == wanted) =>
            {
                Ok(())
            }
            None => Err(Obstacle::Step(Step::ReadConnectionSecret { wanted: Box::new(wanted), exact })),
            Some(ConnectionSecretFound::Foreign) => {
                let message = format!(
                    "Secret {name} is there and is not this object's; choose another spec.connectionSecret.name, or \
                     delete the Secret."
                );
                Err(Obstacle::Wait(Reason::ConnectionSecretConflict, message, Some(self.retry_at(true, None))))
            }
            Some(ConnectionSecretFound::Failed(why)) => {
                let retry = self.retry_at(false, None);
                Err(Obstacle::Wait(Reason::WaitingForConnection, why.clone(), Some(retry)))
            }
            Some(ConnectionSecretFound::Missing | ConnectionSecretFound::Different)
                if let Some(at) = self.restored_from(&wanted) =>
            {
                Err(Obstacle::Later(at))
            }
            Some(ConnectionSecretFound::Missing | ConnectionSecretFound::Different) => match &self.seen.password {
                Some(PasswordSeen::Usable(_, read)) if *read == wanted.fingerprint => {
                    Err(Obstacle::Step(Step::WriteConnectionSecret { wanted: Box::new(wanted), exact }))
                }
                None if self.seen.secret != SecretSeen::Missing => Err(Obstacle::Step(Step::ReadPassword)),
                _ => Err(self.password_not_at_hand(name)),
            },
        }
    }

    /// When a Secret that was written a moment ago, with the same to say, may be written again.
    fn restored_from(&self, wanted: &ConnectionSecret) -> Option<Timestamp> {
        let seen = &self.seen.connection_secret;
        let (_, known) = seen.known.as_ref()?;
        let from = seen.written_at? + RESTORE_EVERY;
        (known == wanted && self.now() < from).then_some(from)
    }

    fn no_host(&self, name: &str) -> Obstacle {
        let message = format!(
            "The account is there, but no host is known to write into Secret {name}; set spec.connection.host in {} \
             {}.",
            self.desired.instance_kind.as_str(),
            self.desired.instance_name
        );
        Obstacle::Wait(Reason::WaitingForConnection, message, None)
    }

    fn password_not_at_hand(&self, name: &str) -> Obstacle {
        let source = &self.desired.password.secret;
        let message = match &self.seen.password {
            Some(PasswordSeen::Unreadable(why)) => {
                let retry = self.retry_at(false, None);
                return Obstacle::Wait(Reason::WaitingForSecret, why.clone(), Some(retry));
            }
            None => format!("Waiting for Secret {source} to be created, to write Secret {name}."),
            Some(_) => format!(
                "Secret {source} does not hold the password in force, so Secret {name} cannot be written; restore it."
            ),
        };
        Obstacle::Wait(Reason::WaitingForSecret, message, None)
    }

    /// The fingerprint of the password in force under the operator's present key, or the step that shows it; `None`
    /// where nothing does.
    pub(super) fn fingerprint_in_force(&self, verdict: &Verdict) -> Result<Option<Fingerprint>, Step> {
        if let AccountChange::Confirmed(_, Some((_, fingerprint))) | AccountChange::SamePassword(_, fingerprint) =
            &verdict.account
        {
            return Ok(Some(fingerprint.clone()));
        }
        let Some(recorded) = &self.seen.record.password else { return Ok(None) };
        if recorded.key_id == self.moment.key_id {
            return Ok(Some(recorded.fingerprint.clone()));
        }
        // A fingerprint under another key can be compared with nothing; the same version of the Secret says as much.
        match &self.seen.password {
            None if self.seen.secret == SecretSeen::Missing => Ok(None),
            None => Err(Step::ReadPassword),
            Some(PasswordSeen::Usable(version, fingerprint)) if *version == recorded.secret => {
                Ok(Some(fingerprint.clone()))
            }
            Some(_) => Ok(None),
        }
    }

    /// The login check, where the instance has one and it is due.
    fn with_login(&self, verdict: Verdict) -> Result<Verdict, Step> {
        let InstanceSeen::Present(facts) = &self.seen.instance else { return Ok(verdict) };
        let Some(interval) = facts.login_check else { return Ok(verdict) };
        // A change is reported first, and gives the instance free for the next: a login may take its time.
        if matches!(verdict.account, AccountChange::Confirmed(..)) {
            return Ok(verdict.no_later_than(self.now()));
        }
        let (due, latest) = self.login_due(interval);
        if self.now() < due {
            return Ok(verdict.no_later_than(between(due, latest, self.moment.jitter)));
        }
        let next = verdict.no_later_than(between(
            self.now() + interval.mul_f64(EARLIEST),
            self.now() + interval.mul_f64(2.0 - EARLIEST),
            self.moment.jitter,
        ));
        let (outcome, message) = match &self.seen.login {
            None if facts.connection.is_none() => {
                let message = format!(
                    "No host is known to log in to; set spec.connection.host in {} {}.",
                    self.desired.instance_kind.as_str(),
                    self.desired.instance_name
                );
                (LoginOutcome::Unreachable, message)
            }
            None => {
                let Some(fingerprint) = self.fingerprint_in_force(&next)? else { return Ok(next) };
                return match &self.seen.password {
                    Some(PasswordSeen::Usable(_, read)) if *read == fingerprint => Err(Step::Login),
                    None if self.seen.secret != SecretSeen::Missing => Err(Step::ReadPassword),
                    // Another password than the one in force, or none, shows nothing.
                    _ => Ok(next),
                };
            }
            Some(LoginSeen::Busy) => {
                return Ok(next.no_later_than(self.login_slot_at()));
            }
            Some(LoginSeen::Accepted) => {
                (LoginOutcome::Succeeded, "A login with the password in force succeeded.".to_owned())
            }
            Some(LoginSeen::Refused) if self.too_early_to_refuse() => {
                return Ok(next.no_later_than(due.max(self.login_basis() + LOGIN_LAG)));
            }
            Some(LoginSeen::Refused) => {
                let message = "ClickHouse refuses a login with the password in force.".to_owned();
                let login = LoginChange::Seen(LoginOutcome::Refused, message);
                let news = self.seen.record.login_refused_since.is_none();
                // Where the password can be set again, that is done at once: in a pass of its own, which finds the
                // refusal on record, and a second later, so that the record shows which came first.
                let repaired = news && facts.provider.rules().capabilities().set_password;
                let next = if repaired { next.no_later_than(self.now() + Duration::from_secs(1)) } else { next };
                return Ok(Verdict { login, ..next });
            }
            Some(LoginSeen::Unreachable(why)) => (LoginOutcome::Unreachable, why.clone()),
        };
        Ok(Verdict { login: LoginChange::Seen(outcome, message), ..next })
    }

    /// Ends a pass that cannot go on without a login, because too many are under way.
    pub(super) fn waiting_to_log_in(&self, reason: Reason) -> Step {
        Verdict::new(reason, "Waiting for other logins to end.").at(self.login_slot_at()).quietly().step()
    }

    pub(super) fn login_slot_at(&self) -> Timestamp {
        self.now() + LOGIN_BUSY.mul_f64(self.moment.jitter)
    }

    /// From when a login is due, and until when it should be made.
    fn login_due(&self, interval: Duration) -> (Timestamp, Timestamp) {
        let (changed_at, verified_at) = (self.login_basis(), self.seen.record.verified_at);
        let believed_from = changed_at + LOGIN_LAG;
        let last = verified_at.max(self.seen.login_tried).filter(|last| *last >= changed_at);
        match last {
            None => (changed_at, changed_at),
            Some(last) if verified_at.is_none() && last < believed_from => (believed_from, believed_from),
            Some(last) => {
                let (due, latest) = (last + interval.mul_f64(EARLIEST), last + interval.mul_f64(2.0 - EARLIEST));
                if self.seen.login_tried.is_some() || latest > self.moment.started_at {
                    return (due, latest);
                }
                // Those that came due while nobody was there are spread over an interval, not made all at once.
                let due = self.moment.started_at + interval.mul_f64(place_in_round(&self.desired.uid));
                (due, due)
            }
        }
    }

    /// The account was changed a moment ago, and no login has succeeded since.
    fn too_early_to_refuse(&self) -> bool {
        self.seen.record.verified_at.is_none() && self.now() < self.login_basis() + LOGIN_LAG
    }

    fn login_basis(&self) -> Timestamp {
        self.seen.record.changed_at.unwrap_or(self.desired.created_at)
    }
}

impl Verdict {
    /// Looks again at this time, if nothing calls for an earlier look.
    fn no_later_than(mut self, at: Timestamp) -> Self {
        self.recheck = match self.recheck {
            Recheck::OnChange => Recheck::At(at),
            Recheck::At(before) => Recheck::At(before.min(at)),
            retry @ Recheck::Retry { .. } => retry,
        };
        self
    }
}

/// Where in a round a user has its place, from 0 to 1: always the same for one user.
fn place_in_round(uid: &Uid) -> f64 {
    let mut hasher = DefaultHasher::new();
    uid.hash(&mut hasher);
    let [first, second, ..] = hasher.finish().to_le_bytes();
    f64::from(u16::from_le_bytes([first, second])) / f64::from(u16::MAX)
}

fn between(from: Timestamp, to: Timestamp, jitter: f64) -> Timestamp {
    let range = Duration::try_from(to.duration_since(from)).unwrap_or_default();
    from + range.mul_f64(jitter)
}

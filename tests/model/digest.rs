//! When two states of the small world are one and the same: nobody in it can tell them apart.

use std::hash::{DefaultHasher, Hash, Hasher};

use clickhouse_user_operator::{
    domain::journal::Intent,
    provider::contract::{Access, JobState},
};
use jiff::Timestamp;

use super::world::{Process, User, World, opens};

impl World {
    /// A digest of all that decides what can happen from here, with times as they are seen from now.
    pub fn digest(&self) -> u64 {
        let hash = &mut DefaultHasher::new();
        let now = self.now;
        for user in &self.users {
            let it = &*user.desired;
            (&it.uid, it.deleted_at.map(|it| ago(now, it)), it.suspend, it.retain, it.recreate, it.adopt).hash(hash);
            (it.expires_at.map(|it| ago(now, it)), &it.access.allowed_hosts, &it.access.databases).hash(hash);
            (&it.password.revision, user.gone, user.finalizer, user.secret, user.reason, user.cut_loose).hash(hash);
            (user.due.map(|it| ago(now, it)), user.released.is_some()).hash(hash);
            for annotation in [&user.annotation, &user.backup] {
                let annotation = annotation.as_ref().filter(|it| opens(it, user.uid(), self.key));
                hash_intent(annotation.map(|it| &it.intent), now, hash);
            }
            hash_status(user, now, hash);
        }
        for (name, history) in &self.accounts {
            name.hash(hash);
            for (since, account) in history {
                ago(now, *since).max(-60).hash(hash);
                account.as_ref().map(|it| (&it.owner, it.password)).hash(hash);
                hash_access(account.as_ref().map(|it| &it.access), hash);
            }
        }
        for it in &self.work {
            (it.kind, &it.name, &it.attempt, &it.owner, it.password, ago(now, it.due), &it.job, it.fails).hash(hash);
            (it.state == JobState::Running, it.state == JobState::Succeeded).hash(hash);
            hash_access(Some(&it.access), hash);
        }
        self.process.hash_into(now, hash);
        if let Some(stopped) = &self.stopped {
            (stopped.step.name(), ago(now, stopped.pass.began), stopped.pass.user, &stopped.pass.attempt).hash(hash);
            (stopped.pass.version == self.users[stopped.pass.user].version).hash(hash);
            hash_intent(stopped.pass.seen.intent.as_ref(), now, hash);
        }
        if self.logins {
            self.hash_logins(hash);
        }
        self.lost.map(|it| (it.how, it.seen_since.map(|it| ago(now, it)))).hash(hash);
        (self.look.map(|it| ago(now, it)), self.evidence_lost, self.tampered, self.password_tampered).hash(hash);
        hash.finish()
    }
}

impl World {
    /// What only those who log in can tell apart.
    fn hash_logins(&self, hash: &mut DefaultHasher) {
        let now = self.now;
        self.barred.hash(hash);
        self.process.login_tried.iter().for_each(|it| it.map(|it| ago(now, it)).hash(hash));
        for status in self.users.iter().filter_map(|it| it.status.as_ref()) {
            for it in &status.conditions {
                ago(now, it.last_transition_time.0).hash(hash);
            }
            if let Some(it) = &status.password {
                let times = [it.applied_at.as_ref(), it.verified_at.as_ref()];
                times.map(|it| it.map(|it| ago(now, it.0))).hash(hash);
            }
        }
    }
}

impl Process {
    fn hash_into(&self, now: Timestamp, hash: &mut DefaultHasher) {
        (ago(now, self.started_at).max(-120), &self.refused).hash(hash);
        self.failures.iter().for_each(|it| (*it).min(3).hash(hash));
        if let Some((asked_at, list)) = &self.list {
            ago(now, *asked_at).hash(hash);
            for (name, access) in list {
                name.hash(hash);
                hash_access(Some(access), hash);
            }
        }
        for (at, name, access) in &self.own_changes {
            (ago(now, *at), name).hash(hash);
            hash_access(access.as_ref(), hash);
        }
    }
}

/// Seconds from now, coarser the longer ago: nothing in the plan turns on the minute of an hour ago.
fn ago(now: Timestamp, time: Timestamp) -> i64 {
    let seconds = time.duration_since(now).as_secs().max(-7300);
    if seconds < -120 { seconds / 30 * 30 } else { seconds }
}

fn hash_access(access: Option<&Access>, hash: &mut DefaultHasher) {
    access.map(|it| (&it.allowed_hosts, &it.databases, it.permission)).hash(hash);
}

fn hash_intent(intent: Option<&Intent>, now: Timestamp, hash: &mut DefaultHasher) {
    let Some(it) = intent else { return 0.hash(hash) };
    (it.kind, it.phase, &it.attempt, it.attempts.min(4), ago(now, it.written_at)).hash(hash);
    (it.adopting, it.removal_failed, &it.fingerprint, &it.key_id).hash(hash);
    it.secret.as_ref().map(|it| (&it.resource_version, &it.revision)).hash(hash);
    hash_access(Some(&it.access), hash);
}

fn hash_status(user: &User, now: Timestamp, hash: &mut DefaultHasher) {
    let Some(it) = &user.status else { return 0.hash(hash) };
    (&it.uid, &it.job_id, user.desired.generation - it.observed_generation.unwrap_or(-1)).hash(hash);
    if let Some(it) = &it.operation {
        (&it.id, it.kind, it.phase, it.state, ago(now, it.started_at.0), it.attempts.min(4)).hash(hash);
        it.finished_at.as_ref().map(|it| ago(now, it.0)).hash(hash);
    }
    if let Some(it) = &it.password {
        (&it.fingerprint, &it.key_id, &it.revision, &it.secret_resource_version).hash(hash);
    }
    if let Some(it) = &it.applied {
        hash_access(Some(&Access::from(it.clone())), hash);
    }
    for it in &it.conditions {
        (&it.type_, &it.status, &it.reason).hash(hash);
    }
}

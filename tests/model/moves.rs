//! What can happen next in the small world: a pass, a wish of its people, or something that goes wrong between passes.

use std::{rc::Rc, time::Duration};

use clickhouse_user_operator::domain::names::Uid;

use super::{
    cloud::{Account, Owner},
    instance::Loss,
    pass::{Outcome, Trouble},
    world::{World, access, wanted},
};

/// What people may want on the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    /// Another password.
    NewPassword,
    /// A new version of the Secret with the same password.
    SameSecret,
    /// A password that breaks the cloud's rules.
    BadPassword,
    SecretGone,
    Access,
    Revision,
    /// `updatePolicy: Recreate`, and back.
    Recreate,
    /// `adoptionPolicy: Adopt`, and back.
    Adopt,
    Suspend,
    Delete,
    Retain,
    Expire,
    ExpireLater,
    /// The deleted object is restored from a backup: with its annotation, under a new uid.
    Restore,
}

/// What goes wrong between two passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    Restart,
    /// The operator is down for so long that job records expire.
    LongOutage,
    AnnotationStripped,
    AnnotationForged,
    AnnotationCopied,
    /// An older annotation is put back.
    AnnotationReplayed,
    FinalizerStripped,
    StatusWiped,
    KeyLost,
    AccountDeleted,
    AccessChanged,
    PasswordChanged,
    /// ClickHouse lets the account in with no password any more, or again.
    Barred,
    Lost(Loss),
    /// The credentials' Secret is there again.
    CredentialsBack,
    /// A pass that nothing called for.
    Early,
}

#[derive(Clone, Copy, Debug)]
pub enum Move {
    Begin,
    Calm,
    Pass(Trouble),
    /// The pass of the other user that is due at the same time.
    Other,
    Wish(usize, Wish),
    Event(usize, Event),
    Resume,
}

impl World {
    /// Who is next when nobody disturbs.
    pub fn next(&self) -> Option<usize> {
        let due = (0..self.users.len()).filter(|it| self.users[*it].due.is_some());
        due.min_by_key(|it| self.users[*it].due)
    }

    /// Another user whose pass may as well come first.
    pub fn next_other(&self) -> Option<usize> {
        let next = self.next()?;
        let soon = self.users[next].due.map(|it| it.max(self.now) + Duration::from_millis(500));
        (0..self.users.len()).find(|it| *it != next && self.users[*it].due.is_some() && self.users[*it].due <= soon)
    }

    /// Time goes on to whatever is due next, and that happens. `None`: it was no pass.
    pub fn calm(&mut self) -> Option<Outcome> {
        self.troubled(Trouble::Nothing)
    }

    pub fn troubled(&mut self, trouble: Trouble) -> Option<Outcome> {
        let user = self.next();
        let due = user.and_then(|it| self.users[it].due);
        if let Some(look) = self.look.filter(|look| due.is_none_or(|due| *look <= due)) {
            self.wait(look);
            self.drift_look();
            return None;
        }
        self.wait(due?);
        Some(self.pass(user?, trouble))
    }

    pub fn make(&mut self, next: Move) {
        match next {
            Move::Begin => {}
            Move::Calm => drop(self.calm()),
            Move::Pass(trouble) => drop(self.troubled(trouble)),
            Move::Other => {
                if let Some(user) = self.next_other() {
                    self.wait(self.users[user].due.unwrap_or(self.now));
                    self.pass(user, Trouble::Nothing);
                }
            }
            Move::Wish(user, wish) => self.wish(user, wish),
            Move::Event(user, event) => self.happen(user, event),
            Move::Resume => self.resume(),
        }
    }

    pub fn can_wish(&self, user: usize, wish: Wish) -> bool {
        let it = &self.users[user];
        let desired = &it.desired;
        match wish {
            Wish::Restore => it.gone && it.backup.is_some(),
            _ if it.gone => false,
            Wish::Retain => !desired.retain,
            Wish::Expire => desired.expires_at.is_none(),
            Wish::ExpireLater => desired.expires_at.is_some(),
            Wish::SecretGone => it.secret.is_some(),
            Wish::BadPassword => it.secret.is_some_and(|it| it.1 != 0),
            Wish::NewPassword => it.secret.is_none_or(|it| it.0 < 3),
            Wish::SameSecret => it.secret.is_some_and(|it| it.0 < 3),
            Wish::Revision => desired.password.revision.is_none(),
            Wish::Access | Wish::Recreate | Wish::Adopt | Wish::Suspend | Wish::Delete => desired.deleted_at.is_none(),
        }
    }

    pub fn wish(&mut self, user: usize, wish: Wish) {
        let (now, kind) = (self.now, self.kind);
        let it = &mut self.users[user];
        it.due = Some(now);
        let other = wanted(kind, u8::from(it.desired.access == wanted(kind, 0)));
        match wish {
            Wish::NewPassword => self.change_secret(user),
            Wish::SameSecret => it.secret = it.secret.map(|(version, password)| (version + 1, password)),
            Wish::BadPassword => it.secret = it.secret.map(|(version, _)| (version + 1, 0)),
            Wish::SecretGone => it.secret = None,
            Wish::Access => it.wish(|it| it.access = other),
            Wish::Revision => it.wish(|it| it.password.revision = Some("2".to_owned())),
            Wish::Recreate => it.wish(|it| it.recreate = !it.recreate),
            Wish::Adopt => it.wish(|it| it.adopt = !it.adopt),
            Wish::Suspend => it.wish(|it| it.suspend = !it.suspend),
            Wish::Retain => it.wish(|it| it.retain = true),
            Wish::Expire => it.wish(|it| it.expires_at = Some(now)),
            Wish::ExpireLater => it.wish(|it| it.expires_at = None),
            Wish::Delete => {
                it.wish(|it| it.deleted_at = Some(now));
                it.gone = !it.finalizer;
            }
            Wish::Restore => {
                it.wish(|it| {
                    it.uid = Uid::new(format!("{}r", it.uid));
                    (it.deleted_at, it.retain, it.created_at) = (None, false, now);
                });
                (it.gone, it.finalizer, it.annotation, it.released) = (false, true, it.backup.clone(), None);
            }
        }
        self.wake_rivals();
        if self.users[user].gone {
            self.users[user].due = None;
        }
    }

    pub fn can_happen(&self, user: usize, event: Event) -> bool {
        let it = &self.users[user];
        let account = self.account(&it.desired.username);
        let ours = account.is_some_and(|account| account.owner == Owner::Object(it.uid().clone()));
        match event {
            Event::Restart | Event::LongOutage | Event::Barred => user == 0,
            Event::Lost(_) => user == 0 && self.lost.is_none(),
            Event::CredentialsBack => user == 0 && self.lost.is_some_and(|it| it.how == Loss::Credentials),
            Event::KeyLost => user == 0 && self.stopped.is_none(),
            _ if it.gone => false,
            Event::AnnotationStripped => it.annotation.is_some(),
            Event::AnnotationForged => it.annotation.as_ref().is_some_and(|it| !it.forged),
            // With both proofs gone an old one that is put back is all there is.
            Event::AnnotationReplayed => it.backup.is_some() && it.status.is_some(),
            Event::AnnotationCopied => self.users.len() > 1 && self.users[1 - user].annotation.is_some(),
            Event::FinalizerStripped => it.finalizer,
            Event::StatusWiped => {
                let replayed = it.annotation.iter().zip(&it.backup).any(|(now, before)| Rc::ptr_eq(now, before));
                it.status.is_some() && !replayed
            }
            Event::AccountDeleted | Event::AccessChanged | Event::PasswordChanged => ours && !self.tampered,
            Event::Early => it.due.is_some_and(|due| self.now < due),
        }
    }

    pub fn happen(&mut self, user: usize, event: Event) {
        let now = self.now;
        let name = self.users[user].desired.username.clone();
        let account = self.account(&name).cloned();
        let it = &mut self.users[user];
        match event {
            Event::Restart => return self.restart(Duration::from_secs(2)),
            Event::LongOutage => {
                self.evidence_lost |= !self.can_list();
                return self.restart(Duration::from_secs(7200));
            }
            Event::Early => {
                self.wait(now + Duration::from_millis(10));
                drop(self.pass(user, Trouble::Nothing));
                return;
            }
            Event::Barred => {
                self.barred = !self.barred;
                return;
            }
            Event::Lost(how) => return self.lose(how),
            Event::CredentialsBack => {
                (self.lost, self.look) = (None, None);
                self.users.iter_mut().filter(|it| !it.gone).for_each(|it| it.due = Some(now));
                return;
            }
            Event::AnnotationStripped => it.annotation = None,
            Event::AnnotationForged => {
                let annotation = it.annotation.as_mut().expect("an annotation");
                Rc::make_mut(annotation).forged = true;
            }
            Event::AnnotationCopied => {
                let copy = self.users[1 - user].annotation.clone();
                self.users[user].annotation = copy;
            }
            Event::AnnotationReplayed => it.annotation = it.backup.clone(),
            Event::FinalizerStripped => {
                it.finalizer = false;
                it.cut_loose = true;
                it.gone = it.desired.deleted_at.is_some();
            }
            Event::StatusWiped => it.status = None,
            Event::KeyLost => {
                self.key += 1;
                self.forget_unproven();
                return self.restart(Duration::from_secs(2));
            }
            Event::AccountDeleted => {
                self.put_account(&name, now, None);
                self.tampered = true;
            }
            Event::AccessChanged => {
                let account = account.map(|it| Account { access: access(self.kind, &wanted(self.kind, 7)), ..it });
                self.put_account(&name, now, account);
                self.tampered = true;
            }
            Event::PasswordChanged => {
                let account = account.map(|it| Account { password: 9, ..it });
                self.put_account(&name, now, account);
                self.password_tampered = true;
            }
        }
        if self.tampered {
            self.look = Some(now + Duration::from_secs(30));
        }
        let proof = matches!(event, Event::AnnotationStripped | Event::AnnotationForged | Event::AnnotationCopied);
        if proof || matches!(event, Event::StatusWiped | Event::AnnotationReplayed) {
            self.forget_unproven();
        }
        let it = &mut self.users[user];
        it.version += 1;
        it.due = (!it.gone).then_some(now);
        self.wake_rivals();
    }
}

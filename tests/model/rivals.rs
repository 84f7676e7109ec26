//! Users of one account, judged by the operator's own rule from objects as the API server keeps them.

use std::{cell::RefCell, collections::HashMap};

use clickhouse_user_operator::{
    api::{ACCOUNT_FINALIZER, ClickHouseUser, OPERATION_ANNOTATION, conditions::Reason},
    domain::{
        claims::{self, Account, Claim, Claimant, Seniority},
        journal,
        names::Uid,
        operator_key::OperatorKey,
        seen::InstanceSeen,
    },
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::world::{User, World, instance_key};

/// All of an object that `claims::recorded` looks at: uid, finalizer, deletion, whose journal under which key, whether
/// it is forged, whose status with an account, and the key in use.
type Looks = (Uid, bool, bool, Option<(Uid, u8, bool)>, Option<(Option<Uid>, bool)>, u8);

thread_local! {
    /// Seals are expensive in a build without optimisation, and the same few objects are judged a million times.
    static RECORDED: RefCell<HashMap<Looks, Option<Claim>>> = RefCell::default();
}

pub fn operator_key(number: u8) -> OperatorKey {
    OperatorKey::new([number; 32].into())
}

impl World {
    /// Another user holds the account or goes before this one (architecture, "Claims").
    pub fn rival(&self, user: usize) -> Option<usize> {
        let name = &self.users[user].desired.username;
        let same = |it: &usize| *it != user && !self.users[*it].gone && self.users[*it].desired.username == *name;
        let others: Vec<usize> = (0..self.users.len()).filter(same).collect();
        if others.is_empty() || self.recorded(user).is_some() {
            return None;
        }
        let account = Account { instance: instance_key(), username: name.clone() };
        let claimants: Vec<Claimant> = others.iter().map(|it| self.claimant(*it)).collect();
        let rival = claims::rival(&self.claimant(user), &account, &claimants)?;
        (0..self.users.len()).find(|it| self.users[*it].desired.name == rival.name)
    }

    /// Whoever waited for another user and waits for nobody any more looks again.
    pub fn wake_rivals(&mut self) {
        for user in 0..self.users.len() {
            if self.users[user].reason == Some(Reason::AccountConflict) && self.rival(user).is_none() {
                self.users[user].due = Some(self.now);
            }
        }
    }

    fn claimant(&self, user: usize) -> Claimant {
        let object = object(&self.users[user]);
        let instance = InstanceSeen::Present(self.instance());
        let holds = self.recorded(user).filter(|it| it.counts(&instance)).map(|it| it.account);
        Claimant {
            namespace: self.users[user].desired.namespace.clone(),
            name: self.users[user].desired.name.clone(),
            seniority: Seniority::of(&object),
            ready: holds.is_none() && claims::is_ready(&object, &instance, &self.secret_seen(user)),
            holds,
        }
    }

    fn recorded(&self, user: usize) -> Option<Claim> {
        let it = &self.users[user];
        let annotation = it.annotation.as_ref();
        let looks = (
            it.uid().clone(),
            it.finalizer,
            it.desired.deleted_at.is_some(),
            annotation.map(|it| (it.intent.uid.clone(), it.key, it.forged)),
            it.status.as_ref().map(|it| (it.uid.clone(), it.applied.is_some())),
            self.key,
        );
        let known = RECORDED.with_borrow(|known| known.get(&looks).cloned());
        known.unwrap_or_else(|| {
            let mut object = object(it);
            if let Some(annotation) = annotation {
                let mut text = journal::seal(&annotation.intent, &operator_key(annotation.key));
                if annotation.forged {
                    text = text.replace(annotation.intent.username.as_str(), "somebody");
                }
                object.metadata.annotations = Some([(OPERATION_ANNOTATION.to_owned(), text)].into());
            }
            let recorded = claims::recorded(&object, &operator_key(self.key));
            RECORDED.with_borrow_mut(|known| known.insert(looks, recorded.clone()));
            recorded
        })
    }
}

/// The object as the API server keeps it, without its annotation.
fn object(user: &User) -> ClickHouseUser {
    let desired = &user.desired;
    let mut object = TEMPLATE.with(Clone::clone);
    object.spec.username = Some(desired.username.as_str().to_owned());
    object.spec.suspend = Some(desired.suspend);
    object.metadata.name = Some(desired.name.clone());
    object.metadata.namespace = Some(desired.namespace.clone());
    object.metadata.uid = Some(desired.uid.as_str().to_owned());
    object.metadata.generation = Some(desired.generation);
    object.metadata.creation_timestamp = Some(Time(desired.created_at));
    object.metadata.deletion_timestamp = desired.deleted_at.map(Time);
    object.metadata.finalizers = user.finalizer.then(|| vec![ACCOUNT_FINALIZER.to_owned()]);
    object.status = user.status.as_deref().cloned();
    object
}

thread_local! {
    static TEMPLATE: ClickHouseUser = {
        let spec = serde_json::json!({"instanceRef": {"name": "instance"}, "passwordSecretRef": {"name": "password"}});
        ClickHouseUser::new("", serde_json::from_value(spec).expect("a manifest"))
    };
}

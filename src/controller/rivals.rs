//! Where several users ask for one account: who of them goes on. Judged by [`claims`] from what the stores show.

use std::sync::{Arc, PoisonError};

use super::{
    context::Context,
    instance_seen::instance_seen,
    names::{InstanceName, Name, name_of},
};
use crate::{
    api::ClickHouseUser,
    domain::{
        claims::{self, Account, Claimant, Seniority},
        names::Uid,
        seen::InstanceSeen,
    },
};

/// Why a user may not create its account, in words; `None` where nobody else stands in its way.
pub fn rival(context: &Context, user: &ClickHouseUser, instance: &InstanceSeen) -> Option<String> {
    let InstanceSeen::Present(facts) = instance else { return None };
    let account = Account { instance: facts.key.clone(), username: user.username() };
    judge(context, user, &account)
}

fn judge(context: &Context, user: &ClickHouseUser, account: &Account) -> Option<String> {
    let others = context.index.rivals(&name_of(user)?);
    if others.is_empty() || claims::recorded(user, &context.key).is_some() {
        return None;
    }
    let me = claimant(context, user)?;
    let others: Vec<_> = others.iter().filter_map(|name| claimant(context, &*context.user(name)?)).collect();
    claims::rival(&me, account, &others).map(|rival| claims::conflict(&me, account, rival))
}

fn claimant(context: &Context, user: &ClickHouseUser) -> Option<Claimant> {
    let (namespace, name) = name_of(user)?;
    let (instance, _) = instance_seen(context, user, &InstanceName::meant_by(user));
    let holds = claims::recorded(user, &context.key).filter(|claim| claim.counts(&instance)).map(|claim| claim.account);
    let secret: Name = (namespace.clone(), user.spec.password_secret_ref.name.clone());
    let ready = holds.is_none() && claims::is_ready(user, &instance, &context.secret(&secret));
    Some(Claimant { ready, seniority: Seniority::of(user), namespace, name, holds })
}

/// The right to write the first intent for an account, for the rest of a pass. Two passes that run side by side may both
/// have found nobody in their way.
pub struct Claiming {
    context: Arc<Context>,
    account: Account,
    uid: Uid,
}

impl Claiming {
    /// Takes it, unless another pass has, or another user has come to hold the account since this pass began.
    pub fn begin(context: &Arc<Context>, user: &ClickHouseUser, account: Account) -> Option<Self> {
        let uid = Uid::new(user.metadata.uid.clone()?);
        let claiming = {
            let mut taken = context.claiming.lock().unwrap_or_else(PoisonError::into_inner);
            if *taken.entry(account.clone()).or_insert_with(|| uid.clone()) != uid {
                return None;
            }
            Self { context: context.clone(), account, uid }
        };
        judge(context, user, &claiming.account).is_none().then_some(claiming)
    }
}

impl Drop for Claiming {
    fn drop(&mut self) {
        let mut taken = self.context.claiming.lock().unwrap_or_else(PoisonError::into_inner);
        if taken.get(&self.account) == Some(&self.uid) {
            taken.remove(&self.account);
        }
    }
}

//! After each new list of an instance: wakes the settled users whose account is not as they left it. One comparison in
//! memory for all of them, and no call.

use kube::ResourceExt;

use super::{context::Context, names::InstanceName};
use crate::{
    domain::{drift::drifted, names::Uid, seen::Record},
    provider::connection::Connection,
};

/// Users looked at in one go: some milliseconds in which the thread serves nobody else.
const AT_ONCE: usize = 256;

/// Compares every user of an instance with the last list that was read through this connection.
pub async fn wake_drifted(context: &Context, name: &InstanceName, connection: &Connection) {
    for (place, user_name) in context.index.users_of_instance(name).into_iter().enumerate() {
        if place % AT_ONCE == AT_ONCE - 1 {
            tokio::task::yield_now().await;
        }
        let Some(user) = context.user(&user_name) else { continue };
        let Some(uid) = user.uid().map(Uid::new) else { continue };
        let Some(listed) = connection.listed(&user.username()) else { return };
        if drifted(&Record::of(user.status.as_ref(), &uid), listed.account.as_ref()) {
            context.wake_user(&user_name);
        }
    }
}

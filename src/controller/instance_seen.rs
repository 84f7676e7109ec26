//! What a user pass knows of the instance that its user names, without asking anybody.

use std::sync::Arc;

use super::{context::Context, directory::Entry, names::InstanceName, sharing};
use crate::{
    api::{conditions::Reason, user::ClickHouseUser},
    domain::{
        instance::login_interval,
        seen::{InstanceFacts, InstanceSeen},
    },
    provider::connection::Connection,
};

/// What is known of the instance that a user names, with what its owner says to this user.
pub fn instance_seen(
    context: &Context,
    user: &ClickHouseUser,
    name: &InstanceName,
) -> (InstanceSeen, Option<Arc<Connection>>) {
    if name.namespace.is_none() {
        match &context.shared {
            None => return (InstanceSeen::NotServed, None),
            // Without the labels of namespaces nobody can say whom the instance is for.
            Some(shared) if !shared.is_filled() => return (InstanceSeen::Missing, None),
            Some(_) => {}
        }
    }
    let Some(instance) = context.instance(name) else { return (InstanceSeen::Missing, None) };
    // What the directory says of an object of this name that was replaced since is not about this one.
    let uid = instance.metadata().uid.as_deref();
    let entry = context.directory.get(name).filter(|entry| uid == Some(entry.uid.as_str()));
    let Some(block) = instance.spec().provider() else { return (InstanceSeen::Missing, None) };
    let deleted = user.metadata.deletion_timestamp.is_some();
    let entry_connection = |entry: &Entry| entry.connection.clone().filter(|_| deleted || !entry.withdrawn);
    let connection = entry.as_deref().and_then(entry_connection);
    let (state, not_allowed) = match sharing::judge(context, user, &instance) {
        // The ceilings in force are not known, so nobody goes on; the pass of the instance says the same to all.
        Err(invalid) => (Some((Reason::InvalidSpec, invalid)), None),
        Ok(not_allowed) => (entry.as_ref().map(|entry| entry.state.clone()), not_allowed),
    };
    let facts = InstanceFacts {
        key: block.instance_key(),
        provider: block.kind(),
        state,
        held: instance.is_held(),
        terminating: instance.is_terminating(),
        connected: connection.is_some(),
        gone: entry.is_some_and(|entry| entry.gone),
        not_allowed,
        login_check: instance.spec().login_check.as_ref().and_then(|check| login_interval(check).ok()),
        connection: instance.status().and_then(|status| status.connection.clone()),
    };
    debug_assert!(facts.state.as_ref().is_none_or(|(reason, _)| *reason != Reason::Reachable || facts.connected));
    (InstanceSeen::Present(facts), connection)
}

//! What the owner of a shared instance says to a user, on every pass. Judged by [`policy`] from what the watches show.

use kube::ResourceExt;

use super::{context::Context, names::name_of};
use crate::{
    api::{AnyInstance, ClickHouseUser},
    domain::policy,
};

/// Why the user may not use the instance, `None` where it may, or why the ceilings of the instance mean nothing.
pub fn judge(context: &Context, user: &ClickHouseUser, instance: &AnyInstance) -> Result<Option<String>, String> {
    let (Some(spec), Some(shared)) = (instance.sharing(), &context.shared) else { return Ok(None) };
    let (Some(name), Some(block)) = (name_of(user), spec.instance.provider()) else { return Ok(None) };
    let policy = match context.directory.policy(instance) {
        None => return Ok(None),
        Some(Err(policy::Invalid { field, message })) => return Err(format!("{field}: {message}.")),
        Some(Ok(policy)) => policy,
    };
    let called = instance.metadata().name.clone().unwrap_or_default();
    let labels = shared.namespaces.labels(&name.0);
    if !policy::admits(spec.allowed_namespaces.as_ref(), &name.0, labels.as_ref()) {
        return Ok(Some(policy::namespace_not_admitted(&name.0, &called)));
    }
    if let Some(exceeded) = policy.exceeded(user, block.kind()) {
        return Ok(Some(exceeded.of(&called)));
    }
    let most = policy.users_per_namespace().filter(|most| !context.index.is_among_oldest(&name, *most));
    Ok(most.map(|most| policy::too_many(&user.namespace().unwrap_or_default(), &called, most)))
}

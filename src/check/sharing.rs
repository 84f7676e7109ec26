//! What the owner of a shared instance says: allowed namespaces and ceilings, by the code that the operator runs.

use super::{
    Report,
    clouds::Together,
    object::{NAMESPACE, Object},
};
use crate::{
    api::{ClickHouseUser, ClusterClickHouseInstance, ClusterClickHouseInstanceSpec, InstanceKind},
    domain::{
        desired::Desired,
        policy::{self, Invalid, Policy},
    },
    provider::contract::ProviderKind,
};

/// The label that Kubernetes itself puts on every namespace.
const NAME_LABEL: &str = "kubernetes.io/metadata.name";

/// Checks the ceilings of a shared instance.
pub fn instance(object: &Object<'_>, spec: &ClusterClickHouseInstanceSpec, report: &mut Report) {
    let Some(block) = spec.instance.provider() else { return };
    if let Err(Invalid { field, message }) = Policy::of(spec, block.kind()) {
        report.finding(object, field, message);
    }
}

/// Checks a user against the shared instance that it names.
pub fn user(
    together: &Together<'_>,
    object: &Object<'_>,
    (user, desired): (&ClickHouseUser, &Desired),
    (instance, cloud): (&Object<'_>, ProviderKind),
    report: &mut Report,
) {
    const REFERENCE: &str = "spec.instanceRef";
    let Some(spec) = instance.read::<ClusterClickHouseInstance>().map(|instance| instance.spec) else { return };
    let (namespace, called) = (object.namespace, instance.name);
    let known = together.find(object, NAMESPACE, "", namespace);
    let labels = known.map(|known| {
        let mut labels = known.labels();
        labels.insert(NAME_LABEL.to_owned(), namespace.to_owned());
        labels
    });
    let selects = spec.allowed_namespaces.as_ref().is_some_and(|allowed| allowed.selector.is_some());
    if !policy::admits(spec.allowed_namespaces.as_ref(), namespace, labels.as_ref()) {
        if known.is_none() && selects {
            let message = format!(
                "Namespace {namespace} is not among the files; whether its labels admit it to \
                 ClusterClickHouseInstance {called} is not checked"
            );
            report.note(object, REFERENCE, message);
        } else {
            report.finding(object, REFERENCE, policy::namespace_not_admitted(namespace, called));
        }
    }
    // What is wrong with the ceilings is told of the instance.
    let Ok(policy) = Policy::of(&spec, cloud) else { return };
    if let Some(exceeded) = policy.exceeded(user, cloud) {
        let message = format!("{} (ceiling of ClusterClickHouseInstance {called})", exceeded.message);
        report.finding(object, exceeded.field, message);
    }
    if let Some(most) = policy.users_per_namespace() {
        // Ages are not known here; those that come first in the files count as the oldest.
        let before = together.objects.iter().take_while(|other| !std::ptr::eq(*other, object));
        let count = before.filter(|other| same_instance(other, object, desired)).count();
        if count >= most {
            report.finding(object, REFERENCE, policy::too_many(namespace, called, most));
        }
    }
}

fn same_instance(other: &Object<'_>, object: &Object<'_>, desired: &Desired) -> bool {
    other.kind == object.kind
        && other.namespace == object.namespace
        && other.read::<ClickHouseUser>().is_some_and(|user| {
            let reference = &user.spec.instance_ref;
            reference.kind() == InstanceKind::ClusterClickHouseInstance && reference.name == desired.instance_name
        })
}

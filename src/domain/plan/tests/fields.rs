//! What a cloud lacks is refused by name, whatever else is right or wrong, and never ignored.

use serde_json::json;

use super::{super::*, fixture::*};
use crate::{
    api::{
        fields::{self, CloudField},
        user::ClickHouseUser,
    },
    provider::contract::WantedAccess,
};

/// The access that a manifest with this field alone asks for.
fn asked_for(field: &CloudField) -> WantedAccess {
    let spec = json!({"instanceRef": {"name": "i"}, "passwordSecretRef": {"name": "p"}, (field.name): field.value});
    let mut user = ClickHouseUser::new("reporting", serde_json::from_value(spec).expect("a manifest"));
    user.metadata.uid = Some("uid-1".to_owned());
    user.metadata.namespace = Some("team".to_owned());
    let access = Desired::of(&user).expect("an object of the API server").access;
    assert_ne!(access, WantedAccess::default(), "{} does not reach the cloud's rules", field.name);
    access
}

/// The same beside what the cloud requires.
fn beside(required: WantedAccess, asked: WantedAccess) -> WantedAccess {
    WantedAccess {
        allowed_hosts: asked.allowed_hosts.or(required.allowed_hosts),
        databases: asked.databases.or(required.databases),
        permission: asked.permission.or(required.permission),
    }
}

fn assert_refused(case: &Case, field: &CloudField) {
    assert_eq!(case.verdict(), verdict(Reason::FieldNotSupported), "{} on {}", field.name, case.kind);
    assert!(case.message().contains(field.name), "{}: {}", field.name, case.message());
}

#[test]
fn field_that_a_cloud_lacks_is_refused_by_name_for_a_new_account_and_for_one_that_is_there() {
    for (cloud, field, _) in fields::on_each_cloud().filter(|(_, _, held)| !held) {
        let alone = asked_for(&field);
        let both = beside(wanted(cloud), alone.clone());
        for access in [alone, both] {
            assert_refused(&Case::on(cloud).with(|it| it.desired.access = access.clone()), &field);
            let settled = Case::on(cloud).owned().with(|it| {
                it.desired.access = access;
                it.desired.recreate = true;
            });
            assert_refused(&settled, &field);
        }
    }
}

#[test]
fn field_that_a_cloud_has_is_in_force_with_the_account() {
    for (cloud, field, held) in fields::on_each_cloud() {
        let Ok(access) = cloud.rules().access(&beside(wanted(cloud), asked_for(&field))) else {
            assert!(!held, "{} is refused on {cloud}", field.name);
            continue;
        };
        assert!(held, "{} is ignored on {cloud}", field.name);
        assert_ne!(access, self::access(cloud), "{} changes nothing on {cloud}", field.name);
    }
}

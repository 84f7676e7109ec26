//! The rules that the API server holds manifests to, in CEL.
//!
//! Those of whole objects compare what is in force, so that a field may be written out or left out where that changes
//! nothing. A rule on the field itself would not run when the field appears or vanishes.

use kube::core::Rule;

/// `spec.username`, or the name of the object where it is left out, stays as it is.
pub fn username_is_immutable() -> Rule {
    Rule::new(
        "(has(self.spec.username) ? self.spec.username : self.metadata.name) == \
         (has(oldSelf.spec.username) ? oldSelf.spec.username : oldSelf.metadata.name)",
    )
    .message(
        "spec.username (metadata.name where it is left out) cannot be changed; \
         create another ClickHouseUser for another account",
    )
    .field_path(".spec.username")
}

/// The account's name is one that some cloud takes.
pub fn username_is_valid() -> Rule {
    Rule::new("(has(self.spec.username) ? self.spec.username : self.metadata.name).matches('^[A-Za-z0-9_]{2,32}$')")
        .message(
            "spec.username (metadata.name where it is left out) must be 2 to 32 letters, digits or underscores; \
         set spec.username where the object's name has other characters",
        )
        .field_path(".spec.username")
}

/// `spec.instanceRef` names the same object as before.
pub fn instance_is_immutable() -> Rule {
    Rule::new(
        "self.spec.instanceRef.name == oldSelf.spec.instanceRef.name && \
         (has(self.spec.instanceRef.kind) ? self.spec.instanceRef.kind : 'ClickHouseInstance') == \
         (has(oldSelf.spec.instanceRef.kind) ? oldSelf.spec.instanceRef.kind : 'ClickHouseInstance')",
    )
    .message("spec.instanceRef cannot be changed; create another ClickHouseUser for another instance")
    .field_path(".spec.instanceRef")
}

/// The operator does not write over the password that it reads.
pub fn secrets_differ() -> Rule {
    Rule::new("!has(self.spec.connectionSecret) || self.spec.connectionSecret.name != self.spec.passwordSecretRef.name")
        .message(
            "spec.connectionSecret.name must differ from spec.passwordSecretRef.name; \
         name another Secret, the operator writes this one",
        )
        .field_path(".spec.connectionSecret.name")
}

/// What is wrong with an instance object that names no provider, or two.
pub const ONE_PROVIDER: &str = "spec must have exactly one provider block: qingcloud or huaweicloud";

/// An instance is on exactly one cloud.
pub fn one_provider() -> Rule {
    Rule::new("has(self.spec.qingcloud) != has(self.spec.huaweicloud)").message(ONE_PROVIDER)
}

/// An instance stays on its cloud.
pub fn provider_is_immutable() -> Rule {
    Rule::new("has(self.spec.qingcloud) == has(oldSelf.spec.qingcloud)")
        .message("the provider block of spec cannot be changed; create another instance object for another cloud")
}

/// A required field of a provider block stays as it is.
pub fn immutable(field: &str) -> Rule {
    Rule::new("self == oldSelf")
        .message(format!("{field} cannot be changed; create another instance object for another instance").as_str())
}

/// Labels and annotations have keys that Kubernetes takes; the Secret could not be written otherwise.
pub fn metadata_keys(field: &str) -> Rule {
    Rule::new(
        "self.all(key, key.matches(\
         '^([a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$'))",
    )
    .message(format!("a key of {field} must be a name such as team or example.com/team; correct the key").as_str())
}

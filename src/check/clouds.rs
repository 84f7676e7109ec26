//! What the clouds say of users and instances, with the objects they name where those are among the files.

use std::collections::HashSet;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use url::Url;
use zeroize::Zeroizing;

use super::{
    Report,
    manifest::Node,
    object::{Object, SECRET},
    sharing,
};
use crate::{
    api::{
        ClickHouseInstance, ClickHouseInstanceSpec, ClickHouseUser, ClusterClickHouseInstance, InstanceKind,
        ProviderBlock,
    },
    domain::{
        desired::Desired,
        origin::Origin,
        secret::SecretText,
        target::{Unusable, target},
    },
    provider::{
        contract::{ProviderKind, Refusal, WantedAccess},
        huaweicloud, qingcloud,
    },
};

/// Every object of the files, and what the command line says of them.
pub struct Together<'a> {
    /// The objects.
    pub objects: &'a [Object<'a>],
    /// Where the credentials of shared instances are.
    pub operator_namespace: &'a str,
    /// What `--allowed-endpoints` of the operator names; `None` where it is not known.
    pub allowed_endpoints: Option<&'a HashSet<Origin>>,
}

impl<'a> Together<'a> {
    /// Checks one object against the others.
    pub fn check(&self, object: &Object<'_>, report: &mut Report) {
        match object.kind {
            "ClickHouseUser" => {
                if let Some(user) = object.read() {
                    self.user(object, &user, report);
                }
            }
            "ClickHouseInstance" => {
                if let Some(instance) = object.read::<ClickHouseInstance>() {
                    self.instance(object, &instance.spec, object.namespace, report);
                }
            }
            "ClusterClickHouseInstance" => {
                if let Some(instance) = object.read::<ClusterClickHouseInstance>() {
                    self.instance(object, &instance.spec.instance, self.operator_namespace, report);
                    sharing::instance(object, &instance.spec, report);
                }
            }
            _ => {}
        }
    }

    /// The object of this kind and name that `from` means: where several files have one, that of its own file.
    pub(super) fn find(&self, from: &Object<'_>, kind: &str, namespace: &str, name: &str) -> Option<&'a Object<'a>> {
        let mut found = self.objects.iter().filter(|it| (it.kind, it.namespace, it.name) == (kind, namespace, name));
        let first = found.clone().next();
        found.find(|it| it.file == from.file).or(first)
    }

    fn instance(&self, object: &Object<'_>, spec: &ClickHouseInstanceSpec, secrets_in: &str, report: &mut Report) {
        let Some(block) = spec.provider() else { return };
        let overrides = overrides(block);
        for (field, text) in &overrides {
            if let (None, Some(origin)) = (self.allowed_endpoints, origin(text)) {
                report.note(
                    object,
                    field,
                    format!("the operator must be started with {origin} in --allowed-endpoints"),
                );
            }
        }
        // Where it is not known what is allowed, the overrides themselves are, so that their other rules still count.
        let assumed = || overrides.iter().filter_map(|(_, text)| origin(text)).collect();
        let allowed = self.allowed_endpoints.cloned().unwrap_or_else(assumed);
        if let Err(Unusable::InvalidSpec(message) | Unusable::NotAllowed(message)) = target(block, &allowed) {
            // Of other fields than these only the region is judged here.
            let named = |field: &&str| message.starts_with(&format!("{field}: "));
            match overrides.iter().map(|(field, _)| *field).find(named) {
                Some(field) => report.finding(object, field, &message[field.len() + 2..]),
                None => report.finding(object, "spec.huaweicloud.region", message),
            }
        }
        let secret = &block.credentials_secret_ref().name;
        if let Some(secret) = self.find(object, SECRET, secrets_in, secret) {
            let value = |key: &str| {
                let value = value(secret.node, key)?.ok()?;
                std::str::from_utf8(&value.bytes).ok().filter(|text| !text.is_empty()).map(SecretText::new)
            };
            let read = match block.kind() {
                ProviderKind::QingCloud => qingcloud::Credentials::read(&value).map(drop),
                ProviderKind::HuaweiCloud => huaweicloud::Credentials::read(&value).map(drop),
            };
            if let Err(message) = read {
                report.finding(secret, "data", format!("as credentials of {}/{}: {message}", object.kind, object.name));
            }
        }
    }

    fn user(&self, object: &Object<'_>, user: &ClickHouseUser, report: &mut Report) {
        // What the API server adds to every object, so that the user can be resolved as the operator does it.
        let mut served = user.clone();
        served.metadata.uid = Some(String::new());
        served.metadata.namespace = Some(object.namespace.to_owned());
        let Some(desired) = Desired::of(&served) else { return };
        let Some(cloud) = self.cloud(object, &desired) else {
            let message = "no usable instance of this name is among the files; the rules of its cloud are not checked";
            return report.note(object, "spec.instanceRef", message);
        };
        if let Err(refusal) = cloud.rules().username(desired.username.as_str()) {
            report.finding(object, "spec.username", text(refusal));
        }
        for refusal in access(cloud, &desired.access) {
            let (field, message) = field_of(text(refusal));
            report.finding(object, &field, message);
        }
        self.password(object, &desired, cloud, report);
        if let Some(instance) = self.shared(object, &desired) {
            sharing::user(self, object, (user, &desired), (instance, cloud), report);
        }
    }

    /// The shared instance that a user names, where it is among the files.
    fn shared(&self, object: &Object<'_>, desired: &Desired) -> Option<&'a Object<'a>> {
        let kind = InstanceKind::ClusterClickHouseInstance;
        let shared = desired.instance_kind == kind;
        shared.then(|| self.find(object, kind.as_str(), "", &desired.instance_name)).flatten()
    }

    /// The cloud of the instance that a user names, where that is among the files.
    fn cloud(&self, object: &Object<'_>, desired: &Desired) -> Option<ProviderKind> {
        let kind = desired.instance_kind.as_str();
        let spec = match desired.instance_kind {
            InstanceKind::ClickHouseInstance => {
                self.find(object, kind, object.namespace, &desired.instance_name)?.read::<ClickHouseInstance>()?.spec
            }
            InstanceKind::ClusterClickHouseInstance => {
                self.find(object, kind, "", &desired.instance_name)?.read::<ClusterClickHouseInstance>()?.spec.instance
            }
        };
        spec.provider().map(ProviderBlock::kind)
    }

    fn password(&self, object: &Object<'_>, desired: &Desired, cloud: ProviderKind, report: &mut Report) {
        let source = &desired.password;
        let Some(secret) = self.find(object, SECRET, object.namespace, &source.secret) else { return };
        let of = format!("as the password of ClickHouseUser/{}", object.name);
        let Some(value) = value(secret.node, &source.key) else {
            let message = format!("{of}: there is no key {}; add it, or set spec.passwordSecretRef.key", source.key);
            return report.finding(secret, "data", message);
        };
        let Ok(value) = value else {
            let field = format!("data.{}", source.key);
            return report.finding(secret, &field, "must be text in base64; stringData takes it plain");
        };
        let field = format!("{}.{}", value.field, source.key);
        let judged = match std::str::from_utf8(&value.bytes) {
            Err(_) => Err("it is not text (UTF-8)".to_owned()),
            Ok("") => Err("it is empty".to_owned()),
            Ok(password) => cloud.rules().password(desired.username.as_str(), &SecretText::new(password)).map_err(text),
        };
        if let Err(message) = judged {
            report.finding(secret, &field, format!("{of}: {message}"));
        }
    }
}

/// Every refusal of the access asked for, not the first alone.
fn access(cloud: ProviderKind, wanted: &WantedAccess) -> Vec<Refusal> {
    let rules = cloud.rules();
    let can = rules.capabilities();
    let mut held = wanted.clone();
    let mut refusals = Vec::new();
    let mut without = |alone: WantedAccess| refusals.extend(rules.access(&alone).err());
    if !can.allowed_hosts && held.allowed_hosts.is_some() {
        without(WantedAccess { allowed_hosts: held.allowed_hosts.take(), ..WantedAccess::default() });
    }
    if !can.databases && held.databases.is_some() {
        without(WantedAccess { databases: held.databases.take(), ..WantedAccess::default() });
    }
    if !can.permission && held.permission.is_some() {
        without(WantedAccess { permission: held.permission.take(), ..WantedAccess::default() });
    }
    refusals.extend(rules.access(&held).err());
    refusals
}

/// The field that a refusal of access names first, and the rest of its text.
fn field_of(message: String) -> (String, String) {
    let fields = ["spec.allowedHosts", "spec.databases", "spec.permission"];
    let named = fields.into_iter().filter_map(|field| Some((message.find(field)?, field))).min();
    let field = named.map_or("spec", |(_, field)| field);
    let rest = message.strip_prefix(field).map(|rest| rest.trim_start_matches(':').trim_start().to_owned());
    (field.to_owned(), rest.unwrap_or(message))
}

fn text(refusal: Refusal) -> String {
    match refusal {
        Refusal::InvalidSpec(text) | Refusal::FieldNotSupported(text) | Refusal::InvalidPassword(text) => text,
    }
}

fn origin(text: &str) -> Option<Origin> {
    Origin::of(&Url::parse(text).ok()?).ok()
}

fn overrides(block: ProviderBlock<'_>) -> Vec<(&'static str, &str)> {
    let fields = match block {
        ProviderBlock::QingCloud(block) => vec![("spec.qingcloud.endpoint", &block.endpoint)],
        ProviderBlock::HuaweiCloud(block) => {
            vec![("spec.huaweicloud.endpoint", &block.endpoint), ("spec.huaweicloud.iamEndpoint", &block.iam_endpoint)]
        }
    };
    fields.into_iter().filter_map(|(field, text)| Some((field, text.as_deref()?))).collect()
}

/// A value of a Secret, and where it is written: `data` or `stringData`.
struct SecretValue {
    field: &'static str,
    bytes: Zeroizing<Vec<u8>>,
}

struct NotBase64;

/// The value under a key of a Secret, as the API server puts it together: stringData goes before data.
fn value(secret: &Node, key: &str) -> Option<Result<SecretValue, NotBase64>> {
    if let Some(text) = secret.at(&["stringData", key]).and_then(Node::text) {
        return Some(Ok(SecretValue { field: "stringData", bytes: Zeroizing::new(text.as_bytes().to_vec()) }));
    }
    let encoded = secret.at(&["data", key]).and_then(Node::text)?;
    let decoded = STANDARD.decode(encoded.replace(['\n', '\r'], "")).map_err(|_| NotBase64);
    Some(decoded.map(|bytes| SecretValue { field: "data", bytes: Zeroizing::new(bytes) }))
}

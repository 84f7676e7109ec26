//! Who may use a shared instance, and how far: allowed namespaces and ceilings.

use std::collections::BTreeMap;

use ipnet::IpNet;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, LabelSelectorRequirement};
use regex::{Regex, RegexBuilder};

use crate::{
    api::{AdoptionPolicy, AllowedNamespaces, ClickHouseUser, ClusterClickHouseInstanceSpec},
    provider::contract::{Access, Permission, ProviderKind, Refusal, WantedAccess},
};

/// Most memory that a compiled `usernamePattern` may take. Ordinary ones take some kilobytes; nested repetitions could
/// take gigabytes.
const PATTERN_SIZE: usize = 256 * 1024;

/// Labels of a namespace.
pub type Labels = BTreeMap<String, String>;

/// Ceilings, compiled.
#[derive(Debug, Default)]
pub struct Policy {
    pattern: Option<(String, Regex)>,
    permission: Option<Permission>,
    databases: Option<Vec<String>>,
    networks: Option<Vec<IpNet>>,
    adoption_allowed: bool,
    users_per_namespace: Option<usize>,
}

/// Why a user may not go on: the field of its manifest, and the message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exceeded {
    /// Which field of the user.
    pub field: &'static str,
    /// In words, with the mend.
    pub message: String,
}

/// A ceiling that means nothing on its instance: the field, and the message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invalid {
    /// Which field of the instance.
    pub field: &'static str,
    /// In words, with the mend.
    pub message: String,
}

/// Whether users of a namespace may use the instance. `labels` of a namespace that is not known select nothing.
pub fn admits(allowed: Option<&AllowedNamespaces>, namespace: &str, labels: Option<&Labels>) -> bool {
    let Some(allowed) = allowed else { return false };
    allowed.names.iter().flatten().any(|name| name == namespace)
        || allowed.selector.as_ref().zip(labels).is_some_and(|(selector, labels)| selects(selector, labels))
}

fn selects(selector: &LabelSelector, labels: &Labels) -> bool {
    selector.match_labels.iter().flatten().all(|(key, value)| labels.get(key) == Some(value))
        && selector.match_expressions.iter().flatten().all(|requirement| holds(requirement, labels))
}

/// As Kubernetes has it: `NotIn` holds where the label is missing. An operator that nobody knows holds never.
fn holds(requirement: &LabelSelectorRequirement, labels: &Labels) -> bool {
    let label = labels.get(&requirement.key);
    let listed = || label.is_some_and(|label| requirement.values.iter().flatten().any(|value| value == label));
    match requirement.operator.as_str() {
        "In" => listed(),
        "NotIn" => !listed(),
        "Exists" => label.is_some(),
        "DoesNotExist" => label.is_none(),
        _ => false,
    }
}

impl Policy {
    /// Compiles the ceilings of a shared instance; refuses what its cloud cannot hold.
    pub fn of(spec: &ClusterClickHouseInstanceSpec, provider: ProviderKind) -> Result<Self, Invalid> {
        let Some(ceilings) = &spec.ceilings else { return Ok(Self::default()) };
        let can = provider.rules().capabilities();
        for (field, set, held) in [
            ("spec.ceilings.permission", ceilings.permission.is_some(), can.permission),
            ("spec.ceilings.databases", ceilings.databases.is_some(), can.databases),
            ("spec.ceilings.allowedHosts", ceilings.allowed_hosts.is_some(), can.allowed_hosts),
        ] {
            if set && !held {
                return Err(invalid(
                    field,
                    format!("{provider} has no such setting for an account; remove the ceiling"),
                ));
            }
        }
        Ok(Self {
            pattern: ceilings.username_pattern.as_deref().map(pattern).transpose()?,
            permission: ceilings.permission,
            databases: ceilings.databases.as_deref().map(|names| databases(names, provider)).transpose()?,
            networks: ceilings.allowed_hosts.as_deref().map(|hosts| networks(hosts, provider)).transpose()?,
            adoption_allowed: ceilings.adoption() == AdoptionPolicy::Adopt,
            // The schema has a minimum of 0.
            users_per_namespace: ceilings.users_per_namespace.map(|most| usize::try_from(most).unwrap_or_default()),
        })
    }

    /// How many users of a namespace are served.
    pub fn users_per_namespace(&self) -> Option<usize> {
        self.users_per_namespace
    }

    /// The first ceiling that a user exceeds by what its manifest says. Access that its cloud refuses anyway is not
    /// judged here.
    pub fn exceeded(&self, user: &ClickHouseUser, provider: ProviderKind) -> Option<Exceeded> {
        let (spec, username) = (&user.spec, user.username());
        if let Some((text, pattern)) = &self.pattern
            && !pattern.is_match(username.as_str())
        {
            return exceeded("spec.username", format!("{username} does not match {text}"));
        }
        if spec.adoption_policy() == AdoptionPolicy::Adopt && !self.adoption_allowed {
            return exceeded("spec.adoptionPolicy", "accounts that are there already may not be taken over".to_owned());
        }
        let wanted = WantedAccess {
            allowed_hosts: spec.allowed_hosts.clone(),
            databases: spec.databases.clone(),
            permission: spec.permission,
        };
        provider.rules().access(&wanted).ok().and_then(|access| self.exceeded_by(&access))
    }

    fn exceeded_by(&self, access: &Access) -> Option<Exceeded> {
        if let (Some(most), Some(asked)) = (self.permission, access.permission)
            && asked > most
        {
            return exceeded("spec.permission", format!("the most is {most:?}"));
        }
        if let Some(allowed) = &self.databases
            && let Some(other) = access.databases.iter().flatten().find(|name| !allowed.contains(name))
        {
            return exceeded("spec.databases", format!("{other:?} is not among {}", allowed.join(", ")));
        }
        let networks = self.networks.as_ref()?;
        let inside = |host: &&String| network(host).is_some_and(|host| networks.iter().any(|it| it.contains(&host)));
        let other = access.allowed_hosts.iter().flatten().find(|host| !inside(host))?;
        let networks: Vec<_> = networks.iter().map(ToString::to_string).collect();
        exceeded("spec.allowedHosts", format!("{other:?} is not inside one of {}", networks.join(", ")))
    }
}

impl Exceeded {
    /// The whole sentence for `NotAllowed`.
    pub fn of(&self, instance: &str) -> String {
        format!(
            "{}: {} (ceiling of ClusterClickHouseInstance {instance}); change the field, or ask the owner of the \
             instance.",
            self.field, self.message
        )
    }
}

/// The sentence for a user whose namespace may not use the instance.
pub fn namespace_not_admitted(namespace: &str, instance: &str) -> String {
    format!(
        "Namespace {namespace} may not use ClusterClickHouseInstance {instance}; ask its owner to allow it in \
         spec.allowedNamespaces."
    )
}

/// The sentence for a user that is one too many.
pub fn too_many(namespace: &str, instance: &str, most: usize) -> String {
    format!(
        "ClusterClickHouseInstance {instance} serves {most} users of namespace {namespace}, the oldest first, and this is \
         not among them; delete others, or ask the owner of the instance."
    )
}

/// The whole name has to match. A pattern is compiled alone first: a stray bracket would otherwise close the group
/// around it.
fn pattern(text: &str) -> Result<(String, Regex), Invalid> {
    let compile = |text: &str| RegexBuilder::new(text).size_limit(PATTERN_SIZE).build();
    let whole = compile(text).and_then(|_| compile(&format!(r"\A(?:{text})\z")));
    match whole {
        Ok(pattern) => Ok((text.to_owned(), pattern)),
        Err(regex::Error::CompiledTooBig(_)) => {
            Err(invalid("spec.ceilings.usernamePattern", "the regular expression is too large; simplify it".to_owned()))
        }
        Err(_) => Err(invalid("spec.ceilings.usernamePattern", "is no regular expression; correct it".to_owned())),
    }
}

fn databases(names: &[String], provider: ProviderKind) -> Result<Vec<String>, Invalid> {
    const FIELD: &str = "spec.ceilings.databases";
    if names.iter().any(|name| name == "*") {
        return Err(invalid(FIELD, "\"*\" is no ceiling; leave the field out to allow any database".to_owned()));
    }
    checked(FIELD, names, provider, &WantedAccess { databases: Some(names.to_vec()), ..WantedAccess::default() })?;
    Ok(names.to_vec())
}

fn networks(hosts: &[String], provider: ProviderKind) -> Result<Vec<IpNet>, Invalid> {
    const FIELD: &str = "spec.ceilings.allowedHosts";
    let wanted = WantedAccess { allowed_hosts: Some(hosts.to_vec()), ..WantedAccess::default() };
    let canonical = checked(FIELD, hosts, provider, &wanted)?.allowed_hosts.unwrap_or_default();
    Ok(canonical.iter().filter_map(|host| network(host)).collect())
}

/// The cloud's own rules on the entries. An empty list is legal here, and lets nobody in.
fn checked(
    field: &'static str,
    entries: &[String],
    provider: ProviderKind,
    wanted: &WantedAccess,
) -> Result<Access, Invalid> {
    if entries.is_empty() {
        return Ok(Access::default());
    }
    provider.rules().access(wanted).map_err(|refusal| {
        let (Refusal::InvalidSpec(why) | Refusal::FieldNotSupported(why) | Refusal::InvalidPassword(why)) = refusal;
        // The cloud's rules name the field of the user.
        invalid(field, why.strip_prefix("spec.allowedHosts: ").unwrap_or(&why).to_owned())
    })
}

/// A network, or an address as a network of one.
fn network(host: &str) -> Option<IpNet> {
    let alone = if host.contains(':') { "/128" } else { "/32" };
    let whole = if host.contains('/') { host.to_owned() } else { format!("{host}{alone}") };
    whole.parse().ok()
}

fn invalid(field: &'static str, message: String) -> Invalid {
    Invalid { field, message }
}

#[expect(clippy::unnecessary_wraps, reason = "every caller returns it as it is")]
fn exceeded(field: &'static str, message: String) -> Option<Exceeded> {
    Some(Exceeded { field, message })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn spec(provider: ProviderKind, ceilings: &Value) -> ClusterClickHouseInstanceSpec {
        let credentials = json!({"name": "credentials"});
        let block = match provider {
            ProviderKind::QingCloud => {
                json!({"zone": "sh1a", "clusterID": "cl-1", "credentialsSecretRef": credentials})
            }
            ProviderKind::HuaweiCloud => {
                json!({"region": "r", "projectID": "p", "instanceID": "i", "credentialsSecretRef": credentials})
            }
        };
        let block_name = if provider == ProviderKind::QingCloud { "qingcloud" } else { "huaweicloud" };
        serde_json::from_value(json!({block_name: block, "ceilings": ceilings})).expect("a manifest")
    }

    fn policy(provider: ProviderKind, ceilings: &Value) -> Policy {
        Policy::of(&spec(provider, ceilings), provider).expect("legal ceilings")
    }

    fn refused(provider: ProviderKind, ceilings: &Value) -> Invalid {
        Policy::of(&spec(provider, ceilings), provider).expect_err("an illegal ceiling")
    }

    fn user(username: &str, extra: &Value) -> ClickHouseUser {
        let mut spec = json!({"instanceRef": {"name": "i"}, "passwordSecretRef": {"name": "p"}, "username": username});
        for (field, value) in extra.as_object().expect("fields") {
            spec[field] = value.clone();
        }
        ClickHouseUser::new("user", serde_json::from_value(spec).expect("a manifest"))
    }

    fn labels(pairs: &[(&str, &str)]) -> Labels {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    fn admitted(allowed: &Value, namespace: &str, pairs: &[(&str, &str)]) -> bool {
        let allowed: Option<AllowedNamespaces> = serde_json::from_value(allowed.clone()).expect("a manifest");
        admits(allowed.as_ref(), namespace, Some(&labels(pairs)))
    }

    #[test]
    fn namespace_in_either_field_is_admitted_and_neither_is_nobody() {
        let both = json!({"names": ["a"], "selector": {"matchLabels": {"tier": "gold"}}});
        assert!(admitted(&both, "a", &[]));
        assert!(admitted(&both, "b", &[("tier", "gold")]));
        assert!(!admitted(&both, "b", &[("tier", "silver")]));
        for nobody in [Value::Null, json!({}), json!({"names": []})] {
            assert!(!admitted(&nobody, "a", &[]), "{nobody}");
        }
        assert!(admitted(&json!({"selector": {}}), "anybody", &[]), "the empty selector selects all");
    }

    #[test]
    fn selector_selects_nothing_in_a_namespace_that_is_not_known() {
        let allowed = serde_json::from_value(json!({"names": ["a"], "selector": {}})).expect("a manifest");
        assert!(!admits(Some(&allowed), "b", None));
        assert!(admits(Some(&allowed), "a", None));
    }

    #[test]
    fn selector_expressions_mean_what_they_mean_in_kubernetes() {
        let table = [
            (json!({"key": "stage", "operator": "In", "values": ["x", "y"]}), [true, false, false]),
            (json!({"key": "stage", "operator": "NotIn", "values": ["x", "y"]}), [false, true, true]),
            (json!({"key": "stage", "operator": "Exists"}), [true, true, false]),
            (json!({"key": "stage", "operator": "DoesNotExist"}), [false, false, true]),
            (json!({"key": "stage", "operator": "Like", "values": ["x"]}), [false, false, false]),
        ];
        for (expression, expected) in table {
            let allowed = json!({"selector": {"matchExpressions": [expression]}});
            let cases: [&[(&str, &str)]; 3] = [&[("stage", "y")], &[("stage", "z")], &[]];
            assert_eq!(cases.map(|pairs| admitted(&allowed, "ns", pairs)), expected, "{allowed}");
        }
    }

    #[test]
    fn pattern_has_to_match_the_whole_name() {
        let exceeds = |pattern: &str, name: &str| {
            let policy = policy(ProviderKind::HuaweiCloud, &json!({"usernamePattern": pattern}));
            policy.exceeded(&user(name, &json!({})), ProviderKind::HuaweiCloud).map(|it| it.field)
        };
        assert_eq!(exceeds("team_[a-z]+", "team_a"), None);
        for name in ["team_", "team_a1", "my_team_a", "other"] {
            assert_eq!(exceeds("team_[a-z]+", name), Some("spec.username"), "{name}");
        }
        assert_eq!(exceeds("a|ab", "ab"), None, "a shorter alternative does not win");
        assert_eq!(exceeds("aa|bb", "bbx"), Some("spec.username"), "the anchors hold for every alternative");
        assert_eq!(exceeds("(?m)^aa$", "aa"), None);
    }

    #[test]
    fn pattern_that_is_none_or_leaves_its_group_or_is_too_large_is_invalid() {
        for pattern in ["team_[a-z", "aa)|(bb", "(?x)aa # all", r"(\w{500}){500}"] {
            let invalid = refused(ProviderKind::HuaweiCloud, &json!({"usernamePattern": pattern}));
            assert_eq!(invalid.field, "spec.ceilings.usernamePattern", "{pattern}");
        }
    }

    #[test]
    fn ceiling_that_the_cloud_cannot_hold_is_invalid() {
        for (provider, ceiling) in [
            (ProviderKind::QingCloud, json!({"permission": "ReadOnly"})),
            (ProviderKind::QingCloud, json!({"databases": ["sales"]})),
            (ProviderKind::HuaweiCloud, json!({"allowedHosts": ["10.0.0.0/8"]})),
        ] {
            assert!(refused(provider, &ceiling).message.contains("remove the ceiling"), "{ceiling}");
        }
        for entry in ["10.1.2.3/8", "db.example", "::ffff:10.0.0.1"] {
            let invalid = refused(ProviderKind::QingCloud, &json!({"allowedHosts": [entry]}));
            assert_eq!(invalid.field, "spec.ceilings.allowedHosts", "{entry}");
        }
        assert_eq!(refused(ProviderKind::HuaweiCloud, &json!({"databases": ["*"]})).field, "spec.ceilings.databases");
    }

    #[test]
    fn each_host_lies_inside_one_of_the_networks() {
        let policy =
            policy(ProviderKind::QingCloud, &json!({"allowedHosts": ["10.0.0.0/9", "10.128.0.0/9", "fd00::/8"]}));
        let exceeds = |host: &str| {
            policy
                .exceeded(&user("team", &json!({"allowedHosts": ["10.1.1.1", host]})), ProviderKind::QingCloud)
                .is_some()
        };
        for inside in ["10.0.0.0/9", "10.200.0.1", "fd12:3456::/32", "fd00::1"] {
            assert!(!exceeds(inside), "{inside}");
        }
        // The last but one is covered by two networks together, and by none alone.
        for outside in ["11.0.0.1", "0.0.0.0/0", "::/0", "10.0.0.0/8", "fe00::1"] {
            assert!(exceeds(outside), "{outside}");
        }
    }

    #[test]
    fn all_databases_exceed_any_list() {
        let policy = policy(ProviderKind::HuaweiCloud, &json!({"databases": ["sales", "ads"]}));
        let exceeds = |names: Value| {
            policy.exceeded(&user("team", &json!({"databases": names})), ProviderKind::HuaweiCloud).map(|it| it.field)
        };
        assert_eq!(exceeds(json!(["sales"])), None);
        assert_eq!(exceeds(json!(["sales", "other"])), Some("spec.databases"));
        assert_eq!(exceeds(json!(["*"])), Some("spec.databases"));
    }

    #[test]
    fn empty_list_lets_nobody_in() {
        let databases = policy(ProviderKind::HuaweiCloud, &json!({"databases": []}));
        let exceeding = user("team", &json!({"databases": ["sales"]}));
        assert!(databases.exceeded(&exceeding, ProviderKind::HuaweiCloud).is_some());
        let hosts = policy(ProviderKind::QingCloud, &json!({"allowedHosts": []}));
        let exceeding = user("team", &json!({"allowedHosts": ["10.0.0.1"]}));
        assert!(hosts.exceeded(&exceeding, ProviderKind::QingCloud).is_some());
    }

    #[test]
    fn permission_goes_up_to_its_ceiling() {
        let exceeds = |most: &str, asked: &Value| {
            let policy = policy(ProviderKind::HuaweiCloud, &json!({"permission": most}));
            let user = user("team", &json!({"databases": ["*"], "permission": asked}));
            policy.exceeded(&user, ProviderKind::HuaweiCloud).map(|it| it.field)
        };
        assert_eq!(exceeds("ReadOnly", &Value::Null), None, "the default is the least");
        assert_eq!(exceeds("ReadOnly", &json!("ReadAndConfigure")), Some("spec.permission"));
        assert_eq!(exceeds("ReadAndConfigure", &json!("ReadAndConfigure")), None);
    }

    #[test]
    fn adoption_is_never_allowed_by_leaving_it_out() {
        let adopting = user("team", &json!({"databases": ["*"], "adoptionPolicy": "Adopt"}));
        for ceilings in [Value::Null, json!({}), json!({"adoption": "Never"})] {
            let exceeded = policy(ProviderKind::HuaweiCloud, &ceilings).exceeded(&adopting, ProviderKind::HuaweiCloud);
            assert_eq!(exceeded.map(|it| it.field), Some("spec.adoptionPolicy"), "{ceilings}");
        }
        let allowing = policy(ProviderKind::HuaweiCloud, &json!({"adoption": "Adopt"}));
        assert_eq!(allowing.exceeded(&adopting, ProviderKind::HuaweiCloud), None);
    }
}

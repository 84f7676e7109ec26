//! What the vendor documents about accounts (page of `add_ck_user`), checked before any call so that known-bad input
//! costs no quota.

use std::{collections::BTreeSet, net::IpAddr};

use ipnet::IpNet;

use crate::{
    domain::secret::SecretText,
    provider::contract::{Access, AccountRules, Capabilities, Refusal, WantedAccess},
};

/// The special characters that a password may hold, and of which it must hold one.
const SPECIAL: &str = "@#$%^&*_+-=";

/// The rules of QingCloud MySQL Plus.
pub struct Rules;

impl AccountRules for Rules {
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            jobs: true,
            list: false,
            set_password: false,
            set_access: false,
            allowed_hosts: true,
            databases: false,
            permission: false,
        }
    }

    fn username(&self, username: &str) -> Result<(), Refusal> {
        let documented = username.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        if !documented || !(2..=26).contains(&username.len()) {
            return Err(Refusal::InvalidSpec(format!(
                "the username {username:?} is not legal on QingCloud: it must have 2 to 26 letters (a-z, A-Z), digits \
                 or underscores; set spec.username"
            )));
        }
        // The vendor refuses `default` and says nothing of other cases. ClickHouse tells them apart, but an account
        // that reads like the built-in one is a trap, so they are refused too.
        if username.eq_ignore_ascii_case("default") {
            return Err(Refusal::InvalidSpec(format!(
                "the username {username:?} is reserved: `default`, in any case, is ClickHouse's built-in account; \
                 choose another spec.username"
            )));
        }
        Ok(())
    }

    fn password(&self, _username: &str, password: &SecretText) -> Result<(), Refusal> {
        let password = password.expose();
        if password.ends_with(['\n', '\r']) {
            // The commonest mistake, and invisible: it gets a message of its own.
            return Err(Refusal::InvalidPassword(
                "the password ends with a line break, which is part of the Secret's value: write the value without \
                 one (`printf %s` instead of `echo`, or `stringData` without a trailing newline)"
                    .into(),
            ));
        }
        let any = |class: fn(char) -> bool| password.chars().any(class);
        let special = |c: char| SPECIAL.contains(c);
        let rules = [
            ((8..=32).contains(&password.chars().count()), "have 8 to 32 characters".to_owned()),
            (any(|c| c.is_ascii_uppercase()), "hold an upper-case letter (A-Z)".to_owned()),
            (any(|c| c.is_ascii_lowercase()), "hold a lower-case letter (a-z)".to_owned()),
            (any(|c| c.is_ascii_digit()), "hold a digit (0-9)".to_owned()),
            (password.chars().any(special), format!("hold one of {SPECIAL}")),
            (
                password.chars().all(|c| c.is_ascii_alphanumeric() || special(c)),
                format!("hold nothing but letters (a-z, A-Z), digits and {SPECIAL}"),
            ),
        ];
        let broken: Vec<_> = rules.into_iter().filter(|(kept, _)| !kept).map(|(_, rule)| rule).collect();
        if broken.is_empty() {
            return Ok(());
        }
        Err(Refusal::InvalidPassword(format!("the password must {} (QingCloud's rules)", broken.join(", and must "))))
    }

    fn access(&self, wanted: &WantedAccess) -> Result<Access, Refusal> {
        for (field, given) in [("databases", wanted.databases.is_some()), ("permission", wanted.permission.is_some())] {
            if given {
                return Err(Refusal::FieldNotSupported(format!(
                    "spec.{field}: QingCloud has no such setting for an account; remove the field"
                )));
            }
        }
        let hosts = wanted.allowed_hosts.as_deref().unwrap_or_default();
        if hosts.is_empty() {
            // No default: nobody's database opens to the world because a field was forgotten.
            return Err(Refusal::InvalidSpec(
                "spec.allowedHosts is required on QingCloud: list the addresses or networks that may connect, for \
                 example [\"10.0.0.0/8\"]; [\"::/0\"] lets everyone connect"
                    .into(),
            ));
        }
        let hosts = hosts.iter().map(|host| canonical_host(host)).collect::<Result<BTreeSet<_>, _>>()?;
        Ok(Access { allowed_hosts: Some(hosts), ..Access::default() })
    }
}

/// One entry of `allowedHosts` in the one spelling that stands for it: an address, or a network in CIDR notation.
///
/// A network with bits set beyond its prefix is refused rather than widened: `10.1.2.3/8` may mean one machine or
/// sixteen million, and the wrong guess opens a database.
fn canonical_host(host: &str) -> Result<String, Refusal> {
    let refuse = |why: String| Err(Refusal::InvalidSpec(format!("spec.allowedHosts: {host:?} {why}")));
    let network = match (host.parse::<IpAddr>(), host.parse::<IpNet>()) {
        (Ok(address), _) => IpNet::from(address),
        (_, Ok(network)) => network,
        _ => {
            return refuse(
                "is neither an IP address nor a network in CIDR notation such as 10.0.0.0/8; host names are not \
                 supported"
                    .into(),
            );
        }
    };
    if let IpAddr::V6(address) = network.addr()
        && let Some(address) = address.to_ipv4_mapped()
        && let Some(prefix) = network.prefix_len().checked_sub(96)
    {
        let suffix = if prefix == 32 { String::new() } else { format!("/{prefix}") };
        return refuse(format!("is an IPv4 entry in IPv6 spelling: write {address}{suffix}"));
    }
    if network.trunc() != network {
        return refuse(format!(
            "has bits set beyond its prefix: write {} for the network or {} for the one address",
            network.trunc(),
            network.addr()
        ));
    }
    let one_address = network.prefix_len() == network.max_prefix_len();
    Ok(if one_address { network.addr().to_string() } else { network.to_string() })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::provider::contract::Permission;

    fn hosts(entries: &[&str]) -> WantedAccess {
        let entries = entries.iter().map(ToString::to_string).collect();
        WantedAccess { allowed_hosts: Some(entries), ..WantedAccess::default() }
    }

    fn canonical(entries: &[&str]) -> Vec<String> {
        let access = Rules.access(&hosts(entries)).expect("legal hosts");
        access.allowed_hosts.expect("QingCloud has hosts").into_iter().collect()
    }

    fn host_refusal(entry: &str) -> String {
        match Rules.access(&hosts(&[entry])) {
            Err(Refusal::InvalidSpec(text)) => text,
            other => panic!("{entry}: {other:?}"),
        }
    }

    fn password_refusal(password: &str) -> String {
        match Rules.password("reporting", &SecretText::new(password)) {
            Err(Refusal::InvalidPassword(text)) => text,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn usernames_of_the_documented_form_pass() {
        for name in ["ab", "A_1", "_x", "9lives", "a23456789_123456789_123456", "defaults"] {
            assert_eq!(Rules.username(name), Ok(()), "{name}");
        }
    }

    #[test]
    fn usernames_of_another_form_are_refused_and_named() {
        for name in ["", "a", "a23456789_123456789_1234567", "my-app", "a.b", "a b", "ab\n", "用户", "ab;"] {
            let Err(Refusal::InvalidSpec(text)) = Rules.username(name) else { panic!("{name:?}") };
            assert!(text.contains("spec.username") && text.contains(&format!("{name:?}")), "{text}");
        }
    }

    #[test]
    fn built_in_name_is_refused_in_any_case_with_its_reason() {
        for name in ["default", "Default", "DEFAULT"] {
            let Err(Refusal::InvalidSpec(text)) = Rules.username(name) else { panic!("{name}") };
            assert!(text.contains("built-in"), "{text}");
        }
    }

    #[test]
    fn passwords_within_the_rules_pass() {
        for password in ["Passwd@1", "aA1@#$%^&*_+-=aA1@#$%^&*_+-=aA1@", "Passw0rd-"] {
            assert_eq!(Rules.password("reporting", &SecretText::new(password)), Ok(()), "{password}");
        }
    }

    #[test]
    fn each_broken_password_rule_has_its_message() {
        for (password, rule) in [
            ("Pass@12", "8 to 32 characters"),
            ("Passwd@1Passwd@1Passwd@1Passwd@1x", "8 to 32 characters"),
            ("passwd@1", "upper-case"),
            ("PASSWD@1", "lower-case"),
            ("Passwd@x", "a digit"),
            ("Passwd123", "one of @#$%^&*_+-="),
            ("Passwd@1 ", "nothing but"),
            ("Passwd@1\"", "nothing but"),
            ("Pässwd@12", "nothing but"),
        ] {
            let text = password_refusal(password);
            assert!(text.contains(rule) && !text.contains(", and must"), "{password}: {text}");
        }
    }

    #[test]
    fn every_broken_password_rule_is_told_at_once() {
        let text = password_refusal("");
        for rule in ["8 to 32", "upper-case", "lower-case", "a digit", "one of"] {
            assert!(text.contains(rule), "{text}");
        }
    }

    #[test]
    fn trailing_line_break_is_told_apart_from_other_characters() {
        for password in ["Passwd@1\n", "Passwd@1\r\n"] {
            let text = password_refusal(password);
            assert!(text.contains("line break") && text.contains("printf %s"), "{text}");
        }
    }

    #[test]
    fn access_without_hosts_is_refused_and_never_opened() {
        for wanted in [WantedAccess::default(), hosts(&[])] {
            let Err(Refusal::InvalidSpec(text)) = Rules.access(&wanted) else { panic!("{wanted:?}") };
            assert!(text.contains("spec.allowedHosts is required"), "{text}");
        }
    }

    #[test]
    fn hosts_become_canonical_and_duplicates_merge() {
        assert_eq!(canonical(&["::/0"]), ["::/0"]);
        assert_eq!(canonical(&["0.0.0.0/0"]), ["0.0.0.0/0"]);
        assert_eq!(canonical(&["10.0.0.1/32", "10.0.0.1"]), ["10.0.0.1"]);
        assert_eq!(canonical(&["2001:DB8:0:0::1", "2001:db8::1/128", "10.0.0.0/8"]), ["10.0.0.0/8", "2001:db8::1"]);
    }

    #[test]
    fn network_with_host_bits_is_refused_naming_both_readings() {
        let text = host_refusal("10.1.2.3/8");
        assert!(text.contains("write 10.0.0.0/8") && text.contains("or 10.1.2.3 for"), "{text}");
        let text = host_refusal("2001:db8::1/32");
        assert!(text.contains("write 2001:db8::/32") && text.contains("or 2001:db8::1 for"), "{text}");
    }

    #[test]
    fn host_names_and_other_texts_are_refused() {
        for entry in
            ["localhost", "db.example.com", "", " 10.0.0.1", "10.0.0.1;::/0", "10.0.0.0/33", "10.0.0", "*", "%"]
        {
            assert!(host_refusal(entry).contains("neither an IP address"), "{entry}");
        }
    }

    #[test]
    fn ipv4_in_ipv6_spelling_is_refused_naming_the_right_one() {
        assert!(host_refusal("::ffff:10.0.0.1").contains("write 10.0.0.1"));
        assert!(host_refusal("::ffff:10.0.0.0/104").contains("write 10.0.0.0/8"));
    }

    #[test]
    fn fields_the_cloud_does_not_have_are_refused_by_name() {
        let databases = WantedAccess { databases: Some(vec![]), ..hosts(&["::/0"]) };
        let permission = WantedAccess { permission: Some(Permission::ReadOnly), ..hosts(&["::/0"]) };
        for (wanted, field) in [(databases, "spec.databases"), (permission, "spec.permission")] {
            let Err(Refusal::FieldNotSupported(text)) = Rules.access(&wanted) else { panic!("{field}") };
            assert!(text.contains(field) && text.contains("remove"), "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_refusal_of_a_password_holds_it(password in "[a-zA-Z0-9!~ \n<>]{6,40}") {
            if let Err(Refusal::InvalidPassword(text)) = Rules.password("reporting", &SecretText::new(password.clone())) {
                prop_assert!(!text.contains(&password));
            }
        }

        #[test]
        fn canonical_hosts_are_their_own_canonical_form(address: IpAddr, prefix in 0_u8..=128) {
            let prefix = if address.is_ipv4() { prefix.min(32) } else { prefix };
            let network = IpNet::new(address, prefix).expect("a legal prefix").trunc().to_string();
            if let Ok(once) = canonical_host(&network) {
                prop_assert_eq!(canonical_host(&once), Ok(once.clone()));
            }
        }

        #[test]
        fn any_text_as_host_is_answered(text in ".{0,40}") {
            if let Ok(host) = canonical_host(&text) {
                prop_assert!(!host.contains([';', ' ']));
            }
        }
    }
}

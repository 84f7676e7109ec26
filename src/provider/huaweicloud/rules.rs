//! What Huawei Cloud takes in an account, known without a call. Pure.

use std::collections::BTreeSet;

use crate::{
    domain::secret::SecretText,
    provider::contract::{Access, AccountRules, Capabilities, Permission, Refusal, WantedAccess},
};

/// Accounts of the cloud itself: `root` is in every list, the others belong to the service (vendor page "List
/// ClickHouse accounts" and user manual).
const BUILT_IN: [&str; 3] = ["root", "rdsadmin", "rdsmetric"];

/// The special characters of a password (vendor page of create_click_house_database_user).
const SPECIALS: &str = "~!@#%^*-_=+?";

/// Lengths of a password (same page).
const PASSWORD_LENGTH: std::ops::RangeInclusive<usize> = 8..=32;

/// Bounds of ours: the cloud documents none, and a request must stay small.
const MAX_DATABASES: usize = 256;
const MAX_DATABASE_LENGTH: usize = 255;

/// All databases, those to come included.
const ALL_DATABASES: &str = "*";

/// The cloud's rules for accounts.
pub struct Rules;

impl AccountRules for Rules {
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            jobs: false,
            list: true,
            set_password: true,
            set_access: true,
            allowed_hosts: false,
            databases: true,
            permission: true,
        }
    }

    fn username(&self, username: &str) -> Result<(), Refusal> {
        if built_in(username) {
            return Err(Refusal::InvalidSpec(format!(
                "spec.username: {username} is reserved by Huawei Cloud; choose another name"
            )));
        }
        if !legal_name(username) {
            return Err(Refusal::InvalidSpec(
                "spec.username must have 2 to 32 characters on Huawei Cloud: lower-case letters, digits and '_', first a \
                 letter, last a letter or digit"
                    .into(),
            ));
        }
        Ok(())
    }

    fn password(&self, username: &str, password: &SecretText) -> Result<(), Refusal> {
        let password = password.expose();
        if password.ends_with(['\n', '\r']) {
            return Err(Refusal::InvalidPassword(
                "the password ends with a line break: write the Secret without one (printf, not echo)".into(),
            ));
        }
        let broken = broken_password_rules(username, password);
        if broken.is_empty() { Ok(()) } else { Err(Refusal::InvalidPassword(broken.join("; "))) }
    }

    fn access(&self, wanted: &WantedAccess) -> Result<Access, Refusal> {
        if wanted.allowed_hosts.is_some() {
            return Err(Refusal::FieldNotSupported(
                "spec.allowedHosts: Huawei Cloud keeps no networks for an account; remove the field and use the security group \
                 of the instance"
                    .into(),
            ));
        }
        let databases = databases(wanted.databases.as_deref())?;
        let permission = wanted.permission.unwrap_or(Permission::ReadOnly);
        Ok(Access { allowed_hosts: None, databases: Some(databases), permission: Some(permission) })
    }
}

/// Whether the account belongs to the cloud itself, in any spelling.
pub(super) fn built_in(username: &str) -> bool {
    BUILT_IN.iter().any(|name| name.eq_ignore_ascii_case(username))
}

/// `^[a-z][a-z0-9_]{0,30}[a-z0-9]$` (vendor page of create_click_house_database_user).
fn legal_name(name: &str) -> bool {
    let letter_or_digit = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    match name.as_bytes() {
        [first, middle @ .., last] => {
            first.is_ascii_lowercase()
                && middle.len() <= 30
                && middle.iter().all(|&byte| letter_or_digit(byte) || byte == b'_')
                && letter_or_digit(*last)
        }
        _ => false,
    }
}

/// One sentence for each rule that the password breaks; none says anything of the password itself but that.
fn broken_password_rules(username: &str, password: &str) -> Vec<String> {
    let mut broken = Vec::new();
    if !PASSWORD_LENGTH.contains(&password.chars().count()) {
        broken.push("the password must have 8 to 32 characters".to_owned());
    }
    // The page of a later password change also takes a comma, the page of creation does not: one rule for both.
    if password.contains(',') {
        broken.push(
            "the password must not contain a comma: the cloud takes one when a password is changed, but not when an \
             account is created"
                .to_owned(),
        );
    }
    let special = |c: char| SPECIALS.contains(c);
    if password.chars().any(|c| !c.is_ascii_alphanumeric() && !special(c) && c != ',') {
        broken.push(format!("the password may contain only letters A-Z and a-z, digits and {SPECIALS}"));
    }
    let classes = [
        password.chars().any(|c| c.is_ascii_uppercase()),
        password.chars().any(|c| c.is_ascii_lowercase()),
        password.chars().any(|c| c.is_ascii_digit()),
        password.chars().any(special),
    ];
    if classes.into_iter().filter(|&present| present).count() < 3 {
        broken.push(format!(
            "the password needs three of these: upper-case letters, lower-case letters, digits, special characters \
             ({SPECIALS})"
        ));
    }
    // The page does not say whether capitals count; a password that differs in them alone is no better.
    if password.eq_ignore_ascii_case(username) {
        broken.push("the password must not be the username, capitals or not".to_owned());
    } else if password.chars().rev().collect::<String>().eq_ignore_ascii_case(username) {
        broken.push("the password must not be the username spelt backwards, capitals or not".to_owned());
    }
    broken
}

fn databases(wanted: Option<&[String]>) -> Result<BTreeSet<String>, Refusal> {
    let refuse = |text: String| Err(Refusal::InvalidSpec(text));
    let Some(wanted) = wanted else {
        return refuse("spec.databases is required on Huawei Cloud: name them, or [\"*\"] for all".into());
    };
    let databases: BTreeSet<String> = wanted.iter().cloned().collect();
    if databases.is_empty() {
        return refuse("spec.databases must not be empty: name at least one, or [\"*\"] for all".into());
    }
    if databases.len() > 1 && databases.contains(ALL_DATABASES) {
        return refuse("spec.databases must hold \"*\" alone or names alone: \"*\" is all of them already".into());
    }
    if databases.len() > MAX_DATABASES {
        return refuse(format!("spec.databases must not name more than {MAX_DATABASES}; use [\"*\"] for all"));
    }
    let malformed = |name: &String| {
        name.trim().is_empty() || name.chars().count() > MAX_DATABASE_LENGTH || name.chars().any(char::is_control)
    };
    if databases.iter().any(malformed) {
        return refuse(format!(
            "each of spec.databases must have 1 to {MAX_DATABASE_LENGTH} characters, none of them a control character"
        ));
    }
    Ok(databases)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn password(username: &str, password: &str) -> Result<(), String> {
        match Rules.password(username, &SecretText::new(password)) {
            Ok(()) => Ok(()),
            Err(Refusal::InvalidPassword(text)) => Err(text),
            Err(other) => panic!("a password is refused as a password, not as {other:?}"),
        }
    }

    fn wanted(databases: &[&str]) -> WantedAccess {
        let databases = databases.iter().map(|&name| name.to_owned()).collect();
        WantedAccess { databases: Some(databases), ..WantedAccess::default() }
    }

    #[test]
    fn legal_names_are_taken() {
        for name in ["ab", "a1", "user_test1", "a__b", &format!("a{}z", "_".repeat(30))] {
            assert_eq!(Rules.username(name), Ok(()), "{name}");
        }
    }

    #[test]
    fn illegal_names_are_invalid_spec() {
        let long = format!("a{}z", "b".repeat(31));
        for name in ["", "a", "1a", "_a", "a_", "Ab", "aB", "a-b", "a.b", "ab\n", "aé", "a b", &long] {
            assert!(matches!(Rules.username(name), Err(Refusal::InvalidSpec(_))), "{name}");
        }
    }

    #[test]
    fn names_of_the_cloud_itself_are_reserved_in_any_spelling() {
        for name in ["root", "Root", "rdsAdmin", "rdsadmin", "rdsMetric", "RDSMETRIC"] {
            let Err(Refusal::InvalidSpec(text)) = Rules.username(name) else { panic!("{name} was taken") };
            assert!(text.contains("reserved"), "{text}");
        }
    }

    #[test]
    fn documented_passwords_are_taken() {
        for text in ["Rds_1234", "Clickhouse_1234", "Aa1!~@#%^*-_=+?", &format!("Aa1{}", "x".repeat(29))] {
            assert_eq!(password("user_test1", text), Ok(()), "{text}");
        }
    }

    #[test]
    fn each_broken_password_rule_has_a_message_of_its_own() {
        for (username, text, says) in [
            ("user", "Aa1_xyz", "8 to 32"),
            ("user", "Aa1_56789012345678901234567890123", "8 to 32"),
            ("user", "Rds_1234,", "comma"),
            ("user", "Rds$1234", "only letters"),
            ("user", "Rds 1234", "only letters"),
            ("user", "Rds1234é", "only letters"),
            ("user", "Rds12345\n", "line break"),
            ("user", "Rds12345\r\n", "line break"),
            ("user", "abcdefg1", "three of these"),
            ("user_test1", "User_Test1", "must not be the username, "),
            ("user_test1", "1tset_Resu", "backwards"),
        ] {
            let refused = password(username, text).expect_err(text);
            assert!(refused.contains(says) && !refused.contains("; "), "{text:?}: {refused}");
        }
    }

    #[test]
    fn comma_message_says_why() {
        let refused = password("user", "Rds_1234,").expect_err("a comma");
        assert!(refused.contains("not when an account is created"), "{refused}");
    }

    #[test]
    fn every_broken_rule_is_said_at_once() {
        let refused = password("user", "a,").expect_err("too short, a comma, too few classes");
        assert_eq!(refused.split("; ").count(), 3, "{refused}");
    }

    #[test]
    fn access_is_a_set_with_read_only_as_default() {
        let access = Rules.access(&wanted(&["b", "a", "b"])).expect("two databases");
        assert_eq!(access.databases, Some(BTreeSet::from(["a".to_owned(), "b".to_owned()])));
        assert_eq!(access.permission, Some(Permission::ReadOnly));
        assert_eq!(access.allowed_hosts, None);
    }

    #[test]
    fn databases_missing_empty_mixed_or_malformed_are_invalid_spec() {
        let many: Vec<String> = (0..=MAX_DATABASES).map(|n| format!("db{n}")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        let long = "x".repeat(MAX_DATABASE_LENGTH + 1);
        let lists: [&[&str]; 6] = [&[], &["*", "db"], &[""], &["a\nb"], &[&long], &many];
        for list in lists {
            assert!(matches!(Rules.access(&wanted(list)), Err(Refusal::InvalidSpec(_))), "{list:?}");
        }
        assert!(matches!(Rules.access(&WantedAccess::default()), Err(Refusal::InvalidSpec(_))));
        assert!(Rules.access(&wanted(&["*"])).is_ok());
    }

    #[test]
    fn allowed_hosts_are_refused_with_field_and_mend() {
        let wanted = WantedAccess { allowed_hosts: Some(vec![]), ..wanted(&["*"]) };
        let Err(Refusal::FieldNotSupported(text)) = Rules.access(&wanted) else { panic!("allowedHosts was taken") };
        assert!(text.contains("allowedHosts") && text.contains("remove"), "{text}");
    }

    proptest! {
        #[test]
        fn refusals_never_repeat_a_password(text in "[A-Za-z$,\u{e9} ]{8,40}\n?") {
            if let Err(refused) = password("user_test1", &text) {
                prop_assert!(!refused.contains(&text));
            }
        }

        #[test]
        fn passwords_of_the_documented_shape_are_taken(text in "[A-Z][a-z][0-9][A-Za-z0-9~!@#%^*_=+?-]{5,29}") {
            prop_assert_eq!(password("other_name", &text), Ok(()));
        }

        #[test]
        fn names_of_the_documented_shape_are_taken(name in "[a-z][a-z0-9_]{0,30}[a-z0-9]") {
            prop_assert_eq!(Rules.username(&name).is_ok(), !BUILT_IN.contains(&name.as_str()));
        }
    }
}

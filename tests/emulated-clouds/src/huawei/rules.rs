//! The rules of names, passwords, databases and permission (vendor's pages of the account calls).

use serde_json::{Map, Value};

use super::Rejection;
use crate::{
    seed::Instance,
    switches::{EmptyDatabases, PasswordComma, PasswordLikeName, StarWithNames, Switches, UnknownDatabase},
};

const SPECIAL: &str = "~!@#%^*-_=+?";
/// The account that every instance has.
pub(super) const ROOT: &str = "root";

/// `^[a-z][a-z0-9_]{0,30}[a-z0-9]$`
pub(super) fn check_name(name: &str) -> Result<(), Rejection> {
    let bytes = name.as_bytes();
    let inner = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || *byte == b'_';
    let right = (2..=32).contains(&bytes.len())
        && bytes.iter().all(inner)
        && bytes[0].is_ascii_lowercase()
        && bytes[bytes.len() - 1] != b'_';
    if right { Ok(()) } else { Err(Rejection::InvalidName) }
}

pub(super) fn check_password(name: &str, password: &str, switches: &Switches) -> Result<(), Rejection> {
    let is_special = |c| SPECIAL.contains(c) || (c == ',' && switches.huawei_password_comma == PasswordComma::Accepted);
    let classes = [
        password.chars().any(|c| c.is_ascii_uppercase()),
        password.chars().any(|c| c.is_ascii_lowercase()),
        password.chars().any(|c| c.is_ascii_digit()),
        password.chars().any(is_special),
    ];
    let reversed: String = name.chars().rev().collect();
    let is_like = |other: &str| match switches.huawei_password_like_name {
        PasswordLikeName::AnyCase => password.eq_ignore_ascii_case(other),
        PasswordLikeName::ExactCase => password == other,
    };
    let right = (8..=32).contains(&password.chars().count())
        && password.chars().all(|c| c.is_ascii_alphanumeric() || is_special(c))
        && classes.into_iter().filter(|has| *has).count() >= 3
        && !is_like(name)
        && !is_like(&reversed);
    if right { Ok(()) } else { Err(Rejection::WeakPassword) }
}

/// The field `databases`: required.
pub(super) fn read_databases(
    body: &Map<String, Value>,
    instance: &Instance,
    switches: &Switches,
) -> Result<Vec<String>, Rejection> {
    let items = body.get("databases").and_then(Value::as_array).ok_or(Rejection::BadParameter)?;
    let names: Option<Vec<String>> = items.iter().map(|item| item.as_str().map(str::to_owned)).collect();
    let names = names.ok_or(Rejection::BadParameter)?;
    if names.is_empty() && switches.huawei_empty_databases == EmptyDatabases::Refused {
        return Err(Rejection::BadParameter);
    }
    let star = names.iter().any(|name| name == "*");
    if star && names.len() > 1 && switches.huawei_star_with_names == StarWithNames::Refused {
        return Err(Rejection::BadParameter);
    }
    let known = |name: &String| name == "*" || instance.databases.contains(name);
    if switches.huawei_unknown_database == UnknownDatabase::Refused && !names.iter().all(known) {
        return Err(Rejection::DatabaseMissing);
    }
    Ok(names)
}

/// The field `dml`: 1 or 2.
pub(super) fn read_dml(body: &Map<String, Value>, default: Option<u8>) -> Result<u8, Rejection> {
    match body.get("dml") {
        None => default.ok_or(Rejection::BadParameter),
        Some(value) => match value.as_u64() {
            Some(1) => Ok(1),
            Some(2) => Ok(2),
            _ => Err(Rejection::BadParameter),
        },
    }
}

/// A field that is a required text.
pub(super) fn read_text(body: &Map<String, Value>, name: &str) -> Result<String, Rejection> {
    body.get(name).and_then(Value::as_str).map(str::to_owned).ok_or(Rejection::BadParameter)
}

/// `^[0-9a-z]{32}(in[0-9]{2})?$`
pub(super) fn is_instance_id(text: &str) -> bool {
    let (id, suffix) = text.split_at_checked(32).unwrap_or((text, ""));
    let right_suffix = suffix.is_empty()
        || suffix.strip_prefix("in").is_some_and(|it| it.len() == 2 && it.bytes().all(|byte| byte.is_ascii_digit()));
    id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_digit() || byte.is_ascii_lowercase()) && right_suffix
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_the_documented_pattern() {
        for name in ["user_test1", "ab", "a1", &format!("a{}z", "_".repeat(30))] {
            assert_eq!(check_name(name), Ok(()), "{name}");
        }
        for name in ["", "a", "1a", "_a", "a_", "Ab", "a-b", "aé", &"a".repeat(33)] {
            assert_eq!(check_name(name), Err(Rejection::InvalidName), "{name}");
        }
    }

    #[test]
    fn passwords_follow_the_documented_rules() {
        let switches = Switches::default();
        for password in ["Rds_1234", "Clickhouse_1234", "abcdefg1_", &"Aa1@".repeat(8)] {
            assert_eq!(check_password("user_test1", password, &switches), Ok(()), "{password}");
        }
        for (name, password) in [
            ("user", "Rds_123"),
            ("user", &*"Aa1@".repeat(9)),
            ("user", "abcdefgh1"),
            ("user", "Rds 12345"),
            ("user", "Rds$12345"),
            ("user", "Rds,12345"),
            ("user_1ab", "User_1ab"),
            ("user_1ab", "ba1_reSU"),
        ] {
            assert_eq!(check_password(name, password, &switches), Err(Rejection::WeakPassword), "{password}");
        }
    }

    #[test]
    fn instance_ids_are_checked_loosely() {
        assert!(is_instance_id("df3ae779e2ad4993a03ccd7a81240125in16"));
        assert!(is_instance_id("df3ae779e2ad4993a03ccd7a81240125"));
        for id in ["", "cl-ouhutv70", "df3ae779e2ad4993a03ccd7a81240125in1", "DF3AE779e2ad4993a03ccd7a81240125in16"] {
            assert!(!is_instance_id(id), "{id}");
        }
    }
}

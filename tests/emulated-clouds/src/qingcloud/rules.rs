//! The rules of `service_params` (vendor's pages of `add_ck_user` and `delete_ck_user`).

use std::net::IpAddr;

use serde_json::{Map, Value};

use crate::switches::DefaultName;

const SPECIAL: &str = "@#$%^&*_+-=";

/// A change of an account, its rules checked.
#[derive(Clone)]
pub(super) enum Change {
    /// `add_ck_user`.
    Add { user: String, password: String, hosts: Vec<String> },
    /// `del_ck_user`.
    Remove { user: String },
}

impl Change {
    pub(super) fn user(&self) -> &str {
        match self {
            Self::Add { user, .. } | Self::Remove { user } => user,
        }
    }
}

/// Reads the change; the error names the rule that is broken, never a value.
pub(super) fn read(
    service: &str,
    parameters: Option<&Map<String, Value>>,
    default_name: DefaultName,
) -> Result<Change, String> {
    let parameters = parameters.ok_or("service_params is not a JSON object")?;
    let text = |name: &str| {
        let value = parameters.get(name).ok_or(format!("service_params has no [{name}]"))?;
        value.as_str().map(str::to_owned).ok_or(format!("service_params: [{name}] is not a text"))
    };
    let user = text("user")?;
    if service == "del_ck_user" {
        return Ok(Change::Remove { user });
    }
    let (password, host) = (text("passwd")?, text("host")?);
    check_user(&user, default_name)?;
    check_password(&password)?;
    let hosts: Vec<String> = host.split(';').map(str::to_owned).collect();
    if !hosts.iter().all(|host| is_network(host)) {
        return Err("host: addresses and networks joined by semicolons".to_owned());
    }
    Ok(Change::Add { user, password, hosts })
}

fn check_user(user: &str, default_name: DefaultName) -> Result<(), String> {
    if !(2..=26).contains(&user.chars().count()) {
        return Err("user: 2 to 26 characters".to_owned());
    }
    if !user.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
        return Err("user: letters, digits and underscore only".to_owned());
    }
    let forbidden = match default_name {
        DefaultName::ExactCase => user == "default",
        DefaultName::AnyCase => user.eq_ignore_ascii_case("default"),
    };
    if forbidden { Err("user: default is not allowed".to_owned()) } else { Ok(()) }
}

fn check_password(password: &str) -> Result<(), String> {
    if !(8..=32).contains(&password.chars().count()) {
        return Err("passwd: 8 to 32 characters".to_owned());
    }
    let has = |class: fn(char) -> bool| password.chars().any(class);
    let is_special = |c| SPECIAL.contains(c);
    if !password.chars().all(|c| c.is_ascii_alphanumeric() || is_special(c)) {
        return Err("passwd: a character that is not allowed".to_owned());
    }
    let classes = [has(|c| c.is_ascii_uppercase()), has(|c| c.is_ascii_lowercase()), has(|c| c.is_ascii_digit())];
    if classes.contains(&false) || !password.chars().any(is_special) {
        return Err("passwd: upper case, lower case, digit and special character are needed".to_owned());
    }
    Ok(())
}

/// An address, or an address and the length of a prefix.
fn is_network(text: &str) -> bool {
    let (address, length) = text.split_once('/').map_or((text, None), |(address, length)| (address, Some(length)));
    let Ok(address) = address.parse::<IpAddr>() else { return false };
    let longest = if address.is_ipv4() { 32 } else { 128 };
    length.is_none_or(|length| !length.starts_with('+') && length.parse::<u8>().is_ok_and(|length| length <= longest))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn add(user: &str, password: &str, host: &str) -> Result<Change, String> {
        let parameters = json!({ "user": user, "passwd": password, "host": host });
        read("add_ck_user", parameters.as_object(), DefaultName::ExactCase)
    }

    #[test]
    fn the_documented_example_and_the_bounds_are_taken() {
        assert!(add("test", "Passwd@123", "::/0").is_ok());
        assert!(add("ab", "Aa1@Aa1@", "10.0.0.0/8;192.168.1.1;::1").is_ok());
        assert!(add(&"u".repeat(26), &"Aa1@".repeat(8), "::/0").is_ok());
        assert!(add("Default", "Passwd@123", "::/0").is_ok());
    }

    #[test]
    fn each_broken_rule_is_refused_without_the_value() {
        for (user, password, host, names) in [
            ("a", "Passwd@123", "::/0", "user"),
            (&*"u".repeat(27), "Passwd@123", "::/0", "user"),
            ("a-b", "Passwd@123", "::/0", "user"),
            ("default", "Passwd@123", "::/0", "user"),
            ("test", "Pass@12", "::/0", "passwd"),
            ("test", &"Aa1@".repeat(9), "::/0", "passwd"),
            ("test", "passwd@123", "::/0", "passwd"),
            ("test", "PASSWD@123", "::/0", "passwd"),
            ("test", "Passwd@abc", "::/0", "passwd"),
            ("test", "Passwd0123", "::/0", "passwd"),
            ("test", "Passwd@123!", "::/0", "passwd"),
            ("test", "Passwd@123", "", "host"),
            ("test", "Passwd@123", "::/0;", "host"),
            ("test", "Passwd@123", "example.com", "host"),
            ("test", "Passwd@123", "10.0.0.0/33", "host"),
        ] {
            let refusal = add(user, password, host).err().unwrap_or_else(|| panic!("{user} {password} {host}"));
            assert!(refusal.starts_with(names) && !refusal.contains(password), "{refusal}");
        }
    }

    #[test]
    fn a_missing_key_or_another_shape_is_refused() {
        for parameters in [
            json!({ "user": "test", "host": "::/0" }),
            json!({ "user": "test", "passwd": 7, "host": "::/0" }),
            json!([]),
        ] {
            assert!(read("add_ck_user", parameters.as_object(), DefaultName::ExactCase).is_err(), "{parameters}");
        }
        assert!(read("del_ck_user", json!({}).as_object(), DefaultName::ExactCase).is_err());
    }
}

//! An account and the file that makes it one.

use std::net::IpAddr;

use ipnet::IpNet;
use sha2::{Digest as _, Sha256};

/// An account of the server. It has no `Debug`, because of its password.
#[derive(Clone)]
pub struct Account {
    /// A letter or `_`, then letters, digits, `_` and `-`: the name is an element of an XML file.
    pub name: String,
    /// In clear; only its SHA-256 reaches the disk.
    pub password: String,
    /// Addresses and networks (`10.0.0.0/8`, `::/0`) that may log in. None: nobody may.
    pub networks: Vec<String>,
    /// Databases the account may use; `*` stands for all. At least one.
    pub databases: Vec<String>,
    /// What the account may not change.
    pub read_only: ReadOnly,
}

/// ClickHouse's setting `readonly`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadOnly {
    /// `readonly` 0: reads, writes, changes settings.
    No,
    /// `readonly` 1: only reads.
    Reads,
    /// `readonly` 2: reads and changes settings.
    ReadsAndSettings,
}

impl ReadOnly {
    pub(crate) const ALL: [Self; 3] = [Self::No, Self::Reads, Self::ReadsAndSettings];

    /// The name of the settings profile that the users file has for it.
    pub(crate) fn profile(self) -> &'static str {
        match self {
            Self::No => "default",
            Self::Reads => "reads",
            Self::ReadsAndSettings => "reads_and_settings",
        }
    }

    /// The value of the setting.
    pub(crate) fn setting(self) -> u8 {
        match self {
            Self::No => 0,
            Self::Reads => 1,
            Self::ReadsAndSettings => 2,
        }
    }
}

/// What an account cannot be.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    /// The name is no name of an XML element.
    #[error("account name {0:?}: begin with a letter or _ and use letters, digits, _ and - only")]
    Name(String),
    /// The name is that of the account the harness itself logs in with.
    #[error("account name {0:?} belongs to the harness: choose another one")]
    Reserved(String),
    /// Neither an address nor a network.
    #[error("network {0:?} of the account: write an address (10.1.2.3) or a network (10.0.0.0/8, ::/0)")]
    Network(String),
    /// No database is named, which ClickHouse would take for all.
    #[error("databases of the account: name at least one, or * for all")]
    NoDatabase,
}

impl Account {
    /// The part `<users>` of a users file, with this account alone.
    pub(crate) fn to_xml(&self) -> Result<String, Invalid> {
        check_name(&self.name)?;
        let (name, profile) = (&self.name, self.read_only.profile());
        let password = hex::encode(Sha256::digest(&self.password));
        let networks = self.networks.iter().map(|network| Ok(element("ip", &for_clickhouse(network)?)));
        let networks = networks.collect::<Result<String, Invalid>>()?;
        Ok(format!(
            "<users><{name}><password_sha256_hex>{password}</password_sha256_hex>\
             <networks>{networks}</networks>{databases}\
             <profile>{profile}</profile><quota>default</quota></{name}></users>",
            databases = self.databases_to_xml()?,
        ))
    }

    fn databases_to_xml(&self) -> Result<String, Invalid> {
        if self.databases.is_empty() {
            return Err(Invalid::NoDatabase);
        }
        if self.databases.iter().any(|database| database == "*") {
            return Ok(String::new());
        }
        let databases: String = self.databases.iter().map(|database| element("database", database)).collect();
        Ok(format!("<allow_databases>{databases}</allow_databases>"))
    }
}

pub(crate) fn check_name(name: &str) -> Result<(), Invalid> {
    let begins_well = name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_');
    if begins_well && name.chars().all(|other| other.is_ascii_alphanumeric() || "_-".contains(other)) {
        Ok(())
    } else {
        Err(Invalid::Name(name.to_owned()))
    }
}

/// An IPv4 network is written with its mask: 18.16 takes the prefix length in `10.0.0.0/8` for one of IPv6, and lets
/// everybody in. Later versions read a mask the same way.
fn for_clickhouse(network: &str) -> Result<String, Invalid> {
    if let Ok(address) = network.parse::<IpAddr>() {
        return Ok(address.to_string());
    }
    match network.parse::<IpNet>() {
        Ok(IpNet::V4(network)) => Ok(format!("{}/{}", network.network(), network.netmask())),
        Ok(IpNet::V6(network)) => Ok(network.trunc().to_string()),
        Err(_) => Err(Invalid::Network(network.to_owned())),
    }
}

/// `<name>text</name>` with the text escaped.
fn element(name: &str, text: &str) -> String {
    let text = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    format!("<{name}>{text}</{name}>")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account() -> Account {
        Account {
            name: "reporting".to_owned(),
            password: "Secret&<1>".to_owned(),
            networks: vec!["10.1.2.3/8".to_owned(), "::/0".to_owned(), "192.168.0.1".to_owned()],
            databases: vec!["a<b&c".to_owned()],
            read_only: ReadOnly::Reads,
        }
    }

    #[test]
    fn the_file_has_the_digest_and_never_the_password() {
        let xml = account().to_xml().expect("a valid account");
        assert!(xml.contains(&hex::encode(Sha256::digest("Secret&<1>"))), "{xml}");
        assert!(!xml.contains("Secret"), "{xml}");
    }

    #[test]
    fn ipv4_networks_are_written_with_a_mask_and_the_rest_as_it_is() {
        let xml = account().to_xml().expect("a valid account");
        assert!(xml.contains("<ip>10.0.0.0/255.0.0.0</ip><ip>::/0</ip><ip>192.168.0.1</ip>"), "{xml}");
    }

    #[test]
    fn names_of_databases_are_escaped() {
        let xml = account().to_xml().expect("a valid account");
        assert!(xml.contains("<database>a&lt;b&amp;c</database>"), "{xml}");
    }

    #[test]
    fn a_star_among_the_databases_means_all() {
        let databases = vec!["one".to_owned(), "*".to_owned()];
        let xml = Account { databases, ..account() }.to_xml().expect("a valid account");
        assert!(!xml.contains("allow_databases"), "{xml}");
    }

    #[test]
    fn what_cannot_be_written_is_refused() {
        for name in ["", "1st", "a b", "a><b", "a.b", "é"] {
            let result = Account { name: name.to_owned(), ..account() }.to_xml();
            assert_eq!(result, Err(Invalid::Name(name.to_owned())));
        }
        for network in ["", "%", "10.0.0.0/33", "10.0.0.0/255.0.0.0", "localhost"] {
            let result = Account { networks: vec![network.to_owned()], ..account() }.to_xml();
            assert_eq!(result, Err(Invalid::Network(network.to_owned())));
        }
        assert_eq!(Account { databases: Vec::new(), ..account() }.to_xml(), Err(Invalid::NoDatabase));
    }
}

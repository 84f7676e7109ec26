//! The hosts that `--allowed-login-targets` lets login checks connect to.

use std::{net::IpAddr, str::FromStr};

use ipnet::IpNet;

use super::values::whole_number;

/// Where login checks may go.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct LoginTarget {
    /// The entry starts with `http://`: logins there may go without TLS.
    pub plain_http: bool,
    /// Which hosts.
    pub host: TargetHost,
    /// Which port; any where absent.
    pub port: Option<u16>,
}

/// The hosts of a [`LoginTarget`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum TargetHost {
    /// Every address of this network; a single address is a network of one.
    Network(IpNet),
    /// The host of this name, in lower case.
    Name(String),
}

/// Why a text is not a login target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("write it as network-or-host[:port], like 10.0.0.0/8, [fd00::/8]:8443 or http://ch.example.com:8123")]
pub struct LoginTargetError;

impl FromStr for LoginTarget {
    type Err = LoginTargetError;

    /// Reads `cidr-or-host[:port]`, with `http://` before it where TLS is not required. An IPv6 address or network
    /// stands in brackets where a port follows.
    fn from_str(text: &str) -> Result<Self, LoginTargetError> {
        let (plain_http, text) = text.strip_prefix("http://").map_or((false, text), |rest| (true, rest));
        if let Some(network) = network(text) {
            return Ok(Self { plain_http, host: TargetHost::Network(network), port: None });
        }
        let (host, port) = match text.rsplit_once(':') {
            Some((host, port)) if !text.ends_with(']') => {
                (host, Some(whole_number(port).filter(|port: &u16| *port > 0).ok_or(LoginTargetError)?))
            }
            _ => (text, None),
        };
        let bracketed = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let host = match bracketed {
            Some(inner) => TargetHost::Network(network(inner).ok_or(LoginTargetError)?),
            None => match network(host) {
                Some(IpNet::V6(_)) => return Err(LoginTargetError),
                Some(network) => TargetHost::Network(network),
                None => TargetHost::Name(host_name(host).ok_or(LoginTargetError)?),
            },
        };
        Ok(Self { plain_http, host, port })
    }
}

fn network(text: &str) -> Option<IpNet> {
    text.parse::<IpNet>().map(|network| network.trunc()).or_else(|_| text.parse::<IpAddr>().map(IpNet::from)).ok()
}

fn host_name(text: &str) -> Option<String> {
    let label = |label: &str| {
        !label.is_empty() && label.len() <= 63 && label.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
    };
    // A name whose last label is a number is an address written wrongly.
    let ends_in_number = text.rsplit('.').next().is_some_and(|last| last.chars().all(|c| c.is_ascii_digit()));
    (text.len() <= 253 && !ends_in_number && text.split('.').all(label)).then(|| text.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn login_targets_are_networks_addresses_or_names() {
        let target = |plain_http, host: TargetHost, port| Ok(LoginTarget { plain_http, host, port });
        let network = |text: &str| TargetHost::Network(text.parse().expect("a network"));
        let name = |text: &str| TargetHost::Name(text.to_owned());
        let read = [
            ("10.1.2.3/8", target(false, network("10.0.0.0/8"), None)),
            ("10.0.0.0/8:8443", target(false, network("10.0.0.0/8"), Some(8443))),
            ("http://10.1.2.3:8123", target(true, network("10.1.2.3/32"), Some(8123))),
            ("fd00::/8", target(false, network("fd00::/8"), None)),
            ("::1", target(false, network("::1/128"), None)),
            ("[fd00::/8]:8443", target(false, network("fd00::/8"), Some(8443))),
            ("[::1]", target(false, network("::1/128"), None)),
            ("CH.example.com:8443", target(false, name("ch.example.com"), Some(8443))),
            ("http://localhost", target(true, name("localhost"), None)),
        ];
        for (text, expected) in read {
            assert_eq!(text.parse::<LoginTarget>(), expected, "{text}");
        }
    }

    #[test]
    fn malformed_login_targets_are_refused() {
        let refused = [
            "",
            "http://",
            "https://host",
            "host:0",
            "host:",
            "host:port",
            "host/path",
            "me@host",
            "*.host",
            "[host]:1",
            "10.0.0.0/33",
            "10.0.0.256",
            "1.2.3",
            "a..b",
            "[::1",
            "[::1]8123",
        ];
        for text in refused {
            assert_eq!(text.parse::<LoginTarget>(), Err(LoginTargetError), "{text}");
        }
    }
}

//! Whether a login may connect to an address: what `--allowed-login-targets` says, and what nobody may allow.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use crate::cli::{LoginTarget, TargetHost};

/// Where clouds tell virtual machines their secrets; link-local addresses of the same use are refused as such.
const METADATA: [IpAddr; 3] = [
    IpAddr::V6(std::net::Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254)),
    IpAddr::V4(Ipv4Addr::new(100, 100, 100, 200)),
    IpAddr::V4(Ipv4Addr::new(168, 63, 129, 16)),
];

/// Whether this entry lets a login go to `address`, which `name` was looked up to; `None` where the manifest names the
/// address itself. `plain`: without TLS.
pub fn allows(target: &LoginTarget, name: Option<&str>, address: &SocketAddr, plain: bool) -> bool {
    let ip = canonical(address.ip());
    if never(ip) || (plain && !target.plain_http) || target.port.is_some_and(|port| port != address.port()) {
        return false;
    }
    match &target.host {
        TargetHost::Network(network) => network.contains(&ip) && (!ip.is_loopback() || is_loopback(network)),
        TargetHost::Name(allowed) => {
            let same = name.is_some_and(|name| name.trim_end_matches('.').eq_ignore_ascii_case(allowed));
            same && (!ip.is_loopback() || allowed == "localhost" || allowed.ends_with(".localhost"))
        }
    }
}

/// Addresses that no entry allows.
fn never(ip: IpAddr) -> bool {
    let local = match ip {
        // 0.0.0.0/8 is this host on Linux.
        IpAddr::V4(ip) => ip.is_link_local() || ip.octets()[0] == 0 || ip.is_broadcast(),
        IpAddr::V6(ip) => ip.is_unicast_link_local() || ip.is_unspecified(),
    };
    local || ip.is_multicast() || METADATA.contains(&ip)
}

/// The address that a spelling of it leads to: IPv4 is also written inside IPv6, mapped or for a NAT64 gateway.
fn canonical(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V6(v6) if v6.segments()[..6] == [0x64, 0xff9b, 0, 0, 0, 0] => {
            let [.., a, b, c, d] = v6.octets();
            IpAddr::V4(Ipv4Addr::new(a, b, c, d))
        }
        canonical => canonical,
    }
}

/// The entry names loopback itself, not everything.
fn is_loopback(network: &IpNet) -> bool {
    match network {
        IpNet::V4(network) => Ipv4Net::new_assert(Ipv4Addr::new(127, 0, 0, 0), 8).contains(network),
        IpNet::V6(network) => *network == Ipv6Net::from(std::net::Ipv6Addr::LOCALHOST),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed(target: &str, name: Option<&str>, address: &str, plain: bool) -> bool {
        let target = target.parse().expect("a login target");
        allows(&target, name, &address.parse().expect("an address and a port"), plain)
    }

    #[test]
    fn address_is_allowed_inside_a_network_at_its_port() {
        assert!(allowed("10.0.0.0/8", None, "10.1.2.3:8443", false));
        assert!(allowed("10.0.0.0/8", Some("db.example"), "10.1.2.3:8443", false), "whatever its name");
        assert!(allowed("[fd00::/8]:8443", None, "[fd00::1]:8443", false));
        assert!(allowed("10.0.0.0/8", None, "[::ffff:10.1.2.3]:8443", false), "another spelling of the same");
        assert!(!allowed("10.0.0.0/8:8443", None, "10.1.2.3:8444", false));
        assert!(!allowed("10.0.0.0/8", None, "11.1.2.3:8443", false));
    }

    #[test]
    fn name_is_allowed_as_it_is_written_and_its_address_alone_is_not() {
        assert!(allowed("db.example", Some("DB.example"), "10.1.2.3:8443", false));
        assert!(!allowed("db.example", Some("other.example"), "10.1.2.3:8443", false));
        assert!(!allowed("db.example", None, "10.1.2.3:8443", false));
    }

    #[test]
    fn without_tls_only_where_the_entry_says_so() {
        assert!(!allowed("10.0.0.0/8", None, "10.1.2.3:8123", true));
        assert!(allowed("http://10.0.0.0/8", None, "10.1.2.3:8123", true));
        assert!(allowed("http://10.0.0.0/8", None, "10.1.2.3:8123", false));
    }

    #[test]
    fn loopback_needs_an_entry_that_names_it() {
        assert!(allowed("127.0.0.1", None, "127.0.0.1:8443", false));
        assert!(allowed("127.0.0.0/8", None, "127.0.0.2:8443", false));
        assert!(allowed("::1", None, "[::1]:8443", false));
        assert!(allowed("localhost", Some("localhost"), "127.0.0.1:8443", false));
        for target in ["0.0.0.0/0", "126.0.0.0/7", "::/0", "db.example"] {
            for address in ["127.0.0.1:8443", "[::1]:8443", "[::ffff:127.0.0.1]:8443"] {
                assert!(!allowed(target, Some("db.example"), address, false), "{target} {address}");
            }
        }
    }

    #[test]
    fn some_addresses_are_never_allowed() {
        let addresses = [
            "169.254.169.254:80",
            "[fe80::1]:80",
            "[fd00:ec2::254]:80",
            "100.100.100.200:80",
            "168.63.129.16:80",
            "0.0.0.0:80",
            "0.1.2.3:80",
            "[::]:80",
            "224.0.0.1:80",
            "[::ffff:169.254.169.254]:80",
            "[64:ff9b::169.254.169.254]:80",
        ];
        for address in addresses {
            let itself = address.rsplit_once(':').map(|(ip, _)| ip.trim_matches(['[', ']'])).expect("a port");
            for target in ["http://0.0.0.0/0", "http://::/0", "http://db.example", &format!("http://{itself}")] {
                assert!(!allowed(target, Some("db.example"), address, true), "{target} {address}");
            }
        }
    }
}

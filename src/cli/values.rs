//! How the values of flags are written: durations, rates, limits, addresses, lists.

use std::{
    collections::{BTreeSet, HashSet},
    fmt, fs,
    hash::Hash,
    net::{IpAddr, SocketAddr},
    str::FromStr,
    time::Duration,
};

use reqwest::Certificate;

use super::login_target::LoginTarget;
pub use crate::domain::duration::{duration, duration_or_zero};
use crate::{
    domain::origin::Origin,
    provider::{budget::Rate, delete_limit::DeleteRate},
};

/// Calls that may be made at once where a rate names no burst.
const DEFAULT_BURST: u32 = 20;

/// Reads a duration of whole seconds, as the Kubernetes API counts them.
pub fn whole_seconds(text: &str) -> Result<Duration, String> {
    let duration = duration(text)?;
    if duration.subsec_nanos() == 0 { Ok(duration) } else { Err("must be whole seconds".to_owned()) }
}

/// Reads a call budget: `0.4/s`, `24/m` or `1000/h`, then `:BURST` where it is not 20.
pub fn rate(text: &str) -> Result<Rate, String> {
    let malformed = || "write a rate like 0.4/s, 24/m or 1000/h, with :BURST where it is not 20".to_owned();
    let (rate, burst) = match text.split_once(':') {
        None => (text, DEFAULT_BURST),
        Some((rate, burst)) => (rate, whole_number(burst).filter(|burst| *burst > 0).ok_or_else(malformed)?),
    };
    let (number, unit) = rate.split_once('/').ok_or_else(malformed)?;
    let seconds = match unit {
        "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        _ => return Err(malformed()),
    };
    // Digits and a point only: the number parser also takes `inf`, `NaN`, `1e9` and signs.
    if !number.starts_with(|c: char| c.is_ascii_digit()) || number.contains(|c: char| !c.is_ascii_digit() && c != '.') {
        return Err(malformed());
    }
    let per_second = number.parse::<f64>().map_err(|_| malformed())? / seconds;
    if !(1.0 / 3600.0..=100_000.0).contains(&per_second) {
        return Err("must lie between 1/h and 100000/s".to_owned());
    }
    Ok(Rate { per_second, burst })
}

/// How many account deletions one instance may see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeleteLimit {
    /// Any number.
    Unlimited,
    /// So many within any one window.
    PerWindow {
        /// Most deletions; at least one.
        deletions: u32,
        /// Length of the window.
        window: Duration,
    },
}

impl DeleteLimit {
    /// The limit as the provider side keeps it.
    pub fn rate(self) -> Option<DeleteRate> {
        match self {
            Self::Unlimited => None,
            Self::PerWindow { deletions, window } => {
                Some(DeleteRate { deletions: usize::try_from(deletions).unwrap_or(usize::MAX), window })
            }
        }
    }
}

/// Reads `50/10m`, or `0` for no limit.
pub fn delete_limit(text: &str) -> Result<DeleteLimit, String> {
    if text == "0" {
        return Ok(DeleteLimit::Unlimited);
    }
    let malformed = || "write a limit like 50/10m, or 0 for no limit".to_owned();
    let (deletions, window) = text.split_once('/').ok_or_else(malformed)?;
    let deletions = whole_number(deletions).filter(|deletions| *deletions > 0).ok_or_else(malformed)?;
    Ok(DeleteLimit::PerWindow { deletions, window: duration(window)? })
}

/// Root certificates trusted beside the system's.
#[derive(Clone, Debug, Default)]
pub struct ExtraRoots(pub Vec<Certificate>);

/// Reads the certificates of a PEM file; an empty name means none.
pub fn ca_file(path: &str) -> Result<ExtraRoots, String> {
    if path.is_empty() {
        return Ok(ExtraRoots::default());
    }
    let pem = fs::read(path).map_err(|error| format!("cannot be read: {error}"))?;
    match Certificate::from_pem_bundle(&pem) {
        Ok(roots) if !roots.is_empty() => Ok(ExtraRoots(roots)),
        _ => Err("holds no PEM certificate".to_owned()),
    }
}

/// Where a server listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BindAddress {
    /// One address of this machine, or all of them.
    pub host: Option<IpAddr>,
    /// Port; 0 takes any free one.
    pub port: u16,
}

/// Reads `:8081` (all interfaces), `127.0.0.1:8081` or `[::1]:8081`.
pub fn bind_address(text: &str) -> Result<BindAddress, String> {
    let all = |port: &str| whole_number(port).map(|port| BindAddress { host: None, port });
    let one = |address: SocketAddr| BindAddress { host: Some(address.ip()), port: address.port() };
    let address = text.strip_prefix(':').map_or_else(|| text.parse().ok().map(one), all);
    address.ok_or_else(|| "write an address like :8081, 127.0.0.1:8081 or [::1]:8081".to_owned())
}

impl fmt::Display for BindAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host {
            None => write!(f, ":{}", self.port),
            Some(host) => SocketAddr::new(host, self.port).fmt(f),
        }
    }
}

/// Reads the name of one namespace.
pub fn namespace(text: &str) -> Result<String, String> {
    let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let edge = |c: char| inner(c) && c != '-';
    if text.len() <= 63 && text.starts_with(edge) && text.ends_with(edge) && text.chars().all(inner) {
        return Ok(text.to_owned());
    }
    Err("a namespace has 1 to 63 lower-case letters, digits and dashes, with no dash at either end".to_owned())
}

/// Reads a comma-separated list of namespaces.
pub fn namespaces(text: &str) -> Result<BTreeSet<String>, String> {
    items(text).map(namespace).collect()
}

/// Reads a comma-separated list of origins. The error does not repeat the entry: it may hold a password by mistake.
pub fn origins(text: &str) -> Result<HashSet<Origin>, String> {
    numbered(text, str::parse)
}

/// Reads a comma-separated list of login targets. As with [`origins`], the error does not repeat the entry.
pub fn login_targets(text: &str) -> Result<HashSet<LoginTarget>, String> {
    numbered(text, str::parse)
}

/// Reads digits only: the number parser also takes a sign.
pub(super) fn whole_number<T: FromStr>(text: &str) -> Option<T> {
    text.parse().ok().filter(|_| text.starts_with(|c: char| c.is_ascii_digit()))
}

fn items(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').map(str::trim).filter(|item| !item.is_empty())
}

fn numbered<T: Eq + Hash, E: fmt::Display>(
    text: &str,
    read: impl Fn(&str) -> Result<T, E>,
) -> Result<HashSet<T>, String> {
    let entry = |(index, item)| read(item).map_err(|error| format!("entry {}: {error}", index + 1));
    items(text).enumerate().map(entry).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_sums_of_units() {
        let read = [
            ("200ms", 200),
            ("3s", 3_000),
            ("10m", 600_000),
            ("1h30m", 5_400_000),
            ("1m1s5ms", 61_005),
            ("8760h", 31_536_000_000),
        ];
        for (text, milliseconds) in read {
            assert_eq!(duration(text), Ok(Duration::from_millis(milliseconds)), "{text}");
        }
    }

    #[test]
    fn malformed_or_absurd_durations_are_refused() {
        for text in ["", "5", "s", "1.5s", "-1s", "+1s", "1 s", "1d", "1m1m", "30m1h", "1s1ms1", "8761h", "1²s"] {
            assert!(duration_or_zero(text).is_err(), "{text}");
        }
        assert!(duration_or_zero("99999999999999999999h").is_err());
        assert!(duration_or_zero(&format!("{}h", u64::MAX)).is_err());
    }

    #[test]
    fn zero_is_a_duration_only_where_it_means_something() {
        assert_eq!(duration_or_zero("0s"), Ok(Duration::ZERO));
        assert!(duration("0s").is_err());
        assert!(whole_seconds("1500ms").is_err());
        assert_eq!(whole_seconds("2000ms"), Ok(Duration::from_secs(2)));
    }

    #[test]
    fn rates_count_per_second_and_carry_a_burst() {
        for (text, per_second, burst) in [("0.4/s", 0.4, 20), ("24/m:5", 0.4, 5), ("1440/h:1", 0.4, 1)] {
            let rate = rate(text).expect(text);
            assert!((rate.per_second - per_second).abs() < 1e-9, "{text}");
            assert_eq!(rate.burst, burst, "{text}");
        }
    }

    #[test]
    fn rates_that_could_stop_or_flood_a_cloud_are_refused() {
        for text in
            ["", "1", "/s", "1/d", "0/s", "-1/s", "inf/s", "NaN/s", "1e3/s", "1.2.3/s", ".5/s", "0.5/h", "1000000/s"]
        {
            assert!(rate(text).is_err(), "{text}");
        }
        for text in ["1/s:", "1/s:0", "1/s:-1", "1/s:+2", "1/s:1.5", "1/s:4294967296"] {
            assert!(rate(text).is_err(), "{text}");
        }
    }

    #[test]
    fn delete_limit_zero_means_none_and_nothing_else_does() {
        assert_eq!(delete_limit("0"), Ok(DeleteLimit::Unlimited));
        let window = Duration::from_secs(600);
        assert_eq!(delete_limit("50/10m"), Ok(DeleteLimit::PerWindow { deletions: 50, window }));
        for text in ["", "50", "0/10m", "50/", "50/0s", "-1/10m", "50/10m/1"] {
            assert!(delete_limit(text).is_err(), "{text}");
        }
    }

    #[test]
    fn bind_addresses_show_as_they_are_written() {
        for text in [":8081", "127.0.0.1:8081", "[::1]:0"] {
            assert_eq!(bind_address(text).expect(text).to_string(), text);
        }
        for text in ["", "8081", ":", ":65536", ":+80", "localhost:8081", "::1:8081", "127.0.0.1"] {
            assert!(bind_address(text).is_err(), "{text}");
        }
    }

    #[test]
    fn lists_skip_blanks_and_an_empty_one_is_empty() {
        assert_eq!(namespaces(""), Ok(BTreeSet::new()));
        assert_eq!(namespaces("b, a,,b"), Ok(BTreeSet::from(["a".to_owned(), "b".to_owned()])));
        assert_eq!(origins(" "), Ok(HashSet::new()));
    }

    #[test]
    fn namespaces_follow_the_rule_of_dns_labels() {
        for text in ["Team", "-a", "a-", "a.b", "a_b", "é", &"a".repeat(64)] {
            assert!(namespace(text).is_err(), "{text}");
        }
        assert!(namespace("").is_err());
        assert_eq!(namespace(&"a".repeat(63)), Ok("a".repeat(63)));
    }

    #[test]
    fn bad_list_entry_is_named_by_its_place_and_not_repeated() {
        let error = origins("https://a.example,https://me:secret@b.example").expect_err("user info");
        assert_eq!(error, "entry 2: leave the user name and password out");
    }

    #[test]
    fn ca_file_that_holds_no_certificate_is_refused() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        fs::write(file.path(), "nothing").expect("written");
        assert_eq!(ca_file(file.path().to_str().expect("UTF-8")).err().as_deref(), Some("holds no PEM certificate"));
        assert!(ca_file("/does/not/exist").is_err_and(|error| error.starts_with("cannot be read")));
        assert!(ca_file("").is_ok_and(|roots| roots.0.is_empty()));
    }
}

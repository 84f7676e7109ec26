//! The origin of a URL: what `--allowed-endpoints` lists and an `endpoint` override is compared by.

use std::{fmt, str::FromStr};

use url::Url;

/// Scheme, host and port of an http or https URL.
///
/// Two spellings of one origin are equal: scheme and host in lower case, the scheme's default port and a trailing slash
/// dropped.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Origin(url::Origin);

/// Why a text is not an origin. Does not repeat the text, which may hold a password by mistake.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OriginError {
    /// Not `http://…` or `https://…` with a host.
    #[error("write it as https://host or https://host:port")]
    NotHttp,
    /// `user:password@` before the host.
    #[error("leave the user name and password out")]
    UserInfo,
    /// Something follows the host and port.
    #[error("leave path, query and fragment out")]
    Path,
}

impl Origin {
    /// The origin of a URL that may have a path. Refuses other schemes, and a user name or password in the URL.
    pub fn of(url: &Url) -> Result<Self, OriginError> {
        if !matches!(url.scheme(), "http" | "https") {
            return Err(OriginError::NotHttp);
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(OriginError::UserInfo);
        }
        Ok(Self(url.origin()))
    }

    /// Whether calls to this origin are encrypted.
    pub fn is_https(&self) -> bool {
        matches!(&self.0, url::Origin::Tuple(scheme, _, _) if scheme == "https")
    }
}

impl FromStr for Origin {
    type Err = OriginError;

    /// Reads `scheme://host[:port]`.
    fn from_str(text: &str) -> Result<Self, OriginError> {
        // The URL parser mends much that nobody means to write: blanks, backslashes, missing slashes.
        let (scheme, rest) = text.split_once("://").ok_or(OriginError::NotHttp)?;
        let is_http = scheme.eq_ignore_ascii_case("http") || scheme.eq_ignore_ascii_case("https");
        if !is_http || rest.starts_with('/') || rest.contains(|c: char| c.is_whitespace() || c == '\\') {
            return Err(OriginError::NotHttp);
        }
        let url = Url::parse(text).map_err(|_| OriginError::NotHttp)?;
        let origin = Self::of(&url)?;
        if url.path() != "/" || url.query().is_some() || url.fragment().is_some() {
            return Err(OriginError::Path);
        }
        Ok(origin)
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.ascii_serialization())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin(text: &str) -> Origin {
        text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    #[test]
    fn spellings_of_one_origin_are_equal() {
        for text in ["HTTPS://API.Example.com", "https://api.example.com:443/", "https://api.example.com/"] {
            assert_eq!(origin(text), origin("https://api.example.com"), "{text}");
            assert_eq!(origin(text).to_string(), "https://api.example.com", "{text}");
        }
    }

    #[test]
    fn scheme_host_and_port_each_make_another_origin() {
        let base = origin("https://api.example.com");
        for text in ["http://api.example.com", "https://api.example.com:8443", "https://api.example.org"] {
            assert_ne!(origin(text), base, "{text}");
        }
    }

    #[test]
    fn ipv6_hosts_keep_their_brackets() {
        assert_eq!(origin("http://[::1]:9000").to_string(), "http://[::1]:9000");
    }

    #[test]
    fn only_the_scheme_decides_on_encryption() {
        assert!(origin("https://host:80").is_https());
        assert!(!origin("http://host:443").is_https());
    }

    #[test]
    fn more_or_less_than_an_origin_is_refused() {
        let refused = [
            ("api.example.com", OriginError::NotHttp),
            ("ftp://api.example.com", OriginError::NotHttp),
            ("https://", OriginError::NotHttp),
            ("https:///api.example.com", OriginError::NotHttp),
            (r"https://api\example", OriginError::NotHttp),
            (" https://api.example.com", OriginError::NotHttp),
            ("https://api.example.com:99999", OriginError::NotHttp),
            ("https://me:secret@api.example.com", OriginError::UserInfo),
            ("https://me@api.example.com", OriginError::UserInfo),
            ("https://api.example.com/iaas", OriginError::Path),
            ("https://api.example.com?a=b", OriginError::Path),
            ("https://api.example.com#top", OriginError::Path),
        ];
        for (text, error) in refused {
            assert_eq!(text.parse::<Origin>(), Err(error), "{text}");
        }
    }

    #[test]
    fn origin_of_an_endpoint_ignores_its_path() {
        let endpoint = Url::parse("https://API.example.com:443/iaas/").expect("a URL");
        assert_eq!(Origin::of(&endpoint), Ok(origin("https://api.example.com")));
    }
}

//! Logins to ClickHouse itself, over its HTTP interface: whether name and password are right, asked of the only one who
//! knows. Knows no Kubernetes and no cloud.
//!
//! Hosts come from manifests, so a login goes only where `--allowed-login-targets` lets it, decided on the address that
//! is then connected to ([`targets`]). What the answer means is in [`answer`].

mod answer;
mod targets;
#[cfg(test)]
mod tests;

use std::{
    collections::{HashMap, HashSet},
    net::SocketAddr,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use reqwest::{Certificate, Client, Url, header::HeaderValue};
use tokio::{
    sync::Semaphore,
    time::{Instant, timeout},
};
use url::Host;

use crate::{
    api::instance::{Connection, ConnectionTls},
    cli::LoginTarget,
    domain::{names::Username, secret::SecretText, seen::LoginSeen},
};

/// Longest answer read: `1` and a line break, or one error.
const ANSWER_LIMIT: usize = 16 * 1024;

/// A server that takes longer than this to take the connection is not there; its users must not hold up the others'.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// A host that could not be reached is not tried again for this long: its other users would only wait for the same.
const UNREACHABLE_FOR: Duration = Duration::from_secs(10);

/// Clients and hosts remembered; both come from manifests and must not grow without end.
const REMEMBERED: usize = 256;

/// The query of a login: it needs no right.
const QUERY: &str = "SELECT 1";

/// Makes logins, so many at once.
pub struct Logins {
    allowed: HashSet<LoginTarget>,
    extra_roots: Vec<Certificate>,
    limit: Duration,
    slots: Semaphore,
    /// One for each host and the addresses it had: building one reads the roots of the system.
    clients: Mutex<HashMap<(String, Vec<SocketAddr>), Client>>,
    unreachable: Mutex<HashMap<String, (Instant, String)>>,
}

/// Where one login goes.
struct Route {
    url: Url,
    port: u16,
    plain: bool,
}

impl Logins {
    /// Logins to these targets, each within `limit` from looking its host up to the last byte, `at_once` at once.
    pub fn new(allowed: HashSet<LoginTarget>, extra_roots: Vec<Certificate>, limit: Duration, at_once: usize) -> Self {
        Self {
            allowed,
            extra_roots,
            limit,
            slots: Semaphore::new(at_once),
            clients: Mutex::default(),
            unreachable: Mutex::default(),
        }
    }

    /// Logs in once.
    pub async fn login(&self, connection: &Connection, username: &Username, password: &SecretText) -> LoginSeen {
        let route = match route(connection) {
            Ok(route) => route,
            Err(why) => return LoginSeen::Unreachable(why),
        };
        let host = route.url.origin().ascii_serialization();
        if let Some(why) = self.known_unreachable(&host) {
            return LoginSeen::Unreachable(why);
        }
        let Ok(_slot) = self.slots.try_acquire() else { return LoginSeen::Busy };
        match timeout(self.limit, self.ask(&route, username, password)).await {
            Ok(Ok(seen)) => seen,
            Ok(Err(Failure::Refused(why))) => LoginSeen::Unreachable(why),
            Ok(Err(Failure::NoAnswer(why))) => self.is_unreachable(host, why),
            Err(_) => self.is_unreachable(host, "ClickHouse did not answer in time.".to_owned()),
        }
    }

    async fn ask(&self, route: &Route, username: &Username, password: &SecretText) -> Result<LoginSeen, Failure> {
        let addresses = self.addresses(route).await?;
        let client = self.client(&route.url, addresses).map_err(Failure::Refused)?;
        let mut key = HeaderValue::from_bytes(password.expose().as_bytes())
            .map_err(|_| Failure::Refused("The password cannot be sent in a header of HTTP.".to_owned()))?;
        key.set_sensitive(true);
        let request = client
            .get(route.url.clone())
            .header("X-ClickHouse-User", username.as_str())
            .header("X-ClickHouse-Key", key);
        let mut response = request.send().await.map_err(|error| no_answer(&error))?;
        let status = response.status();
        let code =
            response.headers().get("X-ClickHouse-Exception-Code").and_then(|code| code.to_str().ok()?.parse().ok());
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| no_answer(&error))? {
            if body.len() + chunk.len() > ANSWER_LIMIT {
                return Err(Failure::NoAnswer("What answers is not ClickHouse: its answer has no end.".to_owned()));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(answer::meaning(status.as_u16(), code, &body))
    }

    /// The addresses of the host that may be connected to.
    async fn addresses(&self, route: &Route) -> Result<Vec<SocketAddr>, Failure> {
        let name = match route.url.host() {
            Some(Host::Ipv4(address)) => return self.allowed(route, None, vec![(address, route.port).into()]),
            Some(Host::Ipv6(address)) => return self.allowed(route, None, vec![(address, route.port).into()]),
            Some(Host::Domain(name)) => name,
            None => return Err(Failure::Refused("The instance's address has no host.".to_owned())),
        };
        let found = tokio::net::lookup_host((name, route.port)).await;
        let found = found.map_err(|_| Failure::NoAnswer(format!("The host {name} cannot be looked up.")))?;
        self.allowed(route, Some(name), found.collect())
    }

    fn allowed(&self, route: &Route, name: Option<&str>, found: Vec<SocketAddr>) -> Result<Vec<SocketAddr>, Failure> {
        let allowed = |address: &SocketAddr| {
            self.allowed.iter().any(|target| targets::allows(target, name, address, route.plain))
        };
        let mut addresses: Vec<_> = found.into_iter().filter(allowed).collect();
        addresses.sort_unstable();
        if addresses.is_empty() {
            let without_tls = if route.plain { " without TLS" } else { "" };
            let host = route.url.host_str().unwrap_or_default();
            return Err(Failure::Refused(format!(
                "Logins to {host} port {}{without_tls} are not allowed by --allowed-login-targets.",
                route.port
            )));
        }
        Ok(addresses)
    }

    /// A client that connects to these addresses and to no other.
    fn client(&self, url: &Url, addresses: Vec<SocketAddr>) -> Result<Client, String> {
        let host = url.host_str().unwrap_or_default().to_owned();
        let key = (url.origin().ascii_serialization(), addresses);
        if let Some(client) = locked(&self.clients).get(&key) {
            return Ok(client.clone());
        }
        let client = Client::builder()
            .user_agent(concat!("clickhouse-user-operator/", env!("CARGO_PKG_VERSION")))
            .timeout(self.limit)
            .connect_timeout(CONNECT_TIMEOUT.min(self.limit))
            .resolve_to_addrs(&host, &key.1)
            // Addresses are looked up for each login, so no connection may outlive one.
            .pool_max_idle_per_host(0)
            // Either could carry the password to a host that is not allowed.
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .referer(false)
            .http1_only()
            .tls_version_min(reqwest::tls::Version::TLS_1_2)
            .tls_certs_merge(self.extra_roots.iter().cloned())
            .build()
            .map_err(|_| "The TLS roots for logins cannot be loaded.".to_owned())?;
        let mut clients = locked(&self.clients);
        if clients.len() >= REMEMBERED {
            clients.clear();
        }
        clients.insert(key, client.clone());
        Ok(client)
    }

    fn known_unreachable(&self, host: &str) -> Option<String> {
        let unreachable = locked(&self.unreachable);
        unreachable.get(host).filter(|(since, _)| since.elapsed() < UNREACHABLE_FOR).map(|(_, why)| why.clone())
    }

    fn is_unreachable(&self, host: String, why: String) -> LoginSeen {
        let mut unreachable = locked(&self.unreachable);
        if unreachable.len() >= REMEMBERED {
            unreachable.clear();
        }
        unreachable.insert(host, (Instant::now(), why.clone()));
        LoginSeen::Unreachable(why)
    }
}

/// Why a login showed nothing, in words that hold no URL.
enum Failure {
    /// It was not made, or its answer is about this user alone.
    Refused(String),
    /// Nobody is there, for any user.
    NoAnswer(String),
}

fn no_answer(error: &reqwest::Error) -> Failure {
    Failure::NoAnswer(if error.is_connect() && error.is_timeout() {
        "Connecting to ClickHouse took too long.".to_owned()
    } else if error.is_connect() {
        "ClickHouse cannot be reached (connection or TLS).".to_owned()
    } else if error.is_timeout() {
        "ClickHouse did not answer in time.".to_owned()
    } else {
        "The connection to ClickHouse broke before its answer was complete.".to_owned()
    })
}

fn route(connection: &Connection) -> Result<Route, String> {
    let plain = connection.tls != Some(ConnectionTls::Required);
    let host = connection.bare_host().ok_or("No host is known to log in to.")?;
    let port = connection.http_port.ok_or("No HTTP port is known to log in to.")?;
    let (scheme, host) = (if plain { "http" } else { "https" }, host.trim_end_matches('.'));
    let bracketed = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
    let unusable = |_| format!("The instance's host {host:?} is not one that can be connected to.");
    let parsed = Host::parse(&bracketed).map_err(unusable)?;
    let mut url = Url::parse(&format!("{scheme}://{parsed}:{port}/")).map_err(unusable)?;
    url.query_pairs_mut().append_pair("query", QUERY);
    Ok(Route { url, port, plain })
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

//! What a connection Secret says, in the shape of the Service Binding specification, and whether one that is there says
//! it.

use std::collections::BTreeMap;

use zeroize::Zeroizing;

use super::{
    names::{Fingerprint, Uid, Username},
    secret::SecretText,
};
use crate::{
    api::{
        instance::{Connection, ConnectionTls},
        user::ConnectionSecretSpec,
    },
    provider::{contract::ProviderKind, percent},
};

/// `type` of the Secret.
pub const SECRET_TYPE: &str = "servicebinding.io/clickhouse";

/// The key under which it holds the password.
const PASSWORD: &str = "password";

/// A connection Secret as it should be, without the password itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectionSecret {
    /// `metadata.name`
    pub name: String,
    /// Labels asked for.
    pub labels: BTreeMap<String, String>,
    /// Annotations asked for.
    pub annotations: BTreeMap<String, String>,
    /// Which password it holds.
    pub fingerprint: Fingerprint,
    provider: ProviderKind,
    username: Username,
    host: String,
    port: u16,
    http_port: u16,
    tls: bool,
}

/// A Secret as it is. It has no `Debug`, because of its values.
pub struct FoundSecret {
    /// `metadata.uid`
    pub uid: Uid,
    /// `metadata.resourceVersion`
    pub resource_version: String,
    /// `type`
    pub kind: String,
    /// The uids of its owners.
    pub owners: Vec<Uid>,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its annotations.
    pub annotations: BTreeMap<String, String>,
    /// Its values, wiped when dropped.
    pub data: BTreeMap<String, Zeroizing<Vec<u8>>>,
}

/// What a Secret that is there means for the one that should be there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    /// It belongs to somebody else.
    Foreign,
    /// It is ours, and says something else.
    Different,
    /// It is ours and as it should be.
    Same,
}

impl ConnectionSecret {
    /// The Secret that `spec` asks for; `None` where no host is known.
    pub fn new(
        spec: &ConnectionSecretSpec,
        provider: ProviderKind,
        username: &Username,
        connection: &Connection,
        fingerprint: Fingerprint,
    ) -> Option<Self> {
        Some(Self {
            name: spec.name.clone(),
            labels: spec.labels.clone().unwrap_or_default(),
            annotations: spec.annotations.clone().unwrap_or_default(),
            fingerprint,
            provider,
            username: username.clone(),
            host: connection.bare_host()?.to_owned(),
            port: connection.port?,
            http_port: connection.http_port?,
            tls: connection.tls == Some(ConnectionTls::Required),
        })
    }

    /// Its values.
    pub fn data(&self, password: &SecretText) -> BTreeMap<&'static str, SecretText> {
        let mut data: BTreeMap<_, _> =
            self.plain_data().into_iter().map(|(key, value)| (key, SecretText::new(value))).collect();
        let username = percent::encode(self.username.as_str().as_bytes());
        let encoded = Zeroizing::new(percent::encode(password.expose().as_bytes()));
        let encoded = encoded.as_str();
        let (host, port, http_port) = (self.host_in_uri(), self.port, self.http_port);
        let (scheme, secure, ssl) = if self.tls { ("https", "?secure=true", "&ssl=true") } else { ("http", "", "") };
        let uris = [
            ("uri", format!("clickhouse://{username}:{encoded}@{host}:{port}{secure}")),
            ("http-uri", format!("{scheme}://{username}:{encoded}@{host}:{http_port}")),
            ("jdbc-url", format!("jdbc:clickhouse://{host}:{http_port}?user={username}&password={encoded}{ssl}")),
        ];
        data.extend(uris.map(|(key, value)| (key, SecretText::new(value))));
        data.insert(PASSWORD, password.clone());
        data
    }

    /// The values that are no secret.
    fn plain_data(&self) -> [(&'static str, String); 6] {
        [
            ("type", "clickhouse".to_owned()),
            ("provider", self.provider.to_string()),
            ("host", self.host.clone()),
            ("port", self.port.to_string()),
            ("http-port", self.http_port.to_string()),
            ("username", self.username.to_string()),
        ]
    }

    fn host_in_uri(&self) -> String {
        if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() }
    }

    /// Holds a Secret that is there against this one. `exact`: labels and annotations that are not asked for make it
    /// different; otherwise they are left to whoever put them there. `fingerprint` makes the fingerprint of a password.
    pub fn compare(
        &self,
        found: &FoundSecret,
        owner: &Uid,
        exact: bool,
        fingerprint: impl FnOnce(&SecretText) -> Fingerprint,
    ) -> Comparison {
        if !found.owners.contains(owner) {
            return Comparison::Foreign;
        }
        let has = |wanted: &BTreeMap<String, String>, found: &BTreeMap<String, String>| {
            let asked_for = wanted.iter().all(|(key, value)| found.get(key) == Some(value));
            asked_for && (!exact || wanted.len() == found.len())
        };
        let password = found.data.get(PASSWORD).and_then(|value| std::str::from_utf8(value).ok()).map(SecretText::new);
        let same = found.kind == SECRET_TYPE
            && has(&self.labels, &found.labels)
            && has(&self.annotations, &found.annotations)
            && password.is_some_and(|password| {
                let data = self.data(&password);
                let equal = |(key, value): (&&str, &SecretText)| {
                    found.data.get(*key).is_some_and(|found| found.as_slice() == value.expose().as_bytes())
                };
                data.len() == found.data.len() && data.iter().all(equal) && fingerprint(&password) == self.fingerprint
            });
        if same { Comparison::Same } else { Comparison::Different }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "p@ss/w%rd+1:#?&=";

    fn connection(host: &str, tls: ConnectionTls) -> Connection {
        Connection { host: Some(host.to_owned()), port: Some(9000), http_port: Some(8123), tls: Some(tls) }
    }

    fn spec() -> ConnectionSecretSpec {
        let labels = BTreeMap::from([("team".to_owned(), "a".to_owned())]);
        ConnectionSecretSpec { name: "output".to_owned(), labels: Some(labels), annotations: None }
    }

    fn wanted(connection: &Connection) -> ConnectionSecret {
        let username = Username::new("reporting");
        ConnectionSecret::new(&spec(), ProviderKind::QingCloud, &username, connection, Fingerprint::new(SECRET))
            .expect("a host")
    }

    fn values(connection: &Connection) -> BTreeMap<&'static str, String> {
        let data = wanted(connection).data(&SecretText::new(SECRET));
        data.into_iter().map(|(key, value)| (key, value.expose().to_owned())).collect()
    }

    /// The Secret as it would be written.
    fn found(connection: &Connection) -> FoundSecret {
        let wanted = wanted(connection);
        let data = wanted.data(&SecretText::new(SECRET)).into_iter();
        FoundSecret {
            uid: Uid::new("secret-uid"),
            resource_version: "1".to_owned(),
            kind: SECRET_TYPE.to_owned(),
            owners: vec![Uid::new("uid-1")],
            labels: wanted.labels.clone(),
            annotations: BTreeMap::new(),
            data: data
                .map(|(key, value)| (key.to_owned(), Zeroizing::new(value.expose().as_bytes().to_vec())))
                .collect(),
        }
    }

    fn compared(change: impl FnOnce(&mut FoundSecret), exact: bool) -> Comparison {
        let connection = connection("db.example", ConnectionTls::Disabled);
        let mut found = found(&connection);
        change(&mut found);
        wanted(&connection).compare(&found, &Uid::new("uid-1"), exact, |password| Fingerprint::new(password.expose()))
    }

    #[test]
    fn values_are_those_of_a_service_binding() {
        let values = values(&connection("db.example", ConnectionTls::Disabled));
        let encoded = "p%40ss%2Fw%25rd%2B1%3A%23%3F%26%3D";
        let expected = [
            ("host", "db.example".to_owned()),
            ("http-port", "8123".to_owned()),
            ("http-uri", format!("http://reporting:{encoded}@db.example:8123")),
            ("jdbc-url", format!("jdbc:clickhouse://db.example:8123?user=reporting&password={encoded}")),
            ("password", SECRET.to_owned()),
            ("port", "9000".to_owned()),
            ("provider", "QingCloud".to_owned()),
            ("type", "clickhouse".to_owned()),
            ("uri", format!("clickhouse://reporting:{encoded}@db.example:9000")),
            ("username", "reporting".to_owned()),
        ];
        assert_eq!(values, BTreeMap::from(expected));
    }

    #[test]
    fn tls_and_an_ipv6_address_show_in_every_uri() {
        for host in ["fd00::1", "[fd00::1]"] {
            let values = values(&connection(host, ConnectionTls::Required));
            assert_eq!(values["host"], "fd00::1");
            assert!(values["uri"].ends_with("@[fd00::1]:9000?secure=true"), "{}", values["uri"]);
            assert!(values["http-uri"].starts_with("https://"), "{}", values["http-uri"]);
            assert!(values["http-uri"].ends_with("@[fd00::1]:8123"), "{}", values["http-uri"]);
            assert!(values["jdbc-url"].starts_with("jdbc:clickhouse://[fd00::1]:8123?"), "{}", values["jdbc-url"]);
            assert!(values["jdbc-url"].ends_with("&ssl=true"), "{}", values["jdbc-url"]);
        }
    }

    #[test]
    fn uris_give_name_and_password_back() {
        let values = values(&connection("db.example", ConnectionTls::Disabled));
        for key in ["uri", "http-uri"] {
            let uri = url::Url::parse(&values[key]).expect("a URI");
            let password = percent::decode(uri.password().expect("a password").as_bytes());
            assert_eq!((uri.username(), password.as_slice()), ("reporting", SECRET.as_bytes()), "{key}");
        }
        let jdbc = values["jdbc-url"].strip_prefix("jdbc:").expect("a JDBC URL");
        let pairs: BTreeMap<_, _> = url::Url::parse(jdbc).expect("a URL").query_pairs().into_owned().collect();
        assert_eq!((pairs["user"].as_str(), pairs["password"].as_str()), ("reporting", SECRET));
    }

    #[test]
    fn secret_as_written_is_the_same_and_one_of_another_owner_is_foreign() {
        assert_eq!(compared(|_| {}, true), Comparison::Same);
        assert_eq!(compared(|it| it.owners = vec![Uid::new("uid-2")], false), Comparison::Foreign);
        assert_eq!(compared(|it| it.owners.clear(), false), Comparison::Foreign);
    }

    #[test]
    fn whatever_was_changed_in_it_makes_it_different() {
        let changed = |key: &str, value: &str| {
            let (key, value) = (key.to_owned(), Zeroizing::new(value.as_bytes().to_vec()));
            compared(move |it| _ = it.data.insert(key, value), false)
        };
        for key in ["host", "port", "password", "uri", "jdbc-url", "added"] {
            assert_eq!(changed(key, "other"), Comparison::Different, "{key}");
        }
        assert_eq!(compared(|it| _ = it.data.remove("provider"), false), Comparison::Different);
        assert_eq!(compared(|it| it.kind = "Opaque".to_owned(), false), Comparison::Different);
        assert_eq!(compared(|it| it.labels.clear(), false), Comparison::Different);
    }

    #[test]
    fn password_of_another_time_makes_it_different_although_its_values_agree() {
        let connection = connection("db.example", ConnectionTls::Disabled);
        let next = ConnectionSecret { fingerprint: Fingerprint::new("next"), ..wanted(&connection) };
        let fingerprint = |password: &SecretText| Fingerprint::new(password.expose());
        assert_eq!(next.compare(&found(&connection), &Uid::new("uid-1"), false, fingerprint), Comparison::Different);
    }

    #[test]
    fn labels_of_others_are_left_alone_unless_the_comparison_is_exact() {
        let labelled = |it: &mut FoundSecret| _ = it.labels.insert("tool".to_owned(), "seen".to_owned());
        assert_eq!(compared(labelled, false), Comparison::Same);
        assert_eq!(compared(labelled, true), Comparison::Different);
    }

    #[test]
    fn without_a_host_there_is_no_secret() {
        let nowhere = Connection { host: None, ..connection("", ConnectionTls::Disabled) };
        let username = Username::new("reporting");
        let secret =
            ConnectionSecret::new(&spec(), ProviderKind::QingCloud, &username, &nowhere, Fingerprint::new("f"));
        assert_eq!(secret, None);
    }
}

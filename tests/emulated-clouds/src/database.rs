//! What stands behind the emulated clouds where accounts are to be real.

use clickhouse::{Account, ReadOnly, Server};
use futures::future::BoxFuture;

/// An account as the database behind a cloud needs it.
#[derive(Clone, PartialEq, Eq)]
pub struct DatabaseAccount {
    /// Its name.
    pub name: String,
    /// Its password.
    pub password: String,
    /// Addresses and networks that may connect, as the client of the cloud wrote them; `::/0` is everyone.
    pub networks: Vec<String>,
    /// Databases it may use; `*` alone is all.
    pub databases: Vec<String>,
    /// ClickHouse's setting `readonly`: 0 may write, 1 reads only, 2 reads and changes settings.
    pub read_only: u8,
}

/// A database that takes the accounts the emulated clouds create. Calls return once the change is in force.
///
/// Accounts are known by name alone: instances that share a database share its names.
pub trait Database: Send + Sync {
    /// Creates the account or replaces it as a whole.
    fn put(&self, account: DatabaseAccount) -> BoxFuture<'_, Result<(), String>>;
    /// Removes the account; one that is not there is no error.
    fn remove<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<(), String>>;
}

/// Stands for an empty list of databases, which the server would take for all: no database bears this name.
const NO_DATABASE: &str = "(none)";

/// A real server. Its accounts are XML elements, so a name that begins with a digit is refused.
impl Database for Server {
    fn put(&self, account: DatabaseAccount) -> BoxFuture<'_, Result<(), String>> {
        Box::pin(async move {
            let DatabaseAccount { name, password, networks, mut databases, read_only } = account;
            if databases.is_empty() {
                databases.push(NO_DATABASE.to_owned());
            }
            let read_only = match read_only {
                0 => ReadOnly::No,
                1 => ReadOnly::Reads,
                _ => ReadOnly::ReadsAndSettings,
            };
            let account = Account { name, password, networks, databases, read_only };
            self.put_account(&account).await.map_err(|error| error.to_string())
        })
    }

    fn remove<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<(), String>> {
        Box::pin(async move { self.remove_account(name).await.map_err(|error| error.to_string()) })
    }
}

//! The server: start, accounts, queries.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use supervised::{Program, Supervised, free_port};
use tempfile::TempDir;
use tokio::fs;
use tokio::sync::Mutex;
use url::Url;

use crate::account::{Account, Invalid, ReadOnly, check_name};
use crate::configuration;
use crate::program::ServerProgram;
use crate::query::{self, QueryError};

const ADMINISTRATOR: &str = "harness_administrator";

/// Why the server does not do what it was asked for.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no server program on this machine.
    #[error(
        "no clickhouse-server and no clickhouse in PATH: install Debian's package clickhouse-server, \
         or put a folder with ClickHouse's single binary into PATH"
    )]
    NoProgram,
    /// The program does not come up.
    #[error(transparent)]
    Process(#[from] supervised::Error),
    /// The folder of the server cannot be written.
    #[error("the server's folder: {0}")]
    Folder(#[from] io::Error),
    /// There is no HTTP client.
    #[error("HTTP client: {0}")]
    Client(#[from] reqwest::Error),
    /// The account is not one that can be written.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// The server did not take the changed files.
    #[error("the server did not reload its accounts: {0}")]
    Reload(#[source] QueryError),
}

/// A running ClickHouse server; dropping it ends it and removes all it wrote.
pub struct Server {
    // Fields are dropped in this order: the process goes before its folder.
    _process: Supervised,
    folder: TempDir,
    root_element: &'static str,
    http_url: Url,
    http_port: u16,
    tcp_port: u16,
    administrator_password: String,
    client: reqwest::Client,
    /// The server reads all account files at once, so they change one at a time.
    accounts: Mutex<()>,
}

impl Server {
    /// Starts a server without accounts and waits until it answers.
    pub async fn start() -> Result<Self, Error> {
        // The ports are free when they are chosen; should one be taken by the time the server binds it, choose anew.
        let mut attempts = 0;
        loop {
            attempts += 1;
            match Self::start_once().await {
                Err(Error::Process(supervised::Error::PortTaken { .. })) if attempts < 5 => {}
                result => return result,
            }
        }
    }

    async fn start_once() -> Result<Self, Error> {
        let program = ServerProgram::find().ok_or(Error::NoProgram)?;
        let root_element = program.root_element;
        let (http_port, tcp_port) = (free_port()?, free_port()?);
        let administrator_password = hex::encode(rand::random::<[u8; 16]>());
        let administrator = Account {
            name: ADMINISTRATOR.to_owned(),
            password: administrator_password.clone(),
            networks: vec!["127.0.0.1".to_owned()],
            databases: vec!["*".to_owned()],
            read_only: ReadOnly::No,
        };

        let folder = tempfile::Builder::new().prefix("clickhouse-").tempdir()?;
        let at = |name: &str| folder.path().join(name);
        fs::create_dir(at("users.d")).await?;
        fs::write(at("config.xml"), configuration::server(root_element, http_port, tcp_port)).await?;
        fs::write(at("users.xml"), configuration::users(root_element, &administrator.to_xml()?)).await?;

        let arguments = program.subcommand.into_iter().chain(["--config-file=config.xml"]);
        let mut process = Supervised::start(Program {
            name: "clickhouse-server",
            path: program.path,
            arguments: arguments.map(Into::into).collect(),
            working_folder: folder.path().to_owned(),
            log: at("server.log"),
            remove: Some(folder.path().to_owned()),
        })?;

        let client = query::client()?;
        let http_url =
            Url::parse(&format!("http://127.0.0.1:{http_port}/")).expect("an address and a number make a URL");
        // Only this server knows the password: another one, met because the port was taken, does not count.
        let login = || query::query(&client, http_url.clone(), ADMINISTRATOR, &administrator_password, "SELECT 1");
        let answers = || async { login().await.is_ok() };
        process.ready(Duration::from_secs(60), answers).await?;
        Ok(Self {
            _process: process,
            folder,
            root_element,
            http_url,
            http_port,
            tcp_port,
            administrator_password,
            client,
            accounts: Mutex::new(()),
        })
    }

    /// Where queries are sent to over HTTP.
    pub fn http_url(&self) -> Url {
        self.http_url.clone()
    }

    /// The port of the HTTP interface, on 127.0.0.1.
    pub fn http_port(&self) -> u16 {
        self.http_port
    }

    /// The port of the native protocol, on 127.0.0.1.
    pub fn tcp_port(&self) -> u16 {
        self.tcp_port
    }

    /// Name and password of the account of the harness, which may do everything, from 127.0.0.1 only.
    pub fn administrator(&self) -> (&str, &str) {
        (ADMINISTRATOR, &self.administrator_password)
    }

    /// Creates the account, or replaces the one of that name. In force when it returns.
    pub async fn put_account(&self, account: &Account) -> Result<(), Error> {
        let file = self.file_of(&account.name)?;
        let xml = account.to_xml()?;
        let one_at_a_time = self.accounts.lock().await;
        // The server reads every .xml of the folder, at any moment: none may be there in part.
        let unfinished = file.with_extension("unfinished");
        fs::write(&unfinished, format!("<{root}>{xml}</{root}>", root = self.root_element)).await?;
        fs::rename(unfinished, file).await?;
        let reloaded = self.reload().await;
        drop(one_at_a_time);
        reloaded
    }

    /// Removes the account, if there is one of that name. In force when it returns.
    pub async fn remove_account(&self, name: &str) -> Result<(), Error> {
        let file = self.file_of(name)?;
        let one_at_a_time = self.accounts.lock().await;
        match fs::remove_file(file).await {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
            _ => {}
        }
        let reloaded = self.reload().await;
        drop(one_at_a_time);
        reloaded
    }

    /// Runs one query over HTTP, as any client would, and returns the rows as tab-separated text.
    pub async fn query(&self, user: &str, password: &str, sql: &str) -> Result<String, QueryError> {
        query::query(&self.client, self.http_url.clone(), user, password, sql).await
    }

    fn file_of(&self, name: &str) -> Result<PathBuf, Invalid> {
        check_name(name)?;
        if name == ADMINISTRATOR {
            return Err(Invalid::Reserved(name.to_owned()));
        }
        Ok(self.folder.path().join("users.d").join(format!("{name}.xml")))
    }

    /// The server answers this query after it has read the files.
    async fn reload(&self) -> Result<(), Error> {
        let (user, password) = self.administrator();
        self.query(user, password, "SYSTEM RELOAD CONFIG").await.map(drop).map_err(Error::Reload)
    }
}

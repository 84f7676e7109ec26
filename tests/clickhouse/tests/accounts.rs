//! What a real server makes of the accounts that are put into it.

use clickhouse::{Account, Error, Invalid, QueryError, ReadOnly, Server};

const PASSWORD: &str = "A<first>&'Password\"1";

fn account(name: &str) -> Account {
    Account {
        name: name.to_owned(),
        password: PASSWORD.to_owned(),
        networks: vec!["::/0".to_owned()],
        databases: vec!["*".to_owned()],
        read_only: ReadOnly::No,
    }
}

async fn start() -> Server {
    Server::start().await.expect("a server")
}

async fn put(server: &Server, account: &Account) {
    server.put_account(account).await.expect("the account is put");
}

async fn administer(server: &Server, sql: &str) {
    let (user, password) = server.administrator();
    server.query(user, password, sql).await.expect("the administrator may");
}

async fn login(server: &Server, name: &str, password: &str) -> Result<String, QueryError> {
    server.query(name, password, "SELECT 1").await
}

#[track_caller]
fn assert_refused(result: Result<String, QueryError>, status: u16, code: u16) {
    let error = result.expect_err("the server refuses");
    assert_eq!((error.status, error.code), (Some(status), Some(code)), "{error}");
}

#[tokio::test]
async fn an_account_logs_in_with_its_password_only() {
    let server = start().await;
    put(&server, &account("reporting")).await;
    assert_eq!(login(&server, "reporting", PASSWORD).await.expect("the password is right"), "1\n");
    assert_refused(login(&server, "reporting", "another").await, 401, 193);
    assert_refused(login(&server, "reporting", "").await, 401, 194);
    assert_refused(login(&server, "nobody", PASSWORD).await, 401, 192);
    assert_refused(login(&server, "default", "").await, 401, 192);
}

#[tokio::test]
async fn every_change_is_in_force_when_the_call_returns() {
    let server = start().await;
    for round in 0..10 {
        let (old, new) = (format!("old-{round}"), format!("new-{round}"));
        put(&server, &Account { password: old.clone(), ..account("reporting") }).await;
        login(&server, "reporting", &old).await.expect("the account is there");
        put(&server, &Account { password: new.clone(), ..account("reporting") }).await;
        login(&server, "reporting", &new).await.expect("the new password is in force");
        assert_refused(login(&server, "reporting", &old).await, 401, 193);
        server.remove_account("reporting").await.expect("the account is removed");
        assert_refused(login(&server, "reporting", &new).await, 401, 192);
    }
}

#[tokio::test]
async fn changes_of_several_accounts_at_once_do_not_disturb_each_other() {
    let server = start().await;
    let change = async |name: &str| {
        put(&server, &account(name)).await;
        login(&server, name, PASSWORD).await.expect("the account is there");
        server.remove_account(name).await.expect("the account is removed");
        assert_refused(login(&server, name, PASSWORD).await, 401, 192);
        put(&server, &account(name)).await;
    };
    tokio::join!(change("one"), change("two"), change("three"), change("four"));
    for name in ["one", "two", "three", "four"] {
        login(&server, name, PASSWORD).await.expect("the account is there");
    }
}

#[tokio::test]
async fn removing_an_account_twice_is_no_error() {
    let server = start().await;
    put(&server, &account("reporting")).await;
    server.remove_account("reporting").await.expect("the account is removed");
    server.remove_account("reporting").await.expect("the account is gone already");
}

#[tokio::test]
async fn read_only_accounts_cannot_write_and_only_one_kind_changes_settings() {
    let server = start().await;
    administer(&server, "CREATE TABLE default.numbers (number UInt8) ENGINE = Memory").await;
    let write = "INSERT INTO default.numbers VALUES (1)";
    let set = "SELECT value FROM system.settings WHERE name = 'max_threads' SETTINGS max_threads = 3";

    for (name, read_only) in [("all", ReadOnly::No), ("reads", ReadOnly::Reads), ("sets", ReadOnly::ReadsAndSettings)] {
        put(&server, &Account { read_only, ..account(name) }).await;
        server.query(name, PASSWORD, "SELECT count() FROM default.numbers").await.expect("everybody reads");
    }
    server.query("all", PASSWORD, write).await.expect("it may write");
    assert_eq!(server.query("all", PASSWORD, set).await.expect("it may change settings"), "3\n");
    assert_refused(server.query("reads", PASSWORD, write).await, 500, 164);
    assert_refused(server.query("reads", PASSWORD, set).await, 500, 164);
    assert_refused(server.query("sets", PASSWORD, write).await, 500, 164);
    assert_eq!(server.query("sets", PASSWORD, set).await.expect("it may change settings"), "3\n");
}

#[tokio::test]
async fn an_account_sees_its_databases_only() {
    let server = start().await;
    for database in ["mine", "others"] {
        administer(&server, &format!("CREATE DATABASE {database}")).await;
        administer(&server, &format!("CREATE TABLE {database}.numbers (number UInt8) ENGINE = Memory")).await;
    }
    put(&server, &Account { databases: vec!["mine".to_owned()], ..account("reporting") }).await;
    login(&server, "reporting", PASSWORD).await.expect("a login needs no database");
    let count = async |database: &str| {
        server.query("reporting", PASSWORD, &format!("SELECT count() FROM {database}.numbers")).await
    };
    assert_eq!(count("mine").await.expect("its database"), "0\n");
    assert_refused(count("others").await, 500, 291);
}

#[tokio::test]
async fn an_account_logs_in_from_its_networks_only() {
    let server = start().await;
    for (networks, lets_loopback_in) in [
        (vec!["127.0.0.1"], true),
        (vec!["127.0.0.0/8"], true),
        (vec!["127.0.0.1/32"], true),
        (vec!["0.0.0.0/0"], true),
        (vec!["::/0"], true),
        (vec!["10.0.0.0/8", "127.0.0.0/8"], true),
        (vec!["10.1.2.3"], false),
        (vec!["10.0.0.0/8"], false),
        (vec!["10.1.2.3/32"], false),
        (vec!["192.168.1.0/24"], false),
        (vec!["128.0.0.0/1"], false),
        (vec!["2001:db8::/32"], false),
        (vec!["::1"], false),
        (vec![], false),
    ] {
        let networks: Vec<String> = networks.into_iter().map(ToOwned::to_owned).collect();
        put(&server, &Account { networks: networks.clone(), ..account("reporting") }).await;
        match login(&server, "reporting", PASSWORD).await {
            Ok(_) => assert!(lets_loopback_in, "{networks:?} lets loopback in"),
            Err(error) => {
                assert!(!lets_loopback_in, "{networks:?} does not let loopback in: {error}");
                assert_eq!(error.code, Some(195), "{error}");
            }
        }
    }
}

#[tokio::test]
async fn odd_but_legal_names_work_and_others_are_refused() {
    let server = start().await;
    for name in ["_", "Mixed_Case-1", "x0"] {
        put(&server, &account(name)).await;
        login(&server, name, PASSWORD).await.expect("the account is there");
    }
    for name in ["../escape", "1st", "a<b"] {
        let error = server.put_account(&account(name)).await.expect_err("no name of an XML element");
        assert!(matches!(error, Error::Invalid(Invalid::Name(_))), "{error}");
    }
    let (administrator, _) = server.administrator();
    let error = server.remove_account(administrator).await.expect_err("the harness needs its account");
    assert!(matches!(error, Error::Invalid(Invalid::Reserved(_))), "{error}");
}

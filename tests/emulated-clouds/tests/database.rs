//! What reaches the database behind the clouds.
#![expect(clippy::unwrap_used, reason = "in tests a panic is the report")]

mod support;

use std::sync::{Arc, Mutex};

use clickhouse::Server;
use emulated_clouds::{Database, DatabaseAccount, EmulatedClouds, NewAccountRights, Options, Switches};
use futures::future::{BoxFuture, FutureExt};
use reqwest::Method;
use serde_json::json;
use support::*;

/// Writes down what it is asked for; refuses when told to.
#[derive(Default)]
struct Notes {
    lines: Mutex<Vec<String>>,
    broken: Mutex<bool>,
}

impl Notes {
    fn note(&self, line: String) -> BoxFuture<'_, Result<(), String>> {
        let broken = *self.broken.lock().unwrap();
        if !broken {
            self.lines.lock().unwrap().push(line);
        }
        async move { if broken { Err("broken".to_owned()) } else { Ok(()) } }.boxed()
    }
}

impl Database for Notes {
    fn put(&self, account: DatabaseAccount) -> BoxFuture<'_, Result<(), String>> {
        let DatabaseAccount { name, password, networks, databases, read_only } = account;
        self.note(format!("put {name} {password} {networks:?} {databases:?} {read_only}"))
    }

    fn remove<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<(), String>> {
        self.note(format!("remove {name}"))
    }
}

async fn clouds_with(notes: &Arc<Notes>) -> EmulatedClouds {
    clouds(Options { database: Some(notes.clone()), ..Options::default() }).await
}

#[tokio::test]
async fn every_change_reaches_the_database_as_the_whole_account() {
    let notes = Arc::new(Notes::default());
    let clouds = clouds_with(&notes).await;
    let hosts = json!({ "user": "test", "passwd": PASSWORD, "host": "10.0.0.0/8;::1" });
    qingcloud(&clouds, &service(&clouds, "add_ck_user", &hosts)).await;
    jobs_ended(&clouds, 1).await;
    qingcloud(&clouds, &remove(&clouds, "test")).await;
    jobs_ended(&clouds, 2).await;
    clouds.set_switches(Switches { qingcloud_new_account_rights: NewAccountRights::ReadWrite, ..Switches::default() });
    qingcloud(&clouds, &add(&clouds, "test")).await;
    jobs_ended(&clouds, 3).await;
    create(&clouds, "test_1").await;
    let change = json!({ "user_name": "test_1", "databases": ["db1"], "dml": 2 });
    HuaweiRequest::users(&clouds, Method::PUT, "/permission").body(change).answer(&clouds).await;
    let change = json!({ "user_name": "test_1", "password": "Clickhouse_1234" });
    HuaweiRequest::users(&clouds, Method::PUT, "/password").body(change).answer(&clouds).await;
    HuaweiRequest::users(&clouds, Method::DELETE, "/test_1").answer(&clouds).await;
    assert_eq!(
        *notes.lines.lock().unwrap(),
        [
            r#"put test Passwd@123 ["10.0.0.0/8", "::1"] ["*"] 1"#,
            "remove test",
            r#"put test Passwd@123 ["::/0"] ["*"] 0"#,
            r#"put test_1 Rds_1234 ["::/0"] ["*"] 1"#,
            r#"put test_1 Rds_1234 ["::/0"] ["db1"] 2"#,
            r#"put test_1 Clickhouse_1234 ["::/0"] ["db1"] 2"#,
            "remove test_1",
        ]
    );
}

#[tokio::test]
async fn what_the_database_refuses_did_not_happen() {
    let notes = Arc::new(Notes::default());
    let clouds = clouds_with(&notes).await;
    *notes.broken.lock().unwrap() = true;
    let id = qingcloud(&clouds, &add(&clouds, "test")).await["job_id"].as_str().unwrap().to_owned();
    jobs_ended(&clouds, 1).await;
    assert_eq!(job_status(&clouds, &id).await, "failed");
    let (status, body) = create(&clouds, "test_1").await;
    assert_eq!((status, &body["error_code"]), (500, &json!("DBS.108000")));
    assert_eq!(clouds.ledger().effects().count(), 0);
    assert!(clouds.accounts(CLUSTER).is_empty() && clouds.accounts(INSTANCE).is_empty());
}

#[tokio::test]
async fn an_account_logs_in_to_a_real_server_with_the_password_in_force() {
    let server = Arc::new(Server::start().await.unwrap());
    let clouds = clouds(Options { database: Some(server.clone()), ..Options::default() }).await;
    let logs_in = async |user: &str, password: &str| server.query(user, password, "SELECT 1").await;
    create(&clouds, "test_1").await;
    assert_eq!(logs_in("test_1", "Rds_1234").await.unwrap().trim(), "1");
    let change = json!({ "user_name": "test_1", "password": "Clickhouse_1234" });
    HuaweiRequest::users(&clouds, Method::PUT, "/password").body(change).answer(&clouds).await;
    assert!(logs_in("test_1", "Rds_1234").await.is_err());
    logs_in("test_1", "Clickhouse_1234").await.unwrap();
    HuaweiRequest::users(&clouds, Method::DELETE, "/test_1").answer(&clouds).await;
    assert!(logs_in("test_1", "Clickhouse_1234").await.is_err());

    let far = json!({ "user": "far", "passwd": PASSWORD, "host": "10.0.0.0/8" });
    for (number, call) in [add(&clouds, "near"), service(&clouds, "add_ck_user", &far)].iter().enumerate() {
        assert_eq!(qingcloud(&clouds, call).await["ret_code"], 0);
        jobs_ended(&clouds, number + 1).await;
    }
    logs_in("near", PASSWORD).await.unwrap();
    assert!(logs_in("far", PASSWORD).await.is_err(), "its network is elsewhere");
    let write = server.query("near", PASSWORD, "CREATE DATABASE forbidden").await.unwrap_err();
    assert_eq!(write.code, Some(164));
}

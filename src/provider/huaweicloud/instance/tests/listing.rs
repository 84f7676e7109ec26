//! The account list: all pages, never a short list.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use crate::provider::huaweicloud::listing::MAX_PAGES;

fn names(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("user_{number:05}")).collect()
}

/// One page of a list, as the cloud cuts it.
fn cut(names: &[String], received: &Received) -> Reply {
    let number = |name: &str| received.query[name].parse::<usize>().expect("a number");
    let rest = names.get(number("offset")..).unwrap_or_default();
    page(&rest[..rest.len().min(number("limit"))], names.len())
}

async fn read(answer: impl Fn(&Received) -> Reply + Send + Sync + 'static) -> (Result<Vec<String>, CloudError>, Log) {
    let (origin, log) = serve(answer).await;
    let reading = instance(&origin, access_key()).read_instance().await;
    let names = |reading: InstanceReading| {
        reading.accounts.expect("a list").into_iter().map(|account| account.username.to_string()).collect()
    };
    (reading.map(names), log)
}

#[tokio::test]
async fn every_page_is_read() {
    for (count, pages) in [(0, 1), (1, 1), (99, 1), (100, 1), (101, 2), (200, 2), (250, 3)] {
        let (read, log) = read(move |received| cut(&names(count), received)).await;
        assert_eq!(read, Ok(names(count)));
        assert_eq!(log.calls(), pages, "{count} accounts");
    }
}

#[tokio::test]
async fn pages_shorter_than_asked_for_are_followed_by_their_records() {
    let (read, log) = read(|received| {
        let all = names(25);
        let offset: usize = received.query["offset"].parse().expect("a number");
        page(&all[offset..(offset + 10).min(25)], 25)
    })
    .await;
    assert_eq!(read, Ok(names(25)));
    assert_eq!(log.calls(), 3);
}

#[tokio::test]
async fn list_that_ends_early_ends_with_its_empty_page() {
    let (read, log) = read(|received| {
        let Reply(status, headers, body) = cut(&names(150), received);
        Reply(status, headers, body.replace("\"total_count\":150", "\"total_count\":151"))
    })
    .await;
    assert_eq!(read, Ok(names(150)));
    assert_eq!(log.calls(), 3);
}

#[tokio::test]
async fn account_that_slides_onto_a_page_already_read_is_found() {
    let calls = AtomicUsize::new(0);
    let (read, _) = read(move |received| {
        // Between the first page and the second ten of the accounts on the first are removed.
        let gone = if calls.fetch_add(1, Ordering::SeqCst) == 0 { 0 } else { 10 };
        cut(&names(250)[gone..], received)
    })
    .await;
    assert_eq!(read.expect("a list"), names(250), "those removed meanwhile may show, those that stay must");
}

#[tokio::test]
async fn account_that_comes_meanwhile_makes_no_duplicate() {
    let calls = AtomicUsize::new(0);
    let (read, _) = read(move |received| {
        let mut all = names(150);
        if calls.fetch_add(1, Ordering::SeqCst) > 0 {
            all.insert(0, "another".to_owned());
        }
        cut(&all, received)
    })
    .await;
    assert_eq!(read, Ok(names(150)), "the list speaks for the moment its first page was asked for");
}

#[tokio::test]
async fn contradicting_pages_are_an_error_and_no_short_list() {
    let (empty, _) = read(|_| page(&[], 5)).await;
    assert_eq!(empty.expect_err("an empty page that counts five").class, ErrorClass::Unavailable);
    let (same, log) = read(|_| page(&names(100), 150)).await;
    assert_eq!(same.expect_err("the first page again and again").class, ErrorClass::Unavailable);
    assert_eq!(log.calls(), 2);
}

#[tokio::test]
async fn page_that_fails_or_cannot_be_read_is_an_error_and_no_short_list() {
    for (status, body) in [(500, "{}"), (200, "<html>"), (200, "{}"), (204, ""), (403, "{\"error_code\":\"NEW.1\"}")] {
        let (read, _) = read(move |received| match received.query["offset"].as_str() {
            "0" => cut(&names(150), received),
            _ => Reply(status, Vec::new(), body.to_owned()),
        })
        .await;
        read.expect_err(body);
    }
}

#[tokio::test]
async fn list_without_end_is_given_up() {
    let (read, log) = read(|received| {
        let offset: usize = received.query["offset"].parse().expect("a number");
        page(&[format!("user_{offset}")], offset + 2)
    })
    .await;
    assert_eq!(read.expect_err("a list without end").class, ErrorClass::Unavailable);
    assert_eq!(log.calls(), MAX_PAGES);
}

#[tokio::test]
async fn every_page_of_the_databases_is_read_and_one_that_fails_makes_no_short_list() {
    let list = |fails: bool| {
        serve(move |received| {
            let all: Vec<_> = (0..150).map(|number| format!("db_{number:03}")).collect();
            let number = |name: &str| received.query[name].parse::<usize>().expect("a number");
            let rows: Vec<_> = all.iter().skip(number("offset")).take(number("limit")).collect();
            match number("offset") {
                100 if fails => reply(200, &json!({"databases": null, "total_count": 150})),
                _ => reply(200, &json!({"databases": rows, "total_count": all.len()})),
            }
        })
    };
    let (origin, log) = list(false).await;
    let databases = instance(&origin, access_key()).databases().await.expect("a list");
    assert_eq!((databases.len(), databases[149].as_str(), log.calls()), (150, "db_149", 2));
    let (origin, _) = list(true).await;
    let error = instance(&origin, access_key()).databases().await.expect_err("half a list");
    assert_eq!(error.class, ErrorClass::Unavailable);
}

async fn read_with_detail(status: u16, detail: Value) -> Result<InstanceReading, CloudError> {
    let (origin, _) =
        serve(
            move |received| {
                if received.path.ends_with("/users") { page(&names(1), 1) } else { reply(status, &detail) }
            },
        )
        .await;
    let client = client(&origin, access_key());
    Instance::new(client, PROJECT, INSTANCE, Some(TAURUS.to_owned())).read_instance().await
}

#[tokio::test]
async fn address_comes_with_the_list() {
    let detail = json!({"instance": {
        "id": INSTANCE, "status": "normal", "is_frozen": 0, "ssl_option": false,
        "port_info": {"http_port": 8123, "tep_port": 9000},
        "groups": [{"nodes": [{"type": "master", "traffic_ip": "192.168.0.55", "traffic_vip": ""}]}],
    }});
    let reading = read_with_detail(200, detail).await.expect("a reading");
    let address = reading.address.expect("an address");
    assert_eq!((address.host.as_str(), address.port, address.http_port), ("192.168.0.55", Some(9000), Some(8123)));
    assert!(!reading.busy);
}

#[tokio::test]
async fn detail_that_fails_leaves_the_list_without_address() {
    for (status, detail) in [
        (404, json!({"error_code": "APIGW.0101", "error_msg": "no such API"})),
        (403, json!({"error_code": "DBS.200044", "error_msg": "not found or no permission"})),
        (500, json!({})),
        (200, json!({"instance": {"id": "another"}})),
    ] {
        let reading = read_with_detail(status, detail).await.expect("a reading");
        assert_eq!(reading.accounts.map(|accounts| accounts.len()), Some(1));
        assert_eq!(reading.address, None);
    }
}

#[tokio::test]
async fn frozen_instance_is_unavailable_however_it_is_said() {
    for (status, detail) in [
        (200, json!({"instance": {"id": INSTANCE, "is_frozen": 1}})),
        (400, json!({"error_code": "DBS.280449", "error_msg": "frozen"})),
    ] {
        let error = read_with_detail(status, detail).await.expect_err("a frozen instance");
        assert_eq!(error.class, ErrorClass::InstanceUnavailable);
    }
}

#[tokio::test]
async fn instance_in_creation_is_busy() {
    let reading = read_with_detail(200, json!({"instance": {"id": INSTANCE, "status": "creating"}})).await;
    assert!(reading.expect("a reading").busy);
}

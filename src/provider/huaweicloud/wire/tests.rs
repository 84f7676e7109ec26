//! What is read of the cloud's answers, and what is not.

use proptest::prelude::*;
use serde_json::json;

use super::*;

fn page_of(value: &Value) -> Option<Page<Account>> {
    accounts(value.to_string().as_bytes())
}

#[test]
fn page_of_the_vendor_page_is_read_with_root_as_built_in() {
    let page = page_of(&json!({
        "user_details": [
            {"user_name": "root", "databases": ["*"], "dml": 2, "ddl": 0},
            {"user_name": "user_test1", "databases": ["db2", "db1"], "dml": 1, "ddl": 1},
        ],
        "total_count": 2,
    }))
    .expect("a page");
    assert_eq!(page.total, 2);
    assert!(page.rows[0].built_in && !page.rows[1].built_in);
    assert_eq!(page.rows[1].username.as_str(), "user_test1");
    assert_eq!(page.rows[1].access.databases, Some(BTreeSet::from(["db1".to_owned(), "db2".to_owned()])));
    assert_eq!(page.rows[1].access.permission, Some(Permission::ReadOnly));
    assert_eq!(page.rows[1].access.allowed_hosts, None);
}

#[test]
fn listed_access_equals_the_access_asked_for() {
    use crate::provider::contract::{AccountRules as _, WantedAccess};
    let databases = Some(vec!["b".to_owned(), "a".to_owned()]);
    for permission in [Permission::ReadOnly, Permission::ReadAndConfigure] {
        let wanted = WantedAccess { databases: databases.clone(), permission: Some(permission), allowed_hosts: None };
        let wanted = rules::Rules.access(&wanted).expect("legal access");
        let listed = page_of(&json!({
            "user_details": [{"user_name": "ab", "databases": ["a", "b"], "dml": dml(permission)}],
            "total_count": 1,
        }));
        assert_eq!(listed.expect("a page").rows[0].access, wanted.into());
    }
}

#[test]
fn account_without_databases_or_with_unknown_dml_is_read_as_that() {
    for dml in [json!(0), json!(3), json!(-1), json!("1"), Value::Null] {
        let page =
            page_of(&json!({"user_details": [{"user_name": "ab", "databases": null, "dml": dml}], "total_count": 1}));
        let access = page.expect("a page").rows.remove(0).access;
        assert_eq!((&access.databases, access.permission), (&Some(BTreeSet::new()), None), "{dml}");
    }
}

#[test]
fn page_that_lacks_anything_is_no_page() {
    for value in [
        json!({}),
        json!({"user_details": []}),
        json!({"total_count": 0}),
        json!({"user_details": null, "total_count": 0}),
        json!({"user_details": [{"databases": ["*"], "dml": 1}], "total_count": 1}),
        json!({"user_details": [{"user_name": "ab", "databases": "*", "dml": 1}], "total_count": 1}),
        json!({"user_details": [], "total_count": -1}),
        json!({"error_code": "DBS.280001", "error_msg": "x"}),
        json!([]),
    ] {
        assert!(page_of(&value).is_none(), "{value}");
    }
}

#[test]
fn page_of_databases_that_lacks_anything_is_no_page() {
    let rows = |value: Value| databases(value.to_string().as_bytes()).map(|page| (page.rows, page.total));
    assert_eq!(rows(json!({"databases": ["db1"], "total_count": 1})), Some((vec!["db1".to_owned()], 1)));
    for value in [
        json!({"databases": ["db1"]}),
        json!({"total_count": 1}),
        json!({"databases": null, "total_count": 0}),
        json!({"databases": [{"name": "db1"}], "total_count": 1}),
        json!({"databases": [7], "total_count": 1}),
    ] {
        assert_eq!(rows(value.clone()), None, "{value}");
    }
}

fn instance(with: &Value) -> Option<Detail> {
    let mut instance = json!({
        "id": "in16", "status": "normal", "is_frozen": 0, "db_port": "3306", "ssl_option": true,
        "port_info": {"http_port": 8123, "https_port": 8443, "tep_port": 9000, "tep_secure_port": 9440},
        "groups": [{"nodes": [
            {"type": "slave", "traffic_ip": "192.168.0.66", "traffic_vip": "192.168.0.9"},
            {"type": "master", "traffic_ip": "192.168.0.55", "traffic_vip": ""},
        ]}],
    });
    for (name, value) in with.as_object().expect("fields") {
        instance[name] = value.clone();
    }
    detail(json!({"instance": instance}).to_string().as_bytes(), "in16")
}

#[test]
fn address_is_the_master_with_tls_ports_where_tls_is_on() {
    let detail = instance(&json!({})).expect("a detail");
    assert_eq!(detail.condition, Condition::Usable);
    let address = Address { host: "192.168.0.55".into(), port: Some(9440), http_port: Some(8443), tls: true };
    assert_eq!(detail.address, Some(address));
}

#[test]
fn address_without_tls_has_plain_ports_and_the_virtual_address_comes_first() {
    let nodes = json!([{"nodes": [{"type": "master", "traffic_ip": "192.168.0.55", "traffic_vip": "192.168.0.1"}]}]);
    let detail = instance(&json!({"ssl_option": false, "groups": nodes})).expect("a detail");
    let address = Address { host: "192.168.0.1".into(), port: Some(9000), http_port: Some(8123), tls: false };
    assert_eq!(detail.address, Some(address));
}

#[test]
fn detail_full_of_nulls_is_a_usable_instance_without_address() {
    let detail = instance(&json!({"groups": null, "port_info": null, "status": null, "is_frozen": null}));
    let detail = detail.expect("a detail");
    assert_eq!((detail.condition, detail.address), (Condition::Usable, None));
}

#[test]
fn ports_that_are_no_ports_are_left_out() {
    let ports = json!({"https_port": "8443", "tep_secure_port": 70_000});
    let address = instance(&json!({"port_info": ports})).and_then(|detail| detail.address).expect("an address");
    assert_eq!((address.port, address.http_port), (None, Some(8443)));
}

#[test]
fn frozen_failed_and_deleted_instances_are_unusable_and_one_in_creation_is_busy() {
    for with in [
        json!({"is_frozen": 1}),
        json!({"is_frozen": true}),
        json!({"status": "createfailed"}),
        json!({"status": "deleted"}),
    ] {
        assert!(matches!(instance(&with).expect("a detail").condition, Condition::Unusable(_)), "{with}");
    }
    assert_eq!(instance(&json!({"status": "creating"})).expect("a detail").condition, Condition::Busy);
    assert_eq!(instance(&json!({"status": "abnormal"})).expect("a detail").condition, Condition::Usable);
}

#[test]
fn detail_of_another_instance_is_none() {
    assert!(instance(&json!({"id": "another"})).is_none());
    assert!(detail(b"{}", "in16").is_none());
}

proptest! {
    #[test]
    fn readers_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = (succeeded(&bytes), accounts(&bytes).is_some(), databases(&bytes).is_some(), detail(&bytes, "in16").is_some());
    }

    #[test]
    fn nothing_but_the_word_success_is_success(result in ".{0,12}", key in "result|Result|status|RESULT") {
        let body = json!({ &key: &result }).to_string();
        prop_assert_eq!(succeeded(body.as_bytes()).is_some(), key == "result" && result == "SUCCESS");
    }
}

#[test]
fn success_is_said_in_one_way_only() {
    assert!(succeeded(br#"{"result":"SUCCESS"}"#).is_some());
    for body in [
        "",
        "{}",
        "null",
        "\"SUCCESS\"",
        r#"{"result":"success"}"#,
        r#"{"result":"FAILED"}"#,
        r#"{"result":["SUCCESS"]}"#,
    ] {
        assert!(succeeded(body.as_bytes()).is_none(), "{body}");
    }
}

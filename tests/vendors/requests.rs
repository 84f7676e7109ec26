//! What the operator sends is what the vendor's SDK sends for the same purpose.
//!
//! Both go through a [`Tap`] to an emulated cloud, which checks their signatures. Every part of their requests is
//! compared; the differences have to be exactly those of a table, each with the reason why it may be.

use std::collections::{BTreeMap, BTreeSet};

use clickhouse_user_operator::{
    domain::secret::SecretText,
    provider::{
        contract::{Accepted, Access, CallKind, JobSeen, JobState, LostCall, NewAccount, Permission},
        fleet::{Reached, Target},
        qingcloud,
    },
};
use jiff::Timestamp;
use serde_json::Value;

use crate::{
    clouds::{CLUSTER, INSTANCE, PROJECT, TAURUS, clouds},
    operator::{asked, attempt, connect, databases, fleet, reach, username},
    python,
    shape::{Shape, shape},
    tap::{Exchange, Tap},
};

/// Who sends a part that the other does not send alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Differs {
    /// Both, with other values.
    Value,
    /// The SDK alone.
    OnlySdk,
    /// The operator alone.
    OnlyOurs,
}

/// A difference that may be: in which requests (a piece of their names), of which part (its name or a word of it), how,
/// and why.
type Allowed = (&'static str, &'static str, Differs, &'static str);

use Differs::{OnlyOurs, OnlySdk, Value as Other};

const QINGCLOUD: &[Allowed] = &[
    ("", "signature", Other, "covers the rest, which differs"),
    ("_ck_user", "req_id", Other, "ours is the attempt that the journal names, the SDK's is random"),
    ("Describe", "req_id", OnlySdk, "not a documented parameter; a read has no attempt"),
    ("DescribeClusters", "query verbose", OnlySdk, "asks for details that the operator does not read"),
    ("DescribeJobs of ids", "query limit", OnlyOurs, "without it 20 rows come, and a batch may be of more jobs"),
    ("DescribeJobs of ids", "query jobs.1", Other, "the cloud gives each job an id of its own"),
    ("", "header user-agent", OnlyOurs, "the SDK does not say who it is"),
    ("", "header accept-encoding", OnlySdk, "says that it takes no compression, as no such header does too"),
    ("GET", "header accept", OnlyOurs, "any type, as no such header does too"),
    ("POST", "header accept", Other, "the SDK asks for text, and is answered JSON"),
    ("POST", "header connection", OnlySdk, "keeping the connection is the rule of HTTP/1.1"),
    ("POST", "header content-length", Other, "the SDK writes its JSON with blanks"),
    ("GET", "header content-length", OnlySdk, "says that there is no body, as no such header does too"),
];

const HUAWEI_CLOUD: &[Allowed] = &[
    ("", "authorization Signature", Other, "covers the rest, which differs"),
    ("", "authorization SignedHeaders", Other, "the SDK signs its user agent too, which a proxy may rewrite"),
    ("", "header user-agent", Other, "each says who it is"),
    ("", "header accept-encoding", OnlySdk, "the operator reads answers as they are, within its limit of bytes"),
    ("", "header connection", OnlySdk, "keeping the connection is the rule of HTTP/1.1"),
    ("POST", "header content-type", Other, "JSON is UTF-8, whether it is said or not"),
    ("POST", "header content-length", Other, "the SDK writes its JSON with blanks"),
    ("PUT", "header content-type", Other, "JSON is UTF-8, whether it is said or not"),
    ("PUT", "header content-length", Other, "the SDK writes its JSON with blanks"),
    ("DELETE", "header content-length", OnlySdk, "says that there is no body, as no such header does too"),
];

const LOGIN: &[Allowed] = &[
    ("", "header user-agent", Other, "each says who it is"),
    ("", "header accept-encoding", OnlySdk, "the operator reads answers as they are, within its limit of bytes"),
    ("", "header connection", OnlySdk, "keeping the connection is the rule of HTTP/1.1"),
    ("", "header content-type", Other, "JSON is UTF-8, whether it is said or not"),
    ("", "header content-length", Other, "the SDK writes its JSON with blanks"),
    ("", "header x-sdk-date", OnlySdk, "a login is not signed (vendor's page of the call)"),
    ("", "header x-domain-id", OnlySdk, "a login is not signed (vendor's page of the call)"),
    ("", "authorization", OnlySdk, "a login is not signed (vendor's page of the call)"),
];

/// The first request of each name. Every one of them was taken by the cloud, signature included.
fn named(exchanges: &[Exchange], name: fn(&Shape) -> String) -> BTreeMap<String, Shape> {
    let mut named = BTreeMap::new();
    for exchange in exchanges {
        let shape = shape(exchange);
        let name = name(&shape);
        let answer: Value = serde_json::from_slice(&exchange.answer).unwrap();
        let taken = exchange.status < 300 && answer.get("ret_code").is_none_or(|code| *code == 0);
        assert!(taken, "{name}: {} {answer}", exchange.status);
        named.entry(name).or_insert(shape);
    }
    named
}

/// Demands that both send the same requests, and that their differences are those of the table, no more and no less.
fn compare(sdk: &BTreeMap<String, Shape>, ours: &BTreeMap<String, Shape>, allowed: &[Allowed]) {
    assert_eq!(sdk.keys().collect::<Vec<_>>(), ours.keys().collect::<Vec<_>>(), "the kinds of requests");
    let mut unused: BTreeSet<usize> = (0..allowed.len()).collect();
    let mut unexpected = Vec::new();
    for (name, sdk) in sdk {
        let ours = &ours[name];
        for part in sdk.keys().chain(ours.keys()).collect::<BTreeSet<_>>() {
            let differs = match (sdk.get(part), ours.get(part)) {
                (Some(sdk), Some(ours)) if sdk == ours => continue,
                (Some(_), Some(_)) => Differs::Value,
                (Some(_), None) => OnlySdk,
                _ => OnlyOurs,
            };
            let row = allowed.iter().position(|(request, allowed, how, _)| {
                let same_part = part == allowed || part.split(' ').any(|word| word == *allowed);
                name.contains(request) && same_part && *how == differs
            });
            match row {
                Some(row) => _ = unused.remove(&row),
                None => unexpected.push((name, part, differs, sdk.get(part), ours.get(part))),
            }
        }
    }
    assert!(unexpected.is_empty(), "differences that no row allows: {unexpected:#?}");
    let unused: Vec<_> = unused.into_iter().map(|row| allowed[row]).collect();
    assert!(unused.is_empty(), "rows that nothing needs: {unused:#?}");
}

/// `POST add_ck_user`, `GET DescribeJobs of ids`, …
fn qingcloud_name(shape: &Shape) -> String {
    let parameter = |name: &str| shape.get(&format!("query {name}")).or_else(|| shape.get(&format!("form {name}")));
    let of_ids = if parameter("jobs.1").is_some() { " of ids" } else { "" };
    let word = parameter("service").or_else(|| parameter("action")).unwrap();
    format!("{} {word}{of_ids}", shape["verb"])
}

#[tokio::test]
async fn qingcloud_is_sent_what_its_sdk_sends() {
    let by_sdk = clouds().await;
    let tap = Tap::start(by_sdk.qingcloud_endpoint()).await;
    python::sdk("sdk_qingcloud.py", "plain", &[("QINGCLOUD_ENDPOINT", tap.url("/iaas/").as_str())]).await;
    let sdk = named(&tap.take(), qingcloud_name);

    let by_us = clouds().await;
    let tap = Tap::start(by_us.qingcloud_endpoint()).await;
    let fleet = fleet();
    let (since, user) = (Timestamp::now(), username("compared"));
    let password = SecretText::new("Passw0rd@#$%^&*_+-=");
    let hosts = ["10.0.0.0/8", "::1"].map(str::to_owned);
    let access = Access { allowed_hosts: Some(hosts.into()), ..Access::default() };
    for (number, method) in [(1, qingcloud::Method::Post), (3, qingcloud::Method::Get)] {
        let target = Target::QingCloud {
            endpoint: tap.url("/iaas/"),
            zone: "sh1a".into(),
            cluster_id: CLUSTER.into(),
            role: "analysis".into(),
            method,
        };
        let connection = connect(&fleet, &target, &[("accessKeyID", "KEY"), ("secretAccessKey", "SECRET")]);
        asked(|| connection.reading(since)).await;
        let account = NewAccount { username: &user, password: &password, access: &access };
        let ended = async |accepted| {
            let Accepted::Job(id) = accepted else { panic!("QingCloud answers with a job") };
            loop {
                let JobSeen::Found(job) = asked(|| connection.job(&id)).await else { continue };
                match job.state {
                    JobState::Running => {}
                    state => return assert_eq!(state, JobState::Succeeded),
                }
            }
        };
        ended(connection.create(&attempt(number), account).await.unwrap()).await;
        ended(connection.delete(&attempt(number + 1), &user, true).await.unwrap()).await;
        let lost = LostCall { attempt: attempt(number), kind: CallKind::Create, username: user.clone(), since };
        assert!(matches!(asked(|| connection.find_job(&lost)).await, JobSeen::Found(_)));
    }
    let ours = named(&tap.take(), qingcloud_name);

    compare(&sdk, &ours, QINGCLOUD);
}

/// `POST users`, `PUT users/password`, …, and whether a security token is there.
fn huawei_name(shape: &Shape) -> String {
    let place = shape["path"].rsplit("clickhouse/").next().unwrap();
    let with = if shape.contains_key("header x-security-token") { " with temporary keys" } else { "" };
    format!("{} {place}{with}", shape["verb"])
}

fn login_name(shape: &Shape) -> String {
    format!("{} {}", shape["verb"], shape["path"])
}

#[tokio::test]
async fn huawei_cloud_is_sent_what_its_sdk_sends() {
    let by_sdk = clouds().await;
    let (database, iam) = (Tap::start(by_sdk.huawei_endpoint()).await, Tap::start(by_sdk.iam_endpoint()).await);
    let (database_url, iam_url) = (database.url("/"), iam.url("/"));
    let endpoints = [("HUAWEI_ENDPOINT", database_url.as_str()), ("IAM_ENDPOINT", iam_url.as_str())];
    python::sdk("sdk_huawei.py", "plain", &endpoints).await;
    let (sdk, sdk_login) = (named(&database.take(), huawei_name), named(&iam.take(), login_name));

    let by_us = clouds().await;
    let (database, iam) = (Tap::start(by_us.huawei_endpoint()).await, Tap::start(by_us.iam_endpoint()).await);
    let target = Target::HuaweiCloud {
        endpoint: database.url("/"),
        iam_endpoint: iam.url("/"),
        region: "cn-north-4".into(),
        project_id: PROJECT.into(),
        instance_id: INSTANCE.into(),
        taurus_instance_id: Some(TAURUS.into()),
    };
    let fleet = fleet();
    let keys = [("accessKeyID", "AK"), ("secretAccessKey", "SK")];
    let temporary =
        [("accessKeyID", "TEMPORARYAK"), ("secretAccessKey", "TEMPORARYSK"), ("securityToken", "TEMPORARYTOKEN")];
    for secret in [&keys[..], &temporary] {
        let connection = connect(&fleet, &target, secret);
        asked(|| connection.reading(Timestamp::now())).await;
        let Reached::HuaweiCloud(instance) = reach(&fleet, &target, secret) else { panic!("another cloud") };
        instance.databases().await.unwrap();
        let (user, password) = (username("compared"), SecretText::new("Passw0rd~!@#%^*-_=+?"));
        let access = databases(&["db1", "db2"], Permission::ReadOnly);
        let account = NewAccount { username: &user, password: &password, access: &access };
        connection.create(&attempt(1), account).await.unwrap();
        connection.set_password(&attempt(2), &user, &SecretText::new("Rds_1234")).await.unwrap();
        let access = databases(&["db1", "db2"], Permission::ReadAndConfigure);
        connection.set_access(&attempt(3), &user, &access).await.unwrap();
        connection.delete(&attempt(4), &user, true).await.unwrap();
    }
    let ours = named(&database.take(), huawei_name);
    assert_eq!(iam.count(), 0, "keys need no login");
    let login = [("domainName", "IAMDomain"), ("userName", "IAMUser"), ("password", "IAMPassword")];
    let connection = connect(&fleet, &target, &login);
    asked(|| connection.reading(Timestamp::now())).await;
    let our_login = named(&iam.take(), login_name);

    compare(&sdk, &ours, HUAWEI_CLOUD);
    compare(&sdk_login, &our_login, LOGIN);
}

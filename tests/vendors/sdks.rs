//! The vendors' own SDKs take the emulated clouds for theirs: they sign, send and read as they do with the real ones,
//! and report what the scripts expect.

use std::time::Duration;

use emulated_clouds::{EffectKind, EmulatedClouds, Envelope, Limits, Operation, Service, Switches};

use crate::{
    clouds::{CLUSTER, INSTANCE, clouds},
    python,
};

const HOURS: Duration = Duration::from_secs(2 * 3600);

async fn qingcloud(clouds: &EmulatedClouds, scenario: &str) {
    let endpoint = clouds.qingcloud_endpoint();
    let checks = python::sdk("sdk_qingcloud.py", scenario, &[("QINGCLOUD_ENDPOINT", endpoint.as_str())]).await;
    assert!(checks > 0);
}

async fn huawei(clouds: &EmulatedClouds, scenario: &str) {
    let (database, iam) = (clouds.huawei_endpoint(), clouds.iam_endpoint());
    let endpoints = [("HUAWEI_ENDPOINT", database.as_str()), ("IAM_ENDPOINT", iam.as_str())];
    let checks = python::sdk("sdk_huawei.py", scenario, &endpoints).await;
    assert!(checks > 0);
}

/// What became of an account, from the clouds' own records.
fn story(clouds: &EmulatedClouds, account: &str) -> Vec<EffectKind> {
    clouds.effects_of(account).iter().map(|effect| effect.kind).collect()
}

/// Whether somebody asked for each of these operations.
fn all_asked(clouds: &EmulatedClouds, service: Service, operations: &[Operation]) {
    for operation in operations {
        let ledger = clouds.ledger();
        let asked = ledger.requests().any(|(_, it)| it.service == service && it.operation == *operation);
        assert!(asked, "{operation:?}");
    }
}

#[tokio::test]
async fn qingclouds_sdk_uses_every_emulated_action_by_get_and_by_post() {
    let clouds = clouds().await;
    qingcloud(&clouds, "everything").await;
    for account in ["sdk_get", "sdk_post"] {
        assert_eq!(story(&clouds, account), [EffectKind::Created, EffectKind::Deleted]);
        let created = &clouds.effects_of(account)[0];
        assert_eq!(created.instance, CLUSTER);
        assert_eq!(created.password_digest, Some(clouds.password_digest("Passw0rd@#$%^&*_+-=")));
        let hosts = created.access.as_ref().unwrap().hosts.as_ref().unwrap();
        assert_eq!(*hosts, ["10.0.0.0/8", "::1"]);
    }
    assert_eq!(clouds.ledger().effects().count(), 4, "what is refused changes nothing");
    let actions = [
        Operation::AddCkUser,
        Operation::DelCkUser,
        Operation::DescribeJobs,
        Operation::DescribeClusters,
        Operation::DescribeClusterNodes,
    ];
    all_asked(&clouds, Service::QingCloud, &actions);
}

#[tokio::test]
async fn qingclouds_sdk_is_refused_for_its_clock() {
    let clouds = clouds().await;
    clouds.advance_clock(HOURS);
    qingcloud(&clouds, "clock").await;
    assert_eq!((clouds.requests(Operation::AddCkUser), clouds.ledger().effects().count()), (2, 0));
}

#[tokio::test]
async fn huawei_clouds_sdk_uses_every_emulated_operation_with_each_kind_of_credential() {
    let clouds = clouds().await;
    huawei(&clouds, "everything").await;
    for account in ["by_keys", "by_temporary_keys"] {
        let all = [EffectKind::Created, EffectKind::PasswordSet, EffectKind::AccessSet, EffectKind::Deleted];
        assert_eq!(story(&clouds, account), all);
        let effects = clouds.effects_of(account);
        assert_eq!(effects[0].instance, INSTANCE);
        assert_eq!(effects[0].password_digest, Some(clouds.password_digest("Passw0rd~!@#%^*-_=+?")));
        assert_eq!(effects[1].password_digest, Some(clouds.password_digest("Rds_1234")));
        let access = effects[2].access.as_ref().unwrap();
        assert_eq!((access.databases.as_ref().unwrap().len(), access.dml), (2, Some(2)));
    }
    assert_eq!(clouds.ledger().effects().count(), 10, "what is refused changes nothing");
    let database = [
        Operation::CreateUser,
        Operation::ListUsers,
        Operation::DeleteUser,
        Operation::SetPassword,
        Operation::SetPermission,
        Operation::ListDatabases,
        Operation::ShowInstance,
        Operation::ListHtap,
        Operation::ShowJob,
    ];
    all_asked(&clouds, Service::Huawei, &database);
    all_asked(&clouds, Service::Iam, &[Operation::CreateToken, Operation::ShowToken, Operation::ListProjects]);
}

#[tokio::test]
async fn huawei_clouds_sdk_is_refused_for_its_clock() {
    let clouds = clouds().await;
    clouds.advance_clock(HOURS);
    huawei(&clouds, "clock").await;
    assert_eq!((clouds.requests(Operation::CreateUser), clouds.ledger().effects().count()), (2, 0));
}

#[tokio::test]
async fn huawei_clouds_sdk_locks_its_key_with_five_wrong_signatures() {
    let clouds = clouds().await;
    huawei(&clouds, "lock").await;
    assert_eq!(clouds.requests(Operation::ListUsers), 6);
}

#[tokio::test]
async fn sdks_are_told_of_too_many_calls() {
    let clouds = clouds().await;
    clouds.set_limits(Limits { qingcloud_calls_per_hour: 1, huawei_calls_per_minute: Some(1) });
    qingcloud(&clouds, "quota").await;
    huawei(&clouds, "throttled").await;
    let ledger = clouds.ledger();
    let codes = |operation| ledger.answers(operation).map(|answer| answer.code.as_deref()).collect::<Vec<_>>();
    assert_eq!(codes(Operation::DescribeClusters), [Some("0"), Some("2500")]);
    assert_eq!(codes(Operation::ListUsers)[1..], [Some("APIGW.0308")]);
}

#[tokio::test]
async fn huawei_clouds_sdk_finds_the_code_in_each_envelope_it_knows() {
    // The SDK reports the status where it finds no code, which is so in the one envelope it does not know.
    for (envelope, code) in [
        (Envelope::ErrorCode, "DBS.200828"),
        (Envelope::CamelCase, "DBS.200828"),
        (Envelope::ErrCode, "409"),
        (Envelope::CodeMessage, "DBS.200828"),
        (Envelope::Nested, "DBS.200828"),
    ] {
        let clouds = clouds().await;
        clouds.set_switches(Switches { huawei_envelope: envelope, ..Switches::default() });
        let (database, iam) = (clouds.huawei_endpoint(), clouds.iam_endpoint());
        let environment =
            [("HUAWEI_ENDPOINT", database.as_str()), ("IAM_ENDPOINT", iam.as_str()), ("EXPECTED_CODE", code)];
        assert!(python::sdk("sdk_huawei.py", "envelope", &environment).await > 0);
    }
}

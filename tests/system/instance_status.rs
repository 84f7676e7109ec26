//! What an instance object says of its cloud instance.

use clickhouse_user_operator::{
    api::{ClickHouseInstance, conditions},
    provider::contract::ProviderKind,
};
use emulated_clouds::{Fault, FaultAnswer, Moment, Target, Which};

use crate::{
    manifests::{self, CLUSTER, Cloud, INSTANCE, PROJECT, ZONE, ready},
    world::{World, on_both_clouds},
};

#[tokio::test]
async fn reachable_instance_says_what_it_is_and_which_credential_read_it() {
    on_both_clouds(async |cloud| {
        let mut world = World::of(cloud).start().await;
        world.ready_user("reporting").await;
        let first = world.kubernetes.instance_shows("warehouse", "Reachable").await;
        // The count of users lags by half a minute, but a new process writes it at once.
        world.restart_operator();
        let counted = |it: &ClickHouseInstance| it.status.as_ref().is_some_and(|status| status.users == Some(1));
        let instance = world.kubernetes.instance_until("warehouse", "its user", counted).await;
        let status = instance.status.expect("a status");
        assert_eq!(status.observed_generation, instance.metadata.generation);
        assert!(status.conditions.iter().all(|it| it.observed_generation == instance.metadata.generation));
        let (kind, key) = match cloud {
            Cloud::QingCloud => (ProviderKind::QingCloud, format!("qingcloud/{ZONE}/{CLUSTER}")),
            Cloud::HuaweiCloud => (ProviderKind::HuaweiCloud, format!("huaweicloud/cn-north-4/{PROJECT}/{INSTANCE}")),
        };
        assert_eq!(status.provider, Some(kind));
        assert_eq!(status.instance_key.as_ref().map(ToString::to_string), Some(key));
        let origin = manifests::endpoint(cloud, &world.clouds).origin().ascii_serialization();
        assert!(status.endpoint.as_ref().is_some_and(|it| it.starts_with(&origin)), "{:?}", status.endpoint);
        let credential = status.credential.expect("a credential has read it");
        assert!(!credential.digest.is_empty() && !credential.key_id.as_str().is_empty());
        // Another reading by the same credential is no news.
        assert_eq!(Some(credential), first.status.expect("a status").credential);
        world.finish().await;
    })
    .await;
}

#[tokio::test]
async fn each_trouble_of_an_instance_has_its_reason_and_settled_users_do_not_flip() {
    on_both_clouds(async |cloud| {
        let world = World::of(cloud).flag("--drift-interval", "1s").start().await;
        world.ready_user("reporting").await;
        let troubles: &[_] = match cloud {
            Cloud::QingCloud => &[
                (200, "2500", "QuotaExceeded, too many calls", "Throttled", "Reconciling"),
                (200, "5300", "ServerUpdating, come back", "ProviderUnavailable", "Reconciling"),
                (200, "1200", "AuthFailure, signature not matched", "AccessDenied", "Stalled"),
                (200, "2400", "InsufficientBalance, charge please", "InstanceUnavailable", "Stalled"),
            ],
            Cloud::HuaweiCloud => &[
                (429, "APIGW.0308", "The throttling threshold has been reached.", "Throttled", "Reconciling"),
                (500, "DBS.108000", "Internal error.", "ProviderUnavailable", "Reconciling"),
                (403, "DBS.200044", "Not found or no permission.", "AccessDenied", "Stalled"),
            ],
        };
        let settled = world.kubernetes.users().get("reporting").await.expect("the user");
        assert_eq!(ready(&settled).0, "AccountReady");
        for &(status, code, message, reason, companion) in troubles {
            world.clouds.inject(Fault {
                target: Target::Operation(cloud.read()),
                which: Which::All,
                moment: Moment::BeforeEffect,
                answer: FaultAnswer::Refusal(status, code.to_owned(), message.to_owned()),
            });
            let instance = world.kubernetes.instance_shows("warehouse", reason).await;
            let conditions = instance.status.expect("a status").conditions;
            let expected = if companion == "Stalled" { "False" } else { "Unknown" };
            let shown: Vec<_> = conditions.iter().map(|it| (it.type_.as_str(), it.status.as_str())).collect();
            assert_eq!(shown, [(conditions::READY, expected), (companion, "True")], "{code}");
            world.clouds.clear_faults();
        }
        world.kubernetes.instance_shows("warehouse", "Reachable").await;
        let user = world.kubernetes.users().get("reporting").await.expect("the user");
        assert_eq!(user.metadata.resource_version, settled.metadata.resource_version, "its status was written");
        world.finish().await;
    })
    .await;
}

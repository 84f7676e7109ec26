//! What cannot be done is refused by name, before anything reaches the cloud, and goes on at once when it is mended.

use clickhouse_user_operator::{
    api::{conditions, user::ClickHouseUser},
    provider::contract::ProviderKind,
};

use crate::{
    kubernetes::stalled_or_reconciling,
    manifests::{BAD_PASSWORD, Cloud, PASSWORD, object_name, password, ready, user, user_object},
    world::{World, on_both_clouds},
};

/// A manifest that is refused.
struct Refused {
    /// Name of object and account.
    name: &'static str,
    /// The user.
    manifest: String,
    /// The password in its Secret.
    password: String,
    /// The reason shown.
    reason: &'static str,
    /// What the message names.
    names: &'static str,
}

fn refused(name: &'static str, manifest: String, reason: &'static str, names: &'static str) -> Refused {
    Refused { name, manifest, password: PASSWORD.to_owned(), reason, names }
}

fn cases(cloud: Cloud) -> Vec<Refused> {
    let with = |name, lines: &str| user(cloud, name, lines);
    let shared = |manifest: String| {
        manifest.replace("instanceRef: {name:", "instanceRef: {kind: ClusterClickHouseInstance, name:")
    };
    let mut cases = vec![
        refused(
            "connected",
            with("connected", "connectionSecret: {name: output}"),
            "FieldNotSupported",
            "--connection-secrets",
        ),
        refused("shared", shared(with("shared", "")), "NotAllowed", "--cluster-instances"),
        Refused {
            password: BAD_PASSWORD.to_owned(),
            ..refused("weak", with("weak", ""), "InvalidPassword", "the password")
        },
        Refused {
            password: format!("{PASSWORD}\n"),
            ..refused("echoed", with("echoed", ""), "InvalidPassword", "line break")
        },
    ];
    cases.extend(match cloud {
        Cloud::QingCloud => vec![
            refused("default", with("default", ""), "InvalidSpec", "spec.username"),
            refused("longer_than_it_may_be_there", with("longer_than_it_may_be_there", ""), "InvalidSpec", "2 to 26"),
            refused("open", user_object("open", ""), "InvalidSpec", "spec.allowedHosts"),
            refused("wide", user_object("wide", "allowedHosts: ['10.1.2.3/8']"), "InvalidSpec", "spec.allowedHosts"),
        ],
        Cloud::HuaweiCloud => vec![
            refused("root", with("root", ""), "InvalidSpec", "reserved"),
            refused("Capital", with("Capital", ""), "InvalidSpec", "username"),
            refused("nowhere", user_object("nowhere", ""), "InvalidSpec", "databases"),
            refused("mixed", user_object("mixed", "databases: ['*', db1]"), "InvalidSpec", "databases"),
        ],
    });
    cases.extend(fields_of_other_clouds(cloud));
    cases
}

/// A manifest for each field that the cloud lacks by its own word; that no field is forgotten is proven beside the schema.
fn fields_of_other_clouds(cloud: Cloud) -> impl Iterator<Item = Refused> {
    let can = match cloud {
        Cloud::QingCloud => ProviderKind::QingCloud,
        Cloud::HuaweiCloud => ProviderKind::HuaweiCloud,
    };
    let can = can.rules().capabilities();
    let fields = [
        ("networked", "allowedHosts", "['::/0']", can.allowed_hosts),
        ("confined", "databases", "['*']", can.databases),
        ("mighty", "permission", "ReadOnly", can.permission),
    ];
    fields.into_iter().filter(|(.., held)| !held).map(move |(name, field, value, _)| {
        refused(name, user(cloud, name, &format!("{field}: {value}")), "FieldNotSupported", field)
    })
}

#[tokio::test]
async fn impossible_wishes_are_refused_by_name_and_cost_no_call() {
    on_both_clouds(async |cloud| {
        let world = World::of(cloud).start().await;
        world.apply_instance().await;
        let cases = cases(cloud);
        let manifests = cases.iter().map(|case| password(case.name, &case.password) + &case.manifest);
        world.kubernetes.apply(&manifests.collect::<String>()).await;
        for case in &cases {
            let user = world.kubernetes.user_shows(&object_name(case.name), case.reason).await;
            shows_refusal(&user, case.names);
        }
        assert_eq!(world.changing_requests(), 0);
        // Without this the world might as well be deaf.
        world.apply_user_with_password("reporting").await;
        world.kubernetes.user_shows("reporting", "AccountReady").await;
        assert_eq!(world.accounts().into_iter().collect::<Vec<_>>(), ["reporting"]);
        assert_eq!(world.changing_requests(), 1);
        world.finish().await;
    })
    .await;
}

fn shows_refusal(user: &ClickHouseUser, names: &str) {
    let (status, generation) = (user.status.as_ref().expect("a status"), user.metadata.generation);
    assert_eq!(stalled_or_reconciling(user), Some("Stalled"));
    assert_eq!(status.observed_generation, generation);
    assert!(status.conditions.iter().all(|condition| condition.observed_generation == generation));
    let ready = conditions::find(&status.conditions, conditions::READY).expect("Ready");
    assert_eq!(ready.status, "False");
    assert!(ready.message.contains(names), "{names:?} is not in {:?}", ready.message);
    assert!(status.applied.is_none() && status.operation.is_none());
}

#[tokio::test]
async fn mended_manifest_or_secret_goes_on_at_once() {
    on_both_clouds(async |cloud| {
        let world = World::of(cloud).flag("--retry-min", "10m").flag("--retry-max", "10m").start().await;
        world.apply_instance().await;
        let manifests = [
            password("weak", BAD_PASSWORD) + &user(cloud, "weak", ""),
            password("bare", PASSWORD) + &user_object("bare", ""),
        ];
        world.kubernetes.apply(&manifests.concat()).await;
        world.kubernetes.user_shows("weak", "InvalidPassword").await;
        world.kubernetes.user_shows("bare", "InvalidSpec").await;

        world.apply_password("weak", PASSWORD).await;
        world.apply_user("bare", "").await;
        for name in ["weak", "bare"] {
            let user = world.kubernetes.user_shows(name, "AccountReady").await;
            assert_eq!(ready(&user).0, "AccountReady");
            assert_eq!(stalled_or_reconciling(&user), None);
        }
        world.finish().await;
    })
    .await;
}

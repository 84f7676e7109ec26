//! Shared instances: who may use them, how far, and that it is asked on every pass.

use control_plane::ControlPlane;

use crate::{
    kubernetes::writes,
    manifests::{self, Cloud, ready},
    sharing::{Sharing, refused, shared_instance_gone, younger_than},
    world::World,
};

#[tokio::test]
async fn namespaces_are_admitted_by_name_and_by_label_and_a_label_taken_off_is_noticed() {
    for cloud in [Cloud::QingCloud, Cloud::HuaweiCloud] {
        let sharing = Sharing::start(cloud).await;
        let (world, own, other) = (&sharing.world, &sharing.world.kubernetes, &sharing.other);
        // A Secret of the same name in a tenant's namespace, which nobody may take for the credentials.
        own.apply(&manifests::secret_object("cloud-api", &[("accessKeyID", "X"), ("secretAccessKey", "Y")])).await;
        let allowed = format!(
            "allowedNamespaces: {{names: [{}], selector: {{matchLabels: {{clickhouse: allowed}}}}}}",
            own.namespace
        );
        sharing.share(&[&allowed]).await;
        own.shared_shows(&sharing.instance, "Reachable").await;

        own.apply(&sharing.user("named", "")).await;
        own.user_shows("named", "AccountReady").await;
        other.apply(&sharing.user("labelled", "")).await;
        refused(other, "labelled", "NotAllowed", &[&other.namespace, &sharing.instance]).await;
        assert_eq!(world.changing_requests(), 1);

        let label = |label: &'static str| async move {
            other.kubectl(&["label", "namespace", &other.namespace, label]).await;
        };
        label("clickhouse=allowed").await;
        other.user_shows("labelled", "AccountReady").await;
        label("clickhouse-").await;
        let user = other.user_shows("labelled", "NotAllowed").await;
        assert!(user.status.expect("a status").applied.is_some(), "the account is still ours");
        assert_eq!(world.accounts().into_iter().collect::<Vec<_>>(), ["labelled", "named"]);
        assert_eq!(world.changing_requests(), 2);

        // Neither rotation nor anything else reaches the cloud, but deletion goes on.
        other.apply(&manifests::password("labelled", manifests::OTHER_PASSWORD)).await;
        other.kubectl(&["annotate", "chu", "labelled", "chuser.dev/reconcile-requested-at=now"]).await;
        other.user_shows("labelled", "NotAllowed").await;
        assert_eq!(world.changing_requests(), 2);
        other.delete_user("labelled").await;
        other.user_gone("labelled").await;
        assert_eq!(world.accounts().into_iter().collect::<Vec<_>>(), ["named"]);

        let read = own.operator_requests(world.since).await;
        let touched: Vec<_> =
            read.iter().filter(|event| event.resource == "secrets" && event.name == "cloud-api").collect();
        assert!(touched.is_empty(), "{touched:?}");
        sharing.finish().await;
    }
}

#[tokio::test]
async fn object_tells_of_its_users_and_stays_until_the_last_is_gone() {
    for cloud in [Cloud::QingCloud, Cloud::HuaweiCloud] {
        let sharing = Sharing::start(cloud).await;
        let (world, own, other) = (&sharing.world, &sharing.world.kubernetes, &sharing.other);
        let host = "connection: {host: clickhouse.example, tls: Required}";
        sharing.share(&[&sharing.for_both(), host]).await;
        own.apply(&sharing.user("first", "")).await;
        other.apply(&sharing.user("second", "")).await;
        own.user_shows("first", "AccountReady").await;
        other.user_shows("second", "AccountReady").await;
        let shown = own.shared_until(&sharing.instance, "two users", |it| {
            it.status.as_ref().is_some_and(|status| status.users == Some(2))
        });
        let shown = shown.await;
        assert_eq!(shown.metadata.finalizers.as_deref(), Some(&["chuser.dev/in-use".to_owned()][..]));
        let status = shown.status.expect("a status");
        assert!(status.credential.is_some() && status.endpoint.is_some() && status.instance_key.is_some());
        let connection = status.connection.expect("an address");
        assert_eq!((connection.host.as_deref(), connection.port), (Some("clickhouse.example"), Some(9440)));

        let instance = sharing.instance.as_str();
        own.kubectl(&["delete", "cchinst", instance, "--wait=false"]).await;
        own.apply(&sharing.user("late", "")).await;
        let late = own.user_shows("late", "WaitingForInstance").await;
        assert!(ready(&late).1.contains(instance), "{:?}", ready(&late));
        own.delete_user("first").await;
        own.user_gone("first").await;
        own.shared_until(instance, "stay for its other user", |it| it.metadata.finalizers.is_some()).await;
        other.delete_user("second").await;
        other.user_gone("second").await;
        shared_instance_gone(own, instance).await;
        assert!(world.accounts().is_empty());
        sharing.finish().await;
    }
}

/// A ceiling, the lines of spec of a user below it and of one that exceeds it, and the field named.
struct Ceiling {
    holds: &'static str,
    below: &'static str,
    beyond: &'static str,
    field: &'static str,
}

fn ceilings(cloud: Cloud) -> Vec<Ceiling> {
    let access = cloud.access();
    let mut ceilings = vec![Ceiling {
        holds: "usernamePattern: 'below_[a-z]+'",
        below: access,
        beyond: access,
        field: "spec.username",
    }];
    ceilings.extend(match cloud {
        Cloud::QingCloud => vec![Ceiling {
            holds: "allowedHosts: ['10.0.0.0/8', 'fd00::/8']",
            below: "allowedHosts: ['10.20.0.0/16', 'fd00::1']",
            beyond: "allowedHosts: ['10.20.0.0/16', '0.0.0.0/0']",
            field: "spec.allowedHosts",
        }],
        Cloud::HuaweiCloud => vec![
            Ceiling {
                holds: "databases: [db1, db2]",
                below: "databases: [db1]",
                beyond: "databases: ['*']",
                field: "spec.databases",
            },
            Ceiling {
                holds: "permission: ReadOnly",
                below: "databases: ['*']",
                beyond: "databases: ['*']\n  permission: ReadAndConfigure",
                field: "spec.permission",
            },
            Ceiling {
                holds: "",
                below: "databases: ['*']",
                beyond: "databases: ['*']\n  adoptionPolicy: Adopt",
                field: "spec.adoptionPolicy",
            },
        ],
    });
    ceilings
}

#[tokio::test]
async fn each_ceiling_holds_for_new_users_and_for_settled_ones() {
    for cloud in [Cloud::QingCloud, Cloud::HuaweiCloud] {
        let sharing = Sharing::start(cloud).await;
        let (world, own) = (&sharing.world, &sharing.world.kubernetes);
        for (number, Ceiling { holds, below, beyond, field }) in ceilings(cloud).into_iter().enumerate() {
            sharing.share_with_ceilings(holds).await;
            let letter = ["a", "b", "c", "d"][number];
            let (good, bad) = (format!("below_{letter}"), format!("beyond_{letter}"));
            own.apply(&(sharing.user_of(&good, below) + &sharing.user_of(&bad, beyond))).await;
            let (good, bad) = (manifests::object_name(&good), manifests::object_name(&bad));
            own.user_shows(&good, "AccountReady").await;
            refused(own, &bad, "NotAllowed", &[field, &sharing.instance]).await;
            own.kubectl(&["delete", "chu", &good, &bad]).await;
        }
        let changes = world.changing_requests();
        sharing.share_with_ceilings("").await;
        own.apply(&sharing.user("settled", "")).await;
        own.user_shows("settled", "AccountReady").await;
        sharing.share_with_ceilings("usernamePattern: 'other_.*'").await;
        refused(own, "settled", "NotAllowed", &["spec.username"]).await;
        assert_eq!(world.accounts().into_iter().collect::<Vec<_>>(), ["settled"]);

        // A ceiling that means nothing lets nobody new in, and takes nothing from those who are there.
        sharing.share_with_ceilings("usernamePattern: '('").await;
        own.shared_shows(&sharing.instance, "InvalidSpec").await;
        own.user_shows("settled", "AccountReady").await;
        own.apply(&sharing.user("waiting", "")).await;
        own.user_shows("waiting", "WaitingForInstance").await;
        let foreign = if cloud == Cloud::QingCloud { "permission: ReadOnly" } else { "allowedHosts: ['10.0.0.0/8']" };
        sharing.share_with_ceilings(foreign).await;
        own.shared_until(&sharing.instance, "name the ceiling", |it| {
            let conditions = it.status.iter().flat_map(|status| &status.conditions);
            let field = foreign.split(':').next().expect("a field");
            conditions.clone().any(|it| it.reason == "InvalidSpec" && it.message.contains(field))
        })
        .await;
        assert_eq!(world.changing_requests(), changes + 1);

        sharing.share_with_ceilings("").await;
        own.user_shows("waiting", "AccountReady").await;
        sharing.finish().await;
    }
}

#[tokio::test]
async fn no_more_users_than_allowed_are_served_in_a_namespace_the_oldest_first() {
    for cloud in [Cloud::QingCloud, Cloud::HuaweiCloud] {
        let sharing = Sharing::start(cloud).await;
        let (world, own, other) = (&sharing.world, &sharing.world.kubernetes, &sharing.other);
        sharing.share_with_ceilings("usersPerNamespace: 2").await;
        own.apply(&(sharing.user("first", "") + &sharing.user("second", ""))).await;
        own.user_shows("first", "AccountReady").await;
        younger_than(&own.user_shows("second", "AccountReady").await).await;
        own.apply(&sharing.user("third", "")).await;
        refused(own, "third", "NotAllowed", &["serves 2 users", &own.namespace]).await;
        other.apply(&sharing.user("elsewhere", "")).await;
        other.user_shows("elsewhere", "AccountReady").await;
        assert_eq!(world.changing_requests(), 3);

        // One that is being deleted counts until it is gone.
        let hold = world.clouds.hold_before_effect(cloud.delete());
        own.delete_user("first").await;
        hold.reached().await;
        own.kubectl(&["annotate", "chu", "third", "chuser.dev/reconcile-requested-at=now"]).await;
        own.user_shows("third", "NotAllowed").await;
        assert_eq!(world.clouds.requests(cloud.create()), 3);
        drop(hold);
        own.user_gone("first").await;
        own.user_shows("third", "AccountReady").await;
        sharing.finish().await;
    }
}

#[tokio::test]
async fn turned_off_shared_instances_are_refused_by_the_name_of_the_flag() {
    let mut sharing = Sharing::start(Cloud::HuaweiCloud).await;
    sharing.share(&[&sharing.for_both()]).await;
    let own = sharing.world.kubernetes.clone();
    own.apply(&sharing.user("settled", "")).await;
    own.user_shows("settled", "AccountReady").await;

    sharing.world.operator.kill();
    sharing.world.operator.set("--cluster-instances", "false");
    sharing.world.operator.start();
    let mark = own.mark().await;
    own.apply(&sharing.user("new", "")).await;
    for name in ["settled", "new"] {
        refused(&own, name, "NotAllowed", &["--cluster-instances"]).await;
    }
    let events = own.plane.audit_since(mark).await.expect("the audit log can be read");
    let asked: Vec<_> = events
        .iter()
        .filter(|event| event.user.ends_with(":clickhouse-user-operator"))
        .filter(|event| event.resource == "clusterclickhouseinstances" || event.resource == "namespaces")
        .collect();
    assert!(asked.is_empty(), "{asked:?}");
    assert_eq!(sharing.world.changing_requests(), 1);

    sharing.world.operator.kill();
    sharing.world.operator.set("--cluster-instances", "true");
    sharing.world.operator.start();
    own.user_shows("new", "AccountReady").await;
    own.user_shows("settled", "AccountReady").await;
    sharing.finish().await;
}

#[tokio::test]
async fn restart_with_nothing_changed_writes_nothing() {
    for cloud in [Cloud::QingCloud, Cloud::HuaweiCloud] {
        let mut sharing = Sharing::start(cloud).await;
        sharing.share(&[&sharing.for_both()]).await;
        let own = sharing.world.kubernetes.clone();
        own.apply(&sharing.user("settled", "")).await;
        own.user_shows("settled", "AccountReady").await;
        let counted = |it: &clickhouse_user_operator::api::ClusterClickHouseInstance| {
            it.status.as_ref().is_some_and(|status| status.users == Some(1))
        };
        own.shared_until(&sharing.instance, "one user", counted).await;
        sharing.world.operator.kill();
        let mark = own.mark().await;
        let before = sharing.world.clouds.ledger().requests().count();
        sharing.world.operator.start();
        sharing.world.ledger_shows("a look at the instance", |ledger| ledger.requests().count() > before).await;
        // Whoever comes after the others has its pass after theirs.
        own.apply(&sharing.user("next", "")).await;
        own.user_shows("next", "AccountReady").await;
        let events = own.plane.audit_since(mark).await.expect("the audit log can be read");
        let written: Vec<_> = events
            .iter()
            .filter(|event| event.user.ends_with(":clickhouse-user-operator") && writes(event))
            .filter(|event| event.name == "settled" || event.subresource == "status" && event.name == sharing.instance)
            .collect();
        assert!(written.iter().all(|event| event.name == sharing.instance), "{written:?}");
        assert_eq!(sharing.world.changing_requests(), 2);
        sharing.finish().await;
    }
}

#[tokio::test]
async fn operator_of_all_namespaces_serves_shared_instances_too() {
    // A control plane of its own: this operator serves whatever there is.
    let plane = Box::leak(Box::new(ControlPlane::start().await.expect("a control plane")));
    let cloud = Cloud::HuaweiCloud;
    let plan = World::of(cloud).flag("--cluster-instances", "true").flag("--watch-namespaces", "");
    let mut world = plan.start_on(plane).await;
    let other = world.kubernetes.another().await;
    world.includes(&other);
    let own = &world.kubernetes;
    own.operators().apply(&manifests::credentials(cloud)).await;
    let shared = world.instance().replace("kind: ClickHouseInstance", "kind: ClusterClickHouseInstance");
    own.apply(&(shared + "  allowedNamespaces: {selector: {}}\n")).await;
    for (kubernetes, name) in [(own, "first"), (&other, "second")] {
        let user = manifests::user(cloud, name, "");
        let user = user.replace("instanceRef: {", "instanceRef: {kind: ClusterClickHouseInstance, ");
        kubernetes.apply(&(manifests::password(name, manifests::PASSWORD) + &user)).await;
    }
    own.user_shows("first", "AccountReady").await;
    other.user_shows("second", "AccountReady").await;
    world.finish().await;
}

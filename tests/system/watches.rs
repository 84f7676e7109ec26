//! Watches that hang, break, repeat themselves or are refused: what changed meanwhile is found and acted upon once, and a
//! watch that fails holds up nothing that does not need it.

use clickhouse_user_operator::api::user::ClickHouseUser;
use emulated_clouds::EffectKind;

use crate::{
    manifests::{self, Cloud, OTHER_PASSWORD, PASSWORD, password, ready, user},
    proxy::Proxy,
    trouble::{Asked, Asking, End, Flow, Trouble},
    world::{Plan, World},
};

/// What a scope watches, as the ends of paths.
const WATCHED: [&str; 3] = ["/clickhouseusers", "/clickhouseinstances", "/secrets"];

/// Users of which one is made, one rotated and one deleted in each trouble.
struct Round {
    world: World,
    number: usize,
}

/// What is changed in a trouble.
struct Changes {
    requests: usize,
    version: String,
}

impl Round {
    async fn start(plan: Plan) -> Self {
        let mut world = plan.behind_a_proxy().start().await;
        world.operator.start();
        world.ready_user("user0").await;
        world.apply_user_with_password("user1").await;
        world.kubernetes.user_shows("user1", "AccountReady").await;
        Self { world, number: 2 }
    }

    fn proxy(&self) -> &Proxy {
        self.world.proxy.as_ref().expect("a proxy")
    }

    fn name(&self, before: usize) -> String {
        format!("user{}", self.number - before)
    }

    fn host(&self) -> String {
        format!("host{}.example", self.number)
    }

    /// A user comes, a password changes, a user is deleted, and the instance has another address.
    async fn change(&self) -> Changes {
        let (kubernetes, [new, rotated, deleted]) = (&self.world.kubernetes, [0, 1, 2].map(|it| self.name(it)));
        let requests = self.world.changing_requests();
        kubernetes.create(&(password(&new, PASSWORD) + &user(self.world.cloud, &new, ""))).await;
        let version = kubernetes.change_password(&rotated, OTHER_PASSWORD).await;
        kubernetes.delete_user(&deleted).await;
        let patch = format!(r#"{{"spec": {{"connection": {{"host": "{}"}}}}}}"#, self.host());
        kubernetes.kubectl(&["patch", "chinst", "warehouse", "--type=merge", "-p", &patch]).await;
        Changes { requests, version }
    }

    /// All of it is acted upon, once.
    async fn nothing_is_lost(&mut self, trouble: &str, changes: &Changes) {
        let (kubernetes, [new, rotated, deleted]) = (&self.world.kubernetes, [0, 1, 2].map(|it| self.name(it)));
        eprintln!("{trouble}");
        kubernetes.user_shows(&new, "AccountReady").await;
        kubernetes.user_until(&rotated, "its new password", |user| has_password(user, &changes.version)).await;
        kubernetes.user_gone(&deleted).await;
        let moved = |host: Option<&String>| host == Some(&self.host());
        let what = format!("its new address when {trouble}");
        kubernetes
            .instance_until("warehouse", &what, |instance| {
                let connection = instance.status.as_ref().and_then(|status| status.connection.as_ref());
                moved(connection.and_then(|connection| connection.host.as_ref()))
            })
            .await;
        assert_eq!(self.world.effects(&new), [EffectKind::Created], "{trouble}");
        assert_eq!(self.world.effects(&rotated).len(), 2, "{trouble}");
        assert_eq!(self.world.effects(&deleted).last(), Some(&EffectKind::Deleted), "{trouble}");
        assert_eq!(self.world.changing_requests(), changes.requests + 3, "{trouble}");
        let digest = self.world.clouds.password_digest(OTHER_PASSWORD);
        let accounts = self.world.clouds.accounts(self.world.cloud.instance_id());
        assert_eq!(accounts[&rotated].password_digest, digest, "{trouble}");
        self.number += 1;
    }
}

fn has_password(user: &ClickHouseUser, version: &str) -> bool {
    let password = user.status.as_ref().and_then(|status| status.password.as_ref());
    ready(user).0 == "AccountReady" && password.is_some_and(|it| it.secret_resource_version.as_deref() == Some(version))
}

#[tokio::test]
async fn what_changes_while_watches_break_is_acted_upon_once() {
    let gone = Trouble::Refused(410, None);
    let troubles: [(&str, Flow, Option<End>, Option<Asking>); 7] = [
        ("watches are refused as too old when they begin again", Flow::Held, Some(End::Clean), Some(Asked::Watch)),
        ("watches are told that they are too old", Flow::Held, Some(End::Error(410)), None),
        ("the lists that follow are refused too", Flow::Held, Some(End::Error(410)), Some(Asked::List)),
        ("watches are told of an error", Flow::Held, Some(End::Error(500)), None),
        ("watches break in the middle of an event", Flow::Held, Some(End::HalfALine), None),
        ("watches bring bookmarks only", Flow::Bookmarks, Some(End::Clean), None),
        ("every event comes twice", Flow::Twice, None, None),
    ];
    let mut round = Round::start(World::of(Cloud::HuaweiCloud)).await;
    for (trouble, flow, end, refused) in troubles {
        round.proxy().troubles().watches_flow(flow);
        let changes = round.change().await;
        if let Some(end) = end {
            assert_eq!(round.world.changing_requests(), changes.requests, "nobody could know: {trouble}");
            for watched in WATCHED.into_iter().filter_map(|it| refused.map(|asked| asked(it.to_owned()))) {
                round.proxy().troubles().plan(watched, 1, gone);
            }
            round.proxy().troubles().watches_end(end);
        }
        round.nothing_is_lost(trouble, &changes).await;
        assert!(round.proxy().troubles().all_met(), "{trouble}");
        round.proxy().troubles().watches_flow(Flow::Well);
    }
    round.world.finish().await;
}

#[tokio::test]
async fn silent_watch_or_list_is_given_up_and_taken_up_again() {
    let mut round = Round::start(World::of(Cloud::HuaweiCloud).flag("--watch-timeout", "1s")).await;
    let troubles: [(&str, End, Option<Asking>); 3] = [
        ("open watches fall silent", End::Never, None),
        ("a watch is never answered", End::Clean, Some(Asked::Watch)),
        ("a list is never answered", End::Error(410), Some(Asked::List)),
    ];
    for (trouble, end, silent) in troubles {
        round.proxy().troubles().watches_flow(Flow::Held);
        let changes = round.change().await;
        for watched in WATCHED.into_iter().filter_map(|it| silent.map(|asked| asked(it.to_owned()))) {
            round.proxy().troubles().plan(watched, 1, Trouble::Silence);
        }
        round.proxy().troubles().watches_end(end);
        round.nothing_is_lost(trouble, &changes).await;
        assert!(round.proxy().troubles().all_met(), "{trouble}");
    }
    round.world.finish().await;
}

#[tokio::test]
async fn failing_watch_holds_up_nothing_that_does_not_need_it() {
    let cloud = Cloud::HuaweiCloud;
    for code in [403, 500] {
        let mut round = Round::start(World::of(cloud)).await;
        round.world.kubernetes.create(&password("early", PASSWORD)).await;
        let fail = |round: &Round, kind: &str| {
            for asked in [Asked::List, Asked::Watch] {
                round.proxy().troubles().plan(asked(kind.to_owned()), usize::MAX, Trouble::Refused(code, None));
            }
            round.proxy().troubles().watches_end(End::Error(410));
        };
        let (kubernetes, world) = (round.world.kubernetes.clone(), &round.world);

        // Instances that are known go on as they were.
        fail(&round, "/clickhouseinstances");
        world.troubles().was_asked(&Asked::List("/clickhouseinstances".to_owned()), 3).await;
        world.apply_user_with_password("late").await;
        kubernetes.user_shows("late", "AccountReady").await;
        world.delete_user("late").await;
        world.troubles().over();

        // Without news of Secrets there is still what concerns none, and a new Secret waits.
        fail(&round, "/secrets");
        world.troubles().was_asked(&Asked::List("/secrets".to_owned()), 3).await;
        world.apply_user("early", "").await;
        world.apply_user_with_password("waiting").await;
        kubernetes.user_shows("early", "AccountReady").await;
        kubernetes.user_shows("waiting", "WaitingForSecret").await;
        world.delete_user("early").await;
        assert_eq!(world.effects("waiting"), []);
        world.troubles().over();
        kubernetes.user_shows("waiting", "AccountReady").await;
        world.delete_user("waiting").await;

        // The lists of users fail; what changes meanwhile comes with the first that does not.
        fail(&round, "/clickhouseusers");
        world.troubles().was_asked(&Asked::List("/clickhouseusers".to_owned()), 3).await;
        let changes = round.change().await;
        round.world.troubles().over();
        round.nothing_is_lost("lists of users failed", &changes).await;
        round.world.finish().await;
    }
}

#[tokio::test]
async fn namespace_that_cannot_be_listed_does_not_stop_the_others_and_is_served_once_it_can() {
    let mut world = World::of(Cloud::HuaweiCloud).behind_a_proxy().start().await;
    let other = world.kubernetes.another().await;
    world.includes(&other);
    world.operator.set("--watch-namespaces", &format!("{},{}", world.kubernetes.namespace, other.namespace));
    let list = Asked::List(format!("/namespaces/{}/secrets", other.namespace));
    world.troubles().plan(list.clone(), usize::MAX, Trouble::Refused(403, None));
    let manifests = manifests::credentials(world.cloud) + &world.instance();
    other.apply(&manifests).await;
    other.apply(&(password("other", PASSWORD) + &user(world.cloud, "other", ""))).await;
    world.operator.start();
    world.ready_user("reporting").await;
    assert_eq!(world.effects("other"), [], "its Secret is not known");
    world.troubles().over();
    other.user_shows("other", "AccountReady").await;
    for account in ["reporting", "other"] {
        assert_eq!(world.effects(account), [EffectKind::Created]);
    }
    world.finish().await;
}

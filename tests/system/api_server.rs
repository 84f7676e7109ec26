//! The API server refuses a write, answers one wrongly that it has carried out, or answers none in time: nothing happens
//! in the cloud before the intent is durable, everything happens once, and it comes to the same end.

use emulated_clouds::EffectKind;

use crate::{
    manifests::{PASSWORD, password, user},
    trouble::{Asked, Asking, Trouble},
    world::{Plan, World, on_both_clouds},
};

/// Which write of a user's life is in trouble.
const WRITES: [(&str, Asking); 3] = [("intent", Asked::Intent), ("status", Asked::Status), ("release", Asked::Release)];

/// How often in a row; no refusal becomes more of a success by being repeated.
const TIMES: usize = 2;

/// What a life costs in writes at most: creation and deletion with a job each are six. A refusal costs no more than another.
const WRITES_OF_A_LIFE: usize = 6;

const TROUBLES: [(&str, Trouble); 9] = [
    ("forbidden", Trouble::Refused(403, None)),
    ("missing", Trouble::Refused(404, None)),
    ("invalid", Trouble::Refused(422, None)),
    ("busy", Trouble::Refused(429, None)),
    ("busy-for-a-second", Trouble::Refused(429, Some(1))),
    ("unavailable", Trouble::Refused(503, None)),
    ("unavailable-for-a-second", Trouble::Refused(503, Some(1))),
    ("late-before-the-effect", Trouble::Refused(504, None)),
    ("late-after-the-effect", Trouble::EffectThen(504)),
];

/// Behind a proxy, with an instance that is reachable. What a lost answer leaves open is found out in seconds.
async fn started(plan: Plan) -> World {
    let mut world = plan.flag("--job-timeout", "2s").behind_a_proxy().start().await;
    world.operator.start();
    world.apply_instance().await;
    world.kubernetes.instance_shows("warehouse", "Reachable").await;
    world
}

async fn create(world: &World, name: &str) {
    world.kubernetes.create(&(password(name, PASSWORD) + &user(world.cloud, name, ""))).await;
}

/// One trouble with one write, as the name of the object, the account and the trouble itself.
fn cases() -> Vec<(String, String, Asked, Trouble)> {
    let cases = TROUBLES.into_iter().enumerate().flat_map(|(position, (what, trouble))| {
        WRITES.into_iter().enumerate().map(move |(number, (write, asked))| {
            let object = format!("{write}-{what}");
            (object.clone(), format!("user{position}x{number}"), asked(object), trouble)
        })
    });
    cases.collect()
}

#[tokio::test]
async fn write_that_is_refused_or_answered_wrongly_changes_nothing_in_the_end() {
    on_both_clouds(async |cloud| {
        let world = started(World::of(cloud)).await;
        let cases = cases();
        for (object, account, asked, trouble) in &cases {
            // What was carried out is not asked for again.
            let times = if trouble.has_effect() { 1 } else { TIMES };
            world.troubles().plan(asked.clone(), times, *trouble);
            let manifest =
                user(cloud, object, "").replace(&format!("username: {object}"), &format!("username: {account}"));
            world.kubernetes.create(&(password(object, PASSWORD) + &manifest)).await;
        }
        for (object, account, ..) in &cases {
            world.kubernetes.user_shows(object, "AccountReady").await;
            assert_eq!(world.effects(account), [EffectKind::Created], "{object}");
        }
        for (object, ..) in &cases {
            world.kubernetes.delete_user(object).await;
        }
        for (object, account, ..) in &cases {
            world.kubernetes.user_gone(object).await;
            assert_eq!(world.effects(account), [EffectKind::Created, EffectKind::Deleted], "{object}");
        }
        assert!(world.troubles().all_met(), "some writes were not in trouble");
        // One that cannot tell of its job does not keep the turn, so that others may be refused as too early.
        let calls = world.changing_requests();
        assert!(calls <= 3 * cases.len(), "{calls} calls");
        let asked = world.troubles().asked();
        for (object, ..) in &cases {
            let written: Vec<_> = asked.iter().filter(|asked| asked.user() == Some(object.as_str())).collect();
            assert!(written.len() <= WRITES_OF_A_LIFE * (1 + TIMES), "{written:?}");
        }
        world.finish().await;
    })
    .await;
}

#[tokio::test]
async fn nothing_is_called_as_long_as_no_intent_can_be_written() {
    on_both_clouds(async |cloud| {
        for trouble in [Trouble::Refused(403, None), Trouble::Refused(422, None), Trouble::Refused(503, None)] {
            let world = started(World::of(cloud)).await;
            let intent = Asked::Intent("reporting".to_owned());
            world.troubles().plan(intent.clone(), usize::MAX, trouble);
            create(&world, "reporting").await;
            world.troubles().was_asked(&intent, 4).await;
            assert_eq!(world.changing_requests(), 0, "{trouble:?}");
            world.troubles().over();
            world.kubernetes.user_shows("reporting", "AccountReady").await;

            let sofar = world.troubles().asked().iter().filter(|asked| **asked == intent).count();
            world.troubles().plan(intent.clone(), usize::MAX, trouble);
            world.kubernetes.delete_user("reporting").await;
            world.troubles().was_asked(&intent, sofar + 4).await;
            assert_eq!(world.changing_requests(), 1, "{trouble:?}");
            world.troubles().over();
            world.kubernetes.user_gone("reporting").await;
            assert_eq!(world.effects("reporting"), [EffectKind::Created, EffectKind::Deleted]);
            world.finish().await;
        }
    })
    .await;
}

#[tokio::test]
async fn object_that_goes_before_its_status_is_written_is_not_brought_back() {
    on_both_clouds(async |cloud| {
        let mut world = started(World::of(cloud)).await;
        world.expect_orphan("reporting");
        let hold = world.clouds.hold_after_effect(cloud.create());
        create(&world, "reporting").await;
        hold.reached().await;
        world.ledger_shows("the account", |ledger| ledger.effects_of("reporting").count() == 1).await;
        // Somebody takes the object away with the finalizer on it.
        world.kubernetes.patch_user("reporting", r#"{"metadata": {"finalizers": null}}"#).await;
        world.kubernetes.delete_user("reporting").await;
        world.kubernetes.user_gone("reporting").await;
        hold.release();
        world.troubles().was_asked(&Asked::Status("reporting".to_owned()), 1).await;
        // Others go on, and the object stays away.
        create(&world, "other").await;
        world.kubernetes.user_shows("other", "AccountReady").await;
        assert!(world.kubernetes.users().get_opt("reporting").await.expect("an answer").is_none());
        assert_eq!(world.effects("reporting"), [EffectKind::Created]);
        world.finish().await;
    })
    .await;
}

#[tokio::test]
async fn write_that_is_carried_out_and_never_answered_is_found_out_and_not_followed_by_a_second_effect() {
    on_both_clouds(async |cloud| {
        let world = started(World::of(cloud)).await;
        for (name, asked) in WRITES {
            world.troubles().plan(asked(name.to_owned()), 1, Trouble::EffectThenSilence);
            create(&world, name).await;
        }
        world.kubernetes.user_shows("release", "AccountReady").await;
        world.kubernetes.delete_user("release").await;
        world.kubernetes.user_gone("release").await;
        for name in ["intent", "status"] {
            world.kubernetes.user_shows(name, "AccountReady").await;
            assert_eq!(world.effects(name), [EffectKind::Created], "{name}");
            world.delete_user(name).await;
            assert_eq!(world.effects(name), [EffectKind::Created, EffectKind::Deleted], "{name}");
        }
        assert!(world.troubles().all_met());
        assert_eq!(world.effects("release"), [EffectKind::Created, EffectKind::Deleted]);
        world.finish().await;
    })
    .await;
}

//! Exhaustive search of a small world that the real plan, report and journal drive: whatever goes wrong, and wherever,
//! no account is lost, hijacked or made twice, status tells the truth, and in the end everything is as the manifests ask.
//!
//! A state is one that nobody can tell apart: times as seen from now, attempts and jobs by the part they play. Each test
//! is a family of wishes and troubles, bounded by how many of each come in one life.

mod calls;
mod checks;
mod cloud;
mod digest;
mod ends;
mod instance;
mod moves;
mod pass;
mod rivals;
mod search;
mod world;

use clickhouse_user_operator::{
    api::conditions::Reason,
    domain::{
        journal::{self, Intent},
        names::Uid,
    },
    provider::contract::{ErrorClass, ProviderKind},
};
use cloud::{Account, Owner};
use instance::Loss;
use moves::{Event, Wish};
use rivals::operator_key;
use search::{Scope, Search};
use world::{Annotation, World, at, opens};

/// A user that has come to rest with its account.
fn settled(kind: ProviderKind) -> World {
    settled_from(World::new(kind, 1))
}

fn settled_from(mut world: World) -> World {
    while world.users.iter().any(|it| it.due.is_some()) {
        world.calm();
    }
    assert!(world.users.iter().all(|it| it.reason == Some(Reason::AccountReady)), "{:?}", world.violation);
    world.wait(world.now + std::time::Duration::from_secs(1000));
    world
}

/// The same, and what the cloud cannot change in place may be deleted and added again.
fn free_to_recreate(kind: ProviderKind) -> World {
    let mut world = World::new(kind, 1);
    world.users[0].wish(|it| it.recreate = true);
    settled_from(world)
}

fn with(mut world: World, change: impl FnOnce(&mut World)) -> World {
    change(&mut world);
    world
}

/// An account that was there before.
fn foreign(kind: ProviderKind) -> World {
    with(World::new(kind, 1), |it| {
        let name = it.users[0].desired.username.clone();
        let account =
            Account { owner: Owner::Foreign, password: 8, access: world::access(kind, &world::wanted(kind, 5)) };
        it.put_account(&name, at(-1000), Some(account));
    })
}

/// All searches share this: every state is counted, and a search that shrinks in silence is found out.
#[expect(clippy::print_stdout, reason = "how far a search went is its result")]
fn searched(name: &str, scope: &Scope, worlds: &[World], floor: usize) {
    let states = Search::run(scope, worlds);
    println!("{name}: {states} states");
    assert!(states >= floor, "{name}: only {states} states");
}

fn both(make: impl Fn(ProviderKind) -> World) -> Vec<World> {
    ProviderKind::ALL.map(make).into()
}

#[test]
fn creation_survives_everything() {
    let scope = Scope {
        wishes: vec![Wish::NewPassword, Wish::Access, Wish::Delete, Wish::Suspend],
        events: vec![Event::Restart, Event::Early, Event::AnnotationStripped, Event::KeyLost],
        classes: vec![ErrorClass::AccessDenied],
        crashes: true,
        losses: true,
        secret_changes: true,
        stops: true,
        most_wishes: 2,
        most_troubles: 1,
    };
    searched("creation", &scope, &both(|kind| World::new(kind, 1)), 28_000);
}

#[test]
fn creation_survives_two_troubles() {
    let scope = Scope {
        events: vec![Event::Restart, Event::StatusWiped, Event::AnnotationForged, Event::LongOutage],
        classes: vec![ErrorClass::InstanceNotFound, ErrorClass::Unavailable],
        crashes: true,
        losses: true,
        stops: true,
        most_troubles: 2,
        ..Scope::default()
    };
    searched("creation in trouble", &scope, &both(|kind| World::new(kind, 1)), 4_500);
}

#[test]
fn rotation_and_change_of_access_survive_everything() {
    let scope = Scope {
        wishes: vec![Wish::NewPassword, Wish::SameSecret, Wish::BadPassword, Wish::Access, Wish::Revision],
        events: vec![Event::Restart, Event::AnnotationStripped, Event::StatusWiped, Event::KeyLost],
        classes: vec![ErrorClass::AccessDenied],
        crashes: true,
        losses: true,
        secret_changes: true,
        stops: true,
        most_wishes: 2,
        most_troubles: 1,
    };
    searched("rotation", &scope, &both(free_to_recreate), 33_000);
}

#[test]
fn one_change_survives_two_troubles() {
    let scope = Scope {
        wishes: vec![Wish::NewPassword, Wish::Access],
        events: vec![
            Event::AnnotationStripped,
            Event::AnnotationReplayed,
            Event::FinalizerStripped,
            Event::StatusWiped,
            Event::KeyLost,
            Event::LongOutage,
            Event::AccountDeleted,
            Event::AccessChanged,
            Event::PasswordChanged,
        ],
        classes: vec![ErrorClass::InstanceNotFound, ErrorClass::Rejected],
        crashes: true,
        losses: true,
        most_wishes: 1,
        most_troubles: 2,
        ..Scope::default()
    };
    searched("change", &scope, &both(free_to_recreate), 27_000);
}

#[test]
fn deletion_survives_everything() {
    let scope = Scope {
        wishes: vec![Wish::Delete, Wish::Retain, Wish::SecretGone, Wish::Restore],
        events: vec![
            Event::Restart,
            Event::LongOutage,
            Event::AnnotationStripped,
            Event::AnnotationReplayed,
            Event::StatusWiped,
            Event::KeyLost,
            Event::AccountDeleted,
        ],
        classes: vec![ErrorClass::AccessDenied, ErrorClass::InstanceNotFound, ErrorClass::Rejected],
        crashes: true,
        losses: true,
        stops: true,
        most_wishes: 2,
        most_troubles: 2,
        ..Scope::default()
    };
    searched("deletion", &scope, &both(settled), 76_000);
}

#[test]
fn recreation_survives_changes_of_mind() {
    let scope = Scope {
        wishes: vec![
            Wish::NewPassword,
            Wish::BadPassword,
            Wish::SecretGone,
            Wish::Recreate,
            Wish::Delete,
            Wish::Retain,
        ],
        events: vec![Event::Restart, Event::AnnotationStripped, Event::StatusWiped],
        crashes: true,
        losses: true,
        most_wishes: 2,
        most_troubles: 1,
        ..Scope::default()
    };
    let begin = with(free_to_recreate(ProviderKind::QingCloud), |it| it.change_secret(0));
    searched("re-creation", &scope, &[begin], 43_000);
}

#[test]
fn adoption_survives_everything() {
    let scope = Scope {
        wishes: vec![Wish::Adopt, Wish::Recreate, Wish::NewPassword, Wish::Access, Wish::Delete, Wish::Retain],
        events: vec![Event::Restart, Event::AnnotationStripped, Event::StatusWiped],
        classes: vec![ErrorClass::AccessDenied],
        crashes: true,
        losses: true,
        most_wishes: 1,
        most_troubles: 1,
        ..Scope::default()
    };
    let mut worlds = both(foreign);
    for recreate in [false, true] {
        let allowed = |it: &mut World| it.users[0].wish(|it| (it.adopt, it.recreate) = (true, recreate));
        worlds.extend(both(|kind| with(foreign(kind), allowed)));
    }
    searched("adoption", &scope, &worlds, 10_000);
}

#[test]
fn expiry_survives_everything() {
    let scope = Scope {
        wishes: vec![Wish::Expire, Wish::ExpireLater, Wish::Delete, Wish::Retain, Wish::NewPassword],
        events: vec![Event::Restart, Event::AnnotationStripped, Event::StatusWiped, Event::KeyLost],
        classes: vec![ErrorClass::AccessDenied],
        crashes: true,
        losses: true,
        most_wishes: 2,
        most_troubles: 1,
        ..Scope::default()
    };
    let mut worlds = both(settled);
    worlds.extend(both(|kind| World::new(kind, 1)));
    searched("expiry", &scope, &worlds, 35_000);
}

#[test]
fn two_users_of_one_account_never_fight() {
    let scope = Scope {
        wishes: vec![Wish::Delete, Wish::NewPassword, Wish::Adopt],
        events: vec![Event::Restart, Event::AnnotationCopied, Event::StatusWiped],
        crashes: true,
        losses: true,
        most_wishes: 2,
        most_troubles: 1,
        ..Scope::default()
    };
    searched("rivals", &scope, &both(|kind| World::new(kind, 2)), 45_000);
}

#[test]
fn two_accounts_of_one_instance_do_not_disturb_each_other() {
    let scope = Scope {
        wishes: vec![Wish::Delete],
        events: vec![Event::Restart],
        crashes: true,
        losses: true,
        most_wishes: 1,
        most_troubles: 1,
        ..Scope::default()
    };
    let begin = |kind| {
        with(World::new(kind, 2), |it| {
            let other = clickhouse_user_operator::domain::names::Username::new("other");
            it.users[1].wish(|it| it.username = other);
        })
    };
    searched("neighbours", &scope, &both(begin), 41_000);
}

#[test]
fn refusals_that_do_not_tell_why_are_cleared_up_by_a_look() {
    let scope = Scope {
        wishes: vec![Wish::Delete, Wish::Adopt, Wish::NewPassword, Wish::Access],
        events: vec![Event::Restart, Event::StatusWiped, Event::AccountDeleted],
        classes: vec![ErrorClass::InvalidSpec, ErrorClass::Rejected],
        crashes: true,
        losses: true,
        most_wishes: 1,
        most_troubles: 2,
        ..Scope::default()
    };
    let vague = |world| with(world, |it: &mut World| it.vague = true);
    let kind = ProviderKind::HuaweiCloud;
    let adopting = with(foreign(kind), |it| it.users[0].wish(|it| it.adopt = true));
    let worlds = [World::new(kind, 1), settled(kind), foreign(kind), adopting].map(vague);
    searched("vague refusals", &scope, &worlds, 35_000);
}

fn with_logins(mut world: World) -> World {
    world.logins = true;
    world.users[0].due = Some(world.now);
    world
}

#[test]
fn logins_tell_the_truth_and_repair_what_can_be_repaired() {
    let scope = Scope {
        wishes: vec![Wish::NewPassword, Wish::Access, Wish::SecretGone, Wish::Delete],
        events: vec![
            Event::Restart,
            Event::PasswordChanged,
            Event::Barred,
            Event::StatusWiped,
            Event::KeyLost,
            Event::LongOutage,
        ],
        crashes: true,
        losses: true,
        most_wishes: 1,
        most_troubles: 1,
        ..Scope::default()
    };
    searched("logins", &scope, &both(|kind| with_logins(free_to_recreate(kind))), 3_000);
}

#[test]
fn adoption_by_login_takes_what_lets_us_in_and_nothing_else() {
    let scope = Scope {
        wishes: vec![Wish::Adopt, Wish::Recreate, Wish::NewPassword, Wish::Delete],
        events: vec![Event::Restart, Event::StatusWiped, Event::LongOutage],
        crashes: true,
        losses: true,
        most_wishes: 1,
        most_troubles: 1,
        ..Scope::default()
    };
    let worlds = [1, 8].map(|password| {
        with(with_logins(foreign(ProviderKind::QingCloud)), |it| {
            it.users[0].wish(|it| it.adopt = true);
            it.accounts[0].1[0].1.as_mut().expect("an account").password = password;
        })
    });
    searched("adoption by login", &scope, &worlds, 2_500);
}

#[test]
fn loss_of_an_instance_leaves_no_account_behind_without_a_word() {
    let scope = Scope {
        wishes: vec![Wish::Delete, Wish::Retain, Wish::NewPassword],
        events: vec![
            Event::Restart,
            Event::Lost(Loss::Deleted),
            Event::Lost(Loss::Hidden),
            Event::Lost(Loss::Credentials),
            Event::CredentialsBack,
            Event::StatusWiped,
        ],
        losses: true,
        most_wishes: 1,
        most_troubles: 2,
        ..Scope::default()
    };
    let mut worlds = both(settled);
    worlds.extend(both(|kind| World::new(kind, 1)));
    searched("instance lost", &scope, &worlds, 60_000);
}

/// The searches believe an annotation by `opens`; the operator by its seal.
#[test]
fn annotation_is_believed_exactly_where_its_seal_opens() {
    let world = settled(ProviderKind::HuaweiCloud);
    let annotation = world.users[0].annotation.clone().expect("an annotation");
    for (sealed_with, in_use, forged, uid) in
        [(1, 1, false, "u1"), (1, 2, false, "u1"), (1, 1, true, "u1"), (1, 1, false, "u2"), (2, 2, false, "u1")]
    {
        let annotation = Annotation { key: sealed_with, forged, ..(*annotation).clone() };
        let mut text = journal::seal(&annotation.intent, &operator_key(sealed_with));
        if forged {
            text = text.replace("reporting", "somebody");
        }
        let opened: Option<Intent> = journal::open(&text, &Uid::new(uid), &operator_key(in_use));
        let believed = opens(&annotation, &Uid::new(uid), in_use).then(|| annotation.intent.clone());
        assert_eq!(opened, believed, "{sealed_with} {in_use} {forged} {uid}");
    }
}

//! A sound life of an account breaks no rule; each broken one breaks the rule it is made for.

mod story;

use std::time::Duration;

use emulated_clouds::{EffectKind, Operation};
use serde_json::json;
use story::{OTHER, Story, at};

use crate::check;

/// Created from 10 to 12 s.
fn created() -> Story {
    let mut story = Story::default();
    story.user(1, "u", |_| {});
    story.intent(10, "u", "Create", "a1");
    story.call(11, Operation::CreateUser, Some((EffectKind::Created, "digest-1")));
    story.ready(12, "u", "1");
    story
}

/// And deleted from 20 to 23 s.
fn deleted() -> Story {
    let mut story = created();
    story.user_write(20, "u", |object| object["metadata"]["deletionTimestamp"] = json!("2026-11-22T00:00:00Z"));
    story.intent(21, "u", "Delete", "a2");
    story.call(22, Operation::DeleteUser, Some((EffectKind::Deleted, "")));
    story.release(23, "u");
    story
}

fn breaks(story: &Story, rule: &str) {
    let found = check(&story.history());
    assert!(found.iter().any(|violation| violation.rule == rule), "{rule} is not among {found:?}");
}

fn holds(story: &Story) {
    assert_eq!(check(&story.history()), []);
}

#[test]
fn sound_life_of_an_account_breaks_nothing() {
    holds(&created());
    holds(&deleted());
}

#[test]
fn delete_of_an_object_that_nobody_deleted_is_found() {
    let mut story = created();
    story.intent(21, "u", "Delete", "a2");
    story.call(22, Operation::DeleteUser, Some((EffectKind::Deleted, "")));
    breaks(&story, "I1");
}

#[test]
fn delete_of_a_retained_account_is_found() {
    let mut story = created();
    story.user_write(15, "u", |object| object["spec"]["deletionPolicy"] = json!("Retain"));
    story.user_write(20, "u", |object| object["metadata"]["deletionTimestamp"] = json!("2026-11-22T00:00:00Z"));
    story.intent(21, "u", "Delete", "a2");
    story.call(22, Operation::DeleteUser, Some((EffectKind::Deleted, "")));
    breaks(&story, "I1");
}

#[test]
fn delete_for_an_expiry_or_a_recreation_is_none_to_complain_about_and_others_are() {
    let life = |field: &'static str, value: &str, kind: &str| {
        let (mut story, value) = (created(), json!(value));
        story.user_write(15, "u", |object| object["spec"][field] = value.clone());
        story.intent(21, "u", kind, "a2");
        story.call(22, Operation::DeleteUser, Some((EffectKind::Deleted, "")));
        story
    };
    holds(&life("expiresAt", &at(20).to_string(), "Delete"));
    holds(&life("updatePolicy", "Recreate", "Recreate"));
    breaks(&life("expiresAt", &at(2000).to_string(), "Delete"), "I1");
    breaks(&life("updatePolicy", "InPlace", "Recreate"), "I1");
}

#[test]
fn change_that_nobody_announced_is_found() {
    let mut story = created();
    story.call(20, Operation::SetPassword, Some((EffectKind::PasswordSet, OTHER)));
    breaks(&story, "I2");

    let mut story = Story::default();
    story.user(1, "u", |_| {});
    story.call(11, Operation::CreateUser, Some((EffectKind::Created, "digest-1")));
    breaks(&story, "I2");
}

#[test]
fn intent_that_somebody_else_wrote_or_that_became_durable_after_the_call_announces_nothing() {
    let mut story = Story::default();
    story.user(1, "u", |_| {});
    story.forged_intent(10, "u", "Create", "a1");
    story.call(11, Operation::CreateUser, Some((EffectKind::Created, "digest-1")));
    breaks(&story, "I2");

    let mut story = Story::default();
    story.user(1, "u", |_| {});
    story.call(9, Operation::CreateUser, Some((EffectKind::Created, "digest-1")));
    story.intent(10, "u", "Create", "a1");
    breaks(&story, "I2");
}

#[test]
fn change_of_a_foreign_account_is_found_unless_it_is_adopted() {
    let life = |policy: &str| {
        let (mut story, policy) = (Story::default(), json!(policy));
        story.at_the_console(0, EffectKind::Created, OTHER);
        story.user(1, "u", |object| object["spec"]["adoptionPolicy"] = policy.clone());
        story.intent(10, "u", "SetPassword", "a1");
        story.call(11, Operation::SetPassword, Some((EffectKind::PasswordSet, "digest-1")));
        story.ready(12, "u", "1");
        story
    };
    holds(&life("Adopt"));
    breaks(&life("Never"), "I2");
}

#[test]
fn second_object_that_announces_a_change_of_a_held_account_is_found() {
    let mut story = created();
    story.user(13, "other", |_| {});
    story.intent(14, "other", "SetPassword", "a2");
    breaks(&story, "I2");
}

#[test]
fn call_that_is_repeated_without_a_look_is_found() {
    let life = |looked| {
        let mut story = Story::default();
        story.user(1, "u", |_| {});
        story.intent(10, "u", "Create", "a1");
        story.lost_call(11, Operation::CreateUser);
        if looked {
            story.call(12, Operation::ListUsers, None);
        }
        story.intent(13, "u", "Create", "a2");
        story.call(14, Operation::CreateUser, Some((EffectKind::Created, "digest-1")));
        story.ready(15, "u", "1");
        story
    };
    holds(&life(true));
    breaks(&life(false), "I3");
}

#[test]
fn create_of_an_account_that_the_object_has_is_found() {
    let mut story = created();
    story.call(13, Operation::ListUsers, None);
    story.intent(14, "u", "Create", "a2");
    story.call(15, Operation::CreateUser, None);
    breaks(&story, "I3");
}

#[test]
fn call_while_a_job_runs_is_found() {
    let life = |ended| {
        let mut story = Story::default();
        story.user(1, "u", |_| {});
        story.intent(10, "u", "Create", "a1");
        story.job(11, Operation::CreateUser, "j-1");
        story.call(12, Operation::DescribeJobs, None);
        if ended {
            story.job_ends(13, "j-1");
        }
        story.intent(14, "u", "Create", "a2");
        story.job(15, Operation::CreateUser, "j-2");
        story
    };
    holds(&life(true));
    breaks(&life(false), "I3");
}

#[test]
fn ready_before_the_effect_is_found() {
    let mut story = Story::default();
    story.user(1, "u", |_| {});
    story.intent(10, "u", "Create", "a1");
    story.ready(11, "u", "1");
    story.call(12, Operation::CreateUser, Some((EffectKind::Created, "digest-1")));
    breaks(&story, "I4");
}

#[test]
fn ready_with_a_password_that_the_cloud_does_not_have_is_found() {
    let mut story = created();
    story.ready(20, "u", "2");
    breaks(&story, "I4");

    let mut story = created();
    story.ready(20, "u", "a version that never was");
    breaks(&story, "I4");

    // What others changed in the cloud nobody has to know yet.
    let mut story = created();
    story.at_the_console(20, EffectKind::PasswordSet, OTHER);
    story.ready(21, "u", "2");
    holds(&story);
}

#[test]
fn ready_with_another_access_than_the_clouds_is_found() {
    let mut story = created();
    story.operator_write(20, "u", |object| object["status"]["applied"]["databases"] = json!(["other"]));
    breaks(&story, "I4");
}

#[test]
fn ready_with_the_account_of_another_object_is_found() {
    let mut story = created();
    story.user(13, "other", |_| {});
    story.operator_write(14, "other", |object| object["metadata"]["finalizers"] = json!(["chuser.dev/account"]));
    story.ready(15, "other", "1");
    breaks(&story, "I4");
}

#[test]
fn call_within_the_pause_that_was_asked_for_is_found() {
    let life = |next, started: Option<i64>| {
        let mut story = created();
        story.retry_max = Duration::from_secs(60);
        story.throttled(30, Operation::ListUsers, "20");
        story.starts.extend(started.map(at));
        story.call(next, Operation::ListUsers, None);
        story
    };
    holds(&life(51, None));
    holds(&life(40, Some(35)));
    breaks(&life(40, None), "I7");
}

#[test]
fn status_that_goes_back_or_is_written_for_nothing_is_found() {
    let mut story = created();
    story.operator_write(20, "u", |object| object["status"]["observedGeneration"] = json!(0));
    breaks(&story, "I9");

    let mut story = created();
    story.operator_write(20, "u", |object| {
        object["status"]["conditions"][0]["lastTransitionTime"] = json!("2026-11-22T09:00:00Z");
        object["status"]["conditions"][0]["message"] = json!("new words");
    });
    breaks(&story, "I9");

    let mut story = created();
    story.operator_write(20, "u", |_| {});
    breaks(&story, "I9");
}

#[test]
fn release_of_an_object_whose_account_is_there_is_found() {
    let life = || {
        let mut story = created();
        story.user_write(20, "u", |object| object["metadata"]["deletionTimestamp"] = json!("2026-11-22T00:00:00Z"));
        story
    };
    let mut lost = life();
    lost.release(23, "u");
    breaks(&lost, "I10");

    let mut declared = life();
    declared.release(23, "u");
    declared.orphans.insert("u".to_owned());
    holds(&declared);

    let mut retained = life();
    retained.user_write(21, "u", |object| object["spec"]["deletionPolicy"] = json!("Retain"));
    retained.release(23, "u");
    holds(&retained);
}

#[test]
fn account_that_is_made_after_its_object_was_released_is_found() {
    let mut story = Story::default();
    story.user(1, "u", |_| {});
    story.intent(10, "u", "Create", "a1");
    let request = story.lost_call(11, Operation::CreateUser);
    story.release(12, "u");
    story.effect(13, request, EffectKind::Created, "digest-1");
    breaks(&story, "I10");
}

#[test]
fn read_of_a_secret_that_no_object_names_is_found() {
    let mut story = created();
    story.reads_secret(20, "team", "u-password");
    holds(&story);
    story.reads_secret(21, "team", "somebody-elses");
    breaks(&story, "I13");
}

#[test]
fn request_for_anything_the_operator_has_no_business_with_is_found() {
    let mut story = created();
    story.asks(20, "list", "", "configmaps", "team", "");
    breaks(&story, "I13");
}

#[test]
fn accounts_go_with_the_clouds_that_are_replaced() {
    let mut story = created();
    story.clouds_replaced();
    // That nobody has noticed yet is no lie.
    story.operator_write(20, "u", |object| object["status"]["password"]["secretResourceVersion"] = json!("2"));
    holds(&story);
}

#[test]
fn cloud_that_is_down_and_asked_without_growing_pauses_is_found() {
    let life = |every: i64, started: Option<i64>| {
        let mut story = created();
        (story.retry_min, story.retry_max) = (Duration::from_secs(1), Duration::from_secs(60));
        for _ in 0..5 {
            story.failed_call(30, Operation::ListUsers);
        }
        story.starts.extend(started.map(at));
        (1..20).for_each(|number| story.failed_call(30 + every * number, Operation::ListUsers));
        story
    };
    holds(&life(60, None));
    breaks(&life(1, None), "I7");
    // The next process finds the outage anew, and is held to it from then on.
    breaks(&life(1, Some(31)), "I7");
}

#[test]
fn change_that_is_refused_and_tried_again_without_growing_pauses_is_found() {
    let life = |every: i64, between: &dyn Fn(&mut Story, i64)| {
        let mut story = created();
        (story.retry_min, story.retry_max) = (Duration::from_secs(1), Duration::from_secs(60));
        story.intent(20, "u", "SetPassword", "a2");
        for number in 0..20 {
            let second = 30 + every * number;
            story.refused_call(second, Operation::SetPassword);
            between(&mut story, second);
        }
        story
    };
    let nothing: &dyn Fn(&mut Story, i64) = &|_, _| {};
    holds(&life(60, nothing));
    breaks(&life(1, nothing), "I7");
    // Whoever changes the object or its Secret, or starts the process again, wants another try.
    holds(&life(1, &|story, second| story.user_write(second, "u", |object| object["spec"]["suspend"] = json!(false))));
    holds(&life(1, &|story, second| story.secret_write(second, "u-password")));
    holds(&life(1, &|story, second| story.starts.push(at(second))));
    // Others have nothing to do with it.
    let others = |story: &mut Story, second: i64| {
        story.user(second, "other", |object| object["spec"]["username"] = json!("other"));
    };
    breaks(&life(1, &others), "I7");
}

#[test]
fn deletion_beside_a_creation_that_is_under_way_is_found() {
    let life = |looked| {
        let mut story = Story::default();
        story.user(1, "u", |_| {});
        story.intent(10, "u", "Create", "a1");
        story.lost_call(11, Operation::CreateUser);
        story.user_write(12, "u", |object| object["metadata"]["deletionTimestamp"] = json!("2026-11-22T00:00:00Z"));
        if looked {
            story.call(13, Operation::ListUsers, None);
        }
        story.intent(14, "u", "Delete", "a2");
        story.call(15, Operation::DeleteUser, None);
        story
    };
    holds(&life(true));
    breaks(&life(false), "I14");
}

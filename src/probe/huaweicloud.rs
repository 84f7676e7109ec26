//! The questions to Huawei Cloud.

use std::collections::BTreeSet;

use super::{
    account::{Outcome, TestAccounts, new_attempt, new_name, new_password},
    qingcloud::accepted_or_refused,
    session::Session,
    table::{Question, Table, question},
};
use crate::{
    domain::{names::Username, secret::SecretText},
    provider::{
        contract::{Access, Cloud as _, CloudError, ErrorClass, Permission},
        huaweicloud::Instance,
    },
};

const PUBLISHED: Question = question("Are the ClickHouse paths published in this region?", "yes");
const FILTER: Question = question("How does the filter user_name compare?", "not used: the whole list is read");
const TOTAL: Question =
    question("Does total_count count what the filter left out?", "not used: the whole list is read");
const ENGINE: Question = question(
    "What is engine_name of ClickHouse in the list of analysis instances?",
    "not read: spec names the instance",
);
const VIRTUAL: Question = question("Is traffic_vip of a node filled?", "it goes before traffic_ip where it is");
const FOREIGN: Question =
    question("With which code is an instance refused that is not there, or another's?", "a code of the vendor's table");
const GATEWAY: Question = question("Which prefix have the gateway's codes?", "APIGW. or APIG.");
const QUOTAS: Question = question(
    "Which quotas of accounts and calls are there?",
    "20 calls a second are borne; --huaweicloud-rate changes it",
);
const ACTIONS: Question = question(
    "What are the IAM actions of the ClickHouse paths called?",
    "nothing: rights are the cloud account's matter",
);
const LIKE_NAME: Question =
    question("May a password differ from the name in case alone?", "no: refused before the call");
const MISSING: Question = question("With which code is the deletion of a missing account refused?", "DBS.200824");
const VISIBLE: Question = question(
    "Is an account in the list immediately after it was created?",
    "within 15 s; until then our own changes are laid over the list",
);
const EXISTING: Question = question("With which code is an account that exists refused?", "DBS.200827");
const EMPTY: Question = question("May the list of databases be empty?", "no: refused before the call");
const STAR: Question = question("May * stand beside names of databases?", "no: refused before the call");
const UNKNOWN: Question =
    question("May a database be named that does not exist?", "either; a refusal is shown as InvalidSpec");
const REPLACES: Question = question("Does a change of permission replace the list of databases?", "yes");
const COMMA: Question = question("Is a comma taken in the password of a new account?", "no: refused before the call");
const MADE: Question = question("Can a test account be made?", "yes");

/// What is asked with a test account.
const WITH_ACCOUNT: [&Question; 8] = [&MISSING, &VISIBLE, &EXISTING, &EMPTY, &STAR, &UNKNOWN, &REPLACES, &COMMA];

/// The account that every instance has.
const BUILT_IN: &str = "root";

/// Asks what reading answers.
pub async fn read(session: &Session, instance: &Instance, table: &mut Table) {
    session.admitted().await;
    let listed = instance.look_at_users(None).await;
    table.judged(&PUBLISHED, listed.as_ref().map(|_| ("yes".to_owned(), true)).map_err(Clone::clone));
    if session.stopped() {
        return;
    }
    let filtered = filtered(session, instance).await;
    table.any(&FILTER, filtered.as_ref().map(|it| it.compared.to_owned()).map_err(Clone::clone));
    let all = listed.as_ref().map_or(0, |page| page.total);
    let counted = |it: &Filtered| match (it.total, it.shown) {
        (_, shown) if shown == all => "too few accounts to tell",
        (total, shown) if total == shown => "no",
        (total, _) if total == all => "yes",
        _ => "it counts something else",
    };
    table.any(&TOTAL, filtered.as_ref().map(|it| counted(it).to_owned()).map_err(Clone::clone));
    session.admitted().await;
    table.any(
        &ENGINE,
        instance
            .look_at_engine()
            .await
            .map(|engine| engine.unwrap_or_else(|| "not asked: needs taurusInstanceID".into())),
    );
    session.admitted().await;
    table.any(
        &VIRTUAL,
        instance.look_at_virtual_address().await.map(|filled| match filled {
            Some(true) => "yes".to_owned(),
            Some(false) => "no".to_owned(),
            None => "not asked: needs taurusInstanceID".to_owned(),
        }),
    );
    if session.stopped() {
        return;
    }
    session.admitted().await;
    let unknown = instance.look_at_unknown_instance().await;
    let expected = unknown.as_ref().is_err_and(|error| error.class != ErrorClass::Unavailable);
    table.judged(&FOREIGN, accepted_or_refused(unknown).map(|text| (text, expected)));
    session.admitted().await;
    table.any(&GATEWAY, accepted_or_refused(instance.look_at_unknown_path().await));
    table.not_asked(&QUOTAS, "the answer would use them up");
    table.not_asked(&ACTIONS, "only the console shows them");
    table.not_asked(&LIKE_NAME, "such an account could be guessed");
}

/// What the filter of the account list does.
struct Filtered {
    /// What it compares.
    compared: &'static str,
    /// `total_count` of the list filtered for the built-in account.
    total: u64,
    /// How many accounts that list shows.
    shown: u64,
}

async fn filtered(session: &Session, instance: &Instance) -> Result<Filtered, CloudError> {
    let mut filtered = Filtered { compared: "nothing: the built-in account is not found by it", total: 0, shown: 0 };
    // The whole name of the account that is always there, its beginning, and a part of it.
    for (filter, compared) in [(BUILT_IN, "whole names"), ("roo", "beginnings"), ("oo", "any part")] {
        session.admitted().await;
        let page = instance.look_at_users(Some(filter)).await?;
        if page.names.iter().any(|name| name == BUILT_IN) {
            filtered.compared = compared;
        }
        if filter == BUILT_IN {
            (filtered.total, filtered.shown) = (page.total, page.names.len() as u64);
        }
    }
    Ok(filtered)
}

/// Asks what needs a test account; without the leave to make one, says so.
pub async fn change(session: &Session, instance: &Instance, accounts: &mut TestAccounts<'_>, table: &mut Table) {
    if !session.create_test_account {
        return table.fill(&WITH_ACCOUNT, "needs --create-test-account");
    }
    ask_with_account(session, instance, accounts, table).await;
    table.fill(&WITH_ACCOUNT, "an earlier answer stands in the way, or the probe was stopped");
}

async fn ask_with_account(session: &Session, instance: &Instance, accounts: &mut TestAccounts<'_>, table: &mut Table) {
    session.admitted().await;
    let databases = instance.databases().await.unwrap_or_default();
    let first = databases.first().map_or("*", String::as_str);
    let (name, missing, password) = (new_name("a"), new_name("b"), new_password());

    session.admitted().await;
    let sent = instance.delete_strictly(&missing).await;
    let deleted = session.outcome(instance, sent).await;
    table.judged(&MISSING, told(&deleted, deleted.refused_as() == Some(ErrorClass::AccountNotFound)));
    if session.stopped() {
        return;
    }

    let created = accounts.create(&name, &password, &to(&[first])).await;
    if !created.is_done() {
        return table.any(&MADE, created.told());
    }
    session.admitted().await;
    let listed = instance.read_instance().await.map(|it| find(it.accounts.as_deref(), &name).is_some());
    table.any(&VISIBLE, listed.map(|there| if there { "yes" } else { "no" }.to_owned()));
    let again = accounts.create(&name, &password, &to(&[first])).await;
    table.judged(&EXISTING, told(&again, again.refused_as() == Some(ErrorClass::AccountExists)));
    if session.stopped() {
        return;
    }

    table.any(&EMPTY, set(session, instance, &name, &[]).await.told());
    table.any(&STAR, set(session, instance, &name, &["*", first]).await.told());
    table.any(&UNKNOWN, set(session, instance, &name, &[missing.as_str()]).await.told());
    if let [one, other, ..] = databases.as_slice() {
        let both = [set(session, instance, &name, &[one]).await, set(session, instance, &name, &[other]).await];
        session.admitted().await;
        let listed = instance.read_instance().await;
        let replaced = listed.map(|it| {
            let wanted = to(&[other]).databases;
            find(it.accounts.as_deref(), &name).is_some_and(|account| account.access.databases == wanted)
        });
        let text = |yes: bool| (if yes { "yes" } else { "no" }.to_owned(), yes);
        match both.iter().find(|outcome| !outcome.is_done()) {
            Some(failed) => table.any(&REPLACES, failed.told()),
            None => table.judged(&REPLACES, replaced.map(text)),
        }
    } else {
        table.not_asked(&REPLACES, "the instance needs two databases");
    }
    if session.stopped() {
        return;
    }

    let with_comma = SecretText::new(format!("{},", password.expose()));
    table.any(&COMMA, accounts.create(&new_name("c"), &with_comma, &to(&[first])).await.told());
}

fn to(databases: &[&str]) -> Access {
    let databases: BTreeSet<_> = databases.iter().map(|&name| name.to_owned()).collect();
    Access { databases: Some(databases), permission: Some(Permission::ReadOnly), ..Access::default() }
}

async fn set(session: &Session, instance: &Instance, name: &Username, databases: &[&str]) -> Outcome {
    session.admitted().await;
    let sent = instance.set_access(&new_attempt(), name, &to(databases)).await;
    session.outcome(instance, sent).await
}

fn find<'a>(
    accounts: Option<&'a [crate::provider::contract::Account]>,
    name: &Username,
) -> Option<&'a crate::provider::contract::Account> {
    accounts?.iter().find(|account| account.username == *name)
}

fn told(outcome: &Outcome, as_assumed: bool) -> Result<(String, bool), CloudError> {
    outcome.told().map(|text| (text, as_assumed))
}

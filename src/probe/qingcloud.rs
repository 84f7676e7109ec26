//! The questions to QingCloud.

use std::collections::BTreeSet;

use jiff::SignedDuration;

use super::{
    account::{Outcome, PREFIX, TestAccounts, new_attempt, new_name, new_password},
    session::Session,
    table::{Question, Table, question},
};
use crate::{
    domain::{names::Username, secret::SecretText},
    provider::{
        contract::{Access, CallError, Cloud as _, CloudError, ErrorClass},
        qingcloud::{Cluster, Method},
    },
};

const ENDPOINTS: Question =
    question("In which form does DescribeClusters give endpoints?", "not read: spec.connection says the ports");
const TABS: Question = question(
    "Which display_tabs does the cluster have, and does one show ClickHouse users?",
    "none does: accounts cannot be read back",
);
const KEPT: Question =
    question("How long are jobs of custom services kept?", "an hour or more; of an older call nothing is concluded");
const ORDER: Question = question("In which order does DescribeJobs list?", "any: the order is read from the records");
const UNKNOWN_JOB: Question = question(
    "What does DescribeJobs say of an id it does not know?",
    "it is left out, or the call is refused with 2100",
);
const REFUSAL: Question =
    question("With which HTTP status and message is a call refused?", "status 200, a ret_code and a text");
const FUTURE: Question = question(
    "What happens to a time_stamp more than 60 s ahead?",
    "either; where it is refused with 1300, the cloud's time is learnt from it",
);
const QUOTA: Question = question(
    "What is the quota of calls, and its window?",
    "2000 an hour; --qingcloud-rate holds to it, and 2500 pauses the credential",
);
const PORTS: Question = question(
    "Which ports, TLS and rights has a new account?",
    "9000 and 8123 without TLS; spec.connection overrides them",
);
const MISSING: Question = question(
    "What does del_ck_user do with a name that does not exist?",
    "its job fails; a successful one or a refusal serves as well",
);
const POST: Question =
    question("Does RunClusterCustomService take POST forms?", "yes; where not, set spec.qingcloud.method: GET");
const TRANSITION: Question =
    question("What is transition_status while a custom service runs?", "not empty; where it is, the busy answer tells");
const BUSY: Question = question(
    "What happens to a custom service while another runs on the cluster?",
    "refused as busy with 1400, or accepted and queued",
);
const REQ_ID: Question = question(
    "Does a job's directive repeat req_id?",
    "yes; where not, a lost call's job is found by its key, cluster, service and account",
);
const PARAMS: Question = question("In which form does a job's directive hold service_params?", "a text or an object");
const PASSWORD: Question =
    question("Does a job's directive show the password?", "yes, so job records are read and wiped, and never shown");
const EXISTING: Question =
    question("How does add_ck_user refuse a name that exists?", "its job fails, or the call is refused with 2110");
const CASE: Question = question(
    "Is a name that differs from another in case alone one of its own?",
    "yes, as in ClickHouse; where not, its job fails",
);
const REPEATED: Question = question(
    "May a req_id be used again after a call that was accepted under it?",
    "not needed: each accepted call has one of its own",
);
const RULE: Question =
    question("When is a broken rule of service_params told?", "any: the documented rules are checked before the call");
const ROLE: Question = question(
    "How is a role that the cluster does not have refused?",
    "any refusal: nodes of the role are looked for before",
);
const MADE: Question = question("Can a test account be made?", "yes");

/// What is asked with a test account.
const WITH_ACCOUNT: [&Question; 12] =
    [&MISSING, &POST, &TRANSITION, &BUSY, &REQ_ID, &PARAMS, &PASSWORD, &EXISTING, &CASE, &REPEATED, &RULE, &ROLE];

/// Asks what reading answers.
pub async fn read(session: &Session, cluster: &Cluster, table: &mut Table) {
    session.admitted().await;
    let looked = cluster.look().await;
    table.any(&ENDPOINTS, field(&looked, |it| it.endpoints.to_owned()));
    table.any(
        &TABS,
        field(&looked, |it| if it.display_tabs.is_empty() { "none".to_owned() } else { it.display_tabs.join(", ") }),
    );
    if session.stopped() {
        return;
    }
    session.admitted().await;
    let jobs = cluster.look_at_jobs().await;
    table.any(
        &KEPT,
        field(&jobs, |it| match it.oldest {
            Some(oldest) => format!("at least since {oldest}; {} records are shown", it.count),
            None => "no such job is shown".to_owned(),
        }),
    );
    table.any(
        &ORDER,
        field(&jobs, |it| match it.newest_first {
            Some(true) => "newest first".to_owned(),
            Some(false) => "oldest first".to_owned(),
            None => "too few jobs to tell".to_owned(),
        }),
    );
    session.admitted().await;
    let left_out = cluster.unknown_job_is_left_out().await;
    let told = |left_out: bool| if left_out { "it is left out" } else { "the call is refused with 2100" }.to_owned();
    table.any(&UNKNOWN_JOB, left_out.map(told));
    if session.stopped() {
        return;
    }
    session.admitted().await;
    let refusal = cluster.call_unknown_action().await;
    table.judged(
        &REFUSAL,
        match refusal {
            Ok(()) => Ok(("an unknown action is taken".to_owned(), false)),
            // Another status is told in words; without any answer there is nothing to judge.
            Err(error) if error.code.is_some() || error.message.starts_with("HTTP status") => {
                Ok((error.to_string(), error.code.is_some()))
            }
            Err(error) => Err(error),
        },
    );
    session.admitted().await;
    let future = cluster.read_from_the_future(SignedDuration::from_mins(5)).await;
    table.any(&FUTURE, accepted_or_refused(future));
    table.not_asked(&QUOTA, "the answer would use it up");
    table.not_asked(&PORTS, "needs a ClickHouse client; spec.connection overrides the ports");
}

/// Asks what needs a test account; without the leave to make one, says so.
pub async fn change(session: &Session, cluster: &Cluster, accounts: &mut TestAccounts<'_>, table: &mut Table) {
    if !session.create_test_account {
        return table.fill(&WITH_ACCOUNT, "needs --create-test-account");
    }
    ask_with_account(session, cluster, accounts, table).await;
    table.fill(&WITH_ACCOUNT, "an earlier answer stands in the way, or the probe was stopped");
}

async fn ask_with_account(session: &Session, cluster: &Cluster, accounts: &mut TestAccounts<'_>, table: &mut Table) {
    // From nowhere but the node itself: nobody can use the account.
    let access = Access { allowed_hosts: Some(BTreeSet::from(["127.0.0.1".to_owned()])), ..Access::default() };
    let (name, missing, password, attempt) = (new_name("a"), new_name("b"), new_password(), new_attempt());

    let deleted = delete(session, cluster, &missing).await;
    table.any(&MISSING, deleted.told());
    if session.stopped() {
        return;
    }

    let sent = accounts.send(&name, &password, &access, &attempt).await;
    table.judged(
        &POST,
        match (&sent, cluster.method()) {
            (_, Method::Get) => Ok(("not asked: the instance has method: GET".to_owned(), true)),
            (Ok(_), Method::Post) => Ok(("yes".to_owned(), true)),
            (Err(CallError::NotApplied(error)), Method::Post) => Ok((format!("refused: {error}"), false)),
            (Err(CallError::Unknown(error)), Method::Post) => Err(error.clone()),
        },
    );
    if sent.is_ok() {
        session.admitted().await;
        let during = cluster.look().await;
        table.any(
            &TRANSITION,
            field(&during, |it| {
                if it.transition_status.is_empty() { "empty".to_owned() } else { it.transition_status.clone() }
            }),
        );
        session.admitted().await;
        let second = cluster.delete(&new_attempt(), &missing).await;
        let busy = match &second {
            Ok(_) => "it is accepted".to_owned(),
            Err(error) => format!("refused: {}", error.error()),
        };
        let expected = second.as_ref().map_or_else(|error| error.error().class == ErrorClass::InstanceBusy, |_| true);
        table.judged(&BUSY, Ok((busy, expected)));
        let _ = session.outcome(cluster, second).await;
    }
    let created = accounts.settle(&name, sent).await;
    let Outcome::Done(Some(job)) = &created else {
        table.any(&MADE, created.told());
        return;
    };
    session.admitted().await;
    let record = cluster.look_at_job(job, &attempt, &password).await;
    let record =
        record.and_then(|it| it.ok_or_else(|| CloudError::new(ErrorClass::Unavailable, "the job is not shown")));
    let yes_or_no = |yes: bool| if yes { "yes" } else { "no" }.to_owned();
    table.judged(&REQ_ID, record.as_ref().map(|it| (yes_or_no(it.attempt), it.attempt)).map_err(Clone::clone));
    table.any(&PARAMS, field(&record, |it| if it.params_are_text { "a text" } else { "an object" }.to_owned()));
    table.any(&PASSWORD, field(&record, |it| if it.password { "yes, in clear text" } else { "no" }.to_owned()));
    if session.stopped() {
        return;
    }

    let again = accounts.create(&name, &password, &access).await;
    let expected = matches!(again, Outcome::JobFailed(_)) || again.refused_as() == Some(ErrorClass::AccountExists);
    table.judged(&EXISTING, told(&again, expected));
    let in_other_case = accounts.create(&in_capitals(&name), &password, &access).await;
    table.judged(&CASE, told(&in_other_case, in_other_case.is_done()));
    let sent = accounts.send(&name, &password, &access, &attempt).await;
    let repeated = accounts.settle(&name, sent).await;
    table.any(&REPEATED, repeated.told());
    if session.stopped() {
        return;
    }

    // One character short of what the vendor documents.
    let short = SecretText::new(password.expose().chars().take(7).collect::<String>());
    let broken = accounts.create(&new_name("c"), &short, &access).await;
    table.any(&RULE, broken.told());
    let other = cluster.with_unknown_role();
    session.admitted().await;
    let sent = other.delete(&new_attempt(), &missing).await;
    table.any(&ROLE, session.outcome(&other, sent).await.told());
}

/// The same name, what makes it this account's in capitals; it still begins as all test accounts do.
fn in_capitals(name: &Username) -> Username {
    let own = name.as_str().strip_prefix(PREFIX).unwrap_or_default();
    Username::new(format!("{PREFIX}{}", own.to_uppercase()))
}

async fn delete(session: &Session, cluster: &Cluster, name: &Username) -> Outcome {
    session.admitted().await;
    let sent = cluster.delete(&new_attempt(), name).await;
    session.outcome(cluster, sent).await
}

fn told(outcome: &Outcome, as_assumed: bool) -> Result<(String, bool), CloudError> {
    outcome.told().map(|text| (text, as_assumed))
}

fn field<T>(looked: &Result<T, CloudError>, read: impl FnOnce(&T) -> String) -> Result<String, CloudError> {
    looked.as_ref().map(read).map_err(Clone::clone)
}

/// A refusal is an answer here; only what says nothing is none.
pub(super) fn accepted_or_refused(result: Result<(), CloudError>) -> Result<String, CloudError> {
    match result {
        Ok(()) => Ok("accepted".to_owned()),
        Err(error) if error.code.is_some() => Ok(format!("refused: {error}")),
        Err(error) => Err(error),
    }
}

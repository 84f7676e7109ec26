//! What the operator asks of the API server and of the clouds, counted.

use std::collections::BTreeMap;

use control_plane::AuditEvent;
use emulated_clouds::{Event, Ledger, Operation, Request, Service};

use crate::{
    kubernetes::writes,
    manifests::{Cloud, IAM_PASSWORD, PASSWORD, password, secret_object, user},
    world::{World, on_both_clouds},
};

/// What was read and what was written of a user and its Secret; Events are counted apart.
fn about<'a>(user: &str, requests: &'a [AuditEvent]) -> (Vec<&'a AuditEvent>, Vec<&'a AuditEvent>) {
    let about_it = requests.iter().filter(|it| it.resource != "events" && it.name.starts_with(user));
    let (written, read) = about_it.partition(|it| writes(it));
    (read, written)
}

#[tokio::test]
async fn create_and_delete_cost_the_api_server_what_was_promised() {
    on_both_clouds(async |cloud| {
        let world = World::of(cloud).start().await;
        // The first user also puts the finalizer on the instance.
        world.ready_user("first").await;
        let (creating, deleting) = if cloud == Cloud::QingCloud { (3, 3) } else { (2, 2) };

        let mark = world.kubernetes.mark().await;
        world.apply_user_with_password("second").await;
        world.kubernetes.user_shows("second", "AccountReady").await;
        // What the operator still wanted of the second user it has asked by now.
        world.apply_user_with_password("third").await;
        world.kubernetes.user_shows("third", "AccountReady").await;
        let requests = world.kubernetes.operator_requests(mark).await;
        let (read, written) = about("second", &requests);
        assert_eq!(read.len(), 1, "{read:?}");
        assert_eq!((read[0].resource.as_str(), read[0].name.as_str()), ("secrets", "second-password"));
        assert_eq!(written.len(), creating, "{written:?}");

        let mark = world.kubernetes.mark().await;
        world.delete_user("second").await;
        let requests = world.kubernetes.operator_requests(mark).await;
        let (read, written) = about("second", &requests);
        assert!(read.is_empty(), "{read:?}");
        assert_eq!(written.len(), deleting, "{written:?}");
        world.finish().await;
    })
    .await;
}

const MANY: usize = 20;

#[tokio::test]
async fn many_users_of_one_instance_share_lists_tokens_and_job_looks() {
    on_both_clouds(async |cloud| {
        let world = World::of(cloud).start().await;
        let credentials = match cloud {
            Cloud::QingCloud => crate::manifests::credentials(cloud),
            // The form with a token.
            Cloud::HuaweiCloud => secret_object(
                "cloud-api",
                &[("domainName", "ACCOUNT"), ("userName", "iam-user"), ("password", IAM_PASSWORD)],
            ),
        };
        world.kubernetes.apply(&(credentials + &world.instance())).await;
        world.kubernetes.instance_shows("warehouse", "Reachable").await;
        let names: Vec<_> = (0..MANY).map(|number| format!("user{number}")).collect();
        let manifests = names.iter().map(|name| password(name, PASSWORD) + &user(cloud, name, ""));
        world.kubernetes.apply(&manifests.collect::<String>()).await;
        for name in &names {
            world.kubernetes.user_shows(name, "AccountReady").await;
        }
        let ledger = world.clouds.ledger();
        let mut asked: BTreeMap<Operation, usize> = BTreeMap::new();
        for (_, request) in ledger.requests() {
            *asked.entry(request.operation).or_default() += 1;
        }
        eprintln!("{cloud:?}: {MANY} users cost these requests: {asked:?}");
        assert_eq!(asked[&cloud.create()], MANY, "{asked:?}");
        assert_eq!(asked[&cloud.read()], 1, "{asked:?}");
        match cloud {
            // Jobs run one after the other, so each has to be looked at, but not for ever.
            Cloud::QingCloud => assert!(asked[&Operation::DescribeJobs] <= 5 * MANY, "{asked:?}"),
            Cloud::HuaweiCloud => assert_eq!(asked[&Operation::CreateToken], 1, "{asked:?}"),
        }
        one_change_at_a_time(&ledger);
        world.finish().await;
    })
    .await;
}

/// No change was asked for before the one before it was over: answered, and its job ended.
fn one_change_at_a_time(ledger: &Ledger) {
    let mut open: Option<&Request> = None;
    let (mut asked, mut jobs) = (BTreeMap::new(), 0_usize);
    for entry in ledger.entries() {
        match &entry.event {
            Event::Request(request) if request.operation.changes_accounts() => {
                assert!(open.is_none() && jobs == 0, "{request:?} came while another change was under way: {open:?}");
                open = Some(request);
                asked.insert(entry.sequence, request);
            }
            Event::Answer { request, answer } if asked.contains_key(request) => {
                open = None;
                jobs +=
                    usize::from(asked[request].service == Service::QingCloud && answer.code.as_deref() == Some("0"));
            }
            Event::JobEnded { .. } => jobs -= 1,
            _ => {}
        }
    }
}

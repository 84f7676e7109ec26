use serde_json::{Value, json};

use super::*;
use crate::provider::qingcloud::fake::{Reply, Server};

fn answer(records: &[Value]) -> Reply {
    Reply::json(&json!({"ret_code": 0, "total_count": records.len(), "job_set": records}).to_string())
}

#[tokio::test]
async fn every_status_has_its_state() {
    let statuses = ["pending", "working", "successful", "failed", "done with failure", "new word"];
    let records: Vec<_> = (0..).zip(statuses).map(|(n, s)| json!({"job_id": format!("j-{n}"), "status": s})).collect();
    let server = Server::start(move |_| answer(&records)).await;
    let ids: Vec<_> = (0..6).map(|n| JobId::new(format!("j-{n}"))).collect();
    let states: Vec<_> =
        read(&server.client(), "sh1a", &ids).await.expect("jobs").into_iter().map(|job| job.state).collect();
    let failed = JobState::Failed(None);
    assert_eq!(
        states,
        [JobState::Running, JobState::Running, JobState::Succeeded, failed.clone(), failed, JobState::Running]
    );
}

#[tokio::test]
async fn jobs_are_asked_for_a_hundred_a_request_in_their_zone() {
    let server = Server::start(|request| {
        let ids = request.parameters.iter().filter(|(name, _)| name.starts_with("jobs."));
        let records: Vec<_> = ids.map(|(_, id)| json!({"job_id": id, "status": "working"})).collect();
        answer(&records)
    })
    .await;
    let ids: Vec<_> = (0..250).map(|number| JobId::new(format!("j-{number}"))).collect();
    let jobs = read(&server.client(), "sh1a", &ids).await.expect("jobs");
    assert_eq!(jobs.len(), 250);
    let requests = server.requests();
    let asked: Vec<_> =
        requests.iter().map(|seen| seen.parameters.keys().filter(|name| name.starts_with("jobs.")).count()).collect();
    assert_eq!(asked, [100, 100, 50]);
    assert!(requests.iter().all(|seen| seen.parameters["zone"] == "sh1a" && seen.parameters["limit"] == "100"));
}

#[tokio::test]
async fn no_jobs_to_read_is_no_request() {
    let server = Server::start(|_| answer(&[])).await;
    assert_eq!(read(&server.client(), "sh1a", &[]).await, Ok(Vec::new()));
    assert!(server.requests().is_empty());
}

#[tokio::test]
async fn jobs_not_asked_for_and_odd_records_are_left_out() {
    let records = [
        json!({"job_id": "j-1", "status": 7, "directive": {"any": ["thing"]}}),
        json!({"job_id": "j-other", "status": "failed"}),
        json!({"job_id": null, "status": "failed"}),
    ];
    let server = Server::start(move |_| answer(&records)).await;
    let jobs = read(&server.client(), "sh1a", &[JobId::new("j-1"), JobId::new("j-2")]).await;
    assert_eq!(jobs, Ok(vec![Job { id: JobId::new("j-1"), state: JobState::Running }]));
}

#[tokio::test]
async fn one_unknown_job_does_not_hide_the_others() {
    let server = Server::start(|request| {
        let ids: Vec<_> =
            request.parameters.iter().filter(|(name, _)| name.starts_with("jobs.")).map(|(_, id)| id).collect();
        if ids.iter().any(|id| *id == "j-3") {
            return Reply::json(r#"{"ret_code":2100,"message":"ResourceNotFound, resource [j-3] not found"}"#);
        }
        let records: Vec<_> = ids.iter().map(|id| json!({"job_id": id, "status": "working"})).collect();
        answer(&records)
    })
    .await;
    let ids: Vec<_> = (0..8).map(|number| JobId::new(format!("j-{number}"))).collect();
    let jobs = read(&server.client(), "sh1a", &ids).await.expect("jobs");
    let read: Vec<_> = jobs.iter().map(|job| job.id.as_str()).collect();
    assert_eq!(read, ["j-0", "j-1", "j-2", "j-4", "j-5", "j-6", "j-7"]);
}

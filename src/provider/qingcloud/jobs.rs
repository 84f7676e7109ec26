//! Following jobs: where each stands, and nothing else of its record, which repeats the request and its password.

use serde::{Deserialize, de::DeserializeOwned};

use super::{
    client::{Client, Request},
    errors,
    record::{ErrorCodes, Text},
    sign::Parameters,
    wire::{self, Jobs},
};
use crate::{
    domain::names::JobId,
    provider::contract::{CloudError, ErrorClass, Job, JobState},
};

/// Most rows of an answer, whatever is asked for (vendor page "response").
pub(super) const PAGE: usize = 100;

/// As much of a record as following a job needs.
#[derive(Deserialize)]
struct Progress {
    #[serde(default)]
    job_id: Text,
    #[serde(default)]
    status: Text,
    #[serde(default)]
    error_codes: ErrorCodes,
}

/// Reads the named jobs, a hundred a request. Jobs that the cloud does not show are left out.
pub(super) async fn read(client: &Client, zone: &str, ids: &[JobId]) -> Result<Vec<Job>, CloudError> {
    let mut jobs = Vec::new();
    let mut batches: Vec<_> = ids.chunks(PAGE).rev().collect();
    while let Some(batch) = batches.pop() {
        let parameters = Parameters::default().with_list("jobs", batch.iter().map(JobId::as_str));
        match describe::<Progress>(client, zone, parameters).await {
            Ok(page) => jobs.extend(
                page.job_set
                    .iter()
                    .filter_map(|record| job(&record.job_id, &record.status, &record.error_codes))
                    .filter(|job| batch.contains(&job.id)),
            ),
            // The vendor's page has one unknown job fail the whole request: halve until it stands alone.
            Err(error) if error.code == Some(errors::NOT_FOUND.to_string()) => {
                if batch.len() > 1 {
                    let (first, second) = batch.split_at(batch.len() / 2);
                    batches.extend([second, first]);
                }
            }
            Err(error) => return Err(error),
        }
    }
    Ok(jobs)
}

/// One page of job records, with as much of each as `R` reads.
pub(super) async fn describe<R: DeserializeOwned>(
    client: &Client,
    zone: &str,
    parameters: Parameters,
) -> Result<Jobs<R>, CloudError> {
    let parameters = parameters.with("limit", PAGE.to_string());
    let answer = client.call(&Request::read("DescribeJobs", zone, parameters)).await;
    answer.map_err(|error| match error.into_error() {
        // What is not found is a job. It must not read as if the instance were gone.
        error if error.class == ErrorClass::InstanceNotFound => CloudError { class: ErrorClass::Rejected, ..error },
        error => error,
    })
}

/// A job from the fields of its record; `None` without a usable identifier.
pub(super) fn job(id: &Text, status: &Text, error_codes: &ErrorCodes) -> Option<Job> {
    let state = match status.get().unwrap_or_default() {
        "successful" => JobState::Succeeded,
        // The second is named in the vendor's Go library only.
        "failed" | "done with failure" => JobState::Failed(error_codes.get().map(str::to_owned)),
        // `pending`, `working`, and what is not known: the caller's own deadline ends that.
        _ => JobState::Running,
    };
    Some(Job { id: wire::job_id(id.get()?)?, state })
}

#[cfg(test)]
mod tests;

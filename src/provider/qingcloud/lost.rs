//! Finding the job of a call whose answer was lost.
//!
//! A record's `directive` repeats the whole request, clear-text password included. That is not read out of the answer, whose
//! bytes are wiped.

use std::time::Duration;

use jiff::Timestamp;
use serde::Deserialize;

use super::{
    cluster::{ADD_USER, CUSTOM_SERVICE, Cluster, DELETE_USER},
    jobs::{PAGE, describe, job},
    record::{Embedded, ErrorCodes, Text},
    sign::Parameters,
};
use crate::provider::contract::{CallKind, CloudError, ErrorClass, Job, LostCall};

/// Most pages read: 2000 records, 20 calls of an hourly quota of 2000.
const MOST_PAGES: usize = 20;

/// A job may bear a time this much before its intent: the cloud takes requests from clocks that are 60 s off, and we
/// learn of a difference only when it refuses one.
const CLOCK_TOLERANCE: Duration = Duration::from_secs(60);

/// Finds the job of a lost call among the cluster's custom services since the call's intent.
///
/// The request's `req_id` decides. Where the cloud repeats no request's `req_id`, the newest job of the same access
/// key, cluster, service and account is it. A record that may be it is an error, not "none", which would allow a second
/// attempt: one that cannot be read, and one that is alike but bears no `req_id` where others do. That the cloud repeats
/// it is concluded from one captured record, not documented, so a job without one is not proven to be somebody else's.
pub(super) async fn find(cluster: &Cluster, lost: &LostCall) -> Result<Option<Job>, CloudError> {
    let mut search = Search::new(cluster, lost)?;
    let mut offset = 0;
    for _ in 0..MOST_PAGES {
        let parameters = Parameters::default().with("job_action", CUSTOM_SERVICE).with("offset", offset.to_string());
        let page = describe::<Record>(&cluster.client, &cluster.zone, parameters).await?;
        for record in &page.job_set {
            search.look_at(record);
        }
        offset += page.job_set.len();
        let complete = page.job_set.is_empty() || page.total_count.as_u64().is_some_and(|total| offset as u64 >= total);
        if complete || search.is_over() {
            return search.conclusion();
        }
    }
    Err(CloudError::new(
        ErrorClass::Unavailable,
        format!("the zone has more than {} job records: the lost call's job cannot be told", MOST_PAGES * PAGE),
    ))
}

/// As much of a record as telling whose job it is needs.
#[derive(Deserialize)]
struct Record {
    #[serde(default)]
    job_id: Text,
    #[serde(default)]
    job_action: Text,
    #[serde(default)]
    status: Text,
    #[serde(default)]
    error_codes: ErrorCodes,
    #[serde(default)]
    create_time: Text,
    #[serde(default)]
    resource_ids: Text,
    #[serde(default)]
    directive: Embedded<Directive>,
}

/// The request that a record repeats, but for its password.
#[derive(Deserialize)]
struct Directive {
    #[serde(default)]
    access_key_id: Text,
    #[serde(default)]
    cluster: Text,
    #[serde(default)]
    service: Text,
    #[serde(default)]
    service_params: Embedded<ServiceParams>,
    #[serde(default)]
    req_id: Text,
}

/// The parameters of its custom service.
#[derive(Deserialize)]
struct ServiceParams {
    #[serde(default)]
    user: Text,
}

/// The state of a search through the records.
struct Search<'a> {
    cluster: &'a Cluster,
    lost: &'a LostCall,
    service: &'static str,
    since: Timestamp,
    /// The job that bears the attempt's `req_id`.
    found: Option<Job>,
    /// The newest job that is alike in everything but bears no `req_id`.
    alike: Option<(Timestamp, Job)>,
    /// A job may be alike: it bears no `req_id`, and not all of the rest can be read.
    perhaps_alike: bool,
    /// A job's request cannot be read at all.
    unreadable: bool,
    /// Some request's `req_id` is repeated, so a job alike that bears none may be ours or may not.
    repeats_req_id: bool,
    order: Order,
}

impl<'a> Search<'a> {
    fn new(cluster: &'a Cluster, lost: &'a LostCall) -> Result<Self, CloudError> {
        let service = match lost.kind {
            CallKind::Create => ADD_USER,
            CallKind::Delete => DELETE_USER,
            CallKind::SetPassword | CallKind::SetAccess => {
                return Err(CloudError::new(ErrorClass::Rejected, "QingCloud has no such call, so it has no job"));
            }
        };
        let since = cluster.client.cloud_time(lost.since);
        Ok(Self {
            cluster,
            lost,
            service,
            since: since.checked_sub(CLOCK_TOLERANCE).unwrap_or(since),
            found: None,
            alike: None,
            perhaps_alike: false,
            unreadable: false,
            repeats_req_id: false,
            order: Order::default(),
        })
    }

    fn look_at(&mut self, record: &Record) {
        let created = record.create_time.get().and_then(|text| text.parse::<Timestamp>().ok());
        self.order.next(created);
        let of_cluster = |ids: &str| ids.split([' ', ',']).any(|id| id == self.cluster.id);
        let elsewhere = record.job_action.get().is_some_and(|action| action != CUSTOM_SERVICE)
            || record.resource_ids.get().is_some_and(|ids| !of_cluster(ids))
            || created.is_some_and(|created| created < self.since);
        if elsewhere {
            return;
        }
        let Some(request) = &record.directive.object else {
            self.unreadable = true;
            return;
        };
        let job = job(&record.job_id, &record.status, &record.error_codes);
        if let Some(req_id) = request.req_id.get() {
            self.repeats_req_id = true;
            if req_id == self.lost.attempt.as_str() {
                self.unreadable |= job.is_none();
                self.found = job;
            }
            return;
        }
        let asked = [
            (request.access_key_id.get(), self.cluster.client.access_key_id().expose()),
            (request.cluster.get(), &self.cluster.id),
            (request.service.get(), self.service),
            (request.service_params.object.as_ref().and_then(|params| params.user.get()), self.lost.username.as_str()),
        ];
        if asked.iter().any(|(is, ours)| is.is_some_and(|is| is != *ours)) {
            return;
        }
        match (created, job) {
            (Some(created), Some(job)) if asked.iter().all(|(is, _)| is.is_some()) => {
                if self.alike.as_ref().is_none_or(|(newest, _)| *newest < created) {
                    self.alike = Some((created, job));
                }
            }
            _ => self.perhaps_alike = true,
        }
    }

    /// Whether no further page can hold the job. The order of records is not documented, so that only records seen to
    /// come newest first end the search early.
    fn is_over(&self) -> bool {
        self.found.is_some() || self.order.newest_first_until().is_some_and(|last| last < self.since)
    }

    fn conclusion(self) -> Result<Option<Job>, CloudError> {
        if self.found.is_some() {
            return Ok(self.found);
        }
        if self.unreadable || self.perhaps_alike || (self.alike.is_some() && self.repeats_req_id) {
            return Err(CloudError::new(
                ErrorClass::Unavailable,
                "a job record of the cluster may be that of the lost call, which cannot be told: look at its job log",
            ));
        }
        Ok(self.alike.map(|(_, job)| job))
    }
}

/// The order in which records came.
#[derive(Default)]
struct Order {
    last: Option<Timestamp>,
    fell: bool,
    broken: bool,
}

impl Order {
    fn next(&mut self, created: Option<Timestamp>) {
        match (self.last, created) {
            (Some(last), Some(created)) => {
                self.fell |= created < last;
                self.broken |= created > last;
            }
            (None, Some(_)) => {}
            (_, None) => self.broken = true,
        }
        self.last = created;
    }

    /// The time of the last record, if the records so far came newest first.
    fn newest_first_until(&self) -> Option<Timestamp> {
        self.last.filter(|_| self.fell && !self.broken)
    }
}

#[cfg(test)]
mod tests;

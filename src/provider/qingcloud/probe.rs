//! Raw looks at what the vendor's documentation leaves open, for `probe`. All of them read.

use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use serde_json::Value;

use super::{
    client::Request,
    cluster::{CUSTOM_SERVICE, Cluster},
    errors,
    jobs::describe,
    record::{Embedded, Text},
    sign::Parameters,
    wire,
};
use crate::{
    domain::{
        names::{AttemptId, JobId},
        secret::SecretText,
    },
    provider::contract::{CallError, CloudError},
};

/// What the record of a cluster says beside its state.
pub struct ClusterLook {
    /// `transition_status`; empty while nothing goes on.
    pub transition_status: String,
    /// The JSON type of `endpoints`.
    pub endpoints: &'static str,
    /// Names in `display_tabs`.
    pub display_tabs: Vec<String>,
}

/// What the list of custom services' jobs says of itself.
pub struct JobsLook {
    /// How many records there are.
    pub count: usize,
    /// When the oldest one shown was created.
    pub oldest: Option<Timestamp>,
    /// Whether the newest comes first; `None` where it cannot be told.
    pub newest_first: Option<bool>,
}

/// What the record of a job of ours repeats of its request.
pub struct JobLook {
    /// `req_id` as it was sent.
    pub attempt: bool,
    /// `service_params` are a text, not an object.
    pub params_are_text: bool,
    /// The password in clear text.
    pub password: bool,
    /// The word of `status`.
    pub status: String,
}

#[derive(Deserialize)]
struct RawCluster {
    #[serde(default)]
    transition_status: Value,
    #[serde(default)]
    endpoints: Value,
    #[serde(default)]
    display_tabs: Value,
}

#[derive(Deserialize)]
struct RawClusters {
    cluster_set: Vec<RawCluster>,
}

#[derive(Deserialize)]
struct RawJob {
    #[serde(default)]
    create_time: Value,
}

/// The record of a job of ours.
#[derive(Deserialize)]
struct OwnJob {
    #[serde(default)]
    status: Text,
    #[serde(default)]
    directive: Embedded<OwnDirective>,
}

#[derive(Deserialize)]
struct OwnDirective {
    #[serde(default)]
    req_id: Text,
    #[serde(default)]
    service_params: Embedded<OwnParams>,
}

#[derive(Deserialize)]
struct OwnParams {
    #[serde(default)]
    passwd: Text,
}

impl Cluster {
    /// This cluster with a role that no node has.
    #[must_use]
    pub fn with_unknown_role(&self) -> Self {
        Self {
            client: self.client.clone(),
            zone: self.zone.clone(),
            id: self.id.clone(),
            role: "chuser-probe".to_owned(),
            method: self.method,
        }
    }

    /// Reads the record of the cluster.
    pub async fn look(&self) -> Result<ClusterLook, CloudError> {
        let request = Request::read("DescribeClusters", &self.zone, self.only_this());
        let answer: RawClusters = self.client.call(&request).await.map_err(CallError::into_error)?;
        let cluster = answer.cluster_set.into_iter().next().ok_or_else(|| wire::not_understood().into_error())?;
        Ok(ClusterLook {
            transition_status: cluster.transition_status.as_str().unwrap_or_default().to_owned(),
            endpoints: match cluster.endpoints {
                Value::Null => "null",
                Value::String(_) => "a text",
                Value::Object(_) => "an object",
                _ => "something else",
            },
            display_tabs: cluster.display_tabs.as_object().into_iter().flat_map(|tabs| tabs.keys().cloned()).collect(),
        })
    }

    /// Reads the cluster with a `time_stamp` that is ahead of the cloud's clock.
    pub async fn read_from_the_future(&self, ahead: SignedDuration) -> Result<(), CloudError> {
        let request = Request::read("DescribeClusters", &self.zone, self.only_this());
        let now = self.client.cloud_time(Timestamp::now());
        let at = now.saturating_add(ahead).unwrap_or(now);
        self.client.send::<RawClusters>(&request, at, &mut None).await.map(drop).map_err(CallError::into_error)
    }

    /// Asks for a job that cannot be there; whether it is merely left out.
    pub async fn unknown_job_is_left_out(&self) -> Result<bool, CloudError> {
        let parameters = Parameters::default().with_list("jobs", ["j-00000000000"]);
        match describe::<RawJob>(&self.client, &self.zone, parameters).await {
            Ok(page) => Ok(page.job_set.is_empty()),
            Err(error) if error.code == Some(errors::NOT_FOUND.to_string()) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Calls an action that is not there, to see how a refusal looks.
    pub async fn call_unknown_action(&self) -> Result<(), CloudError> {
        let request = Request::read("DescribeChuserProbe", &self.zone, Parameters::default());
        self.client.call::<Value>(&request).await.map(drop).map_err(CallError::into_error)
    }

    /// Reads the first page of the jobs of custom services in the zone.
    pub async fn look_at_jobs(&self) -> Result<JobsLook, CloudError> {
        let parameters = Parameters::default().with("job_action", CUSTOM_SERVICE);
        let page = describe::<RawJob>(&self.client, &self.zone, parameters).await?;
        let times: Vec<Timestamp> =
            page.job_set.iter().filter_map(|job| job.create_time.as_str()?.parse().ok()).collect();
        let ends = times.first().zip(times.last()).filter(|(first, last)| first != last);
        Ok(JobsLook {
            count: page.total_count.as_u64().and_then(|count| count.try_into().ok()).unwrap_or(times.len()),
            oldest: times.iter().min().copied(),
            newest_first: ends.map(|(first, last)| first > last),
        })
    }

    /// Reads the record of a job of ours; the password that it may hold is wiped.
    pub async fn look_at_job(
        &self,
        id: &JobId,
        attempt: &AttemptId,
        password: &SecretText,
    ) -> Result<Option<JobLook>, CloudError> {
        let parameters = Parameters::default().with_list("jobs", [id.as_str()]);
        let page = describe::<OwnJob>(&self.client, &self.zone, parameters).await?;
        Ok(page.job_set.first().map(|record| {
            let directive = record.directive.object.as_ref();
            let params = directive.and_then(|it| it.service_params.object.as_ref());
            JobLook {
                attempt: directive.and_then(|it| it.req_id.get()) == Some(attempt.as_str()),
                params_are_text: directive.is_some_and(|it| it.service_params.is_text),
                password: params.and_then(|params| params.passwd.get()) == Some(password.expose()),
                status: record.status.get().unwrap_or_default().to_owned(),
            }
        }))
    }

    fn only_this(&self) -> Parameters {
        Parameters::default().with_list("clusters", [self.id.as_str()])
    }
}

//! One ClickHouse instance: the account calls, each as the vendor's API page of that name has it.

use std::{collections::BTreeSet, sync::Arc};

use futures::{FutureExt as _, future::BoxFuture};
use reqwest::Method;
use serde::Serialize;

use super::{
    client::{Client, Request},
    listing,
    wire::{self, Condition, Detail},
};
use crate::{
    domain::{
        names::{AttemptId, JobId, Username},
        secret::SecretText,
    },
    provider::{
        contract::{
            Accepted, Access, Account, CallError, Cloud, CloudError, ErrorClass, InstanceReading, Job, LostCall,
            Mutation, NewAccount,
        },
        http::ANSWER_LIMIT,
    },
};

const CREATE_USER: &str = "create_click_house_database_user";
pub(super) const LIST_USERS: &str = "show_click_house_database_user";
const LIST_DATABASES: &str = "list_click_house_data_base";
pub(super) const DELETE_USER: &str = "delete_click_house_database_user";
const SET_PASSWORD: &str = "update_click_house_database_user_password";
const SET_PERMISSION: &str = "update_click_house_database_user_permission";
pub(super) const SHOW_INSTANCE: &str = "list_click_house_instance";

/// One ClickHouse instance seen through one credential.
pub struct Instance {
    pub(super) client: Arc<Client>,
    pub(super) project_id: String,
    pub(super) id: String,
    pub(super) taurus_id: Option<String>,
}

impl Instance {
    /// `id` is the ClickHouse instance; `taurus_id`, the database it replicates, is needed only to
    /// look its address up.
    pub fn new(
        client: Arc<Client>,
        project_id: impl Into<String>,
        id: impl Into<String>,
        taurus_id: Option<String>,
    ) -> Self {
        Self { client, project_id: project_id.into(), id: id.into(), taurus_id }
    }

    /// The accounts, those of the cloud itself included.
    async fn accounts(&self) -> Result<Vec<Account>, CloudError> {
        listing::all(self, LIST_USERS, "users", wire::accounts, |account| account.username.as_str()).await
    }

    /// The databases, as the instance has them now. `databases` of an account may name others: deleting a database does
    /// not take it from the accounts that name it.
    pub async fn databases(&self) -> Result<Vec<String>, CloudError> {
        listing::all(self, LIST_DATABASES, "databases", wire::databases, String::as_str).await
    }

    /// Reads state and address of the instance.
    async fn detail(&self, taurus_id: &str) -> Result<Detail, CloudError> {
        let request = Request {
            operation: SHOW_INSTANCE,
            method: Method::GET,
            path: self.path(&["instances", taurus_id, "clickhouse", &self.id])?,
            query: Vec::new(),
            body: None,
            password: None,
            limit: ANSWER_LIMIT,
        };
        let read = |body: &[u8]| wire::detail(body, &self.id);
        self.client.send(&self.project_id, &request, read).await.map_err(CallError::into_error)
    }

    async fn read(&self) -> Result<InstanceReading, CloudError> {
        let accounts = Some(self.accounts().await?);
        let Some(taurus_id) = &self.taurus_id else {
            return Ok(InstanceReading { accounts, address: None, busy: false });
        };
        match self.detail(taurus_id).await {
            Ok(Detail { condition: Condition::Unusable(reason), .. }) => {
                Err(CloudError::new(ErrorClass::InstanceUnavailable, reason))
            }
            Ok(Detail { condition, address }) => {
                Ok(InstanceReading { accounts, address, busy: condition == Condition::Busy })
            }
            Err(error) if error.class == ErrorClass::InstanceUnavailable => Err(error),
            // The list is what matters; the address only fills connection Secrets, and whoever waits for it says so.
            Err(error) => {
                tracing::debug!(%error, instance = self.id, "the connection address cannot be read");
                Ok(InstanceReading { accounts, address: None, busy: false })
            }
        }
    }

    /// Sends a changing call; `tail` follows `.../clickhouse/users` in its path.
    pub(super) async fn change<B: Serialize + Sync>(
        &self,
        operation: &'static str,
        method: Method,
        tail: &[&str],
        body: Option<&B>,
        password: Option<&SecretText>,
    ) -> Mutation {
        let users = ["instances", &self.id, "clickhouse", "users"];
        let request = Request {
            operation,
            method,
            path: self.path(&[&users, tail].concat()).map_err(CallError::NotApplied)?,
            query: Vec::new(),
            body: body.map(wire::body),
            password,
            limit: ANSWER_LIMIT,
        };
        self.client.send(&self.project_id, &request, wire::succeeded).await.map(|()| Accepted::Done)
    }

    /// A path below the project. Every segment is plain, so that encoding never comes into it: the vendor's own signers
    /// disagree there, and a URL library would follow dots.
    pub(super) fn path(&self, segments: &[&str]) -> Result<String, CloudError> {
        let plain = |segment: &&str| {
            !segment.is_empty() && segment.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
        };
        if !plain(&self.project_id.as_str()) || !segments.iter().all(plain) {
            return Err(CloudError::new(
                ErrorClass::InvalidSpec,
                "projectID, instanceID, taurusInstanceID and username may hold only letters, digits, '-' and '_'",
            ));
        }
        Ok(format!("/v3/{}/{}", self.project_id, segments.join("/")))
    }
}

/// Databases and `dml` of an access, which the rules always fill in.
fn parts(access: &Access) -> Result<(&BTreeSet<String>, u8), CallError> {
    match (&access.databases, access.permission) {
        (Some(databases), Some(permission)) => Ok((databases, wire::dml(permission))),
        _ => Err(CallError::NotApplied(CloudError::new(
            ErrorClass::InvalidSpec,
            "databases and permission are required on Huawei Cloud",
        ))),
    }
}

impl Cloud for Instance {
    fn read_instance(&self) -> BoxFuture<'_, Result<InstanceReading, CloudError>> {
        self.read().boxed()
    }

    fn create<'a>(&'a self, _attempt: &'a AttemptId, account: NewAccount<'a>) -> BoxFuture<'a, Mutation> {
        async move {
            let (databases, dml) = parts(account.access)?;
            let user_name = account.username.as_str();
            let body = wire::NewUser { user_name, password: account.password.expose(), databases, dml };
            self.change(CREATE_USER, Method::POST, &[], Some(&body), Some(account.password)).await
        }
        .boxed()
    }

    fn set_password<'a>(
        &'a self,
        _attempt: &'a AttemptId,
        username: &'a Username,
        password: &'a SecretText,
    ) -> BoxFuture<'a, Mutation> {
        async move {
            let body = wire::NewPassword { user_name: username.as_str(), password: password.expose() };
            self.change(SET_PASSWORD, Method::PUT, &["password"], Some(&body), Some(password)).await
        }
        .boxed()
    }

    fn set_access<'a>(
        &'a self,
        _attempt: &'a AttemptId,
        username: &'a Username,
        access: &'a Access,
    ) -> BoxFuture<'a, Mutation> {
        async move {
            let (databases, dml) = parts(access)?;
            let body = wire::NewAccess { user_name: username.as_str(), databases, dml };
            self.change(SET_PERMISSION, Method::PUT, &["permission"], Some(&body), None).await
        }
        .boxed()
    }

    fn delete<'a>(&'a self, _attempt: &'a AttemptId, username: &'a Username) -> BoxFuture<'a, Mutation> {
        async move {
            let outcome = self.change(DELETE_USER, Method::DELETE, &[username.as_str()], None::<&()>, None).await;
            match outcome {
                // The account is not there, which is what was asked for.
                Err(CallError::NotApplied(error)) if error.class == ErrorClass::AccountNotFound => Ok(Accepted::Done),
                other => other,
            }
        }
        .boxed()
    }

    fn job_scope(&self) -> &str {
        self.client.region()
    }

    fn jobs<'a>(&'a self, _ids: &'a [JobId]) -> BoxFuture<'a, Result<Vec<Job>, CloudError>> {
        std::future::ready(Err(no_jobs())).boxed()
    }

    fn find_job<'a>(&'a self, _lost: &'a LostCall) -> BoxFuture<'a, Result<Option<Job>, CloudError>> {
        std::future::ready(Err(no_jobs())).boxed()
    }
}

fn no_jobs() -> CloudError {
    CloudError::new(ErrorClass::Rejected, "Huawei Cloud has no jobs for account calls")
}

#[cfg(test)]
mod tests;

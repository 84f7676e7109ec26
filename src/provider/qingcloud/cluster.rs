//! One cluster: the contract's calls, in the vendor's terms.

use std::{net::IpAddr, sync::Arc};

use futures::{FutureExt, future::BoxFuture};
use serde::{Serialize, de::DeserializeOwned};

use super::{
    client::{Client, Method, Request},
    jobs, lost,
    sign::Parameters,
    wire,
};
use crate::{
    domain::{
        names::{AttemptId, JobId, Username},
        secret::SecretText,
    },
    provider::{
        contract::{
            Accepted, Access, Address, CallError, Cloud, CloudError, ErrorClass, InstanceReading, Job, LostCall,
            Mutation, NewAccount,
        },
        http::ANSWER_LIMIT,
    },
};

/// The role of the node that runs ClickHouse.
pub const DEFAULT_ROLE: &str = "analysis";

/// The action behind every change.
pub(super) const CUSTOM_SERVICE: &str = "RunClusterCustomService";

/// The custom service that adds an account.
pub(super) const ADD_USER: &str = "add_ck_user";

/// The custom service that removes an account.
pub(super) const DELETE_USER: &str = "del_ck_user";

/// One cluster seen through one credential.
pub struct Cluster {
    pub(super) client: Arc<Client>,
    pub(super) zone: String,
    pub(super) id: String,
    pub(super) role: String,
    pub(super) method: Method,
}

/// `service_params` of `add_ck_user`. The key is `passwd`; a sample on the vendor's page has it wrong.
#[derive(Serialize)]
struct AddUser<'a> {
    user: &'a str,
    passwd: &'a str,
    host: &'a str,
}

/// `service_params` of `del_ck_user`.
#[derive(Serialize)]
struct DeleteUser<'a> {
    user: &'a str,
}

impl Cluster {
    /// A cluster with the usual role, whose changes are sent as POST forms.
    pub fn new(client: Arc<Client>, zone: impl Into<String>, id: impl Into<String>) -> Self {
        Self { client, zone: zone.into(), id: id.into(), role: DEFAULT_ROLE.to_owned(), method: Method::default() }
    }

    /// Takes nodes of another role for the ones that run ClickHouse.
    #[must_use]
    pub fn with_role(mut self, role: impl Into<String>) -> Self {
        self.role = role.into();
        self
    }

    /// Sends changes another way.
    #[must_use]
    pub fn with_method(mut self, method: Method) -> Self {
        self.method = method;
        self
    }

    /// How changes are sent.
    pub fn method(&self) -> Method {
        self.method
    }

    /// Runs a custom service. Every way it can end but a whole answer with a job is an error.
    async fn run(
        &self,
        service: &'static str,
        attempt: &AttemptId,
        service_params: &impl Serialize,
        secret: Option<&SecretText>,
    ) -> Mutation {
        let service_params =
            SecretText::new(serde_json::to_string(service_params).expect("text fields always become JSON"));
        let parameters = Parameters::default()
            .with("cluster", &self.id)
            .with("role", &self.role)
            .with("service", service)
            .with("service_params", service_params.expose())
            // Comes back in the job's record, where it tells a lost call's job from all others.
            .with("req_id", attempt.as_str());
        let request = Request {
            operation: service,
            action: CUSTOM_SERVICE,
            method: self.method,
            zone: &self.zone,
            parameters,
            secret,
            limit: ANSWER_LIMIT,
        };
        let answer: wire::CustomService = self.client.call(&request).await?;
        wire::job_id(&answer.job_id).map(Accepted::Job).ok_or_else(wire::not_understood)
    }

    /// What a refused delete did not find, account or cluster: 2100 means either, and its words are not stable. A cluster
    /// that can be read is there; where it cannot, that failure is all that is known.
    async fn what_is_missing(&self, refusal: CloudError) -> CloudError {
        match self.read_instance().await {
            Ok(_) => {
                let text = "no account of that name is there";
                CloudError::new(ErrorClass::AccountNotFound, text).with_code(refusal.code.unwrap_or_default())
            }
            Err(error) => error,
        }
    }

    /// Whether another operation runs on the cluster, if it can take changes at all.
    async fn read_state(&self) -> Result<bool, CloudError> {
        let parameters = Parameters::default().with_list("clusters", [self.id.as_str()]);
        let answer: wire::Clusters = self.read("DescribeClusters", parameters).await?;
        if answer.cluster_set.is_empty() {
            let text = "the cloud shows no such cluster to this access key: check zone and clusterID";
            return Err(CloudError::new(ErrorClass::InstanceNotFound, text));
        }
        let Some(cluster) = answer.cluster_set.iter().find(|cluster| cluster.id == *self.id) else {
            // The answer is about something else: no proof that the cluster is gone.
            return Err(wire::not_understood().into_error());
        };
        let status = cluster.status.as_str().unwrap_or_default();
        let unfit = |class, text: String| Err(CloudError::new(class, text).with_code(status));
        match status {
            "active" => Ok(cluster.transition_status.as_str().is_some_and(|transition| !transition.is_empty())),
            // Being created.
            "pending" => Ok(true),
            "deleted" | "ceased" => unfit(ErrorClass::InstanceNotFound, "the cloud says the cluster is deleted".into()),
            "stopped" | "suspended" => unfit(
                ErrorClass::InstanceUnavailable,
                format!("the cluster is {status}: start it, or settle the account, in the console"),
            ),
            "" => Err(wire::not_understood().into_error()),
            _ => unfit(
                ErrorClass::InstanceUnavailable,
                "the cluster has a status that QingCloud does not document".into(),
            ),
        }
    }

    /// The private address of the node that runs ClickHouse; `None` where there is a node but no address yet. Its ports
    /// are not documented.
    async fn read_nodes(&self, busy: bool) -> Result<Option<Address>, CloudError> {
        let parameters = Parameters::default().with("cluster", &self.id).with("role", &self.role).with("limit", "100");
        let answer: wire::Nodes = self.read("DescribeClusterNodes", parameters).await?;
        let of_role = || answer.node_set.iter().filter(|node| node.role.is_null() || node.role == *self.role);
        // At most one such node is documented; a replaced one may linger in another status.
        let Some(node) = of_role().find(|node| node.status == "active").or_else(|| of_role().next()) else {
            if busy {
                // It may be on its way.
                return Ok(None);
            }
            return Err(CloudError::new(
                ErrorClass::InstanceUnavailable,
                format!("the cluster has no node of role {}: add an analysis node, or set the role", self.role),
            ));
        };
        let address = node.private_ip.as_str().and_then(|text| text.parse::<IpAddr>().ok());
        Ok(address.map(|address| Address { host: address.to_string(), ..Address::default() }))
    }

    async fn read<T: DeserializeOwned>(&self, action: &'static str, parameters: Parameters) -> Result<T, CloudError> {
        self.client.call(&Request::read(action, &self.zone, parameters)).await.map_err(CallError::into_error)
    }
}

impl Cloud for Cluster {
    /// Proves that the credential can read the cluster. A cluster that the cloud itself calls deleted is
    /// [`ErrorClass::InstanceNotFound`] with that status as its code; one that it merely does not show has no code.
    fn read_instance(&self) -> BoxFuture<'_, Result<InstanceReading, CloudError>> {
        async move {
            let busy = self.read_state().await?;
            let address = self.read_nodes(busy).await?;
            Ok(InstanceReading { accounts: None, address, busy })
        }
        .boxed()
    }

    fn create<'a>(&'a self, attempt: &'a AttemptId, account: NewAccount<'a>) -> BoxFuture<'a, Mutation> {
        async move {
            let hosts: Vec<_> = account.access.allowed_hosts.iter().flatten().map(String::as_str).collect();
            if hosts.is_empty() {
                // The rules refuse this long before; what an empty host means to the cloud is not documented.
                let text = "spec.allowedHosts is required on QingCloud";
                return Err(CallError::NotApplied(CloudError::new(ErrorClass::InvalidSpec, text)));
            }
            let (user, passwd) = (account.username.as_str(), account.password.expose());
            let parameters = AddUser { user, passwd, host: &hosts.join(";") };
            self.run(ADD_USER, attempt, &parameters, Some(account.password)).await
        }
        .boxed()
    }

    fn set_password<'a>(
        &'a self,
        _attempt: &'a AttemptId,
        _username: &'a Username,
        _password: &'a SecretText,
    ) -> BoxFuture<'a, Mutation> {
        not_offered("changes a password")
    }

    fn set_access<'a>(
        &'a self,
        _attempt: &'a AttemptId,
        _username: &'a Username,
        _access: &'a Access,
    ) -> BoxFuture<'a, Mutation> {
        not_offered("changes access")
    }

    fn delete<'a>(&'a self, attempt: &'a AttemptId, username: &'a Username) -> BoxFuture<'a, Mutation> {
        async move {
            let outcome = self.run(DELETE_USER, attempt, &DeleteUser { user: username.as_str() }, None).await;
            match outcome {
                Err(CallError::NotApplied(error)) if error.class == ErrorClass::InstanceNotFound => {
                    Err(CallError::NotApplied(self.what_is_missing(error).await))
                }
                outcome => outcome,
            }
        }
        .boxed()
    }

    fn job_scope(&self) -> &str {
        &self.zone
    }

    fn jobs<'a>(&'a self, ids: &'a [JobId]) -> BoxFuture<'a, Result<Vec<Job>, CloudError>> {
        jobs::read(&self.client, &self.zone, ids).boxed()
    }

    fn find_job<'a>(&'a self, lost: &'a LostCall) -> BoxFuture<'a, Result<Option<Job>, CloudError>> {
        lost::find(self, lost).boxed()
    }
}

fn not_offered(what: &str) -> BoxFuture<'static, Mutation> {
    let error = CloudError::new(ErrorClass::Rejected, format!("QingCloud has no call that {what} of an account"));
    futures::future::ready(Err(CallError::NotApplied(error))).boxed()
}

#[cfg(test)]
mod tests;

//! Raw looks at what the vendor's documentation leaves open, for `probe`. All of them read, but for the deletion.

use reqwest::Method;
use serde_json::Value;

use super::{
    client::Request,
    instance::{DELETE_USER, Instance, LIST_USERS, SHOW_INSTANCE},
};
use crate::{
    domain::names::Username,
    provider::{
        contract::{CallError, CloudError, Mutation},
        http::{ANSWER_LIMIT, LIST_LIMIT, json},
    },
};

/// One page of the account list.
pub struct UsersLook {
    /// The names in it.
    pub names: Vec<String>,
    /// `total_count`
    pub total: u64,
}

impl Instance {
    /// The first hundred accounts, filtered by the cloud where a filter is given.
    pub async fn look_at_users(&self, user_name: Option<&str>) -> Result<UsersLook, CloudError> {
        let mut query = vec![("limit", "100".to_owned()), ("offset", "0".to_owned())];
        query.extend(user_name.map(|name| ("user_name", name.to_owned())));
        let body = self.get(LIST_USERS, &["instances", &self.id, "clickhouse", "users"], query).await?;
        Ok(UsersLook {
            names: texts(&body["user_details"], "user_name"),
            total: body["total_count"].as_u64().unwrap_or(0),
        })
    }

    /// The same list of an instance that cannot be there.
    pub async fn look_at_unknown_instance(&self) -> Result<(), CloudError> {
        let unknown = format!("{:0>32}in16", 0);
        self.get(LIST_USERS, &["instances", &unknown, "clickhouse", "users"], Vec::new()).await.map(drop)
    }

    /// A path that is not published.
    pub async fn look_at_unknown_path(&self) -> Result<(), CloudError> {
        self.get(LIST_USERS, &["chuser-probe"], Vec::new()).await.map(drop)
    }

    /// `engine_name` of this instance among the analysis instances; `None` where the TaurusDB instance is not known.
    pub async fn look_at_engine(&self) -> Result<Option<String>, CloudError> {
        let Some(taurus_id) = &self.taurus_id else { return Ok(None) };
        let body = self.get("list_htap_instance_info", &["instances", taurus_id, "htap"], Vec::new()).await?;
        let mut instances = body["instances"].as_array().into_iter().flatten();
        let engine = instances.find(|it| it["id"] == *self.id).and_then(|it| it["engine_name"].as_str());
        Ok(engine.map(str::to_owned))
    }

    /// Whether `traffic_vip` of a node is filled; `None` where the TaurusDB instance is not known.
    pub async fn look_at_virtual_address(&self) -> Result<Option<bool>, CloudError> {
        let Some(taurus_id) = &self.taurus_id else { return Ok(None) };
        let body = self.get(SHOW_INSTANCE, &["instances", taurus_id, "clickhouse", &self.id], Vec::new()).await?;
        let groups = body["instance"]["groups"].as_array().into_iter().flatten();
        let mut nodes = groups.filter_map(|group| group["nodes"].as_array()).flatten();
        Ok(Some(nodes.any(|node| node["traffic_vip"].as_str().is_some_and(|address| !address.is_empty()))))
    }

    /// Deletes an account, and tells a missing one from one that was there.
    pub async fn delete_strictly(&self, username: &Username) -> Mutation {
        self.change(DELETE_USER, Method::DELETE, &[username.as_str()], None::<&()>, None).await
    }

    async fn get(
        &self,
        operation: &'static str,
        path: &[&str],
        query: Vec<(&'static str, String)>,
    ) -> Result<Value, CloudError> {
        let limit = if operation == LIST_USERS { LIST_LIMIT } else { ANSWER_LIMIT };
        let path = self.path(path)?;
        let request = Request { operation, method: Method::GET, path, query, body: None, password: None, limit };
        self.client.send(&self.project_id, &request, json).await.map_err(CallError::into_error)
    }
}

fn texts(list: &Value, field: &str) -> Vec<String> {
    let rows = list.as_array().into_iter().flatten();
    rows.filter_map(|row| row[field].as_str()).map(str::to_owned).collect()
}

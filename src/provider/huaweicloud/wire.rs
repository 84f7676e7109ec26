//! The JSON of the account calls, in both directions. Pure.

use std::{collections::BTreeSet, sync::Arc};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use zeroize::Zeroizing;

use super::rules;
use crate::{
    domain::names::Username,
    provider::{
        contract::{Access, Account, Address, Permission},
        http::json,
    },
};

/// Body of create_click_house_database_user.
#[derive(Serialize)]
pub(super) struct NewUser<'a> {
    pub user_name: &'a str,
    pub password: &'a str,
    pub databases: &'a BTreeSet<String>,
    /// Always sent: the cloud's default would be the wider permission.
    pub dml: u8,
}

/// Body of update_click_house_database_user_password.
#[derive(Serialize)]
pub(super) struct NewPassword<'a> {
    pub user_name: &'a str,
    pub password: &'a str,
}

/// Body of update_click_house_database_user_permission: it replaces the whole list.
#[derive(Serialize)]
pub(super) struct NewAccess<'a> {
    pub user_name: &'a str,
    pub databases: &'a BTreeSet<String>,
    pub dml: u8,
}

/// The bytes of a body, in one buffer that is wiped; most bodies fit, so that growing leaves no copy behind.
pub(super) fn body(value: &impl Serialize) -> Zeroizing<Vec<u8>> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(4096));
    serde_json::to_writer(&mut *bytes, value).expect("structs of texts and numbers always serialize");
    bytes
}

/// The cloud's number for a permission.
pub(super) fn dml(permission: Permission) -> u8 {
    match permission {
        Permission::ReadOnly => 1,
        Permission::ReadAndConfigure => 2,
    }
}

/// Whether a changing call says that it succeeded; nothing else is success.
pub(super) fn succeeded(body: &[u8]) -> Option<()> {
    #[derive(Deserialize)]
    struct Body {
        result: String,
    }
    let body: Body = json(body)?;
    (body.result == "SUCCESS").then_some(())
}

/// A page of a list.
pub(super) struct Page<T> {
    pub rows: Vec<T>,
    /// How many rows all pages have together.
    pub total: usize,
}

/// Reads a page of list_click_house_data_base. A page that lacks anything it should have is no page.
pub(super) fn databases(body: &[u8]) -> Option<Page<String>> {
    #[derive(Deserialize)]
    struct Body {
        databases: Vec<String>,
        total_count: usize,
    }
    let Body { databases, total_count } = json(body)?;
    Some(Page { rows: databases, total: total_count })
}

/// Reads a page of show_click_house_database_user, likewise.
pub(super) fn accounts(body: &[u8]) -> Option<Page<Account>> {
    #[derive(Deserialize)]
    struct Body {
        user_details: Vec<Listed>,
        total_count: usize,
    }
    #[derive(Deserialize)]
    struct Listed {
        user_name: String,
        // An account may have been made in the console without any database.
        databases: Option<BTreeSet<String>>,
        dml: Option<Value>,
    }
    let Body { user_details, total_count } = json(body)?;
    let account = |user: Listed| Account {
        built_in: rules::built_in(&user.user_name),
        username: Username::new(user.user_name),
        access: Arc::new(Access {
            allowed_hosts: None,
            databases: Some(user.databases.unwrap_or_default()),
            permission: user.dml.as_ref().and_then(permission),
        }),
    };
    Some(Page { rows: user_details.into_iter().map(account).collect(), total: total_count })
}

fn permission(dml: &Value) -> Option<Permission> {
    match dml.as_u64()? {
        1 => Some(Permission::ReadOnly),
        2 => Some(Permission::ReadAndConfigure),
        _ => None,
    }
}

/// What the detail of an instance says of its use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Condition {
    /// It takes calls, as far as the detail tells. `abnormal` is this too: calls to it speak for themselves.
    Usable,
    /// It is being created. Other work on it is not read from `actions`, whose end the vendor does not describe: a call
    /// that meets it is answered with a busy code.
    Busy,
    /// It takes no calls, for this reason.
    Unusable(&'static str),
}

/// The detail of an instance.
pub(super) struct Detail {
    pub condition: Condition,
    pub address: Option<Address>,
}

/// Reads the answer of list_click_house_instance, which is, against its name, the detail of one instance. Many of its
/// fields may be null, so each is looked up by itself; only an answer for another instance is none.
pub(super) fn detail(body: &[u8], instance_id: &str) -> Option<Detail> {
    let body: Value = json(body)?;
    let instance = body.get("instance")?;
    if instance["id"].as_str()? != instance_id {
        return None;
    }
    Some(Detail { condition: condition(instance), address: address(instance) })
}

fn condition(instance: &Value) -> Condition {
    let frozen = &instance["is_frozen"];
    if frozen.as_bool() == Some(true) || frozen.as_i64().is_some_and(|number| number != 0) {
        return Condition::Unusable("the instance is frozen, which mostly means arrears");
    }
    match instance["status"].as_str() {
        Some("creating") => Condition::Busy,
        Some("createfailed") => Condition::Unusable("the creation of the instance failed"),
        Some("deleted") => Condition::Unusable("the instance is shown as deleted"),
        _ => Condition::Usable,
    }
}

/// Host: the virtual address of the master, else its own (`traffic_vip` is empty on single instances).
fn address(instance: &Value) -> Option<Address> {
    let groups = instance["groups"].as_array()?;
    let mut nodes = groups.iter().filter_map(|group| group["nodes"].as_array()).flatten();
    let master = nodes.find(|node| node["type"] == "master")?;
    let text = |name: &str| master[name].as_str().filter(|text| !text.is_empty());
    let host = text("traffic_vip").or_else(|| text("traffic_ip"))?.to_owned();
    let tls = instance["ssl_option"].as_bool().unwrap_or(false);
    let ports = &instance["port_info"];
    // The vendor spells the native protocol's fields "tep".
    let (native, http) = if tls { ("tep_secure_port", "https_port") } else { ("tep_port", "http_port") };
    Some(Address { host, port: port(&ports[native]), http_port: port(&ports[http]), tls })
}

/// A port as number or, as some of the answer's ports are, as text.
fn port(value: &Value) -> Option<u16> {
    let number = match value {
        Value::String(text) => text.parse().ok()?,
        other => other.as_u64()?,
    };
    u16::try_from(number).ok().filter(|&port| port != 0)
}

#[cfg(test)]
mod tests;

//! The reading calls.

use serde_json::{Value, json};

use super::{InstanceRecord, Rejection, Route};
use crate::{
    ledger::Operation,
    message::{RawRequest, Reply},
    seed::InstanceState,
    switches::{TotalCount, TrafficVip, UserNameFilter},
    world::{Shared, World},
};

const MOST_ROWS: usize = 100;

pub(super) fn answer(
    shared: &Shared,
    raw: &RawRequest,
    route: &Route,
    instance: Option<&str>,
) -> Result<Reply, Rejection> {
    let world = shared.world();
    let record = instance.and_then(|id| world.huawei.instance(id));
    let body = match (route.operation, record) {
        (Operation::ListUsers, Some(record)) => list_users(shared, &world, raw, record)?,
        (Operation::ListDatabases, Some(record)) => list_databases(raw, record)?,
        (Operation::ShowInstance, Some(record)) => show_instance(&world, record),
        (Operation::ListHtap, _) => list_htap(&world, route)?,
        // Nothing here makes jobs: account calls are synchronous.
        _ if raw.query_value("id").is_some() => return Err(Rejection::JobMissing),
        _ => return Err(Rejection::BadParameter),
    };
    Ok(Reply::new(200, body))
}

fn list_users(shared: &Shared, world: &World, raw: &RawRequest, record: &InstanceRecord) -> Result<Value, Rejection> {
    let wanted = raw.query_value("user_name").filter(|name| !name.is_empty());
    let matches = |name: &str| {
        wanted.as_deref().is_none_or(|wanted| match world.switches.huawei_user_name_filter {
            UserNameFilter::Exact => name == wanted,
            UserNameFilter::Substring => name.contains(wanted),
            UserNameFilter::Prefix => name.starts_with(wanted),
        })
    };
    let now = shared.clock.now();
    let rows: Vec<_> = record.listed(now).filter(|row| matches(&row.name)).collect();
    let total = match world.switches.huawei_total_count {
        TotalCount::AfterFilter => rows.len(),
        TotalCount::BeforeFilter => record.listed(now).count(),
    };
    let rows: Vec<_> = page(raw, rows)?.into_iter().map(super::accounts::Listed::row).collect();
    Ok(json!({ "user_details": rows, "total_count": total }))
}

fn list_databases(raw: &RawRequest, record: &InstanceRecord) -> Result<Value, Rejection> {
    let wanted = raw.query_value("database_name");
    let names: Vec<_> = record
        .seed
        .databases
        .iter()
        .filter(|name| wanted.as_deref().is_none_or(|wanted| name.contains(wanted)))
        .collect();
    let total = names.len();
    Ok(json!({ "databases": page(raw, names)?, "total_count": total }))
}

/// `limit` (1 to 100, default 10) rows after `offset` rows.
fn page<T>(raw: &RawRequest, rows: Vec<T>) -> Result<Vec<T>, Rejection> {
    let number = |name: &str, default: usize| match raw.query_value(name) {
        None => Ok(default),
        Some(text) => text.parse::<usize>().map_err(|_| Rejection::BadPage),
    };
    let (limit, offset) = (number("limit", 10)?, number("offset", 0)?);
    if !(1..=MOST_ROWS).contains(&limit) {
        return Err(Rejection::BadPage);
    }
    Ok(rows.into_iter().skip(offset).take(limit).collect())
}

fn status(state: InstanceState) -> &'static str {
    match state {
        InstanceState::Normal | InstanceState::Busy | InstanceState::Frozen => "normal",
        InstanceState::Abnormal => "abnormal",
        InstanceState::Deleted => "deleted",
    }
}

fn actions(record: &InstanceRecord) -> Value {
    if record.seed.state == InstanceState::Busy {
        json!([{ "action": "REBOOT", "status": "Running", "job_id": "", "object_id": record.seed.id }])
    } else {
        json!([])
    }
}

fn show_instance(world: &World, record: &InstanceRecord) -> Value {
    let seed = &record.seed;
    let vip = match world.switches.huawei_traffic_vip {
        TrafficVip::Empty => "",
        TrafficVip::Filled => &seed.address,
    };
    json!({ "instance": {
        "id": seed.id,
        "name": "htap-emulated",
        "project_id": seed.project,
        "status": status(seed.state),
        "is_frozen": u8::from(seed.state == InstanceState::Frozen),
        "cluster_mode": "Single",
        "datastore_type": "click-house",
        "datastore_version": "1.23.3.24",
        "db_port": "3306",
        "db_user": null,
        "public_ip": "",
        "can_enable_public_access": false,
        "ssl_option": seed.tls,
        "pay_model": null,
        "delete_at": null,
        "port_info": {
            "http_port": seed.http_port,
            "https_port": if seed.tls { seed.http_port } else { 8443 },
            "tep_port": seed.native_port,
            "tep_secure_port": if seed.tls { seed.native_port } else { 9440 },
            "mysql_port": 3306,
        },
        "actions": actions(record),
        "groups": [{ "id": "gr16", "nodes": [{
            "id": "no16",
            "type": "master",
            "status": "normal",
            "traffic_ip": seed.address,
            "traffic_vip": vip,
            "traffic_ipv6": "",
            "traffic_vipv6": "",
            "db_port": 3306,
        }] }],
    } })
}

fn list_htap(world: &World, route: &Route) -> Result<Value, Rejection> {
    let taurus = route.taurus.as_deref().ok_or(Rejection::BadParameter)?;
    let of_taurus: Vec<_> = world
        .huawei
        .instances
        .values()
        .filter(|record| record.seed.taurus_id == taurus && record.seed.project == route.project)
        .collect();
    if of_taurus.is_empty() {
        return Err(Rejection::InstanceMissing);
    }
    let rows: Vec<_> = of_taurus
        .into_iter()
        .filter(|record| record.seed.state != InstanceState::Deleted)
        .map(|record| {
            json!({
                "id": record.seed.id,
                "name": "htap-emulated",
                "engine_name": world.switches.huawei_engine_name.as_str(),
                "engine_version": "1.23.3.24",
                "instance_state": { "instance_status": status(record.seed.state), "wait_restart_for_params": false },
                "is_frozen": record.seed.state == InstanceState::Frozen,
                "ha_mode": "Single",
                "data_vip": "",
                "port": 3306,
                "proxy_ips": [],
                "readable_node_infos": [
                    { "data_ip": record.seed.address, "node_id": "no16", "node_name": "node" },
                ],
                "node_num": 1,
                "current_actions": actions(record),
            })
        })
        .collect();
    Ok(json!({ "total": rows.len(), "max_htap_instance_num_of_taurus": 10, "instances": rows }))
}

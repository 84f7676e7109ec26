//! The describe calls.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{Call, ClusterState, Refusal};
use crate::{
    seed::QingcloudKey,
    switches::{Endpoints, JobOrder, UnknownJob},
    world::World,
};

/// No more rows than this, whatever `limit` says (vendor's page on answers).
const MOST_ROWS: usize = 100;
const JOB_STATUSES: [&str; 4] = ["pending", "working", "failed", "successful"];

pub(super) fn describe_jobs(world: &World, call: &Call, key: &QingcloudKey, now: Timestamp) -> Result<Value, Refusal> {
    let zone = call.required("zone")?;
    let (ids, statuses) = (call.list("jobs"), call.list("status"));
    if let Some(status) = statuses.iter().find(|status| !JOB_STATUSES.contains(status)) {
        return Err(Refusal::malformed(format!("illegal status [{status}]")));
    }
    let state = &world.qingcloud;
    let visible = |job: &&super::Job| {
        job.zone == zone && job.owner == key.owner && job.created + world.timing.job_visible_after <= now
    };
    let mut jobs: Vec<_> = if ids.is_empty() {
        state.jobs.iter().filter(visible).collect()
    } else {
        let mut found = Vec::new();
        for id in ids {
            match state.job_places.get(id).map(|place| &state.jobs[*place]).filter(visible) {
                Some(job) => found.push(job),
                None if world.switches.qingcloud_unknown_job == UnknownJob::Refused => {
                    return Err(Refusal::not_found(format!("resource [{id}] not found")));
                }
                None => {}
            }
        }
        found.sort_by_key(|job| state.job_places[&job.id]);
        found
    };
    let action = call.get("job_action");
    jobs.retain(|job| statuses.is_empty() || statuses.contains(&job.status));
    jobs.retain(|_| action.is_none_or(|action| action == "RunClusterCustomService"));
    if world.switches.qingcloud_job_order == JobOrder::NewestFirst {
        jobs.reverse();
    }
    let total = jobs.len();
    let rows: Vec<Value> = page(call, 20, jobs)?.into_iter().map(super::Job::record).collect();
    Ok(json!({ "action": "DescribeJobsResponse", "ret_code": 0, "total_count": total, "job_set": rows }))
}

pub(super) fn describe_clusters(world: &World, call: &Call, key: &QingcloudKey) -> Result<Value, Refusal> {
    let zone = call.required("zone")?;
    let ids = call.list("clusters");
    let clusters: Vec<_> = world
        .qingcloud
        .clusters
        .values()
        .filter(|cluster| cluster.seed.zone == zone && cluster.seed.owner == key.owner)
        .filter(|cluster| ids.is_empty() || ids.contains(&cluster.seed.id.as_str()))
        .collect();
    let total = clusters.len();
    let rows: Vec<Value> = page(call, 20, clusters)?.into_iter().map(|cluster| cluster_row(world, cluster)).collect();
    Ok(json!({ "action": "DescribeClustersResponse", "ret_code": 0, "total_count": total, "cluster_set": rows }))
}

fn cluster_row(world: &World, cluster: &ClusterState) -> Value {
    let endpoints = json!({ "client": { "port": 3306, "protocol": "tcp" }, "reserved_ips": {} });
    json!({
        "cluster_id": cluster.seed.id,
        "name": "MySQL Plus",
        "status": cluster.seed.status,
        "transition_status": cluster.transition_status(world.switches.qingcloud_transition_status),
        "app_id": "app-00r26u27",
        "owner": cluster.seed.owner,
        "zone_id": cluster.seed.zone,
        "roles": if cluster.seed.analysis_nodes.is_empty() { vec!["maininstance"] } else { vec!["maininstance", "analysis"] },
        "role_count": { "maininstance": 3, "analysis": cluster.seed.analysis_nodes.len() },
        "custom_service": {},
        "display_tabs": {},
        "endpoints": match world.switches.qingcloud_endpoints {
            Endpoints::Object => endpoints,
            Endpoints::Text => json!(endpoints.to_string()),
            Endpoints::Null => Value::Null,
        },
    })
}

pub(super) fn describe_cluster_nodes(world: &World, call: &Call, key: &QingcloudKey) -> Result<Value, Refusal> {
    let (zone, id) = (call.required("zone")?, call.required("cluster")?);
    let role = call.get("role");
    let cluster = world.qingcloud.cluster(id);
    let cluster = cluster.filter(|cluster| cluster.seed.zone == zone && cluster.seed.owner == key.owner);
    let mut nodes = Vec::new();
    if let Some(cluster) = cluster {
        let main = ["192.168.0.2".to_owned()];
        for (its_role, addresses) in [("maininstance", &main[..]), ("analysis", &cluster.seed.analysis_nodes)] {
            if role.is_some_and(|role| role != its_role) {
                continue;
            }
            for (number, address) in addresses.iter().enumerate() {
                nodes.push(json!({
                    "node_id": format!("cln-{its_role:.5}{number:03}"),
                    "cluster_id": id,
                    "role": its_role,
                    "private_ip": address,
                    "eip": "",
                    "status": "active",
                    "transition_status": "",
                    "health_status": "healthy",
                }));
            }
        }
    }
    let total = nodes.len();
    let rows = page(call, 20, nodes)?;
    Ok(json!({ "action": "DescribeClusterNodesResponse", "ret_code": 0, "total_count": total, "node_set": rows }))
}

fn page<T>(call: &Call, default: usize, rows: Vec<T>) -> Result<Vec<T>, Refusal> {
    let (offset, limit) = (call.number("offset", 0)?, call.number("limit", default)?);
    Ok(rows.into_iter().skip(offset).take(limit.min(MOST_ROWS)).collect())
}

//! Strict, stateful emulations of the account APIs of two clouds: QingCloud MySQL Plus and Huawei Cloud TaurusDB.
//!
//! They listen on loopback, check signatures, tokens, clocks and rules as the vendors document them, keep accounts and
//! jobs, and can be told to fail in every way a network and a cloud can. What the vendors leave open is a
//! [switch](Switches) each. Everything that comes in and everything that changes is in one ordered [`Ledger`], in which
//! passwords are digests.
//!
//! ```no_run
//! use std::time::Duration;
//! use emulated_clouds::{
//!     Cluster, EmulatedClouds, Fault, FaultAnswer, Moment, Operation, Options, QingcloudKey, Target, Which,
//! };
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let clouds = EmulatedClouds::start(Options::default()).await?; // dropped = stopped
//! clouds.add_qingcloud_key(QingcloudKey::new("KEY", "SECRET"));
//! clouds.add_cluster(Cluster::new("sh1a", "cl-ouhutv70"));
//! let endpoint = clouds.qingcloud_endpoint(); // http://127.0.0.1:PORT/iaas/
//!
//! // The next add_ck_user is carried out and its answer lost.
//! clouds.inject(Fault {
//!     target: Target::Operation(Operation::AddCkUser),
//!     which: Which::Next(1),
//!     moment: Moment::AfterEffect,
//!     answer: FaultAnswer::Reset,
//! });
//! // … let a client loose on `endpoint`, then wait for what it did:
//! clouds.wait_until(|ledger| ledger.effects_of("reporting").count() == 1, Duration::from_secs(5)).await?;
//! let accounts = clouds.accounts("cl-ouhutv70");
//! assert_eq!(accounts["reporting"].password_digest, clouds.password_digest("Passwd@123"));
//! # Ok(()) }
//! ```

mod answer;
mod clock;
mod connection;
mod console;
mod database;
mod faults;
mod hold;
mod huawei;
mod iam;
mod ledger;
mod message;
mod qingcloud;
mod seed;
mod server;
mod switches;
mod world;

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use jiff::Timestamp;
use tokio::net::TcpListener;
use url::Url;

use crate::{clock::Clock, world::Shared};
pub use crate::{
    clock::ClockStart,
    console::AccountView,
    database::{Database, DatabaseAccount},
    faults::{Fault, FaultAnswer, JobFate, Moment, Target, Which},
    hold::Hold,
    huawei::Rejection,
    ledger::{AccountAccess, Answer, Effect, EffectKind, Entry, Event, Ledger, Operation, Request, Service},
    seed::{Cluster, HuaweiKeys, HuaweiProject, HuaweiUser, Instance, InstanceState, QingcloudKey, Seed},
    switches::*,
    world::{Limits, Timing},
};

/// How an emulation starts.
pub struct Options {
    /// Where QingCloud listens. Default: a free port of loopback, as for the others.
    pub qingcloud_listen: SocketAddr,
    /// Where Huawei Cloud's database service listens.
    pub huawei_listen: SocketAddr,
    /// Where Huawei Cloud's IAM listens.
    pub iam_listen: SocketAddr,
    /// Where accounts are made real; none for an emulation that only remembers them.
    pub database: Option<Arc<dyn Database>>,
    /// The clouds' clock.
    pub clock: ClockStart,
    /// How open questions are answered.
    pub switches: Switches,
    /// How long things take.
    pub timing: Timing,
    /// How many calls are allowed.
    pub limits: Limits,
    /// What digests of passwords are made with; a random one where none is given. Clouds that follow each other in one
    /// test are given the same, or their ledgers could not be compared.
    pub salt: Option<[u8; 16]>,
}

impl Default for Options {
    fn default() -> Self {
        let free = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        Self {
            qingcloud_listen: free,
            huawei_listen: free,
            iam_listen: free,
            database: None,
            clock: ClockStart::System,
            switches: Switches::default(),
            timing: Timing::default(),
            limits: Limits::default(),
            salt: None,
        }
    }
}

/// The condition of [`EmulatedClouds::wait_until`] did not come true in time.
#[derive(Debug, thiserror::Error)]
#[error("not within {waited:?}; {entries} entries in the ledger, the last {last}")]
pub struct NotInTime {
    waited: Duration,
    entries: usize,
    last: String,
}

/// Running emulations of both clouds. They stop when this is dropped.
pub struct EmulatedClouds {
    shared: Arc<Shared>,
    qingcloud: SocketAddr,
    huawei: SocketAddr,
    iam: SocketAddr,
}

impl EmulatedClouds {
    /// Binds the ports and serves.
    pub async fn start(options: Options) -> io::Result<Self> {
        let shared = Arc::new(Shared::new(
            Clock::new(options.clock),
            options.database,
            options.switches,
            options.timing,
            options.limits,
            options.salt.unwrap_or_else(rand::random),
        ));
        let serve = async |service, address| {
            let listener = TcpListener::bind(address).await?;
            let bound = listener.local_addr()?;
            server::spawn(service, listener, shared.clone());
            io::Result::Ok(bound)
        };
        let qingcloud = serve(Service::QingCloud, options.qingcloud_listen).await?;
        let huawei = serve(Service::Huawei, options.huawei_listen).await?;
        let iam = serve(Service::Iam, options.iam_listen).await?;
        Ok(Self { shared, qingcloud, huawei, iam })
    }

    /// QingCloud's endpoint, path included.
    pub fn qingcloud_endpoint(&self) -> Url {
        url(self.qingcloud, "/iaas/")
    }

    /// Origin of Huawei Cloud's database service.
    pub fn huawei_endpoint(&self) -> Url {
        url(self.huawei, "/")
    }

    /// Origin of Huawei Cloud's IAM.
    pub fn iam_endpoint(&self) -> Url {
        url(self.iam, "/")
    }

    /// Adds everything the seed names; its switches, timing and limits replace those in force.
    pub fn seed(&self, seed: Seed) {
        let mut world = self.shared.world();
        let world = &mut *world;
        seed.qingcloud_keys.into_iter().for_each(|key| world.qingcloud.add_key(key));
        seed.clusters.into_iter().for_each(|cluster| world.qingcloud.add_cluster(cluster));
        seed.huawei_projects.into_iter().for_each(|project| world.iam.add_project(project));
        seed.huawei_keys.into_iter().for_each(|keys| world.huawei.add_keys(keys));
        seed.huawei_users.into_iter().for_each(|user| world.iam.add_user(user));
        seed.instances.into_iter().for_each(|instance| world.huawei.add_instance(instance));
        world.switches = seed.switches;
        world.timing = seed.timing;
        world.limits = seed.limits;
        world.huawei.codes.extend(seed.huawei_codes);
    }

    /// Adds an access key of QingCloud, or replaces the one of that id.
    pub fn add_qingcloud_key(&self, key: QingcloudKey) {
        self.shared.world().qingcloud.add_key(key);
    }

    /// Takes an access key of QingCloud away.
    pub fn remove_qingcloud_key(&self, id: &str) {
        self.shared.world().qingcloud.remove_key(id);
    }

    /// Adds a cluster; one of that id keeps its accounts and jobs and gets these properties.
    pub fn add_cluster(&self, cluster: Cluster) {
        self.shared.world().qingcloud.add_cluster(cluster);
    }

    /// Adds a project of Huawei Cloud. Instances and tokens need theirs.
    pub fn add_huawei_project(&self, project: HuaweiProject) {
        self.shared.world().iam.add_project(project);
    }

    /// Adds access keys of Huawei Cloud, or replaces those of that access key.
    pub fn add_huawei_keys(&self, keys: HuaweiKeys) {
        self.shared.world().huawei.add_keys(keys);
    }

    /// Takes access keys of Huawei Cloud away.
    pub fn remove_huawei_keys(&self, access_key: &str) {
        self.shared.world().huawei.remove_keys(access_key);
    }

    /// Adds an IAM user, or changes its password, which ends its tokens.
    pub fn add_huawei_user(&self, user: HuaweiUser) {
        self.shared.world().iam.add_user(user);
    }

    /// Ends every token at once.
    pub fn revoke_tokens(&self) {
        self.shared.world().iam.revoke_tokens();
    }

    /// Adds a ClickHouse instance; one of that id keeps its accounts and gets these properties.
    pub fn add_instance(&self, instance: Instance) {
        self.shared.world().huawei.add_instance(instance);
    }

    /// Replaces HTTP status and code of one of the database service's refusals.
    pub fn set_huawei_code(&self, reason: Rejection, status: u16, code: impl Into<String>) {
        self.shared.world().huawei.codes.insert(reason, (status, code.into()));
    }

    /// The settings in force.
    pub fn switches(&self) -> Switches {
        self.shared.world().switches.clone()
    }

    /// Changes settings; requests that come later see them.
    pub fn set_switches(&self, switches: Switches) {
        self.shared.world().switches = switches;
    }

    /// Changes how long things take; what has begun keeps its times.
    pub fn set_timing(&self, timing: Timing) {
        self.shared.world().timing = timing;
    }

    /// Changes how many calls are allowed.
    pub fn set_limits(&self, limits: Limits) {
        self.shared.world().limits = limits;
    }

    /// Sets trouble for requests to come. Where several faults apply to a request, the one set first answers it.
    pub fn inject(&self, fault: Fault) {
        self.shared.world().faults.arm(fault);
    }

    /// Forgets all faults and lets whatever hangs or is stuck go on.
    pub fn clear_faults(&self) {
        let mut world = self.shared.world();
        world.faults.clear();
        self.shared.released.send_modify(|count| *count += 1);
    }

    /// Decides how the job of the next accepted `add_ck_user` or `del_ck_user` ends; several calls queue up.
    pub fn set_job_fate(&self, operation: Operation, fate: JobFate) {
        self.shared.world().job_fates.push_back((operation, fate));
    }

    /// Drops the records of all QingCloud jobs that have ended, as the cloud does one day.
    pub fn forget_jobs(&self) {
        self.shared.world().qingcloud.forget_jobs();
    }

    /// Holds the next request for this operation back before it is carried out.
    pub fn hold_before_effect(&self, operation: Operation) -> Hold {
        self.hold(operation, Moment::BeforeEffect)
    }

    /// Holds the answer of the next request for this operation back after it was carried out (QingCloud: accepted).
    pub fn hold_after_effect(&self, operation: Operation) -> Hold {
        self.hold(operation, Moment::AfterEffect)
    }

    fn hold(&self, operation: Operation, moment: Moment) -> Hold {
        let (hold, point) = Hold::new(operation, moment);
        self.shared.world().holds.push(point);
        hold
    }

    /// Everything that happened so far.
    pub fn ledger(&self) -> Ledger {
        self.shared.world().ledger.clone()
    }

    /// How many requests asked for this so far.
    pub fn requests(&self, operation: Operation) -> usize {
        self.shared.world().ledger.count(operation)
    }

    /// Every change so far of accounts of this name.
    pub fn effects_of(&self, account: &str) -> Vec<Effect> {
        self.shared.world().ledger.effects_of(account).cloned().collect()
    }

    /// What the ledger shows for this password.
    pub fn password_digest(&self, password: &str) -> String {
        self.shared.digest(password)
    }

    /// Returns once the ledger fulfils the condition, which is tried at every new entry. The condition sees the ledger
    /// under the clouds' lock and must not call them.
    pub async fn wait_until(
        &self,
        mut condition: impl FnMut(&Ledger) -> bool,
        timeout: Duration,
    ) -> Result<(), NotInTime> {
        let mut changed = self.shared.changed.subscribe();
        let all = async {
            loop {
                changed.mark_unchanged();
                if condition(&self.shared.world().ledger) {
                    return;
                }
                if changed.changed().await.is_err() {
                    return;
                }
            }
        };
        tokio::time::timeout(timeout, all).await.map_err(|_| {
            let world = self.shared.world();
            let entries = world.ledger.entries();
            NotInTime { waited: timeout, entries: entries.len(), last: format!("{:?}", entries.last()) }
        })
    }

    /// The clouds' clock.
    pub fn now(&self) -> Timestamp {
        self.shared.clock.now()
    }

    /// Moves the clouds' clock forward: signatures get old, tokens expire, jobs end.
    pub fn advance_clock(&self, by: Duration) {
        self.shared.clock.advance(by);
    }
}

impl Drop for EmulatedClouds {
    fn drop(&mut self) {
        self.shared.stopped.send_replace(true);
    }
}

fn url(address: SocketAddr, path: &str) -> Url {
    Url::parse(&format!("http://{address}{path}")).expect("a socket address makes a URL")
}

//! How long a change takes from the Secret to the cloud: by the operator and by the bare chain in turn, on one cluster.

use std::{
    ops::Range,
    time::{Duration, Instant},
};

use tokio::time::{MissedTickBehavior, interval, timeout};

use crate::{
    bare::Chain,
    cloud::Cloud,
    cluster::{Cluster, change_password},
    manifests::User,
};

/// Between two changes, so that one has ended at the cloud and in status before the next begins.
const PACE: Duration = Duration::from_millis(250);

/// Longest that a change may take to arrive.
const PATIENCE: Duration = Duration::from_secs(120);

/// Users of the bare chain, which go round.
const BARE_USERS: usize = 100;

/// Milliseconds from the acknowledged write of a Secret to the request at the cloud.
#[derive(Default)]
pub struct Latencies {
    pub operator: Vec<f64>,
    pub bare: Vec<f64>,
}

/// Changes passwords, one after the other.
pub struct Changes<'a> {
    cluster: &'a Cluster,
    cloud: &'a Cloud,
    settled: Range<usize>,
    bare: Range<usize>,
    next: usize,
    _chain: Chain,
}

impl<'a> Changes<'a> {
    /// Will change the passwords of these settled users, each once, beside users of the chain's own.
    pub async fn prepare(cluster: &'a Cluster, cloud: &'a Cloud, settled: Range<usize>, own: usize) -> Self {
        let bare = own..own + BARE_USERS;
        let users = cluster.create_users(bare.clone().map(User), User::suspended).await;
        let client = cluster.operator_client().await;
        let chain = Chain::start(client, cloud.clone(), cluster.key.clone(), users).await;
        Self { cluster, cloud, settled, bare, next: 0, _chain: chain }
    }

    /// Changes in turn until there are so many samples of each side, or `until` ends.
    pub async fn sample(&mut self, samples: usize, until: impl Future<Output = ()>) -> Latencies {
        let mut latencies = Latencies::default();
        let sampling = async {
            let mut pace = interval(PACE);
            pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
            while latencies.bare.len() < samples {
                pace.tick().await;
                let Some(user) = self.settled.next() else { break };
                latencies.operator.push(self.change(User(user)).await);
                pace.tick().await;
                let user = self.bare.start + self.next % self.bare.len();
                latencies.bare.push(self.change(User(user)).await);
            }
        };
        tokio::select! {
            () = sampling => {}
            () = until => {}
        }
        latencies
    }

    async fn change(&mut self, user: User) -> f64 {
        self.next += 1;
        let request = self.cloud.expect(&user.name());
        change_password(&self.cluster.client, user, &format!("Battery-staple@{}#", self.next)).await;
        let acknowledged = Instant::now();
        let heard = timeout(PATIENCE, request).await;
        let arrived = heard.unwrap_or_else(|_| panic!("the change of {} never came", user.name())).expect("the cloud");
        arrived.saturating_duration_since(acknowledged).as_secs_f64() * 1000.0
    }
}

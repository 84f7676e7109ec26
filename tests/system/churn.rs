//! The operator is killed again and again, at random moments, while many users come, change their passwords and go.

use std::{collections::BTreeMap, time::Duration};

use clickhouse_user_operator::api::user::ClickHouseUser;
use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use rand::{RngExt, SeedableRng, rngs::StdRng, seq::IndexedRandom};

use crate::{
    manifests::{self, Cloud, OTHER_PASSWORD, PASSWORD, password, ready},
    world::World,
};

/// Another one is as good; it is printed, so that what failed can be played again.
const SEED: u64 = 20_240_229;

/// On each of the two clouds.
const USERS: usize = 32;

const KILLS: usize = 25;

/// Between a start and the kill that follows; a start takes a fifth of a second.
const LIFE: std::ops::Range<u64> = 100..1200;

/// Changes to manifests and Secrets in the life of a process.
const CHANGES: usize = 8;

/// What the manifests ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wanted {
    Absent,
    /// Under this password.
    Present(&'static str),
}

struct Churn {
    world: World,
    random: StdRng,
    wanted: BTreeMap<String, Wanted>,
}

/// Every second user is of the other cloud.
fn cloud_of(name: &str) -> Cloud {
    if name.starts_with('q') { Cloud::QingCloud } else { Cloud::HuaweiCloud }
}

/// The objects of the second cloud beside those of the first.
fn renamed(manifest: &str) -> String {
    manifest.replace("warehouse", "lake").replace("cloud-api", "lake-api")
}

impl Churn {
    /// Something happens to a user: it comes, has its password changed, or goes.
    async fn change(&mut self) {
        let names: Vec<_> = self.wanted.keys().cloned().collect();
        let name = names.choose(&mut self.random).expect("users").clone();
        let kubernetes = &self.world.kubernetes;
        let wanted = match self.wanted[&name] {
            Wanted::Absent => {
                // A name is free again once its object is gone.
                if kubernetes.users().get_opt(&name).await.expect("an answer").is_some() {
                    return;
                }
                kubernetes.change_password(&name, PASSWORD).await;
                kubernetes.create(&Self::manifest(&name)).await;
                Wanted::Present(PASSWORD)
            }
            // QingCloud has no call for it.
            Wanted::Present(before) if cloud_of(&name) == Cloud::HuaweiCloud && self.random.random_bool(0.6) => {
                let after = if before == PASSWORD { OTHER_PASSWORD } else { PASSWORD };
                kubernetes.change_password(&name, after).await;
                Wanted::Present(after)
            }
            Wanted::Present(_) => {
                kubernetes.delete_user(&name).await;
                Wanted::Absent
            }
        };
        self.wanted.insert(name, wanted);
    }

    fn manifest(name: &str) -> String {
        let manifest = manifests::user(cloud_of(name), name, "");
        if cloud_of(name) == Cloud::QingCloud { manifest } else { renamed(&manifest) }
    }

    /// Every account is as the last manifest and the last Secret say.
    async fn converges(&self) {
        let kubernetes = &self.world.kubernetes;
        let secrets: Api<Secret> = Api::namespaced(kubernetes.client.clone(), &kubernetes.namespace);
        for (name, wanted) in &self.wanted {
            match wanted {
                Wanted::Absent => kubernetes.user_gone(name).await,
                Wanted::Present(_) => {
                    let secret = secrets.get(&format!("{name}-password")).await.expect("its Secret");
                    let version = secret.metadata.resource_version;
                    let applied = |user: &ClickHouseUser| {
                        let password = user.status.as_ref().and_then(|status| status.password.as_ref());
                        ready(user).0 == "AccountReady"
                            && password.is_some_and(|it| it.secret_resource_version == version)
                    };
                    kubernetes.user_until(name, "its last password", applied).await;
                }
            }
        }
        for cloud in [Cloud::QingCloud, Cloud::HuaweiCloud] {
            let found = self.world.clouds.accounts(cloud.instance_id());
            let found: BTreeMap<_, _> = found.iter().map(|(name, it)| (name.as_str(), &it.password_digest)).collect();
            let wanted = self.wanted.iter().filter(|(name, _)| cloud_of(name) == cloud);
            let digests: BTreeMap<_, _> = wanted
                .filter_map(|(name, wanted)| match wanted {
                    Wanted::Absent => None,
                    Wanted::Present(password) => Some((name.as_str(), self.world.clouds.password_digest(password))),
                })
                .collect();
            let wanted: BTreeMap<_, _> = digests.iter().map(|(name, digest)| (*name, digest)).collect();
            assert_eq!(found, wanted, "{cloud:?}");
        }
    }
}

#[tokio::test]
async fn killed_at_random_while_users_come_and_go_it_loses_and_doubles_nothing() {
    eprintln!("seed {SEED}");
    let plan = World::of(Cloud::QingCloud).flag("--job-timeout", "2s").flag("--max-deletes", "0");
    let world = plan.start().await;
    world.apply_instance().await;
    let lake = manifests::credentials(Cloud::HuaweiCloud) + &manifests::instance(Cloud::HuaweiCloud, &world.clouds);
    world.kubernetes.apply(&renamed(&lake)).await;
    let timing = emulated_clouds::Timing { job_duration: Duration::from_millis(50), ..Default::default() };
    world.clouds.set_timing(timing);
    let names = (0..2 * USERS).map(|number| format!("{}{number}", if number % 2 == 0 { 'q' } else { 'h' }));
    let wanted = names.map(|name| (name, Wanted::Present(PASSWORD))).collect();
    let mut churn = Churn { world, random: StdRng::seed_from_u64(SEED), wanted };
    let manifests = churn.wanted.keys().map(|name| password(name, PASSWORD) + &Churn::manifest(name));
    churn.world.kubernetes.apply(&manifests.collect::<String>()).await;

    for _ in 0..KILLS {
        let life = Duration::from_millis(churn.random.random_range(LIFE));
        let (kill, changes) = (tokio::time::Instant::now() + life, CHANGES);
        for _ in 0..changes {
            churn.change().await;
        }
        // The moment itself is what is random here; no condition stands for it.
        tokio::time::sleep_until(kill).await;
        churn.world.restart_operator();
    }
    churn.converges().await;
    churn.world.finish().await;
}

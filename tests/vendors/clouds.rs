//! Emulated clouds that hold what the Python scripts name.

use emulated_clouds::{
    Cluster, EmulatedClouds, HuaweiKeys, HuaweiProject, HuaweiUser, Instance, InstanceState, Options, QingcloudKey,
};

pub const CLUSTER: &str = "cl-ouhutv70";
pub const PROJECT: &str = "23a50154cf494ec9ad6883979a12db0a";
const OTHER_PROJECT: &str = "ffffffffffffffffffffffffffffffff";
pub const INSTANCE: &str = "df3ae779e2ad4993a03ccd7a81240125in16";
pub const TAURUS: &str = "fb632d1d531a4107804f0f082581810fin07";

/// Fresh clouds.
pub async fn clouds() -> EmulatedClouds {
    let clouds = EmulatedClouds::start(Options::default()).await.unwrap();
    clouds.add_qingcloud_key(QingcloudKey::new("KEY", "SECRET"));
    clouds.add_cluster(Cluster::new("sh1a", CLUSTER));
    clouds.add_cluster(Cluster { status: "stopped".into(), ..Cluster::new("sh1a", "cl-stopped1") });
    clouds.add_cluster(Cluster { transition_status: "updating".into(), ..Cluster::new("sh1a", "cl-updating") });
    for (id, domain) in [(PROJECT, "IAMDomain"), (OTHER_PROJECT, "Other")] {
        clouds.add_huawei_project(HuaweiProject { id: id.into(), name: "cn-north-4".into(), domain: domain.into() });
    }
    let keys = |prefix: &str, security_token: Option<&str>, expires_at: Option<&str>| HuaweiKeys {
        access_key: format!("{prefix}AK"),
        secret_key: format!("{prefix}SK"),
        security_token: security_token.map(str::to_owned),
        expires_at: expires_at.map(|time| time.parse().unwrap()),
        domain: "IAMDomain".into(),
    };
    clouds.add_huawei_keys(keys("", None, None));
    clouds.add_huawei_keys(keys("TEMPORARY", Some("TEMPORARYTOKEN"), None));
    clouds.add_huawei_keys(keys("ENDED", Some("ENDEDTOKEN"), Some("2020-01-01T00:00:00Z")));
    clouds.add_huawei_user(HuaweiUser {
        domain: "IAMDomain".into(),
        name: "IAMUser".into(),
        password: "IAMPassword".into(),
    });
    clouds.add_instance(Instance::new(PROJECT, INSTANCE, TAURUS));
    for (project, digit, state) in [
        (PROJECT, "1", InstanceState::Busy),
        (PROJECT, "2", InstanceState::Abnormal),
        (PROJECT, "3", InstanceState::Frozen),
        (OTHER_PROJECT, "4", InstanceState::Normal),
    ] {
        let id = digit.repeat(32);
        clouds.add_instance(Instance { state, ..Instance::new(project, format!("{id}in16"), format!("{id}in07")) });
    }
    clouds
}

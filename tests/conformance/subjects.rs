//! The ways to the clouds: how each is set up in the emulation, and what its calls are called there.

use std::collections::BTreeSet;

use clickhouse_user_operator::provider::{
    contract::{Access, CallKind, Capabilities, Permission, ProviderKind},
    fleet::Target,
    qingcloud::Method,
};
use emulated_clouds::{
    AccountAccess, Cluster, EmulatedClouds, HuaweiKeys, HuaweiProject, HuaweiUser, Instance, Operation, QingcloudKey,
    Seed,
};

/// With whose credential.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
    /// The usual one.
    Us,
    /// Another good credential of the same cloud account.
    Colleague,
    /// One that names our key or user, with a wrong secret.
    Impostor,
    /// A good one of another cloud account.
    Stranger,
}

/// Which instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// One of ours, by number from 0 to 9.
    Ours(u8),
    /// One of another cloud account.
    Foreign,
    /// None.
    Nowhere,
}

/// One way to one cloud.
pub trait Subject: Sync {
    /// For reports.
    fn name(&self) -> &'static str;
    /// The cloud.
    fn kind(&self) -> ProviderKind;
    /// What it can do.
    fn capabilities(&self) -> Capabilities {
        self.kind().rules().capabilities()
    }
    /// The beginnings of the names of the switches that turn something on this way.
    fn switches(&self) -> &'static [&'static str];
    /// Credentials and instances.
    fn seed(&self) -> Seed;
    /// Its identifier in the emulation.
    fn instance(&self, place: Place) -> String;
    /// The instance as an instance object describes it.
    fn target(&self, clouds: &EmulatedClouds, place: Place) -> Target;
    /// The values of a credentials Secret.
    fn credential(&self, who: Who) -> Vec<(&'static str, String)>;
    /// One of two kinds of access, in the words of the contract and of the emulation.
    fn access(&self, second: bool) -> (Access, AccountAccess);
    /// The changing calls it has.
    fn changes(&self) -> Vec<CallKind> {
        let Capabilities { set_password, set_access, .. } = self.capabilities();
        let in_place = [(set_password, CallKind::SetPassword), (set_access, CallKind::SetAccess)];
        let offered = in_place.into_iter().filter(|(offered, _)| *offered).map(|(_, kind)| kind);
        [CallKind::Create, CallKind::Delete].into_iter().chain(offered).collect()
    }
    /// The emulation's word for a changing call.
    fn change(&self, kind: CallKind) -> Operation;
    /// The reads behind a reading, without any of which there is none.
    fn reads(&self) -> &'static [Operation];
    /// Refusals in the cloud's own words that leave the effect open: HTTP status and code.
    fn server_faults(&self) -> &'static [(u16, &'static str)];
    /// The shortest pause after a throttled call, in seconds, where the cloud asks for so long a one, or for none.
    fn pause(&self, asked: Option<u64>) -> u64;
}

/// QingCloud, one way of sending changes.
pub struct QingCloud {
    name: &'static str,
    method: Method,
}

/// Huawei Cloud, one way of authenticating.
pub struct HuaweiCloud {
    name: &'static str,
    logs_in: bool,
}

pub static QINGCLOUD_BY_POST: QingCloud = QingCloud { name: "QingCloud by POST", method: Method::Post };
pub static QINGCLOUD_BY_GET: QingCloud = QingCloud { name: "QingCloud by GET", method: Method::Get };
pub static HUAWEI_BY_KEYS: HuaweiCloud = HuaweiCloud { name: "Huawei Cloud by keys", logs_in: false };
pub static HUAWEI_BY_LOGIN: HuaweiCloud = HuaweiCloud { name: "Huawei Cloud by login", logs_in: true };

const ZONE: &str = "sh1a";

/// The other cloud account.
const STRANGER: &str = "usr-stranger";

impl Subject for QingCloud {
    fn name(&self) -> &'static str {
        self.name
    }

    fn kind(&self) -> ProviderKind {
        ProviderKind::QingCloud
    }

    fn switches(&self) -> &'static [&'static str] {
        &["qingcloud_"]
    }

    fn seed(&self) -> Seed {
        let foreign = Cluster::new(ZONE, self.instance(Place::Foreign));
        let foreign = Cluster { owner: STRANGER.to_owned(), ..foreign };
        let ours = (0..10).map(|number| Cluster::new(ZONE, self.instance(Place::Ours(number))));
        let key = |who| {
            let [(_, id), (_, secret)] = <[_; 2]>::try_from(self.credential(who)).expect("two values");
            QingcloudKey::new(id, secret)
        };
        Seed {
            qingcloud_keys: vec![
                key(Who::Us),
                key(Who::Colleague),
                QingcloudKey { owner: STRANGER.to_owned(), ..key(Who::Stranger) },
            ],
            clusters: ours.chain([foreign]).collect(),
            ..Seed::default()
        }
    }

    fn instance(&self, place: Place) -> String {
        match place {
            Place::Ours(number) => format!("cl-ours000{number}"),
            Place::Foreign => "cl-foreign1".to_owned(),
            Place::Nowhere => "cl-nowhere1".to_owned(),
        }
    }

    fn target(&self, clouds: &EmulatedClouds, place: Place) -> Target {
        Target::QingCloud {
            endpoint: clouds.qingcloud_endpoint(),
            zone: ZONE.to_owned(),
            cluster_id: self.instance(place),
            role: "analysis".to_owned(),
            method: self.method,
        }
    }

    fn credential(&self, who: Who) -> Vec<(&'static str, String)> {
        let (id, secret) = match who {
            Who::Us => ("QYCANARYKEYIDOFUSXXX", "canaryQingSecretOfUs0123456789abcdefghij"),
            Who::Colleague => ("QYCANARYKEYIDOFCOLLE", "canaryQingSecretOfColleague0123456789abc"),
            Who::Impostor => ("QYCANARYKEYIDOFUSXXX", "canaryQingSecretOfImpostor0123456789abcd"),
            Who::Stranger => ("QYCANARYKEYIDOFSTRAN", "canaryQingSecretOfStranger0123456789abcd"),
        };
        vec![("accessKeyID", id.to_owned()), ("secretAccessKey", secret.to_owned())]
    }

    fn access(&self, second: bool) -> (Access, AccountAccess) {
        let hosts = if second { vec!["192.168.0.0/16"] } else { vec!["10.0.0.0/8", "::1"] };
        let hosts: Vec<_> = hosts.into_iter().map(str::to_owned).collect();
        let seen = AccountAccess { hosts: Some(hosts.clone()), ..AccountAccess::default() };
        (Access { allowed_hosts: Some(BTreeSet::from_iter(hosts)), ..Access::default() }, seen)
    }

    fn change(&self, kind: CallKind) -> Operation {
        match kind {
            CallKind::Create => Operation::AddCkUser,
            CallKind::Delete => Operation::DelCkUser,
            CallKind::SetPassword | CallKind::SetAccess => unreachable!("QingCloud offers neither"),
        }
    }

    fn reads(&self) -> &'static [Operation] {
        &[Operation::DescribeClusters, Operation::DescribeClusterNodes]
    }

    fn server_faults(&self) -> &'static [(u16, &'static str)] {
        &[(200, "5000"), (200, "5100")]
    }

    fn pause(&self, asked: Option<u64>) -> u64 {
        asked.unwrap_or_default().max(15 * 60)
    }
}

const DOMAIN: &str = "canary-domain";

/// The cloud account whose credential it is.
fn domain_of(who: Who) -> &'static str {
    if who == Who::Stranger { "stranger" } else { DOMAIN }
}

const PROJECT: &str = "0123456789abcdef0123456789abcdef";
const FOREIGN_PROJECT: &str = "fedcba9876543210fedcba9876543210";
const TAURUS: &str = "00000000000000000000000000000000in07";

impl Subject for HuaweiCloud {
    fn name(&self) -> &'static str {
        self.name
    }

    fn kind(&self) -> ProviderKind {
        ProviderKind::HuaweiCloud
    }

    fn switches(&self) -> &'static [&'static str] {
        if self.logs_in { &["huawei_", "iam_"] } else { &["huawei_"] }
    }

    fn seed(&self) -> Seed {
        let project = |id: &str, domain: &str| HuaweiProject {
            id: id.to_owned(),
            name: "cn-north-4".to_owned(),
            domain: domain.to_owned(),
        };
        let ours = (0..10).map(|number| Instance::new(PROJECT, self.instance(Place::Ours(number)), TAURUS));
        let foreign = Instance::new(FOREIGN_PROJECT, self.instance(Place::Foreign), TAURUS);
        let mut seed = Seed {
            huawei_projects: vec![project(PROJECT, DOMAIN), project(FOREIGN_PROJECT, domain_of(Who::Stranger))],
            instances: ours.chain([foreign]).collect(),
            ..Seed::default()
        };
        for who in [Who::Us, Who::Colleague, Who::Stranger] {
            let values = self.credential(who).into_iter().map(|(_, value)| value).collect::<Vec<_>>();
            if self.logs_in {
                let [domain, name, password] = <[_; 3]>::try_from(values).expect("three values");
                seed.huawei_users.push(HuaweiUser { domain, name, password });
            } else {
                let [access_key, secret_key] = <[_; 2]>::try_from(values).expect("two values");
                let domain = domain_of(who).to_owned();
                seed.huawei_keys.push(HuaweiKeys {
                    access_key,
                    secret_key,
                    security_token: None,
                    expires_at: None,
                    domain,
                });
            }
        }
        seed
    }

    fn instance(&self, place: Place) -> String {
        let id = match place {
            Place::Ours(number) => format!("{number:032}"),
            Place::Foreign => "f".repeat(32),
            Place::Nowhere => "e".repeat(32),
        };
        id + "in16"
    }

    fn target(&self, clouds: &EmulatedClouds, place: Place) -> Target {
        Target::HuaweiCloud {
            endpoint: clouds.huawei_endpoint(),
            iam_endpoint: clouds.iam_endpoint(),
            region: "cn-north-4".to_owned(),
            project_id: PROJECT.to_owned(),
            instance_id: self.instance(place),
            taurus_instance_id: Some(TAURUS.to_owned()),
        }
    }

    fn credential(&self, who: Who) -> Vec<(&'static str, String)> {
        if self.logs_in {
            // Users of IAM may have passwords that JSON has to escape.
            let (name, password) = match who {
                Who::Us => ("us", r#"canary"Iam\Password/of<us>&1"#),
                Who::Colleague => ("colleague", r#"canary"Iam\Password/of<colleague>&1"#),
                Who::Impostor => ("us", r#"canary"Iam\Password/of<impostor>&1"#),
                Who::Stranger => ("us", r#"canary"Iam\Password/of<stranger>&1"#),
            };
            let (name, password) = (name.to_owned(), password.to_owned());
            return vec![("domainName", domain_of(who).to_owned()), ("userName", name), ("password", password)];
        }
        let (id, secret) = match who {
            Who::Us => ("HWCANARYKEYIDOFUSXXX", "canaryHuaweiSecretOfUs0123456789abcdefgh"),
            Who::Colleague => ("HWCANARYKEYIDOFCOLLE", "canaryHuaweiSecretOfColleague0123456789a"),
            Who::Impostor => ("HWCANARYKEYIDOFUSXXX", "canaryHuaweiSecretOfImpostor0123456789ab"),
            Who::Stranger => ("HWCANARYKEYIDOFSTRAN", "canaryHuaweiSecretOfStranger0123456789ab"),
        };
        vec![("accessKeyID", id.to_owned()), ("secretAccessKey", secret.to_owned())]
    }

    fn access(&self, second: bool) -> (Access, AccountAccess) {
        let (database, permission, dml) =
            if second { ("db2", Permission::ReadAndConfigure, 2) } else { ("db1", Permission::ReadOnly, 1) };
        let databases = vec![database.to_owned()];
        let access = Access {
            databases: Some(BTreeSet::from_iter(databases.clone())),
            permission: Some(permission),
            ..Access::default()
        };
        (access, AccountAccess { databases: Some(databases), dml: Some(dml), ..AccountAccess::default() })
    }

    fn change(&self, kind: CallKind) -> Operation {
        match kind {
            CallKind::Create => Operation::CreateUser,
            CallKind::Delete => Operation::DeleteUser,
            CallKind::SetPassword => Operation::SetPassword,
            CallKind::SetAccess => Operation::SetPermission,
        }
    }

    fn reads(&self) -> &'static [Operation] {
        &[Operation::ListUsers]
    }

    fn server_faults(&self) -> &'static [(u16, &'static str)] {
        &[(500, "DBS.108000"), (504, "DBS.111205"), (504, "APIGW.0203")]
    }

    fn pause(&self, asked: Option<u64>) -> u64 {
        asked.unwrap_or(60)
    }
}

//! What tests apply.

use clickhouse_user_operator::api::user::ClickHouseUser;
use emulated_clouds::{EmulatedClouds, Operation, Service};
use url::Url;

/// The cluster that tests use.
pub const CLUSTER: &str = "cl-ouhutv70";
/// Its zone.
pub const ZONE: &str = "sh1a";
/// The Huawei Cloud project that tests use.
pub const PROJECT: &str = "23a50154cf494ec9ad6883979a12db0a";
/// Its ClickHouse instance.
pub const INSTANCE: &str = "df3ae779e2ad4993a03ccd7a81240125in16";
/// The TaurusDB instance it replicates.
pub const TAURUS: &str = "5eebbb4c0f9f4a99b42ed1b6334569aain07";

/// A password that both clouds take, with characters that look different once encoded.
pub const PASSWORD: &str = "Correct-horse@1#%";
/// Another one.
pub const OTHER_PASSWORD: &str = "Battery-staple@2#%";
/// A password that no cloud takes.
pub const BAD_PASSWORD: &str = "bad horse";
/// Secret half of QingCloud's access key.
pub const QINGCLOUD_SECRET: &str = "qingcloud+secret/canary==";
/// Secret half of Huawei Cloud's access key.
pub const HUAWEI_SECRET: &str = "huawei+secret/canary==";
/// Password of Huawei Cloud's IAM user.
pub const IAM_PASSWORD: &str = "iam+password/canary==";

/// One of the two clouds, for tests that hold on both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cloud {
    QingCloud,
    HuaweiCloud,
}

impl Cloud {
    /// The operation that creates an account.
    pub fn create(self) -> Operation {
        match self {
            Self::QingCloud => Operation::AddCkUser,
            Self::HuaweiCloud => Operation::CreateUser,
        }
    }

    /// The operation that deletes an account.
    pub fn delete(self) -> Operation {
        match self {
            Self::QingCloud => Operation::DelCkUser,
            Self::HuaweiCloud => Operation::DeleteUser,
        }
    }

    /// The operation that shows whether a credential reads the instance.
    pub fn read(self) -> Operation {
        match self {
            Self::QingCloud => Operation::DescribeClusters,
            Self::HuaweiCloud => Operation::ListUsers,
        }
    }

    /// Where the cloud's database calls go.
    pub fn service(self) -> Service {
        match self {
            Self::QingCloud => Service::QingCloud,
            Self::HuaweiCloud => Service::Huawei,
        }
    }

    /// The id of the cloud instance that tests use.
    pub fn instance_id(self) -> &'static str {
        match self {
            Self::QingCloud => CLUSTER,
            Self::HuaweiCloud => INSTANCE,
        }
    }

    /// The access that this cloud requires, as a line of spec.
    pub fn access(self) -> &'static str {
        match self {
            Self::QingCloud => "allowedHosts: ['127.0.0.0/8']",
            Self::HuaweiCloud => "databases: ['*']",
        }
    }
}

/// The Secret `cloud-api` with the credentials that the emulated cloud knows.
pub fn credentials(cloud: Cloud) -> String {
    let (id, secret) = match cloud {
        Cloud::QingCloud => ("QINGCLOUDKEY", QINGCLOUD_SECRET),
        Cloud::HuaweiCloud => ("HUAWEIKEY", HUAWEI_SECRET),
    };
    secret_object("cloud-api", &[("accessKeyID", id), ("secretAccessKey", secret)])
}

/// Where the cloud's database calls go.
pub fn endpoint(cloud: Cloud, clouds: &EmulatedClouds) -> Url {
    match cloud {
        Cloud::QingCloud => clouds.qingcloud_endpoint(),
        Cloud::HuaweiCloud => clouds.huawei_endpoint(),
    }
}

/// The instance object `warehouse`, whose credentials are in the Secret `cloud-api`.
pub fn instance(cloud: Cloud, clouds: &EmulatedClouds) -> String {
    let block = match cloud {
        Cloud::QingCloud => format!(
            "qingcloud: {{zone: {ZONE}, clusterID: {CLUSTER}, endpoint: '{}', credentialsSecretRef: {{name: cloud-api}}}}",
            clouds.qingcloud_endpoint()
        ),
        Cloud::HuaweiCloud => format!(
            "huaweicloud: {{region: cn-north-4, projectID: {PROJECT}, instanceID: {INSTANCE}, endpoint: '{}', \
             iamEndpoint: '{}', credentialsSecretRef: {{name: cloud-api}}}}",
            clouds.huawei_endpoint().origin().ascii_serialization(),
            clouds.iam_endpoint().origin().ascii_serialization()
        ),
    };
    instance_object("warehouse", &block)
}

/// An instance object with this provider block.
pub fn instance_object(name: &str, block: &str) -> String {
    format!(
        "
---
apiVersion: chuser.dev/v1alpha1
kind: ClickHouseInstance
metadata: {{name: {name}}}
spec:
  {block}
"
    )
}

/// A Secret.
pub fn secret_object(name: &str, values: &[(&str, &str)]) -> String {
    let values: Vec<_> = values.iter().map(|(key, value)| format!("{key}: {value:?}")).collect();
    format!(
        "
---
apiVersion: v1
kind: Secret
metadata: {{name: {name}}}
stringData: {{{}}}
",
        values.join(", ")
    )
}

/// The Secret that [`user`] of this name reads.
pub fn password(name: &str, password: &str) -> String {
    secret_object(&format!("{}-password", object_name(name)), &[("password", password)])
}

/// A user of instance `warehouse` with the least a cloud needs, and `more` lines of spec.
pub fn user(cloud: Cloud, name: &str, more: &str) -> String {
    user_object(name, &format!("{}\n  {more}", cloud.access()))
}

/// A user of instance `warehouse` with these further lines of spec.
pub fn user_object(name: &str, lines: &str) -> String {
    let object = object_name(name);
    format!(
        "
---
apiVersion: chuser.dev/v1alpha1
kind: ClickHouseUser
metadata: {{name: {object}}}
spec:
  username: {name}
  instanceRef: {{name: warehouse}}
  passwordSecretRef: {{name: {object}-password}}
  {lines}
"
    )
}

/// The name of the object for an account: objects take neither capitals nor underscores.
pub fn object_name(account: &str) -> String {
    account.to_lowercase().replace('_', "-")
}

/// What `Ready` says: reason and message.
pub fn ready(user: &ClickHouseUser) -> (&str, &str) {
    use clickhouse_user_operator::api::conditions::{READY, find};
    let condition = user.status.as_ref().and_then(|status| find(&status.conditions, READY));
    condition.map_or(("", ""), |condition| (&condition.reason, &condition.message))
}

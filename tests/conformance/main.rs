//! What every cloud's provider has to prove, written once against the contract and run for each way to each emulated
//! cloud: outcomes under every assumption about the real clouds, faults at every moment of every call, what users of a
//! credential and of an instance share, and that no secret comes out again.

/// Makes each proof a test of its own for every way to a cloud; in each, what is logged is searched for secrets.
macro_rules! proven_for_every_cloud {
    ($($proof:ident)+) => { $(
        mod $proof {
            use crate::subjects::{HUAWEI_BY_KEYS, HUAWEI_BY_LOGIN, QINGCLOUD_BY_GET, QINGCLOUD_BY_POST};

            #[tokio::test]
            async fn qingcloud_by_post() {
                crate::leaks::watched(super::$proof(&QINGCLOUD_BY_POST)).await;
            }

            #[tokio::test]
            async fn qingcloud_by_get() {
                crate::leaks::watched(super::$proof(&QINGCLOUD_BY_GET)).await;
            }

            #[tokio::test]
            async fn huawei_cloud_by_keys() {
                crate::leaks::watched(super::$proof(&HUAWEI_BY_KEYS)).await;
            }

            #[tokio::test]
            async fn huawei_cloud_by_login() {
                crate::leaks::watched(super::$proof(&HUAWEI_BY_LOGIN)).await;
            }
        }
    )+ };
}

mod faults;
mod leaks;
mod lifecycle;
mod shared;
mod subjects;
mod tls;
mod transport;
mod world;

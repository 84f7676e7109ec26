//! The clouds: the contract each fulfils, what their connections share, and one folder a cloud. Knows no Kubernetes.

pub mod budget;
pub mod contract;
pub mod http;
pub mod huaweicloud;
pub mod qingcloud;

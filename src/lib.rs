//! clickhouse-user-operator keeps ClickHouse accounts on cloud databases in step with `ClickHouseUser` resources.

pub mod api;
pub mod domain;
pub mod provider;

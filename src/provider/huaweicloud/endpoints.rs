//! Where each region answers, where the manifest names no endpoint of its own.

use url::Url;

use crate::provider::contract::Refusal;

/// Regions whose host does not begin with `gaussdb.` (vendor page of regions and endpoints).
const PREFIXES: &[(&str, &[&str])] = &[
    ("gaussdbformysql", &["ap-southeast-1", "ap-southeast-2", "tr-west-1", "cn-north-11", "me-east-1"]),
    ("gaussdb-mysql", &["af-south-1", "cn-east-5", "la-north-2", "cn-southwest-3"]),
];

/// The origin of the database service in a region.
pub fn database(region: &str) -> Result<Url, Refusal> {
    let prefix = PREFIXES.iter().find(|(_, regions)| regions.contains(&region)).map_or("gaussdb", |(prefix, _)| prefix);
    origin(prefix, region)
}

/// The origin of the identity service, which gives out tokens, in a region.
pub fn iam(region: &str) -> Result<Url, Refusal> {
    origin("iam", region)
}

/// Europe has a domain of its own (vendor's Terraform provider: regions that begin with `eu-west-1`).
fn origin(prefix: &str, region: &str) -> Result<Url, Refusal> {
    let legal = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    // The region becomes part of a host name: nothing in it may end that name.
    if region.is_empty() || region.len() > 40 || !region.chars().all(legal) {
        return Err(Refusal::InvalidSpec(
            "huaweicloud.region must be a region id of lower-case letters, digits and '-', such as cn-north-4".into(),
        ));
    }
    let domain = if region.starts_with("eu-west-1") { "myhuaweicloud.eu" } else { "myhuaweicloud.com" };
    Url::parse(&format!("https://{prefix}.{region}.{domain}"))
        .map_err(|_| Refusal::InvalidSpec(format!("huaweicloud.region {region} makes no host name")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_region_has_the_host_the_vendor_gives_it() {
        for (region, host) in [
            ("cn-north-4", "gaussdb.cn-north-4.myhuaweicloud.com"),
            ("a-region-to-come", "gaussdb.a-region-to-come.myhuaweicloud.com"),
            ("ap-southeast-1", "gaussdbformysql.ap-southeast-1.myhuaweicloud.com"),
            ("cn-north-11", "gaussdbformysql.cn-north-11.myhuaweicloud.com"),
            ("af-south-1", "gaussdb-mysql.af-south-1.myhuaweicloud.com"),
            ("eu-west-101", "gaussdb.eu-west-101.myhuaweicloud.eu"),
        ] {
            assert_eq!(database(region).expect(region).as_str(), format!("https://{host}/"));
        }
    }

    #[test]
    fn identity_service_follows_the_region() {
        assert_eq!(iam("cn-north-4").expect("a region").as_str(), "https://iam.cn-north-4.myhuaweicloud.com/");
        assert_eq!(iam("eu-west-101").expect("a region").as_str(), "https://iam.eu-west-101.myhuaweicloud.eu/");
    }

    #[test]
    fn region_that_would_lead_to_another_host_is_refused() {
        for region in ["", "x@evil.example", "a/b", "evil.example/#", "CN-NORTH-4", "cn north", "-.-", &"a".repeat(41)]
        {
            assert!(database(region).is_err(), "{region}");
            assert!(iam(region).is_err(), "{region}");
        }
    }
}

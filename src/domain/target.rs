//! From an instance object to the cloud instance it means and the endpoint it is reached at.

use std::collections::HashSet;

use url::Url;

use crate::{
    api::instance::{HuaweiCloudInstance, ProviderBlock, QingCloudInstance, QingCloudMethod},
    domain::origin::Origin,
    provider::{
        contract::Refusal,
        fleet::Target,
        huaweicloud::endpoints,
        qingcloud::{DEFAULT_ENDPOINT, Method},
    },
};

/// Why an instance object means nothing that may be called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unusable {
    /// A field is wrong; which, and the mend.
    InvalidSpec(String),
    /// An endpoint override is not in `--allowed-endpoints`.
    NotAllowed(String),
}

/// The target of a provider block, with endpoints from the built-in tables unless an allowed override says otherwise.
#[expect(clippy::implicit_hasher, reason = "one caller, with the set that the command line makes")]
pub fn target(block: ProviderBlock<'_>, allowed: &HashSet<Origin>) -> Result<Target, Unusable> {
    match block {
        ProviderBlock::QingCloud(block) => qingcloud(block, allowed),
        ProviderBlock::HuaweiCloud(block) => huaweicloud(block, allowed),
    }
}

/// The target at the endpoint that status notes, whatever the manifest names now and may name. Nothing is to be sent
/// there before the noted credential has proven that status was not forged.
pub fn noted_target(block: ProviderBlock<'_>, endpoint: &str) -> Option<Target> {
    let noted = Some(endpoint.to_owned());
    let origins = |texts: &[&Option<String>]| {
        let texts = texts.iter().filter_map(|text| text.as_deref());
        texts.filter_map(|text| Origin::of(&Url::parse(text).ok()?).ok()).collect::<HashSet<_>>()
    };
    let target = match block {
        ProviderBlock::QingCloud(block) => {
            let allowed = origins(&[&noted]);
            qingcloud(&QingCloudInstance { endpoint: noted, ..block.clone() }, &allowed)
        }
        ProviderBlock::HuaweiCloud(block) => {
            let allowed = origins(&[&noted, &block.iam_endpoint]);
            huaweicloud(&HuaweiCloudInstance { endpoint: noted, ..block.clone() }, &allowed)
        }
    };
    target.ok()
}

fn qingcloud(block: &QingCloudInstance, allowed: &HashSet<Origin>) -> Result<Target, Unusable> {
    let endpoint = match &block.endpoint {
        Some(text) => overridden("spec.qingcloud.endpoint", text, allowed)?,
        None => Url::parse(DEFAULT_ENDPOINT).map_err(|_| invalid("spec.qingcloud.endpoint"))?,
    };
    Ok(Target::QingCloud {
        endpoint,
        zone: block.zone.clone(),
        cluster_id: block.cluster_id.clone(),
        role: block.role().to_owned(),
        method: match block.method() {
            QingCloudMethod::Post => Method::Post,
            QingCloudMethod::Get => Method::Get,
        },
    })
}

fn huaweicloud(block: &HuaweiCloudInstance, allowed: &HashSet<Origin>) -> Result<Target, Unusable> {
    let endpoint = |field: &str, text: Option<&String>, table: fn(&str) -> Result<Url, Refusal>| match text {
        Some(text) => overridden(field, text, allowed),
        None => table(&block.region).map_err(|refusal| match refusal {
            Refusal::InvalidSpec(message) | Refusal::FieldNotSupported(message) | Refusal::InvalidPassword(message) => {
                Unusable::InvalidSpec(message)
            }
        }),
    };
    Ok(Target::HuaweiCloud {
        endpoint: endpoint("spec.huaweicloud.endpoint", block.endpoint.as_ref(), endpoints::database)?,
        iam_endpoint: endpoint("spec.huaweicloud.iamEndpoint", block.iam_endpoint.as_ref(), endpoints::iam)?,
        region: block.region.clone(),
        project_id: block.project_id.clone(),
        instance_id: block.instance_id.clone(),
        taurus_instance_id: block.taurus_instance_id.clone(),
    })
}

/// An override is followed only to an origin that whoever runs the operator has named: a manifest must not be able to
/// send credentials anywhere else.
fn overridden(field: &str, text: &str, allowed: &HashSet<Origin>) -> Result<Url, Unusable> {
    let url = Url::parse(text).map_err(|_| invalid(field))?;
    let origin = Origin::of(&url).map_err(|_| invalid(field))?;
    if !allowed.contains(&origin) {
        return Err(Unusable::NotAllowed(format!(
            "{field}: {origin} is not allowed; ask whoever runs the operator to add it to --allowed-endpoints, or remove \
             the override."
        )));
    }
    Ok(url)
}

/// The text is not repeated: it may hold a password by mistake.
fn invalid(field: &str) -> Unusable {
    Unusable::InvalidSpec(format!("{field}: not a URL of the form https://host[:port]/path without user information."))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::api::instance::ClickHouseInstanceSpec;

    fn spec(provider: &str, extra: &Value) -> ClickHouseInstanceSpec {
        let mut block = match provider {
            "qingcloud" => json!({"zone": "sh1a", "clusterID": "cl-1"}),
            _ => json!({"region": "cn-north-4", "projectID": "p", "instanceID": "i"}),
        };
        block["credentialsSecretRef"] = json!({"name": "credentials"});
        for (field, value) in extra.as_object().expect("fields") {
            block[field] = value.clone();
        }
        serde_json::from_value(json!({provider: block})).expect("a manifest")
    }

    fn found(provider: &str, extra: &Value, allowed: &[&str]) -> Result<Target, Unusable> {
        let allowed = allowed.iter().map(|it| it.parse().expect("an origin")).collect();
        target(spec(provider, extra).provider().expect("one provider"), &allowed)
    }

    #[test]
    fn endpoints_come_from_the_built_in_tables() {
        let target = found("qingcloud", &json!({}), &[]).expect("a target");
        assert_eq!(target.endpoint().as_str(), "https://api.qingcloud.com/iaas/");
        let target = found("huaweicloud", &json!({}), &[]).expect("a target");
        assert_eq!(target.endpoint().as_str(), "https://gaussdb.cn-north-4.myhuaweicloud.com/");
    }

    #[test]
    fn override_is_followed_only_to_an_allowed_origin() {
        let cases = [
            ("qingcloud", json!({"endpoint": "https://cloud.example/iaas/"}), "spec.qingcloud.endpoint"),
            ("huaweicloud", json!({"endpoint": "https://cloud.example"}), "spec.huaweicloud.endpoint"),
            ("huaweicloud", json!({"iamEndpoint": "https://cloud.example"}), "spec.huaweicloud.iamEndpoint"),
        ];
        for (provider, extra, field) in cases {
            match found(provider, &extra, &["https://other.example", "http://cloud.example"]) {
                Err(Unusable::NotAllowed(message)) => assert!(message.starts_with(field), "{message}"),
                other => panic!("{other:?}"),
            }
            assert!(found(provider, &extra, &["https://cloud.example"]).is_ok());
        }
    }

    #[test]
    fn noted_endpoint_stands_in_for_one_that_is_not_allowed() {
        let cases = [
            ("qingcloud", json!({"endpoint": "https://elsewhere.example/"}), "https://cloud.example/iaas/"),
            ("huaweicloud", json!({"endpoint": "https://elsewhere.example"}), "https://cloud.example/"),
            ("huaweicloud", json!({"iamEndpoint": "https://iam.example"}), "https://cloud.example/"),
        ];
        for (provider, extra, noted) in cases {
            let spec = spec(provider, &extra);
            let target = noted_target(spec.provider().expect("one provider"), noted).expect("a target");
            assert_eq!(target.endpoint().as_str(), noted, "{provider}");
        }
    }

    #[test]
    fn noted_text_that_is_no_endpoint_leads_nowhere() {
        let spec = spec("qingcloud", &json!({"endpoint": "https://elsewhere.example/"}));
        for noted in ["", "cloud.example", "ftp://cloud.example", "https://user:pass@cloud.example"] {
            assert_eq!(noted_target(spec.provider().expect("one provider"), noted), None, "{noted}");
        }
    }

    #[test]
    fn what_is_no_endpoint_is_refused_by_field() {
        for endpoint in ["", "cloud.example", "ftp://cloud.example", "https://user:pass@cloud.example"] {
            match found("qingcloud", &json!({"endpoint": endpoint}), &["https://cloud.example"]) {
                Err(Unusable::InvalidSpec(message)) => assert!(message.starts_with("spec.qingcloud.endpoint")),
                other => panic!("{endpoint}: {other:?}"),
            }
        }
        let region = found("huaweicloud", &json!({"region": "evil.example/"}), &[]);
        assert!(matches!(region, Err(Unusable::InvalidSpec(_))));
    }
}

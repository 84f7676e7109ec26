//! Reading Secrets: straight into memory that is wiped, never into a type that can be printed.

use std::collections::BTreeMap;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use kube::{api::GetParams, core::Request};
use serde::{Deserialize, Deserializer, de::Error as _};
use zeroize::Zeroizing;

use super::{Kube, KubeError};
use crate::{
    domain::names::Uid,
    ops::labels::{KubeKind, KubeVerb},
};

/// A Secret's values and version.
pub struct SecretValues {
    /// `metadata.uid`
    pub uid: Uid,
    /// `metadata.resourceVersion`
    pub resource_version: String,
    data: BTreeMap<String, Value>,
}

/// One value, decoded, wiped when dropped.
pub(super) struct Value(pub(super) Zeroizing<Vec<u8>>);

impl SecretValues {
    /// The value of a key.
    pub fn get(&self, key: &str) -> Option<&[u8]> {
        self.data.get(key).map(|value| value.0.as_slice())
    }
}

impl Kube {
    /// Reads a Secret, at least as new as `version` where one is named: the API server may then answer from memory.
    pub async fn read_secret(
        &self,
        namespace: &str,
        name: &str,
        version: Option<&str>,
    ) -> Result<SecretValues, KubeError> {
        let params = version.map_or_else(GetParams::default, GetParams::at);
        let path = format!("/api/v1/namespaces/{namespace}/secrets");
        let request =
            Request::new(path).get(name, &params).map_err(|error| KubeError::Unreachable(error.to_string()))?;
        let secret: RawSecret = self.call(KubeVerb::Get, KubeKind::Secret, self.client.request(request)).await?;
        Ok(SecretValues {
            uid: Uid::new(secret.metadata.uid),
            resource_version: secret.metadata.resource_version,
            data: secret.data.unwrap_or_default(),
        })
    }
}

#[derive(Deserialize)]
struct RawSecret {
    metadata: RawMetadata,
    data: Option<BTreeMap<String, Value>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawMetadata {
    uid: String,
    resource_version: String,
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let encoded = Zeroizing::new(String::deserialize(deserializer)?);
        let decoded = STANDARD.decode(encoded.as_bytes()).map_err(|_| D::Error::custom("a value is not base64"))?;
        Ok(Self(Zeroizing::new(decoded)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_decoded_and_a_secret_without_data_is_empty() {
        let text = r#"{"metadata":{"uid":"u","resourceVersion":"1"},"data":{"password":"UGFzcw=="}}"#;
        let secret: RawSecret = serde_json::from_str(text).expect("a Secret");
        assert_eq!(secret.data.expect("data")["password"].0.as_slice(), b"Pass");
        let text = r#"{"metadata":{"uid":"u","resourceVersion":"1"}}"#;
        assert!(serde_json::from_str::<RawSecret>(text).expect("a Secret").data.is_none());
    }

    #[test]
    fn error_of_a_broken_value_does_not_repeat_it() {
        let text = r#"{"metadata":{"uid":"u","resourceVersion":"1"},"data":{"password":"%hunter2%"}}"#;
        let error = serde_json::from_str::<RawSecret>(text).err().expect("not base64").to_string();
        assert!(!error.contains("hunter2"), "{error}");
    }
}

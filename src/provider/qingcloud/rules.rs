//! Placeholder until the client lands.

use crate::{
    domain::secret::SecretText,
    provider::contract::{Access, AccountRules, Capabilities, Refusal, WantedAccess},
};

/// The cloud's rules for accounts.
pub struct Rules;

impl AccountRules for Rules {
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            jobs: false,
            list: false,
            set_password: false,
            set_access: false,
            allowed_hosts: false,
            databases: false,
            permission: false,
        }
    }

    fn username(&self, _username: &str) -> Result<(), Refusal> {
        Ok(())
    }

    fn password(&self, _username: &str, _password: &SecretText) -> Result<(), Refusal> {
        Ok(())
    }

    fn access(&self, _wanted: &WantedAccess) -> Result<Access, Refusal> {
        Ok(Access::default())
    }
}

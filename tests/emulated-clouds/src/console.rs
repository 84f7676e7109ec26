//! What a person does at the clouds' consoles, behind the back of the API's clients.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::{
    EmulatedClouds,
    database::DatabaseAccount,
    huawei,
    ledger::{AccountAccess, Effect, EffectKind},
    qingcloud,
};

/// An account as it is now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AccountView {
    /// Digest of its password.
    pub password_digest: String,
    /// What it may do.
    pub access: AccountAccess,
}

impl EmulatedClouds {
    /// The accounts of a cluster or instance, built-in ones apart.
    pub fn accounts(&self, instance: &str) -> BTreeMap<String, AccountView> {
        let world = self.shared.world();
        if let Some(cluster) = world.qingcloud.cluster(instance) {
            let view = |account: &qingcloud::Account| AccountView {
                password_digest: account.password_digest.clone(),
                access: AccountAccess { hosts: Some(account.hosts.clone()), ..AccountAccess::default() },
            };
            return cluster.accounts.iter().map(|(name, account)| (name.clone(), view(account))).collect();
        }
        let Some(record) = world.huawei.instance(instance) else { return BTreeMap::new() };
        let view = |account: &huawei::Account| AccountView {
            password_digest: account.password_digest.clone(),
            access: account.access(),
        };
        record.accounts.iter().map(|(name, account)| (name.clone(), view(account))).collect()
    }

    /// Creates or replaces an account at the console, no questions asked.
    ///
    /// # Errors
    /// The instance is unknown, or the database behind the clouds refuses.
    pub async fn put_account(
        &self,
        instance: &str,
        name: &str,
        password: &str,
        access: AccountAccess,
    ) -> Result<(), String> {
        let shared = &self.shared;
        let _one = shared.effects.lock().await;
        let hosts = access.hosts.clone().unwrap_or_else(|| vec!["::/0".to_owned()]);
        let databases = access.databases.clone().unwrap_or_else(|| vec!["*".to_owned()]);
        let dml = access.dml.unwrap_or(1);
        let account = DatabaseAccount {
            name: name.to_owned(),
            password: password.to_owned(),
            networks: hosts.clone(),
            databases: databases.clone(),
            read_only: dml,
        };
        shared.put_in_database(account).await?;
        let mut world = shared.world();
        let lag = world.timing.list_lag;
        let digest = shared.digest(password);
        let existed = if let Some(cluster) = world.qingcloud.cluster_mut(instance) {
            let account = qingcloud::Account { password_digest: digest.clone(), hosts };
            cluster.accounts.insert(name.to_owned(), account).is_some()
        } else if let Some(record) = world.huawei.instance_mut(instance) {
            let existed = record.accounts.contains_key(name);
            let account = huawei::Account::new(shared, password, databases, dml);
            record.set_account(name, Some(account), shared.clock.now(), lag);
            existed
        } else {
            return Err(format!("no instance {instance}"));
        };
        let kind = if existed { EffectKind::PasswordSet } else { EffectKind::Created };
        let effect = Effect {
            kind,
            instance: instance.to_owned(),
            account: name.to_owned(),
            password_digest: Some(digest),
            access: Some(access),
            request: None,
            job: None,
        };
        shared.record_effect(&mut world, effect);
        Ok(())
    }

    /// Deletes an account at the console.
    ///
    /// # Errors
    /// It is not there, or the database behind the clouds refuses.
    pub async fn remove_account(&self, instance: &str, name: &str) -> Result<(), String> {
        let shared = &self.shared;
        let _one = shared.effects.lock().await;
        if !self.accounts(instance).contains_key(name) {
            return Err(format!("no account {name} on {instance}"));
        }
        shared.remove_from_database(name).await?;
        let mut world = shared.world();
        let lag = world.timing.list_lag;
        if let Some(cluster) = world.qingcloud.cluster_mut(instance) {
            cluster.accounts.remove(name);
        } else if let Some(record) = world.huawei.instance_mut(instance) {
            record.set_account(name, None, shared.clock.now(), lag);
        }
        let effect = Effect {
            kind: EffectKind::Deleted,
            instance: instance.to_owned(),
            account: name.to_owned(),
            password_digest: None,
            access: None,
            request: None,
            job: None,
        };
        shared.record_effect(&mut world, effect);
        Ok(())
    }
}

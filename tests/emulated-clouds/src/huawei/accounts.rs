//! Accounts: the changing calls, and what lists show of them.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::{InstanceRecord, Rejection, Route, rules};
use crate::{
    database::DatabaseAccount,
    ledger::{AccountAccess, Effect, EffectKind, Operation},
    message::{RawRequest, Reply},
    seed::{Instance, InstanceState},
    switches::{AccountCodes, ConcurrentWrite, PermissionChange, Switches},
    world::Shared,
};

/// An account as it is.
#[derive(Clone)]
pub(crate) struct Account {
    /// Kept because a change of permission has to write the account behind the cloud anew.
    password: String,
    pub(crate) password_digest: String,
    pub(crate) databases: Vec<String>,
    pub(crate) dml: u8,
}

impl Account {
    pub(crate) fn new(shared: &Shared, password: &str, databases: Vec<String>, dml: u8) -> Self {
        Self { password: password.to_owned(), password_digest: shared.digest(password), databases, dml }
    }

    pub(crate) fn access(&self) -> AccountAccess {
        AccountAccess { hosts: None, databases: Some(self.databases.clone()), dml: Some(self.dml) }
    }

    pub(crate) fn for_database(&self, name: &str) -> DatabaseAccount {
        DatabaseAccount {
            name: name.to_owned(),
            password: self.password.clone(),
            networks: vec!["::/0".to_owned()],
            databases: self.databases.clone(),
            read_only: self.dml,
        }
    }
}

/// An account as lists show it from one time to another.
pub(super) struct Listed {
    pub(super) name: String,
    databases: Vec<String>,
    dml: u8,
    shown_from: Timestamp,
    hidden_from: Option<Timestamp>,
}

impl Listed {
    pub(super) fn row(&self) -> Value {
        json!({ "user_name": self.name, "databases": self.databases, "dml": self.dml, "ddl": 0 })
    }
}

impl InstanceRecord {
    pub(super) fn new(seed: Instance) -> Self {
        let root = Listed {
            name: rules::ROOT.to_owned(),
            databases: vec!["*".to_owned()],
            dml: 2,
            shown_from: Timestamp::MIN,
            hidden_from: None,
        };
        Self { seed, accounts: BTreeMap::new(), listed: vec![root], turn: Arc::default() }
    }

    pub(super) fn listed(&self, now: Timestamp) -> impl Iterator<Item = &Listed> {
        self.listed.iter().filter(move |row| row.shown_from <= now && row.hidden_from.is_none_or(|end| now < end))
    }

    /// Replaces an account (`None`: removes it); lists follow after the lag.
    pub(crate) fn set_account(&mut self, name: &str, account: Option<Account>, now: Timestamp, lag: Duration) {
        let from = now + lag;
        self.listed.retain(|row| row.hidden_from.is_none_or(|end| now < end));
        let current = self.listed.iter().position(|row| row.name == name && row.hidden_from.is_none());
        if let Some(place) = current {
            self.listed[place].hidden_from = Some(from);
        }
        match account {
            Some(account) => {
                let row = Listed {
                    name: name.to_owned(),
                    databases: account.databases.clone(),
                    dml: account.dml,
                    shown_from: from,
                    hidden_from: None,
                };
                // A changed account keeps its place.
                self.listed.insert(current.map_or(self.listed.len(), |place| place + 1), row);
                self.accounts.insert(name.to_owned(), account);
            }
            None => drop(self.accounts.remove(name)),
        }
    }
}

/// The account a body names, for the ledger.
pub(super) fn named_in(raw: &RawRequest) -> Option<String> {
    let body: Map<String, Value> = serde_json::from_slice(&raw.body).ok()?;
    body.get("user_name")?.as_str().map(str::to_owned)
}

/// What a request wants, its rules checked.
enum Change {
    Create { password: String, databases: Vec<String>, dml: u8 },
    Password(String),
    Permission { databases: Vec<String>, dml: u8 },
    Delete,
}

/// Carries out a changing call, or says why not.
pub(super) async fn change(
    shared: &Arc<Shared>,
    raw: &RawRequest,
    route: &Route,
    instance: &str,
    number: u64,
) -> Result<Reply, Rejection> {
    let (name, change, turn, queue, duration) = {
        let world = shared.world();
        let record = world.huawei.instance(instance).ok_or(Rejection::InstanceMissing)?;
        match record.seed.state {
            InstanceState::Normal => {}
            InstanceState::Busy => return Err(Rejection::Busy),
            InstanceState::Abnormal => return Err(Rejection::Abnormal),
            InstanceState::Frozen => return Err(Rejection::Frozen),
            InstanceState::Deleted => return Err(Rejection::InstanceMissing),
        }
        let (name, change) = read(raw, route, &record.seed, &world.switches)?;
        let queue = world.switches.huawei_concurrent_write == ConcurrentWrite::Queued;
        (name, change, record.turn.clone(), queue, world.timing.write_duration)
    };
    let _turn = match turn.clone().try_lock_owned() {
        Ok(turn) => turn,
        Err(_) if queue => turn.lock_owned().await,
        Err(_) => return Err(Rejection::Busy),
    };
    if !duration.is_zero() {
        tokio::select! {
            () = shared.clock.sleep_until(shared.clock.now() + duration) => {}
            () = shared.until_stopped() => return Err(Rejection::Internal),
        }
    }
    let _one = shared.effects.lock().await;
    let (account, kind) = outcome(shared, instance, &name, change)?;
    let in_database = match &account {
        Some(account) => shared.put_in_database(account.for_database(&name)).await,
        None => shared.remove_from_database(&name).await,
    };
    in_database.map_err(|_| Rejection::Internal)?;
    let mut world = shared.world();
    let lag = world.timing.list_lag;
    let record = world.huawei.instance_mut(instance).ok_or(Rejection::InstanceMissing)?;
    let sets_password = matches!(kind, EffectKind::Created | EffectKind::PasswordSet);
    let sets_access = matches!(kind, EffectKind::Created | EffectKind::AccessSet);
    let effect = Effect {
        kind,
        instance: instance.to_owned(),
        password_digest: account.as_ref().filter(|_| sets_password).map(|account| account.password_digest.clone()),
        access: account.as_ref().filter(|_| sets_access).map(Account::access),
        account: name.clone(),
        request: Some(number),
        job: None,
    };
    record.set_account(&name, account, shared.clock.now(), lag);
    shared.record_effect(&mut world, effect);
    Ok(Reply::new(200, json!({ "result": "SUCCESS" })))
}

fn read(
    raw: &RawRequest,
    route: &Route,
    instance: &Instance,
    switches: &Switches,
) -> Result<(String, Change), Rejection> {
    if let Some(name) = &route.account {
        return Ok((name.clone(), Change::Delete));
    }
    let body: Map<String, Value> = serde_json::from_slice(&raw.body).map_err(|_| Rejection::BadParameter)?;
    let name = rules::read_text(&body, "user_name")?;
    rules::check_name(&name)?;
    let change = match route.operation {
        Operation::CreateUser => {
            let password = rules::read_text(&body, "password")?;
            rules::check_password(&name, &password, switches)?;
            let databases = rules::read_databases(&body, instance, switches)?;
            Change::Create { password, databases, dml: rules::read_dml(&body, Some(2))? }
        }
        Operation::SetPassword => {
            let password = rules::read_text(&body, "password")?;
            rules::check_password(&name, &password, switches)?;
            Change::Password(password)
        }
        _ => {
            let databases = rules::read_databases(&body, instance, switches)?;
            Change::Permission { databases, dml: rules::read_dml(&body, None)? }
        }
    };
    Ok((name, change))
}

/// The account after the change.
fn outcome(
    shared: &Shared,
    instance: &str,
    name: &str,
    change: Change,
) -> Result<(Option<Account>, EffectKind), Rejection> {
    let world = shared.world();
    let generic = world.switches.huawei_account_codes == AccountCodes::Generic;
    if name == rules::ROOT {
        return Err(Rejection::BuiltInAccount);
    }
    let current = world.huawei.instance(instance).and_then(|record| record.accounts.get(name)).cloned();
    match (change, current) {
        (Change::Create { .. }, Some(_)) => {
            Err(if generic { Rejection::BadParameter } else { Rejection::AccountExists })
        }
        (Change::Create { password, databases, dml }, None) => {
            Ok((Some(Account::new(shared, &password, databases, dml)), EffectKind::Created))
        }
        (_, None) => Err(if generic { Rejection::BadParameter } else { Rejection::AccountMissing }),
        (Change::Password(password), Some(account)) => {
            Ok((Some(Account::new(shared, &password, account.databases, account.dml)), EffectKind::PasswordSet))
        }
        (Change::Permission { mut databases, dml }, Some(account)) => {
            if world.switches.huawei_permission_change == PermissionChange::Adds {
                let added: Vec<_> =
                    databases.into_iter().filter(|database| !account.databases.contains(database)).collect();
                databases = [account.databases.clone(), added].concat();
            }
            Ok((Some(Account { databases, dml, ..account }), EffectKind::AccessSet))
        }
        (Change::Delete, Some(_)) => Ok((None, EffectKind::Deleted)),
    }
}

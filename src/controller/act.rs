//! The one place where effects happen: performs the step that the plan names and notes what was seen.

use std::sync::Arc;

use jiff::Timestamp;
use kube::ResourceExt;
use tokio::time::Instant;

use super::{
    around::Remembered,
    context::Scope,
    instance_seen::instance_seen,
    names::InstanceName,
    rivals::{self, Claiming},
    waits::Waits,
};
use crate::{
    api::{
        OPERATION_ANNOTATION,
        user::{self, ClickHouseUser, OperationState},
    },
    domain::{
        claims::Account,
        connection_secret::FoundSecret,
        desired::Desired,
        journal::{self, Intent, SecretVersion},
        password::{self, Purpose},
        plan::{AccountChange, Moment, Release, Step, Verdict},
        report::{self, Report},
        secret::SecretText,
        seen::{CallSeen, ConnectionSecretSeen, InstanceSeen, PasswordSeen, Record, SecretSeen, Seen},
    },
    kubeio::{Haste, Kube, KubeError},
    ops::labels::OperationKind,
    provider::{
        connection::Connection,
        contract::{Accepted, CallError, CallKind, CloudError, ErrorClass, NewAccount},
    },
};

/// Tries to write a status that must not be lost, such as one with a job ID, against somebody else's writes.
const STATUS_TRIES: usize = 3;

/// Why a pass cannot go on.
pub enum Interrupted {
    /// The object is not what the plan saw any more.
    Stale,
    /// The API server failed or refused; what and how.
    Failed(String),
}

/// A pass at work.
pub struct Acting {
    pub(super) scope: Arc<Scope>,
    pub(super) kube: Kube,
    pub(super) urgent: bool,
    user: Arc<ClickHouseUser>,
    /// What the plan wants.
    pub desired: Desired,
    /// What the plan knows.
    pub seen: Seen,
    instance: InstanceName,
    pub(super) connection: Option<Arc<Connection>>,
    /// Read in this pass, gone with it.
    pub(super) password: Option<SecretText>,
    /// The connection Secret, read in this pass.
    pub(super) found_secret: Option<FoundSecret>,
    /// Keeps others from writing a first intent for the same account.
    claiming: Option<Claiming>,
}

impl Acting {
    /// Gathers what is known without asking anybody.
    pub fn begin(scope: Arc<Scope>, user: Arc<ClickHouseUser>, desired: Desired, urgent: bool) -> Self {
        let context = &scope.context;
        // A changed password does not wait behind new users, whose requests are many.
        let kube = if urgent { context.kube.with(Haste::Urgent) } else { context.kube.clone() };
        let instance = InstanceName::meant(&desired.namespace, desired.instance_kind, &desired.instance_name);
        let (facts, connection) = instance_seen(context, &user, &instance);
        let Remembered { login_tried, connection_secret, written_at } = scope.around.of(&desired.uid);
        let wanted_secret = desired.connection_secret.as_ref();
        let annotation = user.annotations().get(OPERATION_ANNOTATION);
        let (intent, newer_attempt) = match annotation.and_then(|text| journal::read(text, &desired.uid, &context.key))
        {
            Some(journal::Entry::Intent(intent)) => (Some(*intent), None),
            Some(journal::Entry::Newer(newer)) => (None, Some(newer.attempt)),
            None => (None, None),
        };
        let seen = Seen {
            finalizer: user.is_held(),
            intent,
            newer_attempt,
            record: Record::of(user.status.as_ref(), &desired.uid),
            rival: rivals::rival(context, &user, &facts),
            instance: facts,
            secret: scope.secrets.get(&(desired.namespace.clone(), desired.password.secret.clone())),
            login_tried,
            connection_secret: ConnectionSecretSeen {
                shown: wanted_secret.map_or(SecretSeen::Missing, |wanted| {
                    scope.secrets.get(&(desired.namespace.clone(), wanted.name.clone()))
                }),
                known: connection_secret,
                written_at,
                ..ConnectionSecretSeen::default()
            },
            ..Seen::default()
        };
        let seen = Seen {
            // An older annotation that somebody put back must not undo what status says since.
            intent: seen.intent.filter(|intent| seen.record.is_not_newer_than(intent)),
            listed: connection.as_ref().and_then(|connection| connection.listed(&desired.username)),
            ..seen
        };
        Self {
            scope,
            kube,
            urgent,
            user,
            desired,
            seen,
            instance,
            connection,
            password: None,
            found_secret: None,
            claiming: None,
        }
    }

    /// Performs one step.
    pub async fn perform(&mut self, step: Step, moment: &Moment<'_>) -> Result<(), Interrupted> {
        match step {
            Step::ReadPassword => self.read_password().await,
            Step::ReadAccount(asked_from) => {
                let connection = self.connection()?;
                self.seen.account = Some(connection.account(&self.username(), asked_from).await);
            }
            Step::ReadJob(id) => self.seen.job = Some(self.connection()?.job(&id).await),
            Step::FindJob(lost) => self.seen.job = Some(self.connection()?.find_job(&lost).await),
            Step::Login => self.log_in().await,
            Step::ReadConnectionSecret { wanted, exact } => self.read_connection_secret(*wanted, exact).await,
            Step::WriteConnectionSecret { wanted, exact } => self.write_connection_secret(*wanted, exact).await,
            Step::RemoveConnectionSecret(name) => self.remove_connection_secret(&name).await,
            Step::TakeTurn(kind) => self.take_turn(kind).await?,
            Step::HoldInstance => self.hold_instance().await?,
            Step::WriteIntent(intent) => self.write_intent(*intent).await?,
            Step::RestoreFinalizer => {
                let written = self.kube.write_intent(&self.user, None).await;
                self.wrote(written, "putting the finalizer back")?;
            }
            Step::Call(kind) => self.call(kind).await?,
            Step::Release(release) => self.release(&release, moment.now).await?,
            Step::Settle(_) | Step::Gone => {}
        }
        Ok(())
    }

    /// Writes what the pass came to, and frees or keeps the instance for the next.
    pub async fn settle(&mut self, verdict: &Verdict, moment: &Moment<'_>) -> Result<(), Interrupted> {
        let Report { status, event } =
            report::report(self.user.status.as_ref(), &self.desired, &self.seen, verdict, moment, Timestamp::now());
        if let Some(status) = status {
            let mut tries = 0;
            loop {
                tries += 1;
                match self.kube.apply_user_status(&self.user, &status).await {
                    // Somebody wrote something else; what status says is still true of the newer object.
                    Err(KubeError::Conflict) if tries < STATUS_TRIES => self.read_again().await?,
                    written => break self.wrote(written, "writing status")?,
                }
            }
        }
        if let Some(notice) = event {
            self.scope.context.announcer.happened(self.user.clone(), notice);
        }
        self.measure(verdict);
        self.pass_turn_on(verdict);
        Ok(())
    }

    /// The user is gone or holds nothing: frees what it held here.
    pub fn leave(&self) {
        self.scope.refusals.forget(&self.desired.uid);
        self.scope.waits.over(&self.desired.uid);
        if let Some(connection) = &self.connection {
            connection.queue.forget(self.desired.uid.as_str(), Instant::now());
        }
        self.scope.context.wake_instance(&self.instance);
    }

    fn username(&self) -> crate::domain::names::Username {
        self.seen.intent.as_ref().map_or_else(|| self.desired.username.clone(), |intent| intent.username.clone())
    }

    async fn read_password(&mut self) {
        let (source, context) = (&self.desired.password, &self.scope.context);
        let InstanceSeen::Present(facts) = &self.seen.instance else {
            self.seen.password = Some(PasswordSeen::Unreadable("The instance is not known yet.".to_owned()));
            return;
        };
        let version = match &self.seen.secret {
            SecretSeen::Present { resource_version, .. } => Some(resource_version.as_str()),
            SecretSeen::Missing => None,
        };
        let read = self.kube.read_secret(&self.desired.namespace, &source.secret, version).await;
        let (seen, text) = match read {
            Err(KubeError::NotFound) => {
                (PasswordSeen::Missing(format!("Secret {} to be created", source.secret)), None)
            }
            Err(error) => {
                (PasswordSeen::Unreadable(format!("Secret {} cannot be read: {error}.", source.secret)), None)
            }
            Ok(secret) => {
                let version = SecretVersion {
                    name: source.secret.clone(),
                    uid: secret.uid.clone(),
                    resource_version: secret.resource_version.clone(),
                    revision: source.revision.clone(),
                };
                let purpose = Purpose {
                    instance: &facts.key,
                    username: &self.desired.username,
                    rules: facts.provider.rules(),
                    key: &context.key,
                };
                password::examine(secret.get(&source.key), &source.key, version, &purpose)
            }
        };
        self.seen.password = Some(seen);
        self.password = text;
    }

    async fn hold_instance(&mut self) -> Result<(), Interrupted> {
        let context = &self.scope.context;
        let Some(instance) = context.instance(&self.instance) else { return Err(Interrupted::Stale) };
        match self.kube.set_in_use(&instance, true).await {
            Ok(written) => context.wrote_instance(written),
            Err(KubeError::Conflict | KubeError::NotFound) => return Err(Interrupted::Stale),
            Err(error) => return Err(Interrupted::Failed(format!("holding the instance failed: {error}"))),
        }
        if let InstanceSeen::Present(facts) = &mut self.seen.instance {
            facts.held = true;
        }
        Ok(())
    }

    async fn write_intent(&mut self, intent: Intent) -> Result<(), Interrupted> {
        let account = Account { instance: intent.instance_key.clone(), username: intent.username.clone() };
        self.claiming = Claiming::begin(&self.scope.context, &self.user, account);
        if self.claiming.is_none() {
            return Err(Interrupted::Stale);
        }
        let annotation = journal::seal(&intent, &self.scope.context.key);
        let written = self.kube.write_intent(&self.user, Some(&annotation)).await;
        self.wrote(written, "writing the intent")?;
        self.seen.intent = Some(intent);
        Ok(())
    }

    async fn call(&mut self, kind: CallKind) -> Result<(), Interrupted> {
        let connection = self.connection()?;
        let Some(intent) = &self.seen.intent else { return Err(bug("a call without an intent")) };
        if self.seen.call.is_some() {
            return Err(bug("a second changing call in one pass"));
        }
        // Nothing is lost: the intent stays, and whoever leads finds out that the call was never sent.
        if !self.scope.context.fence.is_open() {
            return Err(Interrupted::Failed(
                "a call is left to the next leader: the Lease may have run out".to_owned(),
            ));
        }
        // Until its answer is heard, nobody knows what came of this call.
        self.scope.refusals.forget(&self.desired.uid);
        let outcome = match (kind, &self.password) {
            (CallKind::Create, Some(password)) => {
                let account = NewAccount { username: &intent.username, password, access: &intent.access };
                connection.create(&intent.attempt, account).await
            }
            (CallKind::SetPassword, Some(password)) => {
                connection.set_password(&intent.attempt, &intent.username, password).await
            }
            (CallKind::SetAccess, _) => connection.set_access(&intent.attempt, &intent.username, &intent.access).await,
            (CallKind::Delete, _) => {
                // The deletion of a re-creation is none: the account comes back.
                let counted = intent.kind == user::OperationKind::Delete;
                connection.delete(&intent.attempt, &intent.username, counted).await
            }
            (CallKind::Create | CallKind::SetPassword, None) => Err(CallError::NotApplied(CloudError::new(
                ErrorClass::InvalidPassword,
                "the password was not read in this pass",
            ))),
        };
        if matches!(outcome, Err(CallError::NotApplied(_))) {
            self.scope.refusals.heard_of(&self.desired.uid, &intent.attempt);
        } else if !matches!(intent.kind, user::OperationKind::Create | user::OperationKind::Delete) {
            self.scope.changes.made(&self.desired.uid, Timestamp::now());
        }
        if matches!(outcome, Ok(Accepted::Done)) {
            // What is left of the pass is between the API server and us.
            connection.queue.leave(self.desired.uid.as_str(), Instant::now());
            if !self.urgent {
                self.kube = self.kube.with(Haste::None);
            }
        }
        self.seen.call = Some(CallSeen { kind, outcome });
        Ok(())
    }

    async fn release(&mut self, release: &Release, now: Timestamp) -> Result<(), Interrupted> {
        match self.kube.release_user(&self.user).await {
            Ok(()) => {}
            Err(KubeError::Conflict) => return Err(Interrupted::Stale),
            Err(error) => return Err(Interrupted::Failed(format!("taking the finalizer off failed: {error}"))),
        }
        self.seen.released = true;
        self.seen.finalizer = false;
        let (context, provider) = (&self.scope.context, self.user.status.as_ref().and_then(|status| status.provider));
        if let Some(notice) = report::left_behind(&self.desired, release) {
            if let Some(provider) = provider {
                context.metrics.orphan_left(provider);
            }
            match release {
                Release::Orphaned(_) => context.announcer.orphaned(self.user.clone(), notice),
                _ => context.announcer.happened(self.user.clone(), notice),
            }
        } else if let (Some(provider), true) = (provider, self.seen.record.applied.is_some()) {
            let elapsed = now.duration_since(self.desired.since()).try_into().unwrap_or_default();
            context.metrics.operation_confirmed(provider, OperationKind::Delete, elapsed);
        }
        Ok(())
    }

    /// Takes in what a write to the user returned.
    fn wrote(&mut self, written: Result<ClickHouseUser, KubeError>, what: &str) -> Result<(), Interrupted> {
        match written {
            Ok(user) => {
                self.user = Arc::new(user);
                self.scope.written_users.wrote(self.user.clone());
                self.seen.finalizer = self.user.is_held();
                Ok(())
            }
            Err(KubeError::Conflict | KubeError::NotFound) => Err(Interrupted::Stale),
            Err(error) => Err(Interrupted::Failed(format!("{what} failed: {error}"))),
        }
    }

    /// Reads the object as it is now. Another object of the same name ends the pass, and so does a status that somebody
    /// else wrote: another leader knows more than a process that was stopped and woken late.
    async fn read_again(&mut self) -> Result<(), Interrupted> {
        let now = self.kube.get_user(&self.desired.namespace, &self.desired.name).await;
        match now {
            Ok(user) if user.uid().as_deref() == Some(self.desired.uid.as_str()) => {
                let written = user.status.as_ref().is_some_and(|status| status.uid.is_some());
                if written && user.status != self.user.status {
                    return Err(Interrupted::Stale);
                }
                self.user = Arc::new(user);
                Ok(())
            }
            Ok(_) | Err(KubeError::NotFound) => Err(Interrupted::Stale),
            Err(error) => Err(Interrupted::Failed(format!("reading the object again failed: {error}"))),
        }
    }

    /// An operation was confirmed in this pass: how long it took since it was asked for.
    fn measure(&self, verdict: &Verdict) {
        let confirmed = verdict.operation.as_ref().filter(|it| it.state == OperationState::Succeeded);
        let (Some(operation), AccountChange::Confirmed(..)) = (confirmed, &verdict.account) else { return };
        let InstanceSeen::Present(facts) = &self.seen.instance else { return };
        let (kind, since) = match operation.kind {
            user::OperationKind::Create => (OperationKind::Create, self.desired.created_at),
            user::OperationKind::SetPassword => (OperationKind::SetPassword, operation.started_at.0),
            user::OperationKind::SetAccess => (OperationKind::SetAccess, operation.started_at.0),
            user::OperationKind::Recreate => (OperationKind::Recreate, operation.started_at.0),
            user::OperationKind::Delete => return,
        };
        let elapsed = Timestamp::now().duration_since(since).try_into().unwrap_or_default();
        self.scope.context.metrics.operation_confirmed(facts.provider, kind, elapsed);
    }

    /// Who waits for nothing but ourselves.
    pub fn waits(&self) -> &Waits {
        &self.scope.waits
    }

    pub(super) fn connection(&self) -> Result<Arc<Connection>, Interrupted> {
        self.connection.clone().ok_or_else(|| bug("a step at the cloud without a connection"))
    }
}

fn bug(what: &str) -> Interrupted {
    Interrupted::Failed(format!("the plan asked for {what}; this is a bug, please report it"))
}

use crate::{Change, Failure, Target, Verb};
use cluster::{Client, Delete, Error};
use object::{Object, ObjectKey};
use plan::{Claims, Live, Plan, Policy, Prune, PruneAction, Record, decide_prune};
use serde_json::Value;
use std::{
    collections::HashSet,
    sync::{Arc, atomic::AtomicBool},
};
use tokio_util::sync::CancellationToken;

/// One reconcile's dealings with a cluster.
pub struct Session<'a> {
    pub target: &'a Target,
    /// In the name of whoever applies.
    pub client: Client,
    pub policy: &'a Policy,
    /// The last attempt was refused: try as a dry run what would otherwise be made at once.
    pub cautious: bool,
    pub cancel: &'a CancellationToken,
    /// A definition was written: kinds that are not served yet will be in a moment.
    pub(crate) defined: AtomicBool,
}

/// What became of the desired objects.
#[derive(Debug, Default)]
pub struct Applied {
    pub changes: Vec<Change>,
    /// Objects that a write was sent for, whether or not an answer came, and that were not taken back.
    pub written: HashSet<ObjectKey>,
    pub failure: Option<Failure>,
    /// Objects of a stage that the next stage waits for.
    pub pending: Vec<ObjectKey>,
}

/// What became of the objects that are no longer desired.
#[derive(Debug, Default)]
pub struct Pruned {
    pub changes: Vec<Change>,
    /// Still there, and still ours: they stay in the inventory.
    pub kept: HashSet<ObjectKey>,
    pub failure: Option<Failure>,
    /// Some wait to be taken over by another owner.
    pub deferred: bool,
}

/// How it went with one object.
enum Ended {
    Told(Verb),
    Forgotten,
    /// It stays in the inventory for now.
    Deferred,
}

impl<'a> Session<'a> {
    pub fn new(target: &'a Target, client: Client, policy: &'a Policy, cautious: bool, cancel: &'a CancellationToken) -> Self {
        Self { target, client, policy, cautious, cancel, defined: AtomicBool::new(false) }
    }
}

impl Session<'_> {
    /// Applies stage after stage, until one fails or has to be waited for.
    pub async fn apply(&self, plan: &Plan) -> Applied {
        let mut applied = Applied::default();
        for stage in &plan.stages {
            self.stage(stage, &mut applied).await;
            if applied.failure.is_some() || !applied.pending.is_empty() {
                return applied;
            }
        }
        applied
    }

    /// Deletes one after the other, in the order of the plan.
    pub async fn prune(&self, prunes: &[Prune], claims: &Claims<'_>) -> Pruned {
        let mut pruned = Pruned::default();
        let mut failures: Vec<Failure> = Vec::new();
        for prune in prunes {
            let key = &prune.entry.key;
            if self.cancel.is_cancelled() {
                pruned.kept.insert(key.clone());
                continue;
            }
            match self.prune_one(prune, claims).await {
                Ok(Ended::Told(verb)) => pruned.changes.push(Change { key: key.clone(), verb }),
                Ok(Ended::Forgotten) => {}
                Ok(Ended::Deferred) => {
                    pruned.deferred = true;
                    pruned.kept.insert(key.clone());
                }
                Err(error) => {
                    pruned.kept.insert(key.clone());
                    failures.push(Failure::of_delete(key, &error));
                }
            }
        }
        if !failures.is_empty() {
            let transient = failures.iter().all(|failure| failure.transient);
            let list: String = failures.iter().map(|failure| format!("{};", failure.message)).collect::<Vec<_>>().join(" ");
            pruned.failure = Some(Failure { message: format!("delete failed, errors: {list}"), transient });
        }
        pruned
    }

    async fn prune_one(&self, prune: &Prune, claims: &Claims<'_>) -> Result<Ended, Error> {
        let action = match &prune.action {
            PruneAction::Look => match self.look(&prune.entry.gvk(), &prune.entry.key).await? {
                Some(record) => decide_prune(&prune.entry.key, &Live::Present(record), self.policy, claims),
                None => return Ok(Ended::Told(Verb::Deleted)),
            },
            action => action.clone(),
        };
        match action {
            PruneAction::Forget => Ok(Ended::Forgotten),
            PruneAction::Defer { .. } | PruneAction::Look => Ok(Ended::Deferred),
            PruneAction::Skip { .. } => Ok(Ended::Told(Verb::Skipped)),
            PruneAction::Delete { uid } => self.delete(prune, &uid).await.map(Ended::Told),
        }
    }

    /// Deletes the object with this uid; another one under its name is not ours.
    async fn delete(&self, prune: &Prune, uid: &str) -> Result<Verb, Error> {
        let key = &prune.entry.key;
        let resource = match self.target.discovery.resolve(&prune.entry.gvk()).await {
            Ok(resource) => resource,
            // Its definition is gone, and it with it.
            Err(Error::NoMatch { .. }) => return Ok(Verb::Deleted),
            Err(error) => return Err(error),
        };
        let options = Delete { uid: Some(uid), ..Delete::default() };
        match self.client.delete(&resource, &key.namespace, &key.name, options).await {
            Ok(_) => {}
            Err(error) if error.is_not_found() => {}
            Err(error) if error.is_conflict() => return Ok(Verb::Skipped),
            Err(error) => return Err(error),
        }
        if resource.kind == "CustomResourceDefinition" {
            self.target.discovery.forget(key.name.split_once('.').map_or("", |(_, group)| group));
        }
        Ok(Verb::Deleted)
    }

    /// Reads an object as its owner may; `None` when there is none.
    pub(crate) async fn look(&self, gvk: &object::GroupVersionKind, key: &ObjectKey) -> Result<Option<Arc<Record>>, Error> {
        let resource = match self.target.discovery.resolve(gvk).await {
            Ok(resource) => resource,
            Err(Error::NoMatch { .. }) => return Ok(None),
            Err(error) => return Err(error),
        };
        let found = self.client.get_opt(&resource, &key.namespace, &key.name).await?;
        found.map(|bytes| read(&bytes).map(|object| Arc::new(Record::of(Arc::new(object))))).transpose()
    }
}

pub(crate) fn read(bytes: &[u8]) -> Result<Object, Error> {
    let value: Value = serde_json::from_slice(bytes).map_err(Error::Decode)?;
    Object::new(value).map_err(|error| Error::Decode(serde::de::Error::custom(error)))
}

use crate::client::{Client, Selection};
use crate::digest::object_digest;
use crate::error::Error;
use crate::resource::Resource;
use crate::watch::WatchEvent;
use futures::StreamExt;
use object::{GroupKind, Object, ObjectKey};
use serde_json::Value;
use serde_json::value::RawValue;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// The objects that somebody applied and labelled as theirs, followed by one watch per kind.
///
/// Of each object a record of some dozen bytes is kept, not the object. `H` is what the user of this reads from an
/// object while it passes by, such as its health. Subscribers hear of every change, and of nothing that is none.
pub struct Owned<H> {
    client: Client,
    labels: OwnerLabels,
    read: Box<dyn Fn(&Resource, &Object) -> H + Send + Sync>,
    state: RwLock<State<H>>,
    followed: Mutex<HashMap<GroupKind, watch::Receiver<Phase>>>,
    subscribers: RwLock<Vec<Subscriber<H>>>,
    /// Dropping the set ends the watches.
    watches: Mutex<JoinSet<()>>,
}

/// The labels that name the owner of an object; the first one selects what is watched.
#[derive(Debug, Clone, Copy)]
pub struct OwnerLabels {
    pub name: &'static str,
    pub namespace: &'static str,
}

/// Who applied an object.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Owner {
    pub namespace: String,
    pub name: String,
}

/// What is known of one object.
#[derive(Debug, Clone, PartialEq)]
pub struct Record<H> {
    pub uid: Box<str>,
    pub resource_version: Box<str>,
    pub generation: i64,
    pub deleting: bool,
    pub owner: Owner,
    /// Differs when anything but status, managed fields and the server's own bookkeeping differs; see [`object_digest`].
    pub digest: u64,
    pub health: H,
}

/// A change of one object. `new` is absent when the object was deleted, or lost the owner's label.
pub struct OwnedChange<'a, H> {
    pub key: &'a ObjectKey,
    pub old: Option<&'a Record<H>>,
    pub new: Option<&'a Record<H>>,
}

impl<H> OwnedChange<'_, H> {
    /// Those who have an interest in the object: the owner before, the owner now.
    pub fn owners(&self) -> impl Iterator<Item = &Owner> {
        let (old, new) = (self.old.map(|record| &record.owner), self.new.map(|record| &record.owner));
        old.filter(|old| Some(*old) != new).into_iter().chain(new)
    }

    /// Whether somebody changed what was applied: not its status, not its health.
    pub fn is_drift(&self) -> bool {
        match (self.old, self.new) {
            (Some(old), Some(new)) => old.digest != new.digest || old.uid != new.uid || old.deleting != new.deleting,
            (Some(_), None) => true,
            (None, _) => false,
        }
    }
}

type Subscriber<H> = Box<dyn Fn(&OwnedChange<'_, H>) + Send + Sync>;

struct State<H> {
    records: HashMap<ObjectKey, Arc<Record<H>>>,
    by_owner: BTreeMap<Owner, BTreeSet<ObjectKey>>,
}

/// How far a watch has come.
#[derive(Debug, Clone)]
enum Phase {
    Listing,
    /// The first listing failed; it is tried again.
    Failed(String),
    Synced,
}

impl<H: Clone + PartialEq + Send + Sync + 'static> Owned<H> {
    pub fn new(client: Client, labels: OwnerLabels, read: impl Fn(&Resource, &Object) -> H + Send + Sync + 'static) -> Arc<Self> {
        Arc::new(Self {
            client,
            labels,
            read: Box::new(read),
            state: RwLock::new(State { records: HashMap::new(), by_owner: BTreeMap::new() }),
            followed: Mutex::default(),
            subscribers: RwLock::default(),
            watches: Mutex::default(),
        })
    }

    /// Calls `subscriber` at every change, in the order of the watch: it must not block.
    pub fn subscribe(&self, subscriber: impl Fn(&OwnedChange<'_, H>) + Send + Sync + 'static) {
        self.subscribers.write().unwrap_or_else(PoisonError::into_inner).push(Box::new(subscriber));
    }

    /// Follows a kind and waits until its objects are listed. Says why when they cannot be listed; trying goes on behind.
    pub async fn follow(self: &Arc<Self>, resource: &Resource) -> Result<(), FollowError> {
        let mut phase = self.start(resource);
        let reached = phase.wait_for(|phase| !matches!(phase, Phase::Listing)).await;
        match reached.as_deref() {
            Ok(Phase::Synced) => Ok(()),
            Ok(Phase::Failed(why)) => Err(FollowError { resource: resource.full_name(), why: why.clone() }),
            Ok(Phase::Listing) | Err(_) => Err(FollowError { resource: resource.full_name(), why: "the watch ended".into() }),
        }
    }

    /// Whether the records of a kind are complete.
    pub fn is_synced(&self, kind: &GroupKind) -> bool {
        self.followed().get(kind).is_some_and(|phase| matches!(*phase.borrow(), Phase::Synced))
    }

    pub fn get(&self, key: &ObjectKey) -> Option<Arc<Record<H>>> {
        self.read_state().records.get(key).cloned()
    }

    /// Everything that carries the labels of an owner, of the kinds that are followed.
    pub fn of_owner(&self, owner: &Owner) -> Vec<(ObjectKey, Arc<Record<H>>)> {
        let state = self.read_state();
        let keys = state.by_owner.get(owner).into_iter().flatten();
        keys.filter_map(|key| Some((key.clone(), state.records.get(key)?.clone()))).collect()
    }

    pub fn len(&self) -> usize {
        self.read_state().records.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Takes in the answer to a write, so that the next look sees it before the watch tells. Returns the record.
    pub fn observe(&self, resource: &Resource, json: &[u8]) -> Result<Arc<Record<H>>, Error> {
        let value: Value = serde_json::from_slice(json).map_err(Error::Decode)?;
        let (key, record) = self.record(resource, value).ok_or_else(|| Error::Decode(serde::de::Error::custom("it is no object")))?;
        let record = Arc::new(record);
        self.put(key, record.clone());
        Ok(record)
    }

    fn start(self: &Arc<Self>, resource: &Resource) -> watch::Receiver<Phase> {
        let mut followed = self.followed();
        if let Some(phase) = followed.get(&resource.group_kind()) {
            return phase.clone();
        }
        let (tell, phase) = watch::channel(Phase::Listing);
        followed.insert(resource.group_kind(), phase.clone());
        let (me, client, resource) = (Arc::downgrade(self), self.client.clone(), resource.clone());
        let selection = Selection::labels(self.labels.name);
        self.watches.lock().unwrap_or_else(PoisonError::into_inner).spawn(async move {
            let mut events = client.watch(&resource, &selection);
            let mut listed = None;
            while let Some(event) = events.next().await {
                let Some(me) = me.upgrade() else { return };
                me.take(&resource, event, &mut listed, &tell);
            }
        });
        phase
    }

    fn take(&self, resource: &Resource, event: WatchEvent, listed: &mut Option<HashSet<ObjectKey>>, tell: &watch::Sender<Phase>) {
        match event {
            WatchEvent::Restarted => *listed = Some(HashSet::new()),
            WatchEvent::Listed(json) => {
                if let (Some(key), Some(listed)) = (self.take_object(resource, &json), listed.as_mut()) {
                    listed.insert(key);
                }
            }
            WatchEvent::Applied(json) => {
                self.take_object(resource, &json);
            }
            WatchEvent::Synced => {
                self.retain(resource, &listed.take().unwrap_or_default());
                tell.send_replace(Phase::Synced);
            }
            WatchEvent::Deleted(json) => {
                if let Some((key, record)) = serde_json::from_str(json.get()).ok().and_then(|value| self.record(resource, value)) {
                    self.remove(&key, Some(&record.uid));
                }
            }
            WatchEvent::Failed(error) => {
                if error.is_not_found() {
                    // The definition went, and every object with it.
                    self.retain(resource, &HashSet::new());
                }
                let text = error.chain();
                tracing::debug!(%resource, error = %text, "the watch broke off");
                tell.send_if_modified(|phase| {
                    let first = matches!(phase, Phase::Listing | Phase::Failed(_)) && !error.is_expired();
                    if first {
                        *phase = Phase::Failed(text);
                    }
                    first
                });
            }
        }
    }

    fn take_object(&self, resource: &Resource, json: &RawValue) -> Option<ObjectKey> {
        let (key, record) = self.record(resource, serde_json::from_str(json.get()).ok()?)?;
        self.put(key.clone(), Arc::new(record));
        Some(key)
    }

    fn record(&self, resource: &Resource, mut value: Value) -> Option<(ObjectKey, Record<H>)> {
        // Items of lists of built-in kinds come without their type.
        let map = value.as_object_mut()?;
        map.entry("apiVersion").or_insert_with(|| resource.api_version().into());
        map.entry("kind").or_insert_with(|| resource.kind.as_str().into());
        let object = Object::new(value).ok()?;
        let text = |field: &str| object.field(&["metadata", field]).and_then(Value::as_str).unwrap_or_default();
        let label = |name: &str| object.label(name).unwrap_or_default().to_owned();
        let record = Record {
            uid: text("uid").into(),
            resource_version: text("resourceVersion").into(),
            generation: object.field(&["metadata", "generation"]).and_then(Value::as_i64).unwrap_or_default(),
            deleting: object.field(&["metadata", "deletionTimestamp"]).is_some(),
            owner: Owner { namespace: label(self.labels.namespace), name: label(self.labels.name) },
            digest: object_digest(&object),
            health: (self.read)(resource, &object),
        };
        Some((object.key(), record))
    }

    fn put(&self, key: ObjectKey, record: Arc<Record<H>>) {
        let old = {
            let mut state = self.write_state();
            if let Some(old) = state.records.get(&key)
                && old.uid == record.uid
                && is_older_or_same(&record.resource_version, &old.resource_version)
            {
                return;
            }
            let old = state.records.insert(key.clone(), record.clone());
            if let Some(old) = old.as_ref().filter(|old| old.owner != record.owner) {
                state.unlink(&old.owner, &key);
            }
            state.by_owner.entry(record.owner.clone()).or_default().insert(key.clone());
            old
        };
        self.tell(&OwnedChange { key: &key, old: old.as_deref(), new: Some(&record) });
    }

    fn remove(&self, key: &ObjectKey, uid: Option<&str>) {
        let old = {
            let mut state = self.write_state();
            match state.records.get(key) {
                Some(record) if uid.is_none_or(|uid| &*record.uid == uid) => {}
                _ => return,
            }
            let Some(old) = state.records.remove(key) else { return };
            state.unlink(&old.owner, key);
            old
        };
        self.tell(&OwnedChange { key, old: Some(&old), new: None });
    }

    fn retain(&self, resource: &Resource, listed: &HashSet<ObjectKey>) {
        let gone: Vec<ObjectKey> = {
            let state = self.read_state();
            let of_kind = state.records.keys().filter(|key| key.kind == resource.kind && key.group == resource.group);
            of_kind.filter(|key| !listed.contains(key)).cloned().collect()
        };
        gone.iter().for_each(|key| self.remove(key, None));
    }

    fn tell(&self, change: &OwnedChange<'_, H>) {
        // A newer version alone is no news: status and managed fields change all the time.
        if let (Some(old), Some(new)) = (change.old, change.new)
            && !change.is_drift()
            && old.health == new.health
            && old.owner == new.owner
            && old.generation == new.generation
        {
            return;
        }
        for subscriber in self.subscribers.read().unwrap_or_else(PoisonError::into_inner).iter() {
            subscriber(change);
        }
    }

    fn followed(&self) -> MutexGuard<'_, HashMap<GroupKind, watch::Receiver<Phase>>> {
        self.followed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn read_state(&self) -> std::sync::RwLockReadGuard<'_, State<H>> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write_state(&self) -> std::sync::RwLockWriteGuard<'_, State<H>> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<H> State<H> {
    fn unlink(&mut self, owner: &Owner, key: &ObjectKey) {
        if let Some(keys) = self.by_owner.get_mut(owner) {
            keys.remove(key);
            if keys.is_empty() {
                self.by_owner.remove(owner);
            }
        }
    }
}

/// The objects of a kind cannot be followed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("cannot list {resource}: {why}")]
pub struct FollowError {
    pub resource: String,
    pub why: String,
}

/// Versions are opaque by contract and numbers in fact; where they are not, the later arrival is the newer one.
pub fn is_older_or_same(version: &str, than: &str) -> bool {
    match (version.parse::<u64>(), than.parse::<u64>()) {
        (Ok(version), Ok(than)) => version <= than,
        _ => version == than,
    }
}

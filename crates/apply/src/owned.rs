use cluster::{Client, Error, Resource, Selection, WatchEvent, is_older_or_same};
use futures::StreamExt;
use health::Health;
use object::{GroupKind, Object, ObjectKey};
use plan::{Live, Record, metadata::OwnerLabels};
use serde_json::{Value, value::RawValue};
use sha2::{Digest, Sha256};
use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, PoisonError, RwLock},
    time::Duration,
};
use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, DropGuard};
use types::NamespacedName;

/// How long the first listing of a kind may take before plans go on without it.
const LISTED_WITHIN: Duration = Duration::from_secs(20);

/// All objects with owner labels, as watches see them: one watch per kind, begun when the kind is first asked for.
///
/// An object itself is kept only until it is known to be what was wanted; then a record of some hundred bytes stands for it.
pub struct Owned {
    shared: Arc<Shared>,
    _end: DropGuard,
}

struct Shared {
    client: Client,
    kinds: Mutex<HashMap<GroupKind, Arc<Kind>>>,
    labels: OwnerLabels,
    changed: Arc<dyn Fn(&NamespacedName) + Send + Sync>,
    end: CancellationToken,
}

struct Kind {
    resource: Resource,
    labels: OwnerLabels,
    objects: RwLock<HashMap<(String, String), Slot>>,
    /// The listing is complete, or why it is not.
    state: watch::Sender<Listing>,
}

#[derive(Clone, PartialEq)]
enum Listing {
    Begun,
    Complete,
    Failed(String),
}

struct Slot {
    /// Without the object.
    record: Arc<Record>,
    /// The object, as it was sent, while nobody knows whether it is what was wanted: a tenth of a decoded one.
    json: Option<Box<RawValue>>,
    /// Of everything but status: equal means that nobody touched the object.
    content: [u8; 16],
    health: Health,
}

/// Where a state of an object comes from.
enum News {
    /// A watch or a listing told it, in these words.
    Seen(Box<RawValue>),
    /// It is the answer to a write; the digest is that of what it now equals.
    Answered([u8; 16]),
}

/// What the watch knows of an object's health.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seen {
    /// No object with owner labels; there may be one without.
    Nothing,
    Health(Health),
}

impl Owned {
    pub(crate) fn new(client: Client, labels: OwnerLabels, changed: Arc<dyn Fn(&NamespacedName) + Send + Sync>) -> Self {
        let end = CancellationToken::new();
        let shared = Arc::new(Shared { client, kinds: Mutex::default(), labels, changed, end: end.clone() });
        Self { shared, _end: end.drop_guard() }
    }

    /// Watches a kind from now on and waits until its first listing is complete.
    pub async fn ensure(&self, resource: &Resource) -> Result<(), String> {
        let kind = {
            let mut kinds = self.shared.kinds.lock().unwrap_or_else(PoisonError::into_inner);
            match kinds.get(&resource.group_kind()) {
                Some(kind) => kind.clone(),
                None => {
                    let kind = Arc::new(Kind {
                        resource: resource.clone(),
                        labels: self.shared.labels,
                        objects: RwLock::default(),
                        state: watch::channel(Listing::Begun).0,
                    });
                    kinds.insert(resource.group_kind(), kind.clone());
                    let (shared, task) = (self.shared.clone(), kind.clone());
                    tokio::spawn(async move {
                        let end = shared.end.clone();
                        tokio::select! {
                            () = end.cancelled() => {}
                            () = shared.feed(&task) => {}
                        }
                    });
                    kind
                }
            }
        };
        let mut state = kind.state.subscribe();
        let listed = tokio::time::timeout(LISTED_WITHIN, state.wait_for(|state| *state != Listing::Begun)).await;
        match listed {
            Ok(Ok(state)) => match &*state {
                Listing::Failed(why) => Err(why.clone()),
                _ => Ok(()),
            },
            _ => Err(format!("{resource} were not listed within {}s", LISTED_WITHIN.as_secs())),
        }
    }

    /// Reads what one owner has of a kind, so that a plan sees what was changed a moment before somebody asked for it.
    pub async fn refresh(&self, resource: &Resource, owner: &NamespacedName) -> Result<(), Error> {
        let Some(kind) = self.shared.kind(&resource.group_kind()) else { return Ok(()) };
        let OwnerLabels { name, namespace } = self.shared.labels;
        let labels = format!("{name}={},{namespace}={}", owner.name, owner.namespace);
        let listed = self.shared.client.list(resource, &Selection { labels, ..Selection::default() }).await?;
        let objects: Vec<_> = listed.into_iter().filter_map(|json| Some((typed(json.get(), resource)?, json))).collect();
        let places: HashSet<(String, String)> = objects.iter().map(|(object, _)| place(&object.key())).collect();
        kind.retain(|place, record| record.owner.as_ref() != Some(owner) || places.contains(place));
        for (object, json) in objects {
            kind.put(&object, News::Seen(json));
        }
        Ok(())
    }

    /// Whether a kind is watched, so that an object that is not seen has no owner labels.
    fn kind(&self, key: &ObjectKey) -> Option<Arc<Kind>> {
        self.shared.kind(&GroupKind { group: key.group.clone(), kind: key.kind.clone() })
    }

    pub fn live(&self, key: &ObjectKey) -> Live {
        let Some(kind) = self.kind(key) else { return Live::Unseen };
        let objects = kind.read();
        objects.get(&place(key)).map_or(Live::Unseen, |slot| Live::Present(slot.whole(&kind.resource)))
    }

    pub fn health(&self, key: &ObjectKey) -> Seen {
        let Some(kind) = self.kind(key) else { return Seen::Nothing };
        let objects = kind.read();
        objects.get(&place(key)).map_or(Seen::Nothing, |slot| Seen::Health(slot.health.clone()))
    }

    /// Takes in the answer to a write; `settled` is the digest of what the object now equals.
    pub fn answered(&self, object: Object, settled: [u8; 16]) {
        let key = object.key();
        if let Some(kind) = self.kind(&key)
            && kind.labels.owner_of(&object).is_some()
        {
            kind.put(&object, News::Answered(settled));
        }
    }

    /// Remembers that the object, as it is now known, equals what was wanted; the object itself is dropped.
    pub fn settle(&self, key: &ObjectKey, resource_version: &str, digest: [u8; 16]) {
        let Some(kind) = self.kind(key) else { return };
        let mut objects = kind.objects.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(slot) = objects.get_mut(&place(key)).filter(|slot| slot.record.resource_version == resource_version) {
            slot.settle(digest);
        }
    }

    pub fn forget(&self, key: &ObjectKey, uid: &str) {
        if let Some(kind) = self.kind(key) {
            kind.remove(key, Some(uid));
        }
    }

    /// Objects that are watched, over all kinds: for metrics.
    pub fn len(&self) -> usize {
        let kinds: Vec<_> = self.shared.kinds.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect();
        kinds.iter().map(|kind| kind.read().len()).sum()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

fn place(key: &ObjectKey) -> (String, String) {
    (key.namespace.clone(), key.name.clone())
}

/// Decodes one object of a watch; one that does not decode is none of ours.
fn decode(json: &str) -> Option<Object> {
    serde_json::from_str::<Value>(json).ok().and_then(|value| Object::new(value).ok())
}

impl Shared {
    fn kind(&self, kind: &GroupKind) -> Option<Arc<Kind>> {
        self.kinds.lock().unwrap_or_else(PoisonError::into_inner).get(kind).cloned()
    }

    async fn feed(&self, kind: &Kind) {
        let selection = Selection { labels: self.labels.name.to_owned(), ..Selection::default() };
        let mut events = self.client.watch(&kind.resource, &selection);
        let mut listed: Option<HashSet<(String, String)>> = None;
        while let Some(event) = events.next().await {
            match event {
                WatchEvent::Restarted => listed = Some(HashSet::new()),
                WatchEvent::Listed(json) | WatchEvent::Applied(json) => {
                    // Items of a list carry no type of their own.
                    let Some(object) = typed(json.get(), &kind.resource) else { continue };
                    let key = object.key();
                    if let Some(listed) = &mut listed {
                        listed.insert(place(&key));
                    }
                    let after = self.labels.owner_of(&object);
                    let before = kind.put(&object, News::Seen(json));
                    self.tell(before.as_ref(), after.as_ref());
                }
                WatchEvent::Synced => {
                    for gone in listed.take().map(|listed| kind.retain(|place, _| listed.contains(place))).unwrap_or_default() {
                        self.tell(Some(&gone), None);
                    }
                    kind.state.send_replace(Listing::Complete);
                }
                WatchEvent::Deleted(json) => {
                    let Some(object) = typed(json.get(), &kind.resource) else { continue };
                    let uid = object.field(&["metadata", "uid"]).and_then(Value::as_str).unwrap_or("").to_owned();
                    let before = kind.remove(&object.key(), Some(&uid));
                    self.tell(before.as_ref(), self.labels.owner_of(&object).as_ref());
                }
                // The kind is not served any more, and none of its objects exists: what is known of them must not count.
                WatchEvent::Failed(error) if error.is_not_found() => {
                    self.drop_kind(kind);
                    kind.state.send_replace(Listing::Failed(error.chain()));
                    return;
                }
                WatchEvent::Failed(error) => {
                    if !error.is_expired() {
                        tracing::info!(resource = %kind.resource, error = %error.chain(), "the watch of applied objects broke off; trying again");
                    }
                    if *kind.state.borrow() == Listing::Begun && refused(&error) {
                        kind.state.send_replace(Listing::Failed(error.chain()));
                    }
                }
            }
        }
    }

    /// Ends the watch of a kind; whoever needs the kind again begins a new one.
    fn drop_kind(&self, kind: &Kind) {
        let mut kinds = self.kinds.lock().unwrap_or_else(PoisonError::into_inner);
        let id = kind.resource.group_kind();
        if kinds.get(&id).is_some_and(|known| std::ptr::eq(&**known, kind)) {
            kinds.remove(&id);
        }
    }

    fn tell(&self, before: Option<&NamespacedName>, after: Option<&NamespacedName>) {
        if let Some(owner) = after {
            (self.changed)(owner);
        }
        if let Some(owner) = before.filter(|before| Some(*before) != after) {
            (self.changed)(owner);
        }
    }
}

/// The listing will not succeed by itself.
fn refused(error: &Error) -> bool {
    error.is_forbidden() || error.status().is_some_and(|status| status.code == 405)
}

fn typed(json: &str, resource: &Resource) -> Option<Object> {
    if let Some(object) = decode(json) {
        return Some(object);
    }
    let mut value: Value = serde_json::from_str(json).ok()?;
    let map = value.as_object_mut()?;
    map.insert("apiVersion".to_owned(), Value::from(resource.api_version()));
    map.insert("kind".to_owned(), Value::from(resource.kind.clone()));
    Object::new(value).ok()
}

impl Slot {
    /// The record with the object itself, if it has to be compared.
    fn whole(&self, resource: &Resource) -> Arc<Record> {
        match self.json.as_ref().and_then(|json| typed(json.get(), resource)) {
            Some(object) => Arc::new(Record { object: Some(Arc::new(object)), ..(*self.record).clone() }),
            None => self.record.clone(),
        }
    }

    fn settle(&mut self, digest: [u8; 16]) {
        self.record = Arc::new(Record { settled: Some(digest), ..(*self.record).clone() });
        self.json = None;
    }
}

impl Kind {
    fn read(&self) -> std::sync::RwLockReadGuard<'_, HashMap<(String, String), Slot>> {
        self.objects.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes in a state of an object unless a newer one is known. Returns the owner that was known before.
    fn put(&self, object: &Object, news: News) -> Option<NamespacedName> {
        let place = place(&object.key());
        let content = content(object);
        let health = health::assess(object, jiff::Timestamp::now());
        let mut record = Record::labelled(object, self.labels);
        let (json, answered) = match news {
            News::Seen(json) => (Some(json), None),
            News::Answered(settled) => (None, Some(settled)),
        };
        let mut objects = self.objects.write().unwrap_or_else(PoisonError::into_inner);
        let before = objects.get_mut(&place);
        let owner = before.as_ref().and_then(|slot| slot.record.owner.clone());
        record.settled = answered;
        if let Some(slot) = before.filter(|slot| slot.record.uid == record.uid) {
            let same = slot.content == content;
            if record.resource_version != slot.record.resource_version
                && is_older_or_same(&record.resource_version, &slot.record.resource_version)
            {
                // Late news of a write; what it settled still counts when nobody else wrote since.
                if let Some(settled) = answered.filter(|_| same) {
                    slot.settle(settled);
                }
                return owner;
            }
            record.settled = answered.or(slot.record.settled.filter(|_| same));
        }
        let json = json.filter(|_| record.settled.is_none());
        objects.insert(place, Slot { record: Arc::new(record), json, content, health });
        owner
    }

    fn remove(&self, key: &ObjectKey, uid: Option<&str>) -> Option<NamespacedName> {
        let mut objects = self.objects.write().unwrap_or_else(PoisonError::into_inner);
        match objects.get(&place(key)) {
            Some(slot) if uid.is_none_or(|uid| slot.record.uid == uid) => {
                objects.remove(&place(key)).and_then(|slot| slot.record.owner.clone())
            }
            _ => None,
        }
    }

    /// Forgets what is gone, and returns whose it was.
    fn retain(&self, keep: impl Fn(&(String, String), &Record) -> bool) -> Vec<NamespacedName> {
        let mut objects = self.objects.write().unwrap_or_else(PoisonError::into_inner);
        let gone: Vec<_> = objects.iter().filter(|(place, slot)| !keep(place, &slot.record)).map(|(place, _)| place.clone()).collect();
        gone.iter().filter_map(|place| objects.remove(place)?.record.owner.clone()).collect()
    }
}

/// A digest of all that a plan may care about: everything but status, and of the metadata what people write.
fn content(object: &Object) -> [u8; 16] {
    let mut hash = Sha256::new();
    let mut write = |value: &Value| hash.update(serde_json::to_vec(value).unwrap_or_default());
    for (key, value) in object.as_map() {
        match key.as_str() {
            "status" | "metadata" => {}
            _ => {
                write(&Value::from(key.as_str()));
                write(value);
            }
        }
    }
    for key in ["labels", "annotations", "finalizers", "ownerReferences", "deletionTimestamp"] {
        write(object.field(&["metadata", key]).unwrap_or(&Value::Null));
    }
    for entry in object.field(&["metadata", "managedFields"]).and_then(Value::as_array).into_iter().flatten() {
        if entry.get("subresource").and_then(Value::as_str).is_none_or(str::is_empty) {
            for key in ["manager", "operation", "fieldsV1"] {
                write(entry.get(key).unwrap_or(&Value::Null));
            }
        }
    }
    let mut digest = [0; 16];
    digest.copy_from_slice(&hash.finalize()[..16]);
    digest
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn kind() -> Kind {
        Kind {
            resource: Resource::namespaced("", "v1", "ConfigMap", "configmaps"),
            labels: OwnerLabels::KUSTOMIZATION,
            objects: RwLock::default(),
            state: watch::channel(Listing::Begun).0,
        }
    }

    fn object(version: u64, value: &str, status: &str) -> Object {
        let OwnerLabels { name, namespace } = OwnerLabels::KUSTOMIZATION;
        let labels = json!({name: "apps", namespace: "n"});
        let meta = json!({"name": "a", "namespace": "n", "uid": "1", "resourceVersion": version.to_string(), "labels": labels});
        Object::new(json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": {"a": value}, "status": status}))
            .expect("an object")
    }

    fn record(kind: &Kind) -> Arc<Record> {
        kind.read().values().next().expect("one object").whole(&kind.resource)
    }

    fn see(kind: &Kind, object: Object) {
        let json = serde_json::value::to_raw_value(object.as_map()).expect("JSON");
        kind.put(&object, News::Seen(json));
    }

    #[test]
    fn what_is_settled_stays_so_until_somebody_changes_more_than_the_status() {
        let kind = kind();
        kind.put(&object(1, "x", ""), News::Answered([7; 16]));
        assert!(record(&kind).object.is_none(), "a settled object is not kept");
        see(&kind, object(2, "x", "new status"));
        assert_eq!((record(&kind).settled, record(&kind).resource_version.as_str()), (Some([7; 16]), "2"));
        see(&kind, object(3, "y", "new status"));
        assert_eq!(record(&kind).settled, None);
        assert!(record(&kind).object.is_some(), "what has to be compared is kept");
    }

    #[test]
    fn the_answer_to_a_write_may_come_after_newer_news() {
        let kind = kind();
        see(&kind, object(5, "x", "ready"));
        kind.put(&object(4, "x", ""), News::Answered([7; 16]));
        assert_eq!((record(&kind).settled, record(&kind).resource_version.as_str()), (Some([7; 16]), "5"), "nobody else wrote since");
        see(&kind, object(6, "changed", "ready"));
        kind.put(&object(5, "x", ""), News::Answered([8; 16]));
        assert_eq!((record(&kind).settled, record(&kind).resource_version.as_str()), (None, "6"), "somebody did");
    }

    #[test]
    fn a_listing_forgets_what_is_gone_and_says_whose_it_was() {
        let kind = kind();
        let key = object(1, "x", "").key();
        see(&kind, object(1, "x", ""));
        assert_eq!(kind.retain(|_, _| false), [NamespacedName::new("n", "apps")]);
        assert!(kind.read().is_empty());
        assert_eq!(kind.remove(&key, Some("1")), None);
    }
}

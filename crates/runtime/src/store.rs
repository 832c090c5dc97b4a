use crate::meta::Meta;
use cluster::{Resource, is_older_or_same};
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::marker::PhantomData;
use std::sync::{Arc, PoisonError, RwLock};
use tokio::sync::watch;
use types::NamespacedName;

/// The objects of one kind as a watch last saw them.
///
/// An object is kept as its JSON, without managed fields, and decoded when somebody asks: a tenth of the memory of a
/// decoded tree. One that does not decode stays in the store with the reason, and hides no other. Cheap to clone.
pub struct Store<T> {
    shared: Arc<Shared<T>>,
}

struct Shared<T> {
    resource: Resource,
    inner: RwLock<Inner<T>>,
    handlers: RwLock<Vec<Handler<T>>>,
    synced: watch::Sender<bool>,
    /// Annotations whose change counts as a change of the object's wishes.
    wishes: RwLock<Vec<&'static str>>,
}

type Handler<T> = Box<dyn Fn(&Change<'_, T>) + Send + Sync>;

struct Inner<T> {
    objects: BTreeMap<NamespacedName, Entry>,
    indices: HashMap<&'static str, Index<T>>,
}

struct Index<T> {
    values: fn(&T) -> Vec<String>,
    keys: BTreeMap<String, BTreeSet<NamespacedName>>,
}

#[derive(Clone)]
pub(crate) struct Entry {
    pub(crate) json: Arc<RawValue>,
    pub(crate) uid: Box<str>,
    pub(crate) version: Box<str>,
    pub(crate) generation: i64,
    pub(crate) deleting: bool,
    /// Changes when one of the annotations does that ask for a reconcile.
    pub(crate) wishes: u64,
    pub(crate) problem: Option<Box<str>>,
}

/// A change of one object, as handlers see it. An object that does not decode is absent here.
pub struct Change<'a, T> {
    pub key: &'a NamespacedName,
    pub old: Option<Arc<T>>,
    pub new: Option<Arc<T>>,
    pub(crate) before: Option<&'a Entry>,
    pub(crate) after: Option<&'a Entry>,
    _kind: PhantomData<T>,
}

impl<T> Change<'_, T> {
    /// Whether the spec changed, a reconcile was asked for, the deletion began, or the object is seen for the first time.
    pub fn asks_for_reconcile(&self) -> bool {
        match (self.before, self.after) {
            (Some(before), Some(after)) => {
                before.uid != after.uid
                    || before.generation != after.generation
                    || before.wishes != after.wishes
                    || before.deleting != after.deleting
                    || before.problem.is_some() != after.problem.is_some()
            }
            (None, Some(_)) => true,
            (_, None) => false,
        }
    }

    /// Whether what `field` reads differs between before and after; absent counts as `None`.
    pub fn differs<V: PartialEq>(&self, field: impl Fn(&T) -> V) -> bool {
        self.old.as_deref().map(&field) != self.new.as_deref().map(&field)
    }
}

impl<T> Clone for Store<T> {
    fn clone(&self) -> Self {
        Self { shared: self.shared.clone() }
    }
}

impl<T: DeserializeOwned + Send + Sync + 'static> Store<T> {
    pub fn new(resource: Resource) -> Self {
        let inner = Inner { objects: BTreeMap::new(), indices: HashMap::new() };
        let wishes = RwLock::new(vec![crate::meta::REQUESTED_AT]);
        let (synced, _) = watch::channel(false);
        Self { shared: Arc::new(Shared { resource, inner: RwLock::new(inner), handlers: RwLock::default(), synced, wishes }) }
    }

    /// Makes objects findable by what `values` reads from them.
    pub fn with_index(self, name: &'static str, values: fn(&T) -> Vec<String>) -> Self {
        self.write().indices.insert(name, Index { values, keys: BTreeMap::new() });
        self
    }

    /// Lets a change of this annotation count as a request for a reconcile, as a change of the requestedAt annotation does.
    pub fn with_wish(self, annotation: &'static str) -> Self {
        self.shared.wishes.write().unwrap_or_else(PoisonError::into_inner).push(annotation);
        self
    }

    /// Calls `handler` at every change from now on, in order, on the task of the watch: it must not block.
    pub fn on_change(&self, handler: impl Fn(&Change<'_, T>) + Send + Sync + 'static) {
        self.shared.handlers.write().unwrap_or_else(PoisonError::into_inner).push(Box::new(handler));
    }

    pub fn resource(&self) -> &Resource {
        &self.shared.resource
    }

    /// The object, decoded; `None` when it is absent or does not decode.
    pub fn get(&self, key: &NamespacedName) -> Option<Arc<T>> {
        decode(&self.entry(key)?)
    }

    pub fn meta(&self, key: &NamespacedName) -> Option<Meta> {
        Some(meta_of(&self.entry(key)?.json))
    }

    /// The object as JSON, without managed fields.
    pub fn json(&self, key: &NamespacedName) -> Option<Arc<RawValue>> {
        Some(self.entry(key)?.json)
    }

    /// Why the object does not decode, if it is there and does not.
    pub fn problem(&self, key: &NamespacedName) -> Option<String> {
        self.entry(key)?.problem.map(String::from)
    }

    pub fn keys(&self) -> Vec<NamespacedName> {
        self.read().objects.keys().cloned().collect()
    }

    pub fn len(&self) -> usize {
        self.read().objects.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The objects for which the index function returned `value`.
    pub fn by_index(&self, index: &str, value: &str) -> Vec<NamespacedName> {
        let inner = self.read();
        inner.indices.get(index).and_then(|index| index.keys.get(value)).map(|keys| keys.iter().cloned().collect()).unwrap_or_default()
    }

    /// Whether the first listing is complete.
    pub fn is_synced(&self) -> bool {
        *self.shared.synced.borrow()
    }

    pub async fn synced(&self) {
        // The sender lives as long as `self`.
        let _ = self.shared.synced.subscribe().wait_for(|synced| *synced).await;
    }

    pub(crate) fn subscribe_synced(&self) -> watch::Receiver<bool> {
        self.shared.synced.subscribe()
    }

    pub(crate) fn set_synced(&self) {
        self.shared.synced.send_replace(true);
    }

    pub(crate) fn entry(&self, key: &NamespacedName) -> Option<Entry> {
        self.read().objects.get(key).cloned()
    }

    /// Takes in a state of an object, unless a newer one of the same object is known. Returns its key.
    pub(crate) fn upsert(&self, json: &RawValue) -> Option<NamespacedName> {
        self.put(json, false)
    }

    /// Takes in a newer state of an object that is known: the answer to a write may come later than the object's end.
    pub(crate) fn refresh(&self, json: &RawValue) {
        self.put(json, true);
    }

    fn put(&self, json: &RawValue, known_only: bool) -> Option<NamespacedName> {
        let meta = meta_of(json);
        if meta.name.is_empty() {
            tracing::warn!(resource = %self.shared.resource, "an object without a name was passed over");
            return None;
        }
        let key = meta.key();
        let json: Arc<RawValue> = without_managed_fields(json).into();
        let decoded = serde_path_to_error::deserialize::<_, T>(&mut serde_json::Deserializer::from_str(json.get()));
        let entry = Entry {
            uid: meta.uid.as_str().into(),
            version: meta.resource_version.as_str().into(),
            generation: meta.generation,
            deleting: meta.is_deleting(),
            wishes: self.wishes_of(&meta),
            problem: decoded.as_ref().err().map(|error| error.to_string().into()),
            json,
        };
        let new = decoded.ok().map(Arc::new);
        let before = {
            let mut inner = self.write();
            match inner.objects.get(&key) {
                Some(before) if before.uid == entry.uid && is_older_or_same(&entry.version, &before.version) => return Some(key),
                Some(before) if known_only && before.uid != entry.uid => return None,
                None if known_only => return None,
                _ => {}
            }
            let before = inner.objects.insert(key.clone(), entry.clone());
            inner.unindex(&key, before.as_ref());
            if let Some(new) = &new {
                for index in inner.indices.values_mut() {
                    for value in (index.values)(new) {
                        index.keys.entry(value).or_default().insert(key.clone());
                    }
                }
            }
            before
        };
        self.tell(&key, before.as_ref(), Some(&entry), new);
        Some(key)
    }

    pub(crate) fn remove(&self, key: &NamespacedName, uid: Option<&str>) {
        let before = {
            let mut inner = self.write();
            // The deletion of an object that was replaced meanwhile is old news.
            if uid.is_some_and(|uid| inner.objects.get(key).is_some_and(|entry| &*entry.uid != uid)) {
                return;
            }
            let before = inner.objects.remove(key);
            inner.unindex(key, before.as_ref());
            before
        };
        if before.is_some() {
            self.tell(key, before.as_ref(), None, None);
        }
    }

    fn tell(&self, key: &NamespacedName, before: Option<&Entry>, after: Option<&Entry>, new: Option<Arc<T>>) {
        let handlers = self.shared.handlers.read().unwrap_or_else(PoisonError::into_inner);
        if handlers.is_empty() {
            return;
        }
        let change = Change { key, old: before.and_then(decode), new, before, after, _kind: PhantomData };
        handlers.iter().for_each(|handler| handler(&change));
    }

    fn wishes_of(&self, meta: &Meta) -> u64 {
        let mut hasher = DefaultHasher::new();
        for name in self.shared.wishes.read().unwrap_or_else(PoisonError::into_inner).iter() {
            meta.annotations.get(*name).hash(&mut hasher);
        }
        hasher.finish()
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, Inner<T>> {
        self.shared.inner.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> std::sync::RwLockWriteGuard<'_, Inner<T>> {
        self.shared.inner.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T: DeserializeOwned> Inner<T> {
    fn unindex(&mut self, key: &NamespacedName, before: Option<&Entry>) {
        let Some(before) = before.and_then(decode::<T>) else { return };
        for index in self.indices.values_mut() {
            for value in (index.values)(&before) {
                if let Some(keys) = index.keys.get_mut(&value) {
                    keys.remove(key);
                    if keys.is_empty() {
                        index.keys.remove(&value);
                    }
                }
            }
        }
    }
}

pub(crate) fn decode<T: DeserializeOwned>(entry: &Entry) -> Option<Arc<T>> {
    serde_json::from_str(entry.json.get()).ok().map(Arc::new)
}

/// The metadata of any object; empty when there is none.
pub(crate) fn meta_of(json: &RawValue) -> Meta {
    #[derive(serde::Deserialize)]
    struct Only {
        #[serde(default)]
        metadata: Meta,
    }
    serde_json::from_str::<Only>(json.get()).map(|only| only.metadata).unwrap_or_default()
}

/// Managed fields are a third of a typical object, and nobody here reads them.
fn without_managed_fields(json: &RawValue) -> Box<RawValue> {
    fn pruned(json: &RawValue) -> Option<Box<RawValue>> {
        let mut object: Map<String, Value> = serde_json::from_str(json.get()).ok()?;
        let metadata = object.get_mut("metadata")?.as_object_mut()?;
        metadata.shift_remove("managedFields")?;
        serde_json::value::to_raw_value(&object).ok()
    }
    pruned(json).unwrap_or_else(|| json.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;
    use serde_json::{json, value::to_raw_value};
    use std::sync::Mutex;

    #[derive(Deserialize)]
    struct Thing {
        spec: Spec,
    }
    #[derive(Deserialize)]
    struct Spec {
        source: String,
    }

    fn store() -> Store<Thing> {
        Store::new(Resource::namespaced("example.com", "v1", "Thing", "things"))
            .with_index("source", |thing: &Thing| vec![thing.spec.source.clone()])
    }

    fn object(version: u64, generation: i64, source: Value) -> Box<RawValue> {
        object_with(version, generation, source, json!({}))
    }

    fn object_with(version: u64, generation: i64, source: Value, annotations: Value) -> Box<RawValue> {
        to_raw_value(&json!({"metadata": {"name": "a", "namespace": "n", "uid": "1", "resourceVersion": version.to_string(),
            "generation": generation, "annotations": annotations, "managedFields": [{"manager": "x"}]}, "spec": {"source": source}}))
        .unwrap()
    }

    fn key() -> NamespacedName {
        NamespacedName::new("n", "a")
    }

    #[test]
    fn an_older_state_does_not_replace_a_newer_one() {
        let store = store();
        store.upsert(&object(5, 2, json!("git")));
        store.upsert(&object(4, 1, json!("old")));
        assert_eq!(store.get(&key()).unwrap().spec.source, "git");
        assert!(!store.json(&key()).unwrap().get().contains("managedFields"));
    }

    #[test]
    fn an_index_follows_changes_and_deletions() {
        let store = store();
        store.upsert(&object(1, 1, json!("git")));
        assert_eq!(store.by_index("source", "git"), [key()]);
        store.upsert(&object(2, 2, json!("oci")));
        assert!(store.by_index("source", "git").is_empty());
        assert_eq!(store.by_index("source", "oci"), [key()]);
        store.remove(&key(), Some("another"));
        assert_eq!(store.len(), 1, "the deletion was of another object");
        store.remove(&key(), Some("1"));
        assert!(store.by_index("source", "oci").is_empty() && store.is_empty());
    }

    #[test]
    fn an_object_that_does_not_decode_is_kept_with_the_reason() {
        let store = store();
        store.upsert(&object(1, 1, json!(7)));
        assert!(store.get(&key()).is_none());
        assert!(store.problem(&key()).unwrap().contains("expected a string"), "{:?}", store.problem(&key()));
        assert_eq!(store.meta(&key()).unwrap().generation, 1);
    }

    #[test]
    fn only_wishes_ask_for_a_reconcile() {
        let store = store().with_wish("example.com/go");
        let asked = Arc::new(Mutex::new(Vec::new()));
        let seen = asked.clone();
        store.on_change(move |change| seen.lock().unwrap().push(change.asks_for_reconcile()));
        store.upsert(&object(1, 1, json!("git")));
        store.upsert(&object(2, 1, json!("git")));
        store.upsert(&object(3, 2, json!("git")));
        store.upsert(&object_with(4, 2, json!("git"), json!({"other": "1"})));
        store.upsert(&object_with(5, 2, json!("git"), json!({"reconcile.fluxcd.io/requestedAt": "now"})));
        store.upsert(&object_with(6, 2, json!("git"), json!({"reconcile.fluxcd.io/requestedAt": "now", "example.com/go": "1"})));
        store.upsert(&object_with(7, 2, json!(1), json!({"reconcile.fluxcd.io/requestedAt": "now", "example.com/go": "1"})));
        store.remove(&key(), None);
        assert_eq!(*asked.lock().unwrap(), [true, false, true, false, true, true, true, false]);
    }
}

use crate::fault::Fault;
use crate::patch::merge_patch;
use crate::report::to_value;
use crate::store::{Entry, Store};
use cluster::{Client, Error, PatchKind};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use types::NamespacedName;

/// Writes status and finalizers of the objects of one kind, and nothing when nothing changed.
///
/// Every write names the resourceVersion that it was decided on. When the object was changed meanwhile, the fresh one is
/// read and the write decided again; an object that was deleted, or replaced by another of its name, is left alone.
pub(crate) struct Writer<T> {
    pub(crate) client: Client,
    pub(crate) store: Store<T>,
    pub(crate) field_manager: String,
}

/// What a status is to become.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum StatusEdit {
    /// This, and nothing else that the type knows.
    Whole(Value),
    /// What it is, and a fault.
    Fault(Fault),
}

const TRIES: usize = 6;

impl<T: DeserializeOwned + Serialize + Send + Sync + 'static> Writer<T> {
    /// Makes the stored status say what it is to say; returns whether that took a write.
    pub(crate) async fn status(&self, key: &NamespacedName, uid: &str, edit: &StatusEdit) -> Result<bool, Error> {
        let decide = |entry: &Entry| {
            let patch = match edit {
                StatusEdit::Whole(status) => merge_patch(&known_status::<T>(entry), status),
                StatusEdit::Fault(fault) => merge_patch(&raw_status(&entry.json), &fault.status(&entry.json)),
            };
            patch.map(|patch| json!({"status": patch}))
        };
        self.edit(key, uid, "status", decide).await
    }

    pub(crate) async fn add_finalizer(&self, key: &NamespacedName, uid: &str, finalizer: &str) -> Result<bool, Error> {
        let edit = |entry: &Entry| {
            let mut finalizers = crate::store::meta_of(&entry.json).finalizers;
            // The server refuses new finalizers on an object that is being deleted.
            if entry.deleting || finalizers.iter().any(|name| name == finalizer) {
                return None;
            }
            finalizers.push(finalizer.to_owned());
            Some(json!({"metadata": {"finalizers": finalizers}}))
        };
        self.edit(key, uid, "", edit).await
    }

    pub(crate) async fn remove_finalizer(&self, key: &NamespacedName, uid: &str, finalizer: &str) -> Result<bool, Error> {
        let edit = |entry: &Entry| {
            let finalizers = crate::store::meta_of(&entry.json).finalizers;
            let rest: Vec<_> = finalizers.iter().filter(|name| *name != finalizer).collect();
            // A merge patch with an empty list leaves an empty list behind; null takes the field away.
            let value = if rest.is_empty() { Value::Null } else { json!(rest) };
            (rest.len() < finalizers.len()).then(|| json!({"metadata": {"finalizers": value}}))
        };
        self.edit(key, uid, "", edit).await
    }

    async fn edit(
        &self,
        key: &NamespacedName,
        uid: &str,
        subresource: &str,
        edit: impl Fn(&Entry) -> Option<Value>,
    ) -> Result<bool, Error> {
        let resource = self.store.resource();
        let mut tries = TRIES;
        loop {
            let Some(entry) = self.store.entry(key).filter(|entry| &*entry.uid == uid) else { return Ok(false) };
            let Some(mut patch) = edit(&entry) else { return Ok(false) };
            patch["metadata"]["resourceVersion"] = (&*entry.version).into();
            let body = serde_json::to_vec(&patch).map_err(Error::Decode)?;
            let answer =
                self.client.patch(resource, &key.namespace, &key.name, subresource, PatchKind::Merge, &self.field_manager, body).await;
            match answer {
                Ok(bytes) => {
                    self.take(key, &bytes)?;
                    return Ok(true);
                }
                Err(error) if error.is_not_found() => return Ok(false),
                Err(error) if error.is_conflict() && tries > 1 => tries -= 1,
                Err(error) => return Err(error),
            }
            match self.client.get_opt(resource, &key.namespace, &key.name).await? {
                Some(bytes) => self.take(key, &bytes)?,
                None => return Ok(false),
            }
        }
    }

    /// Remembers an answer, so that the next look at the object sees what was just written.
    fn take(&self, key: &NamespacedName, bytes: &[u8]) -> Result<(), Error> {
        let json: Box<RawValue> = serde_json::from_slice(bytes).map_err(Error::Decode)?;
        let meta = crate::store::meta_of(&json);
        if meta.is_deleting() && meta.finalizers.is_empty() {
            // The last finalizer went, and the object with it.
            self.store.remove(key, Some(&meta.uid));
        } else {
            self.store.refresh(&json);
        }
        Ok(())
    }
}

/// The stored status in the form in which `T` writes it: fields of other versions are not ours to take away.
pub(crate) fn known_status<T: DeserializeOwned + Serialize>(entry: &Entry) -> Value {
    if let Ok(object) = serde_json::from_str::<T>(entry.json.get())
        && let Some(mut object) = to_value(&object)
    {
        return object.get_mut("status").map(Value::take).unwrap_or_default();
    }
    raw_status(&entry.json)
}

/// The stored status as it is; null when there is none.
pub(crate) fn raw_status(json: &RawValue) -> Value {
    #[derive(serde::Deserialize)]
    struct Only {
        #[serde(default)]
        status: Value,
    }
    serde_json::from_str::<Only>(json.get()).map(|only| only.status).unwrap_or_default()
}

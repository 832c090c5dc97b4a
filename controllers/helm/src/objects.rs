//! The objects of a manifest, and what is done to them in a cluster.

use apply::Target;
use cluster::{Apply, Client, Delete, Error, PatchKind, Propagation, Resource};
use futures::{FutureExt, StreamExt, future::BoxFuture, stream};
use object::{Object, ObjectKey};
use plan::{Desired, Entry, Live};
use serde_json::{Map, Value};
use std::sync::Arc;

/// The field manager of everything that is applied, as in Flux: a cluster can be handed over and back.
pub(crate) const FIELD_MANAGER: &str = "helm-controller";
/// How many objects of one kind are under way at once; the client has a limit of its own over all of them.
const AT_ONCE: usize = 16;

const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
pub(crate) const RELEASE_NAME: &str = "meta.helm.sh/release-name";
pub(crate) const RELEASE_NAMESPACE: &str = "meta.helm.sh/release-namespace";
pub(crate) const RESOURCE_POLICY: &str = "helm.sh/resource-policy";

/// An object with the way to it.
#[derive(Clone)]
pub(crate) struct Item {
    pub desired: Arc<Desired>,
    pub resource: Resource,
}

impl Item {
    pub(crate) fn key(&self) -> &ObjectKey {
        &self.desired.key
    }

    fn same(&self, other: &Self) -> bool {
        self.key() == other.key()
    }

    pub(crate) fn reference(&self) -> Reference {
        Reference { key: self.key().clone(), resource: self.resource.clone() }
    }
}

/// The way to an object without its content: what a wait holds, which may take an hour.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Reference {
    pub key: ObjectKey,
    pub resource: Resource,
}

/// Whose marks objects carry.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Owner<'a> {
    pub name: &'a str,
    pub namespace: &'a str,
}

/// Why something could not be done with an object, in Helm's words.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{0}")]
pub(crate) struct ObjectError(pub String);

/// Reads the documents of a manifest.
pub(crate) fn parse(manifest: &str) -> Result<Vec<Object>, ObjectError> {
    let mut objects = Vec::new();
    for (_, document) in helm::split_manifests(manifest) {
        let failed = |why: &dyn std::fmt::Display| ObjectError(format!("unable to decode {}: {why}", source_of(document)));
        let value = yaml::to_json(document, yaml::Dialect::Sigs).map_err(|error| failed(&error.go_message(yaml::Dialect::Sigs)))?;
        if value.as_object().is_none_or(Map::is_empty) {
            continue;
        }
        objects.push(Object::new(value).map_err(|error| failed(&error))?);
    }
    Ok(objects)
}

fn source_of(document: &str) -> &str {
    document.lines().next().and_then(|line| line.strip_prefix("# Source: ")).unwrap_or("a manifest")
}

/// Finds out where each object lives and puts it into the release's namespace. With `owner`, Helm's marks are put on.
pub(crate) async fn resolve(
    target: &Target,
    objects: Vec<Object>,
    namespace: &str,
    owner: Option<Owner<'_>>,
) -> Result<Vec<Item>, ObjectError> {
    let mut items = Vec::with_capacity(objects.len());
    for mut object in objects {
        let gvk = object.gvk();
        let resource = target.discovery.resolve(&gvk).await.map_err(|error| match error {
            Error::NoMatch { .. } => ObjectError(format!(
                "resource mapping not found for name: {:?} namespace: {:?} from \"\": {error}\nensure CRDs are installed first",
                object.name(),
                object.namespace(),
            )),
            error => ObjectError(error.chain()),
        })?;
        if resource.namespaced && object.namespace().is_empty() {
            object.set_namespace(namespace);
        }
        if let Some(owner) = owner {
            object.set_label(MANAGED_BY, "Helm");
            object.set_annotation(RELEASE_NAME, owner.name);
            object.set_annotation(RELEASE_NAMESPACE, owner.namespace);
        }
        items.push(Item { desired: Arc::new(Desired::new(object)), resource });
    }
    Ok(items)
}

/// The inventory of a release: its objects, and those of the chart's crds folder.
pub(crate) async fn inventory(target: &Target, manifest: &str, crds: &[Entry], namespace: &str) -> Vec<Entry> {
    let mut entries = Vec::new();
    for object in parse(manifest).unwrap_or_default() {
        let mut entry = Entry::of(&object);
        let namespaced = target.discovery.resolve(&object.gvk()).await.is_ok_and(|resource| resource.namespaced);
        if namespaced && entry.key.namespace.is_empty() {
            namespace.clone_into(&mut entry.key.namespace);
        }
        entries.push(entry);
    }
    entries.extend_from_slice(crds);
    entries
}

/// What the files of a crds folder make, as it stands in the inventory.
pub(crate) fn entries(crds: &[(String, String)]) -> Vec<Entry> {
    crds.iter().flat_map(|(_, text)| parse(text).unwrap_or_default()).map(|object| Entry::of(&object)).collect()
}

/// Cluster access of one action.
#[derive(Clone)]
pub(crate) struct Access {
    pub target: Arc<Target>,
    /// In the name of whoever applies.
    pub client: Client,
    pub ssa: bool,
    /// Objects of others are taken over without a question.
    pub take_ownership: bool,
    /// Rights may be missing: what exists is looked at before anything is stored, so that the release is not begun in vain.
    pub look_first: bool,
    /// Replace instead of patch; only without server-side apply.
    pub force: bool,
    /// The last release was applied by the client: what it owns becomes ours before the server applies.
    pub migrate: bool,
}

impl Access {
    /// Watches the kinds of these objects from now on, so that waits and drift hear of their changes.
    pub(crate) async fn watch(&self, items: &[Item]) {
        for item in items {
            if let Err(error) = self.target.owned.ensure(&item.resource).await {
                tracing::debug!(resource = %item.resource, %error, "objects of this kind are not watched");
            }
        }
    }

    pub(crate) async fn get(&self, key: &ObjectKey, resource: &Resource) -> Result<Option<Object>, Error> {
        let found = self.client.get_opt(resource, &key.namespace, &key.name).await?;
        found.map(|bytes| read(&bytes)).transpose()
    }

    /// Which of these objects exist already; one of another owner is an error unless it may be taken.
    pub(crate) async fn existing(&self, items: &[Item], owner: Owner<'_>) -> Result<(), ObjectError> {
        if self.take_ownership && !self.look_first {
            return Ok(());
        }
        for item in items {
            let key = item.key();
            let found = self.get(key, &item.resource).await.map_err(|error| {
                let (kind, name, namespace) = (&key.kind, &key.name, &key.namespace);
                ObjectError(format!(
                    "could not get information about the resource {kind} {name:?} in namespace {namespace:?}: {}",
                    error.chain()
                ))
            })?;
            if let Some(found) = found
                && !self.take_ownership
                && let Some(why) = foreign(&found, owner)
            {
                let (kind, name, namespace) = (&key.kind, &key.name, &key.namespace);
                return Err(ObjectError(format!(
                    "{kind} {name:?} in namespace {namespace:?} exists and cannot be imported into the current release: invalid ownership metadata; {why}"
                )));
            }
        }
        Ok(())
    }

    /// Makes objects, kind after kind; those of one kind together. Stops after the first kind with an error.
    pub(crate) async fn create(&self, items: &[Item]) -> Result<(), ObjectError> {
        Self::by_kind(items, &mut Vec::new(), |item| self.put(item, None).boxed()).await
    }

    /// Brings objects from an old manifest to a new one; `made` are those that were not in the old one.
    pub(crate) async fn update(&self, old: &[Item], new: &[Item], made: &mut Vec<Reference>) -> Result<(), ObjectError> {
        let before = |item: &Item| old.iter().find(|one| one.same(item));
        let mut touched = Vec::new();
        let result = Self::by_kind(new, &mut touched, |item| {
            let original = before(item);
            async move {
                match original {
                    Some(original) => {
                        if self.migrate {
                            self.take_over_fields(item).await?;
                        }
                        self.put(item, Some(original)).await
                    }
                    None => self.put(item, None).await.map_err(|error| ObjectError(format!("failed to create resource: {error}"))),
                }
            }
            .boxed()
        })
        .await;
        made.extend(touched.iter().filter(|item| before(item).is_none()).map(Item::reference));
        result?;
        for gone in old.iter().filter(|item| !new.iter().any(|one| one.same(item))) {
            let found = self.get(gone.key(), &gone.resource).await;
            // As Helm: what cannot be looked at, or asks to be kept, stays.
            let Ok(Some(live)) = found else { continue };
            if keeps(&live) {
                continue;
            }
            if let Err(error) = self.delete(gone.key(), &gone.resource, Propagation::Background).await {
                tracing::warn!(object = %gone.key(), error = %error.chain(), "an object that left the chart was not deleted");
            }
        }
        Ok(())
    }

    async fn by_kind<'s>(
        items: &'s [Item],
        done: &mut Vec<Item>,
        work: impl Fn(&'s Item) -> BoxFuture<'s, Result<(), ObjectError>> + Send,
    ) -> Result<(), ObjectError> {
        for batch in items.chunk_by(|a, b| a.key().kind == b.key().kind) {
            let jobs: Vec<BoxFuture<'s, (&'s Item, Result<(), ObjectError>)>> = batch
                .iter()
                .map(|item| {
                    let work = work(item);
                    async move { (item, work.await) }.boxed()
                })
                .collect();
            let results: Vec<(&Item, Result<(), ObjectError>)> = stream::iter(jobs).buffered(AT_ONCE).collect().await;
            let mut first = None;
            for (item, result) in results {
                match result {
                    Ok(()) => done.push(item.clone()),
                    Err(error) => first = first.or(Some(error)),
                }
            }
            if let Some(error) = first {
                return Err(error);
            }
        }
        Ok(())
    }

    /// Makes or changes one object; nothing is sent for one that is known to be as it should.
    async fn put(&self, item: &Item, original: Option<&Item>) -> Result<(), ObjectError> {
        if !self.ssa {
            return self.put_by_client(item, original).await;
        }
        let key = item.key();
        if let Live::Present(record) = self.target.owned.live(key)
            && record.settled == Some(item.desired.digest)
        {
            return Ok(());
        }
        self.apply(item).await
    }

    /// Lets the fields that we wrote as a client count as applied, so that a later apply can take them away.
    async fn take_over_fields(&self, item: &Item) -> Result<(), ObjectError> {
        let key = item.key();
        let failed = |error: Error| ObjectError(format!("failed to migrate managed fields of {key}: {}", error.chain()));
        let Some(live) = self.get(key, &item.resource).await.map_err(failed)? else { return Ok(()) };
        let Some(patch) = applied_fields(&live) else { return Ok(()) };
        let body = serde_json::to_vec(&patch).map_err(|error| ObjectError(error.to_string()))?;
        let sent = self.client.patch(&item.resource, &key.namespace, &key.name, "", PatchKind::Json, FIELD_MANAGER, body).await;
        sent.map(|_| ()).map_err(failed)
    }

    /// Server-side apply.
    pub(crate) async fn apply(&self, item: &Item) -> Result<(), ObjectError> {
        let (key, gvk) = (item.key(), item.desired.object.gvk());
        let failed = |error: &Error| {
            let group = if gvk.group.is_empty() { format!("/{}", gvk.version) } else { gvk.api_version() };
            ObjectError(format!(
                "server-side apply failed for object {}/{} {group}, Kind={}: {}",
                key.namespace,
                key.name,
                gvk.kind,
                error.chain()
            ))
        };
        let bytes = self.apply_raw(item, false).await.map_err(|error| failed(&error))?;
        if let Ok(object) = read(&bytes) {
            self.target.owned.answered(object, item.desired.digest);
        }
        Ok(())
    }

    pub(crate) async fn apply_raw(&self, item: &Item, dry_run: bool) -> Result<bytes::Bytes, Error> {
        let key = item.key();
        let body = serde_json::to_vec(&item.desired.object).map_err(Error::Decode)?;
        let options = Apply { field_manager: FIELD_MANAGER, force: true, dry_run, subresource: "" };
        self.client.apply(&item.resource, &key.namespace, &key.name, body, options).await
    }

    /// Client-side apply: a POST, a PUT, or a merge patch of what the old and the new manifest, or the live object, differ in.
    async fn put_by_client(&self, item: &Item, original: Option<&Item>) -> Result<(), ObjectError> {
        let key = item.key();
        let live = self
            .get(key, &item.resource)
            .await
            .map_err(|error| ObjectError(format!("could not get information about the resource: {}", error.chain())))?;
        let body = serde_json::to_vec(&item.desired.object).map_err(|error| ObjectError(error.to_string()))?;
        let Some(live) = live else {
            return self.post(item, body).await;
        };
        let answer = if self.force && original.is_some() {
            let mut replacement = item.desired.object.clone();
            if let Some(version) = live.field(&["metadata", "resourceVersion"]).cloned() {
                replacement.metadata_mut().insert("resourceVersion".to_owned(), version);
            }
            let body = serde_json::to_vec(&replacement).map_err(|error| ObjectError(error.to_string()))?;
            let answer = self.client.replace(&item.resource, &key.namespace, &key.name, FIELD_MANAGER, body).await;
            answer.map_err(|error| ObjectError(format!("failed to replace object: {}", error.chain())))?
        } else {
            let before = original.map_or(&item.desired.object, |one| &one.desired.object);
            let Some(patch) = three_way(before.as_map(), item.desired.object.as_map(), live.as_map()) else { return Ok(()) };
            let body = serde_json::to_vec(&patch).map_err(|error| ObjectError(error.to_string()))?;
            let answer = self.client.patch(&item.resource, &key.namespace, &key.name, "", PatchKind::Merge, FIELD_MANAGER, body).await;
            answer.map_err(|error| ObjectError(format!("cannot patch {:?} with kind {}: {}", key.name, key.kind, error.chain())))?
        };
        if let Ok(object) = read(&answer) {
            self.target.owned.answered(object, item.desired.digest);
        }
        Ok(())
    }

    /// Makes an object that does not exist.
    pub(crate) async fn post(&self, item: &Item, body: Vec<u8>) -> Result<(), ObjectError> {
        let answer = self.client.create(&item.resource, &item.key().namespace, FIELD_MANAGER, body).await;
        let bytes = answer.map_err(|error| ObjectError(error.chain()))?;
        if let Ok(object) = read(&bytes) {
            self.target.owned.answered(object, item.desired.digest);
        }
        Ok(())
    }

    /// Deletes an object; one that is gone, or whose kind is gone, counts as deleted.
    pub(crate) async fn delete(&self, key: &ObjectKey, resource: &Resource, propagation: Propagation) -> Result<(), Error> {
        let options = Delete { propagation, ..Delete::default() };
        match self.client.delete(resource, &key.namespace, &key.name, options).await {
            Err(error) if !error.is_not_found() => Err(error),
            _ => Ok(()),
        }
    }
}

/// Whether an object wants to stay when its release goes.
pub(crate) fn keeps(object: &Object) -> bool {
    object.annotation(RESOURCE_POLICY).is_some_and(is_keep)
}

/// Whether a resource policy says so.
pub(crate) fn is_keep(policy: &str) -> bool {
    policy.trim().eq_ignore_ascii_case("keep")
}

pub(crate) fn read(bytes: &[u8]) -> Result<Object, Error> {
    let value: Value = serde_json::from_slice(bytes).map_err(Error::Decode)?;
    Object::new(value).map_err(|error| Error::Decode(serde::de::Error::custom(error)))
}

/// The JSON patch that makes our client-side entry of the managed fields a server-side one; none where there is nothing to do.
fn applied_fields(live: &Object) -> Option<Value> {
    let entries = live.field(&["metadata", "managedFields"])?.as_array()?;
    let of = |entry: &Value, operation: &str| {
        entry["manager"] == FIELD_MANAGER && entry["operation"] == operation && entry.get("subresource").is_none_or(|part| part == "")
    };
    let at = entries.iter().position(|entry| of(entry, "Update"))?;
    let mut entries = entries.clone();
    if entries.iter().any(|entry| of(entry, "Apply")) {
        entries.remove(at);
    } else {
        entries[at]["operation"] = "Apply".into();
    }
    let version = live.field(&["metadata", "resourceVersion"])?;
    Some(serde_json::json!([
        {"op": "replace", "path": "/metadata/managedFields", "value": entries},
        {"op": "replace", "path": "/metadata/resourceVersion", "value": version},
    ]))
}

/// What says that an object is not of this release; Helm's text.
fn foreign(object: &Object, owner: Owner<'_>) -> Option<String> {
    let check = |what: &str, key: &str, found: Option<&str>, wanted: &str| match found {
        None => Some(format!("{what} validation error: missing key {key:?}: must be set to {wanted:?}")),
        Some(found) if found != wanted => {
            Some(format!("{what} validation error: key {key:?} must equal {wanted:?}: current value is {found:?}"))
        }
        Some(_) => None,
    };
    let problems: Vec<String> = [
        check("label", MANAGED_BY, object.label(MANAGED_BY), "Helm"),
        check("annotation", RELEASE_NAME, object.annotation(RELEASE_NAME), owner.name),
        check("annotation", RELEASE_NAMESPACE, object.annotation(RELEASE_NAMESPACE), owner.namespace),
    ]
    .into_iter()
    .flatten()
    .collect();
    (!problems.is_empty()).then(|| problems.join("; "))
}

/// The merge patch (RFC 7396) that sets what is wanted and live is not, and takes away what was wanted before.
fn three_way(before: &Map<String, Value>, wanted: &Map<String, Value>, live: &Map<String, Value>) -> Option<Value> {
    let mut patch = Map::new();
    for (key, value) in wanted {
        match (value, live.get(key)) {
            (Value::Object(wanted), Some(Value::Object(live))) => {
                let empty = Map::new();
                let before = before.get(key).and_then(Value::as_object).unwrap_or(&empty);
                if let Some(change) = three_way(before, wanted, live) {
                    patch.insert(key.clone(), change);
                }
            }
            (value, Some(live)) if value == live => {}
            (Value::Null, None) => {}
            (value, _) => drop(patch.insert(key.clone(), value.clone())),
        }
    }
    for key in before.keys().filter(|key| !wanted.contains_key(*key) && live.contains_key(*key)) {
        patch.insert(key.clone(), Value::Null);
    }
    (!patch.is_empty()).then_some(Value::Object(patch))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_object_of_another_is_refused_in_the_words_of_helm() {
        let object = |metadata: Value| Object::new(json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata})).unwrap();
        let owner = Owner { name: "app", namespace: "n" };
        let why = foreign(&object(json!({"name": "a", "labels": {MANAGED_BY: "kubectl"}})), owner).unwrap();
        assert_eq!(
            why,
            "label validation error: key \"app.kubernetes.io/managed-by\" must equal \"Helm\": current value is \"kubectl\"; annotation validation error: missing key \"meta.helm.sh/release-name\": must be set to \"app\"; annotation validation error: missing key \"meta.helm.sh/release-namespace\": must be set to \"n\""
        );
        let ours = json!({"name": "a", "labels": {MANAGED_BY: "Helm"}, "annotations": {RELEASE_NAME: "app", RELEASE_NAMESPACE: "n"}});
        assert_eq!(foreign(&object(ours), owner), None);
    }

    #[test]
    fn a_client_side_patch_leaves_what_others_added() {
        let map = |value: Value| value.as_object().cloned().unwrap();
        let before = map(json!({"data": {"a": "1", "old": "x"}}));
        let wanted = map(json!({"data": {"a": "2"}}));
        let live = map(json!({"data": {"a": "1", "old": "x", "theirs": "y"}, "status": {}}));
        assert_eq!(three_way(&before, &wanted, &live), Some(json!({"data": {"a": "2", "old": null}})));
        assert_eq!(three_way(&wanted, &wanted, &map(json!({"data": {"a": "2", "b": "3"}}))), None);
    }

    #[test]
    fn documents_without_content_are_passed_over_and_broken_ones_name_their_template() {
        let text = "---\n# Source: a/templates/x.yaml\n# nothing\n---\n# Source: a/templates/y.yaml\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n";
        assert_eq!(parse(text).unwrap().len(), 1);
        let error = parse("---\n# Source: a/templates/z.yaml\nkind: ConfigMap\n").unwrap_err();
        assert!(error.to_string().starts_with("unable to decode a/templates/z.yaml: "), "{error}");
    }
}

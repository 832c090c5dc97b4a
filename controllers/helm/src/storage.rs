//! Releases as Helm keeps them: one Secret a revision.

use base64::{Engine, prelude::BASE64_STANDARD};
use cluster::{Client, Delete, Error, Resource, Selection};
use helm::{SYSTEM_LABELS, StoredChart, StoredRelease};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, HashMap},
    ops::Deref,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

const TYPE: &str = "helm.sh/release.v1";

/// One stored revision.
#[derive(Clone, Default)]
pub(crate) struct Stored {
    pub release: Arc<StoredRelease>,
    /// Labels that are not Helm's own; an upgrade carries them on.
    pub labels: BTreeMap<String, String>,
}

/// A stored revision without the files and default values of its chart, which are most of it: nobody reads them, and only what writes
/// the revision again needs them, and fetches it.
#[derive(Clone)]
pub(crate) struct Known {
    release: Arc<StoredRelease>,
    pub labels: BTreeMap<String, String>,
}

impl Known {
    pub(crate) fn of(stored: &Stored) -> Self {
        let whole = &*stored.release;
        let chart = Arc::new(StoredChart { metadata: whole.chart.metadata.clone(), ..StoredChart::default() });
        let release = StoredRelease {
            name: whole.name.clone(),
            info: whole.info.clone(),
            chart,
            config: whole.config.clone(),
            manifest: whole.manifest.clone(),
            hooks: whole.hooks.clone(),
            version: whole.version,
            namespace: whole.namespace.clone(),
            apply_method: whole.apply_method.clone(),
        };
        Self { release: Arc::new(release), labels: stored.labels.clone() }
    }

    /// One that was never stored.
    pub(crate) fn wanted(release: StoredRelease) -> Self {
        Self { release: Arc::new(release), labels: BTreeMap::new() }
    }
}

/// To read it; what is stored has to be whole.
impl Deref for Known {
    type Target = StoredRelease;

    fn deref(&self) -> &StoredRelease {
        &self.release
    }
}

/// What the names and labels of stored revisions tell, without their content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Revision {
    pub version: i64,
    pub status: String,
    resource_version: String,
}

/// Where the releases of one name are kept.
#[derive(Clone)]
pub(crate) struct Storage {
    pub client: Client,
    pub namespace: String,
    pub name: String,
    /// As client-go names itself when nobody gives it a name.
    pub manager: String,
    pub decoded: Arc<Decoded>,
}

/// The newest revision of each release that was read; a Secret that did not change is neither fetched nor decoded again.
#[derive(Default)]
pub(crate) struct Decoded(Mutex<HashMap<Place, (String, Known)>>);

/// The namespace and the name of a release.
type Place = (String, String);

/// Releases kept at most.
const DECODED_MAX: usize = 2_000;

impl Decoded {
    fn get(&self, place: &Place, revision: &Revision) -> Option<Known> {
        let kept = self.lock();
        let (resource_version, known) = kept.get(place)?;
        (*resource_version == revision.resource_version && known.release.version == revision.version).then(|| known.clone())
    }

    fn put(&self, place: Place, resource_version: String, known: Known) {
        let mut kept = self.lock();
        if kept.get(&place).is_some_and(|(_, newer)| newer.release.version > known.release.version) {
            return;
        }
        if kept.len() >= DECODED_MAX && !kept.contains_key(&place) {
            kept.clear();
        }
        kept.insert(place, (resource_version, known));
    }

    /// Releases of one chart hold what it says of itself together.
    fn share(&self, release: &mut StoredRelease) {
        let wanted = &release.chart.metadata;
        let kept = self.lock();
        let Some(same) = kept.values().map(|(_, known)| &known.release.chart.metadata).find(|one| *one == wanted).cloned() else { return };
        drop(kept);
        Arc::make_mut(&mut release.chart).metadata = same;
    }

    fn remove(&self, place: &Place, version: i64) {
        let mut kept = self.lock();
        if kept.get(place).is_some_and(|(_, known)| known.release.version == version) {
            kept.remove(place);
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Place, (String, Known)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct Meta {
    resource_version: String,
    labels: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct Secret {
    #[serde(default)]
    metadata: Meta,
    #[serde(default)]
    data: BTreeMap<String, String>,
}

/// Why a stored release cannot be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StorageError {
    #[error("{0}")]
    Api(#[source] Error),
    #[error(
        "the release stored in Secret {secret} cannot be read: {why}; restore the Secret, or delete it to go on from the revision before"
    )]
    Corrupt { secret: String, why: String },
}

impl StorageError {
    pub(crate) fn text(&self) -> String {
        match self {
            Self::Api(error) => error.chain(),
            other => other.to_string(),
        }
    }

    pub(crate) fn is_not_found(&self) -> bool {
        matches!(self, Self::Api(error) if error.is_not_found())
    }
}

impl From<Error> for StorageError {
    fn from(error: Error) -> Self {
        Self::Api(error)
    }
}

fn secrets() -> Resource {
    Resource::namespaced("", "v1", "Secret", "secrets")
}

impl Storage {
    /// All revisions, the newest first.
    pub(crate) async fn revisions(&self) -> Result<Vec<Revision>, Error> {
        #[derive(Deserialize)]
        struct Only {
            metadata: Meta,
        }
        let labels = format!("name={},owner=helm", self.name);
        let selection = Selection { namespace: self.namespace.clone(), labels, metadata_only: true, ..Selection::default() };
        let listed = self.client.list(&secrets(), &selection).await?;
        let read = |json: &serde_json::value::RawValue| {
            let Meta { resource_version, labels } = serde_json::from_str::<Only>(json.get()).ok()?.metadata;
            let version = labels.get("version")?.parse().ok()?;
            Some(Revision { version, status: labels.get("status").cloned().unwrap_or_default(), resource_version })
        };
        let mut revisions: Vec<Revision> = listed.iter().filter_map(|json| read(json)).collect();
        revisions.sort_by_key(|one| std::cmp::Reverse(one.version));
        Ok(revisions)
    }

    /// A revision to look at, as it was kept if it did not change since.
    pub(crate) async fn read(&self, revision: &Revision) -> Result<Known, StorageError> {
        match self.decoded.get(&self.place(), revision) {
            Some(known) => Ok(known),
            None => self.load(revision.version).await.map(|(_, known)| known),
        }
    }

    /// A whole revision, to be stored again or as another one.
    pub(crate) async fn fetch(&self, version: i64) -> Result<Stored, StorageError> {
        self.load(version).await.map(|(stored, _)| stored)
    }

    async fn load(&self, version: i64) -> Result<(Stored, Known), StorageError> {
        let secret_name = self.secret_name(version);
        let bytes = self.client.get(&secrets(), &self.namespace, &secret_name).await?;
        let corrupt = |why: String| StorageError::Corrupt { secret: format!("{}/{secret_name}", self.namespace), why };
        let secret: Secret = serde_json::from_slice(&bytes).map_err(|error| corrupt(error.to_string()))?;
        let encoded = secret.data.get("release").ok_or_else(|| corrupt("it has no release".to_owned()))?;
        let text = BASE64_STANDARD.decode(encoded).map_err(|error| corrupt(error.to_string()))?;
        let mut release = StoredRelease::decode(&String::from_utf8_lossy(&text)).map_err(|error| corrupt(error.to_string()))?;
        self.decoded.share(&mut release);
        let mut labels = secret.metadata.labels;
        labels.retain(|key, _| !SYSTEM_LABELS.contains(&key.as_str()));
        let stored = Stored { release: Arc::new(release), labels };
        let known = Known::of(&stored);
        self.decoded.put(self.place(), secret.metadata.resource_version, known.clone());
        Ok((stored, known))
    }

    /// Stores a new revision. The text of an error is Helm's.
    pub(crate) async fn create(&self, stored: &Stored, now: Timestamp) -> Result<Known, String> {
        let body = self.secret(stored, Some(now.as_second()), None)?;
        let answer = self.client.create(&secrets(), &self.namespace, &self.manager, body).await;
        let bytes = answer.map_err(|error| format!("create: failed to create: {}", error.chain()))?;
        Ok(self.remember(&bytes, stored))
    }

    pub(crate) async fn update(&self, stored: &Stored, now: Timestamp) -> Result<Known, String> {
        let body = self.secret(stored, None, Some(now.as_second()))?;
        let name = stored.release.storage_name();
        let answer = self.client.replace(&secrets(), &self.namespace, &name, &self.manager, body).await;
        let bytes = answer.map_err(|error| format!("update: failed to update: {}", error.chain()))?;
        Ok(self.remember(&bytes, stored))
    }

    pub(crate) async fn delete(&self, version: i64) -> Result<(), Error> {
        self.decoded.remove(&self.place(), version);
        match self.client.delete(&secrets(), &self.namespace, &self.secret_name(version), Delete::default()).await {
            Err(error) if !error.is_not_found() => Err(error),
            _ => Ok(()),
        }
    }

    /// Deletes the oldest revisions until a new one fits in, but never the last deployed one. As Helm, before it stores another.
    pub(crate) async fn make_room(&self, max: usize) -> Result<(), Error> {
        if max == 0 {
            return Ok(());
        }
        let revisions = self.revisions().await?;
        for version in superfluous(&revisions, max) {
            self.delete(version).await?;
        }
        Ok(())
    }

    fn remember(&self, bytes: &[u8], stored: &Stored) -> Known {
        let known = Known::of(stored);
        if let Ok(secret) = serde_json::from_slice::<Secret>(bytes) {
            self.decoded.put(self.place(), secret.metadata.resource_version, known.clone());
        }
        known
    }

    fn place(&self) -> Place {
        (self.namespace.clone(), self.name.clone())
    }

    fn secret_name(&self, version: i64) -> String {
        format!("sh.helm.release.v1.{}.v{version}", self.name)
    }

    fn secret(&self, stored: &Stored, created: Option<i64>, modified: Option<i64>) -> Result<Vec<u8>, String> {
        let Stored { release, labels } = stored;
        let text = release.encode().map_err(|error| error.to_string())?;
        let secret: Value = json!({
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {
                "name": release.storage_name(),
                "namespace": self.namespace,
                "labels": release.storage_labels(created, modified, labels),
            },
            "type": TYPE,
            "data": {"release": BASE64_STANDARD.encode(text)},
        });
        serde_json::to_vec(&secret).map_err(|error| error.to_string())
    }
}

fn superfluous(revisions: &[Revision], max: usize) -> Vec<i64> {
    let deployed = revisions.iter().find(|one| one.status == "deployed").map(|one| one.version);
    let spare = revisions.len().saturating_sub(max.saturating_sub(1));
    revisions.iter().rev().map(|one| one.version).filter(|version| Some(*version) != deployed).take(spare).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_revisions_go_but_never_the_deployed_one() {
        let of = |states: &[&str], max| {
            let count = i64::try_from(states.len()).unwrap();
            let revisions: Vec<Revision> = (1..=count)
                .rev()
                .zip(states)
                .map(|(version, status)| Revision { version, status: (*status).to_owned(), resource_version: String::new() })
                .collect();
            superfluous(&revisions, max)
        };
        assert!(of(&["deployed", "superseded"], 5).is_empty());
        assert_eq!(of(&["deployed", "superseded", "superseded", "superseded", "superseded"], 5), [1]);
        assert_eq!(of(&["failed", "failed", "failed", "failed", "deployed"], 5), [2]);
        assert_eq!(of(&["deployed", "superseded", "superseded"], 1), [1, 2]);
    }
}

use crate::client::{Client, Selection};
use crate::error::Error;
use crate::resource::Resource;
use crate::watch::WatchEvent;
use futures::StreamExt;
use object::{GroupKind, GroupVersionKind};
use serde::Deserialize;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard};
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::Instant;

/// Which resource serves a kind: asked once, and again when something is missing or a definition changed.
///
/// A kind that is not known is looked up at most once a second, unless a definition changed since, for all who ask meanwhile: a thousand objects
/// of a missing kind must not become a thousand discoveries.
pub struct Discovery {
    shared: Arc<Shared>,
    /// Dropping the set ends the watch of definitions.
    followers: Mutex<JoinSet<()>>,
}

struct Shared {
    client: Client,
    table: RwLock<Table>,
    /// Counts what made the table old; the table remembers the count it was read at.
    changes: AtomicU64,
    reading: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct Table {
    /// The versions of a kind in the server's order, the preferred one first.
    kinds: HashMap<GroupKind, Vec<Resource>>,
    read_at: Option<Instant>,
    read_after: u64,
}

const AGAIN_AFTER: Duration = Duration::from_secs(1);
const ACCEPT: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json";

impl Discovery {
    pub fn new(client: Client) -> Self {
        let shared = Shared { client, table: RwLock::default(), changes: AtomicU64::new(0), reading: tokio::sync::Mutex::default() };
        Self { shared: Arc::new(shared), followers: Mutex::default() }
    }

    /// The resource of exactly this version of a kind.
    pub async fn resolve(&self, gvk: &GroupVersionKind) -> Result<Resource, Error> {
        let find = |table: &Table| table.find(&gvk.group_kind(), &gvk.version);
        let found = self.shared.look_up(find).await?;
        found.ok_or_else(|| Error::NoMatch { kind: gvk.kind.clone(), version: gvk.api_version() })
    }

    /// The resource of a kind in the version that the server prefers.
    pub async fn resolve_any_version(&self, kind: &GroupKind) -> Result<Resource, Error> {
        let find = |table: &Table| table.kinds.get(kind).and_then(|versions| versions.first().cloned());
        let found = self.shared.look_up(find).await?;
        found.ok_or_else(|| Error::NoMatch { kind: kind.kind.clone(), version: kind.group.clone() })
    }

    /// Every kind that can be listed, applied and deleted, each in the version that the server prefers; asks the server.
    pub async fn appliable(&self) -> Result<Vec<Resource>, Error> {
        Ok(self.shared.discover().await?.appliable)
    }

    /// Everything that is served, as `group/version` and `group/version/Kind`: what charts call the API versions.
    pub async fn served(&self) -> Result<Vec<String>, Error> {
        let list = |table: &Table| {
            let mut all: Vec<String> = Vec::new();
            for resource in table.kinds.values().flatten() {
                let version = resource.api_version();
                all.push(format!("{version}/{}", resource.kind));
                all.push(version);
            }
            all.sort_unstable();
            all.dedup();
            all
        };
        let found = self.shared.look_up(|table| table.read_at.and_then(|_| table.kinds.values().flatten().next().cloned())).await?;
        Ok(if found.is_some() { list(&self.shared.read()) } else { Vec::new() })
    }

    /// Forgets a group: its definitions changed.
    pub fn forget(&self, group: &str) {
        self.shared.forget(group);
    }

    /// Follows the definitions of custom resources from now on, as long as this lives. Must be called within a Tokio runtime.
    pub fn follow_definitions(&self) {
        let mut followers = self.followers.lock().unwrap_or_else(PoisonError::into_inner);
        if followers.is_empty() {
            followers.spawn(self.shared.clone().follow_definitions());
        }
    }
}

impl Shared {
    async fn follow_definitions(self: Arc<Self>) {
        let definitions = Resource::cluster_scoped("apiextensions.k8s.io", "v1", "CustomResourceDefinition", "customresourcedefinitions");
        let mut events = self.client.watch(&definitions, &Selection { metadata_only: true, ..Selection::default() });
        while let Some(event) = events.next().await {
            match event {
                WatchEvent::Applied(json) | WatchEvent::Deleted(json) => {
                    let name = serde_json::from_str::<Definition>(json.get()).map(|definition| definition.metadata.name);
                    if let Some((_, group)) = name.as_deref().unwrap_or_default().split_once('.') {
                        self.forget(group);
                    }
                }
                WatchEvent::Failed(error) => tracing::debug!(error = %error.chain(), "the watch of definitions broke off"),
                // What happened while nobody watched is not known.
                WatchEvent::Synced => self.invalidate(),
                WatchEvent::Restarted | WatchEvent::Listed(_) => {}
            }
        }
    }

    fn forget(&self, group: &str) {
        self.table.write().unwrap_or_else(PoisonError::into_inner).kinds.retain(|kind, _| kind.group != group);
        self.invalidate();
    }

    /// Lets the next look-up of something unknown ask the server, however short ago it was asked.
    fn invalidate(&self) {
        self.changes.fetch_add(1, Ordering::AcqRel);
    }

    /// What is not known is answered only from a discovery that began after the question: a kind that was installed a
    /// moment ago, by whoever asks now, must be found.
    async fn look_up(&self, find: impl Fn(&Table) -> Option<Resource>) -> Result<Option<Resource>, Error> {
        if let Some(found) = find(&self.read()) {
            return Ok(Some(found));
        }
        let asked = Instant::now();
        loop {
            // Whoever comes while the server is being asked waits for that answer first.
            let reading = self.reading.lock().await;
            let asked_at_change = self.changes.load(Ordering::Acquire);
            let soon = {
                let table = self.read();
                let found = find(&table);
                if found.is_some() || table.read_at.is_some_and(|at| at >= asked) {
                    return Ok(found);
                }
                table.read_at.filter(|_| table.read_after == asked_at_change).map(|at| at + AGAIN_AFTER).filter(|at| *at > Instant::now())
            };
            if let Some(soon) = soon {
                drop(reading);
                tokio::time::sleep_until(soon).await;
                continue;
            }
            let read_at = Some(Instant::now());
            let discovered = self.discover().await?;
            let mut table = self.table.write().unwrap_or_else(PoisonError::into_inner);
            let known = std::mem::take(&mut table.kinds);
            *table = Table { kinds: discovered.merged_into(known), read_at, read_after: asked_at_change };
            return Ok(find(&table));
        }
    }

    async fn discover(&self) -> Result<Discovered, Error> {
        let (core, groups) = futures::join!(self.client.get_path("/api", ACCEPT), self.client.get_path("/apis", ACCEPT));
        let mut discovered = Discovered::default();
        for bytes in [core?, groups?] {
            discovered.add(serde_json::from_slice(&bytes).map_err(Error::Decode)?);
        }
        Ok(discovered)
    }

    fn read(&self) -> RwLockReadGuard<'_, Table> {
        self.table.read().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    fn find(&self, kind: &GroupKind, version: &str) -> Option<Resource> {
        self.kinds.get(kind)?.iter().find(|resource| resource.version == version).cloned()
    }
}

/// What a discovery brought.
#[derive(Default)]
struct Discovered {
    kinds: HashMap<GroupKind, Vec<Resource>>,
    /// One resource of every kind that can be listed, patched and deleted.
    appliable: Vec<Resource>,
    /// Group versions that an aggregated server did not answer for: what was known of them stays.
    stale: Vec<(String, String)>,
}

#[derive(Deserialize)]
struct Definition {
    metadata: GroupMeta,
}

#[derive(Deserialize)]
struct GroupList {
    /// Missing where a server does not know this form of discovery; every supported version of Kubernetes does.
    items: Vec<Group>,
}

#[derive(Deserialize)]
struct Group {
    #[serde(default)]
    metadata: GroupMeta,
    #[serde(default)]
    versions: Vec<Version>,
}

#[derive(Deserialize, Default)]
struct GroupMeta {
    #[serde(default)]
    name: String,
}

#[derive(Deserialize)]
struct Version {
    version: String,
    #[serde(default)]
    resources: Vec<Served>,
    #[serde(default)]
    freshness: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Served {
    resource: String,
    response_kind: Option<Kind>,
    #[serde(default)]
    scope: String,
    #[serde(default)]
    verbs: Vec<String>,
}

#[derive(Deserialize)]
struct Kind {
    kind: String,
}

impl Discovered {
    fn add(&mut self, list: GroupList) {
        for group in list.items {
            let name = group.metadata.name;
            for version in group.versions {
                if version.freshness == "Stale" {
                    self.stale.push((name.clone(), version.version.clone()));
                }
                for served in version.resources {
                    let Some(Kind { kind }) = served.response_kind else { continue };
                    let resource = Resource {
                        group: name.clone(),
                        version: version.version.clone(),
                        kind,
                        plural: served.resource,
                        namespaced: served.scope == "Namespaced",
                    };
                    let versions = self.kinds.entry(resource.group_kind()).or_default();
                    let first = versions.is_empty();
                    if first && ["list", "patch", "delete"].iter().all(|verb| served.verbs.iter().any(|known| known == verb)) {
                        self.appliable.push(resource.clone());
                    }
                    // Two resources of one kind in one version: the first one is the kind's own.
                    if !versions.iter().any(|known| known.version == resource.version) {
                        versions.push(resource);
                    }
                }
            }
        }
    }

    fn merged_into(mut self, known: HashMap<GroupKind, Vec<Resource>>) -> HashMap<GroupKind, Vec<Resource>> {
        for resource in known.into_values().flatten() {
            let stale = self.stale.iter().any(|(group, version)| *group == resource.group && *version == resource.version);
            if stale {
                let versions = self.kinds.entry(resource.group_kind()).or_default();
                if !versions.iter().any(|other| other.version == resource.version) {
                    versions.push(resource);
                }
            }
        }
        self.kinds
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn discovered(freshness: &str, resources: serde_json::Value) -> Discovered {
        let mut discovered = Discovered::default();
        let list = json!({"items": [{"metadata": {"name": "example.com"}, "versions": [
            {"version": "v2", "freshness": freshness, "resources": resources},
            {"version": "v1", "freshness": "Current", "resources": [
                {"resource": "things", "responseKind": {"group": "example.com", "version": "v1", "kind": "Thing"}, "scope": "Cluster"},
                {"resource": "odd", "scope": "Cluster"},
            ]},
        ]}]});
        discovered.add(serde_json::from_value(list).unwrap());
        discovered
    }

    fn thing() -> GroupKind {
        GroupKind { group: "example.com".into(), kind: "Thing".into() }
    }

    #[test]
    fn the_first_version_is_the_preferred_one() {
        let v2 = json!([{"resource": "things", "responseKind": {"kind": "Thing"}, "scope": "Namespaced"}]);
        let kinds = discovered("Current", v2).kinds;
        let versions: Vec<_> = kinds[&thing()].iter().map(|r| (r.version.as_str(), r.namespaced)).collect();
        assert_eq!(versions, [("v2", true), ("v1", false)]);
    }

    #[test]
    fn what_an_absent_server_served_before_stays_known() {
        let v2 = json!([{"resource": "things", "responseKind": {"kind": "Thing"}, "scope": "Namespaced"}]);
        let before = discovered("Current", v2).kinds;
        let after = discovered("Stale", json!([])).merged_into(before.clone());
        assert!(after[&thing()].iter().any(|resource| resource.version == "v2"));
        let after = discovered("Current", json!([])).merged_into(before);
        assert!(!after[&thing()].iter().any(|resource| resource.version == "v2"), "it is served no more");
    }
}

use cluster::{Client, Error, Resource};
use object::{GroupKind, GroupVersionKind};
use serde::Deserialize;
use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

/// What kinds are called in URLs, learned one group and version at a time.
pub struct Discovery {
    client: Client,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    resources: HashMap<GroupVersionKind, Resource>,
}

#[derive(Deserialize)]
struct ResourceList {
    #[serde(default)]
    resources: Vec<ListedResource>,
}

#[derive(Deserialize)]
struct ListedResource {
    name: String,
    kind: String,
    namespaced: bool,
    #[serde(default)]
    group: String,
    #[serde(default)]
    version: String,
}

#[derive(Deserialize)]
struct Group {
    #[serde(default)]
    versions: Vec<GroupVersion>,
}

#[derive(Deserialize)]
struct GroupVersion {
    version: String,
}

impl Discovery {
    pub fn new(client: Client) -> Self {
        Self { client, known: Mutex::default() }
    }

    /// The resource of a kind, from memory or the server. A kind that is not known is asked for each time: it may appear any moment.
    pub async fn resolve(&self, gvk: &GroupVersionKind) -> Result<Resource, Error> {
        if let Some(resource) = self.lock().resources.get(gvk) {
            return Ok(resource.clone());
        }
        self.list(&gvk.group, &gvk.version).await?;
        let found = self.lock().resources.get(gvk).cloned();
        found.ok_or_else(|| Error::NoMatch { kind: gvk.kind.clone(), version: gvk.api_version() })
    }

    /// A resource of a kind in whatever version the server prefers.
    pub async fn resolve_any_version(&self, kind: &GroupKind) -> Result<Resource, Error> {
        let path = if kind.group.is_empty() { "/api".to_owned() } else { format!("/apis/{}", kind.group) };
        let versions: Vec<String> = if kind.group.is_empty() {
            vec!["v1".to_owned()]
        } else {
            match self.client.get_path(&path, "application/json").await {
                Ok(bytes) => {
                    let group: Group = serde_json::from_slice(&bytes).map_err(Error::Decode)?;
                    group.versions.into_iter().map(|one| one.version).collect()
                }
                Err(error) if error.is_not_found() => Vec::new(),
                Err(error) => return Err(error),
            }
        };
        for version in versions {
            match self.resolve(&GroupVersionKind::new(&kind.group, &version, &kind.kind)).await {
                Err(Error::NoMatch { .. }) => {}
                found => return found,
            }
        }
        Err(Error::NoMatch { kind: kind.kind.clone(), version: kind.group.clone() })
    }

    /// Forgets a group: its definitions changed.
    pub fn forget(&self, group: &str) {
        let mut known = self.lock();
        known.resources.retain(|gvk, _| gvk.group != group);
    }

    async fn list(&self, group: &str, version: &str) -> Result<(), Error> {
        let path = if group.is_empty() { format!("/api/{version}") } else { format!("/apis/{group}/{version}") };
        let list: ResourceList = match self.client.get_path(&path, "application/json").await {
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(Error::Decode)?,
            Err(error) if error.is_not_found() => return Ok(()),
            Err(error) => return Err(error),
        };
        let mut known = self.lock();
        for one in list.resources.into_iter().filter(|one| !one.name.contains('/') && one.group.is_empty() && one.version.is_empty()) {
            let resource = Resource {
                group: group.to_owned(),
                version: version.to_owned(),
                kind: one.kind,
                plural: one.name,
                namespaced: one.namespaced,
            };
            known.resources.insert(resource.gvk(), resource);
        }
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

//! Which resources are served.
//!
//! ```text
//! built-in discovery (data) ──┐
//!                             ├──► Registry ──► resource of a request
//! established CRDs ───────────┘            └──► discovery, OpenAPI
//! ```

pub mod crd;
pub mod definition;
pub mod discovery;
pub mod openapi;
mod resource;

pub use resource::{Custom, Resource};

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, OnceLock};

/// All resources at one moment; replaced as a whole when a CRD changes.
pub struct Registry {
    groups: Vec<Group>,
    by_path: HashMap<(String, String, String), Arc<Resource>>,
    by_table: HashMap<Arc<str>, Arc<Resource>>,
}

#[derive(Clone)]
pub struct Group {
    pub name: String,
    /// Preferred first.
    pub versions: Vec<Version>,
    pub custom: bool,
}

#[derive(Clone)]
pub struct Version {
    pub version: String,
    pub resources: Vec<Arc<Resource>>,
}

impl Registry {
    pub fn builtin() -> Self {
        Self::index(builtin_groups().to_vec())
    }

    /// The built-in resources and those of the given CRD versions.
    pub fn with_custom(custom: Vec<Arc<Resource>>) -> Self {
        let mut groups = builtin_groups().to_vec();
        let mut by_group: BTreeMap<String, BTreeMap<String, Vec<Arc<Resource>>>> = BTreeMap::new();
        for resource in custom {
            by_group.entry(resource.group.clone()).or_default().entry(resource.version.clone()).or_default().push(resource);
        }
        for (name, versions) in by_group {
            let mut versions: Vec<Version> = versions.into_iter().map(|(version, resources)| Version { version, resources }).collect();
            versions.sort_by(|a, b| crd::compare_versions(&b.version, &a.version));
            groups.push(Group { name, versions, custom: true });
        }
        Self::index(groups)
    }

    fn index(groups: Vec<Group>) -> Self {
        let (mut by_path, mut by_table) = (HashMap::new(), HashMap::new());
        for group in &groups {
            for version in &group.versions {
                for resource in &version.resources {
                    let path = (resource.group.clone(), resource.version.clone(), resource.name.clone());
                    by_path.insert(path, Arc::clone(resource));
                    if resource.is_stored_version() || !by_table.contains_key(&resource.table) {
                        by_table.insert(Arc::clone(&resource.table), Arc::clone(resource));
                    }
                }
            }
        }
        Self { groups, by_path, by_table }
    }

    pub fn groups(&self) -> &[Group] {
        &self.groups
    }

    pub fn find(&self, group: &str, version: &str, resource: &str) -> Option<&Arc<Resource>> {
        self.by_path.get(&(group.to_owned(), version.to_owned(), resource.to_owned()))
    }

    pub fn of_table(&self, table: &str) -> Option<&Arc<Resource>> {
        self.by_table.get(table)
    }

    /// The resource of a kind, in a version if it is served in it.
    pub fn of_kind(&self, group: &str, version: &str, kind: &str) -> Option<&Arc<Resource>> {
        let group = self.groups.iter().find(|g| g.name == group)?;
        group.versions.iter().find(|v| v.version == version)?.resources.iter().find(|r| r.kind == kind)
    }

    /// Every table that holds objects of namespaces.
    pub fn namespaced_tables(&self) -> Vec<Arc<str>> {
        self.by_table.values().filter(|r| r.namespaced && r.can("list")).map(|r| Arc::clone(&r.table)).collect()
    }
}

/// The built-in resources are the same for every server of a process.
fn builtin_groups() -> &'static [Group] {
    static GROUPS: OnceLock<Vec<Group>> = OnceLock::new();
    GROUPS.get_or_init(|| {
        let version = |group: &str, version: &merge::builtin::Version| Version {
            version: version.version.clone(),
            resources: version.resources.iter().map(|resource| Arc::new(Resource::builtin(group, &version.version, resource))).collect(),
        };
        merge::builtin::discovery()
            .iter()
            .map(|group| Group {
                name: group.name.clone(),
                custom: false,
                versions: group.versions.iter().map(|of| version(&group.name, of)).collect(),
            })
            .collect()
    })
}

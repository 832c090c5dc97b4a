//! The aggregated discovery document (`apidiscovery.k8s.io/v2`) as data.

use serde::Deserialize;

/// A group of APIs; the core group has the empty name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    pub name: String,
    pub versions: Vec<Version>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    pub version: String,
    pub resources: Vec<Resource>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resource {
    /// The plural name, as in paths.
    pub name: String,
    pub singular: String,
    pub kind: String,
    pub namespaced: bool,
    pub verbs: Vec<String>,
    pub short_names: Vec<String>,
    pub categories: Vec<String>,
    pub subresources: Vec<Subresource>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subresource {
    pub name: String,
    /// The kind that it is read and written as; group and version are empty when they are those of the resource.
    pub group: String,
    pub version: String,
    pub kind: String,
    pub verbs: Vec<String>,
}

#[derive(Deserialize)]
struct Document {
    items: Vec<RawGroup>,
}

#[derive(Deserialize)]
struct RawGroup {
    #[serde(default)]
    metadata: RawMeta,
    versions: Vec<RawVersion>,
}

#[derive(Deserialize, Default)]
struct RawMeta {
    #[serde(default)]
    name: String,
}

#[derive(Deserialize)]
struct RawVersion {
    version: String,
    #[serde(default)]
    resources: Vec<RawResource>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawResource {
    resource: String,
    response_kind: RawKind,
    scope: String,
    singular_resource: String,
    verbs: Vec<String>,
    #[serde(default)]
    short_names: Vec<String>,
    #[serde(default)]
    categories: Vec<String>,
    #[serde(default)]
    subresources: Vec<RawSubresource>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawSubresource {
    subresource: String,
    #[serde(default)]
    response_kind: RawKind,
    verbs: Vec<String>,
}

#[derive(Deserialize, Default)]
struct RawKind {
    #[serde(default)]
    group: String,
    #[serde(default)]
    version: String,
    #[serde(default)]
    kind: String,
}

pub(super) fn read(bytes: &[u8]) -> Result<Vec<Group>, serde_json::Error> {
    let document: Document = serde_json::from_slice(bytes)?;
    Ok(document.items.into_iter().map(group).collect())
}

fn group(raw: RawGroup) -> Group {
    let version = |raw: RawVersion| Version { version: raw.version, resources: raw.resources.into_iter().map(resource).collect() };
    Group { name: raw.metadata.name, versions: raw.versions.into_iter().map(version).collect() }
}

fn resource(raw: RawResource) -> Resource {
    Resource {
        name: raw.resource,
        singular: raw.singular_resource,
        kind: raw.response_kind.kind,
        namespaced: raw.scope == "Namespaced",
        verbs: raw.verbs,
        short_names: raw.short_names,
        categories: raw.categories,
        subresources: raw.subresources.into_iter().map(subresource).collect(),
    }
}

fn subresource(raw: RawSubresource) -> Subresource {
    let RawKind { group, version, kind } = raw.response_kind;
    Subresource { name: raw.subresource, group, version, kind, verbs: raw.verbs }
}

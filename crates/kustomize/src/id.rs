use smol_str::SmolStr;
use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, LazyLock},
};
use yaml::Node;

/// Group, version and kind; an empty part of a selector matches anything.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(crate) struct Gvk {
    pub group: SmolStr,
    pub version: SmolStr,
    pub kind: SmolStr,
}

impl Gvk {
    pub fn of(node: &Node) -> Self {
        let api_version = field_text(node, "apiVersion");
        let (group, version) = split_api_version(api_version);
        Self { group: group.into(), version: version.into(), kind: field_text(node, "kind").into() }
    }

    /// Kind, `*` or nothing; then version and group: how the tables write a type.
    pub fn from_table(text: &'static str) -> Self {
        let mut parts = text.splitn(3, '.').map(|part| SmolStr::new_static(if part == "*" { "" } else { part }));
        let (kind, version, group) = (parts.next(), parts.next(), parts.next());
        Self { group: group.unwrap_or_default(), version: version.unwrap_or_default(), kind: kind.unwrap_or_default() }
    }

    pub fn selected_by(&self, selector: &Gvk) -> bool {
        (selector.group.is_empty() || selector.group == self.group)
            && (selector.version.is_empty() || selector.version == self.version)
            && (selector.kind.is_empty() || selector.kind == self.kind)
    }

    pub fn api_version(&self) -> SmolStr {
        if self.group.is_empty() { self.version.clone() } else { format!("{}/{}", self.group, self.version).into() }
    }

    /// The string that kustomize sorts types by.
    pub fn sort_string(&self) -> String {
        let or = |text: &SmolStr, empty: &str| if text.is_empty() { empty.to_owned() } else { text.to_string() };
        format!("{}_{}_{}", or(&self.group, "~G"), or(&self.version, "~V"), or(&self.kind, "~K"))
    }
}

impl fmt::Display for Gvk {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let or = |text: &SmolStr, empty: &str| if text.is_empty() { empty.to_owned() } else { text.to_string() };
        write!(out, "{}.{}.{}", or(&self.kind, "[noKind]"), or(&self.version, "[noVer]"), or(&self.group, "[noGrp]"))
    }
}

pub(crate) fn split_api_version(api_version: &str) -> (&str, &str) {
    api_version.split_once('/').unwrap_or(("", api_version))
}

/// The text of a field of a map, whatever it stands for; empty where there is none.
pub(crate) fn field_text<'a>(node: &'a Node, key: &str) -> &'a str {
    node.get(key).and_then(Node::text).unwrap_or("")
}

/// Which object: as kustomize tells objects apart.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Id {
    pub gvk: Gvk,
    pub name: SmolStr,
    pub namespace: SmolStr,
}

/// An [`Id`] in which `""` and `default` are one namespace, and cluster-scoped objects have none.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Key(Id);

impl Id {
    pub fn key(&self, scopes: &Scopes) -> Key {
        Key(Id { gvk: self.gvk.clone(), name: self.name.clone(), namespace: self.effective_namespace(scopes) })
    }

    pub fn effective_namespace(&self, scopes: &Scopes) -> SmolStr {
        if scopes.is_cluster_scoped(&self.gvk) {
            NO_NAMESPACE
        } else if self.namespace.is_empty() {
            DEFAULT
        } else {
            self.namespace.clone()
        }
    }
}

impl fmt::Display for Id {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.namespace.is_empty() {
            write!(out, "{} {} \"{}\"", self.gvk.api_version(), self.gvk.kind, self.name)
        } else {
            write!(out, "{} {} \"{}\" in namespace \"{}\"", self.gvk.api_version(), self.gvk.kind, self.name, self.namespace)
        }
    }
}

/// The namespace of objects that have none.
pub(crate) const NO_NAMESPACE: SmolStr = SmolStr::new_static("_non_namespaceable_");
pub(crate) const DEFAULT: SmolStr = SmolStr::new_static("default");

/// Which types are certainly cluster-scoped: those of Kubernetes v1.21 and of a loaded schema. Every other type is taken for namespaced.
#[derive(Debug, Clone, Default)]
pub(crate) struct Scopes {
    extra: Option<Arc<HashMap<(String, String), bool>>>,
}

/// By group, version and kind.
static BUILT_IN: LazyLock<HashMap<(&'static str, &'static str, &'static str), bool>> = LazyLock::new(|| {
    let mut scopes = HashMap::with_capacity(256);
    for line in include_str!("tables/scope.txt").lines() {
        let mut words = line.split(' ');
        let (Some(api_version), Some(scope)) = (words.next(), words.next()) else { continue };
        let (group, version) = split_api_version(api_version);
        scopes.extend(words.map(|kind| ((group, version, kind), scope == "cluster")));
    }
    scopes
});

impl Scopes {
    pub fn with(extra: HashMap<(String, String), bool>) -> Self {
        Self { extra: (!extra.is_empty()).then(|| Arc::new(extra)) }
    }

    pub fn is_cluster_scoped(&self, gvk: &Gvk) -> bool {
        if let Some(cluster) = BUILT_IN.get(&(gvk.group.as_str(), gvk.version.as_str(), gvk.kind.as_str())) {
            return *cluster;
        }
        let extra = |extra: &HashMap<_, _>| extra.get(&(gvk.api_version().to_string(), gvk.kind.to_string())).copied();
        self.extra.as_deref().and_then(extra).unwrap_or(false)
    }
}

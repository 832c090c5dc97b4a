use object::{GroupKind, GroupVersionKind, Object, ObjectKey};
use std::fmt::{self, Write};

/// A resource of an API server: what a kind is called in URLs.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Resource {
    pub group: String,
    pub version: String,
    pub kind: String,
    pub plural: String,
    pub namespaced: bool,
}

impl Resource {
    pub fn namespaced(group: &str, version: &str, kind: &str, plural: &str) -> Self {
        Self { group: group.into(), version: version.into(), kind: kind.into(), plural: plural.into(), namespaced: true }
    }

    pub fn cluster_scoped(group: &str, version: &str, kind: &str, plural: &str) -> Self {
        Self { namespaced: false, ..Self::namespaced(group, version, kind, plural) }
    }

    pub fn gvk(&self) -> GroupVersionKind {
        GroupVersionKind::new(&self.group, &self.version, &self.kind)
    }

    pub fn group_kind(&self) -> GroupKind {
        GroupKind { group: self.group.clone(), kind: self.kind.clone() }
    }

    /// Names one object of this kind.
    pub fn key(&self, namespace: &str, name: &str) -> ObjectKey {
        ObjectKey { group: self.group.clone(), kind: self.kind.clone(), namespace: namespace.into(), name: name.into() }
    }

    pub fn api_version(&self) -> String {
        self.gvk().api_version()
    }

    /// `kustomizations.kustomize.toolkit.fluxcd.io`, the name of a CRD and of a resource in error texts.
    pub fn full_name(&self) -> String {
        if self.group.is_empty() { self.plural.clone() } else { format!("{}.{}", self.plural, self.group) }
    }

    /// The path of the collection; an empty namespace means all of them.
    pub fn collection(&self, namespace: &str) -> String {
        let mut path =
            if self.group.is_empty() { format!("/api/{}", self.version) } else { format!("/apis/{}/{}", self.group, self.version) };
        if self.namespaced && !namespace.is_empty() {
            path.push_str("/namespaces/");
            push_segment(&mut path, namespace);
        }
        path.push('/');
        path.push_str(&self.plural);
        path
    }

    /// The path of one object.
    pub fn path(&self, namespace: &str, name: &str) -> String {
        let mut path = self.collection(namespace);
        path.push('/');
        push_segment(&mut path, name);
        path
    }

    pub fn path_of(&self, object: &Object) -> String {
        self.path(object.namespace(), object.name())
    }
}

impl fmt::Display for Resource {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.full_name())
    }
}

/// Versions are opaque by contract and numbers in fact; where they are not, the later arrival is the newer one.
pub fn is_older_or_same(version: &str, than: &str) -> bool {
    match (version.parse::<u64>(), than.parse::<u64>()) {
        (Ok(version), Ok(than)) => version <= than,
        _ => version == than,
    }
}

/// Percent-encodes what has a meaning of its own in a URL: names come from objects and are not trusted.
fn push_segment(path: &mut String, segment: &str) {
    // "." and ".." would be taken for a step in the path by what is in between.
    if segment == "." || segment == ".." {
        path.push_str(&segment.replace('.', "%2E"));
        return;
    }
    push_encoded(path, segment);
}

/// Writes `text` so that it is one value of a URL's path or query.
pub(crate) fn push_encoded(out: &mut String, text: &str) {
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            write!(out, "%{byte:02X}").expect("writing to a String cannot fail");
        }
    }
}

/// The parameters of a request.
#[derive(Debug, Clone, Default)]
pub(crate) struct Query(String);

impl Query {
    pub(crate) fn set(&mut self, key: &str, value: &str) -> &mut Self {
        self.0.push(if self.0.is_empty() { '?' } else { '&' });
        self.0.push_str(key);
        self.0.push('=');
        push_encoded(&mut self.0, value);
        self
    }

    pub(crate) fn set_unless_empty(&mut self, key: &str, value: &str) -> &mut Self {
        if value.is_empty() { self } else { self.set(key, value) }
    }

    pub(crate) fn after(&self, path: &str) -> String {
        format!("{path}{}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_follow_group_and_scope() {
        let deployments = Resource::namespaced("apps", "v1", "Deployment", "deployments");
        assert_eq!(deployments.path("web", "api"), "/apis/apps/v1/namespaces/web/deployments/api");
        assert_eq!(deployments.collection(""), "/apis/apps/v1/deployments");
        let namespaces = Resource::cluster_scoped("", "v1", "Namespace", "namespaces");
        assert_eq!(namespaces.path("ignored", "web"), "/api/v1/namespaces/web");
    }

    #[test]
    fn a_name_cannot_leave_its_place_in_the_path() {
        let config_maps = Resource::namespaced("", "v1", "ConfigMap", "configmaps");
        assert_eq!(config_maps.path("a/../kube-system", ".."), "/api/v1/namespaces/a%2F..%2Fkube-system/configmaps/%2E%2E");
        assert_eq!(config_maps.path("a", "x?y=z#"), "/api/v1/namespaces/a/configmaps/x%3Fy%3Dz%23");
        let roles = Resource::cluster_scoped("rbac.authorization.k8s.io", "v1", "ClusterRole", "clusterroles");
        assert_eq!(roles.path("", "system:admin"), "/apis/rbac.authorization.k8s.io/v1/clusterroles/system%3Aadmin");
    }
}

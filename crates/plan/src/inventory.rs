use object::{GroupVersionKind, Object, ObjectKey};
use std::collections::HashSet;

/// One applied object, as `status.inventory.entries[]` names it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Entry {
    pub key: ObjectKey,
    /// The version of the kind, without its group.
    pub version: String,
}

/// Kinds of RBAC: their names may hold a colon, which ids write as two underscores.
const RBAC_GROUP: &str = "rbac.authorization.k8s.io";
const RBAC_KINDS: &[&str] = &["Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding"];

impl Entry {
    pub fn of(object: &Object) -> Self {
        Self { key: object.key(), version: object.gvk().version }
    }

    pub fn gvk(&self) -> GroupVersionKind {
        GroupVersionKind::new(&self.key.group, &self.version, &self.key.kind)
    }

    /// `<namespace>_<name>_<group>_<kind>`.
    pub fn id(&self) -> String {
        let ObjectKey { group, kind, namespace, name } = &self.key;
        let name = if group == RBAC_GROUP && RBAC_KINDS.contains(&kind.as_str()) { name.replace(':', "__") } else { name.clone() };
        format!("{namespace}_{name}_{group}_{kind}")
    }

    /// The first underscore ends the namespace, the last two begin group and kind.
    pub fn parse(id: &str, version: &str) -> Option<Self> {
        let (namespace, rest) = id.split_once('_')?;
        let (rest, kind) = rest.rsplit_once('_')?;
        let (name, group) = rest.rsplit_once('_')?;
        if name.is_empty() || kind.is_empty() {
            return None;
        }
        let name = if group == RBAC_GROUP && RBAC_KINDS.contains(&kind) { name.replace("__", ":") } else { name.to_owned() };
        let key = ObjectKey { group: group.to_owned(), kind: kind.to_owned(), namespace: namespace.to_owned(), name };
        Some(Self { key, version: version.to_owned() })
    }
}

/// The objects that a Kustomization answers for, in the order in which they were applied.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Inventory {
    entries: Vec<Entry>,
}

impl Inventory {
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub fn len(&self) -> usize {
        self.entries.len()
    }

    pub fn contains(&self, key: &ObjectKey) -> bool {
        self.entries.iter().any(|entry| entry.key == *key)
    }

    /// The keys, for many questions.
    pub fn keys(&self) -> HashSet<&ObjectKey> {
        self.entries.iter().map(|entry| &entry.key).collect()
    }

    /// These entries, then those of `other` that are not among them.
    pub fn union(&self, other: &Self) -> Self {
        let known = self.keys();
        let more = other.entries.iter().filter(|entry| !known.contains(&entry.key)).cloned();
        Self { entries: self.entries.iter().cloned().chain(more).collect() }
    }

    pub fn filtered(&self, keep: impl Fn(&Entry) -> bool) -> Self {
        Self { entries: self.entries.iter().filter(|entry| keep(entry)).cloned().collect() }
    }
}

impl FromIterator<Entry> for Inventory {
    fn from_iter<I: IntoIterator<Item = Entry>>(entries: I) -> Self {
        let mut seen = HashSet::new();
        Self { entries: entries.into_iter().filter(|entry| seen.insert(entry.key.clone())).collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_those_of_flux() {
        let table = [
            ("apps_web_apps_Deployment", "v1", "apps", "web", "apps", "Deployment"),
            ("apps_one__ConfigMap", "v1", "apps", "one", "", "ConfigMap"),
            ("_apps__Namespace", "v1", "", "apps", "", "Namespace"),
            ("_a__b_rbac.authorization.k8s.io_ClusterRole", "v1", "", "a:b", "rbac.authorization.k8s.io", "ClusterRole"),
            ("_x.y_z_e.com_Widget", "v2", "", "x.y_z", "e.com", "Widget"),
        ];
        for (id, version, namespace, name, group, kind) in table {
            let entry = Entry::parse(id, version).expect(id);
            let ObjectKey { group: g, kind: k, namespace: ns, name: n } = &entry.key;
            assert_eq!((ns.as_str(), n.as_str(), g.as_str(), k.as_str()), (namespace, name, group, kind), "{id}");
            assert_eq!(entry.id(), id);
        }
        for bad in ["", "a", "a_b", "a_b_c", "a__g_K", "a_b_g_"] {
            assert_eq!(Entry::parse(bad, "v1"), None, "{bad}");
        }
    }
}

use crate::engine::Structural;
use serde_json::Value;
use std::sync::Arc;

/// One resource in one version.
pub struct Resource {
    pub group: String,
    pub version: String,
    /// The plural name, as in paths.
    pub name: String,
    pub singular: String,
    pub kind: String,
    pub list_kind: String,
    pub namespaced: bool,
    pub verbs: Vec<String>,
    pub short_names: Vec<String>,
    pub categories: Vec<String>,
    pub subresources: Vec<Subresource>,
    /// Where objects lie, whichever version they are asked in.
    pub table: Arc<str>,
    /// The `apiVersion` in which they lie there.
    pub stored_api_version: String,
    pub custom: Option<Arc<Custom>>,
}

pub struct Subresource {
    pub name: String,
    pub group: String,
    pub version: String,
    pub kind: String,
    pub verbs: Vec<String>,
}

/// What a CRD says of one version of its resource.
pub struct Custom {
    pub structural: Structural,
    /// The schema as it was declared.
    pub schema: Value,
    pub status: bool,
    pub scale: Option<ScalePaths>,
    /// `additionalPrinterColumns`.
    pub columns: Vec<Value>,
    pub selectable_fields: Vec<String>,
    pub deprecation: Option<String>,
    /// Objects were written under an older schema and are read by this one.
    pub rereads: bool,
}

/// Where a custom resource keeps what `scale` reads and writes, as paths of plain keys.
pub struct ScalePaths {
    pub spec_replicas: Vec<String>,
    pub status_replicas: Vec<String>,
    pub selector: Option<Vec<String>>,
}

impl Resource {
    pub fn builtin(group: &str, version: &str, from: &merge::builtin::Resource) -> Self {
        // Both event APIs, and both autoscaling versions, are views of one storage.
        let (table, stored) = match (group, from.name.as_str()) {
            ("" | "events.k8s.io", "events") => ("events".to_owned(), "v1".to_owned()),
            ("autoscaling", _) => (format!("{}.{group}", from.name), "autoscaling/v2".to_owned()),
            ("", name) => (name.to_owned(), version.to_owned()),
            (group, name) => (format!("{name}.{group}"), format!("{group}/{version}")),
        };
        Self {
            group: group.to_owned(),
            version: version.to_owned(),
            name: from.name.clone(),
            singular: from.singular.clone(),
            list_kind: format!("{}List", from.kind),
            kind: from.kind.clone(),
            namespaced: from.namespaced,
            verbs: from.verbs.clone(),
            short_names: from.short_names.clone(),
            categories: from.categories.clone(),
            subresources: from
                .subresources
                .iter()
                .map(|sub| Subresource {
                    name: sub.name.clone(),
                    group: sub.group.clone(),
                    version: sub.version.clone(),
                    kind: sub.kind.clone(),
                    verbs: sub.verbs.clone(),
                })
                .collect(),
            table: Arc::from(table),
            stored_api_version: stored,
            custom: None,
        }
    }

    pub fn api_version(&self) -> String {
        if self.group.is_empty() { self.version.clone() } else { format!("{}/{}", self.group, self.version) }
    }

    pub fn is_stored_version(&self) -> bool {
        self.api_version() == self.stored_api_version
    }

    pub fn can(&self, verb: &str) -> bool {
        self.verbs.iter().any(|v| v == verb)
    }

    pub fn subresource(&self, name: &str) -> Option<&Subresource> {
        self.subresources.iter().find(|sub| sub.name == name)
    }

    /// What a real server's code calls the kind, which it tells in some refusals.
    pub fn go_type(&self) -> String {
        if self.custom.is_some() {
            return "unstructured.Unstructured".to_owned();
        }
        format!("{}.{}", if self.group.is_empty() { "core" } else { self.group.split('.').next().unwrap_or("") }, self.kind)
    }

    /// Where the count of replicas stands.
    pub fn replicas_path(&self) -> Vec<String> {
        match self.custom.as_ref().and_then(|custom| custom.scale.as_ref()) {
            Some(scale) => scale.spec_replicas.clone(),
            None => vec!["spec".to_owned(), "replicas".to_owned()],
        }
    }

    /// Whether the status is written by its own subresource only.
    pub fn has_status(&self) -> bool {
        self.subresource("status").is_some()
    }

    pub fn is(&self, group: &str, name: &str) -> bool {
        self.group == group && self.name == name
    }

    pub fn key(&self, namespace: &str, name: &str) -> String {
        if self.namespaced { format!("{namespace}/{name}") } else { name.to_owned() }
    }

    pub fn gvk(&self) -> object::GroupVersionKind {
        object::GroupVersionKind::new(&self.group, &self.version, &self.kind)
    }

    /// As a real server derives it: eight bytes of the digest of what is stored.
    pub fn storage_version_hash(&self) -> String {
        use base64::Engine;
        use sha2::{Digest, Sha256};
        let version = match (self.group.as_str(), self.name.as_str()) {
            // A real server of this version keeps these in an older version.
            ("apiextensions.k8s.io", _)
            | ("admissionregistration.k8s.io", "mutatingadmissionpolicies" | "mutatingadmissionpolicybindings") => "v1beta1",
            _ => self.stored_api_version.rsplit('/').next().unwrap_or(""),
        };
        let group = if self.name == "events" && self.table.as_ref() == "events" { "" } else { &self.group };
        let digest = Sha256::digest(format!("{group}/{version}/{}", self.kind));
        base64::engine::general_purpose::STANDARD.encode(&digest[..8])
    }
}

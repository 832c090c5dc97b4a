//! Custom resource definitions, made from the types.

use crate::schema::describe;
use serde_json::{Map, Value, json};

/// A kind that is served from a custom resource definition.
pub trait Defined {
    fn definition() -> Definition;
}

/// What a definition says beyond the schema.
pub struct Definition {
    pub group: &'static str,
    pub version: &'static str,
    pub kind: &'static str,
    pub plural: &'static str,
    pub short_names: &'static [&'static str],
    pub categories: &'static [&'static str],
    /// Whether variable substitution leaves the definition itself alone.
    pub substitute_disabled: bool,
    pub doc: String,
    pub spec: Value,
    pub status: Option<Value>,
    pub columns: Vec<Column>,
}

/// A column of `kubectl get`.
pub struct Column {
    pub name: &'static str,
    pub kind: &'static str,
    pub path: &'static str,
    pub priority: Option<i32>,
}

/// A column of text.
pub const fn text(name: &'static str, path: &'static str) -> Column {
    Column { name, kind: "string", path, priority: None }
}

/// A column of text that only the wide output shows.
pub const fn wide(name: &'static str, path: &'static str) -> Column {
    Column { name, kind: "string", path, priority: Some(1) }
}

pub const AGE: Column = Column { name: "Age", kind: "date", path: ".metadata.creationTimestamp", priority: None };
pub const READY: Column = text("Ready", ".status.conditions[?(@.type==\"Ready\")].status");
pub const STATUS: Column = text("Status", ".status.conditions[?(@.type==\"Ready\")].message");

impl Definition {
    /// `kustomizations.kustomize.toolkit.fluxcd.io`.
    pub fn name(&self) -> String {
        format!("{}.{}", self.plural, self.group)
    }

    /// The name of the file that holds the definition.
    pub fn file_name(&self) -> String {
        format!("{}_{}.yaml", self.group, self.plural)
    }

    /// The whole `CustomResourceDefinition`.
    pub fn to_value(&self) -> Value {
        let mut names = json!({
            "categories": self.categories,
            "kind": self.kind,
            "listKind": format!("{}List", self.kind),
            "plural": self.plural,
            "singular": self.kind.to_lowercase(),
        });
        if !self.short_names.is_empty() {
            names["shortNames"] = json!(self.short_names);
        }
        let mut metadata = json!({"name": self.name()});
        if self.substitute_disabled {
            metadata["annotations"] = json!({"kustomize.toolkit.fluxcd.io/substitute": "disabled"});
        }
        let subresources = if self.status.is_some() { json!({"status": {}}) } else { json!({}) };
        json!({
            "apiVersion": "apiextensions.k8s.io/v1",
            "kind": "CustomResourceDefinition",
            "metadata": metadata,
            "spec": {
                "group": self.group,
                "names": names,
                "scope": "Namespaced",
                "versions": [{
                    "name": self.version,
                    "served": true,
                    "storage": true,
                    "subresources": subresources,
                    "additionalPrinterColumns": self.columns.iter().map(Column::to_value).collect::<Vec<_>>(),
                    "schema": {"openAPIV3Schema": self.root_schema()},
                }],
            },
        })
    }

    fn root_schema(&self) -> Value {
        let mut properties = Map::new();
        properties.insert("apiVersion".into(), json!({"type": "string", "description": "Group and version of this object's schema."}));
        properties.insert("kind".into(), json!({"type": "string", "description": "Kind of this object."}));
        properties.insert("metadata".into(), json!({"type": "object"}));
        properties.insert("spec".into(), self.spec.clone());
        if let Some(status) = &self.status {
            properties.insert("status".into(), status.clone());
        }
        let mut schema = json!({"type": "object", "properties": properties});
        describe(&mut schema, &self.doc);
        schema
    }
}

impl Column {
    fn to_value(&self) -> Value {
        let mut column = json!({"name": self.name, "type": self.kind, "jsonPath": self.path});
        if let Some(priority) = self.priority {
            column["priority"] = json!(priority);
        }
        column
    }
}

/// The definitions of every kind, sorted by name.
pub fn all() -> Vec<Definition> {
    use crate::{extensions, helm, image, kustomize, notification, source};
    let mut all = vec![
        source::GitRepository::definition(),
        source::OCIRepository::definition(),
        source::HelmRepository::definition(),
        source::HelmChart::definition(),
        source::Bucket::definition(),
        source::ExternalArtifact::definition(),
        extensions::ArtifactGenerator::definition(),
        kustomize::Kustomization::definition(),
        helm::HelmRelease::definition(),
        notification::Alert::definition(),
        notification::Provider::definition(),
        notification::Receiver::definition(),
        image::ImageRepository::definition(),
        image::ImagePolicy::definition(),
        image::ImageUpdateAutomation::definition(),
    ];
    all.sort_by_key(Definition::file_name);
    all
}

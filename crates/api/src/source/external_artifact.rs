//! Artifacts that other controllers make.

use crate::{
    crd::{AGE, READY, STATUS, text},
    meta::{Artifact, Condition, NamespacedObjectKindReference},
    schema::{record, resource},
};

resource! {
    /// An artifact that another controller makes.
    pub struct ExternalArtifact(ExternalArtifactSpec, ExternalArtifactStatus);
    group: "source.toolkit.fluxcd.io", version: "v1", plural: "externalartifacts",
    short_names: ["ea"], categories: ["all", "fluxcd", "fluxcd-sources"],
    substitute: true,
    columns: [AGE, READY, STATUS, text("Source", ".spec.sourceRef.name")],
}

record! {
    /// Where an artifact made by another controller comes from.
    pub struct ExternalArtifactSpec {
    }
    optional {
        /// Where it comes from.
        pub source_ref: Option<NamespacedObjectKindReference>,
    }
}

record! {
    /// The artifact as its maker reported it.
    pub struct ExternalArtifactStatus {
    }
    optional {
        /// The artifact that is served now.
        pub artifact: Option<Artifact>,
        /// The state of the object, one aspect each.
        pub conditions: Vec<Condition>,
    }
}

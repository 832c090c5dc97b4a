//! `source.extensions.fluxcd.io`: artifacts made out of other artifacts.

use crate::{
    crd::{AGE, READY, STATUS},
    meta::{CommonMetadata, Condition},
    schema::{record, resource},
};

resource! {
    /// Makes artifacts out of parts of other sources.
    pub struct ArtifactGenerator(ArtifactGeneratorSpec, ArtifactGeneratorStatus);
    group: "source.extensions.fluxcd.io", version: "v1beta1", plural: "artifactgenerators",
    short_names: ["ag"], categories: ["all", "fluxcd", "fluxcd-sources"],
    substitute: true,
    columns: [AGE, READY, STATUS],
}

record! {
    /// Files to copy from one source.
    pub struct CopyOperation {
        /// Where from: @alias/pattern.
        pub from: String => {"maxLength": 1024, "minLength": 1, "pattern": "^@([a-z0-9]([a-z0-9_-]*[a-z0-9])?)/(.*)$"},
        /// Where to: @artifact/path.
        pub to: String => {"maxLength": 1024, "minLength": 1, "pattern": "^@(artifact)/(.*)$"},
    }
    optional {
        /// What to leave out.
        pub exclude: Vec<String> => {"maxItems": 100},
        /// How it is done.
        pub strategy: String => {"enum": ["Overwrite", "Merge", "Extract"]},
    }
}

record! {
    /// One artifact to make.
    pub struct OutputArtifact {
        /// What goes into the artifact, in this order.
        pub copy: Vec<CopyOperation> => {"minItems": 1},
        /// Name of the artifact.
        pub name: String => {"maxLength": 253, "minLength": 1},
    }
    optional {
        /// Source whose original revision the artifact carries.
        pub origin_revision: String => {"maxLength": 64, "pattern": "^@([a-z0-9]([a-z0-9_-]*[a-z0-9])?)$"},
        /// Source whose revision the artifact carries; a digest of the content when empty.
        pub revision: String => {"maxLength": 64, "pattern": "^@([a-z0-9]([a-z0-9_-]*[a-z0-9])?)$"},
    }
}

record! {
    /// A source, under the alias that copy operations use.
    pub struct SourceReference {
        /// Short name for the source.
        pub alias: String => {"maxLength": 63, "pattern": "^[a-z0-9]([a-z0-9_-]*[a-z0-9])?$"},
        /// Kind of the source.
        pub kind: String => {"enum": ["Bucket", "GitRepository", "OCIRepository", "HelmChart", "ExternalArtifact"]},
        /// Name of the source.
        pub name: String => {"maxLength": 253, "pattern": "^[a-z0-9]([a-z0-9-]*[a-z0-9])?$"},
    }
    optional {
        /// Namespace of the object; this one's when empty.
        pub namespace: String => {"maxLength": 63, "minLength": 1, "pattern": "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"},
    }
}

record! {
    /// Which sources are taken apart and put together into which artifacts.
    pub struct ArtifactGeneratorSpec {
        /// Artifacts to make.
        pub artifacts: Vec<OutputArtifact> => {"maxItems": 1000, "minItems": 1},
        /// Sources that files are taken from.
        pub sources: Vec<SourceReference> => {"maxItems": 1000, "minItems": 1},
    }
    optional {
        /// Labels and annotations for everything that is made.
        pub common_metadata: Option<CommonMetadata>,
        /// Pattern of folders; one set of artifacts is made for each match.
        pub path_pattern: String => {"maxLength": 1024, "pattern": "^@([a-z0-9]([a-z0-9_-]*[a-z0-9])?)/(.*)$"},
    }
    rules {
        r"has(self.pathPattern) && size(self.pathPattern) > 0 || self.artifacts.all(a, a.name.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$'))" => "artifact names must be valid Kubernetes object names when pathPattern is not set",
    }
}

record! {
    /// An artifact that was made, as it lies in storage.
    pub struct ExternalArtifactReference {
        /// Checksum, as algorithm:hex.
        pub digest: String,
        /// Name of the file in the store.
        pub filename: String,
        /// Name of the artifact.
        pub name: String,
        /// Namespace of the artifact.
        pub namespace: String,
    }
}

record! {
    /// What was last made.
    pub struct ArtifactGeneratorStatus {
    }
    optional {
        /// The state of the object, one aspect each.
        pub conditions: Vec<Condition>,
        /// What was made or applied.
        pub inventory: Vec<ExternalArtifactReference>,
        /// The last reconcile request that was answered.
        pub last_handled_reconcile_at: String,
        /// Digest over the sources that were used.
        pub observed_sources_digest: String,
    }
}

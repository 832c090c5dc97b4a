//! `kustomize.toolkit.fluxcd.io`: Kustomizations.

use crate::{
    crd::{AGE, READY, STATUS},
    meta::{
        CommonMetadata, Condition, CustomHealthCheck, DependencyReference, KubeConfigReference, LocalObjectReference,
        NamespacedObjectKindReference, ResourceInventory, Time,
    },
    schema::{INTERVAL, record, resource},
};
use std::collections::BTreeMap;
use types::GoDuration;

resource! {
    /// Builds manifests from a source and keeps a cluster in that state.
    pub struct Kustomization(KustomizationSpec, KustomizationStatus);
    group: "kustomize.toolkit.fluxcd.io", version: "v1", plural: "kustomizations",
    short_names: ["ks"], categories: ["all", "fluxcd", "fluxcd-appliers"],
    substitute: true, status_default: {"observedGeneration": -1},
    columns: [AGE, READY, STATUS],
}

record! {
    /// How encrypted files are opened before the build.
    pub struct Decryption {
        /// Which kind of service or engine this is.
        pub provider: String => {"enum": ["sops"]},
    }
    optional {
        /// Secret with the credentials.
        pub secret_ref: Option<LocalObjectReference>,
        /// ServiceAccount to act as.
        pub service_account_name: String,
    }
}

record! {
    /// Objects, chosen by kind, name and labels.
    pub struct Selector {
    }
    optional {
        /// Selector over annotations.
        pub annotation_selector: String,
        /// Group of the object.
        pub group: String,
        /// Kind of the object.
        pub kind: String,
        /// Selector over labels.
        pub label_selector: String,
        /// Name of the object.
        pub name: String,
        /// Namespace of the object; this one's when empty.
        pub namespace: String,
        /// Version of the object.
        pub version: String,
    }
}

record! {
    /// Fields to leave alone when looking for drift.
    pub struct IgnoreRule {
        /// JSON pointers to the fields.
        pub paths: Vec<String>,
    }
    optional {
        /// Objects that this is for.
        pub target: Option<Selector>,
    }
}

record! {
    /// A new name, tag or digest for an image.
    pub struct Image {
        /// The image's name without tag.
        pub name: String,
    }
    optional {
        /// Digest instead of a tag.
        pub digest: String,
        /// The new name.
        pub new_name: String,
        /// The new tag.
        pub new_tag: String,
    }
}

record! {
    /// A patch and the objects that it changes.
    pub struct Patch {
        /// The patch: strategic merge or JSON 6902, as YAML.
        pub patch: String,
    }
    optional {
        /// Objects that this is for.
        pub target: Option<Selector>,
    }
}

record! {
    /// A ConfigMap or Secret whose entries become variables.
    pub struct SubstituteReference {
        /// Kind of the object.
        pub kind: String => {"enum": ["Secret", "ConfigMap"]},
        /// Name of the ConfigMap or Secret.
        pub name: String => {"maxLength": 253, "minLength": 1},
    }
    optional {
        /// Whether it may be missing.
        pub optional: bool => {"default": false},
    }
}

record! {
    /// What happens between building and applying.
    pub struct PostBuild {
    }
    optional {
        /// Variables and their values.
        pub substitute: BTreeMap<String, String>,
        /// Where more variables come from.
        pub substitute_from: Vec<SubstituteReference>,
        /// Whether substitution also runs without variables.
        pub substitute_strategy: String => {"enum": ["WithVariables", "Always"]},
    }
}

record! {
    /// The source that this object builds on, possibly in another namespace.
    pub struct CrossNamespaceSourceReference {
        /// Kind of the object.
        pub kind: String => {"enum": ["OCIRepository", "GitRepository", "Bucket", "ExternalArtifact"]},
        /// Name of the object.
        pub name: String,
    }
    optional {
        /// Group and version of the object.
        pub api_version: String,
        /// Namespace of the object; this one's when empty.
        pub namespace: String,
    }
}

record! {
    /// What to build from a source, and how to apply it.
    pub struct KustomizationSpec {
        /// How often to look for changes.
        pub interval: GoDuration => {"pattern": INTERVAL},
        /// Deletes objects that are no longer in the source.
        pub prune: bool,
        /// Where it comes from.
        pub source_ref: CrossNamespaceSourceReference,
    }
    optional {
        /// Which origins are written into annotations.
        pub build_metadata: Vec<String> => {"items": {"enum": ["originAnnotations", "transformerAnnotations"]}},
        /// Labels and annotations for everything that is made.
        pub common_metadata: Option<CommonMetadata>,
        /// Kustomize components to add, by path.
        pub components: Vec<String>,
        /// How encrypted files are opened.
        pub decryption: Option<Decryption>,
        /// What happens to applied objects when this one is deleted.
        pub deletion_policy: String => {"enum": ["MirrorPrune", "Delete", "WaitForTermination", "Orphan"]},
        /// Kustomizations that must be ready first.
        pub depends_on: Vec<DependencyReference>,
        /// Makes objects anew when a field cannot be changed.
        pub force: bool => {"default": false},
        /// How to tell the health of custom kinds.
        pub health_check_exprs: Vec<CustomHealthCheck>,
        /// Objects that must become healthy.
        pub health_checks: Vec<NamespacedObjectKindReference>,
        /// Fields to leave alone when looking for drift.
        pub ignore: Option<Vec<IgnoreRule>>,
        /// Passes over components that are not there.
        pub ignore_missing_components: bool,
        /// New names, tags or digests for images.
        pub images: Vec<Image>,
        /// The cluster to act on; this one when empty.
        pub kube_config: Option<KubeConfigReference>,
        /// Put before the name of every object.
        pub name_prefix: String => {"maxLength": 200, "minLength": 1},
        /// Put after the name of every object.
        pub name_suffix: String => {"maxLength": 200, "minLength": 1},
        /// Patches to lay over the build.
        pub patches: Vec<Patch>,
        /// Folder to build; the root when empty.
        pub path: String,
        /// What happens after the build.
        pub post_build: Option<PostBuild>,
        /// How long to wait after a failure.
        pub retry_interval: Option<GoDuration> => {"pattern": INTERVAL},
        /// ServiceAccount to act as.
        pub service_account_name: String,
        /// Stops reconciliation while set.
        pub suspend: bool,
        /// Namespace for every object.
        pub target_namespace: String => {"maxLength": 63, "minLength": 1},
        /// How long building, applying and waiting may take; the interval when empty.
        pub timeout: Option<GoDuration> => {"pattern": INTERVAL},
        /// Waits until everything applied is healthy.
        pub wait: bool,
    }
}

record! {
    /// The record of a past attempt.
    pub struct Snapshot {
        /// Checksum, as algorithm:hex.
        pub digest: String,
        /// When this was first reconciled.
        pub first_reconciled: Time,
        /// When this was last reconciled.
        pub last_reconciled: Time,
        /// How long the last reconciliation took.
        pub last_reconciled_duration: GoDuration,
        /// How the last reconciliation ended.
        pub last_reconciled_status: String,
        /// How often this was reconciled.
        pub total_reconciliations: i64 => {"format": "int64"},
    }
    optional {
        /// More facts, as text.
        pub metadata: BTreeMap<String, String>,
    }
}

record! {
    /// What was last built and applied.
    pub struct KustomizationStatus {
    }
    optional {
        /// The state of the object, one aspect each.
        pub conditions: Vec<Condition>,
        /// What happened before, newest first.
        pub history: Vec<Snapshot>,
        /// What was made or applied.
        pub inventory: Option<ResourceInventory>,
        /// Revision of the original source that was last applied.
        pub last_applied_origin_revision: String,
        /// Revision that was last applied.
        pub last_applied_revision: String,
        /// Revision that was last tried.
        pub last_attempted_revision: String,
        /// The last reconcile request that was answered.
        pub last_handled_reconcile_at: String,
        /// The generation that was last acted on.
        pub observed_generation: i64 => {"format": "int64"},
    }
}

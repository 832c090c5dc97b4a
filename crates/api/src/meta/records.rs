//! Parts that the kinds of several groups share.

use super::Time;
use crate::schema::record;
use std::collections::BTreeMap;

record! {
    /// An object in the same namespace.
    pub struct LocalObjectReference {
        /// Name of the object.
        pub name: String,
    }
}

record! {
    /// A packed copy of a source, as it can be fetched.
    pub struct Artifact {
        /// Checksum, as algorithm:hex.
        pub digest: String => {"pattern": "^[a-z0-9]+(?:[.+_-][a-z0-9]+)*:[a-zA-Z0-9=_-]+$"},
        /// When the artifact was written.
        pub last_update_time: Time,
        /// Path of the file in the store.
        pub path: String,
        /// Readable name of what was fetched, with its hash.
        pub revision: String,
        /// Address to fetch the file from.
        pub url: String,
    }
    optional {
        /// More facts, as text.
        pub metadata: BTreeMap<String, String>,
        /// Number of bytes.
        pub size: Option<i64> => {"format": "int64"},
    }
}

record! {
    /// One aspect of the state of an object.
    pub struct Condition {
        /// When the status last changed.
        pub last_transition_time: Time,
        /// What happened, for people.
        pub message: String => {"maxLength": 32768},
        /// What happened, as one word for programs.
        pub reason: String => {"maxLength": 1024, "minLength": 1, "pattern": "^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$"},
        /// True, False or Unknown.
        pub status: String => {"enum": ["True", "False", "Unknown"]},
        /// Which aspect this is.
        pub r#type: String => {"maxLength": 316, "pattern": r"^([a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*/)?(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])$"},
    }
    optional {
        /// The generation that the condition speaks of.
        pub observed_generation: i64 => {"format": "int64", "minimum": 0},
    }
}

record! {
    /// Namespaces, chosen by their labels.
    pub struct NamespaceSelector {
    }
    optional {
        /// Labels that must be there.
        pub match_labels: BTreeMap<String, String>,
    }
}

record! {
    /// Which namespaces may refer to this object.
    pub struct AccessFrom {
        /// Namespaces that have access; any one match is enough.
        pub namespace_selectors: Vec<NamespaceSelector>,
    }
}

record! {
    /// An object of any kind, possibly in another namespace.
    pub struct NamespacedObjectKindReference {
        /// Kind of the object.
        pub kind: String,
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
    /// Labels and annotations that are put on every object made.
    pub struct CommonMetadata {
    }
    optional {
        /// Annotations to add.
        pub annotations: BTreeMap<String, String>,
        /// Labels to add.
        pub labels: BTreeMap<String, String>,
    }
}

record! {
    /// An object that must be ready first.
    pub struct DependencyReference {
        /// Name of the object.
        pub name: String,
    }
    optional {
        /// Namespace of the object; this one's when empty.
        pub namespace: String,
        /// CEL expression that says whether the dependency is ready.
        pub ready_expr: String,
    }
}

record! {
    /// How to tell the health of a kind, as CEL expressions.
    pub struct CustomHealthCheck {
        /// Group and version of the object.
        pub api_version: String,
        /// CEL expression that is true when the object is as it should be.
        pub current: String,
    }
    optional {
        /// CEL expression that is true when the object has failed.
        pub failed: String,
        /// CEL expression that is true while the object is on its way.
        pub in_progress: String,
        /// Kind of the object.
        pub kind: String,
    }
}

record! {
    /// A Secret, and the key in it.
    pub struct SecretKeyReference {
        /// Name of the object.
        pub name: String,
    }
    optional {
        /// Key in the Secret; value, or value.yaml, when empty.
        pub key: String,
    }
}

record! {
    /// The cluster to act on instead of this one.
    pub struct KubeConfigReference {
    }
    optional {
        /// ConfigMap that says how to reach the cluster.
        pub config_map_ref: Option<LocalObjectReference>,
        /// Secret with a kubeconfig.
        pub secret_ref: Option<SecretKeyReference>,
    }
    rules {
        "has(self.configMapRef) || has(self.secretRef)" => "exactly one of spec.kubeConfig.configMapRef or spec.kubeConfig.secretRef must be specified",
        "!has(self.configMapRef) || !has(self.secretRef)" => "exactly one of spec.kubeConfig.configMapRef or spec.kubeConfig.secretRef must be specified",
    }
}

record! {
    /// One applied object.
    pub struct ResourceRef {
        /// Namespace, name, group and kind, joined by underscores.
        pub id: String,
        /// Version of the kind.
        pub v: String,
    }
}

record! {
    /// The objects that were applied.
    pub struct ResourceInventory {
        /// The objects.
        pub entries: Vec<ResourceRef>,
    }
}

record! {
    /// An object of a known kind, possibly in another namespace.
    pub struct NamespacedObjectReference {
        /// Name of the object.
        pub name: String,
    }
    optional {
        /// Namespace of the object; this one's when empty.
        pub namespace: String,
    }
}

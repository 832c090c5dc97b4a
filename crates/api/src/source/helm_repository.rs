//! Helm repositories.

use crate::{
    crd::{AGE, READY, STATUS, text},
    meta::{AccessFrom, Artifact, Condition, LocalObjectReference},
    schema::{INTERVAL, TIMEOUT, record, resource},
};
use types::GoDuration;

resource! {
    /// A repository of Helm charts.
    pub struct HelmRepository(HelmRepositorySpec, HelmRepositoryStatus);
    group: "source.toolkit.fluxcd.io", version: "v1", plural: "helmrepositories",
    short_names: ["helmrepo"], categories: ["all", "fluxcd", "fluxcd-sources"],
    substitute: true, status_default: {"observedGeneration": -1},
    columns: [text("URL", ".spec.url"), AGE, READY, STATUS],
}

record! {
    /// Where a Helm repository is.
    pub struct HelmRepositorySpec {
        /// Address of the source.
        pub url: String => {"pattern": "^(http|https|oci)://.*$"},
    }
    optional {
        /// Which other namespaces may use this object.
        pub access_from: Option<AccessFrom>,
        /// Secret with a client certificate and key, or a certificate authority, for TLS.
        pub cert_secret_ref: Option<LocalObjectReference>,
        /// Allows plain HTTP.
        pub insecure: bool,
        /// How often to look for changes.
        pub interval: Option<GoDuration> => {"pattern": INTERVAL},
        /// Sends the credentials to other hosts that the index names.
        pub pass_credentials: bool,
        /// Which kind of service or engine this is.
        pub provider: String => {"default": "generic", "enum": ["generic", "aws", "azure", "gcp"]},
        /// Secret with the credentials.
        pub secret_ref: Option<LocalObjectReference>,
        /// Stops reconciliation while set.
        pub suspend: bool,
        /// How long one attempt may take.
        pub timeout: Option<GoDuration> => {"pattern": TIMEOUT},
        /// Whether the repository is an index over HTTP (default) or an OCI registry (oci).
        pub r#type: String => {"enum": ["default", "oci"]},
    }
}

record! {
    /// What was last seen of a Helm repository.
    pub struct HelmRepositoryStatus {
    }
    optional {
        /// The artifact that is served now.
        pub artifact: Option<Artifact>,
        /// The state of the object, one aspect each.
        pub conditions: Vec<Condition>,
        /// The last reconcile request that was answered.
        pub last_handled_reconcile_at: String,
        /// The generation that was last acted on.
        pub observed_generation: i64 => {"format": "int64"},
        /// Address of the source.
        pub url: String,
    }
}

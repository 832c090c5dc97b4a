//! Artifacts in OCI registries.

use crate::{
    crd::{AGE, READY, STATUS, text},
    meta::{Artifact, Condition, LocalObjectReference},
    schema::{INTERVAL, TIMEOUT, record, resource},
};
use types::GoDuration;

resource! {
    /// An artifact in an OCI registry.
    pub struct OCIRepository(OCIRepositorySpec, OCIRepositoryStatus);
    group: "source.toolkit.fluxcd.io", version: "v1", plural: "ocirepositories",
    short_names: ["ocirepo"], categories: ["all", "fluxcd", "fluxcd-sources"],
    substitute: true, status_default: {"observedGeneration": -1},
    columns: [text("URL", ".spec.url"), READY, STATUS, AGE],
}

record! {
    /// Which layer of an OCI artifact to take, and how.
    pub struct OCILayerSelector {
    }
    optional {
        /// Media type of the layer; the first that matches is taken.
        pub media_type: String,
        /// Whether the layer is unpacked or stored as it is.
        pub operation: String => {"enum": ["extract", "copy"]},
    }
}

record! {
    /// Which OCI artifact to pull; the most exact field that is set wins.
    pub struct OCIRepositoryRef {
    }
    optional {
        /// Checksum, as algorithm:hex.
        pub digest: String,
        /// Range of versions; the highest inside it is taken.
        pub semver: String,
        /// Regular expression for tags that take part.
        pub semver_filter: String,
        /// Name of a tag.
        pub tag: String,
    }
}

record! {
    /// An identity that may have signed, given by patterns.
    pub struct OIDCIdentityMatch {
        /// Pattern for the issuer of the certificate.
        pub issuer: String,
        /// Pattern for the subject of the certificate.
        pub subject: String,
    }
}

record! {
    /// How the signature of an OCI artifact is checked.
    pub struct OCIRepositoryVerification {
        /// Which kind of service or engine this is.
        pub provider: String => {"default": "cosign", "enum": ["cosign", "notation"]},
    }
    optional {
        /// Identities that may have signed without a key.
        pub match_oidc_identity: Vec<OIDCIdentityMatch> as "matchOIDCIdentity",
        /// Secret with the credentials.
        pub secret_ref: Option<LocalObjectReference>,
        /// Secret with the roots of trust.
        pub trusted_root_secret_ref: Option<LocalObjectReference>,
    }
}

record! {
    /// Where an OCI repository is, and which artifact of it to pull.
    pub struct OCIRepositorySpec {
        /// How often to look for changes.
        pub interval: GoDuration => {"pattern": INTERVAL},
        /// Address of the repository, beginning with oci://.
        pub url: String => {"pattern": "^oci://.*$"},
    }
    optional {
        /// Secret with a client certificate and key, or a certificate authority, for TLS.
        pub cert_secret_ref: Option<LocalObjectReference>,
        /// Patterns of files to leave out, written as in .gitignore; replaces the built-in list.
        pub ignore: Option<String>,
        /// Allows plain HTTP.
        pub insecure: bool,
        /// Which layer to take; the first when empty.
        pub layer_selector: Option<OCILayerSelector>,
        /// Which kind of service or engine this is.
        pub provider: String => {"default": "generic", "enum": ["generic", "aws", "azure", "gcp"]},
        /// Secret with the address and credentials of a proxy.
        pub proxy_secret_ref: Option<LocalObjectReference>,
        /// What to follow.
        pub r#ref: Option<OCIRepositoryRef>,
        /// Secret with the credentials.
        pub secret_ref: Option<LocalObjectReference>,
        /// ServiceAccount to act as.
        pub service_account_name: String,
        /// Stops reconciliation while set.
        pub suspend: bool,
        /// How long one attempt may take.
        pub timeout: Option<GoDuration> => {"default": "60s", "pattern": TIMEOUT},
        /// Checks signatures before anything is used.
        pub verify: Option<OCIRepositoryVerification>,
    }
}

record! {
    /// What was last seen of an OCI repository.
    pub struct OCIRepositoryStatus {
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
        /// The ignore patterns that the artifact was made with.
        pub observed_ignore: Option<String>,
        /// The layer selector that the artifact was made with.
        pub observed_layer_selector: Option<OCILayerSelector>,
        /// Address of the source.
        pub url: String,
    }
}

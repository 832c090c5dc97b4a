//! Object storage buckets.

use crate::{
    crd::{AGE, READY, STATUS, text},
    meta::{Artifact, Condition, LocalObjectReference},
    schema::{INTERVAL, TIMEOUT, record, resource},
};
use types::GoDuration;

resource! {
    /// Files in an object storage bucket, packed into an artifact.
    pub struct Bucket(BucketSpec, BucketStatus);
    group: "source.toolkit.fluxcd.io", version: "v1", plural: "buckets",
    short_names: [], categories: ["all", "fluxcd", "fluxcd-sources"],
    substitute: true, status_default: {"observedGeneration": -1},
    columns: [text("Endpoint", ".spec.endpoint"), AGE, READY, STATUS],
}

record! {
    /// A security token service that hands out short-lived credentials.
    pub struct BucketSTSSpec {
        /// Host and port of the service.
        pub endpoint: String => {"pattern": "^(http|https)://.*$"},
        /// Which kind of service or engine this is.
        pub provider: String => {"enum": ["aws", "ldap"]},
    }
    optional {
        /// Secret with a client certificate and key, or a certificate authority, for TLS.
        pub cert_secret_ref: Option<LocalObjectReference>,
        /// Secret with the credentials.
        pub secret_ref: Option<LocalObjectReference>,
    }
}

record! {
    /// Where an object storage bucket is.
    pub struct BucketSpec {
        /// Name of the bucket.
        pub bucket_name: String,
        /// Host and port of the service.
        pub endpoint: String,
        /// How often to look for changes.
        pub interval: GoDuration => {"pattern": INTERVAL},
    }
    optional {
        /// Secret with a client certificate and key, or a certificate authority, for TLS.
        pub cert_secret_ref: Option<LocalObjectReference>,
        /// Patterns of files to leave out, written as in .gitignore; replaces the built-in list.
        pub ignore: Option<String>,
        /// Allows plain HTTP.
        pub insecure: bool,
        /// Only files whose path begins with this.
        pub prefix: String,
        /// Which kind of service or engine this is.
        pub provider: String => {"default": "generic", "enum": ["generic", "aws", "gcp", "azure"]},
        /// Secret with the address and credentials of a proxy.
        pub proxy_secret_ref: Option<LocalObjectReference>,
        /// Region of the bucket.
        pub region: String,
        /// Secret with the credentials.
        pub secret_ref: Option<LocalObjectReference>,
        /// ServiceAccount to act as.
        pub service_account_name: String,
        /// Where short-lived credentials come from.
        pub sts: Option<BucketSTSSpec>,
        /// Stops reconciliation while set.
        pub suspend: bool,
        /// How long one attempt may take.
        pub timeout: Option<GoDuration> => {"default": "60s", "pattern": TIMEOUT},
    }
    rules {
        "self.provider == 'aws' || self.provider == 'generic' || !has(self.sts)" => "STS configuration is only supported for the 'aws' and 'generic' Bucket providers",
        "self.provider != 'aws' || !has(self.sts) || self.sts.provider == 'aws'" => "'aws' is the only supported STS provider for the 'aws' Bucket provider",
        "self.provider != 'generic' || !has(self.sts) || self.sts.provider == 'ldap'" => "'ldap' is the only supported STS provider for the 'generic' Bucket provider",
        "!has(self.sts) || self.sts.provider != 'aws' || !has(self.sts.secretRef)" => "spec.sts.secretRef is not required for the 'aws' STS provider",
        "!has(self.sts) || self.sts.provider != 'aws' || !has(self.sts.certSecretRef)" => "spec.sts.certSecretRef is not required for the 'aws' STS provider",
        "self.provider != 'generic' || !has(self.serviceAccountName)" => "ServiceAccountName is not supported for the 'generic' Bucket provider",
        "!has(self.secretRef) || !has(self.serviceAccountName)" => "cannot set both .spec.secretRef and .spec.serviceAccountName",
    }
}

record! {
    /// What was last seen of a bucket.
    pub struct BucketStatus {
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
        /// Address of the source.
        pub url: String,
    }
}

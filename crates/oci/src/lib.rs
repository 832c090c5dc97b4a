//! Pulls from and pushes to OCI registries, on the types of `oci-client`.
//!
//! ```text
//! Reference --resolve--> Digest --manifest--> Manifest --blob--> bytes (checked against the digest)
//!     Client = reqwest::Client + scheme + credentials; tokens are asked for per scope, once
//! ```
//!
//! The HTTP client (proxy, CA, client certificate, time-outs) is made by the caller with redirects off:
//! this crate follows them itself, and never carries credentials to another host.

mod auth;
mod client;
mod credentials;
mod error;

pub use client::{Client, Limits, Scheme};
pub use credentials::{Credentials, DockerConfig};
pub use error::Error;
pub use oci_client::{
    Reference,
    manifest::{OciDescriptor as Descriptor, OciImageManifest as Manifest},
};

/// Media types that Flux pushes and pulls.
pub mod media_type {
    pub const FLUX_CONFIG: &str = "application/vnd.cncf.flux.config.v1+json";
    pub const FLUX_CONTENT: &str = "application/vnd.cncf.flux.content.v1.tar+gzip";
    pub const HELM_CHART: &str = "application/vnd.cncf.helm.chart.content.v1.tar+gzip";
    pub const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
}

/// Annotations that say where an artifact came from.
pub mod annotation {
    pub const CREATED: &str = "org.opencontainers.image.created";
    pub const REVISION: &str = "org.opencontainers.image.revision";
    pub const SOURCE: &str = "org.opencontainers.image.source";
}

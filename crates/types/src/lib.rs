//! The words that every other room speaks: revisions, digests, names, durations and version ranges.
//!
//! ```text
//! Revision  main@sha1:…        what a source points at
//! Digest    sha256:…           what bytes hash to
//! Duration  1h30m              Go's text form of a length of time
//! NamespacedName ns/name       an object inside a cluster
//! semver    >=1.2 <2          versions and ranges, as Go's Masterminds library reads them
//! re2       ^a{2}$            regular expressions of Go
//! ```
//!
//! Everything here is parsed once, at the door, and trusted afterwards.

mod causes;
mod digest;
mod duration;
mod name;
pub mod re2;
mod revision;
pub mod semver;

pub use causes::{chain, innermost};
pub use digest::{Algorithm, Digest, Hasher};
pub use duration::GoDuration;
pub use name::NamespacedName;
pub use revision::Revision;

/// Why a word could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The text is not `algorithm:hex` with a known algorithm and the right length.
    #[error("invalid digest {0:?}: {1}")]
    Digest(String, &'static str),
    /// The text is no Go duration.
    #[error("invalid duration {0:?}: {1}")]
    Duration(String, &'static str),
    /// The text is no revision.
    #[error("invalid revision {0:?}: {1}")]
    Revision(String, &'static str),
}

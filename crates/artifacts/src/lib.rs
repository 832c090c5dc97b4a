//! Artifacts between controllers: where they are stored and served, who makes them, and how they are fetched.
//!
//! ```text
//! makers:     StorageFlags -> Storage -> Served { store, addresses }     one folder, served over HTTP by the leader
//! consumers:  Sources (watched objects that have artifacts) -> Artifact -> Trees -> tree, verified and kept for the next visit
//! ```

mod fetch;
mod source;
mod storage;

pub use fetch::{FetchError, Trees, host_from_environment};
pub use source::{EXTERNAL_ARTIFACT, Source, SourceKey, SourceMeta, SourceStatus, Sources, revision};
pub use storage::{Error, Served, Storage, StorageFlags};

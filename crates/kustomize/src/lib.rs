//! The kustomize engine: a tree of files and a directory in, objects out, with the semantics of kustomize 5.8.1.
//!
//! ```text
//! build ── Context (tree, limits, files read)
//!   └ Target: one kustomization.yaml
//!       ├ resources ── read ── Object (data, history, shared values) ── into Objects
//!       ├ generators ─ generate, charts, plugins ───────────────────── into Objects
//!       ├ components ─ Target on the same Objects
//!       └ transformers ─ patches (strategic, json_patch), transform, replacements, plugins
//!   └ once, at the end: hashes, references, vars, order, metadata ── Build
//! flux ── the same, with what Flux generates and merges into the first kustomization
//! ```
//!
//! *Guarantees.* A build reads the tree it is given and nothing else, starts no program, and ends: everything is bounded by [`Limits`]. What
//! lies elsewhere is refused unless the caller hands in a [`Fetch`], and charts unless it hands in [`Charts`]. The same input gives the same bytes. Every value knows the file and line, or the transformer, that it came from.

mod budget;
mod build;
mod charts;
mod crds;
mod decode;
mod error;
mod explain;
mod fields;
pub mod flux;
#[doc(hidden)]
pub mod fuzz;
mod generate;
mod id;
mod json;
mod json_patch;
mod kustomization;
mod lines;
mod load;
mod metadata;
mod object;
mod ops;
mod order;
mod patches;
mod path;
mod plugins;
mod read;
mod references;
mod remote;
mod replacements;
mod schema;
mod select;
mod shared;
mod strategic;
mod target;
mod transform;
mod vars;

pub use budget::Limits;
pub use build::{Build, LoadRestriction, OnRead, Options, Order, Resource, Use, build};
pub use charts::{Chart, Charts};
pub use error::{Error, Place, Result};
pub use explain::Touch;
pub use remote::{Fetch, Repository};
pub use strategic::Options as MergeOptions;

/// Merges a strategic merge patch into an object, both as YAML; an empty text when the patch deletes it.
pub fn merge(object: &str, patch: &str, options: MergeOptions) -> Result<String> {
    strategic::merge_texts(object, patch, options)
}

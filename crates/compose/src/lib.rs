//! File trees put together from parts of other trees: the rules of Flux's ArtifactGenerator, without its objects.
//!
//! ```text
//! path pattern + templates + source trees ── pattern ──> outputs            one set for every folder that matches
//! an output's operations   + source trees ── copy ─────> tree               glob: what is meant; staging: where it goes
//!                                              ├─ yaml_merge YAML into YAML, as Helm merges values
//!                                              └─ extract   archives, bounded
//! output tree ── checksum ──> name of its file          filter ──> what of it goes into the archive
//! ```
//!
//! Values in, values out. Paths are confined to their trees; sizes, counts and archives are bounded by [`Limits`].

mod checksum;
mod copy;
mod extract;
mod filter;
mod glob;
mod pattern;
mod staging;
mod yaml_merge;

pub use checksum::{ChecksumError, file_name};
pub use copy::{Error, OperationError, compose};
pub use extract::ExtractError;
pub use filter::Filter;
pub use pattern::{PatternError, Problem, TemplateProblem, expand};
pub use staging::PlaceError;
pub use yaml_merge::MergeError;

use std::collections::BTreeMap;
use std::sync::Arc;
use tree::MemoryTree;

/// The trees that files are taken from, by alias.
pub type Sources = BTreeMap<String, Arc<MemoryTree>>;

/// What is done with a file that is there already, and with archives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Strategy {
    #[default]
    Overwrite,
    /// YAML files are merged into the YAML files that are there.
    Merge,
    /// Archives are unpacked.
    Extract,
}

/// One step: what is taken from where, and where it goes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Operation {
    /// `@alias/path` or `@alias/pattern`.
    pub from: String,
    /// `@artifact/path`; with a slash at the end it is a folder.
    pub to: String,
    /// What stays out, as doublestar patterns.
    pub exclude: Vec<String>,
    pub strategy: Strategy,
}

/// A tree to be made, or a template for several.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Output {
    pub name: String,
    /// Carried out in this order.
    pub operations: Vec<Operation>,
    /// What the captures of a path pattern matched, in lower case.
    pub labels: BTreeMap<String, String>,
    /// Which template it was made of.
    pub template: usize,
}

/// What one output may cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of all files together.
    pub size_max: u64,
    /// Files and folders put in place, those that later ones replace counted as well.
    pub steps_max: usize,
    /// Bytes of the files of one archive: what Flux's reader admits.
    pub archive_size_max: u64,
    /// Outputs of one path pattern.
    pub outputs_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { size_max: 1 << 30, steps_max: 1_000_000, archive_size_max: 100 << 20, outputs_max: 10_000 }
    }
}

//! File trees: in memory, read from archives, filtered by ignore rules, written as reproducible archives.
//!
//! ```text
//! Tree (trait) <- MemoryTree    what engines read
//! ignore::Rules   which entries of a Tree stay out of an artifact (.sourceignore)
//! archive::write  Tree -> tar.gz, the same bytes for the same tree, one file in memory at a time
//! archive::read   tar.gz -> MemoryTree, bounded
//! ```
//!
//! Paths are relative, `/`-separated and clean (see [`clean`]): no `.`, no `..`, no empty part; the root is `""`.

pub mod archive;
pub mod ignore;
mod memory;
mod path;
mod walk;

pub use memory::{Entry, MemoryTree};
pub use path::{clean, join, parent};
pub use walk::walk;

use bytes::Bytes;
use std::borrow::Cow;

/// What a path names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    File,
    Dir,
}

/// A tree of files that an engine may read. Symbolic links are followed by the implementation, inside the tree only.
pub trait Tree: Send + Sync {
    /// What `path` names, or `None` where nothing is.
    fn kind(&self, path: &str) -> Option<Kind>;

    /// The content of the file at `path`; `None` where there is no file.
    fn read(&self, path: &str) -> Option<Cow<'_, [u8]>>;

    /// The content of the file at `path`, shared with the tree where it can be.
    fn bytes(&self, path: &str) -> Option<Bytes> {
        self.read(path).map(|content| content.into_owned().into())
    }

    /// How many bytes the file at `path` has, where that is known without reading it.
    fn size(&self, _path: &str) -> Option<u64> {
        None
    }

    /// The names (not paths) in the directory at `path` in byte order; `None` where there is no directory.
    fn list(&self, path: &str) -> Option<Vec<String>>;

    /// Whether the file at `path` may be run.
    fn is_executable(&self, _path: &str) -> bool {
        false
    }

    /// The path without symbolic links, for trees that have them; `None` where nothing is.
    fn resolve(&self, path: &str) -> Option<String> {
        self.kind(path).map(|_| path.to_owned())
    }
}

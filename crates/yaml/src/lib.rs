//! YAML as Go reads and writes it.
//!
//! ```text
//! text -> scan (tokens) -> compose (nodes) -> decode -> JSON value -> emit -> text
//!                              |                           ^
//!                           resolve: what a scalar is      |
//!                              +-> Node -------------------+   order, places and scalar texts kept
//! text -> edit: scalars where they stand, and everything around them as it was -> text
//! ```
//!
//! Go has two readings of YAML, and Kubernetes tools use both ([`Dialect`]): a text that is `true` for one is `"yes"` for the other. The
//! scanner follows libyaml's rules, as both Go packages do, so that they and we accept and refuse the same texts with the same words. The
//! writer is go-yaml v2's, which `sigs.k8s.io/yaml`, and with it kubectl, Helm and kustomize, print with.
//!
//! Input is bounded by [`Limits`]: bytes, depth, and nodes that aliases make.

mod compose;
mod decode;
pub mod edit;
mod emit;
mod error;
mod node;
mod order;
mod resolve;
mod scan;

pub use decode::{Json, check_keys, from_json, scalar_json_view, scalar_view};
pub use emit::{Writer, emit, emit_into, emit_node, is_plain};
pub use error::{Error, GoPlace};
pub use node::{Data, Entry, Map, Node, Notes, Place, Scalar, Tag};
pub use order::{merge_sort, sort_keys};
pub use resolve::{format_float, plain_tag};
pub use scan::Style;

use compose::Keys;
use serde_json::Value;

/// Which of Go's readings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// `sigs.k8s.io/yaml` (yaml.v2, YAML 1.1): `yes` is true, the last of duplicate keys wins, keys become strings.
    Sigs,
    /// kyaml (yaml.v3): `yes` is a string, duplicate keys and keys that are no strings are errors.
    Kyaml,
}

/// How much a text may ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of text.
    pub bytes: usize,
    /// Collections inside collections.
    pub depth: usize,
    /// Nodes that aliases copy, over all documents of a text.
    pub alias_nodes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { bytes: 64 << 20, depth: 256, alias_nodes: 400_000 }
    }
}

/// One document of a text.
#[derive(Debug, Clone, PartialEq)]
pub struct Document {
    pub root: Node,
    /// The line of its first token, from one.
    pub line: usize,
    dialect: Dialect,
}

impl Document {
    pub fn to_json(&self) -> Result<Value, Error> {
        decode::json(&self.root, self.dialect)
    }
}

/// The first document of a text as JSON; an empty text is null. What follows it is not looked at, as Go's `Unmarshal` does not.
pub fn to_json(text: &str, dialect: Dialect) -> Result<Value, Error> {
    first(text, dialect)?.map_or(Ok(Value::Null), |document| document.to_json())
}

/// Like [`to_json`], but a key given twice is an error in either dialect.
pub fn to_json_strict(text: &str, dialect: Dialect) -> Result<Value, Error> {
    match composer(text, dialect, Limits::default(), 0, Keys::Refused)?.document()? {
        Some((node, _)) => decode::json(&node, dialect),
        None => Ok(Value::Null),
    }
}

/// All documents of a text.
pub fn documents(text: &str, dialect: Dialect) -> Result<Vec<Document>, Error> {
    documents_from(text, dialect, Limits::default(), 0)
}

/// All documents of a text whose nodes remember the source.
pub fn documents_from(text: &str, dialect: Dialect, limits: Limits, source: u32) -> Result<Vec<Document>, Error> {
    let mut composer = composer(text, dialect, limits, source, keys_of(dialect))?;
    let mut documents = Vec::new();
    while let Some((root, mark)) = composer.document()? {
        documents.push(Document { root, line: mark.line + 1, dialect });
    }
    Ok(documents)
}

/// The first document of a text; `None` for an empty one. What follows it is not looked at.
pub fn first(text: &str, dialect: Dialect) -> Result<Option<Document>, Error> {
    let mut composer = composer(text, dialect, Limits::default(), 0, keys_of(dialect))?;
    Ok(composer.document()?.map(|(root, mark)| Document { root, line: mark.line + 1, dialect }))
}

/// The first document of a text as a node; `None` for an empty text.
pub fn node(text: &str, dialect: Dialect, limits: Limits, source: u32) -> Result<Option<Node>, Error> {
    let mut composer = composer(text, dialect, limits, source, keys_of(dialect))?;
    Ok(composer.document()?.map(|(node, _)| node))
}

/// The first document of a text that begins at a line of a larger one, as kyaml has it before anyone looks at it: a key may stand there twice,
/// and is an error in whatever is made of the node.
pub fn first_document(text: &str, limits: Limits, source: u32, first_line: u32) -> Result<Option<Node>, Error> {
    let mut composer = composer(text, Dialect::Kyaml, limits, source, Keys::Kept)?;
    composer.begin_at_line(first_line.saturating_sub(1) as usize);
    Ok(composer.document()?.map(|(node, _)| node))
}

/// The JSON of a node as kyaml makes it, which writes the node and reads it again on the way.
pub fn node_json(node: &Node) -> Result<Value, Error> {
    decode::rewritten_json(node)
}

/// The text in bytes that should be UTF-8.
pub fn text(bytes: &[u8]) -> Result<&str, Error> {
    std::str::from_utf8(bytes).map_err(|error| Error::NotUtf8 { at: error.valid_up_to() })
}

fn keys_of(dialect: Dialect) -> Keys {
    if dialect == Dialect::Kyaml { Keys::Refused } else { Keys::LastWins }
}

fn composer(text: &str, dialect: Dialect, limits: Limits, source: u32, keys: Keys) -> Result<compose::Composer<'_>, Error> {
    if text.len() > limits.bytes {
        return Err(Error::TooLarge { max: limits.bytes });
    }
    scan::check_characters(text)?;
    Ok(compose::Composer::new(text, dialect, limits, source, keys))
}

//! What differs between two objects, told as `flux diff` tells it (the report form of the tool dyff).
//!
//! ```text
//! two values -> compare -> [Difference {path, details}] -> report -> text
//! ```

mod compare;
mod report;

pub use compare::compare;
pub use report::render;

use serde_json::Value;

/// Where in a document something is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Path(Vec<String>);

impl Path {
    fn then(&self, element: &str) -> Self {
        let mut path = self.clone();
        path.0.push(element.to_owned());
        path
    }
}

impl std::fmt::Display for Path {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.0.is_empty() { out.write_str("(root level)") } else { out.write_str(&self.0.join(".")) }
    }
}

#[derive(Debug, Clone, PartialEq)]
pub struct Difference {
    pub path: Path,
    pub details: Vec<Detail>,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Detail {
    /// Entries of a map, or of a list, that are new.
    Added(Value),
    Removed(Value),
    Changed {
        from: Value,
        to: Value,
    },
    Reordered {
        from: Vec<Value>,
        to: Vec<Value>,
    },
}

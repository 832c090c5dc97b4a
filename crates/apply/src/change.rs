use object::ObjectKey;
use std::fmt;

/// What became of one object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    pub key: ObjectKey,
    pub verb: Verb,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Verb {
    Created,
    Configured,
    Unchanged,
    Skipped,
    Deleted,
}

impl Verb {
    /// Whether people want to hear of it.
    pub fn is_news(self) -> bool {
        matches!(self, Verb::Created | Verb::Configured | Verb::Deleted)
    }
}

/// `ConfigMap/ns/name created`: a line of an event.
impl fmt::Display for Change {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verb = match self.verb {
            Verb::Created => "created",
            Verb::Configured => "configured",
            Verb::Unchanged => "unchanged",
            Verb::Skipped => "skipped",
            Verb::Deleted => "deleted",
        };
        write!(out, "{} {verb}", self.key)
    }
}

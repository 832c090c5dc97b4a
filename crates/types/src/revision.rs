use crate::Error;
use serde::{Deserialize, Serialize};
use std::fmt;

/// What a source points at: `name@algorithm:hash`, or `algorithm:hash` alone.
///
/// The name may hold any character but is never empty when present; the last `@` divides,
/// since branch names may hold one (`user@feature@sha1:…`).
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Revision {
    name: Option<String>,
    hash: String,
}

impl Revision {
    /// `algorithm:hash` with an optional `name@` before it.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let bad = |why| Error::Revision(text.to_owned(), why);
        let (name, hash) = match text.rsplit_once('@') {
            Some(("", _)) => return Err(bad("the name before '@' is empty")),
            Some((name, hash)) => (Some(name.to_owned()), hash),
            None => (None, text),
        };
        match hash.split_once(':') {
            Some((algorithm, value)) if !algorithm.is_empty() && !value.is_empty() => Ok(Self { name, hash: hash.to_owned() }),
            _ => Err(bad("expected algorithm:hash after the name")),
        }
    }

    /// A Git revision; 40 hexadecimal digits are sha1, 64 are sha256.
    pub fn git(name: Option<&str>, commit: &str) -> Self {
        let algorithm = if commit.len() == 64 { "sha256" } else { "sha1" };
        Self { name: name.filter(|n| !n.is_empty()).map(str::to_owned), hash: format!("{algorithm}:{commit}") }
    }

    /// Branch, tag, reference or version; absent for a commit alone.
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// `algorithm:hash`.
    pub fn hash(&self) -> &str {
        &self.hash
    }

    /// The hash without its algorithm.
    pub fn hex(&self) -> &str {
        self.hash.split_once(':').map_or("", |(_, hex)| hex)
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.name {
            Some(name) => write!(out, "{name}@{}", self.hash),
            None => out.write_str(&self.hash),
        }
    }
}

impl TryFrom<String> for Revision {
    type Error = Error;
    fn try_from(text: String) -> Result<Self, Error> {
        Self::parse(&text)
    }
}

impl From<Revision> for String {
    fn from(revision: Revision) -> Self {
        revision.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_names_with_slashes_and_at_signs() {
        let revision = Revision::parse("user@feat/x@sha1:ab12").unwrap();
        assert_eq!((revision.name(), revision.hash(), revision.hex()), (Some("user@feat/x"), "sha1:ab12", "ab12"));
        assert_eq!(revision.to_string(), "user@feat/x@sha1:ab12");
        assert_eq!(Revision::git(None, "ab12").to_string(), "sha1:ab12");
    }

    #[test]
    fn refuses_what_names_no_hash() {
        for bad in ["", "main", "@sha1:ab", "main@", "main@sha1:", "main@:ab"] {
            assert!(Revision::parse(bad).is_err(), "{bad:?}");
        }
    }
}

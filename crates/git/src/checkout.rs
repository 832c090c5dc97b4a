use crate::GitTree;
use std::fmt;
use types::Revision;

/// A commit with its tree.
pub struct Checkout {
    pub revision: Revision,
    pub commit: Commit,
    /// The tag that led to the commit; absent for branches and commits.
    pub tag: Option<Tag>,
    pub tree: GitTree,
}

/// What a commit says about itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Commit {
    /// Hexadecimal.
    pub id: String,
    pub message: String,
    /// Seconds since 1970.
    pub committed_at: i64,
    pub signature: Option<Signature>,
}

impl Commit {
    /// The first line, cut to fifty characters as Flux prints it.
    pub fn subject(&self) -> String {
        let line = self.message.split('\n').next().unwrap_or_default();
        match line.char_indices().nth(50) {
            Some((end, _)) => format!("{}...", &line[..end]),
            None => line.to_owned(),
        }
    }
}

/// A tag that points at a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tag {
    /// The short name.
    pub name: String,
    /// The tag's own hash, where the tag is an object of its own rather than a mere name.
    pub id: Option<String>,
    pub signature: Option<Signature>,
}

impl fmt::Display for Tag {
    /// `v1.0.0@<hash of the tag>`, or the name alone.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.id {
            Some(id) => write!(out, "{}@{id}", self.name),
            None => out.write_str(&self.name),
        }
    }
}

/// A signature as it stands in an object, and the bytes that were signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signature {
    pub armored: String,
    pub signed: Vec<u8>,
}

impl Signature {
    /// What kind of signature this is, by its armour: `openpgp`, `ssh` or `x509`.
    pub fn kind(&self) -> &'static str {
        let kinds = [("-----BEGIN PGP", "openpgp"), ("-----BEGIN SSH SIGNATURE", "ssh"), ("-----BEGIN SIGNED MESSAGE", "x509")];
        kinds.into_iter().find(|(armour, _)| self.armored.starts_with(armour)).map_or("unknown", |(_, kind)| kind)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subject_is_the_first_line_cut_to_fifty_characters() {
        let subject = |message: &str| Commit { message: message.to_owned(), ..Commit::default() }.subject();
        assert_eq!(subject("one\n\ntwo"), "one");
        assert_eq!(subject(&"é".repeat(50)), "é".repeat(50));
        assert_eq!(subject(&"é".repeat(51)), format!("{}...", "é".repeat(50)));
    }
}

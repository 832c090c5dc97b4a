//! Which versions of which charts there are, and which one a range means.

use jiff::Timestamp;
use std::collections::BTreeMap;
use types::semver::{Constraint, Version};

/// One version of a chart in a repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub name: String,
    pub version: String,
    pub created: Timestamp,
    /// SHA-256 of the archive in hexadecimal, where the index gives it.
    pub digest: String,
    pub urls: Vec<String>,
}

/// Why no version was chosen. The texts are those that users know from Flux.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SelectError {
    #[error("no chart name found")]
    NoChart,
    #[error("no chart version found")]
    NoVersions,
    #[error("{0}")]
    Range(types::semver::Error),
    #[error("no '{name}' chart with version matching '{range}' found")]
    NoMatch { name: String, range: String },
}

/// The charts of a repository, the newest version of each first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Listing {
    entries: BTreeMap<String, Vec<Entry>>,
}

impl Listing {
    pub(crate) fn new(entries: BTreeMap<String, Vec<Entry>>) -> Self {
        Self { entries }
    }

    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.entries.keys().map(String::as_str)
    }

    pub fn versions(&self, name: &str) -> &[Entry] {
        self.entries.get(name).map_or(&[], Vec::as_slice)
    }

    /// The version that is written exactly so, else the highest of the range; without a range the highest release.
    /// Versions that differ by build metadata alone are equal: then the one created last.
    pub fn select(&self, name: &str, range: &str) -> Result<&Entry, SelectError> {
        let versions = self.entries.get(name).ok_or(SelectError::NoChart)?;
        if versions.is_empty() {
            return Err(SelectError::NoVersions);
        }
        if let Some(exact) = versions.iter().find(|entry| !range.is_empty() && entry.version == range) {
            return Ok(exact);
        }
        let constraint = Constraint::parse(if range.is_empty() { "*" } else { range }).map_err(SelectError::Range)?;
        let matching = versions.iter().filter_map(|entry| {
            let version = Version::parse_tag(&entry.version).ok().filter(|version| constraint.matches(version))?;
            Some((version, entry))
        });
        let best = matching.reduce(|best, next| if (&next.0, next.1.created) > (&best.0, best.1.created) { next } else { best });
        best.map(|(_, entry)| entry).ok_or_else(|| SelectError::NoMatch { name: name.to_owned(), range: range.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listing() -> Listing {
        let entry = |version: &str, second: i64| Entry {
            name: "demo".into(),
            version: version.into(),
            created: Timestamp::from_second(second).unwrap(),
            digest: String::new(),
            urls: vec![],
        };
        let demo =
            vec![entry("2.0.0-rc.1", 9), entry("1.2.0+a", 1), entry("1.2.0+b", 2), entry("1.1", 3), entry("v1.0.0", 1), entry("0.9.0", 1)];
        Listing::new(BTreeMap::from([("demo".to_owned(), demo), ("none".to_owned(), vec![])]))
    }

    #[test]
    fn ranges_choose_the_newest_and_exact_versions_themselves() {
        let all = listing();
        let chosen = |range: &str| all.select("demo", range).map(|entry| entry.version.as_str());
        assert_eq!(chosen("*"), Ok("1.2.0+b"), "the same version, created later");
        assert_eq!(chosen(""), Ok("1.2.0+b"));
        assert_eq!(chosen(">=1.0.0-0"), Ok("2.0.0-rc.1"));
        assert_eq!(chosen("2.0.0-rc.1"), Ok("2.0.0-rc.1"));
        assert_eq!(chosen("1.2.0+a"), Ok("1.2.0+a"));
        assert_eq!(chosen("1.1"), Ok("1.1"), "written exactly so, though no range would match it");
        assert_eq!(chosen("~1.0"), Ok("v1.0.0"));
        assert_eq!(chosen("<1"), Ok("0.9.0"));
    }

    #[test]
    fn what_cannot_be_chosen_is_named() {
        let all = listing();
        let told = |name: &str, range: &str| all.select(name, range).unwrap_err().to_string();
        assert_eq!(told("nope", "*"), "no chart name found");
        assert_eq!(told("none", "*"), "no chart version found");
        assert_eq!(told("demo", "one.two"), "improper constraint: \"one.two\"");
        assert_eq!(told("demo", ">=9"), "no 'demo' chart with version matching '>=9' found");
    }
}

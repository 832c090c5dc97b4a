use crate::Error;
use types::{Revision, semver};

/// What is followed when nothing is said.
pub const DEFAULT_BRANCH: &str = "master";

/// What to follow in a repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reference {
    Branch(String),
    Tag(String),
    /// The highest tag inside of a range.
    Semver(String),
    /// A full reference name, as `refs/pull/420/head`.
    Name(String),
    /// A commit, which a branch or a full name may lend its name to.
    Commit {
        commit: String,
        branch: Option<String>,
        name: Option<String>,
    },
}

impl Reference {
    /// Chooses among the fields of a source's `ref`; an empty string is an absent field.
    ///
    /// As Flux's code does (commit, name, tag, semver, branch), against its API documentation, which puts semver before tag.
    pub fn choose(branch: &str, tag: &str, semver: &str, name: &str, commit: &str) -> Self {
        let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        if let Some(commit) = some(commit) {
            return Self::Commit { commit, branch: some(branch), name: some(name) };
        }
        some(name)
            .map(Self::Name)
            .or_else(|| some(tag).map(Self::Tag))
            .or_else(|| some(semver).map(Self::Semver))
            .unwrap_or_else(|| Self::Branch(some(branch).unwrap_or_else(|| DEFAULT_BRANCH.to_owned())))
    }

    /// The full names that a server is asked for; empty when only a commit is known.
    pub(crate) fn full_name(&self) -> Option<String> {
        match self {
            Self::Branch(branch) => Some(format!("refs/heads/{branch}")),
            Self::Tag(tag) => Some(format!("refs/tags/{tag}")),
            Self::Name(name) => Some(name.strip_suffix("^{}").unwrap_or(name).to_owned()),
            Self::Commit { branch: Some(branch), .. } => Some(format!("refs/heads/{branch}")),
            Self::Semver(_) | Self::Commit { .. } => None,
        }
    }

    /// Refuses names that no server can have.
    pub(crate) fn validate(&self) -> Result<(), Error> {
        if let Self::Name(name) = self
            && (name.starts_with('/') || name.ends_with('/'))
        {
            return Err(Error::SlashedName(name.clone()));
        }
        Ok(())
    }
}

/// What a reference points at on the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// The full name of the reference; absent for a commit alone.
    pub name: Option<String>,
    /// The commit, in hexadecimal.
    pub commit: String,
}

impl Target {
    /// The revision as sources write it: the branch or tag before the commit, or the whole name where the source gave a whole name.
    pub fn revision(&self, reference: &Reference) -> Revision {
        let absolute = matches!(reference, Reference::Name(_) | Reference::Commit { name: Some(_), .. });
        let name = match (&self.name, absolute) {
            (Some(name), true) => Some(name.as_str()),
            // Everything after the second slash: branch feat/x stays feat/x.
            (Some(name), false) => name.splitn(3, '/').nth(2),
            (None, _) => None,
        };
        Revision::git(name, &self.commit)
    }
}

/// The tags of a range, best first among equals of the highest version.
pub(crate) fn best_tags<'t>(range: &str, tags: impl Iterator<Item = &'t str>) -> Result<Vec<String>, Error> {
    let constraint = semver::Constraint::parse(range).map_err(Error::Semver)?;
    let mut versions: Vec<semver::Version> =
        tags.filter_map(|tag| semver::Version::parse_tag(tag).ok()).filter(|version| constraint.matches(version)).collect();
    versions.sort();
    let Some(highest) = versions.last().cloned() else { return Err(Error::NoVersion(range.to_owned())) };
    Ok(versions.into_iter().filter(|version| *version == highest).map(|version| version.original().to_owned()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_exact_field_wins() {
        let chosen = Reference::choose("b", "t", "1.x", "refs/n", "c");
        assert_eq!(chosen, Reference::Commit { commit: "c".into(), branch: Some("b".into()), name: Some("refs/n".into()) });
        assert_eq!(Reference::choose("b", "t", "1.x", "refs/n", ""), Reference::Name("refs/n".into()));
        assert_eq!(Reference::choose("b", "t", "1.x", "", ""), Reference::Tag("t".into()));
        assert_eq!(Reference::choose("b", "", "1.x", "", ""), Reference::Semver("1.x".into()));
        assert_eq!(Reference::choose("b", "", "", "", ""), Reference::Branch("b".into()));
        assert_eq!(Reference::choose("", "", "", "", ""), Reference::Branch("master".into()));
    }

    #[test]
    fn revisions_carry_the_short_or_the_whole_name() {
        let target = |name: Option<&str>| Target { name: name.map(str::to_owned), commit: "ab12".into() };
        let table = [
            (target(Some("refs/heads/feat/x")), Reference::Branch("feat/x".into()), "feat/x@sha1:ab12"),
            (target(Some("refs/pull/7/head")), Reference::Name("refs/pull/7/head".into()), "refs/pull/7/head@sha1:ab12"),
            (target(None), Reference::Commit { commit: "ab12".into(), branch: None, name: None }, "sha1:ab12"),
        ];
        for (target, reference, revision) in table {
            assert_eq!(target.revision(&reference).to_string(), revision);
        }
    }

    #[test]
    fn the_highest_tag_of_a_range_is_taken_and_equals_are_all_named() {
        let tags = ["v1.0.0", "v1.2", "1.1.0", "nightly", "v2.0.0", "v1.1.0+build.2", "v1.2.0-rc.1"];
        assert_eq!(best_tags("1.x", tags.into_iter()).unwrap(), ["1.1.0", "v1.1.0+build.2"]);
        assert!(matches!(best_tags(">=3", tags.into_iter()), Err(Error::NoVersion(range)) if range == ">=3"));
        assert!(matches!(best_tags("nope", tags.into_iter()), Err(Error::Semver(_))));
    }
}

//! `.sourceignore`: which files of a tree stay out of an artifact.
//!
//! ```text
//! .sourceignore files (each scoped to its folder) + spec.ignore -> Rules -> excludes(path)
//! none of either -> VCS files, media, CI files stay out
//! any of either  -> VCS files and what the patterns name stay out, nothing else
//! ```
//!
//! The dialect is go-git's, not Git's: see [`Pattern`].

mod glob;
mod pattern;

pub use glob::matches as matches_name;
pub use pattern::Pattern;

use crate::{Kind, Tree};

/// The name of the files that carry rules.
pub const FILE: &str = ".sourceignore";

/// Excluded whatever else is said (unless re-included by a pattern).
const VCS: [&str; 4] = [".git/", ".gitignore", ".gitmodules", ".gitattributes"];

/// Excluded where no rule is given.
const DEFAULTS: [&str; 20] = [
    "*.jpg",
    "*.jpeg",
    "*.gif",
    "*.png",
    "*.wmv",
    "*.flv",
    "*.tar.gz",
    "*.zip",
    ".github/",
    ".circleci/",
    ".travis.yml",
    ".gitlab-ci.yml",
    "appveyor.yml",
    ".drone.yml",
    "cloudbuild.yaml",
    "codeship-services.yml",
    "codeship-steps.yml",
    "**/.goreleaser.yml",
    "**/.sops.yaml",
    "**/.flux.yaml",
];

/// More patterns than this are refused: every path is held against every one.
pub const MAX_PATTERNS: usize = 10_000;

/// Why rules could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error("more than {MAX_PATTERNS} ignore patterns")]
    TooMany,
}

/// Patterns in the order of growing priority.
#[derive(Debug, Clone, Default)]
pub struct Rules {
    patterns: Vec<Pattern>,
}

impl Rules {
    /// The rules of a tree: its `.sourceignore` files from the root down, then `extra` (the `spec.ignore` of a source).
    pub fn load(tree: &dyn Tree, extra: Option<&str>) -> Result<Self, Error> {
        let mut patterns = Vec::new();
        let mut folders = vec![String::new()];
        while let Some(folder) = folders.pop() {
            let path = |name: &str| if folder.is_empty() { name.to_owned() } else { format!("{folder}/{name}") };
            if let Some(bytes) = tree.read(&path(FILE)) {
                read(&String::from_utf8_lossy(&bytes), &folder, &mut patterns)?;
            }
            let names = tree.list(&folder).unwrap_or_default();
            // Taken from the end, so that folders are visited in order, each before its children.
            folders.extend(
                names.iter().rev().filter(|name| *name != ".git").map(|name| path(name)).filter(|p| tree.kind(p) == Some(Kind::Dir)),
            );
        }
        read(extra.unwrap_or_default(), "", &mut patterns)?;
        let built_in: Vec<&str> = if patterns.is_empty() { [&VCS[..], &DEFAULTS[..]].concat() } else { VCS.to_vec() };
        patterns.splice(0..0, built_in.into_iter().map(|text| Pattern::parse(text, "")));
        Ok(Self { patterns })
    }

    /// Only the given patterns, without any built-in one, as buckets have it.
    pub fn only(text: &str) -> Result<Self, Error> {
        let mut patterns = Vec::new();
        read(text, "", &mut patterns)?;
        Ok(Self { patterns })
    }

    /// Whether the entry at `path` stays out. The last pattern that matches decides.
    ///
    /// An entry is judged by its own path, so a file inside of an excluded folder can be included again, unlike in Git.
    pub fn excludes(&self, path: &str, kind: Kind) -> bool {
        let parts: Vec<&str> = path.split('/').collect();
        self.patterns.iter().rev().find_map(|pattern| pattern.matches(&parts, kind == Kind::Dir)).unwrap_or(false)
    }
}

fn read(text: &str, domain: &str, patterns: &mut Vec<Pattern>) -> Result<(), Error> {
    for line in text.lines() {
        // A byte-order mark or a carriage return of a file written on Windows is no part of a pattern.
        let line = line.trim_start_matches('\u{feff}').trim_end_matches('\r');
        if line.starts_with('#') || line.trim().is_empty() {
            continue;
        }
        if patterns.len() == MAX_PATTERNS {
            return Err(Error::TooMany);
        }
        patterns.push(Pattern::parse(line, domain));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Entry, MemoryTree};

    fn kept(files: &[(&'static str, &'static str)], extra: Option<&str>) -> Vec<String> {
        let tree = MemoryTree::from_iter(files.iter().copied());
        let rules = Rules::load(&tree, extra).unwrap();
        let files = tree.entries().filter(|(path, entry)| matches!(entry, Entry::File { .. }) && !rules.excludes(path, Kind::File));
        files.map(|(path, _)| path.to_owned()).collect()
    }

    #[test]
    fn without_rules_vcs_media_and_ci_files_stay_out() {
        let files = [
            (".gitignore", ""),
            ("a/.gitattributes", ""),
            ("a.png", ""),
            ("a/b.zip", ""),
            (".github/workflows/ci.yml", ""),
            ("x/.sops.yaml", ""),
            (".sops.yaml", ""),
            ("deploy.yaml", ""),
            ("a/readme.md", ""),
        ];
        // "**/" asks for a folder before the name, so a file of the root is kept.
        assert_eq!(kept(&files, None), ["a/readme.md", "deploy.yaml"]);
        assert_eq!(kept(&files, Some(" \n# only a comment\n")), ["a/readme.md", "deploy.yaml"], "blank rules are no rules");
    }

    #[test]
    fn any_rule_replaces_the_defaults_but_never_the_vcs_ones() {
        let files = [(".gitignore", ""), ("a.png", ""), (".github/ci.yml", ""), ("deploy.yaml", ""), ("docs/x.md", "")];
        assert_eq!(kept(&files, Some("/docs")), [".github/ci.yml", "a.png", "deploy.yaml"]);
        assert_eq!(kept(&files, Some("!.gitignore")), [".github/ci.yml", ".gitignore", "a.png", "deploy.yaml", "docs/x.md"]);
    }

    #[test]
    fn rule_files_speak_for_their_own_folder() {
        let files = [
            (".sourceignore", "*.txt\n!keep.txt\n"),
            ("one.txt", ""),
            ("keep.txt", ""),
            ("sub/.sourceignore", "/only.yaml\n!one.txt"),
            ("sub/only.yaml", ""),
            ("sub/deep/only.yaml", ""),
            ("sub/one.txt", ""),
            ("other/only.yaml", ""),
        ];
        assert_eq!(
            kept(&files, None),
            [".sourceignore", "keep.txt", "other/only.yaml", "sub/.sourceignore", "sub/deep/only.yaml", "sub/one.txt"]
        );
        assert_eq!(kept(&files, Some("*\n!other/")), ["other/only.yaml"], "a folder's name speaks for all below it");
        assert_eq!(kept(&files, Some("/*\n!/other")), ["other/only.yaml"]);
    }

    #[test]
    fn a_file_in_an_excluded_folder_can_come_back() {
        let files = [("a/b/keep.yaml", ""), ("a/b/drop.yaml", "")];
        assert_eq!(kept(&files, Some("a/\n!a/b/keep.yaml")), ["a/b/keep.yaml"]);
    }

    #[test]
    fn buckets_know_no_built_in_rules() {
        assert!(!Rules::only("").unwrap().excludes(".git/config", Kind::File));
        assert!(Rules::only("*.md").unwrap().excludes("a/b.md", Kind::File));
    }

    #[test]
    fn a_flood_of_patterns_is_refused() {
        assert_eq!(Rules::only(&"x\n".repeat(MAX_PATTERNS + 1)).unwrap_err(), Error::TooMany);
    }
}

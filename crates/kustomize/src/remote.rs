//! What lies outside of the tree: files behind a URL, and repositories. A build reaches neither by itself; a caller may hand in one who does.

use std::{fmt, sync::Arc};
use tree::Tree;

/// Gets what lies outside of the tree. Errors are fragments that say what went wrong, without credentials.
pub trait Fetch: Sync {
    /// The file at an `http` or `https` address.
    fn file(&self, url: &str) -> Result<Vec<u8>, String>;

    /// The files of a repository.
    fn repository(&self, repository: &Repository) -> Result<Arc<dyn Tree>, String>;
}

/// A repository as kustomizations name it: `https://host/org/repo//path?ref=v1`, `git@host:org/repo.git/path`, `github.com/org/repo/path`.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Repository {
    /// Where to clone from. It may hold credentials.
    pub url: String,
    /// A branch, tag or commit; the default branch where it is empty.
    pub reference: String,
    /// The directory in it.
    pub path: String,
    /// Whether its submodules are wanted, too.
    pub submodules: bool,
}

impl fmt::Debug for Repository {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Repository({self})")
    }
}

impl fmt::Display for Repository {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&without_credentials(&self.url))?;
        if self.reference.is_empty() { Ok(()) } else { write!(out, "?ref={}", self.reference) }
    }
}

/// Schemes, and how what follows is split: after the host there are an organisation and a repository.
const SCHEMES: [&str; 5] = ["https://", "http://", "ssh://", "git://", "file://"];

impl Repository {
    /// Reads the forms of kustomize (api/internal/git/repospec.go); `None` for a plain path.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.strip_prefix("git::").unwrap_or(text);
        let (address, query) = text.split_once('?').unwrap_or((text, ""));
        let mut found = Self { submodules: true, ..Self::default() };
        for (key, value) in query.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, ""))) {
            match key {
                "ref" => found.reference = value.to_owned(),
                // The old word for it; `ref` wins.
                "version" if found.reference.is_empty() => found.reference = value.to_owned(),
                "submodules" => found.submodules = value != "false",
                _ => {}
            }
        }
        let scheme = SCHEMES.iter().find(|scheme| address.to_lowercase().starts_with(**scheme)).map(|scheme| &address[..scheme.len()]);
        let (start, rest) = match scheme {
            Some(scheme) => {
                let rest = &address[scheme.len()..];
                let host = if scheme.eq_ignore_ascii_case("file://") { 0 } else { rest.find('/').map_or(rest.len(), |at| at + 1) };
                (format!("{scheme}{}", &rest[..host]), &rest[host..])
            }
            // git@host:org/repo
            None if address.split(['/', ':']).next().is_some_and(|first| first.contains('@')) && address.contains(':') => {
                let at = address.find(':')? + 1;
                (address[..at].to_owned(), &address[at..])
            }
            None if address.starts_with("github.com/") || address.starts_with("github.com:") => {
                ("https://github.com/".to_owned(), &address["github.com/".len()..])
            }
            None if address.starts_with("gh:") => ("gh:".to_owned(), &address["gh:".len()..]),
            None => return None,
        };
        let file = start.starts_with("file://");
        let (name, path) = if let Some((name, path)) = rest.split_once("//") {
            (name.to_owned(), path)
        } else if let Some((name, path)) = rest.split_once(".git/") {
            (format!("{name}.git"), path)
        } else if rest.ends_with(".git") || file {
            (rest.to_owned(), "")
        } else {
            // An organisation, a repository, and the rest is a path.
            let mut parts = rest.splitn(3, '/');
            let (organisation, name) = (parts.next().filter(|part| !part.is_empty())?, parts.next().filter(|part| !part.is_empty())?);
            (format!("{organisation}/{name}"), parts.next().unwrap_or(""))
        };
        if name.is_empty() {
            return None;
        }
        found.url = format!("{start}{name}");
        found.path = path.trim_matches('/').to_owned();
        Some(found)
    }
}

/// Whether a path is the address of a file.
pub(crate) fn is_url(path: &str) -> bool {
    path.starts_with("http://") || path.starts_with("https://")
}

/// Whether an address is of a file that holds objects, and not of a repository.
pub(crate) fn names_file(url: &str) -> bool {
    let address = url.split(['?', '#']).next().unwrap_or(url).to_lowercase();
    let tail = address.split_once("://").map_or("", |(_, rest)| rest);
    !tail.contains("//") && !tail.contains(".git/") && [".yaml", ".yml", ".json"].iter().any(|end| address.ends_with(end))
}

/// What kustomize takes for a repository.
pub(crate) fn is_remote(path: &str) -> bool {
    path.contains("://")
        || path.contains("::")
        || path.starts_with("git@")
        || path.starts_with("gh:")
        || path.starts_with("github.com/")
        || path.contains("?ref=")
        || path.contains(".git")
}

/// An address without the user and password that it may carry.
pub(crate) fn without_credentials(address: &str) -> String {
    match address.split_once("://") {
        Some((scheme, rest)) => {
            let host_end = rest.find(['/', '?']).unwrap_or(rest.len());
            let (host, tail) = rest.split_at(host_end);
            format!("{scheme}://{}{tail}", host.rsplit_once('@').map_or(host, |(_, host)| host))
        }
        None => address.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repositories_are_read_as_kustomize_reads_them() {
        for (text, url, path, reference) in [
            ("https://github.com/org/repo?ref=v1", "https://github.com/org/repo", "", "v1"),
            ("https://github.com/org/repo/some/dir?ref=main", "https://github.com/org/repo", "some/dir", "main"),
            ("https://github.com/org/repo//some/dir", "https://github.com/org/repo", "some/dir", ""),
            ("https://git.example.com/a/b/c.git/dir?version=2", "https://git.example.com/a/b/c.git", "dir", "2"),
            ("https://git.example.com/a/b/c.git", "https://git.example.com/a/b/c.git", "", ""),
            ("git@github.com:org/repo.git", "git@github.com:org/repo.git", "", ""),
            ("git@github.com:org/repo//x?ref=y&timeout=3s", "git@github.com:org/repo", "x", "y"),
            ("ssh://git@host/org/repo//x", "ssh://git@host/org/repo", "x", ""),
            ("github.com/org/repo/x", "https://github.com/org/repo", "x", ""),
            ("git::https://host/org/repo//x", "https://host/org/repo", "x", ""),
            ("file:///srv/repo//x", "file:///srv/repo", "x", ""),
        ] {
            let found = Repository::parse(text).unwrap_or_else(|| panic!("{text} is a repository"));
            assert_eq!((found.url.as_str(), found.path.as_str(), found.reference.as_str()), (url, path, reference), "{text}");
        }
        for plain in ["../base", "base", "./x/y", "a.yaml", "", "https://", "https://host", "github.com/org"] {
            assert_eq!(Repository::parse(plain), None, "{plain}");
        }
        assert!(!Repository::parse("https://h/o/r?submodules=false").expect("a repository").submodules);
    }

    #[test]
    fn credentials_are_not_shown() {
        let repository = Repository::parse("https://user:secret@host/org/repo//x?ref=y").expect("a repository");
        assert_eq!(format!("{repository} {repository:?}"), "https://host/org/repo?ref=y Repository(https://host/org/repo?ref=y)");
        assert_eq!(without_credentials("https://host/a@b"), "https://host/a@b");
    }

    #[test]
    fn files_are_told_from_repositories() {
        assert!(names_file("https://raw.example.com/org/repo/main/x.yaml?token=1"));
        assert!(!names_file("https://github.com/org/repo?ref=x.yaml"));
        assert!(!names_file("https://github.com/org/repo.git/x.yaml"));
    }
}

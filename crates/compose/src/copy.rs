//! Copies with the semantics of `cp`.

use crate::{
    Limits, Operation, Sources, Strategy,
    extract::{self, ExtractError},
    glob::{self, Doublestar},
    staging::{PlaceError, Staging, below, folder_of, lexical},
    yaml_merge::{self, MergeError},
};
use bytes::Bytes;
use tree::{Entry, Kind, MemoryTree, Tree};

/// Why a tree could not be put together.
#[derive(Debug, thiserror::Error)]
#[error("failed to apply copy operation from '{from}' to '{to}'")]
pub struct Error {
    pub from: String,
    pub to: String,
    pub source: OperationError,
}

/// Why an operation failed.
#[derive(Debug, thiserror::Error)]
pub enum OperationError {
    #[error("invalid copy source '{0}': source format must be '@alias/pattern'")]
    From(String),
    #[error("invalid copy destination '{0}': destination must start with '@artifact/'")]
    To(String),
    #[error("source alias '{0}' not found")]
    Alias(String),
    #[error("invalid exclude pattern '{0}'")]
    Exclude(String),
    #[error("invalid glob pattern '{0}': syntax error in pattern")]
    Pattern(String),
    #[error("no files match pattern '{0}' in source '{1}'")]
    NoMatch(String, String),
    #[error("all files matching pattern '{0}' in source '{1}' were excluded")]
    AllExcluded(String, String),
    #[error("source '{0}' does not exist")]
    Missing(String),
    #[error("failed to stat source '{0}'")]
    Stat(String, #[source] PlaceError),
    #[error("extract strategy is not supported for directories, got '{0}'")]
    ExtractFolder(String),
    #[error("extract strategy requires tarball file (.tar.gz or .tgz), got '{0}'")]
    NotArchive(String),
    #[error("failed to extract tarball '{0}' to '{1}'")]
    Extract(String, String, #[source] ExtractError),
    #[error(transparent)]
    ExtractOne(#[from] ExtractError),
    #[error("failed to copy file '{0}' to '{1}'")]
    Copy(String, String, #[source] Box<OperationError>),
    #[error("failed to create destination directory")]
    Folder(#[source] PlaceError),
    #[error(transparent)]
    Place(#[from] PlaceError),
    #[error(transparent)]
    Merge(#[from] MergeError),
}

/// Carries out operations, in order, into a new tree.
pub fn compose(sources: &Sources, operations: &[Operation], limits: Limits) -> Result<MemoryTree, Error> {
    let mut staging = Staging::new(limits);
    for operation in operations {
        apply(sources, operation, &mut staging).map_err(|source| Error {
            from: operation.from.clone(),
            to: operation.to.clone(),
            source,
        })?;
    }
    Ok(staging.finish())
}

/// One operation on its way.
struct Copy<'a> {
    source: &'a MemoryTree,
    excludes: Vec<Doublestar>,
    strategy: Strategy,
}

fn apply(sources: &Sources, operation: &Operation, staging: &mut Staging) -> Result<(), OperationError> {
    let (alias, pattern) = operation
        .from
        .strip_prefix('@')
        .and_then(|from| from.split_once('/'))
        .ok_or_else(|| OperationError::From(operation.from.clone()))?;
    let to = operation.to.strip_prefix("@artifact/").ok_or_else(|| OperationError::To(operation.to.clone()))?;
    let source = sources.get(alias).ok_or_else(|| OperationError::Alias(alias.to_owned()))?;
    let parse = |pattern: &String| Doublestar::parse(pattern).map_err(|_| OperationError::Exclude(pattern.clone()));
    let excludes = operation.exclude.iter().map(parse).collect::<Result<_, _>>()?;
    let copy = Copy { source, excludes, strategy: operation.strategy };
    if glob::is_pattern(pattern) { copy.many(alias, pattern, to, staging) } else { copy.one(pattern, to, staging) }
}

impl Copy<'_> {
    /// What a pattern selects goes into a folder.
    fn many(&self, alias: &str, pattern: &str, to: &str, staging: &mut Staging) -> Result<(), OperationError> {
        let malformed = |_| OperationError::Pattern(pattern.to_owned());
        let selected = match self.strategy {
            Strategy::Extract => Doublestar::parse(pattern).map_err(malformed)?.select(self.source),
            _ => glob::select(self.source, pattern).map_err(malformed)?,
        };
        if selected.is_empty() {
            return Err(OperationError::NoMatch(pattern.to_owned(), alias.to_owned()));
        }
        let base = fixed_part(pattern);
        let kept: Vec<String> = selected.into_iter().filter(|path| path != "." && !self.excludes(path, &base)).collect();
        if kept.is_empty() {
            return Err(OperationError::AllExcluded(pattern.to_owned(), alias.to_owned()));
        }
        for path in kept {
            if self.strategy == Strategy::Extract {
                // Whatever else the pattern selects is passed over.
                if extract::is_archive(&path) {
                    let failed = |error| OperationError::Extract(path.clone(), to.to_owned(), error);
                    self.extract(&path, to, staging).map_err(failed)?;
                }
                continue;
            }
            let target = target_of(pattern, &path, to);
            let copied = match self.source.kind(&path) {
                Some(Kind::Dir) => self.folder(&path, &target, &base, staging),
                _ => self.file(&path, &target, staging),
            };
            copied.map_err(|error| OperationError::Copy(path, target, Box::new(error)))?;
        }
        Ok(())
    }

    /// A path that is no pattern: a folder becomes a folder below `to`, a file goes to that name or into that folder.
    fn one(&self, path: &str, to: &str, staging: &mut Staging) -> Result<(), OperationError> {
        let path = lexical(path);
        let kind = self.stat(&path)?;
        let name = path.rsplit('/').next().unwrap_or(&path);
        if kind == Kind::Dir {
            if self.strategy == Strategy::Extract {
                return Err(OperationError::ExtractFolder(path));
            }
            return self.folder(&path, &below(to, name), &path, staging);
        }
        if self.excludes(&path, ".") {
            return Ok(());
        }
        if self.strategy == Strategy::Extract {
            if !extract::is_archive(&path) {
                return Err(OperationError::NotArchive(path));
            }
            return Ok(self.extract(&path, to, staging)?);
        }
        let into = to.is_empty() || to.ends_with('/') || staging.kind(to) == Some(Kind::Dir);
        let target = if into { below(to, name) } else { to.to_owned() };
        self.file(&path, &target, staging)
    }

    fn stat(&self, path: &str) -> Result<Kind, OperationError> {
        let stat = |error: fn(String) -> PlaceError| OperationError::Stat(path.to_owned(), error(path.to_owned()));
        if path.starts_with('/') || path == ".." || path.starts_with("../") {
            return Err(stat(|path| PlaceError::Escapes { operation: "statat", path }));
        }
        if let Some(kind) = self.source.kind(if path == "." { "" } else { path }) {
            return Ok(kind);
        }
        let mut above = tree::parent(path);
        while !above.is_empty() {
            if self.source.kind(above) == Some(Kind::File) {
                return Err(stat(|path| PlaceError::NotADirectory { operation: "statat", path }));
            }
            above = tree::parent(above);
        }
        Err(OperationError::Missing(path.to_owned()))
    }

    /// A file that was selected itself: it is merged where that is asked for.
    fn file(&self, path: &str, target: &str, staging: &mut Staging) -> Result<(), OperationError> {
        let Some(Entry::File { bytes, executable }) = self.source.get(path) else {
            return Err(OperationError::Missing(path.to_owned()));
        };
        if self.strategy == Strategy::Merge && staging.kind(target).is_some() {
            let there = staging.file(target);
            let (old, executable) = there.ok_or_else(|| PlaceError::IsADirectory { operation: "read", path: lexical(target) })?;
            let merged = yaml_merge::merge(&old, bytes)?;
            return Ok(staging.put(target, merged.into(), executable)?);
        }
        put(staging, target, bytes.clone(), *executable)
    }

    /// A folder with all that is below it, but what is excluded.
    fn folder(&self, path: &str, target: &str, base: &str, staging: &mut Staging) -> Result<(), OperationError> {
        staging.make_folder(target)?;
        let root = if path == "." { "" } else { path };
        let at = |name: &str| if root.is_empty() { name.to_owned() } else { format!("{root}/{name}") };
        let mut pending: Vec<String> = self.source.list(root).unwrap_or_default().iter().rev().map(|name| at(name)).collect();
        while let Some(path) = pending.pop() {
            if self.excludes(&path, base) {
                continue;
            }
            let relative = path[root.len()..].trim_start_matches('/');
            let target = below(target, relative);
            match self.source.get(&path) {
                Some(Entry::File { bytes, executable }) => put(staging, &target, bytes.clone(), *executable)?,
                Some(Entry::Dir) => {
                    staging.make_folder(&target)?;
                    let names = self.source.list(&path).unwrap_or_default();
                    pending.extend(names.iter().rev().map(|name| format!("{path}/{name}")));
                }
                None => {}
            }
        }
        Ok(())
    }

    fn extract(&self, path: &str, to: &str, staging: &mut Staging) -> Result<(), ExtractError> {
        let bytes = self.source.bytes(path).unwrap_or_default();
        extract::extract(path, &bytes, &lexical(to), staging)
    }

    /// Whether a path stays out: by its own text, by its text below the fixed part of what is copied, or by its name.
    fn excludes(&self, path: &str, base: &str) -> bool {
        let excluded = |path: &str| {
            let name = path.rsplit('/').next().unwrap_or(path);
            self.excludes.iter().any(|pattern| pattern.matches(path) || pattern.is_name && pattern.matches(name))
        };
        if self.excludes.is_empty() {
            return false;
        }
        let below_base = path.strip_prefix(base).and_then(|rest| rest.strip_prefix('/'));
        excluded(path) || below_base.is_some_and(excluded)
    }
}

/// Puts a file, and makes the folders above it.
fn put(staging: &mut Staging, target: &str, bytes: Bytes, executable: bool) -> Result<(), OperationError> {
    let folder = folder_of(target);
    if folder != "." {
        staging.make_folder(&folder).map_err(OperationError::Folder)?;
    }
    Ok(staging.put(target, bytes, executable)?)
}

/// The part of a pattern before the first name that is a pattern; `.` where there is none.
fn fixed_part(pattern: &str) -> String {
    let clean = lexical(pattern);
    let parts: Vec<&str> = clean.split('/').take_while(|part| !glob::is_pattern(part)).collect();
    lexical(&parts.join("/"))
}

/// Where a selected path goes: `folder/**` leaves the folder behind, every other pattern keeps the whole path.
fn target_of(pattern: &str, path: &str, to: &str) -> String {
    let left_behind = pattern.strip_suffix("/**").and_then(|folder| path.strip_prefix(folder)?.strip_prefix('/'));
    below(to, left_behind.unwrap_or(path))
}

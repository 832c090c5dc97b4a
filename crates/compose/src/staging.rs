use crate::Limits;
use bytes::Bytes;
use tree::{Entry, Kind, MemoryTree, Tree, clean, parent};

/// Why something cannot stand where it should, in the words of Go's confined file system.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlaceError {
    #[error("{operation} {path}: path escapes from parent")]
    Escapes { operation: &'static str, path: String },
    #[error("{operation} {path}: not a directory")]
    NotADirectory { operation: &'static str, path: String },
    #[error("{operation} {path}: is a directory")]
    IsADirectory { operation: &'static str, path: String },
    #[error("the artifact holds more than {0} bytes")]
    TooLarge(u64),
    #[error("more than {0} files and folders are copied into the artifact")]
    TooMany(usize),
}

/// An output while it is put together.
pub(crate) struct Staging {
    tree: MemoryTree,
    size: u64,
    steps: usize,
    limits: Limits,
}

impl Staging {
    pub(crate) fn new(limits: Limits) -> Self {
        Self { tree: MemoryTree::new(), size: 0, steps: 0, limits }
    }

    pub(crate) fn finish(self) -> MemoryTree {
        self.tree
    }

    pub(crate) fn limits(&self) -> Limits {
        self.limits
    }

    /// What stands at a path; nothing stands outside.
    pub(crate) fn kind(&self, path: &str) -> Option<Kind> {
        self.tree.kind(&confined("statat", path).ok()?)
    }

    pub(crate) fn file(&self, path: &str) -> Option<(Bytes, bool)> {
        match self.tree.get(&clean(path)?) {
            Some(Entry::File { bytes, executable }) => Some((bytes.clone(), *executable)),
            _ => None,
        }
    }

    /// Makes a folder and those above it.
    pub(crate) fn make_folder(&mut self, path: &str) -> Result<(), PlaceError> {
        let at = confined("mkdirat", path)?;
        self.step()?;
        match self.tree.kind(&at) {
            // Whatever stands there already counts as the folder: the first file below it tells the difference.
            Some(_) => Ok(()),
            None if self.tree.insert_dir(&at) => Ok(()),
            None => Err(PlaceError::NotADirectory { operation: "mkdirat", path: at }),
        }
    }

    /// Puts a file where its folder is.
    pub(crate) fn put(&mut self, path: &str, bytes: Bytes, executable: bool) -> Result<(), PlaceError> {
        let at = confined("openat", path)?;
        self.step()?;
        let replaced = match self.tree.get(&at) {
            Some(Entry::Dir) => return Err(PlaceError::IsADirectory { operation: "openat", path: at }),
            Some(Entry::File { bytes, .. }) => bytes.len() as u64,
            None if at.is_empty() => return Err(PlaceError::IsADirectory { operation: "openat", path: ".".to_owned() }),
            None => 0,
        };
        let size = self.size - replaced + bytes.len() as u64;
        if size > self.limits.size_max {
            return Err(PlaceError::TooLarge(self.limits.size_max));
        }
        if !self.tree.insert(&at, bytes, executable) {
            return Err(PlaceError::NotADirectory { operation: "openat", path: at });
        }
        self.size = size;
        Ok(())
    }

    fn step(&mut self) -> Result<(), PlaceError> {
        self.steps += 1;
        if self.steps > self.limits.steps_max { Err(PlaceError::TooMany(self.limits.steps_max)) } else { Ok(()) }
    }
}

/// The clean form of a path, or an error that names the first folder on the way out.
fn confined(operation: &'static str, path: &str) -> Result<String, PlaceError> {
    let escapes = |path: String| PlaceError::Escapes { operation, path };
    if path.starts_with('/') {
        return Err(escapes("/".to_owned()));
    }
    clean(path).ok_or_else(|| match operation {
        // Folders are made from the top, so the one that is refused is the topmost.
        "mkdirat" => escapes("..".to_owned()),
        _ => escapes(path.to_owned()),
    })
}

/// `path` below `folder`, without `.` and `..` that the folder can take in; `..` at the front stays, and is refused later.
pub(crate) fn below(folder: &str, path: &str) -> String {
    let joined = match (folder, path) {
        ("", path) => path.to_owned(),
        (folder, path) => format!("{folder}/{path}"),
    };
    lexical(&joined)
}

/// A path in its shortest form, as Go's `filepath.Clean` has it.
pub(crate) fn lexical(path: &str) -> String {
    let rooted = path.starts_with('/');
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|last| *last != "..") => {
                parts.pop();
            }
            ".." if rooted => {}
            part => parts.push(part),
        }
    }
    match (rooted, parts.is_empty()) {
        (true, _) => format!("/{}", parts.join("/")),
        (false, true) => ".".to_owned(),
        (false, false) => parts.join("/"),
    }
}

/// The folder of a path; the root is `.`.
pub(crate) fn folder_of(path: &str) -> String {
    match (path.starts_with('/'), parent(path)) {
        (true, "") => "/".to_owned(),
        (_, folder) => lexical(folder),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_cleaned_as_in_go() {
        let table = [
            ("", "."),
            (".", "."),
            ("a//b/./c/", "a/b/c"),
            ("a/../b", "b"),
            ("../../a", "../../a"),
            ("a/../../b", "../b"),
            ("/../a", "/a"),
        ];
        for (path, expected) in table {
            assert_eq!(lexical(path), expected, "{path:?}");
        }
        assert_eq!((folder_of("a/b").as_str(), folder_of("a").as_str(), folder_of("/a").as_str()), ("a", ".", "/"));
        assert_eq!((below("", "x").as_str(), below("a/", "x").as_str(), below("..", "x").as_str()), ("x", "a/x", "../x"));
    }

    #[test]
    fn what_stands_in_the_way_is_told_as_go_does() {
        let mut staging = Staging::new(Limits::default());
        staging.put("f", Bytes::from_static(b"1"), false).unwrap();
        staging.make_folder("d/e").unwrap();
        let text = |outcome: Result<(), PlaceError>| outcome.unwrap_err().to_string();
        assert_eq!(text(staging.put("d", Bytes::new(), false)), "openat d: is a directory");
        assert_eq!(text(staging.put("f/x", Bytes::new(), false)), "openat f/x: not a directory");
        assert_eq!(text(staging.make_folder("f/x")), "mkdirat f/x: not a directory");
        assert_eq!(text(staging.make_folder("../x")), "mkdirat ..: path escapes from parent");
        assert_eq!(text(staging.make_folder("/x")), "mkdirat /: path escapes from parent");
        assert_eq!(text(staging.put(".", Bytes::new(), false)), "openat .: is a directory");
        assert_eq!((staging.kind("../f"), staging.kind("d/../f")), (None, Some(Kind::File)));
    }

    #[test]
    fn sizes_and_steps_are_bounded_and_replaced_files_count_once() {
        let limits = Limits { size_max: 10, steps_max: 6, ..Limits::default() };
        let mut staging = Staging::new(limits);
        for _ in 0..4 {
            staging.put("f", Bytes::from_static(&[0; 8]), false).unwrap();
        }
        assert_eq!(staging.put("g", Bytes::from_static(&[0; 8]), false), Err(PlaceError::TooLarge(10)));
        staging.put("g", Bytes::from_static(&[0; 2]), false).unwrap();
        assert_eq!(staging.put("h", Bytes::new(), false), Err(PlaceError::TooMany(6)));
    }
}

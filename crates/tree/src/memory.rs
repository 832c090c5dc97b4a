use crate::{Kind, Tree, clean, parent};
use bytes::Bytes;
use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
};

/// One entry of a tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    File { bytes: Bytes, executable: bool },
    Dir,
}

/// A whole tree in memory. Parents exist as soon as a child does.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MemoryTree {
    entries: BTreeMap<String, Entry>,
    children: BTreeMap<String, BTreeSet<String>>,
}

impl MemoryTree {
    pub fn new() -> Self {
        Self::default()
    }

    /// Puts a file at a clean path; what stood there is replaced.
    ///
    /// Returns false, and changes nothing, when the path is not clean, or when a parent of it is a file or it is a directory.
    pub fn insert(&mut self, path: &str, bytes: impl Into<Bytes>, executable: bool) -> bool {
        if path.is_empty() || clean(path).as_deref() != Some(path) || self.children.contains_key(path) || !self.insert_dir(parent(path)) {
            return false;
        }
        self.link(path);
        self.entries.insert(path.to_owned(), Entry::File { bytes: bytes.into(), executable });
        true
    }

    /// Makes a directory and its parents. Returns false when the path is not clean or a file stands in the way.
    pub fn insert_dir(&mut self, path: &str) -> bool {
        if clean(path).as_deref() != Some(path) {
            return false;
        }
        let mut at = path;
        while !at.is_empty() {
            if matches!(self.entries.get(at), Some(Entry::File { .. })) {
                return false;
            }
            at = parent(at);
        }
        let mut at = path;
        loop {
            self.children.entry(at.to_owned()).or_default();
            if at.is_empty() {
                return true;
            }
            self.entries.insert(at.to_owned(), Entry::Dir);
            self.link(at);
            at = parent(at);
        }
    }

    /// Removes the file at `path`; directories stay.
    pub fn remove(&mut self, path: &str) -> bool {
        if !matches!(self.entries.get(path), Some(Entry::File { .. })) {
            return false;
        }
        self.entries.remove(path);
        if let (Some(siblings), Some(name)) = (self.children.get_mut(parent(path)), path.rsplit('/').next()) {
            siblings.remove(name);
        }
        true
    }

    /// Every entry but the root, in byte order of paths.
    pub fn entries(&self) -> impl Iterator<Item = (&str, &Entry)> {
        self.entries.iter().map(|(path, entry)| (path.as_str(), entry))
    }

    pub fn get(&self, path: &str) -> Option<&Entry> {
        self.entries.get(path)
    }

    /// The bytes of a file, shared.
    pub fn bytes(&self, path: &str) -> Option<Bytes> {
        match self.entries.get(path) {
            Some(Entry::File { bytes, .. }) => Some(bytes.clone()),
            _ => None,
        }
    }

    /// Bytes of all files together.
    pub fn size(&self) -> usize {
        self.entries.values().map(|e| if let Entry::File { bytes, .. } = e { bytes.len() } else { 0 }).sum()
    }

    fn link(&mut self, path: &str) {
        let name = path.rsplit('/').next().unwrap_or(path);
        self.children.entry(parent(path).to_owned()).or_default().insert(name.to_owned());
    }
}

impl Tree for MemoryTree {
    fn kind(&self, path: &str) -> Option<Kind> {
        match self.entries.get(path) {
            Some(Entry::File { .. }) => Some(Kind::File),
            Some(Entry::Dir) => Some(Kind::Dir),
            None => path.is_empty().then_some(Kind::Dir),
        }
    }

    fn read(&self, path: &str) -> Option<Cow<'_, [u8]>> {
        match self.entries.get(path) {
            Some(Entry::File { bytes, .. }) => Some(Cow::Borrowed(bytes)),
            _ => None,
        }
    }

    fn bytes(&self, path: &str) -> Option<Bytes> {
        Self::bytes(self, path)
    }

    fn list(&self, path: &str) -> Option<Vec<String>> {
        match self.children.get(path) {
            Some(names) => Some(names.iter().cloned().collect()),
            None => path.is_empty().then(Vec::new),
        }
    }

    fn is_executable(&self, path: &str) -> bool {
        matches!(self.entries.get(path), Some(Entry::File { executable: true, .. }))
    }
}

impl<P: AsRef<str>, B: Into<Bytes>> FromIterator<(P, B)> for MemoryTree {
    /// Files by path; unclean paths are left out.
    fn from_iter<I: IntoIterator<Item = (P, B)>>(files: I) -> Self {
        let mut tree = Self::new();
        for (path, bytes) in files {
            tree.insert(path.as_ref(), bytes, false);
        }
        tree
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parents_exist_with_their_children() {
        let mut tree = MemoryTree::from_iter([("a/b/c.yaml", "x"), ("a/d", "y"), ("../evil", "z")]);
        assert_eq!(tree.list(""), Some(vec!["a".to_owned()]));
        assert_eq!(tree.list("a"), Some(vec!["b".to_owned(), "d".to_owned()]));
        assert_eq!((tree.kind("a/b"), tree.kind("a/d"), tree.kind("evil")), (Some(Kind::Dir), Some(Kind::File), None));
        assert!(!tree.insert("a/d/e", "no", false), "a file is no directory");
        assert!(!tree.insert("a/b", "no", false), "a directory is no file");
        assert!(tree.remove("a/d"));
        assert_eq!(tree.list("a"), Some(vec!["b".to_owned()]));
    }
}

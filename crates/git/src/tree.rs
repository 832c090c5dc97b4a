use crate::{Cause, Limits};
use gix::{ObjectId, ThreadSafeRepository, objs::tree::EntryKind};
use std::{borrow::Cow, collections::BTreeMap};
use tree::{Kind, MemoryTree, Tree};

/// Folders of a path.
const DEPTH_MAX: usize = 100;
/// Bytes of a path.
const PATH_MAX: usize = 4096;

/// The tree of a commit. Names and kinds are known, contents are read from the object database when asked for.
///
/// Symbolic links are not in it: artifacts have none. A submodule that was not fetched is an empty folder.
pub struct GitTree {
    repositories: Vec<ThreadSafeRepository>,
    nodes: BTreeMap<String, Node>,
    children: BTreeMap<String, Vec<String>>,
    size_max: u64,
}

#[derive(Clone, Copy)]
enum Node {
    Dir,
    File { repository: usize, id: ObjectId, executable: bool },
}

/// A place where another repository belongs.
pub(crate) struct Gitlink {
    pub(crate) path: String,
    pub(crate) commit: ObjectId,
}

impl GitTree {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self {
            repositories: Vec::new(),
            nodes: BTreeMap::new(),
            children: BTreeMap::from([(String::new(), Vec::new())]),
            size_max: limits.tree_size_max,
        }
    }

    /// Lays the tree `id` of `repository` under `prefix` and gives the submodules in it.
    ///
    /// `keep` says which files are wanted (sparse checkout).
    pub(crate) fn add(
        &mut self,
        repository: &gix::Repository,
        id: ObjectId,
        prefix: &str,
        limits: &Limits,
        keep: &dyn Fn(&str) -> bool,
    ) -> Result<Vec<Gitlink>, Cause> {
        let index = self.repositories.len();
        self.repositories.push(repository.clone().into_sync());
        let mut links = Vec::new();
        let mut pending = vec![(prefix.to_owned(), id)];
        let mut seen = 0_usize;
        while let Some((folder, id)) = pending.pop() {
            let tree = repository.find_tree(id).map_err(|e| Cause::Protocol(e.to_string()))?;
            for entry in tree.iter() {
                let entry = entry.map_err(|e| Cause::Protocol(e.to_string()))?;
                seen += 1;
                if seen > limits.entries_max {
                    return Err(Cause::TooManyEntries(limits.entries_max));
                }
                let name = String::from_utf8_lossy(entry.filename());
                let path = if folder.is_empty() { name.clone().into_owned() } else { format!("{folder}/{name}") };
                if !is_safe(&name) || path.len() > PATH_MAX || path.split('/').count() > DEPTH_MAX {
                    return Err(Cause::Path(path));
                }
                match entry.kind() {
                    EntryKind::Tree => pending.push((path, entry.object_id())),
                    kind @ (EntryKind::Blob | EntryKind::BlobExecutable) => {
                        if keep(&path) {
                            let node =
                                Node::File { repository: index, id: entry.object_id(), executable: kind == EntryKind::BlobExecutable };
                            self.insert(path, node);
                        }
                    }
                    EntryKind::Commit => {
                        if keep(&path) {
                            links.push(Gitlink { path: path.clone(), commit: entry.object_id() });
                            self.insert(path, Node::Dir);
                        }
                    }
                    EntryKind::Link => {}
                }
            }
        }
        if self.nodes.len() > limits.entries_max {
            return Err(Cause::TooManyEntries(limits.entries_max));
        }
        Ok(links)
    }

    fn insert(&mut self, path: String, node: Node) {
        let mut at = path.as_str();
        loop {
            let folder = tree::parent(at);
            let name = at.rsplit('/').next().unwrap_or(at).to_owned();
            let known = self.children.contains_key(folder);
            let names = self.children.entry(folder.to_owned()).or_default();
            if let Err(place) = names.binary_search(&name) {
                names.insert(place, name);
            }
            if known || folder.is_empty() {
                break;
            }
            self.nodes.insert(folder.to_owned(), Node::Dir);
            at = folder;
        }
        if matches!(node, Node::Dir) {
            self.children.entry(path.clone()).or_default();
        }
        self.nodes.insert(path, node);
    }

    /// Number of files and folders.
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// Bytes of all files together, from the headers of their objects; an error when they are too many or one is missing.
    pub(crate) fn check_size(&self, limits: &Limits) -> Result<u64, Cause> {
        let repositories: Vec<gix::Repository> = self.repositories.iter().map(ThreadSafeRepository::to_thread_local).collect();
        let mut total = 0_u64;
        for (path, node) in &self.nodes {
            let Node::File { repository, id, .. } = node else { continue };
            let size = repositories[*repository].find_header(*id).map_err(|e| Cause::Protocol(e.to_string()))?.size();
            if size > limits.file_size_max {
                return Err(Cause::FileTooLarge { path: path.clone(), limit: limits.file_size_max });
            }
            total = total.saturating_add(size);
            if total > limits.tree_size_max {
                return Err(Cause::TreeTooLarge(limits.tree_size_max));
            }
        }
        Ok(total)
    }

    /// The whole tree with its contents.
    pub fn to_memory(&self) -> Result<MemoryTree, Cause> {
        let mut out = MemoryTree::new();
        let mut total = 0_u64;
        for (path, node) in &self.nodes {
            let placed = match node {
                Node::Dir => out.insert_dir(path),
                Node::File { executable, .. } => {
                    let bytes = self.read(path).ok_or_else(|| Cause::Protocol(format!("cannot read {path:?} from the object database")))?;
                    total += bytes.len() as u64;
                    if total > self.size_max {
                        return Err(Cause::TreeTooLarge(self.size_max));
                    }
                    out.insert(path, bytes.into_owned(), *executable)
                }
            };
            if !placed {
                return Err(Cause::Path(path.clone()));
            }
        }
        Ok(out)
    }
}

impl Tree for GitTree {
    fn kind(&self, path: &str) -> Option<Kind> {
        match self.nodes.get(path) {
            Some(Node::File { .. }) => Some(Kind::File),
            Some(Node::Dir) => Some(Kind::Dir),
            None => path.is_empty().then_some(Kind::Dir),
        }
    }

    fn read(&self, path: &str) -> Option<Cow<'_, [u8]>> {
        let Some(Node::File { repository, id, .. }) = self.nodes.get(path) else { return None };
        let repository = self.repositories[*repository].to_thread_local();
        let mut blob = repository.find_blob(*id).ok()?;
        Some(Cow::Owned(blob.take_data()))
    }

    fn list(&self, path: &str) -> Option<Vec<String>> {
        self.children.get(path).cloned()
    }

    fn is_executable(&self, path: &str) -> bool {
        matches!(self.nodes.get(path), Some(Node::File { executable: true, .. }))
    }
}

/// Whether a name of a tree object may stand in a path; a `.git` of any spelling never may (CVE-2014-9390).
fn is_safe(name: &str) -> bool {
    !name.is_empty() && name != "." && name != ".." && !name.eq_ignore_ascii_case(".git") && !name.contains(['/', '\\', '\0'])
}

#[cfg(test)]
mod tests {
    use super::is_safe;

    #[test]
    fn names_that_could_leave_the_tree_are_not_safe() {
        for bad in ["", ".", "..", ".git", ".GIT", "a/b", "a\\b", "a\0"] {
            assert!(!is_safe(bad), "{bad:?}");
        }
        assert!(is_safe(".gitignore") && is_safe("…"));
    }
}

use crate::{Entry, MemoryTree, Tree};

/// Visits every entry but the root, a folder before its children, names of a folder in byte order.
///
/// This is the order of a file system walk, which differs from the byte order of paths: `a/b` comes before `a-b`.
pub fn walk<'t>(tree: &'t MemoryTree, visit: &mut dyn FnMut(&'t str, &'t Entry)) {
    let mut pending = children(tree, "");
    while let Some(path) = pending.pop() {
        let Some((path, entry)) = tree.entry(&path) else { continue };
        visit(path, entry);
        if matches!(entry, Entry::Dir) {
            pending.extend(children(tree, path));
        }
    }
}

/// Paths of the entries in `folder`, last first.
fn children(tree: &MemoryTree, folder: &str) -> Vec<String> {
    let names = tree.list(folder).unwrap_or_default();
    names.into_iter().rev().map(|name| if folder.is_empty() { name } else { format!("{folder}/{name}") }).collect()
}

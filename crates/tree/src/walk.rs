use crate::{Kind, Tree};

/// Visits every entry but the root, a folder before its children, names of a folder in byte order.
///
/// This is the order of a file system walk, which differs from the byte order of paths: `a/b` comes before `a-b`.
/// The first error of `visit` ends the walk.
pub fn walk<E>(tree: &dyn Tree, visit: &mut dyn FnMut(&str, Kind) -> Result<(), E>) -> Result<(), E> {
    let mut pending = children(tree, "");
    while let Some(path) = pending.pop() {
        let Some(kind) = tree.kind(&path) else { continue };
        visit(&path, kind)?;
        if kind == Kind::Dir {
            pending.extend(children(tree, &path));
        }
    }
    Ok(())
}

/// Paths of the entries in `folder`, last first.
fn children(tree: &dyn Tree, folder: &str) -> Vec<String> {
    let names = tree.list(folder).unwrap_or_default();
    names.into_iter().rev().map(|name| if folder.is_empty() { name } else { format!("{folder}/{name}") }).collect()
}

//! A directory as it is saved now, read into memory.

use std::{fs, io, path::Path};
use tree::{Kind, MemoryTree, ignore::Rules};

/// A platform repository is small; more than this is a wrong directory.
const BYTES_MAX: u64 = 256 << 20;
const FILES_MAX: usize = 100_000;

/// Why a directory cannot become a revision.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot read {path:?}")]
    Read { path: String, source: io::Error },
    #[error("{0:?} holds more than {FILES_MAX} files or {BYTES_MAX} bytes; is it the directory that you meant?")]
    TooLarge(String),
}

/// Reads every regular file below `directory`, but `.git` and what its `.gitignore` names.
/// Symbolic links to files inside are followed by content, others are left out.
pub fn read(directory: &Path) -> Result<MemoryTree, Error> {
    let at = |path: &Path, source| Error::Read { path: path.display().to_string(), source };
    let root = directory.canonicalize().map_err(|e| at(directory, e))?;
    let ignored = fs::read_to_string(root.join(".gitignore")).ok().and_then(|text| Rules::only(&text).ok()).unwrap_or_default();
    let mut tree = MemoryTree::new();
    let (mut files, mut bytes) = (0usize, 0u64);
    let mut pending = vec![(root.clone(), String::new())];
    while let Some((path, inside)) = pending.pop() {
        let entries = match fs::read_dir(&path) {
            Ok(entries) => entries,
            // A directory that vanished while we were reading is simply not part of this state.
            Err(e) if e.kind() == io::ErrorKind::NotFound && !inside.is_empty() => continue,
            Err(e) => return Err(at(&path, e)),
        };
        for entry in entries {
            let entry = entry.map_err(|e| at(&path, e))?;
            let Ok(name) = entry.file_name().into_string() else { continue };
            let inner = if inside.is_empty() { name.clone() } else { format!("{inside}/{name}") };
            let target = match entry.path().canonicalize() {
                Ok(target) if target.starts_with(&root) => target,
                _ => continue,
            };
            let Ok(meta) = fs::metadata(&target) else { continue };
            let is_link = entry.file_type().is_ok_and(|kind| kind.is_symlink());
            let kind = if meta.is_dir() { Kind::Dir } else { Kind::File };
            if name == ".git" || ignored.excludes(&inner, kind) {
                continue;
            }
            if meta.is_dir() {
                if !is_link {
                    pending.push((entry.path(), inner));
                }
            } else if meta.is_file() {
                files += 1;
                bytes += meta.len();
                if files > FILES_MAX || bytes > BYTES_MAX {
                    return Err(Error::TooLarge(directory.display().to_string()));
                }
                match fs::read(&target) {
                    Ok(content) => {
                        tree.insert(&inner, content, is_executable(&meta));
                    }
                    Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                    Err(e) => return Err(at(&target, e)),
                }
            }
        }
    }
    Ok(tree)
}

#[cfg(unix)]
fn is_executable(meta: &fs::Metadata) -> bool {
    use std::os::unix::fs::PermissionsExt;
    meta.permissions().mode() & 0o100 != 0
}

#[cfg(not(unix))]
fn is_executable(_: &fs::Metadata) -> bool {
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use tree::Tree;

    #[test]
    fn reads_files_and_leaves_out_git_and_what_lies_outside() {
        let outside = tempfile::tempdir().unwrap();
        fs::write(outside.path().join("secret"), "no").unwrap();
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path();
        fs::create_dir_all(root.join("apps/.git")).unwrap();
        fs::write(root.join("apps/a.yaml"), "a: 1\n").unwrap();
        fs::write(root.join("apps/.git/HEAD"), "ref").unwrap();
        fs::create_dir_all(root.join("out/deep")).unwrap();
        fs::write(root.join("out/deep/x.yaml"), "x").unwrap();
        fs::write(root.join(".gitignore"), "/out/\n*.tmp\n").unwrap();
        fs::write(root.join("apps/a.tmp"), "x").unwrap();
        #[cfg(unix)]
        {
            std::os::unix::fs::symlink(outside.path().join("secret"), root.join("leak")).unwrap();
            std::os::unix::fs::symlink(root.join("apps/a.yaml"), root.join("link.yaml")).unwrap();
        }
        let tree = read(root).unwrap();
        assert_eq!(tree.read("apps/a.yaml").as_deref(), Some(b"a: 1\n".as_slice()));
        assert_eq!(tree.kind("apps/.git/HEAD"), None);
        assert_eq!((tree.kind("leak"), tree.kind("out/deep/x.yaml"), tree.kind("apps/a.tmp")), (None, None, None));
        #[cfg(unix)]
        assert_eq!(tree.read("link.yaml").as_deref(), Some(b"a: 1\n".as_slice()));
        assert!(matches!(read(&root.join("nope")), Err(Error::Read { .. })));
    }
}

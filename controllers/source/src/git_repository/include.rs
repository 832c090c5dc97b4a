//! Laying the artifacts of other repositories into a tree. Pure.

use crate::paths::inside;
use crate::problem::Problem;
use api::meta::STORAGE_OPERATION_FAILED;
use tree::{Entry, Kind, MemoryTree, Tree};

/// What of another repository goes where.
pub(super) struct Part {
    /// Name of the other repository.
    pub(super) name: String,
    pub(super) from: String,
    pub(super) to: String,
    pub(super) tree: MemoryTree,
}

/// Copies each part to its place, in order. A place that is taken is an error, as it is for Flux, which moves folders.
pub(super) fn compose(mut base: MemoryTree, parts: Vec<Part>) -> Result<MemoryTree, Problem> {
    for part in parts {
        let failed = |why: String| {
            let message = format!("failed to copy '{}' include from {} to {}: {why}", part.name, part.from, part.to);
            Problem::of(STORAGE_OPERATION_FAILED, "CopyFailure", message)
        };
        let (from, to) = (inside(&part.from), inside(&part.to));
        let kind = part.tree.kind(&from).ok_or_else(|| failed(format!("{:?} does not exist in its artifact", part.from)))?;
        match (base.kind(&to), kind) {
            (Some(Kind::Dir), _) | (Some(Kind::File), Kind::Dir) => return Err(failed(format!("{:?} exists already", part.to))),
            (Some(Kind::File), Kind::File) | (None, _) => {}
        }
        if kind == Kind::File {
            let bytes = part.tree.bytes(&from).unwrap_or_default();
            if !base.insert(&to, bytes, part.tree.is_executable(&from)) {
                return Err(failed(format!("{:?} is below a file", part.to)));
            }
            continue;
        }
        if !base.insert_dir(&to) {
            return Err(failed(format!("{:?} is below a file", part.to)));
        }
        let prefix = if from.is_empty() { String::new() } else { format!("{from}/") };
        for (path, entry) in part.tree.entries() {
            let Some(below) = path.strip_prefix(&prefix) else { continue };
            let target = format!("{to}/{below}");
            match entry {
                Entry::Dir => base.insert_dir(&target),
                Entry::File { bytes, executable } => base.insert(&target, bytes.clone(), *executable),
            };
        }
    }
    Ok(base)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn composed(from: &str, to: &str) -> Result<Vec<String>, String> {
        let base = MemoryTree::from_iter([("deploy/a.yaml", "a"), ("file", "f")]);
        let tree = MemoryTree::from_iter([("x.yaml", "x"), ("sub/y.yaml", "y"), ("subway", "z")]);
        let part = Part { name: "lib".into(), from: from.into(), to: to.into(), tree };
        let files = |tree: MemoryTree| tree.entries().filter(|(_, e)| **e != Entry::Dir).map(|(p, _)| p.to_owned()).collect();
        compose(base, vec![part]).map(files).map_err(|p| p.message)
    }

    #[test]
    fn parts_go_where_they_are_asked_to_and_stay_inside() {
        let with = |more: &[&str]| {
            let mut all = vec!["deploy/a.yaml".to_owned(), "file".to_owned()];
            all.extend(more.iter().map(|m| (*m).to_owned()));
            all.sort();
            Ok(all)
        };
        assert_eq!(composed("", "lib"), with(&["lib/sub/y.yaml", "lib/subway", "lib/x.yaml"]));
        assert_eq!(composed("sub", "deploy/lib"), with(&["deploy/lib/y.yaml"]));
        assert_eq!(composed("/x.yaml", "../../x.yaml"), with(&["x.yaml"]));
        assert_eq!(composed("x.yaml", "file"), Ok(vec!["deploy/a.yaml".to_owned(), "file".to_owned()]), "a file replaces a file");
    }

    #[test]
    fn taken_and_missing_places_are_errors_that_name_them() {
        assert_eq!(composed("", "deploy").unwrap_err(), "failed to copy 'lib' include from  to deploy: \"deploy\" exists already");
        assert!(composed("", "./").unwrap_err().contains("exists already"));
        assert!(composed("nope", "lib").unwrap_err().contains("\"nope\" does not exist"));
        assert!(composed("", "file/lib").unwrap_err().contains("below a file"));
    }
}

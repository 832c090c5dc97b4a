//! Writing: a tree as the next commit of a bare repository.

use crate::{Error, cache::open_bare};
use gix::objs::tree::EntryKind;
use std::{io, path::Path};
use tree::{Kind, Tree, walk};

/// The branch that commits go to.
pub const BRANCH: &str = "main";

/// Makes `tree` the next commit of branch `main` of the bare repository at `path`, which is made where there is none.
/// Gives the commit in hexadecimal; the last one when the tree has not changed.
///
/// `seconds` is the time of the commit, since 1970.
pub fn commit_tree(path: &Path, tree: &dyn Tree, message: &str, seconds: i64) -> Result<String, Error> {
    let broken = |error: gix::Error| Error::Cache(io::Error::other(types::chain(&error)));
    std::fs::create_dir_all(path).map_err(Error::Cache)?;
    let repository = open_bare(path)?;
    let mut editor = repository.empty_tree().edit().map_err(broken)?;
    walk(tree, &mut |path, kind| {
        if kind == Kind::File {
            let bytes = tree.read(path).ok_or_else(|| Error::Cache(io::Error::other(format!("cannot read {path:?}"))))?;
            let id = repository.write_blob(&bytes).map_err(broken)?;
            let mode = if tree.is_executable(path) { EntryKind::BlobExecutable } else { EntryKind::Blob };
            editor.upsert(path, mode, id).map_err(broken)?;
        }
        Ok(())
    })?;
    let id = editor.write().map_err(broken)?;
    let branch = format!("refs/heads/{BRANCH}");
    let parent = repository.try_find_reference(&branch).map_err(broken)?.map(|mut r| r.peel_to_commit()).transpose().map_err(broken)?;
    if let Some(parent) = &parent
        && parent.tree_id().map_err(broken)? == id
    {
        return Ok(parent.id().to_string());
    }
    let time = format!("{seconds} +0000");
    let signature = gix::actor::SignatureRef { name: "sluice".into(), email: "sluice@localhost".into(), time: &time };
    let parents: Vec<gix::ObjectId> = parent.iter().map(|p| p.id).collect();
    let commit = repository.commit_as(signature, signature, branch.as_str(), message, id, parents).map_err(broken)?;
    Ok(commit.to_string())
}

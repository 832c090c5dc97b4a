//! Pushing: edits become the next commit of a branch on the server.
//!
//! ```text
//! the branch as it is now -> tree -> edits (caller) -> tree, commit -> pack of what the server lacks -> receive-pack
//!        ^                                                                                                |
//!        +---------------- the branch moved meanwhile: once more, on top of what is there now ------------+
//! ```
//!
//! Nothing is ever forced: a branch that moved is looked at again, and the edits are made anew.

use crate::client::{Found, Limits, find, get, guarded, list_refs};
use crate::session::{Service, Shared, transport};
use crate::{Access, Address, Cause, Client, Error, GitTree, pack, pkt};
use bytes::Bytes;
use gix::ObjectId;
use gix::objs::tree::EntryKind;
use gix_transport::Service as Pack;
use gix_transport::client::{MessageKind, WriteMode, blocking_io::Transport};
use std::io::{Read, Write};
use std::sync::PoisonError;
use std::time::{Duration, Instant};
use tree::Tree;

/// How often a commit is made anew because the branch moved.
const ATTEMPTS_MAX: usize = 4;
/// Bytes of references and reports that a server may send.
const ANSWER_MAX: u64 = 64 << 20;

/// One change of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Edit {
    Write {
        path: String,
        content: Bytes,
        executable: bool,
    },
    /// Removes a file or a folder; what is not there need not be removed.
    Remove {
        path: String,
    },
}

/// Who makes a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Author {
    pub name: String,
    pub email: String,
}

/// A commit to be made.
#[derive(Debug, Clone)]
pub struct NewCommit {
    /// The branch that gets it; made where it is not there.
    pub branch: String,
    /// The branch that a new one starts from; without one it starts from nothing.
    pub base: Option<String>,
    pub message: String,
    pub author: Author,
    /// The time of the commit, since 1970.
    pub seconds: i64,
}

/// What was pushed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pushed {
    /// The new commit, in hexadecimal.
    pub commit: String,
    /// What it stands on.
    pub parent: Option<String>,
}

/// What a branch is now, and what the commit stands on.
struct Base {
    /// The commit that the server has at the branch; the update is refused when it is another.
    at: Option<ObjectId>,
    parent: Option<ObjectId>,
}

/// How the server answered.
enum Answer {
    Taken,
    Moved,
}

impl Client {
    /// Makes a commit of `edits` on the branch and pushes it; `None` when they change nothing.
    ///
    /// `edits` gets the files of the branch as they are, and is asked again when the branch moved meanwhile.
    pub fn commit_and_push(
        &self,
        address: &Address,
        access: &Access,
        timeout: Duration,
        commit: &NewCommit,
        edits: &mut dyn FnMut(&dyn Tree) -> Result<Vec<Edit>, String>,
    ) -> Result<Option<Pushed>, Error> {
        guarded(|| {
            let reference = reference(&commit.branch)?;
            let start = commit.base.as_deref().map(self::reference).transpose()?;
            let deadline = Instant::now() + timeout;
            let failed = |source| Error::Push { url: address.to_string(), source };
            let (lock, path) = self.cache.lock(address);
            let _held = lock.lock().unwrap_or_else(PoisonError::into_inner);
            let repository = self.cache.open(&path)?;
            for _ in 0..ATTEMPTS_MAX {
                let session = self.session(address, access, deadline.saturating_duration_since(Instant::now()), &Limits::default())?;
                let base = base(&repository, &session, address, &reference, start.as_deref()).map_err(failed)?;
                let before = base.parent.map(|parent| tree_of(&repository, parent)).transpose().map_err(failed)?;
                let edits = edits(&files(&repository, before).map_err(failed)?).map_err(Error::Edit)?;
                let after = edited(&repository, before, &edits)?;
                let unchanged = before.unwrap_or_else(|| ObjectId::empty_tree(repository.object_hash())) == after;
                if unchanged && base.at == base.parent {
                    return Ok(None);
                }
                let id = match (unchanged, base.parent) {
                    // A new branch with nothing of its own points at what it starts from.
                    (true, Some(parent)) => parent,
                    _ => write_commit(&repository, commit, after, base.parent).map_err(failed)?,
                };
                let objects = lacking(&repository, id, after, before, base.parent).map_err(failed)?;
                match send(&repository, &session, address, &reference, base.at, id, &objects).map_err(failed)? {
                    Answer::Taken => return Ok(Some(Pushed { commit: id.to_string(), parent: base.parent.map(|id| id.to_string()) })),
                    Answer::Moved => tracing::debug!(url = %address, branch = commit.branch, "the branch moved; committing again"),
                }
            }
            Err(Error::Moved { url: address.to_string(), branch: commit.branch.clone(), times: ATTEMPTS_MAX })
        })
    }
}

/// The full name of a branch.
fn reference(branch: &str) -> Result<String, Error> {
    let full = format!("refs/heads/{branch}");
    match gix::refs::FullName::try_from(full.as_str()) {
        Ok(_) if !branch.is_empty() && !branch.starts_with('-') => Ok(full),
        _ => Err(Error::Branch(branch.to_owned())),
    }
}

fn broken(error: impl std::error::Error) -> Cause {
    Cause::Protocol(types::chain(&error))
}

fn base(repository: &gix::Repository, session: &Shared, address: &Address, reference: &str, start: Option<&str>) -> Result<Base, Cause> {
    let look = |name: &str| -> Result<Option<ObjectId>, Cause> {
        let refs = list_refs(repository, session, address, name)?;
        let Some(Found { commit, .. }) = find(&refs, name) else { return Ok(None) };
        get(repository, session, address, name, commit)?;
        Ok(Some(commit))
    };
    let at = look(reference)?;
    let parent = match (at, start) {
        (None, Some(start)) if start != reference => Some(look(start)?.ok_or_else(|| Cause::ReferenceNotFound(start.to_owned()))?),
        _ => at,
    };
    Ok(Base { at, parent })
}

fn tree_of(repository: &gix::Repository, commit: ObjectId) -> Result<ObjectId, Cause> {
    let commit = repository.find_commit(commit).map_err(broken)?;
    Ok(commit.tree_id().map_err(broken)?.detach())
}

/// The files of a tree, for whoever makes edits from them.
fn files(repository: &gix::Repository, root: Option<ObjectId>) -> Result<GitTree, Cause> {
    let limits = Limits::default();
    let mut files = GitTree::new(&limits);
    if let Some(root) = root {
        files.add(repository, root, "", &limits, &|_| true)?;
    }
    Ok(files)
}

fn edited(repository: &gix::Repository, before: Option<ObjectId>, edits: &[Edit]) -> Result<ObjectId, Error> {
    let failed = |error: gix::Error| Error::Edit(types::chain(&error));
    let before = before.unwrap_or_else(|| ObjectId::empty_tree(repository.object_hash()));
    let mut editor = match before.is_empty_tree() {
        true => repository.empty_tree().edit().map_err(failed)?,
        false => repository.edit_tree(before).map_err(failed)?,
    };
    for edit in edits {
        match edit {
            Edit::Write { path, content, executable } => {
                let id = repository.write_blob(content).map_err(failed)?;
                let kind = if *executable { EntryKind::BlobExecutable } else { EntryKind::Blob };
                editor.upsert(safe(path)?, kind, id).map_err(failed)?;
            }
            Edit::Remove { path } => {
                editor.remove(safe(path)?).map_err(failed)?;
            }
        }
    }
    Ok(editor.write().map_err(failed)?.detach())
}

/// A path that every checkout may have: inside, and not of Git's own.
fn safe(path: &str) -> Result<&str, Error> {
    let is_git = |part: &str| part.trim_end_matches([' ', '.']).eq_ignore_ascii_case(".git");
    let good = !path.is_empty() && tree::clean(path).as_deref() == Some(path) && !path.split('/').any(is_git);
    if good && !path.chars().any(char::is_control) { Ok(path) } else { Err(Error::Edit(format!("the path {path:?} is not allowed"))) }
}

fn write_commit(repository: &gix::Repository, commit: &NewCommit, tree: ObjectId, parent: Option<ObjectId>) -> Result<ObjectId, Cause> {
    let time = format!("{} +0000", commit.seconds);
    // Git separates the fields of a signature by these.
    let clean = |text: &str| text.replace(['<', '>', '\n', '\0'], "");
    let (name, email) = (clean(&commit.author.name), clean(&commit.author.email));
    let signature = gix::actor::SignatureRef { name: name.as_str().into(), email: email.as_str().into(), time: &time };
    let made = repository.new_commit_as(signature, signature, &commit.message, tree, parent);
    Ok(made.map_err(broken)?.id)
}

/// What the server needs beside what the commit stands on.
fn lacking(
    repository: &gix::Repository,
    commit: ObjectId,
    after: ObjectId,
    before: Option<ObjectId>,
    parent: Option<ObjectId>,
) -> Result<Vec<ObjectId>, Cause> {
    if parent == Some(commit) {
        return Ok(Vec::new());
    }
    let mut known = std::collections::HashSet::new();
    if let Some(before) = before {
        pack::tree(repository, before, &mut known, &mut Vec::new()).map_err(broken)?;
    }
    let mut objects = vec![commit];
    pack::tree(repository, after, &mut known, &mut objects).map_err(broken)?;
    Ok(objects)
}

/// Sends one update of a reference with its objects.
fn send(
    repository: &gix::Repository,
    session: &Shared,
    address: &Address,
    reference: &str,
    old: Option<ObjectId>,
    new: ObjectId,
    objects: &[ObjectId],
) -> Result<Answer, Cause> {
    let seen = |cause: Cause| session.borrow_mut().failure.take().unwrap_or(cause);
    let mut transport = transport(session, address, Service::Push)?;
    let found = advertised(transport.as_mut(), reference).map_err(seen)?;
    if found != old {
        return Ok(Answer::Moved);
    }
    let zero = ObjectId::null(repository.object_hash());
    let agent = concat!("sluice/", env!("CARGO_PKG_VERSION"));
    let mut request = Vec::new();
    let update = format!("{} {new} {reference}\0report-status agent={agent}", old.unwrap_or(zero));
    pkt::put(&mut request, update.as_bytes());
    request.extend_from_slice(pkt::FLUSH);
    pack::write(repository, objects, &mut request).map_err(|e| Cause::Protocol(e.to_string()))?;
    let writer = transport.request(WriteMode::Binary, MessageKind::Flush, false).map_err(|e| seen(broken(e)))?;
    let (mut writer, reader) = writer.into_parts();
    let sent = writer.write_all(&request).and_then(|()| writer.flush());
    // The answer may be read only once there is nothing more to send.
    drop(writer);
    sent.map_err(|e| seen(broken(e)))?;
    let mut report = Vec::new();
    reader.take(ANSWER_MAX).read_to_end(&mut report).map_err(|e| seen(broken(e)))?;
    judge(&String::from_utf8_lossy(&report), reference)
}

/// What the server has at a reference, as it says before an update.
fn advertised(transport: &mut dyn Transport, reference: &str) -> Result<Option<ObjectId>, Cause> {
    let answer = transport.handshake(Pack::ReceivePack, &[]).map_err(broken)?;
    let Some(refs) = answer.refs else { return Err(Cause::Protocol("the server lists no references".to_owned())) };
    let mut text = Vec::new();
    refs.take(ANSWER_MAX).read_to_end(&mut text).map_err(broken)?;
    let text = String::from_utf8_lossy(&text);
    let found = text.lines().filter_map(|line| line.split_once(' ')).find(|(_, name)| *name == reference);
    found.map(|(id, _)| ObjectId::from_hex(id.as_bytes()).map_err(broken)).transpose()
}

/// Reads the report of an update.
fn judge(report: &str, reference: &str) -> Result<Answer, Cause> {
    let mut taken = false;
    for line in report.lines() {
        if let Some(outcome) = line.strip_prefix("unpack ")
            && outcome != "ok"
        {
            return Err(Cause::NotUnpacked(outcome.to_owned()));
        }
        if line.strip_prefix("ok ") == Some(reference) {
            taken = true;
        }
        if let Some((name, why)) = line.strip_prefix("ng ").and_then(|rest| rest.split_once(' '))
            && name == reference
        {
            // Somebody else's push came in between the look and the update.
            const MOVED: [&str; 5] = ["non-fast-forward", "fetch first", "failed to update ref", "cannot lock ref", "stale info"];
            if MOVED.iter().any(|words| why.contains(words)) {
                return Ok(Answer::Moved);
            }
            return Err(Cause::Rejected { reference: reference.to_owned(), why: why.to_owned() });
        }
    }
    if taken { Ok(Answer::Taken) } else { Err(Cause::Protocol("the server did not say what became of the push".to_owned())) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports_are_read() {
        let told = |report: &str| match judge(report, "refs/heads/main") {
            Ok(Answer::Taken) => "taken".to_owned(),
            Ok(Answer::Moved) => "moved".to_owned(),
            Err(cause) => cause.to_string(),
        };
        assert_eq!(told("unpack ok\nok refs/heads/main\n"), "taken");
        assert_eq!(told("unpack ok\nng refs/heads/main non-fast-forward\n"), "moved");
        assert_eq!(told("unpack ok\nng refs/heads/main failed to update ref\n"), "moved");
        assert_eq!(
            told("unpack ok\nng refs/heads/main pre-receive hook declined\n"),
            "refs/heads/main was rejected: pre-receive hook declined"
        );
        assert_eq!(told("unpack index-pack abnormal exit\n"), "the server could not unpack what was sent: index-pack abnormal exit");
        assert!(told("").contains("did not say"));
        assert!(told("unpack ok\nok refs/heads/other\n").contains("did not say"));
    }

    #[test]
    fn paths_and_branches_that_could_harm_are_refused() {
        for bad in ["", "/etc/passwd", "../x", "a//b", ".git/hooks/x", "a/.GIT/config", "a/.git. /x", "a\nb"] {
            assert!(safe(bad).is_err(), "{bad:?}");
        }
        assert!(safe("clusters/prod/.gitignore").is_ok());
        for bad in ["", "-x", "a..b", "a b", "x.lock", "@{", "a\nb"] {
            assert!(reference(bad).is_err(), "{bad:?}");
        }
        assert_eq!(reference("feat/x").ok().as_deref(), Some("refs/heads/feat/x"));
    }
}

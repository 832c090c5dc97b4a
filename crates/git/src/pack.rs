//! Which objects another repository lacks, and the pack that carries them.

use crate::serve::request::Fetch;
use flate2::{Compression, write::ZlibEncoder};
use gix::{ObjectId, objs::Kind};
use std::{
    collections::{HashSet, VecDeque},
    io::{self, Write},
};
use types::{Algorithm, Hasher};

/// What a fetch is answered with.
#[derive(Debug, Default)]
pub(crate) struct Selection {
    /// Everything that the client lacks, each once.
    pub(crate) objects: Vec<ObjectId>,
    /// Commits that are sent without their parents.
    pub(crate) boundary: Vec<ObjectId>,
}

/// Chooses the objects of the wanted commits, as deep as asked, without what the client has already.
pub(crate) fn select(repository: &gix::Repository, fetch: &Fetch) -> gix::Result<Selection> {
    let mut selection = Selection::default();
    let mut known: HashSet<ObjectId> = HashSet::new();
    let shallow: HashSet<ObjectId> = fetch.shallow.iter().copied().collect();
    // Commits behind a have are had as well, up to where the client's own history is cut.
    let mut pending: Vec<ObjectId> = fetch.haves.iter().copied().filter(|id| repository.has_object(id)).collect();
    let mut had: HashSet<ObjectId> = HashSet::new();
    while let Some(id) = pending.pop() {
        let Ok(commit) = repository.find_commit(id) else { continue };
        if had.insert(id) {
            if fetch.haves.contains(&id) {
                tree(repository, commit.tree_id()?.detach(), &mut known, &mut Vec::new())?;
            }
            if !shallow.contains(&id) {
                pending.extend(commit.parent_ids().map(gix::Id::detach));
            }
        }
    }
    let mut queue: VecDeque<(ObjectId, usize)> = VecDeque::new();
    for want in &fetch.wants {
        queue.push_back((peel(repository, *want, &mut known, &mut selection.objects)?, 1));
    }
    let mut seen: HashSet<ObjectId> = HashSet::new();
    while let Some((id, depth)) = queue.pop_front() {
        if !seen.insert(id) {
            continue;
        }
        let commit = repository.find_commit(id)?;
        let cut = fetch.depth.is_some_and(|max| depth >= max);
        if cut && commit.parent_ids().next().is_some() {
            selection.boundary.push(id);
        }
        if !had.contains(&id) {
            selection.objects.push(id);
            tree(repository, commit.tree_id()?.detach(), &mut known, &mut selection.objects)?;
        } else if fetch.depth.is_none() {
            // All behind it is there, too.
            continue;
        }
        if !cut {
            queue.extend(commit.parent_ids().map(|parent| (parent.detach(), depth + 1)));
        }
    }
    Ok(selection)
}

/// The commit that an object leads to; tags on the way are sent along.
fn peel(
    repository: &gix::Repository,
    mut id: ObjectId,
    known: &mut HashSet<ObjectId>,
    objects: &mut Vec<ObjectId>,
) -> gix::Result<ObjectId> {
    loop {
        let object = repository.find_object(id)?;
        if object.kind != Kind::Tag {
            return Ok(id);
        }
        if known.insert(id) {
            objects.push(id);
        }
        id = object.into_tag().target_id()?.detach();
    }
}

/// Adds a tree and all below it that is not known yet.
pub(crate) fn tree(
    repository: &gix::Repository,
    root: ObjectId,
    known: &mut HashSet<ObjectId>,
    objects: &mut Vec<ObjectId>,
) -> gix::Result<()> {
    let mut pending = vec![root];
    while let Some(id) = pending.pop() {
        if !known.insert(id) {
            continue;
        }
        objects.push(id);
        for entry in repository.find_tree(id)?.iter() {
            let entry = entry?;
            let mode = entry.mode();
            if mode.is_tree() {
                pending.push(entry.object_id());
            } else if !mode.is_commit() && known.insert(entry.object_id()) {
                objects.push(entry.object_id());
            }
        }
    }
    Ok(())
}

/// Writes a pack of whole objects, without deltas.
pub(crate) fn write(repository: &gix::Repository, objects: &[ObjectId], out: &mut dyn Write) -> io::Result<()> {
    let mut out = Summed { out, hasher: Hasher::new(Algorithm::Sha1) };
    let count = u32::try_from(objects.len()).map_err(io::Error::other)?;
    out.write_all(b"PACK")?;
    out.write_all(&2_u32.to_be_bytes())?;
    out.write_all(&count.to_be_bytes())?;
    for id in objects {
        let object = repository.find_object(*id).map_err(|e| io::Error::other(e.to_string()))?;
        out.write_all(&header(object.kind, object.data.len()))?;
        let mut deflate = ZlibEncoder::new(&mut out, Compression::fast());
        deflate.write_all(&object.data)?;
        deflate.finish()?;
    }
    let Summed { out, hasher } = out;
    let digest = hasher.finish();
    let sum = ObjectId::from_hex(digest.hex().as_bytes()).map_err(io::Error::other)?;
    out.write_all(sum.as_slice())?;
    out.flush()
}

/// Kind and size of an object: three bits of kind and the size in groups of four and seven bits, lowest first.
fn header(kind: Kind, size: usize) -> Vec<u8> {
    let kind = match kind {
        Kind::Commit => 1,
        Kind::Tree => 2,
        Kind::Blob => 3,
        Kind::Tag => 4,
    };
    let mut byte = (kind << 4) | (size & 15) as u8;
    let mut rest = size >> 4;
    let mut out = Vec::new();
    while rest > 0 {
        out.push(byte | 0x80);
        byte = (rest & 0x7f) as u8;
        rest >>= 7;
    }
    out.push(byte);
    out
}

struct Summed<'w> {
    out: &'w mut dyn Write,
    hasher: Hasher,
}

impl Write for Summed<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.out.write(bytes)?;
        self.hasher.update(&bytes[..count]);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_written_in_groups_of_bits() {
        assert_eq!(header(Kind::Blob, 0), [0x30]);
        assert_eq!(header(Kind::Blob, 15), [0x3f]);
        assert_eq!(header(Kind::Commit, 16), [0x90, 0x01]);
        assert_eq!(header(Kind::Tree, 300), [0xac, 0x12]);
    }
}

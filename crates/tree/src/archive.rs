//! Artifacts as archives: a tree as a reproducible tar.gz, and back.
//!
//! The writer puts down what Flux's does: a root entry `.`, folders without a trailing slash and of mode 0750,
//! files 0600 or 0700, owner 0, no names, time zero, in the order of a file system walk.
//! The bytes of the gzip stream differ from Go's, so digests do too; readers see the same entries.

use crate::{Kind, MemoryTree, Tree, clean, walk};
use flate2::{Compression, GzBuilder, bufread::MultiGzDecoder};
use std::io::{self, Read, Write};

/// Mode of folders in an archive.
const DIR_MODE: u32 = 0o750;
/// Mode of files.
const FILE_MODE: u32 = 0o600;
/// Mode of executable files.
const EXECUTABLE_MODE: u32 = 0o700;

/// Level 2 of zlib-rs packs as well as Go's level 6 nearly, at several times its speed.
const LEVEL: u32 = 2;

/// Writes what `keep` admits of `tree` as tar.gz. An excluded folder has no entry of its own; its children are asked for one by one.
pub fn write<W: Write>(tree: &dyn Tree, keep: &dyn Fn(&str, Kind) -> bool, out: W) -> io::Result<W> {
    let gzip = GzBuilder::new().mtime(0).write(out, Compression::new(LEVEL));
    let mut tar = tar::Builder::new(gzip);
    append(&mut tar, ".", DIR_MODE, tar::EntryType::Directory, &[])?;
    walk(tree, &mut |path, kind| {
        if !keep(path, kind) {
            return Ok(());
        }
        if kind == Kind::Dir {
            return append(&mut tar, path, DIR_MODE, tar::EntryType::Directory, &[]);
        }
        let bytes = tree.read(path).ok_or_else(|| io::Error::other(format!("cannot read {path:?} of the tree")))?;
        append(&mut tar, path, if tree.is_executable(path) { EXECUTABLE_MODE } else { FILE_MODE }, tar::EntryType::Regular, &bytes)
    })?;
    tar.into_inner()?.finish()
}

/// Writes the whole `tree` as tar.gz into memory.
pub fn to_bytes(tree: &dyn Tree) -> io::Result<Vec<u8>> {
    write(tree, &|_, _| true, Vec::new())
}

fn append<W: Write>(tar: &mut tar::Builder<W>, path: &str, mode: u32, kind: tar::EntryType, bytes: &[u8]) -> io::Result<()> {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_size(bytes.len() as u64);
    // `set_path` would add nothing, but refuses names with odd bytes; short names go in raw, long ones by an extension.
    let name = &mut header.as_old_mut().name;
    if path.len() <= name.len() {
        name[..path.len()].copy_from_slice(path.as_bytes());
        header.set_cksum();
        tar.append(&header, bytes)
    } else {
        tar.append_data(&mut header, path, bytes)
    }
}

/// What a reader accepts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of all files together.
    pub size_max: u64,
    /// Bytes of one file.
    pub file_size_max: u64,
    /// Entries of any kind.
    pub entries_max: usize,
    /// Bytes of one path.
    pub path_len_max: usize,
    /// Whether links are skipped, or make the archive one that cannot be read.
    pub skip_links: bool,
}

impl Default for Limits {
    fn default() -> Self {
        Self { size_max: 1 << 30, file_size_max: 256 << 20, entries_max: 200_000, path_len_max: 4096, skip_links: true }
    }
}

/// Why an archive could not be read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot read the archive")]
    Io(#[source] io::Error),
    #[error("requires gzip-compressed body")]
    NotGzip,
    #[error("tar contained invalid name error {0:?}")]
    Path(String),
    #[error("tar file entry {0:?} contained unsupported file type {1}")]
    Kind(String, &'static str),
    #[error("tar file entry {0} is a symlink, which is not allowed in this context")]
    Link(String),
    #[error("{0:?} is a file and a folder in the archive")]
    Clash(String),
    #[error("the archive holds more than {0} bytes")]
    TooLarge(u64),
    #[error("{0:?} is larger than {1} bytes")]
    FileTooLarge(String, u64),
    #[error("the archive holds more than {0} entries")]
    TooMany(usize),
}

/// Reads a tar.gz into a tree. Symbolic and hard links are skipped or refused, as Flux's readers do; a path that is absolute, climbs, or holds odd bytes fails the whole archive.
pub fn read(bytes: &[u8], limits: Limits) -> Result<MemoryTree, Error> {
    if !bytes.starts_with(&[0x1f, 0x8b]) {
        return Err(Error::NotGzip);
    }
    let mut archive = tar::Archive::new(MultiGzDecoder::new(bytes));
    let mut tree = MemoryTree::new();
    let (mut count, mut size) = (0, 0_u64);
    for entry in archive.entries().map_err(Error::Io)? {
        let mut entry = entry.map_err(Error::Io)?;
        count += 1;
        if count > limits.entries_max {
            return Err(Error::TooMany(limits.entries_max));
        }
        let kind = entry.header().entry_type();
        if matches!(kind, tar::EntryType::XGlobalHeader) {
            continue;
        }
        let raw = entry.path_bytes();
        let shown = || String::from_utf8_lossy(&raw[..raw.len().min(limits.path_len_max)]).into_owned();
        let path = safe_path(&raw, limits.path_len_max).ok_or_else(|| Error::Path(shown()))?;
        let placed = match kind {
            tar::EntryType::Symlink | tar::EntryType::Link if !limits.skip_links => return Err(Error::Link(path)),
            tar::EntryType::Symlink | tar::EntryType::Link => true,
            tar::EntryType::Directory => tree.insert_dir(&path),
            tar::EntryType::Regular | tar::EntryType::Continuous | tar::EntryType::GNUSparse => {
                let announced = entry.header().size().map_err(Error::Io)?;
                if announced > limits.file_size_max {
                    return Err(Error::FileTooLarge(path, limits.file_size_max));
                }
                size = size.saturating_add(announced);
                if size > limits.size_max {
                    return Err(Error::TooLarge(limits.size_max));
                }
                let executable = entry.header().mode().map_err(Error::Io)? & 0o111 != 0;
                // Announced sizes are only a hint: a short archive must not make us reserve what it never sends.
                let mut content = Vec::with_capacity(announced.min(1 << 20) as usize);
                entry.by_ref().take(limits.file_size_max + 1).read_to_end(&mut content).map_err(Error::Io)?;
                if content.len() as u64 > limits.file_size_max {
                    return Err(Error::FileTooLarge(path, limits.file_size_max));
                }
                tree.insert(&path, content, executable)
            }
            other => return Err(Error::Kind(path, kind_name(other))),
        };
        if !placed {
            return Err(Error::Clash(path));
        }
    }
    Ok(tree)
}

fn kind_name(kind: tar::EntryType) -> &'static str {
    match kind {
        tar::EntryType::Char => "character device",
        tar::EntryType::Block => "block device",
        tar::EntryType::Fifo => "named pipe",
        _ => "of no known kind",
    }
}

/// The clean form of a path inside of an archive, or `None` for one that must not be there.
fn safe_path(raw: &[u8], len_max: usize) -> Option<String> {
    let path = std::str::from_utf8(raw).ok()?;
    let bad = path.is_empty()
        || path.len() > len_max
        || path.starts_with('/')
        || path.contains(['\\', '\0'])
        || path.split('/').any(|part| part == "..");
    if bad { None } else { clean(path) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> MemoryTree {
        let mut tree = MemoryTree::from_iter([("a/b.yaml", "b"), ("a-b", "x"), ("z", "")]);
        tree.insert("run.sh", "#!/bin/sh", true);
        tree.insert_dir("empty");
        tree.insert(&format!("{}/long.yaml", "deep/".repeat(40).trim_end_matches('/')), "long", false);
        tree
    }

    fn gzip(tar: &[u8]) -> Vec<u8> {
        let mut out = flate2::write::GzEncoder::new(Vec::new(), Compression::fast());
        out.write_all(tar).unwrap();
        out.finish().unwrap()
    }

    fn archive_of(name: &[u8], kind: tar::EntryType, content: &[u8]) -> Vec<u8> {
        let mut tar = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_gnu();
        header.as_old_mut().name[..name.len()].copy_from_slice(name);
        header.set_entry_type(kind);
        header.set_mode(0o644);
        header.set_size(content.len() as u64);
        header.set_cksum();
        tar.append(&header, content).unwrap();
        gzip(&tar.into_inner().unwrap())
    }

    #[test]
    fn what_is_written_reads_back_and_is_always_the_same() {
        let bytes = to_bytes(&sample()).unwrap();
        assert_eq!(bytes, to_bytes(&sample()).unwrap());
        assert_eq!(read(&bytes, Limits::default()).unwrap(), sample());
    }

    #[test]
    fn entries_look_as_in_a_flux_artifact() {
        let bytes = to_bytes(&sample()).unwrap();
        let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(&bytes[..]));
        let seen: Vec<(String, u32, u64, u64)> = archive
            .entries()
            .unwrap()
            .map(|e| {
                let e = e.unwrap();
                let h = e.header();
                (String::from_utf8(e.path_bytes().into_owned()).unwrap(), h.mode().unwrap(), h.mtime().unwrap(), h.uid().unwrap())
            })
            .collect();
        let short: Vec<_> = seen.iter().filter(|(p, ..)| !p.starts_with("deep")).cloned().collect();
        let expected = [(".", 0o750), ("a", 0o750), ("a/b.yaml", 0o600), ("a-b", 0o600), ("empty", 0o750), ("run.sh", 0o700), ("z", 0o600)];
        assert_eq!(short, expected.map(|(p, m)| (p.to_owned(), m, 0, 0)));
        assert!(seen.iter().any(|(p, ..)| p.ends_with("deep/long.yaml") && p.len() > 100));
    }

    #[test]
    fn unsafe_paths_fail_the_archive() {
        for name in [&b"../x"[..], b"a/../../x", b"/etc/passwd", b"a/..", b"C:\\x", b"a\\..\\b", b"\xff\xfe"] {
            let bytes = archive_of(name, tar::EntryType::Regular, b"x");
            assert!(matches!(read(&bytes, Limits::default()), Err(Error::Path(_))), "{:?}", String::from_utf8_lossy(name));
        }
    }

    #[test]
    fn links_are_skipped_and_devices_refused() {
        let tree = read(&archive_of(b"link", tar::EntryType::Symlink, b""), Limits::default()).unwrap();
        assert_eq!(tree.kind("link"), None);
        let refused = read(&archive_of(b"link", tar::EntryType::Symlink, b""), Limits { skip_links: false, ..Limits::default() });
        assert!(matches!(refused, Err(Error::Link(path)) if path == "link"));
        let device = read(&archive_of(b"dev", tar::EntryType::Char, b""), Limits::default());
        assert!(matches!(device, Err(Error::Kind(path, "character device")) if path == "dev"));
    }

    #[test]
    fn limits_hold() {
        let limits = Limits { size_max: 100, file_size_max: 50, entries_max: 3, path_len_max: 20, skip_links: true };
        assert!(matches!(read(&archive_of(b"f", tar::EntryType::Regular, &[0; 51]), limits), Err(Error::FileTooLarge(..))));
        let many = to_bytes(&MemoryTree::from_iter([("a", "1"), ("b", "2"), ("c", "3")])).unwrap();
        assert!(matches!(read(&many, limits), Err(Error::TooMany(3))));
        let large =
            to_bytes(&MemoryTree::from_iter([("a", [0_u8; 50].to_vec()), ("b", [0; 50].to_vec()), ("c", [0; 50].to_vec())])).unwrap();
        assert!(matches!(read(&large, Limits { entries_max: 9, ..limits }), Err(Error::TooLarge(100))));
        assert!(matches!(read(&archive_of(b"a-name-that-is-too-long", tar::EntryType::Regular, b""), limits), Err(Error::Path(_))));
    }

    #[test]
    fn broken_archives_are_errors() {
        let bytes = to_bytes(&sample()).unwrap();
        assert!(matches!(read(b"plain text", Limits::default()), Err(Error::NotGzip)));
        assert!(matches!(read(&bytes[..bytes.len() / 2], Limits::default()), Err(Error::Io(_))));
        let mut flipped = bytes.clone();
        let middle = flipped.len() / 2;
        flipped[middle] ^= 0xff;
        assert!(read(&flipped, Limits::default()).is_err());
    }
}

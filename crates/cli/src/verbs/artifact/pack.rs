//! From files to a tar.gz that depends on nothing but them, and back.

use crate::shell::{Failure, files};
use flate2::{Compression, read::MultiGzDecoder, write::GzEncoder};
use std::{
    collections::HashSet,
    fs,
    io::{self, Read as _, Write as _},
    path::{Path, PathBuf},
};
use tree::{
    Kind,
    archive::{self, Limits},
    ignore::Rules,
};

/// More than this does not go into one artifact.
const BYTES_MAX: u64 = 1 << 30;
const ENTRIES_MAX: usize = 200_000;
const DEPTH_MAX: usize = 255;

/// What is to be packed.
pub struct Package {
    /// How messages name it.
    pub shown: String,
    content: Content,
}

enum Content {
    Folder {
        path: PathBuf,
        follow_links: bool,
    },
    /// A single file with its name and mode.
    File {
        name: String,
        mode: u32,
        bytes: Vec<u8>,
    },
}

struct Entry {
    /// Relative, without a slash at its end; the root is `.`.
    name: String,
    mode: u32,
    /// `None` for a folder.
    bytes: Option<Vec<u8>>,
}

impl Package {
    /// A file, a folder, or `-` for standard input.
    pub fn open(path: &str, follow_links: bool) -> Result<Self, Failure> {
        if path == "-" {
            let mut bytes = Vec::new();
            let read = io::stdin().lock().take(BYTES_MAX).read_to_end(&mut bytes);
            read.map_err(|error| Failure::new(format!("could not read from stdin: {error}")))?;
            let end = bytes.iter().rposition(|byte| !b"\r\n".contains(byte)).map_or(0, |at| at + 1);
            bytes.truncate(end);
            // A name made from the content keeps the digest of equal content equal.
            let digest = types::Digest::sha256(&bytes);
            let number = digest.hex().get(..8).and_then(|hex| u32::from_str_radix(hex, 16).ok()).unwrap_or(0);
            let name = format!("{number:010}.yaml");
            return Ok(Self { shown: "standard input".to_owned(), content: Content::File { name, mode: 0o600, bytes } });
        }
        let invalid = |error: &io::Error| {
            Failure::new(format!(
                "invalid path '{path}', must point to an existing directory or file: stat {path}: {}",
                files::reason(error)
            ))
        };
        let metadata = fs::metadata(path).map_err(|error| invalid(&error))?;
        let content = if metadata.is_dir() {
            Content::Folder { path: PathBuf::from(path), follow_links }
        } else {
            let name = Path::new(path).file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            let bytes = files::read(path).map_err(Failure::new)?;
            Content::File { name, mode: mode(&metadata), bytes }
        };
        Ok(Self { shown: path.to_owned(), content })
    }

    /// The tar.gz without what the patterns leave out: no owners, no times, lexical order.
    pub fn pack(&self, ignores: &[String]) -> Result<Vec<u8>, Failure> {
        let rules = Rules::only(&ignores.join("\n")).map_err(|error| Failure::new(error.to_string()))?;
        let mut entries = Vec::new();
        match &self.content {
            Content::File { name, mode, bytes } => {
                entries.push(Entry { name: ".".to_owned(), mode: 0o700, bytes: None });
                if !rules.excludes(name, Kind::File) {
                    entries.push(Entry { name: name.clone(), mode: *mode, bytes: Some(bytes.clone()) });
                }
            }
            Content::Folder { path, follow_links } => {
                let root = fs::metadata(path).map_err(|error| failed(path, &error))?;
                // Flux copies a folder with resolved links to a private one first, whose mode shows.
                entries.push(Entry { name: ".".to_owned(), mode: if *follow_links { 0o700 } else { mode(&root) }, bytes: None });
                let mut walk = Walk { rules: &rules, follow_links: *follow_links, entries: &mut entries, size: 0, inside: HashSet::new() };
                walk.folder(path, "", 0)?;
            }
        }
        write(&entries).map_err(|error| Failure::new(format!("cannot pack: {error}")))
    }
}

struct Walk<'a> {
    rules: &'a Rules,
    follow_links: bool,
    entries: &'a mut Vec<Entry>,
    size: u64,
    /// The real folders that lead here, to see a link that leads back.
    inside: HashSet<PathBuf>,
}

impl Walk<'_> {
    fn folder(&mut self, folder: &Path, prefix: &str, depth: usize) -> Result<(), Failure> {
        if depth > DEPTH_MAX {
            return Err(Failure::new(format!("{} is nested too deeply", folder.display())));
        }
        let real = fs::canonicalize(folder).map_err(|error| failed(folder, &error))?;
        if !self.inside.insert(real.clone()) {
            return Ok(());
        }
        let mut children: Vec<_> =
            fs::read_dir(folder).and_then(Iterator::collect::<io::Result<Vec<_>>>).map_err(|error| failed(folder, &error))?;
        children.sort_by_key(fs::DirEntry::file_name);
        for child in children {
            let path = child.path();
            let Ok(name) = child.file_name().into_string() else {
                return Err(Failure::new(format!("the name of {} is not UTF-8", path.display())));
            };
            let name = if prefix.is_empty() { name } else { format!("{prefix}/{name}") };
            let metadata = if self.follow_links { fs::metadata(&path) } else { fs::symlink_metadata(&path) };
            let metadata = metadata.map_err(|error| failed(&path, &error))?;
            // Links, sockets and devices stay out.
            let kind = if metadata.is_dir() {
                Kind::Dir
            } else if metadata.is_file() {
                Kind::File
            } else {
                continue;
            };
            if self.rules.excludes(&name, kind) {
                continue;
            }
            self.size = self.size.saturating_add(metadata.len());
            if self.size > BYTES_MAX || self.entries.len() >= ENTRIES_MAX {
                return Err(Failure::new(format!("{} holds more than {BYTES_MAX} bytes or {ENTRIES_MAX} files", folder.display())));
            }
            let mode = mode(&metadata);
            if kind == Kind::Dir {
                self.entries.push(Entry { name: name.clone(), mode, bytes: None });
                self.folder(&path, &name, depth + 1)?;
            } else {
                let bytes = fs::read(&path).map_err(|error| failed(&path, &error))?;
                self.entries.push(Entry { name, mode, bytes: Some(bytes) });
            }
        }
        self.inside.remove(&real);
        Ok(())
    }
}

fn failed(path: &Path, error: &io::Error) -> Failure {
    Failure::new(format!("cannot read {}: {}", path.display(), files::reason(error)))
}

fn mode(metadata: &fs::Metadata) -> u32 {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        metadata.permissions().mode() & 0o777
    }
    #[cfg(not(unix))]
    if metadata.is_dir() { 0o755 } else { 0o644 }
}

fn write(entries: &[Entry]) -> io::Result<Vec<u8>> {
    let mut archive = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::default()));
    for entry in entries {
        let bytes = entry.bytes.as_deref().unwrap_or_default();
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(if entry.bytes.is_some() { tar::EntryType::Regular } else { tar::EntryType::Directory });
        header.set_mode(entry.mode);
        header.set_size(bytes.len() as u64);
        header.set_mtime(0);
        header.set_uid(0);
        header.set_gid(0);
        archive.append_data(&mut header, &entry.name, bytes)?;
    }
    archive.into_inner()?.finish()
}

/// Unpacks a tar.gz into a folder; links are skipped, and nothing is written outside of it.
pub fn unpack(bytes: &[u8], target: &Path) -> Result<(), Failure> {
    let limits = Limits { size_max: BYTES_MAX, file_size_max: BYTES_MAX, ..Limits::default() };
    let content = archive::read(bytes, limits).map_err(|error| Failure::new(format!("extracting layer failed: {error}")))?;
    let root = fs::canonicalize(target).map_err(|error| failed(target, &error))?;
    for (path, entry) in content.entries() {
        // The reader lets only clean relative paths through.
        let at = root.join(path);
        let folder = if matches!(entry, tree::Entry::Dir) { at.as_path() } else { at.parent().unwrap_or(&root) };
        fs::create_dir_all(folder).map_err(|error| cannot_write(folder, &error))?;
        // A link that was there before must not lead out.
        let real = fs::canonicalize(folder).map_err(|error| cannot_write(folder, &error))?;
        if !real.starts_with(&root) {
            return Err(Failure::new(format!("refused to write {}: it leads out of {}", at.display(), target.display())));
        }
        if let Some(bytes) = content.bytes(path) {
            if fs::symlink_metadata(&at).is_ok_and(|metadata| metadata.is_symlink()) {
                return Err(Failure::new(format!("refused to write {}: it is a symbolic link", at.display())));
            }
            let mut file = fs::File::create(&at).map_err(|error| cannot_write(&at, &error))?;
            file.write_all(&bytes).map_err(|error| cannot_write(&at, &error))?;
        }
    }
    Ok(())
}

fn cannot_write(path: &Path, error: &io::Error) -> Failure {
    Failure::new(format!("cannot write {}: {}", path.display(), files::reason(error)))
}

/// Whether two archives hold the same tar, however it is compressed.
pub fn same_content(a: &[u8], b: &[u8]) -> bool {
    let inflate = |bytes: &[u8]| {
        let mut out = Vec::new();
        MultiGzDecoder::new(bytes).take(BYTES_MAX).read_to_end(&mut out).map(|_| out).ok()
    };
    matches!((inflate(a), inflate(b)), (Some(a), Some(b)) if a == b)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package(path: &Path) -> Package {
        Package::open(path.to_str().unwrap(), false).ok().unwrap()
    }

    #[test]
    fn equal_files_make_equal_archives_whenever_they_were_written() {
        let pack = |second: &str| {
            let folder = tempfile::tempdir().unwrap();
            fs::create_dir(folder.path().join("sub")).unwrap();
            fs::write(folder.path().join("sub/b.yaml"), second).unwrap();
            fs::write(folder.path().join("a.png"), "x").unwrap();
            package(folder.path()).pack(&["*.png".to_owned()]).ok().unwrap()
        };
        assert_eq!(pack("b"), pack("b"));
        assert_ne!(pack("b"), pack("c"));
    }

    #[test]
    fn what_is_packed_comes_out_again_without_what_was_ignored() {
        let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        fs::create_dir(from.path().join("sub")).unwrap();
        fs::write(from.path().join("sub/b.yaml"), "b").unwrap();
        fs::write(from.path().join("a.png"), "x").unwrap();
        let bytes = package(from.path()).pack(&["*.png".to_owned()]).ok().unwrap();
        assert!(unpack(&bytes, to.path()).is_ok());
        assert_eq!(fs::read_to_string(to.path().join("sub/b.yaml")).unwrap(), "b");
        assert!(!to.path().join("a.png").exists());
    }

    #[cfg(unix)]
    #[test]
    fn a_link_in_the_target_does_not_lead_out_of_it() {
        let (from, to, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        fs::create_dir(from.path().join("sub")).unwrap();
        fs::write(from.path().join("sub/b.yaml"), "b").unwrap();
        let bytes = package(from.path()).pack(&[]).ok().unwrap();
        std::os::unix::fs::symlink(outside.path(), to.path().join("sub")).unwrap();
        assert!(unpack(&bytes, to.path()).is_err());
        assert!(!outside.path().join("b.yaml").exists());
    }
}

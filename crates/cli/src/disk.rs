//! The file system as a tree.

use std::{
    borrow::Cow,
    collections::HashMap,
    fs::{self, File, Metadata},
    io::{self, Read},
    path::{Path, PathBuf},
    sync::Mutex,
};
use tree::{Kind, Tree};

/// The largest file that is read. Files of the kernel tell no size, and some have no end.
const FILE_MAX: u64 = 1 << 30;

/// Everything below a directory, read when it is asked for. Links are followed; devices, pipes and sockets are nothing.
pub struct DiskTree {
    root: PathBuf,
    /// Directories without links, by how they were named.
    real: Mutex<HashMap<String, Option<String>>>,
    /// What was asked for last, which is mostly asked for again: first what a path is, then how large.
    last: Mutex<Option<(String, Option<Metadata>)>>,
}

impl DiskTree {
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into(), real: Mutex::default(), last: Mutex::default() }
    }

    fn at(&self, path: &str) -> PathBuf {
        self.root.join(path)
    }

    fn metadata(&self, path: &str) -> Option<Metadata> {
        let mut last = self.last.lock().ok()?;
        if let Some((known, metadata)) = &*last
            && known == path
        {
            return metadata.clone();
        }
        let metadata = fs::metadata(self.at(path)).ok();
        *last = Some((path.to_owned(), metadata.clone()));
        metadata
    }

    fn below_root(&self, path: &Path) -> Option<String> {
        let root = fs::canonicalize(&self.root).ok()?;
        path.strip_prefix(root).ok()?.to_str().map(str::to_owned)
    }

    fn real_dir(&self, dir: &str) -> Option<String> {
        if let Some(known) = self.real.lock().ok()?.get(dir) {
            return known.clone();
        }
        let real = fs::canonicalize(self.at(dir)).ok().and_then(|path| self.below_root(&path));
        self.real.lock().ok()?.insert(dir.to_owned(), real.clone());
        real
    }
}

/// Opens a file without waiting, so that a pipe without a writer is opened and refused instead of waited for.
fn open(path: &Path) -> io::Result<File> {
    let mut options = File::options();
    options.read(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::custom_flags(&mut options, libc::O_NONBLOCK);
    options.open(path)
}

impl Tree for DiskTree {
    fn kind(&self, path: &str) -> Option<Kind> {
        let metadata = self.metadata(path)?;
        if metadata.is_file() { Some(Kind::File) } else { metadata.is_dir().then_some(Kind::Dir) }
    }

    fn read(&self, path: &str) -> Option<Cow<'_, [u8]>> {
        let file = open(&self.at(path)).ok()?;
        let metadata = file.metadata().ok().filter(|metadata| metadata.is_file() && metadata.len() <= FILE_MAX)?;
        let max = if metadata.len() > 0 { metadata.len() } else { FILE_MAX + 1 };
        let mut bytes = Vec::with_capacity(usize::try_from(metadata.len()).ok()?);
        file.take(max).read_to_end(&mut bytes).ok()?;
        (bytes.len() as u64 <= FILE_MAX).then_some(Cow::Owned(bytes))
    }

    fn size(&self, path: &str) -> Option<u64> {
        self.metadata(path).map(|metadata| metadata.len())
    }

    fn list(&self, path: &str) -> Option<Vec<String>> {
        let mut names: Vec<String> =
            fs::read_dir(self.at(path)).ok()?.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect();
        names.sort();
        Some(names)
    }

    fn resolve(&self, path: &str) -> Option<String> {
        let metadata = fs::symlink_metadata(self.at(path)).ok()?;
        if metadata.is_dir() || path.is_empty() {
            return self.real_dir(path);
        }
        if metadata.is_symlink() {
            return fs::canonicalize(self.at(path)).ok().and_then(|path| self.below_root(&path));
        }
        let (dir, name) = path.rsplit_once('/').unwrap_or(("", path));
        let dir = self.real_dir(dir)?;
        Some(if dir.is_empty() { name.to_owned() } else { format!("{dir}/{name}") })
    }
}

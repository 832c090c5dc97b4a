use crate::{
    Retention,
    garbage::{self, Candidate, FILES_MAX},
    path::{TEMPORARY, safe},
};
use std::{
    collections::HashMap,
    fs::{self, File, OpenOptions},
    io::{self, BufWriter, Read, Write},
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant, SystemTime},
};
use types::{Algorithm, Digest, Hasher};

/// A file that did not change is hashed again after this time: disks forget, too.
const SCRUB_EVERY: Duration = Duration::from_secs(3600);

/// Why the storage could not do something.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("invalid dir path: {0}")]
    Root(PathBuf),
    #[error("the path {0:?} is not allowed in the storage")]
    Path(String),
    #[error("cannot {verb} {path:?}")]
    Io { verb: &'static str, path: String, source: io::Error },
}

/// What was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    pub digest: Digest,
    pub size: u64,
}

/// What is on disk in place of an artifact.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    Intact,
    Missing,
    /// The file is there and hashes to something else.
    Damaged {
        found: Digest,
    },
}

/// What identifies a file's content without reading it: no write leaves all of these as they were.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Fingerprint {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Fingerprint {
    fn of(metadata: &fs::Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}

/// The artifacts below one folder.
pub struct Store {
    root: PathBuf,
    /// `host:port` or a URL without a path: how the server is reached from elsewhere.
    advertised: String,
    algorithm: Algorithm,
    retention: Retention,
    hashed: Mutex<HashMap<String, (Fingerprint, Digest, Instant)>>,
    counter: AtomicU64,
}

impl Store {
    /// Uses the folder `root`, which must exist. Temporary files that a crash left are removed.
    pub fn open(root: &Path, advertised: &str, algorithm: Algorithm, retention: Retention) -> Result<Self, Error> {
        let canonical = fs::canonicalize(root).ok().filter(|path| path.is_dir()).ok_or_else(|| Error::Root(root.to_owned()))?;
        remove_temporary(&canonical, 4);
        Ok(Self {
            root: canonical,
            advertised: advertised.trim_end_matches('/').to_owned(),
            algorithm,
            retention,
            hashed: Mutex::default(),
            counter: AtomicU64::new(0),
        })
    }

    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The address of a path. An advertised address may carry its own scheme.
    pub fn url(&self, path: &str) -> String {
        let path = path.trim_start_matches('/');
        if self.advertised.starts_with("http://") || self.advertised.starts_with("https://") {
            format!("{}/{path}", self.advertised)
        } else {
            format!("http://{}/{path}", self.advertised)
        }
    }

    /// Writes a file in one step: whole and durable under its name, or not at all.
    pub fn write(&self, path: &str, content: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<Stored, Error> {
        let target = self.local(path)?;
        let folder = target.parent().ok_or_else(|| Error::Path(path.to_owned()))?;
        let failed = |verb| move |source| Error::Io { verb, path: path.to_owned(), source };
        fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(failed("make the folder of"))?;
        let temporary = folder.join(format!("{TEMPORARY}{}-{}", std::process::id(), self.counter.fetch_add(1, Ordering::Relaxed)));
        let outcome = (|| {
            let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary).map_err(failed("write"))?;
            let mut out = Tee { file: BufWriter::with_capacity(1 << 16, file), hasher: Hasher::new(self.algorithm), size: 0 };
            content(&mut out).and_then(|()| out.flush()).map_err(failed("write"))?;
            let file = out.file.into_inner().map_err(|e| failed("write")(e.into_error()))?;
            let stored = Stored { digest: out.hasher.finish(), size: out.size };
            if !self.share(path, &stored.digest, &temporary) {
                file.sync_all().map_err(failed("write"))?;
            }
            fs::rename(&temporary, &target).map_err(failed("move into place"))?;
            // The name is durable only when its folder is.
            File::open(folder).and_then(|folder| folder.sync_all()).map_err(failed("write the folder of"))?;
            let metadata = fs::symlink_metadata(&target).map_err(failed("read"))?;
            self.remember(path, Fingerprint::of(&metadata), &stored.digest);
            Ok(stored)
        })();
        if outcome.is_err() {
            fs::remove_file(&temporary).ok();
        }
        outcome
    }

    /// Puts a link to a file of the same content in place of `temporary`, so that the content is stored once.
    /// False when there is none, or none that is intact.
    fn share(&self, path: &str, digest: &Digest, temporary: &Path) -> bool {
        let Some(other) = self.holder("", digest).filter(|other| other != path) else { return false };
        let Ok(local) = self.local(&other) else { return false };
        let link = temporary.with_extension("link");
        let linked = fs::hard_link(&local, &link).and_then(|()| {
            // The age of a file decides when it is garbage: this one is as young as its newest name.
            File::options().append(true).open(&link)?.set_modified(SystemTime::now())?;
            fs::rename(&link, temporary)
        });
        if linked.is_err() {
            fs::remove_file(&link).ok();
        }
        linked.is_ok()
    }

    /// The path of an intact file with this content whose path begins with `prefix`.
    fn holder(&self, prefix: &str, digest: &Digest) -> Option<String> {
        let known = {
            let hashed = self.hashed.lock().unwrap_or_else(PoisonError::into_inner);
            let mut same = hashed.iter().filter(|(path, (_, known, _))| known == digest && path.starts_with(prefix));
            same.next().map(|(path, _)| path.clone())
        };
        known.filter(|path| matches!(self.verify(path, digest), Ok(Verdict::Intact)))
    }

    /// The content with this digest, when a file whose path begins with `prefix` holds it.
    pub fn find(&self, prefix: &str, digest: &Digest) -> Option<Vec<u8>> {
        self.holder(prefix, digest).and_then(|path| self.read(&path).ok())
    }

    /// Whether the file at `path` is what `digest` says.
    pub fn verify(&self, path: &str, digest: &Digest) -> Result<Verdict, Error> {
        let local = self.local(path)?;
        let failed = |source| Error::Io { verb: "read", path: path.to_owned(), source };
        let metadata = match fs::symlink_metadata(&local) {
            Ok(metadata) if metadata.is_file() => metadata,
            Ok(_) => return Ok(Verdict::Missing),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Verdict::Missing),
            Err(error) => return Err(failed(error)),
        };
        let fingerprint = Fingerprint::of(&metadata);
        let known = self.hashed.lock().unwrap_or_else(PoisonError::into_inner).get(path).cloned();
        let fresh = known
            .filter(|(known, hashed, at)| *known == fingerprint && hashed.algorithm() == digest.algorithm() && at.elapsed() < SCRUB_EVERY);
        let found = match fresh {
            Some((_, hashed, _)) => hashed,
            None => {
                let found = hash(&local, digest.algorithm()).map_err(failed)?;
                self.remember(path, fingerprint, &found);
                found
            }
        };
        Ok(if found == *digest { Verdict::Intact } else { Verdict::Damaged { found } })
    }

    /// The bytes of a file.
    pub fn read(&self, path: &str) -> Result<Vec<u8>, Error> {
        fs::read(self.local(path)?).map_err(|source| Error::Io { verb: "read", path: path.to_owned(), source })
    }

    /// Makes `alias`, beside the file at `path`, lead to it: a symbolic link, put in place in one step.
    pub fn link(&self, path: &str, alias: &str) -> Result<(), Error> {
        let failed = |source| Error::Io { verb: "link to", path: path.to_owned(), source };
        let link = self.local(alias)?;
        if tree::parent(path) != tree::parent(alias) {
            return Err(Error::Path(alias.to_owned()));
        }
        let temporary = link.with_file_name(format!("{TEMPORARY}{}-{}", std::process::id(), self.counter.fetch_add(1, Ordering::Relaxed)));
        std::os::unix::fs::symlink(path.rsplit('/').next().unwrap_or(path), &temporary).map_err(failed)?;
        let outcome = fs::rename(&temporary, &link).map_err(failed);
        if outcome.is_err() {
            fs::remove_file(&temporary).ok();
        }
        outcome
    }

    /// Removes a file; it may be gone already.
    pub fn remove(&self, path: &str) -> Result<(), Error> {
        self.hashed.lock().unwrap_or_else(PoisonError::into_inner).remove(path);
        gone(fs::remove_file(self.local(path)?), path).map(|_| ())
    }

    /// Removes everything of an object, given the path of any file of it; false when there was nothing.
    pub fn remove_all(&self, path: &str) -> Result<bool, Error> {
        let folder = self.folder(path)?;
        let prefix = tree::parent(path);
        self.hashed.lock().unwrap_or_else(PoisonError::into_inner).retain(|known, _| tree::parent(known) != prefix);
        gone(fs::remove_dir_all(folder), path)
    }

    /// Removes old files beside the current one at `path`, and gives their names.
    pub fn collect(&self, path: &str, now: SystemTime) -> Result<Vec<String>, Error> {
        let folder = self.folder(path)?;
        let failed = |source| Error::Io { verb: "list the folder of", path: path.to_owned(), source };
        let entries = match fs::read_dir(&folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(failed(error)),
        };
        let mut candidates = Vec::new();
        for entry in entries.flatten().take(FILES_MAX) {
            let name = entry.file_name().to_string_lossy().into_owned();
            let Ok(metadata) = fs::symlink_metadata(entry.path()) else { continue };
            if metadata.is_file() && !name.ends_with(".lock") && !name.starts_with(TEMPORARY) {
                candidates.push(Candidate { name, modified: metadata.modified().unwrap_or(now) });
            }
        }
        let current = path.rsplit('/').next().unwrap_or(path);
        let garbage = garbage::choose(candidates, current, self.retention, now);
        for name in &garbage {
            self.remove(&format!("{}/{name}", tree::parent(path)))?;
            // Flux leaves lock files beside its artifacts.
            fs::remove_file(folder.join(format!("{name}.lock"))).ok();
        }
        Ok(garbage)
    }

    fn folder(&self, path: &str) -> Result<PathBuf, Error> {
        // Never the root, a kind or a namespace: an object has three names above its files.
        let deep = safe(path).is_some_and(|p| p.split('/').count() >= 4);
        let local = self.local(path)?;
        local.parent().filter(|_| deep).map(Path::to_owned).ok_or_else(|| Error::Path(path.to_owned()))
    }

    fn local(&self, path: &str) -> Result<PathBuf, Error> {
        safe(path).filter(|clean| !clean.is_empty()).map(|clean| self.root.join(clean)).ok_or_else(|| Error::Path(path.to_owned()))
    }

    fn remember(&self, path: &str, fingerprint: Fingerprint, digest: &Digest) {
        let entry = (fingerprint, digest.clone(), Instant::now());
        self.hashed.lock().unwrap_or_else(PoisonError::into_inner).insert(path.to_owned(), entry);
    }
}

struct Tee {
    file: BufWriter<File>,
    hasher: Hasher,
    size: u64,
}

impl Write for Tee {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.file.write(bytes)?;
        self.hasher.update(&bytes[..count]);
        self.size += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

fn hash(path: &Path, algorithm: Algorithm) -> io::Result<Digest> {
    let mut file = File::open(path)?;
    let mut hasher = Hasher::new(algorithm);
    let mut buffer = vec![0; 1 << 16];
    loop {
        let count = file.read(&mut buffer)?;
        if count == 0 {
            return Ok(hasher.finish());
        }
        hasher.update(&buffer[..count]);
    }
}

fn gone(outcome: io::Result<()>, path: &str) -> Result<bool, Error> {
    match outcome {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(source) => Err(Error::Io { verb: "remove", path: path.to_owned(), source }),
    }
}

fn remove_temporary(folder: &Path, depth: usize) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let Ok(kind) = entry.file_type() else { continue };
        if kind.is_dir() && depth > 0 {
            remove_temporary(&entry.path(), depth - 1);
        } else if kind.is_file() && entry.file_name().to_string_lossy().starts_with(TEMPORARY) {
            fs::remove_file(entry.path()).ok();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    const PATH: &str = "gitrepository/apps/podinfo/one.tar.gz";

    fn store() -> (tempfile::TempDir, Store) {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path(), "host:9090", Algorithm::Sha256, Retention::default()).unwrap();
        (folder, store)
    }

    fn put(store: &Store, path: &str, text: &str) -> Stored {
        store.write(path, |out| out.write_all(text.as_bytes())).unwrap()
    }

    #[test]
    fn a_file_is_written_whole_with_its_digest_and_private() {
        let (folder, store) = store();
        let stored = put(&store, PATH, "content");
        assert_eq!(stored, Stored { digest: Digest::sha256(b"content"), size: 7 });
        assert_eq!(store.read(PATH).unwrap(), b"content");
        let mode = fs::metadata(folder.path().join(PATH)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(store.url(PATH), format!("http://host:9090/{PATH}"));
    }

    #[test]
    fn a_write_that_fails_leaves_the_old_file_and_no_rest() {
        let (folder, store) = store();
        put(&store, PATH, "old");
        let failed = store.write(PATH, |out| {
            out.write_all(b"half")?;
            Err(io::Error::other("no more"))
        });
        assert!(failed.is_err());
        assert_eq!(store.read(PATH).unwrap(), b"old");
        assert_eq!(fs::read_dir(folder.path().join("gitrepository/apps/podinfo")).unwrap().count(), 1);
    }

    #[test]
    fn damage_and_loss_are_found() {
        let (folder, store) = store();
        let stored = put(&store, PATH, "content");
        assert_eq!(store.verify(PATH, &stored.digest).unwrap(), Verdict::Intact);
        fs::write(folder.path().join(PATH), "CONTENT").unwrap();
        assert!(matches!(store.verify(PATH, &stored.digest).unwrap(), Verdict::Damaged { .. }));
        store.remove(PATH).unwrap();
        assert_eq!(store.verify(PATH, &stored.digest).unwrap(), Verdict::Missing);
        store.remove(PATH).unwrap();
    }

    #[test]
    fn the_digest_of_another_algorithm_is_checked_too() {
        let (_folder, store) = store();
        put(&store, PATH, "content");
        assert_eq!(store.verify(PATH, &Algorithm::Blake3.digest(b"content")).unwrap(), Verdict::Intact);
        assert!(matches!(store.verify(PATH, &Algorithm::Sha512.digest(b"other")).unwrap(), Verdict::Damaged { .. }));
    }

    #[test]
    fn old_files_of_one_object_go_and_no_others() {
        let (folder, store) = store();
        let other = "gitrepository/apps/other/old.tar.gz";
        for path in [PATH, "gitrepository/apps/podinfo/two.tar.gz", other] {
            put(&store, path, "x");
        }
        fs::write(folder.path().join("gitrepository/apps/podinfo/two.tar.gz.lock"), "").unwrap();
        let later = SystemTime::now() + Duration::from_secs(120);
        assert_eq!(store.collect(PATH, later).unwrap(), ["two.tar.gz"]);
        assert!(store.read(PATH).is_ok() && store.read(other).is_ok());
        assert_eq!(fs::read_dir(folder.path().join("gitrepository/apps/podinfo")).unwrap().count(), 1);
        assert!(store.remove_all(PATH).unwrap() && !store.remove_all(PATH).unwrap());
        assert!(store.read(other).is_ok());
    }

    #[test]
    fn the_same_content_is_stored_once_and_stays_for_the_other() {
        let (folder, store) = store();
        let other = "helmchart/apps/demo/demo-1.0.0.tgz";
        let stored = put(&store, PATH, "content");
        assert_eq!(put(&store, other, "content"), stored);
        let inode = |path: &str| fs::metadata(folder.path().join(path)).unwrap().ino();
        assert_eq!(inode(PATH), inode(other));
        put(&store, PATH, "new content");
        assert_eq!(store.verify(other, &stored.digest).unwrap(), Verdict::Intact);
        assert_eq!(store.find("helmchart/apps/", &stored.digest).unwrap(), b"content");
        assert_eq!(store.find("helmchart/others/", &stored.digest), None, "what another namespace stored is not handed out");
        fs::write(folder.path().join(other), "CONTENT").unwrap();
        assert_eq!(store.find("helmchart/apps/", &stored.digest), None, "nor what is damaged");
        put(&store, PATH, "content");
        assert_ne!(inode(PATH), inode(other));
        assert_eq!(store.read(PATH).unwrap(), b"content");
    }

    #[test]
    fn nothing_above_an_object_can_be_removed() {
        let (_folder, store) = store();
        put(&store, PATH, "x");
        for bad in ["gitrepository/apps/podinfo", "x", "", "a/../../../x/y/z", "gitrepository//apps/podinfo"] {
            assert!(matches!(store.remove_all(bad), Err(Error::Path(_))), "{bad:?}");
        }
        assert!(matches!(store.write("../out", |_| Ok(())), Err(Error::Path(_))));
    }

    #[test]
    fn what_a_crash_left_is_cleaned_at_the_start() {
        let (folder, store) = store();
        put(&store, PATH, "x");
        let rest = folder.path().join("gitrepository/apps/podinfo/.tmp-1-1");
        fs::write(&rest, "half").unwrap();
        Store::open(folder.path(), "h", Algorithm::Sha256, Retention::default()).unwrap();
        assert!(!rest.exists());
        assert!(matches!(Store::open(&folder.path().join("none"), "h", Algorithm::Sha256, Retention::default()), Err(Error::Root(_))));
    }
}

use crate::{Address, Error};
use std::{
    collections::HashMap,
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime},
};
use types::Digest;

/// A cache with more packs than this is begun anew: each fetch leaves one, and nothing repacks.
const PACKS_MAX: usize = 50;
/// A cache that nobody asked for in this time is dropped.
const IDLE_MAX: Duration = Duration::from_secs(24 * 3600);
/// The folder of the repository without objects.
const EMPTY: &str = "empty";
/// The largest allocation that data of a repository may cause, in bytes.
const ALLOCATION_MAX: u64 = 512 << 20;

/// Bare repositories, one an address, so that the next fetch is a delta.
///
/// What is in a cache was readable to someone; every use asks the server first with the caller's own credentials.
pub(crate) struct Cache {
    root: PathBuf,
    locks: Mutex<HashMap<String, Arc<Mutex<()>>>>,
}

impl Cache {
    pub(crate) fn new(root: PathBuf) -> Self {
        Self { root, locks: Mutex::default() }
    }

    /// The key of an address; two users of one address work one after the other.
    pub(crate) fn lock(&self, address: &Address) -> (Arc<Mutex<()>>, PathBuf) {
        let key = Digest::sha256(address.url().as_str().as_bytes()).hex()[..32].to_owned();
        let path = self.root.join(&key);
        (self.lock_of(&key), path)
    }

    fn lock_of(&self, key: &str) -> Arc<Mutex<()>> {
        let mut locks = self.locks.lock().unwrap_or_else(PoisonError::into_inner);
        locks.retain(|other, lock| *other == key || Arc::strong_count(lock) > 1);
        locks.entry(key.to_owned()).or_default().clone()
    }

    /// A repository without objects, for looking at references: that writes nothing, so nobody has to wait for anybody.
    pub(crate) fn empty(&self) -> Result<gix::Repository, Error> {
        let path = self.root.join(EMPTY);
        let lock = self.lock_of(EMPTY);
        let _held = lock.lock().unwrap_or_else(PoisonError::into_inner);
        make_private(&self.root).map_err(Error::Cache)?;
        open_bare(&path)
    }

    /// Opens the repository at `path`, making it where there is none.
    pub(crate) fn open(&self, path: &Path) -> Result<gix::Repository, Error> {
        let crowded = fs::read_dir(path.join("objects/pack")).is_ok_and(|packs| packs.count() > PACKS_MAX * 2);
        if crowded {
            self.remove(path)?;
        }
        if !path.join("HEAD").exists() {
            self.remove(path)?;
            make_private(&self.root).map_err(Error::Cache)?;
            fs::create_dir_all(path).map_err(Error::Cache)?;
        }
        let repository = open_bare(path)?;
        // The time of the folder says when the cache was last used.
        fs::File::open(path).and_then(|folder| folder.set_modified(SystemTime::now())).ok();
        Ok(repository)
    }

    pub(crate) fn remove(&self, path: &Path) -> Result<(), Error> {
        match fs::remove_dir_all(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(Error::Cache(error)),
            _ => Ok(()),
        }
    }

    /// Drops caches that were not used for a day and that nobody uses now.
    pub(crate) fn sweep(&self, now: SystemTime) {
        let Ok(folders) = fs::read_dir(&self.root) else { return };
        for folder in folders.flatten() {
            let idle =
                folder.metadata().and_then(|m| m.modified()).is_ok_and(|used| now.duration_since(used).is_ok_and(|idle| idle > IDLE_MAX));
            let key = folder.file_name().to_string_lossy().into_owned();
            if !idle || key == EMPTY {
                continue;
            }
            let lock = self.lock_of(&key);
            if let Ok(_held) = lock.try_lock() {
                self.remove(&folder.path()).ok();
            }
        }
    }
}

fn make_private(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Opens or makes a bare repository without any configuration but ours.
pub(crate) fn open_bare(path: &Path) -> Result<gix::Repository, Error> {
    let options = gix::open::Options::isolated().config_overrides([
        format!("gitoxide.objects.allocLimit={ALLOCATION_MAX}"),
        "core.logAllRefUpdates=false".to_owned(),
        "pack.threads=2".to_owned(),
        "user.name=sluice".to_owned(),
        "user.email=sluice@localhost".to_owned(),
    ]);
    let opened = if path.join("HEAD").exists() {
        gix::ThreadSafeRepository::open_opts(path, options)
    } else {
        gix::ThreadSafeRepository::init_opts(path, gix::create::Kind::Bare, gix::create::Options::default(), options)
    };
    opened.map(|repository| repository.to_thread_local()).map_err(|e| Error::Cache(io::Error::other(e.to_string())))
}

use super::record::Record;
use bytes::Bytes;
use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Why the data directory cannot be used, or a write was not kept.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot {action} \"{path}\"")]
    Io {
        action: &'static str,
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("the data directory \"{0}\" is in use by another server")]
    InUse(PathBuf),
    #[error("\"{path}\" is damaged at byte {offset}: {why}; restore the directory from a copy, or remove it to start empty")]
    Damaged { path: PathBuf, offset: u64, why: &'static str },
    #[error("the object is too large for the log")]
    TooLarge,
}

fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Error {
    move |source| Error::Io { action, path: path.to_owned(), source }
}

/// An append log of changes beside a snapshot.
///
/// Files are numbered: `N.snapshot` holds everything before `N.log`. A write is in the kernel's hands at once, so killing the process
/// loses nothing, and on the disk before it is answered (`Store::synced`), so a power cut loses nothing that was answered. A frame is a length, a checksum and a body; a frame cut short at the very
/// end was never answered and is dropped, anything else that does not match is damage and stops the start.
pub struct Log {
    directory: PathBuf,
    sequence: u64,
    file: File,
    path: PathBuf,
    length: u64,
    snapshot_length: u64,
    snapshot_after: u64,
    writing: Arc<AtomicBool>,
    lock: Arc<File>,
}

#[derive(Default)]
pub struct Recovered {
    pub revision: u64,
    pub tables: HashMap<Arc<str>, BTreeMap<Arc<str>, Arc<Record>>>,
}

const MAGIC: &[u8; 8] = b"sluice\x01\n";
const FRAME_MAX: usize = 64 << 20;
/// A log this long is worth a snapshot, when it also outgrew the last one.
pub const SNAPSHOT_AFTER: u64 = 32 << 20;

const PUT: u8 = 1;
const DELETE: u8 = 2;
/// Ends a snapshot: its count of frames stands where the revision stands, so a snapshot cut short shows.
const END: u8 = 3;

impl Log {
    pub fn open(directory: &Path, snapshot_after: u64) -> Result<(Self, Recovered), Error> {
        fs::create_dir_all(directory).map_err(io("create", directory))?;
        private(directory)?;
        let lock_path = directory.join("lock");
        let lock = OpenOptions::new().create(true).truncate(false).write(true).open(&lock_path).map_err(io("open", &lock_path))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(fs::TryLockError::WouldBlock) => return Err(Error::InUse(directory.to_owned())),
            Err(fs::TryLockError::Error(source)) => return Err(Error::Io { action: "lock", path: lock_path, source }),
        }
        let (mut snapshots, mut logs) = (Vec::new(), Vec::new());
        for entry in fs::read_dir(directory).map_err(io("list", directory))? {
            let path = entry.map_err(io("list", directory))?.path();
            let number = path.file_stem().and_then(|s| s.to_str()).and_then(|s| s.parse::<u64>().ok());
            match (path.extension().and_then(|e| e.to_str()), number) {
                (Some("snapshot"), Some(number)) => snapshots.push(number),
                (Some("log"), Some(number)) => logs.push(number),
                // A snapshot that was never finished.
                (Some("tmp"), _) => fs::remove_file(&path).map_err(io("remove", &path))?,
                _ => {}
            }
        }
        snapshots.sort_unstable();
        logs.sort_unstable();
        let mut recovered = Recovered::default();
        let base = snapshots.last().copied().unwrap_or(0);
        let mut snapshot_length = 0;
        if base > 0 {
            let path = directory.join(format!("{base}.snapshot"));
            snapshot_length = replay(&path, &mut recovered, true, false)?;
        }
        logs.retain(|number| *number >= base);
        let mut length = 0;
        for (at, number) in logs.iter().enumerate() {
            let path = directory.join(format!("{number}.log"));
            length = replay(&path, &mut recovered, false, at + 1 == logs.len())?;
        }
        let sequence = logs.last().copied().unwrap_or(base.max(1));
        let path = directory.join(format!("{sequence}.log"));
        let file = if logs.is_empty() { create_log(&path)? } else { reopen(&path, length)? };
        let length = length.max(MAGIC.len() as u64);
        let log = Self {
            directory: directory.to_owned(),
            sequence,
            file,
            path,
            length,
            snapshot_length,
            snapshot_after,
            writing: Arc::default(),
            lock: Arc::new(lock),
        };
        log.forget_before(base);
        Ok((log, recovered))
    }

    pub fn append(&mut self, table: &str, record: &Record, deleted: bool) -> Result<(), Error> {
        let frame =
            frame(if deleted { DELETE } else { PUT }, record.revision, table, &record.key, if deleted { b"" } else { &record.bytes })?;
        if let Err(source) = self.file.write_all(&frame) {
            // Nothing after a half-written frame could be read again.
            let _ = self.file.set_len(self.length);
            let _ = self.file.seek(SeekFrom::Start(self.length));
            return Err(Error::Io { action: "write", path: self.path.clone(), source });
        }
        self.length += frame.len() as u64;
        Ok(())
    }

    pub fn wants_snapshot(&self) -> bool {
        self.length > self.snapshot_after.max(self.snapshot_length) && !self.writing.load(Ordering::Acquire)
    }

    /// Begins a new log and writes everything up to here into a snapshot, on a thread of its own.
    pub fn rotate(&mut self, objects: Vec<(Arc<str>, Vec<Arc<Record>>)>, revision: u64) -> Result<(), Error> {
        let next = self.sequence + 1;
        let path = self.directory.join(format!("{next}.log"));
        // What comes later must not outlive what came before.
        self.file.sync_data().map_err(io("sync", &self.path))?;
        let file = create_log(&path)?;
        (self.file, self.path, self.sequence, self.length) = (file, path, next, MAGIC.len() as u64);
        self.snapshot_length = objects.iter().flat_map(|(_, records)| records).map(|r| r.bytes.len() as u64 + 64).sum();
        self.writing.store(true, Ordering::Release);
        // The directory stays locked until the snapshot is done, even if the server is gone by then.
        let (directory, writing, lock) = (self.directory.clone(), Arc::clone(&self.writing), Arc::clone(&self.lock));
        std::thread::spawn(move || {
            let _lock = lock;
            match write_snapshot(&directory, next, &objects, revision) {
                Ok(()) => forget(&directory, next),
                Err(error) => tracing::error!(error = %error, "cannot write a snapshot; the log goes on"),
            }
            writing.store(false, Ordering::Release);
        });
        Ok(())
    }

    pub fn file(&self) -> Result<File, Error> {
        self.file.try_clone().map_err(io("open", &self.path))
    }

    fn forget_before(&self, base: u64) {
        forget(&self.directory, base);
    }
}

pub fn sync(file: &File) -> Result<(), Error> {
    file.sync_data().map_err(io("sync", Path::new("log")))
}

/// Removes what a finished snapshot made needless.
fn forget(directory: &Path, base: u64) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let path = entry.path();
        let number = path.file_stem().and_then(|s| s.to_str()).and_then(|s| s.parse::<u64>().ok());
        if number.is_some_and(|number| number < base) {
            let _ = fs::remove_file(path);
        }
    }
}

fn private(directory: &Path) -> Result<(), Error> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        fs::set_permissions(directory, fs::Permissions::from_mode(0o700)).map_err(io("protect", directory))?;
    }
    Ok(())
}

fn create_log(path: &Path) -> Result<File, Error> {
    let mut file = OpenOptions::new().create(true).write(true).truncate(true).open(path).map_err(io("create", path))?;
    file.write_all(MAGIC).map_err(io("write", path))?;
    if let Some(directory) = path.parent() {
        // The name of the file is kept by the directory.
        File::open(directory).and_then(|directory| directory.sync_all()).map_err(io("sync", directory))?;
    }
    Ok(file)
}

/// Opens the last log after its last whole frame.
fn reopen(path: &Path, length: u64) -> Result<File, Error> {
    if length < MAGIC.len() as u64 {
        return create_log(path);
    }
    let mut file = OpenOptions::new().write(true).open(path).map_err(io("open", path))?;
    file.set_len(length).map_err(io("truncate", path))?;
    file.seek(SeekFrom::End(0)).map_err(io("open", path))?;
    Ok(file)
}

fn frame(operation: u8, revision: u64, table: &str, key: &str, bytes: &[u8]) -> Result<Vec<u8>, Error> {
    let body = 1 + 8 + 2 + table.len() + 2 + key.len() + bytes.len();
    if body > FRAME_MAX || table.len() > 0xffff || key.len() > 0xffff {
        return Err(Error::TooLarge);
    }
    let mut out = Vec::with_capacity(8 + body);
    out.extend_from_slice(&(body as u32).to_le_bytes());
    out.extend_from_slice(&[0; 4]);
    out.push(operation);
    out.extend_from_slice(&revision.to_le_bytes());
    for text in [table, key] {
        out.extend_from_slice(&(text.len() as u16).to_le_bytes());
        out.extend_from_slice(text.as_bytes());
    }
    out.extend_from_slice(bytes);
    let sum = crc32fast::hash(&out[8..]).to_le_bytes();
    out[4..8].copy_from_slice(&sum);
    Ok(out)
}

fn write_snapshot(directory: &Path, number: u64, objects: &[(Arc<str>, Vec<Arc<Record>>)], revision: u64) -> Result<(), Error> {
    let path = directory.join(format!("{number}.tmp"));
    let file = File::create(&path).map_err(io("create", &path))?;
    let mut out = BufWriter::with_capacity(1 << 20, file);
    out.write_all(MAGIC).map_err(io("write", &path))?;
    for (table, records) in objects {
        for record in records {
            out.write_all(&frame(PUT, record.revision, table, &record.key, &record.bytes)?).map_err(io("write", &path))?;
        }
    }
    out.write_all(&frame(END, revision, "", "", b"")?).map_err(io("write", &path))?;
    let file = out.into_inner().map_err(|e| Error::Io { action: "write", path: path.clone(), source: e.into_error() })?;
    file.sync_all().map_err(io("sync", &path))?;
    let done = directory.join(format!("{number}.snapshot"));
    fs::rename(&path, &done).map_err(io("rename", &path))?;
    File::open(directory).and_then(|d| d.sync_all()).map_err(io("sync", directory))
}

/// Applies a file's frames; the length of what could be read.
fn replay(path: &Path, recovered: &mut Recovered, snapshot: bool, last: bool) -> Result<u64, Error> {
    let file = File::open(path).map_err(io("open", path))?;
    let size = file.metadata().map_err(io("read", path))?.len();
    let mut input = BufReader::with_capacity(1 << 20, file);
    let damaged = |offset: u64, why: &'static str| Error::Damaged { path: path.to_owned(), offset, why };
    let mut magic = [0; MAGIC.len()];
    if size < MAGIC.len() as u64 {
        // Killed between creating the file and its first bytes.
        return if last { Ok(0) } else { Err(damaged(0, "it is cut short")) };
    }
    input.read_exact(&mut magic).map_err(io("read", path))?;
    if &magic != MAGIC {
        return Err(damaged(0, "it is no log of this server"));
    }
    let mut offset = MAGIC.len() as u64;
    let mut ended = false;
    while offset < size {
        let mut head = [0; 8];
        if size - offset < 8 {
            break;
        }
        input.read_exact(&mut head).map_err(io("read", path))?;
        let length = u32::from_le_bytes([head[0], head[1], head[2], head[3]]) as usize;
        let sum = u32::from_le_bytes([head[4], head[5], head[6], head[7]]);
        if length > FRAME_MAX {
            return Err(damaged(offset, "a length is impossible"));
        }
        if size - offset - 8 < length as u64 {
            break;
        }
        let mut body = vec![0; length];
        input.read_exact(&mut body).map_err(io("read", path))?;
        if crc32fast::hash(&body) != sum {
            return Err(damaged(offset, "a checksum does not match"));
        }
        ended = apply(body, recovered).ok_or_else(|| damaged(offset, "a record cannot be read"))?;
        offset += 8 + length as u64;
    }
    if snapshot && !ended || offset < size && !last {
        return Err(damaged(offset, "it is cut short"));
    }
    if offset < size {
        tracing::warn!(path = %path.display(), dropped = size - offset, "dropped a write that was never finished");
    }
    Ok(offset)
}

/// Applies one frame; whether it ends a snapshot.
fn apply(body: Vec<u8>, recovered: &mut Recovered) -> Option<bool> {
    let operation = *body.first()?;
    let revision = u64::from_le_bytes(body.get(1..9)?.try_into().ok()?);
    let mut at = 9;
    let mut text = || -> Option<(usize, usize)> {
        let length = u16::from_le_bytes(body.get(at..at + 2)?.try_into().ok()?) as usize;
        let range = (at + 2, at + 2 + length);
        at += 2 + length;
        Some(range)
    };
    let (table, key) = (text()?, text()?);
    let table = std::str::from_utf8(body.get(table.0..table.1)?).ok()?;
    let key = std::str::from_utf8(body.get(key.0..key.1)?).ok()?;
    recovered.revision = recovered.revision.max(revision);
    match operation {
        END => return Some(true),
        DELETE => {
            recovered.tables.get_mut(table)?.remove(key);
        }
        PUT => {
            let record = Record::recover(Arc::from(key), revision, Bytes::copy_from_slice(body.get(at..)?)).ok()?;
            if !recovered.tables.contains_key(table) {
                recovered.tables.insert(Arc::from(table), BTreeMap::new());
            }
            recovered.tables.get_mut(table)?.insert(Arc::clone(&record.key), Arc::new(record));
        }
        _ => return None,
    }
    Some(false)
}

#[cfg(test)]
mod tests {
    use crate::store::{Draft, Expect, Store, Uid};
    use serde_json::json;
    use std::fs;

    fn draft(name: &str, text: &str) -> Draft {
        Draft::new(
            &json!({"kind": "ConfigMap", "apiVersion": "v1", "metadata": {"name": name, "uid": Uid::random().to_string()}, "data": {"t": text}}),
        )
    }

    #[test]
    fn what_was_written_is_there_after_a_restart() {
        let directory = tempfile::tempdir().unwrap();
        let revision = {
            let store = Store::open(Some(directory.path()), super::SNAPSHOT_AFTER).unwrap();
            let a = store.put("t", "a", Expect::Absent, draft("a", "1")).unwrap();
            store.put("t", "b", Expect::Absent, draft("b", "1")).unwrap();
            store.put("t", "a", Expect::Revision(a.revision), draft("a", "2")).unwrap();
            let b = store.get("t", "b").unwrap();
            store.remove("t", "b", b.revision, draft("b", "1")).unwrap();
            store.revision()
        };
        let store = Store::open(Some(directory.path()), super::SNAPSHOT_AFTER).unwrap();
        assert_eq!(store.revision(), revision);
        assert_eq!(store.get("t", "a").unwrap().value()["data"]["t"], "2");
        assert!(store.get("t", "b").is_none());
    }

    #[test]
    fn a_second_server_is_kept_out() {
        let directory = tempfile::tempdir().unwrap();
        let _first = Store::open(Some(directory.path()), super::SNAPSHOT_AFTER).unwrap();
        assert!(matches!(Store::open(Some(directory.path()), super::SNAPSHOT_AFTER), Err(super::Error::InUse(_))));
    }

    #[test]
    fn a_write_cut_short_is_dropped_wherever_the_cut_is_and_damage_is_not() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("1.log");
        let first = {
            let store = Store::open(Some(directory.path()), super::SNAPSHOT_AFTER).unwrap();
            store.put("t", "a", Expect::Absent, draft("a", "1")).unwrap();
            let first = fs::metadata(&path).unwrap().len();
            store.put("t", "b", Expect::Absent, draft("b", "1")).unwrap();
            first
        };
        let whole = fs::read(&path).unwrap();
        for cut in first as usize..whole.len() {
            fs::write(&path, &whole[..cut]).unwrap();
            let store = Store::open(Some(directory.path()), super::SNAPSHOT_AFTER).unwrap();
            assert_eq!(store.count("t"), 1, "cut at {cut}");
            // And it can go on from there.
            store.put("t", "c", Expect::Absent, draft("c", "1")).unwrap();
            drop(store);
            assert_eq!(Store::open(Some(directory.path()), super::SNAPSHOT_AFTER).unwrap().count("t"), 2);
        }
        let mut damaged = whole.clone();
        damaged[first as usize - 3] ^= 1;
        fs::write(&path, &damaged).unwrap();
        assert!(matches!(Store::open(Some(directory.path()), super::SNAPSHOT_AFTER), Err(super::Error::Damaged { .. })));
    }

    #[test]
    fn growth_is_bounded_by_snapshots() {
        let directory = tempfile::tempdir().unwrap();
        let big = "x".repeat(1 << 20);
        let store = Store::open(Some(directory.path()), super::SNAPSHOT_AFTER).unwrap();
        let mut record = store.put("t", "a", Expect::Absent, draft("a", &big)).unwrap();
        for _ in 0..100 {
            record = store.put("t", "a", Expect::Revision(record.revision), draft("a", &big)).unwrap();
        }
        let revision = store.revision();
        drop(store);
        let size = || -> u64 { fs::read_dir(directory.path()).unwrap().map(|e| e.unwrap().metadata().unwrap().len()).sum() };
        // The snapshot is written behind the scenes; opening again needs it or the logs, whichever are there.
        let store = loop {
            match Store::open(Some(directory.path()), super::SNAPSHOT_AFTER) {
                Ok(store) => break store,
                Err(super::Error::InUse(_)) => std::thread::yield_now(),
                Err(other) => panic!("{other}"),
            }
        };
        assert_eq!((store.revision(), store.count("t")), (revision, 1));
        assert!(size() < 80 << 20, "{}", size());
    }
}

//! Objects under one global revision.
//!
//! ```text
//! commit ── log (when durable) ──► table: objects + history ──► latest revision (wakes watchers)
//!                                                          └──► observer (controllers' queues)
//! get, list ◄── table            since(revision) ◄── history
//! ```

mod log;
mod record;
mod table;

pub use log::{Error as LogError, SNAPSHOT_AFTER};
pub use record::{Draft, Record, Uid};
pub use table::{Change, Changes, Event, Table, TooOld};

use log::Log;
use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::{Arc, OnceLock, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use tokio::sync::{Notify, watch};

/// Where an object lies.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Place {
    pub table: Arc<str>,
    pub key: Arc<str>,
}

type Observer = Box<dyn Fn(&Arc<str>, &Event) + Send + Sync>;

pub struct Store {
    inner: RwLock<Inner>,
    observer: OnceLock<Observer>,
    /// Present when there is a disk to bring writes to.
    disk: Option<Disk>,
}

/// How far the disk is behind. Whoever waits for a write waits together with everybody else who does.
struct Disk {
    wanted: Notify,
    done: watch::Sender<Synced>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Synced {
    revision: u64,
    /// A disk that failed once cannot be trusted again.
    failed: bool,
}

/// A write that was made may not be on the disk.
#[derive(Debug, thiserror::Error)]
#[error("the write may not be on the disk")]
pub struct NotSynced;

struct Inner {
    revision: u64,
    /// The revision at which the store was opened: of what came later, everything is known.
    opened_at: u64,
    tables: HashMap<Arc<str>, Table>,
    /// Which objects name this one as their owner.
    dependents: HashMap<Uid, HashSet<Place>>,
    places: HashMap<Uid, Place>,
    log: Option<Log>,
}

/// What must hold for a write to happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expect {
    Absent,
    Revision(u64),
}

/// Why a write did not happen; nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    #[error("the object exists already")]
    Exists(Arc<Record>),
    #[error("the object has changed meanwhile")]
    Changed,
    #[error("the object does not exist")]
    Missing,
    #[error("the namespace does not exist")]
    NoNamespace,
    #[error("the namespace is being terminated")]
    NamespaceEnds,
    #[error(transparent)]
    Log(#[from] LogError),
}

/// A page of a list.
pub struct Page {
    pub revision: u64,
    pub items: Vec<Arc<Record>>,
}

pub const NAMESPACES: &str = "namespaces";

impl Store {
    /// Opens the directory, or keeps everything in memory.
    pub fn open(directory: Option<&Path>, snapshot_after: u64) -> Result<Self, LogError> {
        // A revision of 1 is never an object's: "0" has a meaning of its own in requests.
        let mut inner =
            Inner { revision: 1, opened_at: 1, tables: HashMap::new(), dependents: HashMap::new(), places: HashMap::new(), log: None };
        if let Some(directory) = directory {
            let (log, recovered) = Log::open(directory, snapshot_after)?;
            inner.revision = recovered.revision.max(1);
            inner.opened_at = inner.revision;
            for (table, objects) in recovered.tables {
                let mut made = Table::new(Arc::clone(&table), inner.revision);
                for record in objects.values() {
                    index(&mut inner.dependents, &mut inner.places, &table, record);
                }
                made.objects = objects;
                inner.tables.insert(table, made);
            }
            inner.log = Some(log);
        }
        let disk = inner
            .log
            .as_ref()
            .map(|_| Disk { wanted: Notify::new(), done: watch::Sender::new(Synced { revision: inner.revision, failed: false }) });
        Ok(Self { inner: RwLock::new(inner), observer: OnceLock::new(), disk })
    }

    /// Calls `observer` after every change, in order, while the store is locked: it must be quick and must not come back here.
    pub fn observe(&self, observer: Observer) {
        let _ = self.observer.set(observer);
    }

    // A panic while the lock is held cannot leave a half-made change behind: every change is complete before it is recorded.
    fn read(&self) -> RwLockReadGuard<'_, Inner> {
        self.inner.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Inner> {
        self.inner.write().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn revision(&self) -> u64 {
        self.read().revision
    }

    pub fn get(&self, table: &str, key: &str) -> Option<Arc<Record>> {
        self.read().tables.get(table)?.objects.get(key).cloned()
    }

    /// Whether an object could be created under this key now.
    pub fn may_create(&self, key: &str) -> Result<(), Refused> {
        self.read().check_namespace(key)
    }

    /// Everything below `prefix`, now.
    pub fn all(&self, table: &str, prefix: &str) -> Vec<Arc<Record>> {
        self.list(table, None, prefix, None, usize::MAX - 1).map(|page| page.items).unwrap_or_default()
    }

    pub fn list(&self, table: &str, at: Option<u64>, prefix: &str, start: Option<&str>, limit: usize) -> Result<Page, TooOld> {
        let inner = self.read();
        let revision = at.unwrap_or(inner.revision);
        let items = match inner.tables.get(table) {
            Some(table) => table.list_at(at.filter(|at| *at < inner.revision), prefix, start, limit)?,
            None => Vec::new(),
        };
        Ok(Page { revision, items })
    }

    /// Up to `max` changes of a table after `revision`.
    pub fn since(&self, table: &str, revision: u64, max: usize) -> Result<Changes, TooOld> {
        let inner = self.read();
        match inner.tables.get(table) {
            Some(table) => table.since(revision, max, inner.revision),
            None => Ok(Changes { after: revision, events: Vec::new(), upto: inner.revision, watchers: 0 }),
        }
    }

    /// Wakes whenever the table changes.
    pub fn subscribe(&self, table: &str) -> watch::Receiver<u64> {
        if let Some(table) = self.read().tables.get(table) {
            return table.latest.subscribe();
        }
        let mut inner = self.write();
        inner.table(table).latest.subscribe()
    }

    pub fn place_of(&self, uid: Uid) -> Option<Place> {
        self.read().places.get(&uid).cloned()
    }

    pub fn dependents_of(&self, uid: Uid) -> Vec<Place> {
        self.read().dependents.get(&uid).map(|places| places.iter().cloned().collect()).unwrap_or_default()
    }

    pub fn count(&self, table: &str) -> usize {
        self.read().tables.get(table).map_or(0, |table| table.objects.len())
    }

    pub fn table_names(&self) -> Vec<Arc<str>> {
        self.read().tables.values().filter(|table| !table.objects.is_empty()).map(|table| Arc::clone(&table.name)).collect()
    }

    /// Creates or replaces an object.
    pub fn put(&self, table: &str, key: &str, expect: Expect, draft: Draft) -> Result<Arc<Record>, Refused> {
        let mut inner = self.write();
        let before = inner.tables.get(table).and_then(|t| t.objects.get(key)).cloned();
        match (expect, &before) {
            (Expect::Absent, Some(there)) => return Err(Refused::Exists(Arc::clone(there))),
            (Expect::Absent, None) => inner.check_namespace(key)?,
            (Expect::Revision(_), None) => return Err(Refused::Missing),
            (Expect::Revision(wanted), Some(there)) if there.revision != wanted => return Err(Refused::Changed),
            (Expect::Revision(_), Some(_)) => {}
        }
        let key = before.as_ref().map_or_else(|| Arc::from(key), |record| Arc::clone(&record.key));
        let change = if before.is_some() { Change::Modified } else { Change::Added };
        self.commit(&mut inner, table, key, draft, before, change)
    }

    /// Removes an object; `draft` is what its last event shows.
    pub fn remove(&self, table: &str, key: &str, expect: u64, draft: Draft) -> Result<Arc<Record>, Refused> {
        let mut inner = self.write();
        let before = inner.tables.get(table).and_then(|t| t.objects.get(key)).cloned().ok_or(Refused::Missing)?;
        if before.revision != expect {
            return Err(Refused::Changed);
        }
        let key = Arc::clone(&before.key);
        self.commit(&mut inner, table, key, draft, Some(before), Change::Deleted)
    }

    fn commit(
        &self,
        inner: &mut Inner,
        table: &str,
        key: Arc<str>,
        draft: Draft,
        before: Option<Arc<Record>>,
        change: Change,
    ) -> Result<Arc<Record>, Refused> {
        let revision = inner.revision + 1;
        let record = Arc::new(draft.finish(Arc::clone(&key), revision));
        if let Some(log) = &mut inner.log {
            log.append(table, &record, change == Change::Deleted)?;
        }
        inner.revision = revision;
        inner.table(table);
        let Inner { tables, dependents, places, .. } = inner;
        let Some(at) = tables.get_mut(table) else { return Err(Refused::Missing) };
        let name = Arc::clone(&at.name);
        if let Some(before) = &before {
            unindex(dependents, places, &name, before);
        }
        if change == Change::Deleted {
            at.objects.remove(&key);
        } else {
            at.objects.insert(key, Arc::clone(&record));
            index(dependents, places, &name, &record);
        }
        let event = Event { change, record: Arc::clone(&record), before };
        if let Some(observer) = self.observer.get() {
            observer(&name, &event);
        }
        at.record(event);
        if inner.log.as_ref().is_some_and(Log::wants_snapshot) {
            let Inner { tables, log, revision, .. } = inner;
            if let Some(log) = log {
                let objects = tables.values().map(|t| (Arc::clone(&t.name), t.objects.values().cloned().collect())).collect();
                log.rotate(objects, *revision)?;
            }
        }
        Ok(record)
    }

    /// Brings everything written so far to the disk itself.
    pub fn sync(&self) -> Result<(), LogError> {
        let Some(disk) = &self.disk else { return Ok(()) };
        let (file, revision) = {
            let inner = self.read();
            let Some(log) = &inner.log else { return Ok(()) };
            (log.file()?, inner.revision)
        };
        let done = log::sync(&file);
        disk.done.send_modify(|synced| {
            synced.failed |= done.is_err();
            synced.revision = synced.revision.max(revision);
        });
        done
    }

    /// Waits until every write made so far is on the disk; at once when nothing is kept there.
    pub async fn synced(&self) -> Result<(), NotSynced> {
        let Some(disk) = &self.disk else { return Ok(()) };
        let revision = self.revision();
        let mut done = disk.done.subscribe();
        if done.borrow_and_update().revision < revision {
            disk.wanted.notify_one();
        }
        match done.wait_for(|synced| synced.failed || synced.revision >= revision).await {
            Ok(synced) if !synced.failed => Ok(()),
            _ => Err(NotSynced),
        }
    }

    /// Returns when somebody waits for the disk; never when there is none.
    pub async fn sync_wanted(&self) {
        match &self.disk {
            Some(disk) => disk.wanted.notified().await,
            None => std::future::pending().await,
        }
    }
}

impl Inner {
    fn table(&mut self, name: &str) -> &mut Table {
        if !self.tables.contains_key(name) {
            let name: Arc<str> = Arc::from(name);
            // Nothing has happened in it yet, so whoever saw it empty has missed nothing.
            self.tables.insert(Arc::clone(&name), Table::new(name, self.opened_at));
        }
        self.tables.get_mut(name).expect("it was inserted above")
    }

    /// A new object needs a living namespace; checked here, so that no object slips into one that ends.
    fn check_namespace(&self, key: &str) -> Result<(), Refused> {
        let Some((namespace, _)) = key.split_once('/') else { return Ok(()) };
        match self.tables.get(NAMESPACES).and_then(|t| t.objects.get(namespace)) {
            None => Err(Refused::NoNamespace),
            Some(record) if record.facts.deleting => Err(Refused::NamespaceEnds),
            Some(_) => Ok(()),
        }
    }
}

fn index(dependents: &mut HashMap<Uid, HashSet<Place>>, places: &mut HashMap<Uid, Place>, table: &Arc<str>, record: &Record) {
    let place = || Place { table: Arc::clone(table), key: Arc::clone(&record.key) };
    if let Some(uid) = record.facts.uid {
        places.insert(uid, place());
    }
    for owner in &record.facts.owners {
        dependents.entry(owner.uid).or_default().insert(place());
    }
}

fn unindex(dependents: &mut HashMap<Uid, HashSet<Place>>, places: &mut HashMap<Uid, Place>, table: &Arc<str>, record: &Record) {
    if let Some(uid) = record.facts.uid {
        places.remove(&uid);
    }
    let place = Place { table: Arc::clone(table), key: Arc::clone(&record.key) };
    for owner in &record.facts.owners {
        if let Some(set) = dependents.get_mut(&owner.uid) {
            set.remove(&place);
            if set.is_empty() {
                dependents.remove(&owner.uid);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn draft(name: &str, data: u32) -> Draft {
        Draft::new(
            &json!({"kind": "ConfigMap", "apiVersion": "v1", "metadata": {"name": name, "uid": Uid::random().to_string()}, "data": {"n": data}}),
        )
    }

    fn names(page: &Page) -> Vec<String> {
        page.items.iter().map(|r| format!("{}={}", r.name(), r.value()["data"]["n"])).collect()
    }

    #[test]
    fn a_list_in_the_past_shows_what_stood_there_then() {
        let store = Store::open(None, SNAPSHOT_AFTER).unwrap();
        for name in ["a", "b", "c"] {
            store.put("t", name, Expect::Absent, draft(name, 1)).unwrap();
        }
        let then = store.revision();
        let b = store.get("t", "b").unwrap();
        store.put("t", "b", Expect::Revision(b.revision), draft("b", 2)).unwrap();
        let c = store.get("t", "c").unwrap();
        store.remove("t", "c", c.revision, draft("c", 1)).unwrap();
        store.put("t", "d", Expect::Absent, draft("d", 1)).unwrap();
        assert_eq!(names(&store.list("t", Some(then), "", None, 10).unwrap()), ["a=1", "b=1", "c=1"]);
        assert_eq!(names(&store.list("t", None, "", None, 10).unwrap()), ["a=1", "b=2", "d=1"]);
        assert_eq!(names(&store.list("t", Some(then), "", Some("a"), 10).unwrap()), ["b=1", "c=1"]);
        // One more than the limit says that there is more.
        assert_eq!(store.list("t", None, "", None, 1).unwrap().items.len(), 2);
    }

    #[test]
    fn who_saw_a_table_empty_misses_nothing_of_what_comes_into_it() {
        let store = Store::open(None, SNAPSHOT_AFTER).unwrap();
        let seen = store.list("t", None, "", None, 10).unwrap().revision;
        store.put("other", "x", Expect::Absent, draft("x", 1)).unwrap();
        // The first watch, and the first object, come after the list.
        let _latest = store.subscribe("t");
        store.put("t", "a", Expect::Absent, draft("a", 1)).unwrap();
        let changes = store.since("t", seen, 10).unwrap();
        assert_eq!((changes.events.len(), changes.upto, changes.watchers), (1, store.revision(), 1));
        assert!(store.since("untouched", seen, 10).unwrap().events.is_empty());
    }

    #[test]
    fn a_write_on_an_old_sight_is_refused() {
        let store = Store::open(None, SNAPSHOT_AFTER).unwrap();
        let first = store.put("t", "a", Expect::Absent, draft("a", 1)).unwrap();
        store.put("t", "a", Expect::Revision(first.revision), draft("a", 2)).unwrap();
        assert!(matches!(store.put("t", "a", Expect::Revision(first.revision), draft("a", 3)), Err(Refused::Changed)));
        assert!(matches!(store.put("t", "a", Expect::Absent, draft("a", 3)), Err(Refused::Exists(_))));
        assert!(matches!(store.put("t", "ns/a", Expect::Absent, draft("a", 3)), Err(Refused::NoNamespace)));
    }

    #[test]
    fn history_is_bounded_and_says_when_it_is_too_short() {
        let store = Store::open(None, SNAPSHOT_AFTER).unwrap();
        let mut record = store.put("t", "a", Expect::Absent, draft("a", 0)).unwrap();
        let start = record.revision;
        let big = "x".repeat(1 << 20);
        for _ in 0..20 {
            let next = Draft::new(&json!({"kind": "ConfigMap", "apiVersion": "v1", "metadata": {"name": "a"}, "data": {"n": big}}));
            record = store.put("t", "a", Expect::Revision(record.revision), next).unwrap();
        }
        assert!(store.since("t", start, 100).is_err());
        let changes = store.since("t", record.revision - 3, 100).unwrap();
        assert_eq!((changes.after, changes.events.len(), changes.upto), (record.revision - 3, 3, record.revision));
        assert_eq!(store.since("t", record.revision - 3, 2).unwrap().upto, record.revision - 1);
    }
}

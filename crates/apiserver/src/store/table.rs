use super::record::Record;
use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;
use std::sync::Arc;
use tokio::sync::watch;

/// How a table changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    Added,
    Modified,
    Deleted,
}

/// One change: the object after it (for a deletion, the object as it was last, at the revision of its deletion), and before.
#[derive(Clone)]
pub struct Event {
    pub change: Change,
    pub record: Arc<Record>,
    pub before: Option<Arc<Record>>,
}

/// All objects of one resource, and what happened to them of late.
pub struct Table {
    pub name: Arc<str>,
    pub objects: BTreeMap<Arc<str>, Arc<Record>>,
    history: VecDeque<Event>,
    /// Every change after this revision is in the history.
    complete_after: u64,
    /// Bytes kept alive only by the history.
    replaced_bytes: usize,
    pub latest: watch::Sender<u64>,
}

/// Old versions are kept up to so many bytes and so many changes per table; whoever is further behind lists anew.
const REPLACED_BYTES_MAX: usize = 16 << 20;
const EVENTS_MAX: usize = 65_536;

/// A piece of a table's history.
pub struct Changes {
    /// Where the piece begins: nothing happened between this revision and its first change.
    pub after: u64,
    pub events: Vec<Event>,
    /// The piece is complete up to this revision.
    pub upto: u64,
    /// How many watch the table.
    pub watchers: usize,
}

/// The window into the past no longer holds what was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooOld {
    pub oldest: u64,
}

impl Table {
    pub fn new(name: Arc<str>, revision: u64) -> Self {
        Self {
            name,
            objects: BTreeMap::new(),
            history: VecDeque::new(),
            complete_after: revision,
            replaced_bytes: 0,
            latest: watch::Sender::new(revision),
        }
    }

    pub fn record(&mut self, event: Event) {
        self.replaced_bytes += event.before.as_ref().map_or(0, |r| r.bytes.len());
        if event.change == Change::Deleted {
            self.replaced_bytes += event.record.bytes.len();
        }
        let revision = event.record.revision;
        self.history.push_back(event);
        while self.history.len() > EVENTS_MAX || (self.replaced_bytes > REPLACED_BYTES_MAX && self.history.len() > 1) {
            let Some(gone) = self.history.pop_front() else { break };
            self.complete_after = gone.record.revision;
            self.replaced_bytes -= gone.before.as_ref().map_or(0, |r| r.bytes.len());
            if gone.change == Change::Deleted {
                self.replaced_bytes -= gone.record.bytes.len();
            }
        }
        self.latest.send_replace(revision);
    }

    /// Up to `max` changes after `revision`, oldest first; `now` is the revision of the store.
    pub fn since(&self, revision: u64, max: usize, now: u64) -> Result<Changes, TooOld> {
        if revision < self.complete_after {
            return Err(TooOld { oldest: self.complete_after });
        }
        let from = self.history.partition_point(|event| event.record.revision <= revision);
        let events: Vec<Event> = self.history.range(from..).take(max).cloned().collect();
        let after =
            from.checked_sub(1).and_then(|before| self.history.get(before)).map_or(self.complete_after, |event| event.record.revision);
        let upto = if events.len() == max { events.last().map_or(revision, |event| event.record.revision) } else { now };
        Ok(Changes { after, events, upto, watchers: self.latest.receiver_count() })
    }

    /// The objects below `prefix` as they were at `revision`, from `start` (exclusive), at most `limit` and one more.
    pub fn list_at(&self, revision: Option<u64>, prefix: &str, start: Option<&str>, limit: usize) -> Result<Vec<Arc<Record>>, TooOld> {
        let mut earlier: BTreeMap<&str, Option<&Arc<Record>>> = BTreeMap::new();
        if let Some(revision) = revision {
            if revision < self.complete_after {
                return Err(TooOld { oldest: self.complete_after });
            }
            let from = self.history.partition_point(|event| event.record.revision <= revision);
            for event in self.history.range(from..).rev() {
                earlier.insert(&event.record.key, event.before.as_ref());
            }
        }
        let low: Bound<&str> = match start {
            Some(start) => Bound::Excluded(start),
            None => Bound::Included(prefix),
        };
        let mut now = self.objects.range::<str, _>((low, Bound::Unbounded)).take_while(|(key, _)| key.starts_with(prefix)).peekable();
        let mut past = earlier.range::<str, _>((low, Bound::Unbounded)).take_while(|(key, _)| key.starts_with(prefix)).peekable();
        let mut out = Vec::new();
        while out.len() <= limit {
            let take_past = match (now.peek(), past.peek()) {
                (None, None) => break,
                (None, Some(_)) => true,
                (Some(_), None) => false,
                (Some((now, _)), Some((past, _))) => **past <= &***now,
            };
            if take_past {
                let Some((key, record)) = past.next() else { break };
                // What stands at this key now came later.
                now.next_if(|(current, _)| &***current == *key);
                out.extend(record.iter().map(|r| Arc::clone(r)));
            } else if let Some((_, record)) = now.next() {
                out.push(Arc::clone(record));
            }
        }
        Ok(out)
    }
}

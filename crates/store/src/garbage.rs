//! Which files of an object may go.

use std::time::{Duration, SystemTime};

/// How long and how many old files stay, beside the current one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// Files older than this go. Consumers that learned of a file just before need it for a while.
    pub ttl: Duration,
    /// Of the younger ones at most this many stay, the current one counted.
    pub records: usize,
}

impl Default for Retention {
    fn default() -> Self {
        Self { ttl: Duration::from_secs(60), records: 2 }
    }
}

/// Files of one object that are looked at, at most.
pub(crate) const FILES_MAX: usize = 1000;

/// A file of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Candidate {
    pub(crate) name: String,
    pub(crate) modified: SystemTime,
}

/// The names of the files to delete: first what is too old, then the oldest until only `records` are left. Never `current`.
pub(crate) fn choose(mut files: Vec<Candidate>, current: &str, retention: Retention, now: SystemTime) -> Vec<String> {
    files.sort_by(|a, b| (a.modified, &a.name).cmp(&(b.modified, &b.name)));
    let total = files.len();
    let expired = |file: &Candidate| now.duration_since(file.modified).is_ok_and(|age| age > retention.ttl);
    let mut garbage: Vec<String> = files.iter().filter(|f| f.name != current && expired(f)).map(|f| f.name.clone()).collect();
    for file in &files {
        if total - garbage.len() <= retention.records {
            break;
        }
        if file.name != current && !garbage.contains(&file.name) {
            garbage.push(file.name.clone());
        }
    }
    garbage
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(ages: &[(&str, u64)], records: usize) -> Vec<String> {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(10_000);
        let files =
            ages.iter().map(|(name, age)| Candidate { name: (*name).to_owned(), modified: now - Duration::from_secs(*age) }).collect();
        choose(files, "current", Retention { ttl: Duration::from_secs(60), records }, now)
    }

    #[test]
    fn age_decides_first_and_then_the_count() {
        assert_eq!(chosen(&[("current", 5), ("a", 10)], 2), Vec::<String>::new());
        assert_eq!(chosen(&[("current", 5), ("a", 61)], 2), ["a"]);
        assert_eq!(chosen(&[("current", 5), ("a", 10), ("b", 20), ("c", 30)], 2), ["c", "b"]);
        assert_eq!(chosen(&[("current", 5), ("old", 100), ("b", 20), ("c", 30)], 2), ["old", "c"]);
        assert_eq!(chosen(&[("current", 5000), ("new", 1)], 2), Vec::<String>::new(), "the current file is never too old");
        assert_eq!(chosen(&[("current", 5), ("a", 10)], 0), ["a"]);
    }
}

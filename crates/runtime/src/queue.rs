use crate::backoff::Backoff;
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::hash::Hash;
use std::time::Duration;
use tokio::time::Instant;

/// Which object is to be reconciled when. A plain value: time is passed in, nothing waits in here.
///
/// ```text
/// add ──────────────► ready (first in, first out) ──take──► running ──done──► idle, or
/// add_at ──► timers ──due──┘        ▲                          │              ready (asked for meanwhile), or
///                                   └──── asked for meanwhile ─┘              timers (next visit)
/// ```
///
/// A key is in one place only: however often it is asked for, it waits once, and it never runs twice at a time.
#[derive(Debug)]
pub struct Queue<K> {
    entries: HashMap<K, Entry>,
    ready: VecDeque<K>,
    timers: BTreeSet<(Instant, u64, K)>,
    next_timer: u64,
    backoff: Backoff,
}

#[derive(Debug)]
struct Entry {
    state: State,
    timer: Option<(Instant, u64)>,
    failures: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Idle,
    Ready { since: Instant },
    Running { since: Instant, again: bool, forgotten: bool },
}

/// What comes after a reconcile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Nothing until it is asked for.
    Rest,
    /// At the end of the queue again.
    Now,
    After(Duration),
    /// It failed: after a delay that doubles with each failure in a row.
    Backoff,
}

impl<K: Clone + Eq + Hash + Ord> Queue<K> {
    pub fn new(backoff: Backoff) -> Self {
        Self { entries: HashMap::new(), ready: VecDeque::new(), timers: BTreeSet::new(), next_timer: 0, backoff }
    }

    /// Asks for a key now. Returns true when that put it in line, false when it was in line already.
    pub fn add(&mut self, key: &K, now: Instant) -> bool {
        let entry = self.entries.entry(key.clone()).or_insert(Entry { state: State::Idle, timer: None, failures: 0 });
        match &mut entry.state {
            State::Ready { .. } => false,
            State::Running { again, .. } => !std::mem::replace(again, true),
            State::Idle => {
                entry.state = State::Ready { since: now };
                if let Some((at, number)) = entry.timer.take() {
                    self.timers.remove(&(at, number, key.clone()));
                }
                self.ready.push_back(key.clone());
                true
            }
        }
    }

    /// Asks for a key at a time; an earlier time that is already set stays.
    pub fn add_at(&mut self, key: &K, at: Instant) {
        let entry = self.entries.entry(key.clone()).or_insert(Entry { state: State::Idle, timer: None, failures: 0 });
        if matches!(entry.state, State::Ready { .. }) || entry.timer.is_some_and(|(set, _)| set <= at) {
            return;
        }
        if let Some((set, number)) = entry.timer.take() {
            self.timers.remove(&(set, number, key.clone()));
        }
        self.next_timer += 1;
        entry.timer = Some((at, self.next_timer));
        self.timers.insert((at, self.next_timer, key.clone()));
    }

    /// Puts what is due in line and returns the first key, with the time it waited in line.
    pub fn take(&mut self, now: Instant) -> Option<(K, Duration)> {
        self.ripen(now);
        while let Some(key) = self.ready.pop_front() {
            // A key that was forgotten while in line is gone from `entries`.
            if let Some(entry) = self.entries.get_mut(&key)
                && let State::Ready { since } = entry.state
            {
                entry.state = State::Running { since: now, again: false, forgotten: false };
                return Some((key, now.saturating_duration_since(since)));
            }
        }
        None
    }

    /// Moves what is due from the timers into line; returns how many.
    pub fn ripen(&mut self, now: Instant) -> usize {
        let mut count = 0;
        while let Some((at, _, _)) = self.timers.first()
            && *at <= now
        {
            let Some((_, _, key)) = self.timers.pop_first() else { break };
            if let Some(entry) = self.entries.get_mut(&key) {
                entry.timer = None;
            }
            count += usize::from(self.add(&key, now));
        }
        count
    }

    /// When the next timer is due.
    pub fn next_due(&self) -> Option<Instant> {
        self.timers.first().map(|(at, _, _)| *at)
    }

    /// Ends the run of a key. Returns the delay when the key was put off by back-off.
    pub fn done(&mut self, key: &K, next: Next, now: Instant) -> Option<Duration> {
        let backoff = self.backoff;
        let entry = self.entries.get_mut(key)?;
        let State::Running { again, forgotten, .. } = entry.state else { return None };
        // A time that was set while it ran stays: whoever set it may know what the run could not see yet.
        entry.state = State::Idle;
        if forgotten {
            self.entries.remove(key);
            if again {
                self.add(key, now);
            }
            return None;
        }
        let delay = match next {
            Next::Backoff => {
                entry.failures = entry.failures.saturating_add(1);
                Some(backoff.delay(entry.failures))
            }
            Next::Now => None,
            Next::Rest | Next::After(_) => {
                entry.failures = 0;
                None
            }
        };
        match (again, next) {
            (true, _) | (_, Next::Now) => {
                self.add(key, now);
            }
            (_, Next::Backoff) => self.add_at(key, now + delay.unwrap_or_default()),
            (_, Next::After(after)) => self.add_at(key, now + after),
            // Whoever triggers names that nobody has must not fill the memory.
            (_, Next::Rest) => {
                if self.entries.get(key).is_some_and(|entry| entry.timer.is_none()) {
                    self.entries.remove(key);
                }
            }
        }
        delay
    }

    /// Drops a key. If it runs, what its end says is ignored; asked for again meanwhile, it runs after that end.
    pub fn forget(&mut self, key: &K) {
        let Some(entry) = self.entries.get_mut(key) else { return };
        if let Some((at, number)) = entry.timer.take() {
            self.timers.remove(&(at, number, key.clone()));
        }
        match &mut entry.state {
            State::Running { again, forgotten, .. } => (*again, *forgotten) = (false, true),
            State::Ready { .. } | State::Idle => {
                self.entries.remove(key);
                self.ready.retain(|waiting| waiting != key);
            }
        }
    }

    pub fn failures(&self, key: &K) -> u32 {
        self.entries.get(key).map_or(0, |entry| entry.failures)
    }

    /// How many wait in line.
    pub fn depth(&self) -> usize {
        self.ready.len()
    }

    /// How long the first in line has been waiting.
    pub fn waiting(&self, now: Instant) -> Duration {
        let first = self.ready.front().and_then(|key| self.entries.get(key));
        match first.map(|entry| entry.state) {
            Some(State::Ready { since }) => now.saturating_duration_since(since),
            _ => Duration::ZERO,
        }
    }

    /// How long the keys that run now have been running.
    pub fn running(&self, now: Instant) -> impl Iterator<Item = Duration> {
        self.entries.values().filter_map(move |entry| match entry.state {
            State::Running { since, .. } => Some(now.saturating_duration_since(since)),
            _ => None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn queue() -> (Queue<&'static str>, Instant) {
        (Queue::new(Backoff::default()), Instant::now())
    }

    #[test]
    fn a_key_waits_once_however_often_it_is_asked_for() {
        let (mut queue, now) = queue();
        assert!(queue.add(&"a", now));
        assert!(queue.add(&"b", now));
        assert!(!queue.add(&"a", now));
        assert_eq!(queue.depth(), 2);
        assert_eq!(queue.take(now + SECOND), Some(("a", SECOND)));
        assert_eq!(queue.take(now).map(|(key, _)| key), Some("b"));
        assert_eq!(queue.take(now), None);
    }

    #[test]
    fn a_key_never_runs_twice_at_a_time_and_runs_again_when_asked_for_meanwhile() {
        let (mut queue, now) = queue();
        queue.add(&"a", now);
        queue.take(now);
        assert!(queue.add(&"a", now));
        assert!(!queue.add(&"a", now));
        assert_eq!(queue.take(now), None, "it still runs");
        queue.done(&"a", Next::Rest, now);
        assert_eq!(queue.take(now).map(|(key, _)| key), Some("a"));
        queue.done(&"a", Next::Rest, now);
        assert_eq!(queue.take(now + SECOND * 9999), None);
    }

    #[test]
    fn the_earliest_time_counts_and_a_run_replaces_it() {
        let (mut queue, now) = queue();
        queue.add_at(&"a", now + SECOND * 60);
        queue.add_at(&"a", now + SECOND * 10);
        queue.add_at(&"a", now + SECOND * 30);
        assert_eq!(queue.next_due(), Some(now + SECOND * 10));
        assert_eq!(queue.take(now + SECOND * 9), None);
        queue.add(&"a", now + SECOND * 9);
        assert_eq!(queue.next_due(), None, "asking for it now makes the timer void");
        queue.take(now + SECOND * 9);
        queue.done(&"a", Next::After(SECOND * 60), now + SECOND * 10);
        assert_eq!(queue.next_due(), Some(now + SECOND * 70));
        assert_eq!(queue.ripen(now + SECOND * 70), 1);
        assert_eq!(queue.depth(), 1);
    }

    #[test]
    fn a_time_set_during_a_run_is_kept_when_it_is_earlier_than_what_the_run_asks_for() {
        let (mut queue, now) = queue();
        queue.add(&"a", now);
        queue.take(now);
        queue.add_at(&"a", now + SECOND * 5);
        queue.done(&"a", Next::After(SECOND * 60), now);
        assert_eq!(queue.next_due(), Some(now + SECOND * 5));
        queue.take(now + SECOND * 5).unwrap();
        queue.add_at(&"a", now + SECOND * 90);
        queue.done(&"a", Next::After(SECOND * 60), now + SECOND * 5);
        assert_eq!(queue.next_due(), Some(now + SECOND * 65));
        assert_eq!(queue.waiting(now + SECOND * 70), Duration::ZERO);
        queue.ripen(now + SECOND * 65);
        assert_eq!(queue.waiting(now + SECOND * 70), SECOND * 5);
    }

    #[test]
    fn failures_in_a_row_wait_longer_until_one_run_succeeds() {
        let (mut queue, now) = queue();
        queue.add(&"a", now);
        let mut at = now;
        for millis in [750, 1500, 3000] {
            queue.take(at).unwrap();
            let delay = queue.done(&"a", Next::Backoff, at).unwrap();
            assert_eq!(delay.as_millis(), millis);
            assert_eq!(queue.next_due(), Some(at + delay));
            at += delay;
        }
        queue.take(at).unwrap();
        queue.done(&"a", Next::After(SECOND), at);
        assert_eq!(queue.failures(&"a"), 0);
    }

    #[test]
    fn now_keeps_the_count_of_failures_and_goes_to_the_end_of_the_line() {
        let (mut queue, now) = queue();
        queue.add(&"a", now);
        queue.take(now);
        queue.done(&"a", Next::Backoff, now);
        queue.add(&"a", now);
        queue.add(&"b", now);
        queue.take(now);
        queue.done(&"a", Next::Now, now);
        assert_eq!(queue.failures(&"a"), 1);
        assert_eq!(queue.take(now).map(|(key, _)| key), Some("b"));
        assert_eq!(queue.take(now).map(|(key, _)| key), Some("a"));
    }

    #[test]
    fn a_forgotten_key_leaves_nothing_behind() {
        let (mut queue, now) = queue();
        queue.add(&"a", now);
        queue.add_at(&"b", now);
        queue.add(&"c", now);
        queue.forget(&"a");
        queue.forget(&"b");
        assert_eq!(queue.take(now).map(|(key, _)| key), Some("c"));
        queue.forget(&"c");
        assert_eq!(queue.done(&"c", Next::Now, now), None);
        assert_eq!((queue.take(now), queue.next_due(), queue.depth()), (None, None, 0));
        queue.add(&"d", now);
        queue.take(now);
        queue.done(&"d", Next::Rest, now);
        assert!(queue.entries.is_empty(), "a key at rest takes no memory");
    }

    #[test]
    fn a_key_that_is_forgotten_and_made_again_while_it_runs_still_runs_once_at_a_time() {
        let (mut queue, now) = queue();
        queue.add(&"a", now);
        queue.take(now);
        queue.forget(&"a");
        queue.add(&"a", now);
        assert_eq!(queue.take(now), None, "the old run has not ended");
        queue.done(&"a", Next::Backoff, now);
        assert_eq!(queue.take(now).map(|(key, _)| key), Some("a"));
        assert_eq!(queue.failures(&"a"), 0);
    }

    #[test]
    fn keys_due_at_the_same_time_run_in_the_order_they_were_set() {
        let (mut queue, now) = queue();
        for key in ["d", "b", "a", "c"] {
            queue.add_at(&key, now + SECOND);
        }
        let order: Vec<_> = std::iter::from_fn(|| queue.take(now + SECOND).map(|(key, _)| key)).collect();
        assert_eq!(order, ["d", "b", "a", "c"]);
    }
}

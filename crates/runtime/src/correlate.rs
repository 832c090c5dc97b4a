use crate::report::Severity;
use std::collections::{HashMap, HashSet, VecDeque};
use std::hash::{BuildHasher, Hash, RandomState};
use std::time::Duration;
use tokio::time::Instant;

/// What tells one event from another.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct EventKey {
    pub(crate) uid: String,
    pub(crate) severity: Severity,
    pub(crate) reason: String,
    pub(crate) message: String,
}

/// What to do with an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Action {
    /// Write a new one with this message.
    Create { message: String },
    /// It was written before under this name: raise its count.
    Repeat { name: String, message: String, count: u32 },
    /// Too many of this object.
    Drop,
}

/// Keeps repeated events together as client-go's correlator does.
///
/// 1. An object may have 25 events at once and then one every five minutes.
/// 2. When more than ten events of an object differ in their message only, they become one, "(combined from similar events)".
/// 3. An event that was written already is counted, not written again.
pub(crate) struct Correlator {
    marks: Marks,
    buckets: Recent<Bucket>,
    similar: Recent<Similar>,
    written: Recent<Written>,
}

/// Stands for a text or several: thousands of them are remembered, and only ever compared.
type Mark = u128;

/// Two keyed hashes side by side; nobody who writes messages knows the keys, and so nobody makes two that are one.
struct Marks([RandomState; 2]);

impl Marks {
    fn of(&self, texts: impl Hash) -> Mark {
        let [low, high] = &self.0;
        u128::from(high.hash_one(&texts)) << 64 | u128::from(low.hash_one(&texts))
    }
}

struct Bucket {
    tokens: f64,
    at: Instant,
}

struct Similar {
    messages: HashSet<Mark>,
    at: Instant,
}

struct Written {
    name: String,
    count: u32,
}

const REMEMBERED_MAX: usize = 4096;
const BURST: f64 = 25.0;
const REFILL: Duration = Duration::from_secs(300);
const SIMILAR_MAX: usize = 10;
const SIMILAR_WITHIN: Duration = Duration::from_secs(600);

impl Correlator {
    pub(crate) fn new() -> Self {
        let marks = Marks([RandomState::new(), RandomState::new()]);
        Self { marks, buckets: Recent::new(), similar: Recent::new(), written: Recent::new() }
    }

    pub(crate) fn decide(&mut self, event: &EventKey, now: Instant) -> (EventKey, Action) {
        let key = self.combined(event, now);
        if !self.has_token(event, now) {
            return (key, Action::Drop);
        }
        let message = key.message.clone();
        let action = match self.written.get(self.marks.of(&key)) {
            Some(written) => {
                written.count += 1;
                Action::Repeat { name: written.name.clone(), message: shown(&key, event), count: written.count }
            }
            None => Action::Create { message: if message == COMBINED { shown(&key, event) } else { message } },
        };
        (key, action)
    }

    /// Remembers under which name an event was written, and how often it was seen.
    pub(crate) fn written(&mut self, key: EventKey, name: String, count: u32) {
        self.written.put(self.marks.of(key), Written { name, count });
    }

    /// Forgets an event that the server does not have any more.
    pub(crate) fn lost(&mut self, key: &EventKey) {
        self.written.remove(self.marks.of(key));
    }

    /// The key under which an event is counted: its own, or the common one of many similar ones.
    fn combined(&mut self, event: &EventKey, now: Instant) -> EventKey {
        let (group, message) = (self.marks.of((&event.uid, event.severity, &event.reason)), self.marks.of(&event.message));
        if self.similar.get(group).is_none_or(|similar| now.saturating_duration_since(similar.at) > SIMILAR_WITHIN) {
            self.similar.put(group, Similar { messages: HashSet::new(), at: now });
        }
        let Some(similar) = self.similar.get(group) else { return event.clone() };
        similar.at = now;
        if similar.messages.len() < SIMILAR_MAX {
            similar.messages.insert(message);
        }
        if similar.messages.len() < SIMILAR_MAX || similar.messages.contains(&message) {
            return event.clone();
        }
        EventKey { message: COMBINED.to_owned(), ..event.clone() }
    }

    fn has_token(&mut self, event: &EventKey, now: Instant) -> bool {
        // Warnings and notes have a budget each, so that neither hides the other.
        let key = self.marks.of((&event.uid, event.severity));
        if self.buckets.get(key).is_none() {
            self.buckets.put(key, Bucket { tokens: BURST, at: now });
        }
        let Some(bucket) = self.buckets.get(key) else { return true };
        let refill = now.saturating_duration_since(bucket.at).as_secs_f64() / REFILL.as_secs_f64();
        bucket.tokens = (bucket.tokens + refill).min(BURST);
        bucket.at = now;
        if bucket.tokens < 1.0 {
            return false;
        }
        bucket.tokens -= 1.0;
        true
    }
}

const COMBINED: &str = "(combined)";

fn shown(key: &EventKey, event: &EventKey) -> String {
    if key.message == COMBINED { format!("(combined from similar events): {}", event.message) } else { event.message.clone() }
}

/// A map that forgets what it was given first when it is full.
struct Recent<V> {
    map: HashMap<Mark, V>,
    order: VecDeque<Mark>,
}

impl<V> Recent<V> {
    fn new() -> Self {
        Self { map: HashMap::new(), order: VecDeque::new() }
    }

    fn get(&mut self, key: Mark) -> Option<&mut V> {
        self.map.get_mut(&key)
    }

    fn put(&mut self, key: Mark, value: V) {
        if self.map.insert(key, value).is_none() {
            self.order.push_back(key);
        }
        while self.map.len() > REMEMBERED_MAX || self.order.len() > 2 * REMEMBERED_MAX {
            let Some(oldest) = self.order.pop_front() else { return };
            self.map.remove(&oldest);
        }
    }

    fn remove(&mut self, key: Mark) {
        self.map.remove(&key);
        self.order.retain(|other| *other != key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(message: &str) -> EventKey {
        EventKey { uid: "1".into(), severity: Severity::Info, reason: "R".into(), message: message.into() }
    }

    fn write(correlator: &mut Correlator, event: &EventKey, now: Instant) -> Action {
        let (key, action) = correlator.decide(event, now);
        if let Action::Create { .. } = &action {
            correlator.written(key, format!("name-of-{}", event.message), 1);
        }
        action
    }

    #[test]
    fn a_repeated_event_is_counted() {
        let (mut correlator, now) = (Correlator::new(), Instant::now());
        assert_eq!(write(&mut correlator, &event("a"), now), Action::Create { message: "a".into() });
        assert_eq!(write(&mut correlator, &event("a"), now), Action::Repeat { name: "name-of-a".into(), message: "a".into(), count: 2 });
        assert_eq!(write(&mut correlator, &event("a"), now), Action::Repeat { name: "name-of-a".into(), message: "a".into(), count: 3 });
        assert_eq!(write(&mut correlator, &event("b"), now), Action::Create { message: "b".into() });
        correlator.lost(&event("a"));
        assert_eq!(write(&mut correlator, &event("a"), now), Action::Create { message: "a".into() });
    }

    #[test]
    fn many_similar_events_become_one() {
        let (mut correlator, now) = (Correlator::new(), Instant::now());
        for number in 0..10 {
            assert!(matches!(write(&mut correlator, &event(&number.to_string()), now), Action::Create { .. }), "{number}");
        }
        assert_eq!(write(&mut correlator, &event("x"), now), Action::Create { message: "(combined from similar events): x".into() });
        let Action::Repeat { message, count, .. } = write(&mut correlator, &event("y"), now) else { panic!("not combined") };
        assert_eq!((message.as_str(), count), ("(combined from similar events): y", 2));
        assert_eq!(
            write(&mut correlator, &event("z"), now + Duration::from_secs(601)),
            Action::Create { message: "z".into() },
            "after ten quiet minutes the count begins anew"
        );
    }

    #[test]
    fn an_object_that_floods_is_cut_off_and_others_are_not() {
        let (mut correlator, now) = (Correlator::new(), Instant::now());
        let dropped = (0..40).filter(|_| write(&mut correlator, &event("a"), now) == Action::Drop).count();
        assert_eq!(dropped, 15);
        let other = EventKey { uid: "2".into(), ..event("a") };
        assert_ne!(write(&mut correlator, &other, now), Action::Drop);
        let warning = EventKey { severity: Severity::Error, ..event("a") };
        assert_ne!(write(&mut correlator, &warning, now), Action::Drop);
        assert_ne!(write(&mut correlator, &event("a"), now + REFILL), Action::Drop, "one more every five minutes");
    }

    #[test]
    fn memory_of_events_is_bounded() {
        let (mut correlator, now) = (Correlator::new(), Instant::now());
        for number in 0..3 * REMEMBERED_MAX {
            write(&mut correlator, &EventKey { uid: number.to_string(), ..event("a") }, now);
        }
        assert!(correlator.written.map.len() <= REMEMBERED_MAX && correlator.buckets.order.len() <= 2 * REMEMBERED_MAX);
    }
}

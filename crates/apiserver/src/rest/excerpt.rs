//! Excerpts of the history as watchers are told them: whoever comes to a place first writes the lines, the others take those.

use super::list::Filter;
use crate::protocol::negotiate::Accepted;
use crate::registry::Resource;
use bytes::Bytes;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

/// What a watcher sees of a resource, and in which form. Watchers of equal views are told the same.
#[derive(Clone)]
pub struct View {
    pub resource: Arc<Resource>,
    pub accepted: Accepted,
    pub filter: Arc<Filter>,
}

impl PartialEq for View {
    fn eq(&self, other: &Self) -> bool {
        // Another definition is another resource, even under the same name.
        Arc::ptr_eq(&self.resource, &other.resource) && self.accepted == other.accepted && self.filter == other.filter
    }
}

/// Lines of the changes after one revision up to another.
pub struct Excerpt {
    pub view: View,
    /// No change lies between this revision and the first: it does not matter where in between a watcher stands.
    pub after: u64,
    pub first: u64,
    pub upto: u64,
    pub lines: Bytes,
}

/// The latest excerpts, as long as somebody may want them.
#[derive(Default)]
pub struct Excerpts(Mutex<Kept>);

#[derive(Default)]
struct Kept {
    excerpts: VecDeque<Excerpt>,
    bytes: usize,
}

const EXCERPTS_MAX: usize = 64;
const BYTES_MAX: usize = 2 << 20;

impl Excerpts {
    /// What comes after a revision: up to where, and the lines.
    pub fn find(&self, view: &View, revision: u64) -> Option<(u64, Bytes)> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let fits = |excerpt: &&Excerpt| excerpt.after <= revision && revision < excerpt.first && excerpt.view == *view;
        kept.excerpts.iter().rev().find(fits).map(|excerpt| (excerpt.upto, excerpt.lines.clone()))
    }

    pub fn keep(&self, excerpt: Excerpt) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.bytes += excerpt.lines.len();
        kept.excerpts.push_back(excerpt);
        while kept.excerpts.len() > EXCERPTS_MAX || kept.bytes > BYTES_MAX {
            let Some(gone) = kept.excerpts.pop_front() else { break };
            kept.bytes -= gone.lines.len();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::Registry;

    fn view(registry: &Registry, label: &str) -> View {
        of("configmaps", registry, label)
    }

    fn of(name: &str, registry: &Registry, label: &str) -> View {
        let resource = Arc::clone(registry.find("", "v1", name).unwrap());
        View { resource, accepted: Accepted::default(), filter: Arc::new(Filter::of_labels(label)) }
    }

    fn excerpt(view: View, after: u64, first: u64, upto: u64, lines: impl Into<Bytes>) -> Excerpt {
        Excerpt { view, after, first, upto, lines: lines.into() }
    }

    #[test]
    fn a_watcher_takes_what_another_of_the_same_view_wrote_wherever_it_stands_before_the_first_change() {
        let (registry, excerpts) = (Registry::builtin(), Excerpts::default());
        excerpts.keep(excerpt(view(&registry, "a=b"), 5, 9, 12, "lines"));
        for (label, revision, found) in [("a=b", 5, true), ("a=b", 8, true), ("a=b", 9, false), ("a=b", 4, false), ("a=c", 5, false)] {
            let seen = excerpts.find(&view(&registry, label), revision);
            assert_eq!(seen.is_some(), found, "{label} at {revision}");
            assert!(seen.is_none_or(|(upto, lines)| upto == 12 && lines == "lines"));
        }
        assert!(excerpts.find(&of("secrets", &registry, "a=b"), 5).is_none());
    }

    #[test]
    fn few_excerpts_are_kept_and_few_bytes() {
        let (registry, excerpts) = (Registry::builtin(), Excerpts::default());
        for at in 0..200 {
            excerpts.keep(excerpt(view(&registry, "a=b"), at, at + 1, at + 1, vec![b'x'; 20_000]));
        }
        let kept = excerpts.0.lock().unwrap();
        assert_eq!(kept.excerpts.len(), EXCERPTS_MAX);
        drop(kept);
        excerpts.keep(excerpt(view(&registry, "a=b"), 200, 201, 201, vec![b'x'; BYTES_MAX]));
        let kept = excerpts.0.lock().unwrap();
        assert_eq!((kept.excerpts.len(), kept.bytes), (1, BYTES_MAX));
    }
}

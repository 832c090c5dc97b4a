use api::meta::{Conditions, FALSE, READY, RECONCILING, STALLED, TRUE, Time, UNKNOWN, reason};
use api::{Condition, meta::Artifact};

/// What kind of news a condition is when it is True.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Polarity {
    /// True is as it should be.
    Good,
    /// True means trouble; absent is as it should be.
    Bad,
}

/// How a reconcile ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// What was asked for is stored.
    Stored,
    /// Nothing had changed.
    Unchanged,
    /// Something else must come first; looked at again after a while.
    Waiting(std::time::Duration),
    /// Trying again can only fail the same way.
    Stalled { reason: String, message: String },
    /// Tried again with back-off.
    Failed,
}

/// The conditions of an object while its reconcile is being told.
///
/// A condition that ends as it was keeps its transition time, whatever it was on the way: so a reconcile that changes nothing
/// leaves a status that equals the stored one.
pub(crate) struct Draft {
    before: Vec<Condition>,
    now_is: Vec<Condition>,
    generation: i64,
    now: Time,
}

impl Draft {
    pub(crate) fn new(before: &[Condition], generation: i64, now: Time) -> Self {
        Self { before: before.to_vec(), now_is: before.to_vec(), generation, now }
    }

    pub(crate) fn get(&self, kind: &str) -> Option<&Condition> {
        self.now_is.condition(kind)
    }

    pub(crate) fn is(&self, kind: &str, status: &str) -> bool {
        self.get(kind).is_some_and(|c| c.status == status)
    }

    pub(crate) fn mark(&mut self, kind: &str, status: &str, reason: &str, message: impl Into<String>) {
        self.now_is.set_condition(Condition::new(kind, status, reason, message), self.generation, self.now);
    }

    pub(crate) fn delete(&mut self, kind: &str) {
        self.now_is.remove_condition(kind);
    }

    /// Says that work goes on. With `drift`, or where Ready says nothing definite, Ready becomes unknown with it.
    pub(crate) fn progress(&mut self, drift: bool, message: &str) {
        self.delete(STALLED);
        self.mark(RECONCILING, TRUE, reason::PROGRESSING, message);
        if drift || self.get(READY).is_none_or(|ready| ready.status == UNKNOWN) {
            self.mark(READY, UNKNOWN, reason::PROGRESSING, message);
        }
    }

    /// Brings Reconciling and Stalled in line with how the reconcile ended.
    pub(crate) fn end(&mut self, outcome: &Outcome) {
        if matches!(outcome, Outcome::Stored | Outcome::Unchanged) {
            self.delete(RECONCILING);
        }
        if let Some(reconciling) = self.get(RECONCILING).filter(|c| c.is_true()).cloned() {
            self.mark(RECONCILING, TRUE, reason::PROGRESSING_WITH_RETRY, reconciling.message);
        }
        match outcome {
            Outcome::Stalled { reason, message } => {
                self.delete(RECONCILING);
                self.mark(STALLED, TRUE, reason, message.as_str());
            }
            _ => self.delete(STALLED),
        }
    }

    /// Makes Ready the summary of `order`: trouble first, then what is not good, then what is; inside of each, the first of `order`.
    /// A condition of `bipolar` that is False decides over everything.
    pub(crate) fn summarize(&mut self, order: &[(&str, Polarity)], bipolar: &[&str]) {
        let group = |condition: &Condition, polarity: Polarity| match (polarity, condition.status.as_str()) {
            (Polarity::Bad, TRUE) => 0,
            (Polarity::Good, FALSE) => 1,
            (Polarity::Good, TRUE) => 2,
            (Polarity::Bad, FALSE) => 3,
            _ => 4,
        };
        let top = order
            .iter()
            .filter_map(|(kind, polarity)| self.get(kind).map(|c| (group(c, *polarity), c)))
            .min_by_key(|(group, _)| *group)
            .map(|(group, condition)| (group, condition.clone()));
        if let Some((group, condition)) = top {
            let status = match group {
                0 | 1 => FALSE,
                2 | 3 => TRUE,
                _ => UNKNOWN,
            };
            self.mark(READY, status, &condition.reason, condition.message);
        }
        if let Some(failed) = bipolar.iter().find_map(|kind| self.get(kind).filter(|c| c.status == FALSE)).cloned() {
            self.mark(READY, FALSE, &failed.reason, failed.message);
        }
    }

    pub(crate) fn finish(mut self) -> Vec<Condition> {
        for condition in &mut self.now_is {
            let same = |old: &&Condition| {
                (&old.r#type, &old.status, &old.reason, &old.message)
                    == (&condition.r#type, &condition.status, &condition.reason, &condition.message)
            };
            if let Some(old) = self.before.iter().find(same) {
                condition.last_transition_time = old.last_transition_time;
            }
        }
        self.now_is
    }

    /// The conditions as they would be written in the middle of the work.
    pub(crate) fn so_far(&self) -> Vec<Condition> {
        Self { before: self.before.clone(), now_is: self.now_is.clone(), generation: self.generation, now: self.now }.finish()
    }
}

/// Whether one of `kinds` said trouble before and none does now.
pub(crate) fn recovered(before: &[Condition], now: &[Condition], kinds: &[&str]) -> bool {
    let any = |conditions: &[Condition]| kinds.iter().any(|kind| conditions.iter().any(|c| c.r#type == *kind));
    any(before) && !any(now)
}

/// Whether two lists name artifacts of the same revisions and digests in the same order.
pub(crate) fn same_artifacts(left: &[Artifact], right: &[Artifact]) -> bool {
    left.len() == right.len() && left.iter().zip(right).all(|(a, b)| a.revision == b.revision && a.digest == b.digest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use api::meta::{ARTIFACT_IN_STORAGE, FETCH_FAILED, SOURCE_VERIFIED};

    const ORDER: [(&str, Polarity); 5] = [
        (FETCH_FAILED, Polarity::Bad),
        (ARTIFACT_IN_STORAGE, Polarity::Good),
        (SOURCE_VERIFIED, Polarity::Good),
        (STALLED, Polarity::Bad),
        (RECONCILING, Polarity::Bad),
    ];

    fn at(second: i64) -> Time {
        Time(jiff::Timestamp::from_second(second).unwrap())
    }

    fn ready(draft: &Draft) -> (&str, &str) {
        let ready = draft.get(READY).unwrap();
        (&ready.status, &ready.reason)
    }

    #[test]
    fn trouble_comes_before_success_in_the_summary() {
        let mut draft = Draft::new(&[], 1, at(1));
        draft.mark(ARTIFACT_IN_STORAGE, TRUE, "Succeeded", "stored");
        draft.summarize(&ORDER, &[]);
        assert_eq!(ready(&draft), (TRUE, "Succeeded"));
        draft.progress(false, "reconciliation in progress");
        draft.mark(FETCH_FAILED, TRUE, "GitOperationFailed", "no");
        draft.end(&Outcome::Failed);
        draft.summarize(&ORDER, &[]);
        assert_eq!(ready(&draft), (FALSE, "GitOperationFailed"));
        assert_eq!(draft.get(RECONCILING).unwrap().reason, "ProgressingWithRetry");
        draft.delete(FETCH_FAILED);
        draft.mark(SOURCE_VERIFIED, FALSE, "InvalidCommitSignature", "bad");
        draft.summarize(&ORDER, &[SOURCE_VERIFIED]);
        assert_eq!(ready(&draft), (FALSE, "InvalidCommitSignature"), "not Reconciling's reason");
    }

    #[test]
    fn a_round_that_changes_nothing_leaves_equal_conditions() {
        let mut first = Draft::new(&[], 1, at(1));
        first.mark(ARTIFACT_IN_STORAGE, TRUE, "Succeeded", "stored");
        first.summarize(&ORDER, &[]);
        let stored = first.finish();
        let mut next = Draft::new(&stored, 1, at(100));
        next.progress(true, "building artifact");
        next.end(&Outcome::Stored);
        next.summarize(&ORDER, &[]);
        assert_eq!(next.finish(), stored);
    }

    #[test]
    fn a_stall_takes_reconciling_away() {
        let mut draft = Draft::new(&[], 1, at(1));
        draft.progress(true, "building artifact");
        draft.end(&Outcome::Stalled { reason: "URLInvalid".into(), message: "bad".into() });
        assert!(draft.get(RECONCILING).is_none() && draft.is(STALLED, TRUE));
        draft.progress(false, "again");
        assert!(draft.get(STALLED).is_none());
    }
}

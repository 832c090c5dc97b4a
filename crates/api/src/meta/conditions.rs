use super::{Condition, READY, RECONCILING, STALLED, Time};

pub const TRUE: &str = "True";
pub const FALSE: &str = "False";
pub const UNKNOWN: &str = "Unknown";

/// The schema's limit on a condition's message.
const MESSAGE_BYTES_MAX: usize = 32768;

impl Condition {
    pub fn new(kind: &str, status: &str, reason: &str, message: impl Into<String>) -> Self {
        Self { r#type: kind.to_owned(), status: status.to_owned(), reason: reason.to_owned(), message: message.into(), ..Self::default() }
    }

    pub fn is_true(&self) -> bool {
        self.status == TRUE
    }

    /// Same status, reason and message: nothing that a reader would call a change.
    fn says_the_same(&self, other: &Self) -> bool {
        (&self.status, &self.reason, &self.message) == (&other.status, &other.reason, &other.message)
    }
}

/// What can be done with the conditions of an object.
///
/// The list keeps Flux's order: Stalled, Reconciling, Ready, then the others by name, so that readers see first what is
/// out of the ordinary and two writers of the same state write the same bytes.
pub trait Conditions {
    fn condition(&self, kind: &str) -> Option<&Condition>;

    /// Puts a condition in its place. Its transition time is `now` when status, reason or message change, and the old time otherwise.
    /// Returns whether anything changed.
    fn set_condition(&mut self, condition: Condition, observed_generation: i64, now: Time) -> bool;

    /// Takes a condition away; returns whether it was there.
    fn remove_condition(&mut self, kind: &str) -> bool;

    fn is_ready(&self) -> bool {
        self.condition(READY).is_some_and(Condition::is_true)
    }
}

impl Conditions for Vec<Condition> {
    fn condition(&self, kind: &str) -> Option<&Condition> {
        self.iter().find(|c| c.r#type == kind)
    }

    fn set_condition(&mut self, mut condition: Condition, observed_generation: i64, now: Time) -> bool {
        condition.observed_generation = observed_generation;
        condition.last_transition_time = now;
        truncate(&mut condition.message);
        match self.iter_mut().find(|c| c.r#type == condition.r#type) {
            Some(old) => {
                if old.says_the_same(&condition) {
                    condition.last_transition_time = old.last_transition_time;
                }
                if *old == condition {
                    return false;
                }
                *old = condition;
            }
            None => self.push(condition),
        }
        self.sort_by(|a, b| (place(&a.r#type), &a.r#type).cmp(&(place(&b.r#type), &b.r#type)));
        true
    }

    fn remove_condition(&mut self, kind: &str) -> bool {
        let before = self.len();
        self.retain(|c| c.r#type != kind);
        self.len() != before
    }
}

/// Cuts a message to what the schema admits, at a character's edge.
fn truncate(message: &mut String) {
    if message.len() > MESSAGE_BYTES_MAX {
        let end = (0..=MESSAGE_BYTES_MAX - 3).rev().find(|at| message.is_char_boundary(*at)).unwrap_or(0);
        message.truncate(end);
        message.push_str("...");
    }
}

fn place(kind: &str) -> usize {
    [STALLED, RECONCILING, READY].iter().position(|first| *first == kind).unwrap_or(3)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Time {
        Time(jiff::Timestamp::from_second(second).unwrap())
    }

    #[test]
    fn the_transition_time_moves_only_when_status_reason_or_message_change() {
        let mut conditions = Vec::new();
        assert!(conditions.set_condition(Condition::new(READY, TRUE, "Succeeded", "ok"), 1, at(1)));
        assert!(!conditions.set_condition(Condition::new(READY, TRUE, "Succeeded", "ok"), 1, at(2)));
        assert!(conditions.set_condition(Condition::new(READY, TRUE, "Succeeded", "ok"), 2, at(3)));
        assert_eq!((conditions[0].last_transition_time, conditions[0].observed_generation), (at(1), 2));
        assert!(conditions.set_condition(Condition::new(READY, TRUE, "Succeeded", "better"), 2, at(4)));
        assert_eq!(conditions[0].last_transition_time, at(4));
    }

    #[test]
    fn what_is_out_of_the_ordinary_stands_first() {
        let mut conditions = Vec::new();
        for kind in ["Healthy", "ArtifactInStorage", STALLED, RECONCILING, READY] {
            conditions.set_condition(Condition::new(kind, TRUE, "R", ""), 1, at(1));
        }
        let order: Vec<_> = conditions.iter().map(|c| c.r#type.as_str()).collect();
        assert_eq!(order, [STALLED, RECONCILING, READY, "ArtifactInStorage", "Healthy"]);
        assert!(conditions.remove_condition(STALLED) && !conditions.remove_condition(STALLED));
        assert!(conditions.is_ready());
    }

    #[test]
    fn a_message_too_long_for_the_schema_is_cut_between_characters() {
        let mut conditions = Vec::new();
        conditions.set_condition(Condition::new(READY, FALSE, "Failed", "é".repeat(20000)), 1, at(1));
        let message = &conditions[0].message;
        assert!(message.len() <= MESSAGE_BYTES_MAX && message.ends_with("é..."));
    }
}

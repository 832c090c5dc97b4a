use api::meta::{FALSE, TRUE};
use std::time::Duration;
pub(crate) use types::chain;

/// What holds a source up, in the words of its conditions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Problem {
    /// The condition that says it, and its status; absent where only Ready says it.
    pub(crate) condition: Option<(&'static str, &'static str)>,
    pub(crate) reason: &'static str,
    pub(crate) message: String,
    pub(crate) verdict: Verdict,
    /// A reason and a text that are told beside the problem itself, for people only.
    pub(crate) told: Option<(&'static str, String)>,
}

/// What to do about a problem.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Try again with back-off.
    Retry,
    /// Look again after a time: something else has to come first.
    Wait(Duration),
    /// Only a change of the object helps.
    Stall,
}

impl Problem {
    /// A problem that a condition of bad news says.
    pub(crate) fn of(condition: &'static str, reason: &'static str, message: impl Into<String>) -> Self {
        Self { condition: Some((condition, TRUE)), reason, message: message.into(), verdict: Verdict::Retry, told: None }
    }

    /// A problem that makes a condition of good news False.
    pub(crate) fn not(condition: &'static str, reason: &'static str, message: impl Into<String>) -> Self {
        Self { condition: Some((condition, FALSE)), ..Self::of(condition, reason, message) }
    }

    pub(crate) fn plain(reason: &'static str, message: impl Into<String>) -> Self {
        Self { condition: None, reason, message: message.into(), verdict: Verdict::Retry, told: None }
    }

    /// Tells something else first.
    pub(crate) fn told(self, reason: &'static str, message: impl Into<String>) -> Self {
        Self { told: Some((reason, message.into())), ..self }
    }

    pub(crate) fn waits(self, after: Duration) -> Self {
        Self { verdict: Verdict::Wait(after), ..self }
    }

    pub(crate) fn stalls(self) -> Self {
        Self { verdict: Verdict::Stall, ..self }
    }
}

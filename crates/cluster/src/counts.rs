use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

/// What was asked of an API server so far.
///
/// Retries of one request count again: the figures are what the server saw.
#[derive(Debug, Default)]
pub struct Counts {
    by_verb: Mutex<BTreeMap<(Verb, u16), u64>>,
}

/// The verbs of the Kubernetes API, as in audit logs and RBAC; apply and dry runs are told apart from other patches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Verb {
    Get,
    List,
    Watch,
    Create,
    Update,
    Patch,
    Apply,
    Delete,
    /// A write that the server only tries out.
    DryRun,
}

impl Verb {
    pub fn is_write(self) -> bool {
        matches!(self, Self::Create | Self::Update | Self::Patch | Self::Apply | Self::Delete)
    }

    /// The HTTP method, as in the metric `rest_client_requests_total`.
    pub fn method(self) -> &'static str {
        match self {
            Self::Get | Self::List | Self::Watch => "GET",
            Self::Create => "POST",
            Self::Update => "PUT",
            Self::Patch | Self::Apply | Self::DryRun => "PATCH",
            Self::Delete => "DELETE",
        }
    }
}

impl Counts {
    /// A request that got no answer counts with code 0.
    pub(crate) fn record(&self, verb: Verb, code: u16) {
        let mut counts = self.by_verb.lock().unwrap_or_else(PoisonError::into_inner);
        *counts.entry((verb, code)).or_default() += 1;
    }

    /// Every (verb, HTTP code) with its number.
    pub fn snapshot(&self) -> BTreeMap<(Verb, u16), u64> {
        self.by_verb.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub fn of(&self, verb: Verb) -> u64 {
        self.snapshot().iter().filter(|((v, _), _)| *v == verb).map(|(_, n)| n).sum()
    }

    pub fn writes(&self) -> u64 {
        self.snapshot().iter().filter(|((v, _), _)| v.is_write()).map(|(_, n)| n).sum()
    }

    pub fn total(&self) -> u64 {
        self.snapshot().values().sum()
    }
}

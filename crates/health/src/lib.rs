//! Readiness of Kubernetes objects: an object in, a verdict with a reason out.
//!
//! ```text
//!                 expressions (CEL, per Kustomization)   -- win where they apply
//! Object, now --> kinds (Job, Pod, PVC, CRD, ...)        -- what conditions cannot say
//!                 replicas (tables per workload kind)
//!                 generic (generation, Reconciling, Stalled, Ready)
//!             --> Health { status, message }
//! ```
//!
//! The rules are those of kstatus (github.com/fluxcd/cli-utils) with Flux's reader for Jobs: an object without status or
//! without a Ready condition is current, an old `observedGeneration` is in progress, `Stalled` has failed.

mod dependency;
mod expression;
mod generic;
mod kinds;
mod optional;
mod replicas;
mod typing;

pub use dependency::ReadyExpression;
pub use expression::{Expression, Expressions, HealthExpression};

use jiff::Timestamp;
use object::Object;
use std::fmt;

/// How far an object is on its way to what its spec says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Status {
    Current,
    InProgress,
    Failed,
    Terminating,
    NotFound,
    Unknown,
}

impl fmt::Display for Status {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Status::Current => "Current",
            Status::InProgress => "InProgress",
            Status::Failed => "Failed",
            Status::Terminating => "Terminating",
            Status::NotFound => "NotFound",
            Status::Unknown => "Unknown",
        })
    }
}

/// A status and the reason for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Health {
    pub status: Status,
    pub message: String,
}

impl Health {
    pub fn new(status: Status, message: impl Into<String>) -> Self {
        Self { status, message: message.into() }
    }

    fn current(message: impl Into<String>) -> Self {
        Self::new(Status::Current, message)
    }

    fn in_progress(message: impl Into<String>) -> Self {
        Self::new(Status::InProgress, message)
    }

    fn failed(message: impl Into<String>) -> Self {
        Self::new(Status::Failed, message)
    }
}

/// Why an expression could not be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error("failed to parse the CEL expression '{expression}': {message}")]
    Parse { expression: String, message: String },
    #[error("the CEL expression is longer than {0} characters")]
    TooLong(usize),
    #[error("the CEL expression has more than {0} operators and brackets")]
    TooComplex(usize),
    #[error("the CEL expression nests more than {0} loops")]
    TooDeep(usize),
    #[error("CEL expression output type mismatch: expected bool, got {0}")]
    NotBool(String),
    #[error("failed to evaluate the CEL expression '{expression}': {message}")]
    Evaluate { expression: String, message: String },
    #[error("failed to evaluate CEL expression as boolean: '{0}'")]
    NoBoolean(String),
    #[error("duplicate custom health check for GroupKind {group_kind} at healthchecks[{index}]")]
    Duplicate { group_kind: String, index: usize },
    #[error("failed to create custom status evaluator for healthchecks[{index}]: failed to parse the expression {field}: {source}")]
    Invalid { index: usize, field: &'static str, source: Box<Error> },
}

/// Says how far `object` is, as its own status tells.
///
/// `now` decides only how long a pod may wait for a place.
pub fn assess(object: &Object, now: Timestamp) -> Health {
    if let Some(health) = generic::before_kind(object) {
        return health;
    }
    let gvk = object.gvk();
    if let Some(health) = kinds::assess(&gvk.group, &gvk.kind, object, now).or_else(|| replicas::assess(&gvk.group, &gvk.kind, object)) {
        return health;
    }
    generic::after_kind(object)
}

/// Says how far `object` is; an expression for its kind replaces the built-in rules.
pub fn assess_with(object: &Object, expressions: &Expressions, now: Timestamp) -> Health {
    match expressions.of(&object.gvk()) {
        Some(expression) => expression.assess(object),
        None => assess(object, now),
    }
}

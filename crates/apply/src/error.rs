use cluster::Error;
use object::ObjectKey;

/// Why a plan was not carried out to its end, in the words that Flux's users know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    pub message: String,
    /// The same request may succeed later without anybody changing anything.
    pub transient: bool,
}

impl Failure {
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), transient: false }
    }

    /// A refused apply, as fluxcd/pkg's ssa words the error of its dry run.
    pub fn of_apply(key: &ObjectKey, error: &Error) -> Self {
        Self { message: dry_run_error(key, error), transient: error.is_transient() }
    }

    pub fn of_delete(key: &ObjectKey, error: &Error) -> Self {
        Self { message: format!("{key} delete failed: {}", error.chain()), transient: error.is_transient() }
    }
}

/// `Kind/ns/name dry-run failed (Reason): message`.
pub fn dry_run_error(key: &ObjectKey, error: &Error) -> String {
    if error.is_not_found() {
        return format!("{key} not found: {}", error.chain());
    }
    let reason = match error.status().map(|status| status.reason.as_str()) {
        Some("") | Some("Unknown") | None => String::new(),
        Some(reason) => format!(" ({reason})"),
    };
    format!("{key} dry-run failed{reason}: {}", error.chain())
}

/// Whether the server said that a field cannot be changed, or may have: every refusal counts, as in Flux.
pub(crate) fn may_be_immutable(error: &Error) -> bool {
    let Some(status) = error.status() else { return false };
    matches!(status.code, 409 | 422) || status.message.contains("is immutable") || status.message.contains("immutable field")
}

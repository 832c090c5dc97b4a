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

#[cfg(test)]
mod tests {
    use super::*;
    use cluster::Status;

    fn api(code: u16, reason: &str, message: &str) -> Error {
        Error::Api(Box::new(Status { code, reason: reason.into(), message: message.into(), details: None }))
    }

    #[test]
    fn refusals_are_told_in_the_words_of_flux() {
        let key = ObjectKey { group: String::new(), kind: "ConfigMap".into(), namespace: "n".into(), name: "one".into() };
        let table = [
            (api(403, "Forbidden", "no"), "ConfigMap/n/one dry-run failed (Forbidden): no"),
            (api(422, "Invalid", "bad"), "ConfigMap/n/one dry-run failed (Invalid): bad"),
            (api(500, "", "failed to create typed patch object"), "ConfigMap/n/one dry-run failed: failed to create typed patch object"),
            (api(404, "NotFound", "namespaces \"n\" not found"), "ConfigMap/n/one not found: namespaces \"n\" not found"),
            (
                Error::NoMatch { kind: "Nope".into(), version: "e.com/v1".into() },
                "ConfigMap/n/one dry-run failed: no matches for kind \"Nope\" in version \"e.com/v1\"",
            ),
        ];
        for (error, text) in table {
            assert_eq!(dry_run_error(&key, &error), text);
        }
    }

    #[test]
    fn every_refusal_may_be_about_an_immutable_field() {
        assert!(may_be_immutable(&api(422, "Invalid", "x")) && may_be_immutable(&api(409, "Conflict", "x")));
        assert!(may_be_immutable(&api(400, "BadRequest", "the field is immutable")));
        assert!(!may_be_immutable(&api(403, "Forbidden", "x")) && !may_be_immutable(&Error::Fenced));
    }
}

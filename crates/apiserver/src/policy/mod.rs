//! Admission policies: rules in CEL that decide about writes, and that change them.
//!
//! ```text
//! policies and bindings in the store ──compile──► Compiled (kept until one of them changes)
//!                                                    │
//! write ──► Attempt ──matching──► does it concern it? ──evaluate──► validate: deny, warn
//!                                                             └───► mutate: apply configuration, JSON patch
//! a policy that is written: problems (what cannot be compiled), types (warnings in its status)
//! ```

mod authorizer;
mod compile;
mod evaluate;
mod matching;
mod mutate;
mod types;
mod validate;

pub use compile::problems;
pub use mutate::mutate;
pub use types::check_types;
pub use validate::validate;

use crate::access::User;
use crate::api::Api;
use crate::registry::Resource;
use serde_json::Value;
use std::sync::{Arc, PoisonError, RwLock};

pub const GROUP: &str = "admissionregistration.k8s.io";

/// One write, as policies see it.
#[derive(Clone, Copy)]
pub struct Attempt<'a> {
    pub api: &'a Api,
    pub user: &'a User,
    /// `CREATE`, `UPDATE` or `DELETE`.
    pub operation: &'static str,
    pub resource: &'a Resource,
    pub subresource: &'a str,
    pub namespace: &'a str,
    pub name: &'a str,
    pub object: Option<&'a Value>,
    pub old: Option<&'a Value>,
    pub dry_run: bool,
}

impl Attempt<'_> {
    /// Policies do not decide about policies, nor about questions that are never stored.
    fn is_exempt(&self) -> bool {
        self.resource.group == GROUP || !self.resource.can("get")
    }

    /// The namespace whose labels and fields count: none for a namespace itself.
    fn namespace_object(&self) -> Option<Value> {
        if self.namespace.is_empty() || self.resource.is("", "namespaces") {
            return None;
        }
        self.api.store.get("namespaces", self.namespace).map(|record| record.value())
    }
}

/// The policies that are in force, compiled.
#[derive(Default)]
pub struct Policies {
    current: RwLock<Arc<compile::All>>,
}

impl Policies {
    fn current(&self) -> Arc<compile::All> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Takes in what is stored now; called when a policy or a binding has changed.
pub fn refresh(api: &Api) {
    let all = |table: &str| -> Vec<Value> { api.store.all(table, "").iter().map(|record| record.value()).collect() };
    let table = |name: &str| format!("{name}.{GROUP}");
    let compiled = compile::All {
        validating: compile::pairs(&all(&table("validatingadmissionpolicies")), &all(&table("validatingadmissionpolicybindings")), false),
        mutating: compile::pairs(&all(&table("mutatingadmissionpolicies")), &all(&table("mutatingadmissionpolicybindings")), true),
    };
    *api.policies.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(compiled);
}

/// Whether any policy may change what is written.
pub fn mutates(api: &Api) -> bool {
    !api.policies.current().mutating.is_empty()
}

/// The resource kinds of a group whose changes `refresh` must see.
pub fn is_policy(resource: &Resource) -> bool {
    resource.group == GROUP && resource.name.contains("admissionpolic")
}

/// A text as the reason of a refusal, and its code.
fn reason_of(text: &str) -> (&'static str, u16) {
    match text {
        "Forbidden" => ("Forbidden", 403),
        "Unauthorized" => ("Unauthorized", 401),
        "RequestEntityTooLarge" => ("RequestEntityTooLarge", 413),
        _ => ("Invalid", 422),
    }
}

/// The refusal of a write by a policy.
fn refusal(attempt: &Attempt<'_>, reason: &str, message: &str) -> crate::protocol::status::Status {
    use crate::protocol::status::{Cause, Status};
    let mut status = Status::forbidden(&attempt.resource.group, &attempt.resource.name, attempt.name, message);
    (status.reason, status.code) = reason_of(reason);
    if let Some(details) = &mut status.details {
        details.causes.push(Cause { reason: String::new(), message: message.to_owned(), field: String::new() });
    }
    status
}

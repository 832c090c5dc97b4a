//! Schemas, patches, server-side apply, and what kube-apiserver says of objects.
//!
//! ```text
//! builtin (data of a real server) --+
//!                                   +--> schema (types) --> patch       RFC 6902, RFC 7396, strategic merge
//! openAPIV3Schema of a CRD ---------+                  \--> managed     server-side apply, managedFields
//!
//! a write of a built-in kind:    builtin::read -> patch | managed -> builtin::apply_defaults, admit -> validation::validate
//! a write of a custom resource:  patch | managed -> structural::CustomKind::{read, validate}
//! rules and admission policies:  cel::Program (compiled against the types of a schema, run within a budget)
//! what is wrong:                 field::FieldError (reason, path and text of a cause in a Status)
//! ```
//!
//! All of it is values in, values out. `tests/server` holds what a real kube-apiserver answered; where this crate differs
//! from it, the test that compares them says why.

pub mod builtin;
pub mod cel;
pub mod field;
mod gofmt;
pub mod managed;
pub mod patch;
pub mod quantity;
pub mod schema;
pub mod structural;
pub mod validation;

pub use structural::is_go_duration;

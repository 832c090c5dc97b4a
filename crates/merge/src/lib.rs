//! Schemas, JSON patch, strategic merge and structured merge.
//!
//! ```text
//! builtin (data of a real server) --+
//!                                   +--> schema (types) --> patch       RFC 6902, RFC 7396, strategic merge
//! openAPIV3Schema of a CRD ---------+                  \--> managed     server-side apply, managedFields
//! ```

pub mod builtin;
pub mod field;
mod gofmt;
pub mod managed;
pub mod patch;
pub mod quantity;
pub mod schema;
pub mod structural;
pub mod validation;

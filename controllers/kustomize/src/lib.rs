//! kustomize-controller: builds what Kustomizations name, and keeps clusters in that state.
//!
//! ```text
//! options, setup      flags; what watches what
//!
//! reconcile           the four beats of one visit
//!   observe           source, dependencies, identity      source dependency identity
//!                     artifact -> tree -> objects          (crate artifacts) build decrypt substitute
//!   plan              (crate plan)                         claims: who else wants an object
//!                                                          first: what a first apply left that was cut short
//!   act               (crate apply)                        finalize: the last visit
//!   report            conditions, history, events          status
//!
//! waiting             a table of Kustomizations whose objects are on their way; watches wake them, no worker waits
//! ```

mod build;
mod claims;
mod decrypt;
mod dependency;
mod finalize;
mod first;
mod identity;
mod observe;
mod options;
mod reconcile;
mod schema;
mod setup;
mod source;
mod spec;
mod status;
mod substitute;
mod waiting;

pub use options::{Arguments, FEATURE_GATES, GuardRails, Options, OwnFlags};
pub use setup::{run, set_up};

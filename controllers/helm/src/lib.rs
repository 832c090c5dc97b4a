//! helm-controller: releases the charts that HelmReleases name, and keeps clusters as they were released.
//!
//! ```text
//! options, setup      flags; what watches what
//!
//! reconcile           the four beats of one visit
//!   observe           template (HelmChart), dependency, source, values, charts, the way to the cluster
//!   state             (state, policy) -> action: one table, pure
//!   act               begun here, carried out by operation; finalize: the last visit (leftover: when the record went first)
//!   report            status: conditions, history (snapshot), events
//!
//! operation           install upgrade rollback test uninstall, step by step
//!   crds, hooks       what comes before and between
//!   render            chart + values -> manifests, changed by the post-renderers
//!   objects, wait     objects in the cluster, and waiting for them
//!   storage           one Secret a revision, as Helm 3 and 4 read it
//!
//! waits               the table of actions that are under way: a wait holds no place, watches wake it
//! preview             what would be released, for the command line
//! drift, watch        objects that are not as they were released; watches tell, no polling
//! ```

mod charts;
mod crds;
mod dependency;
mod drift;
mod finalize;
mod hooks;
mod leftover;
mod objects;
mod observe;
mod operation;
mod options;
pub mod preview;
mod reconcile;
mod render;
mod setup;
mod snapshot;
mod source;
mod spec;
mod state;
mod status;
mod storage;
mod template;
mod values;
mod wait;
mod waits;
mod watch;

pub use options::{Arguments, FEATURE_GATES, Options, OwnFlags};
pub use setup::{run, set_up};

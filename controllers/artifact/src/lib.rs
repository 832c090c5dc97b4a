//! The artifact-controller, Flux's source-watcher: cuts artifacts out of other artifacts, and puts them together anew.
//!
//! ```text
//! Args -> Options -> set_up      what watches what; storage and server (crate artifacts)
//!
//! reconcile       the four beats of one visit to an ArtifactGenerator
//!   observe       its sources, its stored files, its ExternalArtifacts                      I/O
//!   plan          stop, wait, rest or generate, with the reason                             pure   (validate, drift inside)
//!   act           fetch -> (crate compose) -> store -> ExternalArtifact; what is left over goes   I/O    (build, outputs)
//!   report        conditions, inventory, events, next visit                                 pure
//! ```
//!
//! As a program: `artifact-controller`. Inside of another one: [`set_up`] on a process of its own, or [`run`].

mod act;
mod build;
mod finalize;
mod observe;
mod options;
mod outputs;
mod plan;
mod reconcile;
mod report;
mod setup;
mod validate;

pub use options::{Args, GATES, Options};
pub use setup::{Error, run, set_up};

/// The name of the controller in Flux: its field manager, its lease, the source of its events.
pub const NAME: &str = "source-watcher";

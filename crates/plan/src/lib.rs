//! What to do with a cluster, decided without touching it.
//!
//! ```text
//! desired objects --normalize--> Desired ----\
//! live records (watch cache) --> Live --drift-+--> plan() --> Plan { stages, prunes, holds, inventories }
//! status.inventory ------------> Inventory ---+                        |
//! policy, claims of others ------------------/                         `--> protocol: which inventory to write when
//!
//! graph      dependsOn: cycles
//! managers   whose fields are taken over, and the patch that does it
//! ignore     paths that are left to others
//! metadata   labels and annotations on objects that steer all of this
//! ```
//!
//! Everything here is a function of its arguments. A plan names what it will not do, and why.

pub mod drift;
pub mod graph;
pub mod ignore;
mod inventory;
pub mod managers;
pub mod metadata;
mod normalize;
mod plan;
mod protocol;
mod stage;

pub use inventory::{Entry, Inventory};
pub use normalize::{Desired, Owner, normalize};
pub use plan::{
    Action, Claims, GuardRails, Hold, Input, Live, Plan, Policy, Prune, PruneAction, Record, Stage, Step, Why, decide, decide_prune, kept,
    plan,
};
pub use protocol::{after_failure, after_success, before};
pub use stage::StageKind;

/// The field manager of everything that is applied, as in Flux: a cluster can be handed over and back.
pub const FIELD_MANAGER: &str = "kustomize-controller";

//! Carries out plans.
//!
//! ```text
//! Targets --> Target (one per cluster: our own, and those of kubeconfigs)
//!   |- Discovery   what a kind is called in URLs, following the definitions of custom resources
//!   |- Owned       one label-selected watch per kind: Live records for plans, health for waits
//!   `- Client      per identity
//!
//! Plan --> Session::apply --> Applied { changes, written, failure, pending }
//!          Session::prune --> Pruned  { changes, kept, failure }
//!
//! labelled         what was applied for whom, by labels and field manager, where no inventory tells
//! ```
//!
//! *Guarantees.* Every write can be repeated, and cut short anywhere. A deletion names the uid that was decided on. In a stage
//! all objects are applied or, as far as it is in our power, none: changes to existing objects are tried as dry runs first when
//! there are several, and objects that were made are taken back when another one of their stage is refused.
//! Nothing here waits long: what takes its time is told as `pending`, and the watch wakes whoever waits.

mod change;
mod error;
mod labelled;
mod owned;
mod session;
mod stage;
mod targets;

pub use change::{Change, Verb};
pub use error::{Failure, dry_run_error};
pub use labelled::{Labelled, labelled, with_labels};
pub use owned::{Owned, Seen};
pub use session::{Applied, Pruned, Session};
pub use targets::{KubeConfig, Targets};

use cluster::{Client, Discovery};
use plan::metadata::OwnerLabels;
use std::sync::Arc;
use types::NamespacedName;

/// A cluster that objects are applied to.
pub struct Target {
    pub client: Client,
    pub discovery: Discovery,
    pub owned: Owned,
}

impl Target {
    /// `labels` name the owner on every object. `changed` is told the owner of every owned object that changes, on the task of the watch: it must not block.
    ///
    /// Must be called within a Tokio runtime. The watches end when the target is dropped.
    pub fn new(client: Client, labels: OwnerLabels, changed: Arc<dyn Fn(&NamespacedName) + Send + Sync>) -> Self {
        let discovery = Discovery::new(client.clone());
        discovery.follow_definitions();
        Self { discovery, owned: Owned::new(client.clone(), labels, changed), client }
    }
}

//! What the end-to-end tests stand on: real processes, a real Git server, the real kubectl.
//!
//! ```text
//! House { cluster (sluice apiserver, or SLUICE_TEST_KUBECONFIG), the four controllers }   GitServer   Registry   ChartRepository   Web
//! Up { sluice up: all of it in one process }
//!     kubectl(...)  what a person would type
//!     until(...)    waits for a condition, with a deadline and a reason
//!     Random        choices that a seed repeats
//!     Pods          tells pods as ready on a cluster without nodes
//! ```

mod charts;
mod git_server;
mod house;
mod kubectl;
mod pods;
mod process;
mod random;
mod registry;
mod up;
mod web;

pub use charts::{ChartRepository, pack_chart};
pub use git_server::{GitServer, Repository, unpack};
pub use house::{House, Options, condition};
pub use kubectl::kubectl;
pub use pods::Pods;
pub use process::{Process, binary};
pub use random::Random;
pub use registry::{Registry, archive};
pub use testing::free_port;
pub use up::{Up, edit, example, up_once};
pub use web::{Answer, Asked, Web};

use std::time::{Duration, Instant};

/// How long a thing that should happen may take before a test fails; generous, since machines differ.
pub const PATIENCE: Duration = Duration::from_secs(180);

/// Waits until `check` gives something; panics with the last reason after [`PATIENCE`].
pub fn until<T>(what: &str, mut check: impl FnMut() -> Result<T, String>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match check() {
            Ok(found) => return found,
            Err(why) => assert!(Instant::now() < deadline, "waited {PATIENCE:?} for {what}; last seen: {why}"),
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// The folder with the real repositories and corpora, where there is one.
pub fn shared() -> Option<std::path::PathBuf> {
    let beside = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared");
    let found = std::env::var_os("SLUICE_SHARED").map_or(beside, Into::into);
    if found.is_dir() {
        return Some(found);
    }
    println!("SKIPPED: no folder with reference repositories (set SLUICE_SHARED)");
    None
}

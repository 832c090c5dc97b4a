use artifacts::Storage;
use std::path::PathBuf;
use std::time::Duration;

/// What a source-controller is told, as values.
#[derive(Debug, Clone)]
pub struct Options {
    pub storage: Storage,
    /// How many objects of a kind are reconciled at the same time. More than Flux's two: most of the time is spent waiting for servers.
    pub concurrent: usize,
    /// After which time a missing dependency is looked for again.
    pub requeue_dependency: Duration,
    /// Folder of the Git caches.
    pub git_cache: PathBuf,
    /// What one fetch may cost.
    pub git_limits: git::Limits,
    /// What connections over SSH may agree on.
    pub ssh_algorithms: git::Algorithms,
    /// How much Helm repositories may send.
    pub helm_limits: crate::HelmLimits,
}

impl Options {
    /// The defaults of the program, with artifacts in `storage`.
    pub fn new(storage: PathBuf) -> Self {
        Self {
            // A name that the store neither lists nor serves.
            git_cache: storage.join(".tmp-git-cache"),
            storage: Storage::new(storage),
            concurrent: 8,
            requeue_dependency: Duration::from_secs(30),
            git_limits: git::Limits::default(),
            ssh_algorithms: git::Algorithms::default(),
            helm_limits: crate::HelmLimits::default(),
        }
    }
}

//! What runs behind `up`: the API server (embedded, or somebody's cluster), the controllers, the data directory.

use super::{Error, UpArgs, kinds, screen::Screen};
use cluster::{Client, Selection};
use std::{
    path::{Path, PathBuf},
    time::Duration,
};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// The state of one `up`: kept where the user named a place, removed at the end otherwise.
pub enum DataDir {
    Kept(PathBuf),
    Temporary(tempfile::TempDir),
}

impl DataDir {
    pub fn open(path: Option<&Path>) -> Result<Self, Error> {
        let failed = |path: &Path, source| Error::Data { path: path.to_owned(), source };
        match path {
            Some(path) => {
                std::fs::create_dir_all(path).map_err(|e| failed(path, e))?;
                Ok(Self::Kept(path.canonicalize().map_err(|e| failed(path, e))?))
            }
            None => {
                let folder = tempfile::Builder::new().prefix("sluice-").tempdir();
                Ok(Self::Temporary(folder.map_err(|e| failed(&std::env::temp_dir(), e))?))
            }
        }
    }

    pub fn path(&self) -> &Path {
        match self {
            Self::Kept(path) => path,
            Self::Temporary(folder) => folder.path(),
        }
    }

    fn is_kept(&self) -> bool {
        matches!(self, Self::Kept(_))
    }
}

/// The API server that is reconciled to.
pub struct Cluster {
    pub client: Client,
    pub config: kube::Config,
    embedded: Option<(apiserver::Running, PathBuf)>,
}

impl Cluster {
    pub fn is_external(&self) -> bool {
        self.embedded.is_none()
    }

    /// How to point kubectl at it.
    pub fn explain(&self, screen: &Screen) {
        if let Some((_, kubeconfig)) = &self.embedded {
            screen.say("►", &format!("export KUBECONFIG={}", kubeconfig.display()));
        }
    }

    pub async fn stop(self) {
        if let Some((running, kubeconfig)) = self.embedded {
            running.shutdown().await;
            // It names a server that is gone.
            let _ = std::fs::remove_file(kubeconfig);
        }
    }
}

//! One output: put together, packed, stored.

use crate::observe::path;
use api::{Artifact, meta::Time};
use compose::{ChecksumError, Filter, Limits, Output, Sources};
use std::sync::Arc;
use store::{Store, Verdict};
use tree::archive;
use types::{Algorithm, NamespacedName};

/// Why an output could not be made, in Flux's words.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BuildError {
    #[error("failed to apply copy operations")]
    Copy(#[from] compose::Error),
    #[error(transparent)]
    Checksum(#[from] ChecksumError),
    #[error("failed to create artifact")]
    Archive(#[source] std::io::Error),
    #[error("failed to create artifact")]
    Store(#[source] store::Error),
    #[error("the build did not end by itself")]
    Lost,
}

/// What builds share.
#[derive(Clone)]
pub(crate) struct Builder {
    pub(crate) store: Arc<Store>,
    pub(crate) sources: Sources,
    pub(crate) algorithm: Algorithm,
    pub(crate) limits: Limits,
    pub(crate) now: Time,
}

impl Builder {
    /// Makes the artifact of an output, and stores it unless the same bytes lie there already.
    pub(crate) async fn build(&self, key: NamespacedName, output: Output) -> Result<Artifact, BuildError> {
        let this = self.clone();
        tokio::task::spawn_blocking(move || this.build_blocking(&key, &output)).await.unwrap_or(Err(BuildError::Lost))
    }

    fn build_blocking(&self, key: &NamespacedName, output: &Output) -> Result<Artifact, BuildError> {
        let tree = compose::compose(&self.sources, &output.operations, self.limits)?;
        let file = compose::file_name(&output.name, &tree)?;
        let filter = Filter::default();
        let bytes = archive::write(&tree, &|path, kind| filter.keeps(path, kind), Vec::new()).map_err(BuildError::Archive)?;
        let digest = self.algorithm.digest(&bytes);
        let path = path(key, &file);
        if self.store.verify(&path, &digest).map_err(BuildError::Store)? != Verdict::Intact {
            self.store.write(&path, |out| out.write_all(&bytes)).map_err(BuildError::Store)?;
        }
        Ok(Artifact {
            url: self.store.url(&path),
            path,
            revision: format!("latest@{digest}"),
            digest: digest.to_string(),
            last_update_time: self.now,
            size: Some(bytes.len() as i64),
            ..Artifact::default()
        })
    }
}

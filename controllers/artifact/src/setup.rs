//! What watches what.

use crate::{
    NAME,
    observe::{self, BY_GENERATOR},
    options::{DIRECT_SOURCE_FETCH, GATES, Options},
    reconcile::Reconciler,
};
use api::{extensions::ArtifactGenerator, meta};
use artifacts::{EXTERNAL_ARTIFACT, Served, SourceKey, Sources, Trees};
use cluster::{Resource, Selection};
use runtime::{Controller, Process, Settings, Store};
use tokio_util::sync::CancellationToken;

const BY_SOURCE: &str = "source";

/// Why the controller could not be set up, or had to end.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Storage(#[from] artifacts::Error),
    #[error(transparent)]
    Http(#[from] http_client::Error),
    #[error(transparent)]
    Runtime(#[from] runtime::Error),
    #[error(transparent)]
    Argument(#[from] types::Error),
}

/// Runs an artifact-controller until `shutdown` is cancelled.
pub async fn run(options: Options, kube: kube::Config, shutdown: CancellationToken) -> Result<(), Error> {
    let settings = Settings::embedded(NAME, kube).with_gates(&GATES, "");
    runtime::program::embedded(settings, shutdown, |process| set_up(process, options)).await
}

fn generators() -> Store<ArtifactGenerator> {
    Store::new(Resource::namespaced(ArtifactGenerator::GROUP, ArtifactGenerator::VERSION, ArtifactGenerator::KIND, "artifactgenerators"))
        .with_index(BY_SOURCE, |this| observe::sources_of(this).map(|(_, key)| key.text()).collect())
}

/// Puts the controller, and the server of what it makes, into `process`.
pub async fn set_up(process: Process, options: Options) -> Result<Served, Error> {
    let served = options.storage.serve(&process).await?;
    let generators = generators();
    let kinds = ["GitRepository", "OCIRepository", "Bucket", "HelmChart", EXTERNAL_ARTIFACT];
    let sources: Sources = Sources::new(process.client().clone(), kinds);
    let outputs = sources.store(EXTERNAL_ARTIFACT).expect("it is one of the kinds").clone();
    let outputs =
        outputs.with_index(BY_GENERATOR, |output| output.metadata.labels.get(meta::GENERATOR_LABEL).cloned().into_iter().collect());
    let reconciler = Reconciler {
        client: process.client().clone(),
        trees: Trees::new(options.http_retry, options.source_host.clone())?,
        sources: sources.clone(),
        outputs,
        store: served.store.clone(),
        direct: process.gates().enabled(DIRECT_SOURCE_FETCH),
        told: Default::default(),
        options: options.clone(),
    };
    let controller = Controller::new("artifactgenerator", generators.clone(), reconciler, process.settings().backoff)
        .concurrent(options.concurrent)
        .finalizer(meta::GENERATOR_FINALIZER);
    for kind in sources.stores() {
        let (users, handle, name) = (generators.clone(), controller.handle(), kind.resource().kind.clone());
        kind.on_change(move |change| {
            // Another revision, or the first one.
            if change.differs(artifacts::revision) && change.new.as_deref().is_some_and(|new| new.status.artifact.is_some()) {
                let key = SourceKey { kind: name.clone(), name: change.key.clone() };
                users.by_index(BY_SOURCE, &key.text()).iter().for_each(|user| handle.trigger(user));
            }
        });
        process.watch(kind, Selection::default());
    }
    process.run(controller, process.settings().selection());
    Ok(served)
}

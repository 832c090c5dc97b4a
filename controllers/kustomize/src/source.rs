use api::kustomize::Kustomization;
use artifacts::{EXTERNAL_ARTIFACT, SourceKey, Sources};
use cluster::Client;

/// What `spec.sourceRef` of a Kustomization names.
pub(crate) fn key_of(this: &Kustomization) -> SourceKey {
    let reference = &this.spec.source_ref;
    SourceKey::new(&reference.kind, &reference.namespace, &reference.name, this.metadata.namespace.as_deref())
}

/// The kinds that a Kustomization may name; ExternalArtifacts where a feature gate lets them in.
pub(crate) fn sources(client: Client, external: bool) -> Sources {
    let kinds = ["GitRepository", "OCIRepository", "Bucket"];
    Sources::new(client, kinds.into_iter().chain(external.then_some(EXTERNAL_ARTIFACT)))
}

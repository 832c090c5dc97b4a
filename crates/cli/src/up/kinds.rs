//! The kinds that `up` makes and watches.

use cluster::Resource;

pub fn git_repository() -> Resource {
    Resource::namespaced("source.toolkit.fluxcd.io", "v1", "GitRepository", "gitrepositories")
}

pub fn oci_repository() -> Resource {
    Resource::namespaced("source.toolkit.fluxcd.io", "v1", "OCIRepository", "ocirepositories")
}

pub fn artifact_generator() -> Resource {
    Resource::namespaced("source.extensions.fluxcd.io", "v1beta1", "ArtifactGenerator", "artifactgenerators")
}

pub fn external_artifact() -> Resource {
    Resource::namespaced("source.toolkit.fluxcd.io", "v1", "ExternalArtifact", "externalartifacts")
}

pub fn kustomization() -> Resource {
    Resource::namespaced("kustomize.toolkit.fluxcd.io", "v1", "Kustomization", "kustomizations")
}

pub fn helm_release() -> Resource {
    Resource::namespaced("helm.toolkit.fluxcd.io", "v2", "HelmRelease", "helmreleases")
}

pub fn helm_repository() -> Resource {
    Resource::namespaced("source.toolkit.fluxcd.io", "v1", "HelmRepository", "helmrepositories")
}

pub fn helm_chart() -> Resource {
    Resource::namespaced("source.toolkit.fluxcd.io", "v1", "HelmChart", "helmcharts")
}

pub fn crd() -> Resource {
    Resource::cluster_scoped("apiextensions.k8s.io", "v1", "CustomResourceDefinition", "customresourcedefinitions")
}

pub fn namespace() -> Resource {
    Resource::cluster_scoped("", "v1", "Namespace", "namespaces")
}

pub fn deployment() -> Resource {
    Resource::namespaced("apps", "v1", "Deployment", "deployments")
}

/// What the picture is made of.
pub fn watched() -> [Resource; 8] {
    [
        git_repository(),
        oci_repository(),
        helm_repository(),
        helm_chart(),
        artifact_generator(),
        external_artifact(),
        kustomization(),
        helm_release(),
    ]
}

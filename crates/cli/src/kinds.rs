//! The kinds that the command line knows, and how each is named on it.

use api::{extensions, helm, image, kustomize, notification, source};
use cluster::Resource;
use serde_json::Value;

/// One kind of Flux object.
pub struct Kind {
    pub kind: &'static str,
    pub group: &'static str,
    pub version: &'static str,
    pub plural: &'static str,
    /// How messages name it.
    pub human: &'static str,
    /// Its words after a verb: `source git`.
    pub words: &'static [&'static str],
    /// Another word for the last of `words`.
    pub alias: Option<&'static str>,
    /// Reads an object and writes it again as the Go API would.
    pub normalise: fn(Value) -> Result<Value, serde_json::Error>,
}

impl PartialEq for Kind {
    fn eq(&self, other: &Self) -> bool {
        self.kind == other.kind
    }
}

macro_rules! kinds {
    ($($name:ident = $ty:ty, $plural:literal, $human:literal, [$($word:literal),+] $(, $alias:literal)?;)*) => {
        $(pub static $name: Kind = Kind {
            kind: <$ty>::KIND,
            group: <$ty>::GROUP,
            version: <$ty>::VERSION,
            plural: $plural,
            human: $human,
            words: &[$($word),+],
            alias: kinds!(@alias $($alias)?),
            normalise: |object| serde_json::to_value(serde_json::from_value::<$ty>(object)?),
        };)*

        /// Every kind.
        pub static ALL: &[&Kind] = &[$(&$name),*];
    };
    (@alias) => { None };
    (@alias $alias:literal) => { Some($alias) };
}

kinds! {
    KUSTOMIZATION = kustomize::Kustomization, "kustomizations", "kustomization", ["kustomization"], "ks";
    HELM_RELEASE = helm::HelmRelease, "helmreleases", "helmrelease", ["helmrelease"], "hr";
    GIT_REPOSITORY = source::GitRepository, "gitrepositories", "source git", ["source", "git"];
    OCI_REPOSITORY = source::OCIRepository, "ocirepositories", "source oci", ["source", "oci"];
    HELM_REPOSITORY = source::HelmRepository, "helmrepositories", "source helm", ["source", "helm"];
    HELM_CHART = source::HelmChart, "helmcharts", "source chart", ["source", "chart"];
    BUCKET = source::Bucket, "buckets", "source bucket", ["source", "bucket"];
    EXTERNAL_ARTIFACT = source::ExternalArtifact, "externalartifacts", "source external-artifact", ["source", "external"];
    ARTIFACT_GENERATOR = extensions::ArtifactGenerator, "artifactgenerators", "artifactgenerator", ["artifact", "generator"];
    ALERT = notification::Alert, "alerts", "alert", ["alert"];
    PROVIDER = notification::Provider, "providers", "alert provider", ["alert-provider"];
    RECEIVER = notification::Receiver, "receivers", "receiver", ["receiver"];
    IMAGE_REPOSITORY = image::ImageRepository, "imagerepositories", "image repository", ["image", "repository"];
    IMAGE_POLICY = image::ImagePolicy, "imagepolicies", "image policy", ["image", "policy"];
    IMAGE_UPDATE = image::ImageUpdateAutomation, "imageupdateautomations", "image update automation", ["image", "update"];
}

impl Kind {
    pub fn resource(&self) -> Resource {
        Resource::namespaced(self.group, self.version, self.kind, self.plural)
    }

    pub fn api_version(&self) -> String {
        format!("{}/{}", self.group, self.version)
    }

    /// `kustomizations.kustomize.toolkit.fluxcd.io`.
    pub fn full_name(&self) -> String {
        format!("{}.{}", self.plural, self.group)
    }

    /// Puts type and kind on an object, which lists leave out.
    pub fn stamp(&self, mut object: Value) -> Value {
        object["apiVersion"] = Value::from(self.api_version());
        object["kind"] = Value::from(self.kind);
        object
    }
}

/// The kind with these words after a verb.
pub fn of_words(words: &[String]) -> Option<&'static Kind> {
    ALL.iter().copied().find(|known| known.words.iter().eq(words.iter()))
}

/// The kinds that every verb with a reconciler behind it takes.
pub static RECONCILED: &[&Kind] = &[
    &KUSTOMIZATION,
    &HELM_RELEASE,
    &GIT_REPOSITORY,
    &OCI_REPOSITORY,
    &HELM_REPOSITORY,
    &HELM_CHART,
    &BUCKET,
    &RECEIVER,
    &IMAGE_REPOSITORY,
    &IMAGE_POLICY,
    &IMAGE_UPDATE,
];

/// The kinds that people suspend, resume and delete.
pub static MANAGED: &[&Kind] = &[
    &KUSTOMIZATION,
    &HELM_RELEASE,
    &GIT_REPOSITORY,
    &OCI_REPOSITORY,
    &HELM_REPOSITORY,
    &HELM_CHART,
    &BUCKET,
    &ALERT,
    &PROVIDER,
    &RECEIVER,
    &IMAGE_REPOSITORY,
    &IMAGE_POLICY,
    &IMAGE_UPDATE,
];

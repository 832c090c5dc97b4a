//! The custom resources of the Flux groups: types, schemas, definitions.
//!
//! ```text
//! schema (record!, resource!)   one declaration: struct + JSON form + OpenAPI schema
//!    ├── meta            conditions, artifacts, references, names of labels and annotations
//!    ├── source          GitRepository OCIRepository HelmRepository HelmChart Bucket ExternalArtifact
//!    ├── extensions      ArtifactGenerator
//!    ├── kustomize       Kustomization
//!    ├── helm            HelmRelease
//!    ├── notification    Alert Provider Receiver
//!    └── image           ImageRepository ImagePolicy ImageUpdateAutomation
//! crd                    all of them as CustomResourceDefinitions (written to crds/)
//! ```
//!
//! The JSON form is Go's: a `String`, `bool`, number, list or map that is empty is left out, and an `Option` stands where the
//! Go API has a pointer (set to zero is not the same as absent). Unknown fields are passed over, so objects stored by
//! another version still decode.

#![recursion_limit = "512"]

pub mod crd;
pub mod extensions;
pub mod helm;
pub mod image;
pub mod kustomize;
pub mod meta;
pub mod notification;
pub mod schema;
pub mod source;

pub use meta::{Artifact, Condition, Conditions};

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    #[test]
    fn an_object_reads_and_writes_as_go_does() {
        let stored = json!({
            "apiVersion": "kustomize.toolkit.fluxcd.io/v1", "kind": "Kustomization",
            "metadata": {"name": "apps", "namespace": "flux-system"},
            "spec": {"interval": "90s", "prune": false, "suspend": false, "path": "", "sourceRef": {"kind": "GitRepository", "name": "repo"}, "later": 1},
            "status": {"observedGeneration": -1},
        });
        let read: kustomize::Kustomization = serde_json::from_value(stored).unwrap();
        let written = serde_json::to_value(&read).unwrap();
        assert_eq!(
            written["spec"],
            json!({"interval": "1m30s", "prune": false, "sourceRef": {"kind": "GitRepository", "name": "repo"}}),
            "required fields stay, empty optional and unknown ones go"
        );
        assert_eq!(written["status"], json!({"observedGeneration": -1}));
        assert_eq!(written["apiVersion"], json!("kustomize.toolkit.fluxcd.io/v1"));
    }

    #[test]
    fn an_object_without_status_decodes_and_one_without_a_required_field_names_it() {
        let bare = json!({"metadata": {"name": "a"}, "spec": {"interval": "1m", "url": "https://example.com"}});
        let repository: source::GitRepository = serde_json::from_value(bare).unwrap();
        assert_eq!((repository.status, repository.spec.ignore), (None, None));
        let error = serde_json::from_value::<source::GitRepository>(json!({"metadata": {"name": "a"}, "spec": {"url": "u"}})).unwrap_err();
        assert!(error.to_string().contains("interval"), "{error}");
    }

    #[test]
    fn odd_names_of_the_go_api_are_kept() {
        let install = helm::Install { skip_crds: true, disable_open_api_validation: true, ..Default::default() };
        assert_eq!(serde_json::to_value(&install).unwrap(), json!({"skipCRDs": true, "disableOpenAPIValidation": true}));
        let _: Value = serde_json::to_value(notification::Receiver::default()).unwrap();
    }
}

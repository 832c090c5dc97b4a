//! The fields that an endpoint takes back from every write: status through the main resource, the rest through status.

use object::GroupVersionKind;

use super::set::Set;

/// The fields that the endpoint of a built-in kind does not change.
pub fn reset_fields(gvk: &GroupVersionKind, subresource: &str) -> Set {
    match (gvk.group.as_str(), gvk.kind.as_str(), subresource) {
        ("certificates.k8s.io", "CertificateSigningRequest", "") => Set::of_fields(&[&["spec"], &["status"]]),
        ("certificates.k8s.io", "CertificateSigningRequest", "status") => Set::of_fields(&[&["spec"], &["status", "conditions"]]),
        ("certificates.k8s.io", "CertificateSigningRequest", "approval") => Set::of_fields(&[&["spec"], &["status", "certificate"]]),
        (_, _, "") if has_status(gvk) => Set::of_fields(&[&["status"]]),
        ("apps", "Deployment", "status") => Set::of_fields(&[&["metadata", "labels"], &["spec"]]),
        ("", "Pod", "status") => Set::of_fields(&[&["metadata", "deletionTimestamp"], &["metadata", "ownerReferences"], &["spec"]]),
        // Younger groups keep their metadata from status writes too.
        (
            "admissionregistration.k8s.io" | "flowcontrol.apiserver.k8s.io" | "resource.k8s.io" | "storage.k8s.io" | "apiextensions.k8s.io",
            _,
            "status",
        )
        | ("networking.k8s.io", "ServiceCIDR", "status") => Set::of_fields(&[&["metadata"], &["spec"]]),
        (_, _, "status") => Set::of_fields(&[&["spec"]]),
        ("", "Namespace", "finalize") => Set::of_fields(&[&["status"]]),
        _ => Set::new(),
    }
}

/// The same for a custom resource.
pub fn reset_fields_custom(has_status: bool, subresource: &str) -> Set {
    match subresource {
        "" if has_status => Set::of_fields(&[&["status"]]),
        "status" => Set::of_fields(&[&["metadata"], &["spec"]]),
        _ => Set::new(),
    }
}

fn has_status(gvk: &GroupVersionKind) -> bool {
    let versions = crate::builtin::discovery().iter().filter(|group| group.name == gvk.group).flat_map(|group| &group.versions);
    let resource = versions.filter(|version| version.version == gvk.version).flat_map(|version| &version.resources);
    resource.filter(|resource| resource.kind == gvk.kind).any(|resource| resource.subresources.iter().any(|sub| sub.name == "status"))
}

use crate::Object;
use std::cmp::Ordering;

/// Kinds that others build on, in the order in which Flux applies them (fluxcd/pkg ssa/sort.go).
const FIRST: &[&str] = &[
    "CustomResourceDefinition",
    "Namespace",
    "ClusterRole",
    "ClusterClass",
    "RuntimeClass",
    "PriorityClass",
    "StorageClass",
    "VolumeSnapshotClass",
    "IngressClass",
    "GatewayClass",
    "ClusterRoleBinding",
    "ResourceQuota",
    "ServiceAccount",
    "Role",
    "RoleBinding",
    "ConfigMap",
    "Secret",
    "Service",
    "LimitRange",
    "Deployment",
    "StatefulSet",
    "CronJob",
    "PodDisruptionBudget",
];
/// Kinds that can block the creation of others.
const LAST: &[&str] = &["MutatingWebhookConfiguration", "ValidatingWebhookConfiguration"];

/// The place of a kind in the apply order; smaller is earlier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ApplyOrder(usize);

impl ApplyOrder {
    pub fn of_kind(kind: &str) -> Self {
        let place = |list: &[&str]| list.iter().position(|k| *k == kind);
        match (place(FIRST), place(LAST)) {
            (Some(at), _) => Self(at),
            (None, Some(at)) => Self(FIRST.len() + 1 + at),
            (None, None) => Self(FIRST.len()),
        }
    }
}

/// Orders objects as they are applied: by kind, then group and kind name, then namespace and name. Deletion takes the reverse.
pub fn compare_for_apply(a: &Object, b: &Object) -> Ordering {
    ApplyOrder::of_kind(a.kind())
        .cmp(&ApplyOrder::of_kind(b.kind()))
        .then_with(|| a.gvk().group.cmp(&b.gvk().group))
        .then_with(|| a.kind().cmp(b.kind()))
        .then_with(|| a.namespace().cmp(b.namespace()))
        .then_with(|| a.name().cmp(b.name()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_others_need_comes_first_and_webhooks_last() {
        let object =
            |api: &str, kind: &str, name: &str| Object::new(json!({"apiVersion": api, "kind": kind, "metadata": {"name": name}})).unwrap();
        let mut objects = [
            object("admissionregistration.k8s.io/v1", "ValidatingWebhookConfiguration", "w"),
            object("example.com/v1", "Widget", "x"),
            object("apps/v1", "Deployment", "b"),
            object("apps/v1", "Deployment", "a"),
            object("v1", "Namespace", "n"),
        ];
        objects.sort_by(compare_for_apply);
        let names: Vec<_> = objects.iter().map(Object::name).collect();
        assert_eq!(names, ["n", "a", "b", "x", "w"]);
    }
}

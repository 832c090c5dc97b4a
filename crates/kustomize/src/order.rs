use crate::{id::Gvk, object::Object};
use std::{cmp::Ordering, collections::HashMap};

/// Kinds that come first in kustomize's legacy order (kustomize SortOrderTransformer).
const FIRST: [&str; 22] = [
    "Namespace",
    "ResourceQuota",
    "StorageClass",
    "CustomResourceDefinition",
    "ServiceAccount",
    "PodSecurityPolicy",
    "Role",
    "ClusterRole",
    "RoleBinding",
    "ClusterRoleBinding",
    "ConfigMap",
    "Secret",
    "Endpoints",
    "Service",
    "LimitRange",
    "PriorityClass",
    "PersistentVolume",
    "PersistentVolumeClaim",
    "Deployment",
    "StatefulSet",
    "CronJob",
    "PodDisruptionBudget",
];
const LAST: [&str; 2] = ["MutatingWebhookConfiguration", "ValidatingWebhookConfiguration"];

/// Negative for the first kinds, positive for the last.
pub(crate) fn rank(kind: &str) -> i32 {
    if let Some(at) = FIRST.iter().position(|first| *first == kind) {
        return at as i32 - FIRST.len() as i32;
    }
    LAST.iter().position(|last| *last == kind).map_or(0, |at| at as i32 + 1)
}

/// Sorts objects in the legacy order; `first` and `last` replace the kinds of the default.
pub(crate) fn sort_legacy(objects: &mut Vec<Object>, custom: Option<(&[String], &[String])>) {
    let ranks: Option<HashMap<&str, i32>> = custom.map(|(first, last)| {
        let mut ranks = HashMap::new();
        ranks.extend(first.iter().enumerate().map(|(at, kind)| (kind.as_str(), at as i32 - first.len() as i32)));
        ranks.extend(last.iter().enumerate().map(|(at, kind)| (kind.as_str(), at as i32 + 1)));
        ranks
    });
    let rank_of = |kind: &str| match &ranks {
        Some(ranks) => ranks.get(kind).copied().unwrap_or(0),
        None => rank(kind),
    };
    let mut keyed: Vec<(i32, Gvk, String, String, usize)> = objects
        .iter()
        .enumerate()
        .map(|(at, object)| {
            let id = object.id();
            let or = |text: &str, empty: &str| if text.is_empty() { empty.to_owned() } else { text.to_owned() };
            let name = format!("{}|{}|{}", id.gvk, or(&id.namespace, "~X"), or(&id.name, "~N"));
            (rank_of(&id.gvk.kind), id.gvk.clone(), id.gvk.sort_string(), name, at)
        })
        .collect();
    // The rule is kustomize's own, and not transitive: types of the same text but of different parts are equal.
    yaml::merge_sort(&mut keyed, &|a, b| {
        if a.1 == b.1 {
            return a.3.cmp(&b.3);
        }
        let by_type = a.2.cmp(&b.2);
        // Core namespaces come after those of other groups.
        let namespaces = a.1.kind == "Namespace" && b.1.kind == "Namespace" && (a.1.group.is_empty() || b.1.group.is_empty());
        a.0.cmp(&b.0).then(if namespaces { by_type.reverse() } else { by_type }).then(Ordering::Equal)
    });
    let mut taken: Vec<Option<Object>> = std::mem::take(objects).into_iter().map(Some).collect();
    objects.extend(keyed.into_iter().filter_map(|(.., at)| taken[at].take()));
}

//! Labels and annotations that steer what is done with an object.

use object::Object;
use types::NamespacedName;

pub const NAME_LABEL: &str = "kustomize.toolkit.fluxcd.io/name";
pub const NAMESPACE_LABEL: &str = "kustomize.toolkit.fluxcd.io/namespace";
const PRUNE: &str = "kustomize.toolkit.fluxcd.io/prune";
const RECONCILE: &str = "kustomize.toolkit.fluxcd.io/reconcile";
const SSA: &str = "kustomize.toolkit.fluxcd.io/ssa";
const FORCE: &str = "kustomize.toolkit.fluxcd.io/force";

/// How an object's own metadata wants it to be applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ApplyPolicy {
    /// The default, and what unknown values mean.
    #[default]
    Override,
    /// Fields of kubectl and old annotations are left alone.
    Merge,
    /// Made when absent, then never touched.
    IfNotPresent,
    /// Neither applied nor deleted.
    Ignore,
}

/// What the labels and annotations of one object say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Steering {
    pub apply: ApplyPolicy,
    pub reconcile_disabled: bool,
    pub prune_disabled: bool,
    pub force: bool,
}

impl Steering {
    pub fn of(object: &Object) -> Self {
        let apply = if says(object, SSA, "Merge") {
            ApplyPolicy::Merge
        } else if says(object, SSA, "IfNotPresent") {
            ApplyPolicy::IfNotPresent
        } else if says(object, SSA, "Ignore") {
            ApplyPolicy::Ignore
        } else {
            ApplyPolicy::Override
        };
        Self {
            apply,
            reconcile_disabled: says(object, RECONCILE, "disabled"),
            prune_disabled: says(object, PRUNE, "disabled"),
            force: says(object, FORCE, "enabled"),
        }
    }
}

/// A label or an annotation has this value, in any case.
fn says(object: &Object, key: &str, value: &str) -> bool {
    [object.label(key), object.annotation(key)].into_iter().flatten().any(|found| found.eq_ignore_ascii_case(value))
}

/// The two labels by which an object names who applied it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OwnerLabels {
    pub name: &'static str,
    pub namespace: &'static str,
}

impl OwnerLabels {
    pub const KUSTOMIZATION: Self = Self { name: NAME_LABEL, namespace: NAMESPACE_LABEL };
    pub const HELM_RELEASE: Self = Self { name: "helm.toolkit.fluxcd.io/name", namespace: "helm.toolkit.fluxcd.io/namespace" };

    /// The owner that an object's labels name.
    pub fn owner_of(self, object: &Object) -> Option<NamespacedName> {
        match (object.label(self.namespace), object.label(self.name)) {
            (Some(namespace), Some(name)) => Some(NamespacedName::new(namespace, name)),
            _ => None,
        }
    }
}

/// The Kustomization that an object's labels name.
pub fn owner_of(object: &Object) -> Option<NamespacedName> {
    OwnerLabels::KUSTOMIZATION.owner_of(object)
}

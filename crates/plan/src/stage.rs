use crate::Desired;
use object::GroupKind;

/// A group of objects that are applied together, before the next group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum StageKind {
    /// CustomResourceDefinitions, Namespaces, ClusterRoles: others need them.
    Definitions,
    /// `*Class`: others refer to them.
    Classes,
    /// Kinds that the operator names.
    Custom,
    Rest,
}

impl StageKind {
    pub const ALL: [StageKind; 4] = [StageKind::Definitions, StageKind::Classes, StageKind::Custom, StageKind::Rest];

    pub fn of(desired: &Desired, custom: &[GroupKind]) -> Self {
        let key = &desired.key;
        match (key.group.as_str(), key.kind.as_str()) {
            ("apiextensions.k8s.io", "CustomResourceDefinition") | ("", "Namespace") | ("rbac.authorization.k8s.io", "ClusterRole") => {
                StageKind::Definitions
            }
            (_, kind) if kind.ends_with("Class") => StageKind::Classes,
            _ if custom.iter().any(|one| one.group == key.group && one.kind == key.kind) => StageKind::Custom,
            _ => StageKind::Rest,
        }
    }

    /// The next stage begins only when the objects of this one are current.
    pub fn waits(self) -> bool {
        matches!(self, StageKind::Definitions | StageKind::Classes)
    }
}

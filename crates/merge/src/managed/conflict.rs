//! What an apply that others stand in the way of is answered with.

use std::collections::BTreeMap;
use std::fmt;

use super::entries::{Manager, Operation};
use super::path::PathElement;
use super::set::{Set, path_text};
use crate::gofmt;

/// A field that another manager holds with another value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conflict {
    pub manager: Manager,
    pub path: Vec<PathElement>,
}

impl Conflict {
    /// The message of the cause in the `Status`: `conflict with "kubectl" using apps/v1`.
    pub fn message(&self) -> String {
        format!("conflict with {}", manager_text(&self.manager))
    }

    /// The field of the cause: `.spec.replicas`.
    pub fn field(&self) -> String {
        path_text(&self.path)
    }
}

/// All conflicts of an apply.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct Conflicts(pub Vec<Conflict>);

impl Conflicts {
    pub(super) fn set(&self) -> Set {
        let mut set = Set::new();
        self.0.iter().for_each(|conflict| set.insert(&conflict.path));
        set
    }

    pub(super) fn without(self, allowed: &Set) -> Self {
        Self(self.0.into_iter().filter(|conflict| !allowed.has(&conflict.path)).collect())
    }
}

impl fmt::Display for Conflicts {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let [only] = self.0.as_slice() {
            return write!(out, "Apply failed with 1 conflict: {}: {}", only.message(), only.field());
        }
        let mut by_manager: BTreeMap<String, (String, Vec<String>)> = BTreeMap::new();
        for conflict in &self.0 {
            let entry = by_manager.entry(identifier(&conflict.manager)).or_default();
            entry.0 = manager_text(&conflict.manager);
            entry.1.push(format!("- {}", conflict.field()));
        }
        let groups = by_manager.into_values().map(|(manager, lines)| format!("conflicts with {manager}:\n{}", lines.join("\n")));
        write!(out, "Apply failed with {} conflicts: {}", self.0.len(), groups.collect::<Vec<_>>().join("\n"))
    }
}

/// The order in which apimachinery names managers is that of their JSON, in which nothing empty is written.
fn identifier(manager: &Manager) -> String {
    let fields = [
        ("manager", manager.name.as_str()),
        ("operation", manager.operation.as_str()),
        ("apiVersion", manager.api_version.as_str()),
        ("subresource", manager.subresource.as_str()),
    ];
    let written = fields.iter().filter(|(_, value)| !value.is_empty()).map(|(name, value)| format!("\"{name}\":{}", gofmt::quote(value)));
    format!("{{{}}}", written.collect::<Vec<_>>().join(","))
}

fn manager_text(manager: &Manager) -> String {
    let mut text = gofmt::quote(&manager.name);
    if !manager.subresource.is_empty() {
        text.push_str(&format!(" with subresource {}", gofmt::quote(&manager.subresource)));
    }
    if manager.operation == Operation::Update {
        text.push_str(&format!(" using {}", manager.api_version));
    }
    text
}

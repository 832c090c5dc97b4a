use crate::api::Api;
use crate::protocol::selector::LabelSelector;
use crate::rest::write::change_own;
use serde_json::{Value, json};
use std::sync::PoisonError;

const TABLE: &str = "clusterroles.rbac.authorization.k8s.io";

/// Roles with an `aggregationRule` hold the rules of all roles that it selects.
pub fn aggregate(api: &Api) {
    // Aggregating writes roles, which leads here again: the inner call leaves it to the outer one.
    let Ok(_guard) = api.queues.exclusive.try_lock().or_else(|error| match error {
        std::sync::TryLockError::Poisoned(poisoned) => Ok(PoisonError::into_inner(poisoned)),
        std::sync::TryLockError::WouldBlock => Err(()),
    }) else {
        return;
    };
    let registry = api.registry();
    let Some(resource) = registry.of_table(TABLE) else { return };
    // An aggregated role may be selected by another one.
    for _ in 0..8 {
        let roles: Vec<(std::sync::Arc<crate::store::Record>, Value)> =
            api.store.all(TABLE, "").into_iter().map(|record| (record.clone(), record.value())).collect();
        let mut changed = false;
        for (record, role) in &roles {
            let Some(selectors) = role.pointer("/aggregationRule/clusterRoleSelectors").and_then(Value::as_array) else { continue };
            let selectors: Vec<LabelSelector> = selectors.iter().filter_map(LabelSelector::from_value).collect();
            let mut rules: Vec<Value> = Vec::new();
            for (other, value) in &roles {
                if other.key != record.key && selectors.iter().any(|s| s.matches(|key| other.facts.label(key))) {
                    for rule in value.get("rules").and_then(Value::as_array).into_iter().flatten() {
                        if !rules.contains(rule) {
                            rules.push(rule.clone());
                        }
                    }
                }
            }
            if role.get("rules").and_then(Value::as_array).is_none_or(|there| *there != rules) {
                let done = change_own(api, resource, &record.key, None, |mut object| {
                    object["rules"] = json!(rules);
                    Some(object)
                });
                changed |= matches!(done, Ok(Some(_)));
            }
        }
        if !changed {
            return;
        }
    }
}

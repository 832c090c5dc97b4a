use crate::api::Api;
use crate::protocol::selector::LabelSelector;
use crate::rest::write::change_own;
use crate::store::Record;
use serde_json::{Value, json};
use std::sync::{Arc, PoisonError};

const TABLE: &str = "clusterroles.rbac.authorization.k8s.io";
/// Roles that select roles that select roles.
const ROUNDS_MAX: usize = 8;

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
    for _ in 0..ROUNDS_MAX {
        let roles: Vec<(Arc<Record>, Value)> =
            api.store.all(TABLE, "").into_iter().map(|record| (Arc::clone(&record), record.value())).collect();
        let mut changed = false;
        for (record, role) in &roles {
            let others = roles.iter().filter(|(other, _)| other.key != record.key).map(|(_, role)| role);
            let Some(rules) = wanted(role, others) else { continue };
            let done = change_own(api, resource, &record.key, None, |mut object| {
                object["rules"] = json!(rules);
                Some(object)
            });
            changed |= matches!(done, Ok(Some(_)));
        }
        if !changed {
            return;
        }
    }
}

/// The same for roles that are not stored yet.
pub fn fill(roles: &mut [Value]) {
    for _ in 0..ROUNDS_MAX {
        let mut changed = false;
        for at in 0..roles.len() {
            let others = roles.iter().enumerate().filter(|(other, _)| *other != at).map(|(_, role)| role);
            if let Some(rules) = wanted(&roles[at], others) {
                roles[at]["rules"] = json!(rules);
                changed = true;
            }
        }
        if !changed {
            return;
        }
    }
}

/// The rules that a role must hold by those of the roles that it selects; nothing when it has them, or selects none.
fn wanted<'a>(role: &Value, others: impl Iterator<Item = &'a Value>) -> Option<Vec<Value>> {
    let selectors = role.pointer("/aggregationRule/clusterRoleSelectors")?.as_array()?;
    let selectors: Vec<LabelSelector> = selectors.iter().filter_map(LabelSelector::from_value).collect();
    let mut rules: Vec<Value> = Vec::new();
    for other in others {
        let labels = other.pointer("/metadata/labels");
        let label = |key: &str| labels.and_then(|labels| labels.get(key)).and_then(Value::as_str);
        if selectors.iter().any(|selector| selector.matches(label)) {
            for rule in other.get("rules").and_then(Value::as_array).into_iter().flatten() {
                if !rules.contains(rule) {
                    rules.push(rule.clone());
                }
            }
        }
    }
    (role.get("rules").and_then(Value::as_array) != Some(&rules)).then_some(rules)
}

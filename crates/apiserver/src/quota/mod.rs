//! Quotas: what a namespace may hold, and what it holds.
//!
//! ```text
//! write ──charge──► scopes, usage of the object ──► fits? ──► status.used of each quota, then the write
//!                                            └────► 403, worded as a real server words it
//! a deletion, a pod that ended, a changed quota ──settle──► usage of everything that is stored ──► status
//! ```
//!
//! A charge holds the lock until its object is stored or refused, and so does settling: what is counted is never half-way.

mod scopes;
mod usage;

pub use usage::of_containers;

use crate::api::{Api, text};
use crate::protocol::selector::LabelSelector;
use crate::protocol::status::{Result, Status};
use crate::registry::Resource;
use crate::rest::write::change_own;
use crate::store::{Change, Event, Record};
use merge::quantity::Quantity;
use serde_json::{Map, Value, json};
use std::cell::Cell;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub const QUOTAS: &str = "resourcequotas";

/// Amounts by the name of what they are amounts of.
pub type Amounts = BTreeMap<String, Quantity>;

/// What is known of quotas without looking them up.
#[derive(Default)]
pub struct Quotas {
    /// Whether their status is kept.
    kept: bool,
    lock: Mutex<()>,
    /// How many each namespace has.
    namespaces: Mutex<HashMap<Arc<str>, usize>>,
}

thread_local! {
    /// This thread holds the lock: what it writes is counted already.
    static HOLDING: Cell<bool> = const { Cell::new(false) };
}

struct Held<'a>(#[expect(dead_code, reason = "it is held, not read")] MutexGuard<'a, ()>);

impl Drop for Held<'_> {
    fn drop(&mut self) {
        HOLDING.set(false);
    }
}

impl Quotas {
    pub fn new(kept: bool) -> Self {
        Self { kept, ..Self::default() }
    }

    fn hold(&self) -> Held<'_> {
        let guard = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        HOLDING.set(true);
        Held(guard)
    }

    /// The namespace whose quotas are to be settled after a change; called while the store is locked.
    pub fn observe(&self, table: &str, event: &Event) -> Option<Arc<str>> {
        let namespace = event.record.namespace();
        if !self.kept || namespace.is_empty() {
            return None;
        }
        let mut namespaces = self.namespaces.lock().unwrap_or_else(PoisonError::into_inner);
        if table == QUOTAS {
            let count = namespaces.entry(Arc::from(namespace)).or_default();
            match event.change {
                Change::Added => *count += 1,
                Change::Deleted => *count = count.saturating_sub(1),
                Change::Modified => {}
            }
            if *count == 0 {
                namespaces.remove(namespace);
            }
        }
        if HOLDING.get() || !matters(table, event) {
            return None;
        }
        namespaces.get_key_value(namespace).map(|(namespace, _)| Arc::clone(namespace))
    }
}

/// Whether a change can change what is used. Of a pod, only its end and its deadline do.
fn matters(table: &str, event: &Event) -> bool {
    match (event.change, table, &event.before) {
        (Change::Modified, "pods", Some(before)) => {
            let counts = |record: &Record| {
                let has = |part: &[u8]| record.bytes.windows(part.len()).any(|window| window == part);
                (has(b"\"phase\":\"Succeeded\"") || has(b"\"phase\":\"Failed\""), has(b"\"activeDeadlineSeconds\""))
            };
            counts(before) != counts(&event.record)
        }
        // Whoever writes into the status of a quota has no say in what is used: it is counted anew, as when its limits change.
        (Change::Modified, QUOTAS, Some(before)) => {
            let (before, after) = (before.value(), event.record.value());
            before["spec"] != after["spec"] || before["status"] != after["status"]
        }
        (Change::Modified, table, _) => matches!(table, "services" | "persistentvolumeclaims"),
        _ => true,
    }
}

/// What a write took from quotas. It is given back unless the write was made.
pub struct Charge<'a> {
    api: &'a Api,
    namespace: String,
    /// What was there before may have counted elsewhere.
    replaces: bool,
    kept: bool,
    _held: Held<'a>,
}

impl Charge<'_> {
    /// The object is stored.
    pub fn keep(mut self) {
        self.kept = true;
    }
}

impl Drop for Charge<'_> {
    fn drop(&mut self) {
        if !self.kept || self.replaces {
            settle_all(self.api, &self.namespace);
        }
    }
}

/// A quota, as far as it concerns one write.
struct Concerned {
    record: Arc<Record>,
    requested: Amounts,
}

/// Charges a write to the quotas of its namespace, or says which it does not fit into.
pub fn charge<'a>(
    api: &'a Api,
    resource: &Resource,
    subresource: &str,
    object: &Value,
    old: Option<&Value>,
    dry_run: bool,
) -> Result<Option<Charge<'a>>> {
    let namespace = text(object, "/metadata/namespace");
    if namespace.is_empty()
        || !resource.namespaced
        || api.store.count(QUOTAS) == 0
        || !usage::is_charged(resource, subresource, object, old)
    {
        return Ok(None);
    }
    let prefix = format!("{namespace}/");
    if api.store.all(QUOTAS, &prefix).is_empty() {
        return Ok(None);
    }
    let held = api.queues.quotas.hold();
    let mut concerned = Vec::new();
    for record in api.store.all(QUOTAS, &prefix) {
        if let Some(requested) = check(resource, subresource, object, old, &record)? {
            concerned.push(Concerned { record, requested });
        }
    }
    if concerned.is_empty() || dry_run {
        return Ok(None);
    }
    let charge = Charge { api, namespace: namespace.to_owned(), replaces: old.is_some(), kept: false, _held: held };
    let registry = api.registry();
    for Concerned { record, requested } in concerned {
        let Some(quotas) = registry.of_table(QUOTAS) else { continue };
        change_own(api, quotas, &record.key, Some("status"), |mut quota| {
            let mut used = amounts(&quota, "/status/used");
            for (name, amount) in &requested {
                add(&mut used, name, *amount);
            }
            quota["status"]["used"] = to_value(&used);
            Some(quota)
        })?;
    }
    Ok(Some(charge))
}

/// What a write would take from one quota; nothing when it is none of its concern.
fn check(resource: &Resource, subresource: &str, object: &Value, old: Option<&Value>, record: &Record) -> Result<Option<Amounts>> {
    let quota = record.value();
    let refuse = |why: String| Err(Status::forbidden(&resource.group, &resource.name, text(object, "/metadata/name"), &why));
    // Until its status is told, a quota limits nothing, as in a real server.
    let hard = amounts(&quota, "/status/hard");
    let names: Vec<&str> = hard.keys().map(String::as_str).filter(|name| usage::counts(resource, name)).collect();
    if names.is_empty() || !scopes::match_all(&quota, resource, object) {
        return Ok(None);
    }
    if let Some(missing) = usage::unspecified(resource, object, &names) {
        return refuse(format!("failed quota: {}: must specify {missing}", record.name()));
    }
    let used = amounts(&quota, "/status/used");
    if names.iter().any(|name| !used.contains_key(*name)) {
        return refuse(format!("status unknown for quota: {}, resources: {}", record.name(), names.join(",")));
    }
    let mut requested = usage::of(resource, object);
    if let Some(old) = old.filter(|old| scopes::match_all(&quota, resource, old)) {
        let before = usage::of(resource, old);
        for (name, amount) in &mut requested {
            if let Some(before) = before.get(name) {
                *amount = amount.minus_or_zero(*before);
            }
        }
    }
    requested.retain(|name, amount| !amount.is_zero() && hard.contains_key(name));
    let exceeded: Vec<&String> = requested
        .iter()
        .filter(|(name, amount)| {
            let after = used.get(*name).map_or(**amount, |used| used.plus(**amount));
            subresource != "status" && hard.get(*name).is_some_and(|most| after > *most)
        })
        .map(|(name, _)| name)
        .collect();
    if !exceeded.is_empty() {
        let shown = |amounts: &Amounts| {
            let parts = exceeded.iter().filter_map(|name| amounts.get(*name).map(|amount| format!("{name}={amount}")));
            parts.collect::<Vec<_>>().join(",")
        };
        return refuse(format!(
            "exceeded quota: {}, requested: {}, used: {}, limited: {}",
            record.name(),
            shown(&requested),
            shown(&used),
            shown(&hard)
        ));
    }
    Ok((!requested.is_empty()).then_some(requested))
}

/// A quota is in force as soon as its creation is answered.
pub fn begin(api: &Api, record: &Record) {
    if record.value().pointer("/status/hard").is_none() {
        settle(api, record.namespace());
    }
}

/// Counts anew what the quotas of a namespace limit, and tells it in their status.
pub fn settle(api: &Api, namespace: &str) {
    if !api.queues.quotas.kept || HOLDING.get() {
        return;
    }
    let _held = api.queues.quotas.hold();
    settle_all(api, namespace);
}

fn settle_all(api: &Api, namespace: &str) {
    let registry = api.registry();
    let Some(quotas) = registry.of_table(QUOTAS) else { return };
    for record in api.store.all(QUOTAS, &format!("{namespace}/")) {
        let done = change_own(api, quotas, &record.key, Some("status"), |mut quota| {
            let hard = amounts(&quota, "/spec/hard");
            let counted = usage::total(api, namespace, &quota, &hard);
            let mut used = amounts(&quota, "/status/used");
            let dirty = hard != amounts(&quota, "/status/hard") || quota.pointer("/status/used").is_none();
            used.extend(counted);
            used.retain(|name, _| hard.contains_key(name));
            if !dirty && used == amounts(&quota, "/status/used") {
                return None;
            }
            quota["status"] = json!({"hard": quota["spec"]["hard"], "used": to_value(&used)});
            Some(quota)
        });
        if let Err(error) = done {
            tracing::debug!(error = %error, "the status of a quota could not be kept");
        }
    }
}

/// Amounts in an object.
pub fn amounts(object: &Value, pointer: &str) -> Amounts {
    let entries = object.pointer(pointer).and_then(Value::as_object).into_iter().flatten();
    entries.filter_map(|(name, amount)| Some((name.clone(), Quantity::of(amount)?))).collect()
}

fn to_value(amounts: &Amounts) -> Value {
    Value::Object(amounts.iter().map(|(name, amount)| (name.clone(), Value::from(amount.to_string()))).collect::<Map<_, _>>())
}

fn add(to: &mut Amounts, name: &str, amount: Quantity) {
    to.entry(name.to_owned()).and_modify(|there| *there = there.plus(amount)).or_insert(amount);
}

/// A requirement of a scope selector as one of labels.
fn requirement(key: &str, operator: &str, values: &Value) -> Option<LabelSelector> {
    LabelSelector::from_value(&json!({"matchExpressions": [{"key": key, "operator": operator, "values": values}]}))
}

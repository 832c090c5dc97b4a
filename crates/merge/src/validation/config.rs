//! ConfigMap, Secret, ResourceQuota, LimitRange, PriorityClass.

use crate::quantity::Quantity;
use serde_json::Value;

use super::at::{At, Errors};
use super::{meta, names};
use crate::field;
use crate::managed::equal;

/// All values of a ConfigMap or a Secret together.
const BYTES_MAX: usize = 1 << 20;

fn keys(errors: &mut Errors, at: &At<'_>) {
    for (key, value) in at.entries() {
        for message in names::config_key(key) {
            errors.push(field::invalid(&value.path, &Value::from(key), &message));
        }
    }
}

/// The size of values in base64.
fn decoded_len(text: &str) -> usize {
    (text.len() / 4 * 3).saturating_sub(text.bytes().rev().take_while(|byte| *byte == b'=').count())
}

/// What may not change once `immutable` is set.
fn frozen(errors: &mut Errors, object: &At<'_>, old: Option<&At<'_>>, fields: &[&str]) {
    let Some(old) = old.filter(|old| old.get("immutable").is_true()) else { return };
    const TEXT: &str = "field is immutable when `immutable` is set";
    if !object.get("immutable").is_true() {
        errors.forbidden(&object.get("immutable"), TEXT);
    }
    for name in fields {
        if !equal(object.get(name).value, old.get(name).value) {
            errors.forbidden(&object.get(name), TEXT);
        }
    }
}

pub(super) fn config_map(errors: &mut Errors, object: &At<'_>, old: Option<&At<'_>>) {
    frozen(errors, object, old, &["data", "binaryData"]);
    let (data, binary) = (object.get("data"), object.get("binaryData"));
    let mut size = 0;
    for (key, value) in data.entries() {
        for message in names::config_key(key) {
            errors.push(field::invalid(&value.path, &Value::from(key), &message));
        }
        if binary.value.get(key).is_some() {
            errors.push(field::invalid(&value.path, &Value::from(key), "duplicate of key present in binaryData"));
        }
        size += value.text().len();
    }
    keys(errors, &binary);
    size += binary.entries().map(|(_, value)| decoded_len(value.text())).sum::<usize>();
    if size > BYTES_MAX {
        // Told of the empty path, as there.
        errors.push(field::too_long("[]", BYTES_MAX as i64));
    }
}

pub(super) fn secret(errors: &mut Errors, object: &At<'_>, old: Option<&At<'_>>) {
    if let Some(old) = old {
        meta::immutable(errors, &object.get("type"), &old.get("type"));
    }
    frozen(errors, object, old, &["data"]);
    let data = object.get("data");
    keys(errors, &data);
    let size: usize = data.entries().map(|(_, value)| decoded_len(value.text())).sum();
    if size > BYTES_MAX {
        errors.push(field::too_long(&data.path, BYTES_MAX as i64));
    }
    let required = |errors: &mut Errors, names: &[&str]| {
        for name in names.iter().filter(|name| data.value.get(**name).is_none()) {
            errors.required(&data.entry(name), "");
        }
    };
    match object.get("type").text() {
        "kubernetes.io/service-account-token" => {
            let name = object.get("metadata").get("annotations").entry("kubernetes.io/service-account.name");
            errors.required_text(&name);
        }
        "kubernetes.io/dockercfg" => json_key(errors, &data.entry(".dockercfg")),
        "kubernetes.io/dockerconfigjson" => json_key(errors, &data.entry(".dockerconfigjson")),
        "kubernetes.io/basic-auth" => {
            let either = ["username", "password"].iter().any(|name| data.value.get(*name).is_some());
            if !either {
                required(errors, &["username", "password"]);
            }
        }
        "kubernetes.io/ssh-auth" => required(errors, &["ssh-privatekey"]),
        "kubernetes.io/tls" => required(errors, &["tls.crt", "tls.key"]),
        _ => {}
    }
}

/// A key whose value has to be JSON. What it is instead is not told.
fn json_key(errors: &mut Errors, at: &At<'_>) {
    if !at.is_set() {
        return errors.required(at, "");
    }
    let bytes = decode_base64(at.text());
    if let Err(error) = serde_json::from_slice::<serde_json::Map<String, Value>>(&bytes) {
        let what = if error.is_eof() { "unexpected end of JSON input" } else { "invalid JSON" };
        errors.push(field::invalid(&at.path, &Value::from("<secret contents redacted>"), what));
    }
}

fn decode_base64(text: &str) -> Vec<u8> {
    let digit = |byte: u8| match byte {
        b'A'..=b'Z' => Some(byte - b'A'),
        b'a'..=b'z' => Some(byte - b'a' + 26),
        b'0'..=b'9' => Some(byte - b'0' + 52),
        b'+' => Some(62),
        b'/' => Some(63),
        _ => None,
    };
    let (mut out, mut word, mut bits) = (Vec::with_capacity(text.len() / 4 * 3), 0u32, 0);
    for digit in text.bytes().filter_map(digit) {
        word = (word << 6) | u32::from(digit);
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            out.push((word >> bits) as u8);
        }
    }
    out
}

const QUOTA_RESOURCES: [&str; 22] = [
    "cpu",
    "memory",
    "ephemeral-storage",
    "requests.cpu",
    "requests.memory",
    "requests.storage",
    "requests.ephemeral-storage",
    "limits.cpu",
    "limits.memory",
    "limits.ephemeral-storage",
    "pods",
    "resourcequotas",
    "services",
    "replicationcontrollers",
    "secrets",
    "persistentvolumeclaims",
    "configmaps",
    "services.nodeports",
    "services.loadbalancers",
    "storage",
    "bindings",
    "events",
];

fn is_counted(name: &str) -> bool {
    matches!(
        name,
        "pods"
            | "resourcequotas"
            | "services"
            | "replicationcontrollers"
            | "secrets"
            | "persistentvolumeclaims"
            | "configmaps"
            | "services.nodeports"
            | "services.loadbalancers"
    ) || name.starts_with("count/")
}

pub(super) fn resource_quota(errors: &mut Errors, object: &At<'_>, old: Option<&At<'_>>) {
    let spec = object.get("spec");
    for (name, amount) in spec.get("hard").entries() {
        let told = |message: &str| field::invalid(&amount.path, &Value::from(name), message);
        names::qualified(name).iter().for_each(|message| errors.push(told(message)));
        let huge = name.strip_prefix("requests.").or(name.strip_prefix("limits.")).unwrap_or(name).starts_with("hugepages-");
        if !name.contains('/') && !huge && !QUOTA_RESOURCES.contains(&name) {
            errors.push(told("must be a standard resource type or fully qualified"));
            errors.push(told("must be a standard resource for quota"));
        }
        let Some(quantity) = Quantity::of(amount.value) else { continue };
        if quantity.is_negative() {
            errors.invalid(&amount, "must be greater than or equal to 0");
        }
        if is_counted(name) && !quantity.is_whole() {
            errors.invalid(&amount, "must be an integer");
        }
    }
    const SCOPES: [&str; 7] = [
        "Terminating",
        "NotTerminating",
        "BestEffort",
        "NotBestEffort",
        "PriorityClass",
        "CrossNamespacePodAffinity",
        "VolumeAttributesClass",
    ];
    let scopes = spec.get("scopes");
    if scopes.items().any(|scope| !SCOPES.contains(&scope.text())) {
        errors.invalid(&scopes, "unsupported scope");
    }
    let names = |scopes: &At<'_>| scopes.items().map(|scope| scope.text().to_owned()).collect::<std::collections::BTreeSet<_>>();
    if old.is_some_and(|old| names(&old.get("spec").get("scopes")) != names(&scopes)) {
        errors.invalid(&scopes, "field is immutable");
    }
}

pub(super) fn limit_range(errors: &mut Errors, object: &At<'_>) {
    let mut types: Vec<&str> = Vec::new();
    for limit in object.get("spec").get("limits").items() {
        let kind = limit.get("type");
        errors.all(&kind, names::qualified(kind.text()));
        if types.contains(&kind.text()) {
            errors.duplicate(&kind);
        }
        types.push(kind.text());
        if kind.text() == "Pod" {
            for name in ["default", "defaultRequest"].iter().filter(|name| limit.get(name).len() > 0) {
                errors.forbidden(&limit.get(name), "may not be specified when `type` is 'Pod'");
            }
        }
        let storage = |name: &str| limit.get(name).get("storage").is_set();
        if kind.text() == "PersistentVolumeClaim" && !storage("min") && !storage("max") {
            errors.required(&limit.get("limits"), "either minimum or maximum storage value is required, but neither was provided");
        }
        let (min, max, request, default) = (limit.get("min"), limit.get("max"), limit.get("defaultRequest"), limit.get("default"));
        let mut names_of: Vec<&str> =
            [&min, &max, &request, &default].iter().flat_map(|at| at.entries().map(|(name, _)| name).collect::<Vec<_>>()).collect();
        names_of.sort_unstable();
        names_of.dedup();
        for name in names_of {
            let amount = |at: &At<'_>| Quantity::of(at.get(name).value);
            let text = |at: &At<'_>| at.get(name).text().to_owned();
            let mut above = |low: &At<'_>, low_name: &str, high: &At<'_>, high_name: &str, at: &At<'_>, shown: &At<'_>| {
                if let (Some(a), Some(b)) = (amount(low), amount(high))
                    && a > b
                {
                    let message = format!("{low_name} value {} is greater than {high_name} value {}", text(low), text(high));
                    errors.push(field::invalid(&field::key(&at.path, name), shown.get(name).value, &message));
                }
            };
            above(&min, "min", &max, "max", &min, &min);
            above(&min, "min", &request, "default request", &request, &request);
            above(&request, "default request", &max, "max", &request, &request);
            above(&request, "default request", &default, "default limit", &request, &request);
            above(&min, "min", &default, "default", &default, &min);
            above(&default, "default", &max, "max", &default, &default);
        }
    }
}

/// The value of a priority class that a user may make.
const PRIORITY_MAX: i64 = 1_000_000_000;

pub(super) fn priority_class(errors: &mut Errors, object: &At<'_>, old: Option<&At<'_>>) {
    let (value, policy) = (object.get("value"), object.get("preemptionPolicy"));
    if let Some(old) = old {
        if !equal(value.value, old.get("value").value) {
            errors.forbidden(&value, "may not be changed in an update.");
        }
        meta::immutable(errors, &policy, &old.get("preemptionPolicy"));
        return;
    }
    let name = object.get("metadata").get("name");
    if name.text().starts_with("system-") {
        if !matches!(name.text(), "system-node-critical" | "system-cluster-critical") {
            let text = format!(
                "priority class names with 'system-' prefix are reserved for system use only. error: {} is not a known system priority class",
                name.text()
            );
            errors.forbidden(&name, &text);
        }
    } else if value.int().is_some_and(|value| value > PRIORITY_MAX) {
        errors.forbidden(&value, "maximum allowed value of a user defined priority is 1000000000");
    }
    errors.one_of(&policy, &["PreemptLowerPriority", "Never"]);
}

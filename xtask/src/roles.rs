//! Writes `crates/apiserver/data/roles.json`: the roles that a cluster starts with and that people are given.
//!
//! The input is what `kubectl get clusterroles,clusterrolebindings -o json` prints for a server that has just started. Roles of
//! a cluster's own parts (`system:…`) are left out but for those that the answers of the server itself rest on.

use serde_json::Value;
use std::path::Path;

/// Who is asked about, or asks, without any controller being there.
const SYSTEM: [&str; 7] = [
    "system:auth-delegator",
    "system:basic-user",
    "system:monitoring",
    "system:discovery",
    "system:public-info-viewer",
    "system:aggregate-to-",
    "system:service-account-issuer-discovery",
];

pub fn write(file: &str) -> Result<String, String> {
    let text = std::fs::read_to_string(file).map_err(|error| format!("cannot read {file}: {error}"))?;
    let list: Value = serde_json::from_str(&text).map_err(|error| format!("cannot parse {file}: {error}"))?;
    let kept: Vec<Value> = list["items"].as_array().into_iter().flatten().filter(|item| is_kept(item)).map(bare).collect();
    let target = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/apiserver/data/roles.json");
    std::fs::write(&target, Value::Array(kept).to_string()).map_err(|error| format!("cannot write {}: {error}", target.display()))?;
    Ok(format!("wrote {}", target.display()))
}

fn is_kept(item: &Value) -> bool {
    let default = item.pointer("/metadata/labels/kubernetes.io~1bootstrapping").is_some_and(|label| label == "rbac-defaults");
    let name = item.pointer("/metadata/name").and_then(Value::as_str).unwrap_or("");
    default && (!name.starts_with("system:") || SYSTEM.iter().any(|kept| name.starts_with(kept)))
}

/// Without what a server fills in; aggregated rules are put together anew.
fn bare(item: &Value) -> Value {
    let mut out = item.clone();
    if let Some(metadata) = out["metadata"].as_object_mut() {
        metadata.retain(|key, _| matches!(key.as_str(), "name" | "labels" | "annotations"));
    }
    if out.get("aggregationRule").is_some()
        && let Some(map) = out.as_object_mut()
    {
        map.shift_remove("rules");
    }
    out
}

//! What is wrong with a CustomResourceDefinition.

use crate::api::text;
use crate::protocol::status::Cause;
use merge::structural::CustomKind;
use object::GroupVersionKind;
use serde_json::{Value, json};

const DEPTH_MAX: usize = 100;

/// The causes in the words of a real server.
pub fn validate(crd: &Value) -> Vec<Cause> {
    let mut out = Vec::new();
    let (group, plural) = (text(crd, "/spec/group"), text(crd, "/spec/names/plural"));
    let name = crd.pointer("/metadata/name").cloned().unwrap_or_default();
    if name != format!("{plural}.{group}").as_str() {
        out.push(Cause::invalid("metadata.name", &name, "must be spec.names.plural+\".\"+spec.group"));
    }
    if group.is_empty() {
        out.push(Cause::required("spec.group", ""));
    } else if !group.contains('.') || !group.split('.').all(crate::strategy::is_label) {
        out.push(Cause::invalid("spec.group", &json!(group), "should be a domain with at least one dot"));
    }
    let scope = text(crd, "/spec/scope");
    if scope.is_empty() {
        out.push(Cause::required("spec.scope", ""));
    } else if !matches!(scope, "Cluster" | "Namespaced") {
        let message = format!("Unsupported value: \"{scope}\": supported values: \"Cluster\", \"Namespaced\"");
        out.push(Cause::new("FieldValueNotSupported", "spec.scope", message));
    }
    let versions: Vec<&Value> = crd.pointer("/spec/versions").and_then(Value::as_array).into_iter().flatten().collect();
    let storage: Vec<&&Value> = versions.iter().filter(|v| v["storage"] == true).collect();
    let single = versions.len() == 1;
    if storage.len() != 1 {
        let shown: Vec<Value> = versions
            .iter()
            .map(|v| {
                json!({"Name": v["name"], "Served": v["served"], "Storage": v["storage"], "Deprecated": v["deprecated"] == true,
                    "DeprecationWarning": null, "Schema": null, "Subresources": null, "AdditionalPrinterColumns": null,
                    "SelectableFields": null})
            })
            .collect();
        out.push(Cause::invalid("spec.versions", &json!(shown), "must have exactly one version marked as storage version"));
    }
    let mut seen: Vec<&str> = Vec::new();
    for (at, version) in versions.iter().enumerate() {
        let name = text(version, "/name");
        if !crate::strategy::is_label(name) {
            out.push(Cause::invalid(format!("spec.versions[{at}].name"), &json!(name), "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')"));
        }
        if seen.contains(&name) {
            out.push(Cause::new("FieldValueDuplicate", format!("spec.versions[{at}].name"), format!("Duplicate value: \"{name}\"")));
        }
        seen.push(name);
    }
    for (at, version) in versions.iter().enumerate() {
        // With one version the server speaks of the fields as if there were no list of versions.
        let field = |rest: &str| if single { format!("spec.{rest}") } else { format!("spec.versions[{at}].{rest}") };
        let schema_field =
            if single { "spec.validation.openAPIV3Schema".to_owned() } else { format!("spec.versions[{at}].schema.openAPIV3Schema") };
        match version.pointer("/schema/openAPIV3Schema") {
            Some(schema) if schema.is_object() => {
                if text(schema, "/type").is_empty() {
                    out.push(Cause::required(format!("{schema_field}.type"), "must not be empty at the root"));
                } else if text(schema, "/type") != "object" {
                    out.push(Cause::invalid(format!("{schema_field}.type"), &schema["type"], "must be object at the root"));
                }
                structural(schema, &schema_field, true, &mut out, 0);
                rules(group, version, schema, &schema_field, &mut out);
            }
            _ if crd.pointer("/spec/preserveUnknownFields").is_some_and(|p| p == true) => {}
            _ => {
                out.push(Cause::required(format!("spec.versions[{at}].schema.openAPIV3Schema"), ""));
                if version.get("selectableFields").is_some() {
                    let why = "may only be set when validations.schema is included";
                    out.push(Cause::invalid(field("selectableFields"), &json!(""), why));
                }
            }
        }
        for (index, column) in version.get("additionalPrinterColumns").and_then(Value::as_array).into_iter().flatten().enumerate() {
            let path = field(&format!("additionalPrinterColumns[{index}]"));
            let kind = text(column, "/type");
            if !matches!(kind, "boolean" | "date" | "integer" | "number" | "string") {
                let why = "must be one of boolean,date,integer,number,string";
                out.push(Cause::invalid(format!("{path}.type"), &json!(kind), why));
            }
            for required in ["name", "jsonPath"] {
                if text(column, &format!("/{required}")).is_empty() {
                    out.push(Cause::required(format!("{path}.{required}"), ""));
                }
            }
        }
        for (index, selectable) in version.get("selectableFields").and_then(Value::as_array).into_iter().flatten().enumerate() {
            let path = text(selectable, "/jsonPath");
            let pointer: String = path.trim_start_matches('.').split('.').map(|part| format!("/properties/{part}")).collect();
            if version.pointer("/schema/openAPIV3Schema").is_some_and(|schema| schema.pointer(&pointer).is_none()) {
                let why = "is an invalid path: does not refer to a valid field";
                out.push(Cause::invalid(field(&format!("selectableFields[{index}].jsonPath")), &json!(path), why));
            }
        }
    }
    for name in ["plural", "singular", "kind", "listKind"] {
        if text(crd, &format!("/spec/names/{name}")).is_empty() {
            out.push(Cause::required(format!("spec.names.{name}"), ""));
        }
    }
    let stored: Vec<&str> =
        crd.pointer("/status/storedVersions").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect();
    if stored.is_empty() {
        out.push(Cause::invalid("status.storedVersions", &Value::Null, "must have at least one stored version"));
    } else {
        for version in storage {
            let name = text(version, "/name");
            if !stored.contains(&name) {
                out.push(Cause::invalid("status.storedVersions", &json!(stored), &format!("must have the storage version {name}")));
            }
        }
        for (at, name) in stored.iter().enumerate() {
            if !seen.contains(name) {
                out.push(Cause::invalid(format!("status.storedVersions[{at}]"), &json!(name), "missing from spec.versions; v1 is in status.storedVersions, and must remain in spec.versions until a storage migration ensures no data remains persisted in v1 and removes v1 from status.storedVersions".replace("v1", name).as_str()));
            }
        }
    }
    out
}

/// A structural schema says of every field what type it has.
fn structural(schema: &Value, path: &str, root: bool, out: &mut Vec<Cause>, depth: usize) {
    let Some(map) = schema.as_object().filter(|_| depth < DEPTH_MAX) else { return };
    let holds = |key: &str| map.get(key).is_some_and(|v| *v == true);
    if !root && !map.contains_key("type") && !holds("x-kubernetes-int-or-string") && !holds("x-kubernetes-preserve-unknown-fields") {
        out.push(Cause::required(format!("{path}.type"), "must not be empty for specified object fields"));
    }
    for (name, child) in map.get("properties").and_then(Value::as_object).into_iter().flatten() {
        structural(child, &format!("{path}.properties[{name}]"), root && name == "metadata", out, depth + 1);
    }
    if let Some(items) = map.get("items") {
        structural(items, &format!("{path}.items"), false, out, depth + 1);
    } else if map.get("type").is_some_and(|t| t == "array") {
        out.push(Cause::required(format!("{path}.items"), "must be specified"));
    }
    if let Some(child) = map.get("additionalProperties").filter(|c| c.is_object()) {
        structural(child, &format!("{path}.additionalProperties"), false, out, depth + 1);
    }
}

/// CEL rules must compile.
fn rules(group: &str, version: &Value, schema: &Value, path: &str, out: &mut Vec<Cause>) {
    let gvk = GroupVersionKind::new(group, text(version, "/name"), "");
    match CustomKind::compile(gvk, version, false) {
        Ok(kind) => {
            let mut places = Vec::new();
            places_of_rules(schema, path, &mut places, 0);
            for (rule, error) in kind.rule_errors() {
                let at = places.iter().position(|(text, _)| *text == rule).map(|at| places.swap_remove(at).1);
                let shown =
                    json!({"Rule": rule, "Message": "", "MessageExpression": "", "Reason": null, "FieldPath": "", "OptionalOldSelf": null});
                let field = at.unwrap_or_else(|| path.to_owned());
                out.push(Cause::invalid(field, &shown, &format!("compilation failed: {error}")));
            }
        }
        Err(error) => out.push(Cause::new("FieldValueInvalid", path, format!("Invalid value: {error}"))),
    }
}

fn places_of_rules(schema: &Value, path: &str, out: &mut Vec<(String, String)>, depth: usize) {
    let Some(map) = schema.as_object().filter(|_| depth < DEPTH_MAX) else { return };
    for (at, rule) in map.get("x-kubernetes-validations").and_then(Value::as_array).into_iter().flatten().enumerate() {
        out.push((text(rule, "/rule").to_owned(), format!("{path}.x-kubernetes-validations[{at}].rule")));
    }
    for (name, child) in map.get("properties").and_then(Value::as_object).into_iter().flatten() {
        places_of_rules(child, &format!("{path}.properties[{name}]"), out, depth + 1);
    }
    for key in ["items", "additionalProperties"] {
        if let Some(child) = map.get(key) {
            places_of_rules(child, &format!("{path}.{key}"), out, depth + 1);
        }
    }
}

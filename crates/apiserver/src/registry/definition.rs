//! What is wrong with a CustomResourceDefinition.

use crate::api::text;
use crate::protocol::status::Cause;
use merge::structural::{CustomKind, DefinitionContext, schema_problems};
use object::GroupVersionKind;
use serde_json::{Value, json};

/// The causes in the words of a real server.
pub fn validate(crd: &Value, old: Option<&Value>) -> Vec<Cause> {
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
                let gvk = GroupVersionKind::new(group, text(version, "/name"), "");
                let context = DefinitionContext { unchanged: old.and_then(|old| schema_of(old, version)) == Some(schema) };
                match CustomKind::compile(gvk, version, false) {
                    Ok(kind) => out.extend(crate::engine::causes(schema_problems(schema, &kind.node, &schema_field, context))),
                    Err(error) => out.push(Cause::new("FieldValueInvalid", schema_field, format!("Invalid value: {error}"))),
                }
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

/// The schema that a definition had for a version.
fn schema_of<'c>(crd: &'c Value, version: &Value) -> Option<&'c Value> {
    let versions = crd.pointer("/spec/versions").and_then(Value::as_array)?;
    versions.iter().find(|other| other["name"] == version["name"])?.pointer("/schema/openAPIV3Schema")
}

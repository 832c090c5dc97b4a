//! The rules of what templates write, and of CRDs.

use super::{Check, Findings, Severity, deprecations, names};
use crate::{KubeVersion, metadata::json_type};
use serde_json::Value;
use yaml::Dialect;

/// What the rules look at in an object. Its fields are found whatever their case, as `encoding/json` finds them.
#[derive(Default)]
struct Head {
    api_version: String,
    kind: String,
    name: String,
}

/// Checks the documents of one file. False when the file is no YAML: Helm then looks at no other.
pub(super) fn check(path: &str, text: &str, version: &KubeVersion, findings: &mut Findings) -> bool {
    findings.rule(Severity::Warning, path, indent(text));
    for document in documents(text) {
        let head = match head(&document) {
            Ok(Some(head)) => head,
            Ok(None) => continue,
            Err(why) => return findings.rule(Severity::Error, path, Err(format!("unable to parse YAML: {why}"))),
        };
        findings.rule(Severity::Warning, path, names::check(&head.kind, &head.name));
        findings.rule(Severity::Warning, path, deprecations::check(&head.api_version, &head.kind, version));
        findings.rule(Severity::Error, path, selector(&head, text));
        findings.rule(Severity::Error, path, list_policies(&head, text));
    }
    true
}

pub(super) fn check_crd(path: &str, text: &str, findings: &mut Findings) -> bool {
    for document in documents(text) {
        let head = match head(&document) {
            Ok(Some(head)) => head,
            Ok(None) => continue,
            Err(why) => return findings.rule(Severity::Error, path, Err(format!("unable to parse YAML: {why}"))),
        };
        let ours = head.api_version.starts_with("apiextensions.k8s.io");
        findings.rule(Severity::Error, path, if ours { Ok(()) } else { Err("apiVersion is not in 'apiextensions.k8s.io'".into()) });
        let crd = head.kind == "CustomResourceDefinition";
        findings.rule(Severity::Error, path, if crd { Ok(()) } else { Err("object kind is not 'CustomResourceDefinition'".into()) });
    }
    true
}

/// The first line with something on it must not be indented.
fn indent(text: &str) -> Check {
    match text.lines().find(|line| !line.trim().is_empty()) {
        Some(line) if line.starts_with([' ', '\t']) => {
            Err(format!("document starts with an illegal indent: {}, which may cause parsing problems", crate::functions::quoted(line)))
        }
        _ => Ok(()),
    }
}

/// As apimachinery's decoder cuts a text: at lines that begin with `---`.
fn documents(text: &str) -> Vec<String> {
    let mut documents = vec![String::new()];
    for line in text.split_inclusive('\n') {
        if line.starts_with("---") {
            documents.push(String::new());
        } else if let Some(last) = documents.last_mut() {
            last.push_str(line);
        }
    }
    documents.retain(|document| !document.trim().is_empty());
    documents
}

fn field<'v>(value: &'v Value, name: &str) -> Option<&'v Value> {
    entry(value, name).map(|(_, value)| value)
}

/// A field as the document writes it.
fn entry<'v>(value: &'v Value, name: &str) -> Option<(&'v String, &'v Value)> {
    let map = value.as_object()?;
    map.get_key_value(name).or_else(|| map.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)))
}

fn head(document: &str) -> Result<Option<Head>, String> {
    let value = yaml::to_json(document, Dialect::Sigs)
        .map_err(|error| format!("error converting YAML to JSON: {}", error.go_message(Dialect::Sigs)))?;
    let cannot = |value: &Value, place: &str| {
        format!("error unmarshaling JSON: while decoding JSON: json: cannot unmarshal {} into Go {place}", json_type(value))
    };
    if value.is_null() {
        return Ok(None);
    }
    if !value.is_object() {
        return Err(cannot(&value, "value of type rules.k8sYamlStruct"));
    }
    let text = |value: &Value, name: &str, above: &str| match entry(value, name) {
        None | Some((_, Value::Null)) => Ok(String::new()),
        Some((key, value)) => {
            let mut value = value.clone();
            crate::metadata::stringly(&mut value);
            value.as_str().map(str::to_owned).ok_or_else(|| cannot(&value, &format!("struct field {above}.{key} of type string")))
        }
    };
    let mut head = Head { api_version: text(&value, "apiVersion", "")?, kind: text(&value, "kind", "")?, ..Head::default() };
    match entry(&value, "metadata") {
        None | Some((_, Value::Null)) => {}
        Some((key, metadata)) if metadata.is_object() => {
            text(metadata, "namespace", &format!(".{key}"))?;
            head.name = text(metadata, "name", &format!(".{key}"))?;
        }
        Some((key, other)) => return Err(cannot(other, &format!("struct field .{key} of type rules.k8sYamlMetadata"))),
    }
    Ok(Some(head))
}

fn selector(head: &Head, text: &str) -> Check {
    let selects = matches!(head.kind.as_str(), "Deployment" | "ReplicaSet" | "DaemonSet" | "StatefulSet");
    if !selects || text.contains("matchLabels") || text.contains("matchExpressions") {
        return Ok(());
    }
    Err(format!("a {} must contain matchLabels or matchExpressions, and {} does not", head.kind, crate::functions::quoted(&head.name)))
}

/// Helm reads policies of whole lists only. It looks at the first document of the file, whichever the list is in.
fn list_policies(head: &Head, text: &str) -> Check {
    if head.kind != "List" {
        return Ok(());
    }
    let value = yaml::to_json(text, Dialect::Sigs)
        .map_err(|error| format!("unable to parse YAML: error converting YAML to JSON: {}", error.go_message(Dialect::Sigs)))?;
    let items = field(&value, "Items").and_then(Value::as_array);
    let keeps = |item: &Value| {
        let annotations = field(item, "Metadata").and_then(|metadata| field(metadata, "Annotations"));
        annotations.is_some_and(|annotations| annotations.get("helm.sh/resource-policy").is_some())
    };
    if items.is_some_and(|items| items.iter().any(keeps)) {
        return Err("annotation 'helm.sh/resource-policy' within List objects are ignored".into());
    }
    Ok(())
}

//! `crds`: OpenAPI definitions whose fields say what they are (kustomize api/internal/accumulator/loadconfigfromcrds.go).

use crate::{
    error::{Result, problem},
    fields::{Config, FieldSpec, Reference},
    id::Gvk,
};
use serde_json::{Map, Value};

/// Where transformers look in objects of these types.
pub(crate) fn config(value: &Value) -> Result<Config> {
    let Value::Object(definitions) = value else {
        return if value.is_null() { Ok(Config::default()) } else { Err(problem("a file of crds must be a map of OpenAPI definitions")) };
    };
    for (name, definition) in definitions {
        if !definition.is_object() && !definition.is_null() {
            return Err(problem(format!(
                "\"{name}\" is no OpenAPI definition; a file of crds holds definitions by name, not a CustomResourceDefinition"
            )));
        }
    }
    let mut config = Config::default();
    let mut names: Vec<&String> = definitions.keys().collect();
    names.sort();
    for name in names {
        let Some(properties) = properties(definitions, name) else { continue };
        if ["kind", "apiVersion", "metadata"].iter().any(|field| !properties.contains_key(*field)) {
            continue;
        }
        let kind = name.rsplit('.').next().unwrap_or(name);
        let gvk = Gvk { kind: kind.into(), ..Gvk::default() };
        let mut found = Config::default();
        walk(definitions, name, &gvk, &mut Vec::new(), &mut found)?;
        config.merge(&found)?;
    }
    Ok(config)
}

fn properties<'a>(definitions: &'a Map<String, Value>, name: &str) -> Option<&'a Map<String, Value>> {
    let definition = definitions.get(name)?;
    // Go's field names match whatever their case.
    let schema = definition.get("Schema").or_else(|| definition.get("schema"))?;
    schema.get("properties")?.as_object()
}

const DEPTH_MAX: usize = 32;

fn walk(definitions: &Map<String, Value>, name: &str, gvk: &Gvk, path: &mut Vec<String>, config: &mut Config) -> Result<()> {
    let Some(properties) = properties(definitions, name) else { return Ok(()) };
    if path.len() > DEPTH_MAX {
        return Err(problem(format!("definition {name} refers to itself, or deeper than {DEPTH_MAX} levels")));
    }
    let spec = |path: &[String]| FieldSpec::new(gvk.clone(), &path.join("/"), false);
    for (field, property) in properties {
        path.push(field.clone());
        let text = |key: &str| property.get(key).and_then(Value::as_str);
        if text("x-kubernetes-annotation").is_some() {
            config.common_annotations.push(spec(path));
        }
        if text("x-kubernetes-label-selector").is_some() {
            config.common_labels.push(spec(path));
        }
        if text("x-kubernetes-identity").is_some() {
            config.name_prefix.push(spec(path));
        }
        if let (Some(version), Some(kind)) = (text("x-kubernetes-object-ref-api-version"), text("x-kubernetes-object-ref-kind")) {
            let mut path = path.clone();
            path.push(text("x-kubernetes-object-ref-name-key").unwrap_or("name").to_owned());
            let target = Gvk { version: version.into(), kind: kind.into(), ..Gvk::default() };
            config.references.push(Reference { target, referrers: vec![spec(&path)] });
        }
        if let Some(reference) = text("$ref") {
            walk(definitions, reference, gvk, path, config)?;
        }
        path.pop();
    }
    Ok(())
}

//! The custom resource definitions in `crds/`, made from the types in `crates/api`.

use api::crd::{self, Definition};
use serde_json::Value;
use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

/// Writes every definition, and takes away files of definitions that no longer exist.
pub fn write() -> Result<String, String> {
    let folder = folder();
    let wanted = rendered()?;
    fs::create_dir_all(&folder).map_err(|e| failed("create", &folder, &e))?;
    for name in present(&folder)? {
        if !wanted.contains_key(&name) {
            let path = folder.join(&name);
            fs::remove_file(&path).map_err(|e| failed("remove", &path, &e))?;
        }
    }
    for (name, text) in &wanted {
        let path = folder.join(name);
        fs::write(&path, text).map_err(|e| failed("write", &path, &e))?;
    }
    Ok(format!("wrote {} definitions to crds/", wanted.len()))
}

/// Compares `crds/` with what `write` would write.
pub fn check() -> Result<String, String> {
    let folder = folder();
    let wanted = rendered()?;
    let mut stale: Vec<String> = present(&folder)?.into_iter().filter(|name| !wanted.contains_key(name)).collect();
    stale.extend(
        wanted.iter().filter(|(name, text)| fs::read_to_string(folder.join(name)).ok().as_ref() != Some(text)).map(|(n, _)| n.clone()),
    );
    if stale.is_empty() {
        Ok(format!("crds/ is clean: {} definitions", wanted.len()))
    } else {
        Err(format!("crds/ is not what the types say; run `cargo run -p xtask -- crds`: {}", stale.join(", ")))
    }
}

fn rendered() -> Result<BTreeMap<String, String>, String> {
    crd::all().iter().map(|definition| Ok((definition.file_name(), render(definition)?))).collect()
}

fn render(definition: &Definition) -> Result<String, String> {
    let text = serde_yaml::to_string(&sorted(definition.to_value())).map_err(|e| format!("cannot render {}: {e}", definition.name()))?;
    Ok(format!("# Made from the types in crates/api by `cargo run -p xtask -- crds`; do not edit.\n---\n{text}"))
}

/// Keys in alphabetical order, as Kubernetes tools write them.
fn sorted(value: Value) -> Value {
    match value {
        Value::Object(map) => {
            let mut entries: Vec<(String, Value)> = map.into_iter().map(|(key, value)| (key, sorted(value))).collect();
            entries.sort_by(|a, b| a.0.cmp(&b.0));
            Value::Object(entries.into_iter().collect())
        }
        Value::Array(items) => items.into_iter().map(sorted).collect(),
        scalar => scalar,
    }
}

fn present(folder: &Path) -> Result<Vec<String>, String> {
    match fs::read_dir(folder) {
        Ok(entries) => Ok(entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(e) => Err(failed("read", folder, &e)),
    }
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../crds")
}

fn failed(verb: &str, path: &Path, error: &io::Error) -> String {
    format!("cannot {verb} {}: {error}", path.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_generated_files_are_clean() {
        if let Err(stale) = check() {
            panic!("{stale}");
        }
    }

    /// Everything but prose: descriptions, and the mark of the tool that made the original.
    fn facts(value: Value) -> Value {
        facts_of(value, false)
    }

    fn facts_of(value: Value, names_are_fields: bool) -> Value {
        match value {
            Value::Object(map) => map
                .into_iter()
                .filter(|(key, value)| names_are_fields || !(key == "description" && value.is_string()))
                .filter(|(key, _)| key != "controller-gen.kubebuilder.io/version")
                .map(|(key, value)| {
                    let fields = key == "properties" && !names_are_fields;
                    (key, facts_of(value, fields))
                })
                .filter(|(key, value)| !(key == "annotations" && value.as_object().is_some_and(serde_json::Map::is_empty)))
                .collect(),
            Value::Array(items) => items.into_iter().map(|item| facts_of(item, false)).collect(),
            scalar => scalar,
        }
    }

    fn differences(at: &str, ours: &Value, theirs: &Value, found: &mut Vec<String>) {
        match (ours, theirs) {
            (Value::Object(a), Value::Object(b)) => {
                let keys: std::collections::BTreeSet<&String> = a.keys().chain(b.keys()).collect();
                for key in keys {
                    differences(&format!("{at}.{key}"), a.get(key).unwrap_or(&Value::Null), b.get(key).unwrap_or(&Value::Null), found);
                }
            }
            _ if ours == theirs => {}
            _ => found.push(format!("{at}: ours {ours}, Flux's {theirs}")),
        }
    }

    #[test]
    fn the_definitions_say_what_flux_says() {
        let shared =
            std::env::var_os("SLUICE_SHARED").map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared"), PathBuf::from);
        let reference = shared.join("reference/flux-crds");
        if !reference.is_dir() {
            eprintln!("skipped: no reference definitions at {}", reference.display());
            return;
        }
        let mut found = Vec::new();
        for definition in crd::all() {
            let path = reference.join(definition.file_name());
            let theirs: Value = serde_yaml::from_str(&fs::read_to_string(&path).expect("a reference definition")).expect("YAML");
            differences(definition.kind, &facts(definition.to_value()), &facts(theirs), &mut found);
        }
        assert_eq!(present(&reference).map(|names| names.len()), Ok(crd::all().len()), "as many definitions as Flux has");
        assert!(found.is_empty(), "{} differences:\n{}", found.len(), found.join("\n"));
    }
}

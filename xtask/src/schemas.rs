//! Writes `crates/merge/data/kubernetes.pack` from the answers of an API server.
//!
//! The folder holds what `kubectl get --raw` prints for: `/openapi/v2` (`openapi-v2.json`), `/openapi/v3`
//! (`openapi-v3/index.json`) and each document that it lists (`openapi-v3/apis_apps_v1.json`, ...), and the aggregated
//! discovery of `/api` and `/apis` (`discovery-api.json`, `discovery-apis.json`). Descriptions are left out.

use std::error::Error;
use std::path::Path;

use merge::schema::{Compiler, PackBuilder};
use serde_json::Value;

pub fn write(folder: &str) -> Result<String, String> {
    run(folder).map_err(|error| error.to_string())
}

fn run(folder: &str) -> Result<String, Box<dyn Error>> {
    let folder = Path::new(folder);
    let mut compiler = Compiler::default();
    let mut pack = PackBuilder::default();
    let mut documents = Vec::new();
    let mut entries: Vec<_> = std::fs::read_dir(folder.join("openapi-v3"))?.collect::<Result<_, _>>()?;
    entries.sort_by_key(std::fs::DirEntry::file_name);
    for entry in entries {
        let file_name = entry.file_name().into_string().map_err(|_| "a file name is no UTF-8")?;
        let Some(stem) = file_name.strip_suffix(".json") else { continue };
        let document = read(&entry.path())?;
        if let Some(definitions) = document.pointer("/components/schemas").and_then(Value::as_object) {
            compiler.definitions(definitions);
        }
        documents.push((format!("openapi/v3/{}", stem.replace('_', "/")), document));
    }
    pack.schema(&compiler.finish());
    pack.section("discovery/api", compact(&read(&folder.join("discovery-api.json"))?)?);
    pack.section("discovery/apis", compact(&read(&folder.join("discovery-apis.json"))?)?);
    for (name, document) in &documents {
        pack.section(name, compact(document)?);
    }
    pack.section("openapi/v2", compact(&read(&folder.join("openapi-v2.json"))?)?);
    let bytes = pack.write()?;
    let target = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/merge/data/kubernetes.pack");
    std::fs::write(&target, &bytes)?;
    Ok(format!("{} documents, {} bytes: {}", documents.len(), bytes.len(), target.display()))
}

fn read(path: &Path) -> Result<Value, Box<dyn Error>> {
    let text = std::fs::read(path).map_err(|error| format!("cannot read {}: {error}", path.display()))?;
    let mut document = serde_json::from_slice(&text).map_err(|error| format!("cannot parse {}: {error}", path.display()))?;
    leave_out_descriptions(&mut document);
    Ok(document)
}

/// A property may be called so as well, and is no text then.
fn leave_out_descriptions(value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.retain(|key, value| key != "description" || !value.is_string());
            map.values_mut().for_each(leave_out_descriptions);
        }
        Value::Array(items) => items.iter_mut().for_each(leave_out_descriptions),
        _ => {}
    }
}

fn compact(document: &Value) -> Result<Vec<u8>, Box<dyn Error>> {
    Ok(serde_json::to_vec(document)?)
}

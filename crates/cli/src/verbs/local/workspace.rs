//! The folder that is built, as Flux sees it: ignored files are not there.

use crate::disk::DiskTree;
use kustomize::flux;
use serde_json::Value;
use std::{borrow::Cow, path::Path};
use tree::{Kind, Tree, ignore::Rules};
use yaml::Dialect;

const FILE_NAMES: [&str; 3] = ["kustomization.yaml", "kustomization.yml", "Kustomization"];

/// A path from the root, without `.` and `..`, links kept.
pub fn absolute(path: &str) -> String {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.into());
    let mut clean = std::path::PathBuf::new();
    for component in path.components() {
        match component {
            std::path::Component::ParentDir => {
                clean.pop();
            }
            other => clean.push(other),
        }
    }
    clean.display().to_string()
}

/// All files, with the ignored ones of one folder hidden.
pub struct Workspace {
    disk: DiskTree,
    /// The folder, from the root of the file system, without a leading slash.
    folder: String,
    rules: Rules,
    /// The first kustomization file, less the ignored resources.
    first: Option<(String, Vec<u8>)>,
}

impl Workspace {
    /// Opens a folder; the failure is what Flux says where it generates the kustomization.
    pub fn open(path: &str, ignore: &[String]) -> Result<Self, String> {
        let shown = absolute(path);
        let real = std::fs::canonicalize(path)
            .map_err(|error| format!("failed to load ignore patterns: open {shown}: {}", crate::shell::files::reason(&error)))?;
        let extra = (!ignore.is_empty()).then(|| ignore.join("\n"));
        let rules =
            Rules::load(&DiskTree::new(&real), extra.as_deref()).map_err(|error| format!("failed to load ignore patterns: {error}"))?;
        let folder = real.to_string_lossy().trim_start_matches('/').to_owned();
        let mut workspace = Self { disk: DiskTree::new("/"), folder, rules, first: None };
        let file = FILE_NAMES.iter().map(|name| workspace.below(name)).find(|path| workspace.disk.kind(path) == Some(Kind::File));
        match file {
            Some(file) => workspace.first = workspace.filtered(file, &shown)?,
            None => workspace.check(&workspace.folder, &shown)?,
        }
        Ok(workspace)
    }

    /// Builds; a failure names files from the folder on.
    pub fn build(&self, spec: &flux::Spec) -> Result<kustomize::Build, String> {
        let options = kustomize::Options { absolute_paths: true, note_files: false, ..kustomize::Options::flux() };
        let build = flux::build_with(self, &self.folder, spec, &flux::NoHooks, options);
        build.map_err(|error| error.to_string().replace(&self.below(""), ""))
    }

    fn below(&self, name: &str) -> String {
        if self.folder.is_empty() { name.to_owned() } else { format!("{}/{name}", self.folder) }
    }

    fn is_ignored(&self, path: &str) -> bool {
        let within = path.strip_prefix(&self.folder).map(|path| path.trim_start_matches('/'));
        within.is_some_and(|path| !path.is_empty() && self.rules.excludes(path, Kind::File))
    }

    /// The kustomization file without the resources that are ignored; `None` to take it as it is.
    fn filtered(&self, file: String, shown: &str) -> Result<Option<(String, Vec<u8>)>, String> {
        let bytes = self.disk.read(&file).unwrap_or_default();
        // Broken files are for the engine to complain about.
        let Ok(mut content) = yaml::to_json(&String::from_utf8_lossy(&bytes), Dialect::Sigs) else { return Ok(None) };
        let Some(Value::Array(resources)) = content.get_mut("resources") else { return Ok(None) };
        let count = resources.len();
        let mut kept = Vec::with_capacity(count);
        for resource in resources.drain(..) {
            let name = resource.as_str().unwrap_or("");
            let is_local = !name.is_empty()
                && !name.starts_with('/')
                && !name.contains("://")
                && !name.contains("git@")
                && !name.contains("github.com");
            let Some(path) = tree::join(&self.folder, name).filter(|_| is_local) else {
                kept.push(resource);
                continue;
            };
            if let Err(error) = std::fs::symlink_metadata(Path::new("/").join(&path)) {
                return Err(format!("lstat {}: {}", absolute(&format!("{shown}/{name}")), crate::shell::files::reason(&error)));
            }
            if self.disk.kind(&path) != Some(Kind::File) || !self.is_ignored(&path) {
                kept.push(resource);
            }
        }
        if kept.len() == count {
            return Ok(None);
        }
        *resources = kept;
        // JSON is YAML.
        Ok(Some((file, content.to_string().into_bytes())))
    }

    /// Every manifest must be readable where a kustomization is generated.
    fn check(&self, folder: &str, shown: &str) -> Result<(), String> {
        for name in self.list(folder).unwrap_or_default() {
            let (path, shown) = (format!("{folder}/{name}"), format!("{shown}/{name}"));
            match self.disk.kind(&path) {
                Some(Kind::Dir) => {
                    let has_own = FILE_NAMES.iter().any(|file| self.disk.kind(&format!("{path}/{file}")) == Some(Kind::File));
                    if !has_own {
                        self.check(&path, &shown)?;
                    }
                }
                Some(Kind::File) if is_manifest(&name) => {
                    let bytes = self.disk.read(&path).unwrap_or_default();
                    check_manifest(&String::from_utf8_lossy(&bytes))
                        .map_err(|why| format!("failed to decode Kubernetes YAML from {shown}: {why}"))?;
                }
                _ => {}
            }
        }
        Ok(())
    }
}

fn is_manifest(name: &str) -> bool {
    name.ends_with(".yaml") || name.ends_with(".yml")
}

fn check_manifest(text: &str) -> Result<(), String> {
    let documents = yaml::documents(text, Dialect::Kyaml).map_err(|error| format!("MalformedYAMLError: {error}"))?;
    for document in documents {
        let object = document.to_json().map_err(|error| format!("MalformedYAMLError: {error}"))?;
        let text = |path: &[&str]| crate::objects::text(&object, path).to_owned();
        if object.is_object() && text(&["kind"]).is_empty() {
            let pairs = |field: &str| {
                let pairs = crate::objects::at(&object, &["metadata", field]).as_object();
                pairs
                    .into_iter()
                    .flatten()
                    .map(|(key, value)| format!("{key}:{}", value.as_str().unwrap_or("")))
                    .collect::<Vec<_>>()
                    .join(" ")
            };
            return Err(format!(
                "missing kind in object {{{{{} }} {{{{{} {}}} map[{}] map[{}]}}}}",
                text(&["apiVersion"]),
                text(&["metadata", "name"]),
                text(&["metadata", "namespace"]),
                pairs("labels"),
                pairs("annotations")
            ));
        }
    }
    Ok(())
}

impl Tree for Workspace {
    fn kind(&self, path: &str) -> Option<Kind> {
        self.disk.kind(path)
    }

    fn read(&self, path: &str) -> Option<Cow<'_, [u8]>> {
        match &self.first {
            Some((first, bytes)) if first == path => Some(Cow::Borrowed(bytes)),
            _ => self.disk.read(path),
        }
    }

    fn size(&self, path: &str) -> Option<u64> {
        match &self.first {
            Some((first, bytes)) if first == path => Some(bytes.len() as u64),
            _ => self.disk.size(path),
        }
    }

    fn list(&self, path: &str) -> Option<Vec<String>> {
        let mut names = self.disk.list(path)?;
        names.retain(|name| !is_manifest(name) || !self.is_ignored(&format!("{path}/{name}")));
        Some(names)
    }

    fn resolve(&self, path: &str) -> Option<String> {
        self.disk.resolve(path)
    }
}

use crate::{schema, spec, substitute::Variables};
use api::kustomize::Kustomization;
use object::{Object, ObjectKey};
use plan::{Desired, Owner, normalize};
use sha2::{Digest, Sha256};
use std::{
    collections::{HashSet, VecDeque, hash_map::DefaultHasher},
    hash::{Hash, Hasher},
    sync::{Arc, Mutex, PoisonError},
};
use tree::MemoryTree;

/// What a Kustomization wants, from one artifact and one set of values.
pub(crate) struct Built {
    pub desired: Vec<Desired>,
    /// sha256 of the YAML of all resources: the digest in `status.history`.
    pub digest: String,
    /// Objects that hold SOPS metadata although nobody decrypted them.
    pub encrypted: Vec<ObjectKey>,
}

impl Built {
    pub(crate) fn keys(&self) -> HashSet<ObjectKey> {
        self.desired.iter().map(|one| one.key.clone()).collect()
    }
}

/// Builds kept for the next visit: a visit that finds nothing new builds nothing.
const BUILDS_MAX: usize = 512;
/// Objects of all kept builds together.
const OBJECTS_MAX: usize = 20_000;

/// Builds, and keeps what was built last.
pub(crate) struct Builds {
    no_remote_bases: bool,
    kept: Mutex<VecDeque<(u64, Arc<Built>)>>,
}

impl Builds {
    pub(crate) fn new(no_remote_bases: bool) -> Self {
        Self { no_remote_bases, kept: Mutex::default() }
    }

    /// The objects of `this`. The text of an error is shown on the Kustomization.
    pub(crate) async fn get(
        &self,
        this: &Kustomization,
        artifact: &str,
        tree: &Arc<MemoryTree>,
        variables: Variables,
    ) -> Result<Arc<Built>, String> {
        let id = id(this, artifact, &variables);
        if let Some(built) = self.known(id) {
            return Ok(built);
        }
        let (this, tree, no_remote_bases) = (this.clone(), tree.clone(), self.no_remote_bases);
        // A build may take long and may have a defect: neither must hold up or end anything else.
        let work = tokio::task::spawn_blocking(move || build(&this, &tree, &variables, no_remote_bases));
        let built = match work.await {
            Ok(built) => Arc::new(built?),
            Err(error) if error.is_panic() => {
                return Err("kustomize build failed: the build met a defect of its own; the log has the details".to_owned());
            }
            Err(error) => return Err(format!("kustomize build failed: {error}")),
        };
        self.keep(id, &built);
        Ok(built)
    }

    fn known(&self, id: u64) -> Option<Arc<Built>> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let at = kept.iter().position(|(known, _)| *known == id)?;
        let entry = kept.remove(at)?;
        let built = entry.1.clone();
        kept.push_front(entry);
        Some(built)
    }

    fn keep(&self, id: u64, built: &Arc<Built>) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.push_front((id, built.clone()));
        kept.truncate(BUILDS_MAX);
        let mut objects = 0;
        let keep = kept.iter().take_while(|(_, built)| {
            objects += built.desired.len();
            objects <= OBJECTS_MAX
        });
        let keep = keep.count().max(1);
        kept.truncate(keep);
    }
}

/// Everything that the result depends on.
fn id(this: &Kustomization, artifact: &str, variables: &Variables) -> u64 {
    let mut hasher = DefaultHasher::new();
    (spec::key(this), artifact, variables).hash(&mut hasher);
    serde_json::to_string(&this.spec).unwrap_or_default().hash(&mut hasher);
    hasher.finish()
}

fn build(this: &Kustomization, tree: &MemoryTree, variables: &Variables, no_remote_bases: bool) -> Result<Built, String> {
    let resources = crate::build::kustomize(this, tree, no_remote_bases)?;
    let mut hash = Sha256::new();
    let mut objects = Vec::with_capacity(resources.len());
    for (at, object) in resources.into_iter().enumerate() {
        let object = substituted(object, variables)?;
        if at > 0 {
            hash.update("---\n");
        }
        hash.update(yaml::emit(&serde_json::Value::Object(object.as_map().clone())));
        objects.push(object);
    }
    let owner = owner(this);
    let encrypted = objects.iter().filter(|object| is_encrypted(object)).map(Object::key).collect();
    let desired = objects
        .into_iter()
        .flat_map(expanded)
        .filter(|o| !is_kustomization_file(o))
        .map(|o| normalize(o, &owner, &schema::known_fields))
        .collect();
    Ok(Built { desired, digest: format!("sha256:{}", hex::encode(hash.finalize())), encrypted })
}

/// Variables are replaced in the text that kustomize writes, where quotes that YAML does not need are gone.
fn substituted(object: Object, variables: &Variables) -> Result<Object, String> {
    const KEY: &str = "kustomize.toolkit.fluxcd.io/substitute";
    // The value is compared as it is written, unlike those of the other annotations.
    let disabled = object.label(KEY) == Some("disabled") || object.annotation(KEY) == Some("disabled");
    if !variables.active || disabled {
        return Ok(object);
    }
    let gvk = object.gvk();
    let group = if gvk.group.is_empty() { "[noGrp]" } else { &gvk.group };
    let failed = |error: String| format!("post build failed for '{}.{}.{group}/{}': {error}", gvk.kind, gvk.version, object.name());
    let text = yaml::emit(&serde_json::Value::Object(object.as_map().clone()));
    let expanded = variables.expand(&text).map_err(&failed)?;
    let value = yaml::to_json(&expanded, yaml::Dialect::Sigs)
        .map_err(|error| failed(format!("envsubst error: YAMLToJSON: {}", error.go_message(yaml::Dialect::Sigs))))?;
    Object::new(value).map_err(|error| failed(format!("envsubst error: {error}")))
}

/// The items of a List, or the object itself.
fn expanded(object: Object) -> Vec<Object> {
    let is_list = object.kind().ends_with("List") && object.field(&["items"]).is_some_and(serde_json::Value::is_array);
    if !is_list {
        return vec![object];
    }
    let items = object.field(&["items"]).and_then(serde_json::Value::as_array).cloned().unwrap_or_default();
    items.into_iter().filter_map(|item| Object::new(item).ok()).collect()
}

fn is_kustomization_file(object: &Object) -> bool {
    object.kind() == "Kustomization" && object.gvk().group == "kustomize.config.k8s.io"
}

fn is_encrypted(object: &Object) -> bool {
    object.field(&["sops", "mac"]).is_some()
}

fn owner(this: &Kustomization) -> Owner {
    let common = this.spec.common_metadata.clone().unwrap_or_default();
    Owner { name: spec::key(this), labels: common.labels, annotations: common.annotations }
}

/// A path of a spec, inside the artifact whatever it climbs.
pub(crate) fn inside(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    parts.join("/")
}

// TEMPORARY until the engine lands
fn kustomize(this: &Kustomization, tree: &MemoryTree, _no_remote_bases: bool) -> Result<Vec<Object>, String> {
    use tree::Tree;
    let mut out = Vec::new();
    fn walk(tree: &MemoryTree, dir: &str, out: &mut Vec<Object>) -> Result<(), String> {
        for name in tree.list(dir).unwrap_or_default() {
            let path = if dir.is_empty() { name.clone() } else { format!("{dir}/{name}") };
            if tree.kind(&path) == Some(tree::Kind::Dir) {
                walk(tree, &path, out)?;
                continue;
            }
            if !(name.ends_with(".yaml") || name.ends_with(".yml")) {
                continue;
            }
            let text = String::from_utf8_lossy(&tree.read(&path).unwrap_or_default()).into_owned();
            for doc in text.split("\n---") {
                let v = yaml::to_json(doc, yaml::Dialect::Sigs).map_err(|e| e.to_string())?;
                if v.is_null() {
                    continue;
                }
                out.push(Object::new(v).map_err(|e| e.to_string())?);
            }
        }
        Ok(())
    }
    walk(tree, &inside(&this.spec.path), &mut out)?;
    if !this.spec.target_namespace.is_empty() {
        for o in &mut out {
            o.set_namespace(&this.spec.target_namespace);
        }
    }
    Ok(out)
}

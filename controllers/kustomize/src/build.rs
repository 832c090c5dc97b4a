use crate::{
    decrypt::{self, Documents},
    schema, spec,
    substitute::Variables,
};
use api::kustomize::Kustomization;
use kustomize::flux;
use object::{Object, ObjectKey};
use plan::{Desired, Owner, normalize};
use serde_json::Value;
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
    /// Objects that are encrypted although nobody was asked to decrypt them.
    pub encrypted: Vec<ObjectKey>,
}

impl Built {
    pub(crate) fn keys(&self) -> HashSet<ObjectKey> {
        self.desired.iter().map(|one| one.key.clone()).collect()
    }
}

/// Builds kept for the next visit: a visit that finds nothing new builds nothing.
const BUILDS_MAX: usize = 128;
/// Objects of all kept builds together.
const OBJECTS_MAX: usize = 20_000;

/// Builds, and keeps what was built last.
#[derive(Default)]
pub(crate) struct Builds {
    kept: Mutex<VecDeque<(u64, Arc<Built>)>>,
}

impl Builds {
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
        let (this, tree) = (this.clone(), tree.clone());
        // A build may take long and may have a defect: neither must hold up or end anything else.
        let work = tokio::task::spawn_blocking(move || build(&this, &tree, &variables));
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

fn build(this: &Kustomization, tree: &MemoryTree, variables: &Variables) -> Result<Built, String> {
    let failed = |error: kustomize::Error| match error.hint() {
        Some(hint) => format!("kustomize build failed: {error}; {hint}"),
        None => format!("kustomize build failed: {error}"),
    };
    let documents = Documents { wanted: this.spec.decryption.is_some() };
    let built = flux::build(tree, &inside(&this.spec.path), &engine_spec(this), &documents).map_err(failed)?;
    let mut hash = Sha256::new();
    let mut objects = Vec::with_capacity(built.resources.len());
    for (at, resource) in built.resources.iter().enumerate() {
        let text = resource.to_yaml().map_err(failed)?;
        if at > 0 {
            hash.update("---\n");
        }
        let Some(object) = named(resource.to_json().map_err(failed)?, resource.origin().0)? else {
            hash.update(&text);
            continue;
        };
        let (object, text) = substituted(object, text, variables)?;
        hash.update(&text);
        objects.push(object);
    }
    let owner = owner(this);
    // Where decryption is wanted the hooks have let nothing encrypted through but what is to be left alone.
    let encrypted = objects.iter().filter(|object| !documents.wanted && decrypt::is_encrypted(object)).map(Object::key).collect();
    let wanted = objects.into_iter().flat_map(expanded).filter(|object| !is_kustomization_file(object));
    let desired = wanted.map(|object| normalize(object, &owner, &schema::known_fields)).collect();
    Ok(Built { desired, digest: format!("sha256:{}", hex::encode(hash.finalize())), encrypted })
}

/// An object as Flux finds it in the build: one whose name is no text, such as `name: 123`, is passed over, as in Flux.
fn named(value: Value, file: &str) -> Result<Option<Object>, String> {
    if value.pointer("/metadata/name").is_some_and(|name| !name.is_string()) {
        tracing::warn!(%file, "an object was passed over: its name is no text; put it in quotes");
        return Ok(None);
    }
    Object::new(value).map(Some).map_err(|error| format!("failed to decode Kubernetes objects: {error}"))
}

/// The fields of the spec that take part in a build, in the engine's words.
fn engine_spec(this: &Kustomization) -> flux::Spec {
    let spec = &this.spec;
    let some = |text: &String| (!text.is_empty()).then(|| text.clone());
    let selector = |one: &api::kustomize::Selector| flux::Selector {
        group: one.group.clone(),
        version: one.version.clone(),
        kind: one.kind.clone(),
        name: one.name.clone(),
        namespace: one.namespace.clone(),
        label_selector: one.label_selector.clone(),
        annotation_selector: one.annotation_selector.clone(),
    };
    let patch = |one: &api::kustomize::Patch| flux::Patch { patch: one.patch.clone(), target: one.target.as_ref().map(selector) };
    let image = |one: &api::kustomize::Image| flux::Image {
        name: one.name.clone(),
        new_name: one.new_name.clone(),
        new_tag: one.new_tag.clone(),
        digest: one.digest.clone(),
    };
    flux::Spec {
        target_namespace: some(&spec.target_namespace),
        name_prefix: some(&spec.name_prefix),
        name_suffix: some(&spec.name_suffix),
        patches: spec.patches.iter().map(patch).collect(),
        images: spec.images.iter().map(image).collect(),
        components: spec.components.clone(),
        ignore_missing_components: spec.ignore_missing_components,
        build_metadata: spec.build_metadata.clone(),
        ..flux::Spec::default()
    }
}

/// Variables are replaced in the text that kustomize writes, where quotes that YAML does not need are gone.
fn substituted(object: Object, text: String, variables: &Variables) -> Result<(Object, String), String> {
    const KEY: &str = "kustomize.toolkit.fluxcd.io/substitute";
    // The value is compared as it is written, unlike those of the other annotations.
    let disabled = object.label(KEY) == Some("disabled") || object.annotation(KEY) == Some("disabled");
    if !variables.active || disabled {
        return Ok((object, text));
    }
    let gvk = object.gvk();
    let group = if gvk.group.is_empty() { "[noGrp]" } else { &gvk.group };
    let failed = |error: String| format!("post build failed for '{}.{}.{group}/{}': {error}", gvk.kind, gvk.version, object.name());
    let expanded = variables.expand(&text).map_err(&failed)?;
    let value = yaml::to_json(&expanded, yaml::Dialect::Sigs)
        .map_err(|error| failed(format!("envsubst error: YAMLToJSON: {}", error.go_message(yaml::Dialect::Sigs))))?;
    let text = yaml::emit(&value);
    let object = Object::new(value).map_err(|error| failed(format!("envsubst error: {error}")))?;
    Ok((object, text))
}

/// The items of a List, or the object itself.
fn expanded(object: Object) -> Vec<Object> {
    let is_list = object.kind().ends_with("List") && object.field(&["items"]).is_some_and(Value::is_array);
    if !is_list {
        return vec![object];
    }
    let items = object.field(&["items"]).and_then(Value::as_array).cloned().unwrap_or_default();
    items.into_iter().filter_map(|item| Object::new(item).ok()).collect()
}

fn is_kustomization_file(object: &Object) -> bool {
    object.kind() == "Kustomization" && object.gvk().group == "kustomize.config.k8s.io"
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

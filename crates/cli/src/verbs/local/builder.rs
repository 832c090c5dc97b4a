//! From a Kustomization to the objects it applies.

use super::{mask, workspace::Workspace};
use crate::{
    kinds,
    objects::{self, at, text},
    shell::{Context, Failure, files},
    verbs::debug,
};
use kustomize::flux;
use serde_json::{Map, Value, json};
use std::{collections::BTreeMap, future::Future, pin::Pin};
use yaml::Dialect;

const GROUP: &str = "kustomize.toolkit.fluxcd.io";
/// Label or annotation that keeps variables out of an object.
const SUBSTITUTE: &str = "kustomize.toolkit.fluxcd.io/substitute";
/// Kustomizations inside each other; more are a circle.
const DEPTH_MAX: usize = 32;

/// How to build.
#[derive(Debug, Clone, Default)]
pub struct Request {
    pub ignore: Vec<String>,
    pub strict: bool,
    pub recursive: bool,
    pub dry_run: bool,
    pub ignore_not_found: bool,
    /// Folders by `<kind>/<namespace>/<name>` of a source.
    pub local_sources: BTreeMap<String, String>,
}

/// What to build: which Kustomization, and the folder of its manifests.
#[derive(Debug, Clone)]
pub struct Target {
    pub name: String,
    pub namespace: String,
    pub path: String,
    /// The file that holds the Kustomization.
    pub file: Option<String>,
    /// The Kustomization where neither file nor cluster has it.
    pub given: Option<Value>,
}

#[derive(Debug)]
pub struct Built {
    pub kustomization: Value,
    pub objects: Vec<Value>,
}

pub fn is_kustomization(object: &Value) -> bool {
    text(object, &["kind"]) == "Kustomization" && text(object, &["apiVersion"]).starts_with(&format!("{GROUP}/"))
}

pub fn is_same(a: &Value, b: &Value) -> bool {
    objects::name(a) == objects::name(b) && objects::namespace(a) == objects::namespace(b)
}

/// The folder of a Kustomization that was found among objects.
pub fn local_path(request: &Request, kustomization: &Value) -> Result<String, Failure> {
    let source = at(kustomization, &["spec", "sourceRef"]);
    let namespace = objects::reference_namespace(kustomization, source);
    let key = format!("{}/{namespace}/{}", text(source, &["kind"]), text(source, &["name"]));
    let folder = request.local_sources.get(&key);
    let folder =
        folder.ok_or_else(|| Failure::new(format!("cannot get local path for {key} of kustomization {}", objects::name(kustomization))))?;
    let path = text(kustomization, &["spec", "path"]);
    Ok(format!("{folder}/{path}"))
}

/// The objects of a Kustomization and, if asked for, of those it holds.
pub async fn build_all(context: &Context, request: &Request, target: Target) -> Result<Vec<Value>, Failure> {
    build_deep(context, request, target, DEPTH_MAX).await
}

type Building<'a> = Pin<Box<dyn Future<Output = Result<Vec<Value>, Failure>> + 'a>>;

fn build_deep<'a>(context: &'a Context, request: &'a Request, target: Target, depth: usize) -> Building<'a> {
    Box::pin(async move {
        if depth == 0 {
            return Err(Failure::new(format!("more than {DEPTH_MAX} Kustomizations inside each other")));
        }
        let Built { kustomization, mut objects } = build(context, request, target).await?;
        let mut below = Vec::new();
        for inner in objects.iter().filter(|object| request.recursive && is_kustomization(object) && !is_same(object, &kustomization)) {
            let target = Target {
                name: objects::name(inner).to_owned(),
                namespace: objects::namespace(inner).to_owned(),
                path: local_path(request, inner)?,
                file: None,
                given: Some(inner.clone()),
            };
            below.extend(build_deep(context, request, target, depth - 1).await?);
        }
        objects.extend(below);
        Ok(objects)
    })
}

/// The objects of one Kustomization.
pub async fn build(context: &Context, request: &Request, target: Target) -> Result<Built, Failure> {
    let kustomization =
        kustomization(context, request, &target).await.map_err(|failure| failure.context("failed to get kustomization object"))?;
    let workspace = Workspace::open(&target.path, &request.ignore)
        .map_err(|why| Failure::new(format!("failed to generate kustomization.yaml: {why} <nil>")))?;
    let build = workspace.build(&spec(&kustomization)).map_err(|error| Failure::new(format!("kustomize build failed: {error}")))?;
    for warning in &build.warnings {
        eprintln!("{warning}");
    }
    let variables = Variables::of(context, request, &kustomization).await?;
    let mut objects = Vec::with_capacity(build.resources.len());
    for resource in &build.resources {
        let mut object = variables.put_into(resource, request.strict)?;
        let owner = json!({format!("{GROUP}/name"): objects::name(&kustomization), format!("{GROUP}/namespace"): objects::namespace(&kustomization)});
        add_metadata(&mut object, "labels", &owner);
        mask::secret(&mut object)?;
        let common = at(&kustomization, &["spec", "commonMetadata"]);
        add_metadata(&mut object, "labels", at(common, &["labels"]));
        add_metadata(&mut object, "annotations", at(common, &["annotations"]));
        objects.push(object);
    }
    Ok(Built { kustomization, objects })
}

/// The file's Kustomization with the live inventory, else the live one, else the given one.
async fn kustomization(context: &Context, request: &Request, target: &Target) -> Result<Value, Failure> {
    let live = match (request.dry_run, &target.given) {
        (true, given) => given.clone(),
        (false, given) => match (context.find(&kinds::KUSTOMIZATION, &target.namespace, &target.name).await?, given) {
            (Some(live), _) => Some(live),
            (None, None) if !request.ignore_not_found => {
                return Err(Failure::new(format!("kustomizations.{GROUP} {:?} not found", target.name)));
            }
            (None, given) => given.clone(),
        },
    };
    let Some(file) = &target.file else {
        return live.ok_or_else(|| Failure::new("kustomization file is required for dry-run"));
    };
    let mut found = from_file(file, target)?;
    let status = live.as_ref().map(|live| at(live, &["status"])).filter(|status| !at(status, &["inventory"]).is_null());
    if let (Some(status), false, Some(fields)) = (status, request.dry_run, found.as_object_mut()) {
        fields.insert("status".to_owned(), status.clone());
    }
    Ok(found)
}

fn from_file(file: &str, target: &Target) -> Result<Value, Failure> {
    let content = files::read_text(file).map_err(|why| Failure::new(format!("failed to read kustomization file {file}: {why}")))?;
    let broken = |error: yaml::Error| {
        Failure::new(format!("failed to unmarshall kustomization file {file}: error converting YAML to JSON: {error}"))
    };
    for document in yaml::documents(&content, Dialect::Sigs).map_err(broken)? {
        let object = document.to_json().map_err(broken)?;
        let namespace = objects::namespace(&object);
        if is_kustomization(&object) && objects::name(&object) == target.name && (namespace.is_empty() || namespace == target.namespace) {
            return Ok(object);
        }
    }
    let Target { name, namespace, .. } = target;
    Err(Failure::new(format!("failed find kustomization with name '{name}' and namespace '{namespace}' in file '{file}'")))
}

/// What of a Kustomization takes part in a build.
fn spec(kustomization: &Value) -> flux::Spec {
    let spec = at(kustomization, &["spec"]);
    let optional = |field: &str| spec.get(field).and_then(Value::as_str).map(str::to_owned);
    let list = |field: &str| spec.get(field).and_then(Value::as_array).cloned().unwrap_or_default();
    let texts = |field: &str| list(field).iter().filter_map(Value::as_str).map(str::to_owned).collect();
    let own = |value: &Value, field: &str| text(value, &[field]).to_owned();
    let selector = |value: &Value| flux::Selector {
        group: own(value, "group"),
        version: own(value, "version"),
        kind: own(value, "kind"),
        name: own(value, "name"),
        namespace: own(value, "namespace"),
        label_selector: own(value, "labelSelector"),
        annotation_selector: own(value, "annotationSelector"),
    };
    flux::Spec {
        target_namespace: optional("targetNamespace"),
        name_prefix: optional("namePrefix"),
        name_suffix: optional("nameSuffix"),
        patches: list("patches")
            .iter()
            .map(|patch| flux::Patch { patch: own(patch, "patch"), target: patch.get("target").map(selector) })
            .collect(),
        patches_strategic_merge: list("patchesStrategicMerge"),
        patches_json6902: list("patchesJson6902")
            .iter()
            .map(|patch| flux::JsonPatch { patch: at(patch, &["patch"]).clone(), target: selector(at(patch, &["target"])) })
            .collect(),
        images: list("images")
            .iter()
            .map(|image| flux::Image {
                name: own(image, "name"),
                new_name: own(image, "newName"),
                new_tag: own(image, "newTag"),
                digest: own(image, "digest"),
            })
            .collect(),
        components: texts("components"),
        ignore_missing_components: spec.get("ignoreMissingComponents").and_then(Value::as_bool).unwrap_or(false),
        build_metadata: texts("buildMetadata"),
    }
}

/// The variables of a Kustomization; `None` where nothing is substituted.
struct Variables(Option<BTreeMap<String, String>>);

impl Variables {
    async fn of(context: &Context, request: &Request, kustomization: &Value) -> Result<Self, Failure> {
        let post = at(kustomization, &["spec", "postBuild"]);
        if post.is_null() {
            return Ok(Self(None));
        }
        let variables = if request.dry_run {
            // No cluster, so no ConfigMaps and Secrets: the inline ones only.
            let inline = json!({"spec": {"postBuild": {"substitute": at(post, &["substitute"])}}});
            debug::variables(context, &inline).await?
        } else {
            debug::variables(context, kustomization).await?
        };
        let is_always = text(post, &["substituteStrategy"]) == "Always";
        Ok(Self((is_always || !variables.is_empty()).then_some(variables)))
    }

    fn put_into(&self, resource: &kustomize::Resource, strict: bool) -> Result<Value, Failure> {
        let failed = |error: kustomize::Error| Failure::new(format!("kustomize build failed: {error}"));
        let object = resource.to_json().map_err(failed)?;
        let is_off = ["labels", "annotations"].iter().any(|field| text(&object, &["metadata", field, SUBSTITUTE]) == "disabled");
        let (Some(variables), false) = (&self.0, is_off) else { return Ok(object) };
        let wrap = |why: String| Failure::new(format!("var substitution failed for '{}': envsubst error: {why}", objects::name(&object)));
        for name in variables.keys() {
            envsubst::check_name(name).map_err(|error| wrap(error.to_string()))?;
        }
        let mode = if strict { envsubst::Mode::Strict } else { envsubst::Mode::Lenient };
        let yaml = resource.to_yaml().map_err(failed)?;
        let expanded = envsubst::expand(&yaml, variables, mode).map_err(|error| wrap(format!("variable substitution failed: {error}")))?;
        yaml::to_json(&expanded, Dialect::Sigs).map_err(|error| wrap(format!("YAMLToJSON: {error}")))
    }
}

fn add_metadata(object: &mut Value, field: &str, pairs: &Value) {
    let (Some(pairs), Some(fields)) = (pairs.as_object(), object.as_object_mut()) else { return };
    let metadata = fields.entry("metadata").or_insert_with(|| Value::Object(Map::new()));
    let Some(metadata) = metadata.as_object_mut() else { return };
    let held = metadata.entry(field).or_insert_with(|| Value::Object(Map::new()));
    if held.is_null() {
        *held = Value::Object(Map::new());
    }
    if let Some(held) = held.as_object_mut() {
        held.extend(pairs.iter().map(|(key, value)| (key.clone(), value.clone())));
    }
}

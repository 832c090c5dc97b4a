//! A chart and values in, a release to store out: rendered, and changed by what the spec lays over it.

use crate::{charts::Loaded, spec};
use api::{helm::HelmRelease, meta};
use cluster::{Client, Discovery, Selection};
use helm::{Capabilities, Environment, Hook, KubeVersion, Lookup, Manifest, Profile, Release, StoredRelease, SystemRandom, Table};
use jiff::Timestamp;
use kustomize::flux;
use object::GroupVersionKind;
use serde_json::{Map, Value};
use std::{
    collections::{BTreeMap, HashSet},
    rc::Rc,
    sync::Arc,
};
use tree::MemoryTree;

/// What is rendered, and for whom.
pub(crate) struct Input {
    pub this: Arc<HelmRelease>,
    pub chart: Arc<Loaded>,
    pub values: Map<String, Value>,
    pub name: String,
    pub revision: i64,
    pub upgrade: bool,
    pub capabilities: Capabilities,
    pub now: Timestamp,
    /// As Helm 3: hooks are not sent through the post-renderers unless the spec says so.
    pub helm3_defaults: bool,
}

/// What came out.
#[derive(Debug, Default)]
pub(crate) struct Output {
    pub manifest: String,
    pub hooks: Vec<Hook>,
    pub notes: String,
    pub crds: Vec<(String, String)>,
    pub warnings: Vec<String>,
}

/// What a cluster says of itself to charts.
pub(crate) async fn capabilities(client: &Client, discovery: &Discovery) -> Result<Capabilities, String> {
    let bytes = client.get_path("/version", "application/json").await.map_err(|error| error.chain())?;
    let version: Value = serde_json::from_slice(&bytes).map_err(|error| error.to_string())?;
    let git_version = version.get("gitVersion").and_then(Value::as_str).unwrap_or_default();
    let defaults = Capabilities::defaults(Profile::V4_2);
    Ok(Capabilities {
        kube_version: KubeVersion::parse(git_version)?,
        api_versions: discovery.served().await.map_err(|error| error.chain())?.into_iter().map(Into::into).collect(),
        ..defaults
    })
}

/// Renders on a thread of its own: a template may take long, and `lookup` waits for the server.
pub(crate) async fn render(input: Input, client: Client, discovery: Arc<apply::Target>) -> Result<Output, String> {
    let runtime = tokio::runtime::Handle::current();
    let work = tokio::task::spawn_blocking(move || {
        let lookup: Lookup = Rc::new(move |api_version: &str, kind: &str, namespace: &str, name: &str| {
            runtime.block_on(look_up(&client, &discovery.discovery, api_version, kind, namespace, name))
        });
        run(&input, Some(lookup))
    });
    match work.await {
        Ok(result) => result,
        Err(error) if error.is_panic() => Err("the rendering met a defect of its own; the log has the details".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

/// Renders here and now. Without a lookup, templates find no object of the cluster.
pub(crate) fn run(input: &Input, lookup: Option<Lookup>) -> Result<Output, String> {
    let release = Release {
        name: input.name.clone(),
        namespace: spec::release_namespace(&input.this).to_owned(),
        revision: input.revision,
        upgrade: input.upgrade,
    };
    let environment = Rc::new(Environment::new(input.now, Box::new(SystemRandom)));
    let mut options = helm::Options::new(release, environment);
    options.capabilities = input.capabilities.clone();
    options.profile = Profile::V4_2;
    options.cache = Some(&input.chart.cache);
    options.skip_schema = if input.upgrade {
        input.this.spec.upgrade.as_ref().is_some_and(|one| one.disable_schema_validation)
    } else {
        input.this.spec.install.as_ref().is_some_and(|one| one.disable_schema_validation)
    };
    options.lookup = lookup;
    let values = Table::from_json(&Value::Object(input.values.clone())).unwrap_or_default();
    let rendered = helm::render(&input.chart.chart, &values, &options).map_err(|error| in_words_of_helm(&error))?;
    let strategy = match input.this.spec.post_render_strategy.as_str() {
        "nohooks" => Strategy::WithoutHooks,
        "separate" => Strategy::Separate,
        "" if input.helm3_defaults => Strategy::WithoutHooks,
        _ => Strategy::Combined,
    };
    let (hooks, manifests) = post_rendered(&input.this, rendered.hooks, rendered.manifests, strategy)?;
    let crds = rendered.crds.iter().map(|crd| (crd.path.clone(), crd.text().into_owned())).collect();
    let mut manifest = String::new();
    manifests.iter().for_each(|one| helm::push_document(&mut manifest, &one.path, &one.content));
    Ok(Output { manifest, hooks, notes: rendered.notes, crds, warnings: rendered.warnings })
}

/// Manifests that are no YAML are found out by what reads them first: the merge before the post-renderers.
fn in_words_of_helm(error: &helm::Error) -> String {
    match error {
        helm::Error::Manifest { path, why, .. } => match why.strip_prefix("error converting YAML to JSON: ") {
            Some(why) => format!("error merging manifests: parsing {path}: MalformedYAMLError: {why}"),
            None => format!("error merging manifests: parsing {path}: {why}"),
        },
        other => other.to_string(),
    }
}

pub(crate) async fn look_up(
    client: &Client,
    discovery: &Discovery,
    api_version: &str,
    kind: &str,
    namespace: &str,
    name: &str,
) -> Result<Option<Value>, String> {
    let resource = match discovery.resolve(&GroupVersionKind::from_api_version(api_version, kind)).await {
        Ok(resource) => resource,
        Err(cluster::Error::NoMatch { .. }) => return Ok(None),
        Err(error) => return Err(error.chain()),
    };
    if name.is_empty() {
        let selection = Selection { namespace: namespace.to_owned(), ..Selection::default() };
        let listed = client.list(&resource, &selection).await.map_err(|error| error.chain())?;
        let items: Vec<Value> = listed.iter().filter_map(|json| serde_json::from_str(json.get()).ok()).collect();
        return Ok(Some(serde_json::json!({"apiVersion": api_version, "kind": format!("{kind}List"), "items": items})));
    }
    let found = client.get_opt(&resource, namespace, name).await.map_err(|error| error.chain())?;
    found.map(|bytes| serde_json::from_slice(&bytes).map_err(|error| error.to_string())).transpose()
}

/// Which documents the post-renderers see together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Strategy {
    WithoutHooks,
    Combined,
    Separate,
}

/// One document on its way through the post-renderers.
type Document = (String, String);

fn post_rendered(
    this: &HelmRelease,
    hooks: Vec<Hook>,
    manifests: Vec<Manifest>,
    strategy: Strategy,
) -> Result<(Vec<Hook>, Vec<Manifest>), String> {
    let hook_documents = || hooks.iter().map(|hook| (hook.path.clone(), hook.manifest.clone())).collect::<Vec<Document>>();
    let mut documents: Vec<Document> = manifests.into_iter().map(|one| (one.path, one.content)).collect();
    let sorted = |documents: Vec<Document>| sort(&post_render(this, documents)?);
    match strategy {
        Strategy::Combined => {
            // As Helm merges them: by the path of their template.
            documents.extend(hook_documents());
            documents.sort_by(|a, b| a.0.cmp(&b.0));
            sorted(documents)
        }
        Strategy::Separate => {
            let (_, manifests) = sorted(documents)?;
            let (hooks, _) = sorted(hook_documents())?;
            Ok((hooks, manifests))
        }
        Strategy::WithoutHooks => {
            let (_, manifests) = sorted(documents)?;
            Ok((hooks, manifests))
        }
    }
}

/// Cuts documents by the files that they came from, and sorts them as Helm does.
fn sort(documents: &[Document]) -> Result<(Vec<Hook>, Vec<Manifest>), String> {
    let mut files: BTreeMap<String, String> = BTreeMap::new();
    for (path, text) in documents {
        let file = files.entry(path.clone()).or_default();
        if !file.is_empty() {
            file.push_str("---\n");
        }
        file.push_str(text);
    }
    let (mut hooks, mut manifests) = helm::sort_manifests(files.clone(), &mut Vec::new()).map_err(|error| in_words_of_helm(&error))?;
    // The line break before a separator belongs to the separator.
    let is_last = |path: &str, content: &str| files.get(path).is_some_and(|text| text.ends_with(content));
    for hook in &mut hooks {
        if !is_last(&hook.path, &hook.manifest) {
            hook.manifest.truncate(hook.manifest.trim_end().len());
        }
    }
    for manifest in &mut manifests {
        if !is_last(&manifest.path, &manifest.content) {
            manifest.content.truncate(manifest.content.trim_end().len());
        }
    }
    Ok((hooks, manifests))
}

/// The annotation by which a document finds back to its file, as Helm's.
const FILE_NAME: &str = "postrenderer.helm.sh/postrender-filename";
const STREAM: &str = "resources.yaml";

/// Patches and images in the order of the spec, then the common metadata, then the labels that name the HelmRelease.
fn post_render(this: &HelmRelease, documents: Vec<Document>) -> Result<Vec<Document>, String> {
    let failed = |error: &dyn std::fmt::Display| format!("error while running post render on files: {error}");
    let mut stream = String::new();
    let mut seen = HashSet::new();
    for (path, text) in documents {
        let value = yaml::to_json(&text, yaml::Dialect::Sigs).map_err(|error| failed(&error.go_message(yaml::Dialect::Sigs)))?;
        for mut object in taken_apart(value) {
            let metadata = object.entry("metadata").or_insert_with(|| Value::Object(Map::new()));
            if metadata.is_null() {
                *metadata = Value::Object(Map::new());
            }
            set(&mut object, "annotations", FILE_NAME, &path);
            let id = id_of(&object).map_err(|why| failed(&why))?;
            if !seen.insert(id.clone()) {
                return Err(failed(&format!("may not add resource with an already registered id: {id}")));
            }
            stream.push_str("---\n");
            stream.push_str(&yaml::emit(&Value::Object(object)));
        }
    }
    if stream.is_empty() {
        return Ok(Vec::new());
    }
    let kustomizes: Vec<_> = this.spec.post_renderers.iter().filter_map(|one| one.kustomize.as_ref()).collect();
    for renderer in kustomizes {
        let mut text = String::new();
        for resource in built(&stream, &engine_spec(renderer)).map_err(|error| failed(&error))? {
            text.push_str("---\n");
            text.push_str(&resource.to_yaml().map_err(|error| failed(&error))?);
        }
        stream = text;
    }
    let common = this.spec.common_metadata.clone().unwrap_or_default();
    let resources = built(&stream, &flux::Spec::default()).map_err(|error| failed(&error))?;
    let mut out = Vec::with_capacity(resources.len());
    let owner = spec::key(this);
    for resource in resources {
        let Value::Object(mut object) = resource.to_json().map_err(|error| failed(&error))? else { continue };
        let path = object.get("metadata").and_then(|metadata| metadata.get("annotations")?.get(FILE_NAME)?.as_str()).map(str::to_owned);
        remove_annotation(&mut object, FILE_NAME);
        common.labels.iter().for_each(|(key, value)| set(&mut object, "labels", key, value));
        common.annotations.iter().for_each(|(key, value)| set(&mut object, "annotations", key, value));
        set(&mut object, "labels", meta::HELM_NAME_LABEL, &owner.name);
        set(&mut object, "labels", meta::HELM_NAMESPACE_LABEL, &owner.namespace);
        out.push((path.unwrap_or_else(|| "generated-by-postrender.yaml".to_owned()), yaml::emit(&Value::Object(object))));
    }
    Ok(out)
}

/// The items of a List, or the object itself.
fn taken_apart(value: Value) -> Vec<Map<String, Value>> {
    let Value::Object(mut object) = value else { return Vec::new() };
    if object.get("kind").and_then(Value::as_str) == Some("List")
        && let Some(Value::Array(items)) = object.get_mut("items")
    {
        return std::mem::take(items).into_iter().flat_map(taken_apart).collect();
    }
    vec![object]
}

/// What kustomize knows an object by. An object without a name is refused in kustomize's own words.
fn id_of(object: &Map<String, Value>) -> Result<String, String> {
    let text = |value: Option<&Value>| value.and_then(Value::as_str).unwrap_or_default().to_owned();
    let metadata = object.get("metadata").and_then(Value::as_object);
    let part = |key: &str| text(metadata.and_then(|metadata| metadata.get(key)));
    let (api_version, kind, name, namespace) = (text(object.get("apiVersion")), text(object.get("kind")), part("name"), part("namespace"));
    if name.is_empty() {
        let map = |key: &str| {
            let map = metadata.and_then(|metadata| metadata.get(key)).and_then(Value::as_object);
            let sorted: BTreeMap<&String, &Value> = map.into_iter().flatten().collect();
            let pairs: Vec<String> = sorted.iter().map(|(key, value)| format!("{key}:{}", value.as_str().unwrap_or_default())).collect();
            pairs.join(" ")
        };
        let (labels, annotations) = (map("labels"), map("annotations"));
        return Err(format!(
            "missing metadata.name in object {{{{{api_version} {kind}}} {{{{ {namespace}}} map[{labels}] map[{annotations}]}}}}"
        ));
    }
    let (group, version) = api_version.split_once('/').unwrap_or(("[noGrp]", &api_version));
    let namespace = if namespace.is_empty() { "[noNs]" } else { &namespace };
    Ok(format!("{kind}.{version}.{group}/{name}.{namespace}"))
}

fn built(stream: &str, spec: &flux::Spec) -> Result<Vec<kustomize::Resource>, kustomize::Error> {
    let mut tree = MemoryTree::new();
    tree.insert(STREAM, stream.to_owned().into_bytes(), false);
    tree.insert("kustomization.yaml", format!("resources:\n- {STREAM}\n").into_bytes(), false);
    Ok(flux::build(&tree, "", spec, &flux::NoHooks)?.resources)
}

fn engine_spec(renderer: &api::helm::KustomizePostRenderer) -> flux::Spec {
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
        patches: renderer.patches.iter().map(patch).collect(),
        images: renderer.images.iter().map(image).collect(),
        ..flux::Spec::default()
    }
}

fn set(object: &mut Map<String, Value>, part: &str, key: &str, value: &str) {
    let metadata = object.entry("metadata").or_insert_with(|| Value::Object(Map::new()));
    let Some(metadata) = metadata.as_object_mut() else { return };
    let part = metadata.entry(part).or_insert_with(|| Value::Object(Map::new()));
    if part.is_null() {
        *part = Value::Object(Map::new());
    }
    if let Some(part) = part.as_object_mut() {
        part.insert(key.to_owned(), value.into());
    }
}

fn remove_annotation(object: &mut Map<String, Value>, key: &str) {
    let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) else { return };
    let Some(annotations) = metadata.get_mut("annotations").and_then(Value::as_object_mut) else { return };
    annotations.remove(key);
    if annotations.is_empty() {
        metadata.remove("annotations");
    }
}

/// A release as it is stored before anything is applied.
pub(crate) fn release(
    input: &Input,
    output: Output,
    first_deployed: Option<String>,
    status: &str,
    description: &str,
    ssa: bool,
) -> StoredRelease {
    let now = input.now.to_string();
    StoredRelease {
        name: input.name.clone(),
        info: helm::Info {
            first_deployed: first_deployed.or_else(|| Some(now.clone())),
            last_deployed: Some(now),
            description: description.to_owned(),
            status: status.to_owned(),
            notes: output.notes,
            ..helm::Info::default()
        },
        chart: input.chart.stored(),
        config: Arc::new(input.values.clone()),
        manifest: output.manifest.into(),
        hooks: Arc::new(output.hooks),
        version: input.revision,
        namespace: spec::release_namespace(&input.this).to_owned(),
        apply_method: if ssa { "ssa" } else { "csa" }.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn this() -> HelmRelease {
        HelmRelease::named("ns", "app")
    }

    fn document(path: &str, text: &str) -> Document {
        (path.to_owned(), text.to_owned())
    }

    #[test]
    fn every_object_is_labelled_and_lists_are_taken_apart() {
        let list = "apiVersion: v1\nkind: List\nitems:\n- {apiVersion: v1, kind: ConfigMap, metadata: {name: l1}}\n- {apiVersion: v1, kind: ConfigMap, metadata: {name: l2}}\n";
        let (hooks, manifests) = sort(&post_render(&this(), vec![document("demo/templates/l.yaml", list)]).unwrap()).unwrap();
        assert!(hooks.is_empty());
        let mut text = String::new();
        manifests.iter().for_each(|one| helm::push_document(&mut text, &one.path, &one.content));
        // As recorded: hr-list-kind.
        assert_eq!(
            text,
            "---\n# Source: demo/templates/l.yaml\napiVersion: v1\nkind: ConfigMap\nmetadata:\n  labels:\n    helm.toolkit.fluxcd.io/name: app\n    helm.toolkit.fluxcd.io/namespace: ns\n  name: l1\n---\n# Source: demo/templates/l.yaml\napiVersion: v1\nkind: ConfigMap\nmetadata:\n  labels:\n    helm.toolkit.fluxcd.io/name: app\n    helm.toolkit.fluxcd.io/namespace: ns\n  name: l2\n\n"
        );
    }

    #[test]
    fn common_metadata_and_patches_reach_hooks_only_where_they_are_sent_along() {
        let mut this = this();
        this.spec.common_metadata =
            Some(meta::CommonMetadata { labels: [("team".to_owned(), "a".to_owned())].into(), ..Default::default() });
        let hook = Hook {
            name: "h".into(),
            kind: "ConfigMap".into(),
            path: "demo/templates/h.yaml".into(),
            manifest: "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: h\n  annotations:\n    helm.sh/hook: pre-install\n".into(),
            events: vec!["pre-install".into()],
            ..Hook::default()
        };
        let of = |strategy| post_rendered(&this, vec![hook.clone()], Vec::new(), strategy).unwrap().0;
        assert!(of(Strategy::Combined)[0].manifest.contains("team: a"));
        assert!(of(Strategy::Separate)[0].manifest.contains("team: a"));
        assert_eq!(of(Strategy::WithoutHooks)[0].manifest, hook.manifest);
    }

    #[test]
    fn an_object_that_is_there_twice_is_refused() {
        let text = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: a\n";
        let error = post_render(&this(), vec![document("a.yaml", text), document("b.yaml", text)]).unwrap_err();
        // As recorded: hr-duplicate-object, hr-generate-name.
        let words =
            "error while running post render on files: may not add resource with an already registered id: ConfigMap.v1.[noGrp]/a.[noNs]";
        assert_eq!(error, words);
        let nameless = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  generateName: a-\n";
        let error = post_render(&this(), vec![document("demo/templates/g.yaml", nameless)]).unwrap_err();
        assert_eq!(
            error,
            "error while running post render on files: missing metadata.name in object {{v1 ConfigMap} {{ } map[] map[postrenderer.helm.sh/postrender-filename:demo/templates/g.yaml]}}"
        );
    }
}

//! Builds as Flux does (fluxcd/pkg kustomize_generator.go): the first kustomization is generated where there is none, and the fields of the
//! `Kustomization` object are merged into it.
//!
//! ```text
//! directory ─ has a kustomization file? ── yes ── its content ─┐
//!                  └─ no ── every manifest and kustomized directory below it ─┤
//!                                     Spec ── merged ── build ── Hooks::resource on every object
//! ```

use crate::{
    build::{self, Build, Options, Use},
    decode::{Decode, Mode},
    error::{Error, Place, Result, problem},
    kustomization::{FILE_NAMES, Image as FileImage, Kustomization, Patch as FilePatch},
    load::{Context, into_text},
    select::SelectorText,
};
use serde_json::Value;

/// The fields of a Flux `Kustomization` that take part in a build.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Spec {
    pub target_namespace: Option<String>,
    pub name_prefix: Option<String>,
    pub name_suffix: Option<String>,
    pub patches: Vec<Patch>,
    /// `spec.patchesStrategicMerge` of objects from before it was removed.
    pub patches_strategic_merge: Vec<Value>,
    /// `spec.patchesJson6902` of objects from before it was removed.
    pub patches_json6902: Vec<JsonPatch>,
    pub images: Vec<Image>,
    pub components: Vec<String>,
    pub ignore_missing_components: bool,
    pub build_metadata: Vec<String>,
}

/// An inline patch, strategic merge or JSON.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Patch {
    pub patch: String,
    pub target: Option<Selector>,
}

/// A list of JSON patch operations.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct JsonPatch {
    pub patch: Value,
    pub target: Selector,
}

/// Which objects a patch is for; every part but the two selectors is a regular expression.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selector {
    pub group: String,
    pub version: String,
    pub kind: String,
    pub name: String,
    pub namespace: String,
    pub label_selector: String,
    pub annotation_selector: String,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Image {
    pub name: String,
    pub new_name: String,
    pub new_tag: String,
    pub digest: String,
}

/// What a caller may change on the way: decryption is the use of it.
pub trait Hooks: Sync {
    /// The content of a file as the build should see it; `None` takes it as it is.
    fn file(&self, _path: &str, _use_of: Use, _bytes: &[u8]) -> std::result::Result<Option<Vec<u8>>, String> {
        Ok(None)
    }

    /// An object as it should leave the build; `None` takes it as it is.
    fn resource(&self, _resource: &build::Resource) -> std::result::Result<Option<Value>, String> {
        Ok(None)
    }
}

/// Changes nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoHooks;

impl Hooks for NoHooks {}

/// Builds the directory at `path` of a tree.
pub fn build(tree: &dyn tree::Tree, path: &str, spec: &Spec, hooks: &dyn Hooks) -> Result<Build> {
    build_with(tree, path, spec, hooks, Options::flux())
}

/// [`build`] with other limits or options.
pub fn build_with(tree: &dyn tree::Tree, path: &str, spec: &Spec, hooks: &dyn Hooks, options: Options<'_>) -> Result<Build> {
    let on_read = |path: &str, use_of: Use, bytes: &[u8]| hooks.file(path, use_of, bytes);
    let options = Options { on_read: Some(&on_read), ..options };
    let mut build = build::run(tree, path, &options, Some(&|context: &Context<'_>, dir: &str| prepare(context, dir, spec)))?;
    for resource in &mut build.resources {
        let (file, line) = resource.origin();
        let place = Place { file: file.to_owned(), line };
        for (field, value) in [("apiVersion", resource.api_version()), ("kind", resource.kind()), ("metadata.name", resource.name())] {
            if value.is_empty() {
                let object = format!("{} \"{}\"", resource.kind(), resource.name());
                return Err(Error::Object { place, object, problem: format!("{field} is missing") });
            }
        }
        if let Some(changed) = hooks.resource(resource).map_err(|message| Error::Hook { place, message })? {
            resource.replace(&changed);
        }
    }
    Ok(build)
}

/// The first kustomization: found or generated, the spec merged into it.
fn prepare(context: &Context<'_>, dir: &str, spec: &Spec) -> Result<(String, Kustomization)> {
    let (file, mut kustomization) = find_or_generate(context, dir)?;
    merge(context, dir, spec, &mut kustomization).map_err(|error| error.or_in("the Kustomization's spec"))?;
    context.warnings.borrow_mut().extend(kustomization.deprecations());
    kustomization.fix();
    kustomization.check(false).map_err(|error| error.or_in(&file))?;
    Ok((file, kustomization))
}

fn below(dir: &str, name: &str) -> String {
    if dir.is_empty() { name.to_owned() } else { format!("{dir}/{name}") }
}

fn kustomization_file(context: &Context<'_>, dir: &str) -> Result<Option<String>> {
    let mut found = FILE_NAMES.iter().map(|name| below(dir, name)).filter(|path| context.tree.kind(path) == Some(tree::Kind::File));
    let Some(first) = found.next() else { return Ok(None) };
    match found.next() {
        Some(_) => {
            let shown = if dir.is_empty() { "." } else { dir };
            Err(Error::invalid(&first, format!("Found multiple kustomization files under: {shown}")))
        }
        None => Ok(Some(first)),
    }
}

fn find_or_generate(context: &Context<'_>, dir: &str) -> Result<(String, Kustomization)> {
    let Some(file) = kustomization_file(context, dir)? else {
        let mut kustomization = Kustomization::default();
        collect(context, dir, "./", &mut kustomization.resources, 0)?;
        if kustomization.resources.is_empty() {
            // Nothing to build is no error.
            kustomization.namespace = "_placeholder".to_owned();
        }
        return Ok((below(dir, FILE_NAMES[0]), kustomization));
    };
    let bytes = context.read(None, &file, Use::Kustomization)?.ok_or_else(|| Error::NoKustomization { dir: dir.to_owned() })?;
    let yaml_error = |source| Error::Yaml { place: Place { file: file.clone(), line: 0 }, source };
    let text = into_text(bytes).map_err(yaml_error)?;
    let value = yaml::to_json(&text, yaml::Dialect::Sigs).map_err(yaml_error)?;
    // Flux reads this file, and only this one, without minding unknown fields.
    let mut kustomization = Kustomization::decode(&value, "", Mode::PLUGIN).map_err(|error| error.or_in(&file))?;
    if kustomization.resources.is_empty() {
        kustomization.build_metadata = vec!["originAnnotations".to_owned()];
    }
    Ok((file, kustomization))
}

/// Manifests and kustomized directories below a directory, in the order of a walk by name.
fn collect(context: &Context<'_>, dir: &str, prefix: &str, resources: &mut Vec<String>, depth: u64) -> Result<()> {
    if depth > context.budget.limits.depth {
        return Err(Error::Limit { what: "directories inside each other", max: context.budget.limits.depth });
    }
    for name in context.tree.list(dir).unwrap_or_default() {
        context.budget.spend(1)?;
        let path = below(dir, &name);
        match context.tree.kind(&path) {
            Some(tree::Kind::Dir) => {
                if FILE_NAMES.iter().any(|file| context.tree.kind(&below(&path, file)) == Some(tree::Kind::File)) {
                    resources.push(format!("{prefix}{name}"));
                } else {
                    collect(context, &path, &format!("{prefix}{name}/"), resources, depth + 1)?;
                }
            }
            Some(tree::Kind::File) if name.ends_with(".yaml") || name.ends_with(".yml") => resources.push(format!("{prefix}{name}")),
            _ => {}
        }
    }
    Ok(())
}

fn merge(context: &Context<'_>, dir: &str, spec: &Spec, into: &mut Kustomization) -> Result<()> {
    for (value, field) in [
        (&spec.target_namespace, &mut into.namespace),
        (&spec.name_prefix, &mut into.name_prefix),
        (&spec.name_suffix, &mut into.name_suffix),
    ] {
        if let Some(value) = value {
            field.clone_from(value);
        }
    }
    into.patches.extend(spec.patches.iter().map(|patch| FilePatch {
        patch: patch.patch.clone(),
        target: patch.target.as_ref().map(selector),
        ..FilePatch::default()
    }));
    for component in &spec.components {
        if !is_local_relative(component) {
            return Err(problem(format!("component path '{component}' must be local and relative")));
        }
        let exists = tree::join(dir, component).is_some_and(|path| context.tree.kind(&path).is_some());
        if exists || !spec.ignore_missing_components {
            into.components.push(component.clone());
        }
    }
    if !spec.patches_strategic_merge.is_empty() {
        let patches = spec.patches_strategic_merge.iter().map(|patch| patch.to_string());
        into.patches_strategic_merge.get_or_insert_default().extend(patches);
    }
    if !spec.patches_json6902.is_empty() {
        let patches = spec.patches_json6902.iter().map(|patch| FilePatch {
            patch: patch.patch.to_string(),
            target: Some(selector(&patch.target)),
            ..FilePatch::default()
        });
        into.patches_json6902.get_or_insert_default().extend(patches);
    }
    for image in &spec.images {
        merge_image(&mut into.images, image);
    }
    if !spec.build_metadata.is_empty() {
        into.build_metadata.clone_from(&spec.build_metadata);
    }
    Ok(())
}

/// A tag and a digest are one choice of version: giving either replaces both.
fn merge_image(images: &mut Vec<FileImage>, image: &Image) {
    match images.iter_mut().find(|known| known.name == image.name) {
        Some(known) => {
            if !image.new_name.is_empty() {
                known.new_name.clone_from(&image.new_name);
            }
            if !image.new_tag.is_empty() || !image.digest.is_empty() {
                known.new_tag.clone_from(&image.new_tag);
                known.digest.clone_from(&image.digest);
            }
        }
        None => images.push(FileImage {
            name: image.name.clone(),
            new_name: image.new_name.clone(),
            new_tag: image.new_tag.clone(),
            digest: image.digest.clone(),
            ..FileImage::default()
        }),
    }
}

fn selector(from: &Selector) -> SelectorText {
    let Selector { group, version, kind, name, namespace, label_selector, annotation_selector } = from.clone();
    SelectorText { group, version, kind, name, namespace, label_selector, annotation_selector }
}

fn is_local_relative(path: &str) -> bool {
    let lower = path.to_lowercase();
    let remote = ["git::", "gh:", "ssh://", "https://", "http://", "git@", "github.com:", "github.com/"];
    !remote.iter().any(|prefix| lower.len() > prefix.len() && lower.starts_with(prefix))
        && !path.starts_with('/')
        && !lower.trim_start_matches("file://").starts_with('/')
}

use crate::{
    budget::Limits,
    charts::Charts,
    error::{Error, Result, problem},
    explain::{self, Touch},
    generate,
    kustomization::{Kustomization, SortOptions},
    load::{Context, Root},
    metadata::transformations_text,
    object::{Object, Objects, is_build_annotation},
    order, read, references,
    remote::Fetch,
    target::{Gathered, Target},
    vars,
};
use serde_json::Value;
use std::{collections::BTreeMap, sync::Arc};
use tree::Tree;
use types::Digest;

/// What a build may read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum LoadRestriction {
    /// Files in or below the directory of the kustomization that names them; the default of kustomize.
    #[default]
    RootOnly,
    /// Any file of the tree; what Flux does.
    None,
}

/// The order of the objects, where the kustomization asks for none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Order {
    /// The default of the kustomize command: namespaces first, webhooks last, the rest by type and name.
    #[default]
    Legacy,
    /// As they were read; what Flux does.
    Fifo,
}

/// What a file is read for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Use {
    Kustomization,
    /// Objects, and everything else that a kustomization names.
    Resource,
    Patch,
    /// `files` of a generator.
    GeneratorFile,
    /// `envs` of a generator.
    GeneratorEnv,
    /// A file of a chart.
    Chart,
}

/// A hook on files as they are read: the new content, or `None` to take it as it is.
pub type OnRead<'a> = &'a (dyn Fn(&str, Use, &[u8]) -> std::result::Result<Option<Vec<u8>>, String> + Sync);

/// Makes the first kustomization of a build, and says which file it stands for.
pub(crate) type Prepare<'a> = &'a dyn Fn(&Context<'_>, &str) -> Result<(String, Kustomization)>;

/// How to build.
#[derive(Clone)]
pub struct Options<'a> {
    pub load_restriction: LoadRestriction,
    pub order: Order,
    /// Adds the label `app.kubernetes.io/managed-by` with this value; `None` leaves that to the kustomization.
    pub managed_by: Option<String>,
    /// What `buildMetadata: [managedByLabel]` writes.
    pub managed_by_value: String,
    /// A schema of `openapi.path` adds to the built-in one instead of replacing it; what Flux does.
    pub extend_schema: bool,
    /// Paths that begin with `/` start at the root of the tree; otherwise they are refused.
    pub absolute_paths: bool,
    /// Note the digest of every file read.
    pub note_files: bool,
    /// Note which transformers changed each object, for [`Resource::transformers`]; it takes a build several times as long.
    pub note_transformers: bool,
    pub limits: Limits,
    pub on_read: Option<OnRead<'a>>,
    /// Gets remote files and repositories; without it they are refused.
    pub fetch: Option<&'a dyn Fetch>,
    /// Renders `helmCharts`; without it they are refused.
    pub charts: Option<&'a dyn Charts>,
}

impl Default for Options<'_> {
    fn default() -> Self {
        Self {
            load_restriction: LoadRestriction::default(),
            order: Order::default(),
            managed_by: None,
            // What kustomize writes where it is no release of its own, as in Flux.
            managed_by_value: "kustomize-(devel)".to_owned(),
            extend_schema: false,
            absolute_paths: false,
            note_files: true,
            note_transformers: false,
            limits: Limits::default(),
            on_read: None,
            fetch: None,
            charts: None,
        }
    }
}

impl Options<'_> {
    /// As Flux builds: any file of the tree, objects in the order they were read, own schemas added to the built-in one.
    pub fn flux() -> Self {
        Self { load_restriction: LoadRestriction::None, order: Order::Fifo, extend_schema: true, ..Self::default() }
    }
}

/// What came of a build.
#[derive(Debug, Clone, Default)]
pub struct Build {
    pub resources: Vec<Resource>,
    /// Every file that was read, with its digest.
    pub files_read: BTreeMap<String, Digest>,
    pub warnings: Vec<String>,
}

/// One object of a build.
#[derive(Debug, Clone)]
pub struct Resource {
    node: yaml::Node,
    cluster_scoped: bool,
    changed_by: Vec<yaml::Place>,
    sources: Arc<Vec<String>>,
}

/// Builds the kustomization in a directory of a tree.
pub fn build(tree: &dyn Tree, path: &str, options: &Options<'_>) -> Result<Build> {
    run(tree, path, options, None)
}

/// Builds a directory, with another first kustomization than its own where one is prepared.
pub(crate) fn run(tree: &dyn Tree, path: &str, options: &Options<'_>, prepare: Option<Prepare<'_>>) -> Result<Build> {
    let dir = tree::clean(path).ok_or_else(|| problem(format!("\"{path}\" is not in the tree")))?;
    if tree.kind(&dir) != Some(tree::Kind::Dir) {
        return Err(problem(format!("\"{path}\" is no directory")));
    }
    let dir = tree.resolve(&dir).unwrap_or(dir);
    let context = Context::new(tree, options);
    let result = build_in(&context, &dir, prepare);
    let scopes = context.scopes();
    let (files_read, sources, warnings) = context.finish();
    let sources = Arc::new(sources);
    let resource = |object: Object| Resource {
        cluster_scoped: scopes.is_cluster_scoped(&object.gvk()),
        node: object.node,
        changed_by: object.changes.places,
        sources: sources.clone(),
    };
    let resources = result?.into_iter().map(resource).collect();
    Ok(Build { resources, files_read, warnings })
}

fn build_in(context: &Context<'_>, dir: &str, prepare: Option<Prepare<'_>>) -> Result<Vec<Object>> {
    let root = Root::top(dir);
    let mut target = match prepare {
        Some(prepare) => {
            let (file, kustomization) = prepare(context, dir)?;
            Target::with(context, root, file, kustomization)
        }
        None => Target::load(context, root)?,
    };
    target.set_schema(true)?;
    let metadata = target.kustomization().build_metadata.clone();
    if !metadata.is_empty() {
        target.begin_origins();
    }
    let mut gathered = Gathered::default();
    target.accumulate(&mut gathered)?;
    let run = target.run("the build");
    let config = gathered.config();
    let Gathered { mut objects, vars, .. } = gathered;
    let note = |objects: &mut Objects, field: &str| {
        if context.options.note_transformers {
            let place = target.run(field).place;
            objects.list.iter_mut().for_each(|object| object.note_change(Some(place)));
        }
    };
    generate::add_hashes(&run, &mut objects.list)?;
    note(&mut objects, "hashes of generated objects");
    objects.touch();
    references::fix(&run, &mut objects, &config.references)?;
    note(&mut objects, "name references");
    vars::resolve(&target.run("vars"), &mut objects, &vars, &config.var_references)?;
    note(&mut objects, "vars");
    objects.list.retain(|object| object.annotation("config.kubernetes.io/local-config").is_none_or(|value| value == "false"));
    for object in &objects.list {
        read::has_kind_and_name(&object.node).map_err(|error| error.on(object.id()))?;
    }
    objects.touch();
    if let Some((first, _)) = objects.conflict(&context.scopes()) {
        return Err(problem(format!("two objects are {} in the end", objects.list[first].id())));
    }
    sort(context, &mut objects, target.kustomization().sort_options.as_ref())?;
    let wants = |word: &str| metadata.iter().any(|entry| entry == word);
    let managed_by = match &context.options.managed_by {
        Some(value) => Some(value.clone()),
        None => wants("managedByLabel").then(|| context.options.managed_by_value.clone()),
    };
    let (origins, transformers) = (wants("originAnnotations"), wants("transformerAnnotations"));
    for object in &mut objects.list {
        finish(object, managed_by.as_deref(), origins, transformers, run.place);
    }
    Ok(objects.list)
}

fn sort(context: &Context<'_>, objects: &mut Objects, options: Option<&SortOptions>) -> Result<()> {
    let Some(options) = options else {
        if context.options.order == Order::Legacy {
            order::sort_legacy(&mut objects.list, None);
        }
        return Ok(());
    };
    match (options.order.as_str(), &options.legacy_sort_options) {
        ("legacy", Some(custom)) => order::sort_legacy(&mut objects.list, Some((&custom.order_first, &custom.order_last))),
        ("legacy", None) => order::sort_legacy(&mut objects.list, None),
        ("fifo", None) => {}
        ("fifo", Some(_)) => return Err(problem("sortOptions.legacySortOptions is set, but sortOptions.order is fifo")),
        (other, _) => return Err(problem(format!("sortOptions.order is \"{other}\"; it can be legacy or fifo"))),
    }
    Ok(())
}

const ORIGIN: &str = "config.kubernetes.io/origin";
const TRANSFORMATIONS: &str = "alpha.config.kubernetes.io/transformations";

/// The last touch: the managed-by label, the annotations of the build, and none that are its own.
fn finish(object: &mut Object, managed_by: Option<&str>, origins: bool, transformers: bool, place: yaml::Place) {
    if let Some(value) = managed_by
        && let Some(labels) =
            crate::ops::child_map(&mut object.node, "metadata", place).and_then(|metadata| crate::ops::child_map(metadata, "labels", place))
        && let Some(labels) = labels.as_map_mut()
    {
        labels.insert("app.kubernetes.io/managed-by", yaml::Node::string(value).at(place));
    }
    let mut annotations = object.pairs("annotations");
    annotations.retain(|key, _| !is_build_annotation(key));
    match (&object.origin, origins) {
        (Some(origin), true) => drop(annotations.insert(ORIGIN.into(), origin.text().into())),
        (None, true) => {}
        (_, false) => drop(annotations.remove(ORIGIN)),
    }
    if !transformers {
        annotations.remove(TRANSFORMATIONS);
    } else if !object.transformations.is_empty() {
        let text = transformations_text(object.transformations.iter().map(Arc::as_ref));
        annotations.insert(TRANSFORMATIONS.into(), text.into());
    }
    // Values that are no strings become strings here, as kustomize rewrites all annotations.
    object.set_pairs("annotations", &annotations);
}

impl Resource {
    pub fn api_version(&self) -> &str {
        crate::id::field_text(&self.node, "apiVersion")
    }

    pub fn kind(&self) -> &str {
        crate::id::field_text(&self.node, "kind")
    }

    pub fn name(&self) -> &str {
        self.node.at_path(&["metadata", "name"]).and_then(yaml::Node::text).unwrap_or("")
    }

    pub fn namespace(&self) -> &str {
        self.node.at_path(&["metadata", "namespace"]).and_then(yaml::Node::text).unwrap_or("")
    }

    /// Whether its type is known to stand in no namespace.
    pub fn is_cluster_scoped(&self) -> bool {
        self.cluster_scoped
    }

    /// The file it was read from or generated by, and the line.
    pub fn origin(&self) -> (&str, u32) {
        let place = self.node.place;
        (self.sources.get(place.source as usize).map_or("", String::as_str), place.line)
    }

    pub fn node(&self) -> &yaml::Node {
        &self.node
    }

    fn fail(&self, source: yaml::Error) -> Error {
        let (file, _) = self.origin();
        let place = crate::Place { file: file.to_owned(), line: 0 };
        let name = self.name();
        Error::Object { place, object: format!("{} {} \"{name}\"", self.api_version(), self.kind()), problem: source.to_string() }
    }

    /// Takes other content; what it says comes from where the object came from.
    pub(crate) fn replace(&mut self, value: &Value) {
        let place = self.node.place;
        self.node = yaml::from_json(value);
        crate::ops::stamp(&mut self.node, place);
    }

    pub fn to_json(&self) -> Result<Value> {
        yaml::node_json(&self.node).map_err(|error| self.fail(error))
    }

    /// The object as kustomize prints it.
    pub fn to_yaml(&self) -> Result<String> {
        let mut out = String::new();
        self.write_yaml(&mut out)?;
        Ok(out)
    }

    fn write_yaml(&self, out: &mut String) -> Result<()> {
        yaml::emit_node(&self.node, out).map_err(|error| self.fail(error))
    }

    /// The transformers that changed the object, in their order; none unless [`Options::note_transformers`] asks for them.
    pub fn transformers(&self) -> Vec<Touch> {
        self.changed_by.iter().map(|place| explain::touch(String::new(), *place, &self.sources)).collect()
    }

    /// Where each part of the object came from.
    pub fn explain(&self) -> Vec<Touch> {
        explain::touches(&self.node, &self.sources)
    }
}

impl Build {
    /// All objects as kustomize prints them, with `---` between.
    pub fn to_yaml(&self) -> Result<String> {
        let mut out = String::new();
        for (at, resource) in self.resources.iter().enumerate() {
            if at > 0 {
                out.push_str("---\n");
            }
            resource.write_yaml(&mut out)?;
        }
        Ok(out)
    }
}

use crate::{
    build::Use,
    charts,
    decode::{Decode, Mode, Record, fill},
    error::{Error, Place, Result, problem},
    fields::{self, Config, FieldSpec, Reference},
    generate,
    id::{Gvk, Scopes},
    kustomization::{FILE_NAMES, Field, GeneratorOptions, Kustomization, Var},
    lines::Lines,
    load::{Context, Root},
    metadata::{Origin, Plugin},
    object::{Behavior, Object, Objects},
    patches, plugins, read, replacements,
    schema::Schema,
    transform::{self, Affix, Namespacing, Run},
    vars,
};
use serde_json::Value;
use std::{collections::BTreeMap, sync::Arc};

/// What has been gathered so far: objects, where transformers look, vars.
#[derive(Default)]
pub(crate) struct Gathered {
    pub objects: Objects,
    pub config: Option<Arc<Config>>,
    pub vars: BTreeMap<String, Var>,
}

impl Gathered {
    fn merge_config(&mut self, other: &Arc<Config>) -> Result<()> {
        match &mut self.config {
            None if Arc::ptr_eq(other, &Config::defaults()) => self.config = Some(other.clone()),
            // Narrower types come first in the order, and what they cover is not added for wider ones again: a custom entry thereby takes the
            // place of a default for all types (kustomize ResAccumulator.MergeConfig).
            None => {
                let mut config = Config::default();
                config.merge(other)?;
                self.config = Some(Arc::new(config));
            }
            Some(known) if Arc::ptr_eq(known, other) => {}
            Some(known) => Arc::make_mut(known).merge(other)?,
        }
        Ok(())
    }

    pub fn config(&self) -> Arc<Config> {
        self.config.clone().unwrap_or_else(Config::defaults)
    }

    /// Adds objects of a file or directory.
    fn append(&mut self, context: &Context<'_>, objects: Vec<Object>) -> Result<()> {
        let scopes = context.scopes();
        context.budget.objects(self.objects.list.len() + objects.len())?;
        for mut object in objects {
            if context.options.note_transformers {
                object.note_change(None);
            }
            if let Err((at, object)) = self.objects.append(object, &scopes) {
                let (first, second) = (context.place_of(self.objects.list[at].node.place), context.place_of(object.node.place));
                return Err(Error::Object {
                    place: second,
                    object: object.id().to_string(),
                    problem: format!("an object of this id was added before, from {first}"),
                });
            }
        }
        Ok(())
    }

    /// Adds a generated object, or lets it merge into or replace the one of its id.
    fn absorb(&mut self, context: &Context<'_>, mut object: Object) -> Result<()> {
        let scopes = context.scopes();
        let id = object.id();
        let found = self.objects.by_any_id(&id, &scopes);
        let at = match (found.as_slice(), object.behavior) {
            ([], Behavior::Merge | Behavior::Replace) => {
                return Err(problem(format!("{id} does not exist; there is nothing to merge into or replace")));
            }
            ([], _) => return self.append(context, vec![object]),
            ([at], Behavior::Merge | Behavior::Replace) => *at,
            ([_], _) => return Err(problem(format!("{id} exists; the behavior of the generator must be merge or replace"))),
            _ => return Err(problem(format!("several objects are or were {id}; the generator cannot choose"))),
        };
        let old = &self.objects.list[at];
        let merge = object.behavior == Behavior::Merge;
        object.inherit_metadata(old);
        if merge {
            object.merge_data_from(old, "data");
            object.merge_data_from(old, "binaryData");
            if old.origin.is_some() {
                object.origin = old.origin.clone();
            }
        }
        if context.options.note_transformers {
            object.note_change(Some(object.node.place));
        }
        self.objects.list[at] = object;
        self.objects.touch();
        Ok(())
    }
}

/// The kustomization of one directory, being built.
pub(crate) struct Target<'c, 't> {
    context: &'c Context<'t>,
    root: Root,
    /// The kustomization file.
    file: String,
    lines: Lines,
    kustomization: Kustomization,
    /// Where it stands as seen from the first one, when origins are wanted.
    origin: Option<Origin>,
}

/// The kustomization file of a directory.
pub(crate) fn find_file(context: &Context<'_>, root: &Root) -> Result<(String, String)> {
    let dir = &root.dir;
    let mut found = FILE_NAMES.iter().filter_map(|name| {
        let path = if dir.is_empty() { (*name).to_owned() } else { format!("{dir}/{name}") };
        (root.tree(context).kind(&path) == Some(tree::Kind::File)).then_some(path)
    });
    let missing = || Error::NoKustomization { dir: if dir.is_empty() { ".".to_owned() } else { root.label(dir) } };
    let path = found.next().ok_or_else(missing)?;
    let label = root.label(&path);
    if let Some(second) = found.next() {
        return Err(Error::invalid(&label, format!("the directory has several kustomization files; {second} is another")));
    }
    let bytes = context.read(root.mount(), &path, Use::Kustomization)?.ok_or_else(missing)?;
    let text = crate::load::into_text(bytes).map_err(|source| Error::Yaml { place: Place { file: label.clone(), line: 0 }, source })?;
    Ok((label, text.into_owned()))
}

impl<'c, 't> Target<'c, 't> {
    /// Reads the kustomization of a directory.
    pub fn load(context: &'c Context<'t>, root: Root) -> Result<Self> {
        let (file, text) = find_file(context, &root)?;
        let (kustomization, lines) = parse(context, &file, &text)?;
        Ok(Self { context, root, file, lines, kustomization, origin: None })
    }

    /// Takes a kustomization that stands in no file.
    pub fn with(context: &'c Context<'t>, root: Root, file: String, kustomization: Kustomization) -> Self {
        Self { context, root, file, lines: Lines::default(), kustomization, origin: None }
    }

    pub fn kustomization(&self) -> &Kustomization {
        &self.kustomization
    }

    pub fn begin_origins(&mut self) {
        self.origin = Some(Origin::default());
    }

    /// What a transformer runs with that a field asks for.
    pub fn run(&self, field: &str) -> Run<'c, 't> {
        self.run_at(field, self.lines.of_field(field, None))
    }

    /// The same for an element of a field.
    fn run_element(&self, field: &str, at: usize) -> Run<'c, 't> {
        self.run_at(field, self.lines.of_field(field, Some(at)))
    }

    fn run_at(&self, name: &str, line: u32) -> Run<'c, 't> {
        let place = self.context.field_place(&self.file, name);
        Run { context: self.context, place: yaml::Place { line, ..place } }
    }

    fn in_file(&self, error: Error) -> Error {
        error.or_in(&self.file)
    }

    /// Sets the schema that this kustomization asks for; the first one that asks wins.
    pub fn set_schema(&self, top: bool) -> Result<()> {
        let context = self.context;
        let open_api = &self.kustomization.openapi;
        let (path, version) = (open_api.get("path"), open_api.get("version"));
        let text = match path {
            Some(path) => Some(self.root.read_text(context, path, Use::Resource).map_err(|error| self.in_file(error))?),
            None => None,
        };
        if context.schema_is_set.get() && !top {
            return Ok(());
        }
        let Some((file, text)) = text else {
            if let Some(version) = version.filter(|version| !version.is_empty()) {
                if version != "v1.21.2" {
                    return Err(self.in_file(problem(format!("openapi.version {version} is not built in; v1.21.2 is"))));
                }
                context.schema_is_set.set(true);
            }
            return Ok(());
        };
        if version.is_some() {
            return Err(self.in_file(problem("openapi can have a path or a version, not both")));
        }
        let value = json_or_yaml(&text, &file)?;
        let base = context.options.extend_schema.then(Schema::built_in);
        let schema = Schema::from_open_api(&value, base.as_deref()).map_err(|error| error.or_in(&file))?;
        *context.scopes.borrow_mut() = Scopes::with(schema.scopes());
        *context.schema.borrow_mut() = Arc::new(schema);
        context.schema_is_set.set(true);
        Ok(())
    }

    /// Builds everything but what is done once at the end.
    pub fn accumulate(&self, into: &mut Gathered) -> Result<()> {
        self.add_resources(into, &self.kustomization.resources, "resources").map_err(|error| self.in_file(error))?;
        let config = self.configuration()?;
        into.merge_config(&config).map_err(|error| self.in_file(error))?;
        self.merge_crds(into).map_err(|error| self.in_file(error))?;
        self.run_generators(into).map_err(|error| self.in_file(error))?;
        self.add_components(into).map_err(|error| self.in_file(error))?;
        self.run_transformers(into).map_err(|error| self.in_file(error))?;
        self.run_validators(into).map_err(|error| self.in_file(error))?;
        let vars = self.kustomization.vars.as_deref().unwrap_or_default();
        vars::collect(&self.run("vars"), &mut into.objects, &mut into.vars, vars).map_err(|error| self.in_file(error))
    }

    // --- resources --------------------------------------------------------------------------------------------------

    /// Adds files and directories.
    fn add_resources(&self, into: &mut Gathered, paths: &[String], field: &str) -> Result<()> {
        for path in paths {
            let full = if path.is_empty() || path.starts_with('/') { None } else { tree::join(&self.root.dir, path) };
            if full.is_some_and(|full| self.root.tree(self.context).kind(&full) == Some(tree::Kind::Dir))
                || self.root.names_repository(self.context, path)
            {
                self.add_directory(into, path, false)?;
                continue;
            }
            match self.root.read_text(self.context, path, Use::Resource) {
                Ok((file, text)) => {
                    let mut objects = read::objects(self.context, &text, &file).map_err(|error| error.or_in(&file))?;
                    if let Some(origin) = &self.origin {
                        let origin = Arc::new(origin.append(path));
                        for object in &mut objects {
                            // The origin is noted in the annotations.
                            object.annotate();
                            object.origin = Some(origin.clone());
                        }
                    }
                    into.append(self.context, objects)?;
                }
                // What is no file may be a repository.
                Err(error @ Error::Path { .. }) => match self.root.enter(self.context, path) {
                    Err(remote @ Error::Unsupported { .. }) => return Err(remote),
                    _ => return Err(named_in(field, error)),
                },
                Err(error) => return Err(named_in(field, error)),
            }
        }
        Ok(())
    }

    fn add_directory(&self, into: &mut Gathered, path: &str, component: bool) -> Result<()> {
        let root = self.root.enter(self.context, path)?;
        let mut target = Target::load(self.context, root)?;
        target.kustomization.build_metadata = self.kustomization.build_metadata.clone();
        target.origin = self.origin.as_ref().map(|origin| origin.append(path));
        target.set_schema(false)?;
        match (component, target.kustomization.is_component()) {
            (true, false) => {
                return Err(Error::invalid(
                    &target.file,
                    format!("components may name components only, but the kind is {}", target.kustomization.kind),
                ));
            }
            (false, true) => return Err(Error::invalid(&target.file, "a component cannot stand in resources; name it in components")),
            _ => {}
        }
        if component {
            // A component works on what is there already.
            return target.accumulate(into);
        }
        let mut inner = Gathered::default();
        target.accumulate(&mut inner)?;
        into.append(self.context, inner.objects.list)?;
        if let Some(config) = &inner.config {
            into.merge_config(config)?;
        }
        inner.vars.into_values().try_for_each(|var| vars::add(&mut into.vars, var))
    }

    fn add_components(&self, into: &mut Gathered) -> Result<()> {
        self.kustomization
            .components
            .iter()
            .try_for_each(|path| self.add_directory(into, path, true).map_err(|error| named_in("components", error)))
    }

    // --- configuration ----------------------------------------------------------------------------------------------

    fn configuration(&self) -> Result<Arc<Config>> {
        let mut config = Config::defaults();
        for path in &self.kustomization.configurations {
            let (file, text) = self.root.read_text(self.context, path, Use::Resource).map_err(|error| self.in_file(error))?;
            let value = yaml::to_json_strict(&text, yaml::Dialect::Sigs)
                .map_err(|source| Error::Yaml { place: Place { file: file.clone(), line: 0 }, source })?;
            let custom = config_of(&value).map_err(|error| error.or_in(&file))?;
            Arc::make_mut(&mut config).merge(&custom).map_err(|error| error.or_in(&file))?;
        }
        Ok(config)
    }

    fn merge_crds(&self, into: &mut Gathered) -> Result<()> {
        for path in &self.kustomization.crds {
            let (file, text) = self.root.read_text(self.context, path, Use::Resource)?;
            let value = json_or_yaml(&text, &file)?;
            let config = crate::crds::config(&value).map_err(|error| error.or_in(&file))?;
            into.merge_config(&Arc::new(config)).map_err(|error| error.or_in(&file))?;
        }
        Ok(())
    }

    // --- generators -------------------------------------------------------------------------------------------------

    /// The origin of what a builtin of this kustomization makes.
    fn builtin_origin(&self, kind: &str) -> Option<Arc<Origin>> {
        let origin = self.origin.as_ref()?;
        let file = self.file.rsplit('/').next().unwrap_or(&self.file);
        let file = origin.append(file);
        Some(Arc::new(Origin { configured_in: file.path.clone(), path: String::new(), configured_by: Some(Plugin::builtin(kind)), ..file }))
    }

    fn run_generators(&self, into: &mut Gathered) -> Result<()> {
        let kustomization = &self.kustomization;
        let global = kustomization.generator_options.as_ref();
        let origin = self.builtin_origin("ConfigMapGenerator");
        for (at, args) in kustomization.config_map_generator.iter().enumerate() {
            let run = self.run_element("configMapGenerator", at);
            let options = GeneratorOptions::merged(args.options.as_ref(), global);
            let mut object = generate::generate(&run, &self.root, generate::Kind::ConfigMap, args, "", &options)?;
            object.origin = origin.clone();
            into.absorb(self.context, object)?;
        }
        let origin = self.builtin_origin("SecretGenerator");
        for (at, secret) in kustomization.secret_generator.iter().enumerate() {
            let run = self.run_element("secretGenerator", at);
            let options = GeneratorOptions::merged(secret.args.options.as_ref(), global);
            let mut object = generate::generate(&run, &self.root, generate::Kind::Secret, &secret.args, &secret.secret_type, &options)?;
            object.origin = origin.clone();
            into.absorb(self.context, object)?;
        }
        let run = self.run("helmCharts");
        let origin = self.builtin_origin("HelmChartInflationGenerator");
        let globals = kustomization.helm_globals.clone().unwrap_or_default();
        for chart in &kustomization.helm_charts {
            let mut chart = chart.clone();
            if chart.namespace.is_empty() {
                chart.namespace.clone_from(&kustomization.namespace);
            }
            for mut object in charts::generate(&run, &self.root, &globals, &chart)? {
                object.origin = origin.clone();
                into.absorb(self.context, object)?;
            }
        }
        let run = self.run("generators");
        for plugin in self.plugins(&kustomization.generators, "generators")? {
            let origin = plugin_origin(&plugin);
            let run = plugins::run_of(&run, &plugin);
            for mut object in plugins::generate(&run, &self.root, &plugin).map_err(|error| self.of_plugin(&plugin, error))? {
                if object.origin.is_none() {
                    object.origin = origin.clone();
                }
                into.absorb(self.context, object)?;
            }
        }
        Ok(())
    }

    fn of_plugin(&self, plugin: &Object, error: Error) -> Error {
        error.or_in(&self.context.place_of(plugin.node.place).file)
    }

    /// The objects that configure plugins: inline, in files, or built from directories.
    fn plugins(&self, entries: &[String], field: &str) -> Result<Vec<Object>> {
        let mut gathered = Gathered::default();
        let mut paths = Vec::new();
        for (at, entry) in entries.iter().enumerate() {
            match read::objects_from(self.context, entry, &format!("{}: {field}", self.file), self.lines.of_text(field, at)) {
                Ok(mut objects) => {
                    if let Some(origin) = &self.origin {
                        let file = self.file.rsplit('/').next().unwrap_or(&self.file);
                        let origin = Arc::new(origin.append(file));
                        objects.iter_mut().for_each(|object| object.origin = Some(origin.clone()));
                    }
                    gathered.append(self.context, objects)?;
                }
                Err(error) if entry.contains('\n') => return Err(error),
                Err(_) => paths.push(entry.clone()),
            }
        }
        self.add_resources(&mut gathered, &paths, field)?;
        Ok(gathered.objects.list)
    }

    // --- transformers -----------------------------------------------------------------------------------------------

    /// Notes on every object that a transformer ran.
    fn note(&self, into: &mut Gathered, run: &Run<'_, '_>, origin: Option<Arc<Origin>>) {
        if self.context.options.note_transformers {
            into.objects.list.iter_mut().for_each(|object| object.note_change(Some(run.place)));
        }
        if let Some(origin) = origin {
            into.objects.list.iter_mut().for_each(|object| object.touched_by(&origin));
        }
        into.objects.drop_deleted();
    }

    fn run_transformers(&self, into: &mut Gathered) -> Result<()> {
        let config = into.config();
        let k = &self.kustomization;
        if let Some(entries) = k.patches_strategic_merge.as_ref().filter(|entries| !entries.is_empty()) {
            let line_of = |at| self.lines.of_text("patchesStrategicMerge", at);
            let run = self.run("patchesStrategicMerge");
            patches::apply_strategic(&run, &self.root, &mut into.objects, entries, &line_of, None)?;
            self.note(into, &run, self.builtin_origin("PatchStrategicMergeTransformer"));
        }
        for (at, patch) in k.patches.iter().enumerate() {
            let run = self.run_at(&format!("patches[{at}]"), self.lines.of_field("patches", Some(at)));
            patches::apply(&run, &self.root, &mut into.objects, patch, self.lines.of_text("patches", at))
                .map_err(|error| error.or_at(self.context.place_of(run.place)))?;
            self.note(into, &run, self.builtin_origin("PatchTransformer"));
        }
        if !k.namespace.is_empty() {
            let with = Namespacing { namespace: k.namespace.clone(), specs: config.namespace.clone(), ..Namespacing::default() };
            let run = self.run("namespace");
            transform::set_namespace(&run, &mut into.objects, &with)?;
            self.note(into, &run, self.builtin_origin("NamespaceTransformer"));
        }
        if !k.name_prefix.is_empty() {
            let run = self.run("namePrefix");
            transform::add_affix(&run, &mut into.objects, Affix::Prefix, &k.name_prefix, &config.name_prefix)?;
            self.note(into, &run, self.builtin_origin("PrefixTransformer"));
        }
        if !k.name_suffix.is_empty() {
            let run = self.run("nameSuffix");
            transform::add_affix(&run, &mut into.objects, Affix::Suffix, &k.name_suffix, &config.name_suffix)?;
            self.note(into, &run, self.builtin_origin("SuffixTransformer"));
        }
        self.run_labels(into, &config)?;
        if !k.common_annotations.is_empty() {
            let run = self.run("commonAnnotations");
            transform::set_pairs(&run, &mut into.objects, &k.common_annotations, &config.common_annotations)?;
            self.note(into, &run, self.builtin_origin("AnnotationsTransformer"));
        }
        for (at, patch) in k.patches_json6902.as_deref().unwrap_or_default().iter().enumerate() {
            let run = self.run_element("patchesJson6902", at);
            patches::apply_json6902(
                &run,
                &self.root,
                &mut into.objects,
                &patch.path,
                &patch.patch,
                patch.target.as_ref(),
                self.lines.of_text("patchesJson6902", at),
            )?;
            self.note(into, &run, self.builtin_origin("PatchJson6902Transformer"));
        }
        for (at, replica) in k.replicas.iter().enumerate() {
            let run = self.run_element("replicas", at);
            transform::set_replicas(&run, &mut into.objects, replica, &config.replicas)?;
            self.note(into, &run, self.builtin_origin("ReplicaCountTransformer"));
        }
        for (at, image) in k.images.iter().enumerate() {
            let run = self.run_element("images", at);
            transform::set_image(&run, &mut into.objects, image, &config.images)?;
            self.note(into, &run, self.builtin_origin("ImageTagTransformer"));
        }
        if !k.replacements.is_empty() {
            let run = self.run("replacements");
            let replacements = replacements::load(&run, &self.root, &k.replacements)?;
            replacements::apply(&run, &mut into.objects, &replacements)?;
            self.note(into, &run, self.builtin_origin("ReplacementTransformer"));
        }
        let run = self.run("transformers");
        for plugin in self.plugins(&k.transformers, "transformers")? {
            let run = plugins::run_of(&run, &plugin);
            plugins::transform(&run, &self.root, &plugin, &mut into.objects).map_err(|error| self.of_plugin(&plugin, error))?;
            into.objects.touch();
            self.note(into, &run, plugin_origin(&plugin));
        }
        Ok(())
    }

    fn run_labels(&self, into: &mut Gathered, config: &Config) -> Result<()> {
        let k = &self.kustomization;
        if k.labels.is_empty() && k.common_labels.as_ref().is_none_or(BTreeMap::is_empty) {
            return Ok(());
        }
        for (at, label) in k.labels.iter().enumerate() {
            let mut specs: Vec<FieldSpec> = label.fields.iter().map(spec_of).collect();
            fields::merge_specs(&mut specs, &config.labels)?;
            if label.include_selectors {
                fields::merge_specs(&mut specs, &config.common_labels)?;
            } else {
                if label.include_templates {
                    fields::merge_specs(&mut specs, &config.template_labels)?;
                }
                fields::merge_specs(&mut specs, &[FieldSpec::new(Gvk::default(), "metadata/labels", true)])?;
            }
            let run = self.run_element("labels", at);
            transform::set_pairs(&run, &mut into.objects, &label.pairs, &specs)?;
            self.note(into, &run, self.builtin_origin("LabelTransformer"));
        }
        let run = self.run("commonLabels");
        if let Some(pairs) = &k.common_labels {
            transform::set_pairs(&run, &mut into.objects, pairs, &config.common_labels)?;
        }
        self.note(into, &run, self.builtin_origin("LabelTransformer"));
        Ok(())
    }

    /// Validators look; what they change is an error.
    fn run_validators(&self, into: &mut Gathered) -> Result<()> {
        let run = self.run("validators");
        for plugin in self.plugins(&self.kustomization.validators, "validators")? {
            let before: Vec<yaml::Node> = into.objects.list.iter().map(|object| object.node.clone()).collect();
            let run = plugins::run_of(&run, &plugin);
            plugins::transform(&run, &self.root, &plugin, &mut into.objects).map_err(|error| self.of_plugin(&plugin, error))?;
            let same = before.len() == into.objects.list.len()
                && before.iter().zip(&into.objects.list).all(|(before, after)| {
                    let plain = |node: &yaml::Node| yaml::node_json(&without_validation(node)).ok();
                    plain(before) == plain(&after.node)
                });
            if !same {
                return Err(self.of_plugin(&plugin, problem("a validator must not change objects")));
            }
        }
        Ok(())
    }
}

/// An object without the label that validators may leave, and without the map that it made.
fn without_validation(node: &yaml::Node) -> yaml::Node {
    let mut node = node.clone();
    if let Some(metadata) = node.get_mut("metadata").and_then(yaml::Node::as_map_mut)
        && let Some(labels) = metadata.get_mut("labels").and_then(yaml::Node::as_map_mut)
    {
        labels.remove("validated-by");
        if labels.is_empty() {
            metadata.remove("labels");
        }
    }
    node
}

/// Parses a kustomization file and checks it.
pub(crate) fn parse(context: &Context<'_>, file: &str, text: &str) -> Result<(Kustomization, Lines)> {
    let in_file = |error: Error| match error {
        Error::Yaml { source, .. } => Error::Yaml { place: Place { file: file.to_owned(), line: 0 }, source },
        other => other.or_in(file),
    };
    let (mut kustomization, wrote_lists, lines) = Kustomization::parse(text).map_err(in_file)?;
    context.warnings.borrow_mut().extend(kustomization.deprecations());
    kustomization.fix();
    kustomization.check(wrote_lists).map_err(in_file)?;
    Ok((kustomization, lines))
}

fn named_in(field: &str, error: Error) -> Error {
    match error {
        Error::Path { place, path, why } if place.file.is_empty() => {
            Error::Path { place, path: path.clone(), why: format!("in {field} {why}") }
        }
        other => other,
    }
}

pub(crate) fn unsupported(what: &str, why: &str) -> Error {
    Error::Unsupported { place: Place::default(), what: what.to_owned(), why: why.to_owned() }
}

fn plugin_origin(plugin: &Object) -> Option<Arc<Origin>> {
    let origin = plugin.origin.as_ref()?;
    let gvk = plugin.gvk();
    Some(Arc::new(Origin {
        repo: origin.repo.clone(),
        reference: origin.reference.clone(),
        configured_in: origin.path.clone(),
        configured_by: Some(Plugin {
            api_version: gvk.api_version(),
            kind: gvk.kind,
            name: plugin.name().into(),
            namespace: plugin.namespace().into(),
        }),
        ..Origin::default()
    }))
}

pub(crate) fn spec_of(field: &Field) -> FieldSpec {
    let of = &field.of;
    let gvk = Gvk { group: of.group.as_str().into(), version: of.version.as_str().into(), kind: of.kind.as_str().into() };
    FieldSpec::new(gvk, &field.path, field.create)
}

/// A text that begins with a brace must be JSON.
fn json_or_yaml(text: &str, file: &str) -> Result<Value> {
    if text.starts_with('{') {
        return serde_json::from_str(text).map_err(|error| Error::invalid(file, format!("the file is no JSON: {error}")));
    }
    yaml::to_json(text, yaml::Dialect::Sigs).map_err(|source| Error::Yaml { place: Place { file: file.to_owned(), line: 0 }, source })
}

/// A `configurations` file.
fn config_of(value: &Value) -> Result<Config> {
    #[derive(Default)]
    struct File(Config);

    impl Record for File {
        fn field(&mut self, name: &str, value: &Value, path: &str, mode: Mode) -> Result<bool> {
            if name == "namereference" {
                #[derive(Default)]
                struct Entry(Field, Vec<Field>);
                impl Record for Entry {
                    fn field(&mut self, name: &str, value: &Value, path: &str, mode: Mode) -> Result<bool> {
                        match name {
                            "fieldspecs" => self.1 = Decode::decode(value, path, mode)?,
                            "path" | "create" => return Ok(false),
                            name => return self.0.field(name, value, path, mode),
                        }
                        Ok(true)
                    }
                }
                let entries = Vec::<Entry>::decode(value, path, mode)?;
                self.0.references.extend(entries.into_iter().map(|Entry(target, referrers)| Reference {
                    target: spec_of(&target).gvk,
                    referrers: referrers.iter().map(spec_of).collect(),
                }));
                return Ok(true);
            }
            if name == "volumeclaimtemplatelabels" {
                return Vec::<Field>::decode(value, path, mode).map(|_| true);
            }
            let Some(known) = Config::LISTS.iter().find(|known| known.to_lowercase() == name) else { return Ok(false) };
            let specs: Vec<FieldSpec> = Vec::<Field>::decode(value, path, mode)?.iter().map(spec_of).collect();
            if let Some(list) = self.0.list_mut(known) {
                list.extend(specs);
            }
            Ok(true)
        }
    }

    let mut file = File::default();
    match value {
        Value::Null => {}
        Value::Object(map) => fill(&mut file, map, "", Mode::CONFIGURATION)?,
        _ => return Err(problem("a configuration must be a map")),
    }
    Ok(file.0)
}

//! From a chart and values to manifests, hooks and notes.

use crate::{
    Capabilities, Profile,
    ahead::Ahead,
    chart::{self, Chart},
    data::Table,
    dependencies::{Part, fits},
    engine::{self, Cache, Context},
    error::Error,
    functions::{Host, Lookup},
    manifest::{self, Hook, Manifest},
    post_render::{self, PostRender},
    schema,
};
use gotemplate::{Limits, Origin};
use sprig::Environment;
use std::{borrow::Cow, cell::RefCell, collections::BTreeMap, rc::Rc, sync::Arc};

/// What templates see as `.Release`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Release {
    pub name: String,
    pub namespace: String,
    pub revision: i64,
    pub upgrade: bool,
}

/// How to render.
pub struct Options<'a> {
    pub release: Release,
    pub capabilities: Capabilities,
    pub profile: Profile,
    /// Time and randomness.
    pub environment: Rc<Environment>,
    /// Finds objects for `lookup`; without it nothing is ever found.
    pub lookup: Option<Lookup>,
    pub skip_schema: bool,
    /// Missing values are errors.
    pub strict: bool,
    /// `required` and `fail` let pass.
    pub lint: bool,
    /// NOTES.txt of subcharts too.
    pub sub_notes: bool,
    pub limits: Limits,
    /// Whether to note where each line comes from. Costs time; what is rendered stays the same.
    pub provenance: bool,
    /// Says when to give up.
    pub interrupt: Option<&'a dyn Fn() -> bool>,
    /// What manifests, and hooks by its strategy, pass through.
    pub post_render: Option<PostRender<'a>>,
    /// Compiled templates, kept by the caller for as long as it keeps the chart.
    pub cache: Option<&'a Cache>,
    /// Templates that another thread has begun with.
    pub ahead: Option<&'a Ahead>,
}

impl Options<'_> {
    pub fn new(release: Release, environment: Rc<Environment>) -> Self {
        Self {
            release,
            capabilities: Capabilities::defaults(Profile::default()),
            profile: Profile::default(),
            environment,
            lookup: None,
            skip_schema: false,
            strict: false,
            lint: false,
            sub_notes: false,
            limits: Limits::default(),
            provenance: false,
            interrupt: None,
            post_render: None,
            cache: None,
            ahead: None,
        }
    }
}

/// What came out.
#[derive(Debug, Default)]
pub struct Rendered {
    /// In install order.
    pub manifests: Vec<Manifest>,
    pub hooks: Vec<Hook>,
    pub notes: String,
    /// The values that templates saw.
    pub values: Table,
    /// What was odd on the way; Helm logs these.
    pub warnings: Vec<String>,
    /// CRDs of the charts that took part. Helm installs them before everything else.
    pub crds: Vec<Crd>,
    origins: Origins,
}

/// A file of CRDs: nothing that is rendered, and often much. It is shared with its chart until its text is asked for.
#[derive(Debug, Clone, PartialEq)]
pub struct Crd {
    /// The path with the charts' names.
    pub path: String,
    file: chart::File,
}

impl Crd {
    pub fn text(&self) -> Cow<'_, str> {
        crate::text_of(self.file.data())
    }
}

/// Origins of the lines of each template file.
type Origins = BTreeMap<String, Vec<Option<Origin>>>;

impl Rendered {
    /// Where a line of what a template file wrote comes from, counted from one. Nothing is known of what a post-renderer changed.
    pub fn origin(&self, path: &str, line: usize) -> Option<&Origin> {
        self.origins.get(path)?.get(line.checked_sub(1)?)?.as_ref()
    }

    /// The release's manifest as Helm stores it.
    pub fn manifest(&self) -> String {
        let mut out = String::with_capacity(self.manifests.iter().map(|m| m.content.len() + m.path.len() + 16).sum());
        for manifest in &self.manifests {
            push_document(&mut out, &manifest.path, &manifest.content);
        }
        out
    }
}

/// A document with the line that says where it is from.
pub fn push_document(out: &mut String, path: &str, content: &str) {
    out.push_str("---\n# Source: ");
    out.push_str(path);
    out.push('\n');
    out.push_str(content);
    out.push('\n');
}

/// Renders a chart with values.
pub fn render(chart: &Arc<Chart>, values: &Table, options: &Options<'_>) -> Result<Rendered, Error> {
    let mut warnings = chart.warnings.clone();
    let Prepared { part, values: all, mut files, mut origins } = prepare_and_run(chart, values, options, &mut warnings)?;
    let notes = take_notes(&mut files, chart.name(), options.sub_notes);
    if let Some(post) = options.post_render {
        files = post_render::apply(post, files)?;
        origins.clear();
    }
    let sorted = manifest::sort(files, &mut warnings);
    let (hooks, manifests) = sorted.map_err(|error| located(error, chart, values, options))?;
    let mut crds = Vec::new();
    collect_crds(&part, &part.name, &mut crds);
    Ok(Rendered { manifests, hooks, notes, values: all, warnings, crds, origins })
}

/// What each template file wrote, by its path with the charts' names.
pub fn render_files(chart: &Arc<Chart>, values: &Table, options: &Options<'_>) -> Result<BTreeMap<String, String>, Error> {
    prepare_and_run(chart, values, options, &mut Vec::new()).map(|prepared| prepared.files)
}

/// Adds to an error about a manifest which template line wrote the line it names. What is rendered once more for it is thrown away.
fn located(error: Error, chart: &Arc<Chart>, values: &Table, options: &Options<'_>) -> Error {
    let Error::Manifest { path, why, origin: None } = error else { return error };
    let line = why.split_once("yaml: line ").and_then(|(_, rest)| rest.split(|c: char| !c.is_ascii_digit()).next()?.parse::<usize>().ok());
    let mut origin = None;
    if let Some(line) = line.filter(|_| options.post_render.is_none()) {
        let traced = Options {
            provenance: true,
            skip_schema: true,
            capabilities: options.capabilities.clone(),
            profile: options.profile,
            lookup: options.lookup.clone(),
            limits: options.limits,
            interrupt: options.interrupt,
            cache: options.cache,
            ..Options::new(options.release.clone(), options.environment.clone())
        };
        if let Ok(prepared) = prepare_and_run(chart, values, &traced, &mut Vec::new()) {
            let first = prepared.files.get(&path).and_then(|text| broken_document(text)).unwrap_or(1);
            origin = prepared.origins.get(&path).and_then(|lines| lines.get(first + line - 2)?.clone());
        }
    }
    Error::Manifest { path, why, origin }
}

/// The line at which the first document that is no YAML begins.
fn broken_document(text: &str) -> Option<usize> {
    manifest::split(text).into_iter().find(|(_, document)| yaml::to_json(document, yaml::Dialect::Sigs).is_err()).map(|(line, _)| line)
}

/// A chart's parts, the values that templates saw, and what they wrote.
struct Prepared {
    part: Part,
    values: Table,
    files: BTreeMap<String, String>,
    origins: Origins,
}

fn prepare_and_run(chart: &Arc<Chart>, values: &Table, options: &Options<'_>, warnings: &mut Vec<String>) -> Result<Prepared, Error> {
    // What is said about values while parts are chosen is said again by the final coalescing.
    let part = Part::process(chart, values, &mut Vec::new())?;
    let all = part.coalesce(values, warnings)?;
    if !options.skip_schema {
        let mut errors = String::new();
        check_schemas(&part, &all, &mut errors);
        if !errors.is_empty() {
            return Err(Error::Schema(errors));
        }
    }
    let wanted = &chart.metadata.kube_version;
    // Lint, as Helm's, says nothing of the version of a cluster.
    if !wanted.is_empty() && !options.lint && !fits(wanted, &options.capabilities.kube_version.normalized()) {
        return Err(Error::KubeVersion { wanted: wanted.clone(), found: options.capabilities.kube_version.version.clone() });
    }
    let host = Rc::new(Host { lookup: options.lookup.clone(), lint: options.lint, included: RefCell::default() });
    let context = Context {
        release: &options.release,
        capabilities: &options.capabilities,
        profile: options.profile,
        strict: options.strict,
        limits: options.limits,
        environment: options.environment.clone(),
        host,
        interrupt: options.interrupt,
        provenance: options.provenance,
    };
    let rendered = engine::render(&part, &all, &context, options.cache.map(|cache| &cache.compiled), options.ahead)?;
    let (mut files, mut origins) = (BTreeMap::new(), Origins::new());
    for written in rendered {
        if options.provenance {
            origins.insert(written.path.clone(), written.origins);
        }
        files.insert(written.path, written.text);
    }
    Ok(Prepared { part, values: all, files, origins })
}

fn collect_crds(part: &Part, path: &str, crds: &mut Vec<Crd>) {
    for file in part.chart.files.iter().filter(|file| chart::is_crd(&file.name)) {
        crds.push(Crd { path: format!("{path}/{}", file.name), file: file.clone() });
    }
    for child in &part.parts {
        collect_crds(child, &format!("{path}/charts/{}", child.name), crds);
    }
}

const NOTES: &str = "NOTES.txt";

fn take_notes(files: &mut BTreeMap<String, String>, chart: &str, subcharts: bool) -> String {
    let own = format!("{chart}/templates/{NOTES}");
    let names: Vec<String> = files.keys().filter(|name| name.ends_with(NOTES)).cloned().collect();
    let mut notes = String::new();
    for name in names {
        let Some(text) = files.remove(&name) else { continue };
        if subcharts || name == own {
            if !notes.is_empty() {
                notes.push('\n');
            }
            notes.push_str(&text);
        }
    }
    notes
}

/// Checks the values of every part against its schema.
fn check_schemas(part: &Part, values: &Table, errors: &mut String) {
    if let Some(schema) = &part.chart.schema {
        let compiled = part.chart.compiled_schema.get_or_init(|| schema::Compiled::new(schema));
        let checked = match compiled {
            Ok(compiled) => compiled.check(values),
            Err(why) => Err(why.clone()),
        };
        if let Err(why) = checked {
            errors.push_str(&format!("{}:\n{why}", part.name));
        }
    }
    for child in &part.parts {
        match values.get(&child.name) {
            None | Some(crate::Data::Null) => {}
            Some(crate::Data::Table(below)) => check_schemas(child, below, errors),
            Some(other) => {
                errors.push_str(&format!("{}:\ninvalid type for values: expected object (map), got {}\n", child.name, other.type_name()));
            }
        }
    }
}

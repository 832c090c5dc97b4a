//! Runs a chart's templates in Helm's order, each over the values of its own chart.

use crate::{
    Capabilities, Profile,
    ahead::Ahead,
    chart::File,
    data::{Data, Table},
    dependencies::Part,
    error::Error,
    files::Files,
    functions::{Host, WARNING, functions, without_no_value},
    metadata::{Dependency, Maintainer, Metadata},
    render::Release,
};
use gotemplate::{Failure, Layer, Limits, Map, MapKind, MissingKey, Origin, ParseError, Run, Set, Syntax, Value, Workshop};
use serde_json::Value as Json;
use sprig::Environment;
use std::{cmp::Reverse, rc::Rc, sync::Arc};

/// A template file of one part of a rendering.
struct Template<'c> {
    name: String,
    base: String,
    file: &'c File,
    /// Which part's values it sees.
    dot: usize,
}

/// The templates of a chart, compiled. May be kept as long as the chart and used from any thread.
pub struct Compiled {
    set: Set,
    /// The names and texts it was made from: another selection of subcharts needs another set.
    key: Vec<(String, usize)>,
}

pub(crate) struct Context<'a> {
    pub release: &'a Release,
    pub capabilities: &'a Capabilities,
    pub profile: Profile,
    pub strict: bool,
    pub limits: Limits,
    pub environment: Rc<Environment>,
    pub host: Rc<Host>,
    pub interrupt: Option<&'a dyn Fn() -> bool>,
    /// Whether to tell where each line comes from.
    pub provenance: bool,
}

/// What one template file wrote.
pub(crate) struct Written {
    pub path: String,
    pub text: String,
    /// One for each line, where that was asked for.
    pub origins: Vec<Option<Origin>>,
}

/// Renders every template file that is no partial: path to text, in the order of execution.
pub(crate) fn render(
    root: &Part,
    values: &Table,
    context: &Context<'_>,
    cache: Option<&std::sync::Mutex<Option<Arc<Compiled>>>>,
    ahead: Option<&Ahead>,
) -> Result<Vec<Written>, Error> {
    let mut dots = Dots { all: Vec::new(), release: context.release.to_value(), capabilities: context.capabilities.to_value() };
    let values = to_value(&Data::Table(values.clone()));
    let Value::Map(values) = values else { return Ok(Vec::new()) };
    let mut templates = Vec::new();
    let values_map = values.shallow_copy(MapKind::Values);
    dots.part(root, values_map.clone(), &root.name, true, &mut templates);
    // Deepest first, and among those of one depth the last by name: so parents win over what they include.
    templates.sort_by_cached_key(|template| Reverse((template.name.matches('/').count(), template.name.clone())));
    templates.dedup_by(|a, b| a.name == b.name);
    let compiled = compile(&templates, context.profile, cache, ahead)?;
    let missing = if context.strict { MissingKey::Error } else { MissingKey::Zero };
    let mut run = Run::new(&compiled.set, context.limits, missing).with(context.environment.clone()).with(context.host.clone());
    if let Some(interrupt) = context.interrupt {
        run = run.interrupted_by(interrupt);
    }
    if context.provenance {
        run = run.traced(&[(values_map, String::new())]);
    }
    let mut rendered = Vec::with_capacity(templates.len());
    for template in &templates {
        if template.name.rsplit('/').next().is_some_and(|base| base.starts_with('_')) {
            continue;
        }
        let dot = &dots.all[template.dot];
        let entry = |key: &str, text: &str| (Arc::from(key), Value::string(text));
        let about = Map::from_entries(MapKind::Values, vec![entry("BasePath", &template.base), entry("Name", &template.name)]);
        dot.insert("Template", Value::Map(about));
        let executed = run.execute_traced(&template.name, &Value::Map(dot.clone()));
        let (written, origins) = executed.map_err(|failure| explain(&failure))?;
        let mut text =
            String::from_utf8(without_no_value(written)).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned());
        text.shrink_to_fit();
        rendered.push(Written { path: template.name.clone(), text, origins });
    }
    drop(run);
    // Templates may have made the values hold themselves.
    dots.all.iter().for_each(forget);
    Ok(rendered)
}

fn forget(dot: &Map) {
    for key in dot.keys() {
        dot.remove(&key);
    }
}

fn compile(
    templates: &[Template<'_>],
    profile: Profile,
    cache: Option<&std::sync::Mutex<Option<Arc<Compiled>>>>,
    ahead: Option<&Ahead>,
) -> Result<Arc<Compiled>, Error> {
    let key: Vec<(String, usize)> = templates.iter().map(|template| (template.name.clone(), template.file.identity())).collect();
    if let Some(held) = cache.and_then(|cache| cache.lock().ok()?.clone())
        && held.key == key
    {
        return Ok(held);
    }
    let set = match ahead {
        Some(ahead) => parse(templates, profile, Some(ahead))?,
        // The second thread begins at the other end.
        None => match Ahead::of_templates(templates.iter().rev().map(|template| template.file), profile) {
            None => parse(templates, profile, None)?,
            Some(ahead) => std::thread::scope(|scope| {
                scope.spawn(|| ahead.work());
                parse(templates, profile, Some(&ahead))
            })?,
        },
    };
    let compiled = Arc::new(Compiled { set, key });
    if let Some(Ok(mut held)) = cache.map(std::sync::Mutex::lock) {
        *held = Some(compiled.clone());
    }
    Ok(compiled)
}

fn parse(templates: &[Template<'_>], profile: Profile, ahead: Option<&Ahead>) -> Result<Set, Error> {
    let functions = functions(profile);
    let mut set = Set::new(functions.clone());
    let mut workshop = Workshop::default();
    let add = |template: &Template<'_>| match ahead.and_then(|ahead| ahead.get(template.file, &functions, &mut workshop)) {
        Some(syntax) => set.add(&template.name, syntax),
        None => set.add(&template.name, &Syntax::read(&template.name, template.file.data(), &functions, &mut workshop)?),
    };
    let added = templates.iter().try_for_each(add);
    if let Some(ahead) = ahead {
        ahead.finish();
    }
    added.map_err(|error| parse_error(&error))?;
    Ok(set)
}

/// The maps that templates see as dot, a map for each part.
struct Dots {
    all: Vec<Map>,
    release: Value,
    capabilities: Value,
}

impl Dots {
    fn part<'c>(&mut self, part: &'c Part, values: Map, path: &str, root: bool, templates: &mut Vec<Template<'c>>) -> Value {
        let subcharts = Map::any();
        let entries = vec![
            ("Capabilities".into(), self.capabilities.clone()),
            ("Chart".into(), chart_map(part, root)),
            ("Files".into(), Files::of(&part.chart.files)),
            ("Release".into(), self.release.clone()),
            ("Subcharts".into(), Value::Map(subcharts.clone())),
            ("Values".into(), Value::Map(values.clone())),
        ];
        let dot = Map::from_entries(MapKind::Values, entries);
        for child in &part.parts {
            // A child's values are the very map that its parent has under its name: what one changes, the other sees.
            let below = match values.get(&child.name) {
                Some(Value::Map(map)) => map,
                _ => Map::new(MapKind::Values),
            };
            let child_path = format!("{path}/charts/{}", child.name);
            let child_dot = self.part(child, below, &child_path, false, templates);
            subcharts.insert(child.name.as_str(), child_dot);
        }
        let at = self.all.len();
        self.all.push(dot.clone());
        let library = part.chart.metadata.is_library();
        let base = format!("{path}/templates");
        for file in &part.chart.templates {
            if library && !file.name.rsplit('/').next().is_some_and(|base| base.starts_with('_')) {
                continue;
            }
            templates.push(Template { name: format!("{path}/{}", file.name), base: base.clone(), file, dot: at });
        }
        Value::Map(dot)
    }
}

/// `.Chart`: Go's struct as a map of its field names.
fn chart_map(part: &Part, root: bool) -> Value {
    let Metadata {
        name: _,
        home,
        sources,
        version,
        description,
        keywords,
        maintainers,
        icon,
        api_version,
        condition,
        tags,
        app_version,
        deprecated,
        annotations,
        kube_version,
        dependencies: _,
        kind,
    } = &part.chart.metadata;
    let annotations = annotations.iter().map(|(key, value)| (key.as_str().into(), Value::string(value.as_str()))).collect();
    map(vec![
        ("APIVersion", text(api_version)),
        ("Annotations", Value::Map(Map::from_entries(MapKind::Strings, annotations))),
        ("AppVersion", text(app_version)),
        ("Condition", text(condition)),
        ("Dependencies", Value::list(part.declared.iter().map(dependency_map).collect())),
        ("Deprecated", Value::Bool(*deprecated)),
        ("Description", text(description)),
        ("Home", text(home)),
        ("Icon", text(icon)),
        ("IsRoot", Value::Bool(root)),
        ("Keywords", texts(keywords)),
        ("KubeVersion", text(kube_version)),
        ("Maintainers", Value::list(maintainers.iter().map(maintainer_map).collect())),
        ("Name", text(&part.name)),
        ("Sources", texts(sources)),
        ("Tags", text(tags)),
        ("Type", text(kind)),
        ("Version", text(version)),
    ])
}

fn text(text: &str) -> Value {
    Value::string(text)
}

fn texts(all: &[String]) -> Value {
    Value::list(all.iter().map(|one| text(one)).collect())
}

fn map(entries: Vec<(&str, Value)>) -> Value {
    Value::Map(Map::from_entries(MapKind::Any, entries.into_iter().map(|(key, value)| (key.into(), value)).collect()))
}

fn maintainer_map(maintainer: &Maintainer) -> Value {
    map(vec![("Email", text(&maintainer.email)), ("Name", text(&maintainer.name)), ("URL", text(&maintainer.url))])
}

fn dependency_map(dependency: &Dependency) -> Value {
    let import = |json: &Json| match json {
        Json::String(name) => map(vec![("child", text(&format!("exports.{name}"))), ("parent", text("."))]),
        other => crate::functions::from_json(other, false, 0).unwrap_or(Value::Nil),
    };
    map(vec![
        ("Alias", text(&dependency.alias)),
        ("Condition", text(&dependency.condition)),
        ("Enabled", Value::Bool(dependency.enabled)),
        ("ImportValues", Value::list(dependency.import_values.iter().map(import).collect())),
        ("Name", text(&dependency.name)),
        ("Repository", text(&dependency.repository)),
        ("Tags", texts(&dependency.tags)),
        ("Version", text(&dependency.version)),
    ])
}

/// Values as templates see them. Every table becomes a map of its own.
fn to_value(data: &Data) -> Value {
    match data {
        Data::Null => Value::Nil,
        Data::Bool(b) => Value::Bool(*b),
        Data::Int(n) => Value::Int64(*n),
        Data::Float(f) => Value::Float(*f),
        Data::String(text) => Value::string(text.clone()),
        Data::List(items) => Value::list(items.iter().map(to_value).collect()),
        Data::Table(table) => {
            Value::Map(Map::from_entries(MapKind::Any, table.iter().map(|(key, value)| (key.clone(), to_value(value))).collect()))
        }
    }
}

/// Helm's `cleanupParseError`.
fn parse_error(error: &ParseError) -> Error {
    let whole = error.to_string();
    let parts: Vec<&str> = whole.split(": ").collect();
    let message = format!("parse error at ({}): {}", parts.get(1).unwrap_or(&""), parts.last().unwrap_or(&""));
    let at = gotemplate::Location { template: error.template.clone(), line: error.line, column: 0 };
    Error::Template { message, at: Some(at), missing: None, limit: None }
}

/// Helm's `reformatExecErrorMsg`: a warning alone, or the trace of templates, or Go's text.
fn explain(failure: &Failure) -> Error {
    Error::template(explained(failure), failure)
}

fn explained(failure: &Failure) -> String {
    let layers: Vec<&Layer> = failure.layers().collect();
    let whole = || failure.to_string();
    let Some(location) = layers.first().and_then(|layer| layer.location.as_ref()) else { return whole() };
    // Only the innermost layer can hold a warning.
    if let Some(text) = layers.last().map(|layer| layer.text.as_str())
        && let (Some(start), Some(end)) = (text.find(WARNING.0), text.rfind(WARNING.1))
    {
        return format!("execution error at ({location}): {}", text.get(start + WARNING.0.len()..end).unwrap_or_default());
    }
    let mut trace: Vec<String> = Vec::new();
    for (at, layer) in layers.iter().enumerate() {
        // What follows is cut off, so the next layer is enough to know where.
        let text = format!("{}{}", layer.text, layers.get(at + 1).map_or("", |next| &next.text));
        let Some(entry) = traced(&text) else { return whole() };
        if trace.last() != Some(&entry) {
            trace.push(entry);
        }
    }
    trace.concat().trim().to_owned()
}

/// One step of the trace, from a text of Go's template package.
fn traced(text: &str) -> Option<String> {
    let rest = text.strip_prefix("template: ")?;
    if rest.starts_with("no template ") {
        return Some(format!("{text}\n"));
    }
    let cut = |message: &str| message.find(" template:").map_or(message.to_owned(), |at| message[..at].to_owned());
    if let Some((name, after)) = rest.split_once(": executing ")
        && let Some(after) = after.strip_prefix('"')
        && let Some((function, after)) = after.split_once('"')
        && let Some(after) = after.strip_prefix(" at <")
        && let Some((node, message)) = after.split_once(">: ")
    {
        return Some(format!("{name}\n  executing \"{function}\" at <{node}>:\n    {}\n", cut(message)));
    }
    let (name, message) = rest.rsplit_once(": ")?;
    Some(format!("{name}\n  {}\n", cut(message)))
}

impl Release {
    fn to_value(&self) -> Value {
        map(vec![
            ("IsInstall", Value::Bool(!self.upgrade)),
            ("IsUpgrade", Value::Bool(self.upgrade)),
            ("Name", text(&self.name)),
            ("Namespace", text(&self.namespace)),
            ("Revision", Value::Int(self.revision)),
            ("Service", text("Helm")),
        ])
    }
}

/// The set of templates that a chart was compiled to, kept by the caller between renderings of the chart.
#[derive(Default)]
pub struct Cache {
    pub(crate) compiled: std::sync::Mutex<Option<Arc<Compiled>>>,
}

impl Cache {
    pub fn new() -> Self {
        Self::default()
    }
}

/// How many functions of each name exist: for documentation and completeness checks.
pub fn function_names(profile: Profile) -> Vec<&'static str> {
    let mut names: Vec<&'static str> = functions(profile).names().collect();
    names.sort_unstable();
    names
}

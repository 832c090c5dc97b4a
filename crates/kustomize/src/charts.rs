//! `helmCharts`: charts that lie in the tree, rendered by an engine that the caller hands in (kustomize HelmChartInflationGenerator).

use crate::{
    build::Use,
    decode::{Decode, Mode, record},
    error::{Error, Place, Result, problem},
    kustomization::{HelmChart, HelmGlobals},
    load::Root,
    object::Object,
    ops, read,
    remote::without_credentials,
    strategic,
    target::unsupported,
    transform::Run,
};
use serde_json::Value;
use tree::{Kind, Tree};
use yaml::Node;

/// Renders charts. Errors are fragments that say what went wrong.
pub trait Charts: Sync {
    /// The objects of a chart whose files lie in a directory of a tree, as the text that `helm template` prints.
    fn render(&self, tree: &dyn Tree, directory: &str, chart: &Chart) -> std::result::Result<String, String>;
}

/// How a kustomization wants a chart rendered.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Chart {
    pub name: String,
    pub version: String,
    pub release_name: String,
    pub name_template: String,
    pub namespace: String,
    /// YAML over the chart's own values, the later over the earlier.
    pub values: Vec<String>,
    pub api_versions: Vec<String>,
    pub kube_version: String,
    pub include_crds: bool,
    pub skip_hooks: bool,
    pub skip_tests: bool,
}

record! {
    struct Plugin {
        ..globals: HelmGlobals,
        ..chart: HelmChart,
    }
}

/// The objects of one chart, as an object of a plugin configures it.
pub(crate) fn generate_plugin(run: &Run<'_, '_>, root: &Root, config: &Value) -> Result<Vec<Object>> {
    let Plugin { globals, chart } = Plugin::decode(config, "", Mode::PLUGIN)?;
    generate(run, root, &globals, &chart)
}

/// The objects of one chart.
pub(crate) fn generate(run: &Run<'_, '_>, root: &Root, globals: &HelmGlobals, chart: &HelmChart) -> Result<Vec<Object>> {
    let context = run.context;
    let Some(engine) = context.options.charts else { return Err(unsupported("helmCharts", "charts are not rendered in this build")) };
    if chart.name.is_empty() {
        return Err(problem("a chart needs a name"));
    }
    let about = |error: Error| error.on(format!("chart {}", chart.name));
    // A chart of a version and a repository lies in a directory of both, as `helm pull` would put it.
    let home = if globals.chart_home.is_empty() { "charts" } else { &globals.chart_home };
    let home = if chart.version.is_empty() || chart.repo.is_empty() {
        home.to_owned()
    } else {
        format!("{home}/{}-{}", chart.name, chart.version)
    };
    let path = format!("{home}/{}", chart.name);
    let directory = root.directory(context, &path).map_err(about)?;
    let Some(directory) = directory.filter(|directory| root.tree(context).kind(directory) == Some(Kind::Dir)) else {
        let from =
            if chart.repo.is_empty() { String::new() } else { format!("; it can be pulled from {}", without_credentials(&chart.repo)) };
        return Err(about(problem(format!("there is no chart at \"{path}\", and a build pulls none; put it there{from}"))));
    };
    let values = values(run, root, chart, &path).map_err(about)?;
    root.note_all(context, &directory)?;
    let wanted = Chart {
        name: chart.name.clone(),
        version: chart.version.clone(),
        release_name: chart.release_name.clone(),
        name_template: chart.name_template.clone(),
        namespace: chart.namespace.clone(),
        values,
        api_versions: chart.api_versions.clone(),
        kube_version: chart.kube_version.clone(),
        include_crds: chart.include_crds,
        skip_hooks: chart.skip_hooks,
        skip_tests: chart.skip_tests,
    };
    let text = engine.render(root.tree(context), &directory, &wanted);
    let text =
        text.map_err(|message| Error::Hook { place: context.place_of(run.place), message: format!("chart {}: {message}", chart.name) })?;
    context.budget.read(text.len())?;
    let mut objects = read::objects(context, &text, &directory)?;
    let templates = templates(&text);
    let above = directory.strip_suffix(chart.name.as_str()).unwrap_or("");
    for object in &mut objects {
        object.helm_generated = true;
        // The line is one of what was rendered; which template it was says more.
        let before = templates.partition_point(|(line, _)| *line <= object.node.place.line);
        if let Some((_, template)) = before.checked_sub(1).and_then(|at| templates.get(at)) {
            let source = context.source(&root.label(&format!("{above}{template}")));
            ops::stamp(&mut object.node, yaml::Place { source, line: 0 });
        }
    }
    Ok(objects)
}

/// The templates of a rendered text, each with the line from which on it is meant; Helm writes them above their documents.
fn templates(text: &str) -> Vec<(u32, &str)> {
    let comments = text.lines().zip(1..).filter_map(|(line, number)| Some((number, line.strip_prefix("# Source: ")?)));
    comments.collect()
}

/// The values of the file, merged with those that stand in the kustomization, and those of further files.
fn values(run: &Run<'_, '_>, root: &Root, chart: &HelmChart, path: &str) -> Result<Vec<String>> {
    let file = if chart.values_file.is_empty() { format!("{path}/values.yaml") } else { chart.values_file.clone() };
    let merges = match chart.values_merge.as_str() {
        "" | "override" => Merge::Override,
        "merge" => Merge::Keep,
        "replace" => Merge::Replace,
        other => return Err(problem(format!("valuesMerge is \"{other}\"; it can be merge, override or replace"))),
    };
    let inline = chart.values_inline.as_ref().filter(|inline| inline.as_object().is_some_and(|map| !map.is_empty()));
    let first = match inline {
        None => root.read_text(run.context, &file, Use::Resource)?.1.into_owned(),
        Some(inline) if merges == Merge::Replace => yaml::emit(inline),
        Some(inline) => {
            let (name, text) = root.read_text(run.context, &file, Use::Resource)?;
            let in_file = |source| Error::Yaml { place: Place { file: name.clone(), line: 0 }, source };
            let theirs = yaml::node(&text, yaml::Dialect::Kyaml, yaml::Limits::default(), run.place.source).map_err(in_file)?;
            let theirs = theirs.filter(|node| !node.is_null()).unwrap_or_else(Node::map);
            let (under, over) =
                if merges == Merge::Override { (theirs, yaml::from_json(inline)) } else { (yaml::from_json(inline), theirs) };
            let schema = crate::schema::Schema::built_in();
            let merged = strategic::merge(
                under,
                over,
                &schema,
                None,
                strategic::Options { append: true, ..strategic::Options::default() },
                &run.context.budget,
            )?;
            let mut out = String::new();
            yaml::emit_node(&merged.unwrap_or_else(Node::map), &mut out).map_err(in_file)?;
            out
        }
    };
    let mut all = vec![first];
    for file in &chart.additional_values_files {
        all.push(root.read_text(run.context, file, Use::Resource)?.1.into_owned());
    }
    Ok(all)
}

#[derive(Clone, Copy, PartialEq)]
enum Merge {
    /// Those of the kustomization win.
    Override,
    /// Those of the file win.
    Keep,
    /// Those of the file are not read.
    Replace,
}

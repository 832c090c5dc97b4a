//! What is wrong, or unusual, in a chart's directory: Helm's rules, in Helm's order and words.
//!
//! ```text
//! definition (Chart.yaml) -> values.yaml -> templates (render; then names, deprecations of each object) -> dependencies -> crds
//! ```

mod definition;
mod deprecations;
mod names;
mod objects;

use crate::{Chart, ChartLimits, Data, Error, Options, Table, render::render_files, schema, values};
use std::{fmt, sync::Arc};
use tree::{Kind, Tree};

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    Info,
    Warning,
    Error,
}

/// One thing that was found, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    pub severity: Severity,
    /// A path in the chart; empty for the chart as a whole.
    pub path: String,
    pub message: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let severity = match self.severity {
            Severity::Info => "INFO",
            Severity::Warning => "WARNING",
            Severity::Error => "ERROR",
        };
        write!(out, "[{severity}] {}: {}", self.path, self.message)
    }
}

type Check = Result<(), String>;

/// Findings in the order in which rules ran.
#[derive(Default)]
struct Findings(Vec<Finding>);

impl Findings {
    fn error(&mut self, path: &str, message: String) {
        self.0.push(Finding { severity: Severity::Error, path: path.to_owned(), message });
    }

    /// Notes what a rule says; tells whether it was content.
    fn rule(&mut self, severity: Severity, path: &str, check: Check) -> bool {
        match check {
            Ok(()) => true,
            Err(message) => {
                self.0.push(Finding { severity, path: path.to_owned(), message });
                false
            }
        }
    }
}

/// Examines the chart in a directory of a tree. `shown` is how the directory is named in findings; `options` hold capabilities and
/// whether schemas count.
pub fn lint(tree: &dyn Tree, directory: &str, shown: &str, overrides: &Table, options: &Options<'_>) -> Vec<Finding> {
    let mut findings = Findings::default();
    let place = Place { tree, directory };
    definition::check(&place, shown, &mut findings);
    check_values(&place, overrides, options.skip_schema, &mut findings);
    let loaded = || Chart::from_tree(tree, directory, ChartLimits::default());
    check_templates(&place, loaded, overrides, options, &mut findings);
    check_dependencies(loaded, shown, &mut findings);
    check_crds(&place, loaded, &mut findings);
    findings.0
}

/// A chart's directory in a tree.
struct Place<'a> {
    tree: &'a dyn Tree,
    directory: &'a str,
}

impl Place<'_> {
    fn at(&self, name: &str) -> String {
        if self.directory.is_empty() { name.to_owned() } else { format!("{}/{name}", self.directory) }
    }

    fn kind(&self, name: &str) -> Option<Kind> {
        self.tree.kind(&self.at(name))
    }

    fn text(&self, name: &str) -> Option<String> {
        let bytes = self.tree.read(&self.at(name))?;
        let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&bytes);
        Some(String::from_utf8_lossy(bytes).into_owned())
    }
}

const VALUES: &str = "values.yaml";

/// The values of the chart itself, those of subcharts aside.
fn check_values(place: &Place<'_>, overrides: &Table, skip_schema: bool, findings: &mut Findings) {
    let exists = if place.kind(VALUES).is_some() { Ok(()) } else { Err("file does not exist".to_owned()) };
    if !findings.rule(Severity::Info, VALUES, exists) {
        return;
    }
    let check = || {
        let own = values::read_table(&place.text(VALUES).unwrap_or_default()).map_err(|why| format!("unable to parse YAML: {why}"))?;
        let Some(schema) = place.tree.read(&place.at("values.schema.json")).filter(|schema| !schema.is_empty() && !skip_schema) else {
            return Ok(());
        };
        let mut all = overrides.clone();
        values::coalesce_tables(&mut all, &own, "", false, &mut Vec::new());
        schema::Compiled::new(&schema.into_owned().into())?.check(&all)
    };
    findings.rule(Severity::Error, VALUES, check());
}

const TEMPLATES: &str = "templates/";

fn check_templates(
    place: &Place<'_>,
    load: impl Fn() -> Result<Chart, Error>,
    overrides: &Table,
    options: &Options<'_>,
    findings: &mut Findings,
) {
    let kind = place.kind("templates");
    let exists = if kind.is_some() { Ok(()) } else { Err("directory does not exist".to_owned()) };
    if !findings.rule(Severity::Warning, TEMPLATES, exists) {
        return;
    }
    let directory = if kind == Some(Kind::Dir) { Ok(()) } else { Err("not a directory".to_owned()) };
    if !findings.rule(Severity::Error, TEMPLATES, directory) {
        return;
    }
    let chart = match load() {
        Ok(chart) => Arc::new(chart),
        Err(error) => return findings.error(TEMPLATES, error.to_string()),
    };
    let files = match render_files(&chart, overrides, options) {
        Ok(files) => files,
        // Helm's linter stops without a word where values do not fit together.
        Err(Error::Values(_)) => return,
        Err(error) => return findings.error(TEMPLATES, error.to_string()),
    };
    for template in &chart.templates {
        let name = &*template.name;
        let extension = extension(name);
        let allowed = if [".yaml", ".yml", ".tpl", ".txt"].contains(&extension) {
            Ok(())
        } else {
            Err(format!("file extension '{extension}' not valid. Valid extensions are .yaml, .yml, .tpl, or .txt"))
        };
        findings.rule(Severity::Error, name, allowed);
        let is_yaml = [".yaml", ".yml"].contains(&extension.to_ascii_lowercase().as_str());
        let text = files.get(&format!("{}/{name}", chart.name())).filter(|text| is_yaml && !text.trim().is_empty());
        if let Some(text) = text
            && !objects::check(name, text, &options.capabilities.kube_version, findings)
        {
            return;
        }
    }
}

/// The end of a file's name from its last dot.
fn extension(name: &str) -> &str {
    let base = name.rsplit('/').next().unwrap_or(name);
    base.rfind('.').map_or("", |dot| &base[dot..])
}

fn check_dependencies(load: impl Fn() -> Result<Chart, Error>, shown: &str, findings: &mut Findings) {
    let chart = match load() {
        Ok(chart) => chart,
        Err(error) => return findings.error("", format!("unable to load chart\n\t{error}")),
    };
    let declared: Vec<&str> = chart.metadata.dependencies.iter().map(|dependency| dependency.name.as_str()).collect();
    let present: Vec<&str> = chart.dependencies.iter().map(|chart| chart.name()).collect();
    let lacking = |names: &[&str], from: &[&str], what: &str| {
        let missing: Vec<&str> = names.iter().filter(|name| !from.contains(name)).copied().collect();
        if missing.is_empty() { Ok(()) } else { Err(format!("{what} is missing these dependencies: {}", missing.join(","))) }
    };
    findings.rule(Severity::Error, shown, lacking(&present, &declared, "chart metadata"));
    // That names are unique was checked when the chart was loaded.
    findings.rule(Severity::Warning, shown, lacking(&declared, &present, "chart directory"));
}

fn check_crds(place: &Place<'_>, load: impl Fn() -> Result<Chart, Error>, findings: &mut Findings) {
    const CRDS: &str = "crds/";
    let Some(kind) = place.kind("crds") else { return };
    let directory = if kind == Kind::Dir { Ok(()) } else { Err("not a directory".to_owned()) };
    if !findings.rule(Severity::Error, CRDS, directory) {
        return;
    }
    let chart = match load() {
        Ok(chart) => chart,
        Err(error) => return findings.error(CRDS, error.to_string()),
    };
    for (path, text) in chart.crds() {
        // Helm names the file without the chart it is in.
        let name = path.split_once("/crds/").map_or(path.clone(), |(_, name)| format!("{CRDS}{name}"));
        if !objects::check_crd(&name, &String::from_utf8_lossy(&text), findings) {
            return;
        }
    }
}

/// Whether a table has nothing that is no table: for definitions that need only be looked at.
fn text_of<'t>(table: &'t Table, key: &str) -> Option<&'t Data> {
    table.get(key).filter(|data| !data.is_null())
}

//! `helm`: charts rendered, checked and shown without a cluster, with Helm's flags and output.

use crate::shell::{Context, Failure, Flags, Outcome, files, flags, output};
use ::helm::{
    Capabilities, Chart, ChartLimits, Environment, Error, KubeVersion, Options, Profile, Release, Rendered, SeededRandom, SetMode,
    SystemRandom, Table,
};
use ::tree::MemoryTree;
use clap::{ArgMatches, Command};
use std::{fmt::Write as _, fs, path::Path, rc::Rc, sync::Arc};

pub fn command() -> Command {
    flags::group("helm", "Render, check and show Helm charts without a cluster")
        .subcommand(
            flags::leaf("template", "Render a chart and print the manifests")
                .after_help("  # What would be installed\n  sluice helm template web ./chart -f values.yaml\n\n  # The same random values every time\n  sluice helm template web ./chart --seed review")
                .args(values_flags())
                .args(rendering_flags())
                .args([
                    flags::string_array("show-only", "only show manifests rendered from the given templates").short('s'),
                    flags::switch("include-crds", "include CRDs in the templated output"),
                    flags::switch("skip-tests", "skip tests from templated output"),
                    flags::switch("no-hooks", "leave hooks out"),
                    flags::switch("is-upgrade", "set .Release.IsUpgrade instead of .Release.IsInstall"),
                    flags::beyond(flags::switch("notes", "print the notes after the manifests")),
                ]),
        )
        .subcommand(flags::leaf("lint", "Examine a chart for possible issues").args(values_flags()).args(rendering_flags()).args([
            flags::switch("strict", "fail on lint warnings"),
            flags::switch("quiet", "print only warnings and errors"),
        ]))
        .subcommand(
            flags::group("show", "Show information of a chart")
                .subcommand(flags::leaf("chart", "Show the chart's definition"))
                .subcommand(flags::leaf("values", "Show the chart's values"))
                .subcommand(flags::leaf("readme", "Show the chart's README"))
                .subcommand(flags::leaf("crds", "Show the chart's CRDs"))
                .subcommand(flags::leaf("all", "Show all information of the chart")),
        )
        .subcommand(
            flags::group("dependency", "Look at a chart's dependencies")
                .visible_alias("dep")
                .subcommand(flags::leaf("list", "List the dependencies of a chart").visible_alias("ls")),
        )
}

fn values_flags() -> Vec<clap::Arg> {
    vec![
        flags::strings("values", "specify values in a YAML file (can specify multiple)").short('f'),
        flags::string_array("set", "set values on the command line (key1=val1,key2=val2)"),
        flags::string_array("set-string", "set STRING values on the command line (key1=val1,key2=val2)"),
        flags::string_array("set-json", "set JSON values on the command line (key1=jsonval1,key2=jsonval2)"),
        flags::string_array("set-literal", "set a literal STRING value on the command line"),
        flags::string_array("set-file", "set values from files (key1=path1,key2=path2)"),
    ]
}

fn rendering_flags() -> Vec<clap::Arg> {
    vec![
        flags::string("kube-version", "Kubernetes version used for Capabilities.KubeVersion"),
        flags::strings("api-versions", "Kubernetes api versions used for Capabilities.APIVersions (can specify multiple)").short('a'),
        flags::switch("skip-schema-validation", "disable JSON schema validation"),
        flags::beyond(flags::string("seed", "make random functions give the same for the same text")),
    ]
}

pub async fn run(context: &Context, path: &[String], matches: &ArgMatches) -> Outcome {
    match path.iter().skip(1).map(String::as_str).collect::<Vec<_>>()[..] {
        ["template"] => template(context, matches),
        ["lint"] => lint(context, matches),
        ["show", what] => show(what, matches),
        ["dependency", "list"] => dependencies(matches),
        _ => Err(Failure::new(format!("unknown command {path:?}"))),
    }
}

fn template(context: &Context, matches: &ArgMatches) -> Outcome {
    let (name, place) = match &matches.arguments()[..] {
        [place] => ("release-name".to_owned(), place.clone()),
        [name, place] => (name.clone(), place.clone()),
        arguments => return Err(Failure::new(format!("expected at most two arguments, unexpected arguments: {}", arguments.join(", ")))),
    };
    let chart = load(&place)?;
    chart.missing_dependencies().map_err(|error| Failure::new(error.to_string()))?;
    let values = values(matches)?;
    let release = Release { name, namespace: context.namespace.clone(), revision: 1, upgrade: matches.is_set("is-upgrade") };
    let options = options(release, matches)?;
    let rendered = ::helm::render(&chart, &values, &options).map_err(|error| explained(&error))?;
    for warning in &rendered.warnings {
        eprintln!("{warning}");
    }
    let text = printed(&rendered, matches);
    let only = matches.texts("show-only");
    if only.is_empty() { output::print(&text) } else { output::print(&chosen(&text, &only)?) }
}

/// Helm's text first, then what can be done about it.
fn explained(error: &Error) -> Failure {
    let mut text = error.to_string();
    if let Some(hint) = error.hint() {
        let _ = write!(text, "\n\nhint: {hint}");
    }
    if error.while_rendering() {
        text.push_str("\n\nUse --debug flag to render out invalid YAML");
    }
    Failure::new(text)
}

fn printed(rendered: &Rendered, matches: &ArgMatches) -> String {
    let mut manifests = String::new();
    if matches.is_set("include-crds") {
        for (path, text) in &rendered.crds {
            ::helm::push_document(&mut manifests, path, text);
        }
    }
    manifests.push_str(&rendered.manifest());
    let mut out = manifests.trim().to_owned();
    out.push('\n');
    if !matches.is_set("no-hooks") {
        for hook in rendered.hooks.iter().filter(|hook| !(matches.is_set("skip-tests") && hook.is_test())) {
            ::helm::push_document(&mut out, &hook.path, &hook.manifest);
        }
    }
    if matches.is_set("notes") && !rendered.notes.is_empty() {
        let _ = write!(out, "---\n# NOTES\n{}\n", rendered.notes.lines().map(|line| format!("# {line}\n")).collect::<String>());
    }
    out
}

/// The documents of the given templates, in their order of the output.
fn chosen(text: &str, only: &[String]) -> Result<String, Failure> {
    let documents = ::helm::split_manifests(text);
    let source = |document: &str| {
        let line = document.lines().find_map(|line| line.strip_prefix("# Source: "))?;
        line.split_once('/').map(|(_, path)| path.to_owned())
    };
    let mut out = String::new();
    for pattern in only {
        let mut found = false;
        for (_, document) in &documents {
            if source(document).is_some_and(|path| ::helm::path_matches(pattern, &path) == Some(true)) {
                let _ = writeln!(out, "---\n{document}");
                found = true;
            }
        }
        if !found {
            return Err(Failure::new(format!("could not find template {pattern} in chart")));
        }
    }
    Ok(out)
}

fn options(release: Release, matches: &ArgMatches) -> Result<Options<'static>, Failure> {
    let profile = Profile::V4_3;
    let mut capabilities = Capabilities::defaults(profile);
    let version = matches.text("kube-version");
    if !version.is_empty() {
        capabilities.kube_version =
            KubeVersion::parse(version).map_err(|why| Failure::new(format!("invalid kube version '{version}': {why}")))?;
    }
    capabilities.api_versions.extend(matches.texts("api-versions"));
    let (now, seed) = (jiff::Timestamp::now(), matches.text("seed"));
    let environment = if seed.is_empty() {
        Environment::new(now, Box::new(SystemRandom))
    } else {
        Environment::new(now, Box::new(SeededRandom::new(seed.as_bytes())))
    };
    let skip_schema = matches.is_set("skip-schema-validation");
    Ok(Options { profile, capabilities, skip_schema, ..Options::new(release, Rc::new(environment)) })
}

fn values(matches: &ArgMatches) -> Result<Table, Failure> {
    let mut values = Table::new();
    for path in matches.texts("values") {
        let text = if path == "-" {
            std::io::read_to_string(std::io::stdin()).map_err(|error| Failure::new(format!("could not read from stdin: {error}")))?
        } else {
            files::read_text(&path)?
        };
        let read = ::helm::read_values(&text).map_err(|why| Failure::new(format!("failed to parse {path}: {why}")))?;
        ::helm::merge_over(&mut values, &read);
    }
    let failed = |flag: &str, why: String| Failure::new(format!("failed parsing --{flag} data: {why}"));
    for line in matches.texts("set-json") {
        ::helm::set(&mut values, &line, SetMode::Json).map_err(|why| failed("set-json", why))?;
    }
    for line in matches.texts("set") {
        ::helm::set(&mut values, &line, SetMode::Typed).map_err(|why| failed("set", why))?;
    }
    for line in matches.texts("set-string") {
        ::helm::set(&mut values, &line, SetMode::Text).map_err(|why| failed("set-string", why))?;
    }
    for line in matches.texts("set-file") {
        for pair in line.split(',') {
            let (key, path) = pair.split_once('=').ok_or_else(|| failed("set-file", format!("key {pair:?} has no value")))?;
            let text = files::read_text(path).map_err(|why| failed("set-file", why))?;
            ::helm::set_literal(&mut values, &format!("{key}={text}")).map_err(|why| failed("set-file", why))?;
        }
    }
    for line in matches.texts("set-literal") {
        ::helm::set_literal(&mut values, &line).map_err(|why| failed("set-literal", why))?;
    }
    Ok(values)
}

/// Loads a chart from a directory or a packed file.
fn load(place: &str) -> Result<Arc<Chart>, Failure> {
    let wrong = |error: Error| Failure::new(error.to_string());
    let about = fs::metadata(place).map_err(|error| Failure::new(format!("path {place:?} not found: {}", files::reason(&error))))?;
    let limits = ChartLimits::default();
    if !about.is_dir() {
        return Chart::from_archive(&files::read(place)?, limits).map(Arc::new).map_err(wrong);
    }
    let mut tree = MemoryTree::new();
    collect(Path::new(place), "", &mut tree, limits, 0)?;
    Chart::from_tree(&tree, "", limits).map(Arc::new).map_err(wrong)
}

/// Reads a directory, links followed as Helm follows them.
fn collect(root: &Path, below: &str, tree: &mut MemoryTree, limits: ChartLimits, depth: usize) -> Outcome {
    if depth > 64 {
        return Err(Failure::new(format!("directories are nested too deeply at {below:?}; does a link lead back up?")));
    }
    let failed = |error: &std::io::Error| Failure::new(format!("error reading {below}: {}", files::reason(error)));
    for entry in fs::read_dir(root.join(below)).map_err(|error| failed(&error))? {
        let entry = entry.map_err(|error| failed(&error))?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = if below.is_empty() { name } else { format!("{below}/{name}") };
        let about = fs::metadata(entry.path()).map_err(|error| failed(&error))?;
        if about.is_dir() {
            if path != ".git" {
                collect(root, &path, tree, limits, depth + 1)?;
            }
        } else if about.is_file() {
            if tree.size() as u64 + about.len() > limits.total {
                return Err(Failure::new(format!("chart is larger than the maximum size {}", limits.total)));
            }
            tree.insert(&path, fs::read(entry.path()).map_err(|error| failed(&error))?, false);
        }
    }
    Ok(())
}

fn lint(context: &Context, matches: &ArgMatches) -> Outcome {
    let mut places = matches.arguments();
    if places.is_empty() {
        places.push(".".to_owned());
    }
    let (mut out, mut failed) = (String::new(), 0);
    for place in &places {
        let findings = examine(context, place, matches)?;
        let worst = if matches.is_set("strict") { "[WARNING]" } else { "[ERROR]" };
        let bad = findings.iter().any(|finding| finding.starts_with("[ERROR]") || finding.starts_with(worst));
        failed += usize::from(bad);
        let shown: Vec<&String> = findings.iter().filter(|finding| !matches.is_set("quiet") || !finding.starts_with("[INFO]")).collect();
        if matches.is_set("quiet") && shown.is_empty() {
            continue;
        }
        let _ = writeln!(out, "==> Linting {place}");
        for finding in shown {
            let _ = writeln!(out, "{finding}");
        }
        out.push('\n');
    }
    let summary = format!("{} chart(s) linted, {failed} chart(s) failed", places.len());
    if failed > 0 {
        output::print(&out)?;
        return Err(Failure::new(summary));
    }
    if !matches.is_set("quiet") {
        let _ = writeln!(out, "{summary}");
    }
    output::print(&out)
}

/// Helm's rules of lint: the definition, the values, and whether templates render to YAML.
fn examine(context: &Context, place: &str, matches: &ArgMatches) -> Result<Vec<String>, Failure> {
    let chart = match load(place) {
        Ok(chart) => chart,
        Err(failure) => return Ok(vec![format!("[ERROR] Chart.yaml: {}", failure.message)]),
    };
    let mut findings = Vec::new();
    if chart.metadata.icon.is_empty() {
        findings.push("[INFO] Chart.yaml: icon is recommended".to_owned());
    }
    if types::semver::Version::parse_strict(&chart.metadata.version).is_err() {
        findings.push(format!("[WARNING] Chart.yaml: version '{}' is not a valid SemVerV2", chart.metadata.version));
    }
    if chart.values_text.is_none() {
        findings.push("[INFO] values.yaml: file does not exist".to_owned());
    }
    if chart.templates.is_empty() && !chart.metadata.is_library() {
        findings.push("[WARNING] templates/: directory not found".to_owned());
    }
    if let Err(error) = chart.missing_dependencies() {
        findings.push(format!("[WARNING] {place}: {error}"));
    }
    let release = Release { name: "test-release".to_owned(), namespace: context.namespace.clone(), revision: 1, upgrade: false };
    let options = Options { lint: true, ..options(release, matches)? };
    match ::helm::render(&chart, &values(matches)?, &options) {
        Ok(rendered) => findings.extend(rendered.warnings.iter().map(|warning| format!("[WARNING] {warning}"))),
        Err(error) => findings.push(format!("[ERROR] templates/: {error}")),
    }
    Ok(findings)
}

fn show(what: &str, matches: &ArgMatches) -> Outcome {
    let chart = load(&matches.exactly_one()?)?;
    let definition = || output::yaml(&chart.metadata);
    let values = || chart.values_text.as_ref().map(|text| String::from_utf8_lossy(text).into_owned()).unwrap_or_default();
    let readme = || {
        let is_readme = |name: &str| ["readme.md", "readme.txt", "readme"].contains(&name.to_lowercase().as_str());
        chart.files.iter().find(|file| is_readme(&file.name)).map(|file| String::from_utf8_lossy(&file.data).into_owned())
    };
    let crds = || -> String { chart.crds().iter().map(|(_, text)| format!("---\n{}\n", String::from_utf8_lossy(text))).collect() };
    let text = match what {
        "chart" => definition()? + "\n",
        "values" => values() + "\n",
        "readme" => readme().unwrap_or_default() + "\n",
        "crds" => crds(),
        _ => {
            let mut all = format!("{}\n---\n{}\n", definition()?, values());
            if let Some(readme) = readme() {
                let _ = write!(all, "---\n{readme}\n");
            }
            all + &crds()
        }
    };
    output::print(&text)
}

fn dependencies(matches: &ArgMatches) -> Outcome {
    let place = matches.arguments().into_iter().next().unwrap_or_else(|| ".".to_owned());
    let chart = load(&place)?;
    if chart.metadata.dependencies.is_empty() {
        return output::print(&format!("WARNING: no dependencies at {place}/charts\n"));
    }
    let mut rows = vec![["NAME", "VERSION", "REPOSITORY", "STATUS"].map(str::to_owned)];
    for wanted in &chart.metadata.dependencies {
        let status = match chart.dependencies.iter().find(|chart| chart.name() == wanted.name) {
            None => "missing",
            Some(found) => {
                match (types::semver::Constraint::parse(&wanted.version), types::semver::Version::parse(&found.metadata.version)) {
                    (Ok(range), Ok(version)) if range.matches(&version) => "unpacked",
                    (Ok(_), Ok(_)) => "wrong version",
                    _ => "invalid version",
                }
            }
        };
        rows.push([wanted.name.clone(), wanted.version.clone(), wanted.repository.clone(), status.to_owned()]);
    }
    let widths: Vec<usize> = (0..4).map(|column| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0)).collect();
    let mut out = String::new();
    for row in &rows {
        let cells: Vec<String> = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        let _ = writeln!(out, "{}", cells.join("\t"));
    }
    output::print(&out)
}

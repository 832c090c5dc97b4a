//! `helm template`: what would be installed.

use super::{accepted, arguments, dependency, options, place, remote, values};
use crate::shell::{Context, Failure, Flags as _, Outcome, files, flags, output};
use clap::{ArgMatches, Command};
use helm::{Cache, Chart, Crd, Error, Options, Release, Rendered, Table, ValueSources};
use std::{
    collections::BTreeSet,
    fmt::Write as _,
    fs,
    io::{self, Write as _},
    path::Path,
    sync::Arc,
};

pub fn command() -> Command {
    flags::leaf("template", "Render chart templates locally and print the manifests")
        .after_help("  # What would be installed\n  sluice helm template web ./chart -f values.yaml\n\n  # The same random values every time\n  sluice helm template web ./chart --seed review\n\n  # Which template line, and which value, made each line of an object\n  sluice helm template web ./chart --explain deployment/web")
        .args(values::flags())
        .args(options::flags())
        .args(remote::flags())
        .args(remote::choice())
        .args(accepted(WITHOUT_CLUSTER))
        .args([
            flags::strings("api-versions", "Kubernetes api versions used for Capabilities.APIVersions (multiple can be specified)").short('a'),
            flags::switch("dependency-update", "update dependencies if they are missing before rendering the chart"),
            flags::string("dry-run", "only \"client\" is supported: nothing is looked up in a cluster").num_args(0..=1).require_equals(true).default_missing_value("client"),
            flags::switch("generate-name", "generate the name (and omit the NAME parameter)").short('g'),
            flags::switch("include-crds", "include CRDs in the templated output"),
            flags::switch("is-upgrade", "set .Release.IsUpgrade instead of .Release.IsInstall"),
            flags::checked_list("labels", "stringToString", "accepted for compatibility", |text| {
                if text.contains('=') { Ok(text.to_owned()) } else { Err(format!("{text} must be formatted as key=value")) }
            })
            .short('l')
            .hide(true),
            flags::string("name-template", "specify template used to name the release"),
            flags::switch("no-hooks", "leave hooks out"),
            flags::string("output-dir", "writes the executed templates to files in output-dir instead of stdout"),
            flags::checked("post-renderer", "postRendererString", "refused: post-renderers of the command line are programs", |name| {
                Err(format!("post-renderers are programs, and no program is run; {name:?} cannot be used here"))
            })
            .hide(true),
            flags::switch("release-name", "use release name in the output-dir path."),
            flags::string_array("show-only", "only show manifests rendered from the given templates").short('s'),
            flags::switch("skip-tests", "skip tests from templated output"),
            flags::switch("validate", "refused: nothing is checked against a cluster").hide(true),
            flags::checked("wait", "WaitStrategy", "accepted for compatibility; without effect here", |text| match text {
                "true" | "false" | "watcher" | "hookOnly" | "legacy" => Ok(text.to_owned()),
                _ => Err(format!("invalid wait input {text:?}. Valid inputs are watcher, hookOnly, and legacy")),
            })
            .num_args(0..=1)
            .require_equals(true)
            .default_missing_value("watcher")
            .hide(true),
            flags::beyond(flags::string("explain", "print one object (KIND/NAME) with the template line and the value behind each line")),
            flags::beyond(flags::switch("notes", "print the notes after the manifests")),
        ])
}

/// Flags of installations, which a rendering has no use for.
const WITHOUT_CLUSTER: &[(&str, bool)] = &[
    ("atomic", true),
    ("create-namespace", true),
    ("description", false),
    ("disable-openapi-validation", true),
    ("enable-dns", true),
    ("force", true),
    ("force-conflicts", true),
    ("force-replace", true),
    ("hide-notes", true),
    ("post-renderer-args", false),
    ("render-subchart-notes", true),
    ("replace", true),
    ("rollback-on-failure", true),
    ("server-side", true),
    ("skip-crds", true),
    ("take-ownership", true),
    ("wait-for-jobs", true),
];

pub fn run(context: &Context, matches: &ArgMatches) -> Outcome {
    let capabilities = options::capabilities(matches, helm::Profile::V4_3)?;
    refuse_cluster(matches)?;
    let (name, chart_place) = name_and_chart(matches)?;
    let later = place::Later::default();
    let (mut chart, path) = place::named(&chart_place, matches, Some(&later))?;
    let (values, mut sources) = values::read(matches)?;
    if !matches!(chart.metadata.kind.as_str(), "" | "application") {
        return Err(Failure::new(format!("{} charts are not installable", chart.metadata.kind)));
    }
    if chart.metadata.deprecated {
        warn("this chart is deprecated");
    }
    if let Err(error) = chart.missing_dependencies() {
        let Some(path) = path.filter(|_| matches.is_set("dependency-update")) else { return Err(Failure::new(error.to_string())) };
        output::print(&dependency::update_charts(&path, matches)?)?;
        chart = place::load(&path).map_err(|failure| failure.context("failed reloading chart after repo update"))?;
    }
    helm::check_release_name(&name).map_err(|why| Failure::new(format!("release name check failed: {why}")))?;
    let chart = Arc::new(chart);
    sources.add_chart(&chart);
    let release = Release { name, namespace: options::namespace(context, matches), revision: 1, upgrade: matches.is_set("is-upgrade") };
    let explain = matches.text("explain");
    // This process ends with its one rendering: nothing is taken apart before that.
    let cache: &'static Cache = Box::leak(Box::default());
    let options = Options {
        provenance: !explain.is_empty(),
        cache: Some(cache),
        ahead: later.ahead(),
        ..options::options(release, capabilities, matches)
    };
    let rendered = match helm::render(&chart, &values, &options) {
        Ok(rendered) => rendered,
        Err(error) => return Err(explained(&error, &chart, &values, &sources, &options, matches.is_set("debug"))?),
    };
    crds(&rendered, matches).iter().for_each(|crd| drop(crd.text()));
    later.check()?;
    rendered.warnings.iter().for_each(|warning| warn(warning));
    if !explain.is_empty() {
        return output::print(&provenance(&rendered, explain, &sources)?);
    }
    let directory = matches.text("output-dir");
    let only = matches.texts("show-only");
    let done = if !directory.is_empty() {
        let text = write_files(&rendered, directory, &options.release.name, matches)?;
        if only.is_empty() { output::print(&text) } else { output::print(&chosen(&text, &only)?) }
    } else if only.is_empty() {
        output::write(|out| documents(&rendered, matches, out))
    } else {
        let mut text = Vec::new();
        documents(&rendered, matches, &mut text).map_err(|error| Failure::new(error.to_string()))?;
        output::print(&chosen(&String::from_utf8_lossy(&text), &only)?)
    };
    std::mem::forget((rendered, chart, values, sources));
    done
}

fn warn(text: &str) {
    eprintln!("level=WARN msg={text:?}");
}

fn refuse_cluster(matches: &ArgMatches) -> Outcome {
    if matches.is_set("validate") {
        return Err(Failure::new("charts are rendered without a cluster; --validate cannot be used here"));
    }
    match matches.text("dry-run") {
        "" | "client" | "unset" | "true" => Ok(()),
        given @ ("none" | "false") => Err(Failure::new(format!("invalid dry-run value ({given:?}). Must be \"server\" or \"client\""))),
        "server" => Err(Failure::new("charts are rendered without a cluster; --dry-run=server cannot be used here")),
        other => Err(Failure::new(format!("invalid dry-run value ({other:?}). Must be \"none\", \"server\", or \"client\""))),
    }
}

fn name_and_chart(matches: &ArgMatches) -> Result<(String, String), Failure> {
    let given = arguments(matches, "template", "template [NAME] [CHART]", 1, usize::MAX)?;
    let template = matches.text("name-template");
    match &*given {
        [name, chart] => {
            for (flag, set) in [("generate-name", matches.is_set("generate-name")), ("name-template", !template.is_empty())] {
                if set {
                    return Err(Failure::new(format!("cannot set --{flag} and also specify a name")));
                }
            }
            Ok((name.clone(), chart.clone()))
        }
        [chart] if !template.is_empty() => {
            let name = helm::name_from_template(template, options::environment(matches)).map_err(Failure::new)?;
            Ok((name, chart.clone()))
        }
        // Helm names every rendering so, `--generate-name` or not.
        [chart] => Ok(("release-name".to_owned(), chart.clone())),
        [_, _, rest @ ..] => Err(Failure::new(format!("expected at most two arguments, unexpected arguments: {}", rest.join(", ")))),
        [] => Err(Failure::new("expected a chart")),
    }
}

/// Helm's text first, then what can be said beyond it.
fn explained(
    error: &Error,
    chart: &Arc<Chart>,
    values: &Table,
    sources: &ValueSources,
    options: &Options<'_>,
    debug: bool,
) -> Result<Failure, Failure> {
    let mut text = error.to_string();
    for hint in error.hints(chart, sources) {
        let _ = write!(text, "\n\nhint: {hint}");
    }
    if debug && matches!(error, Error::Manifest { .. }) {
        // The text that is no YAML, for whoever wants to see it.
        let files = helm::render_files(chart, values, options).unwrap_or_default();
        let shown = files.iter().filter(|(path, text)| !path.ends_with("NOTES.txt") && !text.trim().is_empty());
        let mut all = String::new();
        shown.for_each(|(path, text)| helm::push_document(&mut all, path, text));
        output::print(&format!("{}\n", all.trim()))?;
    } else if error.while_rendering() && !debug {
        text.push_str("\n\nUse --debug flag to render out invalid YAML");
    }
    Ok(Failure::new(text))
}

/// CRDs where they are asked for.
fn crds<'r>(rendered: &'r Rendered, matches: &ArgMatches) -> &'r [Crd] {
    if matches.is_set("include-crds") { &rendered.crds } else { &[] }
}

fn hooks<'r>(rendered: &'r Rendered, matches: &ArgMatches) -> impl Iterator<Item = &'r helm::Hook> {
    let (none, without_tests) = (matches.is_set("no-hooks"), matches.is_set("skip-tests"));
    rendered.hooks.iter().filter(move |hook| !(none || without_tests && hook.is_test()))
}

/// Writes CRDs and manifests without white space around them all, then hooks and notes.
fn documents(rendered: &Rendered, matches: &ArgMatches, out: &mut dyn io::Write) -> io::Result<()> {
    let mut trimmed = Trimmed { out, begun: false, blank: String::new() };
    for crd in crds(rendered, matches) {
        trimmed.document(&crd.path, &crd.text())?;
    }
    for manifest in &rendered.manifests {
        trimmed.document(&manifest.path, &manifest.content)?;
    }
    out.write_all(b"\n")?;
    for hook in hooks(rendered, matches) {
        write!(out, "---\n# Source: {}\n{}\n", hook.path, hook.manifest)?;
    }
    if matches.is_set("notes") && !rendered.notes.is_empty() {
        out.write_all(b"---\n# NOTES\n")?;
        rendered.notes.lines().try_for_each(|line| writeln!(out, "# {line}"))?;
        out.write_all(b"\n")?;
    }
    Ok(())
}

/// Passes text on without the white space at its start and its end.
struct Trimmed<'o> {
    out: &'o mut dyn io::Write,
    begun: bool,
    /// White space that is passed on once something follows it.
    blank: String,
}

impl Trimmed<'_> {
    fn document(&mut self, path: &str, content: &str) -> io::Result<()> {
        ["---\n# Source: ", path, "\n", content, "\n"].into_iter().try_for_each(|text| self.text(text))
    }

    fn text(&mut self, text: &str) -> io::Result<()> {
        let text = if self.begun { text } else { text.trim_start() };
        let shown = text.trim_end();
        if !shown.is_empty() {
            self.begun = true;
            self.out.write_all(self.blank.as_bytes())?;
            self.blank.clear();
            self.out.write_all(shown.as_bytes())?;
        }
        self.blank.push_str(&text[shown.len()..]);
        Ok(())
    }
}

/// Writes a file for each template. What is left for standard output is an empty line, as Helm leaves it.
fn write_files(rendered: &Rendered, directory: &str, release: &str, matches: &ArgMatches) -> Result<String, Failure> {
    let below =
        if matches.is_set("release-name") { format!("{}/{release}", directory.trim_end_matches('/')) } else { directory.to_owned() };
    let mut written = BTreeSet::new();
    for crd in crds(rendered, matches) {
        let again = !written.insert((directory, &crd.path));
        write_file(directory, &crd.path, &crd.text(), again)?;
    }
    for manifest in &rendered.manifests {
        let again = !written.insert((&below, &manifest.path));
        write_file(&below, &manifest.path, &manifest.content, again)?;
    }
    for hook in hooks(rendered, matches) {
        // Hooks are added to what is there, even from an earlier run.
        write_file(&below, &hook.path, &hook.manifest, Path::new(&below).join(&hook.path).exists())?;
    }
    Ok("\n".to_owned())
}

fn write_file(directory: &str, path: &str, text: &str, append: bool) -> Outcome {
    let whole = format!("{directory}/{path}");
    let failed = |error: std::io::Error| Failure::new(format!("open {whole}: {}", files::reason(&error)));
    if let Some(parent) = Path::new(&whole).parent() {
        fs::create_dir_all(parent).map_err(failed)?;
    }
    let mut document = String::new();
    helm::push_document(&mut document, path, text);
    let file = fs::OpenOptions::new().create(true).write(true).append(append).truncate(!append).open(&whole);
    file.and_then(|mut file| file.write_all(document.as_bytes())).map_err(failed)?;
    output::print(&format!("wrote {whole}\n"))
}

/// The documents of the given templates, in their order of the output.
fn chosen(text: &str, only: &[String]) -> Result<String, Failure> {
    let documents = helm::split_manifests(text);
    let source = |document: &str| {
        let line = document.lines().find_map(|line| line.split_once("# Source: "))?.1;
        line.split_once('/').map(|(_, path)| path.to_owned())
    };
    let mut out = String::new();
    for pattern in only {
        let before = out.len();
        for (_, document) in &documents {
            if source(document).is_some_and(|path| helm::path_matches(pattern, &path) == Some(true)) {
                let _ = writeln!(out, "---\n{document}");
            }
        }
        if out.len() == before {
            return Err(Failure::new(format!("could not find template {pattern} in chart")));
        }
    }
    Ok(out)
}

/// One object, each line with the template line that wrote it, the value it shows, and where that came from.
fn provenance(rendered: &Rendered, which: &str, sources: &ValueSources) -> Result<String, Failure> {
    let (kind, name) = which.split_once('/').ok_or_else(|| Failure::new(format!("{which:?} must be KIND/NAME")))?;
    let named = |found: &str, own: &str| found.eq_ignore_ascii_case(kind) && own == name;
    let manifests =
        rendered.manifests.iter().map(|one| (one.head.kind.as_str(), one.head.name.as_str(), &one.path, one.line, &one.content));
    let hooks = rendered.hooks.iter().map(|one| (one.kind.as_str(), one.name.as_str(), &one.path, one.line, &one.manifest));
    let mut out = String::new();
    for (_, _, path, first, content) in manifests.chain(hooks).filter(|(found, own, ..)| named(found, own)) {
        let _ = writeln!(out, "# Source: {path}");
        let width = content.lines().map(|line| line.chars().count()).max().unwrap_or(0).min(60);
        for (at, line) in content.trim_end().lines().enumerate() {
            let Some(origin) = rendered.origin(path, first + at) else {
                let _ = writeln!(out, "{line}");
                continue;
            };
            let _ = write!(out, "{line:width$}  # {}:{}", origin.template, origin.line);
            if let Some(value) = &origin.value {
                let _ = write!(out, " {value}");
                if let Some(source) = sources.of(value) {
                    let _ = write!(out, " ({source})");
                }
            }
            out.push('\n');
        }
    }
    if out.is_empty() {
        return Err(Failure::new(format!("no object {which} in the rendered chart")));
    }
    Ok(out)
}

//! `sluice kustomize build`: the engine on its own, with kustomize's flags.

use crate::{charts::Engine, disk::DiskTree};
use clap::{ArgAction, Args};
use kustomize::{Build, Charts, LoadRestriction, Options, Order, Resource};
use std::{
    collections::BTreeSet,
    fs,
    io::{self, Write},
    path::{Path, PathBuf},
};

/// Builds a kustomization and prints its objects.
#[derive(Debug, Args)]
pub struct BuildArgs {
    /// The directory of the kustomization.
    #[arg(default_value = ".", num_args = 0..)]
    dir: Vec<PathBuf>,
    /// Where to write: a file, or a directory that gets a file per object.
    #[arg(short, long)]
    output: Option<PathBuf>,
    /// Order of the objects: legacy or none, unless the kustomization has sortOptions.
    #[arg(long)]
    reorder: Option<String>,
    /// Which files may be read: LoadRestrictionsRootOnly or LoadRestrictionsNone.
    #[arg(long, default_value = ROOT_ONLY)]
    load_restrictor: String,
    /// Add the label app.kubernetes.io/managed-by.
    #[arg(long, action = ArgAction::Set, num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value = "false")]
    enable_managedby_label: bool,
    /// Build as Flux does: any file of the tree, objects in the order they are read.
    #[arg(long, action = ArgAction::Set, num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value = "false")]
    flux: bool,
    /// Print where each part of one object came from, instead of the objects.
    #[arg(long, value_name = "KIND/NAME")]
    explain: Option<String>,
    /// Render the charts of helmCharts that lie in the tree; no program is started and none is pulled.
    #[arg(long, action = ArgAction::Set, num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value = "false")]
    enable_helm: bool,
    /// The Kubernetes version that charts see.
    #[arg(long)]
    helm_kube_version: Option<String>,
    /// API versions that charts see.
    #[arg(long)]
    helm_api_versions: Vec<String>,
    #[command(flatten)]
    without_effect: WithoutEffect,
}

/// Taken for kustomize's sake: they are about programs and containers, which no build starts, and about traces that no error has.
#[derive(Debug, Args)]
struct WithoutEffect {
    #[arg(long, hide = true, action = ArgAction::Set, num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value = "false")]
    enable_alpha_plugins: bool,
    #[arg(long, hide = true, action = ArgAction::Set, num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value = "false")]
    enable_exec: bool,
    #[arg(long, hide = true, action = ArgAction::Set, num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value = "false")]
    as_current_user: bool,
    #[arg(long, hide = true, action = ArgAction::Set, num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value = "false")]
    network: bool,
    #[arg(long, hide = true, action = ArgAction::Set, num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value = "false")]
    helm_debug: bool,
    #[arg(long, hide = true, action = ArgAction::Set, num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value = "false")]
    stack_trace: bool,
    #[arg(long, hide = true)]
    network_name: Option<String>,
    #[arg(long, hide = true)]
    helm_command: Option<String>,
    #[arg(long, hide = true)]
    mount: Vec<String>,
    #[arg(long, short, hide = true)]
    env: Vec<String>,
}

const ROOT_ONLY: &str = "LoadRestrictionsRootOnly";

/// Runs the command.
pub fn run(args: &BuildArgs) -> Result<(), String> {
    let build = build(args)?;
    let written = write(args, &build);
    // The program ends here, and its memory at once: taking thousands of objects apart first takes longer than writing them.
    std::mem::forget(build);
    written
}

/// One of a few words, in the words of kustomize where it is none of them.
fn one_of<T: Copy>(flag: &str, given: &str, legal: &[(&str, T)]) -> Result<T, String> {
    legal.iter().find(|(word, _)| *word == given).map(|(_, value)| *value).ok_or_else(|| {
        let legal: Vec<&str> = legal.iter().map(|(word, _)| *word).collect();
        format!("illegal flag value --{flag} {given}; legal values: [{}]", legal.join(" "))
    })
}

/// The engine names files from the root of the file system; people name them from where they stand.
fn from_here(text: &str) -> String {
    let here = std::env::current_dir().and_then(fs::canonicalize).unwrap_or_default();
    match here.to_str().map(|here| here.trim_start_matches('/')) {
        Some(here) if !here.is_empty() => text.replace(&format!("{here}/"), "").replace(&format!("\"{here}\""), "\".\""),
        _ => text.to_owned(),
    }
}

fn build(args: &BuildArgs) -> Result<Build, String> {
    let defaults = if args.flux { Options::flux() } else { Options::default() };
    let order = match &args.reorder {
        None => defaults.order,
        Some(word) => {
            eprintln!("Flag --reorder has been deprecated, use the new 'sortOptions' field in kustomization.yaml instead.");
            one_of("reorder", word, &[("legacy", Order::Legacy), ("none", Order::Fifo)])?
        }
    };
    if args.enable_managedby_label {
        eprintln!(
            "Flag --enable-managedby-label has been deprecated, use the managedByLabel option of buildMetadata in kustomization.yaml instead."
        );
    }
    let restrictions = [(ROOT_ONLY, defaults.load_restriction), ("LoadRestrictionsNone", LoadRestriction::None)];
    let load_restriction = one_of("load-restrictor", &args.load_restrictor, &restrictions)?;
    let [dir] = &args.dir[..] else { return Err("specify one path to kustomization.yaml".to_owned()) };
    let shown = dir.display();
    let dir = fs::canonicalize(dir).map_err(|error| format!("must build at directory: \"{shown}\": {error}"))?;
    if !dir.is_dir() {
        return Err(format!("must build at directory: \"{shown}\" is a file"));
    }
    let path = dir.to_str().ok_or_else(|| format!("\"{shown}\" is no UTF-8"))?.trim_start_matches('/');
    let charts = Engine { kube_version: args.helm_kube_version.clone(), api_versions: args.helm_api_versions.clone() };
    let options = Options {
        load_restriction,
        order,
        managed_by: args.enable_managedby_label.then(|| defaults.managed_by_value.clone()),
        absolute_paths: true,
        note_files: false,
        note_transformers: args.explain.is_some(),
        charts: args.enable_helm.then_some(&charts as &dyn Charts),
        ..defaults
    };
    let build = kustomize::build(&DiskTree::new("/"), path, &options).map_err(|error| {
        let hint = match error.hint() {
            _ if error.to_string().contains("helmCharts is not supported") && !args.enable_helm => {
                Some("--enable-helm renders charts that lie in the tree")
            }
            hint => hint,
        };
        from_here(&hint.map_or_else(|| error.to_string(), |hint| format!("{error}\nhint: {hint}")))
    })?;
    for warning in &build.warnings {
        eprintln!("{warning}");
    }
    Ok(build)
}

fn write(args: &BuildArgs, build: &Build) -> Result<(), String> {
    if let Some(which) = &args.explain {
        return explain(build, which);
    }
    match &args.output {
        Some(path) if path.is_dir() => write_files(path, build),
        // `--output=` is none.
        Some(path) if !path.as_os_str().is_empty() => {
            let text = build.to_yaml().map_err(|error| error.to_string())?;
            fs::write(path, text).map_err(|error| format!("cannot write \"{}\": {error}", path.display()))
        }
        _ => {
            let text = build.to_yaml().map_err(|error| error.to_string())?;
            // A reader that has seen enough is no failure.
            match io::stdout().lock().write_all(text.as_bytes()) {
                Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(format!("cannot write: {error}")),
                _ => Ok(()),
            }
        }
    }
}

/// One file per object, named by type and name; by namespace too where there are several, and no namespace is `default`.
fn write_files(dir: &Path, build: &Build) -> Result<(), String> {
    let namespace = |resource: &Resource| match resource.namespace() {
        _ if resource.is_cluster_scoped() => None,
        "" => Some("default".to_owned()),
        namespace => Some(namespace.to_owned()),
    };
    let several = build.resources.iter().filter_map(namespace).collect::<BTreeSet<_>>().len() > 1;
    for resource in &build.resources {
        let (group, version) = resource.api_version().split_once('/').unwrap_or(("", resource.api_version()));
        let namespace = namespace(resource).filter(|_| several).unwrap_or_default();
        let parts = [namespace.as_str(), group, version, resource.kind(), resource.name()];
        let name = parts.iter().filter(|part| !part.is_empty()).map(|part| part.to_lowercase()).collect::<Vec<_>>().join("_");
        // A name may hold what is none in a file name.
        let path = dir.join(format!("{}.yaml", name.replace('/', "_")));
        let text = resource.to_yaml().map_err(|error| error.to_string())?;
        fs::write(&path, text).map_err(|error| format!("cannot write \"{}\": {error}", path.display()))?;
    }
    Ok(())
}

/// Prints the sources of an object: the object's own, then each part that came from elsewhere.
fn explain(build: &Build, which: &str) -> Result<(), String> {
    let (kind, name) = which.split_once('/').ok_or_else(|| format!("\"{which}\" must be KIND/NAME"))?;
    let matches = |resource: &&Resource| resource.kind().eq_ignore_ascii_case(kind) && resource.name() == name;
    let found: Vec<&Resource> = build.resources.iter().filter(matches).collect();
    if found.is_empty() {
        let near: Vec<String> = build
            .resources
            .iter()
            .filter(|resource| resource.kind().eq_ignore_ascii_case(kind))
            .map(|resource| resource.name().to_owned())
            .collect();
        let near = if near.is_empty() { String::new() } else { format!("; there are {}", near.join(", ")) };
        return Err(format!("no object {which} in the build{near}"));
    }
    let mut out = String::new();
    for resource in found {
        out.push_str(&format!("{} {}", resource.api_version(), resource.kind()));
        let namespace = resource.namespace();
        out.push_str(&if namespace.is_empty() { format!(" {}\n", resource.name()) } else { format!(" {namespace}/{}\n", resource.name()) });
        let touches = resource.explain();
        let width = touches.iter().map(|touch| touch.path.len()).max().unwrap_or(0).clamp(10, 60);
        for touch in &touches {
            let path = if touch.path.is_empty() { "object" } else { &touch.path };
            out.push_str(&format!("  {path:width$}  {}\n", from_here(&touch.to_string())));
        }
        for touch in resource.transformers() {
            out.push_str(&format!("  {:width$}  {}\n", "changed by", from_here(&touch.to_string())));
        }
    }
    io::stdout().lock().write_all(out.as_bytes()).map_err(|error| format!("cannot write: {error}"))
}

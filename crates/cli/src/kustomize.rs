//! `sluice kustomize build`: the engine on its own, with kustomize's flags.

use crate::disk::DiskTree;
use clap::{ArgAction, Args, ValueEnum};
use kustomize::{Build, LoadRestriction, Options, Order, Resource};
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
    #[arg(default_value = ".")]
    dir: PathBuf,
    /// Where to write: a file, or a directory that gets a file per object.
    #[arg(short, long)]
    output: Option<PathBuf>,
    /// Order of the objects, unless the kustomization has sortOptions.
    #[arg(long, value_enum, default_value_t = Reorder::Legacy)]
    reorder: Reorder,
    /// Which files may be read.
    #[arg(long, default_value = "LoadRestrictionsRootOnly", value_parser = ["LoadRestrictionsRootOnly", "LoadRestrictionsNone"])]
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
    /// Taken for kustomize's sake; charts and programs are refused all the same.
    #[arg(long, hide = true, action = ArgAction::Set, num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value = "false")]
    enable_helm: bool,
    #[arg(long, hide = true, action = ArgAction::Set, num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value = "false")]
    enable_alpha_plugins: bool,
    #[arg(long, hide = true, action = ArgAction::Set, num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value = "false")]
    enable_exec: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Reorder {
    Legacy,
    None,
}

/// Runs the command.
pub fn run(args: &BuildArgs) -> Result<(), String> {
    write(args, &build(args)?)
}

/// The engine names files from the root of the file system; people name them from where they stand.
fn from_here(text: &str) -> String {
    let here = std::env::current_dir().and_then(fs::canonicalize).unwrap_or_default();
    match here.to_str().map(|here| here.trim_start_matches('/')) {
        Some(here) if !here.is_empty() => text.replace(&format!("{here}/"), ""),
        _ => text.to_owned(),
    }
}

fn build(args: &BuildArgs) -> Result<Build, String> {
    let dir = fs::canonicalize(&args.dir).map_err(|error| format!("cannot open \"{}\": {error}", args.dir.display()))?;
    let path = dir.to_str().ok_or_else(|| format!("\"{}\" is no UTF-8", dir.display()))?.trim_start_matches('/');
    let defaults = if args.flux { Options::flux() } else { Options::default() };
    let options = Options {
        load_restriction: if args.load_restrictor == "LoadRestrictionsNone" { LoadRestriction::None } else { defaults.load_restriction },
        order: if args.reorder == Reorder::None { Order::Fifo } else { defaults.order },
        managed_by: args.enable_managedby_label.then(|| defaults.managed_by_value.clone()),
        absolute_paths: true,
        note_files: false,
        ..defaults
    };
    let build = kustomize::build(&DiskTree::new("/"), path, &options).map_err(|error| match error.hint() {
        Some(hint) => from_here(&format!("{error}\nhint: {hint}")),
        None => from_here(&error.to_string()),
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
        Some(path) => {
            let text = build.to_yaml().map_err(|error| error.to_string())?;
            fs::write(path, text).map_err(|error| format!("cannot write \"{}\": {error}", path.display()))
        }
        None => {
            let text = build.to_yaml().map_err(|error| error.to_string())?;
            // A reader that has seen enough is no failure.
            match io::stdout().lock().write_all(text.as_bytes()) {
                Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(format!("cannot write: {error}")),
                _ => Ok(()),
            }
        }
    }
}

/// One file per object, named by type and name; by namespace too where there are several.
fn write_files(dir: &Path, build: &Build) -> Result<(), String> {
    let namespaces: BTreeSet<&str> = build.resources.iter().map(Resource::namespace).filter(|namespace| !namespace.is_empty()).collect();
    for resource in &build.resources {
        let kind = [&resource.api_version().replace('/', "_"), resource.kind()].join("_");
        let name = format!("{kind}_{}.yaml", resource.name());
        let name = if namespaces.len() > 1 && !resource.namespace().is_empty() { format!("{}_{name}", resource.namespace()) } else { name };
        let path = dir.join(name.to_lowercase().replace('/', "_"));
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
        let width = touches.iter().map(|touch| touch.path.len()).max().unwrap_or(0).clamp(6, 60);
        for touch in &touches {
            let path = if touch.path.is_empty() { "object" } else { &touch.path };
            let line = if touch.line == 0 { String::new() } else { format!(":{}", touch.line) };
            out.push_str(&format!("  {path:width$}  {}{line}\n", from_here(&touch.source)));
        }
    }
    io::stdout().lock().write_all(out.as_bytes()).map_err(|error| format!("cannot write: {error}"))
}

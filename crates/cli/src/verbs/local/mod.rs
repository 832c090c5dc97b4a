//! `build|diff kustomization`, `build helmrelease`: what a Kustomization would apply, made from files on this machine.
//!
//! ```text
//! file | cluster -> Kustomization -> kustomize::flux on a workspace (files less the ignored ones)
//!                                       -> variables -> owner labels -> SOPS data masked -> objects
//! objects -> YAML                                build
//!         -> dry-run apply -> live | merged      diff
//! ```
//!
//! release: what a HelmRelease would apply, likewise.
//!
//! Nothing is written to the folder that is built.

mod builder;
mod drift;
mod mask;
pub mod release;
mod workspace;

use crate::shell::{Context, Failure, Flags, Outcome, flags, output};
use builder::{Request, Target};
use clap::{Arg, ArgMatches, Command};
use std::{collections::BTreeMap, path::Path};

fn shared_flags() -> [Arg; 7] {
    [
        flags::string("path", "folder with the manifests"),
        flags::string("kustomization-file", "file with the Kustomization; else it is taken from the cluster"),
        flags::strings("ignore-paths", "patterns of files to leave out, as in .gitignore"),
        flags::switch("strict-substitute", "fail where a variable without default is not set"),
        flags::switch("recursive", "follow the Kustomizations among the objects").short('r'),
        local_sources("folders of sources, as <kind>/<namespace>/<name>=<path>, with --recursive"),
        flags::switch("in-memory-build", "accepted for compatibility: no file is ever written"),
    ]
}

fn local_sources(help: &'static str) -> Arg {
    flags::checked_list("local-sources", "stringToString", help, pair)
}

/// Folders by `<kind>/<namespace>/<name>` of a source.
fn shared_sources(matches: &ArgMatches) -> BTreeMap<String, String> {
    let texts = matches.texts("local-sources");
    texts.iter().filter_map(|text| text.split_once('=')).map(|(key, path)| (key.to_owned(), path.to_owned())).collect()
}

fn pair(text: &str) -> Result<String, String> {
    if text.contains('=') { Ok(text.to_owned()) } else { Err(format!("{text} must be formatted as key=value")) }
}

pub fn build_command() -> Command {
    flags::leaf("kustomization", "Build what a Kustomization applies")
        .visible_alias("ks")
        .after_help(
            "  # With the Kustomization of the cluster\n  sluice build kustomization my-app --path ./deploy\n\n  # Without any cluster; substituteFrom is left out\n  sluice build kustomization my-app --path ./deploy --kustomization-file ./my-app.yaml --dry-run\n\n  # With the Kustomizations it holds\n  sluice build kustomization my-app --path ./deploy --recursive \\\n    --local-sources GitRepository/flux-system/my-repo=./",
        )
        .args(shared_flags())
        .arg(flags::switch("dry-run", "ask no cluster; needs --kustomization-file"))
}

pub fn diff_command() -> Command {
    flags::leaf("kustomization", "Say what a Kustomization would change in the cluster")
        .visible_alias("ks")
        .after_help(
            "  # Before a commit: exit code 0 no change, 1 a change, 2 an error\n  sluice diff kustomization my-app --path ./deploy\n\n  # A Kustomization that is not there yet\n  sluice diff kustomization my-app --path ./deploy --kustomization-file ./my-app.yaml --ignore-not-found",
        )
        .args(shared_flags())
        .args([
            flags::switch_on("progress-bar", "show what is going on, on a terminal"),
            flags::switch("ignore-not-found", "take a Kustomization that is not in the cluster for a new one; needs --kustomization-file"),
        ])
}

/// The flags of both commands; `dry_run` and `ignore_not_found` come from their own.
fn request(matches: &ArgMatches) -> Request {
    Request {
        ignore: matches.texts("ignore-paths"),
        strict: matches.is_set("strict-substitute"),
        recursive: matches.is_set("recursive"),
        dry_run: matches.is_set("dry-run"),
        ignore_not_found: matches.is_set("ignore-not-found"),
        local_sources: shared_sources(matches),
    }
}

/// The object, by the flags; `None` for the file where it comes from the cluster.
fn target(context: &Context, name: &str, matches: &ArgMatches) -> Result<Target, Failure> {
    let file = Some(matches.text("kustomization-file").to_owned()).filter(|file| !file.is_empty());
    if let Some(file) = file.as_ref().filter(|file| !Path::new(file).is_file()) {
        return Err(Failure::new(format!("invalid kustomization file {file:?}")));
    }
    Ok(Target { name: name.to_owned(), namespace: context.namespace.clone(), path: matches.text("path").to_owned(), file, given: None })
}

fn is_folder(path: &str) -> bool {
    !path.is_empty() && Path::new(path).is_dir()
}

pub async fn build(context: &Context, matches: &ArgMatches) -> Outcome {
    let name = matches.name("kustomization name")?;
    let path = matches.text("path");
    if !is_folder(path) {
        let shown = if path.is_empty() { String::new() } else { workspace::absolute(path) };
        return Err(Failure::new(format!("invalid resource path {shown:?}")));
    }
    let request = request(matches);
    if request.dry_run && matches.text("kustomization-file").is_empty() {
        return Err(Failure::new("dry-run mode requires a kustomization file"));
    }
    let target = target(context, &name, matches)?;
    let objects = builder::build_all(context, &request, target).await?;
    objects.iter().try_for_each(|object| output::print(&format!("{}---\n", output::yaml(object)?)))
}

/// Exit codes: 0 nothing to change, 1 something, 2 an error.
const ERROR: u8 = 2;

pub async fn diff(context: &Context, matches: &ArgMatches) -> Outcome {
    let name = matches.name("kustomization name")?;
    let path = matches.text("path");
    if !is_folder(path) {
        return Err(Failure::with_code(ERROR, format!("invalid resource path {path:?}")));
    }
    let target = target(context, &name, matches)?;
    let request = request(matches);
    if request.ignore_not_found && target.file.is_none() {
        return Err(Failure::with_code(ERROR, "kustomization file is required when assuming new kustomizations"));
    }
    let report = drift::diff(context, &request, target).await;
    output::print(&report.text)?;
    match report.errors.as_slice() {
        [] if report.changed => {
            Err(Failure { is_finding: true, ..Failure::new("identified at least one change, exiting with non-zero exit code") })
        }
        [] => Ok(()),
        [only] => Err(Failure::with_code(ERROR, only)),
        several => Err(Failure::with_code(ERROR, format!("[{}]", several.join(", ")))),
    }
}

//! `helm lint`: what is wrong, or unusual, in a chart.

use super::{arguments, options, place, values};
use crate::shell::{Context, Failure, Flags as _, Outcome, files, flags, output};
use clap::{ArgMatches, Command};
use helm::{Finding, Options, Release, Severity, Table};
use std::{fmt::Write as _, fs, path::Path};
use tree::MemoryTree;

pub fn command() -> Command {
    flags::leaf("lint", "Examine a chart for possible issues").args(values::flags()).args(options::flags()).args([
        flags::switch("quiet", "print only warnings and errors"),
        flags::switch("strict", "fail on lint warnings"),
        flags::switch("with-subcharts", "lint dependent charts"),
    ])
}

pub fn run(context: &Context, matches: &ArgMatches) -> Outcome {
    let mut places = arguments(matches, "lint", "lint PATH", 1, usize::MAX)?;
    let capabilities = options::capabilities(matches, helm::Profile::V4_3)?;
    if matches.is_set("with-subcharts") {
        for at in 0..places.len() {
            let below = Path::new(&places[at]).join("charts");
            subcharts(&below, &mut places, 0);
        }
    }
    let namespace = options::namespace(context, matches);
    let (values, _) = values::read(matches)?;
    let (quiet, strict) = (matches.is_set("quiet"), matches.is_set("strict"));
    let (mut out, mut failed, mut noted) = (String::new(), 0, 0);
    for place in &places {
        let release = Release { name: "test-release".to_owned(), namespace: namespace.clone(), revision: 1, upgrade: false };
        let options = Options { lint: true, ..options::options(release, capabilities.clone(), matches) };
        let (findings, refused) = match examine(place, &values, &options) {
            Ok(findings) => (findings, None),
            Err(failure) => (Vec::new(), Some(failure.message)),
        };
        let worst = if strict { Severity::Warning } else { Severity::Error };
        let fails = refused.is_some() || findings.iter().any(|finding| finding.severity >= worst);
        let notable = fails || findings.iter().any(|finding| finding.severity > Severity::Info);
        failed += usize::from(fails);
        noted += usize::from(notable);
        if quiet && !notable {
            continue;
        }
        let _ = writeln!(out, "==> Linting {place}");
        if let Some(why) = refused {
            let _ = writeln!(out, "Error {why}");
        }
        for finding in findings.iter().filter(|finding| !quiet || finding.severity > Severity::Info) {
            let _ = writeln!(out, "{finding}");
        }
        out.push('\n');
    }
    let summary = format!("{} chart(s) linted, {failed} chart(s) failed", places.len());
    if failed == 0 && (!quiet || noted > 0) {
        let _ = writeln!(out, "{summary}");
    }
    output::print(&out)?;
    if failed > 0 { Err(Failure::new(summary)) } else { Ok(()) }
}

/// Directories with a definition, and packed charts, in the order of a walk.
fn subcharts(below: &Path, places: &mut Vec<String>, depth: usize) {
    let Ok(entries) = fs::read_dir(below) else { return };
    let mut paths: Vec<_> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    paths.sort();
    for path in paths {
        let shown = path.to_string_lossy().into_owned();
        if path.is_dir() && depth < 64 {
            subcharts(&path, places, depth + 1);
        } else if path.file_name().is_some_and(|name| name == "Chart.yaml") {
            places.push(below.to_string_lossy().into_owned());
        } else if shown.ends_with(".tgz") || shown.ends_with(".tar.gz") {
            places.push(shown);
        }
    }
}

fn examine(place: &str, values: &Table, options: &Options<'_>) -> Result<Vec<Finding>, Failure> {
    if place.ends_with(".tgz") || place.ends_with(".tar.gz") {
        let packed = files::read(place).map_err(|why| Failure::new(format!("unable to open tarball: {why}")))?;
        let (tree, name) = unpacked(&packed).map_err(|failure| failure.context("unable to extract tarball"))?;
        return Ok(helm::lint(&tree, "", &name, values, options));
    }
    let definition = Path::new(place).join("Chart.yaml");
    if let Err(error) = fs::metadata(&definition) {
        let (shown, why) = (definition.display(), files::reason(&error));
        return Err(Failure::new(format!("unable to check Chart.yaml file in chart: stat {shown}: {why}")));
    }
    let directory = place::absolute(place);
    let tree = place::read_directory(&directory)?;
    Ok(helm::lint(&tree, "", &directory.to_string_lossy(), values, options))
}

fn unpacked(packed: &[u8]) -> Result<(MemoryTree, String), Failure> {
    let files = helm::unpack_archive(packed, helm::ChartLimits::default()).map_err(|error| Failure::new(error.to_string()))?;
    let name = files.directory;
    let tree = files.files.into_iter().map(|file| (file.name.to_string(), file.data().clone())).collect();
    Ok((tree, name))
}

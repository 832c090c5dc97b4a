//! `helm dependency`: which charts a chart needs, and whether they are there.

use super::{REPOSITORY, accepted, package, place};
use crate::shell::{Failure, Flags as _, Outcome, files, flags, output};
use clap::{ArgMatches, Command};
use helm::{Chart, Dependency, Lock, Metadata};
use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};
use types::semver::{Constraint, Version};

pub fn command() -> Command {
    let leaf = |name: &'static str, about: &'static str| {
        flags::leaf(name, about).args(accepted(REPOSITORY)).args([
            flags::switch("skip-refresh", "accepted for compatibility").hide(true),
            flags::switch("verify", "accepted for compatibility").hide(true),
        ])
    };
    flags::group("dependency", "Manage a chart's dependencies")
        .visible_aliases(["dep", "dependencies"])
        .subcommand(leaf("build", "Rebuild the charts/ directory based on the Chart.lock file"))
        .subcommand(
            flags::leaf("list", "List the dependencies for the given chart")
                .visible_alias("ls")
                .arg(flags::int("max-col-width", "maximum column width for output table").default_value("80")),
        )
        .subcommand(leaf("update", "Update charts/ based on the contents of Chart.yaml").visible_alias("up"))
}

/// Helm looks at the first argument and nothing else.
fn chart_of(matches: &ArgMatches) -> String {
    matches.arguments().into_iter().next().unwrap_or_else(|| ".".to_owned())
}

pub fn list(matches: &ArgMatches) -> Outcome {
    let given = chart_of(matches);
    let shown = place::clean(Path::new(&given));
    let chart = place::load(&shown).map_err(|failure| match fs::metadata(&shown) {
        Err(error) => Failure::new(format!("stat {}: {}", shown.display(), files::reason(&error))),
        Ok(_) => failure,
    })?;
    let charts = shown.join("charts");
    if chart.metadata.dependencies.is_empty() {
        return output::print(&format!("WARNING: no dependencies at {}\n", charts.display()));
    }
    let mut rows = vec![["NAME", "VERSION", "REPOSITORY", "STATUS"].map(str::to_owned)];
    for wanted in &chart.metadata.dependencies {
        rows.push([wanted.name.clone(), wanted.version.clone(), wanted.repository.clone(), status(&charts, wanted, &chart).to_owned()]);
    }
    let most = usize::try_from(matches.number("max-col-width").unwrap_or(80)).unwrap_or(0);
    let mut out = table(rows, most);
    out.push('\n');
    strangers(&charts, &chart.metadata, &mut out);
    output::print(&out)
}

/// Columns with a tab between them, as wide as what they hold; longer cells are cut.
fn table(mut rows: Vec<[String; 4]>, most: usize) -> String {
    for cell in rows.iter_mut().flatten() {
        if most > 0 && cell.chars().count() > most {
            *cell = cell.chars().take(most.saturating_sub(3)).collect::<String>() + "...";
        }
    }
    let widths: Vec<usize> = (0..4).map(|column| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0)).collect();
    let mut out = String::new();
    for row in &rows {
        let cells: Vec<String> = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        let _ = writeln!(out, "{}", cells.join("\t"));
    }
    out
}

/// Whether the chart that was found is of a version that is wanted; `None` when it is.
fn unfit(found: &Chart, wanted: &Dependency) -> Option<&'static str> {
    if found.metadata.version == wanted.version {
        return None;
    }
    match (Constraint::parse(&wanted.version), Version::parse(&found.metadata.version)) {
        (Ok(range), Ok(version)) => (!range.matches(&version)).then_some("wrong version"),
        _ => Some("invalid version"),
    }
}

fn status(charts: &Path, wanted: &Dependency, parent: &Chart) -> &'static str {
    let mut archives = archives_of(charts, &wanted.name);
    if archives.len() > 1 {
        let version_of = |path: &PathBuf| {
            let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            name.trim_end_matches(".tgz").trim_start_matches(&format!("{}-", wanted.name)).to_owned()
        };
        archives.retain(|path| Version::parse_strict(&version_of(path)).is_ok());
        if archives.len() > 1 {
            return "too many matches";
        }
    }
    if let Some(archive) = archives.first() {
        return match place::load(archive) {
            Err(_) => "corrupt",
            Ok(chart) if chart.name() != wanted.name => "misnamed",
            Ok(chart) => unfit(&chart, wanted).unwrap_or("ok"),
        };
    }
    // Of several charts of one name the last counts.
    match parent.dependencies.iter().rev().find(|chart| chart.name() == wanted.name) {
        None => "missing",
        Some(chart) => unfit(chart, wanted).unwrap_or("unpacked"),
    }
}

fn archives_of(charts: &Path, name: &str) -> Vec<PathBuf> {
    let begin = format!("{name}-");
    let mut paths: Vec<PathBuf> = entries(charts)
        .into_iter()
        .filter(|path| {
            path.file_name().is_some_and(|own| own.to_string_lossy().starts_with(&begin) && own.to_string_lossy().ends_with(".tgz"))
        })
        .collect();
    paths.sort();
    paths
}

fn entries(directory: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<PathBuf> = fs::read_dir(directory).into_iter().flatten().filter_map(|entry| Some(entry.ok()?.path())).collect();
    paths.sort();
    paths
}

/// Charts that are there but that Chart.yaml does not name.
fn strangers(charts: &Path, metadata: &Metadata, out: &mut String) {
    for path in entries(charts) {
        if !place::is_directory(&path) && path.extension().is_none_or(|extension| extension != "tgz") {
            continue;
        }
        let shown = path.to_string_lossy();
        let _ = match place::load(&path) {
            Err(_) => writeln!(out, "WARNING: {shown:?} is not a chart."),
            Ok(chart) if !metadata.dependencies.iter().any(|wanted| wanted.name == chart.name()) => {
                writeln!(out, "WARNING: {shown:?} is not in Chart.yaml.")
            }
            Ok(_) => Ok(()),
        };
    }
}

pub fn build(matches: &ArgMatches) -> Outcome {
    let path = PathBuf::from(chart_of(matches));
    let chart = load_directory(&path)?;
    let Some(lock) = &chart.lock else { return print_steps(update_charts(&path)) };
    check_places(&path, &chart.metadata)?;
    if !lock.is_for(&chart.metadata) {
        return Err(Failure::new(if chart.metadata.api_version == "v1" {
            "the lock file (requirements.lock) is out of sync with the dependencies file (requirements.yaml). Please update the dependencies"
        } else {
            "the lock file (Chart.lock) is out of sync with the dependencies file (Chart.yaml). Please update the dependencies with 'helm dependency update'"
        }));
    }
    let mut locked = lock.dependencies.clone();
    let mut said = String::new();
    let done = fetch(&path, &mut locked, &mut said);
    output::print(&said)?;
    done
}

pub fn update(matches: &ArgMatches) -> Outcome {
    print_steps(update_charts(Path::new(&chart_of(matches))))
}

fn print_steps(done: Result<String, Failure>) -> Outcome {
    output::print(&done?)
}

/// Resolves dependencies anew and puts them into charts/. Gives what Helm says on the way.
pub fn update_charts(path: &Path) -> Result<String, Failure> {
    let chart = load_directory(path)?;
    if chart.metadata.dependencies.is_empty() {
        return Ok(String::new());
    }
    check_places(path, &chart.metadata)?;
    let mut locked = resolve(path, &chart.metadata)?;
    let mut said = String::new();
    if let Err(failure) = fetch(path, &mut locked, &mut said) {
        output::print(&said)?;
        return Err(failure);
    }
    let now = place::source_date()?.and_then(|seconds| jiff::Timestamp::from_second(seconds).ok());
    let lock = Lock::new(&chart.metadata, locked, now.unwrap_or_else(jiff::Timestamp::now).to_string());
    if chart.lock.as_ref().is_none_or(|old| old.digest != lock.digest) {
        write_lock(path, &lock, chart.metadata.api_version == "v1")?;
    }
    Ok(said)
}

fn load_directory(path: &Path) -> Result<Chart, Failure> {
    match fs::metadata(path) {
        Err(error) => {
            let shown = path.display();
            Err(Failure::new(format!("could not find {shown}: stat {shown}: {}", files::reason(&error))))
        }
        Ok(about) if !about.is_dir() => Err(Failure::new("only unpacked charts can be updated")),
        Ok(_) => place::load(path),
    }
}

/// The directory that a `file://` repository, or a path in the chart, names.
fn local(repository: &str, chart: &Path) -> Result<PathBuf, Failure> {
    let path = repository.strip_prefix("file://").unwrap_or(repository);
    let path = if path.starts_with('/') { place::clean(Path::new(path)) } else { place::clean(&chart.join(path)) };
    match fs::metadata(&path) {
        Ok(_) => Ok(path),
        Err(_) => Err(Failure::new(format!("directory {} not found", path.display()))),
    }
}

fn check_places(chart: &Path, metadata: &Metadata) -> Outcome {
    for dependency in &metadata.dependencies {
        let repository = &dependency.repository;
        if repository.starts_with("file://") {
            local(repository, chart)?;
        } else if !repository.is_empty() {
            return Err(Failure::new(format!(
                "dependency {:?} comes from {repository}: only dependencies in charts/ and at file:// are fetched here",
                dependency.name
            )));
        }
    }
    Ok(())
}

fn range_of(dependency: &Dependency) -> Result<Constraint, Failure> {
    Constraint::parse(&dependency.version)
        .map_err(|why| Failure::new(format!("dependency {:?} has an invalid version/constraint format: {why}", dependency.name)))
}

/// The version of each dependency, and what is not to be had.
fn resolve(path: &Path, metadata: &Metadata) -> Result<Vec<Dependency>, Failure> {
    let (mut locked, mut missing) = (Vec::new(), Vec::new());
    for wanted in &metadata.dependencies {
        let range = range_of(wanted)?;
        let lock = |version: &str| Dependency {
            name: wanted.name.clone(),
            repository: wanted.repository.clone(),
            version: version.to_owned(),
            ..Dependency::default()
        };
        if wanted.repository.is_empty() {
            local(&format!("charts/{}", wanted.name), path)?;
            locked.push(lock(&wanted.version));
            continue;
        }
        let chart = place::load(&local(&wanted.repository, path)?)?;
        match Version::parse(&chart.metadata.version) {
            Ok(version) if range.matches(&version) => locked.push(lock(&chart.metadata.version)),
            _ => missing.push(format!("{:?} (repository {:?}, version {:?})", wanted.name, wanted.repository, wanted.version)),
        }
    }
    if missing.is_empty() {
        return Ok(locked);
    }
    Err(Failure::new(format!(
        "can't get a valid version for {} subchart(s): {}. Make sure a matching chart version exists in the repo, or change the version constraint in Chart.yaml",
        missing.len(),
        missing.join(", ")
    )))
}

/// Packs local dependencies into charts/ and takes away archives that are no longer wanted.
fn fetch(path: &Path, locked: &mut [Dependency], said: &mut String) -> Outcome {
    let charts = path.join("charts");
    match fs::metadata(&charts) {
        Ok(about) if !about.is_dir() => return Err(Failure::new(format!("{:?} is not a directory", charts.display()))),
        Ok(_) => {}
        Err(_) => {
            fs::create_dir_all(&charts).map_err(|error| Failure::new(format!("mkdir {}: {}", charts.display(), files::reason(&error))))?
        }
    }
    let _ = writeln!(said, "Saving {} charts", locked.len());
    let mut packed = Vec::new();
    for dependency in locked.iter_mut() {
        match find(path, &charts, dependency, said) {
            Ok(Some(chart)) => {
                dependency.version.clone_from(&chart.metadata.version);
                packed.push(chart);
            }
            Ok(None) => {}
            Err(failure) => {
                let _ = writeln!(said, "Save error occurred:  {}", failure.message);
                return Err(failure);
            }
        }
    }
    for chart in &packed {
        package::save(chart, &charts, false)?;
    }
    said.push_str("Deleting outdated charts\n");
    let wanted: Vec<String> = packed.iter().map(Chart::archive_name).collect();
    for file in entries(&charts) {
        let name = file.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        if place::is_directory(&file) || wanted.contains(&name) {
            continue;
        }
        match place::load(&file) {
            Err(failure) => {
                let _ = writeln!(said, "Could not verify {} for deletion: {} (Skipping)", file.display(), failure.message);
            }
            Ok(chart) if locked.iter().any(|one| one.repository.is_empty() && one.name == chart.name()) => {}
            Ok(_) => {
                fs::remove_file(&file).map_err(|error| Failure::new(format!("remove {}: {}", file.display(), files::reason(&error))))?
            }
        }
    }
    Ok(())
}

/// The chart to pack; `None` for one that is in charts/ already.
fn find(path: &Path, charts: &Path, dependency: &Dependency, said: &mut String) -> Result<Option<Chart>, Failure> {
    let name = &dependency.name;
    if dependency.repository.is_empty() {
        let _ = writeln!(said, "Dependency {name} did not declare a repository. Assuming it exists in the charts directory");
        let place = charts.join(name);
        let chart = place::load(&place).map_err(|failure| failure.context(&format!("unable to load chart '{}'", place.display())))?;
        let range = range_of(dependency)?;
        return match Version::parse(&chart.metadata.version) {
            Ok(version) if range.matches(&version) => Ok(None),
            _ => Err(Failure::new(format!(
                "dependency {name} at version {} does not satisfy the constraint {}",
                chart.metadata.version, dependency.version
            ))),
        };
    }
    let chart = place::load(&local(&dependency.repository, path)?)?;
    let range = range_of(dependency)?;
    match Version::parse(&chart.metadata.version) {
        Ok(version) if range.matches(&version) => Ok(Some(chart)),
        _ => Err(Failure::new(format!("can't get a valid version for dependency {name}"))),
    }
}

/// Writes the lock, but never through a link, which could lead anywhere.
fn write_lock(path: &Path, lock: &Lock, legacy: bool) -> Outcome {
    let name = if legacy { "requirements.lock" } else { "Chart.lock" };
    let file = path.join(name);
    if let Ok(about) = fs::symlink_metadata(&file)
        && about.is_symlink()
    {
        let target = fs::read_link(&file).unwrap_or_default();
        return Err(Failure::new(format!("the {name} file is a symlink to {:?}", target.display().to_string())));
    }
    fs::write(&file, lock.to_yaml()).map_err(|error| Failure::new(format!("open {}: {}", file.display(), files::reason(&error))))
}

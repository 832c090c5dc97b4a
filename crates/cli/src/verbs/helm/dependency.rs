//! `helm dependency`: which charts a chart needs, and whether they are there.

use super::{
    package, place,
    remote::{self, Remote},
};
use crate::shell::{Failure, Flags as _, Outcome, files, flags, output};
use bytes::Bytes;
use chartrepo::SelectError;
use clap::{ArgMatches, Command};
use helm::{Chart, ChartLimits, Dependency, Lock, Metadata};
use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};
use types::semver::{Constraint, Version};

pub fn command() -> Command {
    let leaf = |name: &'static str, about: &'static str| {
        flags::leaf(name, about)
            .args(remote::flags())
            .arg(flags::switch("skip-refresh", "accepted for compatibility; every index is fetched anew").hide(true))
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

/// The chart that is named, or the one in this directory.
fn chart_of(command: &str, matches: &ArgMatches) -> Result<String, Failure> {
    let mut given = matches.arguments();
    if given.len() > 1 {
        let whole = format!("sluice helm dependency {command}");
        return Err(Failure::new(format!("\"{whole}\" accepts at most 1 argument\n\nUsage:  {whole} CHART [flags]")));
    }
    Ok(given.pop().unwrap_or_else(|| ".".to_owned()))
}

pub fn list(matches: &ArgMatches) -> Outcome {
    let given = chart_of("list", matches)?;
    let shown = place::clean(Path::new(&given));
    let here = if shown.as_os_str().is_empty() { Path::new(".") } else { &shown };
    let chart = place::load(here).map_err(|failure| match fs::metadata(here) {
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
    let path = PathBuf::from(chart_of("build", matches)?);
    let chart = load_directory(&path)?;
    let Some(lock) = &chart.lock else { return print_steps(update_charts(&path, matches)) };
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
    let done = Remote::new(matches).and_then(|mut remote| fetch(&path, &mut locked, &mut remote, &mut said));
    output::print(&said)?;
    done
}

pub fn update(matches: &ArgMatches) -> Outcome {
    print_steps(update_charts(Path::new(&chart_of("update", matches)?), matches))
}

fn print_steps(done: Result<String, Failure>) -> Outcome {
    output::print(&done?)
}

/// Resolves dependencies anew and puts them into charts/. Gives what Helm says on the way.
pub fn update_charts(path: &Path, matches: &ArgMatches) -> Result<String, Failure> {
    let chart = load_directory(path)?;
    if chart.metadata.dependencies.is_empty() {
        return Ok(String::new());
    }
    check_places(path, &chart.metadata)?;
    let mut remote = Remote::new(matches)?;
    let mut said = String::new();
    let fetched = refresh(&chart.metadata, &mut remote, &mut said).and_then(|()| {
        let mut locked = resolve(path, &chart.metadata, &mut remote)?;
        fetch(path, &mut locked, &mut remote, &mut said)?;
        Ok(locked)
    });
    let locked = match fetched {
        Ok(locked) => locked,
        Err(failure) => {
            output::print(&said)?;
            return Err(failure);
        }
    };
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

/// Whether a dependency comes from a repository or a registry.
fn is_remote(repository: &str) -> bool {
    remote::is_address(repository) || repository.starts_with('@') || repository.starts_with("alias:")
}

/// Fetches the index of every repository that dependencies name, and says so as Helm does.
fn refresh(metadata: &Metadata, remote: &mut Remote<'_>, said: &mut String) -> Outcome {
    let mut urls: Vec<String> = Vec::new();
    for dependency in metadata.dependencies.iter().filter(|one| is_remote(&one.repository) && !one.repository.starts_with("oci://")) {
        let url = remote.address(&dependency.repository)?;
        if !urls.contains(&url) {
            urls.push(url);
        }
    }
    let (named, unnamed): (Vec<String>, Vec<String>) = urls.into_iter().partition(|url| remote.name_of(url).is_some());
    for (urls, heading) in [
        (unnamed, "Getting updates for unmanaged Helm repositories...\n"),
        (named, "Hang tight while we grab the latest from your chart repositories...\n"),
    ] {
        if urls.is_empty() {
            continue;
        }
        said.push_str(heading);
        for url in &urls {
            let fetched = remote.listing(url).map(drop);
            let shown = remote.name_of(url).map_or_else(|| remote::shown(url), str::to_owned);
            if let Err(failure) = fetched {
                let _ = writeln!(said, "...Unable to get an update from the {shown:?} chart repository:\n\t{}", failure.message);
                return Err(remote::unreachable(url, &failure));
            }
            let _ = writeln!(said, "...Successfully got an update from the {shown:?} chart repository");
        }
        if heading.starts_with("Hang") {
            said.push_str("Update Complete. ⎈Happy Helming!⎈\n");
        }
    }
    Ok(())
}

fn check_places(chart: &Path, metadata: &Metadata) -> Outcome {
    for dependency in &metadata.dependencies {
        let repository = &dependency.repository;
        if repository.starts_with("file://") {
            local(repository, chart)?;
        } else if !repository.is_empty() && !is_remote(repository) {
            return Err(Failure::new(format!(
                "no repository definition for {repository}. Please add the missing repos via 'helm repo add'"
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
fn resolve(path: &Path, metadata: &Metadata, remote: &mut Remote<'_>) -> Result<Vec<Dependency>, Failure> {
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
        if wanted.repository.starts_with("oci://") {
            // Which tag a range means is asked when the chart is fetched.
            locked.push(lock(&wanted.version));
            continue;
        }
        if is_remote(&wanted.repository) {
            let url = remote.address(&wanted.repository)?;
            match remote.listing(&url)?.select(&wanted.name, &wanted.version) {
                Ok(entry) => locked.push(lock(&entry.version)),
                Err(SelectError::NoChart) => {
                    return Err(Failure::new(format!("{} chart not found in repo {}", wanted.name, remote::shown(&wanted.repository))));
                }
                Err(_) => missing.push(missing_text(wanted)),
            }
            continue;
        }
        let chart = place::load(&local(&wanted.repository, path)?)?;
        match Version::parse(&chart.metadata.version) {
            Ok(version) if range.matches(&version) => locked.push(lock(&chart.metadata.version)),
            _ => missing.push(missing_text(wanted)),
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

fn missing_text(wanted: &Dependency) -> String {
    format!("{:?} (repository {:?}, version {:?})", wanted.name, remote::shown(&wanted.repository), wanted.version)
}

/// Puts dependencies into charts/, local ones packed, and takes away archives that are no longer wanted.
fn fetch(path: &Path, locked: &mut [Dependency], remote: &mut Remote<'_>, said: &mut String) -> Outcome {
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
        match find(path, &charts, dependency, remote, said) {
            Ok(Some(found)) => {
                dependency.version.clone_from(&found.0.metadata.version);
                packed.push(found);
            }
            Ok(None) => {}
            Err(failure) => {
                let _ = writeln!(said, "Save error occurred:  {}", failure.message);
                return Err(failure);
            }
        }
    }
    for (chart, archive) in &packed {
        match archive {
            Some(archive) => package::write(&charts, &chart.archive_name(), archive)?,
            None => package::save(chart, &charts, false)?,
        };
    }
    said.push_str("Deleting outdated charts\n");
    let wanted: Vec<String> = packed.iter().map(|(chart, _)| chart.archive_name()).collect();
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

/// The chart, and its archive where it was fetched as one; `None` for one that is in charts/ already.
fn find(
    path: &Path,
    charts: &Path,
    dependency: &Dependency,
    remote: &mut Remote<'_>,
    said: &mut String,
) -> Result<Option<(Chart, Option<Bytes>)>, Failure> {
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
    if is_remote(&dependency.repository) {
        let _ = writeln!(said, "Downloading {name} from repo {}", remote::shown(&dependency.repository));
        let archive = if dependency.repository.starts_with("oci://") {
            let address = format!("{}/{name}", dependency.repository.trim_end_matches('/'));
            let fetched = remote.registry_chart(&address, &dependency.version);
            let (archive, pulled) =
                fetched.map_err(|failure| failure.context(&format!("could not download {}", remote::shown(&address))))?;
            said.push_str(&pulled);
            archive
        } else {
            let url = remote.address(&dependency.repository)?;
            remote.repository_chart(&url, name, &dependency.version)?
        };
        let chart = Chart::from_archive(&archive, ChartLimits::default()).map_err(|error| Failure::new(error.to_string()))?;
        if chart.name() != name {
            return Err(Failure::new(format!(
                "{} has a chart {:?} where {name:?} should be",
                remote::shown(&dependency.repository),
                chart.name()
            )));
        }
        return Ok(Some((chart, Some(archive))));
    }
    let chart = place::load(&local(&dependency.repository, path)?)?;
    let range = range_of(dependency)?;
    match Version::parse(&chart.metadata.version) {
        Ok(version) if range.matches(&version) => Ok(Some((chart, None))),
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

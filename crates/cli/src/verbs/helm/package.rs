//! `helm package`: a chart's directory as the archive that repositories hold.

use super::{dependency, place, remote};
use crate::shell::{Failure, Flags as _, Outcome, files, flags, output};
use clap::{ArgMatches, Command};
use helm::Chart;
use std::{
    fs,
    path::{Path, PathBuf},
};

pub fn command() -> Command {
    flags::leaf("package", "Package a chart directory into a chart archive")
        .after_help("  # The same chart gives the same bytes\n  sluice helm package ./chart --version 1.2.3 -d dist")
        .args(remote::flags())
        .args([
            flags::string("app-version", "set the appVersion on the chart to this version"),
            flags::switch("dependency-update", "update dependencies from \"Chart.yaml\" to dir \"charts/\" before packaging").short('u'),
            flags::string("destination", "location to write the chart.").short('d').default_value("."),
            flags::switch("sign", "refused: packages are not signed here").hide(true),
            flags::string("key", "accepted for compatibility").hide(true),
            flags::string("passphrase-file", "accepted for compatibility").hide(true),
            flags::string("version", "set the version on the chart to this semver version"),
        ])
}

pub fn run(matches: &ArgMatches) -> Outcome {
    let places = matches.arguments();
    if places.is_empty() {
        return Err(Failure::new("need at least one argument, the path to the chart"));
    }
    if matches.is_set("sign") {
        return Err(Failure::new(
            "packages are not signed here; leave --sign away and sign the archive with 'helm package --sign', or with cosign once it is in a registry",
        ));
    }
    for place in &places {
        let path = place::absolute(place);
        fs::metadata(&path).map_err(|error| Failure::new(format!("stat {place}: {}", files::reason(&error))))?;
        if matches.is_set("dependency-update") {
            dependency::update_charts(&path, matches)?;
        }
        if !place::is_directory(&path) {
            let shown = path.display();
            return Err(Failure::new(format!("unable to detect chart at {shown}/Chart.yaml: open {shown}/Chart.yaml: not a directory")));
        }
        let saved = package(place::detect(&path, None)?, matches)?;
        output::print(&format!("Successfully packaged chart and saved it to: {}\n", saved.display()))?;
    }
    Ok(())
}

fn package(mut chart: Chart, matches: &ArgMatches) -> Result<PathBuf, Failure> {
    let (version, app_version) = (matches.text("version"), matches.text("app-version"));
    if !version.is_empty() {
        chart.set_version(version).map_err(|_| Failure::new("invalid semantic version"))?;
    }
    if !app_version.is_empty() {
        chart.metadata.app_version = app_version.to_owned();
    }
    chart.has_dependencies().map_err(|error| Failure::new(error.to_string()))?;
    save(&chart, Path::new(matches.text("destination")), true)
}

/// Writes a packed chart into a directory, which is made where it is missing.
pub fn save(chart: &Chart, directory: &Path, made: bool) -> Result<PathBuf, Failure> {
    let failed = |what: &str, path: &Path, error: &std::io::Error| {
        Failure::new(format!("failed to save: {what} {}: {}", path.display(), files::reason(error)))
    };
    let directory = if directory == Path::new(".") { place::absolute(".") } else { directory.to_owned() };
    match fs::metadata(&directory) {
        Ok(about) if !about.is_dir() => return Err(Failure::new(format!("failed to save: is not a directory: {}", directory.display()))),
        Err(error) if made && error.kind() == std::io::ErrorKind::NotFound => {
            fs::create_dir_all(&directory).map_err(|error| failed("mkdir", &directory, &error))?;
        }
        Err(error) => {
            let what = format!("stat {}: stat", directory.display());
            return Err(failed(&what, &directory, &error));
        }
        Ok(_) => {}
    }
    let modified = u64::try_from(place::source_date()?.unwrap_or(0)).unwrap_or(0);
    let packed = chart.pack(modified).map_err(|error| Failure::new(format!("failed to save: {error}")))?;
    write(&directory, &chart.archive_name(), &packed)
}

/// Writes an archive. Another reader sees the old one or the new one, never a part.
pub fn write(directory: &Path, name: &str, packed: &[u8]) -> Result<PathBuf, Failure> {
    let path = directory.join(name);
    let part = directory.join(format!(".{name}.part-{}", std::process::id()));
    fs::write(&part, packed).and_then(|()| fs::rename(&part, &path)).map_err(|error| {
        let _ = fs::remove_file(&part);
        Failure::new(format!("failed to save: open {}: {}", path.display(), files::reason(&error)))
    })?;
    Ok(path)
}

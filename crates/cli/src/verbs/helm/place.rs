//! Where charts lie: directories and packed files.

use super::remote::{self, Remote};
use crate::shell::{Failure, Flags as _, Outcome, files};
use clap::ArgMatches;
use helm::{Chart, ChartFile, ChartLimits, Error, IgnoreRules};
use std::{
    env, fs,
    path::{Path, PathBuf},
};
use tree::MemoryTree;

/// The chart that a command line names, and where it lies if that is on this machine.
pub fn named(name: &str, matches: &ArgMatches) -> Result<(Chart, Option<PathBuf>), Failure> {
    let name = name.trim();
    let elsewhere = !matches.text("repo").is_empty() || remote::is_address(name);
    if !elsewhere && (fs::metadata(name).is_ok() || Path::new(name).is_absolute() || name.starts_with('.')) {
        let path = locate(name)?;
        return Ok((detect(&path)?, Some(path)));
    }
    let archive = Remote::new(matches)?.chart(name)?;
    let chart = Chart::from_archive(&archive, ChartLimits::default()).map_err(|error| Failure::new(error.to_string()))?;
    Ok((chart, None))
}

/// Finds a chart that can only be on this machine.
pub fn locate(name: &str) -> Result<PathBuf, Failure> {
    let name = name.trim();
    if fs::metadata(name).is_ok() {
        return Ok(absolute(name));
    }
    if remote::is_address(name) {
        let shown = remote::shown(name);
        return Err(Failure::new(format!("charts are read from directories and packed files only, not from {shown}")));
    }
    Err(Failure::new(format!("path {name:?} not found")))
}

/// The path from the root of the file system, `.` and `..` resolved as text, as Go's `filepath.Abs` does.
pub fn absolute(name: &str) -> PathBuf {
    let joined = env::current_dir().unwrap_or_default().join(name);
    clean(&joined)
}

pub fn clean(path: &Path) -> PathBuf {
    use std::path::Component;
    let mut out = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir if matches!(out.components().next_back(), Some(Component::Normal(_))) => drop(out.pop()),
            Component::ParentDir if out.has_root() => {}
            other => out.push(other),
        }
    }
    out
}

pub fn is_directory(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|about| about.is_dir())
}

/// Loads a chart from a directory or a packed file.
pub fn load(path: &Path) -> Result<Chart, Failure> {
    let wrong = |error: Error| Failure::new(error.to_string());
    let limits = ChartLimits::default();
    if is_directory(path) {
        let ignore = fs::read(path.join(".helmignore")).unwrap_or_default();
        let rules = IgnoreRules::parse(&String::from_utf8_lossy(&ignore)).map_err(Failure::new)?;
        let mut files = Vec::new();
        walk(path, "", &mut |name, directory| !rules.ignores(name, directory), &mut |name, data| {
            files.extend(data.map(|data| ChartFile::new(name, data)));
        })?;
        return Chart::from_directory(files, limits).map_err(wrong);
    }
    let packed = files::read(&path.to_string_lossy())?;
    if !packed.starts_with(&[0x1f, 0x8b]) {
        let shown = path.display();
        return Err(Failure::new(format!("file '{shown}' does not appear to be a gzipped archive; got 'application/octet-stream'")));
    }
    Chart::from_archive(&packed, limits).map_err(wrong)
}

/// Loads a chart after a look for its definition, as the commands that take any kind of chart do.
pub fn detect(path: &Path) -> Result<Chart, Failure> {
    let definition = path.join("Chart.yaml");
    match fs::metadata(&definition) {
        Err(error) if is_directory(path) => {
            let (shown, why) = (definition.display(), files::reason(&error));
            Err(Failure::new(format!("unable to detect chart at {shown}: open {shown}: {why}")))
        }
        _ => load(path),
    }
}

/// All files below a directory, links followed as Helm follows them.
pub fn read_directory(path: &Path) -> Result<MemoryTree, Failure> {
    let mut tree = MemoryTree::new();
    walk(path, "", &mut |_, _| true, &mut |name, data| {
        match data {
            Some(data) => tree.insert(name, data, false),
            None => tree.insert_dir(name),
        };
    })?;
    Ok(tree)
}

/// Gives the wanted files of a directory, and the directories (without data), in the order of their names. What is not wanted is not read.
fn walk(root: &Path, below: &str, wanted: &mut dyn FnMut(&str, bool) -> bool, take: &mut dyn FnMut(&str, Option<Vec<u8>>)) -> Outcome {
    walk_at(root, below, 0, &mut 0, wanted, take)
}

fn walk_at(
    root: &Path,
    below: &str,
    depth: usize,
    total: &mut u64,
    wanted: &mut dyn FnMut(&str, bool) -> bool,
    take: &mut dyn FnMut(&str, Option<Vec<u8>>),
) -> Outcome {
    if depth > 64 {
        return Err(Failure::new(format!("directories are nested too deeply at {below:?}; does a link lead back up?")));
    }
    let failed = |error: &std::io::Error| Failure::new(format!("error reading {below}: {}", files::reason(error)));
    let entries = fs::read_dir(root.join(below)).and_then(Iterator::collect::<std::io::Result<Vec<_>>>);
    let mut entries = entries.map_err(|error| failed(&error))?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = if below.is_empty() { name } else { format!("{below}/{name}") };
        let kind = entry.file_type().map_err(|error| failed(&error))?;
        // Only links need another look.
        let kind = if kind.is_symlink() { fs::metadata(entry.path()).map_err(|error| failed(&error))?.file_type() } else { kind };
        if kind.is_dir() {
            if path != ".git" && wanted(&path, true) {
                take(&path, None);
                walk_at(root, &path, depth + 1, total, wanted, take)?;
            }
        } else if kind.is_file() && wanted(&path, false) {
            let data = fs::read(entry.path()).map_err(|error| failed(&error))?;
            *total += data.len() as u64;
            let most = ChartLimits::default().total;
            if *total > most {
                return Err(Failure::new(format!("chart exceeds maximum decompressed size of {most} bytes")));
            }
            take(&path, Some(data));
        }
    }
    Ok(())
}

/// The time that archives and locks get: SOURCE_DATE_EPOCH where it is set, so that they can be made again.
pub fn source_date() -> Result<Option<i64>, Failure> {
    match env::var("SOURCE_DATE_EPOCH") {
        Ok(text) if !text.is_empty() => match text.parse::<i64>() {
            Ok(seconds) if seconds >= 0 => Ok(Some(seconds)),
            _ => Err(Failure::new(format!("invalid SOURCE_DATE_EPOCH value: {text:?} must be a number of seconds since 1970"))),
        },
        _ => Ok(None),
    }
}

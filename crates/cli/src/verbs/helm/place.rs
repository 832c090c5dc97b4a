//! Where charts lie: directories and packed files.

use crate::shell::{Failure, Outcome, files};
use helm::{Chart, ChartLimits, Error};
use std::{
    env, fs,
    path::{Path, PathBuf},
};
use tree::MemoryTree;

/// Finds what a command line calls a chart. Charts in repositories are not among it.
pub fn locate(name: &str) -> Result<PathBuf, Failure> {
    let name = name.trim();
    if fs::metadata(name).is_ok() {
        return Ok(absolute(name));
    }
    if Path::new(name).is_absolute() || name.starts_with('.') {
        return Err(Failure::new(format!("path {name:?} not found")));
    }
    if name.starts_with("oci://") || name.starts_with("http://") || name.starts_with("https://") {
        return Err(Failure::new(format!("charts are read from directories and packed files only, not from {name}")));
    }
    Err(Failure::new(format!("path {name:?} not found; charts are read from directories and packed files only")))
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
        let tree = read_directory(path)?;
        return Chart::from_tree(&tree, "", limits).map_err(wrong);
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
    collect(path, "", &mut tree, &mut 0, 0)?;
    Ok(tree)
}

fn collect(root: &Path, below: &str, tree: &mut MemoryTree, total: &mut u64, depth: usize) -> Outcome {
    if depth > 64 {
        return Err(Failure::new(format!("directories are nested too deeply at {below:?}; does a link lead back up?")));
    }
    let failed = |error: &std::io::Error| Failure::new(format!("error reading {below}: {}", files::reason(error)));
    for entry in fs::read_dir(root.join(below)).map_err(|error| failed(&error))? {
        let entry = entry.map_err(|error| failed(&error))?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = if below.is_empty() { name } else { format!("{below}/{name}") };
        let kind = entry.file_type().map_err(|error| failed(&error))?;
        // Only links need another look.
        let kind = if kind.is_symlink() { fs::metadata(entry.path()).map_err(|error| failed(&error))?.file_type() } else { kind };
        if kind.is_dir() {
            if path != ".git" {
                tree.insert_dir(&path);
                collect(root, &path, tree, total, depth + 1)?;
            }
        } else if kind.is_file() {
            let data = fs::read(entry.path()).map_err(|error| failed(&error))?;
            *total += data.len() as u64;
            let most = ChartLimits::default().total;
            if *total > most {
                return Err(Failure::new(format!("chart exceeds maximum decompressed size of {most} bytes")));
            }
            tree.insert(&path, data, false);
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

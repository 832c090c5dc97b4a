//! Where charts lie: directories and packed files.

use super::remote::{self, Remote};
use crate::shell::{Failure, Flags as _, Outcome, files};
use clap::ArgMatches;
use helm::{Ahead, Chart, ChartFile, ChartLimits, Error, IgnoreRules, Profile};
use std::{
    env, fs,
    io::Read as _,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, OnceLock},
};
use tree::MemoryTree;

/// What is read of a chart's directory later, when it is asked for, and could not be read then.
#[derive(Clone, Default)]
pub struct Later {
    failed: Arc<Mutex<Option<String>>>,
    /// Its templates, which a second thread has begun with.
    ahead: Arc<OnceLock<Ahead>>,
}

impl Later {
    /// Fails where something that was asked for could not be read.
    pub fn check(&self) -> Outcome {
        match self.failed.lock().ok().and_then(|failed| failed.clone()) {
            Some(why) => Err(Failure::new(why)),
            None => Ok(()),
        }
    }

    pub fn ahead(&self) -> Option<&Ahead> {
        self.ahead.get()
    }

    /// Begins to parse templates on another thread.
    fn begin(&self, files: &[ChartFile]) {
        let Some(ahead) = Ahead::of(files, Profile::V4_3) else { return };
        if self.ahead.set(ahead).is_ok() {
            let ahead = self.ahead.clone();
            std::thread::spawn(move || ahead.get().map(Ahead::work));
        }
    }

    fn read(&self, path: &Path, size: u64) -> Vec<u8> {
        read_sized(path, size).unwrap_or_else(|error| {
            if let Ok(mut failed) = self.failed.lock() {
                failed.get_or_insert_with(|| unreadable(&path.to_string_lossy(), &error));
            }
            Vec::new()
        })
    }
}

/// A file whose size is known: one look at it is enough, unless it has changed.
fn read_sized(path: &Path, size: u64) -> std::io::Result<Vec<u8>> {
    let mut data = vec![0; usize::try_from(size.min(ChartLimits::default().file)).unwrap_or(0) + 1];
    let length = fs::File::open(path)?.read(&mut data)?;
    if length as u64 != size {
        return fs::read(path);
    }
    data.truncate(length);
    Ok(data)
}

fn unreadable(shown: &str, error: &std::io::Error) -> String {
    format!("error reading {shown}: {}", files::reason(error))
}

/// The chart that a command line names, and where it lies if that is on this machine. With `later`, only what every command needs of a
/// directory is read at once.
pub fn named(name: &str, matches: &ArgMatches, later: Option<&Later>) -> Result<(Chart, Option<PathBuf>), Failure> {
    let name = name.trim();
    let elsewhere = !matches.text("repo").is_empty() || remote::is_address(name);
    if !elsewhere && (fs::metadata(name).is_ok() || Path::new(name).is_absolute() || name.starts_with('.')) {
        let path = locate(name)?;
        return Ok((detect(&path, later)?, Some(path)));
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
    load_with(path, None)
}

fn load_with(path: &Path, later: Option<&Later>) -> Result<Chart, Failure> {
    let wrong = |error: Error| Failure::new(error.to_string());
    let limits = ChartLimits::default();
    if is_directory(path) {
        let ignore = fs::read(path.join(".helmignore")).unwrap_or_default();
        let rules = IgnoreRules::parse(&String::from_utf8_lossy(&ignore)).map_err(Failure::new)?;
        let mut files = Vec::new();
        walk(path, &mut |name, directory| !rules.ignores(name, directory), &mut |name, file| {
            let Some(file) = file else { return Ok(0) };
            let (file, size) = match later {
                None => {
                    let data = fs::read(file)?;
                    let size = data.len() as u64;
                    (ChartFile::new(name, data), size)
                }
                Some(later) => {
                    let (later, size) = (later.clone(), fs::metadata(&file)?.len());
                    (ChartFile::deferred(name, size, move || later.read(&file, size).into()), size)
                }
            };
            files.push(file);
            Ok(size)
        })?;
        if let Some(later) = later {
            later.begin(&files);
        }
        let chart = Chart::from_directory(files, limits);
        later.map_or(Ok(()), Later::check)?;
        return chart.map_err(wrong);
    }
    let packed = files::read(&path.to_string_lossy())?;
    if !packed.starts_with(&[0x1f, 0x8b]) {
        let shown = path.display();
        if path.extension().is_some_and(|end| end == "yaml" || end == "yml") {
            return Err(Failure::new(format!("file '{shown}' seems to be a YAML file, but expected a gzipped archive")));
        }
        return Err(Failure::new(format!("file '{shown}' does not appear to be a gzipped archive; got 'application/octet-stream'")));
    }
    Chart::from_archive(&packed, limits).map_err(wrong)
}

/// Loads a chart after a look for its definition, as the commands that take any kind of chart do.
pub fn detect(path: &Path, later: Option<&Later>) -> Result<Chart, Failure> {
    let definition = path.join("Chart.yaml");
    match fs::metadata(&definition) {
        Err(error) if is_directory(path) => {
            let (shown, why) = (definition.display(), files::reason(&error));
            Err(Failure::new(format!("unable to detect chart at {shown}: open {shown}: {why}")))
        }
        _ => load_with(path, later),
    }
}

/// All files below a directory, links followed as Helm follows them.
pub fn read_directory(path: &Path) -> Result<MemoryTree, Failure> {
    let mut tree = MemoryTree::new();
    walk(path, &mut |_, _| true, &mut |name, file| {
        let data = file.map(fs::read).transpose()?;
        let size = data.as_ref().map_or(0, |data| data.len() as u64);
        match data {
            Some(data) => tree.insert(name, data, false),
            None => tree.insert_dir(name),
        };
        Ok(size)
    })?;
    Ok(tree)
}

/// What is made of a file (with its path) or of a directory (without): its size.
type Take<'t> = &'t mut dyn FnMut(&str, Option<PathBuf>) -> std::io::Result<u64>;

/// Gives the wanted files of a directory, and the directories, in the order of their names.
fn walk(root: &Path, wanted: &mut dyn FnMut(&str, bool) -> bool, take: Take<'_>) -> Outcome {
    walk_at(root, "", 0, &mut 0, wanted, take)
}

fn walk_at(root: &Path, below: &str, depth: usize, total: &mut u64, wanted: &mut dyn FnMut(&str, bool) -> bool, take: Take<'_>) -> Outcome {
    if depth > 64 {
        return Err(Failure::new(format!("directories are nested too deeply at {below:?}; does a link lead back up?")));
    }
    let failed = |error: &std::io::Error| Failure::new(unreadable(below, error));
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
                take(&path, None).map_err(|error| failed(&error))?;
                walk_at(root, &path, depth + 1, total, wanted, take)?;
            }
        } else if kind.is_file() && wanted(&path, false) {
            *total += take(&path, Some(entry.path())).map_err(|error| failed(&error))?;
            let most = ChartLimits::default().total;
            if *total > most {
                return Err(Failure::new(format!("chart exceeds maximum decompressed size of {most} bytes")));
            }
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

//! Migration of manifests in files: only the version changes, every other byte stays.

use crate::{
    kinds::{self, Kind},
    shell::{Failure, Flags, Outcome, files::reason, log, prompt},
};
use clap::ArgMatches;
use std::{
    fs, io,
    path::{Component, Path, PathBuf},
};

/// Versions of Flux that can be migrated to, newest first.
const FLUX_VERSIONS: &[&str] = &["2.9", "2.8", "2.7", "2.6"];

/// The version of a kind in a version of Flux.
fn latest(kind: &Kind, flux: &str) -> Option<&'static str> {
    let is_image = [&kinds::IMAGE_REPOSITORY, &kinds::IMAGE_POLICY, &kinds::IMAGE_UPDATE].contains(&kind);
    match flux {
        "2.6" if is_image => Some("v1beta2"),
        "2.6" if *kind == kinds::ARTIFACT_GENERATOR => None,
        _ => Some(kind.version),
    }
}

/// A version to be replaced on one line of a file.
struct Upgrade {
    line: usize,
    kind: String,
    old: String,
    new: &'static str,
}

struct FileUpgrades {
    path: PathBuf,
    upgrades: Vec<Upgrade>,
}

pub fn run(matches: &ArgMatches) -> Outcome {
    let flux = match matches.text("version") {
        "" => FLUX_VERSIONS[0],
        wanted => *FLUX_VERSIONS.iter().find(|version| **version == wanted).ok_or_else(|| {
            Failure::new(format!("version {wanted} is not supported, supported versions are: {}", FLUX_VERSIONS.join(", ")))
        })?,
    };
    log::action("starting migration of custom resources");
    let extensions = matches.texts("extensions");
    let files = list(&clean(Path::new(matches.text("path"))), &extensions)?;
    let mut found = Vec::new();
    for path in files {
        let upgrades = detect(&path, flux)?;
        for upgrade in &upgrades {
            log::generate(format!("{}:{}: {} {} -> {}", path.display(), upgrade.line + 1, upgrade.kind, upgrade.old, upgrade.new));
        }
        if !upgrades.is_empty() {
            found.push(FileUpgrades { path, upgrades });
        }
    }
    if found.is_empty() {
        log::success("no custom resources found that require migration");
        return Ok(());
    }
    if matches.is_set("dry-run") {
        log::success("dry-run mode enabled, no changes will be made");
        return Ok(());
    }
    if !matches.is_set("yes") && !prompt::confirm("Are you sure you want to proceed with the above upgrades")? {
        // Flux's prompt fails with no text of its own.
        return Err(Failure::new(""));
    }
    for file in &found {
        migrate(file)?;
        log::success(format!("file {} migrated successfully", file.path.display()));
    }
    log::success("custom resources migrated successfully");
    Ok(())
}

/// `a/./b/` as `a/b`.
fn clean(path: &Path) -> PathBuf {
    let cleaned: PathBuf = path.components().filter(|part| *part != Component::CurDir).collect();
    if cleaned.as_os_str().is_empty() { PathBuf::from(".") } else { cleaned }
}

/// The files to look at. Only paths inside the working directory are taken, as with Flux.
fn list(root: &Path, extensions: &[String]) -> Result<Vec<PathBuf>, Failure> {
    let stat = |why: String| Failure::new(format!("failed to stat path {}: {why}", root.display()));
    if root.is_absolute() || root.components().any(|part| part == Component::ParentDir) {
        return Err(stat(format!("open {}: invalid argument", root.display())));
    }
    let metadata = fs::metadata(root).map_err(|error| stat(format!("openat {}: {}", root.display(), reason(&error))))?;
    let matches = |path: &Path| extensions.iter().any(|extension| path.to_string_lossy().ends_with(extension.as_str()));
    if !metadata.is_dir() {
        if !matches(root) {
            return Err(Failure::new(format!(
                "file {} does not match the specified extensions: {}",
                root.display(),
                extensions.join(", ")
            )));
        }
        if fs::symlink_metadata(root).is_ok_and(|metadata| !metadata.is_file()) {
            return Err(Failure::new(format!("file {} is irregular", root.display())));
        }
        return Ok(vec![root.to_owned()]);
    }
    let mut found = Vec::new();
    walk(root, &matches, &mut found)
        .map_err(|error| Failure::new(format!("failed to walk directory {}: {}", root.display(), reason(&error))))?;
    Ok(found)
}

fn walk(folder: &Path, matches: &impl Fn(&Path) -> bool, found: &mut Vec<PathBuf>) -> io::Result<()> {
    let mut entries = fs::read_dir(folder)?.collect::<io::Result<Vec<_>>>()?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        // "./a" is written "a".
        let path = clean(&folder.join(entry.file_name()));
        let kind = entry.file_type()?;
        if kind.is_dir() {
            walk(&path, matches, found)?;
        } else if matches(&path) {
            if kind.is_file() {
                found.push(path);
            } else {
                log::warning(format!("skipping irregular file {}", path.display()));
            }
        }
    }
    Ok(())
}

/// Finds `apiVersion: group/version` directly followed by `kind: Kind`, anywhere in a file: also inside templates and
/// embedded documents, which no YAML parser would read.
fn detect(path: &Path, flux: &str) -> Result<Vec<Upgrade>, Failure> {
    let text = read(path)?;
    let lines: Vec<&str> = text.split('\n').collect();
    let mut found = Vec::new();
    for (line, pair) in lines.windows(2).enumerate() {
        let (Some(api_version), Some(kind)) = (value_after(pair[0], "apiVersion: "), value_after(pair[1], "kind: ")) else { continue };
        let Some((group, old)) = api_version.split_once('/') else { continue };
        if old.contains('/') {
            log::warning(format!("{}:{}: unexpected GroupVersion string: {api_version}", path.display(), line + 1));
            continue;
        }
        let Some(known) = kinds::ALL.iter().find(|known| known.group == group && known.kind == kind) else { continue };
        if let Some(new) = latest(known, flux).filter(|new| *new != old) {
            found.push(Upgrade { line, kind: kind.to_owned(), old: old.to_owned(), new });
        }
    }
    Ok(found)
}

fn value_after<'a>(line: &'a str, key: &str) -> Option<&'a str> {
    let rest = &line[line.find(key)? + key.len()..];
    Some(rest.trim().split(' ').next().unwrap_or(""))
}

fn read(path: &Path) -> Result<String, Failure> {
    let bytes = fs::read(path).map_err(|error| Failure::new(format!("failed to read file {}: {}", path.display(), reason(&error))))?;
    String::from_utf8(bytes).map_err(|_| Failure::new(format!("failed to read file {}: it is not UTF-8", path.display())))
}

fn migrate(file: &FileUpgrades) -> Outcome {
    let text = read(&file.path)?;
    let mut lines: Vec<String> = text.split('\n').map(str::to_owned).collect();
    for upgrade in &file.upgrades {
        if let Some(line) = lines.get_mut(upgrade.line) {
            *line = line.replacen(&upgrade.old, upgrade.new, 1);
        }
    }
    // Writing in place keeps the permissions of the file.
    fs::write(&file.path, lines.join("\n"))
        .map_err(|error| Failure::new(format!("failed to write file {}: {}", file.path.display(), reason(&error))))
}

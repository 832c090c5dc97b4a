//! The charts of a folder as they are served: packed again only where a file changed.

use crate::{
    shell::{Failure, Outcome, files, log},
    verbs::helm::place,
};
use bytes::Bytes;
use chartrepo::{Index, Packed, Time};
use sha2::{Digest as _, Sha256};
use std::{
    collections::BTreeMap,
    fs,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

/// A folder of charts is small; more than this is a wrong folder.
const ENTRIES_MAX: usize = 100_000;
const DEPTH_MAX: usize = 16;
/// All packed charts together, since they are kept in memory.
const BYTES_MAX: usize = 256 << 20;

/// Something that can be asked for.
#[derive(Debug, Clone)]
pub struct File {
    pub body: Bytes,
    /// Hexadecimal SHA-256.
    pub digest: String,
    pub media_type: &'static str,
}

impl File {
    fn new(body: Vec<u8>, media_type: &'static str) -> Self {
        Self { digest: hex::encode(Sha256::digest(&body)), body: body.into(), media_type }
    }
}

/// What is served at one moment.
#[derive(Debug, Default)]
pub struct Collection {
    index: Option<File>,
    archives: BTreeMap<String, File>,
}

impl Collection {
    /// The index, or an archive by its name.
    pub fn get(&self, name: &str) -> Option<&File> {
        if name == "index.yaml" { self.index.as_ref() } else { self.archives.get(name) }
    }

    /// Charts, versions counted singly.
    pub fn len(&self) -> usize {
        self.archives.len()
    }
}

/// A chart in the folder, as it was when its files had this fingerprint.
struct Known {
    fingerprint: u64,
    chart: Option<Arc<Chart>>,
}

struct Chart {
    name: String,
    packed: Packed,
    file: File,
}

/// A folder and what was last read of it.
pub struct Folder {
    path: PathBuf,
    known: BTreeMap<PathBuf, Known>,
    collection: Arc<Collection>,
}

impl Folder {
    pub fn open(path: &Path) -> Result<Self, Failure> {
        match fs::metadata(path) {
            Ok(about) if about.is_dir() => Ok(Self { path: path.to_owned(), known: BTreeMap::new(), collection: Arc::default() }),
            Ok(_) => Err(Failure::new(format!("{} is a file; name the folder that holds charts", path.display()))),
            Err(error) => Err(Failure::new(format!("{}: {}", path.display(), files::reason(&error)))),
        }
    }

    /// What is served now, without a look at the folder.
    pub fn collection(&self) -> Arc<Collection> {
        self.collection.clone()
    }

    /// Looks at the folder, and packs what changed since the last look.
    pub fn refresh(&mut self) -> Result<Arc<Collection>, Failure> {
        let mut found = Vec::new();
        find(&self.path, 0, &mut 0, &mut found)?;
        let mut changed = self.collection.index.is_none() || found.len() != self.known.len();
        let mut known = BTreeMap::new();
        for (path, state) in found {
            let now = match self.known.remove(&path) {
                Some(known) if known.fingerprint == state.fingerprint => known,
                _ => {
                    changed = true;
                    let chart = read(&path, &state).map(Arc::new);
                    let warn = |why: Failure| log::warning(format!("{} is left out: {}", path.display(), why.message));
                    Known { fingerprint: state.fingerprint, chart: chart.map_err(warn).ok() }
                }
            };
            known.insert(path, now);
        }
        self.known = known;
        if changed {
            self.collection = Arc::new(collect(self.known.iter().filter_map(|(path, known)| Some((path.as_path(), known.chart.clone()?)))));
        }
        Ok(self.collection.clone())
    }
}

fn collect<'a>(charts: impl Iterator<Item = (&'a Path, Arc<Chart>)>) -> Collection {
    let (mut archives, mut listed, mut total) = (BTreeMap::new(), Vec::new(), 0);
    for (path, chart) in charts {
        total += chart.file.body.len();
        let why = if archives.contains_key(&chart.name) {
            format!("{} is there already", chart.name)
        } else if total > BYTES_MAX {
            format!("more than {BYTES_MAX} bytes of charts")
        } else {
            archives.insert(chart.name.clone(), chart.file.clone());
            listed.push(chart.packed.clone());
            continue;
        };
        log::warning(format!("{} is left out: {why}", path.display()));
    }
    let index = Index::of(listed).to_yaml();
    Collection { index: Some(File::new(index.into_bytes(), "text/yaml")), archives }
}

/// What tells one state of a chart from the next.
struct State {
    fingerprint: u64,
    modified: SystemTime,
}

/// Packed files, and directories with a definition, which are not searched any further.
fn find(directory: &Path, depth: usize, entries: &mut usize, found: &mut Vec<(PathBuf, State)>) -> Outcome {
    if directory.join("Chart.yaml").is_file() {
        let mut hasher = DefaultHasher::new();
        let mut modified = SystemTime::UNIX_EPOCH;
        look(directory, depth, entries, &mut hasher, &mut modified)?;
        found.push((directory.to_owned(), State { fingerprint: hasher.finish(), modified }));
        return Ok(());
    }
    for (path, about) in list(directory, depth, entries)? {
        if about.is_dir() {
            find(&path, depth + 1, entries, found)?;
        } else if about.is_file() && path.extension().is_some_and(|end| end == "tgz") {
            let modified = about.modified().unwrap_or(SystemTime::UNIX_EPOCH);
            let mut hasher = DefaultHasher::new();
            (about.len(), modified).hash(&mut hasher);
            found.push((path, State { fingerprint: hasher.finish(), modified }));
        }
    }
    Ok(())
}

/// Takes in name, size and time of every file below.
fn look(directory: &Path, depth: usize, entries: &mut usize, hasher: &mut DefaultHasher, newest: &mut SystemTime) -> Outcome {
    for (path, about) in list(directory, depth, entries)? {
        if about.is_dir() {
            look(&path, depth + 1, entries, hasher, newest)?;
        } else {
            let modified = about.modified().unwrap_or(SystemTime::UNIX_EPOCH);
            (&path, about.len(), modified).hash(hasher);
            *newest = (*newest).max(modified);
        }
    }
    Ok(())
}

/// The entries of a directory by name. What vanished since it was named is not among them.
fn list(directory: &Path, depth: usize, entries: &mut usize) -> Result<Vec<(PathBuf, fs::Metadata)>, Failure> {
    if depth > DEPTH_MAX {
        return Err(Failure::new(format!("{} is more than {DEPTH_MAX} folders deep; does a link lead back up?", directory.display())));
    }
    let failed = |error: &std::io::Error| Failure::new(format!("cannot read {}: {}", directory.display(), files::reason(error)));
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).map_err(|error| failed(&error))? {
        *entries += 1;
        if *entries > ENTRIES_MAX {
            return Err(Failure::new(format!("more than {ENTRIES_MAX} files; is it the folder that you meant?")));
        }
        let path = entry.map_err(|error| failed(&error))?.path();
        if path.file_name().is_some_and(|name| name != ".git")
            && let Ok(about) = fs::metadata(&path)
        {
            found.push((path, about));
        }
    }
    found.sort_by(|a, b| a.0.cmp(&b.0));
    Ok(found)
}

fn read(path: &Path, state: &State) -> Result<Chart, Failure> {
    let chart = place::load(path)?;
    let wrong = |error: helm::Error| Failure::new(error.to_string());
    let body = if place::is_directory(path) {
        chart.missing_dependencies().map_err(wrong)?;
        // The times of files are no content: the same chart has the same digest on every machine.
        chart.pack(0).map_err(wrong)?
    } else {
        files::read(&path.to_string_lossy())?
    };
    let file = File::new(body, "application/gzip");
    let name = chart.archive_name();
    let seconds = state.modified.duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs();
    let created = i64::try_from(seconds).ok().and_then(|seconds| jiff::Timestamp::from_second(seconds).ok()).unwrap_or_default();
    let created = Time::parse(&created.to_string()).unwrap_or_default();
    let packed = Packed { metadata: chart.metadata.clone(), url: name.clone(), digest: file.digest.clone(), created };
    Ok(Chart { name, packed, file })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(root: &Path, path: &str, text: &str) {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn folder() -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        write(root.path(), "web/Chart.yaml", "apiVersion: v2\nname: web\nversion: 1.0.0\n");
        write(root.path(), "web/templates/a.yaml", "a: {{ .Values.a }}\n");
        write(root.path(), "deep/er/db/Chart.yaml", "apiVersion: v2\nname: db\nversion: 2.0.0\n");
        write(root.path(), "broken/Chart.yaml", "apiVersion: v2\nname: [\n");
        root
    }

    #[test]
    fn every_chart_is_listed_with_its_digest_and_what_is_broken_is_left_out() {
        let root = folder();
        let mut folder = Folder::open(root.path()).unwrap();
        let collection = folder.refresh().unwrap();
        assert_eq!(collection.len(), 2);
        let index = collection.get("index.yaml").unwrap();
        let listing = Index::parse(&index.body).unwrap().listing();
        for (name, version) in [("web", "1.0.0"), ("db", "2.0.0")] {
            let entry = listing.versions(name)[0].clone();
            let archive = collection.get(&entry.urls[0]).unwrap();
            assert_eq!((entry.version.as_str(), &entry.digest), (version, &archive.digest));
            let chart = helm::Chart::from_archive(&archive.body, helm::ChartLimits::default()).unwrap();
            assert_eq!(chart.metadata.name, name);
        }
        assert!(collection.get("web-9.9.9.tgz").is_none() && collection.get("../web-1.0.0.tgz").is_none());
    }

    #[test]
    fn a_saved_chart_is_packed_again_and_the_others_are_not() {
        let root = folder();
        let mut folder = Folder::open(root.path()).unwrap();
        let first = folder.refresh().unwrap();
        assert!(Arc::ptr_eq(&first, &folder.refresh().unwrap()), "nothing changed");
        write(root.path(), "web/templates/a.yaml", "a: {{ .Values.a }} # and more\n");
        let second = folder.refresh().unwrap();
        let digests = |name: &str| (first.get(name).unwrap().digest.clone(), second.get(name).unwrap().digest.clone());
        let (before, after) = digests("web-1.0.0.tgz");
        assert_ne!(before, after);
        let (before, after) = digests("db-2.0.0.tgz");
        assert_eq!(before, after);
        assert!(first.get("db-2.0.0.tgz").unwrap().body.as_ptr() == second.get("db-2.0.0.tgz").unwrap().body.as_ptr(), "not packed again");
        fs::remove_dir_all(root.path().join("deep")).unwrap();
        assert_eq!(folder.refresh().unwrap().len(), 1);
    }

    #[test]
    fn packed_files_are_served_byte_for_byte_and_a_second_chart_of_the_same_name_is_not() {
        let root = folder();
        let chart = place::load(&root.path().join("web")).unwrap();
        let packed = chart.pack(1_700_000_000).unwrap();
        fs::create_dir(root.path().join("a")).unwrap();
        fs::write(root.path().join("a/web.tgz"), &packed).unwrap();
        fs::write(root.path().join("a/no.tgz"), b"no archive").unwrap();
        let collection = Folder::open(root.path()).unwrap().refresh().unwrap();
        assert_eq!((collection.len(), collection.get("web-1.0.0.tgz").unwrap().body.as_ref()), (2, packed.as_slice()));
        assert!(Folder::open(&root.path().join("a/web.tgz")).is_err() && Folder::open(&root.path().join("nope")).is_err());
    }
}

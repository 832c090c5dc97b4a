//! A chart: its files sorted into what they are.

use crate::{
    data::Table,
    error::Error,
    ignore::Rules,
    metadata::{self, Lock, Metadata},
    values,
};
use bytes::Bytes;
use std::{
    collections::BTreeMap,
    io::Read,
    sync::{Arc, OnceLock},
};
use tree::{Kind, Tree};

/// One file of a chart, its path from the chart's root.
#[derive(Clone)]
pub struct File {
    pub name: Arc<str>,
    content: Content,
}

#[derive(Clone)]
enum Content {
    Held(Bytes),
    Deferred(Arc<Deferred>),
}

/// Bytes that are fetched when they are asked for, once.
struct Deferred {
    size: u64,
    read: Box<dyn Fn() -> Bytes + Send + Sync>,
    held: OnceLock<Bytes>,
}

/// A loaded chart. It never changes: rendering makes views of it.
#[derive(Debug, Default)]
pub struct Chart {
    pub metadata: Metadata,
    pub lock: Option<Lock>,
    pub templates: Vec<File>,
    pub values: Table,
    /// values.yaml as it was written.
    pub values_text: Option<Bytes>,
    pub schema: Option<Bytes>,
    /// All files that are nothing special, CRDs among them.
    pub files: Arc<Vec<File>>,
    pub dependencies: Vec<Arc<Chart>>,
    /// What was odd when it was loaded.
    pub warnings: Vec<String>,
    pub(crate) compiled_schema: OnceLock<Result<crate::schema::Compiled, String>>,
}

/// How large a chart may be.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Bytes of all files, unpacked.
    pub total: u64,
    /// Bytes of one file.
    pub file: u64,
    pub files: usize,
    /// Charts inside charts.
    pub depth: usize,
}

impl Default for Limits {
    /// Helm's sizes.
    fn default() -> Self {
        Self { total: 100 << 20, file: 5 << 20, files: 20_000, depth: 32 }
    }
}

impl File {
    /// A file of a directory; the mark that some editors put before a text is no part of it.
    pub fn new(name: &str, data: impl Into<Bytes>) -> Self {
        Self { name: name.into(), content: Content::Held(without_bom(data.into())) }
    }

    /// A file whose bytes are read when they are asked for: what a chart carries along and no template looks at need not be in memory. What
    /// cannot be read is empty here, and for the caller to tell.
    pub fn deferred(name: &str, size: u64, read: impl Fn() -> Bytes + Send + Sync + 'static) -> Self {
        Self { name: name.into(), content: Content::Deferred(Arc::new(Deferred { size, read: Box::new(read), held: OnceLock::new() })) }
    }

    pub fn data(&self) -> &Bytes {
        match &self.content {
            Content::Held(data) => data,
            Content::Deferred(deferred) => deferred.held.get_or_init(|| without_bom((deferred.read)())),
        }
    }

    /// Tells files of different contents apart, for as long as they are there.
    pub(crate) fn identity(&self) -> usize {
        match &self.content {
            Content::Held(data) => data.as_ptr() as usize,
            Content::Deferred(deferred) => Arc::as_ptr(deferred) as usize,
        }
    }

    pub(crate) fn size(&self) -> u64 {
        match &self.content {
            Content::Held(data) => data.len() as u64,
            Content::Deferred(deferred) => deferred.size,
        }
    }

    fn renamed(&self, name: &str) -> Self {
        Self { name: name.into(), content: self.content.clone() }
    }
}

impl PartialEq for File {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name && self.data() == other.data()
    }
}

impl std::fmt::Debug for File {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "File({:?}, {} bytes)", self.name, self.size())
    }
}

const BOM: &[u8] = &[0xef, 0xbb, 0xbf];

fn without_bom(data: Bytes) -> Bytes {
    if data.starts_with(BOM) { data.slice(BOM.len()..) } else { data }
}

impl Chart {
    /// Loads the chart in a directory of a tree, `.helmignore` honoured.
    pub fn from_tree(tree: &dyn Tree, directory: &str, limits: Limits) -> Result<Self, Error> {
        let at = |name: &str| if directory.is_empty() { name.to_owned() } else { format!("{directory}/{name}") };
        let ignore = tree.read(&at(".helmignore")).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
        let rules = Rules::parse(&ignore).map_err(Error::Load)?;
        let mut files = Vec::new();
        let mut total = 0u64;
        collect(tree, directory, "", &rules, limits, &mut total, &mut files)?;
        Self::from_files(files, limits, 0)
    }

    /// Loads the files of a directory that `.helmignore` leaves, in the order of their names.
    pub fn from_directory(files: Vec<File>, limits: Limits) -> Result<Self, Error> {
        let mut total = 0;
        for (count, file) in files.iter().enumerate() {
            let size = file.size();
            check_file(&file.name, size, limits)?;
            total += size;
            check_totals(total, count, limits)?;
        }
        Self::from_files(files, limits, 0)
    }

    /// Loads a packed chart (`.tgz`).
    pub fn from_archive(archive: &[u8], limits: Limits) -> Result<Self, Error> {
        Self::from_files(unpack(archive, limits)?.files, limits, 0)
    }

    fn from_files(files: Vec<File>, limits: Limits, depth: usize) -> Result<Self, Error> {
        if depth > limits.depth {
            return Err(Error::Load(format!("charts are nested deeper than {} levels", limits.depth)));
        }
        let mut chart = Self::default();
        let text = |file: &File| crate::text_of(file.data()).into_owned();
        let mut found = false;
        for file in files.iter().filter(|file| &*file.name == "Chart.yaml") {
            chart.metadata = metadata::read(&text(file)).map_err(|why| Error::Load(format!("cannot load Chart.yaml: {why}")))?;
            if chart.metadata.api_version.is_empty() {
                chart.metadata.api_version = "v1".to_owned();
            }
            found = true;
        }
        let mut plain = Vec::new();
        let mut subcharts: BTreeMap<String, Vec<File>> = BTreeMap::new();
        for file in files {
            match &*file.name {
                "Chart.yaml" => {}
                "Chart.lock" | "requirements.lock" => {
                    let lock = metadata::read(&text(&file)).map_err(|why| Error::Load(format!("cannot load {}: {why}", file.name)))?;
                    chart.lock = Some(lock);
                    if &*file.name == "requirements.lock" && chart.metadata.api_version == "v1" {
                        plain.push(file);
                    }
                }
                "values.yaml" => {
                    chart.values = values::read(&text(&file)).map_err(|why| Error::Load(format!("cannot load values.yaml: {why}")))?;
                    chart.values_text = Some(file.data().clone());
                }
                "values.schema.json" => chart.schema = Some(file.data().clone()),
                "requirements.yaml" => {
                    let more: Metadata =
                        metadata::read(&text(&file)).map_err(|why| Error::Load(format!("cannot load requirements.yaml: {why}")))?;
                    if !more.dependencies.is_empty() {
                        chart.metadata.dependencies = more.dependencies;
                    }
                    if chart.metadata.api_version == "v1" {
                        plain.push(file);
                    } else {
                        chart.warnings.push("Dependencies are handled in Chart.yaml since apiVersion \"v2\". We recommend migrating dependencies to Chart.yaml.".to_owned());
                    }
                }
                name if name.starts_with("templates/") => chart.templates.push(file),
                name if name.starts_with("charts/") && name.ends_with(".prov") => plain.push(file),
                name if name.starts_with("charts/") => {
                    let below = &name["charts/".len()..];
                    let first = below.split('/').next().unwrap_or(below).to_owned();
                    subcharts.entry(first).or_default().push(file.renamed(below));
                }
                _ => plain.push(file),
            }
        }
        if !found {
            return Err(Error::Load("Chart.yaml file is missing".to_owned()));
        }
        chart.metadata.validate()?;
        chart.files = Arc::new(plain);
        for (name, files) in subcharts {
            if name.starts_with(['_', '.']) {
                continue;
            }
            let wrap = |error: Error| Error::Load(format!("error unpacking subchart {name} in {}: {error}", chart.metadata.name));
            let subchart = if name.ends_with(".tgz") {
                if *files[0].name != *name {
                    return Err(Error::Load(format!(
                        "error unpacking subchart tar in {}: expected {name}, got {}",
                        chart.metadata.name, files[0].name
                    )));
                }
                unpack(files[0].data(), limits).and_then(|archive| Self::from_files(archive.files, limits, depth + 1)).map_err(wrap)?
            } else {
                let inner = files.into_iter().filter_map(|file| file.name.split_once('/').map(|(_, rest)| file.renamed(rest))).collect();
                Self::from_files(inner, limits, depth + 1).map_err(wrap)?
            };
            chart.dependencies.push(Arc::new(subchart));
        }
        Ok(chart)
    }

    pub fn name(&self) -> &str {
        &self.metadata.name
    }

    /// The dependencies that Chart.yaml names and charts/ lacks, as Helm's error lists them.
    pub fn has_dependencies(&self) -> Result<(), Error> {
        let has = |name: &str| self.dependencies.iter().any(|chart| chart.name() == name);
        let missing: Vec<&str> = self.metadata.dependencies.iter().map(|d| d.name.as_str()).filter(|name| !has(name)).collect();
        if missing.is_empty() {
            return Ok(());
        }
        Err(Error::Dependencies(format!("found in Chart.yaml, but missing in charts/ directory: {}", missing.join(", "))))
    }

    /// The same, in the words of rendering and installing.
    pub fn missing_dependencies(&self) -> Result<(), Error> {
        self.has_dependencies().map_err(|error| {
            Error::Dependencies(format!(
                "an error occurred while checking for chart dependencies. You may need to run 'helm dependency build' to fetch missing dependencies: {error}"
            ))
        })
    }

    /// The files under crds/ of this chart and those below it: path with the charts' names, content.
    pub fn crds(&self) -> Vec<(String, Bytes)> {
        self.crds_under(self.name())
    }

    fn crds_under(&self, path: &str) -> Vec<(String, Bytes)> {
        let own = self.files.iter().filter(|file| is_crd(&file.name));
        let mut all: Vec<(String, Bytes)> = own.map(|file| (format!("{path}/{}", file.name), file.data().clone())).collect();
        for dependency in &self.dependencies {
            all.extend(dependency.crds_under(&format!("{path}/charts/{}", dependency.name())));
        }
        all
    }
}

/// Whether a chart's file holds CRDs.
pub(crate) fn is_crd(name: &str) -> bool {
    let end = name.rsplit('.').next().unwrap_or_default();
    name.starts_with("crds/") && name.contains('.') && ["yaml", "yml", "json"].iter().any(|known| end.eq_ignore_ascii_case(known))
}

fn collect(
    tree: &dyn Tree,
    root: &str,
    below: &str,
    rules: &Rules,
    limits: Limits,
    total: &mut u64,
    files: &mut Vec<File>,
) -> Result<(), Error> {
    let at = |name: &str| match (root, name) {
        ("", name) => name.to_owned(),
        (root, "") => root.to_owned(),
        (root, name) => format!("{root}/{name}"),
    };
    let names = tree.list(&at(below)).ok_or_else(|| Error::Load(format!("no directory {:?}", at(below))))?;
    for name in names {
        let path = if below.is_empty() { name } else { format!("{below}/{name}") };
        match tree.kind(&at(&path)) {
            Some(Kind::Dir) if !rules.ignores(&path, true) => collect(tree, root, &path, rules, limits, total, files)?,
            Some(Kind::File) if !rules.ignores(&path, false) => {
                let Some(data) = tree.bytes(&at(&path)) else { continue };
                check_file(&path, data.len() as u64, limits)?;
                *total += data.len() as u64;
                check_totals(*total, files.len(), limits)?;
                files.push(File::new(&path, data));
            }
            _ => {}
        }
    }
    Ok(())
}

fn check_file(path: &str, size: u64, limits: Limits) -> Result<(), Error> {
    if size > limits.file {
        let name = path.rsplit('/').next().unwrap_or(path);
        return Err(Error::Load(format!("chart file {name:?} is larger than the maximum file size {}", limits.file)));
    }
    Ok(())
}

fn check_totals(total: u64, count: usize, limits: Limits) -> Result<(), Error> {
    if total > limits.total {
        return Err(Error::Load(format!("decompressed chart is larger than the maximum size {}", limits.total)));
    }
    if count >= limits.files {
        return Err(Error::Load(format!("chart has more than {} files", limits.files)));
    }
    Ok(())
}

impl Metadata {
    /// Chart.yaml of a packed chart, without a look at what comes after it.
    pub fn of_archive(archive: &[u8], limits: Limits) -> Result<Self, Error> {
        let mut found = None;
        visit(archive, limits, &mut |_, file| {
            if &*file.name == "Chart.yaml" {
                found = Some(file.data().clone());
            }
            found.is_none()
        })?;
        let data = found.ok_or_else(|| Error::Load("Chart.yaml file is missing".to_owned()))?;
        Self::parse(&String::from_utf8_lossy(&data)).map_err(|why| Error::Load(format!("cannot load 'Chart.yaml': {why}")))
    }
}

/// The files of a packed chart, by their paths below the directory that holds them all.
#[derive(Debug)]
pub struct Archive {
    pub directory: String,
    pub files: Vec<File>,
}

/// Unpacks an archive, whose files all lie in one directory.
pub fn unpack(archive: &[u8], limits: Limits) -> Result<Archive, Error> {
    let (mut files, mut directory) = (Vec::new(), String::new());
    visit(archive, limits, &mut |within, file| {
        if directory.is_empty() {
            directory = within.to_owned();
        }
        files.push(file);
        true
    })?;
    if files.is_empty() {
        return Err(Error::Load("no files in chart archive".to_owned()));
    }
    Ok(Archive { directory, files })
}

/// Hands out the files of an archive, each with the directory that holds all, until `take` has enough.
fn visit(archive: &[u8], limits: Limits, take: &mut dyn FnMut(&str, File) -> bool) -> Result<(), Error> {
    let load = |why: &dyn std::fmt::Display| Error::Load(why.to_string());
    if !archive.starts_with(&[0x1f, 0x8b]) {
        return Err(Error::Load("gzip: invalid header".to_owned()));
    }
    // Headers and padding come on top of what files hold.
    let most = limits.total.saturating_add(limits.files as u64 * 2_048).saturating_add(1 << 20);
    let mut reader = tar::Archive::new(flate2::read::MultiGzDecoder::new(archive).take(most));
    let mut count = 0;
    let mut total = 0u64;
    for entry in reader.entries().map_err(|error| load(&error))? {
        let mut entry = entry.map_err(|error| load(&error))?;
        let kind = entry.header().entry_type();
        if kind.is_dir() || kind.is_pax_global_extensions() || kind.is_pax_local_extensions() {
            continue;
        }
        let raw = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let name = inner_name(&raw)?;
        let size = entry.size();
        if size > limits.file {
            return Err(Error::Load(format!("decompressed chart file {raw:?} is larger than the maximum file size {}", limits.file)));
        }
        total += size;
        check_totals(total, count, limits)?;
        let mut data = Vec::with_capacity(size as usize);
        entry.read_to_end(&mut data).map_err(|error| load(&error))?;
        count += 1;
        let directory = raw.split(['/', '\\']).next().unwrap_or_default();
        if !take(directory, File::new(&name, data)) {
            break;
        }
    }
    Ok(())
}

/// The path inside the chart's directory. Refuses what leads out of it.
fn inner_name(raw: &str) -> Result<String, Error> {
    let slashes = raw.replace('\\', "/");
    let (first, rest) = slashes.split_once('/').unwrap_or((&slashes, ""));
    if rest.starts_with('/') {
        return Err(Error::Load("chart illegally contains absolute paths".to_owned()));
    }
    let clean = sprig::clean(rest);
    if clean == "." {
        return Err(Error::Load(format!("chart illegally contains content outside the base directory: {raw:?}")));
    }
    if clean.starts_with("..") {
        return Err(Error::Load("chart illegally references parent directory".to_owned()));
    }
    if clean.as_bytes().get(1) == Some(&b':') && clean.as_bytes().get(2) == Some(&b'/') && clean.as_bytes()[0].is_ascii_alphabetic() {
        return Err(Error::Load("chart contains illegally named files".to_owned()));
    }
    if first == "Chart.yaml" {
        return Err(Error::Load("chart yaml not in base directory".to_owned()));
    }
    Ok(clean)
}

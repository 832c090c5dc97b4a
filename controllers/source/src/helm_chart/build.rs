//! A chart from bytes or files to the archive that is stored. Pure.

use super::observe::Source;
use super::values::{self, Merged};
use crate::kept::Kept;
use crate::paths::inside;
use crate::problem::Problem;
use api::meta::{BUILD_FAILED, FETCH_FAILED};
use api::source::HelmChart;
use bytes::Bytes;
use helm::{Chart, ChartLimits, Dependency, Metadata};
use std::sync::Arc;
use tree::{Kind, MemoryTree, Tree};
use types::semver::{Constraint, Version};

/// What the object asks of a build.
#[derive(Debug, Clone, Default)]
pub(super) struct Wanted {
    pub(super) values_files: Vec<String>,
    pub(super) ignore_missing: bool,
    /// Build metadata that the version gets, so that who uses the chart sees a change.
    pub(super) metadata: String,
    /// Name and version of the chart that is stored, which is kept when the build would have the same.
    pub(super) stored: Option<(String, String)>,
    /// The values files that the stored chart was made from, where that was noted.
    pub(super) stored_values_files: Vec<String>,
}

impl Wanted {
    pub(super) fn of(this: &HelmChart, artifact: &Kept, source: &Source, generation: i64) -> Self {
        let status = this.status.clone().unwrap_or_default();
        let mut metadata = String::new();
        if let (Source::Files { is_git, artifact: Some(artifact) }, "Revision") = (source, this.spec.reconcile_strategy.as_str()) {
            metadata = short_revision(&artifact.revision, *is_git);
        }
        if !this.spec.values_files.is_empty() {
            metadata = if metadata.is_empty() { generation.to_string() } else { format!("{metadata}.{generation}") };
        }
        let stored = match artifact {
            // A change of the object builds anew, whatever the version.
            Kept::Intact(artifact) if generation == status.observed_generation => {
                Some((status.observed_chart_name, artifact.revision.clone()))
            }
            _ => None,
        };
        Self {
            values_files: this.spec.values_files.clone(),
            ignore_missing: this.spec.ignore_missing_values_files,
            metadata,
            stored,
            stored_values_files: status.observed_values_files,
        }
    }

    /// The chart under its final version, and whether that is stored already.
    fn name(&self, name: &str, version: &str, packaged: bool) -> Result<(Built, bool), Failure> {
        let version = if self.metadata.is_empty() { version.to_owned() } else { with_metadata(version, &self.metadata)? };
        let packaged = packaged || !self.values_files.is_empty() || !self.metadata.is_empty();
        let mut built = Built { name: name.to_owned(), version, packaged, ..Built::default() };
        let is_stored = self.stored.as_ref().is_some_and(|(name, version)| *name == built.name && *version == built.version);
        if is_stored {
            let noted = !self.stored_values_files.is_empty();
            built.values_files = if noted { self.stored_values_files.clone() } else { self.values_files.clone() };
        }
        Ok((built, is_stored))
    }

    /// The chart of a repository under its final version, and whether that is stored already.
    pub(super) fn named(&self, name: &str, version: &str) -> Result<(Built, bool), Failure> {
        self.name(name, version, false)
    }
}

/// The first twelve digits of what a revision names.
fn short_revision(revision: &str, is_git: bool) -> String {
    let hash = match is_git {
        true => revision.rsplit(['@', ':']).next().unwrap_or(revision),
        false => revision.split_once(':').map_or(revision, |(_, hex)| hex),
    };
    hash.chars().take(12).collect()
}

fn with_metadata(version: &str, metadata: &str) -> Result<String, Failure> {
    let failed = |what: &str, why: &dyn std::fmt::Display| Failure::new(Stage::MetadataPatch, format!("{what}: {why}"));
    let parsed = Version::parse(version).map_err(|e| failed("failed to parse version from chart metadata as SemVer", &e))?;
    let prerelease = if parsed.prerelease().is_empty() { String::new() } else { format!("-{}", parsed.prerelease()) };
    let text = format!("{}.{}.{}{prerelease}+{metadata}", parsed.major(), parsed.minor(), parsed.patch());
    Version::parse(&text).map_err(|e| failed("failed to set SemVer metadata on chart version", &e))?;
    Ok(text)
}

/// What was built.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Built {
    pub(super) name: String,
    pub(super) version: String,
    /// Packed by us, and not stored as it was served.
    pub(super) packaged: bool,
    pub(super) values_files: Vec<String>,
    /// How many dependencies were fetched for it.
    pub(super) dependencies: usize,
    /// The archive; absent when the stored one is it.
    pub(super) archive: Option<Bytes>,
}

impl Built {
    pub(super) fn reason(&self) -> &'static str {
        if self.packaged { "ChartPackageSucceeded" } else { "ChartPullSucceeded" }
    }

    pub(super) fn summary(&self) -> String {
        let verb = if self.packaged { "packaged" } else { "pulled" };
        let mut text = format!("{verb} '{}' chart with version '{}'", self.name, self.version);
        if !self.values_files.is_empty() {
            text.push_str(&format!(" and merged values files [{}]", self.values_files.join(" ")));
        }
        text
    }
}

/// Where a build failed, in Flux's words for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    Reference,
    Pull,
    MetadataPatch,
    ValuesFiles,
    Dependencies,
    Package,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Failure {
    stage: Stage,
    why: String,
}

impl Failure {
    pub(super) fn new(stage: Stage, why: impl Into<String>) -> Self {
        Self { stage, why: why.into() }
    }
}

impl From<Failure> for Problem {
    fn from(failure: Failure) -> Self {
        let (condition, reason, what, stalls) = match failure.stage {
            Stage::Reference => (FETCH_FAILED, "InvalidChartReference", "invalid chart reference", true),
            Stage::Pull => (FETCH_FAILED, "ChartPullError", "chart pull error", false),
            Stage::MetadataPatch => (BUILD_FAILED, "MetadataPatchError", "chart metadata patch error", true),
            Stage::ValuesFiles => (BUILD_FAILED, "ValuesFilesError", "values files merge error", true),
            Stage::Dependencies => (BUILD_FAILED, "DependencyBuildError", "dependency build error", false),
            Stage::Package => (BUILD_FAILED, "ChartPackageError", "chart package error", false),
        };
        let problem = Self::of(condition, reason, format!("{what}: {}", failure.why));
        if stalls { problem.stalls() } else { problem }
    }
}

/// The archive of a repository as it is stored: as it came, or with other default values.
pub(super) fn of_download(bytes: Bytes, built: Built, wanted: &Wanted, limits: ChartLimits) -> Result<Built, Failure> {
    if !built.packaged {
        let unreadable = |e: helm::Error| Failure::new(Stage::Pull, format!("failed to load chart metadata from written chart: {e}"));
        let mut metadata = Metadata::of_archive(&bytes, limits).map_err(unreadable)?;
        metadata.validate().map_err(|e| Failure::new(Stage::Pull, e.to_string()))?;
        return Ok(Built { archive: Some(bytes), ..built });
    }
    let mut chart =
        Chart::from_archive(&bytes, limits).map_err(|e| Failure::new(Stage::Package, format!("failed to load downloaded chart: {e}")))?;
    let merged = values::of_chart(&chart, &wanted.values_files, wanted.ignore_missing)
        .map_err(|why| Failure::new(Stage::ValuesFiles, format!("failed to merge chart values: {why}")))?;
    finish(chart_with(&mut chart, &built, Some(merged))?, chart)
}

/// Gives the chart its version and values, and notes which files those came from.
fn chart_with(chart: &mut Chart, built: &Built, merged: Option<Merged>) -> Result<Built, Failure> {
    chart.set_version(&built.version).map_err(|e| Failure::new(Stage::MetadataPatch, e.to_string()))?;
    let values_files = match merged {
        Some(merged) => values::overwrite(chart, merged).map_err(|why| Failure::new(Stage::ValuesFiles, why))?,
        None => Vec::new(),
    };
    Ok(Built { values_files, ..built.clone() })
}

fn finish(built: Built, chart: Chart) -> Result<Built, Failure> {
    let archive = chart.pack(0).map_err(|e| Failure::new(Stage::Package, e.to_string()))?;
    Ok(Built { archive: Some(archive.into()), ..built })
}

/// A chart of files on its way to an archive.
pub(super) enum Local {
    Done(Built),
    /// Dependencies that others have are missing.
    Incomplete(Incomplete),
}

pub(super) struct Incomplete {
    built: Built,
    chart: Chart,
    /// What to fetch, with the name that each has in the chart.
    pub(super) missing: Vec<(String, Dependency)>,
}

/// The chart at `path` of a source.
pub(super) fn of_files(tree: &MemoryTree, path: &str, wanted: &Wanted, limits: ChartLimits) -> Result<Local, Failure> {
    let place = inside(path);
    let reference = |why: String| Failure::new(Stage::Reference, why);
    let absent = |path: &str| reference(format!("stat /{path}: no such file or directory"));
    let (mut metadata, is_folder) = match tree.kind(&place).ok_or_else(|| absent(&place))? {
        Kind::Dir => {
            let definition = tree::join(&place, "Chart.yaml").unwrap_or_default();
            let bytes = tree.bytes(&definition).ok_or_else(|| absent(&definition))?;
            let parsed = Metadata::parse(&String::from_utf8_lossy(&bytes));
            (parsed.map_err(|why| reference(format!("cannot load 'Chart.yaml': {why}")))?, true)
        }
        Kind::File => {
            let bytes = tree.bytes(&place).unwrap_or_default();
            (Metadata::of_archive(&bytes, limits).map_err(|e| reference(e.to_string()))?, false)
        }
    };
    if metadata.api_version.is_empty() {
        metadata.api_version = "v1".to_owned();
    }
    metadata.validate().map_err(|e| reference(e.to_string()))?;
    let (built, is_stored) = wanted.name(&metadata.name, &metadata.version, is_folder)?;
    if is_stored {
        return Ok(Local::Done(built));
    }
    if !built.packaged {
        return Ok(Local::Done(Built { archive: tree.bytes(&place), ..built }));
    }
    let merged = match wanted.values_files.is_empty() {
        true => None,
        false => {
            let merged = values::of_source(tree, &wanted.values_files, wanted.ignore_missing);
            Some(merged.map_err(|why| Failure::new(Stage::ValuesFiles, why))?)
        }
    };
    let mut chart = load(tree, &place, limits).map_err(|why| Failure::new(Stage::Package, why))?;
    let mut built = chart_with(&mut chart, &built, merged)?;
    if !is_folder {
        return finish(built, chart).map(Local::Done);
    }
    let mut remote = Vec::new();
    for (name, dependency) in missing(&chart) {
        built.dependencies += 1;
        if dependency.repository.is_empty() || dependency.repository.starts_with("file://") {
            let found = local_dependency(tree, &place, &dependency, limits);
            let found =
                found.map_err(|why| Failure::new(Stage::Dependencies, format!("failed to add local dependency '{name}': {why}")))?;
            add(&mut chart, found, &dependency);
        } else {
            remote.push((name, dependency));
        }
    }
    if remote.is_empty() {
        return finish(built, chart).map(Local::Done);
    }
    Ok(Local::Incomplete(Incomplete { built, chart, missing: remote }))
}

impl Incomplete {
    /// Packs the chart with the archives of what was missing, in the same order.
    pub(super) fn complete(self, archives: &[(String, Bytes)], limits: ChartLimits) -> Result<Built, Failure> {
        let mut chart = self.chart;
        for ((name, dependency), (version, bytes)) in self.missing.iter().zip(archives) {
            let found = Chart::from_archive(bytes, limits).map_err(|e| {
                let why =
                    format!("failed to add remote dependency '{name}': failed to load downloaded archive of version '{version}': {e}");
                Failure::new(Stage::Dependencies, why)
            })?;
            add(&mut chart, found, dependency);
        }
        finish(self.built, chart)
    }
}

fn load(tree: &MemoryTree, place: &str, limits: ChartLimits) -> Result<Chart, String> {
    let (loaded, end) = match tree.bytes(place) {
        Some(bytes) => (Chart::from_archive(&bytes, limits), ""),
        None => (Chart::from_tree(tree, place, limits), "/"),
    };
    loaded.map_err(|e| format!("failed to load chart from /{place}{end}: {e}"))
}

/// The dependencies that the chart names and does not hold, by name or alias. What Chart.lock says comes before Chart.yaml.
fn missing(chart: &Chart) -> Vec<(String, Dependency)> {
    let asked = chart.lock.as_ref().map_or(&chart.metadata.dependencies, |lock| &lock.dependencies);
    if asked.len() == chart.dependencies.len() {
        return Vec::new();
    }
    let name = |dependency: &Dependency| if dependency.alias.is_empty() { dependency.name.clone() } else { dependency.alias.clone() };
    let mut missing: Vec<(String, Dependency)> = asked
        .iter()
        .map(|dependency| (name(dependency), dependency.clone()))
        .filter(|(name, _)| !chart.dependencies.iter().any(|held| held.name() == name))
        .collect();
    missing.sort_by(|(a, _), (b, _)| a.cmp(b));
    missing
}

/// Puts a chart into another. Under an alias it goes by that name, as Flux packs it.
fn add(chart: &mut Chart, mut dependency: Chart, asked: &Dependency) {
    if !asked.alias.is_empty() {
        dependency.metadata.name = asked.alias.clone();
    }
    chart.dependencies.push(Arc::new(dependency));
}

fn local_dependency(tree: &MemoryTree, place: &str, asked: &Dependency, limits: ChartLimits) -> Result<Chart, String> {
    let relative = match asked.repository.strip_prefix("file://") {
        Some(path) => path.to_owned(),
        None => format!("charts/{}", asked.name),
    };
    let at = inside(&format!("{place}/{relative}"));
    if tree.kind(&at).is_none() {
        return Err(format!("no chart found at '/{at}' (reference '{}')", asked.repository));
    }
    let constraint =
        Constraint::parse(&asked.version).map_err(|e| format!("invalid version/constraint format '{}': {e}", asked.version))?;
    let found = match tree.bytes(&at) {
        Some(bytes) => Chart::from_archive(&bytes, limits),
        None => Chart::from_tree(tree, &at, limits),
    };
    let found = found.map_err(|e| format!("failed to load chart from '/{at}' (reference '{}'): {e}", asked.repository))?;
    let version = Version::parse(&found.metadata.version).map_err(|e| e.to_string())?;
    if !constraint.matches(&version) {
        return Err(format!("can't get a valid version for constraint '{}'", asked.version));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHART: &str = "apiVersion: v2\nname: demo\nversion: 1.0.0\n";

    fn tree(files: &[(&str, &str)]) -> MemoryTree {
        files.iter().map(|(path, text)| (*path, text.as_bytes().to_vec())).collect()
    }

    fn built(tree: &MemoryTree, wanted: &Wanted) -> Result<Built, String> {
        match of_files(tree, "./charts/demo/", wanted, ChartLimits::default()) {
            Ok(Local::Done(built)) => Ok(built),
            Ok(Local::Incomplete(incomplete)) => Err(format!("needs {:?}", incomplete.missing.iter().map(|(n, _)| n).collect::<Vec<_>>())),
            Err(failure) => Err(Problem::from(failure).message),
        }
    }

    fn unpacked(built: &Built) -> Chart {
        Chart::from_archive(built.archive.as_ref().unwrap(), ChartLimits::default()).unwrap()
    }

    #[test]
    fn a_folder_is_packed_to_the_same_bytes_each_time() {
        let tree = tree(&[("charts/demo/Chart.yaml", CHART), ("charts/demo/values.yaml", "a: 1\n"), ("charts/demo/templates/x.yaml", "x")]);
        let first = built(&tree, &Wanted::default()).unwrap();
        assert_eq!(first.summary(), "packaged 'demo' chart with version '1.0.0'");
        assert_eq!(first, built(&tree, &Wanted::default()).unwrap());
        let chart = unpacked(&first);
        assert_eq!((chart.name(), chart.templates.len()), ("demo", 1));
    }

    #[test]
    fn a_chart_that_is_stored_already_is_not_built() {
        let tree = tree(&[("charts/demo/Chart.yaml", CHART), ("charts/demo/values.yaml", "a: [")]);
        let stored = Some(("demo".to_owned(), "1.0.0".to_owned()));
        assert_eq!(built(&tree, &Wanted { stored: stored.clone(), ..Wanted::default() }).unwrap().archive, None);
        let revision = Wanted { stored, metadata: "5917bb83fd25".into(), ..Wanted::default() };
        assert!(
            built(&tree, &revision).unwrap_err().starts_with("chart package error: failed to load chart from /charts/demo/: cannot load")
        );
    }

    #[test]
    fn values_and_revisions_become_part_of_the_version() {
        let tree = tree(&[("charts/demo/Chart.yaml", CHART), ("charts/demo/values.yaml", "a: 1\n"), ("env/prod.yaml", "a: 2\n")]);
        let wanted = Wanted { values_files: vec!["env/prod.yaml".into()], metadata: "5917bb83fd25.1".into(), ..Wanted::default() };
        let built = built(&tree, &wanted).unwrap();
        assert_eq!(built.summary(), "packaged 'demo' chart with version '1.0.0+5917bb83fd25.1' and merged values files [env/prod.yaml]");
        let chart = unpacked(&built);
        assert_eq!((chart.metadata.version.as_str(), chart.values_text.as_deref()), ("1.0.0+5917bb83fd25.1", Some(&b"a: 2\n"[..])));
        assert_eq!(with_metadata("v1.2-rc.1+old", "7").unwrap(), "1.2.0-rc.1+7");
        assert_eq!(short_revision("feat/x@sha1:0123456789abcdef", true), "0123456789ab");
        assert_eq!(short_revision("sha256:0123456789abcdef", false), "0123456789ab");
    }

    #[test]
    fn what_is_no_chart_is_named() {
        let told = |files: &[(&str, &str)]| built(&tree(files), &Wanted::default()).unwrap_err();
        let bad = |text: &str| told(&[("charts/demo/Chart.yaml", text)]);
        assert_eq!(told(&[("x", "")]), "invalid chart reference: stat /charts/demo: no such file or directory");
        assert_eq!(told(&[("charts/demo/x", "")]), "invalid chart reference: stat /charts/demo/Chart.yaml: no such file or directory");
        assert_eq!(
            bad("apiVersion: v2\nname: demo\nversion: one\n"),
            "invalid chart reference: validation: chart.metadata.version \"one\" is invalid"
        );
        assert!(bad("apiVersion: [v2").starts_with("invalid chart reference: cannot load 'Chart.yaml': error converting YAML to JSON"));
        for name in ["..", "a/b"] {
            assert!(bad(&format!("apiVersion: v2\nname: {name}\nversion: 1.0.0\n")).starts_with("invalid chart reference: validation"));
        }
        assert!(told(&[("charts/demo", "no archive")]).starts_with("invalid chart reference: gzip"));
    }

    fn depending(dependency: &str) -> MemoryTree {
        tree(&[
            ("charts/demo/Chart.yaml", &format!("{CHART}dependencies:\n- {dependency}\n")),
            ("charts/lib/Chart.yaml", "apiVersion: v2\nname: lib\nversion: 0.1.0\n"),
        ])
    }

    #[test]
    fn dependencies_in_the_same_source_are_packed_along() {
        let aliased = depending("{name: lib, version: 0.x.x, repository: 'file://../lib', alias: other}");
        let built_one = built(&aliased, &Wanted::default()).unwrap();
        assert_eq!(built_one.dependencies, 1);
        assert_eq!(unpacked(&built_one).dependencies[0].name(), "other");
        let told = |dependency: &str| built(&depending(dependency), &Wanted::default()).unwrap_err();
        assert_eq!(
            told("{name: lib, version: 2.x, repository: 'file://../lib'}"),
            "dependency build error: failed to add local dependency 'lib': can't get a valid version for constraint '2.x'"
        );
        assert_eq!(
            told("{name: lib, version: '*', repository: 'file://../gone'}"),
            "dependency build error: failed to add local dependency 'lib': no chart found at '/charts/gone' (reference 'file://../gone')"
        );
        assert_eq!(
            told("{name: lib, version: '*'}"),
            "dependency build error: failed to add local dependency 'lib': no chart found at '/charts/demo/charts/lib' (reference '')"
        );
        assert!(told("{name: lib, version: '*', repository: 'file://../../../../etc'}").contains("no chart found at '/etc'"));
        assert!(told("{name: lib, version: one, repository: 'file://../lib'}").contains("invalid version/constraint format 'one'"));
    }

    #[test]
    fn dependencies_of_repositories_are_added_when_they_were_fetched() {
        let tree = depending("{name: lib, version: '*', repository: 'https://charts.example.com'}");
        let Ok(Local::Incomplete(incomplete)) = of_files(&tree, "charts/demo", &Wanted::default(), ChartLimits::default()) else {
            panic!("it needs a dependency")
        };
        let lib = Chart::from_tree(&tree, "charts/lib", ChartLimits::default()).unwrap().pack(0).unwrap();
        let built = incomplete.complete(&[("0.1.0".into(), lib.into())], ChartLimits::default()).unwrap();
        assert_eq!(unpacked(&built).dependencies[0].name(), "lib");
    }

    #[test]
    fn a_download_is_kept_as_it_came_unless_its_values_change() {
        let source = tree(&[("demo/Chart.yaml", CHART), ("demo/values.yaml", "a: 1\n"), ("demo/b.yaml", "a: 2\n")]);
        let bytes = Bytes::from(Chart::from_tree(&source, "demo", ChartLimits::default()).unwrap().pack(5).unwrap());
        let plain = Wanted::default();
        let kept = of_download(bytes.clone(), plain.named("demo", "1.0.0").unwrap().0, &plain, ChartLimits::default()).unwrap();
        assert_eq!((kept.archive.as_ref(), kept.summary().as_str()), (Some(&bytes), "pulled 'demo' chart with version '1.0.0'"));
        let other = Wanted { values_files: vec!["b.yaml".into()], metadata: "3".into(), ..Wanted::default() };
        let packed = of_download(bytes, other.named("demo", "1.0.0").unwrap().0, &other, ChartLimits::default()).unwrap();
        assert_eq!(packed.summary(), "packaged 'demo' chart with version '1.0.0+3' and merged values files [b.yaml]");
        let broken = of_download(Bytes::from_static(b"no gzip"), Built::default(), &plain, ChartLimits::default()).unwrap_err();
        let problem = Problem::from(broken);
        assert_eq!(problem.message, "chart pull error: failed to load chart metadata from written chart: gzip: invalid header");
    }
}

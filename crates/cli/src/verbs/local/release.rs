//! `build helmrelease`: what helm-controller would install or upgrade to.
//!
//! ```text
//! -f files, --path folder, cluster --> HelmRelease, ConfigMaps, Secrets --.
//! --chart, --local-sources, artifact of the cluster --> chart -----------------> helm_controller::preview --> manifests
//! ```

use super::{shared_sources, workspace::Workspace};
use crate::{
    builtin, kinds,
    objects::{self, text},
    shell::{Context, Failure, Flags, Outcome, files, flags, output},
    verbs::helm::{options, place},
};
use api::helm::HelmRelease;
use clap::{ArgMatches, Command};
use helm::Chart;
use helm_controller::preview::{self, Preview, Target};
use serde_json::Value;
use std::{collections::BTreeMap, fs, io::Read as _, path::PathBuf, sync::Arc};
use yaml::Dialect;

/// Text that is read from standard input or a file; manifests of a platform are far smaller.
const BYTES_MAX: u64 = 64 << 20;

pub fn command() -> Command {
    flags::leaf("helmrelease", "Build what a HelmRelease applies")
        .visible_alias("hr")
        .long_about(
            "Build what a HelmRelease applies, as helm-controller would: the chart with its valuesFiles, valuesFrom, values,
post-renderers and common metadata.

The HelmRelease and what its valuesFrom refers to are looked for in --file and --path, then in the cluster. The chart is
--chart, else a folder that --local-sources names, else the artifact of the source in the cluster.",
        )
        .after_help(
            "  # The release of the cluster, from the chart that its source offers\n  sluice build helmrelease my-app\n\n  # Without any cluster\n  sluice build helmrelease my-app --file ./release.yaml,./values.yaml --chart ./charts/my-app --dry-run\n\n  # What a Kustomization makes of it, variables included\n  sluice build kustomization apps --path ./apps | sluice build helmrelease my-app --file - --chart ./charts/my-app",
        )
        .args([
            flags::strings("file", "files with the HelmRelease, ConfigMaps and Secrets; - for standard input").short('f'),
            flags::string("path", "folder that is built with kustomize to the same end"),
            flags::string("chart", "the chart: a directory or a packed file"),
            super::local_sources("folders of sources, as <kind>/<namespace>/<name>=<path>, for charts that lie in them"),
            flags::switch("dry-run", "ask no cluster; needs --file or --path, and the chart"),
            flags::switch("include-crds", "print the definitions of the chart's crds folder too"),
            flags::switch("no-hooks", "leave hooks out"),
            flags::string("kube-version", "with --dry-run: the version of Kubernetes that templates see"),
            flags::strings("api-versions", "with --dry-run: API versions that templates see").short('a'),
        ])
}

pub async fn build(context: &Context, matches: &ArgMatches) -> Outcome {
    let name = matches.name("helmrelease name")?;
    let given = Given::read(context, matches)?;
    let dry_run = matches.is_set("dry-run");
    let release = release(context, matches, &given, &name).await?;
    let namespace = objects::namespace(&release).to_owned();
    let chart = chart(context, matches, &release).await?;
    let objects = references(context, &given, &release, dry_run).await?;
    let (capabilities, target) = if dry_run {
        (options::capabilities(matches, helm::Profile::V4_2)?, None)
    } else {
        let client = context.client().await?.clone();
        let target = Target { discovery: Arc::new(cluster::Discovery::new(client.clone())), client };
        (preview::capabilities(&target).await.map_err(Failure::new)?, Some(target))
    };
    let parsed: HelmRelease =
        serde_json::from_value(release).map_err(|error| Failure::new(format!("cannot read HelmRelease {namespace}/{name}: {error}")))?;
    let preview = Preview { release: parsed, chart, objects, capabilities, target, now: jiff::Timestamp::now() };
    let runtime = tokio::runtime::Handle::current();
    // Templates may take long, and their lookups wait for the server.
    let rendered = tokio::task::spawn_blocking(move || preview.render(&runtime)).await;
    let rendered = rendered.map_err(|error| Failure::new(error.to_string()))?;
    let rendered = rendered.map_err(|why| Failure::new(format!("cannot build HelmRelease {namespace}/{name}: {why}")))?;
    for warning in &rendered.warnings {
        eprintln!("{warning}");
    }
    let mut out = String::new();
    if matches.is_set("include-crds") {
        rendered.crds.iter().for_each(|(path, text)| helm::push_document(&mut out, path, text));
    }
    out.push_str(&rendered.manifest);
    if !matches.is_set("no-hooks") {
        rendered.hooks.iter().for_each(|hook| helm::push_document(&mut out, &hook.path, &hook.manifest));
    }
    output::print(&format!("{}\n", out.trim_end()))
}

/// The objects of the files and the folder that the command line names.
struct Given(Vec<Value>);

impl Given {
    fn read(context: &Context, matches: &ArgMatches) -> Result<Self, Failure> {
        let mut found = Vec::new();
        for file in matches.texts("file") {
            let text = read(&file)?;
            let broken = |error: yaml::Error| Failure::new(format!("cannot read {file}: {error}"));
            for document in yaml::documents(&text, Dialect::Sigs).map_err(broken)? {
                found.push(document.to_json().map_err(broken)?);
            }
        }
        let path = matches.text("path");
        if !path.is_empty() {
            if !super::is_folder(path) {
                return Err(Failure::new(format!("invalid resource path {path:?}")));
            }
            let workspace = Workspace::open(path, &[]).map_err(Failure::new)?;
            let build = workspace.build(&Default::default()).map_err(|error| Failure::new(format!("kustomize build failed: {error}")))?;
            for resource in &build.resources {
                found.push(resource.to_json().map_err(|error| Failure::new(error.to_string()))?);
            }
        }
        if matches.is_set("dry-run") && found.is_empty() {
            return Err(Failure::new("dry-run mode requires the HelmRelease: --file or --path"));
        }
        // What names no namespace is meant for the one of the command line.
        for object in &mut found {
            if objects::namespace(object).is_empty()
                && let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut)
            {
                metadata.insert("namespace".to_owned(), context.namespace.clone().into());
            }
        }
        Ok(Self(found))
    }

    fn find(&self, kind: &str, namespace: Option<&str>, name: &str) -> Vec<&Value> {
        let fits = |object: &&Value| {
            text(object, &["kind"]) == kind
                && objects::name(object) == name
                && namespace.is_none_or(|namespace| objects::namespace(object) == namespace)
        };
        self.0.iter().filter(fits).collect()
    }
}

fn read(file: &str) -> Result<String, Failure> {
    if file != "-" {
        return files::read_text(file).map_err(Failure::new);
    }
    let mut text = String::new();
    std::io::stdin()
        .take(BYTES_MAX)
        .read_to_string(&mut text)
        .map_err(|error| Failure::new(format!("cannot read standard input: {error}")))?;
    Ok(text)
}

async fn release(context: &Context, matches: &ArgMatches, given: &Given, name: &str) -> Result<Value, Failure> {
    let namespace = matches.given("namespace").then_some(context.namespace.as_str());
    let found = given.find("HelmRelease", namespace, name);
    match found.as_slice() {
        [one] => Ok((*one).clone()),
        [] if !matches.is_set("dry-run") => context.get(&kinds::HELM_RELEASE, &context.namespace, name).await,
        [] => Err(Failure::new(format!("no HelmRelease {name:?} in the given files"))),
        several => {
            let places: Vec<&str> = several.iter().map(|one| objects::namespace(one)).collect();
            Err(Failure::new(format!(
                "several HelmReleases are called {name:?}, in the namespaces {}: say which with -n",
                places.join(", ")
            )))
        }
    }
}

/// The ConfigMaps and Secrets of `valuesFrom`.
async fn references(
    context: &Context,
    given: &Given,
    release: &Value,
    dry_run: bool,
) -> Result<BTreeMap<(String, String), Value>, Failure> {
    let mut found = BTreeMap::new();
    let namespace = objects::namespace(release);
    for reference in objects::at(release, &["spec", "valuesFrom"]).as_array().into_iter().flatten() {
        let (kind, name) = (text(reference, &["kind"]), text(reference, &["name"]));
        let object = match given.find(kind, Some(namespace), name).first() {
            Some(object) => Some((*object).clone()),
            None if dry_run => None,
            None => {
                let resource = if kind == "Secret" { builtin::secrets() } else { builtin::config_maps() };
                context.find_resource(&resource, namespace, name).await?
            }
        };
        if let Some(object) = object {
            found.insert((kind.to_owned(), name.to_owned()), object);
        }
    }
    Ok(found)
}

async fn chart(context: &Context, matches: &ArgMatches, release: &Value) -> Result<Arc<Chart>, Failure> {
    let template = objects::at(release, &["spec", "chart", "spec"]);
    let paths: Vec<String> =
        objects::at(template, &["valuesFiles"]).as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect();
    let ignore_missing = objects::at(template, &["ignoreMissingValuesFiles"]).as_bool().unwrap_or(false);
    let source = local_source(matches, release, template)?;
    let path = matches.text("chart");
    if path.is_empty() && source.is_none() {
        if matches.is_set("dry-run") {
            return Err(Failure::new("dry-run mode requires the chart: --chart, or --local-sources with the folder of its source"));
        }
        return from_cluster(context, release).await;
    }
    let place = match &source {
        Some(folder) if path.is_empty() => folder.join(text(template, &["chart"]).trim_start_matches('/')),
        _ => place::locate(path)?,
    };
    let mut chart = place::load(&place)?;
    chart.missing_dependencies().map_err(|error| Failure::new(error.to_string()))?;
    let tree = source.as_deref().map(crate::disk::DiskTree::new);
    source_controller::with_values_files(&mut chart, tree.as_ref().map(|tree| tree as &dyn tree::Tree), &paths, ignore_missing)
        .map_err(Failure::new)?;
    Ok(Arc::new(chart))
}

/// The folder of the source that the chart lies in, where the command line names one.
fn local_source(matches: &ArgMatches, release: &Value, template: &Value) -> Result<Option<PathBuf>, Failure> {
    let reference = objects::at(template, &["sourceRef"]);
    let kind = text(reference, &["kind"]);
    let key = format!("{kind}/{}/{}", objects::reference_namespace(release, reference), text(reference, &["name"]));
    let Some(folder) = shared_sources(matches).remove(&key) else { return Ok(None) };
    if kind == "HelmRepository" {
        return Err(Failure::new(format!("{key} is no folder of charts: give the chart with --chart")));
    }
    let folder = fs::canonicalize(&folder).map_err(|error| Failure::new(format!("{folder}: {}", files::reason(&error))))?;
    Ok(Some(folder))
}

/// The chart that the source in the cluster offers now.
async fn from_cluster(context: &Context, release: &Value) -> Result<Arc<Chart>, Failure> {
    let reference = objects::at(release, &["spec", "chartRef"]);
    let (kind, namespace, name) = if reference.is_null() {
        let source = objects::at(release, &["spec", "chart", "spec", "sourceRef"]);
        let namespace = objects::reference_namespace(release, source);
        (&kinds::HELM_CHART, namespace, format!("{}-{}", objects::namespace(release), objects::name(release)))
    } else {
        let kind = match text(reference, &["kind"]) {
            "OCIRepository" => &kinds::OCI_REPOSITORY,
            "ExternalArtifact" => &kinds::EXTERNAL_ARTIFACT,
            _ => &kinds::HELM_CHART,
        };
        (kind, objects::reference_namespace(release, reference), text(reference, &["name"]).to_owned())
    };
    let what = format!("{}/{namespace}/{name}", kind.kind);
    let object = context.find(kind, namespace, &name).await?;
    let object = object.ok_or_else(|| Failure::new(format!("there is no {what} in the cluster: give the chart with --chart")))?;
    let artifact = serde_json::from_value(objects::at(&object, &["status", "artifact"]).clone());
    let artifact = artifact.map_err(|_| Failure::new(format!("{what} has no artifact yet: give the chart with --chart")))?;
    let tracks_digest = kind.kind != kinds::HELM_CHART.kind;
    let timeout = crate::shell::flags::to_std(context.timeout).min(std::time::Duration::from_secs(30));
    preview::fetch_chart(&artifact, tracks_digest, artifacts_host(), timeout).await.map_err(|why| {
        Failure::new(format!(
            "cannot fetch the chart of {what}: {why}; where the artifacts of the cluster cannot be reached from here, forward a port of source-controller and set SOURCE_CONTROLLER_LOCALHOST, or give the chart with --chart"
        ))
    })
}

/// The same variable by which controllers outside of a cluster find artifacts.
fn artifacts_host() -> Option<String> {
    std::env::var("SOURCE_CONTROLLER_LOCALHOST").ok().filter(|host| !host.is_empty())
}

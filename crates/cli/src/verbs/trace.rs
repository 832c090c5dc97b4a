//! `trace`: from an object back to the commit that it came from.

use crate::{
    discovery,
    kinds::{self, Kind},
    objects,
    shell::{Context, Failure, Flags, Outcome, flags, output},
};
use api::meta::{HELM_NAME_LABEL, HELM_NAMESPACE_LABEL, KUSTOMIZE_NAME_LABEL, KUSTOMIZE_NAMESPACE_LABEL, OCI_REVISION, OCI_SOURCE};
use clap::{ArgMatches, Command};
use cluster::Resource;
use serde_json::Value;
use std::fmt::Write as _;

pub fn command() -> Command {
    flags::leaf("trace", "Trace an object back to where it was declared")
        .after_help("  # Which commit is this Deployment from?\n  sluice trace -n apps deployment web\n\n  # Several at once\n  sluice trace -n apps deployment/web service/web")
        .arg(flags::string("kind", "kind of the object, together with --api-version"))
        .arg(flags::string("api-version", "group and version of the object, together with --kind"))
}

pub async fn run(context: &Context, _path: &[String], matches: &ArgMatches) -> Outcome {
    let arguments = matches.arguments();
    let found = if matches.text("kind").is_empty() && matches.text("api-version").is_empty() {
        named_by_arguments(context, &arguments).await?
    } else {
        vec![named_by_flags(context, matches, &arguments).await?]
    };
    for (at, object) in found.iter().enumerate() {
        match trace(context, object).await {
            Ok(report) => output::print(&report)?,
            Err(failure) => {
                let (kind, name) = (objects::text(object, &["kind"]), objects::name(object));
                // Flux ends this with no line break.
                eprint!("failed to trace {kind}/{name} in namespace {}: {}", objects::namespace(object), failure.message);
            }
        }
        if at + 1 < found.len() {
            output::print("---\n")?;
        }
    }
    Ok(())
}

async fn named_by_flags(context: &Context, matches: &ArgMatches, arguments: &[String]) -> Result<Value, Failure> {
    let name = arguments.first().ok_or_else(|| Failure::new("object name is required"))?;
    let (kind, api_version) = (matches.text("kind"), matches.text("api-version"));
    if kind.is_empty() {
        return Err(Failure::new("object kind is required (--kind)"));
    }
    if api_version.is_empty() {
        return Err(Failure::new("object apiVersion is required (--api-version)"));
    }
    if api_version.matches('/').count() > 1 {
        // The spelling is Flux's.
        return Err(Failure::new(format!("invaild apiVersion: unexpected GroupVersion string: {api_version}")));
    }
    let failed = |failure: Failure| failure.context("failed to find object");
    let resource = discovery::find(context, api_version, kind).await.map_err(failed)?;
    let resource = resource.ok_or_else(|| failed(Failure::new(format!("no matches for kind {kind:?} in version {api_version:?}"))))?;
    get(context, &resource, name).await.map_err(failed)
}

/// `deployment web db`, or `deployment/web service/web`.
async fn named_by_arguments(context: &Context, arguments: &[String]) -> Result<Vec<Value>, Failure> {
    let usage = || Failure::new("either `<resource>/<name>` or `<resource> <name>` is required as an argument");
    let Some(first) = arguments.first() else { return Err(usage()) };
    let mut pairs: Vec<(&str, &str)> = Vec::new();
    if first.contains('/') {
        for argument in arguments {
            let (word, name) = argument.split_once('/').ok_or_else(|| {
                Failure::new("there is no need to specify a resource type as a separate argument when passing arguments in resource/name form (e.g. 'kubectl get resource/<resource_name>' instead of 'kubectl get resource resource/<resource_name>'")
            })?;
            pairs.push((word, name));
        }
    } else {
        let words: Vec<&str> = first.split(',').collect();
        if arguments.len() == 1 {
            return Err(Failure::new("resource(s) were provided, but no name was specified"));
        }
        pairs.extend(words.iter().flat_map(|word| arguments[1..].iter().map(|name| (*word, name.as_str()))));
    }
    let mut found = Vec::new();
    for (word, name) in pairs {
        let resource = discovery::by_word(context, word).await?;
        let resource = resource.ok_or_else(|| Failure::new(format!("the server doesn't have a resource type {word:?}")))?;
        found.push(get(context, &resource, name).await.map_err(|failure| failure.context("x"))?);
    }
    Ok(found)
}

async fn get(context: &Context, resource: &Resource, name: &str) -> Result<Value, Failure> {
    let namespace = if resource.namespaced { context.namespace.as_str() } else { "" };
    context.get_resource(resource, namespace, name).await
}

async fn trace(context: &Context, object: &Value) -> Result<String, Failure> {
    match owner(context, object, 0).await {
        Some(Owner::Kustomization { namespace, name }) => kustomization(context, object, &namespace, &name).await,
        Some(Owner::Release { namespace, name }) => release(context, object, &namespace, &name).await,
        None => Err(Failure::new("object not managed by Flux")),
    }
}

enum Owner {
    Kustomization { namespace: String, name: String },
    Release { namespace: String, name: String },
}

/// The Flux object that made an object, or that made what owns it.
async fn owner(context: &Context, object: &Value, depth: usize) -> Option<Owner> {
    const DEPTH_MAX: usize = 16;
    let mut at = object.clone();
    for _ in depth..DEPTH_MAX {
        let label = |key: &str| objects::text(&at, &["metadata", "labels", key]).to_owned();
        let (name, namespace) = (label(KUSTOMIZE_NAME_LABEL), label(KUSTOMIZE_NAMESPACE_LABEL));
        if !name.is_empty() && !namespace.is_empty() {
            return Some(Owner::Kustomization { namespace, name });
        }
        let (name, namespace) = (label(HELM_NAME_LABEL), label(HELM_NAMESPACE_LABEL));
        if !name.is_empty() && !namespace.is_empty() {
            return Some(Owner::Release { namespace, name });
        }
        let owners = objects::at(&at, &["metadata", "ownerReferences"]).as_array()?.clone();
        let owner = owners.first()?;
        let text = |key| objects::text(owner, &[key]);
        let resource = discovery::find(context, text("apiVersion"), text("kind")).await.ok()??;
        let namespace = if resource.namespaced { objects::namespace(&at).to_owned() } else { String::new() };
        at = context.get_resource(&resource, &namespace, text("name")).await.ok()?;
    }
    None
}

/// Lines of `Title:   value`, in sections.
struct Report {
    text: String,
    width: usize,
}

impl Report {
    fn new(object: &Value, width: usize) -> Self {
        let mut report = Self { text: "\n".to_owned(), width };
        report.line("Object", &format!("{}/{}", objects::text(object, &["kind"]), objects::name(object)));
        report.given("Namespace", objects::namespace(object));
        report.line("Status", "Managed by Flux");
        report
    }

    fn line(&mut self, title: &str, value: &str) {
        let _ = writeln!(self.text, "{:width$}{value}", format!("{title}:"), width = self.width);
    }

    fn given(&mut self, title: &str, value: &str) {
        if !value.is_empty() {
            self.line(title, value);
        }
    }

    fn section(&mut self, kind: &Kind, object: &Value) {
        self.text.push_str("---\n");
        self.line(kind.kind, objects::name(object));
        self.line("Namespace", objects::namespace(object));
    }

    /// When it was last reconciled, and how that went. `names_failure`: a failed source is said to have failed.
    fn status(&mut self, object: &Value, names_failure: bool) {
        match objects::condition(object, "Ready") {
            Some(ready) => {
                let failed = names_failure && objects::text(ready, &["status"]) == "False";
                let at = go_time(objects::text(ready, &["lastTransitionTime"]));
                self.line("Status", &format!("Last {} {at}", if failed { "reconciliation failed at" } else { "reconciled at" }));
                self.line("Message", objects::text(ready, &["message"]));
            }
            None => self.line("Status", "Unknown"),
        }
    }

    fn source(&mut self, kind: &Kind, object: &Value) {
        self.section(kind, object);
        let text = |path: &[&str]| objects::text(object, path);
        if *kind == kinds::EXTERNAL_ARTIFACT {
            let part = |key| objects::text(object, &["spec", "sourceRef", key]);
            self.line("Source", &format!("{}/{}/{}", part("kind"), part("namespace"), part("name")));
        } else {
            self.line("URL", text(&["spec", "url"]));
        }
        let last = if *kind == kinds::OCI_REPOSITORY { ("digest", "Digest") } else { ("branch", "Branch") };
        let reference = [("tag", "Tag"), ("semver", "Tag"), last].into_iter().find(|(key, _)| !text(&["spec", "ref", key]).is_empty());
        if let (Some((key, title)), false) = (reference, *kind == kinds::HELM_REPOSITORY) {
            self.line(title, text(&["spec", "ref", key]));
        }
        self.given("Revision", text(&["status", "artifact", "revision"]));
    }

    /// Where a pushed artifact itself came from.
    fn origin(&mut self, object: &Value) {
        for (title, key) in [("Origin Revision", OCI_REVISION), ("Origin Source", OCI_SOURCE)] {
            self.given(title, objects::text(object, &["status", "artifact", "metadata", key]));
        }
    }
}

/// A time as Go prints it.
fn go_time(text: &str) -> String {
    match text.parse::<jiff::Timestamp>() {
        Ok(time) => time.strftime("%Y-%m-%d %H:%M:%S +0000 UTC").to_string(),
        Err(_) => text.to_owned(),
    }
}

async fn find(context: &Context, kind: &Kind, what: &str, namespace: &str, name: &str) -> Result<Value, Failure> {
    context.get(kind, namespace, name).await.map_err(|failure| failure.context(&format!("failed to find {what}")))
}

/// The object that a reference points at, when it is of one of these kinds.
async fn referenced(
    context: &Context,
    from: &Value,
    reference: &Value,
    kinds: &[&'static Kind],
) -> Result<Option<(&'static Kind, Value)>, Failure> {
    let named = objects::text(reference, &["kind"]);
    let Some(kind) = kinds.iter().copied().find(|kind| kind.kind == named) else { return Ok(None) };
    let namespace = objects::reference_namespace(from, reference);
    let object = find(context, kind, kind.kind, namespace, objects::text(reference, &["name"])).await?;
    if *kind == kinds::EXTERNAL_ARTIFACT && objects::at(&object, &["spec", "sourceRef"]).is_null() {
        return Err(Failure::new(format!("ExternalArtifact {namespace}/{} is missing spec.sourceRef", objects::name(&object))));
    }
    Ok(Some((kind, object)))
}

async fn kustomization(context: &Context, object: &Value, namespace: &str, name: &str) -> Result<String, Failure> {
    let owner = find(context, &kinds::KUSTOMIZATION, "kustomization", namespace, name).await?;
    let known = [&kinds::GIT_REPOSITORY, &kinds::OCI_REPOSITORY, &kinds::EXTERNAL_ARTIFACT];
    let source = referenced(context, &owner, objects::at(&owner, &["spec", "sourceRef"]), &known).await?;
    let mut report = Report::new(object, 17);
    report.section(&kinds::KUSTOMIZATION, &owner);
    report.given("Target", objects::text(&owner, &["spec", "targetNamespace"]));
    report.line("Path", objects::text(&owner, &["spec", "path"]));
    report.line("Revision", objects::text(&owner, &["status", "lastAppliedRevision"]));
    report.status(&owner, false);
    if let Some((kind, source)) = source {
        report.source(kind, &source);
        if *kind != kinds::GIT_REPOSITORY {
            report.origin(&source);
        }
        report.status(&source, true);
    }
    Ok(report.text)
}

async fn release(context: &Context, object: &Value, namespace: &str, name: &str) -> Result<String, Failure> {
    let owner = find(context, &kinds::HELM_RELEASE, "HelmRelease", namespace, name).await?;
    let chart = match objects::text(&owner, &["status", "helmChart"]).split_once('/') {
        Some((namespace, name)) => Some(find(context, &kinds::HELM_CHART, "HelmChart", namespace, name).await?),
        None => None,
    };
    let template = objects::at(&owner, &["spec", "chart", "spec", "sourceRef"]);
    let source = if template.is_null() {
        let known = [&kinds::OCI_REPOSITORY, &kinds::EXTERNAL_ARTIFACT];
        referenced(context, &owner, objects::at(&owner, &["spec", "chartRef"]), &known).await?
    } else {
        referenced(context, &owner, template, &[&kinds::GIT_REPOSITORY, &kinds::HELM_REPOSITORY]).await?
    };
    let mut report = Report::new(object, 16);
    report.section(&kinds::HELM_RELEASE, &owner);
    report.given("Target", objects::text(&owner, &["spec", "targetNamespace"]));
    report.line("Revision", objects::text(&owner, &["status", "lastAttemptedRevision"]));
    report.status(&owner, false);
    if let Some(chart) = chart {
        report.section(&kinds::HELM_CHART, &chart);
        report.line("Chart", objects::text(&chart, &["spec", "chart"]));
        report.line("Version", objects::text(&chart, &["spec", "version"]));
        report.given("Revision", objects::text(&chart, &["status", "artifact", "revision"]));
        report.status(&chart, false);
    }
    if let Some((kind, source)) = source {
        // The columns of each section are Flux's own.
        report.width = match kind {
            k if *k == kinds::GIT_REPOSITORY => 15,
            k if *k == kinds::HELM_REPOSITORY => 16,
            _ => 17,
        };
        report.source(kind, &source);
        report.status(&source, *kind != kinds::HELM_REPOSITORY);
    }
    Ok(report.text)
}

//! `reconcile`: asks a controller to look now, and waits for what comes of it.

use super::{get::release_revision, kind_of, per_kind};
use crate::{
    kinds::{self, Kind},
    objects, readiness,
    shell::{Context, Failure, Flags, Outcome, flags, log},
};
use api::meta::{FORCE_REQUEST, RECONCILE_REQUEST, RESET_REQUEST};
use clap::{ArgMatches, Command};
use serde_json::{Value, json};
use std::{future::Future, pin::Pin};

pub fn command() -> Command {
    let verb = flags::group("reconcile", "Reconcile sources and resources").after_help(
        "  # Fetch the newest commit, then apply it\n  sluice reconcile kustomization apps --with-source\n\n  # Try a failed release again from scratch\n  sluice reconcile helmrelease web --force --reset",
    );
    per_kind(verb, kinds::RECONCILED, |leaf, kind| {
        let leaf = leaf.about(format!("Reconcile a {} resource", kind.kind));
        let with_source = || flags::switch("with-source", "reconcile the source first");
        match kind {
            k if *k == kinds::HELM_RELEASE => leaf.args([
                with_source(),
                flags::switch("force", "force a one-off install or upgrade"),
                flags::switch("reset", "reset the count of failures"),
            ]),
            k if *k == kinds::KUSTOMIZATION || *k == kinds::HELM_CHART => leaf.arg(with_source()),
            _ => leaf,
        }
    })
}

/// What goes with a request.
#[derive(Debug, Clone, Copy, Default)]
struct Options {
    with_source: bool,
    force: bool,
    reset: bool,
}

pub async fn run(context: &Context, path: &[String], matches: &ArgMatches) -> Outcome {
    let kind = kind_of(path)?;
    let name = matches.name(&format!("{} name", kind.kind))?;
    let options = Options { with_source: matches.is_set("with-source"), force: matches.is_set("force"), reset: matches.is_set("reset") };
    reconcile(context, kind, context.namespace.clone(), name, options).await
}

/// Reconciles one object, after its source when that is asked for.
fn reconcile<'a>(
    context: &'a Context,
    kind: &'static Kind,
    namespace: String,
    name: String,
    options: Options,
) -> Pin<Box<dyn Future<Output = Outcome> + Send + 'a>> {
    Box::pin(async move {
        let object = context.get(kind, &namespace, &name).await?;
        if is_static(kind, &object) {
            log::success("reconciliation not supported by the object");
            return Ok(());
        }
        if objects::is_suspended(&object) {
            return Err(Failure::new("resource is suspended"));
        }
        if options.with_source {
            let source = source_of(kind, &object)?;
            // The chart of a release is asked for together with where it comes from.
            let options = Options { with_source: *kind == kinds::HELM_RELEASE && *source.kind == kinds::HELM_CHART, ..Options::default() };
            reconcile(context, source.kind, source.namespace, source.name, options).await?;
        }
        let handled = handled_request(&object).to_owned();
        log::action(format!("annotating {} {name} in {namespace} namespace", kind.kind));
        request(context, kind, &namespace, &name, options).await?;
        log::success(format!("{} annotated", kind.kind));
        log::waiting(format!("waiting for {} reconciliation", kind.kind));
        let object = readiness::until(context, kind, &namespace, &name, |object| {
            if handled_request(object) == handled { Ok(false) } else { readiness::settled(object) }
        })
        .await?;
        match objects::condition(&object, "Ready") {
            None => Err(Failure::new("status can't be determined")),
            Some(ready) if objects::text(ready, &["status"]) != "True" => {
                Err(Failure::new(format!("{} reconciliation failed: '{}'", kind.kind, objects::text(ready, &["message"]))))
            }
            Some(_) => {
                log::success(success_message(kind, &object));
                Ok(())
            }
        }
    })
}

fn handled_request(object: &Value) -> &str {
    objects::text(object, &["status", "lastHandledReconcileAt"])
}

/// Puts the request on the object: a new time stamp, which also tells one request from the next.
async fn request(context: &Context, kind: &Kind, namespace: &str, name: &str, options: Options) -> Outcome {
    let now = jiff::Timestamp::now().to_string();
    let mut annotations = json!({RECONCILE_REQUEST: now});
    if options.force {
        annotations[FORCE_REQUEST] = Value::from(now.as_str());
    }
    if options.reset {
        annotations[RESET_REQUEST] = Value::from(now.as_str());
    }
    context.merge_patch(kind, namespace, name, &json!({"metadata": {"annotations": annotations}})).await?;
    Ok(())
}

struct Source {
    kind: &'static Kind,
    namespace: String,
    name: String,
}

/// Where an object gets what it works on.
fn source_of(kind: &Kind, object: &Value) -> Result<Source, Failure> {
    let own = objects::namespace(object);
    let from = |reference: &Value, namespace: &str| {
        let named = objects::text(reference, &["kind"]);
        let known = [&kinds::GIT_REPOSITORY, &kinds::OCI_REPOSITORY, &kinds::HELM_REPOSITORY, &kinds::BUCKET, &kinds::HELM_CHART];
        match known.into_iter().find(|kind| kind.kind == named) {
            Some(kind) => Ok(Source { kind, namespace: namespace.to_owned(), name: objects::text(reference, &["name"]).to_owned() }),
            None => Err(Failure::new(format!("cannot reconcile source of kind {named}"))),
        }
    };
    if *kind == kinds::HELM_RELEASE {
        return match objects::at(object, &["spec", "chartRef"]) {
            Value::Null => {
                let source = objects::at(object, &["spec", "chart", "spec", "sourceRef"]);
                let namespace = objects::reference_namespace(object, source).to_owned();
                Ok(Source { kind: &kinds::HELM_CHART, namespace, name: format!("{own}-{}", objects::name(object)) })
            }
            chart => from(chart, objects::reference_namespace(object, chart)),
        };
    }
    let reference = objects::at(object, &["spec", "sourceRef"]);
    from(reference, objects::reference_namespace(object, reference))
}

/// Whether an object has no reconciler, so that there is nothing to wait for.
pub fn is_static(kind: &Kind, object: &Value) -> bool {
    *kind == kinds::ALERT
        || *kind == kinds::PROVIDER
        || (*kind == kinds::HELM_REPOSITORY && objects::text(object, &["spec", "type"]) == "oci")
}

/// What to tell people about a ready object.
pub fn success_message(kind: &Kind, object: &Value) -> String {
    let status = |path: &[&str]| objects::text(objects::at(object, &["status"]), path).to_owned();
    let ready_message = || objects::condition(object, "Ready").map(|ready| objects::text(ready, &["message"]).to_owned());
    match kind {
        k if *k == kinds::KUSTOMIZATION => format!("applied revision {}", status(&["lastAppliedRevision"])),
        k if *k == kinds::HELM_RELEASE => format!("applied revision {}", release_revision(object)),
        k if *k == kinds::HELM_REPOSITORY && is_static(kind, object) => ready_message().unwrap_or_default(),
        k if *k == kinds::IMAGE_REPOSITORY => {
            format!("scan fetched {} tags", objects::at(object, &["status", "lastScanResult", "tagCount"]).as_i64().unwrap_or(0))
        }
        k if *k == kinds::IMAGE_POLICY => {
            let tag = [status(&["latestRef", "name"]), status(&["latestRef", "tag"])].join(":");
            match status(&["latestRef", "digest"]).as_str() {
                "" => format!("selected ref {tag}"),
                digest => format!("selected ref {tag}@{digest}"),
            }
        }
        k if *k == kinds::IMAGE_UPDATE => ready_message().unwrap_or_else(|| match status(&["lastAutomationRunTime"]).as_str() {
            "" => "automation not yet run".to_owned(),
            time => format!("last run {time}"),
        }),
        k if [&kinds::ALERT, &kinds::PROVIDER, &kinds::RECEIVER].contains(&k) => format!("{} reconciliation completed", kind.kind),
        _ => format!("fetched revision {}", status(&["artifact", "revision"])),
    }
}

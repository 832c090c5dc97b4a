//! `resume`: starts reconciliation of suspended objects again.

use super::{kind_of, per_kind, reconcile::success_message, suspend::select};
use crate::{
    kinds::{self, Kind},
    objects, readiness,
    shell::{Context, Failure, Flags, Outcome, flags, log},
};
use clap::{ArgMatches, Command};
use futures::future::join_all;
use serde_json::{Value, json};
use std::collections::HashSet;

pub fn command() -> Command {
    let verb = flags::group("resume", "Resume suspended resources")
        .after_help("  # Go on, and wait for the outcome\n  sluice resume kustomization apps\n\n  # Everything in a namespace, without waiting\n  sluice resume helmrelease --all -n prod")
        .arg(flags::switch("all", "resume all objects of the kind in the namespace").global(true))
        .arg(flags::switch("wait", "wait for the reconciliation of each object").global(true));
    per_kind(verb, kinds::MANAGED, |leaf, kind| leaf.about(format!("Resume a suspended {}", kind.kind)))
}

pub async fn run(context: &Context, path: &[String], matches: &ArgMatches) -> Outcome {
    let kind = kind_of(path)?;
    let names = matches.arguments();
    if names.is_empty() && !matches.is_set("all") {
        return Err(Failure::new(format!("{} name is required", kind.human)));
    }
    // One object is waited for unless the flag says otherwise; several are not.
    let waits = matches.is_set("wait") || (!matches.given("wait") && names.len() == 1);
    let resumed = resume_all(context, kind, &names).await?;
    if !waits {
        return Ok(());
    }
    let mut outcomes: Vec<(String, Result<Value, Failure>)> = join_all(resumed.iter().map(|object| wait(context, kind, object))).await;
    outcomes.sort_by(|a, b| a.0.cmp(&b.0));
    let mut failed = 0;
    for (name, outcome) in outcomes {
        match outcome {
            Ok(object) => {
                log::success(format!("{} {name} reconciliation completed", kind.kind));
                log::success(success_message(kind, &object));
            }
            Err(failure) => {
                failed += 1;
                log::failure(format!("{} {name} reconciliation failed: {}", kind.kind, failure.message));
            }
        }
    }
    if failed == 0 { Ok(()) } else { Err(Failure::new(format!("reconciliation failed for {failed} {}(s)", kind.kind))) }
}

async fn resume_all(context: &Context, kind: &Kind, names: &[String]) -> Result<Vec<Value>, Failure> {
    if names.is_empty() {
        let objects = select(context, kind, "").await?;
        if objects.is_empty() {
            log::failure(format!("no {} objects found in {} namespace", kind.kind, context.namespace));
        }
        return resume(context, kind, objects).await.map_err(|failure| failure.context("failed patching objects"));
    }
    let mut resumed = Vec::new();
    let mut seen = HashSet::new();
    for name in names.iter().filter(|name| seen.insert(name.as_str())) {
        let objects = select(context, kind, name).await?;
        if objects.is_empty() {
            // As Flux does: whichever name is missing, the first one given is named.
            log::failure(format!("{} object '{}' not found in {} namespace", kind.kind, names[0], context.namespace));
        }
        resumed.extend(resume(context, kind, objects).await?);
    }
    Ok(resumed)
}

async fn resume(context: &Context, kind: &Kind, objects: Vec<Value>) -> Result<Vec<Value>, Failure> {
    for object in &objects {
        let name = objects::name(object);
        log::action(format!("resuming {} {name} in {} namespace", kind.human, context.namespace));
        if objects::is_suspended(object) {
            context.merge_patch(kind, &context.namespace, name, &json!({"spec": {"suspend": null}})).await?;
        }
        log::success(format!("{} resumed", kind.human));
    }
    Ok(objects)
}

async fn wait(context: &Context, kind: &Kind, object: &Value) -> (String, Result<Value, Failure>) {
    let name = objects::name(object).to_owned();
    log::waiting(format!("waiting for {} reconciliation", kind.kind));
    let outcome = if super::reconcile::is_static(kind, object) {
        readiness::until(context, kind, &context.namespace, &name, readiness::settled).await
    } else {
        readiness::until(context, kind, &context.namespace, &name, readiness::ready).await
    };
    (name, outcome)
}

//! `suspend`: stops reconciliation of objects.

use super::{kind_of, per_kind};
use crate::{
    kinds::{self, Kind},
    objects,
    shell::{Context, Failure, Flags, Outcome, flags, log},
};
use clap::{ArgMatches, Command};
use cluster::Selection;
use serde_json::{Value, json};
use std::collections::HashSet;

pub fn command() -> Command {
    let verb = flags::group("suspend", "Suspend the reconciliation of resources")
        .after_help("  # Leave a Kustomization alone for a while\n  sluice suspend kustomization apps\n\n  # All Git sources of a namespace\n  sluice suspend source git --all -n flux-system")
        .arg(flags::switch("all", "suspend all objects of the kind in the namespace").global(true));
    per_kind(verb, kinds::MANAGED, |leaf, kind| leaf.about(format!("Suspend reconciliation of {}", kind.kind)))
}

pub async fn run(context: &Context, path: &[String], matches: &ArgMatches) -> Outcome {
    let kind = kind_of(path)?;
    let names = matches.arguments();
    if names.is_empty() {
        if !matches.is_set("all") {
            return Err(Failure::new(format!("{} name is required", kind.human)));
        }
        let objects = select(context, kind, "").await?;
        if objects.is_empty() {
            return Err(Failure::new("no objects found"));
        }
        return suspend(context, kind, &objects).await;
    }
    let mut seen = HashSet::new();
    for name in names.iter().filter(|name| seen.insert(name.as_str())) {
        let objects = select(context, kind, name).await?;
        if objects.is_empty() {
            log::failure(format!("{} {name} not found in {} namespace", kind.kind, context.namespace));
            continue;
        }
        if let Err(failure) = suspend(context, kind, &objects).await {
            log::failure(format!("failed suspending {} {name} in {} namespace: {}", kind.kind, context.namespace, failure.message));
        }
    }
    Ok(())
}

/// The object of a name, or all objects when the name is empty.
pub async fn select(context: &Context, kind: &Kind, name: &str) -> Result<Vec<Value>, Failure> {
    let fields = if name.is_empty() { String::new() } else { format!("metadata.name={name}") };
    let selection = Selection { namespace: context.namespace.clone(), fields, ..Selection::default() };
    let objects = context.list(&kind.resource(), &selection).await?;
    Ok(objects.into_iter().map(|object| kind.stamp(object)).collect())
}

async fn suspend(context: &Context, kind: &Kind, objects: &[Value]) -> Outcome {
    for object in objects {
        let name = objects::name(object);
        log::action(format!("suspending {} {name} in {} namespace", kind.human, context.namespace));
        if !objects::is_suspended(object) {
            context.merge_patch(kind, &context.namespace, name, &json!({"spec": {"suspend": true}})).await?;
        }
        log::success(format!("{} suspended", kind.human));
    }
    Ok(())
}

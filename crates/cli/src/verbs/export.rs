//! `export`: objects as they would be declared, as YAML.

use super::{kind_of, per_kind};
use crate::{
    builtin,
    kinds::{self, Kind},
    objects,
    shell::{Context, Failure, Flags, Outcome, flags, output},
};
use clap::{ArgMatches, Command};
use cluster::Selection;
use serde_json::{Map, Value, json};

pub fn command() -> Command {
    let verb = flags::group("export", "Export resources in YAML format")
        .after_help("  # All Git sources with their credentials\n  sluice export source git --all --with-credentials > sources.yaml\n\n  # One Kustomization\n  sluice export kustomization apps > apps.yaml")
        .arg(flags::switch("all", "select all objects of the namespace").global(true));
    let verb = per_kind(verb, kinds::ALL, |leaf, kind| leaf.about(format!("Export {} resources in YAML format", kind.kind)));
    verb.mut_subcommand("source", |sources| {
        sources.arg(flags::switch("with-credentials", "include the Secret with the credentials").global(true))
    })
}

pub async fn run(context: &Context, path: &[String], matches: &ArgMatches) -> Outcome {
    let kind = kind_of(path)?;
    let with_credentials = matches.is_set("with-credentials");
    if matches.is_set("all") {
        let selection = Selection { namespace: context.namespace.clone(), ..Selection::default() };
        let objects = context.list(&kind.resource(), &selection).await?;
        if objects.is_empty() {
            return Err(Failure::new(format!("no objects found in {} namespace", context.namespace)));
        }
        for object in objects {
            export(context, kind, object, with_credentials).await?;
        }
        return Ok(());
    }
    let name = matches.name("name")?;
    let object = context.get(kind, &context.namespace, &name).await?;
    export(context, kind, object, with_credentials).await
}

async fn export(context: &Context, kind: &'static Kind, object: Value, with_credentials: bool) -> Outcome {
    print(&declared(kind, object.clone())?)?;
    // Sources of charts and external artifacts have no credentials of their own.
    let secret = objects::text(&object, &["spec", "secretRef", "name"]);
    if with_credentials && !secret.is_empty() {
        print(&credentials(context, objects::namespace(&object), secret).await?)?;
    }
    Ok(())
}

fn print(object: &Value) -> Outcome {
    output::print(&output::documents([object])?)
}

/// What a person would have written: type, names, labels, annotations and `spec`.
pub fn declared(kind: &'static Kind, object: Value) -> Result<Value, Failure> {
    let name = objects::name(&object).to_owned();
    let mut written = (kind.normalise)(object).map_err(|error| Failure::new(format!("cannot read {} {name}: {error}", kind.kind)))?;
    let metadata = objects::at(&written, &["metadata"]);
    let kept: Map<String, Value> = ["name", "namespace", "labels", "annotations"]
        .into_iter()
        .filter_map(|key| metadata.get(key).map(|value| (key.to_owned(), value.clone())))
        .collect();
    written["metadata"] = Value::Object(kept);
    if let Some(fields) = written.as_object_mut() {
        fields.remove("status");
    }
    Ok(written)
}

/// The Secret of a source, with its data still encoded.
async fn credentials(context: &Context, namespace: &str, name: &str) -> Result<Value, Failure> {
    let secret = context.get_resource(&builtin::secrets(), namespace, name).await;
    let secret = secret.map_err(|failure| Failure::new(format!("failed to retrieve secret {name}, error: {}", failure.message)))?;
    let mut exported = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "namespace": namespace}});
    for key in ["data", "type"] {
        if let Some(value) = secret.get(key) {
            exported[key] = value.clone();
        }
    }
    Ok(exported)
}

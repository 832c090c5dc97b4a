//! Migration of objects stored in the cluster: each is written once, so that the server stores it in the latest version.

use crate::{
    builtin, objects,
    shell::{Context, Failure, Outcome, cluster::FIELD_MANAGER, log},
    verbs::version::PART_OF_FLUX,
};
use cluster::{PatchKind, Resource, Selection};
use serde_json::{Value, json};

pub async fn run(context: &Context) -> Outcome {
    log::action("starting migration of custom resources");
    let definitions = context.list(&builtin::definitions(), &Selection::labels(PART_OF_FLUX)).await;
    for definition in definitions.map_err(|failure| failure.context("failed to list CRDs"))? {
        migrate(context, &definition).await?;
    }
    log::success("custom resources migrated successfully");
    Ok(())
}

async fn migrate(context: &Context, definition: &Value) -> Outcome {
    let name = objects::name(definition);
    let versions = objects::at(definition, &["spec", "versions"]).as_array();
    let storage = versions.into_iter().flatten().find(|version| objects::at(version, &["storage"]).as_bool() == Some(true));
    let storage = storage.ok_or_else(|| Failure::new(format!("no storage version found for CRD {name}")))?;
    let version = objects::text(storage, &["name"]);
    let text = |path: &[&str]| objects::text(definition, path);
    let resource =
        Resource::namespaced(text(&["spec", "group"]), version, text(&["spec", "names", "kind"]), text(&["spec", "names", "plural"]));
    let stored = context.list(&resource, &Selection::default()).await;
    for object in stored.map_err(|failure| failure.context(&format!("failed to list resources for CRD {name}")))? {
        rewrite(context, &resource, &object).await?;
    }
    let recorded = objects::at(definition, &["status", "storedVersions"]);
    if *recorded != json!([version]) {
        let patch = json!({"status": {"storedVersions": [version]}}).to_string().into_bytes();
        let client = context.client().await?;
        client.patch(&builtin::definitions(), "", name, "status", PatchKind::Merge, FIELD_MANAGER, patch).await?;
        log::success(format!("{name} migrated to storage version {version}"));
    }
    Ok(())
}

/// Writes an object once, with the versions of its managed fields brought along.
async fn rewrite(context: &Context, resource: &Resource, object: &Value) -> Outcome {
    let (namespace, name) = (objects::namespace(object), objects::name(object));
    let api_version = resource.api_version();
    let mut managers = objects::at(object, &["metadata", "managedFields"]).clone();
    let mut moved = false;
    for manager in managers.as_array_mut().into_iter().flatten() {
        if objects::text(manager, &["apiVersion"]) != api_version {
            manager["apiVersion"] = Value::from(api_version.as_str());
            moved = true;
        }
    }
    let (kind, patch) = if moved {
        // The version makes the server refuse the patch when somebody else was faster.
        let expected = objects::text(object, &["metadata", "resourceVersion"]);
        let patch = json!([
            {"op": "replace", "path": "/metadata/managedFields", "value": managers},
            {"op": "replace", "path": "/metadata/resourceVersion", "value": expected},
        ]);
        (PatchKind::Json, patch)
    } else {
        (PatchKind::Merge, json!({}))
    };
    let written = context.client().await?.patch(resource, namespace, name, "", kind, "", patch.to_string().into_bytes()).await;
    match written {
        Err(error) if !error.is_not_found() => {
            Err(Failure::new(format!("{}/{namespace}/{name} failed to migrate: {}", resource.kind, error.chain())))
        }
        _ => {
            log::success(format!("{}/{namespace}/{name} migrated to version {}", resource.kind, resource.version));
            Ok(())
        }
    }
}

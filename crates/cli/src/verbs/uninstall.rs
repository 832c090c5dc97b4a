//! `uninstall`: takes the controllers and their definitions out of a cluster; what they applied stays.

use super::{no_arguments, version::PART_OF_FLUX};
use crate::{
    builtin, components, kinds, objects,
    shell::{Context, Failure, Flags, Outcome, flags, log, prompt},
};
use clap::{ArgMatches, Command};
use cluster::{Delete, PatchKind, Propagation, Resource, Selection};
use serde_json::json;

pub fn command() -> Command {
    flags::leaf("uninstall", "Uninstall the controllers and their custom resource definitions")
        .after_help(
            "  # What would be deleted\n  sluice uninstall --dry-run\n\n  # Delete, without being asked, and keep the namespace\n  sluice uninstall --silent --keep-namespace",
        )
        .args([
            flags::switch("keep-namespace", "leave the namespace"),
            flags::switch("dry-run", "only print what would be deleted"),
            flags::switch("silent", "do not ask before deleting").short('s'),
        ])
}

pub async fn run(context: &Context, path: &[String], matches: &ArgMatches) -> Outcome {
    no_arguments(context, path, matches)?;
    let dry_run = matches.is_set("dry-run");
    if !dry_run
        && !matches.is_set("silent")
        && !prompt::confirm("Are you sure you want to delete Flux and its custom resource definitions")?
    {
        return Err(Failure::new("aborting"));
    }
    let undo = Undo { context, dry_run };
    log::action(format!("deleting components in {} namespace", context.namespace));
    let mut failed = undo.components().await;
    // Objects lose their finalizers while nobody is left who would act on them: their workloads stay.
    log::action("deleting toolkit.fluxcd.io finalizers in all namespaces");
    failed += undo.finalizers().await;
    log::action("deleting toolkit.fluxcd.io custom resource definitions");
    failed += undo.all(&builtin::definitions(), &Selection::labels(PART_OF_FLUX)).await;
    if !matches.is_set("keep-namespace") {
        failed += undo.one(&builtin::namespaces(), "", &context.namespace).await;
    }
    if failed > 0 {
        return Err(Failure::new(format!("{failed} objects could not be deleted: see above; running this again goes on where it stopped")));
    }
    log::success("uninstall finished");
    Ok(())
}

/// Each step gives the number of objects that it failed on; the others go on.
struct Undo<'a> {
    context: &'a Context,
    dry_run: bool,
}

impl Undo<'_> {
    async fn components(&self) -> usize {
        let mut failed = 0;
        for resource in components::parts() {
            let namespace = if resource.namespaced { self.context.namespace.clone() } else { String::new() };
            // Roles of another installation in this cluster carry its namespace.
            let labels = format!("{PART_OF_FLUX},app.kubernetes.io/instance={}", self.context.namespace);
            failed += self.all(&resource, &Selection { namespace, labels, ..Selection::default() }).await;
        }
        failed
    }

    async fn all(&self, resource: &Resource, selection: &Selection) -> usize {
        match self.context.list(resource, selection).await {
            Err(failure) => {
                log::failure(format!("{resource} could not be listed: {}", failure.message));
                1
            }
            Ok(found) => {
                let mut failed = 0;
                for object in &found {
                    failed += self.one(resource, objects::namespace(object), objects::name(object)).await;
                }
                failed
            }
        }
    }

    async fn one(&self, resource: &Resource, namespace: &str, name: &str) -> usize {
        self.done(resource, namespace, name, "deleted", async {
            let options = Delete { propagation: Propagation::Background, ..Delete::default() };
            match self.context.client().await?.delete(resource, namespace, name, options).await {
                Err(error) if !error.is_not_found() => Err(error.into()),
                _ => Ok(()),
            }
        })
        .await
    }

    async fn finalizers(&self) -> usize {
        let mut failed = 0;
        for kind in kinds::ALL {
            let resource = kind.resource();
            // A kind whose definition is gone has no objects.
            let Ok(found) = self.context.list(&resource, &Selection::default()).await else { continue };
            for object in found.iter().filter(|object| objects::at(object, &["metadata", "finalizers"]).is_array()) {
                let (namespace, name) = (objects::namespace(object), objects::name(object));
                let patch = json!({"metadata": {"finalizers": null}}).to_string().into_bytes();
                let work = async {
                    self.context.client().await?.patch(&resource, namespace, name, "", PatchKind::Merge, "flux", patch).await?;
                    Ok(())
                };
                failed += self.done(&resource, namespace, name, "finalizers deleted", work).await;
            }
        }
        failed
    }

    async fn done(&self, resource: &Resource, namespace: &str, name: &str, what: &str, work: impl Future<Output = Outcome>) -> usize {
        let shown = resource.key(namespace, name);
        if self.dry_run {
            log::success(format!("{shown} {what} (dry run)"));
            return 0;
        }
        match work.await {
            Ok(()) => {
                log::success(format!("{shown} {what}"));
                0
            }
            Err(failure) => {
                log::failure(format!("{shown}: {}", failure.message));
                1
            }
        }
    }
}

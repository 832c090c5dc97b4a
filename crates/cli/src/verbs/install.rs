//! `install`: brings the controllers into a cluster, without Git.

use super::{no_arguments, version::Installation};
use crate::{
    components,
    shell::{Context, Failure, Flags, Outcome, flags, log, output},
};
use clap::{ArgMatches, Command};

pub fn command() -> Command {
    flags::leaf("install", "Install or upgrade the controllers")
        .after_help(
            "  # Install into the namespace flux-system\n  sluice install\n\n  # What would be installed\n  sluice install --export\n\n  # Only what one team's namespace needs, with images from a mirror\n  sluice install -n gitops --watch-all-namespaces=false --registry registry.example.com/mirror",
        )
        .args(components::flags::all())
        .args([
            flags::switch("export", "print the manifests instead of applying them"),
            flags::switch("force", "also where the cluster was bootstrapped from Git, which will undo it"),
        ])
}

pub async fn run(context: &Context, path: &[String], matches: &ArgMatches) -> Outcome {
    no_arguments(context, path, matches)?;
    let choices = components::flags::choices(context, matches)?;
    if matches.is_set("export") {
        return output::print(&components::render(&choices)?.text);
    }
    log::generate("generating manifests");
    let manifests = components::render(&choices)?;
    log::success("manifests build completed");
    if let Some(found) = Installation::find(context).await?
        && found.bootstrapped
        && !matches.is_set("force")
    {
        let program = context.program();
        return Err(Failure::new(format!(
            "this cluster has already been bootstrapped from Git with {}: use '{program} bootstrap' to upgrade, or '{program} install --force'",
            found.distribution()
        )));
    }
    log::action(format!("installing components in {} namespace", context.namespace));
    components::apply(context, &manifests.objects).await.map_err(|failure| failure.context("install failed"))?;
    log::waiting("verifying installation");
    components::verify(context, &choices.components).await.map_err(|failure| failure.context("install failed"))?;
    log::success("install finished");
    Ok(())
}

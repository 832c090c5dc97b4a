//! `delete`: takes objects away.

use super::{kind_of, per_kind};
use crate::{
    kinds,
    shell::{Context, Failure, Flags, Outcome, flags, log, prompt},
};
use clap::{ArgMatches, Command};
use cluster::{Delete, Propagation};

pub fn command() -> Command {
    let verb = flags::group("delete", "Delete sources and resources")
        .after_help("  # Delete a Kustomization, and with it everything that it applied (when it prunes)\n  sluice delete kustomization apps\n\n  # Without being asked\n  sluice delete source git repo --silent")
        .arg(flags::switch("silent", "do not ask before deleting").short('s').global(true));
    per_kind(verb, kinds::MANAGED, |leaf, kind| leaf.about(format!("Delete a {} resource", kind.kind)))
}

pub async fn run(context: &Context, path: &[String], matches: &ArgMatches) -> Outcome {
    let kind = kind_of(path)?;
    let name = matches.name(&format!("{} name", kind.human))?;
    context.get(kind, &context.namespace, &name).await?;
    if !matches.is_set("silent") && !prompt::confirm(&format!("Are you sure you want to delete this {}", kind.human))? {
        return Err(Failure::new("aborting"));
    }
    log::action(format!("deleting {} {name} in {} namespace", kind.human, context.namespace));
    let options = Delete { propagation: Propagation::Background, ..Delete::default() };
    context.client().await?.delete(&kind.resource(), &context.namespace, &name, options).await?;
    log::success(format!("{} deleted", kind.human));
    Ok(())
}

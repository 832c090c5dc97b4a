//! Hooks: objects that are made at a moment of a release's life, and waited for.

use crate::{
    objects::{self, Item, Reference},
    operation::{Stop, Work},
    storage::Stored,
    wait::{self, Rules},
};
use health::Expressions;
use helm::{Hook, LastRun};
use std::sync::Arc;

const BEFORE: &str = "before-hook-creation";
const SUCCEEDED: &str = "hook-succeeded";
const FAILED: &str = "hook-failed";

/// Runs the hooks of an event one after the other; what became of each is written into the release.
pub(crate) async fn run(work: &mut Work<'_>, stored: &mut Stored, event: &str, wanted: &(dyn Fn(&str) -> bool + Sync)) -> Result<(), Stop> {
    let mut hooks: Vec<Hook> =
        stored.release.hooks.iter().filter(|hook| hook.events.iter().any(|one| one == event) && wanted(&hook.name)).cloned().collect();
    helm::sort_hooks_for_running(&mut hooks);
    let mut done: Vec<(Hook, Vec<Item>)> = Vec::new();
    for mut hook in hooks {
        // As Helm: a hook without a policy is deleted before it is made again, and says so from then on.
        if hook.delete_policies.is_empty() {
            hook.delete_policies.push(BEFORE.to_owned());
        }
        let objects = objects::parse(&hook.manifest)?;
        let resolved = objects::resolve(&work.job.access.target, objects, &work.job.namespace, None).await;
        let items =
            resolved.map_err(|error| Stop::Failed(format!("unable to build kubernetes object for {event} hook {}: {error}", hook.path)))?;
        delete_by(work, &hook, &items, BEFORE).await?;
        hook.last_run = LastRun { started_at: Some(work.job.clock.now().to_string()), completed_at: None, phase: "Running".to_owned() };
        write(stored, &hook);
        work.update(&stored.clone()).await?;
        work.note(format!("running {event} hook {}", hook.name));
        let result = make_and_wait(work, &hook, &items, event).await;
        if matches!(result, Err(Stop::Cancelled)) {
            return result;
        }
        hook.last_run.completed_at = Some(work.job.clock.now().to_string());
        if result.is_ok() { "Succeeded" } else { "Failed" }.clone_into(&mut hook.last_run.phase);
        write(stored, &hook);
        if let Err(stop) = result {
            delete_by(work, &hook, &items, FAILED).await?;
            // Those that had gone well before are cleaned up as well.
            for (hook, items) in done.iter().rev() {
                delete_by(work, hook, items, SUCCEEDED).await?;
            }
            return Err(stop);
        }
        done.push((hook, items));
    }
    for (hook, items) in done.iter().rev() {
        delete_by(work, hook, items, SUCCEEDED).await?;
    }
    Ok(())
}

async fn make_and_wait(work: &mut Work<'_>, hook: &Hook, items: &[Item], event: &str) -> Result<(), Stop> {
    work.job.access.watch(items).await;
    for item in items {
        let made = if work.job.access.ssa {
            work.job.access.apply(item).await
        } else {
            let body = serde_json::to_vec(&item.desired.object).map_err(|error| Stop::Failed(error.to_string()))?;
            work.job.access.post(item, body).await
        };
        made.map_err(|error| Stop::Failed(format!("warning: Hook {event} {} failed: {error}", hook.path)))?;
    }
    let awaited: Vec<Reference> = items.iter().filter(|item| wait::awaited_of_hook(item)).map(Item::reference).collect();
    // Helm looks at a failed Job or Pod of a hook only when nothing else is left to wait for; there is one object a hook.
    let expressions = Expressions::default();
    let rules = Rules { expressions: &expressions, fail_fast: false, hooks: true, legacy: false, jobs_begun: false };
    let timeout = work.timeout();
    Ok(wait::until_ready(&work.job.access, &awaited, rules, timeout, &work.job.clock, &mut work.turn).await?)
}

/// Deletes a hook's objects where its policies name this moment.
async fn delete_by(work: &mut Work<'_>, hook: &Hook, items: &[Item], policy: &str) -> Result<(), Stop> {
    if !hook.delete_policies.iter().any(|one| one == policy) {
        return Ok(());
    }
    let timeout = work.timeout();
    Ok(wait::delete_and_wait(&work.job.access, items, timeout, &mut work.turn).await?)
}

fn write(stored: &mut Stored, hook: &Hook) {
    let release = Arc::make_mut(&mut stored.release);
    if let Some(kept) =
        Arc::make_mut(&mut release.hooks).iter_mut().find(|one| one.name == hook.name && one.kind == hook.kind && one.path == hook.path)
    {
        *kept = hook.clone();
    }
}

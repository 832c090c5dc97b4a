//! The last visit: what becomes of the applied objects when their Kustomization goes.

use crate::{
    first, identity, observe,
    reconcile::Reconciler,
    spec,
    status::{self, Attempt},
};
use api::{
    Conditions,
    kustomize::Kustomization,
    meta::{self, reason},
};
use apply::{Seen, Session};
use cluster::Resource;
use jiff::Timestamp;
use plan::{Input, Inventory, Policy, PruneAction, managers};
use runtime::{Context, Event, Report, Visit};
use std::time::Duration;

const LOOK_EVERY: Duration = Duration::from_secs(2);

/// Deletes what was applied, as the deletion policy says, and lets the object go.
pub(crate) async fn finalize(reconciler: &Reconciler, this: &Kustomization, context: &Context) -> Report {
    let started = context.now();
    let report = prune_all(reconciler, this, context).await;
    let stored = status::stored(this);
    if this.spec.suspend || !stored.conditions.is_ready() || report.visit() != Visit::Never {
        return report;
    }
    // Flux ends the last visit of a Kustomization that was ready with the same words as any other.
    let attempt = Attempt {
        started,
        revision: stored.last_applied_revision.clone(),
        origin_revision: stored.last_applied_origin_revision.clone(),
        digest: String::new(),
    };
    report.event(status::finished(this, &attempt, context.now()))
}

async fn prune_all(reconciler: &Reconciler, this: &Kustomization, context: &Context) -> Report {
    let stored = status::stored(this);
    let deletes = match this.spec.deletion_policy.as_str() {
        "" | "MirrorPrune" => this.spec.prune,
        "Orphan" => false,
        _ => true,
    };
    // A suspended Kustomization leaves everything behind, whatever its policy.
    if this.spec.suspend || !deletes {
        return Report::new(Visit::Never).release();
    }
    let inventory = match identity::target(&reconciler.targets, this, &reconciler.options).await {
        Ok(target) => first::inventory(reconciler, this, &target).await,
        Err(_) => Ok(status::inventory(&stored)),
    };
    let inventory = match inventory {
        Ok(inventory) if inventory.is_empty() => return Report::new(Visit::Never).release(),
        Ok(inventory) => inventory,
        Err(message) => {
            let event = Event::error(reason::PRUNE_FAILED, message);
            return Report::new(Visit::Backoff).event(event).failed();
        }
    };
    let word = stored.conditions.condition(meta::READY).map_or(reason::RECONCILIATION_SUCCEEDED.to_owned(), |ready| ready.reason.clone());
    let told =
        |event: Event| event.with("revision", &stored.last_applied_revision).with("originRevision", &stored.last_applied_origin_revision);
    if let Some(report) = account_gone(reconciler, this, &inventory, &word, &told).await {
        return report;
    }
    let access = match observe::access(reconciler, this).await {
        Ok(access) => access,
        // The cluster, or the way to it, is gone: nothing can be deleted any more, and the object must not stay for ever.
        Err(stopped) => {
            let lines: Vec<String> = inventory.entries().iter().map(|entry| entry.key.to_string()).collect();
            let event = Event::error(word, format!("unable to prune objects: {}\n{}", stopped.failed.message, lines.join("\n")));
            return Report::new(Visit::Never).event(told(event)).release();
        }
    };
    let policy = Policy {
        owner: spec::key(this),
        prune: true,
        force: false,
        guard_rails: plan::GuardRails::Off,
        allowed: true,
        custom_stage_kinds: Vec::new(),
        managers: managers::taken_over(&[]),
        ignore: Vec::new(),
    };
    watch(&access, &inventory).await;
    let live = |key: &object::ObjectKey| access.target.owned.live(key);
    let plan = plan::plan(Input { policy: &policy, desired: Vec::new(), inventory: &inventory, live: &live, claims: &|_| None });
    let session = Session::new(&access.target, access.client.clone(), &policy, false, context.cancellation());
    let pruned = session.prune(&plan.prunes, &|_| None).await;
    if let Some(failure) = pruned.failure {
        let event = Event::error(word, format!("pruning for deleted resource failed: {}", failure.message));
        return Report::new(Visit::Backoff).event(told(event));
    }
    let waits = this.spec.deletion_policy == "WaitForTermination";
    let open = if waits { still_there(&access, &plan.prunes) } else { 0 };
    if open > 0 && !overdue(this, context.now()) {
        return Report::new(Visit::After(LOOK_EVERY));
    }
    let mut report = Report::new(Visit::Never).release();
    if open > 0 {
        report = report.event(told(Event::error(word.clone(), "failed to wait for resources termination")));
    }
    let lines: Vec<String> = pruned.changes.iter().map(ToString::to_string).collect();
    if lines.is_empty() { report } else { report.event(told(Event::info(word, lines.join("\n")))) }
}

/// Without the account there are no rights to delete with: what was applied stays, and people are told.
async fn account_gone(
    reconciler: &Reconciler,
    this: &Kustomization,
    inventory: &Inventory,
    word: &str,
    told: &(dyn Fn(Event) -> Event + Send + Sync),
) -> Option<Report> {
    let (_, account) = identity::identity(this, &reconciler.options);
    let account = account.filter(|_| this.spec.kube_config.is_none())?;
    let accounts = Resource::namespaced("", "v1", "ServiceAccount", "serviceaccounts");
    let namespace = this.metadata.namespace.as_deref().unwrap_or_default();
    match reconciler.client.get_opt(&accounts, namespace, &account).await {
        Ok(None) => {
            let lines: Vec<String> = inventory.entries().iter().map(|entry| entry.key.to_string()).collect();
            let event = Event::error(word, format!("unable to prune objects: \n{}", lines.join("\n")));
            Some(Report::new(Visit::Never).event(told(event)).release())
        }
        _ => None,
    }
}

async fn watch(access: &observe::Access, inventory: &Inventory) {
    for entry in inventory.entries() {
        if let Ok(resource) = access.target.discovery.resolve(&entry.gvk()).await
            && let Err(error) = access.target.owned.ensure(&resource).await
        {
            tracing::debug!(%resource, %error, "applied objects of this kind are not watched");
        }
    }
}

/// How many of the objects that were to be deleted are still seen.
fn still_there(access: &observe::Access, prunes: &[plan::Prune]) -> usize {
    let doomed = prunes.iter().filter(|prune| matches!(prune.action, PruneAction::Delete { .. } | PruneAction::Look));
    doomed.filter(|prune| matches!(access.target.owned.health(&prune.entry.key), Seen::Health(_))).count()
}

/// The wait for termination has taken longer than the timeout.
fn overdue(this: &Kustomization, now: Timestamp) -> bool {
    let Some(deleted) = &this.metadata.deletion_timestamp else { return true };
    let elapsed = now.as_second() - deleted.0.as_second();
    u64::try_from(elapsed).is_ok_and(|elapsed| elapsed >= spec::timeout(this).to_std().as_secs())
}

//! One visit of one Kustomization: observe, plan, act, report.

use crate::{
    build::{Builds, Built},
    claims::Wants,
    finalize,
    first::{self, Firsts},
    observe::{self, Access, Found, Stopped},
    options::Options,
    spec,
    status::{self, Attempt, Failed, HELD, Phase},
    waiting::{self, Check, Verdict, Wait, Waits},
};
use api::{
    Condition, Conditions,
    kustomize::{Kustomization, KustomizationStatus},
    meta::{self, reason},
};
use apply::{Change, Session, Targets, Verb};
use artifacts::{Sources, Trees};
use cluster::Client;
use jiff::{SignedDuration, Timestamp};
use object::{GroupVersionKind, ObjectKey};
use plan::{GuardRails, Input, Inventory, Plan, Policy, ignore, managers};
use runtime::{Context, Event, FeatureGates, Report, Store, Visit};
use std::{collections::HashMap, sync::Arc, time::Duration};
use types::{GoDuration, NamespacedName};

/// Lets through, for one revision, what guard rails hold.
pub(crate) const ALLOW_PRUNE: &str = "kustomize.sluice.dev/allow-prune";
/// How soon an object is looked at again that waits to be taken over by another Kustomization.
const DEFERRED_AFTER: Duration = Duration::from_secs(5);
/// How long definitions may take until objects that need them are applied; Flux's limit.
const STAGE_LIMIT: Duration = Duration::from_secs(60);

pub(crate) struct Reconciler {
    pub options: Options,
    pub gates: FeatureGates,
    pub client: Client,
    pub store: Store<Kustomization>,
    pub sources: Sources,
    pub trees: Trees,
    pub builds: Builds,
    pub targets: Targets,
    pub waits: Arc<Waits>,
    pub wants: Wants,
    /// Stages that have to be waited for: what was done before, and since when.
    pub stages: Stages,
    pub firsts: Firsts,
}

/// Reconciles that stopped between two stages.
#[derive(Debug, Default)]
pub(crate) struct Stages(std::sync::Mutex<std::collections::HashMap<types::NamespacedName, (String, Timestamp, Vec<Change>)>>);

impl Stages {
    /// What earlier visits of the same attempt did, and when the first of them stopped.
    fn take(&self, key: &types::NamespacedName, token: &str) -> Option<(Timestamp, Vec<Change>)> {
        let mut all = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        all.remove(key).filter(|(of, _, _)| of == token).map(|(_, since, changes)| (since, changes))
    }

    fn put(&self, key: types::NamespacedName, token: String, since: Timestamp, changes: Vec<Change>) {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner).insert(key, (token, since, changes));
    }
}

impl runtime::Reconciler for Reconciler {
    type Resource = Kustomization;

    async fn reconcile(&self, this: Arc<Kustomization>, context: &Context) -> Report {
        if context.is_new() {
            self.firsts.add(context.key());
        }
        if context.meta().is_deleting() {
            self.waits.end(context.key());
            return finalize::finalize(self, &this, context).await;
        }
        if this.spec.suspend {
            self.waits.end(context.key());
            return suspended(&this);
        }
        self.visit(&this, context).await
    }

    fn gone(&self, key: &types::NamespacedName) {
        self.waits.end(key);
        self.wants.forget(key);
        self.firsts.forget(key);
    }

    fn time_limit(&self, object: &Kustomization) -> Duration {
        spec::timeout(object).to_std() + Duration::from_secs(120)
    }
}

/// Nothing is done; a spec that was already met before counts as observed, as in Flux.
fn suspended(this: &Kustomization) -> Report {
    let mut status = status::stored(this);
    let settled = status.conditions.is_ready() || status.conditions.condition(meta::STALLED).is_some_and(Condition::is_true);
    if settled && status.observed_generation != spec::generation(this) {
        status.observed_generation = spec::generation(this);
        return Report::new(Visit::Never).status(&status);
    }
    Report::new(Visit::Never)
}

/// What a wait, or a stop between stages, belongs to: it is void when any of this changes.
fn token(this: &Kustomization, artifact: &api::Artifact) -> String {
    let request = spec::annotation(this, meta::RECONCILE_REQUEST).unwrap_or("");
    format!("{} {} {} {request}", spec::generation(this), artifact.revision, artifact.digest)
}

impl Reconciler {
    async fn visit(&self, this: &Kustomization, context: &Context) -> Report {
        let found = match observe::source(self, this).await {
            Ok(found) => found,
            Err(stopped) => return self.stopped(this, &observe::attempt(&api::Artifact::default(), context.now()), stopped, context),
        };
        let token = token(this, &found.artifact);
        if let Some(wait) = self.waits.get(context.key()) {
            if wait.token == token {
                return self.keep_waiting(this, wait, &found, context).await;
            }
            self.waits.end(context.key());
        }
        let mut attempt = observe::attempt(&found.artifact, context.now());
        if let Err(stopped) = observe::dependencies(self, this, &found.artifact.revision).await {
            return self.stopped(this, &attempt, stopped, context);
        }
        context.progress(&status::progressing(this, status::stored(this), Phase::Building, &attempt.revision, context.now()));
        // As in Flux, a client that cannot be made is found out before the build.
        let access = match self.within(this, observe::access(self, this)).await {
            Ok(access) => access,
            Err(stopped) => return self.stopped(this, &attempt, stopped, context),
        };
        let built = match self.within(this, observe::build(self, this, &found.artifact)).await {
            Ok(built) => built,
            Err(stopped) => return self.stopped(this, &attempt, stopped, context),
        };
        attempt.digest = built.digest.clone();
        self.wants.set(context.key().clone(), &attempt.revision, built.keys());
        self.apply(this, &found, &access, &built, attempt, token, context).await
    }

    /// Work that must end within the timeout.
    async fn within<T>(&self, this: &Kustomization, work: impl Future<Output = Result<T, Stopped>>) -> Result<T, Stopped> {
        let limit = spec::timeout(this);
        match tokio::time::timeout(limit.to_std(), work).await {
            Ok(result) => result,
            Err(_) => {
                let failed = Failed::new(reason::BUILD_FAILED, Some(Phase::Building), format!("the build did not end within {limit}"));
                Err(Stopped { event: Some(Event::error(failed.reason, failed.message.clone())), failed, after: None })
            }
        }
    }

    fn policy(&self, this: &Kustomization, revision: &str) -> Result<Policy, String> {
        let mut rules = Vec::new();
        for rule in this.spec.ignore.iter().flatten() {
            let target = rule.target.clone().unwrap_or_default();
            let target = ignore::Target {
                group: target.group,
                version: target.version,
                kind: target.kind,
                name: target.name,
                namespace: target.namespace,
                label_selector: target.label_selector,
                annotation_selector: target.annotation_selector,
            };
            rules.push(ignore::Rule::new(&target, &rule.paths).map_err(|error| error.to_string())?);
        }
        Ok(Policy {
            owner: spec::key(this),
            prune: this.spec.prune,
            force: this.spec.force,
            guard_rails: self.options.guard_rails.into(),
            allowed: spec::annotation(this, ALLOW_PRUNE) == Some(revision),
            custom_stage_kinds: self.options.custom_stage_kinds.clone(),
            managers: managers::taken_over(&self.options.override_managers),
            ignore: rules,
        })
    }

    #[allow(clippy::too_many_arguments)]
    async fn apply(
        &self,
        this: &Kustomization,
        found: &Found,
        access: &Access,
        built: &Built,
        attempt: Attempt,
        token: String,
        context: &Context,
    ) -> Report {
        let stored = status::stored(this);
        let detecting = |message: String| Failed::new(reason::RECONCILIATION_FAILED, Some(Phase::Detecting), message);
        let old = match first::inventory(self, this, &access.target).await {
            Ok(old) => old,
            Err(message) => {
                let failed = detecting(message);
                return self.stopped(this, &attempt, Stopped { failed, after: None, event: None }, context);
            }
        };
        let policy = match self.policy(this, &attempt.revision) {
            Ok(policy) => policy,
            Err(message) => return self.warned(this, stored, &attempt, detecting(message), context),
        };
        let asked = spec::annotation(this, meta::RECONCILE_REQUEST).is_some_and(|request| stored.last_handled_reconcile_at != request);
        observe::watch(&access.target, built, &old, asked.then(|| context.key())).await;
        let claimed = observe::claimed(self, this, &found.artifact, built, &old).await;
        let plan = plan::plan(Input {
            policy: &policy,
            desired: built.desired.clone(),
            inventory: &old,
            live: &|key| access.target.owned.live(key),
            claims: &|key| claimed.get(key).cloned(),
        });
        if let Some(hold) = &plan.hold {
            let message = held_message(this, hold, &attempt.revision);
            match policy.guard_rails {
                GuardRails::Enforce => {
                    return self.warned(this, stored, &attempt, Failed::new(HELD, Some(Phase::Detecting), message), context);
                }
                _ => context.publish(status::of(Event::error(HELD, message), &attempt)),
            }
        }
        if context.is_cancelled() {
            return Report::new(Visit::Now);
        }
        let mut progress = status::progressing(this, stored.clone(), Phase::Detecting, &attempt.revision, context.now());
        status::set_inventory(&mut progress, &plan.before);
        if plan.before == old || self.firsts.has(context.key()) {
            self.firsts.begin(context.key()).await;
            context.progress(&progress);
        } else if let Err(error) = context.checkpoint(&progress).await {
            tracing::error!(error = %error.chain(), "the inventory was not stored, so nothing is applied");
            return Report::new(Visit::Backoff);
        }
        let cautious = stored.conditions.condition(meta::READY).is_some_and(|ready| ready.reason == reason::RECONCILIATION_FAILED);
        let session = Session::new(&access.target, access.client.clone(), &policy, cautious, context.cancellation());
        let earlier = self.stages.take(context.key(), &token);
        let mut applied = session.apply(&plan).await;
        let since = earlier.as_ref().map_or(context.now(), |(since, _)| *since);
        if let Some((_, mut changes)) = earlier {
            changes.extend(applied.changes.into_iter().filter(|change| change.verb.is_news()));
            applied.changes = changes;
        }
        if !applied.pending.is_empty() {
            if duration_since(since, context.now()) < STAGE_LIMIT {
                self.stages.put(context.key().clone(), token, since, applied.changes);
                return Report::new(Visit::After(Duration::from_secs(1))).status(&progress);
            }
            let list: Vec<String> = applied.pending.iter().map(|key| format!("{key} status: 'InProgress'")).collect();
            applied.failure = Some(apply::Failure::new(format!("timeout waiting for: [{}]", list.join(", "))));
        }
        if let Some(failure) = &applied.failure {
            // The error ends in a line break, and what was changed before it follows, as in Flux.
            let news: String = applied.changes.iter().filter(|change| change.verb.is_news()).map(|change| format!("{change}\n")).collect();
            let mut status = stored;
            status::set_inventory_after_failure(&mut status, &plan::after_failure(&old, &plan.new, &applied.written));
            return self.warned(this, status, &attempt, detecting(format!("{}\n{news}", failure.message)), context);
        }
        self.prune(this, found, access, plan, &session, &claimed, &old, applied.changes, attempt, token, context).await
    }

    #[allow(clippy::too_many_arguments)]
    async fn prune(
        &self,
        this: &Kustomization,
        found: &Found,
        access: &Access,
        plan: Plan,
        session: &Session<'_>,
        claimed: &HashMap<ObjectKey, NamespacedName>,
        old: &Inventory,
        changes: Vec<Change>,
        attempt: Attempt,
        token: String,
        context: &Context,
    ) -> Report {
        let mut changed = self.tell(&changes, &attempt, context);
        let pruned = session.prune(&plan.prunes, &|key| claimed.get(key).cloned()).await;
        let lines: Vec<String> = pruned.changes.iter().map(ToString::to_string).collect();
        if !lines.is_empty() {
            changed = true;
            context.publish(status::of(Event::info(reason::PROGRESSING, lines.join("\n")), &attempt));
        }
        let inventory = plan::after_success(old, &plan.new, &pruned.kept);
        let stored = status::stored(this);
        if let Some(failure) = pruned.failure {
            let mut status = stored;
            status::set_inventory(&mut status, &inventory);
            return self.warned(
                this,
                status,
                &attempt,
                Failed::new(reason::PRUNE_FAILED, Some(Phase::Detecting), failure.message),
                context,
            );
        }
        let checks = checks(this, &plan, &changes);
        if checks.is_empty() {
            return self.done(this, &attempt, &inventory, None, changed, pruned.deferred, context);
        }
        let timeout = spec::timeout(this);
        let now = context.now();
        let was_healthy = stored.conditions.condition(meta::HEALTHY).is_some_and(Condition::is_true);
        let deadline = now.checked_add(SignedDuration::from_nanos(timeout.as_nanos())).unwrap_or(now);
        let wait = Wait { token, attempt, since: now, deadline, timeout, checks, inventory, changed, was_healthy };
        self.waits.set(context.key().clone(), wait.clone());
        self.watch_and_judge(this, wait, access, found, context).await
    }

    /// Publishes what was applied; returns whether anything was.
    fn tell(&self, changes: &[Change], attempt: &Attempt, context: &Context) -> bool {
        let lines: Vec<String> = changes.iter().filter(|change| change.verb.is_news()).map(ToString::to_string).collect();
        if !lines.is_empty() {
            context.publish(status::of(Event::info(reason::PROGRESSING, lines.join("\n")), attempt));
        }
        !lines.is_empty()
    }

    async fn keep_waiting(&self, this: &Kustomization, wait: Wait, found: &Found, context: &Context) -> Report {
        match observe::access(self, this).await {
            Ok(access) => self.watch_and_judge(this, wait, &access, found, context).await,
            Err(stopped) => {
                self.waits.end(context.key());
                self.stopped(this, &wait.attempt, stopped, context)
            }
        }
    }

    async fn watch_and_judge(&self, this: &Kustomization, wait: Wait, access: &Access, found: &Found, context: &Context) -> Report {
        let fail_fast = !self.gates.enabled("DisableFailFastBehavior");
        let now = context.now();
        let verdict = waiting::look(&wait, &access.target, &access.client, &found.expressions, fail_fast, now).await;
        let mut status = status::stored(this);
        status::set_inventory(&mut status, &wait.inventory);
        match verdict {
            Verdict::Wait(after) => {
                let status = status::progressing(this, status, Phase::Checking, &wait.attempt.revision, now);
                Report::new(Visit::After(after)).status_soon(&status)
            }
            Verdict::Healthy => {
                self.waits.end(context.key());
                let took = GoDuration::from_nanos(i64::try_from(now.as_nanosecond() - wait.since.as_nanosecond()).unwrap_or(0));
                let newly = status.last_applied_revision != wait.attempt.revision && wait.changed;
                if !wait.was_healthy || newly {
                    context.publish(status::of(Event::info(reason::PROGRESSING, format!("Health check passed in {took}")), &wait.attempt));
                }
                self.done(this, &wait.attempt, &wait.inventory, Some(took), wait.changed, false, context)
            }
            Verdict::Failed(message) => {
                self.waits.end(context.key());
                self.warned(this, status, &wait.attempt, Failed::new(reason::HEALTH_CHECK_FAILED, Some(Phase::Checking), message), context)
            }
        }
    }

    /// All is applied and healthy. When nothing changed and nobody asked, nothing is written either.
    #[allow(clippy::too_many_arguments)]
    fn done(
        &self,
        this: &Kustomization,
        attempt: &Attempt,
        inventory: &Inventory,
        healthy: Option<GoDuration>,
        changed: bool,
        deferred: bool,
        context: &Context,
    ) -> Report {
        let visit = if deferred { Visit::After(DEFERRED_AFTER) } else { Visit::Interval(this.spec.interval.to_std()) };
        let stored = status::stored(this);
        if !changed && is_told(this, &stored, attempt, inventory, healthy.is_some()) {
            return Report::new(visit);
        }
        let now = context.now();
        let status = status::succeeded(this, stored, attempt, inventory, healthy, now);
        Report::new(visit).status(&status).event(status::finished(this, attempt, now))
    }

    /// A failure that people are told of by an event.
    fn warned(&self, this: &Kustomization, status: KustomizationStatus, attempt: &Attempt, failed: Failed, context: &Context) -> Report {
        let event =
            status::of(Event::error(failed.reason, failed.message.trim_end_matches('\n').to_owned() + trailing(&failed.message)), attempt);
        let status = status::failed(this, status, attempt, &failed, context.now());
        Report::new(Visit::After(spec::retry_interval(this))).status(&status).event(event).failed()
    }

    fn stopped(&self, this: &Kustomization, attempt: &Attempt, stopped: Stopped, context: &Context) -> Report {
        let stored = status::stored(this);
        let Stopped { failed, after, event } = stopped;
        let known =
            stored.conditions.condition(meta::READY).is_some_and(|ready| ready.message == failed.message && ready.reason == failed.reason);
        let visit = if failed.terminal { Visit::Never } else { Visit::After(after.unwrap_or_else(|| spec::retry_interval(this))) };
        let status = status::failed(this, stored, attempt, &failed, context.now());
        let report = Report::new(visit).status(&status).failed();
        // A dependency that is still not ready is no news.
        let repeated = known && failed.reason == reason::DEPENDENCY_NOT_READY;
        match event.filter(|_| !repeated) {
            Some(event) if attempt.revision.is_empty() => report.event(event),
            Some(event) => report.event(status::of(event, attempt)),
            None => report,
        }
    }
}

fn trailing(message: &str) -> &'static str {
    if message.ends_with('\n') { "\n" } else { "" }
}

fn duration_since(since: Timestamp, now: Timestamp) -> Duration {
    Duration::from_nanos(u64::try_from(now.as_nanosecond() - since.as_nanosecond()).unwrap_or(0))
}

/// Whether the stored status already says all that there is to say.
fn is_told(this: &Kustomization, stored: &KustomizationStatus, attempt: &Attempt, inventory: &Inventory, checked: bool) -> bool {
    let request = spec::annotation(this, meta::RECONCILE_REQUEST).unwrap_or("");
    let settled = |kind: &str| stored.conditions.condition(kind).is_none();
    stored.conditions.is_ready()
        && settled(meta::RECONCILING)
        && settled(meta::STALLED)
        && settled(HELD)
        && stored.conditions.condition(meta::HEALTHY).is_some_and(Condition::is_true) == checked
        && stored.observed_generation == spec::generation(this)
        && stored.last_applied_revision == attempt.revision
        && stored.last_applied_origin_revision == attempt.origin_revision
        && (request.is_empty() || stored.last_handled_reconcile_at == request)
        && stored
            .history
            .first()
            .is_some_and(|one| one.digest == attempt.digest && one.last_reconciled_status == reason::RECONCILIATION_SUCCEEDED)
        && status::inventory(stored) == *inventory
}

/// What is in the way, and the command that lets it through.
fn held_message(this: &Kustomization, hold: &plan::Hold, revision: &str) -> String {
    let key = spec::key(this);
    format!(
        "held by a guard rail: {hold}; to let it through: kubectl -n {} annotate kustomizations.kustomize.toolkit.fluxcd.io {} {ALLOW_PRUNE}='{revision}' --overwrite",
        key.namespace, key.name
    )
}

/// The objects that must become healthy: all that were applied, or those that the spec names.
fn checks(this: &Kustomization, plan: &Plan, changes: &[Change]) -> Vec<Check> {
    let me = ObjectKey {
        group: Kustomization::GROUP.to_owned(),
        kind: Kustomization::KIND.to_owned(),
        namespace: this.metadata.namespace.clone().unwrap_or_default(),
        name: this.metadata.name.clone().unwrap_or_default(),
    };
    if this.spec.wait {
        let skipped = |key: &ObjectKey| changes.iter().any(|change| change.key == *key && change.verb == Verb::Skipped);
        let steps = plan.stages.iter().flat_map(|stage| &stage.steps).map(|step| &step.desired);
        return steps
            .filter(|desired| desired.key != me && !skipped(&desired.key))
            .map(|desired| Check {
                key: desired.key.clone(),
                gvk: desired.object.gvk(),
                may_be_gone: desired.key.kind == "Job" && desired.object.field(&["spec", "ttlSecondsAfterFinished"]).is_some(),
            })
            .collect();
    }
    let named = this.spec.health_checks.iter().map(|one| {
        // As in Flux, a reference without a version is one to apps/v1.
        let api_version = if one.api_version.is_empty() { "apps/v1" } else { &one.api_version };
        let gvk = GroupVersionKind::from_api_version(api_version, &one.kind);
        let key = ObjectKey { group: gvk.group.clone(), kind: gvk.kind.clone(), namespace: one.namespace.clone(), name: one.name.clone() };
        Check { key, gvk, may_be_gone: false }
    });
    named.filter(|check| check.key != me).collect()
}

//! One visit of one HelmRelease: observe, decide, act, report. What takes long is begun here and reported on a later visit.

use crate::{
    charts::Charts,
    drift, finalize,
    objects::{self, Owner},
    observe::{self, Again, Prepared, Reach, Stopped},
    operation::{self, Job, Outcome},
    options::Options,
    snapshot,
    source::{Source, Sources},
    spec::{self, Operation},
    state::{self, Action, Attempted, Policy, Remembered, State, Step, Wanted},
    status::{self, Draft},
    storage::{Decoded, Known, Storage},
    waits::Actions,
    watch::DriftWatch,
};
use api::{
    Conditions,
    helm::{HelmRelease, Snapshot},
    meta::{self, DRIFTED, RECONCILING, TRUE, reason},
};
use apply::Targets;
use cluster::Client;
use health::Expressions;
use runtime::{Backoff, Context, Event, FeatureGates, Report, Store, Visit};
use std::{collections::HashSet, sync::Arc};
use types::{GoDuration, NamespacedName};

/// A release made by others is taken as it is, without a new revision, when it is what the spec asks for.
pub(crate) const ADOPT: &str = "helm.sluice.dev/adopt";
const ADOPT_IN_PLACE: &str = "in-place";

pub(crate) struct Reconciler {
    pub options: Options,
    pub gates: FeatureGates,
    pub client: Client,
    pub store: Store<HelmRelease>,
    pub sources: Sources,
    /// The HelmCharts, for those made by us.
    pub charts_by_name: Store<Source>,
    pub charts: Charts,
    pub targets: Targets,
    pub decoded: Arc<Decoded>,
    pub actions: Arc<Actions>,
    pub drift: Arc<DriftWatch>,
    pub backoff: Backoff,
}

impl runtime::Reconciler for Reconciler {
    type Resource = HelmRelease;

    async fn reconcile(&self, this: Arc<HelmRelease>, context: &Context) -> Report {
        if context.meta().is_deleting() {
            return finalize::finalize(self, &this, context).await;
        }
        if this.spec.suspend {
            return suspended(&this);
        }
        // Its end leads back here.
        if self.actions.is_running(context.key()) {
            return Report::under_way();
        }
        self.visit(&this, context).await
    }

    fn gone(&self, key: &NamespacedName) {
        self.actions.forget(key);
        self.drift.forget(key);
    }
}

/// Nothing is done, but the spec counts as observed, as in Flux.
fn suspended(this: &HelmRelease) -> Report {
    let mut status = spec::stored(this);
    if status.observed_generation != spec::generation(this) {
        status.observed_generation = spec::generation(this);
        return Report::new(Visit::Never).status(&status);
    }
    Report::new(Visit::Never)
}

/// How a visit goes on after a look at the state.
enum Turn<'t> {
    /// Look again: something was done that took no time.
    Again(Draft<'t>),
    Done(Report),
}

/// What some actions need to know besides.
#[derive(Debug, Clone, Copy, Default)]
struct Begin {
    /// Where a rollback goes back to.
    version: i64,
    /// The release was somebody else's.
    adopts: bool,
}

/// Everything that one look at the state needs.
struct Sight<'s> {
    reach: &'s Reach,
    storage: &'s Storage,
    prepared: &'s Prepared,
    expressions: &'s Arc<Expressions>,
    context: &'s Context,
}

impl Reconciler {
    async fn visit(&self, this: &Arc<HelmRelease>, context: &Context) -> Report {
        let key = context.key();
        let mut draft = Draft { this, status: spec::stored(this), events: Vec::new(), now: context.now() };
        let expressions = match observe::expressions(this) {
            Ok(expressions) => Arc::new(expressions),
            Err(stopped) => return self.stopped(draft, stopped, context),
        };
        let outcome = self.actions.take_outcome(key);
        // A round that is under way goes on with what it began with.
        let begins = outcome.is_none() && !self.actions.in_round(key);
        if begins {
            let fresh = draft.status.conditions.is_empty();
            if fresh {
                draft.progressing(status::PREREQUISITES);
                context.progress(&draft.status);
            }
        }
        let (source, generation) = match observe::chart_template(self, &mut draft).await {
            Ok(found) => found,
            Err(stopped) => return self.stopped_after(draft, outcome, stopped, context),
        };
        if begins && let Err(stopped) = observe::dependencies(self, this).await {
            return self.stopped(draft, stopped, context);
        }
        let prepared = match observe::prepare(self, this, &source, generation).await {
            Ok(prepared) => prepared,
            Err(stopped) => return self.stopped_after(draft, outcome, stopped, context),
        };
        let reach = match observe::reach(self, this).await {
            Ok(reach) => reach,
            Err(stopped) => return self.stopped_after(draft, outcome, stopped, context),
        };
        self.attempt(&mut draft, &prepared, context);
        if let Some(outcome) = outcome
            && let Some(report) = self.take_in(&mut draft, outcome, context).await
        {
            return report;
        }
        if let Some(report) = self.change_target(&mut draft, &reach, &prepared, context) {
            return report;
        }
        spec::storage_namespace(this).clone_into(&mut draft.status.storage_namespace);
        let storage = reach.storage(self, spec::storage_namespace(this), &spec::release_name(this));
        let sight = Sight { reach: &reach, storage: &storage, prepared: &prepared, expressions: &expressions, context };
        // Each turn takes a step that the round has not taken yet, so there are few.
        for _ in 0..8 {
            draft = match self.turn(draft, &sight).await {
                Turn::Again(draft) => draft,
                Turn::Done(report) => return report,
            };
        }
        self.actions.end_round(key);
        self.report(draft, Visit::Backoff)
    }

    /// Writes down what came of an action. A report when that ends the visit.
    async fn take_in(&self, draft: &mut Draft<'_>, outcome: Outcome, context: &Context) -> Option<Report> {
        let key = context.key();
        if outcome.cancelled {
            self.actions.end_round(key);
            return Some(Report::new(Visit::After(self.backoff.delay(1))));
        }
        let oci_digest = oci_digest(draft, &outcome);
        let well = draft.record(&outcome, &oci_digest);
        if matches!(outcome.operation, Operation::Install | Operation::Upgrade) {
            spec::storage_namespace(draft.this).clone_into(&mut draft.status.storage_namespace);
            if well {
                draft.status.observed_post_renderers_digest = post_renderers_digest(draft.this);
                draft.status.observed_common_metadata_digest = common_metadata_digest(draft.this);
            }
        }
        // What is in storage and what the history says must not part: it is stored before anything else is done.
        if let Err(error) = context.checkpoint(&draft.status).await {
            tracing::error!(error = %error.chain(), "what came of an action was not stored; it is tried again");
            self.actions.put_back(key, outcome);
            return Some(Report::new(Visit::Backoff));
        }
        std::mem::take(&mut draft.events).into_iter().for_each(|event| context.publish(event));
        match outcome.operation {
            // The release of an earlier spec is gone: from here on all begins anew.
            Operation::Uninstall if well => {
                draft.status.history.clear();
                draft.status.storage_namespace.clear();
                draft.status.conditions.remove_condition(meta::RELEASED);
                self.actions.end_round(key);
                None
            }
            // What comes now says the table: another attempt, or none when they are used up.
            Operation::Rollback | Operation::UninstallRemediation if well => {
                snapshot::truncate(&mut draft.status.history, spec::upgrade_remediation(draft.this, false).ignore_test_failures);
                self.actions.end_round(key);
                None
            }
            _ if well || status::stored_new(&outcome) || outcome.operation == Operation::Test => None,
            // Nothing was left behind: it is tried again, and does not count as an attempt.
            operation => {
                self.actions.end_round(key);
                let mut draft = take(draft);
                if matches!(operation, Operation::Install | Operation::Upgrade) {
                    let timeout = spec::timeout(draft.this, operation);
                    let message = format!("Running '{}' action with timeout of {timeout}", operation.word());
                    draft.set(RECONCILING, TRUE, reason::PROGRESSING, message);
                }
                draft.answer_requests();
                let delay = self.backoff.delay(u32::try_from(draft.status.failures.max(1)).unwrap_or(u32::MAX));
                Some(self.report(draft, Visit::After(delay)).failed())
            }
        }
    }

    /// A release under another name, namespace or storage is not this one any more: the old one goes first.
    fn change_target(&self, draft: &mut Draft<'_>, reach: &Reach, prepared: &Prepared, context: &Context) -> Option<Report> {
        let this = draft.this;
        let current = draft.status.history.first()?;
        let (name, namespace, storage) = (spec::release_name(this), spec::release_namespace(this), spec::storage_namespace(this));
        let stored_in = draft.status.storage_namespace.clone();
        let in_place = this.spec.upgrade.as_ref().is_some_and(|upgrade| upgrade.chart_name_change_strategy == "InPlaceUpdate");
        let changed = (!stored_in.is_empty() && stored_in != storage)
            || current.namespace != namespace
            || current.name != name
            || (!in_place && current.chart_name != prepared.chart.chart.metadata.name);
        if !changed {
            return None;
        }
        let old = current.clone();
        let mut draft = take(draft);
        draft.running(Operation::Uninstall);
        let storage = if stored_in.is_empty() { storage.to_owned() } else { stored_in };
        self.begin_uninstall(&draft, reach, &old, &storage, Operation::Uninstall, context);
        Some(Report::new(Visit::Never).events(std::mem::take(&mut draft.events)).status_soon(&draft.status))
    }

    /// Notes what is about to be tried, and forgets failures of what was tried before.
    fn attempt(&self, draft: &mut Draft<'_>, prepared: &Prepared, context: &Context) {
        let this = draft.this;
        let metadata = &prepared.chart.chart.metadata;
        let status = &mut draft.status;
        let changed = status.last_attempted_generation != spec::generation(this)
            || status.last_attempted_revision != metadata.version
            || status.last_attempted_config_digest != prepared.config_digest;
        let reset = requested(this, meta::RESET_REQUEST, &status.last_handled_reset_at, &status.last_handled_reconcile_at);
        if changed || reset {
            status.failures = 0;
            status.install_failures = 0;
            status.upgrade_failures = 0;
        }
        if reset && let Some(token) = spec::annotation(this, meta::RESET_REQUEST) {
            token.clone_into(&mut status.last_handled_reset_at);
        }
        let purpose = format!("{} {} {}", spec::generation(this), metadata.version, prepared.config_digest);
        self.actions.round_is_for(context.key(), &purpose);
        status.last_attempted_generation = spec::generation(this);
        metadata.version.clone_into(&mut status.last_attempted_revision);
        prepared.chart.oci_digest.clone_into(&mut status.last_attempted_revision_digest);
        prepared.config_digest.clone_into(&mut status.last_attempted_config_digest);
        status.last_attempted_values_checksum.clear();
        status.last_release_revision = 0;
    }

    fn policy<'p>(&self, draft: &'p Draft<'_>, forced: bool, history: &'p [Snapshot]) -> Policy<'p> {
        let this = draft.this;
        let retry = self.gates.enabled("DefaultToRetryOnFailure");
        Policy {
            forced,
            accepts: spec::annotation(this, ADOPT) == Some(ADOPT_IN_PLACE),
            attempted: match draft.status.last_attempted_release_action.as_str() {
                "install" => Attempted::Install,
                "upgrade" => Attempted::Upgrade,
                _ => Attempted::Nothing,
            },
            install: spec::install_remediation(this, retry),
            upgrade: spec::upgrade_remediation(this, retry),
            failures: draft.status.failures,
            install_failures: draft.status.install_failures,
            upgrade_failures: draft.status.upgrade_failures,
            drift: spec::drift_mode(this),
            history,
            is_stored: &|_| true,
        }
    }

    /// One look at the state, and what follows from it.
    async fn turn<'t>(&self, mut draft: Draft<'t>, sight: &Sight<'_>) -> Turn<'t> {
        let (this, key) = (draft.this, sight.context.key());
        let (revisions, last) = match observe::stored(sight.storage).await {
            Ok(found) => found,
            Err(stopped) => return Turn::Done(self.stopped(draft, stopped, sight.context)),
        };
        let wanted = self.wanted(this, sight.prepared, &draft);
        let known = Remembered {
            history: &draft.status.history,
            spec_changed: draft.status.observed_generation != spec::generation(this),
            post_renderers_digest: &draft.status.observed_post_renderers_digest,
            common_metadata_digest: &draft.status.observed_common_metadata_digest,
        };
        let mut state = state::determine(last.as_deref(), &wanted, &known);
        let access = sight.reach.access(this, Operation::Upgrade, last.as_ref(), false);
        let mut differences = Vec::new();
        if state == State::InSync
            && let Some(last) = &last
            && drift::is_on(this)
        {
            match self.look_for_drift(this, &access, last, key).await {
                Ok(found) if found.is_empty() => draft.no_drift(),
                Ok(found) => {
                    differences = found;
                    state = State::Drifted;
                }
                Err(message) => {
                    let stopped = Stopped {
                        reason: "StateError",
                        event: Some(Event::error("StateError", message.clone())),
                        message: format!("Could not determine release state: unable to determine cluster state: {message}"),
                        visit: Again::Backoff,
                    };
                    return Turn::Done(self.stopped(draft, stopped, sight.context));
                }
            }
        } else if !drift::is_on(this) {
            self.drift.forget(key);
            draft.status.conditions.remove_condition(DRIFTED);
        }
        let forced = requested(this, meta::FORCE_REQUEST, &draft.status.last_handled_force_at, &draft.status.last_handled_reconcile_at)
            && !self.actions.was_taken(key, Step::Release);
        let verified = self.verified(&draft.status.history, sight.storage, &revisions, &state).await;
        let history = draft.status.history.clone();
        let action = {
            let is_stored = |one: &Snapshot| verified.contains(&one.version);
            state::decide(&state, &Policy { is_stored: &is_stored, ..self.policy(&draft, forced, &history) })
        };
        tracing::debug!(?state, ?action, "decided");
        if let Some(step) = action.step()
            && !self.actions.take_step(key, step)
        {
            return Turn::Done(self.once_more(draft, step, sight.context));
        }
        match action {
            Action::Install => Turn::Done(self.begin(draft, sight, Operation::Install, last, Begin::default())),
            Action::Upgrade => Turn::Done(self.begin(draft, sight, Operation::Upgrade, last, Begin::default())),
            Action::Adopt => Turn::Done(self.begin(draft, sight, Operation::Upgrade, last, Begin { adopts: true, ..Begin::default() })),
            Action::Test => Turn::Done(self.begin(draft, sight, Operation::Test, last, Begin::default())),
            Action::Rollback { version } => {
                Turn::Done(self.begin(draft, sight, Operation::Rollback, last, Begin { version, ..Begin::default() }))
            }
            Action::UninstallRemediation => Turn::Done(self.begin(draft, sight, Operation::UninstallRemediation, last, Begin::default())),
            Action::Accept => self.accept(draft, sight, last).await,
            Action::Unlock => self.unlock(draft, sight, last).await,
            Action::CorrectDrift | Action::ReportDrift => {
                let corrects = action == Action::CorrectDrift;
                self.drifted(draft, &access, &differences, corrects, sight.context).await
            }
            Action::Settle => Turn::Done(self.settled(draft, sight.context)),
            Action::Stall { attempts, action } => Turn::Done(self.stall(draft, attempts, action, sight.context)),
            Action::NoTarget => {
                draft.stalled("MissingRollbackTarget", "Failed to perform remediation: missing target release for rollback");
                Turn::Done(self.end(draft, Visit::Never, sight.context))
            }
        }
    }

    fn wanted(&self, this: &HelmRelease, prepared: &Prepared, draft: &Draft<'_>) -> Wanted {
        let metadata = &prepared.chart.chart.metadata;
        let install = draft.status.last_attempted_release_action == "install";
        let remedy = if install { spec::install_remediation(this, false) } else { spec::upgrade_remediation(this, false) };
        Wanted {
            chart_name: metadata.name.clone(),
            chart_version: metadata.version.clone(),
            config_digest: prepared.config_digest.clone(),
            post_renderers_digest: post_renderers_digest(this),
            common_metadata_digest: common_metadata_digest(this),
            tests: spec::tests_enabled(this),
            ignore_test_failures: remedy.ignore_test_failures,
        }
    }

    /// The versions of the history that are still stored as they were; only looked up where a rollback may follow.
    async fn verified(
        &self,
        history: &[Snapshot],
        storage: &Storage,
        revisions: &[crate::storage::Revision],
        state: &State,
    ) -> HashSet<i64> {
        let mut verified = HashSet::new();
        if *state != State::Failed {
            return verified;
        }
        for snapshot in history.iter().skip(1) {
            if let Some(revision) = revisions.iter().find(|revision| revision.version == snapshot.version)
                && let Ok(stored) = storage.read(revision).await
                && snapshot::matches(snapshot, &stored)
            {
                verified.insert(snapshot.version);
            }
        }
        verified
    }

    async fn look_for_drift(
        &self,
        this: &HelmRelease,
        access: &objects::Access,
        last: &Known,
        key: &NamespacedName,
    ) -> Result<drift::Differences, String> {
        let release = &**last;
        let owner = Owner { name: &release.name, namespace: &release.namespace };
        let objects = objects::parse(&release.manifest).map_err(|error| error.to_string())?;
        let items = objects::resolve(&access.target, objects, &release.namespace, Some(owner)).await.map_err(|error| error.to_string())?;
        access.watch(&items).await;
        let found = drift::look(access, &items, &drift::rules(this)?).await?;
        self.drift.follow(key, access.target.clone(), &items);
        Ok(found)
    }

    /// Begins an action; its end leads to another visit.
    fn begin(&self, mut draft: Draft<'_>, sight: &Sight<'_>, operation: Operation, last: Option<Known>, how: Begin) -> Report {
        let this = Arc::new(draft.this.clone());
        let helm3_defaults = self.gates.enabled("UseHelm3Defaults");
        draft.running(operation);
        let job = Job {
            operation,
            access: sight.reach.access(&this, operation, last.as_ref(), helm3_defaults),
            storage: sight.storage.clone(),
            clock: sight.context.clock().clone(),
            chart: Some(sight.prepared.chart.clone()),
            values: sight.prepared.values.clone(),
            version: how.version,
            adopts: how.adopts,
            name: spec::release_name(&this),
            namespace: spec::release_namespace(&this).to_owned(),
            expressions: sight.expressions.clone(),
            fail_fast: true,
            helm3_defaults,
            this,
        };
        self.start(sight.context, job);
        let visit = Visit::Never;
        Report::new(visit).events(std::mem::take(&mut draft.events)).status_soon(&draft.status)
    }

    /// Begins to take a release away, be it that of an earlier spec.
    pub(crate) fn begin_uninstall(
        &self,
        draft: &Draft<'_>,
        reach: &Reach,
        release: &Snapshot,
        storage_namespace: &str,
        operation: Operation,
        context: &Context,
    ) {
        let this = Arc::new(draft.this.clone());
        let job = Job {
            operation,
            access: reach.access(&this, operation, None, false),
            storage: reach.storage(self, storage_namespace, &release.name),
            clock: context.clock().clone(),
            chart: None,
            values: serde_json::Map::new(),
            version: 0,
            adopts: false,
            name: release.name.clone(),
            namespace: release.namespace.clone(),
            expressions: Arc::new(Expressions::default()),
            fail_fast: true,
            helm3_defaults: false,
            this,
        };
        self.start(context, job);
    }

    fn start(&self, context: &Context, job: Job) {
        let key = context.key().clone();
        let (handle, back) = (context.handle().clone(), key.clone());
        self.actions.begin(key, job.operation, move |turn| operation::run(job, turn), move || handle.trigger(&back));
    }

    /// A release that somebody else made, and that is what is wanted, is taken as it is.
    async fn accept<'t>(&self, mut draft: Draft<'t>, sight: &Sight<'_>, last: Option<Known>) -> Turn<'t> {
        let Some(last) = last else { return Turn::Again(draft) };
        let release = &*last;
        draft.status.history = vec![snapshot::of(release, &sight.prepared.chart.oci_digest, "")];
        let inventory = objects::inventory(&sight.reach.target, &release.manifest, &[], &release.namespace).await;
        draft.set_inventory(&inventory);
        "install".clone_into(&mut draft.status.last_attempted_release_action);
        let current = snapshot::of(release, "", "");
        let message = format!("Adopted Helm release {} with chart {} as it is", snapshot::full_name(&current), snapshot::chart(&current));
        draft.events.push(status::about(Event::info("Adopted", message), &current));
        Turn::Again(draft)
    }

    /// Whoever began and did not end is not coming back: the release counts as failed, and can be worked on.
    async fn unlock<'t>(&self, mut draft: Draft<'t>, sight: &Sight<'_>, last: Option<Known>) -> Turn<'t> {
        let Some(last) = last else { return Turn::Again(draft) };
        let failed = |why: String| Stopped {
            reason: "PendingRelease",
            event: Some(Event::error("PendingRelease", why.clone())),
            message: why,
            visit: Again::Backoff,
        };
        let mut last = match sight.storage.fetch(last.version).await {
            Ok(last) => last,
            Err(error) => return Turn::Done(self.stopped(draft, failed(error.text()), sight.context)),
        };
        let was = last.release.info.status.clone();
        let release = Arc::make_mut(&mut last.release);
        "failed".clone_into(&mut release.info.status);
        release.info.description = format!("Release unlocked from stale '{was}' state");
        if let Err(why) = sight.storage.update(&last, draft.now).await {
            return Turn::Done(self.stopped(draft, failed(why), sight.context));
        }
        if let Some(known) = draft.status.history.iter_mut().find(|one| one.version == last.release.version) {
            let action = known.action.clone();
            *known = snapshot::of(&last.release, &known.oci_digest, &action);
        }
        draft.told_unlock(&last.release, &was);
        Turn::Again(draft)
    }

    async fn drifted<'t>(
        &self,
        mut draft: Draft<'t>,
        access: &objects::Access,
        differences: &drift::Differences,
        corrects: bool,
        context: &Context,
    ) -> Turn<'t> {
        let Some(current) = draft.status.history.first().cloned() else { return Turn::Again(draft) };
        let name = snapshot::full_name(&current);
        let message = format!("Cluster state of release {name} has drifted from the desired state:\n{}", drift::describe(differences));
        let known = draft.status.conditions.condition(DRIFTED).is_some_and(|drifted| drifted.is_true() && drifted.message == message);
        if !known || corrects {
            draft.events.push(Event::error("DriftDetected", message.clone()));
        }
        draft.set(DRIFTED, TRUE, "DriftDetected", message);
        if !corrects {
            return Turn::Done(self.settled(draft, context));
        }
        let (done, failure) = drift::correct(access, differences).await;
        if !done.is_empty() {
            let message = format!("Cluster state of release {name} has been corrected:\n{}", done.join("\n"));
            draft.events.push(status::about(Event::info("DriftCorrected", message), &current));
        }
        match failure {
            None => Turn::Again(draft),
            Some(why) => {
                let message = format!("Cluster state of release {name} could not be corrected:\n{why}");
                draft.events.push(status::about(Event::error("DriftCorrectionFailed", message), &current));
                self.actions.end_round(context.key());
                Turn::Done(self.report(draft, Visit::Backoff))
            }
        }
    }

    /// A step that the round has taken is due again.
    fn once_more(&self, mut draft: Draft<'_>, step: Step, context: &Context) -> Report {
        let policy = self.policy(&draft, false, &[]);
        let install = draft.status.last_attempted_release_action == "install";
        let (remedy, failures, action) = if install {
            (policy.install, policy.install_failures, "install")
        } else {
            (policy.upgrade, policy.upgrade_failures, "upgrade")
        };
        if step != Step::Release || draft.status.failures == 0 {
            // What was done went well, and did not last: somebody else is at work, and a race helps nobody.
            self.actions.end_round(context.key());
            return self.report(draft, Visit::After(self.backoff.delay(6)));
        }
        if let Some(after) = remedy.retry_after {
            let message = format!("retrying after {}", GoDuration::from(after));
            draft.set(RECONCILING, TRUE, reason::PROGRESSING_WITH_RETRY, message);
            draft.status.observed_generation = spec::generation(draft.this);
            return self.end(draft, Visit::After(after), context).failed();
        }
        if remedy.exhausted(failures) {
            return self.stall(draft, failures, action, context);
        }
        self.actions.end_round(context.key());
        self.report(draft, Visit::Now)
    }

    fn stall(&self, mut draft: Draft<'_>, attempts: i64, action: &str, context: &Context) -> Report {
        draft.stalled("RetriesExceeded", &format!("Failed to {action} after {attempts} attempt(s)"));
        self.end(draft, Visit::Never, context)
    }

    fn settled(&self, mut draft: Draft<'_>, context: &Context) -> Report {
        draft.succeeded();
        draft.status.observed_post_renderers_digest = post_renderers_digest(draft.this);
        draft.status.observed_common_metadata_digest = common_metadata_digest(draft.this);
        let remedy = spec::upgrade_remediation(draft.this, false);
        snapshot::truncate(&mut draft.status.history, remedy.ignore_test_failures);
        let interval = draft.this.spec.interval.to_std();
        self.end(draft, Visit::Interval(interval), context)
    }

    /// The round is over, and its requests are answered.
    fn end(&self, mut draft: Draft<'_>, visit: Visit, context: &Context) -> Report {
        self.actions.end_round(context.key());
        draft.answer_requests();
        self.report(draft, visit)
    }

    pub(crate) fn report(&self, draft: Draft<'_>, visit: Visit) -> Report {
        Report::new(visit).status(&draft.status).events(draft.events)
    }

    /// As `stopped`, when an action has ended meanwhile: what came of it waits for the next visit.
    fn stopped_after(&self, draft: Draft<'_>, outcome: Option<Outcome>, stopped: Stopped, context: &Context) -> Report {
        if let Some(outcome) = outcome {
            self.actions.put_back(context.key(), outcome);
        }
        self.stopped(draft, stopped, context)
    }

    pub(crate) fn stopped(&self, mut draft: Draft<'_>, stopped: Stopped, context: &Context) -> Report {
        let Stopped { reason, message, event, visit } = stopped;
        let repeated = reason == reason::DEPENDENCY_NOT_READY
            && draft.status.conditions.condition(meta::READY).is_some_and(|ready| ready.reason == reason && ready.message == message);
        if visit == Again::Terminal {
            draft.terminal(reason, &message);
        } else {
            draft.not_ready(reason, &message);
        }
        draft.events.extend(event.filter(|_| !repeated));
        draft.answer_requests();
        self.actions.end_round_unless_finished(context.key());
        let visit = match visit {
            Again::Terminal => Visit::Never,
            Again::After(after) => Visit::After(after),
            Again::Backoff => Visit::Backoff,
        };
        let waits = matches!(visit, Visit::After(_));
        let report = Report::new(visit).events(draft.events).failed();
        // What waits for a watch is often over in a moment.
        if waits && reason != reason::DEPENDENCY_NOT_READY { report.status_soon(&draft.status) } else { report.status(&draft.status) }
    }
}

/// The draft itself, where only a reference to it was given.
fn take<'t>(draft: &mut Draft<'t>) -> Draft<'t> {
    Draft { this: draft.this, status: std::mem::take(&mut draft.status), events: std::mem::take(&mut draft.events), now: draft.now }
}

/// The digest that belongs to the chart of an outcome: that of the history for a release of old, that of the chart for a new one.
fn oci_digest(draft: &Draft<'_>, outcome: &Outcome) -> String {
    let known = match outcome.operation {
        Operation::Install | Operation::Upgrade => return outcome.oci_digest.clone(),
        Operation::Rollback => draft.status.history.iter().find(|one| one.version == outcome.version),
        _ => draft.status.history.first(),
    };
    known.map(|one| one.oci_digest.clone()).unwrap_or_default()
}

/// Whether a request of this kind is new: it goes along with a request to reconcile, by the same token.
fn requested(this: &HelmRelease, annotation: &str, handled: &str, handled_request: &str) -> bool {
    let request = spec::annotation(this, meta::RECONCILE_REQUEST).unwrap_or_default();
    let token = spec::annotation(this, annotation).unwrap_or_default();
    !token.is_empty() && token == request && request != handled_request && token != handled
}

fn post_renderers_digest(this: &HelmRelease) -> String {
    snapshot::post_renderers_digest(&this.spec.post_renderers)
}

fn common_metadata_digest(this: &HelmRelease) -> String {
    this.spec.common_metadata.as_ref().map(snapshot::spec_digest).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_forced_release_needs_the_token_of_a_new_request() {
        let this = |request: &str, force: &str| {
            let mut this = HelmRelease::named("n", "a");
            this.metadata.annotations =
                Some([(meta::RECONCILE_REQUEST.to_owned(), request.to_owned()), (meta::FORCE_REQUEST.to_owned(), force.to_owned())].into());
            this
        };
        let of = |this: &HelmRelease, force: &str, request: &str| requested(this, meta::FORCE_REQUEST, force, request);
        assert!(of(&this("1", "1"), "", ""));
        assert!(!of(&this("1", "2"), "", ""), "another token");
        assert!(!of(&this("1", "1"), "1", "1"), "answered");
        assert!(!of(&this("1", "1"), "", "1"), "the request was answered");
        assert!(!of(&HelmRelease::named("n", "a"), "", ""));
    }
}

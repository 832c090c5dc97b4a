//! What is done to a release, step by step, in Helm's order. Whatever ends it, storage says how far it came.

use crate::{
    charts::Loaded,
    crds, hooks,
    objects::{self, Access, Item, Owner, Reference},
    render::{self, Input},
    spec::{self, Operation},
    storage::{Known, Storage, StorageError, Stored},
    wait::{self, Rules, WaitError},
    waits::Turn,
};
use api::helm::HelmRelease;
use cluster::{Propagation, Resource};
use health::Expressions;
use helm::StoredRelease;
use jiff::Timestamp;
use plan::Entry;
use runtime::Clock;
use serde_json::{Map, Value, json};
use std::sync::Arc;
use types::GoDuration;

/// Everything that an action needs.
pub(crate) struct Job {
    pub this: Arc<HelmRelease>,
    pub operation: Operation,
    pub access: Access,
    pub storage: Storage,
    pub clock: Clock,
    /// None for what needs no chart.
    pub chart: Option<Arc<Loaded>>,
    pub values: Map<String, Value>,
    /// Where a rollback goes back to.
    pub version: i64,
    /// The release was somebody else's: what is known of earlier ones does not count any more.
    pub adopts: bool,
    /// The name and namespace of the release; those of an uninstall may be of an earlier spec.
    pub name: String,
    pub namespace: String,
    pub expressions: Arc<Expressions>,
    pub fail_fast: bool,
    pub helm3_defaults: bool,
}

/// What came of an action.
pub(crate) struct Outcome {
    pub operation: Operation,
    pub started: Timestamp,
    pub ended: Timestamp,
    /// Every write to storage, in order.
    pub stored: Vec<Known>,
    /// The release that was aimed at; also known when nothing was stored.
    pub release: Option<Known>,
    pub inventory: Option<Vec<Entry>>,
    pub failure: Option<String>,
    /// What was done, for the event of a failure.
    pub log: Vec<String>,
    /// Nobody needs it any more: it is not told.
    pub cancelled: bool,
    /// The OCI digest of the chart that was released, or empty.
    pub oci_digest: String,
    /// Where a rollback went back to.
    pub version: i64,
    pub adopts: bool,
}

impl Outcome {
    /// The action's own task ended in a way that it cannot tell of.
    pub(crate) fn broken(panicked: bool) -> Self {
        let why = if panicked { "the controller met a defect of its own; its log has the details" } else { "the action was ended" };
        let now = Timestamp::UNIX_EPOCH;
        Self {
            operation: Operation::Upgrade,
            started: now,
            ended: now,
            stored: Vec::new(),
            release: None,
            inventory: None,
            failure: Some(why.to_owned()),
            log: Vec::new(),
            cancelled: !panicked,
            oci_digest: String::new(),
            version: 0,
            adopts: false,
        }
    }
}

/// An action at work.
pub(crate) struct Work<'j> {
    pub job: &'j Job,
    pub turn: Turn,
    pub stored: Vec<Known>,
    pub log: Vec<String>,
}

/// Why an action ended early.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Stop {
    #[error("{0}")]
    Failed(String),
    #[error("the action was cancelled")]
    Cancelled,
}

impl From<WaitError> for Stop {
    fn from(error: WaitError) -> Self {
        match error {
            WaitError::Failed(message) => Self::Failed(message),
            WaitError::Cancelled => Self::Cancelled,
        }
    }
}

impl From<String> for Stop {
    fn from(message: String) -> Self {
        Self::Failed(message)
    }
}

impl From<StorageError> for Stop {
    fn from(error: StorageError) -> Self {
        Self::Failed(error.text())
    }
}

impl From<objects::ObjectError> for Stop {
    fn from(error: objects::ObjectError) -> Self {
        Self::Failed(error.0)
    }
}

/// Runs an action to its end.
pub(crate) async fn run(job: Job, mut turn: Turn) -> Outcome {
    turn.take().await;
    let started = job.clock.now();
    let mut work = Work { job: &job, turn, stored: Vec::new(), log: Vec::new() };
    let mut aimed = None;
    let result = match job.operation {
        Operation::Install => work.install(&mut aimed).await,
        Operation::Upgrade => work.upgrade(&mut aimed).await,
        Operation::Rollback => work.rollback(&mut aimed).await,
        Operation::Test => work.test(&mut aimed).await,
        Operation::Uninstall | Operation::UninstallRemediation => work.uninstall(&mut aimed).await,
    };
    let Work { stored, log, .. } = work;
    let inventory = match (&job.operation, stored.last()) {
        (Operation::Install | Operation::Upgrade | Operation::Rollback, Some(_)) => match &aimed {
            Some(Aim { release, crds }) => Some(objects::inventory(&job.access.target, &release.manifest, crds, &job.namespace).await),
            None => None,
        },
        _ => None,
    };
    let cancelled = matches!(result, Err(Stop::Cancelled));
    Outcome {
        operation: job.operation,
        started,
        ended: job.clock.now(),
        stored,
        release: aimed.map(|aim| aim.release),
        inventory,
        failure: result.err().map(|error| error.to_string()),
        log,
        cancelled,
        oci_digest: job.chart.as_ref().map(|chart| chart.oci_digest.clone()).unwrap_or_default(),
        version: job.version,
        adopts: job.adopts,
    }
}

/// The release that an action wants to make.
pub(crate) struct Aim {
    pub release: Known,
    /// What the chart's crds folder makes.
    pub crds: Vec<Entry>,
}

/// How a release stands when it is stored for the first time.
struct Begun {
    first_deployed: Option<String>,
    status: &'static str,
    description: &'static str,
}

/// What is aimed at is now stored.
fn aim_at(aimed: &mut Option<Aim>, stored: &Stored) {
    let crds = aimed.take().map(|aim| aim.crds).unwrap_or_default();
    *aimed = Some(Aim { release: Known::of(stored), crds });
}

impl Work<'_> {
    pub(crate) fn note(&mut self, text: String) {
        const LINES_MAX: usize = 10;
        self.log.push(format!("{} {text}", self.job.clock.now()));
        if self.log.len() > LINES_MAX {
            self.log.remove(0);
        }
    }

    fn owner(&self) -> Owner<'_> {
        Owner { name: &self.job.name, namespace: &self.job.namespace }
    }

    pub(crate) fn timeout(&self) -> GoDuration {
        spec::timeout(&self.job.this, self.job.operation)
    }

    async fn create(&mut self, stored: &Stored) -> Result<(), Stop> {
        let max = spec::max_history(&self.job.this);
        self.job.storage.make_room(max).await.map_err(|error| Stop::Failed(error.chain()))?;
        let known = self.job.storage.create(stored, self.job.clock.now()).await?;
        self.stored.push(known);
        Ok(())
    }

    pub(crate) async fn update(&mut self, stored: &Stored) -> Result<(), Stop> {
        let known = self.job.storage.update(stored, self.job.clock.now()).await?;
        self.stored.push(known);
        Ok(())
    }

    /// Writes down that a release is now of another state; the object of an earlier write stays as it is.
    async fn set_status(&mut self, stored: &mut Stored, status: &str, description: &str) -> Result<(), Stop> {
        let release = Arc::make_mut(&mut stored.release);
        status.clone_into(&mut release.info.status);
        description.clone_into(&mut release.info.description);
        self.update(&stored.clone()).await
    }

    /// Another revision has taken the place of this one.
    async fn supersede(&mut self, version: i64) -> Result<(), Stop> {
        let mut stored = self.job.storage.fetch(version).await?;
        let description = stored.release.info.description.clone();
        self.set_status(&mut stored, "superseded", &description).await
    }

    /// Renders the chart into the release of this revision, its definitions made first: templates may ask for the kinds that they bring.
    async fn rendered(
        &mut self,
        revision: i64,
        values: Map<String, Value>,
        begun: Begun,
        aimed: &mut Option<Aim>,
    ) -> Result<StoredRelease, Stop> {
        let job = self.job;
        let chart = job.chart.clone().ok_or_else(|| Stop::Failed("there is no chart".to_owned()))?;
        let placeholder = StoredRelease {
            name: job.name.clone(),
            namespace: job.namespace.clone(),
            version: revision,
            chart: Arc::new(helm::StoredChart { metadata: Arc::new(chart.chart.metadata.clone()), ..helm::StoredChart::default() }),
            ..StoredRelease::default()
        };
        *aimed = Some(Aim { release: Known::wanted(placeholder), crds: Vec::new() });
        let input = |capabilities| Input {
            this: job.this.clone(),
            chart: chart.clone(),
            values: values.clone(),
            name: job.name.clone(),
            revision,
            upgrade: job.operation == Operation::Upgrade,
            capabilities,
            now: job.clock.now(),
            helm3_defaults: job.helm3_defaults,
        };
        let target = job.access.target.clone();
        let asked = render::capabilities(&job.access.client, &target.discovery).await;
        let mut capabilities = asked.map_err(|why| Stop::Failed(format!("could not get server version from Kubernetes: {why}")))?;
        let room = self.turn.room_to_render().await;
        let mut output = render::render(input(capabilities.clone()), job.access.client.clone(), target.clone()).await;
        drop(room);
        if !chart.chart.crds().is_empty() {
            // Of charts that do not render yet all definitions count: they may be what is missing.
            let crds = match &output {
                Ok(output) => output.crds.clone(),
                Err(_) => chart.chart.crds().into_iter().map(|(path, text)| (path, String::from_utf8_lossy(&text).into_owned())).collect(),
            };
            let changed = crds::apply(self, &crds).await?;
            if changed {
                capabilities = render::capabilities(&job.access.client, &target.discovery).await.map_err(Stop::Failed)?;
                let _room = self.turn.room_to_render().await;
                output = render::render(input(capabilities.clone()), job.access.client.clone(), target).await;
            }
        }
        let output = output?;
        output.warnings.iter().for_each(|warning| tracing::info!(%warning, "a chart is odd"));
        if let Some(aim) = aimed {
            aim.crds = objects::entries(&output.crds);
        }
        Ok(render::release(&input(capabilities), output, begun.first_deployed, begun.status, begun.description, job.access.ssa))
    }

    async fn items(&self, manifest: &str, marked: bool) -> Result<Vec<Item>, Stop> {
        let objects = objects::parse(manifest).map_err(|error| Stop::Failed(build_failed(&error.0)))?;
        let owner = marked.then(|| self.owner());
        let items = objects::resolve(&self.job.access.target, objects, &self.job.namespace, owner).await;
        items.map_err(|error| Stop::Failed(build_failed(&error.0)))
    }

    async fn install(&mut self, aimed: &mut Option<Aim>) -> Result<(), Stop> {
        let job = self.job;
        let install = job.this.spec.install.clone().unwrap_or_default();
        let revisions = job.storage.revisions().await.map_err(|error| Stop::Failed(error.chain()))?;
        let mut before = match revisions.first() {
            Some(newest) => Some(job.storage.fetch(newest.version).await?),
            None => None,
        };
        let revision = before.as_ref().map_or(1, |stored| stored.release.version + 1);
        let begun = Begun { first_deployed: None, status: "pending-install", description: "Initial install underway" };
        let release = self.rendered(revision, job.values.clone(), begun, aimed).await?;
        if before.is_some() && !install.replace {
            return Err(Stop::Failed("cannot reuse a name that is still in use".to_owned()));
        }
        let items = self.items(&release.manifest, true).await?;
        let existing = job.access.existing(&items, self.owner()).await;
        existing.map_err(|error| Stop::Failed(format!("unable to continue with install: {error}")))?;
        if install.create_namespace && !job.this.spec.target_namespace.is_empty() {
            self.make_namespace().await?;
        }
        if let Some(before) = &mut before {
            self.set_status(before, "superseded", "superseded by new release").await?;
        }
        let mut stored = Stored { release: Arc::new(release), labels: Default::default() };
        drop(before);
        self.create(&stored).await?;
        aim_at(aimed, &stored);
        let done = self.carry_out_install(&install, &mut stored, items).await;
        let ended = match done {
            Ok(()) => self.set_status(&mut stored, "deployed", "Install complete").await,
            Err(Stop::Cancelled) => Err(Stop::Cancelled),
            Err(Stop::Failed(why)) => {
                self.set_status(&mut stored, "failed", &format!("Release {:?} failed: {why}", job.name)).await?;
                Err(Stop::Failed(why))
            }
        };
        aim_at(aimed, &stored);
        ended
    }

    async fn carry_out_install(&mut self, install: &api::helm::Install, stored: &mut Stored, items: Vec<Item>) -> Result<(), Stop> {
        let named = |stop: Stop, event: &str| match stop {
            Stop::Failed(why) => Stop::Failed(format!("failed {event}: {why}")),
            Stop::Cancelled => Stop::Cancelled,
        };
        if !install.disable_hooks {
            hooks::run(self, stored, "pre-install", &|_| true).await.map_err(|stop| named(stop, "pre-install"))?;
        }
        self.note(format!("creating {} resource(s)", items.len()));
        self.job.access.watch(&items).await;
        self.job.access.create(&items).await?;
        self.ready(items, install.disable_wait, install.disable_wait_for_jobs).await?;
        if !install.disable_hooks {
            hooks::run(self, stored, "post-install", &|_| true).await.map_err(|stop| named(stop, "post-install"))?;
        }
        Ok(())
    }

    async fn upgrade(&mut self, aimed: &mut Option<Aim>) -> Result<(), Stop> {
        let job = self.job;
        let upgrade = job.this.spec.upgrade.clone().unwrap_or_default();
        self.note(format!("preparing upgrade for {}", job.name));
        let (last, original) = self.last_and_current().await?;
        let mut values = job.values.clone();
        if upgrade.preserve_values {
            values = laid_over((*original.config).clone(), values);
        }
        let first_deployed = original.info.first_deployed.clone();
        let begun = Begun { first_deployed, status: "pending-upgrade", description: "Preparing upgrade" };
        let release = self.rendered(last.version + 1, values, begun, aimed).await?;
        let old = self.items(&original.manifest, true).await.unwrap_or_default();
        let new = self.items(&release.manifest, true).await?;
        {
            let fresh: Vec<Item> = new.iter().filter(|item| !old.iter().any(|one| one.key() == item.key())).cloned().collect();
            let existing = job.access.existing(&fresh, self.owner()).await;
            existing.map_err(|error| Stop::Failed(format!("unable to continue with update: {error}")))?;
        }
        let mut stored = Stored { release: Arc::new(release), labels: original.labels.clone() };
        let original = original.version;
        drop(last);
        self.create(&stored).await?;
        aim_at(aimed, &stored);
        let mut made = Vec::new();
        let done = self.carry_out_upgrade(&upgrade, &mut stored, original, (old, new), &mut made).await;
        let ended = match done {
            Ok(()) => {
                self.supersede(original).await?;
                self.set_status(&mut stored, "deployed", "Upgrade complete").await
            }
            Err(Stop::Cancelled) => Err(Stop::Cancelled),
            Err(Stop::Failed(why)) => {
                self.set_status(&mut stored, "failed", &format!("Upgrade {:?} failed: {why}", job.name)).await?;
                if upgrade.cleanup_on_fail {
                    self.clean_up(&made).await;
                }
                Err(Stop::Failed(why))
            }
        };
        aim_at(aimed, &stored);
        ended
    }

    async fn carry_out_upgrade(
        &mut self,
        upgrade: &api::helm::Upgrade,
        stored: &mut Stored,
        original: i64,
        (old, new): (Vec<Item>, Vec<Item>),
        made: &mut Vec<Reference>,
    ) -> Result<(), Stop> {
        let named = |stop: Stop, event: &str| match stop {
            Stop::Failed(why) => Stop::Failed(format!("{event} hooks failed: {why}")),
            Stop::Cancelled => Stop::Cancelled,
        };
        if !upgrade.disable_hooks {
            hooks::run(self, stored, "pre-upgrade", &|_| true).await.map_err(|stop| named(stop, "pre-upgrade"))?;
        }
        self.note(format!("checking {} resources for changes", new.len()));
        self.job.access.watch(&new).await;
        let updated = self.job.access.update(&old, &new, made).await;
        drop(old);
        let updated = match updated {
            Ok(()) => self.ready(new, upgrade.disable_wait, upgrade.disable_wait_for_jobs).await,
            Err(error) => Err(error.into()),
        };
        if let Err(Stop::Failed(why)) = updated {
            // As Helm: the release that is still deployed is written down again.
            let original = self.job.storage.fetch(original).await?;
            self.update(&original).await?;
            return Err(Stop::Failed(why));
        }
        updated?;
        if !upgrade.disable_hooks {
            hooks::run(self, stored, "post-upgrade", &|_| true).await.map_err(|stop| named(stop, "post-upgrade"))?;
        }
        Ok(())
    }

    async fn rollback(&mut self, aimed: &mut Option<Aim>) -> Result<(), Stop> {
        let job = self.job;
        let rollback = job.this.spec.rollback.clone().unwrap_or_default();
        let (current, _) = self.last_and_current().await?;
        let previous = job.storage.fetch(job.version).await?;
        let mut release = (*previous.release).clone();
        release.version = current.version + 1;
        release.info = helm::Info {
            first_deployed: current.info.first_deployed.clone(),
            last_deployed: Some(job.clock.now().to_string()),
            status: "pending-rollback".to_owned(),
            description: format!("Rollback to {}", job.version),
            notes: previous.release.info.notes.clone(),
            ..helm::Info::default()
        };
        if job.access.ssa { "ssa" } else { "csa" }.clone_into(&mut release.apply_method);
        let old = self.items(&current.manifest, true).await.unwrap_or_default();
        let new = self.items(&release.manifest, true).await?;
        let mut stored = Stored { release: Arc::new(release), labels: previous.labels.clone() };
        aim_at(aimed, &stored);
        self.create(&stored).await?;
        let mut made = Vec::new();
        let current = current.version;
        let done = self.carry_out_rollback(&rollback, &mut stored, (old, new), &mut made).await;
        let ended = match done {
            Ok(()) => self.finish_rollback(&mut stored).await,
            Err(Stop::Cancelled) => Err(Stop::Cancelled),
            Err(Stop::Failed(why)) => {
                self.supersede(current).await?;
                self.set_status(&mut stored, "failed", &format!("Rollback {:?} failed: {why}", job.name)).await?;
                if rollback.cleanup_on_fail {
                    self.clean_up(&made).await;
                }
                Err(Stop::Failed(why))
            }
        };
        aim_at(aimed, &stored);
        ended
    }

    async fn carry_out_rollback(
        &mut self,
        rollback: &api::helm::Rollback,
        stored: &mut Stored,
        (old, new): (Vec<Item>, Vec<Item>),
        made: &mut Vec<Reference>,
    ) -> Result<(), Stop> {
        if !rollback.disable_hooks {
            hooks::run(self, stored, "pre-rollback", &|_| true).await?;
        }
        self.note(format!("checking {} resources for changes", new.len()));
        self.job.access.watch(&new).await;
        self.job.access.update(&old, &new, made).await?;
        drop(old);
        let waited = self.ready(new, rollback.disable_wait, rollback.disable_wait_for_jobs).await;
        waited.map_err(|stop| match stop {
            Stop::Failed(why) => Stop::Failed(format!("release {} failed: {why}", self.job.name)),
            Stop::Cancelled => Stop::Cancelled,
        })?;
        if !rollback.disable_hooks {
            hooks::run(self, stored, "post-rollback", &|_| true).await?;
        }
        Ok(())
    }

    async fn finish_rollback(&mut self, stored: &mut Stored) -> Result<(), Stop> {
        let revisions = self.job.storage.revisions().await.map_err(|error| Stop::Failed(error.chain()))?;
        for revision in revisions.iter().filter(|one| one.status == "deployed" && one.version != stored.release.version) {
            self.supersede(revision.version).await?;
        }
        let description = stored.release.info.description.clone();
        self.set_status(stored, "deployed", &description).await
    }

    async fn test(&mut self, aimed: &mut Option<Aim>) -> Result<(), Stop> {
        let (last, _) = self.last_and_current().await?;
        let mut stored = self.job.storage.fetch(last.version).await?;
        aim_at(aimed, &stored);
        let filters = self.job.this.spec.test.as_ref().map(|test| test.filters.clone()).unwrap_or_default();
        let wanted = |name: &str| {
            let excluded = filters.iter().any(|filter| filter.exclude && filter.name == name);
            let mut included = filters.iter().filter(|filter| !filter.exclude).peekable();
            !excluded && (included.peek().is_none() || included.any(|filter| filter.name == name))
        };
        let result = hooks::run(self, &mut stored, "test", &wanted).await;
        if !matches!(result, Err(Stop::Cancelled)) {
            self.update(&stored.clone()).await?;
        }
        aim_at(aimed, &stored);
        result
    }

    async fn uninstall(&mut self, aimed: &mut Option<Aim>) -> Result<(), Stop> {
        let job = self.job;
        let uninstall = job.this.spec.uninstall.clone().unwrap_or_default();
        let revisions = job.storage.revisions().await.map_err(|error| Stop::Failed(error.chain()))?;
        let Some(newest) = revisions.first() else { return Ok(()) };
        let mut stored = job.storage.fetch(newest.version).await?;
        aim_at(aimed, &stored);
        if stored.release.info.status == "uninstalled" {
            return if uninstall.keep_history { Ok(()) } else { self.purge(&revisions).await };
        }
        {
            let release = Arc::make_mut(&mut stored.release);
            release.info.deleted = Some(job.clock.now().to_string());
        }
        if !uninstall.disable_hooks {
            hooks::run(self, &mut stored, "pre-delete", &|_| true).await?;
        }
        self.set_status(&mut stored, "uninstalling", "Deletion in progress (or silently failed)").await?;
        let mut errors = self.delete_objects(&uninstall, &stored).await?;
        if !uninstall.disable_hooks
            && let Err(stop) = hooks::run(self, &mut stored, "post-delete", &|_| true).await
        {
            match stop {
                Stop::Cancelled => return Err(Stop::Cancelled),
                Stop::Failed(why) => errors.push(why),
            }
        }
        if uninstall.keep_history {
            self.set_status(&mut stored, "uninstalled", "Uninstallation complete").await?;
        } else if let Err(Stop::Failed(why)) = self.purge(&revisions).await {
            errors.push(format!("uninstall: Failed to purge the release: {why}"));
        }
        aim_at(aimed, &stored);
        if errors.is_empty() {
            return Ok(());
        }
        Err(Stop::Failed(format!("uninstallation completed with {} error(s): {}", errors.len(), errors.join("; "))))
    }

    /// Deletes what the release made, in Helm's order; the errors do not end it.
    async fn delete_objects(&mut self, uninstall: &api::helm::Uninstall, stored: &Stored) -> Result<Vec<String>, Stop> {
        let propagation = propagation(uninstall);
        let mut errors = Vec::new();
        let files = [("manifest".to_owned(), stored.release.manifest.to_string())].into();
        let (_, mut manifests) = helm::sort_manifests(files, &mut Vec::new()).map_err(|error| Stop::Failed(error.to_string()))?;
        helm::sort_for_uninstall(&mut manifests);
        let mut doomed: Vec<Reference> = Vec::new();
        for manifest in manifests {
            // A kind whose definition is gone took its objects along.
            let Ok(items) = self.items(&manifest.content, false).await else { continue };
            doomed.extend(items.iter().filter(|item| !objects::keeps(&item.desired.object)).map(Item::reference));
        }
        self.note(format!("Starting delete for {} resource(s)", doomed.len()));
        for item in &doomed {
            if let Err(error) = self.job.access.delete(&item.key, &item.resource, propagation).await {
                errors.push(error.chain());
            }
        }
        if !uninstall.disable_wait {
            let left = wait::until_gone(&self.job.access, &doomed, self.timeout(), &mut self.turn).await?;
            errors.extend(left.iter().map(|key| format!("{key} termination timeout: context deadline exceeded")));
        }
        Ok(errors)
    }

    async fn purge(&mut self, revisions: &[crate::storage::Revision]) -> Result<(), Stop> {
        for revision in revisions {
            self.job.storage.delete(revision.version).await.map_err(|error| Stop::Failed(error.chain()))?;
        }
        Ok(())
    }

    /// The newest release, and the one whose objects are in the cluster.
    async fn last_and_current(&self) -> Result<(Known, Known), Stop> {
        let storage = &self.job.storage;
        let revisions = storage.revisions().await.map_err(|error| Stop::Failed(error.chain()))?;
        let missing = || Stop::Failed(format!("{:?} has no deployed releases", self.job.name));
        let newest = revisions.first().ok_or_else(missing)?;
        let last = storage.read(newest).await?;
        let current = match revisions.iter().find(|one| one.status == "deployed") {
            Some(deployed) if deployed.version != newest.version => storage.read(deployed).await?,
            _ => last.clone(),
        };
        Ok((last, current))
    }

    /// Waits for what was applied; what it looks like is let go, for a wait may take long.
    async fn ready(&mut self, items: Vec<Item>, disabled: bool, jobs_disabled: bool) -> Result<(), Stop> {
        if disabled {
            return Ok(());
        }
        let legacy = match self.job.this.spec.wait_strategy.as_ref().map(|strategy| strategy.name.as_str()) {
            Some("legacy") => true,
            None => self.job.helm3_defaults,
            _ => false,
        };
        let none = Expressions::default();
        let expressions = if legacy { &none } else { &*self.job.expressions };
        let rules = Rules { expressions, fail_fast: self.job.fail_fast, hooks: false, legacy, jobs_begun: jobs_disabled };
        let awaited = wait::awaited(&items);
        drop(items);
        self.note(format!("waiting for resources: {}", awaited.len()));
        let timeout = self.timeout();
        Ok(wait::until_ready(&self.job.access, &awaited, rules, timeout, &self.job.clock, &mut self.turn).await?)
    }

    async fn make_namespace(&self) -> Result<(), Stop> {
        let name = &self.job.namespace;
        let namespaces = Resource::cluster_scoped("", "v1", "Namespace", "namespaces");
        let object = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": {"name": name}}});
        let body = serde_json::to_vec(&object).map_err(|error| Stop::Failed(error.to_string()))?;
        match self.job.access.client.create(&namespaces, "", objects::FIELD_MANAGER, body).await {
            Err(error) if error.status().is_none_or(|status| status.reason != "AlreadyExists") => {
                Err(Stop::Failed(format!("failed to create namespace {name}: {}", error.chain())))
            }
            _ => Ok(()),
        }
    }

    /// Takes away what a failed action made.
    async fn clean_up(&mut self, made: &[Reference]) {
        self.note(format!("Cleanup on fail set, cleaning up {} resource(s)", made.len()));
        for item in made {
            if let Err(error) = self.job.access.delete(&item.key, &item.resource, Propagation::Background).await {
                tracing::warn!(object = %item.key, error = %error.chain(), "what a failed release made was not deleted");
            }
        }
    }
}

/// What becomes of the dependents of what an uninstall deletes.
pub(crate) fn propagation(uninstall: &api::helm::Uninstall) -> Propagation {
    match uninstall.deletion_propagation.as_deref() {
        Some("foreground") => Propagation::Foreground,
        Some("orphan") => Propagation::Orphan,
        _ => Propagation::Background,
    }
}

fn build_failed(why: &str) -> String {
    format!("unable to build kubernetes objects from release manifest: {why}")
}

/// The values of the last release under new ones.
fn laid_over(mut below: Map<String, Value>, above: Map<String, Value>) -> Map<String, Value> {
    for (key, value) in above {
        match (below.remove(&key), value) {
            (Some(Value::Object(old)), Value::Object(new)) => drop(below.insert(key, Value::Object(laid_over(old, new)))),
            (_, value) => drop(below.insert(key, value)),
        }
    }
    below
}

//! One stage of a plan: tried where several could fail, applied together, waited for where the next stage needs it.

use crate::{
    Applied, Change, Failure, Verb,
    error::may_be_immutable,
    owned::Seen,
    session::{Session, read},
};
use cluster::{Apply, Delete, Error, PatchKind, Resource};
use futures::{StreamExt, stream};
use object::{GroupVersionKind, Object, ObjectKey};
use plan::{Action, Desired, FIELD_MANAGER, Live, Record, Stage, Step, decide, drift, ignore, managers, metadata::ApplyPolicy};
use serde_json::Value;
use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

/// How many objects of a stage are under way at once; the client has a limit of its own over all of them.
const AT_ONCE: usize = 16;
/// How long a run stays for objects that are ready in a moment, as definitions are.
const STAY_FOR: Duration = Duration::from_secs(3);
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// How long the deletion before a recreation may take.
const GONE_WITHIN: Duration = Duration::from_secs(30);

/// What is to be done with an object, with all that it takes to do it.
struct Job {
    desired: Arc<Desired>,
    resource: Option<Resource>,
    action: Action,
}

/// What was done with an object.
struct Done {
    verb: Verb,
    /// Set when this run made it.
    made: Option<String>,
    written: bool,
}

impl Done {
    fn quiet(verb: Verb) -> Self {
        Self { verb, made: None, written: false }
    }
}

impl Session<'_> {
    /// Carries out one stage. Its first error, in apply order, is the stage's.
    pub(crate) async fn stage(&self, stage: &Stage, applied: &mut Applied) {
        let jobs = self.in_order(&stage.steps, |step| self.prepare(step)).await;
        let Some(jobs) = self.all_or_fail(jobs, applied) else { return };
        let jobs = match self.rehearse(jobs).await {
            Ok(jobs) => jobs,
            Err(failure) => {
                applied.failure = Some(failure);
                return;
            }
        };
        let done = self.in_order(&jobs, |job| self.carry_out(job)).await;
        let refused = done.iter().find_map(|result| result.as_ref().err().cloned());
        if let Some(failure) = refused {
            self.take_back(&jobs, &done, applied).await;
            applied.failure = Some(failure);
            return;
        }
        for (job, done) in jobs.iter().zip(done.into_iter().flatten()) {
            let key = &job.desired.key;
            if done.written {
                applied.written.insert(key.clone());
            }
            if done.written && key.kind == "CustomResourceDefinition" {
                self.target.discovery.forget(key.name.split_once('.').map_or("", |(_, group)| group));
                self.defined.store(true, Ordering::Relaxed);
            }
            applied.changes.push(Change { key: key.clone(), verb: done.verb });
        }
        if stage.kind.waits() {
            self.wait(&jobs, applied).await;
        }
    }

    /// Runs the work for each, some at a time, and returns the results in the order of the items.
    async fn in_order<'i, T, U, F: Future<Output = U>>(&self, items: &'i [T], work: impl Fn(&'i T) -> F) -> Vec<U> {
        // A list of futures first: a stream over references would ask more of the closure than it can promise.
        let futures: Vec<F> = items.iter().map(work).collect();
        stream::iter(futures).buffered(AT_ONCE).collect().await
    }

    fn all_or_fail(&self, jobs: Vec<Result<Job, Failure>>, applied: &mut Applied) -> Option<Vec<Job>> {
        match jobs.into_iter().collect::<Result<Vec<_>, _>>() {
            Ok(jobs) => Some(jobs),
            Err(failure) => {
                applied.failure = Some(failure);
                None
            }
        }
    }

    /// Finds the resource, starts the watch of its kind, and looks at the object where the plan could not decide without.
    async fn prepare(&self, step: &Step) -> Result<Job, Failure> {
        let (desired, mut action) = (step.desired.clone(), step.action.clone());
        if matches!(action, Action::Unchanged { .. } | Action::Skip { .. }) {
            return Ok(Job { desired, resource: None, action });
        }
        let key = &desired.key;
        let resource = self.resource(&desired.object.gvk()).await.map_err(|error| Failure::of_apply(key, &error))?;
        if resource.namespaced && key.namespace.is_empty() {
            return Err(Failure::new(format!("{key} namespace not specified: the server could not find the requested resource")));
        }
        if matches!(action, Action::Look) {
            let live = self.look(&desired.object.gvk(), key).await.map_err(|error| Failure::of_apply(key, &error))?;
            action = decide(&desired, &live.map_or(Live::Absent, Live::Present), self.policy);
        }
        Ok(Job { desired, resource: Some(resource), action })
    }

    /// The resource of a kind. A definition that is established is served a moment later.
    async fn resource(&self, gvk: &GroupVersionKind) -> Result<Resource, Error> {
        let deadline = tokio::time::Instant::now() + STAY_FOR;
        loop {
            match self.target.discovery.resolve(gvk).await {
                Err(Error::NoMatch { .. }) if self.defined.load(Ordering::Relaxed) && tokio::time::Instant::now() < deadline => {
                    tokio::time::sleep(LOOK_EVERY).await;
                    self.target.discovery.forget(&gvk.group);
                }
                found => return found,
            }
        }
    }

    /// Tries as dry runs what decides whether the stage may begin, so that a refusal finds nothing changed.
    ///
    /// One write is atomic by itself. Several objects that are all new are made at once and taken back if need be.
    async fn rehearse(&self, jobs: Vec<Job>) -> Result<Vec<Job>, Failure> {
        let writes = jobs.iter().filter(|job| job.action.writes()).count();
        let changes = jobs.iter().any(|job| matches!(job.action, Action::Update { .. } | Action::Verify { .. }));
        let try_writes = writes > 1 && (changes || self.cautious);
        let results = self
            .in_order(&jobs, |job| {
                let tried = match &job.action {
                    Action::Verify { .. } => true,
                    Action::Create | Action::Update { .. } => try_writes,
                    _ => false,
                };
                async move { if tried { self.try_out(job).await } else { Ok(None) } }
            })
            .await;
        let mut settled = Vec::with_capacity(jobs.len());
        for (mut job, result) in jobs.into_iter().zip(results) {
            if let Some(action) = result? {
                job.action = action;
            }
            settled.push(job);
        }
        Ok(settled)
    }

    /// A dry run; tells what is left to do.
    async fn try_out(&self, job: &Job) -> Result<Option<Action>, Failure> {
        let (Some(resource), desired) = (&job.resource, &job.desired) else { return Ok(None) };
        let ignored = ignore::paths(&self.policy.ignore, &desired.object);
        let live = match &job.action {
            Action::Update { live, .. } | Action::Verify { live } => Some(live),
            _ => None,
        };
        let body = payload(desired, live, &ignored);
        let options = Apply { field_manager: FIELD_MANAGER, force: true, dry_run: true, subresource: "" };
        let answer = self.client.apply(resource, &desired.key.namespace, &desired.key.name, body, options).await;
        let object = match answer.and_then(|bytes| read(&bytes)) {
            Ok(object) => object,
            // It will be made anew.
            Err(error) if live.is_some() && self.forces(job) && may_be_immutable(&error) => return Ok(None),
            Err(error) => return Err(Failure::of_apply(&desired.key, &error)),
        };
        let Action::Verify { live } = &job.action else { return Ok(None) };
        let same = live.object.as_deref().is_some_and(|live| drift::same_but_for_the_server(live, &object, &ignored));
        if same {
            return Ok(Some(Action::Unchanged { live: live.clone() }));
        }
        Ok(Some(Action::Update { live: live.clone(), takeover: None }))
    }

    async fn carry_out(&self, job: &Job) -> Result<Done, Failure> {
        let key = &job.desired.key;
        if self.cancel.is_cancelled() {
            return Err(Failure { message: format!("{key} was not applied: the reconciliation was cancelled"), transient: true });
        }
        if let Action::Unchanged { live } = &job.action {
            // Only the state that was compared is settled: a newer one has to be compared anew.
            if live.settled != Some(job.desired.digest) {
                self.target.owned.settle(key, &live.resource_version, job.desired.digest);
            }
            return Ok(Done::quiet(Verb::Unchanged));
        }
        let Some(resource) = &job.resource else { return Ok(Done::quiet(Verb::Skipped)) };
        match &job.action {
            Action::Create => self.create(&job.desired, resource).await,
            Action::Update { live, takeover } => self.update(job, resource, live, takeover.as_ref()).await,
            Action::Skip { .. } => Ok(Done::quiet(Verb::Skipped)),
            _ => Ok(Done::quiet(Verb::Unchanged)),
        }
    }

    /// Makes an object that seems not to exist. Without force, a field that others own shows that it does exist after all.
    async fn create(&self, desired: &Arc<Desired>, resource: &Resource) -> Result<Done, Failure> {
        let key = &desired.key;
        let failed = |error: Error| Failure::of_apply(key, &error);
        // What exists must not be touched for some policies, and cannot be changed for others: then ask before.
        match self.send(desired, resource, None, false).await {
            Ok(object) => {
                let others = managed_by_others(&object);
                if !others {
                    let uid = object.field(&["metadata", "uid"]).and_then(Value::as_str).unwrap_or("").to_owned();
                    self.target.owned.answered(object, desired.digest);
                    return Ok(Done { verb: Verb::Created, made: Some(uid), written: true });
                }
                self.adopt(desired, resource, object).await
            }
            Err(error) if error.is_conflict() || may_be_immutable(&error) => {
                // Somebody else's object, or a refusal: the live object tells.
                let Some(record) = self.look(&desired.object.gvk(), key).await.map_err(failed)? else { return Err(failed(error)) };
                let action = decide(desired, &Live::Present(record), self.policy);
                let job = Job { desired: desired.clone(), resource: Some(resource.clone()), action };
                match &job.action {
                    Action::Update { live, takeover } => self.update(&job, resource, live, takeover.as_ref()).await,
                    Action::Verify { live } => self.update(&job, resource, live, None).await,
                    Action::Skip { .. } => Ok(Done::quiet(Verb::Skipped)),
                    _ => Err(failed(error)),
                }
            }
            Err(error) => Err(failed(error)),
        }
    }

    /// The object existed, without a conflict: what its metadata says and what others own comes to light only now.
    async fn adopt(&self, desired: &Arc<Desired>, resource: &Resource, object: Object) -> Result<Done, Failure> {
        let key = &desired.key;
        let failed = |error: Error| Failure::of_apply(key, &error);
        let record = Arc::new(Record::of(Arc::new(object.clone())));
        if record.steering.reconcile_disabled || record.steering.apply == ApplyPolicy::Ignore {
            self.let_go(desired, resource).await.map_err(failed)?;
            return Ok(Done::quiet(Verb::Skipped));
        }
        if desired.steering.apply != ApplyPolicy::Merge
            && record.steering.apply != ApplyPolicy::Merge
            && let Some(patch) = managers::takeover(&object, &self.policy.managers)
        {
            self.take_over(resource, key, &patch).await.map_err(failed)?;
            let object = self.send(desired, resource, None, true).await.map_err(failed)?;
            self.target.owned.answered(object, desired.digest);
        } else {
            self.target.owned.answered(object, desired.digest);
        }
        Ok(Done { verb: Verb::Configured, made: None, written: true })
    }

    async fn update(&self, job: &Job, resource: &Resource, live: &Arc<Record>, takeover: Option<&Value>) -> Result<Done, Failure> {
        let (desired, key) = (&job.desired, &job.desired.key);
        let failed = |error: Error| Failure::of_apply(key, &error);
        if let Some(patch) = takeover {
            self.take_over(resource, key, patch).await.map_err(failed)?;
        }
        match self.send(desired, resource, Some(live), true).await {
            Ok(object) => {
                let same = takeover.is_none()
                    && object.field(&["metadata", "resourceVersion"]).and_then(Value::as_str) == Some(&live.resource_version);
                let recreated = object.field(&["metadata", "uid"]).and_then(Value::as_str) != Some(&live.uid);
                self.target.owned.answered(object, desired.digest);
                let verb = match (same, recreated) {
                    (true, _) => Verb::Unchanged,
                    (_, true) => Verb::Created,
                    _ => Verb::Configured,
                };
                Ok(Done { verb, made: None, written: true })
            }
            Err(error) if self.forces(job) && may_be_immutable(&error) => self.recreate(desired, resource, live).await,
            Err(error) => Err(failed(error)),
        }
    }

    fn forces(&self, job: &Job) -> bool {
        let live = match &job.action {
            Action::Update { live, .. } | Action::Verify { live } => live.steering.force,
            _ => false,
        };
        self.policy.force || job.desired.steering.force || live
    }

    /// Deletes the object, waits until it is gone, and makes it anew.
    async fn recreate(&self, desired: &Arc<Desired>, resource: &Resource, live: &Record) -> Result<Done, Failure> {
        let key = &desired.key;
        let failed = |error: Error| Failure::of_apply(key, &error);
        let options = Delete { uid: Some(&live.uid), ..Delete::default() };
        match self.client.delete(resource, &key.namespace, &key.name, options).await {
            Ok(_) => {}
            Err(error) if error.is_not_found() => {}
            Err(error) => return Err(Failure::of_delete(key, &error)),
        }
        let deadline = tokio::time::Instant::now() + GONE_WITHIN;
        while let Some(record) = self.look(&desired.object.gvk(), key).await.map_err(failed)? {
            if record.uid != live.uid {
                break;
            }
            if tokio::time::Instant::now() > deadline || self.cancel.is_cancelled() {
                return Err(Failure { message: format!("{key} cannot be recreated: its deletion is not complete"), transient: true });
            }
            tokio::time::sleep(LOOK_EVERY * 4).await;
        }
        self.target.owned.forget(key, &live.uid);
        let object = self.send(desired, resource, None, true).await.map_err(failed)?;
        self.target.owned.answered(object, desired.digest);
        Ok(Done { verb: Verb::Created, made: None, written: true })
    }

    async fn send(&self, desired: &Desired, resource: &Resource, live: Option<&Arc<Record>>, force: bool) -> Result<Object, Error> {
        let body = payload(desired, live, &ignore::paths(&self.policy.ignore, &desired.object));
        let options = Apply { field_manager: FIELD_MANAGER, force, dry_run: false, subresource: "" };
        read(&self.client.apply(resource, &desired.key.namespace, &desired.key.name, body, options).await?)
    }

    async fn take_over(&self, resource: &Resource, key: &ObjectKey, patch: &Value) -> Result<(), Error> {
        let body = serde_json::to_vec(patch).map_err(Error::Decode)?;
        self.client.patch(resource, &key.namespace, &key.name, "", PatchKind::Json, FIELD_MANAGER, body).await.map(|_| ())
    }

    /// Gives back every field of ours: an apply that wants nothing.
    async fn let_go(&self, desired: &Desired, resource: &Resource) -> Result<(), Error> {
        let key = &desired.key;
        let mut metadata = serde_json::Map::from_iter([("name".to_owned(), Value::from(key.name.as_str()))]);
        if !key.namespace.is_empty() {
            metadata.insert("namespace".to_owned(), Value::from(key.namespace.as_str()));
        }
        let nothing = serde_json::json!({"apiVersion": desired.object.api_version(), "kind": key.kind, "metadata": metadata});
        let options = Apply { field_manager: FIELD_MANAGER, force: true, dry_run: false, subresource: "" };
        self.client
            .apply(resource, &key.namespace, &key.name, serde_json::to_vec(&nothing).map_err(Error::Decode)?, options)
            .await
            .map(|_| ())
    }

    /// Takes back what this stage made: its objects are applied together or not at all.
    async fn take_back(&self, jobs: &[Job], done: &[Result<Done, Failure>], applied: &mut Applied) {
        for (job, done) in jobs.iter().zip(done).rev() {
            let key = &job.desired.key;
            let (Ok(done), Some(resource)) = (done, &job.resource) else { continue };
            let Some(uid) = &done.made else {
                if done.written {
                    applied.written.insert(key.clone());
                }
                continue;
            };
            let options = Delete { uid: Some(uid), ..Delete::default() };
            match self.client.delete(resource, &key.namespace, &key.name, options).await {
                Ok(_) => self.target.owned.forget(key, uid),
                Err(error) if error.is_not_found() => self.target.owned.forget(key, uid),
                Err(error) => {
                    tracing::warn!(object = %key, error = %error.chain(), "cannot take back an object of a stage that was refused");
                    applied.written.insert(key.clone());
                }
            }
        }
    }

    /// Stays a moment for the objects that the next stage needs; the rest is told as pending.
    async fn wait(&self, jobs: &[Job], applied: &mut Applied) {
        let deadline = tokio::time::Instant::now() + STAY_FOR;
        for job in jobs.iter().filter(|job| !matches!(job.action, Action::Skip { .. })) {
            if let Ok(resource) = self.target.discovery.resolve(&job.desired.object.gvk()).await {
                // Without the watch the object is read instead.
                if let Err(error) = self.target.owned.ensure(&resource).await {
                    tracing::debug!(%resource, %error, "applied objects are not watched");
                }
            }
            loop {
                match self.health_of(&job.desired).await {
                    Some(health::Status::Current) => break,
                    Some(health::Status::Failed) => {
                        let key = &job.desired.key;
                        applied.failure = Some(Failure::new(format!("failed early due to stalled resources: [{key} status: 'Failed']")));
                        return;
                    }
                    _ if tokio::time::Instant::now() > deadline || self.cancel.is_cancelled() => {
                        applied.pending.push(job.desired.key.clone());
                        break;
                    }
                    _ => tokio::time::sleep(LOOK_EVERY).await,
                }
            }
        }
    }

    async fn health_of(&self, desired: &Desired) -> Option<health::Status> {
        if let Seen::Health(health) = self.target.owned.health(&desired.key) {
            return Some(health.status);
        }
        let record = self.look(&desired.object.gvk(), &desired.key).await.ok()??;
        record.object.as_deref().map(|object| health::assess(object, jiff::Timestamp::now()).status)
    }
}

fn payload(desired: &Desired, live: Option<&Arc<Record>>, ignored: &[&str]) -> Vec<u8> {
    let sent = match live.and_then(|live| live.object.as_deref()) {
        Some(live) if !ignored.is_empty() => serde_json::to_vec(&ignore::payload(&desired.object, live, ignored)),
        _ => serde_json::to_vec(&desired.object),
    };
    sent.unwrap_or_default()
}

/// Whether anybody else had a hand in the object: then it was there before.
fn managed_by_others(object: &Object) -> bool {
    let entries = object.field(&["metadata", "managedFields"]).and_then(Value::as_array);
    entries.into_iter().flatten().any(|entry| {
        entry.get("manager").and_then(Value::as_str) != Some(FIELD_MANAGER)
            || entry.get("operation").and_then(Value::as_str) != Some("Apply")
    })
}

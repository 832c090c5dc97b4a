//! What goes on behind the requests.
//!
//! ```text
//! store ──observer──► Queues ──► run: namespaces (termination), garbage (owners), definitions (CRD clean-up)
//!                        └─────► workloads: what a controller manager and nodes do
//! request ──after_write──► at once: contents of a new namespace, CRD names and registry, aggregated roles
//! ```

pub mod admission;
pub mod definitions;
mod garbage;
mod namespaces;
pub mod roles;
pub mod workloads;

use crate::allocate::Pool;
use crate::api::Api;
use crate::quota::{self, Quotas};
use crate::registry::Resource;
use crate::store::{Change, Event, NAMESPACES, Place, Record, Uid};
use serde_json::Value;
use std::collections::{HashSet, VecDeque};
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::Notify;

/// What keeps volumes and claims while pods use them.
const PROTECTIONS: [&str; 2] = ["kubernetes.io/pvc-protection", "kubernetes.io/pv-protection"];

/// Work to be done once, however often it is asked for meanwhile.
pub struct WorkQueue<T> {
    inner: Mutex<(VecDeque<T>, HashSet<T>)>,
    wake: Notify,
}

impl<T> Default for WorkQueue<T> {
    fn default() -> Self {
        Self { inner: Mutex::new((VecDeque::new(), HashSet::new())), wake: Notify::new() }
    }
}

impl<T: Clone + Eq + Hash> WorkQueue<T> {
    pub fn push(&self, item: T) {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        if inner.1.insert(item.clone()) {
            inner.0.push_back(item);
            drop(inner);
            self.wake.notify_one();
        }
    }

    fn pop(&self) -> Option<T> {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let item = inner.0.pop_front()?;
        inner.1.remove(&item);
        Some(item)
    }

    pub async fn next(&self) -> T {
        loop {
            if let Some(item) = self.pop() {
                return item;
            }
            self.wake.notified().await;
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Task {
    /// A namespace ends.
    Namespace(Arc<str>),
    /// An object's owners, or its own wish for its dependents, are to be looked at.
    Collect(Place),
    /// An object is gone: its dependents are to be looked at.
    Orphaned(Uid),
    /// A definition ends.
    Definition(Arc<str>),
    /// A volume or claim ends that only its protection still holds.
    Unprotect(Place),
    /// What the quotas of a namespace limit is to be counted anew.
    Quotas(Arc<str>),
}

#[derive(Default)]
pub struct Queues {
    pub tasks: WorkQueue<Task>,
    pub workloads: WorkQueue<workloads::Item>,
    pub services: Pool,
    pub definitions: definitions::Known,
    pub quotas: Quotas,
    /// Serialises what reads several objects and then writes one.
    pub exclusive: Mutex<()>,
    ending_namespaces: Mutex<HashSet<Arc<str>>>,
    ending_tables: Mutex<HashSet<Arc<str>>>,
    works: bool,
}

impl Queues {
    /// `works`: somebody looks at workloads. `quotas`: the status of quotas is kept.
    pub fn new(works: bool, quotas: bool) -> Self {
        Self { works, quotas: Quotas::new(quotas), ..Self::default() }
    }

    /// Called for every change while the store is locked.
    pub fn observe(&self, table: &Arc<str>, event: &Event) {
        let record = &event.record;
        let place = || Place { table: Arc::clone(table), key: Arc::clone(&record.key) };
        let facts = &record.facts;
        if let Some(namespace) = self.quotas.observe(table, event) {
            self.tasks.push(Task::Quotas(namespace));
        }
        match event.change {
            Change::Deleted => {
                if let Some(uid) = facts.uid {
                    self.tasks.push(Task::Orphaned(uid));
                }
                // The object that this one kept from going may go now.
                for owner in &facts.owners {
                    self.tasks.push(Task::Orphaned(owner.uid));
                }
                self.after_removal(table, record);
                if &**table == "services" {
                    self.services.free(&record.value());
                }
            }
            Change::Added | Change::Modified => {
                let owners_changed = event.before.as_ref().is_none_or(|before| before.facts.owners != facts.owners);
                let waits = facts.deleting && (facts.has_finalizer("orphan") || facts.has_finalizer("foregroundDeletion"));
                if (!facts.owners.is_empty() && owners_changed) || waits {
                    self.tasks.push(Task::Collect(place()));
                }
                if facts.deleting && PROTECTIONS.iter().any(|p| facts.has_finalizer(p)) {
                    self.tasks.push(Task::Unprotect(place()));
                }
                if facts.deleting && &**table == NAMESPACES {
                    self.lock(&self.ending_namespaces).insert(Arc::clone(&record.key));
                    self.tasks.push(Task::Namespace(Arc::clone(&record.key)));
                }
            }
        }
        if self.works {
            workloads::asks_for(table, event, |item| self.workloads.push(item));
        }
    }

    fn after_removal(&self, table: &Arc<str>, record: &Record) {
        let namespace = record.namespace();
        if !namespace.is_empty() && self.lock(&self.ending_namespaces).contains(namespace) {
            self.tasks.push(Task::Namespace(Arc::from(namespace)));
        }
        if &**table == NAMESPACES {
            self.lock(&self.ending_namespaces).remove(&record.key);
        }
        if &**table == "pods" {
            let pod = record.value();
            for volume in pod.pointer("/spec/volumes").and_then(Value::as_array).into_iter().flatten() {
                if let Some(claim) = volume.pointer("/persistentVolumeClaim/claimName").and_then(Value::as_str) {
                    let key = Arc::from(format!("{namespace}/{claim}"));
                    self.tasks.push(Task::Unprotect(Place { table: Arc::from("persistentvolumeclaims"), key }));
                }
            }
        }
        if self.lock(&self.ending_tables).contains(table) {
            self.tasks.push(Task::Definition(Arc::clone(table)));
        }
    }

    fn lock<'a, T>(&self, of: &'a Mutex<T>) -> std::sync::MutexGuard<'a, T> {
        of.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Does the work of the queues until the server stops.
pub async fn run(api: Arc<Api>) {
    let mut stopping = api.stopping.clone();
    loop {
        let task = tokio::select! {
            task = api.queues.tasks.next() => task,
            _ = stopping.wait_for(|stop| *stop) => return,
        };
        let again = task.clone();
        let done = match task {
            Task::Namespace(name) => namespaces::end(&api, &name),
            Task::Collect(place) => garbage::look_at(&api, &place),
            Task::Orphaned(uid) => garbage::owner_gone(&api, uid),
            Task::Definition(name) => definitions::end(&api, &name),
            Task::Unprotect(place) => garbage::unprotect(&api, &place),
            Task::Quotas(namespace) => {
                quota::settle(&api, &namespace);
                Ok(())
            }
        };
        if let Err(status) = done {
            tracing::debug!(error = %status, "a task is tried again");
            let api = Arc::clone(&api);
            tokio::spawn(async move {
                tokio::time::sleep(std::time::Duration::from_millis(200)).await;
                api.queues.tasks.push(again);
            });
        }
        // Requests come first.
        tokio::task::yield_now().await;
    }
}

/// What must be true once a request is answered.
pub fn after_write(api: &Api, resource: &Resource, record: &Record) {
    match (resource.group.as_str(), resource.name.as_str()) {
        ("", "namespaces") => namespaces::fill(api, record.name()),
        ("", "resourcequotas") => quota::begin(api, record),
        ("apiextensions.k8s.io", "customresourcedefinitions") => definitions::sync(api),
        ("rbac.authorization.k8s.io", "clusterroles") => roles::aggregate(api),
        _ if crate::policy::is_policy(resource) => {
            crate::policy::refresh(api);
            crate::policy::check_types(api, resource, &record.key);
        }
        _ => {}
    }
}

/// Whether nothing holds a deleted object any more.
pub fn may_go(resource: &Resource, object: &Value) -> bool {
    let empty = |pointer: &str| object.pointer(pointer).and_then(Value::as_array).is_none_or(Vec::is_empty);
    object.pointer("/metadata/deletionTimestamp").is_some_and(|t| !t.is_null())
        && empty("/metadata/finalizers")
        && (!resource.is("", "namespaces") || empty("/spec/finalizers"))
}

/// Takes up what was going on when the server stopped last.
pub fn resume(api: &Api) {
    for record in api.store.all("services", "") {
        api.queues.services.hold(&record.value());
    }
    definitions::sync(api);
    crate::policy::refresh(api);
    for table in api.store.table_names() {
        for record in api.store.all(&table, "") {
            let event = Event { change: Change::Added, record, before: None };
            api.queues.observe(&table, &event);
        }
    }
}

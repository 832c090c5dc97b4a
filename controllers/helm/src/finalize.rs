//! The last visit: what becomes of a release when its HelmRelease goes.

use crate::{
    leftover,
    observe::{self, Reach},
    operation,
    reconcile::Reconciler,
    snapshot,
    spec::{self, Operation},
    status::Draft,
    template,
};
use api::helm::{HelmRelease, Snapshot};
use cluster::Resource;
use runtime::{Context, Report, Visit};

/// Uninstalls the release and lets the object go. A suspended one leaves everything behind.
pub(crate) async fn finalize(reconciler: &Reconciler, this: &HelmRelease, context: &Context) -> Report {
    let key = context.key();
    if reconciler.actions.is_running(key) {
        // An uninstall goes on; whatever else is under way is of no use any more.
        if !reconciler.actions.is_uninstalling(key) {
            reconciler.actions.cancel(key);
        }
        return Report::under_way();
    }
    if this.spec.suspend {
        return Report::new(Visit::Never).release();
    }
    let mut draft = Draft { this, status: spec::stored(this), events: Vec::new(), now: context.now() };
    let outcome = reconciler.actions.take_outcome(key).filter(|outcome| outcome.operation == Operation::Uninstall && !outcome.cancelled);
    let is_done = match outcome {
        Some(outcome) => {
            let well = draft.record(&outcome, "");
            if !well {
                let delay = reconciler.backoff.delay(u32::try_from(draft.status.failures.max(1)).unwrap_or(u32::MAX));
                draft.answer_requests();
                return reconciler.report(draft, Visit::After(delay)).failed();
            }
            // A record that vanished between two looks says nothing about the objects.
            outcome.release.is_some()
        }
        None => false,
    };
    if !is_done {
        match begin(reconciler, &mut draft, context).await {
            Begun::Yes => {
                draft.running(Operation::Uninstall);
                return Report::new(Visit::Never).status_soon(&draft.status);
            }
            Begun::NothingToDo => {}
            Begun::NoAccess(message) => {
                tracing::error!(%message, "the release cannot be reached");
                return Report::new(Visit::Backoff);
            }
        }
    }
    let Draft { mut status, mut events, .. } = draft;
    match template::delete(&reconciler.client, &mut status, &mut events).await {
        Ok(()) => Report::new(Visit::Never).events(events).release(),
        Err(message) => {
            tracing::error!(%message, "the HelmChart was not deleted");
            Report::new(Visit::Backoff).events(events)
        }
    }
}

enum Begun {
    Yes,
    /// There is no release, or no way to it any more.
    NothingToDo,
    NoAccess(String),
}

async fn begin(reconciler: &Reconciler, draft: &mut Draft<'_>, context: &Context) -> Begun {
    let this = draft.this;
    let known = draft.status.history.first().cloned();
    let storage = match draft.status.storage_namespace.as_str() {
        "" if known.is_none() => spec::storage_namespace(this).to_owned(),
        stored => stored.to_owned(),
    };
    if storage.is_empty() || way_is_gone(reconciler, this).await {
        return Begun::NothingToDo;
    }
    let reach: Reach = match observe::reach(reconciler, this).await {
        Ok(reach) => reach,
        Err(stopped) => return Begun::NoAccess(stopped.message),
    };
    match find(reconciler, this, &reach, &storage, known).await {
        Ok(Some(release)) => {
            reconciler.begin_uninstall(draft, &reach, &release, &storage, Operation::Uninstall, context);
            Begun::Yes
        }
        Ok(None) => Begun::NothingToDo,
        Err(message) => Begun::NoAccess(message),
    }
}

/// The release that is to be taken away, if there is one.
///
/// What was begun and cut short before it was reported is in Helm's storage alone. What is not stored any more was taken away
/// by somebody, who is not told of: unless its namespace took the record along, and then the objects follow.
async fn find(
    reconciler: &Reconciler,
    this: &HelmRelease,
    reach: &Reach,
    storage: &str,
    known: Option<Snapshot>,
) -> Result<Option<Snapshot>, String> {
    let name = known.as_ref().map_or_else(|| spec::release_name(this), |known| known.name.clone());
    let kept = reach.storage(reconciler, storage, &name);
    let revisions = kept.revisions().await.map_err(|error| error.chain())?;
    match (revisions.first(), known) {
        (Some(_), Some(known)) => Ok(Some(known)),
        (Some(newest), None) => {
            let stored = kept.read(newest).await.map_err(|error| error.text())?;
            Ok(leftover::is_of(this, &stored).then(|| snapshot::of(&stored, "", "")))
        }
        (None, known) => {
            if leftover::goes(&reach.target.client, storage).await.map_err(|error| error.chain())? {
                let namespace = spec::release_namespace(this).to_owned();
                let release = known.unwrap_or_else(|| Snapshot { name, namespace, ..Snapshot::default() });
                let propagation = operation::propagation(&this.spec.uninstall.clone().unwrap_or_default());
                let count = leftover::sweep(this, reach, &release, propagation).await.map_err(|error| error.chain())?;
                tracing::info!(count, "the release's record went with its namespace; what it had made was deleted by its marks");
            }
            Ok(None)
        }
    }
}

/// Without the account, or the way to the cluster, nothing can be deleted, and the object must not stay for ever.
async fn way_is_gone(reconciler: &Reconciler, this: &HelmRelease) -> bool {
    let namespace = spec::namespace(this);
    if let Some(secret) = this.spec.kube_config.as_ref().and_then(|reference| reference.secret_ref.as_ref()) {
        let secrets = Resource::namespaced("", "v1", "Secret", "secrets");
        return matches!(reconciler.client.get_opt(&secrets, namespace, &secret.name).await, Ok(None));
    }
    let account = observe::service_account(reconciler, this);
    if account.is_empty() {
        return false;
    }
    let accounts = Resource::namespaced("", "v1", "ServiceAccount", "serviceaccounts");
    matches!(reconciler.client.get_opt(&accounts, namespace, account).await, Ok(None))
}

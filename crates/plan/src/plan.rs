use crate::{
    Desired, Entry, Inventory, StageKind,
    drift::{self, Drift},
    ignore, managers,
    metadata::{ApplyPolicy, OwnerLabels, Steering},
    protocol,
};
use object::{GroupKind, Object, ObjectKey, compare_for_apply};
use serde_json::Value;
use std::{
    collections::{HashMap, HashSet},
    fmt,
    sync::Arc,
};
use types::NamespacedName;

/// What is known of a live object.
#[derive(Clone)]
pub struct Record {
    pub uid: String,
    pub resource_version: String,
    pub owner: Option<NamespacedName>,
    pub steering: Steering,
    pub terminating: bool,
    /// The digest of the desired object that this one is known to be equal to.
    pub settled: Option<[u8; 16]>,
    /// The object itself, kept only until `settled` is known.
    pub object: Option<Arc<Object>>,
}

impl Record {
    pub fn of(object: Arc<Object>) -> Self {
        Self { object: Some(object.clone()), ..Self::labelled(&object, OwnerLabels::KUSTOMIZATION) }
    }

    /// As `of` without the object, where other labels name the owner.
    pub fn labelled(object: &Object, labels: OwnerLabels) -> Self {
        let text = |key: &str| object.field(&["metadata", key]).and_then(Value::as_str).unwrap_or("").to_owned();
        Self {
            uid: text("uid"),
            resource_version: text("resourceVersion"),
            owner: labels.owner_of(object),
            steering: Steering::of(object),
            terminating: object.field(&["metadata", "deletionTimestamp"]).is_some_and(|t| !t.is_null()),
            settled: None,
            object: None,
        }
    }
}

impl fmt::Debug for Record {
    /// Objects may be Secrets.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Record({} at {})", self.uid, self.resource_version)
    }
}

/// What is known of the object behind a key.
#[derive(Debug, Clone)]
pub enum Live {
    /// No object with owner labels has this key; there may be one without them.
    Unseen,
    Absent,
    Present(Arc<Record>),
}

/// Why something is not done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Why {
    ReconcileDisabled,
    /// `ssa: Ignore`.
    Ignored,
    /// `ssa: IfNotPresent`, and it is.
    AlreadyPresent,
    PruneDisabled,
    /// Its labels name another owner, or none.
    NotOurs(Option<NamespacedName>),
    /// Another Kustomization wants it and has taken it over.
    HandedOver(NamespacedName),
    /// Another Kustomization is about to take it.
    Awaited(NamespacedName),
}

impl fmt::Display for Why {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Why::ReconcileDisabled => out.write_str("reconciliation is disabled by its metadata"),
            Why::Ignored => out.write_str("its metadata says that it is to be ignored"),
            Why::AlreadyPresent => out.write_str("it exists and is applied only when it does not"),
            Why::PruneDisabled => out.write_str("pruning is disabled by its metadata"),
            Why::NotOurs(None) => out.write_str("its labels name no owner"),
            Why::NotOurs(Some(owner)) => write!(out, "its labels name {owner} as its owner"),
            Why::HandedOver(to) => write!(out, "it was handed over to {to}"),
            Why::Awaited(by) => write!(out, "it waits to be taken over by {by}"),
        }
    }
}

/// What to do with one desired object.
#[derive(Debug, Clone)]
pub enum Action {
    /// It seems not to exist: apply without force, so that an object of others is noticed.
    Create,
    /// Apply; `takeover` is a patch to send before.
    Update {
        live: Arc<Record>,
        takeover: Option<Value>,
    },
    /// A dry run decides whether it has to be applied.
    Verify {
        live: Arc<Record>,
    },
    /// Read it first, then decide with [`decide`].
    Look,
    /// The live object, as it was seen, is what is wanted.
    Unchanged {
        live: Arc<Record>,
    },
    Skip {
        why: Why,
    },
}

impl Action {
    /// Whether this is sure to send a write.
    pub fn writes(&self) -> bool {
        matches!(self, Action::Create | Action::Update { .. })
    }
}

#[derive(Debug, Clone)]
pub struct Step {
    pub desired: Arc<Desired>,
    pub action: Action,
}

#[derive(Debug, Clone)]
pub struct Stage {
    pub kind: StageKind,
    /// In apply order.
    pub steps: Vec<Step>,
}

/// What to do with one object that is no longer desired.
#[derive(Debug, Clone)]
pub struct Prune {
    pub entry: Entry,
    pub action: PruneAction,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PruneAction {
    /// Only this object, not another one of the same name.
    Delete {
        uid: String,
    },
    /// Nothing with owner labels is there: read it, then decide.
    Look,
    Skip {
        why: Why,
    },
    /// Keep it in the inventory for now.
    Defer {
        why: Why,
    },
    /// Nothing is deleted: pruning is off.
    Forget,
}

/// Why nothing is done at all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Hold {
    /// The build is empty and would delete so many objects.
    EmptyBuild { objects: usize },
    /// Not one of the applied objects is left in the build.
    DeletesAll { objects: usize },
}

impl fmt::Display for Hold {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Hold::EmptyBuild { objects } => write!(out, "the build is empty and would delete all {objects} applied objects"),
            Hold::DeletesAll { objects } => {
                write!(out, "the build holds none of the {objects} applied objects and would delete all of them")
            }
        }
    }
}

/// How dangerous plans are treated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum GuardRails {
    #[default]
    Enforce,
    /// Carried out, and told.
    Warn,
    /// As Flux: carried out without a word.
    Off,
}

/// Which other Kustomization wants an object.
pub type Claims<'a> = dyn Fn(&ObjectKey) -> Option<NamespacedName> + Send + Sync + 'a;

#[derive(Debug)]
pub struct Policy {
    pub owner: NamespacedName,
    pub prune: bool,
    pub force: bool,
    pub guard_rails: GuardRails,
    /// Somebody has looked at this revision and let it through.
    pub allowed: bool,
    pub custom_stage_kinds: Vec<GroupKind>,
    pub managers: Vec<managers::Manager>,
    pub ignore: Vec<ignore::Rule>,
}

pub struct Input<'a> {
    pub policy: &'a Policy,
    pub desired: Vec<Desired>,
    pub inventory: &'a Inventory,
    pub live: &'a (dyn Fn(&ObjectKey) -> Live + Send + Sync),
    pub claims: &'a Claims<'a>,
}

/// All that a reconcile will do, and what it will not.
#[derive(Debug)]
pub struct Plan {
    pub stages: Vec<Stage>,
    /// In the order of deletion.
    pub prunes: Vec<Prune>,
    /// Set when nothing may be done (or, with warnings only, what should be told).
    pub hold: Option<Hold>,
    /// What the inventory must be before the first write.
    pub before: Inventory,
    /// The inventory when all is done.
    pub new: Inventory,
}

impl Plan {
    /// Nothing is to be sent to the cluster.
    pub fn is_settled(&self) -> bool {
        self.prunes.is_empty()
            && self.stages.iter().flat_map(|stage| &stage.steps).all(|step| matches!(step.action, Action::Unchanged { .. }))
    }
}

/// Decides everything that one reconcile does.
pub fn plan(input: Input<'_>) -> Plan {
    let Input { policy, mut desired, inventory, live, claims } = input;
    desired.sort_by(|a, b| compare_for_apply(&a.object, &b.object));
    let mut stages: HashMap<StageKind, Vec<Step>> = HashMap::new();
    let mut order: Vec<Entry> = Vec::new();
    let by_stage = |kind: StageKind| move |desired: &&Desired| StageKind::of(desired, &policy.custom_stage_kinds) == kind;
    for kind in StageKind::ALL {
        order.extend(desired.iter().filter(by_stage(kind)).map(|one| Entry::of(&one.object)));
    }
    for one in desired {
        let action = decide(&one, &live(&one.key), policy);
        stages.entry(StageKind::of(&one, &policy.custom_stage_kinds)).or_default().push(Step { desired: Arc::new(one), action });
    }
    let new: Inventory = order.into_iter().collect();
    let prunes = prunes(policy, inventory, &new, live, claims);
    let hold = hold(policy, inventory, &new, &prunes);
    Plan {
        stages: StageKind::ALL.into_iter().filter_map(|kind| stages.remove(&kind).map(|steps| Stage { kind, steps })).collect(),
        before: protocol::before(inventory, &new),
        prunes,
        hold,
        new,
    }
}

/// What to do with one desired object, given what is known of the live one.
pub fn decide(desired: &Desired, live: &Live, policy: &Policy) -> Action {
    let record = match live {
        Live::Present(record) => record,
        // What is not applied is listed all the same, whether it exists or not.
        Live::Unseen | Live::Absent if desired.steering.reconcile_disabled => return Action::Skip { why: Why::ReconcileDisabled },
        Live::Unseen | Live::Absent if desired.steering.apply == ApplyPolicy::Ignore => return Action::Skip { why: Why::Ignored },
        Live::Unseen if desired.steering.apply == ApplyPolicy::IfNotPresent => return Action::Look,
        Live::Unseen | Live::Absent => return Action::Create,
    };
    let wants = desired.steering;
    if wants.reconcile_disabled || record.steering.reconcile_disabled {
        return Action::Skip { why: Why::ReconcileDisabled };
    }
    if wants.apply == ApplyPolicy::Ignore || record.steering.apply == ApplyPolicy::Ignore {
        return Action::Skip { why: Why::Ignored };
    }
    if wants.apply == ApplyPolicy::IfNotPresent {
        return Action::Skip { why: Why::AlreadyPresent };
    }
    if record.settled == Some(desired.digest) {
        return Action::Unchanged { live: record.clone() };
    }
    let update = |takeover| Action::Update { live: record.clone(), takeover };
    let Some(object) = &record.object else { return update(None) };
    let merges = wants.apply == ApplyPolicy::Merge || record.steering.apply == ApplyPolicy::Merge;
    if !merges && let Some(patch) = managers::takeover(object, &policy.managers) {
        return update(Some(patch));
    }
    match drift::compare(object, &desired.object, &ignore::paths(&policy.ignore, &desired.object)) {
        Drift::Same => Action::Unchanged { live: record.clone() },
        Drift::Unsure => Action::Verify { live: record.clone() },
        Drift::Different => update(None),
    }
}

fn prunes(
    policy: &Policy,
    old: &Inventory,
    new: &Inventory,
    live: &(dyn Fn(&ObjectKey) -> Live + Send + Sync),
    claims: &Claims<'_>,
) -> Vec<Prune> {
    let wanted = new.keys();
    let mut gone: Vec<Entry> = old.entries().iter().filter(|entry| !wanted.contains(&entry.key)).cloned().collect();
    gone.sort_by(|a, b| crate::plan::compare_entries(b, a));
    gone.into_iter()
        .map(|entry| {
            let action = if policy.prune { decide_prune(&entry.key, &live(&entry.key), policy, claims) } else { PruneAction::Forget };
            Prune { entry, action }
        })
        .collect()
}

/// The apply order of inventory entries.
pub(crate) fn compare_entries(a: &Entry, b: &Entry) -> std::cmp::Ordering {
    let order = |entry: &Entry| object::ApplyOrder::of_kind(&entry.key.kind);
    order(a).cmp(&order(b)).then_with(|| a.key.cmp(&b.key))
}

/// What to do with an object that is no longer desired.
pub fn decide_prune(key: &ObjectKey, live: &Live, policy: &Policy, claims: &Claims<'_>) -> PruneAction {
    let Live::Present(record) = live else { return PruneAction::Look };
    let claimant = if policy.guard_rails == GuardRails::Off { None } else { claims(key) };
    match (kept(record, &policy.owner), claimant) {
        (Some(Why::NotOurs(Some(owner))), Some(claimant)) if owner == claimant => PruneAction::Skip { why: Why::HandedOver(claimant) },
        (Some(why), _) => PruneAction::Skip { why },
        // It leaves our inventory only when the other one's labels are on it: nobody may think that the other answers for it.
        (None, Some(claimant)) => PruneAction::Defer { why: Why::Awaited(claimant) },
        (None, None) => PruneAction::Delete { uid: record.uid.clone() },
    }
}

/// Why a live object must not be deleted by its former owner.
pub fn kept(record: &Record, owner: &NamespacedName) -> Option<Why> {
    if record.steering.prune_disabled {
        Some(Why::PruneDisabled)
    } else if record.steering.reconcile_disabled {
        Some(Why::ReconcileDisabled)
    } else if record.steering.apply == ApplyPolicy::Ignore {
        Some(Why::Ignored)
    } else if record.owner.as_ref() != Some(owner) {
        Some(Why::NotOurs(record.owner.clone()))
    } else {
        None
    }
}

fn hold(policy: &Policy, old: &Inventory, new: &Inventory, prunes: &[Prune]) -> Option<Hold> {
    if policy.guard_rails == GuardRails::Off || policy.allowed || !policy.prune || old.is_empty() {
        return None;
    }
    // What has to be looked at first may be deleted too.
    let deletes = |prune: &&Prune| matches!(prune.action, PruneAction::Delete { .. } | PruneAction::Look);
    let doomed: HashSet<&ObjectKey> = prunes.iter().filter(deletes).map(|prune| &prune.entry.key).collect();
    let objects = doomed.len();
    // One object that takes the place of another is a change, not a catastrophe.
    if objects == 0 || (!new.is_empty() && objects < 2) || old.entries().iter().any(|entry| !doomed.contains(&entry.key)) {
        return None;
    }
    Some(if new.is_empty() { Hold::EmptyBuild { objects } } else { Hold::DeletesAll { objects } })
}

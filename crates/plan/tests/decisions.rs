//! Tables: what a plan does with one object, and what it holds back.

use object::{Object, ObjectKey};
use plan::{
    Action, Desired, Entry, GuardRails, Hold, Input, Inventory, Live, Owner, Plan, Policy, PruneAction, Record, StageKind, Why, normalize,
    plan,
};
use serde_json::{Value, json};
use std::{collections::HashMap, sync::Arc};
use types::NamespacedName;

fn me() -> NamespacedName {
    NamespacedName::new("n", "apps")
}

fn policy() -> Policy {
    Policy {
        owner: me(),
        prune: true,
        force: false,
        guard_rails: GuardRails::Enforce,
        allowed: false,
        custom_stage_kinds: vec![],
        managers: plan::managers::taken_over(&[]),
        ignore: vec![],
    }
}

fn config(name: &str, annotations: Value) -> Object {
    Object::new(json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": "n", "annotations": annotations}, "data": {"a": "1"}})).expect("an object")
}

fn desired(object: Object) -> Desired {
    normalize(object, &Owner { name: me(), ..Default::default() }, &|_| {})
}

/// The object as it lives after we applied it.
fn applied(object: &Object, annotations: Value) -> Object {
    let mut live = desired(object.clone()).object;
    let metadata = live.metadata_mut();
    metadata.insert("uid".into(), json!("u1"));
    metadata.insert("resourceVersion".into(), json!("1"));
    if let Some(map) = annotations.as_object().filter(|map| !map.is_empty()) {
        metadata.insert("annotations".into(), Value::Object(map.clone()));
    }
    let labels = json!({"f:kustomize.toolkit.fluxcd.io/name": {}, "f:kustomize.toolkit.fluxcd.io/namespace": {}});
    metadata.insert("managedFields".into(), json!([{"manager": "kustomize-controller", "operation": "Apply", "apiVersion": "v1", "fieldsV1": {"f:data": {"f:a": {}}, "f:metadata": {"f:labels": labels}}}]));
    live
}

struct World {
    policy: Policy,
    live: HashMap<ObjectKey, Object>,
    inventory: Inventory,
    claims: HashMap<ObjectKey, NamespacedName>,
}

impl World {
    fn new() -> Self {
        Self { policy: policy(), live: HashMap::new(), inventory: Inventory::default(), claims: HashMap::new() }
    }

    fn having(mut self, object: Object) -> Self {
        self.inventory = self.inventory.union(&[Entry::of(&object)].into_iter().collect());
        self.live.insert(object.key(), object);
        self
    }

    fn plan(&self, objects: &[Object]) -> Plan {
        plan(Input {
            policy: &self.policy,
            desired: objects.iter().cloned().map(desired).collect(),
            inventory: &self.inventory,
            live: &|key| self.live.get(key).map_or(Live::Unseen, |object| Live::Present(Arc::new(Record::of(Arc::new(object.clone()))))),
            claims: &|key| self.claims.get(key).cloned(),
        })
    }

    fn action(&self, object: &Object) -> Action {
        self.plan(std::slice::from_ref(object)).stages.remove(0).steps.remove(0).action
    }

    fn prune(&self, keep: &[Object]) -> PruneAction {
        self.plan(keep).prunes.remove(0).action
    }
}

#[test]
fn metadata_of_both_sides_steers_the_apply() {
    let plain = config("a", json!({}));
    let ssa = |value: &str| json!({"kustomize.toolkit.fluxcd.io/ssa": value});
    let disabled = json!({"kustomize.toolkit.fluxcd.io/reconcile": "Disabled"});
    let has = |annotations: Value| World::new().having(applied(&plain, annotations));
    assert!(matches!(has(json!({})).action(&plain), Action::Unchanged { .. }));
    assert!(matches!(World::new().action(&plain), Action::Create));
    for (annotations, why) in [(disabled.clone(), Why::ReconcileDisabled), (ssa("ignore"), Why::Ignored)] {
        assert!(matches!(has(annotations.clone()).action(&plain), Action::Skip { why: w } if w == why), "{annotations} on the live object");
        assert!(
            matches!(has(json!({})).action(&config("a", annotations.clone())), Action::Skip { why: w } if w == why),
            "{annotations} on the desired object"
        );
        assert!(matches!(World::new().action(&config("a", annotations)), Action::Skip { .. }));
    }
    assert!(matches!(has(json!({})).action(&config("a", ssa("IfNotPresent"))), Action::Skip { why: Why::AlreadyPresent }));
    assert!(matches!(World::new().action(&config("a", ssa("IfNotPresent"))), Action::Look));
    assert!(!matches!(has(ssa("IfNotPresent")).action(&plain), Action::Skip { .. }), "on the live object it says nothing");
    assert!(matches!(has(json!({})).action(&config("a", ssa("nope"))), Action::Update { .. }));
}

#[test]
fn fields_of_kubectl_are_taken_over_unless_merging() {
    let mut live = applied(&config("a", json!({})), json!({}));
    live.metadata_mut()["managedFields"]
        .as_array_mut()
        .expect("a list")
        .push(json!({"manager": "kubectl-edit", "operation": "Update", "fieldsV1": {"f:data": {"f:b": {}}}}));
    let world = World::new().having(live);
    assert!(matches!(world.action(&config("a", json!({}))), Action::Update { takeover: Some(_), .. }));
    assert!(matches!(
        world.action(&config("a", json!({"kustomize.toolkit.fluxcd.io/ssa": "Merge"}))),
        Action::Update { takeover: None, .. }
    ));
}

#[test]
fn stages_come_in_order_and_deletion_is_the_reverse() {
    let object = |api: &str, kind: &str, name: &str| {
        Object::new(json!({"apiVersion": api, "kind": kind, "metadata": {"name": name}})).expect("an object")
    };
    let objects = [
        object("apps/v1", "Deployment", "d"),
        object("storage.k8s.io/v1", "StorageClass", "s"),
        object("v1", "Namespace", "n"),
        object("e.com/v1", "Widget", "w"),
        object("v1", "ConfigMap", "c"),
    ];
    let mut world = World::new();
    world.policy.custom_stage_kinds = vec![object::GroupKind { group: "e.com".into(), kind: "Widget".into() }];
    let made = world.plan(&objects);
    let names: Vec<(StageKind, Vec<&str>)> =
        made.stages.iter().map(|s| (s.kind, s.steps.iter().map(|step| step.desired.object.name()).collect())).collect();
    assert_eq!(
        names,
        [
            (StageKind::Definitions, vec!["n"]),
            (StageKind::Classes, vec!["s"]),
            (StageKind::Custom, vec!["w"]),
            (StageKind::Rest, vec!["c", "d"])
        ]
    );
    world.inventory = made.new;
    world.policy.guard_rails = GuardRails::Off;
    let order: Vec<String> = world.plan(&[]).prunes.iter().map(|p| p.entry.key.name.clone()).collect();
    assert_eq!(order, ["w", "d", "c", "s", "n"]);
}

#[test]
fn pruning_spares_what_is_protected_or_not_ours() {
    let keep = config("keep", json!({}));
    let with = |annotations: Value| World::new().having(applied(&config("a", json!({})), annotations)).having(applied(&keep, json!({})));
    let kept = |world: &World| world.prune(std::slice::from_ref(&keep));
    assert_eq!(kept(&with(json!({}))), PruneAction::Delete { uid: "u1".into() });
    assert_eq!(kept(&with(json!({"kustomize.toolkit.fluxcd.io/prune": "disabled"}))), PruneAction::Skip { why: Why::PruneDisabled });
    assert_eq!(kept(&with(json!({"kustomize.toolkit.fluxcd.io/ssa": "Ignore"}))), PruneAction::Skip { why: Why::Ignored });
    let mut off = with(json!({}));
    off.policy.prune = false;
    assert_eq!(kept(&off), PruneAction::Forget);
    let mut moved = with(json!({}));
    moved.live.get_mut(&config("a", json!({})).key()).expect("it lives").set_label("kustomize.toolkit.fluxcd.io/name", "other");
    assert_eq!(kept(&moved), PruneAction::Skip { why: Why::NotOurs(Some(NamespacedName::new("n", "other"))) });
    let mut gone = with(json!({}));
    gone.live.remove(&config("a", json!({})).key());
    assert_eq!(kept(&gone), PruneAction::Look, "an object that is not seen may only have lost its labels");
}

#[test]
fn what_another_kustomization_wants_is_handed_over() {
    let keep = config("keep", json!({}));
    let other = NamespacedName::new("n", "other");
    let mut world = World::new().having(applied(&config("a", json!({})), json!({}))).having(applied(&keep, json!({})));
    world.claims.insert(config("a", json!({})).key(), other.clone());
    assert_eq!(world.prune(std::slice::from_ref(&keep)), PruneAction::Defer { why: Why::Awaited(other.clone()) });
    let set_owner = |world: &mut World, name: &str| {
        world.live.get_mut(&config("a", json!({})).key()).expect("it lives").set_label("kustomize.toolkit.fluxcd.io/name", name)
    };
    set_owner(&mut world, "other");
    assert_eq!(world.prune(std::slice::from_ref(&keep)), PruneAction::Skip { why: Why::HandedOver(other) });
    set_owner(&mut world, "apps");
    world.policy.guard_rails = GuardRails::Off;
    assert_eq!(world.prune(std::slice::from_ref(&keep)), PruneAction::Delete { uid: "u1".into() }, "as Flux");
}

#[test]
fn a_build_that_would_delete_everything_is_held() {
    let two = || World::new().having(applied(&config("a", json!({})), json!({}))).having(applied(&config("b", json!({})), json!({})));
    assert_eq!(two().plan(&[]).hold, Some(Hold::EmptyBuild { objects: 2 }));
    assert_eq!(two().plan(&[config("c", json!({})), config("d", json!({}))]).hold, Some(Hold::DeletesAll { objects: 2 }));
    assert_eq!(two().plan(&[config("a", json!({}))]).hold, None);
    let one = || World::new().having(applied(&config("a", json!({})), json!({})));
    assert_eq!(one().plan(&[]).hold, Some(Hold::EmptyBuild { objects: 1 }));
    assert_eq!(one().plan(&[config("b", json!({}))]).hold, None, "one object that takes the place of another is a change");
    let changed = |change: fn(&mut Policy)| {
        let mut world = two();
        change(&mut world.policy);
        world.plan(&[]).hold
    };
    assert_eq!(changed(|policy| policy.allowed = true), None);
    assert_eq!(changed(|policy| policy.prune = false), None);
    assert_eq!(changed(|policy| policy.guard_rails = GuardRails::Off), None);
    assert_eq!(changed(|policy| policy.guard_rails = GuardRails::Warn), Some(Hold::EmptyBuild { objects: 2 }), "told, not held");
}

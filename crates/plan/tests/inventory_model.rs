//! A model of the inventory protocol: random histories, a crash possible before every single effect.
//!
//! What must hold at every moment: an object that we made is in the stored inventory.
//! What must hold once the crashes stop: the cluster has what is desired, and nothing else of ours.

use object::{Object, ObjectKey};
use plan::{
    Action, Desired, Entry, GuardRails, Input, Inventory, Live, Plan, Policy, PruneAction, Record, after_failure, after_success, plan,
};
use proptest::prelude::*;
use serde_json::json;
use std::{
    collections::{BTreeSet, HashSet},
    sync::Arc,
};
use types::NamespacedName;

fn object(n: u8) -> Object {
    let mut object = Object::new(json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": format!("c{n}"), "namespace": "n"}}))
        .expect("an object");
    object.set_label(plan::metadata::NAME_LABEL, "apps");
    object.set_label(plan::metadata::NAMESPACE_LABEL, "n");
    object
}

#[derive(Default)]
struct World {
    cluster: BTreeSet<u8>,
    stored: Inventory,
}

/// The process dies at its `effects`-th effect.
struct Fuse(usize);

impl Fuse {
    fn burn(&mut self) -> Result<(), ()> {
        self.0 = self.0.checked_sub(1).ok_or(())?;
        Ok(())
    }
}

fn number(key: &ObjectKey) -> u8 {
    key.name.trim_start_matches('c').parse().expect("a number")
}

impl World {
    fn check(&self) {
        for n in &self.cluster {
            assert!(self.stored.contains(&object(*n).key()), "c{n} is an orphan");
        }
    }

    fn plan(&self, desired: &BTreeSet<u8>) -> Plan {
        let policy = Policy {
            owner: NamespacedName::new("n", "apps"),
            prune: true,
            force: false,
            guard_rails: GuardRails::Off,
            allowed: false,
            custom_stage_kinds: vec![],
            managers: vec![],
            ignore: vec![],
        };
        plan(Input {
            policy: &policy,
            desired: desired.iter().map(|n| Desired::new(object(*n))).collect(),
            inventory: &self.stored,
            live: &|key| {
                if self.cluster.contains(&number(key)) {
                    Live::Present(Arc::new(Record::of(Arc::new(object(number(key))))))
                } else {
                    Live::Absent
                }
            },
            claims: &|_| None,
        })
    }

    /// One reconcile: `refused` fails to apply, `stuck` fails to be deleted.
    fn reconcile(&mut self, desired: &BTreeSet<u8>, refused: Option<u8>, stuck: Option<u8>, fuse: &mut Fuse) -> Result<bool, ()> {
        let plan = self.plan(desired);
        let old = self.stored.clone();
        fuse.burn()?;
        self.stored = plan.before.clone();
        self.check();
        let mut written = HashSet::new();
        for step in plan.stages.iter().flat_map(|stage| &stage.steps) {
            let n = number(&step.desired.key);
            if !matches!(step.action, Action::Create) {
                continue;
            }
            fuse.burn()?;
            if Some(n) == refused {
                fuse.burn()?;
                self.stored = after_failure(&old, &plan.new, &written);
                self.check();
                return Ok(false);
            }
            written.insert(step.desired.key.clone());
            self.cluster.insert(n);
            self.check();
        }
        let mut kept = HashSet::new();
        for prune in &plan.prunes {
            let n = number(&prune.entry.key);
            if matches!(prune.action, PruneAction::Delete { .. }) {
                fuse.burn()?;
                if Some(n) == stuck {
                    kept.insert(prune.entry.key.clone());
                } else {
                    self.cluster.remove(&n);
                }
            }
            self.check();
        }
        fuse.burn()?;
        self.stored = after_success(&old, &plan.new, &kept);
        self.check();
        Ok(kept.is_empty())
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]
    #[test]
    fn no_crash_leaves_an_orphan(
        revisions in prop::collection::vec((prop::collection::btree_set(0u8..6, 0..6), prop::option::of(0u8..6), prop::option::of(0u8..6), 0usize..16), 1..8),
    ) {
        let mut world = World::default();
        for (desired, refused, stuck, effects) in &revisions {
            let _ = world.reconcile(desired, *refused, *stuck, &mut Fuse(*effects));
            world.check();
        }
        let last = &revisions[revisions.len() - 1].0;
        prop_assert_eq!(world.reconcile(last, None, None, &mut Fuse(usize::MAX)), Ok(true));
        prop_assert_eq!(&world.cluster, last);
        let stored: BTreeSet<u8> = world.stored.entries().iter().map(|entry: &Entry| number(&entry.key)).collect();
        prop_assert_eq!(&stored, last);
    }
}

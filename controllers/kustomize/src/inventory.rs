//! Where a Kustomization's inventory is kept until its status holds one.
//!
//! The inventory has to be stored before the first object is made. For a first apply it travels as an annotation in the
//! write that puts the finalizer on, which saves a status write for every application; from the first report on the
//! status holds the inventory, and the annotation means nothing any more.

use crate::{spec, status};
use api::{
    kustomize::{Kustomization, KustomizationStatus},
    meta::ResourceRef,
};
use plan::{Entry, Inventory};

/// The inventory of a first apply, in the form of `status.inventory.entries`.
pub(crate) const FIRST_INVENTORY: &str = "kustomize.sluice.dev/first-inventory";
/// A larger one is stored in the status at once: annotations are kept small.
const NOTE_MAX: usize = 8 << 10;

/// What may exist in the cluster by this Kustomization's hand.
pub(crate) fn of(this: &Kustomization) -> Inventory {
    entries(this).iter().filter_map(|entry| Entry::parse(&entry.id, &entry.v)).collect()
}

pub(crate) fn ids(this: &Kustomization) -> Vec<String> {
    entries(this).into_iter().map(|entry| entry.id).collect()
}

/// The annotation that stands for `inventory`, where one may: nothing was ever reported, and it is small.
pub(crate) fn note(this: &Kustomization, inventory: &Inventory) -> Option<(String, String)> {
    let first = this.status.as_ref().is_none_or(is_unreported) && spec::annotation(this, FIRST_INVENTORY).is_none();
    let text = serde_json::to_string(&status::references(inventory)).ok().filter(|text| first && text.len() <= NOTE_MAX)?;
    Some((FIRST_INVENTORY.to_owned(), text))
}

/// No attempt has ended that got as far as to apply.
fn is_unreported(status: &KustomizationStatus) -> bool {
    status.inventory.is_none() && status.history.is_empty()
}

fn entries(this: &Kustomization) -> Vec<ResourceRef> {
    match &this.status {
        Some(status) if !is_unreported(status) => status.inventory.iter().flat_map(|inventory| inventory.entries.iter().cloned()).collect(),
        _ => spec::annotation(this, FIRST_INVENTORY).and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::{Attempt, Failed, Phase};
    use jiff::Timestamp;

    fn inventory() -> Inventory {
        [Entry::parse("a_web_apps_Deployment", "v1"), Entry::parse("_a b_rbac.authorization.k8s.io_ClusterRole", "v1")]
            .into_iter()
            .flatten()
            .collect()
    }

    fn noted() -> Kustomization {
        let mut this = Kustomization::named("n", "a");
        let (name, text) = note(&this, &inventory()).unwrap();
        this.metadata.annotations = Some([(name, text)].into());
        this
    }

    #[test]
    fn a_first_inventory_survives_in_the_annotation_until_a_report_takes_its_place() {
        let mut this = noted();
        assert_eq!(of(&this), inventory());
        assert_eq!(ids(&this).len(), 2);
        // A state on the way is no report.
        let now = Timestamp::UNIX_EPOCH;
        this.status = Some(status::progressing(&this, status::stored(&this), Phase::Building, "main@sha1:ab", now));
        assert_eq!(of(&this), inventory());
        assert_eq!(note(&this, &inventory()), None, "an annotation is never written twice");

        let attempt = Attempt { started: now, revision: "main@sha1:ab".into(), origin_revision: String::new(), digest: "sha256:1".into() };
        let failed = Failed::new("ReconciliationFailed", Some(Phase::Detecting), "refused");
        this.status = Some(status::failed(&this, status::stored(&this), &attempt, &failed, now));
        assert!(of(&this).is_empty(), "the failure left nothing behind, whatever was planned");
    }

    #[test]
    fn an_inventory_that_became_empty_stays_empty() {
        let mut this = noted();
        let now = Timestamp::UNIX_EPOCH;
        let attempt = Attempt { started: now, revision: "main@sha1:ab".into(), origin_revision: String::new(), digest: "sha256:1".into() };
        let succeeded = |this: &Kustomization, inventory: &Inventory| {
            Some(status::succeeded(this, status::stored(this), &attempt, inventory, None, now))
        };
        this.status = succeeded(&this, &inventory());
        assert_eq!(of(&this), inventory());
        this.status = succeeded(&this, &Inventory::default());
        assert!(of(&this).is_empty());
    }

    #[test]
    fn a_large_inventory_or_a_broken_annotation_is_no_note() {
        let many: Inventory = (0..400).filter_map(|n| Entry::parse(&format!("a_web-{n}_apps_Deployment"), "v1")).collect();
        assert_eq!(note(&Kustomization::named("n", "a"), &many), None);
        let mut this = noted();
        this.metadata.annotations = Some([(FIRST_INVENTORY.to_owned(), "[{".to_owned())].into());
        assert!(of(&this).is_empty());
    }
}

use api::source::OCIRepositorySpec;
use std::{
    collections::HashMap,
    sync::{Arc, PoisonError},
};
use types::Digest;

/// Layers that are remembered at most.
const LAYERS_MAX: usize = 1_024;

/// A layer, and what is made of it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Made {
    layer: String,
    copied: bool,
    ignore: Option<String>,
}

/// The digest of the artifact that was made; whoever holds the lock makes it.
pub(super) type Slot = Arc<tokio::sync::Mutex<Option<Digest>>>;

/// Which artifact came of which layer, so that what several OCIRepositories name is pulled once: also when they ask together.
///
/// Only who was given the manifest by the registry gets to ask for a layer of it.
#[derive(Default)]
pub(crate) struct Layers(std::sync::Mutex<HashMap<Made, Slot>>);

impl Layers {
    pub(super) fn slot(&self, layer: &str, spec: &OCIRepositorySpec) -> Slot {
        let made = Made { layer: layer.to_owned(), copied: copies(spec), ignore: spec.ignore.clone() };
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= LAYERS_MAX {
            known.retain(|_, slot| Arc::strong_count(slot) > 1);
        }
        known.entry(made).or_default().clone()
    }
}

/// Whether a layer is stored as it was pushed.
pub(super) fn copies(spec: &OCIRepositorySpec) -> bool {
    spec.layer_selector.as_ref().is_some_and(|selector| selector.operation == "copy")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_layer_treated_the_same_way_is_one_and_others_are_not() {
        let (layers, plain) = (Layers::default(), OCIRepositorySpec::default());
        let other = OCIRepositorySpec { ignore: Some("/docs".into()), ..OCIRepositorySpec::default() };
        let slot = layers.slot("sha256:a", &plain);
        assert!(Arc::ptr_eq(&slot, &layers.slot("sha256:a", &plain)));
        assert!(!Arc::ptr_eq(&slot, &layers.slot("sha256:b", &plain)));
        assert!(!Arc::ptr_eq(&slot, &layers.slot("sha256:a", &other)));
    }

    #[test]
    fn what_nobody_works_on_is_forgotten_when_there_is_too_much() {
        let (layers, plain) = (Layers::default(), OCIRepositorySpec::default());
        let held = layers.slot("held", &plain);
        (0..LAYERS_MAX * 2).for_each(|at| drop(layers.slot(&at.to_string(), &plain)));
        assert!(layers.0.lock().unwrap().len() <= LAYERS_MAX + 1);
        assert!(Arc::ptr_eq(&held, &layers.slot("held", &plain)));
    }
}

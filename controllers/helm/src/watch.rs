//! Which releases want to hear of changes to their objects.

use crate::objects::Item;
use apply::Target;
use object::ObjectKey;
use plan::Live;
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};
use types::NamespacedName;

/// What is followed: every object with the digest of what it should be.
struct Followed {
    target: Arc<Target>,
    objects: Vec<(ObjectKey, [u8; 16])>,
}

/// Objects of releases whose drift counts.
#[derive(Default)]
pub(crate) struct DriftWatch(Mutex<HashMap<NamespacedName, Followed>>);

impl DriftWatch {
    pub(crate) fn follow(&self, key: &NamespacedName, target: Arc<Target>, items: &[Item]) {
        let objects = items.iter().map(|item| (item.key().clone(), item.desired.digest)).collect();
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(key.clone(), Followed { target, objects });
    }

    pub(crate) fn forget(&self, key: &NamespacedName) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(key);
    }

    /// Whether an object of the release is not as it was when it was last looked at; a new status alone does not count.
    pub(crate) fn has_news(&self, key: &NamespacedName) -> bool {
        let followed = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        followed.get(key).is_some_and(|followed| {
            followed.objects.iter().any(|(object, digest)| match followed.target.owned.live(object) {
                Live::Present(record) => record.settled != Some(*digest),
                Live::Unseen | Live::Absent => true,
            })
        })
    }
}

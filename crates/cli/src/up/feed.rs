//! The state of the watched objects, as it changes.

use super::{kinds, view::Id};
use cluster::{Client, Selection, WatchEvent, watch};
use futures::StreamExt;
use serde_json::{Value, value::RawValue};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
};
use tokio::{sync::Notify, task::JoinSet};

/// Every source and Kustomization of the cluster, and a bell that rings when one changes.
#[derive(Clone, Default)]
pub struct Feed {
    objects: Arc<Mutex<BTreeMap<Id, Value>>>,
    changed: Arc<Notify>,
}

impl Feed {
    /// Starts a watch per kind; they end with the set.
    pub fn start(client: &Client, tasks: &mut JoinSet<()>) -> Self {
        let feed = Self::default();
        for resource in kinds::watched() {
            let (feed, client, kind) = (feed.clone(), client.clone(), resource.kind.clone());
            tasks.spawn(async move {
                let mut listed = BTreeSet::new();
                let mut events = std::pin::pin!(watch(client, resource, Selection::default()));
                while let Some(event) = events.next().await {
                    feed.take(&kind, event, &mut listed);
                }
            });
        }
        feed
    }

    pub fn snapshot(&self) -> BTreeMap<Id, Value> {
        self.lock().clone()
    }

    pub async fn changed(&self) {
        self.changed.notified().await;
    }

    /// `listed` collects what the listing under way has named; the rest is gone once it is complete.
    fn take(&self, kind: &str, event: WatchEvent, listed: &mut BTreeSet<Id>) {
        match event {
            WatchEvent::Restarted => return listed.clear(),
            WatchEvent::Listed(raw) | WatchEvent::Applied(raw) => {
                let Some(mut object) = parse(&raw, kind) else { return };
                if let Some(metadata) = object["metadata"].as_object_mut() {
                    metadata.remove("managedFields");
                }
                listed.insert(Id::of(&object));
                self.lock().insert(Id::of(&object), object);
            }
            WatchEvent::Synced => self.lock().retain(|id, _| id.kind != kind || listed.contains(id)),
            WatchEvent::Deleted(raw) => {
                let Some(object) = parse(&raw, kind) else { return };
                self.lock().remove(&Id::of(&object));
            }
            WatchEvent::Failed(error) => return tracing::debug!(kind, %error, "watch failed; it goes on by itself"),
        }
        self.changed.notify_one();
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<Id, Value>> {
        self.objects.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// Items of a list carry no kind of their own.
fn parse(raw: &RawValue, kind: &str) -> Option<Value> {
    let mut object: Value = serde_json::from_str(raw.get()).ok()?;
    object.as_object_mut()?.insert("kind".to_owned(), kind.into());
    Some(object)
}

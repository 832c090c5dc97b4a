use crate::{Handle, Process, Store};
use cluster::{Resource, Selection};
use serde::de::DeserializeOwned;
use serde_json::Value;

impl<T: DeserializeOwned + Send + Sync + 'static> Store<T> {
    /// Triggers objects when one that they depend on changes in what `news` reads. `index` holds the keys of an object's
    /// dependencies; of the dependents only those that `waits` are woken.
    pub fn wake_dependents<N: PartialEq>(
        &self,
        index: &'static str,
        handle: &Handle,
        news: impl Fn(&T) -> N + Send + Sync + 'static,
        waits: impl Fn(&T) -> bool + Send + Sync + 'static,
    ) {
        let (dependents, handle) = (self.clone(), handle.clone());
        self.on_change(move |change| {
            if change.differs(&news) {
                let waiting = |one: &_| one != change.key && dependents.get(one).is_some_and(|one| waits(&one));
                let woken = dependents.by_index(index, &change.key.to_string()).into_iter().filter(waiting);
                woken.for_each(|one| handle.trigger(&one));
            }
        });
    }
}

impl Process {
    /// Triggers objects when a ConfigMap or Secret that they read changes. `index` of `users` holds what an object reads, as
    /// `Secret/namespace/name`; `labels` select what is watched, of which only the metadata is kept.
    pub fn wake_on_configs<T: DeserializeOwned + Send + Sync + 'static>(
        &self,
        users: &Store<T>,
        index: &'static str,
        handle: &Handle,
        labels: &str,
    ) {
        for (kind, plural) in [("ConfigMap", "configmaps"), ("Secret", "secrets")] {
            let configs = Store::<Value>::new(Resource::namespaced("", "v1", kind, plural));
            let (users, handle) = (users.clone(), handle.clone());
            configs.on_change(move |change| {
                users.by_index(index, &format!("{kind}/{}", change.key)).iter().for_each(|user| handle.trigger(user));
            });
            self.watch(&configs, Selection { labels: labels.to_owned(), metadata_only: true, ..Selection::default() });
        }
    }
}

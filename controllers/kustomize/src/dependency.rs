use crate::{options::Options, source, spec};
use api::{
    Conditions,
    kustomize::{Kustomization, KustomizationStatus},
};
use cluster::Client;
use health::ReadyExpression;
use object::Object;
use plan::graph;
use runtime::Store;
use std::sync::Arc;
use types::NamespacedName;

/// Why a Kustomization may not begin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum NotReady {
    /// Looked at again when the dependency changes.
    Wait(String),
    /// Only a change of the spec helps.
    Terminal(String),
}

/// Where dependencies are looked up: the watch, and the server for those of other shards.
pub(crate) struct Lookup<'a> {
    pub store: &'a Store<Kustomization>,
    pub client: &'a Client,
    pub options: &'a Options,
    /// The built-in check counts beside an expression.
    pub additive: bool,
}

pub(crate) fn key_of(this: &Kustomization, reference: &api::meta::DependencyReference) -> NamespacedName {
    let namespace =
        if reference.namespace.is_empty() { this.metadata.namespace.clone().unwrap_or_default() } else { reference.namespace.clone() };
    NamespacedName::new(namespace, reference.name.clone())
}

impl Lookup<'_> {
    /// Says what keeps `this` from being reconciled; the first dependency that is not ready counts.
    pub(crate) async fn check(&self, this: &Kustomization, revision: &str) -> Result<(), NotReady> {
        for reference in &this.spec.depends_on {
            let key = key_of(this, reference);
            let dependency = match self.get(&key).await {
                Ok(Some(dependency)) => dependency,
                Ok(None) => {
                    let text = format!("kustomizations.kustomize.toolkit.fluxcd.io {:?} not found", key.name);
                    return Err(NotReady::Wait(format!("dependency '{key}' not found: {text}")));
                }
                Err(error) => return Err(NotReady::Wait(format!("dependency '{key}' cannot be read: {}", error.chain()))),
            };
            if !reference.ready_expr.is_empty() {
                self.evaluate(this, &dependency, &reference.name, &reference.ready_expr)?;
                if !self.additive {
                    continue;
                }
            }
            if !is_ready(&dependency) {
                return Err(NotReady::Wait(format!("dependency '{key}' is not ready{}", self.cycle(this))));
            }
            if source::key_of(this) == source::key_of(&dependency) && status(&dependency).last_applied_revision != revision {
                return Err(NotReady::Wait(format!("dependency '{key}' revision is not up to date")));
            }
        }
        Ok(())
    }

    fn evaluate(&self, this: &Kustomization, dependency: &Kustomization, name: &str, source: &str) -> Result<(), NotReady> {
        let terminal = |error: &dyn std::fmt::Display| NotReady::Terminal(format!("failed to evaluate dependency {name}: {error}"));
        let expression = ReadyExpression::compile(source).map_err(|error| terminal(&error))?;
        let object = |side: &Kustomization| serde_json::to_value(side).ok().and_then(|value| Object::new(value).ok());
        let (Some(dependent), Some(dependency)) = (object(this), object(dependency)) else {
            return Err(NotReady::Wait(format!("dependency '{name}' cannot be evaluated")));
        };
        match expression.evaluate(&dependent, &dependency) {
            Ok(true) => Ok(()),
            Ok(false) => {
                Err(NotReady::Wait(format!("dependency '{}/{name}' is not ready according to readyExpr eval", dependency.namespace())))
            }
            Err(error) => Err(NotReady::Wait(error.to_string())),
        }
    }

    async fn get(&self, key: &NamespacedName) -> Result<Option<Arc<Kustomization>>, cluster::Error> {
        if let Some(dependency) = self.store.get(key) {
            return Ok(Some(dependency));
        }
        match self.client.get_opt(self.store.resource(), &key.namespace, &key.name).await? {
            Some(bytes) => serde_json::from_slice(&bytes).map(|found| Some(Arc::new(found))).map_err(cluster::Error::Decode),
            None => Ok(None),
        }
    }

    /// A circle never gets ready by itself: it is shown, unless Flux's own words are wanted.
    fn cycle(&self, this: &Kustomization) -> String {
        if self.options.guard_rails == crate::GuardRails::Off {
            return String::new();
        }
        let edges = |key: &NamespacedName| match self.store.get(key) {
            Some(one) => one.spec.depends_on.iter().map(|reference| key_of(&one, reference)).collect(),
            None => Vec::new(),
        };
        match graph::cycle_through(&spec::key(this), &edges) {
            Some(cycle) => format!(": circular dependency {}", graph::print_cycle(&cycle)),
            None => String::new(),
        }
    }
}

pub(crate) fn status(this: &Kustomization) -> KustomizationStatus {
    this.status.clone().unwrap_or_default()
}

/// It has looked at its newest spec and says that it is ready.
fn is_ready(this: &Kustomization) -> bool {
    this.status.as_ref().is_some_and(|status| status.observed_generation == spec::generation(this) && status.conditions.is_ready())
}

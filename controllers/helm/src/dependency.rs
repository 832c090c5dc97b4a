use crate::spec;
use api::{Conditions, helm::HelmRelease};
use cluster::Client;
use health::ReadyExpression;
use object::Object;
use runtime::Store;
use std::sync::Arc;
use types::NamespacedName;

/// Why a HelmRelease may not begin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum NotReady {
    /// Looked at again when the dependency changes.
    Wait(String),
    /// Only a change of the spec helps.
    Terminal(String),
}

/// Where dependencies are looked up: the watch, and the server for those of other shards.
pub(crate) struct Lookup<'a> {
    pub store: &'a Store<HelmRelease>,
    pub client: &'a Client,
    /// The built-in check counts beside an expression.
    pub additive: bool,
}

pub(crate) fn key_of(this: &HelmRelease, reference: &api::meta::DependencyReference) -> NamespacedName {
    let namespace = if reference.namespace.is_empty() { spec::namespace(this) } else { &reference.namespace };
    NamespacedName::new(namespace, reference.name.clone())
}

impl Lookup<'_> {
    /// Says what keeps `this` from being reconciled; the first dependency that is not ready counts.
    pub(crate) async fn check(&self, this: &HelmRelease) -> Result<(), NotReady> {
        for reference in &this.spec.depends_on {
            let key = key_of(this, reference);
            let dependency = match self.get(&key).await {
                Ok(Some(dependency)) => dependency,
                Ok(None) => {
                    let text = format!("helmreleases.helm.toolkit.fluxcd.io {:?} not found", key.name);
                    return Err(NotReady::Wait(format!("unable to get '{key}' dependency: {text}")));
                }
                Err(error) => return Err(NotReady::Wait(format!("unable to get '{key}' dependency: {}", error.chain()))),
            };
            if !reference.ready_expr.is_empty() {
                evaluate(this, &dependency, &key, &reference.ready_expr)?;
                if !self.additive {
                    continue;
                }
            }
            if !is_ready(&dependency) {
                return Err(NotReady::Wait(format!("dependency '{key}' is not ready")));
            }
        }
        Ok(())
    }

    async fn get(&self, key: &NamespacedName) -> Result<Option<Arc<HelmRelease>>, cluster::Error> {
        if let Some(dependency) = self.store.get(key) {
            return Ok(Some(dependency));
        }
        match self.client.get_opt(self.store.resource(), &key.namespace, &key.name).await? {
            Some(bytes) => serde_json::from_slice(&bytes).map(|found| Some(Arc::new(found))).map_err(cluster::Error::Decode),
            None => Ok(None),
        }
    }
}

fn evaluate(this: &HelmRelease, dependency: &HelmRelease, key: &NamespacedName, source: &str) -> Result<(), NotReady> {
    let terminal = |error: &dyn std::fmt::Display| NotReady::Terminal(format!("failed to evaluate dependency {}: {error}", key.name));
    let expression = ReadyExpression::compile(source).map_err(|error| terminal(&error))?;
    let object = |side: &HelmRelease| serde_json::to_value(side).ok().and_then(|value| Object::new(value).ok());
    let (Some(dependent), Some(dependency)) = (object(this), object(dependency)) else {
        return Err(NotReady::Wait(format!("dependency '{key}' cannot be evaluated")));
    };
    match expression.evaluate(&dependent, &dependency) {
        Ok(true) => Ok(()),
        Ok(false) => Err(NotReady::Wait(format!("dependency '{key}' is not ready according to readyExpr eval"))),
        Err(error) => Err(NotReady::Wait(error.to_string())),
    }
}

/// It has looked at its newest spec and says that it is ready.
fn is_ready(this: &HelmRelease) -> bool {
    this.status.as_ref().is_some_and(|status| status.observed_generation == spec::generation(this) && status.conditions.is_ready())
}

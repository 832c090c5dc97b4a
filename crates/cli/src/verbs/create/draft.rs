//! An object to be made, and the way from there to a ready one.

use super::Request;
use crate::{
    kinds::Kind,
    readiness,
    shell::{Failure, Outcome, log, output},
    verbs::reconcile::is_static,
};
use serde_json::{Map, Value, json};

/// A kind, a `spec`, and how messages speak of it.
pub struct Draft<'a> {
    pub request: &'a Request<'a>,
    pub kind: &'static Kind,
    pub spec: Fields,
    /// In "generating …", "applying …" and "waiting for … reconciliation".
    pub noun: &'static str,
    /// In "… created" and "… updated".
    pub made: &'static str,
    /// Whether nothing is said and sent when the object is already as asked for.
    pub skips_unchanged: bool,
    /// What to say when it is ready; the last is skipped when empty.
    pub done: String,
    pub result: fn(&Value) -> Result<String, Failure>,
}

/// Fields of an object; what is empty is left out.
#[derive(Default)]
pub struct Fields(Map<String, Value>);

impl Fields {
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets a text unless it is empty.
    pub fn text(mut self, key: &str, value: &str) -> Self {
        if !value.is_empty() {
            self.0.insert(key.to_owned(), Value::from(value));
        }
        self
    }

    /// Sets a switch only when it is on.
    pub fn on(mut self, key: &str, set: bool) -> Self {
        if set {
            self.0.insert(key.to_owned(), Value::Bool(true));
        }
        self
    }

    pub fn value(mut self, key: &str, value: Value) -> Self {
        self.0.insert(key.to_owned(), value);
        self
    }

    pub fn maybe(self, key: &str, value: Option<Value>) -> Self {
        match value {
            Some(value) => self.value(key, value),
            None => self,
        }
    }

    /// `{name: …}` under a key, unless the name is empty.
    pub fn reference(self, key: &str, name: &str) -> Self {
        if name.is_empty() { self } else { self.value(key, json!({"name": name})) }
    }

    /// Lines under a key, unless there are none.
    pub fn lines(self, key: &str, lines: &[String]) -> Self {
        self.text(key, &lines.join("\n"))
    }

    pub fn list(self, key: &str, items: Vec<Value>) -> Self {
        if items.is_empty() { self } else { self.value(key, Value::Array(items)) }
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn into_value(self) -> Value {
        Value::Object(self.0)
    }
}

impl Draft<'_> {
    /// Prints the object when that is asked for; otherwise makes it and waits until it is ready.
    pub async fn finish(self) -> Outcome {
        let object = self.object()?;
        if self.request.is_export() {
            return output::print(&output::documents([object])?);
        }
        log::action(format!("applying {}", self.noun));
        self.apply(object).await?;
        log::waiting(format!("waiting for {} reconciliation", self.noun));
        let (context, name) = (self.request.context, &self.request.name);
        let is_static = is_static(self.kind, &json!({"spec": self.spec.0}));
        let done = if is_static { readiness::settled } else { readiness::ready };
        let ready = readiness::until(context, self.kind, &context.namespace, name, done).await?;
        log::success(&self.done);
        let result = (self.result)(&ready)?;
        if !result.is_empty() {
            log::success(result);
        }
        Ok(())
    }

    pub fn object(&self) -> Result<Value, Failure> {
        let mut metadata = json!({"name": self.request.name, "namespace": self.request.context.namespace});
        let labels = self.request.labels()?;
        if !labels.is_empty() {
            metadata["labels"] = json!(labels);
        }
        Ok(json!({"apiVersion": self.kind.api_version(), "kind": self.kind.kind, "metadata": metadata, "spec": self.spec.0}))
    }

    /// Creates the object, or gives an existing one these labels and this `spec`.
    async fn apply(&self, object: Value) -> Outcome {
        let (context, name) = (self.request.context, &self.request.name);
        let resource = self.kind.resource();
        let Some(mut existing) = context.find(self.kind, &context.namespace, name).await? else {
            context.create(&resource, &context.namespace, &object).await?;
            log::success(format!("{} created", self.made));
            return Ok(());
        };
        let before = existing.clone();
        match object["metadata"].get("labels") {
            Some(labels) => existing["metadata"]["labels"] = labels.clone(),
            None => {
                if let Some(metadata) = existing["metadata"].as_object_mut() {
                    metadata.remove("labels");
                }
            }
        }
        existing["spec"] = object["spec"].clone();
        if self.skips_unchanged && existing == before {
            return Ok(());
        }
        context.replace(&resource, &context.namespace, name, &existing).await?;
        log::success(format!("{} updated", self.made));
        Ok(())
    }
}

/// No more to be said.
pub fn nothing(_: &Value) -> Result<String, Failure> {
    Ok(String::new())
}

use api::kustomize::Kustomization;
use base64::{Engine, prelude::BASE64_STANDARD};
use cluster::{Client, Resource};
use serde_json::Value;
use std::collections::BTreeMap;

/// Values of variables, from everywhere, and how they are used.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct Variables {
    pub values: BTreeMap<String, String>,
    /// Substitution runs at all.
    pub active: bool,
    pub strict: bool,
}

/// Reads the variables of a Kustomization, with the controller's own rights. The text of an error is shown.
pub(crate) async fn load(this: &Kustomization, client: &Client, strict: bool) -> Result<Variables, String> {
    let Some(post_build) = &this.spec.post_build else { return Ok(Variables { values: BTreeMap::new(), active: false, strict }) };
    let namespace = this.metadata.namespace.clone().unwrap_or_default();
    let mut values = BTreeMap::new();
    for reference in &post_build.substitute_from {
        let secret = reference.kind == "Secret";
        let plural = if secret { "secrets" } else { "configmaps" };
        let resource = Resource::namespaced("", "v1", &reference.kind, plural);
        let bytes = match client.get(&resource, &namespace, &reference.name).await {
            Ok(bytes) => bytes,
            Err(error) if error.is_not_found() && reference.optional => continue,
            Err(error) => return Err(format!("substitute from '{}/{}' error: {}", reference.kind, reference.name, error.chain())),
        };
        let object: Value =
            serde_json::from_slice(&bytes).map_err(|_| format!("{} '{}' cannot be read", reference.kind, reference.name))?;
        for (key, value) in object.get("data").and_then(Value::as_object).into_iter().flatten() {
            let text = value.as_str().unwrap_or_default();
            let text = if secret {
                BASE64_STANDARD.decode(text).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
            } else {
                text.to_owned()
            };
            values.insert(key.clone(), one_line(&text));
        }
    }
    values.extend(post_build.substitute.iter().map(|(key, value)| (key.clone(), one_line(value))));
    let active = !values.is_empty() || post_build.substitute_strategy == "Always";
    Ok(Variables { values, active, strict })
}

/// Values lie inside lines of YAML.
fn one_line(text: &str) -> String {
    text.replace('\n', "")
}

impl Variables {
    /// Replaces variables in the text of one resource. The text of an error is shown, and never holds a value.
    pub(crate) fn expand(&self, text: &str) -> Result<String, String> {
        for name in self.values.keys() {
            envsubst::check_name(name).map_err(|error| format!("envsubst error: {error}"))?;
        }
        let mode = if self.strict { envsubst::Mode::Strict } else { envsubst::Mode::Lenient };
        envsubst::expand(text, &self.values, mode).map_err(|error| format!("envsubst error: variable substitution failed: {error}"))
    }
}

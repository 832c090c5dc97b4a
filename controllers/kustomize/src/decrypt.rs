//! The place where SOPS documents will be opened; until then, where they are kept from being applied as they are.

use api::kustomize::Kustomization;
use base64::{Engine, prelude::BASE64_STANDARD};
use cluster::{Client, Resource};
use kustomize::{Use, flux};
use object::Object;
use serde_json::Value;

/// How an encrypted value begins.
const MARK: &str = "ENC[AES256_GCM,";

/// The seam of the build: files and objects pass by here.
pub(crate) struct Documents {
    /// Somebody asked for decryption: what is encrypted must not get further.
    pub wanted: bool,
}

impl flux::Hooks for Documents {
    fn file(&self, path: &str, use_of: Use, bytes: &[u8]) -> Result<Option<Vec<u8>>, String> {
        // Objects are looked at after the build, where their annotations are known.
        let inside_others = matches!(use_of, Use::Patch | Use::GeneratorFile | Use::GeneratorEnv);
        if self.wanted && inside_others && String::from_utf8_lossy(bytes).contains(MARK) {
            return Err(cannot(path));
        }
        Ok(None)
    }

    fn resource(&self, resource: &kustomize::Resource) -> Result<Option<Value>, String> {
        if !self.wanted {
            return Ok(None);
        }
        let object = resource.to_json().ok().and_then(|value| Object::new(value).ok());
        match object.filter(|object| is_encrypted(object) && !is_left_alone(object)) {
            Some(object) => Err(cannot(&object.key().to_string())),
            None => Ok(None),
        }
    }
}

fn cannot(what: &str) -> String {
    format!("{what} is SOPS encrypted, and this controller cannot decrypt yet")
}

/// Its annotation says that nobody shall decrypt it.
fn is_left_alone(object: &Object) -> bool {
    object.annotation("kustomize.toolkit.fluxcd.io/decrypt").is_some_and(|value| value.eq_ignore_ascii_case("disabled"))
}

/// Whether applying the object would store encrypted text as if it were the value.
pub(crate) fn is_encrypted(object: &Object) -> bool {
    if object.field(&["sops", "mac"]).is_some() {
        return true;
    }
    if !matches!(object.kind(), "Secret" | "ConfigMap") {
        return false;
    }
    let texts =
        |field: &str| object.field(&[field]).and_then(Value::as_object).into_iter().flat_map(|map| map.values()).filter_map(Value::as_str);
    let decoded = |text: &str| BASE64_STANDARD.decode(text).is_ok_and(|bytes| String::from_utf8_lossy(&bytes).contains(MARK));
    texts("stringData").chain(texts("data")).any(|text| text.contains(MARK)) || (object.kind() == "Secret" && texts("data").any(decoded))
}

/// The Secret with the keys must be there, or the build has not all that it was told to use.
pub(crate) async fn check_keys(this: &Kustomization, client: &Client) -> Result<(), String> {
    let Some(secret) = this.spec.decryption.as_ref().and_then(|one| one.secret_ref.as_ref()) else { return Ok(()) };
    let secrets = Resource::namespaced("", "v1", "Secret", "secrets");
    let namespace = this.metadata.namespace.as_deref().unwrap_or_default();
    client.get(&secrets, namespace, &secret.name).await.map(|_| ()).map_err(|error| error.chain())
}

#[cfg(test)]
mod tests {
    use super::*;
    use kustomize::flux::Hooks;
    use serde_json::json;

    fn object(kind: &str, more: Value) -> Object {
        let mut value = json!({"apiVersion": "v1", "kind": kind, "metadata": {"name": "a"}});
        for (key, part) in more.as_object().unwrap() {
            value[key] = part.clone();
        }
        Object::new(value).unwrap()
    }

    #[test]
    fn encrypted_objects_are_known_by_their_metadata_or_their_values() {
        let encoded = BASE64_STANDARD.encode("{\"a\": \"ENC[AES256_GCM,data:x]\"}");
        assert!(is_encrypted(&object("Widget", json!({"sops": {"mac": "x"}}))));
        assert!(is_encrypted(&object("Secret", json!({"data": {"a": encoded}}))));
        assert!(is_encrypted(&object("Secret", json!({"stringData": {"a": "ENC[AES256_GCM,data:x]"}}))));
        assert!(is_encrypted(&object("ConfigMap", json!({"data": {"a": "ENC[AES256_GCM,data:x]"}}))));
        assert!(!is_encrypted(&object("Secret", json!({"data": {"a": "eA=="}}))));
    }

    #[test]
    fn an_encrypted_file_stops_the_build_only_when_decryption_is_wanted() {
        let look = |wanted| Documents { wanted }.file("a.env", Use::GeneratorEnv, b"A=ENC[AES256_GCM,data:x]");
        assert!(look(true).is_err_and(|text| text.starts_with("a.env is SOPS encrypted")));
        assert_eq!(look(false), Ok(None));
    }
}
